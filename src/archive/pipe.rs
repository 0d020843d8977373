//! Bytes from a thread to another, a few chunks ahead. Unlike a pipe of the operating system this
//! one tells an end from a death: a reader whose writer went away without [`Inlet::finish`] gets an
//! error, so that nothing is ever taken for whole because it stopped.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes that travel together.
const CHUNK: usize = 256 << 10;
/// Chunks that wait to be read; with the two in the threads' hands 2.5 MB in all.
const AHEAD: usize = 8;

/// `None` is the declared end.
type Message = Option<Vec<u8>>;

pub fn pipe() -> (Inlet, Outlet) {
    let (sender, receiver) = sync_channel(AHEAD);
    (Inlet { sender, chunk: Vec::new() }, Outlet { receiver, chunk: Vec::new(), at: 0, ended: false })
}

pub struct Inlet {
    sender: SyncSender<Message>,
    chunk: Vec<u8>,
}

impl Inlet {
    /// Declares the end. Without it the reader fails.
    pub fn finish(mut self) -> io::Result<()> {
        self.pass_on()?;
        self.sender.send(None).map_err(|_| unread())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.sender.send(Some(chunk)).map_err(|_| unread())
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(CHUNK);
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

pub struct Outlet {
    receiver: Receiver<Message>,
    chunk: Vec<u8>,
    /// How much of `chunk` has been read.
    at: usize,
    ended: bool,
}

impl Outlet {
    fn receive(&mut self) -> io::Result<()> {
        match self.receiver.recv() {
            Ok(Some(chunk)) => (self.chunk, self.at) = (chunk, 0),
            Ok(None) => self.ended = true,
            Err(_) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ended before its time")),
        }
        Ok(())
    }
}

impl Read for Outlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && !self.ended && !buffer.is_empty() {
            self.receive()?;
        }
        let taken = (&self.chunk[self.at..]).read(buffer)?;
        self.at += taken;
        Ok(taken)
    }
}

/// The reader is gone: why, it tells by itself.
#[derive(Debug)]
struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads on")
    }
}

impl std::error::Error for Unread {}

fn unread() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, Unread)
}

/// Whether a writer failed only because its reader had gone.
pub fn is_unread(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Unread>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut inlet, mut outlet) = pipe();
        let sent: Vec<u8> = (0..3 * CHUNK + 5).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let expected = sent.clone();
        let writer = std::thread::spawn(move || inlet.write_all(&sent).and_then(|()| inlet.finish()));
        let mut received = Vec::new();
        outlet.read_to_end(&mut received).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(received, expected);
        assert_eq!(outlet.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_writer_that_dies_is_no_end() {
        let (mut inlet, mut outlet) = pipe();
        inlet.write_all(b"half").unwrap();
        inlet.flush().unwrap();
        drop(inlet);
        for _ in 0..2 {
            let error = outlet.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_writer_without_a_reader_is_told() {
        let (mut inlet, outlet) = pipe();
        drop(outlet);
        let error = inlet.write_all(&vec![0; CHUNK]).unwrap_err();
        assert!(is_unread(&error), "{error}");
        assert!(!is_unread(&io::Error::from(ErrorKind::BrokenPipe)));
    }
}
