//! How a site gets its certificate from a certificate authority that speaks ACME (RFC 8555).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{Fqdn, Invalid};
use crate::site::key_kind::KeyKind;
use crate::site::value::MailAddress;

/// What `tls.mode: acme` needs. The key of an external account is the secret `acme-eab-key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acme {
    pub directory: DirectoryUrl,
    /// Where the CA writes before a certificate ends, if it still does.
    pub email: Option<MailAddress>,
    /// The owner agrees to the CA's terms of service.
    pub agreed: bool,
    /// Certificates in PEM that certify the CA's own server, where it is not a public one.
    pub root: Option<PathBuf>,
    pub challenge: Challenge,
    /// One of the profiles that the CA's directory names, such as `shortlived`.
    pub profile: Option<AcmeProfile>,
    pub key: KeyKind,
    /// The key identifier of an account made elsewhere (RFC 8555, section 7.3.4).
    pub external_account: Option<ExternalAccountId>,
    /// What the certificate is for; empty: the site's own names.
    pub names: Vec<CertificateName>,
    /// DNS servers to ask; empty: the machine's own.
    pub resolvers: Vec<Resolver>,
}

impl Acme {
    /// Browsers believe what this CA signs.
    #[must_use]
    pub fn is_publicly_trusted(&self) -> bool {
        self.root.is_none() && self.directory.is_publicly_trusted()
    }
}

/// How the CA sees that a name is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Challenge {
    /// It asks port 80 of the name for a file (RFC 8555, section 8.3).
    Http01,
    /// It looks for a TXT record, which a program of the owner's puts there (section 8.4).
    Dns01 { hook: PathBuf },
}

impl Challenge {
    #[must_use]
    pub fn kind(&self) -> ChallengeKind {
        match self {
            Challenge::Http01 => ChallengeKind::Http01,
            Challenge::Dns01 { .. } => ChallengeKind::Dns01,
        }
    }
}

/// A validation method (RFC 8555, section 9.7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChallengeKind {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "dns-01")]
    Dns01,
}

impl ChallengeKind {
    /// Its name in the registry.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ChallengeKind::Http01 => "http-01",
            ChallengeKind::Dns01 => "dns-01",
        }
    }
}

impl FromStr for ChallengeKind {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "http-01" => Ok(ChallengeKind::Http01),
            "dns-01" => Ok(ChallengeKind::Dns01),
            _ => Err(Invalid("expected `http-01` or `dns-01`".to_owned())),
        }
    }
}

/// The address of a CA's directory (RFC 8555, section 7.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DirectoryUrl(String);

impl DirectoryUrl {
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
    pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
    /// Hosts of CAs that browsers trust. Others may be trusted too; their sites go without HSTS.
    const TRUSTED: [&str; 5] = [
        "acme-v02.api.letsencrypt.org",
        "acme.zerossl.com",
        "dv.acme-v02.api.pki.goog",
        "acme.ssl.com",
        "acme-api.actalis.com",
    ];

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The server's name without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.strip_prefix("https://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        host.rsplit_once(':').map_or(host, |(host, _)| host)
    }

    #[must_use]
    pub fn is_publicly_trusted(&self) -> bool {
        DirectoryUrl::TRUSTED.contains(&self.host())
    }
}

impl Default for DirectoryUrl {
    fn default() -> Self {
        DirectoryUrl(DirectoryUrl::LETS_ENCRYPT.to_owned())
    }
}

impl fmt::Display for DirectoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DirectoryUrl {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "letsencrypt" => return Ok(DirectoryUrl::default()),
            "letsencrypt-staging" => return Ok(DirectoryUrl(DirectoryUrl::LETS_ENCRYPT_STAGING.to_owned())),
            _ => {}
        }
        let visible = text.chars().all(|c| c.is_ascii_graphic() && c != '@');
        let url = DirectoryUrl(text.to_owned());
        if visible && text.len() <= 2000 && !url.host().is_empty() {
            Ok(url)
        } else {
            Err(Invalid(
                "expected the https address of a CA's directory, `letsencrypt` or `letsencrypt-staging`"
                    .to_owned(),
            ))
        }
    }
}

