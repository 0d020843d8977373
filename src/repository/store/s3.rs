//! Places that speak S3: Amazon's own and every other that is like it.
//!
//! Buckets are named in the path, which every server knows. Each upload has an MD5 and a SHA-256
//! checksum: buckets with Object Lock want one (Amazon S3 User Guide, "Object Lock considerations"),
//! and some servers know only the older.

mod refusal;

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::http::HeaderValue;
use hyper::{Request, Response, Uri};
use jiff::Timestamp;
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential, Checksum};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};

use super::http::{Http, Limits, is_unreserved, percent_encoded};
use super::{Access, FileKind, Store, StoreError, StoreResult, Trouble, is_name, left_before};
use crate::failure::{Context, Failure, Result};
use refusal::Refusal;

/// Where a bucket lies, and which part of it is the repository.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    /// `https://host:port`, or `http://`.
    pub endpoint: &'a str,
    pub name: &'a str,
    /// Without a slash at its ends; may be empty.
    pub prefix: &'a str,
    pub region: &'a str,
}

pub struct S3 {
    objects: AmazonS3,
    http: Arc<Http>,
    credential: AwsCredential,
    region: String,
    /// `https://host:port/bucket`.
    url: String,
    prefix: Path,
    /// The server has said that it knows no conditional writes.
    unconditional: AtomicBool,
}

impl S3 {
    /// Nothing is connected yet.
    pub fn new(bucket: Bucket<'_>, access: &Access, limits: Limits) -> Result<S3> {
        let Some((id, secret)) = &access.credentials else {
            return Err(Failure::usage(format!("there is no access key for the bucket `{}`", bucket.name))
                .hint("write its identifier and the secret key, a line each, into `secrets/backup/<target>.credentials`"));
        };
        let (id, secret) = (id.as_str(), secret.expose());
        let http = Arc::new(Http::new(access.roots_pem.as_deref(), limits)?);
        let why = || format!("`{}` cannot be the prefix of a repository in a bucket", bucket.prefix);
        Ok(S3 {
            objects: objects(bucket, (id, secret), &http)?,
            http,
            credential: AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token: None },
            region: bucket.region.to_owned(),
            url: format!("{}/{}", bucket.endpoint.trim_end_matches('/'), bucket.name),
            prefix: Path::parse(bucket.prefix).context(why())?,
            unconditional: AtomicBool::new(false),
        })
    }

    fn path(&self, kind: FileKind, name: &str) -> Path {
        kind.path(name).split('/').fold(self.prefix.clone(), Path::join)
    }

    /// The objects whose keys begin so. Unlike HEAD, listing says why it is refused.
    async fn objects(
        &self,
        prefix: &str,
        most: Option<usize>,
    ) -> Result<Vec<ObjectMeta>, object_store::Error> {
        let mut found = Vec::new();
        let mut options = PaginatedListOptions { max_keys: most, ..Default::default() };
        loop {
            let page = self.objects.list_paginated(Some(prefix), options.clone()).await?;
            found.extend(page.result.objects);
            match page.page_token {
                Some(token) if most.is_none() => options.page_token = Some(token),
                _ => return Ok(found),
            }
        }
    }

    async fn size(&self, path: &Path) -> Result<Option<u64>, object_store::Error> {
        // Keys are listed in their order: the whole prefix comes before what is longer.
        let first = self.objects(path.as_ref(), Some(1)).await?;
        Ok(first.iter().find(|object| object.location == *path).map(|object| object.size))
    }

    async fn put(&self, path: &Path, parts: &[Bytes]) -> Result<(), object_store::Error> {
        let payload: PutPayload = parts.iter().cloned().collect();
        let mut options = PutOptions::default();
        options.extensions.insert(ContentMd5::of(parts));
        if !self.unconditional.load(Ordering::Relaxed) {
            let create = PutOptions { mode: PutMode::Create, ..options.clone() };
            match self.objects.put_opts(path, payload.clone(), create).await {
                Err(error) if beneath(&error).is_some_and(Refusal::is_not_implemented) => {
                    self.unconditional.store(true, Ordering::Relaxed);
                }
                answer => return answer.map(drop),
            }
        }
        self.objects.put_opts(path, payload, options).await.map(drop)
    }

    /// In a bucket that keeps versions, a plain DELETE only hides the object, locked or not, and
    /// frees nothing. The version itself is asked to go: a lock, or a key that may only add, refuses
    /// that, and the object stays in sight.
    async fn delete(&self, path: &Path, version: Option<&str>) -> Result<HttpResponse, HttpError> {
        let mut request = Request::delete(self.url_of(path, version))
            .body(HttpRequestBody::empty())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        Service(Arc::clone(&self.http)).answer(request).await
    }

    fn url_of(&self, path: &Path, version: Option<&str>) -> String {
        let key = percent_encoded(path.as_ref(), |byte| is_unreserved(byte) || byte == b'/');
        let version =
            version.map(|version| format!("?versionId={}", percent_encoded(version, is_unreserved)));
        format!("{}/{key}{}", self.url, version.unwrap_or_default())
    }

    /// `action`: what was tried, as in "write `config`".
    fn told<T, E: StdError + 'static>(&self, action: &str, result: Result<T, E>) -> StoreResult<T> {
        result.map_err(|error| {
            if let Some(broken) = beneath::<StoreError>(&error) {
                return broken.clone();
            }
            match beneath::<Refusal>(&error) {
                Some(refusal) => {
                    StoreError::new(refusal.trouble(), refusal.sentence(&self.location(), action))
                }
                None => self.odd(action, &error.to_string()),
            }
        })
    }

    /// The server answered, but what no S3 server should.
    fn odd(&self, action: &str, what: &str) -> StoreError {
        StoreError::new(Trouble::Other, format!("{} could not {action}: {what}", self.location()))
    }
}

