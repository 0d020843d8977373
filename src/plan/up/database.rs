//! The part of the plan that makes databases.

use super::{Planner, retire};
use crate::plan::{Action, FirstUser};
use crate::site::{Database, External};
use crate::stack::collation::collation;
use crate::stack::{self, names};
use crate::state::{Made, Phase};

impl Planner<'_> {
    /// Makes every database that the site does not have yet.
    pub(super) fn databases(&mut self) {
        let ready = self.situation.state.phase == Phase::Ready;
        let mut made = self.situation.state.made.clone().filter(|_| ready);
        if made.is_none() && ready {
            // A site that was made before its databases were remembered has its first one.
            made = Some(Made::from_site(self.site()));
        }
        for database in self.site().databases() {
            let name = database.name.as_str();
            if made.as_ref().is_some_and(|made| made.databases().any(|known| known == name)) {
                self.made_before(&database);
                continue;
            }
            let record = match made.take() {
                None => Made::from_site(self.site()),
                Some(mut made) => {
                    made.further.push(name.to_owned());
                    made
                }
            };
            self.database(&database, record.clone());
            made = Some(record);
        }
    }

    /// A run that was cut off may have remembered a database and not marked it yet.
    fn made_before(&mut self, database: &Database) {
        if self.situation.settled {
            return;
        }
        if let Some(own) = self.stack.server.own() {
            let (container, database) = (own.container.name.clone(), database.name.clone());
            self.plan.push(Action::MarkComplete { container, database }, "nobody begins it again");
        }
    }

    fn database(&mut self, database: &Database, made: Made) {
        let cause = if made.further.is_empty() {
            "the site has no database yet"
        } else {
            "the site file names a further database"
        };
        let generation = self.situation.state.generation;
        let ready = Action::RecordPhase { phase: Phase::Ready, generation, made: Some(made) };
        match (&self.site().postgres.external, self.stack.server.container().cloned()) {
            (None, Some(postgres)) => self.own_database(database, postgres.name, cause, ready),
            (Some(external), _) => self.external_database(database, external, cause, ready),
            (None, None) => {}
        }
    }

    /// Makes a database under a name of its own; it gets its real name when it is complete,
    /// so that a database of that name is never half-made.
    fn own_database(&mut self, database: &Database, postgres: String, cause: &str, ready: Action) {
        let site = self.site();
        let (from, to) = (names::unfinished_database(&database.name), database.name.clone());
        let createdb = !site.manager.allow.is_empty();
        self.plan.push(Action::PrepareRole { container: postgres.clone(), createdb }, cause);
        let create = Action::CreateDatabase {
            container: postgres.clone(),
            name: from.clone(),
            becomes: to.clone(),
            collation: collation(&site.odoo.language, site.odoo.country.as_ref(), site.postgres.major),
        };
        self.plan.push(create, cause);
        let maker = self.fill(database, &from, cause);
        let complete = "the database is complete";
        let adopt = Action::AdoptFilestore { container: maker.clone(), from: from.clone(), to: to.clone() };
        self.plan.push(adopt, complete);
        let rename = Action::RenameDatabase { container: postgres.clone(), from, to: to.clone() };
        self.plan.push(rename, complete);
        self.plan.push(retire(&maker, 0), "it has done its work");
        self.plan.push(ready, FOR_GOOD);
        // After the site remembers it: one that was never recorded may be begun again.
        self.plan.push(Action::MarkComplete { container: postgres, database: to }, "nobody begins it again");
    }

    /// Elsewhere our role may not rename a database: a mark in it says whether it is half-made. It
    /// is set to complete after the site remembers the database: one that is remembered is never
    /// begun again, whatever its mark.
    fn external_database(&mut self, database: &Database, external: &External, cause: &str, ready: Action) {
        let container = self.psql_container();
        let check = Box::new(self.server_check(external, container.clone()));
        self.plan.push(Action::ClaimDatabase { check, database: database.name.clone() }, cause);
        let maker = self.fill(database, database.name.as_str(), cause);
        self.plan.push(retire(&maker, 0), "it has done its work");
        self.plan.push(ready, FOR_GOOD);
        let site_id = self.situation.state.site_id.clone();
        let complete = Action::CompleteDatabase { container, database: database.name.clone(), site_id };
        self.plan.push(complete, "nobody begins it again");
    }

    /// Lets Odoo fill an empty database in a container of its own, whose name is returned.
    fn fill(&mut self, database: &Database, name: &str, cause: &str) -> String {
        let site = self.site();
        let helper = stack::database_maker(&self.situation.inputs, &self.stack.command);
        let maker = helper.name.clone();
        let helper = Box::new(self.with_pinned_image(&helper));
        self.plan.push(Action::CreateContainer(helper), "Odoo makes its own tables");
        self.plan.push(Action::StartContainer { name: maker.clone() }, "it was just made");
        let install = Action::InstallBase {
            container: maker.clone(),
            database: name.to_owned(),
            release: site.odoo.release,
            language: site.odoo.language.clone(),
        };
        self.plan.push(install, cause);
        let user = FirstUser {
            login: site.odoo.admin_login.clone(),
            language: site.odoo.language.clone(),
            country: site.odoo.country.clone(),
            url: site.url_of(&database.domain),
        };
        let set_user = Action::SetFirstUser { container: maker.clone(), database: name.to_owned(), user };
        self.plan.push(set_user, "the password must be nobody's guess");
        maker
    }
}

const FOR_GOOD: &str = "from now on its data is never made anew";
