//! Rules for certificates.

use super::Rules;
use super::services::{all, optional};
use crate::name::Fqdn;
use crate::site::acme::{Acme, CertificateName, Challenge, ChallengeKind, DirectoryUrl};
use crate::site::draft::{AcmeDraft, Field, Given};
use crate::site::key_kind::KeyKind;
use crate::site::value::{FilePath, Flag, TlsMode};
use crate::site::{IMPORTED_CERTIFICATE, IMPORTED_KEY, Tls};

impl Rules {
    pub(super) fn tls(
        &mut self,
        mode: &Given<TlsMode>,
        certificate: Given<FilePath>,
        key: Given<FilePath>,
        acme: AcmeDraft,
        names: &[&Fqdn],
    ) -> Option<Tls> {
        let mode = mode.clone().or(|| Some(TlsMode::SelfSigned))?;
        if mode != TlsMode::Files {
            self.files_unused(&certificate, Field::TlsCertificate);
            self.files_unused(&key, Field::TlsKey);
        }
        if mode != TlsMode::Acme && acme != AcmeDraft::default() {
            self.conflict::<()>(acme_field(&acme), "used only with the TLS mode `acme`");
        }
        match mode {
            TlsMode::SelfSigned => Some(Tls::SelfSigned),
            TlsMode::Files => self.files(certificate, key),
            TlsMode::Acme => self.acme(acme, names).map(|acme| Tls::Acme(Box::new(acme))),
        }
    }

    fn files_unused(&mut self, path: &Given<FilePath>, field: Field) {
        if path.value().is_some() {
            self.conflict::<()>(field, "used only with the TLS mode `files`");
        }
    }

    /// Both files, or neither: then they are those that `cert import` stores.
    fn files(&mut self, certificate: Given<FilePath>, key: Given<FilePath>) -> Option<Tls> {
        match (optional(certificate)?, optional(key)?) {
            (Some(certificate), Some(key)) => {
                Some(Tls::Files { certificate: certificate.into_path(), key: key.into_path() })
            }
            (None, None) => {
                Some(Tls::Files { certificate: IMPORTED_CERTIFICATE.into(), key: IMPORTED_KEY.into() })
            }
            (None, Some(_)) => self.conflict(Field::TlsCertificate, "required by the key"),
            (Some(_), None) => self.conflict(Field::TlsKey, "required by the certificate"),
        }
    }

    fn acme(&mut self, draft: AcmeDraft, wanted: &[&Fqdn]) -> Option<Acme> {
        let names = self.certificate_names(draft.names, wanted);
        let word = draft.challenge.or(|| Some(ChallengeKind::Http01));
        let challenge = self.challenge(word?, draft.hook, names.as_deref().unwrap_or_default(), wanted);
        Some(Acme {
            directory: draft.directory.or(|| Some(DirectoryUrl::default()))?,
            email: optional(draft.email)?,
            agreed: draft.agreed.or(|| Some(Flag(false)))?.0,
            root: optional(draft.root)?.map(FilePath::into_path),
            challenge: challenge?,
            profile: optional(draft.profile)?,
            key: draft.key.or(|| Some(KeyKind::P256))?,
            external_account: optional(draft.external_account)?,
            names: names?,
            resolvers: all(draft.resolvers)?,
        })
    }

    /// A certificate that is not for every name of the site would be no use.
    fn certificate_names(
        &mut self,
        given: Vec<Given<CertificateName>>,
        wanted: &[&Fqdn],
    ) -> Option<Vec<CertificateName>> {
        let names = all(given)?;
        let lacks = |name: &&&Fqdn| !names.iter().any(|known| known.covers(name));
        match wanted.iter().find(lacks) {
            Some(name) if !names.is_empty() => {
                self.conflict(Field::Key("tls.acme.names"), format!("none of them covers `{name}`"))
            }
            _ => Some(names),
        }
    }

    fn challenge(
        &mut self,
        word: ChallengeKind,
        hook: Given<FilePath>,
        names: &[CertificateName],
        wanted: &[&Fqdn],
    ) -> Option<Challenge> {
        match (word, optional(hook)?) {
            (ChallengeKind::Dns01, Some(hook)) => Some(Challenge::Dns01 { hook: hook.into_path() }),
            (ChallengeKind::Dns01, None) => self.conflict(
                Field::AcmeHook,
                "required by `dns-01`: a program that is called with `present NAME VALUE` and `cleanup NAME VALUE`",
            ),
            (ChallengeKind::Http01, Some(_)) => self.conflict(Field::AcmeHook, "used only with `dns-01`"),
            (ChallengeKind::Http01, None) => {
                let why = names.iter().find_map(|name| {
                    if name.is_wildcard() {
                        return Some(format!("`{name}` can be had by `dns-01` only (RFC 8555, section 7.1.3)"));
                    }
                    let strange = !wanted.iter().any(|wanted| name.covers(wanted));
                    strange.then(|| {
                        format!("`{name}` is no name of the site, so nobody answers the CA there; use `dns-01`")
                    })
                });
                match why {
                    Some(why) => self.conflict(Field::Key("tls.acme.challenge"), why),
                    None => Some(Challenge::Http01),
                }
            }
        }
    }
}

/// The first key that was given, to point at.
fn acme_field(draft: &AcmeDraft) -> Field {
    match draft {
        AcmeDraft { directory, .. } if !directory.is_absent() => Field::AcmeDirectory,
        AcmeDraft { email, .. } if !email.is_absent() => Field::AcmeEmail,
        AcmeDraft { hook, .. } if !hook.is_absent() => Field::AcmeHook,
        _ => Field::Key("tls.acme"),
    }
}
