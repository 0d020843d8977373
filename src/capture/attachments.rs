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

/// The files that rows of this database name now, sorted by name. None in a database in which Odoo has
/// not been installed.
pub async fn attachments<E: Engine>(engine: &E, client: &Client, database: &DbName) -> Result<Vec<Named>> {
    let mut session = Session::open(engine, client, database.as_str(), PROMPT).await?;
    let mut named = Vec::new();
    if session.value(sql::HAS_ATTACHMENTS, PROMPT).await? == "t" {
        let list = format!("{};", sql::ATTACHMENTS);
        let mut take = |line: &str| Named::parse(line).map(|line| named.push(line));
        session.run(&list, READING, &mut take).await?;
    }
    Ok(named)
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
    let named = attachments(engine, client, database).await?;
    let (volume, name) = (volume.to_owned(), database.to_string());
    let examining = move || filestore::examine(&volume, &name, &named, &done, &stop);
    let examined = tokio::task::spawn_blocking(examining).await;
    let mut standing = examined.context("the examination ended in a panic")??;
    if standing.missing.is_empty() {
        return Ok(standing);
    }
    // A row that was deleted since then may have taken its file with it.
    let still = attachments(engine, client, database).await?;
    let is_named = |name: &String| still.binary_search_by(|named| named.name.cmp(name)).is_ok();
    standing.missing.retain(is_named);
    Ok(standing)
}
