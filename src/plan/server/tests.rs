use super::*;
use crate::site::parse;
use crate::stack::sizing::{Capacity, Demand, size};

fn external(keys: &str) -> External {
    let text = format!("name: acme\ndomain: a.b\npostgres: {{ host: db.example.com, user: acme, {keys} }}\n");
    parse::site(text).unwrap().postgres.external.unwrap()
}

fn check() -> ServerCheck {
    ServerCheck {
        container: "acme-helper-psql".into(),
        endpoint: Endpoint::of_external(&external("sslmode: require")),
        external: external("sslmode: require"),
        databases: vec![wanted(false)],
        release: Release::NEWEST,
        client_major: 17,
        connections: Connections { least: 16, most: 64 },
        identity: None,
        site_id: "id1".into(),
    }
}

fn wanted(made: bool) -> Wanted {
    Wanted { name: "acme".parse().unwrap(), made }
}

fn good() -> ServerFacts {
    ServerFacts {
        version: 170_002,
        encrypted: true,
        superuser: false,
        createdb: false,
        createrole: false,
        bypassrls: false,
        role_limit: -1,
        max_connections: 100,
        reserved: 3,
        identity: Some("711".into()),
        databases: ["acme".to_owned()].into(),
    }
}

fn extension(name: &str) -> Extension {
    Extension { name: name.into(), installed: false, available: true, trusted: true }
}

fn empty() -> DatabaseFacts {
    DatabaseFacts {
        encoding: "UTF8".into(),
        create: true,
        public: true,
        relations: 0,
        odoo: false,
        mark: None,
        extensions: vec![extension("unaccent"), extension("pg_trgm")],
    }
}

