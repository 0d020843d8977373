//! Steps on a PostgreSQL server elsewhere.

use serde::de::DeserializeOwned;

use super::{Bench, client, sql};
use crate::engine::Engine;
use crate::failure::{Context, Failure, Result};
use crate::host::probe::Probe;
use crate::name::DbName;
use crate::plan::server::{
    DatabaseFacts, ServerCheck, ServerFacts, Verdict, Wanted, judge_database, judge_server, unreachable,
};

/// Where whoever may connect at all may connect, and where Odoo looks which databases there are.
const MAINTENANCE: &str = "postgres";

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn check_server(&mut self, check: &ServerCheck) -> Result<()> {
        client::furnish(self.engine, &check.container, &check.endpoint, self.secrets).await?;
        let server = self.server_facts(check).await?;
        let notes = judge_server(check, &server)?;
        for wanted in &check.databases {
            let verdict = self.verdict(check, wanted, &server).await?;
            if verdict == Verdict::Complete {
                self.complete_database(&check.container, &wanted.name, &check.site_id).await?;
            }
        }
        for note in notes {
            self.note(note);
        }
        // A server that does not tell it any more is not forgotten for it.
        if server.identity.is_none() || self.state.system_identifier == server.identity {
            return Ok(());
        }
        self.state.system_identifier = server.identity;
        self.dir.save_state(&self.state)
    }

    pub(super) async fn claim_database(&self, check: &ServerCheck, database: &DbName) -> Result<()> {
        let server = self.server_facts(check).await?;
        let wanted = Wanted { name: database.clone(), made: false };
        match self.verdict(check, &wanted, &server).await? {
            Verdict::Create => {
                self.client_psql(&check.container, MAINTENANCE, &sql::external::create(database)).await?;
            }
            Verdict::BeginAgain => {
                let empty = sql::external::empty(&check.site_id);
                self.client_psql(&check.container, database.as_str(), &empty).await?;
            }
            Verdict::Claim => {}
            Verdict::Serves | Verdict::Complete => {
                return Err(Failure::failed(format!("database {database} is the site's already")));
            }
        }
        let claim = sql::external::claim(&check.site_id);
        self.client_psql(&check.container, database.as_str(), &claim).await.map(drop)
    }

    pub(super) async fn complete_database(
        &self,
        container: &str,
        database: &DbName,
        site_id: &str,
    ) -> Result<()> {
        let complete = sql::external::complete(site_id);
        self.client_psql(container, database.as_str(), &complete).await.map(drop)
    }

    async fn server_facts(&self, check: &ServerCheck) -> Result<ServerFacts> {
        let names: Vec<&DbName> = check.databases.iter().map(|wanted| &wanted.name).collect();
        self.facts(check, MAINTENANCE, &sql::external::server_facts(&names)).await
    }

    async fn verdict(&self, check: &ServerCheck, wanted: &Wanted, server: &ServerFacts) -> Result<Verdict> {
        let facts: Option<DatabaseFacts> = if server.databases.contains(wanted.name.as_str()) {
            Some(self.facts(check, wanted.name.as_str(), &sql::external::database_facts()).await?)
        } else {
            None
        };
        judge_database(check, wanted, server, facts.as_ref())
    }

    async fn facts<T: DeserializeOwned>(&self, check: &ServerCheck, database: &str, sql: &str) -> Result<T> {
        let output = self.client_output(&check.container, database, sql).await?;
        if output.exit_code == client::NO_CONNECTION {
            return Err(unreachable(&check.external, &output.stderr));
        }
        let answer = succeeded(database, output)?;
        serde_json::from_str(answer.trim())
            .context(format!("cannot understand what {database} says of itself"))
    }

    /// Runs SQL as the site's role and returns its unaligned output. SQL travels on standard input.
    async fn client_psql(&self, container: &str, database: &str, sql: &str) -> Result<String> {
        succeeded(database, self.client_output(container, database, sql).await?)
    }

    async fn client_output(
        &self,
        container: &str,
        database: &str,
        sql: &str,
    ) -> Result<crate::engine::ExecOutput> {
        let words = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];
        let exec = client::psql_on(database, words.into_iter().chain(["--set=ON_ERROR_STOP=1", "--file=-"]))
            .env("PGAPPNAME", &format!("autoodoo:{}", self.operation))
            .stdin(sql);
        self.exec(container, exec).await
    }
}

fn succeeded(database: &str, output: crate::engine::ExecOutput) -> Result<String> {
    if output.exit_code == 0 {
        return Ok(output.stdout);
    }
    Err(Failure::failed(format!("psql failed in database {database}"))
        .evidence(output.stderr.lines().map(str::to_owned)))
}
