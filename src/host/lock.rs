//! One operation at a time per site.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files;
use crate::failure::{Failure, Kind, Result};

/// Who works on the site; the lock file tells it to whoever comes second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// As typed, such as `autoodoo up`; never with a secret.
    pub command: String,
    pub pid: u32,
    pub since: Timestamp,
}

/// Held until dropped. The kernel releases it when the process dies, however it dies (flock(2)),
/// so a lock file on its own means nothing.
#[derive(Debug)]
pub struct SiteLock {
    file: File,
}

impl SiteLock {
    /// Takes the lock `lock` in `state_dir`, which must exist, without waiting.
    ///
    /// Fails with [`Kind::Busy`], naming the holder, when another process has it.
    pub fn acquire(state_dir: &Path, holder: &Holder) -> Result<SiteLock> {
        let path = state_dir.join("lock");
        let cannot = |error: &std::io::Error| files::io_failure("cannot lock", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // it may name a living holder
            .mode(0o600)
            .open(&path)
            .map_err(|error| cannot(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(busy(&mut file)),
            taken => taken.map_err(|error| cannot(&error.into()))?,
        }
        let mut lock = SiteLock { file };
        lock.name(holder).map_err(|error| cannot(&error))?;
        Ok(lock)
    }

    fn name(&mut self, holder: &Holder) -> std::io::Result<()> {
        let text = serde_json::to_vec(holder)?;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)
    }
}

impl Drop for SiteLock {
    fn drop(&mut self) {
        // Only so that the file does not name somebody who is gone; closing it releases the lock.
        let _ = self.file.set_len(0);
    }
}

fn busy(file: &mut File) -> Failure {
    let mut text = String::new();
    // A holder that has just taken the lock may not have written its name yet.
    let holder = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    match holder {
        Some(Holder { command, pid, since }) => Failure::new(
            Kind::Busy,
            format!(
                "`{command}` (process {pid}) works on this site since {}",
                since.strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
        ),
        None => Failure::new(Kind::Busy, "another operation works on this site"),
    }
    .hint("wait until it has ended, then run the command again")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn holder(command: &str) -> Holder {
        Holder {
            command: command.to_owned(),
            pid: 4321,
            since: "2026-03-01T02:03:04Z".parse().expect("a timestamp"),
        }
    }

    #[test]
    fn the_second_is_refused_with_the_first_ones_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = SiteLock::acquire(dir.path(), &holder("autoodoo up")).unwrap();
        let failure = SiteLock::acquire(dir.path(), &holder("autoodoo down")).unwrap_err();
        assert_eq!(failure.kind, Kind::Busy);
        assert_eq!(
            failure.message,
            "`autoodoo up` (process 4321) works on this site since 2026-03-01 02:03:04 UTC"
        );
        drop(first);
        SiteLock::acquire(dir.path(), &holder("autoodoo down")).unwrap();
    }

    #[test]
    fn a_shorter_name_replaces_a_longer_one_of_a_killed_holder() {
        let dir = tempfile::tempdir().unwrap();
        let longer = serde_json::to_string(&holder("autoodoo restore latest --dry-run")).unwrap();
        std::fs::write(dir.path().join("lock"), longer).unwrap();
        let _held = SiteLock::acquire(dir.path(), &holder("up")).unwrap();
        let failure = SiteLock::acquire(dir.path(), &holder("down")).unwrap_err();
        assert!(failure.message.starts_with("`up` (process 4321)"), "{failure}");
    }

    #[test]
    fn a_killed_process_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // The locked command is `sleep` itself (--no-fork), so that killing it is killing the holder.
        let mut other = Command::new("flock")
            .args(["--no-fork", path.to_str().unwrap(), "sh", "-c", "echo held; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0_u8; 5];
        other.stdout.take().unwrap().read_exact(&mut said).unwrap();

        let failure = SiteLock::acquire(dir.path(), &holder("autoodoo up")).unwrap_err();
        assert_eq!(failure.kind, Kind::Busy);
        assert_eq!(failure.message, "another operation works on this site");
        other.kill().unwrap();
        other.wait().unwrap();
        SiteLock::acquire(dir.path(), &holder("autoodoo up")).unwrap();
    }
}
