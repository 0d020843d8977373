//! In front of a real server: breaks connections, holds them up, or answers in the server's place.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use autoodoo::repository::store::patience::Patient;
use autoodoo::repository::store::{FileKind, Store, Trouble};

use crate::contract::{content, name};

/// What happens once.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A request of so many bytes is cut there.
    CutSending(u64),
    /// An answer of so many bytes is cut there.
    CutReceiving(u64),
    /// The answer to a request of so many bytes is cut at its first byte.
    LoseAnswer(u64),
    /// A connection, where both sides speak at once, breaks when so many bytes have been sent on it.
    BreakSending(u64),
    /// ... or received.
    BreakReceiving(u64),
    /// The next connection is never answered.
    Silence,
    /// Of the next connection the head of the first request is read, and this said.
    Answer(String),
}

impl Fault {
    pub fn answer(status: &str, body: &str) -> Fault {
        let length = body.len();
        Fault::Answer(format!(
            "HTTP/1.1 {status}\r\nDate: Sat, 31 Jan 2026 12:00:00 GMT\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ))
    }

    fn is_of_connections(&self) -> bool {
        matches!(self, Fault::Silence | Fault::Answer(_))
    }
}

#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    server: SocketAddr,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy { address, server, faults: Arc::default(), connections: Arc::default() };
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let proxy = shared.clone();
                thread::spawn(move || proxy.serve(&client.unwrap()));
            }
        });
        proxy
    }

    /// These happen, one after the other; then all is let through.
    pub fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub fn is_done(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// How many there have been.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    fn take(&self, is_it: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        faults.front().is_some_and(is_it).then(|| faults.pop_front().unwrap())
    }

    fn serve(&self, client: &TcpStream) {
        match self.take(Fault::is_of_connections) {
            Some(Fault::Answer(answer)) => answer_once(client, &answer),
            Some(_) => thread::sleep(Duration::from_secs(30)),
            None => self.join(client),
        }
    }

    fn join(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                pass_on((&server, client), (&received, &sent), &|all, received, sent| {
                    self.take(|fault| match fault {
                        Fault::BreakReceiving(most) => all >= *most,
                        Fault::CutReceiving(most) => received >= *most,
                        Fault::LoseAnswer(most) => sent >= *most,
                        _ => false,
                    })
                });
            });
            pass_on((client, &server), (&sent, &received), &|all, sent, _| {
                self.take(|fault| match fault {
                    Fault::BreakSending(most) => all >= *most,
                    Fault::CutSending(most) => sent >= *most,
                    _ => false,
                })
            });
        });
    }
}

/// Until either end closes, or `fault` is asked and has one. It is told how many bytes have come in
/// all, how many of this request or answer, and how many of the answer or request before it: each
/// begins where the other direction was the last to speak.
fn pass_on(
    (mut from, mut to): (&TcpStream, &TcpStream),
    (here, there): (&AtomicU64, &AtomicU64),
    fault: &dyn Fn(u64, u64, u64) -> Option<Fault>,
) {
    let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        all += length as u64;
        let came = here.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
        let before = there.swap(0, Ordering::SeqCst);
        if fault(all, came, before).is_some() || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Like servers that mind their manners: what the client still sends is taken for a moment, because
/// the answer could be lost to it if the connection were closed at once.
fn answer_once(mut client: &TcpStream, answer: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    let _ = client.write_all(answer.as_bytes());
    let _ = client.shutdown(Shutdown::Write);
    thread::sleep(Duration::from_millis(500));
}

/// What is cut is not taken for whole, and is done again.
pub fn cuts_are_survived<S: Store>(store: S, proxy: &Proxy) {
    let (kind, whole) = (FileKind::Pack, content(3_000_000));
    proxy.then([Fault::CutSending(1_000_000)]);
    let error = store.write(kind, &name(1), std::slice::from_ref(&whole)).unwrap_err();
    assert_eq!(error.trouble, Trouble::Connection, "{error}");
    assert!(error.message.contains("broke: "), "{error}");

    let store = Patient::new(store);
    proxy.then([Fault::CutSending(1_000_000)]);
    store.write(kind, &name(1), std::slice::from_ref(&whole)).unwrap();
    proxy.then([Fault::CutReceiving(1_000_000)]);
    assert!(store.read(kind, &name(1)).unwrap() == whole);
    // Whether a file was written before its answer was lost is seen by its length.
    proxy.then([Fault::LoseAnswer(1_000_000)]);
    store.write(kind, &name(2), std::slice::from_ref(&whole)).unwrap();
    assert!(store.read(kind, &name(2)).unwrap() == whole);
    assert!(proxy.is_done());
}
