//! Connections that visitors keep open: one on which they ask again and again, and a websocket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::http::Browser;
use crate::site::Site;

const PAUSE: Duration = Duration::from_millis(20);
/// A websocket that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(5);

/// What became of them.
#[derive(Debug, Default)]
pub struct Kept {
    pub asked: usize,
    /// Questions without an answer. A browser asks once more when a connection that it had used
    /// before is closed without a word (RFC 9110, section 9.2.2).
    pub lost: Vec<String>,
    /// Answers to pings on the websocket.
    pub pongs: usize,
    /// How long there was no websocket, each time that it broke.
    pub breaks: Vec<Duration>,
}

impl Kept {
    #[track_caller]
    pub fn was_well(&self) {
        eprintln!("           kept: {} asked, {} pongs, breaks {:?}", self.asked, self.pongs, self.breaks);
        assert!(self.lost.is_empty(), "lost {} of {}: {:?}", self.lost.len(), self.asked, self.lost);
        assert!(self.asked > 20 && self.pongs > 10, "too few to tell: {self:?}");
        assert!(self.breaks.iter().all(|time| *time < Duration::from_secs(1)), "{:?}", self.breaks);
    }
}

/// Runs `act` while a logged-in visitor keeps both.
pub fn while_kept(site: &Site, act: impl FnOnce()) -> Kept {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let visitor = &Visitor::new(site, &browser.session());
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| visitor.ask_again_and_again(over));
        let listening = scope.spawn(|| visitor.hold_websocket(over));
        // Both have begun.
        thread::sleep(Duration::from_millis(500));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        over.store(true, Ordering::Relaxed);
        let mut kept = asking.join().expect("it does not panic");
        (kept.pongs, kept.breaks) = listening.join().expect("the websocket opens");
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        kept
    })
}

type Line = StreamOwned<ClientConnection, TcpStream>;

struct Visitor {
    port: u16,
    host: String,
    session: String,
    tls: Arc<ClientConfig>,
}

impl Visitor {
    fn new(site: &Site, session: &str) -> Visitor {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(site.roots().as_bytes()) {
            roots.add(root.expect("PEM")).expect("a root");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (host, session) = (site.domain.clone(), session.to_owned());
        Visitor { port: site.https, host, session, tls: Arc::new(tls) }
    }

    fn connect(&self) -> io::Result<Line> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(client, stream))
    }

    fn head(&self, path: &str, more: &str) -> String {
        let (host, port, session) = (&self.host, self.port, &self.session);
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: e2e\r\n\
             Cookie: session_id={session}\r\n{more}\r\n"
        )
    }

    fn ask_again_and_again(&self, over: &AtomicBool) -> Kept {
        let mut kept = Kept::default();
        let mut line: Option<Line> = None;
        while !over.load(Ordering::Relaxed) {
            let used = line.is_some();
            let mut answer = self.ask(&mut line);
            if used && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
                answer = self.ask(&mut line);
            }
            kept.asked += 1;
            kept.lost.extend(answer.err().map(|error| error.to_string()));
            thread::sleep(PAUSE);
        }
        kept
    }

    /// One question and its whole answer. [`ErrorKind::UnexpectedEof`]: the connection was closed
    /// before a word of it.
    fn ask(&self, line: &mut Option<Line>) -> io::Result<()> {
        let mut open = line.take().map_or_else(|| self.connect(), Ok)?;
        let closed = |error: io::Error| io::Error::new(ErrorKind::UnexpectedEof, error);
        open.write_all(self.head("/web/health", "").as_bytes()).map_err(closed)?;
        let head = read_head(&mut open)?;
        let length = header(&head, "content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?];
        open.read_exact(&mut body).map_err(|error| io::Error::other(format!("cut off: {error}")))?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(head));
        }
        if header(&head, "connection") != Some("close") {
            *line = Some(open);
        }
        Ok(())
    }

    fn hold_websocket(&self, over: &AtomicBool) -> (usize, Vec<Duration>) {
        let mut line = self.open_websocket().expect("a websocket");
        let (mut pongs, mut breaks) = (0, Vec::new());
        while !over.load(Ordering::Relaxed) {
            if ping(&mut line).is_ok() {
                pongs += 1;
            } else {
                let broken = Instant::now();
                while let Err(error) = self.open_websocket().map(|opened| line = opened) {
                    assert!(broken.elapsed() < Duration::from_secs(30), "no websocket again: {error}");
                    thread::sleep(PAUSE);
                }
                breaks.push(broken.elapsed());
            }
            thread::sleep(5 * PAUSE);
        }
        (pongs, breaks)
    }

    fn open_websocket(&self) -> io::Result<Line> {
        let mut line = self.connect()?;
        let more = format!(
            "Origin: https://{}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            self.host, self.port
        );
        line.write_all(self.head("/websocket", &more).as_bytes())?;
        let head = read_head(&mut line)?;
        if head.starts_with("HTTP/1.1 101") { Ok(line) } else { Err(io::Error::other(head)) }
    }
}

/// The head of an answer. [`ErrorKind::UnexpectedEof`]: it did not begin.
fn read_head(line: &mut Line) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match line.read_exact(&mut byte) {
            Ok(()) => head.push(byte[0]),
            Err(error) if head.is_empty() => return Err(io::Error::new(ErrorKind::UnexpectedEof, error)),
            Err(error) => return Err(io::Error::other(format!("cut off in its head: {error}"))),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

/// Sends a ping and waits for its pong; what else arrives is left out (RFC 6455, section 5).
fn ping(line: &mut Line) -> io::Result<()> {
    // Final fragment, opcode 9; masked with zeros, without a payload.
    line.write_all(&[0x89, 0x80, 0, 0, 0, 0])?;
    loop {
        let mut start = [0; 2];
        line.read_exact(&mut start)?;
        let length = match start[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                line.read_exact(&mut long)?;
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        line.read_exact(&mut vec![0; length])?;
        match start[0] & 0x0f {
            0xA => return Ok(()),
            0x8 => return Err(io::Error::other("the server closes the websocket")),
            _ => {}
        }
    }
}
