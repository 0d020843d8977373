//! What a backup consists of, entry by entry.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::configuration::{Configuration, Content, Piece};
use super::pass::{Counted, Pass, Ticketed, Token, Trouble};
use super::pipe::{Sender, pipe};
use super::serve::Request;
use super::subject::{Secrets, Suspects};
use crate::backup::layout;
use crate::backup::manifest::{DatabaseFacts, Manifest};
use crate::filestore::{Checked, Farm, Findings, Found, Stat};
use crate::repository::source::{Entry, Opener, Source, Stamp};

/// What reading threads know of the moment.
pub(super) struct Shared {
    pub requests: UnboundedSender<Request>,
    pub trouble: Trouble,
    pub root: PathBuf,
    pub configuration: Configuration,
    pub globals: Option<Bytes>,
    /// In the order in which they are held.
    pub databases: Vec<Database>,
    pub logs: Vec<String>,
    /// What the manifest says before anything is read.
    pub manifest: Manifest,
    /// The last manifest that was written.
    pub sealed: Mutex<Option<Manifest>>,
}

pub(super) struct Database {
    pub name: String,
    pub farm: Option<Arc<Farm>>,
    pub findings: Arc<Findings>,
    /// `pg_database_size`, bytes.
    pub size: u64,
}

/// The moment, as one target reads it.
pub(super) struct Reading {
    pub shared: Arc<Shared>,
    pub secrets: Secrets,
    pub suspects: Arc<Suspects>,
}

impl Source for Reading {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let (shared, pass) = (self.shared.clone(), Arc::new(Pass::default()));
        // What is made while it is read is few: it is listed and sorted as a whole.
        let mut head = self.configuration(&pass);
        head.extend(shared.databases(&pass));
        head.sort_by(|a, b| a.path.cmp(&b.path));
        let files = shared.clone().filestores(self.suspects.clone(), pass.clone());
        let tail = shared.clone().tail(pass);
        Box::new(head.into_iter().map(Ok).chain(files).chain(tail))
    }

    fn size(&self) -> u64 {
        let shared = &self.shared;
        let configuration: u64 = self.pieces().map(Piece::bytes).sum();
        let databases = shared.databases.iter();
        let databases: u64 = databases
            .map(|database| database.size + database.farm.as_ref().map_or(0, |farm| farm.bytes))
            .sum();
        configuration + databases
    }
}

impl Reading {
    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let included = self.secrets == Secrets::Included;
        self.shared.configuration.files.iter().filter(move |piece| included || !piece.is_secret())
    }

    fn configuration(&self, pass: &Arc<Pass>) -> Vec<Entry> {
        let entry = |piece: &Piece| {
            let path = Path::new(layout::CONFIGURATION).join(&piece.path);
            match &piece.content {
                Content::Kept(bytes) => kept(path, bytes.clone(), pass),
                Content::OnDisk { .. } => on_disk(path, self.shared.root.join(&piece.path), pass),
            }
        };
        self.pieces().map(entry).collect()
    }
}

