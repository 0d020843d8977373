//! Is a PostgreSQL server elsewhere fit for the site? Facts in, a judgement out; whoever is refused
//! is told the exact SQL for the server's administrator.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::name::DbName;
use crate::render::libpq::Endpoint;
use crate::site::External;
use crate::site::release::Release;
use crate::site::value::{RoleName, SslMode};
use crate::stack::sizing::OdooSizes;

/// Connections without which two Odoos side by side do not work at all: each process holds one and
/// opens a second for a moment.
const FEWEST_PER_PROCESS: u32 = 2;

/// What to ask a server, and what the answers are held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerCheck {
    /// The container with the client programs.
    pub container: String,
    pub external: External,
    /// Where they find it.
    pub endpoint: Endpoint,
    pub databases: Vec<Wanted>,
    pub release: Release,
    /// Of the client programs.
    pub client_major: u32,
    pub connections: Connections,
    /// The server's `system_identifier` as remembered; `None` before the site has data, or when
    /// the server never told it.
    pub identity: Option<String>,
    /// How the site marks its databases.
    pub site_id: String,
}

/// A database of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    pub name: DbName,
    /// The site has made it: it must be there, and be the same.
    pub made: bool,
}

/// Connections that two Odoos side by side open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Below this some processes cannot work.
    pub least: u32,
    /// All that they may ever open.
    pub most: u32,
}

impl Connections {
    /// Each database's workers and evented process twice while one Odoo replaces the other, and the
    /// threads for scheduled actions.
    #[must_use]
    pub fn of(odoo: &OdooSizes, databases: usize) -> Connections {
        let servers = u32::try_from(databases).unwrap_or(u32::MAX).saturating_mul(2);
        let workers = servers.saturating_mul(odoo.workers).saturating_add(odoo.cron_threads);
        Connections {
            least: workers.saturating_add(servers).saturating_mul(FEWEST_PER_PROCESS),
            most: workers
                .saturating_mul(odoo.db_maxconn)
                .saturating_add(servers.saturating_mul(odoo.db_maxconn_gevent)),
        }
    }
}

/// What the server says of itself and of our role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of the server's")]
pub struct ServerFacts {
    /// `server_version_num`: 170002 for 17.2.
    pub version: u32,
    pub encrypted: bool,
    pub superuser: bool,
    pub createdb: bool,
    pub createrole: bool,
    pub bypassrls: bool,
    /// Of the role; -1 for none.
    pub role_limit: i64,
    pub max_connections: u32,
    /// Connections that the server keeps for superusers and privileged roles.
    pub reserved: u32,
    /// `None` where the role may not ask.
    pub identity: Option<String>,
    /// Those of the site's databases that exist.
    pub databases: BTreeSet<String>,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFacts {
    pub encoding: String,
    /// Our role may CREATE in the database.
    pub create: bool,
    /// Our role may use schema public and CREATE in it.
    pub public: bool,
    /// Tables, views and sequences that belong to no extension.
    pub relations: u64,
    pub odoo: bool,
    pub mark: Option<String>,
    pub extensions: Vec<Extension>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    pub name: String,
    pub installed: bool,
    /// Its files are on the server.
    pub available: bool,
    /// Whoever may CREATE in the database may install it (PostgreSQL 13 and newer).
    pub trusted: bool,
}

/// What is to be done with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the site's and complete.
    Serves,
    /// It is the site's and complete; only the mark does not say so yet.
    Complete,
    /// It does not exist, and our role may make it.
    Create,
    /// It is empty: it becomes the site's.
    Claim,
    /// An interrupted run of this site began to fill it.
    BeginAgain,
}

/// The comment on the schema that marks a database as a site's.
#[must_use]
pub fn mark(site_id: &str, complete: bool) -> String {
    let state = if complete { "complete" } else { "unfinished" };
    format!("autoodoo site {site_id}, {state}")
}

