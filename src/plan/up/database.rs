//! The part of the plan that makes the first database.

use super::{Planner, retire};
use crate::plan::{Action, FirstUser};
use crate::stack::collation::collation;
use crate::stack::{self, names};
use crate::state::{Made, Phase};

impl Planner<'_> {
    /// Makes the first database under a name of its own; it gets its real name when it is complete,
    /// so that a database of that name is never half-made.
    pub(super) fn database(&mut self) {
        if self.situation.state.phase == Phase::Ready {
            return;
        }
        let site = self.site();
        let postgres = self.stack.postgres.name.clone();
        let unfinished = names::unfinished_database(&site.database);
        let helper = stack::database_maker(&self.situation.inputs, &self.stack.command);
        let maker = helper.name.clone();
        let helper = Box::new(self.with_pinned_image(&helper));
        let cause = "the site has no database yet";
        let from = unfinished.clone();
        let to = site.database.clone();
        self.plan.push(Action::PrepareRole { container: postgres.clone() }, cause);
        let create = Action::CreateDatabase {
            container: postgres.clone(),
            name: unfinished.clone(),
            collation: collation(&site.odoo.language, site.odoo.country.as_ref(), site.postgres.major),
        };
        self.plan.push(create, cause);
        self.plan.push(Action::CreateContainer(helper), "Odoo makes its own tables");
        self.plan.push(Action::StartContainer { name: maker.clone() }, "it was just made");
        self.plan.push(
            Action::InstallBase {
                container: maker.clone(),
                database: unfinished.clone(),
                release: site.odoo.release,
                language: site.odoo.language.clone(),
            },
            cause,
        );
        self.plan.push(
            Action::SetFirstUser {
                container: maker.clone(),
                database: unfinished,
                user: FirstUser {
                    login: site.odoo.admin_login.clone(),
                    language: site.odoo.language.clone(),
                    country: site.odoo.country.clone(),
                    url: site.url(),
                },
            },
            "the password must be nobody's guess",
        );
        let adopt = Action::AdoptFilestore { container: maker.clone(), from: from.clone(), to: to.clone() };
        self.plan.push(adopt, "the database is complete");
        let rename = Action::RenameDatabase { container: postgres, from, to };
        self.plan.push(rename, "the database is complete");
        self.plan.push(retire(&maker, 0), "it has done its work");
        let ready = Action::RecordPhase {
            phase: Phase::Ready,
            generation: self.situation.state.generation,
            made: Some(Made::from_site(site)),
        };
        self.plan.push(ready, "from now on its data is never made anew");
    }
}