impl Store for S3 {
    fn location(&self) -> String {
        let address = match self.url.split_once("://") {
            Some(("http", address)) => format!("s3+http://{address}"),
            Some((_, address)) => format!("s3://{address}"),
            None => self.url.clone(),
        };
        if self.prefix.as_ref().is_empty() { address } else { format!("{address}/{}", self.prefix) }
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        let action = format!("list `{}`", kind.directory());
        if kind == FileKind::Config {
            let size = self.told(&action, self.http.wait(self.size(&self.path(kind, ""))))?;
            return Ok(size.map(|size| ("config".to_owned(), size)).into_iter().collect());
        }
        let directory = format!("{}/", self.prefix.clone().join(kind.directory()));
        let objects = self.told(&action, self.http.wait(self.objects(&directory, None)))?;
        let name = |object: &ObjectMeta| object.location.filename().unwrap_or_default().to_owned();
        let ours =
            |object: &ObjectMeta| is_name(&name(object)) && object.location == self.path(kind, &name(object));
        Ok(objects.iter().filter(|object| ours(object)).map(|object| (name(object), object.size)).collect())
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        let path = self.path(kind, name);
        let read = self.http.wait(async { self.objects.get(&path).await?.bytes().await });
        self.told(&reading(kind, name), read)
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let range = self.http.wait(self.objects.get_range(&self.path(kind, name), offset..offset + length));
        let range = self.told(&reading(kind, name), range)?;
        if range.len() as u64 == length {
            return Ok(range);
        }
        let what = format!("it has {} bytes from {offset} instead of {length}", range.len());
        Err(self.odd(&reading(kind, name), &what))
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        let (path, action) = (self.path(kind, name), format!("write `{}`", kind.path(name)));
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        // Not every server heeds the condition of a conditional write, so each is asked first.
        if let Some(size) = self.told(&action, self.http.wait(self.size(&path)))? {
            return left_before(self, kind, name, size, length);
        }
        match self.told(&action, self.http.wait(self.put(&path, parts))) {
            Err(error) if error.trouble == Trouble::Exists => {
                let size = self.told(&action, self.http.wait(self.size(&path)))?;
                left_before(self, kind, name, size.unwrap_or_default(), length)
            }
            written => written,
        }
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        let (path, action) = (self.path(kind, name), format!("remove `{}`", kind.path(name)));
        let object = match self.told(&action, self.http.wait(self.objects.head(&path))) {
            Err(error) if error.trouble == Trouble::Absent => return Ok(()),
            object => object?,
        };
        let answer = self.told(&action, self.http.wait(self.delete(&path, object.version.as_deref())))?;
        if answer.headers().get("x-amz-delete-marker").is_some_and(|marker| marker == "true") {
            let message = format!("{} has hidden `{}` but keeps it", self.location(), kind.path(name));
            return Err(StoreError::new(Trouble::Denied, message));
        }
        Ok(())
    }

