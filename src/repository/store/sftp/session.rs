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
const PIECE: usize = 255 * 1024;
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

type Answer<T> = Result<T, Error>;

pub struct Session {
    sftp: Sftp,
    root: PathBuf,
    window: Semaphore,
    /// Nothing may be renamed or linked here, or there is no [`UNDER_WAY`]: files are written under
    /// their own names.
    direct: AtomicBool,
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

    /// A new file, durable, which nothing replaces and which replaces nothing.
    pub async fn write(&self, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        if !self.direct.load(Ordering::Relaxed) {
            let name = path.rsplit('/').next().unwrap_or(path);
            let aside = under_way(name);
            if let Some(file) = self.open_aside(&aside).await? {
                let written = self.write_aside(file, &aside, path, parts).await;
                if written.is_err() {
                    let _ = patient(self.files().remove_file(&aside)).await;
                }
                return written;
            }
        }
        self.write_direct(path, parts).await
    }

    /// `None` where there is no place aside and none can be made.
    async fn open_aside(&self, aside: &str) -> StoreResult<Option<File>> {
        let broken = |error: Error| fault(format!("write `{aside}`"), &error);
        match self.create_new(aside).await {
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => (),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return Err(self.failed_write(aside, 0).await);
            }
            other => return other.map(Some).map_err(broken),
        }
        match patient(self.files().create_dir(UNDER_WAY)).await {
            Err(Error::SftpError(SftpErrorKind::PermDenied, _)) => {
                self.direct.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            // Another thread may have made it.
            Ok(()) | Err(Error::SftpError(SftpErrorKind::Failure, _)) => (),
            Err(error) => return Err(broken(error)),
        }
        self.create_new(aside).await.map(Some).map_err(broken)
    }

    pub async fn create_new(&self, path: &str) -> Answer<File> {
        patient(self.sftp.options().write(true).create_new(true).open(self.path(path))).await
    }

    async fn write_aside(&self, mut file: File, aside: &str, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        let total = length_of(parts);
        self.send(&file, aside, 0, parts).await?;
        self.settle(&mut file, aside, total).await?;
        self.give_name(aside, path, total).await?;
        // The name is part of the file's own transaction in journalling file systems.
        let named = async {
            self.sync(&mut file).await?;
            patient(file.close()).await
        };
        let mut files = self.files();
        let (named, _) = tokio::join!(named, patient(files.remove_file(aside)));
        named.map_err(|error| fault(format!("finish `{path}`"), &error))
    }

    /// By a second name (link(2) never replaces) or, where there are none, by a new name.
    async fn give_name(&self, aside: &str, path: &str, total: u64) -> StoreResult<()> {
        match patient(self.files().hard_link(aside, path)).await {
            Err(error) if is_connection(&error) => return Err(fault(format!("name `{path}`"), &error)),
            Err(_) => (),
            Ok(()) => return Ok(()),
        }
        match self.length(path).await? {
            Some(length) => same_length(path, length, total),
            None => patient(self.files().rename(aside, path)).await.map_err(|error| match error {
                Error::SftpError(SftpErrorKind::NoSuchFile, _) => no_directory(path),
                error => fault(format!("name `{path}`"), &error),
            }),
        }
    }

