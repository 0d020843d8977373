//! Names and small values that cannot be wrong once they exist. `FromStr` is the only way in; flags,
//! the site file and prompts all use it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Why a text is not a valid name: what was expected, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn invalid<T>(expected: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(expected.into()))
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> Result<String, Invalid> = $check;
                check(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// The site's name: the prefix of every volume, network and container.
    SiteName,
    |text| {
        let ok = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if ok {
            Ok(text.to_owned())
        } else {
            invalid(
                "expected 1 to 32 lowercase letters, digits or hyphens, starting with a letter and \
                 not ending with a hyphen, such as `acme`",
            )
        }
    }
);

text_newtype!(
    /// A PostgreSQL database name that Odoo accepts too (Odoo: `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`).
    DbName,
    |text| {
        const LONGEST: usize = 63 - "__init".len(); // PostgreSQL: NAMEDATALEN - 1
        let ok = (2..=LONGEST).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if matches!(text, "postgres" | "template0" | "template1") {
            invalid(format!("`{text}` belongs to PostgreSQL itself; choose another name"))
        } else if text.ends_with("__init") {
            invalid("names ending in `__init` are kept for databases that are being made")
        } else if ok {
            Ok(text.to_owned())
        } else {
            invalid(format!(
                "expected 2 to {LONGEST} letters, digits, `_`, `.` or `-`, starting with a letter or \
                 digit, such as `acme`"
            ))
        }
    }
);

text_newtype!(
    /// A host name as in RFC 1123, lower case, without the final dot.
    Fqdn,
    |text| {
        let lower = text.to_ascii_lowercase();
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let numeric = lower.rsplit('.').next().is_some_and(|l| l.chars().all(|c| c.is_ascii_digit()));
        if lower.contains("://") || lower.contains('/') {
            invalid("expected a bare host name such as `odoo.example.com`, without https:// or a path")
        } else if lower.len() <= 253 && !numeric && lower.split('.').all(label_ok) {
            Ok(lower)
        } else {
            invalid("expected a host name such as `odoo.example.com`")
        }
    }
);

text_newtype!(
    /// A container image reference: `[registry/]repository[:tag][@sha256:…]`.
    ImageRef,
    |text| {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (path, tag) = split_tag(rest);
        let path_ok = !path.is_empty()
            && path.split('/').all(|part| {
                !part.is_empty()
                    && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && part.chars().all(|c| {
                        c.is_ascii_lowercase() || c.is_ascii_digit() || "._-:".contains(c)
                    })
            });
        let tag_ok = tag.is_none_or(|tag| {
            (1..=128).contains(&tag.len())
                && !tag.starts_with(['.', '-'])
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        });
        let digest_ok = digest.is_none_or(|digest| {
            digest.strip_prefix("sha256:").is_some_and(|hex| {
                hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit())
            })
        });
        if path_ok && tag_ok && digest_ok {
            Ok(text.to_owned())
        } else {
            invalid("expected an image reference such as `docker.io/library/odoo:19`")
        }
    }
);

fn split_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (reference, None),
    }
}

impl ImageRef {
    /// The tag, if the reference has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        let reference = self.0.split_once('@').map_or(self.as_str(), |(rest, _)| rest);
        split_tag(reference).1
    }

    /// The number that the tag starts with: 19 for `odoo:19.0-20260101`, 17 for `postgres:17-trixie`.
    #[must_use]
    pub fn tag_major(&self) -> Option<u32> {
        let digits: String = self.tag()?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

text_newtype!(
    /// The login of Odoo's first user.
    Login,
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._@+-".contains(c));
        if text.eq_ignore_ascii_case("admin") {
            invalid("`admin` is the first name that password guessers try; choose another")
        } else if ok {
            Ok(text.to_owned())
        } else {
            invalid("expected 1 to 64 letters, digits or `._@+-`, such as `owner`")
        }
    }
);