/// Judges the server and the role. Returns what is worth saying.
pub fn judge_server(check: &ServerCheck, facts: &ServerFacts) -> Result<Vec<String>> {
    same_server(check, facts)?;
    version(check, facts.version / 10_000)?;
    let mut notes = connections(check, facts)?;
    if !facts.encrypted && check.external.ssh.is_none() && check.external.sslmode == SslMode::Prefer {
        notes.push("the connection to PostgreSQL is not encrypted; `sslmode: verify-full` is safest".into());
    }
    notes.extend(powers(&check.external.user, facts));
    Ok(notes)
}

fn same_server(check: &ServerCheck, facts: &ServerFacts) -> Result<()> {
    let External { host, port, .. } = &check.external;
    match (&check.identity, &facts.identity) {
        (Some(remembered), Some(found)) if remembered != found => Err(Failure::failed(format!(
            "the PostgreSQL server at {host}:{port} is another one than that of this site (system identifier \
             {found}, not {remembered})"
        ))
        .hint("Odoo was not started on it; nothing in it was changed")
        .hint("put `postgres.host` right in autoodoo.yaml")
        .hint(
            "if the whole data was moved there on purpose, or the server was upgraded, write \
             `\"system_identifier\": null` into state/state.json; the next `up` remembers the new one",
        )),
        _ => Ok(()),
    }
}

fn version(check: &ServerCheck, server: u32) -> Result<()> {
    if server > check.client_major {
        return Err(Failure::usage(format!(
            "the server is PostgreSQL {server}, and the client programs of `postgres.image` are of {}: they \
             cannot dump a newer server",
            check.client_major
        ))
        .hint(format!("set `postgres.image` in autoodoo.yaml to one of PostgreSQL {server}")));
    }
    let oldest = check.release.oldest_postgres();
    if server < oldest {
        return Err(Failure::usage(format!(
            "the server is PostgreSQL {server}; Odoo {} needs {oldest} or newer",
            check.release
        ))
        .hint("upgrade the server, or name another one"));
    }
    Ok(())
}

fn connections(check: &ServerCheck, facts: &ServerFacts) -> Result<Vec<String>> {
    let server = facts.max_connections.saturating_sub(facts.reserved);
    let role = u32::try_from(facts.role_limit).unwrap_or(u32::MAX);
    let room = server.min(role);
    let Connections { least, most } = check.connections;
    let what =
        if role < server { "the role's connection limit" } else { "max_connections less what is reserved" };
    if room < least {
        return Err(Failure::usage(format!(
            "the server has room for {room} connections ({what}); two Odoos side by side need at least {least}"
        ))
        .hint(format!("raise it on the server, best to {most} or more"))
        .hint("or ask for fewer processes: fewer `users:` in autoodoo.yaml"));
    }
    if room < most {
        return Ok(vec![format!(
            "the server has room for {room} connections ({what}); under full load two Odoos side by side may \
             open {most}"
        )]);
    }
    Ok(Vec::new())
}

fn powers(role: &RoleName, facts: &ServerFacts) -> Option<String> {
    let powers = [
        (facts.superuser, "SUPERUSER"),
        (facts.createdb, "CREATEDB"),
        (facts.createrole, "CREATEROLE"),
        (facts.bypassrls, "BYPASSRLS"),
    ];
    let powers: Vec<_> = powers.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
    let without = powers.iter().map(|word| format!("NO{word}")).collect::<Vec<_>>().join(" ");
    (!powers.is_empty()).then(|| {
        format!(
            "role {role} has {}, which Odoo does not need once its database is there: \
             ALTER ROLE \"{role}\" {without};",
            powers.join(" and ")
        )
    })
}

/// Judges a database; `facts` are `None` when it does not exist.
pub fn judge_database(
    check: &ServerCheck,
    wanted: &Wanted,
    server: &ServerFacts,
    facts: Option<&DatabaseFacts>,
) -> Result<Verdict> {
    match (facts, wanted.made) {
        (Some(facts), true) => remembered(check, wanted, facts),
        (None, true) => Err(lost(check, wanted, "does not exist")),
        (None, false) if server.createdb || server.superuser => Ok(Verdict::Create),
        (None, false) => Err(Failure::usage(format!(
            "database {} does not exist, and role {} may not create one",
            wanted.name, check.external.user
        ))
        .hint("let the server's administrator run this, then try again")
        .evidence(dba_sql(&check.external.user, &wanted.name, &EVERYTHING))),
        (Some(facts), false) => fresh(check, wanted, server, facts),
    }
}