    /// Where nothing may be renamed, a cut leaves a part under the name itself.
    pub async fn write_direct(&self, path: &str, parts: &[Bytes]) -> StoreResult<()> {
        let total = length_of(parts);
        let file = match self.create_new(path).await {
            Ok(file) => file,
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => return Err(no_directory(path)),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return match self.length(path).await? {
                    Some(length) => same_length(path, length, total),
                    None => Err(self.failed_write(path, total).await),
                };
            }
            Err(error) => return Err(fault(format!("write `{path}`"), &error)),
        };
        self.send(&file, path, 0, parts).await?;
        self.finish(file, path, total).await
    }

    /// Writes the parts one after the other from an offset on.
    pub async fn send(&self, file: &File, path: &str, start: u64, parts: &[Bytes]) -> StoreResult<()> {
        let writes = pieces(parts).map(|(at, piece)| self.send_piece(file.clone(), start + at, piece));
        match all(writes).await {
            Ok(_) => Ok(()),
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                Err(self.failed_write(path, length_of(parts)).await)
            }
            Err(error) => Err(fault(format!("write `{path}`"), &error)),
        }
    }

    async fn send_piece(&self, mut file: File, offset: u64, mut piece: Vec<Bytes>) -> Answer<()> {
        let _turn = self.window.acquire().await;
        file.seek(SeekFrom::Start(offset)).await?;
        patient(file.write_all_zero_copy(&mut piece)).await
    }

    /// The file is whole and durable when this returns.
    pub async fn finish(&self, mut file: File, path: &str, total: u64) -> StoreResult<()> {
        self.settle(&mut file, path, total).await?;
        patient(file.close()).await.map_err(|error| fault(format!("finish `{path}`"), &error))
    }

    /// The content is on the disk, and is all of it.
    async fn settle(&self, file: &mut File, path: &str, total: u64) -> StoreResult<()> {
        let (synced, length) = tokio::join!(self.sync(file), self.length(path));
        match synced {
            // A quota of a network file system may speak only now.
            Err(Error::SftpError(SftpErrorKind::Failure, _)) => {
                return Err(self.failed_write(path, total).await);
            }
            other => other.map_err(|error| fault(format!("write `{path}`"), &error))?,
        }
        same_length(path, length?.unwrap_or(0), total)
    }

    /// fsync(2). Servers that are not OpenSSH may not offer it.
    async fn sync(&self, file: &mut File) -> Answer<()> {
        if self.sftp.support_fsync() { patient(file.sync_all()).await } else { Ok(()) }
    }

    /// The protocol has one word for all failures: whether the disk is full is asked for.
    async fn failed_write(&self, path: &str, wanted: u64) -> StoreError {
        match self.free().await {
            Ok(Some(free)) if free <= wanted => StoreError::new(
                Trouble::Full,
                format!("the server is full: {free} bytes are free, `{path}` needs {wanted}"),
            ),
            Err(error) if error.trouble == Trouble::Connection => error,
            _ => StoreError::new(
                Trouble::Full,
                format!(
                    "the server could not write `{path}` although its disk has space: \
                     a quota may be used up, or the disk may fail"
                ),
            ),
        }
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
fn under_way(name: &str) -> String {
    // Without randomness the name may exist; creating it then fails, and nothing is harmed.
    format!("{UNDER_WAY}/{name}.{:08x}", getrandom::u32().unwrap_or_default())
}

fn length_of(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// The parts in requests of at most [`PIECE`] bytes, with their offsets.
fn pieces(parts: &[Bytes]) -> impl Iterator<Item = (u64, Vec<Bytes>)> {
    let mut offset = 0;
    parts.iter().flat_map(move |part| {
        let start = offset;
        offset += part.len() as u64;
        (0..part.len())
            .step_by(PIECE)
            .map(move |at| (start + at as u64, vec![part.slice(at..part.len().min(at + PIECE))]))
    })
}

/// The results of all futures in their order, [`AT_ONCE`] of them at a time, or the first error. What
/// was begun is always awaited: the library loses count of answers that nobody waits for.
async fn all<T, E, F>(futures: impl Iterator<Item = F>) -> Result<Vec<T>, E>
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

fn is_connection(error: &Error) -> bool {
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

fn no_directory(path: &str) -> StoreError {
    StoreError::new(Trouble::Absent, format!("cannot write `{path}`: its directory does not exist"))
}

fn same_length(path: &str, there: u64, wanted: u64) -> StoreResult<()> {
    if there == wanted {
        return Ok(());
    }
    let message = format!(
        "`{path}` is there with {there} bytes instead of {wanted}: an upload was cut off, or somebody else \
         wrote it"
    );
    Err(StoreError::new(Trouble::Exists, message))
}
