//! SQL of a capture. Database names and snapshot identifiers have no character to quote.

/// Limits that an administrator may have set, which would end a session that waits on purpose. A
/// server knows those of its version only.
pub(super) const NO_LIMITS: &str = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
     ('statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', \
     'transaction_timeout') \\g /dev/null\n";

pub(super) const HAS_ATTACHMENTS: &str = "SELECT to_regclass('public.ir_attachment') IS NOT NULL;";

/// Odoo's collector takes this table IN SHARE MODE before it removes files (`_gc_file_store`), which
/// this lock excludes; nobody who reads or writes attachments waits for it. `seconds`: how long it is
/// waited for.
pub(super) fn lock(seconds: u64) -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = '{seconds}s'; \
         LOCK TABLE public.ir_attachment IN ROW EXCLUSIVE MODE;"
    )
}

/// PostgreSQL manual, "Snapshot Synchronization Functions": the snapshot can be imported as long as
/// this transaction lasts.
pub(super) const EXPORT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();";

pub(super) fn import(snapshot: &str) -> [String; 2] {
    [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        format!("SET TRANSACTION SNAPSHOT '{snapshot}'"),
    ]
}

/// Lines as [`crate::filestore::Named`] reads them, sorted by bytes. Rows of one content share a file.
pub(super) const ATTACHMENTS: &str = "COPY (SELECT store_fname, max(file_size) FROM public.ir_attachment \
     WHERE store_fname IS NOT NULL AND store_fname <> '' \
     GROUP BY store_fname ORDER BY store_fname COLLATE \"C\") TO STDOUT";

/// Microseconds of Unix time, bytes, version.
pub(super) const FACTS: &str = "SELECT (extract(epoch FROM now()) * 1000000)::bigint, \
     pg_database_size(current_database()), current_setting('server_version');";

/// A line for each table: its name and its rows. psql runs each line of the first answer as a query.
pub(super) const ROWS: &str = "SELECT format('SELECT %L, count(*) FROM ONLY %I.%I', \
     nspname || '.' || relname, nspname, relname) \
     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
     WHERE relkind = 'r' AND relpersistence <> 't' \
     AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' ORDER BY nspname, relname \\gexec\n";

/// Ends the sessions whose name starts with this one, in this database.
pub(super) fn end_sessions(application: &str, database: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' \
         AND starts_with(application_name, '{application}') AND pid <> pg_backend_pid()"
    )
}

pub(super) fn exists(database: &str) -> String {
    format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'")
}
