//! HTTP for the places that speak it: connections that are kept, bodies that are sent as they lie in
//! memory, and a limit to every wait.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use object_store::client::{HttpError, HttpRequest, HttpRequestBody};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::{StoreError, StoreResult, Trouble};
use crate::failure::{Context, Failure, Result};

/// Bytes of an answer: longer than any pack, and than the list of a million of them.
const LARGEST_ANSWER: usize = 512 * 1024 * 1024;
/// Bytes that are handed to the connection at a time: each shows that the server still takes some.
const SLICE: usize = 64 * 1024;
/// Servers close connections that are idle for longer, and a request on its way is lost then.
const LONGEST_IDLE: Duration = Duration::from_secs(15);
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("autoodoo/", env!("CARGO_PKG_VERSION")));

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To let us connect to one of its addresses.
    pub connect: Duration,
    /// Without a byte in either direction.
    pub silence: Duration,
    /// For one request, to the last byte of its answer: 32 MiB at 5 kB/s.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(20),
            // What is in the kernel's buffers is sent without a sign: 4 MB at 40 kB/s.
            silence: Duration::from_mins(2),
            request: Duration::from_hours(2),
        }
    }
}

/// A client for one place, with a thread of its own that drives its connections.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Sliced>,
    limits: Limits,
    worker: Worker,
}

impl Http {
    /// `roots_pem`: what certifies the server, where it is not a public authority.
    pub(super) fn new(roots_pem: Option<&str>, limits: Limits) -> Result<Http> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(limits.connect));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots_pem)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(LONGEST_IDLE).build(connector);
        Ok(Http { client, limits, worker: Worker::start()? })
    }

    /// Blocks until `work` is done. Several threads may; none of them may be a runtime's own.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.worker.handle.block_on(work)
    }

    /// One request and its whole answer, whatever its status.
    pub(super) async fn exchange(&self, mut request: HttpRequest) -> StoreResult<Response<Bytes>> {
        request.headers_mut().insert(USER_AGENT, OURSELVES);
        let server = server(request.uri());
        let pulse = Pulse::new();
        let request = request.map(|body| Sliced { body, part: Bytes::new(), pulse: pulse.clone() });
        tokio::select! {
            answer = self.answer(request, &pulse) => answer.map_err(|error| broken(&server, error.as_ref())),
            () = pulse.stops(self.limits.silence) => Err(late(&server, "nothing happens", self.limits.silence)),
            () = sleep(self.limits.request) => Err(late(&server, "a request is not done", self.limits.request)),
        }
    }

    async fn answer(&self, request: Request<Sliced>, pulse: &Pulse) -> Result<Response<Bytes>, BoxedError> {
        let (parts, body) = self.client.request(request).await?.into_parts();
        Ok(Response::from_parts(parts, gather(body, pulse).await?))
    }
}

type BoxedError = Box<dyn StdError + Send + Sync>;

/// Copied once: into memory that is as large as the server says.
async fn gather(mut body: Incoming, pulse: &Pulse) -> Result<Bytes, BoxedError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::with_capacity(announced.min(LARGEST_ANSWER));
    while let Some(frame) = body.frame().await {
        pulse.beat();
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > LARGEST_ANSWER {
            return Err(format!("the answer is longer than {LARGEST_ANSWER} bytes").into());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// A body in pieces that are small enough to tell a slow connection from a dead one.
#[derive(Debug)]
pub(super) struct Sliced {
    body: HttpRequestBody,
    /// What is left of the part that is being sent.
    part: Bytes,
    pulse: Pulse,
}

impl Body for Sliced {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.part.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.part = frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end),
            }
        }
        self.pulse.beat();
        let length = self.part.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.part.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.part.len() as u64 + self.body.size_hint().lower())
    }
}