    /// There are no directories: only whether the bucket is there, and lets us in.
    fn create(&self) -> StoreResult<()> {
        let found = self.http.wait(self.objects(self.prefix.as_ref(), Some(1)));
        self.told("list the bucket", found).map(drop)
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        Ok(None)
    }
}

fn reading(kind: FileKind, name: &str) -> String {
    format!("read `{}`", kind.path(name))
}

/// `key`: its identifier and the secret one.
fn objects(bucket: Bucket<'_>, key: (&str, &str), http: &Arc<Http>) -> Result<AmazonS3> {
    AmazonS3Builder::new()
        .with_endpoint(bucket.endpoint)
        .with_bucket_name(bucket.name)
        .with_region(bucket.region)
        .with_access_key_id(key.0)
        .with_secret_access_key(key.1)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_allow_http(true)
        // Whoever calls repeats what failed: this store's answer is that of one attempt.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(Service(Arc::clone(http)))
        .build()
        .context(format!("the bucket `{}` at `{}` cannot be used", bucket.name, bucket.endpoint))
}

/// Goes along with an upload, to become its header (RFC 1864).
#[derive(Debug, Clone)]
struct ContentMd5(String);

impl ContentMd5 {
    fn of(parts: &[Bytes]) -> ContentMd5 {
        let digest = parts.iter().fold(Md5::new(), Md5::chain_update).finalize();
        ContentMd5(BASE64_STANDARD.encode(digest))
    }
}

/// What the library makes its requests with. It is kept from refusals: it would forget their headers.
#[derive(Debug, Clone)]
struct Service(Arc<Http>);

impl Service {
    async fn answer(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(ContentMd5(sum)) = request.extensions().get().cloned() {
            let sum =
                HeaderValue::try_from(sum).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request.headers_mut().insert("content-md5", sum);
        }
        *request.uri_mut() = with_encoded_spaces(request.uri());
        let answer = self.0.exchange(request).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let (parts, body) = answer.into_parts();
        if parts.status.is_success() {
            return Ok(Response::from_parts(parts, HttpResponseBody::from(body)));
        }
        let refusal = Refusal::read(&parts, &body, Timestamp::now());
        Err(HttpError::new(HttpErrorKind::Unknown, refusal))
    }
}

/// The library writes spaces of a query as forms do (`+`), but signs `%20`, and some servers compare
/// literally.
fn with_encoded_spaces(uri: &Uri) -> Uri {
    let encoded = uri.query().filter(|query| query.contains('+')).map(|query| query.replace('+', "%20"));
    let encoded = encoded.and_then(|query| {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(format!("{}?{query}", uri.path()).parse().ok()?);
        Uri::from_parts(parts).ok()
    });
    encoded.unwrap_or_else(|| uri.clone())
}

impl HttpConnector for Service {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Service {
    // As `async_trait` writes it.
    fn call<'service, 'answer>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'answer>>
    where
        'service: 'answer,
        Self: 'answer,
    {
        Box::pin(self.answer(request))
    }
}

/// The error of this type that the library has wrapped.
fn beneath<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
