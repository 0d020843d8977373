//! What the CA tells anybody who asks: its directory (RFC 8555, section 7.1.1) and renewal
//! information (RFC 9773).

use std::collections::BTreeMap;
use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::explain;
use super::http::Http;
use super::problem::clean;
use super::{CaFailure, DirectoryFacts, Endpoint, RenewalInfo};

/// RFC 9773, section 4.3.3: asked again after six hours when the CA says nothing.
const USUAL_PAUSE: Duration = Duration::from_hours(6);
/// RFC 9773, section 4.3.2, lets a client hold Retry-After to sensible limits.
const SHORTEST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) facts: DirectoryFacts,
    renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDirectory {
    /// Only to see that this is a directory and no other JSON.
    #[serde(rename = "newOrder")]
    _new_order: String,
    renewal_info: Option<String>,
    #[serde(default)]
    meta: RawMeta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    terms_of_service: Option<String>,
    website: Option<String>,
    caa_identities: Vec<String>,
    external_account_required: bool,
    profiles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRenewalInfo {
    suggested_window: RawWindow,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct RawWindow {
    start: Timestamp,
    end: Timestamp,
}

/// Asks once.
pub(super) async fn ask(http: &Http, endpoint: &Endpoint) -> Result<Directory, Error> {
    let raw: RawDirectory = get(http, &endpoint.directory).await?;
    let meta = raw.meta;
    Ok(Directory {
        facts: DirectoryFacts {
            terms_of_service: meta.terms_of_service.as_deref().map(clean),
            website: meta.website.as_deref().map(clean),
            caa_identities: meta.caa_identities,
            external_account_required: meta.external_account_required,
            profiles: meta.profiles.iter().map(|(name, words)| (clean(name), clean(words))).collect(),
            renewal_info: raw.renewal_info.is_some(),
            date: http.date(),
        },
        renewal_info: raw.renewal_info,
    })
}

async fn get<T: DeserializeOwned>(http: &Http, url: &str) -> Result<T, Error> {
    Ok(serde_json::from_slice(&http.get(url).await?)?)
}

/// What [`ask`] came to, for the user.
pub(super) fn unreadable(endpoint: &Endpoint, error: &Error) -> CaFailure {
    explain(error, format!("cannot read the CA's directory `{}`", endpoint.directory))
}

pub(super) async fn fetch(http: &Http, endpoint: &Endpoint) -> Result<Directory, CaFailure> {
    ask(http, endpoint).await.map_err(|error| unreadable(endpoint, &error))
}

pub(super) async fn renewal_info(
    http: &Http,
    endpoint: &Endpoint,
    certificate_pem: &str,
) -> Result<Option<RenewalInfo>, CaFailure> {
    let Some(id) = certificate_id(certificate_pem) else { return Ok(None) };
    let Some(url) = fetch(http, endpoint).await?.renewal_info else { return Ok(None) };
    let raw: RawRenewalInfo = get(http, &format!("{}/{id}", url.trim_end_matches('/')))
        .await
        .map_err(|error| explain(&error, "cannot ask the CA when it would like the certificate renewed"))?;
    Ok(Some(RenewalInfo {
        start: raw.suggested_window.start,
        end: raw.suggested_window.end,
        retry_after: http.pause().unwrap_or(USUAL_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        explanation_url: raw.explanation_url.as_deref().map(clean),
    }))
}

/// RFC 9773, section 4.1. `None` for what no CA of the kind issues: text that is no certificate, or a
/// certificate that does not name its issuer's key.
pub(super) fn certificate_id(pem: &str) -> Option<CertificateIdentifier<'static>> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    CertificateIdentifier::try_from(&certificate).ok().map(CertificateIdentifier::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_meta_is_one() {
        let text = r#"{"newNonce":"n","newAccount":"a","newOrder":"o"}"#;
        let raw: RawDirectory = serde_json::from_str(text).unwrap();
        assert!(raw.renewal_info.is_none() && !raw.meta.external_account_required);
        assert!(serde_json::from_str::<RawDirectory>(r#"{"hello":"world"}"#).is_err());
    }

    #[test]
    fn the_window_is_read_as_in_the_rfc() {
        let text = r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"},
            "explanationURL":"https://acme.example.com/docs/ari"}"#;
        let raw: RawRenewalInfo = serde_json::from_str(text).unwrap();
        assert_eq!(raw.suggested_window.start, "2025-01-02T04:00:00Z".parse().unwrap());
        assert_eq!(raw.explanation_url.as_deref(), Some("https://acme.example.com/docs/ari"));
    }

    #[test]
    fn what_names_no_issuer_has_no_id() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        assert!(certificate_id(&params.self_signed(&key).unwrap().pem()).is_none());
        assert!(certificate_id("nothing").is_none());
    }
}
