//! What a killed run left behind.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::client::{APPLICATION, Client};
use super::held::PROMPT;
use super::sql;
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::filestore::Farms;
use crate::name::DbName;

/// Removes what a killed backup left: hard links in Odoo's volume, whose directory on this host is
/// `volume`, and sessions in these databases. PostgreSQL runs.
pub async fn sweep<E: Engine>(
    engine: &E,
    client: &Client,
    volume: &Path,
    databases: &[DbName],
) -> Result<()> {
    for database in databases {
        let name = database.as_str();
        // One that was dropped has no sessions; on somebody else's server we may enter no other.
        let through = if client.is_superuser() { "postgres" } else { name };
        psql(engine, client, through, &sql::end_sessions(APPLICATION, name), PROMPT).await?;
    }
    Farms::sweep(volume)
}

/// How psql answers statements that are among its words.
pub(super) const STATEMENTS: [&str; 5] =
    ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"];

/// Runs one statement and returns its output. The server gives it up after `patience`: when we go, it
/// does not run on.
pub(super) async fn psql<E: Engine>(
    engine: &E,
    client: &Client,
    database: &str,
    sql: &str,
    patience: Duration,
) -> Result<String> {
    let limit = format!("SET statement_timeout = '{}s'", patience.as_secs());
    let words = [&STATEMENTS[..], &["--command", &limit, "--command", sql]].concat();
    let exec = client.exec("psql", database, &words);
    let mut unheard = |_, _: &str| {};
    let whole = patience + PROMPT;
    let output = timeout(whole, engine.exec(&client.container, exec, &mut unheard)).await;
    let output = output.map_err(|_| {
        Failure::failed(format!("psql in database {database} has not ended for {} seconds", whole.as_secs()))
    })??;
    if output.exit_code == 0 {
        return Ok(output.stdout);
    }
    Err(Failure::failed(format!("psql failed in database {database}"))
        .evidence(output.stderr.lines().map(str::to_owned)))
}
