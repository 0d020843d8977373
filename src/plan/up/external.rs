//! The part of the plan that deals with a PostgreSQL server elsewhere. It is asked whether it fits
//! before anything of a new site is recorded or filled.

use super::{Fate, Planner, SOON, UNPROVEN, retire};
use crate::plan::server::{Connections, ServerCheck, Wanted};
use crate::plan::{Action, Plan, TunnelFiles};
use crate::render::libpq::Endpoint;
use crate::site::{External, Ssh};
use crate::stack::server::{self, CANDIDATE_SOCKET, Server};
use crate::stack::spec::{ContainerSpec, Role};
use crate::stack::{self, names};
use crate::state::{Made, Phase};

const FIRST_TOLD: &str = "whatever would stand in Odoo's way is told first";

/// What the plan makes of the way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It stays, or nobody went it before.
    Undisturbed,
    /// The tunnel in use is replaced.
    Replaced,
    /// The same by one that has shown that it leads to a server that fits.
    Proven,
}

/// What is done when the server is not reached or does not fit.
#[derive(Debug, Clone)]
struct Fallback {
    undo: Vec<Action>,
    /// What served before still serves.
    gate: bool,
}

impl Fallback {
    fn push(self, plan: &mut Plan, action: Action, cause: &str) {
        if self.gate {
            plan.push_gate(action, cause, self.undo);
        } else {
            plan.push_guarded(action, cause, self.undo);
        }
    }
}

