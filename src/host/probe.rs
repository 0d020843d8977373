//! Asking a web server one question, as a browser would, with a deadline.

mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::digest::sha256_hex;

/// Bytes of a body that are read; the rest is left with the server.
const LARGEST_BODY: usize = 1024 * 1024;

/// One GET request. For a websocket, add its Upgrade headers and read status 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// Where to connect, whatever the name resolves to.
    pub connect: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<TlsTrust>,
    /// The Host header (a port may follow the name) and, without the port, the TLS server name.
    pub host: String,
    /// With the query, such as `/web/login?db=acme`.
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// For everything from connecting to the last byte.
    pub deadline: Duration,
}

/// Which server certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsTrust {
    /// Those that lead to one of these certificates (PEM).
    Roots(String),
    /// The one with this SHA-256, in hexadecimal.
    Certificate(String),
    /// Any: to see what is served, never to believe what it says.
    Anything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In the server's order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decoded from chunks, not decompressed; at most 1 MiB.
    pub body: Vec<u8>,
    /// SHA-256 of the certificate the server showed, in hexadecimal; `None` without TLS.
    pub certificate: Option<String>,
}

impl Answer {
    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What a server showed in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// SHA-256 of the server's certificate, in hexadecimal.
    pub fingerprint: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error("no connection to {address}: {reason}")]
    Connect { address: SocketAddr, reason: String },
    #[error("no TLS with {address}: {reason}")]
    Tls { address: SocketAddr, reason: String },
    #[error("{address} did not answer in HTTP: {reason}")]
    Http { address: SocketAddr, reason: String },
    #[error("{address} did not answer within {} s", deadline.as_secs_f32())]
    Late { address: SocketAddr, deadline: Duration },
    /// The question itself is wrong.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Probe {
    async fn get(&self, request: &Get) -> Result<Answer, ProbeError>;

    /// The certificate that is shown for this name, whoever signed it.
    async fn certificate(
        &self,
        connect: SocketAddr,
        name: &str,
        deadline: Duration,
    ) -> Result<Shown, ProbeError>;
}

/// Asks over the network, on a connection of its own each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpProbe;

impl Probe for HttpProbe {
    async fn get(&self, request: &Get) -> Result<Answer, ProbeError> {
        let late = ProbeError::Late { address: request.connect, deadline: request.deadline };
        tokio::time::timeout(request.deadline, ask(request)).await.map_err(|_| late)?
    }

    async fn certificate(
        &self,
        connect: SocketAddr,
        name: &str,
        deadline: Duration,
    ) -> Result<Shown, ProbeError> {
        let late = ProbeError::Late { address: connect, deadline };
        tokio::time::timeout(deadline, look(connect, name)).await.map_err(|_| late)?
    }
}

async fn ask(request: &Get) -> Result<Answer, ProbeError> {
    let http = http_request(request)?;
    let address = request.connect;
    let tcp = connect(address).await?;
    let answer = match &request.tls {
        None => exchange(tcp, http).await,
        Some(trust) => {
            let stream = start_tls(tcp, address, &request.host, trust).await?;
            let certificate = leaf_fingerprint(&stream);
            exchange(stream, http).await.map(|answer| Answer { certificate, ..answer })
        }
    };
    answer.map_err(|error| ProbeError::Http { address, reason: reason(&error) })
}

async fn look(address: SocketAddr, name: &str) -> Result<Shown, ProbeError> {
    let stream = start_tls(connect(address).await?, address, name, &TlsTrust::Anything).await?;
    let none = || ProbeError::Tls { address, reason: "it showed no certificate".to_owned() };
    leaf_fingerprint(&stream).map(|fingerprint| Shown { fingerprint }).ok_or_else(none)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let tcp = TcpStream::connect(address)
        .await
        .map_err(|error| ProbeError::Connect { address, reason: io_reason(&error) })?;
    // The end of the TLS handshake and the request are two small writes: without this the second
    // would wait 40 ms for the acknowledgement that the server delays (RFC 9293, section 3.7.4).
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

fn http_request(request: &Get) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let mut http = Request::get(&request.path).header(header::HOST, &request.host);
    for (name, value) in &request.headers {
        http = http.header(name, value);
    }
    http.body(Empty::new()).map_err(|error| ProbeError::Request(error.to_string()))
}