text_newtype!(
    /// An Odoo language code such as `en_US`, `fr_FR` or `sr@latin`.
    Language,
    |text| {
        let (base, variant) = text.split_once('@').map_or((text, None), |(b, v)| (b, Some(v)));
        let (language, territory) =
            base.split_once('_').map_or((base, None), |(l, t)| (l, Some(t)));
        let ok = (2..=3).contains(&language.len())
            && language.chars().all(|c| c.is_ascii_lowercase())
            && territory.is_none_or(|t| {
                (2..=3).contains(&t.len())
                    && t.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            })
            && variant.is_none_or(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_alphanumeric()));
        if ok {
            Ok(text.to_owned())
        } else {
            invalid("expected a language code such as `en_US` or `fr_FR`")
        }
    }
);

text_newtype!(
    /// An ISO 3166-1 alpha-2 country code, upper case.
    Country,
    |text| {
        if text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic()) {
            Ok(text.to_ascii_uppercase())
        } else {
            invalid("expected a two-letter country code such as `FR`")
        }
    }
);

/// A TCP port, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Port(u16);

impl Port {
    pub const HTTP: Port = Port(80);
    pub const HTTPS: Port = Port(443);
    pub const POSTGRESQL: Port = Port(5432);
    pub const SSH: Port = Port(22);
    /// Message submission (RFC 6409).
    pub const SUBMISSION: Port = Port(587);

    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for Port {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Port(port)),
            _ => invalid("expected a port from 1 to 65535"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The known word nearest to `word`, when it is near enough to be a slip of the hand.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid<T: FromStr>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_ok(), "{text:?} should be valid");
        }
    }

    fn refused<T: FromStr>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn site_names() {
        valid::<SiteName>(&["a", "acme", "acme-2"]);
        refused::<SiteName>(&["", "Acme", "2acme", "acme-", "a_b", "a/b", "ä", &"a".repeat(33)]);
    }

    #[test]
    fn database_names() {
        valid::<DbName>(&["acme", "Acme_1.x-y", "19"]);
        refused::<DbName>(&["", "a", "postgres", "template1", "a b", "a\"b", "-a", "x__init"]);
        refused::<DbName>(&[&"a".repeat(58)]);
    }

    #[test]
    fn host_names() {
        valid::<Fqdn>(&["localhost", "odoo.example.com", "xn--bcher-kva.example"]);
        refused::<Fqdn>(&["", "https://a.b", "a..b", "-a.b", "10.0.0.1", "a_b.c", "a.b.", "a b"]);
        assert_eq!("Odoo.Example.COM".parse::<Fqdn>().unwrap().as_str(), "odoo.example.com");
    }

    #[test]
    fn image_references() {
        valid::<ImageRef>(&[
            "odoo",
            "odoo:19",
            "localhost:5000/a/odoo:19.0-2026",
            "docker.io/library/odoo:19",
        ]);
        refused::<ImageRef>(&["", ":19", "odoo:", "Odoo:19", "odoo@sha256:12", "a//b", "odoo:-x", "a b"]);
        let tagged = |text: &str| text.parse::<ImageRef>().unwrap().tag_major();
        assert_eq!(tagged("localhost:5000/odoo:19.0-2026"), Some(19));
        assert_eq!(tagged("localhost:5000/odoo"), None);
        assert_eq!(tagged("postgres:alpine"), None);
    }

    #[test]
    fn admin_is_no_login() {
        valid::<Login>(&["owner", "jo@example.com"]);
        refused::<Login>(&["admin", "Admin", "", "a b", "a'b"]);
    }

    #[test]
    fn languages_countries_and_ports() {
        valid::<Language>(&["en_US", "fr_FR", "sr@latin", "es_419", "eo"]);
        refused::<Language>(&["", "EN_us", "english", "fr-FR", "fr_"]);
        valid::<Country>(&["FR", "de"]);
        refused::<Country>(&["", "FRA", "1A"]);
        valid::<Port>(&["1", "443", "65535"]);
        refused::<Port>(&["0", "65536", "-1", "http"]);
    }

    #[test]
    fn nearest_word_helps_with_slips_only() {
        let known = ["domain", "database", "users"];
        assert_eq!(nearest("domian", known), Some("domain"));
        assert_eq!(nearest("user", known), Some("users"));
        assert_eq!(nearest("zebra", known), None);
    }
}
