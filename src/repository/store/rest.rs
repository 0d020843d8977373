//! Places that speak restic's REST protocol (restic's reference, "REST Backend"), version 2.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, RANGE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use object_store::PutPayload;
use object_store::client::HttpRequestBody;
use serde::Deserialize;

use super::http::{Http, Limits, is_unreserved, percent_encoded};
use super::{Access, FileKind, Store, StoreError, StoreResult, Trouble, is_name, left_before};
use crate::failure::{Failure, Result};
use crate::secret::Secret;

const VERSION_2: HeaderValue = HeaderValue::from_static("application/vnd.x.restic.rest.v2");

pub struct Rest {
    http: Http,
    /// The URL as people write it.
    shown: String,
    /// Encoded, with a slash at its end.
    url: String,
    authorization: Option<HeaderValue>,
    /// URLs of files whose upload was cut, and not yet done again.
    cut: Mutex<HashSet<String>>,
}

/// A file in a directory's listing.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Rest {
    /// `url`: `https://host:port/path/`, or `http://`. Nothing is connected yet.
    pub fn new(url: &str, access: &Access, limits: Limits) -> Result<Rest> {
        let shown = format!("{}/", url.trim_end_matches('/'));
        // What is encoded already stays so.
        let url =
            percent_encoded(&shown, |byte| is_unreserved(byte) || b"%:/?#[]@!$&'()*+,;=".contains(&byte));
        if !url.parse::<Uri>().is_ok_and(|url| url.scheme().is_some()) {
            return Err(Failure::usage(format!("`{shown}` is no URL of a REST server")));
        }
        let authorization = access.credentials.as_ref().map(basic).transpose()?;
        Ok(Rest {
            http: Http::new(access.roots_pem.as_deref(), limits)?,
            shown,
            url,
            authorization,
            cut: Mutex::default(),
        })
    }

    /// Unlike on other places, packs lie in one directory.
    fn url_of(&self, kind: FileKind, name: &str) -> String {
        match kind {
            FileKind::Config => format!("{}config", self.url),
            _ => format!("{}{}/{name}", self.url, kind.directory()),
        }
    }

    fn ask(
        &self,
        method: Method,
        url: &str,
        header: Option<(HeaderName, HeaderValue)>,
        parts: &[Bytes],
    ) -> StoreResult<Response<Bytes>> {
        let body = HttpRequestBody::from(parts.iter().cloned().collect::<PutPayload>());
        let wrong = |error: hyper::http::Error| StoreError::new(Trouble::Other, format!("{url}: {error}"));
        let mut request = Request::builder().method(method).uri(url).body(body).map_err(wrong)?;
        request.headers_mut().extend(header);
        request.headers_mut().extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        self.http.wait(self.http.exchange(request))
    }

    /// Whether the file is there, and how long.
    fn size(&self, kind: FileKind, name: &str) -> StoreResult<Option<u64>> {
        let answer = self.ask(Method::HEAD, &self.url_of(kind, name), None, &[])?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let action = format!("look at `{}`", kind.path(name));
        let answer = self.accept(answer, &action)?;
        let length =
            answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map(Some).ok_or_else(|| self.odd(&action, "it does not tell the length"))
    }

    /// This store was in the middle of writing it. `config` is nobody's own: another may have made it.
    fn was_cut(&self, kind: FileKind, url: &str) -> bool {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        kind != FileKind::Config && cut.contains(url)
    }

    fn note(&self, url: &str, is_cut: bool) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if is_cut {
            cut.insert(url.to_owned());
        } else {
            cut.remove(url);
        }
    }

    /// The server does not take a file that is there. What a cut upload has left goes a moment later.
    fn refused(&self, kind: FileKind, name: &str, length: u64, error: StoreError) -> StoreResult<()> {
        match self.size(kind, name)? {
            None => Err(error),
            Some(size) if size != length && self.was_cut(kind, &self.url_of(kind, name)) => {
                let (place, path) = (self.location(), kind.path(name));
                let message =
                    format!("{place} still has {size} of {length} bytes of `{path}`: its upload was cut");
                Err(StoreError::new(Trouble::Connection, message))
            }
            Some(size) => left_before(self, kind, name, size, length),
        }
    }

    fn accept(&self, answer: Response<Bytes>, action: &str) -> StoreResult<Response<Bytes>> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(&answer, action)) }
    }

    /// `action`: what was tried, as in "write `config`".
    fn refusal(&self, answer: &Response<Bytes>, action: &str) -> StoreError {
        let (status, place) = (answer.status(), self.location());
        let message = match (status, &self.authorization) {
            (StatusCode::UNAUTHORIZED, None) => {
                format!("{place} wants a user and a password: the target has no credentials")
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                format!("{place} refuses the user and password in the target's credentials")
            }
            (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE, _) => {
                format!("{place} has no space left to {action}")
            }
            _ if trouble(status) == Trouble::Connection => {
                format!("{place} cannot {action} now: {}", reason(answer))
            }
            _ => format!("{place} refuses to {action}: {}", reason(answer)),
        };
        StoreError::new(trouble(status), message)
    }

    /// The server answered, but not as the protocol says.
    fn odd(&self, action: &str, what: &str) -> StoreError {
        StoreError::new(Trouble::Other, format!("{} could not {action}: {what}", self.location()))
    }
}

