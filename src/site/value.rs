//! Small values that only a site has. Like the names, each is valid once it exists.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::name::{ImageRef, Invalid};
use crate::site::{SmtpEncryption, TlsProfile};

/// How many people work with Odoo at the same time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users(u32);

impl Users {
    pub const DEFAULT: Users = Users(5);

    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Users {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(count @ 1..=100_000) => Ok(Users(count)),
            _ => Err(Invalid("expected a whole number from 1 to 100000".to_owned())),
        }
    }
}

/// A major version of PostgreSQL, one of those that Odoo 14 to 19 can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostgresMajor(u32);

impl PostgresMajor {
    pub const OLDEST: u32 = 10;
    pub const NEWEST: u32 = 18;

    pub fn new(number: u32) -> Result<Self, Invalid> {
        if (Self::OLDEST..=Self::NEWEST).contains(&number) {
            Ok(PostgresMajor(number))
        } else {
            Err(Invalid(format!("expected a PostgreSQL major from {} to {}", Self::OLDEST, Self::NEWEST)))
        }
    }

    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PostgresMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PostgresMajor {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        PostgresMajor::new(text.parse().unwrap_or(0))
    }
}

/// An address of the host to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl FromStr for Address {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Address).map_err(|_| {
            Invalid("expected an IP address, such as `0.0.0.0` for all or `127.0.0.1`".to_owned())
        })
    }
}

/// The path of a file; a relative one starts at the site directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(PathBuf);

impl FilePath {
    #[must_use]
    pub fn into_path(self) -> PathBuf {
        self.0
    }

    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for FilePath {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.ends_with('/') || text.contains(char::is_control) {
            Err(Invalid("expected the path of a file, such as `certs/odoo.pem`".to_owned()))
        } else {
            Ok(FilePath(text.into()))
        }
    }
}

/// A network: an address and the bits that count (RFC 4632, RFC 4291). Bits beyond them are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl FromStr for Cidr {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = || Invalid("expected a network such as `192.0.2.0/24`, or an address".to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| expected())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most {
            return Err(expected());
        }
        let network = masked(address, prefix);
        if network == address {
            Ok(Cidr { address, prefix })
        } else {
            Err(Invalid(format!("`{text}` has bits beyond its prefix; the network is `{network}/{prefix}`")))
        }
    }
}

/// The address with every bit beyond the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// Bytes, written as `512M` or `4G` (powers of 1024, as Docker and systemd have it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = || Invalid("expected a size such as `4G` or `1536M`".to_owned());
        let unit = match text.chars().last() {
            Some('M' | 'm') => 1 << 20,
            Some('G' | 'g') => 1 << 30,
            _ => return Err(expected()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Memory).ok_or_else(expected)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => write!(f, "{}G", bytes >> 30),
            bytes => write!(f, "{}M", bytes >> 20),
        }
    }
}

/// The largest request body, in MiB, written as [`Memory`]; `nginx` counts it in 32 bits of MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimit(pub u32);

impl UploadLimit {
    /// Odoo's own limit on a request is 128 MiB; people send databases and films.
    pub const DEFAULT: UploadLimit = UploadLimit(100);
}

impl FromStr for UploadLimit {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Memory(bytes) = text.parse()?;
        match u32::try_from(bytes >> 20) {
            Ok(mib @ 1..=102_400) => Ok(UploadLimit(mib)),
            _ => Err(Invalid("expected a size from 1M to 100G".to_owned())),
        }
    }
}

/// A yes or no, as YAML 1.2 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromStr for Flag {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "true" => Ok(Flag(true)),
            "false" => Ok(Flag(false)),
            _ => Err(Invalid("expected `true` or `false`".to_owned())),
        }
    }
}

/// Processors that a site may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus(pub u32);

impl FromStr for Cpus {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(count @ 1..=1024) => Ok(Cpus(count)),
            _ => Err(Invalid("expected a whole number of processors from 1 to 1024".to_owned())),
        }
    }
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok($name(text.to_owned())) } else { Err(Invalid($expected.to_owned())) }
            }
        }
    };
}

/// The longest text that these values take.
const LONGEST: usize = 253;

fn made_of(text: &str, further: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || further.contains(c))
}

