//! Files over one connection. Requests overlap: an answer takes a round trip, not a turn.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::File;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Error, Sftp, SftpOptions, UnixTimeStamp};
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWrite};
use tokio::sync::Semaphore;

use super::super::{StoreError, StoreResult, Trouble};

/// Bytes of one request to read or write: what OpenSSH's server takes at most.
pub const PIECE: usize = 255 * 1024;
/// Requests of one call that wait for their answers.
const AT_ONCE: usize = 16;
/// Pieces of all calls on their way: some 8 MB, sent within [`STALL`] on any line that is of use.
const IN_FLIGHT: usize = 32;
/// A server that answers nothing for so long is given up.
const STALL: Duration = Duration::from_mins(10);
/// Files under way lie here until they get their names. restic looks into no directory of this name.
pub const UNDER_WAY: &str = "tmp";
/// What lies there for so long was left by a run that was killed.
const LEFT_BEHIND: Duration = Duration::from_hours(24);

pub type Answer<T> = Result<T, Error>;

pub struct Session {
    sftp: Sftp,
    root: PathBuf,
    pub(super) window: Semaphore,
    /// Nothing may be renamed or linked here, or there is no [`UNDER_WAY`]: files are written under
    /// their own names.
    pub(super) direct: AtomicBool,
}

impl Session {
    /// `root`: the repository, absolute or from the home directory.
    pub async fn begin<W, R>(into: W, from: R, root: &str) -> Answer<Session>
    where
        W: AsyncWrite + Send + 'static,
        R: AsyncRead + Send + 'static,
    {
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let sftp = patient(Sftp::new(into, from, options)).await?;
        let window = Semaphore::new(IN_FLIGHT);
        let session = Session { sftp, root: PathBuf::from(root), window, direct: AtomicBool::new(false) };
        let may_name = session.sftp.support_hardlink() || session.may_rename().await?;
        session.direct.store(!may_name, Ordering::Relaxed);
        if may_name {
            session.sweep().await;
        }
        Ok(session)
    }