impl Store for Rest {
    fn location(&self) -> String {
        format!("rest:{}", self.shown)
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        if kind == FileKind::Config {
            let size = self.size(kind, "config")?;
            return Ok(size.map(|size| ("config".to_owned(), size)).into_iter().collect());
        }
        let action = format!("list `{}`", kind.directory());
        let answer = self.ask(Method::GET, &self.url_of(kind, ""), Some((ACCEPT, VERSION_2)), &[])?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let answer = self.accept(answer, &action)?;
        let listed: Vec<Listed> = serde_json::from_slice(answer.body())
            .map_err(|error| self.odd(&action, &format!("no list of version 2 of the protocol: {error}")))?;
        Ok(listed.into_iter().filter(|file| is_name(&file.name)).map(|file| (file.name, file.size)).collect())
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        let answer = self.ask(Method::GET, &self.url_of(kind, name), None, &[])?;
        Ok(self.accept(answer, &reading(kind, name))?.into_body())
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let Some(last) = (offset + length).checked_sub(1).filter(|last| *last >= offset) else {
            return Ok(Bytes::new());
        };
        let action = reading(kind, name);
        let range = HeaderValue::try_from(format!("bytes={offset}-{last}"))
            .map_err(|error| self.odd(&action, &error.to_string()))?;
        let answer = self.ask(Method::GET, &self.url_of(kind, name), Some((RANGE, range)), &[])?;
        let answer = self.accept(answer, &action)?;
        let whole = answer.status() != StatusCode::PARTIAL_CONTENT;
        let bytes = answer.into_body();
        match bytes.len() as u64 {
            got if got == length && !whole => Ok(bytes),
            _ if whole => Err(self.odd(&action, "it sends the whole file instead of a part")),
            got => Err(self.odd(&action, &format!("it has {got} bytes from {offset} instead of {length}"))),
        }
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        let (url, length) = (self.url_of(kind, name), parts.iter().map(|part| part.len() as u64).sum());
        // Some servers replace a file that is there. Of one whose upload was cut they may still have a
        // half; rclone remembers the length that was seen, and must not be asked.
        if !self.was_cut(kind, &url)
            && let Some(size) = self.size(kind, name)?
        {
            return left_before(self, kind, name, size, length);
        }
        let answer = self.ask(Method::POST, &url, None, parts).inspect_err(|_| self.note(&url, true))?;
        match self.accept(answer, &format!("write `{}`", kind.path(name))) {
            Err(error) if error.trouble == Trouble::Denied => self.refused(kind, name, length, error),
            written => written.map(|_| self.note(&url, false)),
        }
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        let answer = self.ask(Method::DELETE, &self.url_of(kind, name), None, &[])?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        self.accept(answer, &format!("remove `{}`", kind.path(name))).map(drop)
    }

    fn create(&self) -> StoreResult<()> {
        let answer = self.ask(Method::POST, &format!("{}?create=true", self.url), None, &[])?;
        self.accept(answer, "make a repository").map(drop)
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        Ok(None)
    }
}

fn reading(kind: FileKind, name: &str) -> String {
    format!("read `{}`", kind.path(name))
}

/// RFC 7617, section 2.
fn basic((user, password): &(String, Secret)) -> Result<HeaderValue> {
    let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|error| Failure::usage("the credentials of a REST server cannot be sent").because(error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// 413 is what restic's server says when a quota is used up.
fn trouble(status: StatusCode) -> Trouble {
    match status.as_u16() {
        401 | 403 => Trouble::Denied,
        404 => Trouble::Absent,
        413 | 507 => Trouble::Full,
        408 | 429 | 500 | 502..=599 => Trouble::Connection,
        _ => Trouble::Other,
    }
}

/// The server's own words where it has some: plain text, one line.
fn reason(answer: &Response<Bytes>) -> String {
    let said = String::from_utf8_lossy(answer.body());
    let said = said.lines().next().unwrap_or_default().trim();
    if said.is_empty() || said.starts_with('<') || said.len() > 200 {
        return format!("HTTP status {}", answer.status());
    }
    format!("{said} (HTTP status {})", answer.status().as_u16())
}
