//! A place that is asked again when the connection to it fails.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use bytes::Bytes;

use super::{FileKind, Store, StoreError, StoreResult, Trouble};

/// How long an outage may last.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Before the second attempt; doubled before each further one.
    pub first: Duration,
    /// Between two attempts.
    pub longest: Duration,
    /// All pauses of one call, and the time since anything last succeeded: then one attempt is all
    /// that a call gets.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            whole: Duration::from_mins(2),
        }
    }
}

/// Repeats what failed by [`Trouble::Connection`]. The store beneath connects anew by itself.
pub struct Patient<S> {
    store: S,
    limits: Limits,
    /// When the first of the attempts failed that have failed since the last success.
    outage: Mutex<Option<Instant>>,
}

impl<S: Store> Patient<S> {
    pub fn new(store: S) -> Self {
        Patient::within(store, Limits::default())
    }

    pub fn within(store: S, limits: Limits) -> Self {
        Patient { store, limits, outage: Mutex::new(None) }
    }

    fn attempt<T>(&self, call: impl Fn(&S) -> StoreResult<T>) -> StoreResult<T> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.limits.first)
            .with_max_delay(self.limits.longest)
            .with_total_delay(Some(self.limits.whole))
            .without_max_times()
            .with_jitter();
        let once = || call(&self.store).inspect(|_| self.note(None));
        once.retry(backoff).when(|error| self.may_pass(error)).call()
    }

    fn may_pass(&self, error: &StoreError) -> bool {
        if error.trouble != Trouble::Connection {
            return false;
        }
        let began = self.began();
        self.note(Some(began));
        began.elapsed() < self.limits.whole
    }

    fn began(&self) -> Instant {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now)
    }

    fn note(&self, outage: Option<Instant>) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }
}

impl<S: Store> Store for Patient<S> {
    fn location(&self) -> String {
        self.store.location()
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        self.attempt(|store| store.list(kind))
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        self.attempt(|store| store.read(kind, name))
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        self.attempt(|store| store.read_range(kind, name, offset, length))
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        self.attempt(|store| store.write(kind, name, parts))
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        self.attempt(|store| store.remove(kind, name))
    }

    fn create(&self) -> StoreResult<()> {
        self.attempt(Store::create)
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        self.attempt(Store::free)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const QUICK: Limits = Limits {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        whole: Duration::from_millis(60),
    };

    /// Fails so many times, and counts.
    struct Failing {
        times: usize,
        trouble: Trouble,
        asked: AtomicUsize,
    }

    impl Failing {
        fn new(times: usize, trouble: Trouble) -> Patient<Failing> {
            Patient::within(Failing { times, trouble, asked: AtomicUsize::new(0) }, QUICK)
        }
    }

    impl Store for Failing {
        fn location(&self) -> String {
            String::new()
        }
        fn list(&self, _: FileKind) -> StoreResult<Vec<(String, u64)>> {
            unreachable!()
        }
        fn read(&self, _: FileKind, _: &str) -> StoreResult<Bytes> {
            unreachable!()
        }
        fn read_range(&self, _: FileKind, _: &str, _: u64, _: u64) -> StoreResult<Bytes> {
            unreachable!()
        }
        fn write(&self, _: FileKind, _: &str, _: &[Bytes]) -> StoreResult<()> {
            unreachable!()
        }
        fn remove(&self, _: FileKind, _: &str) -> StoreResult<()> {
            unreachable!()
        }
        fn create(&self) -> StoreResult<()> {
            unreachable!()
        }
        fn free(&self) -> StoreResult<Option<u64>> {
            if self.asked.fetch_add(1, Ordering::Relaxed) < self.times {
                return Err(StoreError::new(self.trouble, "broken"));
            }
            Ok(Some(1))
        }
    }

    #[test]
    fn a_broken_connection_is_tried_again() {
        let patient = Failing::new(3, Trouble::Connection);
        assert_eq!(patient.free().unwrap(), Some(1));
        assert_eq!(patient.store.asked.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_refusal_is_final() {
        let patient = Failing::new(3, Trouble::Denied);
        assert_eq!(patient.free().unwrap_err().trouble, Trouble::Denied);
        assert_eq!(patient.store.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn after_an_outage_that_lasted_a_call_gets_one_attempt() {
        let patient = Failing::new(usize::MAX, Trouble::Connection);
        assert!(patient.free().is_err());
        let asked = patient.store.asked.load(Ordering::Relaxed);
        assert!(asked > 5, "{asked} attempts");
        std::thread::sleep(QUICK.whole);
        assert!(patient.free().is_err());
        assert_eq!(patient.store.asked.load(Ordering::Relaxed), asked + 1);
    }
}
