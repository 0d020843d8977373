//! SQL of a capture. Database names and snapshot identifiers have no character to quote.

/// Seconds that a session which reads waits for a table whose definition is being changed.
pub(super) const LOCK_PATIENCE: u64 = 600;

/// Limits of ours in place of an administrator's, which would end a session that works for long. One
/// that nobody asks any more ends by itself; between two questions lies at most the linking of other
/// databases' files. A server knows the limits of its version only. Answers nothing.
pub(super) const LIMITS: &str = "SELECT FROM pg_settings WHERE CASE \
     WHEN name IN ('statement_timeout', 'transaction_timeout') THEN set_config(name, '0', false) IS NULL \
     WHEN name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout') \
     THEN set_config(name, '30min', false) IS NULL END;";

pub(super) const HAS_ATTACHMENTS: &str = "SELECT to_regclass('public.ir_attachment') IS NOT NULL;";

/// Odoo's collector takes this table IN SHARE MODE before it removes files (`_gc_file_store`), which
/// this lock excludes; nobody who reads or writes attachments waits for it. `seconds`: how long it is
/// waited for. The transaction can still [`adopt`] a snapshot: LOCK takes none (PostgreSQL manual, LOCK).
pub(super) fn lock(seconds: u64) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '{seconds}s'; \
         LOCK TABLE public.ir_attachment IN ROW EXCLUSIVE MODE;"
    )
}

/// PostgreSQL manual, "Snapshot Synchronization Functions": the snapshot can be imported as long as
/// this transaction lasts.
pub(super) const EXPORT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();";

/// A transaction of a reader's, which never waits for ever.
pub(super) fn reading(snapshot: &str) -> [String; 3] {
    [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        adopt(snapshot),
        format!("SET LOCAL lock_timeout = '{LOCK_PATIENCE}s'"),
    ]
}

/// Comes before the first query of a transaction.
pub(super) fn adopt(snapshot: &str) -> String {
    format!("SET TRANSACTION SNAPSHOT '{snapshot}'")
}

/// Lines as [`crate::filestore::Named`] reads them, sorted by bytes. Rows of one content share a file.
pub(super) const ATTACHMENTS: &str = "COPY (SELECT store_fname, max(file_size) FROM public.ir_attachment \
     WHERE store_fname IS NOT NULL AND store_fname <> '' \
     GROUP BY store_fname ORDER BY store_fname COLLATE \"C\") TO STDOUT";

/// Microseconds of Unix time, bytes, version.
pub(super) const FACTS: &str = "SELECT (extract(epoch FROM now()) * 1000000)::bigint, \
     pg_database_size(current_database()), current_setting('server_version');";

/// The tables whose rows are counted.
const TABLES: &str = "FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
     WHERE relkind = 'r' AND relpersistence <> 't' \
     AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'";

/// Holds the definition of every table at once, as pg_dump does. A session that took them one by one
/// would come to wait behind a change that waits for pg_dump. psql runs the answer.
pub(super) fn hold() -> String {
    format!(
        "SELECT format('LOCK TABLE %s IN ACCESS SHARE MODE', \
         string_agg(format('ONLY %I.%I', nspname, relname), ', ')) {TABLES} HAVING count(*) > 0 \\gexec\n"
    )
}

/// A line for each table: its name and its rows. psql runs each line of the first answer as a query.
pub(super) fn rows() -> String {
    format!(
        "SELECT format('SELECT %L, count(*) FROM ONLY %I.%I', nspname || '.' || relname, nspname, relname) \
         {TABLES} ORDER BY nspname, relname \\gexec\n"
    )
}

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
