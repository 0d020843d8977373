//! The certificate.

use super::{scalar, text};
use crate::site::acme::{Acme, AcmeProfile, Challenge, ExternalAccountId};
use crate::site::value::MailAddress;
use crate::site::{IMPORTED_CERTIFICATE, Tls, TlsProfile};

pub(super) fn tls(tls: &Tls, profile: TlsProfile) -> String {
    format!(
        "\
tls:
  # `self-signed`: by a certificate authority of this site's own, which browsers must be told of.
  # `acme`: by a public one, Let's Encrypt unless told otherwise, and renewed in time.
  # `files`: the certificate with its chain, and its key, in PEM. Relative paths start here, at this
  # directory; without them it is the certificate of `autoodoo cert import`.
{settings}  # Mozilla's profiles: `intermediate` (TLS 1.2 and 1.3) or `modern` (TLS 1.3 alone).
  profile: {profile}
",
        settings = settings(tls),
        profile = profile.word(),
    )
}

fn settings(tls: &Tls) -> String {
    match tls {
        Tls::SelfSigned => {
            "  mode: self-signed\n  # certificate: certs/odoo.pem\n  # key: certs/odoo.key\n".to_owned()
        }
        Tls::Files { certificate, .. } if certificate.as_os_str() == IMPORTED_CERTIFICATE => {
            "  mode: files\n  # certificate: certs/odoo.pem\n  # key: certs/odoo.key\n".to_owned()
        }
        Tls::Files { certificate, key } => format!(
            "  mode: files\n  certificate: {}\n  key: {}\n",
            scalar(&text(certificate)),
            scalar(&text(key))
        ),
        Tls::Acme(settings) => format!("  mode: acme\n{}", acme(settings)),
    }
}

fn acme(acme: &Acme) -> String {
    let mut lines = vec![
        "# The CA's directory: an https address, `letsencrypt` or `letsencrypt-staging`.".to_owned(),
        format!("directory: {}", scalar(acme.directory.as_str())),
        "# Where the CA writes before a certificate ends.".to_owned(),
        key("email", acme.email.as_ref().map(MailAddress::as_str), "it@example.com"),
        "# You agree to the CA's terms of service; without it nothing is ordered.".to_owned(),
        format!("agree_tos: {}", acme.agreed),
        "# What certifies the CA's own server, in PEM, where it is not a public one.".to_owned(),
        key("ca", acme.root.as_deref().map(text).as_deref(), "certs/ca.pem"),
    ];
    lines.extend(challenge(&acme.challenge));
    lines.extend([
        "# One of the CA's profiles, such as Let's Encrypt's `shortlived` (six days).".to_owned(),
        key("profile", acme.profile.as_ref().map(AcmeProfile::as_str), "shortlived"),
        "# p256, p384, rsa2048, rsa3072 or rsa4096.".to_owned(),
        format!("key_type: {}", acme.key.word()),
        "# An account that the CA asks for: its kid here, its HMAC key in secrets/acme-eab-key.".to_owned(),
        key("eab_kid", acme.external_account.as_ref().map(ExternalAccountId::as_str), "kid-1"),
        "# What the certificate is for; without it the site's own names.".to_owned(),
        list("names", acme.names.iter().map(|name| name.as_str().to_owned()), "\"*.example.com\""),
        "# DNS servers to ask in place of the machine's own.".to_owned(),
        list("resolvers", acme.resolvers.iter().map(ToString::to_string), "192.0.2.53"),
    ]);
    lines.iter().fold("  acme:\n".to_owned(), |text, line| text + "    " + line + "\n")
}

fn challenge(challenge: &Challenge) -> [String; 4] {
    let (word, hook) = match challenge {
        Challenge::Http01 => ("http-01", None),
        Challenge::Dns01 { hook } => ("dns-01", Some(text(hook))),
    };
    [
        "# `http-01`: the CA asks port 80 of each name. `dns-01`: a program of yours writes into the DNS; it"
            .to_owned(),
        "# is called with `present NAME VALUE` and `cleanup NAME VALUE` (examples: scripts/hooks)."
            .to_owned(),
        format!("challenge: {word}"),
        key("dns_hook", hook.as_deref(), "hooks/nsupdate"),
    ]
}

/// The key when it has a value, else an example of it.
fn key(key: &str, value: Option<&str>, example: &str) -> String {
    match value {
        Some(value) => format!("{key}: {}", scalar(value)),
        None => format!("# {key}: {example}"),
    }
}

fn list(key: &str, values: impl Iterator<Item = String>, example: &str) -> String {
    let values: Vec<String> = values.map(|value| scalar(&value).into_owned()).collect();
    if values.is_empty() {
        format!("# {key}: [{example}]")
    } else {
        format!("{key}: [{}]", values.join(", "))
    }
}
