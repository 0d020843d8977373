//! Steps on the database server.

use super::containers::Watched;
use super::{Bench, Deadline, POLL, sql};
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Kind, Result};
use crate::host::probe::Probe;
use crate::render::odoo_conf::DATABASE_ROLE;
use crate::stack::hardening::POSTGRES_READY;
use crate::state::Phase;

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn await_postgres(
        &mut self,
        container: &str,
        seconds: u32,
        expected: Option<&str>,
    ) -> Result<()> {
        self.waiting("PostgreSQL accepts no connections yet", seconds);
        let mut watched = Watched::new(container);
        let deadline = Deadline::after(seconds);
        while !self.postgres_ready(container).await? {
            self.must_run(&mut watched).await?;
            if deadline.passed() {
                let lines = self.last_lines(container).await;
                return Err(
                    Failure::failed(format!("PostgreSQL was not ready within {seconds} s")).evidence(lines)
                );
            }
            tokio::time::sleep(POLL).await;
        }
        let found = self.psql(container, "postgres", sql::SYSTEM_IDENTIFIER).await?;
        self.same_cluster(expected, found.trim())?;
        self.psql(container, "postgres", sql::end_leftover_sessions()).await.map(drop)
    }

    /// A container that is just ending makes exec fail; whether it runs is asked right after.
    async fn postgres_ready(&self, container: &str) -> Result<bool> {
        let exec = Exec::new(["sh", "-c", POSTGRES_READY]);
        Ok(self.exec(container, exec).await.is_ok_and(|output| output.exit_code == 0))
    }

    /// A server goes on with its old settings when the new ones have a fault, and says so in its log
    /// only: they are asked for faults first.
    pub(super) async fn reload_postgres(&self, container: &str) -> Result<()> {
        let faults = self.psql(container, "postgres", sql::FAULTY_SETTINGS).await?;
        if !faults.trim().is_empty() {
            return Err(Failure::failed("PostgreSQL refuses its new settings; the old ones stay in force")
                .evidence(faults.lines().map(str::to_owned)));
        }
        self.psql(container, "postgres", sql::RELOAD).await.map(drop)
    }

    /// Remembers the cluster at first sight and refuses another one ever after.
    fn same_cluster(&mut self, expected: Option<&str>, found: &str) -> Result<()> {
        match expected {
            Some(expected) if expected == found => Ok(()),
            Some(_) if self.state.phase == Phase::Ready => Err(Failure::new(
                Kind::Failed,
                "the data volume holds another PostgreSQL cluster than the one of this site",
            )
            .hint("Odoo was not started on it; nothing in it was changed")
            .hint("bring the site's data back with `autoodoo restore latest`")),
            _ => {
                self.state.system_identifier = Some(found.to_owned());
                self.dir.save_state(&self.state)
            }
        }
    }

    /// Runs SQL as the superuser and returns its unaligned output. SQL and the secrets in it travel
    /// on standard input.
    pub(super) async fn psql(&self, container: &str, database: &str, sql: &str) -> Result<String> {
        let exec = Exec::new([
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--username=postgres",
            "--dbname",
            database,
            "--file=-",
        ])
        .user("postgres")
        .env("PGAPPNAME", &format!("autoodoo:{}", self.operation))
        .stdin(sql);
        let output = self.exec(container, exec).await?;
        if output.exit_code == 0 {
            return Ok(output.stdout);
        }
        Err(Failure::failed(format!("psql failed in database {database}"))
            .evidence(output.stderr.lines().map(str::to_owned)))
    }

    pub(super) async fn prepare_role(&mut self, container: &str, createdb: bool) -> Result<()> {
        let password = self.secrets.database_password.expose();
        let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
        self.psql(container, "postgres", &sql::prepare_role(DATABASE_ROLE, &verifier, createdb)).await?;
        self.state.createdb = createdb;
        self.dir.save_state(&self.state)
    }
}
