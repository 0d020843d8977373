//! The part of the plan that makes databases.

use super::{Planner, retire};
use crate::plan::{Action, FirstUser};
use crate::site::Database;
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

    /// Makes a database under a name of its own; it gets its real name when it is complete,
    /// so that a database of that name is never half-made.
    fn database(&mut self, database: &Database, made: Made) {
        let site = self.site();
        let postgres = self.stack.postgres.name.clone();
        let (from, to) = (names::unfinished_database(&database.name), database.name.clone());
        let helper = stack::database_maker(&self.situation.inputs, &self.stack.command);
        let maker = helper.name.clone();
        let cause = if made.further.is_empty() {
            "the site has no database yet"
        } else {
            "the site file names a further database"
        };
        self.plan.push(Action::PrepareRole { container: postgres.clone() }, cause);
        let create =
            Action::CreateDatabase { container: postgres.clone(), name: from.clone(), becomes: to.clone() };
        self.plan.push(create, cause);
        let helper = Box::new(self.with_pinned_image(&helper));
        self.plan.push(Action::CreateContainer(helper), "Odoo makes its own tables");
        self.plan.push(Action::StartContainer { name: maker.clone() }, "it was just made");
        let install = Action::InstallBase {
            container: maker.clone(),
            database: from.clone(),
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
        let set_user = Action::SetFirstUser { container: maker.clone(), database: from.clone(), user };
        self.plan.push(set_user, "the password must be nobody's guess");
        let complete = "the database is complete";
        let adopt = Action::AdoptFilestore { container: maker.clone(), from: from.clone(), to: to.clone() };
        self.plan.push(adopt, complete);
        self.plan.push(Action::RenameDatabase { container: postgres, from, to }, complete);
        self.plan.push(retire(&maker, 0), "it has done its work");
        let generation = self.situation.state.generation;
        let ready = Action::RecordPhase { phase: Phase::Ready, generation, made: Some(made) };
        self.plan.push(ready, "from now on its data is never made anew");
    }
}