async fn start_tls(
    tcp: TcpStream,
    address: SocketAddr,
    host: &str,
    trust: &TlsTrust,
) -> Result<TlsStream<TcpStream>, ProbeError> {
    let name = server_name(host)?;
    let config = trust::client_config(trust).map_err(ProbeError::Request)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    connected.map_err(|error| ProbeError::Tls { address, reason: io_reason(&error) })
}

/// The name or address in a Host header, without port and brackets.
fn server_name(host: &str) -> Result<ServerName<'static>, ProbeError> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(name).map_err(|_| ProbeError::Request(format!("`{host}` is not a host name")))
}

fn leaf_fingerprint(stream: &TlsStream<TcpStream>) -> Option<String> {
    stream.get_ref().1.peer_certificates()?.first().map(|certificate| sha256_hex(certificate))
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(async { read(sender.send_request(request).await?).await });
    // The connection moves the bytes. When it ends first, the answer has either come whole or
    // fails with the reason, so it is waited for either way.
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        ended = &mut connection => ended?,
    }
    answer.await
}

async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let headers = headers.collect();
    // After 101 the connection speaks another protocol: there is no body to wait for.
    let body = match head.status {
        StatusCode::SWITCHING_PROTOCOLS => Vec::new(),
        _ => read_body(body).await?,
    };
    Ok(Answer { status: head.status.as_u16(), headers, body, certificate: None })
}

async fn read_body(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < LARGEST_BODY
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            let room = LARGEST_BODY - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(bytes)
}

