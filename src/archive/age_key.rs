//! Recipients of age: its own keys, and those of ssh.

use std::fmt;

use age::ssh::ParseRecipientKeyError;

use crate::failure::{Failure, Result};

/// Written as it was given, without a comment.
#[derive(Debug, Clone)]
pub enum AgeKey {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl AgeKey {
    /// `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. A failure never repeats what may be a private key.
    pub fn parse(text: &str) -> Result<AgeKey> {
        let text = text.trim();
        refuse_private(text)?;
        if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
            return parse_ssh(text);
        }
        text.parse().map(AgeKey::X25519).map_err(|_| not_a_recipient(text))
    }

    pub(super) fn recipient(&self) -> &dyn age::Recipient {
        match self {
            AgeKey::X25519(key) => key,
            AgeKey::Ssh(key) => key,
        }
    }
}

impl fmt::Display for AgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgeKey::X25519(key) => key.fmt(f),
            AgeKey::Ssh(key) => key.fmt(f),
        }
    }
}

fn refuse_private(text: &str) -> Result<()> {
    let upper = text.to_ascii_uppercase();
    if upper.contains("AGE-SECRET-KEY-") || upper.contains("AGE-PLUGIN-") || upper.contains("PRIVATE KEY") {
        return Err(Failure::usage("a private key stands where a recipient's public key belongs")
            .hint("`age-keygen -y KEYFILE` prints the public key, which begins with age1")
            .hint("whoever has seen it here can open what is sealed for it: replace that key"));
    }
    Ok(())
}

fn parse_ssh(text: &str) -> Result<AgeKey> {
    text.parse().map(AgeKey::Ssh).map_err(|error| {
        let why = match error {
            ParseRecipientKeyError::RsaModulusTooSmall => "an RSA key needs at least 2048 bits",
            ParseRecipientKeyError::RsaModulusTooLarge => "an RSA key may have at most 4096 bits",
            ParseRecipientKeyError::Unsupported(_) => "age seals for ssh-ed25519 and ssh-rsa keys only",
            _ => "it is not a whole public key",
        };
        Failure::usage(format!("`{}` is no recipient of age: {why}", beginning(text)))
            .hint("give the line of the .pub file, in quotes")
    })
}

fn not_a_recipient(text: &str) -> Failure {
    let failure = Failure::usage(format!("`{}` is no recipient of age", beginning(text)));
    let plugin = text.starts_with("age1") && text[4..].contains('1');
    failure.hint(if plugin {
        "keys of age's plugins are not known here; use an X25519 key"
    } else {
        "a recipient is age1… (`age-keygen -y KEYFILE`) or an ssh-ed25519 or ssh-rsa public key"
    })
}

/// Enough to know it again.
fn beginning(text: &str) -> String {
    let shown: String = text.chars().take(24).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn recipients_are_read_and_shown() {
        assert_eq!(AgeKey::parse(X25519).unwrap().to_string(), X25519);
        assert_eq!(AgeKey::parse(&format!(" {SSH} a comment\n")).unwrap().to_string(), SSH);
    }

    #[test]
    fn what_is_none_is_told_why() {
        let table = [
            ("age1abc", "`age1abc` is no recipient of age"),
            ("", "`` is no recipient of age"),
            ("acme.pub", "`acme.pub` is no recipient of age"),
            ("ssh-ed25519 AAAA", "`ssh-ed25519 AAAA` is no recipient of age: it is not a whole public key"),
            (&X25519[..60], "`age1t7rxyev2z3rw82stdlrr…` is no recipient of age"),
            (
                "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI",
                "`ecdsa-sha2-nistp256 AAAA…` is no recipient of age: age seals for ssh-ed25519 and ssh-rsa keys only",
            ),
        ];
        for (text, message) in table {
            let failure = AgeKey::parse(text).unwrap_err();
            assert_eq!(failure.message, message);
            assert!(!failure.hints.is_empty());
        }
        let plugin = AgeKey::parse("age1yubikey1qgdm5szfp8z6x9fxfyqm9q").unwrap_err();
        assert!(plugin.hints[0].contains("plugins"), "{:?}", plugin.hints);
    }

    #[test]
    fn a_private_key_is_refused_and_not_shown() {
        let private = [
            "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33",
            "age-secret-key-1gq9778vqxmmjve8sk7j6vt8uj4hdqajuvsfcwcm02d8gewq72pvq2y5j33",
            "AGE-SECRET-KEY-1GQ97",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ",
        ];
        for text in private {
            let failure = format!("{:?}", AgeKey::parse(text).unwrap_err());
            assert!(failure.contains("private key"), "{failure}");
            assert!(!failure.to_ascii_uppercase().contains("GQ97") && !failure.contains("b3Bl"), "{failure}");
        }
    }
}
