//! How big a site is, asked before anything begins.

use std::time::Duration;

use super::client::Client;
use super::held::PROMPT;
use super::sweep::psql;
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::name::DbName;

/// How long the server may look for an answer: files and rows that nobody has asked for since the
/// machine started come from the disk.
const WEIGHING: Duration = Duration::from_mins(10);

/// A database that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    pub name: DbName,
    /// `pg_database_size`, bytes.
    pub bytes: u64,
}

/// Databases with people's data. `postgres` is the maintenance database that initdb makes.
const DATABASES: &str = "SELECT datname, pg_database_size(oid) FROM pg_database \
     WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY datname";
/// Rows of one content share a file. An unpacked query: a database without Odoo has no such table.
const ATTACHMENTS: &str = "SELECT coalesce(sum(size), 0)::bigint FROM \
     (SELECT max(file_size) AS size FROM ir_attachment WHERE store_fname <> '' GROUP BY store_fname) AS files";
const HAS_ATTACHMENTS: &str = "SELECT to_regclass('public.ir_attachment') IS NOT NULL";

/// Every database of a server of the site's own. Those whose names we never give, such as a database
/// that `up` has not finished, are left out.
pub async fn databases<E: Engine>(engine: &E, client: &Client) -> Result<Vec<Weighed>> {
    let answer = psql(engine, client, "postgres", DATABASES, WEIGHING).await?;
    Ok(answer.lines().filter_map(weighed).collect())
}

/// One database, which must exist.
pub async fn database<E: Engine>(engine: &E, client: &Client, name: &DbName) -> Result<Weighed> {
    let size = "SELECT pg_database_size(current_database())";
    let answer = psql(engine, client, name.as_str(), size, WEIGHING).await?;
    Ok(Weighed { name: name.clone(), bytes: number(&answer)? })
}

/// Bytes of the files that the rows of a database name. Fails also where that takes too long: nothing
/// but an estimate depends on it.
pub async fn attachments<E: Engine>(engine: &E, client: &Client, name: &DbName) -> Result<u64> {
    let asked = asked(engine, client, name).await;
    asked.map_err(|failure| {
        let shown = failure.evidence.last().map_or_else(String::new, |line| format!(": {line}"));
        let what = format!("how big the attachments of database {name} are is not known");
        Failure { message: what, causes: vec![format!("{failure}{shown}")], ..failure }
    })
}

async fn asked<E: Engine>(engine: &E, client: &Client, name: &DbName) -> Result<u64> {
    if psql(engine, client, name.as_str(), HAS_ATTACHMENTS, PROMPT).await?.trim() != "t" {
        return Ok(0);
    }
    number(&psql(engine, client, name.as_str(), ATTACHMENTS, WEIGHING).await?)
}

fn weighed(line: &str) -> Option<Weighed> {
    let (name, bytes) = line.split_once('|')?;
    Some(Weighed { name: name.parse().ok()?, bytes: bytes.parse().ok()? })
}

fn number(answer: &str) -> Result<u64> {
    let answer = answer.trim();
    answer
        .parse()
        .map_err(|_| Failure::failed(format!("PostgreSQL answered `{answer}` in place of a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_with_names_of_ours_count() {
        let found: Vec<_> =
            ["acme|8000000", "acme__init|7", "Odd Name|7", "torn"].into_iter().filter_map(weighed).collect();
        assert_eq!(found, [Weighed { name: "acme".parse().unwrap(), bytes: 8_000_000 }]);
        assert_eq!(number(" 12\n").unwrap(), 12);
        assert!(number("").is_err());
    }
}
