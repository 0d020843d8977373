//! The part of the plan that keeps the site's own PostgreSQL.

use super::{Fate, POSTGRES_READY, Planner, UNPROVEN, retire};
use crate::observed::RunState;
use crate::plan::{Action, Hidden};
use crate::render::pg_hba::PG_HBA;
use crate::stack::server::OwnServer;
use crate::stack::spec::{ContainerSpec, Role, VolumeSpec};
use crate::stack::{self, files};
use crate::state::Phase;

impl Planner<'_> {
    /// Returns whether PostgreSQL is (re)started, so that Odoo must start anew.
    pub(super) fn own_server(&mut self) -> bool {
        self.first_phase();
        self.network();
        self.volumes();
        self.postgres()
    }

    /// Returns whether PostgreSQL is (re)started, so that Odoo must start anew.
    fn postgres(&mut self) -> bool {
        let Some(OwnServer { container: spec, conf, volume }) = self.stack.server.own().cloned() else {
            return false;
        };
        let fate = self.broken_cluster(&spec, volume).unwrap_or_else(|| self.fate(&spec));
        let changed = self.server_files(conf);
        if fate == Fate::Keep {
            self.kept_postgres(&spec, changed);
            self.role(&spec);
            return false;
        }
        self.stop_odoos("PostgreSQL is about to be replaced");
        self.realise(&spec, &fate, stack::POSTGRES_GRACE);
        self.await_postgres(&spec, "Odoo needs it");
        self.role(&spec);
        true
    }

    /// What Odoo's role may do follows the database manager. A site without data gets its role with
    /// its first database.
    fn role(&mut self, spec: &ContainerSpec) {
        let createdb = !self.site().manager.allow.is_empty();
        if self.situation.state.phase != Phase::Ready || self.situation.state.createdb == createdb {
            return;
        }
        let cause = if createdb {
            "the database manager is opened, which lists and creates databases"
        } else {
            "the database manager is closed"
        };
        self.plan.push(Action::PrepareRole { container: spec.name.clone(), createdb }, cause);
    }

    /// A file may have been written by a run that was cut off before the server read it.
    fn kept_postgres(&mut self, spec: &ContainerSpec, changed: bool) {
        let settled = self.situation.settled;
        if !settled {
            self.await_postgres(spec, UNPROVEN);
        }
        if changed || !settled {
            let cause = if changed { "its settings changed" } else { UNPROVEN };
            self.plan.push(Action::ReloadPostgres { container: spec.name.clone() }, cause);
        }
    }

    /// Returns whether a file is new.
    fn server_files(&mut self, conf: String) -> bool {
        let local = self.situation.local;
        let files = [
            (files::PG_HBA, local.pg_hba.as_ref(), PG_HBA.to_owned()),
            (files::POSTGRESQL_CONF, local.postgresql_conf.as_ref(), conf),
        ];
        let changed: Vec<_> = files.into_iter().filter(|(_, there, text)| *there != Some(text)).collect();
        let any = !changed.is_empty();
        for (path, _, text) in changed {
            let write = Action::WriteFile { path: path.into(), content: Hidden(text) };
            self.plan.push(write, "PostgreSQL reads it");
        }
        any
    }

    /// Odoo does not survive a restart of its server: it stops first and starts after.
    pub(super) fn stop_odoos(&mut self, cause: &str) {
        for container in self.running(Role::Cron).chain(self.running(Role::Odoo)) {
            let stop = Action::StopContainer { name: container.name.clone(), grace: stack::ODOO_GRACE };
            self.plan.push(stop, cause);
        }
    }

    /// A first cluster whose making was cut off (the image takes it for complete) never comes up.
    /// While no server of this site has ever answered there is nothing in it: it is made again.
    fn broken_cluster(&mut self, spec: &ContainerSpec, volume: VolumeSpec) -> Option<Fate> {
        let state = self.situation.state;
        let found = self.find(&spec.name)?;
        let never_answered = state.phase == Phase::Initialising && state.system_identifier.is_none();
        if !never_answered || !matches!(found.state, RunState::Exited | RunState::Restarting) {
            return None;
        }
        let cause = "the making of the first cluster was cut off";
        self.plan.push(retire(&found.name, stack::POSTGRES_GRACE), cause);
        self.plan.push(Action::RemoveVolume { name: volume.name.clone() }, "no server ever answered from it");
        self.plan.push(Action::CreateVolume(volume), cause);
        self.retired.insert(found.name.clone());
        Some(Fate::Make(cause.to_owned()))
    }

    fn await_postgres(&mut self, spec: &ContainerSpec, cause: &str) {
        let wait = Action::AwaitPostgres {
            container: spec.name.clone(),
            seconds: POSTGRES_READY,
            system_identifier: self.situation.state.system_identifier.clone(),
        };
        self.plan.push(wait, cause);
    }
}
