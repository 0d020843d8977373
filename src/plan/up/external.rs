//! The part of the plan that deals with a PostgreSQL server elsewhere. It is asked whether it fits
//! before anything of a new site is recorded or filled.

use super::{Fate, Planner, SOON, UNPROVEN, retire};
use crate::plan::server::{Connections, ServerCheck, Wanted};
use crate::plan::{Action, TunnelFiles};
use crate::site::{External, Ssh};
use crate::stack::server::{self, Server};
use crate::stack::spec::ContainerSpec;
use crate::stack::{self, names};
use crate::state::{Made, Phase};

impl Planner<'_> {
    /// Returns whether the tunnel is replaced, so that Odoo must start anew.
    pub(super) fn external_server(&mut self, external: &External) -> bool {
        if !self.asks_server() {
            self.network();
            self.volumes();
            return false;
        }
        let undo = self.undo();
        self.network();
        let socket = self.stack.socket_volume.clone();
        let later: Vec<_> =
            self.stack.volumes().filter(|volume| Some(*volume) != socket.as_ref()).cloned().collect();
        if let Some(socket) = socket {
            self.volume(socket);
        }
        let replaced = self.tunnel(external, &undo);
        self.check_server(external, undo);
        self.first_phase();
        for volume in later {
            self.volume(volume);
        }
        replaced
    }

    /// A site that is up and as it should be has its connection already.
    fn asks_server(&self) -> bool {
        let tunnel = match &self.stack.server {
            Server::External(Some(tunnel)) => self.fate(tunnel),
            _ => Fate::Keep,
        };
        let odoos = self.stack.odoos.iter().map(|odoo| &odoo.container.spec);
        !self.situation.settled
            || tunnel != Fate::Keep
            || self.wanted().iter().any(|database| !database.made)
            || odoos.chain([&self.stack.cron.spec]).any(|spec| self.fate(spec) != Fate::Keep)
    }

    /// Every database, and whether the site has made it.
    fn wanted(&self) -> Vec<Wanted> {
        let state = self.situation.state;
        let made = state.made.as_ref().filter(|_| state.phase == Phase::Ready);
        let is_made = |name: &str| made.is_some_and(|made| Made::databases(made).any(|known| known == name));
        let databases = self.site().databases().into_iter();
        databases
            .map(|database| Wanted { made: is_made(database.name.as_str()), name: database.name })
            .collect()
    }

    /// What takes back all that a new site has by then: one that is refused leaves nothing behind.
    fn undo(&self) -> Vec<Action> {
        if self.situation.state.phase != Phase::New {
            return Vec::new();
        }
        let tunnel = self.stack.server.container().map(|tunnel| retire(&tunnel.name, stack::TUNNEL_GRACE));
        let socket = self.stack.socket_volume.as_ref();
        let socket = socket.map(|socket| Action::RemoveVolume { name: socket.name.clone() });
        let network = Action::RemoveNetwork { name: self.stack.network.name.clone() };
        tunnel.into_iter().chain(socket).chain([network]).collect()
    }

    fn tunnel(&mut self, external: &External, undo: &[Action]) -> bool {
        let Server::External(Some(spec)) = &self.stack.server else { return false };
        let (spec, Some(ssh)) = (spec.as_ref().clone(), external.ssh.clone()) else { return false };
        // It holds nothing: a new one starts at once, whereas the engine lets one that keeps ending wait.
        let fate = match self.fate(&spec) {
            Fate::Start(reason) => Fate::Make(reason.to_owned()),
            fate => fate,
        };
        if fate == Fate::Keep {
            if !self.situation.settled {
                self.await_tunnel(&spec, external, UNPROVEN, Vec::new());
            }
            return false;
        }
        // Most of what can be wrong is found here, while everybody still works.
        self.prepare_tunnel(ssh, undo.to_vec());
        self.stop_odoos("the tunnel to PostgreSQL is about to be replaced");
        self.realise(&spec, &fate, stack::TUNNEL_GRACE);
        self.await_tunnel(&spec, external, "Odoo reaches its database through it", undo.to_vec());
        true
    }

    fn prepare_tunnel(&mut self, ssh: Ssh, undo: Vec<Action>) {
        let site = self.site().name.as_str();
        let files = TunnelFiles {
            ssh,
            client: self.stack.ssh_client.clone(),
            comment: format!("autoodoo-{site}"),
            helper: self.with_pinned_image(&server::tunnel_owner(&self.situation.inputs)),
        };
        self.plan.push_guarded(Action::PrepareTunnel(Box::new(files)), "the tunnel reads them", undo);
    }

    fn await_tunnel(&mut self, spec: &ContainerSpec, external: &External, cause: &str, undo: Vec<Action>) {
        let (container, external) = (spec.name.clone(), Box::new(external.clone()));
        self.plan.push_guarded(Action::AwaitTunnel { container, external, seconds: SOON }, cause, undo);
    }

    fn check_server(&mut self, external: &External, mut undo: Vec<Action>) {
        let client = self.with_pinned_image(&server::client(&self.situation.inputs));
        let container = client.name.clone();
        let cause = "its programs speak to PostgreSQL";
        self.plan.push(Action::CreateContainer(Box::new(client)), cause);
        self.plan.push(Action::StartContainer { name: container.clone() }, "it was just made");
        undo.insert(0, retire(&container, 0));
        let check = self.server_check(external, container);
        let cause = "whatever would stand in Odoo's way is told first";
        self.plan.push_guarded(Action::CheckServer(Box::new(check)), cause, undo);
    }

    pub(super) fn server_check(&self, external: &External, container: String) -> ServerCheck {
        let site = self.site();
        let state = self.situation.state;
        ServerCheck {
            container,
            external: external.clone(),
            databases: self.wanted(),
            release: site.odoo.release,
            client_major: site.postgres.major,
            connections: Connections::of(&self.situation.inputs.sizing.odoo, site.databases().len()),
            identity: state.system_identifier.clone().filter(|_| state.phase == Phase::Ready),
            site_id: state.site_id.clone(),
        }
    }

    /// The container in which psql runs, once the plan has made it.
    pub(super) fn psql_container(&self) -> String {
        names::helper(&self.site().name, names::HELPER_PSQL)
    }

    /// The one-off container goes once nothing more is asked.
    pub(super) fn end_of_questions(&mut self) {
        let container = self.psql_container();
        let made =
            |action: &Action| matches!(action, Action::CreateContainer(spec) if spec.name == container);
        if self.plan.steps.iter().any(|step| made(&step.action)) {
            self.plan.push(retire(&container, 0), "it has done its work");
        }
    }
}
