//! What a killed run left behind.

use std::path::Path;

use super::client::{APPLICATION, Client};
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
        let sql = sql::end_sessions(APPLICATION, database.as_str());
        psql(engine, client, "postgres", &sql).await?;
    }
    Farms::sweep(volume)
}

/// Runs one statement and returns its output.
pub(super) async fn psql<E: Engine>(
    engine: &E,
    client: &Client,
    database: &str,
    sql: &str,
) -> Result<String> {
    let words = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--command", sql];
    let exec = client.exec("psql", database, &words);
    let output = engine.exec(&client.container, exec, &mut |_, _| {}).await?;
    if output.exit_code == 0 {
        return Ok(output.stdout);
    }
    Err(Failure::failed(format!("psql failed in database {database}"))
        .evidence(output.stderr.lines().map(str::to_owned)))
}