/// When bytes last moved.
#[derive(Debug, Clone)]
struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    fn new() -> Pulse {
        Pulse(Arc::new(Mutex::new(Instant::now())))
    }

    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when nothing has moved for that long.
    async fn stops(&self, silence: Duration) {
        loop {
            let until = self.last() + silence;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The thread on which sockets and clocks are watched; it ends with this value.
#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Its end is what the thread waits for.
    _owner: oneshot::Sender<()>,
}

impl Worker {
    fn start() -> Result<Worker> {
        const WHY: &str = "cannot start the thread that speaks to backup targets";
        let runtime = Builder::new_current_thread().enable_all().build().context(WHY)?;
        let handle = runtime.handle().clone();
        let (owner, gone) = oneshot::channel::<()>();
        let drive = move || {
            let _ = runtime.block_on(gone);
            // A name that is being looked up would hold the thread for as long as that takes.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("http".to_owned()).spawn(drive).context(WHY)?;
        Ok(Worker { handle, _owner: owner })
    }
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
    const WRONG: &str = "the certificates that a backup target is judged by cannot be read";
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store.add(certificate.context(WRONG)?).context(WRONG)?;
    }
    if store.is_empty() {
        return Err(Failure::usage("there is no certificate to judge a backup target by")
            .hint("`secrets/backup/<target>.roots.pem` should have a block that begins with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(store)
}

/// `https://host:port`, as people know the server.
fn server(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}")
}

fn late(server: &str, what: &str, limit: Duration) -> StoreError {
    StoreError::new(Trouble::Connection, format!("{server} is too slow: {what} for {} s", limit.as_secs()))
}

/// Why there is no answer, in the innermost error's words: the outer ones say "client error
/// (Connect)" and the like.
fn broken(server: &str, error: &(dyn StdError + 'static)) -> StoreError {
    let connecting = error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
    let mut innermost = error;
    loop {
        if let Some(reason @ rustls::Error::InvalidCertificate(_)) = innermost.downcast_ref() {
            return untrusted(server, reason);
        }
        match beneath(innermost) {
            Some(inner) => innermost = inner,
            None => break,
        }
    }
    let message = if connecting {
        format!("{server} cannot be reached: {innermost}")
    } else {
        format!("the connection to {server} broke: {innermost}")
    };
    StoreError::new(Trouble::Connection, message)
}

/// Asking again would not help.
fn untrusted(server: &str, reason: &rustls::Error) -> StoreError {
    let message = format!(
        "the certificate of {server} is not trusted ({reason}): if an authority of your own issued it, put \
         that authority's certificate into `secrets/backup/<target>.roots.pem`"
    );
    StoreError::new(Trouble::Other, message)
}

/// The error below this one. An I/O error hides the one that it wraps: its source is that one's.
fn beneath<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Every byte but those that are kept as `%XX` (RFC 3986, section 2.1).
pub(super) fn percent_encoded(text: &str, kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if kept(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// RFC 3986, section 2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_in_slices_and_keep_their_length() {
        let parts = [vec![1; SLICE + 1], vec![], vec![2; 3]].map(Bytes::from);
        let body = HttpRequestBody::from(object_store::PutPayload::from_iter(parts));
        let mut sliced = Sliced { body, part: Bytes::new(), pulse: Pulse::new() };
        let mut lengths = Vec::new();
        let mut context = TaskContext::from_waker(std::task::Waker::noop());
        assert_eq!(sliced.size_hint().exact(), Some(SLICE as u64 + 4));
        while let Poll::Ready(Some(frame)) = Pin::new(&mut sliced).poll_frame(&mut context) {
            let data = frame.unwrap().into_data().unwrap();
            lengths.push(data.len());
            let sent: usize = lengths.iter().sum();
            assert_eq!(sliced.size_hint().exact(), Some((SLICE + 4 - sent) as u64));
        }
        assert_eq!(lengths, [SLICE, 1, 3]);
        assert!(sliced.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte() {
        let (pulse, started) = (Pulse::new(), Instant::now());
        let limit = Duration::from_secs(10);
        let beats = async {
            sleep(Duration::from_secs(7)).await;
            pulse.beat();
        };
        tokio::join!(beats, pulse.stops(limit));
        assert_eq!(started.elapsed().as_secs(), 17);
    }

    #[test]
    fn roots_without_a_certificate_are_refused() {
        let failure = Http::new(Some("no PEM"), Limits::default()).unwrap_err();
        assert_eq!(failure.message, "there is no certificate to judge a backup target by");
    }

    #[test]
    fn names_are_encoded_byte_by_byte() {
        assert_eq!(
            percent_encoded("a b/ü%~", |byte| is_unreserved(byte) || byte == b'/'),
            "a%20b/%C3%BC%25~"
        );
    }
}
