//! The `restic` program's locks (its design document, "Locks"). rustic knows none.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::crypto::Cipher;
use super::store::{FileKind, Store, Trouble};
use crate::failure::{Failure, Result};

/// The program refreshes its locks every five minutes, and takes one of this age for left over.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// What one lock says.
#[derive(Debug, Deserialize)]
struct Lock {
    time: Timestamp,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    BackingUp,
    Pruning,
}

/// Refuses what would collide with the `restic` program at work: a backup with its pruning, pruning
/// with anything. A lock that cannot be read stops pruning only.
pub(super) fn respect(store: &dyn Store, cipher: &Cipher, doing: Doing, now: Timestamp) -> Result<()> {
    for (name, _) in store.list(FileKind::Lock)? {
        let content = match store.read(FileKind::Lock, &name) {
            Err(error) if error.trouble == Trouble::Absent => continue,
            content => content?,
        };
        let lock = cipher.decrypt_file(&content).and_then(|json| serde_json::from_slice(&json).ok());
        if let Some(holder) = obstacle(lock.as_ref(), doing, now) {
            return Err(refusal(&store.location(), &holder));
        }
    }
    Ok(())
}

/// Who holds it, where that matters.
fn obstacle(lock: Option<&Lock>, doing: Doing, now: Timestamp) -> Option<String> {
    let Some(lock) = lock else {
        return (doing == Doing::Pruning).then(|| "a lock that cannot be read".to_owned());
    };
    let stale = now.duration_since(lock.time) > STALE_AFTER;
    let collides = lock.exclusive || doing == Doing::Pruning;
    (collides && !stale).then(|| format!("restic on {} (process {}, {})", lock.hostname, lock.pid, lock.time))
}

fn refusal(place: &str, holder: &str) -> Failure {
    Failure::failed(format!("the repository {place} is locked by {holder}"))
        .hint("wait until it has ended; a lock that a dead process left goes with `restic unlock`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_locks_stop_everything_and_others_only_pruning() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let lock = |minutes: i64, exclusive| Lock {
            time: now - SignedDuration::from_mins(minutes),
            exclusive,
            hostname: "server".to_owned(),
            pid: 7,
        };
        // (age in minutes, exclusive) -> (a backup is stopped, pruning is stopped)
        let table = [
            ((1, false), (false, true)),
            ((1, true), (true, true)),
            ((29, false), (false, true)),
            ((31, true), (false, false)),
            // A clock that is ahead.
            ((-90, true), (true, true)),
        ];
        for ((age, exclusive), stopped) in table {
            let lock = lock(age, exclusive);
            let stops = |doing| obstacle(Some(&lock), doing, now).is_some();
            assert_eq!((stops(Doing::BackingUp), stops(Doing::Pruning)), stopped, "{lock:?}");
        }
        assert_eq!(obstacle(None, Doing::BackingUp, now), None);
        assert!(obstacle(None, Doing::Pruning, now).is_some());
    }
}