/// A name in a certificate: a host name, or `*.` and a domain for every name right below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CertificateName(String);

impl CertificateName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Without `*.`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// RFC 9525, section 6.3: `*` stands for exactly one label.
    #[must_use]
    pub fn covers(&self, name: &Fqdn) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => name.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => self.0 == name.as_str(),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Fqdn> for CertificateName {
    fn from(name: &Fqdn) -> Self {
        CertificateName(name.to_string())
    }
}

impl FromStr for CertificateName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = || Invalid("expected a host name, or `*.` and a domain".to_owned());
        match text.strip_prefix("*.") {
            Some(parent) => {
                let parent: Fqdn = parent.parse().map_err(|_| expected())?;
                Ok(CertificateName(format!("*.{parent}")))
            }
            None => Ok(CertificateName::from(&text.parse::<Fqdn>().map_err(|_| expected())?)),
        }
    }
}

/// The name of a certificate profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AcmeProfile(String);

impl AcmeProfile {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AcmeProfile {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !text.is_empty() && text.len() <= 64 && text.chars().all(fits) {
            Ok(AcmeProfile(text.to_owned()))
        } else {
            Err(Invalid("expected the name of one of the CA's profiles, such as `shortlived`".to_owned()))
        }
    }
}

/// What the CA calls an account made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ExternalAccountId(String);

impl ExternalAccountId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalAccountId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !text.is_empty() && text.len() <= 500 && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(ExternalAccountId(text.to_owned()))
        } else {
            Err(Invalid("expected the key identifier (kid) that the CA gave".to_owned()))
        }
    }
}

/// A DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Resolver(pub SocketAddr);

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Resolver {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address = |ip: IpAddr| SocketAddr::new(ip, 53);
        text.parse().or_else(|_| text.parse().map(address)).map(Resolver).map_err(|_| {
            Invalid(
                "expected the address of a DNS server, such as `192.0.2.53` or `127.0.0.1:5353`".to_owned(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        for (text, host, trusted) in [
            ("letsencrypt", "acme-v02.api.letsencrypt.org", true),
            ("letsencrypt-staging", "acme-staging-v02.api.letsencrypt.org", false),
            ("https://127.0.0.1:14000/dir", "127.0.0.1", false),
            ("https://acme.zerossl.com/v2/DV90", "acme.zerossl.com", true),
        ] {
            let url: DirectoryUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.is_publicly_trusted()), (host, trusted), "{text}");
        }
        for wrong in
            ["http://ca.example/dir", "https://", "https:///dir", "ca.example", "https://u:p@ca/dir", ""]
        {
            assert!(wrong.parse::<DirectoryUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let covers = |name: &str, wanted: &str| {
            name.parse::<CertificateName>().unwrap().covers(&wanted.parse().unwrap())
        };
        assert!(
            covers("*.example.com", "odoo.example.com") && covers("odoo.example.com", "odoo.example.com")
        );
        assert!(!covers("*.example.com", "example.com") && !covers("*.example.com", "a.b.example.com"));
        for wrong in ["*", "*.", "a.*.example.com", "**.example.com"] {
            assert!(wrong.parse::<CertificateName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn resolvers_have_a_port() {
        let shown = |text: &str| text.parse::<Resolver>().map(|resolver| resolver.to_string());
        assert_eq!(shown("192.0.2.1").unwrap(), "192.0.2.1:53");
        assert_eq!(shown("[2001:db8::1]:5353").unwrap(), "[2001:db8::1]:5353");
        assert_eq!(shown("2001:db8::1").unwrap(), "[2001:db8::1]:53");
        assert!(shown("dns.example").is_err());
    }
}