text_value!(
    /// A host in the network: a name (one label is enough) or an address.
    HostName,
    |text| text.parse::<IpAddr>().is_ok() || made_of(text, ".-_"),
    "expected the name or address of a host, such as `db.example.com`"
);
text_value!(
    /// A PostgreSQL role that needs no quotes anywhere.
    RoleName,
    |text| made_of(text, "_-.") && text.len() <= 63,
    "expected a PostgreSQL role, such as `odoo`"
);
text_value!(
    /// A user of an operating system.
    SystemUser,
    |text| made_of(text, "_-.") && text.len() <= 32,
    "expected the name of a user, such as `tunnel`"
);
text_value!(
    /// The fingerprint of an ssh server's host key, as `ssh-keygen -l` prints it: SHA-256 in base64
    /// without padding.
    HostKey,
    |text| text
        .strip_prefix("SHA256:")
        .is_some_and(|digest| digest.len() == 43 && made_of(digest, "+/")),
    "expected the fingerprint of a host key as `ssh-keygen -l` prints it, such as \
     `SHA256:` and 43 characters"
);
text_value!(
    /// The user that a mail server knows. No spaces: old images cut values at them.
    SmtpUser,
    |text| made_of(text, "_-.@+=!#$&*/~"),
    "expected the user's name at the mail server, without spaces"
);
text_value!(
    /// An address (RFC 5321) without a display name.
    MailAddress,
    |text| made_of(text, "_-.@+=") && text.split('@').filter(|part| !part.is_empty()).count() == 2,
    "expected a mail address, such as `odoo@example.com`"
);
text_value!(
    /// The name of an HTTP header field (RFC 9110, section 5.1).
    HeaderName,
    |text| made_of(text, "-"),
    "expected the name of a header, such as `X-Forwarded-For`"
);
text_value!(
    /// A key of odoo.conf.
    OptionKey,
    |text| made_of(text, "_") && text.chars().all(|c| !c.is_ascii_uppercase()),
    "expected a key of odoo.conf in lowercase letters, digits and `_`, such as `limit_time_real_cron`"
);
text_value!(
    /// A value of odoo.conf: one line, as Python's configparser reads it.
    OptionValue,
    |text| !text.is_empty() && text.len() <= 4096 && text.trim() == text && !text.contains(char::is_control),
    "expected a value on one line; lists are written `a,b`"
);

impl HostName {
    /// Whether it leads to whoever asks: `localhost` (RFC 6761, section 6.3), a loopback address or
    /// the one that means any.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = self.as_str().trim_end_matches('.').to_ascii_lowercase();
        match name.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl FromStr for SmtpEncryption {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(SmtpEncryption::None),
            "starttls" => Ok(SmtpEncryption::StartTls),
            "ssl" | "tls" => Err(Invalid(
                "odoo.conf knows STARTTLS only (usually port 587); a server with TLS from the first byte is set up \
                 in Odoo under Settings, Outgoing Mail Servers"
                    .to_owned(),
            )),
            _ => Err(Invalid("expected `starttls` or `none`".to_owned())),
        }
    }
}

/// libpq's `sslmode` (PostgreSQL manual, 34.19 "SSL Support"), without `allow`, which promises nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const ALL: [SslMode; 5] =
        [SslMode::Disable, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// Whether the server's certificate is checked, for which its CA must be known.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, SslMode::VerifyCa | SslMode::VerifyFull)
    }
}

impl FromStr for SslMode {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        SslMode::ALL.into_iter().find(|mode| mode.word() == text).ok_or_else(|| {
            Invalid("expected `disable`, `prefer`, `require`, `verify-ca` or `verify-full`".to_owned())
        })
    }
}

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    SelfSigned,
    Files,
    Acme,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsMode::SelfSigned => "self-signed",
            TlsMode::Files => "files",
            TlsMode::Acme => "acme",
        })
    }
}

impl FromStr for TlsMode {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [TlsMode::SelfSigned, TlsMode::Files, TlsMode::Acme]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| Invalid("expected `self-signed`, `acme` or `files`".to_owned()))
    }
}

impl FromStr for TlsProfile {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [TlsProfile::Intermediate, TlsProfile::Modern]
            .into_iter()
            .find(|profile| profile.word() == text)
            .ok_or_else(|| Invalid("expected `intermediate` or `modern`".to_owned()))
    }
}

/// The version that an image's tag tells. Numbers outside 8 to 99 are dates or somebody's own
/// count (`2026-01`, `3`) and tell nothing: Odoo and PostgreSQL were never released under them as
/// stock images.
#[must_use]
pub fn version_in_tag(image: &ImageRef) -> Option<u32> {
    image.tag_major().filter(|number| (8..=99).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (text, valid) in [("1", true), ("100000", true), ("0", false), ("100001", false), ("x", false)] {
            assert_eq!(text.parse::<Users>().is_ok(), valid, "{text}");
        }
        for (text, valid) in [("10", true), ("18", true), ("9", false), ("19", false), ("17.2", false)] {
            assert_eq!(text.parse::<PostgresMajor>().is_ok(), valid, "{text}");
        }
        for (text, valid) in [("a.pem", true), ("/a b/c", true), ("", false), ("a/", false), ("a\nb", false)]
        {
            assert_eq!(text.parse::<FilePath>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn addresses_of_both_families() {
        assert!("::".parse::<Address>().is_ok());
        assert!("0.0.0.0".parse::<Address>().is_ok());
        assert!("localhost".parse::<Address>().is_err());
    }

    #[test]
    fn dates_and_own_counts_in_tags_tell_nothing() {
        let told = |text: &str| version_in_tag(&text.parse().unwrap());
        assert_eq!(told("odoo:19.0-20260101"), Some(19));
        assert_eq!(told("acme/odoo:2026-01"), None);
        assert_eq!(told("acme/odoo:3"), None);
        assert_eq!(told("acme/odoo:latest"), None);
    }
}
