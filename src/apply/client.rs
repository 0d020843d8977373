//! PostgreSQL's client programs in a one-off container. What is secret reaches its memory
//! (`/dev/shm`, which no engine writes to disk) by standard input.

use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::secrets::Secrets;
use crate::name::DbName;
use crate::render::libpq::{Endpoint, SERVICE, password_file, service_file};

const DIRECTORY: &str = "/dev/shm/autoodoo";
const SERVICE_FILE: &str = "/dev/shm/autoodoo/service.conf";
/// psql's exit code for a connection that it could not make or lost.
pub(super) const NO_CONNECTION: i64 = 2;

/// Puts into the container all that its client programs need to connect.
pub async fn furnish<E: Engine>(
    engine: &E,
    container: &str,
    endpoint: &Endpoint,
    secrets: &Secrets,
) -> Result<()> {
    let service = service_file(endpoint, &secrets.certificates, DIRECTORY);
    let passwords = password_file(&secrets.database_password);
    let files = [("service.conf", service.as_str()), ("pgpass", passwords.expose())];
    for (name, text) in files.into_iter().chain(secrets.certificates.files()) {
        let script = "umask 077; mkdir -p \"$1\" && cat > \"$1/$2\"";
        let exec = Exec::new(["sh", "-c", script, "sh", DIRECTORY, name]).stdin(text);
        let output = engine.exec(container, exec, &mut |_, _| {}).await?;
        if output.exit_code != 0 {
            return Err(Failure::failed("cannot give PostgreSQL's client programs their files")
                .evidence(output.stderr.lines().map(str::to_owned)));
        }
    }
    Ok(())
}

/// psql on a database, as the site's role. `words` follow.
pub fn psql<'a>(database: &DbName, words: impl IntoIterator<Item = &'a str>) -> Exec {
    psql_on(database.as_str(), words)
}

pub(super) fn psql_on<'a>(database: &str, words: impl IntoIterator<Item = &'a str>) -> Exec {
    program("psql", database, words)
}

/// One of PostgreSQL's client programs on a database, as the site's role. `words` follow.
pub fn program<'a>(program: &str, database: &str, words: impl IntoIterator<Item = &'a str>) -> Exec {
    // A connection string: a database's name has no character that it would need to quote.
    let connection = format!("service={SERVICE} dbname={database}");
    let argv = [program, "--no-password", "--dbname", &connection].map(str::to_owned).into_iter();
    Exec::new(argv.chain(words.into_iter().map(str::to_owned))).env("PGSERVICEFILE", SERVICE_FILE)
}