fn remembered(check: &ServerCheck, wanted: &Wanted, facts: &DatabaseFacts) -> Result<Verdict> {
    let is = |complete| facts.mark.as_deref() == Some(&mark(&check.site_id, complete));
    if is(true) {
        Ok(Verdict::Serves)
    } else if is(false) {
        // The run was cut off between writing down that the site has it and marking it.
        Ok(Verdict::Complete)
    } else {
        Err(lost(check, wanted, "does not carry this site's mark"))
    }
}

fn lost(check: &ServerCheck, wanted: &Wanted, what: &str) -> Failure {
    let External { host, port, .. } = &check.external;
    Failure::failed(format!(
        "database {} at {host}:{port} {what}: it is not the one that this site made",
        wanted.name
    ))
    .hint("nothing was changed, and no empty Odoo was put in its place")
    .hint("put `postgres.host` right in autoodoo.yaml, or bring the database back with the schema `autoodoo` in it")
}

fn fresh(
    check: &ServerCheck,
    wanted: &Wanted,
    server: &ServerFacts,
    facts: &DatabaseFacts,
) -> Result<Verdict> {
    let ours = |complete| facts.mark.as_deref() == Some(&mark(&check.site_id, complete));
    let name = &wanted.name;
    if ours(true) {
        return Err(Failure::usage(format!(
            "database {name} holds data that this site made, which its state/ does not know (any more)"
        ))
        .hint("nothing was changed; bring `state/` back from a copy of the site directory")
        .hint("or let the server's administrator drop the database if the data is not needed"));
    }
    if !ours(false) && (facts.mark.is_some() || facts.relations > 0) {
        return Err(strangers(name, facts));
    }
    usable(check, name, server, facts)?;
    Ok(if ours(false) { Verdict::BeginAgain } else { Verdict::Claim })
}

fn strangers(name: &DbName, facts: &DatabaseFacts) -> Failure {
    let what = match &facts.mark {
        Some(mark) => format!("is taken ({mark})"),
        None if facts.odoo => "holds an Odoo already".to_owned(),
        None => format!("is not empty ({} tables, views and sequences)", facts.relations),
    };
    Failure::usage(format!("database {name} {what}, and this site did not make it"))
        .hint("nothing in it was changed; name an empty database under `database:` in autoodoo.yaml")
        .hint("to take over an Odoo that exists, bring it in with `autoodoo import`")
}

/// What an administrator must still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Database,
    /// The right to CREATE in the database.
    Create,
    /// The rights on schema public.
    Public,
    Extensions,
}

const EVERYTHING: [Missing; 4] = [Missing::Database, Missing::Create, Missing::Public, Missing::Extensions];

fn usable(check: &ServerCheck, name: &DbName, server: &ServerFacts, facts: &DatabaseFacts) -> Result<()> {
    let role = &check.external.user;
    if facts.encoding != "UTF8" {
        return Err(Failure::usage(format!(
            "database {name} has the encoding {}; Odoo needs UTF8",
            facts.encoding
        ))
        .hint("let the server's administrator drop it and make it anew")
        .evidence(dba_sql(role, name, &EVERYTHING)));
    }
    let absent = facts.extensions.iter().find(|extension| !extension.installed && !extension.available);
    if let Some(extension) = absent {
        return Err(Failure::usage(format!("the server does not have the extension {}", extension.name))
            .hint(
                "let the server's administrator install PostgreSQL's contrib modules (postgresql-contrib)",
            ));
    }
    let installable = |extension: &Extension| {
        extension.installed || server.superuser || (extension.trusted && facts.create)
    };
    let lacks = |missing: &Missing| match missing {
        Missing::Database => false,
        Missing::Create => !facts.create,
        Missing::Public => !facts.public,
        Missing::Extensions => !facts.extensions.iter().all(installable),
    };
    let missing: Vec<Missing> = EVERYTHING.into_iter().filter(lacks).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("role {role} lacks privileges in database {name}"))
        .hint("let the server's administrator run this, then try again")
        .evidence(dba_sql(role, name, &missing)))
}

