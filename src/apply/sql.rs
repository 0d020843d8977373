//! SQL that is given to psql on its standard input. Identifiers are validated names without
//! quotes; values are quoted.

pub mod external;

use std::fmt::Write;

use crate::stack::collation::Collation;

/// A quoted identifier.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted string constant (`standard_conforming_strings` is on by default).
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Makes the role Odoo connects as, or puts it right: no superuser, no createdb. `verifier` is a
/// SCRAM verifier, so that not even the server's log could show the password. `createdb` is for
/// Odoo's database manager.
pub fn prepare_role(role: &str, verifier: &str, createdb: bool) -> String {
    let createdb = if createdb { "CREATEDB" } else { "NOCREATEDB" };
    let (name, quoted) = (ident(role), literal(role));
    format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {quoted}) THEN\n\
         CREATE ROLE {name}; END IF; END $$;\n\
         ALTER ROLE {name} WITH LOGIN NOSUPERUSER {createdb} NOCREATEROLE NOREPLICATION NOBYPASSRLS\n\
         PASSWORD {};\n",
        literal(verifier)
    )
}

/// The comment on a database that we made and that nobody has used yet.
const OURS: &str = "made by autoodoo";
/// The comment once the site remembers it: people work in it.
const COMPLETE: &str = "made by autoodoo, complete";

/// Says that a database is in use: from now on it is never set aside for another of its name, even
/// if the site forgot it.
pub fn mark_complete(name: &str) -> String {
    format!("COMMENT ON DATABASE {} IS {};\n", ident(name), literal(COMPLETE))
}

/// Fails when a database of this name exists, but for one that we made and nobody ever used.
pub fn refuse_strangers_database(name: &str) -> String {
    let (name, ours) = (literal(name), literal(OURS));
    format!(
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_database WHERE datname = {name}\n\
         AND shobj_description(oid, 'pg_database') IS DISTINCT FROM {ours}) THEN\n\
         RAISE 'database % exists already, and this site does not know it', {name}\n\
         USING HINT = 'bring back the newest state/, rename the database, or give the site another one';\n\
         END IF; END $$;\n"
    )
}

/// Makes an empty database that belongs to the superuser and that `role` may fill. One of this name
/// is dropped: callers use it for names of unfinished databases only.
pub fn create_database(name: &str, role: &str, collation: &Collation) -> String {
    let (database, role, ours) = (ident(name), ident(role), literal(OURS));
    let create = create_with(&database, collation);
    let mut sql = disconnect(name);
    // Writing to a String cannot fail.
    let _ = write!(
        sql,
        "DROP DATABASE IF EXISTS {database};\n\
         {create}\n\
         COMMENT ON DATABASE {database} IS {ours};\n\
         GRANT CONNECT, TEMPORARY, CREATE ON DATABASE {database} TO {role};\n\
         \\connect {database}\n\
         GRANT USAGE, CREATE ON SCHEMA public TO {role};\n\
         CREATE EXTENSION IF NOT EXISTS unaccent;\n\
         CREATE EXTENSION IF NOT EXISTS pg_trgm;\n\
         ALTER FUNCTION unaccent(text) IMMUTABLE;\n"
    );
    sql
}

/// Which locales its C library has, only the server knows: it is asked there.
fn create_with(database: &str, collation: &Collation) -> String {
    let create = format!("CREATE DATABASE {database} OWNER postgres TEMPLATE template0 ENCODING 'UTF8'");
    match collation {
        // The C library's part classifies characters for a few functions that do not ask ICU.
        Collation::Icu { locale } => {
            format!("{create} LOCALE_PROVIDER icu ICU_LOCALE {} LOCALE 'C.UTF-8';", literal(locale))
        }
        Collation::Libc { locales } => {
            let wanted: Vec<String> = locales.iter().map(|locale| literal(locale)).collect();
            format!(
                "SELECT {} || coalesce((\n\
                 SELECT format(' LC_COLLATE %L LC_CTYPE %L', collcollate, collctype) FROM pg_collation\n\
                 JOIN unnest(ARRAY[{}]) WITH ORDINALITY AS wanted (locale, place) ON locale = collname\n\
                 WHERE collprovider = 'c' ORDER BY place LIMIT 1), '') \\gexec",
                literal(&create),
                wanted.join(", ")
            )
        }
    }
}

/// Gives a database its name. One that has the name already is kept under `aside`.
pub fn rename_database(from: &str, to: &str, aside: &str) -> String {
    format!(
        "{}{}SELECT format('ALTER DATABASE %I RENAME TO %I', datname, {}) FROM pg_database\n\
         WHERE datname = {} \\gexec\n\
         ALTER DATABASE {} RENAME TO {};\n",
        disconnect(from),
        disconnect(to),
        literal(aside),
        literal(to),
        ident(from),
        ident(to),
    )
}

fn disconnect(database: &str) -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {};\n", literal(database))
}

/// Ends what an interrupted operation of ours still runs in the server.
pub fn end_leftover_sessions() -> &'static str {
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity\n\
     WHERE application_name LIKE 'autoodoo:%' AND pid <> pg_backend_pid();\n"
}

/// Files are read anew for this view (PostgreSQL manual, "pg_file_settings"). In the cluster's own
/// file only what keeps it from being read counts: a value that the command line overrules is
/// listed there as one that could not be applied.
pub const FAULTY_SETTINGS: &str = "SELECT concat_ws(': ', sourcefile, sourceline, name, error)\n\
     FROM pg_file_settings WHERE error IS NOT NULL\n\
     AND (name IS NULL OR sourcefile = current_setting('config_file'));\n";

pub const RELOAD: &str = "SELECT pg_reload_conf();\n";

pub const SYSTEM_IDENTIFIER: &str = "SELECT system_identifier FROM pg_control_system();\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("o'neil"), "'o''neil'");
    }

    #[test]
    fn a_database_by_icu() {
        let sql = create_with("\"acme\"", &Collation::Icu { locale: "fr-BE".into() });
        insta::assert_snapshot!(sql, @"CREATE DATABASE \"acme\" OWNER postgres TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'fr-BE' LOCALE 'C.UTF-8';");
    }

    #[test]
    fn a_database_by_the_c_library_asks_the_server() {
        let locales = vec!["fr_BE.utf8".to_owned(), "C.utf8".to_owned()];
        let sql = create_with("\"acme\"", &Collation::Libc { locales });
        insta::assert_snapshot!(sql, @r#"
        SELECT 'CREATE DATABASE "acme" OWNER postgres TEMPLATE template0 ENCODING ''UTF8''' || coalesce((
        SELECT format(' LC_COLLATE %L LC_CTYPE %L', collcollate, collctype) FROM pg_collation
        JOIN unnest(ARRAY['fr_BE.utf8', 'C.utf8']) WITH ORDINALITY AS wanted (locale, place) ON locale = collname
        WHERE collprovider = 'c' ORDER BY place LIMIT 1), '') \gexec
        "#);
    }

    #[test]
    fn the_role_gets_no_power() {
        let sql = prepare_role("odoo", "SCRAM-SHA-256$x", false);
        assert!(sql.contains("NOSUPERUSER NOCREATEDB NOCREATEROLE"));
        assert!(!sql.contains(" SUPERUSER"));
    }
}
