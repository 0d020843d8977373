//! In front of a real server: breaks connections, holds them up, or answers in the server's place.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use autoodoo::repository::store::{FileKind, Store, Trouble};

use crate::contract::{content, name, trouble};

/// What happens once.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection on which the client sends so many bytes is cut there.
    CutSending(u64),
    /// The connection on which the server sends so many bytes is cut there.
    CutReceiving(u64),
    /// The connection on which the client has sent so many bytes is cut at the answer's first byte.
    LoseAnswer(u64),
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
                pass_on(&server, client, &received, &mut |received| {
                    let sent = sent.load(Ordering::SeqCst);
                    self.take(|fault| match fault {
                        Fault::CutReceiving(most) => received >= *most,
                        Fault::LoseAnswer(most) => sent >= *most,
                        _ => false,
                    })
                });
            });
            pass_on(client, &server, &sent, &mut |sent| {
                self.take(|fault| matches!(fault, Fault::CutSending(most) if sent >= *most))
            });
        });
    }
}

/// Until either end closes, or `fault` is asked with the bytes so far and has one.
fn pass_on(
    mut from: &TcpStream,
    mut to: &TcpStream,
    so_far: &AtomicU64,
    fault: &mut dyn FnMut(u64) -> Option<Fault>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let sum = so_far.fetch_add(length as u64, Ordering::SeqCst) + length as u64;
        if fault(sum).is_some() || to.write_all(&buffer[..length]).is_err() {
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

/// What is cut is not taken for whole, and the next attempt is good.
pub fn cuts_are_survived(store: &dyn Store, proxy: &Proxy) {
    let (kind, whole) = (FileKind::Pack, content(3_000_000));
    let write = |number: u64| store.write(kind, &name(number), std::slice::from_ref(&whole));
    proxy.then([Fault::CutSending(1_000_000)]);
    let error = write(1).unwrap_err();
    assert_eq!(error.trouble, Trouble::Connection, "{error}");
    assert!(error.message.contains("broke: "), "{error}");
    assert_eq!(store.list(kind).unwrap(), []);
    write(1).unwrap();

    proxy.then([Fault::CutReceiving(1_000_000)]);
    assert_eq!(trouble(store.read(kind, &name(1))), Trouble::Connection);
    assert!(store.read(kind, &name(1)).unwrap() == whole);

    // Whether a file was written before its answer was lost is seen by its length.
    proxy.then([Fault::LoseAnswer(1_000_000)]);
    assert_eq!(trouble(write(2)), Trouble::Connection);
    assert_eq!(store.list(kind).unwrap().len(), 2);
    write(2).unwrap();
    assert!(proxy.is_done());
}
