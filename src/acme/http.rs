//! The way to the CA: HTTPS on connections that are kept, with a limit to each request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{DATE, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::http::{HeaderValue, response};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Endpoint;
use super::answer::{Refusal, Trouble};
use super::problem::BAD_NONCE;
use crate::failure::{Context, Failure, Result};

/// From connecting to the last byte.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);
/// Bytes of an answer; the longest ones are chains of some ten thousand.
const LARGEST_ANSWER: usize = 1024 * 1024;
const OURSELVES: &str = concat!("autoodoo/", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    heard: Arc<Mutex<Heard>>,
}

/// What the last answer's headers said.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    date: Option<Timestamp>,
    retry_after: Option<Timestamp>,
}

impl Http {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Http> {
        if !endpoint.directory.starts_with("https://") {
            let message = format!("the CA's directory `{}` is not an https:// URL", endpoint.directory);
            return Err(Failure::usage(message)
                .hint("RFC 8555, section 6.1, has no ACME without TLS: give the CA's https:// URL"));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(endpoint.roots_pem.as_deref())?)
            .https_only()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Http { client, heard: Arc::default() })
    }

    /// One GET.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, Error> {
        let request = Request::get(url).body(BodyWrapper::default())?;
        Ok(self.exchange(request).await?.into_body())
    }

    /// The CA's clock at its last answer.
    pub(super) fn date(&self) -> Option<Timestamp> {
        self.heard().date
    }

    /// Until when the CA's last answer asked to wait.
    pub(super) fn retry_after(&self) -> Option<Timestamp> {
        self.heard().retry_after
    }

    /// How long that is from now.
    pub(super) fn pause(&self) -> Option<Duration> {
        let until = self.retry_after()?;
        Some(Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO))
    }

    fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, headers: &HeaderMap) -> Heard {
        let heard = Heard {
            date: text(headers.get(DATE)).and_then(http_date),
            retry_after: text(headers.get(RETRY_AFTER)).and_then(|text| retry_after(text, Timestamp::now())),
        };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        heard
    }

    async fn exchange(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Trouble> {
        name_ourselves(request.headers_mut());
        let answer = tokio::time::timeout(LONGEST_REQUEST, self.send(request));
        let (parts, body) = answer.await.map_err(|_| Trouble::Late(LONGEST_REQUEST))??;
        let heard = self.hear(&parts.headers);
        judge(parts, body, heard.retry_after)
    }

    async fn send(&self, request: Request<BodyWrapper<Bytes>>) -> Result<(response::Parts, Bytes), Trouble> {
        let answer = self.client.request(request).await.map_err(|error| Trouble::connection(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Trouble::connection(error.as_ref()))?;
        Ok((parts, body.to_bytes()))
    }
}

/// The library sees successes, and refusals that it repeats with another nonce. All others are
/// kept from it, because it would forget their status and headers.
fn judge(
    parts: response::Parts,
    body: Bytes,
    retry_after: Option<Timestamp>,
) -> Result<Response<Bytes>, Trouble> {
    let status = parts.status;
    if status.is_success() {
        return Ok(Response::from_parts(parts, body));
    }
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let repeatable = problem.as_ref().and_then(|problem| problem.r#type.as_deref()) == Some(BAD_NONCE);
    if repeatable && status == StatusCode::BAD_REQUEST {
        return Ok(Response::from_parts(parts, body));
    }
    Err(Trouble::Refused(Refusal { status: status.as_u16(), problem, retry_after }))
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let (parts, body) = http.exchange(request).await?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// RFC 8555, section 6.1: the client's name and version first, then the library's.
fn name_ourselves(headers: &mut HeaderMap) {
    let name = match text(headers.get(USER_AGENT)) {
        Some(library) => format!("{OURSELVES} {library}"),
        None => OURSELVES.to_owned(),
    };
    let name = HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static(OURSELVES));
    headers.insert(USER_AGENT, name);
}

fn tls(roots_pem: Option<&str>) -> Result<ClientConfig> {
    let roots = match roots_pem {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(pem) => roots(pem)?,
    };
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn roots(pem: &str) -> Result<RootCertStore> {
    let wrong = |error: &dyn std::error::Error| {
        Failure::usage("the certificates that the CA's server is judged by cannot be read").because(error)
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        store.add(certificate).map_err(|error| wrong(&error))?;
    }
    if store.is_empty() {
        return Err(Failure::usage("there is no certificate to judge the CA's server by")
            .hint("the file should have a block that begins with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(store)
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.trim().parse::<u32>() {
        Ok(seconds) => now.checked_add(SignedDuration::from_secs(seconds.into())).ok(),
        Err(_) => http_date(text),
    }
}

/// RFC 9110, section 5.6.7.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = moment("2026-01-31T10:00:00Z");
        assert_eq!(retry_after("90", now), Some(moment("2026-01-31T10:01:30Z")));
        assert_eq!(retry_after("Sat, 31 Jan 2026 12:00:00 GMT", now), Some(moment("2026-01-31T12:00:00Z")));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn only_https_is_spoken() {
        let endpoint = |directory: &str| Endpoint { directory: directory.to_owned(), roots_pem: None };
        assert!(Http::new(&endpoint("https://ca.example/dir")).is_ok());
        let failure = Http::new(&endpoint("http://ca.example/dir")).err().unwrap();
        assert_eq!(failure.message, "the CA's directory `http://ca.example/dir` is not an https:// URL");
    }

    #[test]
    fn roots_without_a_certificate_are_refused() {
        let endpoint =
            Endpoint { directory: "https://ca.example/dir".to_owned(), roots_pem: Some(String::new()) };
        assert!(Http::new(&endpoint).err().unwrap().message.contains("no certificate to judge"));
    }

    #[test]
    fn the_client_is_named_before_its_library() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("library/1"));
        name_ourselves(&mut headers);
        assert_eq!(headers[USER_AGENT], format!("autoodoo/{} library/1", env!("CARGO_PKG_VERSION")));
    }

    fn answer(status: u16, body: &'static str) -> Result<Response<Bytes>, Trouble> {
        let (parts, body) = Response::builder()
            .status(status)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
            .into_parts();
        judge(parts, body, None)
    }

    #[test]
    fn the_library_sees_bad_nonces_and_no_other_refusal() {
        assert!(answer(400, r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#).is_ok());
        assert!(answer(204, "").is_ok());
        for (status, body) in [(400, r#"{"type":"urn:ietf:params:acme:error:malformed"}"#), (502, "<html>")] {
            let Err(Trouble::Refused(refusal)) = answer(status, body) else { panic!("{status}") };
            assert_eq!((refusal.status, refusal.problem.is_some()), (status, status == 400));
        }
    }
}
