//! From the program's thread to the thread that reads, in chunks.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::pass::Trouble;

/// Chunks that wait for their reader; one is what an engine hands out at once, 32 KiB.
const WAITING: usize = 8;

/// A chunk; `None` once all of them came; or what kept them from coming.
pub(super) type Part = io::Result<Option<Bytes>>;
pub(super) type Sender = mpsc::Sender<Part>;

/// What a reader reads. Its end is an end only when the sender has said so: a sender that goes away
/// is an error.
pub(super) struct Pipe {
    parts: mpsc::Receiver<Part>,
    current: Bytes,
    ended: bool,
    trouble: Trouble,
}

pub(super) fn pipe(trouble: Trouble) -> (Sender, Pipe) {
    let (sender, parts) = mpsc::channel(WAITING);
    (sender, Pipe { parts, current: Bytes::new(), ended: false, trouble })
}

/// Not for a thread that runs futures: it blocks.
impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Ok(Some(chunk))) => self.current = chunk,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(self.trouble.error().unwrap_or(error)),
                None => {
                    return Err(self.trouble.error().unwrap_or_else(|| io::Error::other("it was cut off")));
                }
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: Vec<Part>) -> io::Result<Vec<u8>> {
        let (sender, mut pipe) = pipe(Trouble::default());
        for part in parts {
            sender.try_send(part).unwrap();
        }
        drop(sender);
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    }

    fn chunk(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn chunks_become_one_text() {
        assert_eq!(
            read(vec![Ok(Some(chunk("ab"))), Ok(Some(chunk(""))), Ok(Some(chunk("c"))), Ok(None)]).unwrap(),
            b"abc"
        );
        assert_eq!(read(vec![Ok(None)]).unwrap(), b"");
    }

    #[test]
    fn only_an_end_that_was_told_is_one() {
        assert_eq!(read(vec![Ok(Some(chunk("ab")))]).unwrap_err().to_string(), "it was cut off");
        assert_eq!(read(vec![]).unwrap_err().to_string(), "it was cut off");
        let error = read(vec![Ok(Some(chunk("ab"))), Err(io::Error::other("exit code 1"))]).unwrap_err();
        assert_eq!(error.to_string(), "exit code 1");
    }

    #[test]
    fn a_trouble_of_the_whole_run_is_what_is_told() {
        let trouble = Trouble::default();
        let (sender, mut pipe) = pipe(trouble.clone());
        trouble.set("the server has gone");
        drop(sender);
        assert_eq!(pipe.read(&mut [0; 4]).unwrap_err().to_string(), "the server has gone");
    }
}
