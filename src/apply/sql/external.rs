//! SQL for a server elsewhere, where our role is nobody's superuser. Answers are one line of JSON.

use super::{ident, literal};
use crate::name::DbName;
use crate::plan::server::mark;

/// The schema whose comment marks a database as a site's. A schema goes along with a dump, and
/// whoever made it may comment on it.
const SCHEMA: &str = "autoodoo";

/// Answers with `plan::server::ServerFacts`. Whether `pg_control_system()` may be called must be
/// asked beforehand: the permission is checked even where a CASE would not come to the call.
pub fn server_facts(databases: &[&DbName]) -> String {
    let names: Vec<String> = databases.iter().map(|name| literal(name.as_str())).collect();
    format!(
        "SELECT has_function_privilege('pg_control_system()', 'EXECUTE') AS may \\gset\n\
         \\set identity ''\n\
         \\if :may\n\
         SELECT system_identifier AS identity FROM pg_control_system() \\gset\n\
         \\endif\n\
         SELECT json_build_object(\n\
         'version', current_setting('server_version_num')::int,\n\
         'encrypted', coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),\n\
         'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,\n\
         'bypassrls', rolbypassrls, 'role_limit', rolconnlimit,\n\
         'max_connections', current_setting('max_connections')::int,\n\
         'reserved', current_setting('superuser_reserved_connections')::int\n\
         + coalesce(current_setting('reserved_connections', true), '0')::int,\n\
         'identity', nullif(:'identity', ''),\n\
         'databases', (SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE datname IN ({})))\n\
         FROM pg_roles WHERE rolname = current_user;\n",
        names.join(", ")
    )
}

/// Answers with `plan::server::DatabaseFacts`. `trusted` is a column from PostgreSQL 13 on only.
pub fn database_facts() -> String {
    format!(
        "SELECT json_build_object(\n\
         'encoding', pg_encoding_to_char(d.encoding),\n\
         'create', has_database_privilege(d.oid, 'CREATE'),\n\
         'public', coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'USAGE')\n\
         AND has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false),\n\
         'relations', (SELECT count(*) FROM {RELATIONS}),\n\
         'odoo', to_regclass('public.ir_module_module') IS NOT NULL,\n\
         'mark', obj_description(to_regnamespace('{SCHEMA}')::oid, 'pg_namespace'),\n\
         'extensions', (SELECT json_agg(json_build_object('name', w.name, 'installed', e.oid IS NOT NULL,\n\
         'available', a.name IS NOT NULL, 'trusted', coalesce((SELECT bool_or((to_jsonb(v)->>'trusted')::boolean)\n\
         FROM pg_available_extension_versions v WHERE v.name = w.name AND v.version = a.default_version), false)))\n\
         FROM (VALUES ('unaccent'), ('pg_trgm')) AS w (name)\n\
         LEFT JOIN pg_extension e ON e.extname = w.name\n\
         LEFT JOIN pg_available_extensions a ON a.name = w.name))\n\
         FROM pg_database d WHERE d.datname = current_database();\n"
    )
}

/// Everybody's tables, views and sequences, but for PostgreSQL's own and those of extensions.
const RELATIONS: &str = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n\
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')\n\
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'\n\
    AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass\n\
    AND x.objid = c.oid AND x.deptype = 'e')";

/// For a role that may create databases.
pub fn create(name: &DbName) -> String {
    format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8';\n", ident(name.as_str()))
}

/// Marks an empty database as begun by this site, and makes what Odoo would ask a superuser for.
/// A trusted extension's functions belong to the superuser all the same: who may not change them
/// goes without an index on unaccented text.
pub fn claim(site_id: &str) -> String {
    format!(
        "{}\
         CREATE EXTENSION IF NOT EXISTS unaccent;\n\
         CREATE EXTENSION IF NOT EXISTS pg_trgm;\n\
         DO $$ BEGIN ALTER FUNCTION unaccent(text) IMMUTABLE;\n\
         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;\n",
        set_mark(site_id, false)
    )
}

pub fn complete(site_id: &str) -> String {
    set_mark(site_id, true)
}

fn set_mark(site_id: &str, complete: bool) -> String {
    format!(
        "SET client_min_messages = warning;\n\
         CREATE SCHEMA IF NOT EXISTS {SCHEMA};\n\
         COMMENT ON SCHEMA {SCHEMA} IS {};\n",
        literal(&mark(site_id, complete))
    )
}

/// Empties what an interrupted run of the site with this mark has begun to fill: its sessions end,
/// then everything of our role's in schema public goes. The mark is looked at once more in the same
/// transaction. PostgreSQL 10 has neither procedures nor `pg_proc.prokind` nor DROP ROUTINE, and
/// aggregates are no business of Odoo's.
pub fn empty(site_id: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()\n\
         AND usename = current_user AND pid <> pg_backend_pid();\n\
         DO $$ DECLARE thing record; BEGIN\n\
         IF obj_description(to_regnamespace('{SCHEMA}')::oid, 'pg_namespace') IS DISTINCT FROM {} THEN\n\
         RAISE 'the database is not one that this site has begun'; END IF;\n\
         FOR thing IN SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW'\n\
         WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'\n\
         ELSE 'TABLE' END AS kind, c.oid AS id FROM {RELATIONS}\n\
         AND n.nspname = 'public' AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)\n\
         LOOP\n\
         IF EXISTS (SELECT FROM pg_class WHERE oid = thing.id) THEN\n\
         EXECUTE format('DROP %s %s CASCADE', thing.kind, thing.name); END IF;\n\
         END LOOP;\n\
         FOR thing IN SELECT p.oid::regprocedure AS name,\n\
         CASE to_jsonb(p) ->> 'prokind' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind FROM pg_proc p\n\
         WHERE p.pronamespace = 'public'::regnamespace\n\
         AND NOT EXISTS (SELECT FROM pg_aggregate a WHERE a.aggfnoid = p.oid)\n\
         AND p.proowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)\n\
         AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass\n\
         AND x.objid = p.oid AND x.deptype = 'e')\n\
         LOOP EXECUTE format('DROP %s %s CASCADE', thing.kind, thing.name); END LOOP;\n\
         END $$;\n",
        literal(&mark(site_id, false))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_emptied_only_with_our_mark() {
        let sql = empty("id1");
        let guarded = sql.find("IS DISTINCT FROM 'autoodoo site id1, unfinished'").unwrap();
        assert!(guarded < sql.find("DROP %s").unwrap());
        for word in ["DROP SCHEMA", "DROP OWNED", "DROP DATABASE"] {
            assert!(!sql.contains(word), "{word}");
        }
    }

    /// Columns and commands of later majors than the oldest that we speak to.
    #[test]
    fn nothing_is_asked_that_postgresql_10_does_not_know() {
        let asked = [server_facts(&[]), database_facts(), claim("id1"), complete("id1"), empty("id1")];
        for sql in asked {
            for word in ["p.prokind", "DROP ROUTINE", "v.trusted"] {
                assert!(!sql.contains(word), "{word} in {sql}");
            }
        }
    }

    #[test]
    fn databases_are_asked_for_by_quoted_names() {
        let names: Vec<DbName> = ["acme", "shop-2"].iter().map(|name| name.parse().unwrap()).collect();
        let sql = server_facts(&names.iter().collect::<Vec<_>>());
        assert!(sql.contains("datname IN ('acme', 'shop-2')"), "{sql}");
    }
}