impl Planner<'_> {
    /// Returns whether the tunnel is replaced, so that Odoo must start anew.
    pub(super) fn external_server(&mut self, external: &External) -> bool {
        if !self.asks_server() {
            self.network();
            self.volumes();
            return false;
        }
        let fallback = self.fallback();
        self.network();
        let socket = self.stack.socket_volume.clone();
        let later: Vec<_> =
            self.stack.volumes().filter(|volume| Some(*volume) != socket.as_ref()).cloned().collect();
        if let Some(socket) = socket {
            self.volume(socket);
        }
        let way = self.tunnel(external, &fallback);
        if way != Way::Proven || self.wanted().iter().any(|database| !database.made) {
            self.check_server(external, fallback);
        }
        self.first_phase();
        for volume in later {
            self.volume(volume);
        }
        way != Way::Undisturbed
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

    /// What becomes of a way to the server that does not lead there.
    fn fallback(&self) -> Fallback {
        let tunnel = self.stack.server.container().map(|tunnel| retire(&tunnel.name, stack::TUNNEL_GRACE));
        let socket = self.stack.socket_volume.as_ref();
        if self.situation.state.phase == Phase::New {
            let socket = socket.map(|socket| Action::RemoveVolume { name: socket.name.clone() });
            let network = Action::RemoveNetwork { name: self.stack.network.name.clone() };
            let undo = tunnel.into_iter().chain(socket).chain([network]).collect();
            return Fallback { undo, gate: false };
        }
        // Nobody goes this way yet: whoever is served is served on another.
        let beside = self.running(Role::Odoo).next().is_some() && (tunnel.is_none() || !self.socket_in_use());
        if !beside {
            return Fallback { undo: Vec::new(), gate: false };
        }
        let there = |name: &str| self.observed().volumes.iter().any(|found| found.name == name);
        let socket = socket.filter(|socket| !there(&socket.name));
        let socket = socket.map(|socket| Action::RemoveVolume { name: socket.name.clone() });
        Fallback { undo: tunnel.into_iter().chain(socket).collect(), gate: true }
    }

    /// Whether an Odoo that runs reaches its database by the socket where the tunnel listens.
    fn socket_in_use(&self) -> bool {
        let socket = names::socket_volume(&self.site().name);
        self.running(Role::Odoo).chain(self.running(Role::Cron)).any(|odoo| odoo.mounts_volume(&socket))
    }

    fn tunnel(&mut self, external: &External, fallback: &Fallback) -> Way {
        let Server::External(Some(spec)) = &self.stack.server else { return Way::Undisturbed };
        let (spec, Some(ssh)) = (spec.as_ref().clone(), external.ssh.clone()) else {
            return Way::Undisturbed;
        };
        // It holds nothing: a new one starts at once, whereas the engine lets one that keeps ending wait.
        let fate = match self.fate(&spec) {
            Fate::Start(reason) => Fate::Make(reason.to_owned()),
            fate => fate,
        };
        if fate == Fate::Keep {
            if !self.situation.settled {
                self.await_tunnel(&spec, external, UNPROVEN, fallback.clone());
            }
            return Way::Undisturbed;
        }
        let in_use = self.socket_in_use();
        let proven = in_use && self.runs(&spec.name);
        if proven {
            self.candidate(&spec, external, ssh);
        } else {
            self.prepare_tunnel(ssh, fallback.clone());
        }
        if in_use {
            self.stop_odoos("the tunnel to PostgreSQL is about to be replaced");
        }
        self.realise(&spec, &fate, stack::TUNNEL_GRACE);
        self.await_tunnel(&spec, external, "Odoo reaches its database through it", fallback.clone());
        match (in_use, proven) {
            (false, _) => Way::Undisturbed,
            (true, false) => Way::Replaced,
            (true, true) => Way::Proven,
        }
    }

    /// The next tunnel proves itself beside the one in use, while everybody still works.
    fn candidate(&mut self, tunnel: &ContainerSpec, external: &External, ssh: Ssh) {
        let spec = self.with_pinned_image(&server::candidate(&self.site().name, tunnel, external, &ssh));
        let container = spec.name.clone();
        let undo = vec![retire(&container, stack::TUNNEL_GRACE)];
        self.prepare_tunnel(ssh, Fallback { undo: Vec::new(), gate: true });
        let cause = "the next tunnel is tried while the present one serves";
        self.plan.push(Action::CreateContainer(Box::new(spec)), cause);
        self.plan.push(Action::StartContainer { name: container.clone() }, "it was just made");
        let prove = Action::ProveTunnel {
            container: container.clone(),
            external: Box::new(external.clone()),
            seconds: SOON,
        };
        self.plan.push_gate(prove, "nobody is interrupted for one that does not work", undo.clone());
        let mut check = self.server_check(external, container.clone());
        CANDIDATE_SOCKET.clone_into(&mut check.endpoint.host);
        let check = Action::CheckServer(Box::new(check));
        self.plan.push_gate(check, FIRST_TOLD, undo);
        self.plan.push(retire(&container, stack::TUNNEL_GRACE), "it has proved itself");
    }

    fn prepare_tunnel(&mut self, ssh: Ssh, fallback: Fallback) {
        let site = self.site().name.as_str();
        let files = TunnelFiles {
            client: self.stack.ssh_client.clone(),
            comment: format!("autoodoo-{site}"),
            helper: self.with_pinned_image(&server::tunnel_owner(&self.situation.inputs, &ssh)),
            ssh,
        };
        fallback.push(&mut self.plan, Action::PrepareTunnel(Box::new(files)), "the tunnel reads them");
    }

    fn await_tunnel(&mut self, spec: &ContainerSpec, external: &External, cause: &str, fallback: Fallback) {
        let (container, external) = (spec.name.clone(), Box::new(external.clone()));
        fallback.push(&mut self.plan, Action::AwaitTunnel { container, external, seconds: SOON }, cause);
    }

    /// The name of the directory of the tunnel's files; empty without a tunnel.
    pub(super) fn tunnel_files(&self) -> String {
        let ssh = self.site().postgres.external.as_ref().and_then(|external| external.ssh.as_ref());
        let directory = ssh.map(server::tunnel_directory).unwrap_or_default();
        directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn check_server(&mut self, external: &External, mut fallback: Fallback) {
        let client = self.with_pinned_image(&server::client(&self.situation.inputs));
        let container = client.name.clone();
        let cause = "its programs speak to PostgreSQL";
        self.plan.push(Action::CreateContainer(Box::new(client)), cause);
        self.plan.push(Action::StartContainer { name: container.clone() }, "it was just made");
        fallback.undo.insert(0, retire(&container, 0));
        let check = self.server_check(external, container);
        fallback.push(&mut self.plan, Action::CheckServer(Box::new(check)), FIRST_TOLD);
    }

    pub(super) fn server_check(&self, external: &External, container: String) -> ServerCheck {
        let site = self.site();
        let state = self.situation.state;
        ServerCheck {
            container,
            external: external.clone(),
            endpoint: Endpoint::of_external(external),
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