/// The innermost cause says it best: "connection reset by peer" rather than "connection error".
fn reason(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof => {
            "it closed the connection".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server for one connection: it reads a request's head, says `reply` and then hangs on to
    /// the connection if `hang`, else closes it. Returns its address and what it was asked.
    async fn server(
        tls: Option<rustls::ServerConfig>,
        reply: Vec<u8>,
        hang: bool,
    ) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            match tls {
                None => converse(stream, &reply, hang).await,
                Some(config) => match TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                    Ok(stream) => converse(stream, &reply, hang).await,
                    Err(_) => String::new(),
                },
            }
        });
        (address, task)
    }

    async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: &[u8], hang: bool) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.unwrap() > 0 {}
        // A client that has read enough may be gone before the end.
        let _ = stream.write_all(reply).await;
        let _ = stream.flush().await;
        if hang {
            std::future::pending::<()>().await;
        }
        let _ = stream.shutdown().await;
        String::from_utf8(asked).unwrap()
    }

    fn get(connect: SocketAddr) -> Get {
        Get {
            connect,
            tls: None,
            host: "odoo.example.com".to_owned(),
            path: "/web/login".to_owned(),
            headers: Vec::new(),
            deadline: Duration::from_secs(20),
        }
    }

    fn certificate(name: &str) -> (String, rustls::ServerConfig) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        (made.cert.pem(), config)
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nX-Twice: a\r\nx-twice: b\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    #[tokio::test]
    async fn asks_what_it_is_told_and_reads_the_answer() {
        let (address, asked) = server(None, ok("hello"), false).await;
        let mut request = get(address);
        request.headers.push(("X-Forwarded-Proto".to_owned(), "https".to_owned()));
        let answer = HttpProbe.get(&request).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
        assert_eq!(answer.header("X-TWICE"), Some("a"));
        assert_eq!(answer.headers.len(), 3);
        assert_eq!(answer.certificate, None);
        assert_eq!(
            asked.await.unwrap(),
            "GET /web/login HTTP/1.1\r\nhost: odoo.example.com\r\nx-forwarded-proto: https\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_body_may_end_with_the_connection() {
        let (address, _) = server(None, b"HTTP/1.0 404 Not Found\r\n\r\nnothing here".to_vec(), false).await;
        let answer = HttpProbe.get(&get(address)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (404, &b"nothing here"[..]));
    }

    #[tokio::test]
    async fn a_switch_of_protocols_is_an_answer_and_does_not_hang() {
        let reply = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi";
        let (address, _) = server(None, reply.to_vec(), true).await;
        let mut request = get(address);
        for (name, value) in [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ] {
            request.headers.push((name.to_owned(), value.to_owned()));
        }
        let answer = HttpProbe.get(&request).await.unwrap();
        assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    }

    #[tokio::test]
    async fn a_long_body_is_cut() {
        let (address, _) = server(None, ok(&"x".repeat(3 * LARGEST_BODY)), false).await;
        assert_eq!(HttpProbe.get(&get(address)).await.unwrap().body.len(), LARGEST_BODY);
    }

    #[tokio::test]
    async fn a_trusted_certificate_is_fingerprinted() {
        let (pem, config) = certificate("odoo.example.com");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (address, _) = server(Some(config), ok("hello"), false).await;
        let host = format!("odoo.example.com:{}", address.port());
        let request = Get { tls: Some(TlsTrust::Roots(pem)), host, ..get(address) };
        let answer = HttpProbe.get(&request).await.unwrap();
        assert_eq!(answer.certificate, Some(sha256_hex(&der)));
        assert_eq!(answer.body, b"hello");
    }

    #[tokio::test]
    async fn another_certificate_is_refused_unless_anything_goes() {
        let (stranger, _) = certificate("odoo.example.com");
        for (trust, accepted) in [(TlsTrust::Roots(stranger), false), (TlsTrust::Anything, true)] {
            let (_, config) = certificate("www.example.com");
            let (address, _) = server(Some(config), ok("hello"), false).await;
            match HttpProbe.get(&Get { tls: Some(trust), ..get(address) }).await {
                Ok(answer) => assert!(accepted && answer.certificate.is_some()),
                Err(error) => assert!(!accepted && matches!(error, ProbeError::Tls { .. }), "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline() {
        let (address, _) = server(None, Vec::new(), true).await;
        let deadline = Duration::from_millis(50);
        let error = HttpProbe.get(&Get { deadline, ..get(address) }).await.unwrap_err();
        assert_eq!(error, ProbeError::Late { address, deadline });
        assert_eq!(error.to_string(), format!("{address} did not answer within 0.05 s"));
    }

    #[tokio::test]
    async fn each_way_to_fail_is_told_apart() {
        let (address, listener) = server(None, Vec::new(), false).await;
        let error = HttpProbe.get(&get(address)).await.unwrap_err();
        assert!(matches!(error, ProbeError::Http { .. }), "{error}");
        listener.await.unwrap();
        let error = HttpProbe.get(&get(address)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no connection to {address}: nobody listens there"));
        let request = Get { path: "no path".to_owned(), ..get(address) };
        assert!(matches!(HttpProbe.get(&request).await, Err(ProbeError::Request(_))));
        let request = Get { tls: Some(TlsTrust::Roots("none".to_owned())), ..get(address) };
        assert!(HttpProbe.get(&request).await.is_err());
    }

    #[test]
    fn server_names_lose_their_port() {
        for (host, name) in [
            ("odoo.example.com", "odoo.example.com"),
            ("odoo.example.com:8443", "odoo.example.com"),
            ("[::1]:8443", "::1"),
            ("127.0.0.1:443", "127.0.0.1"),
        ] {
            assert_eq!(server_name(host).unwrap(), ServerName::try_from(name).unwrap(), "{host}");
        }
        assert!(server_name("no name").is_err());
    }
}
