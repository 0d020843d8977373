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
        let Some(OwnServer { container: spec, volume }) = self.stack.server.own().cloned() else {
            return false;
        };
        let fate = self.broken_cluster(&spec, volume).unwrap_or_else(|| self.fate(&spec));
        if fate == Fate::Keep {
            if !self.situation.settled {
                self.await_postgres(&spec, UNPROVEN);
            }
            return false;
        }
        if self.situation.local.pg_hba.as_deref() != Some(PG_HBA) {
            let content = Hidden(PG_HBA.to_owned());
            self.plan.push(Action::WriteFile { path: files::PG_HBA.into(), content }, "PostgreSQL reads it");
        }
        self.stop_odoos("PostgreSQL is about to be replaced");
        self.realise(&spec, &fate, stack::POSTGRES_GRACE);
        self.await_postgres(&spec, "Odoo needs it");
        true
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
