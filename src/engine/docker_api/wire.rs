//! One engine's HTTP connection. It carries bollard's requests and our own.
//!
//! Ours are the ones for which bollard's types are in the way: reads, because its models refuse a
//! whole list for one foreign container in a state they do not know (Podman's `stopped`); and
//! upgraded streams, because its decoder takes a terminal's raw bytes below 3 for frame headers.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, body_full};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use crate::engine::endpoint::Endpoint;

type Body = <BollardRequest as RequestExt>::Body;

/// Names the body type of [`BollardRequest`], which bollard keeps private.
trait RequestExt {
    type Body;
}

impl<B> RequestExt for Request<B> {
    type Body = B;
}

/// How long an engine may take to answer an ordinary request. Long because an engine that is
/// deleting a large image makes everybody wait.
pub(super) const ORDINARY: Duration = Duration::from_mins(2);

/// Both directions of an upgraded connection.
pub(super) type Stream = TokioIo<Upgraded>;

/// Connections to one endpoint. Clones share them.
#[derive(Clone)]
pub(super) struct Wire {
    endpoint: Endpoint,
    /// `/v1.41`; empty until the version is agreed on.
    prefix: String,
    /// Connections that carried a request; some are still busy with a response.
    used: Arc<Mutex<Vec<SendRequest<Body>>>>,
}

impl Wire {
    pub(super) fn new(endpoint: Endpoint) -> Wire {
        Wire { endpoint, prefix: String::new(), used: Arc::default() }
    }

    /// What bollard sends its requests over.
    pub(super) fn transport(
        &self,
    ) -> impl Fn(BollardRequest) -> BoxFuture<'static, Result<Response<Incoming>, Error>> + Send + Sync + 'static
    {
        let wire = self.clone();
        move |request| {
            let wire = wire.clone();
            Box::pin(async move { wire.send(request).await })
        }
    }

    /// The same connections, speaking this version of the API.
    pub(super) fn speaking(&self, api: &str) -> Wire {
        Wire { prefix: format!("/v{api}"), ..self.clone() }
    }

    /// Reads one JSON value.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let response = self.ask(Method::GET, path, Bytes::new()).await?;
        let value = tokio::time::timeout(ORDINARY, Wire::finish(response)).await;
        value.map_err(|_| Error::RequestTimeoutError)?
    }

    /// Podman's own interface beside the Docker-like one.
    pub(super) fn libpod(&self) -> Wire {
        Wire { prefix: "/v4.0.0/libpod".to_owned(), ..self.clone() }
    }

    /// Sends a request that the engine finishes when something happens.
    pub(super) async fn begin(&self, path: &str) -> Result<Response<Incoming>, Error> {
        checked(self.send(request(Method::POST, path, Bytes::new())?).await?).await
    }

    /// Waits for the end of what was begun, and reads one JSON value.
    pub(super) async fn finish<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Error> {
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// The response to one ordinary request, refused when its status is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let sent = self.send(request(method, path, body)?);
        let response = tokio::time::timeout(ORDINARY, sent).await.map_err(|_| Error::RequestTimeoutError)?;
        checked(response?).await
    }

    /// Sends a request whose connection then becomes a stream of the engine's.
    pub(super) async fn upgrade(&self, path: &str, body: Bytes) -> Result<Stream, Error> {
        let mut request = request(Method::POST, path, body)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
        let response = checked(self.send(request).await?).await?;
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    }

    /// Sends over a connection that is free, or a new one. A request that never left, because the
    /// engine had closed the free connection meanwhile, is sent again over a new one.
    async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        let mut request = self.addressed(request)?;
        if let Some(mut free) = self.take_free() {
            match free.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(free, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(request).await?;
        Ok(self.keep(fresh, response))
    }

    fn take_free(&self) -> Option<SendRequest<Body>> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|connection| !connection.is_closed());
        let free = used.iter().position(SendRequest::is_ready)?;
        Some(used.swap_remove(free))
    }

    fn keep(&self, connection: SendRequest<Body>, response: Response<Incoming>) -> Response<Incoming> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        response
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        match &self.endpoint {
            Endpoint::Unix(path) => handshake(UnixStream::connect(path).await?).await,
            Endpoint::Tcp(address) => handshake(TcpStream::connect(address).await?).await,
        }
    }

    /// The request in the form that goes over the wire: only path and query, with the version.
    fn addressed(&self, mut request: BollardRequest) -> Result<BollardRequest, Error> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("{}{path}", self.prefix).parse::<Uri>()?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        Ok(request)
    }
}

async fn handshake<S>(stream: S) -> io::Result<SendRequest<Body>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // An error of the connection reaches whoever waits for its response.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

fn request(method: Method, path: &str, body: Bytes) -> Result<BollardRequest, Error> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    Ok(request.body(body_full(body))?)
}

/// The engine's own message when the status is an error.
async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let status = response.status();
    if status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS) {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let message = serde_json::from_slice::<Refusal>(&body)
        .map_or_else(|_| String::from_utf8_lossy(&body).trim().to_owned(), |refusal| refusal.message);
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}