/// The SQL that makes what is missing, for psql. The database stays the administrator's: Odoo's role
/// needs to own nothing.
fn dba_sql(role: &RoleName, database: &DbName, missing: &[Missing]) -> Vec<String> {
    let connect = format!("\\connect \"{database}\"");
    let lines = |missing: &Missing| match missing {
        Missing::Database => {
            vec![format!("CREATE DATABASE \"{database}\" TEMPLATE template0 ENCODING 'UTF8';")]
        }
        Missing::Create => {
            vec![format!("GRANT CONNECT, TEMPORARY, CREATE ON DATABASE \"{database}\" TO \"{role}\";")]
        }
        Missing::Public => {
            vec![connect.clone(), format!("GRANT USAGE, CREATE ON SCHEMA public TO \"{role}\";")]
        }
        Missing::Extensions => vec![
            connect.clone(),
            "CREATE EXTENSION IF NOT EXISTS unaccent;".to_owned(),
            "CREATE EXTENSION IF NOT EXISTS pg_trgm;".to_owned(),
            "ALTER FUNCTION unaccent(text) IMMUTABLE;".to_owned(),
        ],
    };
    let mut connected = false;
    let first = |line: &String| *line != connect || !std::mem::replace(&mut connected, true);
    missing.iter().flat_map(lines).filter(first).collect()
}

/// Why a connection failed, from what psql wrote to standard error.
#[must_use]
pub fn unreachable(external: &External, stderr: &str) -> Failure {
    let External { host, port, user, .. } = external;
    let server = format!("PostgreSQL at {host}:{port}");
    let is = |(words, ..): &&(&[&str], String, &str)| words.iter().any(|word| stderr.contains(word));
    let known: [(&[&str], String, &str); 8] = [
        (
            &["password authentication failed", "no password supplied"],
            format!("{server} does not accept the password of role {user}"),
            "write the role's password into secrets/database-password (mode 0600) of the site directory",
        ),
        (
            &["certificate verify failed"],
            format!("the certificate of {server} was not signed by the CA of `postgres.ssl_root_cert`"),
            "give the CA that signed the server's certificate",
        ),
        (
            &["does not match host name"],
            format!("the certificate of {server} is for another name"),
            "write the name that the certificate has under `postgres.host`, or use `sslmode: verify-ca`",
        ),
        (
            &["does not support SSL"],
            format!("{server} offers no TLS"),
            "turn `ssl` on there; `sslmode: disable` is right only in a network that nobody else hears",
        ),
        (
            &["certificate authentication failed", "valid client certificate"],
            format!("{server} wants a client certificate of role {user}"),
            "give it under `postgres.ssl_cert` and `ssl_key`; its common name is the role's",
        ),
        (
            &["no pg_hba.conf entry"],
            format!("{server} does not let {user} in from here"),
            "let the server's administrator add the line to pg_hba.conf that the message asks for",
        ),
        (
            &["permission denied for database"],
            format!("role {user} may not connect to a database that Odoo needs"),
            "let the server's administrator grant CONNECT on it; Odoo also connects to `postgres`",
        ),
        (
            &["could not translate host name"],
            format!("the name {host} is not known"),
            "put `postgres.host` right in autoodoo.yaml",
        ),
    ];
    let unknown = (
        &[] as &[&str],
        format!("{server} cannot be reached"),
        "see that the server listens there and that no firewall is in between",
    );
    let (_, message, hint) = known.iter().find(is).unwrap_or(&unknown);
    Failure::failed(message).hint(*hint).evidence(stderr.lines().map(str::to_owned))
}

#[cfg(test)]
mod tests;
