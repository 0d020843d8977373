//! A repository on another host, by the system's ssh client and the server's sftp (protocol version 3
//! with OpenSSH's extensions: openssh-portable, file PROTOCOL).

mod deposit;
mod probe;
mod session;
mod ssh;
mod upload;

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::{Access, FileKind, Store, StoreError, StoreResult, Trouble, is_name};
use crate::name::Port;
use crate::site::backup::Place;
pub use probe::{Finding, prove_append_only};
use session::{Session, UNDER_WAY};
use ssh::Client;
pub use ssh::{Account, authorized_keys_line};

/// Directories of a repository, and the one for files under way.
const TOP: [&str; 6] = ["data", "keys", "snapshots", "index", "locks", UNDER_WAY];

/// One connection, which all threads share; when it breaks, the next call makes a new one.
pub struct SftpStore {
    account: Account,
    /// Absolute, or from the home directory.
    path: String,
    line: Mutex<Option<Line>>,
}

/// Dropped in this order: when the session ends, the client may still end by itself.
struct Line {
    session: Arc<Session>,
    driver: Driver,
    client: Client,
}

impl SftpStore {
    /// `path` as in [`Place::Sftp`].
    #[must_use]
    pub fn new(account: Account, path: &str) -> SftpStore {
        SftpStore { account, path: path.to_owned(), line: Mutex::new(None) }
    }

    /// The account that the site file names; `None` of a place of another kind.
    #[must_use]
    pub fn at(place: &Place, access: &Access) -> Option<SftpStore> {
        let (Place::Sftp { user, host, port, path } | Place::Drop { user, host, port, path }) = place else {
            return None;
        };
        let account = Account {
            user: user.clone(),
            host: host.clone(),
            port: *port,
            key: access.ssh_key.clone(),
            known_hosts: access.known_hosts.clone(),
        };
        Some(SftpStore::new(account, path))
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self) -> StoreResult<(Arc<Session>, Handle)> {
        let mut line = self.line();
        let line = match &mut *line {
            Some(line) => line,
            none => none.insert(self.connect()?),
        };
        Ok((Arc::clone(&line.session), line.driver.handle.clone()))
    }

    fn connect(&self) -> StoreResult<Line> {
        let mut client = Client::start(&mut self.account.sftp())?;
        let driver = Driver::start().map_err(|error| no_thread(&error))?;
        let path = self.path.strip_prefix("/./").unwrap_or(&self.path).to_owned();
        let (into, from) = (client.child().stdin.take(), client.child().stdout.take());
        let begun = driver.run(async move {
            let into = pipe::Sender::from_owned_fd(taken(into)?)?;
            let from = pipe::Receiver::from_owned_fd(taken(from)?)?;
            Session::begin(into, from, &path).await
        });
        let error = match begun {
            Some(Ok(session)) => return Ok(Line { session: Arc::new(session), driver, client }),
            Some(Err(error)) => error.to_string(),
            None => String::new(),
        };
        // A client that says nothing was content: what came was no sftp.
        let said = Some(client.last_words()).filter(|said| !said.trim().is_empty());
        Err(self.account.explain(&said.unwrap_or(error)))
    }

    /// Runs a question on the connection's own thread.
    fn ask<T, F>(&self, question: impl FnOnce(Arc<Session>) -> F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = StoreResult<T>> + Send + 'static,
    {
        let (session, handle) = self.connected()?;
        let answer = run(&handle, question(Arc::clone(&session))).unwrap_or_else(|| {
            Err(StoreError::new(Trouble::Connection, "another call found the connection broken"))
        });
        answer.map_err(|error| match error.trouble {
            Trouble::Connection => self.hang_up(&session, error),
            _ => StoreError::new(error.trouble, format!("{}: {}", self.location(), error.message)),
        })
    }

    /// Ends this connection, unless another thread has made a new one already.
    fn hang_up(&self, session: &Arc<Session>, error: StoreError) -> StoreError {
        let broken = self.line().take_if(|line| Arc::ptr_eq(&line.session, session));
        let Some(Line { mut client, driver, .. }) = broken else { return error };
        drop(driver);
        let reason = self.account.explain(&client.last_words());
        StoreError::new(Trouble::Connection, format!("{}: {}", error.message, reason.message))
    }
}

fn taken(pipe: Option<impl Into<OwnedFd>>) -> io::Result<OwnedFd> {
    pipe.map(Into::into).ok_or_else(|| io::Error::other("the client has no pipe"))
}

fn no_thread(error: &io::Error) -> StoreError {
    StoreError::new(Trouble::Other, format!("cannot start a thread for the connection: {error}"))
}

impl Store for SftpStore {
    fn location(&self) -> String {
        let Account { user, host, port, .. } = &self.account;
        let port = if *port == Port::SSH { String::new() } else { format!(":{port}") };
        format!("sftp://{user}@{host}{port}{}", self.path)
    }

    fn list(&self, kind: FileKind) -> StoreResult<Vec<(String, u64)>> {
        if kind == FileKind::Config {
            let length = self.ask(|session| async move { session.length("config").await })?;
            return Ok(length.map(|length| ("config".to_owned(), length)).into_iter().collect());
        }
        let entries = self.ask(move |session| async move { session.entries_of(&directories(kind)).await })?;
        Ok(entries.into_iter().filter(|e| is_name(&e.name)).map(|entry| (entry.name, entry.size)).collect())
    }

    fn read(&self, kind: FileKind, name: &str) -> StoreResult<Bytes> {
        let path = kind.path(name);
        self.ask(|session| async move { session.read(&path, 0, None).await })
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let path = kind.path(name);
        self.ask(move |session| async move { session.read(&path, offset, Some(length)).await })
    }

    fn write(&self, kind: FileKind, name: &str, parts: &[Bytes]) -> StoreResult<()> {
        let (path, parts) = (kind.path(name), parts.to_vec());
        self.ask(|session| async move { session.write(&path, &parts).await })
    }

    fn remove(&self, kind: FileKind, name: &str) -> StoreResult<()> {
        let path = kind.path(name);
        self.ask(|session| async move { session.remove(&path).await })
    }

    fn create(&self) -> StoreResult<()> {
        self.ask(|session| async move {
            session.create_root().await?;
            session.create(&TOP.map(str::to_owned)).await?;
            session.create(&directories(FileKind::Pack)).await
        })
    }

    fn free(&self) -> StoreResult<Option<u64>> {
        self.ask(|session| async move { session.free().await })
    }
}

fn directories(kind: FileKind) -> Vec<String> {
    match kind {
        FileKind::Config => Vec::new(),
        FileKind::Pack => (0..=u8::MAX).map(|byte| format!("data/{byte:02x}")).collect(),
        _ => vec![kind.directory().to_owned()],
    }
}

/// A thread that drives one connection. It ends with this.
struct Driver {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    fn start() -> io::Result<Driver> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("sftp".to_owned()).spawn(move || {
            // Nothing is ever sent: the other end is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Driver { handle, stop: Some(stop), thread: Some(thread) })
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        run(&self.handle, future)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for a future that the connection's thread runs; `None` when that thread ends before.
fn run<T: Send + 'static>(handle: &Handle, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, answer) = mpsc::sync_channel(1);
    // It waits for the answer below, so sending cannot fail.
    handle.spawn(async move { sender.send(future.await).ok() });
    answer.recv().ok()
}
