//! In front of a real CA: writes down what is asked, and says other things than the CA where a test
//! wants it.

#![allow(dead_code, reason = "each suite uses its part")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::http::request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::pebble::Pebble;

/// What is said instead of asking the CA.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Requests whose path contains this.
    pub path: &'static str,
    /// So many requests, then the CA is asked again.
    pub times: usize,
    pub status: u16,
    pub retry_after: Option<&'static str>,
    pub body: String,
    /// The CA is asked all the same, and its answer lost.
    pub lost: bool,
}

impl Reply {
    pub fn problem(path: &'static str, status: u16, kind: &str) -> Reply {
        let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "says the test" });
        Reply { path, times: usize::MAX, status, retry_after: None, body: body.to_string(), lost: false }
    }

    pub fn times(self, times: usize) -> Reply {
        Reply { times, ..self }
    }
}

/// What the CA's own answers say differently.
#[derive(Debug, Clone)]
pub struct Alteration {
    /// Answers to requests whose path contains this.
    pub path: &'static str,
    pub times: usize,
    /// Entries in place of the answer's own.
    pub fields: Value,
    pub retry_after: Option<&'static str>,
}

/// A request as the CA saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub user_agent: String,
    /// The signed part, of requests that have one.
    pub payload: Option<Value>,
    /// What it is signed with, and for.
    pub header: Value,
}

pub struct Proxy {
    pub directory: String,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    replies: Mutex<Vec<Reply>>,
    alterations: Mutex<Vec<Alteration>>,
    asked: Mutex<Vec<Asked>>,
    /// Entries that the directory gets beside the CA's own.
    directory: Mutex<Value>,
}

impl Proxy {
    pub async fn start(pebble: &Pebble) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_tls(pebble)));
        let state = Arc::new(State {
            upstream: pebble.address,
            client: client(pebble),
            replies: Mutex::default(),
            alterations: Mutex::default(),
            asked: Mutex::default(),
            directory: Mutex::default(),
        });
        tokio::spawn(serve(listener, acceptor, Arc::clone(&state)));
        Proxy { directory: format!("https://{address}/dir"), state }
    }

    pub fn reply(&self, reply: Reply) {
        self.state.replies.lock().unwrap().push(reply);
    }

    pub fn alter(&self, alteration: Alteration) {
        self.state.alterations.lock().unwrap().push(alteration);
    }

    pub fn let_through(&self) {
        self.state.replies.lock().unwrap().clear();
        self.state.alterations.lock().unwrap().clear();
    }

    /// The directory says this too; nothing of the CA's own is lost but `meta`.
    pub fn add_to_directory(&self, more: Value) {
        *self.state.directory.lock().unwrap() = more;
    }

    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.contains(path)).cloned().collect()
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(Arc::clone(&state), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let asked = asked(&parts, &body);
    state.asked.lock().unwrap().push(asked.clone());
    let reply = state.reply_to(&asked.path);
    match reply {
        Some(reply) if !reply.lost => Ok(said(&reply)),
        Some(reply) => {
            state.pass_on(parts, body, &asked).await;
            Ok(said(&reply))
        }
        None => Ok(state.pass_on(parts, body, &asked).await),
    }
}

fn asked(parts: &request::Parts, body: &Bytes) -> Asked {
    let jws = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let part = |name: &str| -> Option<Value> {
        let part = BASE64_URL_SAFE_NO_PAD.decode(jws[name].as_str()?).ok()?;
        serde_json::from_slice(&part).ok()
    };
    let (payload, header) = (part("payload"), part("protected").unwrap_or_default());
    let user_agent = parts.headers["user-agent"].to_str().unwrap().to_owned();
    Asked { path: parts.uri.path().to_owned(), user_agent, payload, header }
}

fn said(reply: &Reply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    if let Some(value) = reply.retry_after {
        response = response.header("retry-after", value);
    }
    response.body(Full::from(reply.body.clone())).unwrap()
}

impl State {
    fn reply_to(&self, path: &str) -> Option<Reply> {
        let mut replies = self.replies.lock().unwrap();
        let reply = replies.iter_mut().find(|reply| reply.times > 0 && path.contains(reply.path))?;
        reply.times -= 1;
        Some(reply.clone())
    }

    fn alteration_of(&self, path: &str) -> Option<Alteration> {
        let mut alterations = self.alterations.lock().unwrap();
        let found = alterations.iter_mut().find(|one| one.times > 0 && path.contains(one.path))?;
        found.times -= 1;
        Some(found.clone())
    }

    /// The CA makes its URLs of the Host header, which stays ours.
    async fn pass_on(&self, mut parts: request::Parts, body: Bytes, asked: &Asked) -> Response<Full<Bytes>> {
        parts.uri = format!("https://{}{}", self.upstream, parts.uri).parse().unwrap();
        let answer = self.client.request(Request::from_parts(parts, Full::from(body))).await.unwrap();
        let (mut parts, body) = answer.into_parts();
        let mut body = body.collect().await.unwrap().to_bytes();
        if let Some(more) = self.additions(asked)
            && let Ok(Value::Object(mut object)) = serde_json::from_slice(&body)
        {
            object.extend(more.as_object().cloned().unwrap_or_default());
            body = Value::Object(object).to_string().into();
            parts.headers.remove(CONTENT_LENGTH);
        }
        if let Some(alteration) = self.alteration_of(&asked.path) {
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            object.as_object_mut().unwrap().extend(alteration.fields.as_object().unwrap().clone());
            body = object.to_string().into();
            parts.headers.remove(CONTENT_LENGTH);
            if let Some(value) = alteration.retry_after {
                parts.headers.insert("retry-after", value.parse().unwrap());
            }
        }
        Response::from_parts(parts, Full::from(body))
    }

    /// Pebble has neither renewal information nor `replaces`: the proxy reflects it, as RFC 9773,
    /// section 5, wants.
    fn additions(&self, asked: &Asked) -> Option<Value> {
        let replaces = asked.payload.as_ref().and_then(|payload| payload.get("replaces"));
        match replaces {
            Some(replaces) => Some(json!({ "replaces": replaces })),
            None if asked.path == "/dir" => Some(self.directory.lock().unwrap().clone()),
            None => None,
        }
    }
}

fn client(pebble: &Pebble) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pebble.server_root.as_bytes()).unwrap()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn server_tls(pebble: &Pebble) -> ServerConfig {
    let (certificate, key) = pebble.server_pair();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap()
}