impl Shared {
    fn databases(self: &Arc<Self>, pass: &Arc<Pass>) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(globals) = &self.globals {
            let path = format!("{}/{}", layout::DATABASES, layout::GLOBALS);
            entries.push(kept(path.into(), globals.clone(), pass));
        }
        for (index, database) in self.databases.iter().enumerate() {
            let name = database.name.clone();
            let at_end = move |pass: &Pass, length| pass.note_dump(&name, length);
            let ask = move |to| Request::Dump { database: index, to };
            entries.push(self.streamed(layout::dump(&database.name), pass, ask, at_end));
            if database.farm.is_some() {
                let ask = move |to| Request::Attachments { database: index, to };
                entries.push(self.streamed(layout::attachments(&database.name), pass, ask, |_, _| {}));
            }
        }
        entries
    }

    fn filestores(
        self: Arc<Self>,
        suspects: Arc<Suspects>,
        pass: Arc<Pass>,
    ) -> impl Iterator<Item = io::Result<Entry>> + Send {
        let mut order: Vec<usize> = (0..self.databases.len()).collect();
        order.sort_by(|a, b| self.databases[*a].name.cmp(&self.databases[*b].name));
        order.into_iter().flat_map(move |index| {
            let (database, pass) = (&self.databases[index], pass.clone());
            let (name, suspects, findings) =
                (database.name.clone(), suspects.clone(), database.findings.clone());
            let walk = database.farm.as_ref().map(|farm| farm.walk()).transpose();
            let (walk, fault) = match walk {
                Ok(walk) => (walk, None),
                Err(error) => (None, Some(Err(error))),
            };
            let attachments = walk.into_iter().flatten();
            let entry = move |found: io::Result<Found>| {
                let found = found?;
                let is_suspect = suspects.has(&name, &found.path);
                let entry = attachment(&name, found, &findings, &pass)?;
                Ok(if is_suspect { Entry { stamp: None, ..entry } } else { entry })
            };
            fault.into_iter().chain(attachments.map(entry))
        })
    }

    fn tail(self: Arc<Self>, pass: Arc<Pass>) -> impl Iterator<Item = io::Result<Entry>> + Send {
        let mut logs = self.logs.clone();
        logs.sort_by_key(|container| format!("{container}.log"));
        let (shared, of_logs) = (self.clone(), pass.clone());
        let log = move |container: String| {
            let path = format!("{}/{container}.log", layout::LOGS);
            let ask = move |to| Request::Log { container, to };
            Ok(shared.streamed(path, &of_logs, ask, |_, _| {}))
        };
        // Made only when its turn comes.
        logs.into_iter().map(log).chain(std::iter::once_with(move || Ok(self.manifest_entry(pass))))
    }

    /// What the program's thread has to ask the engine for.
    fn streamed(
        self: &Arc<Self>,
        path: String,
        pass: &Arc<Pass>,
        ask: impl FnOnce(Sender) -> Request + Send + 'static,
        at_end: impl FnOnce(&Pass, u64) + Send + 'static,
    ) -> Entry {
        let (shared, token) = (self.clone(), Token::new(pass, 0));
        let open: Opener = Box::new(move || {
            let (to, inner) = pipe(shared.trouble.clone());
            shared.ask(ask(to))?;
            Ok(Box::new(Counted { inner, token, length: 0, at_end: Some(at_end) }))
        });
        Entry { path: path.into(), size: None, stamp: None, open }
    }

    fn ask(&self, request: Request) -> io::Result<()> {
        self.trouble.error().map_or(Ok(()), Err)?;
        self.requests.send(request).map_err(|_| io::Error::other("the backup has ended"))
    }

    /// Waits for the others: it says what was found in them.
    fn manifest_entry(self: Arc<Self>, pass: Arc<Pass>) -> Entry {
        let open: Opener = Box::new(move || {
            pass.wait_for_the_others(&self.trouble)?;
            let (to, answer) = oneshot::channel();
            self.ask(Request::Seal { to })?;
            let facts = answer.blocking_recv().map_err(|_| {
                self.trouble.error().unwrap_or_else(|| io::Error::other("the backup has ended"))
            })??;
            let manifest = self.sealed(facts, &pass);
            let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
            *self.sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest);
            Ok(Box::new(Bytes::from(text).reader()))
        });
        Entry { path: layout::MANIFEST.into(), size: None, stamp: None, open }
    }

    fn sealed(&self, mut databases: Vec<DatabaseFacts>, pass: &Pass) -> Manifest {
        for database in &mut databases {
            database.dump = pass.dump(&database.name);
        }
        Manifest {
            databases,
            bytes: pass.bytes.load(Ordering::Relaxed),
            files: pass.files.load(Ordering::Relaxed),
            ..self.manifest.clone()
        }
    }
}

fn kept(path: PathBuf, bytes: Bytes, pass: &Arc<Pass>) -> Entry {
    let (size, token) = (bytes.len() as u64, Token::new(pass, bytes.len() as u64));
    let open: Opener = Box::new(move || Ok(Box::new(Ticketed { inner: bytes.reader(), _token: token })));
    Entry { path, size: Some(size), stamp: None, open }
}

/// A file of the site directory, which may have changed or gone since it was found: then the backup
/// fails, and the next one has what is there.
fn on_disk(path: PathBuf, file: PathBuf, pass: &Arc<Pass>) -> Entry {
    let stat = std::fs::metadata(&file).ok();
    let bytes = stat.as_ref().map_or(0, std::fs::Metadata::len);
    let token = Token::new(pass, bytes);
    let stamp = stat.and_then(|stat| {
        let nanosecond = i32::try_from(stat.mtime_nsec()).ok()?;
        Some(Stamp {
            modified: Timestamp::new(stat.mtime(), nanosecond).ok()?,
            inode: stat.ino(),
            mode: stat.mode() & 0o7777,
        })
    });
    let open: Opener =
        Box::new(move || Ok(Box::new(Ticketed { inner: std::fs::File::open(file)?, _token: token })));
    Entry { path, size: Some(bytes), stamp, open }
}

fn attachment(database: &str, found: Found, findings: &Arc<Findings>, pass: &Arc<Pass>) -> io::Result<Entry> {
    let stat = found.stat()?;
    let (token, findings) = (Token::new(pass, stat.size), findings.clone());
    let path = format!("{}/{}", layout::filestore(database), found.path).into();
    let open: Opener = Box::new(move || {
        let inner = Checked::new(found.open()?, &found.path, findings);
        Ok(Box::new(Ticketed { inner, _token: token }) as Box<dyn Read + Send>)
    });
    Ok(Entry { path, size: Some(stat.size), stamp: stamp(stat), open })
}

/// A time that cannot be told is none to compare with: such a file is read anew.
fn stamp(stat: Stat) -> Option<Stamp> {
    let (second, nanosecond) = stat.modified;
    let modified = Timestamp::new(second, nanosecond).ok()?;
    Some(Stamp { modified, inode: stat.inode, mode: stat.mode })
}
