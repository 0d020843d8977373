//! A live filestore against its rows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::client::Client;
use super::held::{PROMPT, READING};
use super::session::Session;
use super::sql;
use crate::engine::Engine;
use crate::failure::{Context, Result};
use crate::filestore::{self, Named, Standing};
use crate::name::DbName;

/// Hands out the files that rows of this database name now, sorted by name. None in a database in which
/// Odoo has not been installed.
async fn attachments<E: Engine>(
    engine: &E,
    client: &Client,
    database: &DbName,
    take: &mut dyn FnMut(Named),
) -> Result<()> {
    let mut session = Session::open(engine, client, database.as_str(), PROMPT).await?;
    if session.value(sql::HAS_ATTACHMENTS, PROMPT).await? == "t" {
        let list = format!("{};", sql::ATTACHMENTS);
        session.run(&list, READING, &mut |line| Named::parse(line).map(&mut *take)).await?;
    }
    Ok(())
}

/// Reads every attachment of a database that serves meanwhile. `volume` is the directory of Odoo's
/// volume on this host; `done` counts bytes; `stop` makes it fail soon.
pub async fn examine<E: Engine>(
    engine: &E,
    client: &Client,
    database: &DbName,
    volume: &Path,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Result<Standing> {
    let client = &client.examining();
    let mut named = Vec::new();
    attachments(engine, client, database, &mut |one| named.push(one)).await?;
    let (volume, name) = (volume.to_owned(), database.to_string());
    let examining = move || filestore::examine(&volume, &name, &named, &done, &stop);
    let examined = tokio::task::spawn_blocking(examining).await;
    let mut standing = examined.context("the examination ended in a panic")??;
    if standing.missing.is_empty() {
        return Ok(standing);
    }
    // A row that was deleted since then may have taken its file with it.
    let (missing, mut still) = (&standing.missing, Vec::new());
    let mut take = |named: Named| still.extend(missing.binary_search(&named.name).map(|_| named.name));
    attachments(engine, client, database, &mut take).await?;
    standing.missing = still;
    Ok(standing)
}
