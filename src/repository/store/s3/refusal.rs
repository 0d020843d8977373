//! What an S3 server's refusal means for us (Amazon S3 API Reference, "Error Responses").

use hyper::header::DATE;
use hyper::http::response;
use jiff::{SignedDuration, Timestamp, Unit};

use crate::repository::store::Trouble;

/// An answer that is no success.
#[derive(Debug, Clone, thiserror::Error)]
#[error("HTTP status {status} {code}")]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `NoSuchKey` and the like; empty where the answer has no body.
    pub(super) code: String,
    message: String,
    /// Where the bucket really lies.
    region: Option<String>,
    /// The server's clock less this host's.
    ahead: Option<SignedDuration>,
}

impl Refusal {
    pub(super) fn read(parts: &response::Parts, body: &[u8], now: Timestamp) -> Refusal {
        let body = String::from_utf8_lossy(body);
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let region = header("x-amz-bucket-region").or_else(|| element(&body, "Region"));
        Refusal {
            status: parts.status.as_u16(),
            code: element(&body, "Code").unwrap_or_default().to_owned(),
            message: element(&body, "Message").unwrap_or_default().trim_end_matches('.').to_owned(),
            region: region.map(str::to_owned),
            ahead: header(DATE.as_str()).and_then(http_date).map(|server| server.duration_since(now)),
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        match (self.code.as_str(), self.status) {
            ("NoSuchBucket" | "RequestTimeTooSkewed", _) => Trouble::Other,
            (code, status) if is_full(code, status) => Trouble::Full,
            (code, status) if is_transient(code, status) => Trouble::Connection,
            (_, 401 | 403) => Trouble::Denied,
            (_, 404) => Trouble::Absent,
            (_, 412) => Trouble::Exists,
            _ => Trouble::Other,
        }
    }

    /// The server knows no conditional writes.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == 501 || self.code == "NotImplemented"
    }

    /// `place`: the bucket as people write it; `action`: what was tried, as in "write `config`".
    pub(super) fn sentence(&self, place: &str, action: &str) -> String {
        match self.code.as_str() {
            "InvalidAccessKeyId" => {
                format!("{place} does not know the access key in the target's credentials")
            }
            "SignatureDoesNotMatch" => {
                format!(
                    "{place} refuses the secret key in the target's credentials: it is not the access key's"
                )
            }
            "NoSuchBucket" => {
                format!("the bucket of {place} does not exist: make it, or mend the target's URL")
            }
            "RequestTimeTooSkewed" => format!("{place} refuses requests because {}", self.clock()),
            _ => match &self.region {
                Some(region) if matches!(self.status, 301 | 307 | 400) => {
                    format!(
                        "the bucket of {place} lies in region `{region}`: add `?region={region}` to the target's URL"
                    )
                }
                _ if self.trouble() == Trouble::Connection => {
                    format!("{place} cannot {action} now: {}", self.reason())
                }
                _ => format!("{place} refuses to {action}: {}", self.reason()),
            },
        }
    }

    fn clock(&self) -> String {
        let wrong = match self.ahead {
            Some(ahead) if !ahead.is_zero() => {
                let side = if ahead.is_positive() { "behind" } else { "ahead of" };
                format!("{} {side} the server's", rounded(ahead.abs()))
            }
            _ => "wrong".to_owned(),
        };
        format!("this host's clock is {wrong}: set it")
    }

    fn reason(&self) -> String {
        match (self.message.as_str(), self.code.as_str()) {
            ("", "") => format!("HTTP status {}", self.status),
            ("", code) => code.to_owned(),
            (message, "") => message.to_owned(),
            (message, code) => format!("{message} ({code})"),
        }
    }
}

/// Amazon never is; `XMinioStorageFull`, `XMinioAdminBucketQuotaExceeded`, `QuotaExceeded` (Ceph) and
/// HTTP status 507 are other makers' words.
fn is_full(code: &str, status: u16) -> bool {
    status == 507 || code.ends_with("StorageFull") || code.ends_with("QuotaExceeded")
}

/// The server is busy, two requests met, or bytes were lost or altered on the way: that is what the
/// last four of these codes, whose status is 400, tell of.
fn is_transient(code: &str, status: u16) -> bool {
    const CODES: [&str; 6] = [
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "IncompleteBody",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
    ];
    CODES.contains(&code) || matches!(status, 408 | 429 | 500 | 502..=599)
}

