//! The kinds of private key that a certificate may be ordered for.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::name::{Invalid, nearest};

/// What public CAs sign and browsers accept (CA/Browser Forum, Baseline Requirements, section
/// 6.1.5), without P-521, which Chrome refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    #[default]
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl KeyKind {
    pub const ALL: [KeyKind; 5] =
        [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::Rsa4096];

    /// The word for it in the site file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::P256 => "p256",
            KeyKind::P384 => "p384",
            KeyKind::Rsa2048 => "rsa2048",
            KeyKind::Rsa3072 => "rsa3072",
            KeyKind::Rsa4096 => "rsa4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for KeyKind {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        KeyKind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
            let near = nearest(&text.to_lowercase(), KeyKind::ALL.map(KeyKind::word));
            let near = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            Invalid(format!("expected `p256`, `p384`, `rsa2048`, `rsa3072` or `rsa4096`{near}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_back() {
        for kind in KeyKind::ALL {
            assert_eq!(kind.to_string().parse::<KeyKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }

    #[test]
    fn a_slip_is_told_the_nearest_word() {
        let expected = "expected `p256`, `p384`, `rsa2048`, `rsa3072` or `rsa4096`";
        for (text, near) in
            [("p-256", "; did you mean `p256`?"), ("RSA4096", "; did you mean `rsa4096`?"), ("ed25519", "")]
        {
            assert_eq!(text.parse::<KeyKind>().unwrap_err().0, format!("{expected}{near}"), "{text}");
        }
    }
}
