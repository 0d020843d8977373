//! What an answer of the CA, or none, means for us: try again, wait, or give up and say why.

use std::error::Error as StdError;
use std::time::Duration;

use instant_acme::{Error, Problem};
use jiff::Timestamp;

use super::CaFailure;
use super::problem::{self, kind};
use crate::failure::{Failure, Kind};

/// Why a request had no useful answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("{0}")]
    Connection(String),
    /// The server's certificate is not believed. Asking again would not help.
    #[error("{0}")]
    Untrusted(String),
    #[error("{0}")]
    Refused(Refusal),
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) problem: Option<Problem>,
    pub(super) retry_after: Option<Timestamp>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Some(problem) => f.write_str(&problem::words(problem)),
            None => write!(f, "the CA answered with HTTP status {}", self.status),
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Error::Other(Box::new(trouble))
    }
}

impl Trouble {
    /// Keeps the innermost error's words: the outer ones say "client error (Connect)" and the like.
    pub(super) fn connection(error: &(dyn StdError + 'static)) -> Trouble {
        let mut innermost = error;
        loop {
            if let Some(reason @ rustls::Error::InvalidCertificate(_)) = innermost.downcast_ref() {
                return Trouble::Untrusted(reason.to_string());
            }
            match beneath(innermost) {
                Some(inner) => innermost = inner,
                None => return Trouble::Connection(innermost.to_string()),
            }
        }
    }
}

/// The error below this one. An I/O error hides the one that it wraps: its source is that one's.
fn beneath<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let io = error.downcast_ref::<std::io::Error>();
    match io.and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn trouble(error: &Error) -> Option<&Trouble> {
    match error {
        Error::Other(inner) => inner.downcast_ref(),
        _ => None,
    }
}

pub(super) fn refusal(error: &Error) -> Option<&Refusal> {
    match trouble(error)? {
        Trouble::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

pub(super) fn problem(error: &Error) -> Option<&Problem> {
    match error {
        Error::Api(problem) => Some(problem),
        _ => refusal(error)?.problem.as_ref(),
    }
}

/// The problem's type without its prefix, such as `badNonce`; empty when there is none.
pub(super) fn problem_kind(error: &Error) -> &str {
    problem(error).map_or("", kind)
}

/// The CA understood the request and will not do it, now or later.
pub(super) fn is_refused(error: &Error) -> bool {
    let client_error = refusal(error).is_some_and(|refusal| (400..500).contains(&refusal.status));
    client_error && !is_rate_limit(error)
}

/// The CA says that there is no such order, or none of this account. Whatever stands between us and
/// the CA (a proxy that wants a password, a filter) may refuse too, and knows nothing of orders.
pub(super) fn is_no_order(error: &Error) -> bool {
    let absent = refusal(error).is_some_and(|refusal| matches!(refusal.status, 404 | 410));
    absent || (is_refused(error) && problem(error).is_some_and(problem::is_acme))
}

/// The request without its optional parts may fare better: the CA refused this one, or did
/// something with it that the library does not accept.
pub(super) fn is_about_content(error: &Error) -> bool {
    trouble(error).is_none() || is_refused(error)
}

fn is_rate_limit(error: &Error) -> bool {
    problem_kind(error) == "rateLimited" || refusal(error).is_some_and(|refusal| refusal.status == 429)
}

/// The account that signed may not (or no longer) be one of the CA's. A CA says `unauthorized` for
/// other reasons too.
pub(super) fn is_account_gone(error: &Error) -> bool {
    matches!(problem_kind(error), "accountDoesNotExist" | "unauthorized")
}

/// Whether the same request may well succeed later: at once, or after the time that the CA names.
pub(super) fn is_transient(error: &Error) -> bool {
    match trouble(error) {
        Some(Trouble::Late(_) | Trouble::Connection(_)) => true,
        // Let's Encrypt answers so when it is busy. Without a time, the limit is of another kind.
        Some(Trouble::Refused(refusal)) if is_rate_limit(error) => refusal.retry_after.is_some(),
        Some(Trouble::Refused(refusal)) => refusal.status >= 500,
        Some(Trouble::Untrusted(_)) => false,
        None => problem_kind(error) == "badNonce",
    }
}

/// Whether the CA may have done what it was asked for although its answer is none.
pub(super) fn is_doubtful(error: &Error) -> bool {
    match trouble(error) {
        Some(Trouble::Late(_) | Trouble::Connection(_)) => true,
        Some(Trouble::Refused(refusal)) => refusal.status >= 500,
        Some(Trouble::Untrusted(_)) | None => false,
    }
}

/// `attempt` says what did not work, as in "cannot order a certificate from ca.example".
pub(super) fn explain(error: &Error, attempt: impl Into<String>) -> CaFailure {
    let retry_after = refusal(error).and_then(|refusal| refusal.retry_after);
    let mut failure = Failure::new(severity(error), attempt);
    failure.causes.push(match problem(error) {
        Some(problem) => problem::words(problem),
        None => error.to_string(),
    });
    if let Some(hint) = hint(error) {
        failure = failure.hint(hint);
    }
    if let Some(moment) = retry_after {
        failure = failure.hint(format!("the CA does not want to be asked again before {moment:.0}"));
    }
    CaFailure { failure, retry_after }
}

fn severity(error: &Error) -> Kind {
    if problem::is_users_fault(problem_kind(error)) { Kind::Usage } else { Kind::Failed }
}

fn hint(error: &Error) -> Option<&'static str> {
    match trouble(error) {
        Some(Trouble::Untrusted(_)) => Some(
            "for a CA of your own, give the certificate that its server's one was signed with; else see \
             that the clock is right and that nothing between here and the CA breaks TLS open",
        ),
        Some(Trouble::Late(_) | Trouble::Connection(_)) => {
            Some("the machine must reach the CA by https: check name resolution, the firewall and the URL")
        }
        _ => problem::hint(problem_kind(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, kind: Option<&str>, retry_after: Option<&str>) -> Error {
        let problem = kind.map(|kind| {
            let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"so it is"}}"#);
            serde_json::from_str(&text).unwrap()
        });
        let retry_after = retry_after.map(|text| text.parse().unwrap());
        Trouble::Refused(Refusal { status, problem, retry_after }).into()
    }

    const LATER: Option<&str> = Some("2026-01-31T12:00:00Z");

    #[test]
    fn what_is_tried_again() {
        let table = [
            (refused(500, Some("serverInternal"), None), true),
            (refused(502, None, None), true),
            (refused(503, None, None), true),
            (refused(503, None, LATER), true),
            (refused(429, None, None), false),
            (refused(429, None, LATER), true),
            (refused(503, Some("rateLimited"), LATER), true),
            (refused(503, Some("rateLimited"), None), false),
            (refused(400, Some("badNonce"), None), false),
            (refused(403, Some("unauthorized"), None), false),
            (Trouble::Late(Duration::from_secs(30)).into(), true),
            (Trouble::Connection("connection refused".to_owned()).into(), true),
            (Trouble::Untrusted("unknown issuer".to_owned()).into(), false),
        ];
        for (error, expected) in table {
            assert_eq!(is_transient(&error), expected, "{error}");
        }
        let nonce = r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#;
        assert!(is_transient(&Error::Api(serde_json::from_str(nonce).unwrap())));
    }

    #[test]
    fn a_rate_limit_says_until_when() {
        let failure = explain(&refused(429, Some("rateLimited"), LATER), "cannot order a certificate");
        assert_eq!(failure.retry_after, Some("2026-01-31T12:00:00Z".parse().unwrap()));
        assert_eq!(failure.failure.to_string(), "cannot order a certificate: so it is (rateLimited)");
        let last = failure.failure.hints.last().unwrap();
        assert_eq!(last, "the CA does not want to be asked again before 2026-01-31T12:00:00Z");
    }

    #[test]
    fn a_refusal_is_final_but_a_rate_limit_is_not() {
        assert!(is_refused(&refused(404, None, None)));
        assert!(!is_refused(&refused(429, Some("rateLimited"), None)));
        assert!(!is_refused(&refused(500, None, None)));
    }

    #[test]
    fn only_the_ca_knows_that_there_is_no_order() {
        let table = [
            (refused(404, None, None), true),
            (refused(403, Some("unauthorized"), None), true),
            (refused(400, Some("malformed"), None), true),
            (refused(403, None, None), false),
            (refused(407, None, None), false),
            (refused(429, Some("rateLimited"), None), false),
            (refused(500, Some("serverInternal"), None), false),
        ];
        for (error, expected) in table {
            assert_eq!(is_no_order(&error), expected, "{error}");
        }
    }

    #[test]
    fn what_the_user_must_change_is_a_usage_failure() {
        let failure = explain(&refused(403, Some("externalAccountRequired"), None), "cannot make an account");
        assert_eq!(failure.failure.kind, Kind::Usage);
        assert_eq!(explain(&refused(500, None, None), "x").failure.kind, Kind::Failed);
    }

    #[test]
    fn the_innermost_reason_is_told() {
        let wrapped =
            std::io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        assert!(matches!(Trouble::connection(&wrapped), Trouble::Untrusted(_)));
        let nested = std::io::Error::other(std::io::Error::other("refused"));
        assert_eq!(Trouble::connection(&nested).to_string(), "refused");
    }
}