fn told(failure: &Failure) -> String {
    let lines = failure.evidence.iter().chain(&failure.hints);
    std::iter::once(&failure.message).chain(lines).cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fitting_server_is_taken_without_a_word() {
    assert_eq!(judge_server(&check(), &good()).unwrap(), Vec::<String>::new());
}

#[test]
fn servers_that_do_not_fit_are_refused_with_the_reason() {
    let remembered = ServerCheck { identity: Some("700".into()), ..check() };
    let table = [
        (
            check(),
            ServerFacts { version: 180_000, ..good() },
            "set `postgres.image` in autoodoo.yaml to one of PostgreSQL 18",
        ),
        (check(), ServerFacts { version: 120_011, ..good() }, "Odoo 19 needs 13 or newer"),
        (
            check(),
            ServerFacts { max_connections: 18, ..good() },
            "room for 15 connections (max_connections less what is reserved)",
        ),
        (
            check(),
            ServerFacts { role_limit: 10, ..good() },
            "room for 10 connections (the role's connection limit)",
        ),
        (remembered, good(), "is another one than that of this site (system identifier 711, not 700)"),
    ];
    for (check, facts, expected) in table {
        let failure = judge_server(&check, &facts).unwrap_err();
        assert!(told(&failure).contains(expected), "{}", told(&failure));
    }
}

#[test]
fn what_is_not_best_is_noted() {
    let prefer = ServerCheck { external: external("sslmode: prefer"), ..check() };
    let facts =
        ServerFacts { encrypted: false, createdb: true, bypassrls: true, max_connections: 43, ..good() };
    insta::assert_snapshot!(judge_server(&prefer, &facts).unwrap().join("\n"), @r#"
    the server has room for 40 connections (max_connections less what is reserved); under full load two Odoos side by side may open 64
    the connection to PostgreSQL is not encrypted; `sslmode: verify-full` is safest
    role acme has CREATEDB and BYPASSRLS, which Odoo does not need once its database is there: ALTER ROLE "acme" NOCREATEDB NOBYPASSRLS;
    "#);
}

#[test]
fn two_odoos_a_database_and_one_for_scheduled_actions_are_counted() {
    let capacity = Capacity { cpus: 2, memory_bytes: 4 << 30, rotational: false };
    let odoo = size(capacity, Demand { users: 5, databases: 1, external_postgres: true }).odoo;
    assert_eq!((odoo.workers, odoo.cron_threads), (2, 1));
    let one = Connections::of(&odoo, 1);
    assert_eq!(one.least, 2 * (2 * (2 + 1) + 1));
    assert_eq!(one.most, 5 * odoo.db_maxconn + 2 * odoo.db_maxconn_gevent);
    assert_eq!(Connections::of(&odoo, 2).least, 2 * (4 * (2 + 1) + 1));
}

#[test]
fn a_databases_fate_follows_from_its_mark() {
    let (ours, theirs) = (|complete| Some(mark("id1", complete)), Some(mark("id2", true)));
    let with = |mark: Option<String>, relations| DatabaseFacts { relations, mark, ..empty() };
    let judged = |made, facts: DatabaseFacts| judge_database(&check(), &wanted(made), &good(), Some(&facts));
    assert_eq!(judged(false, empty()).unwrap(), Verdict::Claim);
    assert_eq!(judged(false, with(ours(false), 120)).unwrap(), Verdict::BeginAgain);
    assert_eq!(judged(true, with(ours(true), 120)).unwrap(), Verdict::Serves);
    assert_eq!(judged(true, with(ours(false), 120)).unwrap(), Verdict::Complete);
    let refused = [
        (false, with(None, 1), "is not empty (1 tables"),
        (false, DatabaseFacts { odoo: true, ..with(None, 99) }, "holds an Odoo already"),
        (false, with(theirs.clone(), 0), "is taken (autoodoo site id2, complete)"),
        (false, with(ours(true), 120), "bring `state/` back"),
        (true, with(None, 120), "does not carry this site's mark"),
        (true, with(theirs, 120), "does not carry this site's mark"),
    ];
    for (made, facts, expected) in refused {
        let failure = judged(made, facts).unwrap_err();
        assert!(told(&failure).contains(expected), "{}", told(&failure));
    }
}

#[test]
fn a_missing_database_is_made_only_by_a_role_that_may() {
    let none = ServerFacts { databases: BTreeSet::new(), ..good() };
    let able = ServerFacts { createdb: true, ..none.clone() };
    let judged = |made, server| judge_database(&check(), &wanted(made), server, None);
    assert_eq!(judged(false, &able).unwrap(), Verdict::Create);
    assert!(told(&judged(true, &able).unwrap_err()).contains("does not exist"));
    insta::assert_snapshot!(told(&judged(false, &none).unwrap_err()), @r#"
    database acme does not exist, and role acme may not create one
    CREATE DATABASE "acme" TEMPLATE template0 ENCODING 'UTF8';
    GRANT CONNECT, TEMPORARY, CREATE ON DATABASE "acme" TO "acme";
    \connect "acme"
    GRANT USAGE, CREATE ON SCHEMA public TO "acme";
    CREATE EXTENSION IF NOT EXISTS unaccent;
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    ALTER FUNCTION unaccent(text) IMMUTABLE;
    let the server's administrator run this, then try again
    "#);
}

#[test]
fn only_what_is_missing_is_asked_of_the_administrator() {
    let sql = |facts: DatabaseFacts| {
        let failure = judge_database(&check(), &wanted(false), &good(), Some(&facts)).unwrap_err();
        (failure.evidence.join("\n"), failure.message)
    };
    let (lines, _) = sql(DatabaseFacts { public: false, ..empty() });
    assert_eq!(lines, "\\connect \"acme\"\nGRANT USAGE, CREATE ON SCHEMA public TO \"acme\";");
    let untrusted = vec![Extension { trusted: false, ..extension("pg_trgm") }];
    let (lines, _) = sql(DatabaseFacts { extensions: untrusted, ..empty() });
    assert!(lines.contains("CREATE EXTENSION IF NOT EXISTS pg_trgm;") && !lines.contains("GRANT"), "{lines}");
    let (_, message) = sql(DatabaseFacts { encoding: "LATIN1".into(), ..empty() });
    assert_eq!(message, "database acme has the encoding LATIN1; Odoo needs UTF8");
    let absent = vec![Extension { available: false, ..extension("unaccent") }];
    let (_, message) = sql(DatabaseFacts { extensions: absent, ..empty() });
    assert_eq!(message, "the server does not have the extension unaccent");
}

/// What psql 17 wrote in each of these cases.
#[test]
fn refused_connections_are_told_apart() {
    let table = [
        ("FATAL:  password authentication failed for user \"acme\"", "secrets/database-password"),
        ("SSL error: certificate verify failed", "was not signed by the CA"),
        ("server certificate for \"b\" does not match host name \"a\"", "is for another name"),
        ("server does not support SSL, but SSL was required", "offers no TLS"),
        ("FATAL:  connection requires a valid client certificate", "wants a client certificate"),
        ("FATAL:  no pg_hba.conf entry for host \"10.0.0.1\"", "does not let acme in from here"),
        ("FATAL:  permission denied for database \"postgres\"", "grant CONNECT on it"),
        ("could not translate host name \"db\" to address", "is not known"),
        ("Connection refused", "cannot be reached"),
    ];
    for (stderr, expected) in table {
        let failure = unreachable(&external("sslmode: require"), stderr);
        assert!(told(&failure).contains(expected), "{}", told(&failure));
        assert_eq!(failure.evidence, [stderr]);
    }
}
