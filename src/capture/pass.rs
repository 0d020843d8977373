//! One reading of everything, for one target.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How often somebody who waits looks whether the run has failed.
const LOOK: Duration = Duration::from_millis(50);

/// Why nothing can be read any more; at most one reason a run. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Trouble(Arc<watch::Sender<Option<String>>>);

impl Default for Trouble {
    fn default() -> Self {
        Trouble(Arc::new(watch::Sender::new(None)))
    }
}

impl Trouble {
    /// The first reason stays.
    pub(super) fn set(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|known| {
            let is_first = known.is_none();
            if is_first {
                *known = Some(reason.into());
            }
            is_first
        });
    }

    pub(super) fn error(&self) -> Option<io::Error> {
        self.0.borrow().clone().map(io::Error::other)
    }

    /// Returns once there is one.
    pub(super) async fn comes(&self) {
        // The sender is in our own hands: it does not go away.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

/// What was counted while one target read.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    /// Bytes of the dump, by database.
    pub dumps: Mutex<BTreeMap<String, u64>>,
    /// Entries that were neither read to their end nor given up.
    open: Mutex<usize>,
    closed: Condvar,
}

impl Pass {
    /// Waits until every entry but the one that asks has been read or dropped.
    pub(super) fn wait_for_the_others(&self, trouble: &Trouble) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while *open > 0 {
            trouble.error().map_or(Ok(()), Err)?;
            open = self.closed.wait_timeout(open, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        trouble.error().map_or(Ok(()), Err)
    }

    pub(super) fn note_dump(&self, database: &str, bytes: u64) {
        self.dumps.lock().unwrap_or_else(PoisonError::into_inner).insert(database.to_owned(), bytes);
    }

    pub(super) fn dump(&self, database: &str) -> u64 {
        self.dumps.lock().unwrap_or_else(PoisonError::into_inner).get(database).copied().unwrap_or(0)
    }
}

/// An entry that has been offered. It is done with when this is dropped.
pub(super) struct Token(Arc<Pass>);

impl Token {
    /// `bytes` of an entry whose length is known.
    pub(super) fn new(pass: &Arc<Pass>, bytes: u64) -> Token {
        *pass.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        pass.files.fetch_add(1, Ordering::Relaxed);
        pass.bytes.fetch_add(bytes, Ordering::Relaxed);
        Token(pass.clone())
    }

    pub(super) fn pass(&self) -> &Pass {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.closed.notify_all();
    }
}

/// A reader with the token of its entry.
pub(super) struct Ticketed<R> {
    pub inner: R,
    pub _token: Token,
}

impl<R: Read> Read for Ticketed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Counts the bytes of an entry whose length is not known, and says at its end how many they were.
pub(super) struct Counted<R, F> {
    pub inner: R,
    pub token: Token,
    pub length: u64,
    pub at_end: Option<F>,
}

impl<R: Read, F: FnOnce(&Pass, u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.length += read as u64;
        self.token.pass().bytes.fetch_add(read as u64, Ordering::Relaxed);
        if read == 0
            && !buffer.is_empty()
            && let Some(at_end) = self.at_end.take()
        {
            at_end(self.token.pass(), self.length);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_waits_for_the_others() {
        let (pass, trouble) = (Arc::new(Pass::default()), Trouble::default());
        let tokens = [Token::new(&pass, 3), Token::new(&pass, 4)];
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(tokens);
        });
        pass.wait_for_the_others(&trouble).unwrap();
        assert!(reader.is_finished() || *pass.open.lock().unwrap() == 0);
        assert_eq!((pass.files.load(Ordering::Relaxed), pass.bytes.load(Ordering::Relaxed)), (2, 7));
        reader.join().unwrap();
    }

    #[test]
    fn nobody_waits_in_vain() {
        let (pass, trouble) = (Arc::new(Pass::default()), Trouble::default());
        let _never = Token::new(&pass, 0);
        trouble.set("stopped");
        trouble.set("and again");
        assert_eq!(pass.wait_for_the_others(&trouble).unwrap_err().to_string(), "stopped");
    }

    #[test]
    fn bytes_are_counted_as_they_pass() {
        let pass = Arc::new(Pass::default());
        let at_end = Some(|pass: &Pass, length| pass.note_dump("acme", length));
        let mut counted = Counted { inner: &b"12345"[..], token: Token::new(&pass, 0), length: 0, at_end };
        std::io::copy(&mut counted, &mut std::io::sink()).unwrap();
        assert_eq!((pass.dump("acme"), pass.bytes.load(Ordering::Relaxed)), (5, 5));
    }
}
