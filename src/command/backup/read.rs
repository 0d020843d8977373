//! `backup ls` and `backup cat`: a backup's files, without bringing it back.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::opened::{blocking, open, pick, readable, warn_of_the_future};
use crate::cli::{CatArgs, LsArgs};
use crate::command::site::{Loaded, load};
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Result};
use crate::repository::Repository;

/// Chunks between the thread that reads and the one that prints.
pub(super) const CHUNKS: usize = 8;

/// A file of a backup; a directory ends in `/` for people.
#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    bytes: u64,
    directory: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.directory {
            write!(f, "{:>14}  {}/", "-", self.path)
        } else {
            write!(f, "{:>14}  {}", self.bytes, self.path)
        }
    }
}

pub async fn cmd_ls<A: Adapters>(context: &Context<'_, A>, args: &LsArgs) -> Result<()> {
    let loaded = load(context)?;
    let (repository, snapshot) = find(context, &loaded, args.target.as_deref(), &args.backup).await?;
    let below = inside(&args.path);
    let (send, mut entries) = mpsc::channel(CHUNKS);
    let walking = blocking(move || {
        repository.walk(&snapshot, &below, &mut |node| {
            let path = node.path.display().to_string();
            let entry = Entry { path, bytes: node.size, directory: node.is_directory };
            send.blocking_send(entry).map_err(|_| Failure::failed(NOBODY))
        })
    });
    let showing = async {
        while let Some(entry) = entries.recv().await {
            context.ui.result(&entry)?;
            if context.ui.is_closed() {
                break;
            }
        }
        drop(entries);
        Ok(())
    };
    ended(context, tokio::join!(walking, showing))
}

pub async fn cmd_cat<A: Adapters>(context: &Context<'_, A>, args: &CatArgs) -> Result<()> {
    let loaded = load(context)?;
    let (repository, snapshot) = find(context, &loaded, args.target.as_deref(), &args.backup).await?;
    let path = inside(&args.path);
    let (send, mut chunks) = mpsc::channel(CHUNKS);
    let reading = blocking(move || repository.read(&snapshot, &path, &mut Sender(send)));
    let showing = async {
        while let Some(chunk) = chunks.recv().await {
            context.ui.bytes(&chunk)?;
            if context.ui.is_closed() {
                break;
            }
        }
        drop(chunks);
        Ok(())
    };
    ended(context, tokio::join!(reading, showing))
}

const NOBODY: &str = "nobody reads on";

/// What the reader failed at does not matter once nobody reads: it was stopped by that.
fn ended<A>(context: &Context<'_, A>, (read, shown): (Result<()>, Result<()>)) -> Result<()> {
    shown?;
    if context.ui.is_closed() { Ok(()) } else { read }
}

/// The first target, or the one that is named, and the full id of the backup there.
async fn find<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: Option<&str>,
    backup: &str,
) -> Result<(Arc<Repository>, String)> {
    let targets = readable(loaded, target)?;
    let first = targets.first().ok_or_else(|| Failure::usage("there is no target that can be read"))?;
    let repository = open(context, loaded, first).await?;
    let reader = Arc::clone(&repository);
    let listing = blocking(move || reader.snapshots()).await?;
    warn_of_the_future(context, loaded, first, &listing);
    let now = context.adapters.clock().now();
    let id = pick(&listing, loaded.site.name.as_str(), backup, now)?.id.clone();
    Ok((repository, id))
}

/// A path as people type it, as backups have it.
fn inside(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').to_owned()
}

/// Passes what is written on to the thread that prints.
pub(super) struct Sender(pub(super) mpsc::Sender<Bytes>);

impl Write for Sender {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(chunk));
        sent.map(|()| chunk.len()).map_err(|_| io::Error::new(ErrorKind::BrokenPipe, NOBODY))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_people_type_them() {
        for typed in ["databases/acme", "/databases/acme/", "./databases/acme"] {
            assert_eq!(inside(typed), "databases/acme");
        }
        assert_eq!(inside("/"), "");
    }
}