    pub fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    /// Paths are below the repository.
    pub fn files(&self) -> Fs {
        let mut files = self.sftp.fs();
        files.set_cwd(&self.root);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A name that nothing has cannot be renamed; a server that does not rename says so first.
    async fn may_rename(&self) -> Answer<bool> {
        let absent = under_way("absent");
        match patient(self.files().rename(&absent, under_way("absent"))).await {
            Ok(()) | Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => Ok(true),
            Err(Error::SftpError(..)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what killed runs have left, where that is allowed.
    async fn sweep(&self) {
        let Ok(Some(entries)) = self.entries(UNDER_WAY).await else { return };
        let now = SystemTime::now();
        for entry in entries.into_iter().filter(|entry| is_left_behind(entry.modified, now)) {
            if patient(self.files().remove_file(format!("{UNDER_WAY}/{}", entry.name))).await.is_err() {
                return;
            }
        }
    }

    /// Files of a directory; `None` when there is none.
    pub async fn entries(&self, directory: &str) -> StoreResult<Option<Vec<Entry>>> {
        let what = format!("list `{directory}`");
        let broken = |error: Error| fault(&what, &error);
        let directory = match patient(self.files().open_dir(directory)).await {
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => return Ok(None),
            other => other.map_err(broken)?,
        };
        let mut listed = Box::pin(directory.read_dir());
        let mut entries = Vec::new();
        while let Some(entry) = patient(listed.next().map(Option::transpose)).await.map_err(broken)? {
            let is_file = entry.file_type().is_none_or(|kind| kind.is_file());
            if let (true, Some(name)) = (is_file, entry.filename().to_str()) {
                let about = entry.metadata();
                let modified = about.modified().map(UnixTimeStamp::as_system_time);
                entries.push(Entry { name: name.to_owned(), size: about.len().unwrap_or(0), modified });
            }
        }
        Ok(Some(entries))
    }

    /// Files of several directories; those that do not exist are empty.
    pub async fn entries_of(&self, directories: &[String]) -> StoreResult<Vec<Entry>> {
        let listings = directories.iter().map(|directory| self.entries(directory));
        let listings = all(listings).await?;
        Ok(listings.into_iter().flatten().flatten().collect())
    }

    /// Bytes of a file; `None` when there is none.
    pub async fn length(&self, path: &str) -> StoreResult<Option<u64>> {
        match patient(self.files().metadata(path)).await {
            Ok(about) => Ok(Some(about.len().unwrap_or(0))),
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => Ok(None),
            Err(error) => Err(fault(format!("look at `{path}`"), &error)),
        }
    }

    /// From `offset`, `length` bytes or (`None`) all.
    pub async fn read(&self, path: &str, offset: u64, length: Option<u64>) -> StoreResult<Bytes> {
        let what = format!("read `{path}`");
        let broken = |error: Error| fault(&what, &error);
        let mut file = patient(self.sftp.open(self.path(path))).await.map_err(broken)?;
        let size = patient(file.metadata()).await.map_err(broken)?.len().unwrap_or(0);
        let wanted = length.unwrap_or_else(|| size.saturating_sub(offset));
        if offset.checked_add(wanted).is_none_or(|end| end > size) {
            let message = format!("`{path}` has {size} bytes: there are no {wanted} from {offset} on");
            return Err(StoreError::new(Trouble::Other, message));
        }
        let content = self.fetch(&file, offset, wanted).await.map_err(broken)?;
        patient(file.close()).await.map_err(broken)?;
        if content.len() as u64 != wanted {
            return Err(StoreError::new(
                Trouble::Other,
                format!("`{path}` became shorter while it was read"),
            ));
        }
        Ok(content)
    }

    async fn fetch(&self, file: &File, offset: u64, length: u64) -> Answer<Bytes> {
        let mut rest = BytesMut::with_capacity(usize::try_from(length)?);
        let pieces = (0..length).step_by(PIECE).map(|start| {
            let wanted = usize::try_from(length - start).unwrap_or(PIECE).min(PIECE);
            // The pieces lie side by side in one buffer, which their sum is without copying.
            let after = rest.split_off(wanted.min(rest.capacity()));
            let piece = std::mem::replace(&mut rest, after);
            self.fetch_piece(file.clone(), offset + start, piece, wanted)
        });
        let mut content = BytesMut::new();
        for piece in all(pieces).await? {
            content.unsplit(piece);
        }
        Ok(content.freeze())
    }

    /// Fewer bytes than wanted only at the end of the file.
    async fn fetch_piece(
        &self,
        mut file: File,
        offset: u64,
        mut piece: BytesMut,
        wanted: usize,
    ) -> Answer<BytesMut> {
        while piece.len() < wanted {
            let _turn = self.window.acquire().await;
            file.seek(SeekFrom::Start(offset + piece.len() as u64)).await?;
            let missing = u32::try_from(wanted - piece.len())?;
            let spare = piece.split_off(piece.len());
            let Some(read) = patient(file.read(missing, spare)).await? else { break };
            piece.unsplit(read);
        }
        Ok(piece)
    }

    /// What is gone already is no error.
    pub async fn remove(&self, path: &str) -> StoreResult<()> {
        match patient(self.files().remove_file(path)).await {
            Ok(()) | Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => Ok(()),
            Err(error) => Err(fault(format!("remove `{path}`"), &error)),
        }
    }

    /// Makes the directory of the repository and those above it, or finds that they are there.
    pub async fn create_root(&self) -> StoreResult<()> {
        let above: Vec<&Path> = self.root.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for directory in above.into_iter().rev() {
            create_directory(self.sftp.fs(), directory).await?;
        }
        Ok(())
    }

    /// The same for directories below the repository.
    pub async fn create(&self, directories: &[String]) -> StoreResult<()> {
        let made = directories.iter().map(|name| create_directory(self.files(), Path::new(name)));
        all(made).await.map(drop)
    }

    /// Bytes that this account may still write, where the server tells (statvfs(3)).
    pub async fn free(&self) -> StoreResult<Option<u64>> {
        if !self.sftp.support_statvfs() {
            return Ok(None);
        }
        for directory in self.root.ancestors() {
            match patient(self.sftp.fs().statvfs(or_home(directory))).await {
                Ok(space) => return Ok(Some(space.bavail.saturating_mul(space.frsize))),
                Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => (),
                Err(error) => return Err(fault("ask for the free space", &error)),
            }
        }
        Ok(None)
    }
}

/// A file of a directory.
pub struct Entry {
    pub name: String,
    pub size: u64,
    modified: Option<SystemTime>,
}

fn or_home(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

async fn create_directory(mut files: Fs, directory: &Path) -> StoreResult<()> {
    // Where nothing may be made, looking first is what tells of a directory that is there.
    match patient(files.metadata(directory)).await {
        Ok(about) if about.file_type().is_none_or(|kind| kind.is_dir()) => return Ok(()),
        _ => (),
    }
    let made = patient(files.create_dir(directory)).await;
    made.map_err(|error| fault(format!("make the directory `{}`", directory.display()), &error))
}

fn is_left_behind(modified: Option<SystemTime>, now: SystemTime) -> bool {
    modified.and_then(|time| now.duration_since(time).ok()).is_some_and(|age| age > LEFT_BEHIND)
}

/// A name of its own for each attempt: a server may still be writing the one that was cut.
pub fn under_way(name: &str) -> String {
    // Without randomness the name may exist; creating it then fails, and nothing is harmed.
    format!("{UNDER_WAY}/{name}.{:08x}", getrandom::u32().unwrap_or_default())
}

/// The results of all futures in their order, [`AT_ONCE`] of them at a time, or the first error. What
/// was begun is always awaited: the library loses count of answers that nobody waits for.
pub async fn all<T, E, F>(futures: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = futures.enumerate();
    let mut running = FuturesUnordered::new();
    let mut done = Vec::new();
    let mut failed = None;
    loop {
        while failed.is_none() && running.len() < AT_ONCE {
            let Some((number, future)) = waiting.next() else { break };
            running.push(async move { (number, future.await) });
        }
        match running.next().await {
            Some((number, Ok(value))) => done.push((number, value)),
            Some((_, Err(error))) => failed = failed.or(Some(error)),
            None => break,
        }
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    failed.map_or_else(|| Ok(done.into_iter().map(|(_, value)| value).collect()), Err)
}

/// Gives up a server that does not answer at all. The connection is of no use afterwards.
pub async fn patient<T>(answer: impl Future<Output = Answer<T>>) -> Answer<T> {
    let silent = |_| io::Error::new(ErrorKind::TimedOut, "the server answers nothing any more");
    tokio::time::timeout(STALL, answer).await.map_err(silent)?
}

pub fn is_connection(error: &Error) -> bool {
    !matches!(error, Error::SftpError(..) | Error::UnsupportedExtension(_) | Error::BufferTooLong(_))
}

/// `what` follows "cannot".
pub fn fault(what: impl fmt::Display, error: &Error) -> StoreError {
    let (trouble, why) = match error {
        Error::SftpError(SftpErrorKind::NoSuchFile, _) => (Trouble::Absent, "there is none".to_owned()),
        Error::SftpError(SftpErrorKind::PermDenied, _) => {
            (Trouble::Denied, "the server does not allow it".to_owned())
        }
        Error::SftpError(_, message) => (Trouble::Other, format!("the server says: {}", message.get().0)),
        error if is_connection(error) => (Trouble::Connection, "the connection broke".to_owned()),
        error => (Trouble::Other, error.to_string()),
    };
    StoreError::new(trouble, format!("cannot {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_awaited_also_after_a_failure() {
        let ended = AtomicUsize::new(0);
        let wait = async |number: usize| {
            tokio::task::yield_now().await;
            ended.fetch_add(1, Ordering::Relaxed);
            if number == 3 { Err("broken") } else { Ok(number) }
        };
        assert_eq!(all((0..100).map(wait)).await, Err("broken"));
        let ended = ended.into_inner();
        assert!((AT_ONCE..100).contains(&ended), "{ended} ended");
        let in_order: Result<Vec<_>, ()> = all((0..40).map(async |number| Ok(number))).await;
        assert_eq!(in_order.unwrap(), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_of_yesterday_was_left_behind() {
        let now = SystemTime::now();
        for (age, left) in [(25, true), (23, false)] {
            assert_eq!(is_left_behind(Some(now - Duration::from_hours(age)), now), left);
        }
        assert!(!is_left_behind(Some(now + Duration::from_hours(48)), now), "a clock that is ahead");
        assert!(!is_left_behind(None, now));
    }
}