/// To minutes; below two of them, to seconds.
fn rounded(time: SignedDuration) -> String {
    match time.round(Unit::Minute).map(|time| time.as_mins()) {
        Ok(minutes @ 120..) => format!("{} h {} min", minutes / 60, minutes % 60),
        Ok(minutes @ 2..) => format!("{minutes} min"),
        _ => format!("{} s", time.as_secs()),
    }
}

/// The text of the first element of this name: an error has one level.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

/// RFC 9110, section 5.6.7.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let date = "Sat, 31 Jan 2026 12:00:00 GMT";
        let answer = hyper::Response::builder().status(status).header(DATE, date).body(()).unwrap();
        Refusal::read(&answer.into_parts().0, body.as_bytes(), "2026-01-31T09:29:40Z".parse().unwrap())
    }

    fn error(status: u16, code: &str, message: &str) -> Refusal {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code>\n<Message>{message}</Message></Error>"
        );
        refusal(status, &body)
    }

    #[test]
    fn what_refusals_mean() {
        let table = [
            (404, "NoSuchKey", Trouble::Absent),
            (404, "", Trouble::Absent),
            (404, "NoSuchBucket", Trouble::Other),
            (403, "AccessDenied", Trouble::Denied),
            (403, "InvalidAccessKeyId", Trouble::Denied),
            (403, "SignatureDoesNotMatch", Trouble::Denied),
            (403, "RequestTimeTooSkewed", Trouble::Other),
            (403, "QuotaExceeded", Trouble::Full),
            (507, "XMinioStorageFull", Trouble::Full),
            (400, "XMinioAdminBucketQuotaExceeded", Trouble::Full),
            (412, "PreconditionFailed", Trouble::Exists),
            (409, "ConditionalRequestConflict", Trouble::Connection),
            (503, "SlowDown", Trouble::Connection),
            (500, "InternalError", Trouble::Connection),
            (400, "RequestTimeout", Trouble::Connection),
            (400, "BadDigest", Trouble::Connection),
            (501, "NotImplemented", Trouble::Other),
            (400, "InvalidRequest", Trouble::Other),
        ];
        for (status, code, trouble) in table {
            assert_eq!(error(status, code, "").trouble(), trouble, "{status} {code}");
        }
    }

    #[test]
    fn sentences() {
        let said = |refusal: Refusal| refusal.sentence("s3://s3.example/b", "write `config`");
        insta::assert_snapshot!(
            [
                said(error(403, "InvalidAccessKeyId", "no")),
                said(error(403, "SignatureDoesNotMatch", "no")),
                said(error(404, "NoSuchBucket", "no")),
                said(error(403, "RequestTimeTooSkewed", "no")),
                said(error(403, "AccessDenied", "Access Denied.")),
                said(error(503, "SlowDown", "")),
                said(refusal(403, "")),
                said(refusal(400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>")),
                said(refusal(502, "<html>Bad gateway</html>")),
            ]
            .join("\n"),
            @r"
        s3://s3.example/b does not know the access key in the target's credentials
        s3://s3.example/b refuses the secret key in the target's credentials: it is not the access key's
        the bucket of s3://s3.example/b does not exist: make it, or mend the target's URL
        s3://s3.example/b refuses requests because this host's clock is 2 h 30 min behind the server's: set it
        s3://s3.example/b refuses to write `config`: Access Denied (AccessDenied)
        s3://s3.example/b cannot write `config` now: SlowDown
        s3://s3.example/b refuses to write `config`: HTTP status 403
        the bucket of s3://s3.example/b lies in region `eu-central-1`: add `?region=eu-central-1` to the target's URL
        s3://s3.example/b cannot write `config` now: HTTP status 502
        "
        );
    }

    #[test]
    fn clocks_are_compared() {
        let ahead =
            |seconds: i64| Refusal { ahead: Some(SignedDuration::from_secs(seconds)), ..error(403, "", "") };
        assert_eq!(ahead(-1_000).clock(), "this host's clock is 17 min ahead of the server's: set it");
        assert_eq!(ahead(7_260).clock(), "this host's clock is 2 h 1 min behind the server's: set it");
        assert_eq!(ahead(80).clock(), "this host's clock is 80 s behind the server's: set it");
        assert_eq!(ahead(0).clock(), "this host's clock is wrong: set it");
    }
}
