//! The plan of `up`: from what is there to what the site file says, replacing as little as possible.
//!
//! Invariants, which the tests audit in every plan that they make:
//! - a container is created only after its network, volumes and files are there;
//! - the Odoo that serves is retired only after its successor has answered and nginx points to it;
//! - PostgreSQL's successor is created only after the old one was seen removed;
//! - data volumes are created only while the site has no data yet.

mod certificate;
mod choose;
mod database;
mod external;
mod interruption;
mod own_server;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

pub use certificate::certificate_only;
use choose::choose;

use super::certificate::{CertificateFacts, https_address};
use super::guard;
use super::matching::drift;
use super::{Action, Hidden, OdooConfFile, Plan, Trust};
use crate::failure::{Failure, Result};
use crate::name::{Fqdn, ImageRef, Port};
use crate::observed::{Connected, Container, Labelled, Observed, RunState};
use crate::pins::Pins;
use crate::render::nginx_conf::nginx_conf;
use crate::site::{Site, Tls};
use crate::stack::fingerprint::text_fingerprint;
use crate::stack::names::{self, Slot};
use crate::stack::spec::{ContainerSpec, LABEL_CONFIG, Role, UsedNetwork, VolumeSpec};
use crate::stack::{self, Inputs, OdooContainer, OdooServer, Stack, files};
use crate::state::{Phase, State};

/// Seconds for things that take a moment.
const SOON: u32 = 60;
/// Seconds for requests that were begun before the switch.
const DRAIN: u32 = 60;
/// Seconds for PostgreSQL to be ready: crash recovery of a big database takes minutes.
const POSTGRES_READY: u32 = 900;

/// What the site directory holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalFacts {
    pub pg_hba: Option<String>,
    pub postgresql_conf: Option<String>,
    pub nginx_live: Option<String>,
    /// Names of the directories under `generated/odoo` whose odoo.conf is complete.
    pub odoo_confs: BTreeSet<String>,
    pub certificate: CertificateFacts,
    /// The fingerprint of this host's ssh client, when the site has a tunnel.
    pub ssh_client: Option<String>,
}

/// Everything that the plan depends on.
pub struct Situation<'a> {
    pub inputs: Inputs<'a>,
    pub observed: &'a Observed,
    pub state: &'a State,
    pub pins: &'a Pins,
    pub local: &'a LocalFacts,
    /// The site directory, absolute.
    pub root: &'a Path,
    /// Networks that the host already routes to; ours must be another.
    pub routed: &'a [UsedNetwork],
    /// Who listens on the ports that the site wants, when that is not the site itself.
    pub port_holders: &'a [(Port, String)],
    /// Seconds that Odoo may take to answer.
    pub wait_seconds: u32,
    /// The last operation came to a good end. If not, what runs may have been started and never
    /// asked: it is asked now.
    pub settled: bool,
}

/// The server or the tunnel to it was started anew.
const WAY_CUT: &str = "its connections to PostgreSQL were cut";
const UNPROVEN: &str = "the last operation did not end well, so it has not proved itself";

/// Makes the plan, or refuses because something stands in the way.
pub fn up(situation: &Situation<'_>) -> Result<Plan> {
    let site = situation.inputs.site;
    guard::nothing_foreign(site, situation.inputs.owner, situation.observed)?;
    guard::same_data(site, situation.state)?;
    guard::data_as_remembered(site, situation.inputs.owner, situation.state, situation.observed)?;
    let planner = Planner::new(situation)?;
    planner.plan()
}

/// The stack that `up` aims at: the slots in use, the network as it is.
pub fn target(situation: &Situation<'_>) -> Result<Stack> {
    Ok(Planner::new(situation)?.stack)
}

struct Planner<'a> {
    situation: &'a Situation<'a>,
    stack: Stack,
    nginx_text: String,
    plan: Plan,
    /// Containers that the plan has retired already.
    retired: BTreeSet<String>,
    /// New Odoos beside old ones that serve until nginx is switched.
    beside: Vec<String>,
}

/// What is to become of a container that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It is right and running.
    Keep,
    /// It is right and must be started.
    Start(&'static str),
    /// It must be made, for this reason; one with its name may have to go first.
    Make(String),
}

impl<'a> Planner<'a> {
    fn new(situation: &'a Situation<'a>) -> Result<Self> {
        let choice = choose(situation)?;
        let stack = stack::stack(&situation.inputs, &choice);
        let nginx_text = nginx_conf(&stack.nginx_conf);
        Ok(Planner {
            situation,
            stack,
            nginx_text,
            plan: Plan::default(),
            retired: BTreeSet::new(),
            beside: Vec::new(),
        })
    }

    fn plan(mut self) -> Result<Plan> {
        self.remove_leftovers();
        self.images();
        let replaced = match &self.site().postgres.external {
            None => self.own_server(),
            Some(external) => self.external_server(external),
        };
        self.certificate();
        self.odoo_confs();
        self.databases();
        self.end_of_questions();
        let old_odoos = self.odoos(replaced);
        let front_made = self.front()?;
        let old_nginx = self.nginx(front_made);
        self.retire_old(old_odoos, old_nginx);
        self.cron(replaced);
        self.finish();
        self.ordered_certificate()?;
        let targets = choose::targets(self.situation, &self.stack);
        let observed = self.observed();
        interruption::foresee(&mut self.plan, &self.stack, observed, targets);
        Ok(self.plan)
    }

    fn observed(&self) -> &'a Observed {
        self.situation.observed
    }

    fn runs(&self, name: &str) -> bool {
        self.find(name).is_some_and(|container| container.state == RunState::Running)
    }

    fn running(&self, role: Role) -> impl Iterator<Item = &'a Container> + use<'a> {
        let containers = self.observed().containers.iter();
        containers.filter(move |found| found.role() == Some(role) && found.state == RunState::Running)
    }

    fn find(&self, name: &str) -> Option<&'a Container> {
        self.observed().containers.iter().find(|container| container.name == name)
    }

    /// The image id that a container of this reference should have; `None` before the image is here.
    fn image_id(&self, image: &ImageRef) -> Option<&'a str> {
        wanted_image_id(self.situation, image)
    }

    fn fate(&self, spec: &ContainerSpec) -> Fate {
        let Some(found) = self.find(&spec.name) else {
            return Fate::Make("it does not exist".to_owned());
        };
        let image_id = self.image_id(&spec.image);
        if let Some(reason) = drift(spec, found, image_id, self.situation.root, self.observed()) {
            return Fate::Make(reason);
        }
        match found.state {
            RunState::Running => Fate::Keep,
            RunState::Restarting => Fate::Start("it keeps ending and being restarted"),
            RunState::Created => Fate::Start("it was made but never started"),
            RunState::Exited => Fate::Start("it is stopped"),
            RunState::Paused => Fate::Make("it was paused by hand".to_owned()),
            RunState::Other => Fate::Make("it is in a state that cannot be left".to_owned()),
        }
    }

    /// Helpers of an operation that was cut off.
    fn remove_leftovers(&mut self) {
        for helper in self.observed().containers.iter().filter(|c| c.role() == Some(Role::Helper)) {
            self.plan.push(retire(&helper.name, 0), "an interrupted operation left it");
        }
    }

    fn images(&mut self) {
        let site = self.situation.inputs.site;
        let images = [&site.postgres.image, &site.odoo.image, &site.nginx.image];
        for image in images {
            if self.image_id(image).is_none() {
                let cause = if self.situation.pins.images.contains_key(image.as_str()) {
                    "the pinned one is no longer on this host; what the tag leads to takes its place"
                } else {
                    "it is not on this host"
                };
                self.plan.push(Action::PullImage { image: image.clone() }, cause);
            }
        }
        let (keep, pin): (Vec<_>, Vec<_>) =
            images.into_iter().cloned().partition(|image| self.situation.pins.covers(image, self.observed()));
        if !pin.is_empty() {
            let cause = "so that a moved tag changes nothing by itself";
            self.plan.push(Action::PinImages { pin, keep }, cause);
        }
    }

    fn first_phase(&mut self) {
        if self.situation.state.phase == Phase::New {
            let phase = Phase::Initialising;
            let action =
                Action::RecordPhase { phase, generation: self.situation.state.generation, made: None };
            self.plan.push(action, "this site has no data yet");
        }
    }

    fn network(&mut self) {
        let network = self.stack.network.clone();
        if !self.observed().networks.iter().any(|found| found.name == network.name) {
            self.plan.push(Action::CreateNetwork(network), "it does not exist");
        }
    }

    fn volumes(&mut self) {
        let volumes: Vec<_> = self.stack.volumes().cloned().collect();
        for spec in volumes {
            self.volume(spec);
        }
    }

    /// For data volumes `guard::data_as_remembered` has made sure that none was lost.
    fn volume(&mut self, spec: VolumeSpec) {
        if !self.observed().volumes.iter().any(|found| found.name == spec.name) {
            self.plan.push(Action::CreateVolume(spec), "it does not exist");
        }
    }

    fn site(&self) -> &'a Site {
        self.situation.inputs.site
    }

    /// Makes or starts a container; its predecessor of the same name is seen removed first.
    fn realise(&mut self, spec: &ContainerSpec, fate: &Fate, grace: u32) {
        let cause = match fate {
            Fate::Keep => return,
            Fate::Start(reason) => {
                self.plan.push(Action::StartContainer { name: spec.name.clone() }, *reason);
                return;
            }
            Fate::Make(reason) => reason.clone(),
        };
        if self.find(&spec.name).is_some() && !self.retired.contains(&spec.name) {
            self.plan.push(retire(&spec.name, grace), cause.clone());
        }
        self.plan.push(Action::CreateContainer(Box::new(self.with_pinned_image(spec))), cause);
        self.plan.push(Action::StartContainer { name: spec.name.clone() }, "it was just made");
    }

    /// The pinned image by its id, when the tag has moved on this host.
    fn with_pinned_image(&self, spec: &ContainerSpec) -> ContainerSpec {
        pinned(self.situation, spec)
    }

    fn odoo_confs(&mut self) {
        let files: Vec<_> = self
            .configured()
            .filter(|container| !self.situation.local.odoo_confs.contains(&conf_name(container)))
            .map(|container| OdooConfFile {
                directory: container.conf_directory.clone(),
                conf: container.conf.clone(),
            })
            .collect();
        if !files.is_empty() {
            let helper = self.with_pinned_image(&stack::conf_owner(&self.situation.inputs));
            let helper = Box::new(helper);
            self.plan.push(Action::WriteOdooConf { files, helper }, "its settings are new");
        }
    }

    /// Every container that has an odoo.conf.
    fn configured(&self) -> impl Iterator<Item = &OdooContainer> {
        let servers = self.stack.odoos.iter().map(|odoo| &odoo.container);
        servers.chain([&self.stack.cron, &self.stack.command])
    }

    /// Returns the containers that must go once nginx points elsewhere.
    fn odoos(&mut self, postgres_restarted: bool) -> Vec<String> {
        let servers = self.stack.odoos.clone();
        let mut old: Vec<String> =
            servers.iter().filter_map(|server| self.odoo(server, postgres_restarted)).collect();
        // Those of databases that the site file no longer names.
        let named = |name: &str| {
            let site = &self.site().name;
            servers.iter().any(|odoo| {
                [Slot::A, Slot::B].iter().any(|slot| odoo.place.container_in(site, *slot) == name)
            })
        };
        let odoos = self.observed().containers.iter().filter(|found| found.role() == Some(Role::Odoo));
        old.extend(odoos.filter(|found| !named(&found.name)).map(|found| found.name.clone()));
        old
    }

    fn odoo(&mut self, server: &OdooServer, postgres_restarted: bool) -> Option<String> {
        let spec = server.container.spec.clone();
        let other = server.place.container_in(&self.site().name, server.place.slot.other());
        let old = self.find(&other).map(|container| container.name.clone());
        let mut fate = self.fate(&spec);
        if postgres_restarted && fate == Fate::Keep {
            fate = Fate::Start(WAY_CUT);
        }
        // Nobody serves from this slot: whatever stands there goes without a drain.
        self.realise(&spec, &fate, stack::ODOO_GRACE);
        if fate != Fate::Keep || old.is_some() || !self.situation.settled {
            let old_serves = !postgres_restarted && self.runs(&other);
            self.await_odoo(server, old_serves && matches!(fate, Fate::Make(_)));
        }
        old
    }

    fn await_odoo(&mut self, server: &OdooServer, old_serves: bool) {
        let spec = &server.container.spec;
        let wait = Action::AwaitOdoo {
            container: spec.name.clone(),
            address: server.address,
            host: server.place.database.domain.clone(),
            seconds: self.situation.wait_seconds,
        };
        if old_serves {
            self.beside.push(spec.name.clone());
        }
        let cause = "nobody is sent to it before it answers";
        if old_serves {
            self.plan.push_gate(wait, cause, self.without_new_odoos());
        } else {
            self.plan.push(wait, cause);
        }
    }

    /// What takes back every new Odoo that nobody is sent to yet.
    fn without_new_odoos(&self) -> Vec<Action> {
        self.beside.iter().map(|name| retire(name, stack::ODOO_GRACE)).collect()
    }

    /// Returns whether the holder is new, so that nginx must be made anew inside it.
    fn front(&mut self) -> Result<bool> {
        let spec = self.stack.front.clone();
        let fate = self.fate(&spec);
        if fate == Fate::Keep {
            return Ok(false);
        }
        self.ports_are_free(&spec)?;
        if matches!(fate, Fate::Make(_)) {
            for slot in [Slot::A, Slot::B] {
                let name = names::nginx(&self.site().name, slot);
                if self.find(&name).is_some() {
                    self.plan.push(retire(&name, stack::NGINX_GRACE), "its network holder is replaced");
                    self.retired.insert(name);
                }
            }
        }
        self.realise(&spec, &fate, stack::HOLDER_GRACE);
        Ok(true)
    }

    fn ports_are_free(&self, spec: &ContainerSpec) -> Result<()> {
        let taken: Vec<String> = self
            .situation
            .port_holders
            .iter()
            .filter(|(port, _)| spec.ports.iter().any(|published| published.host_port == *port))
            .map(|(port, holder)| format!("port {port} is taken by {holder}"))
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(taken.join("; "))
            .hint("stop it, or choose other ports under `listen:` in autoodoo.yaml"))
    }

    /// Returns the nginx that must go once its successor answers.
    fn nginx(&mut self, front_new: bool) -> Option<String> {
        let spec = self.stack.nginx.clone();
        let fate = match self.fate(&spec) {
            Fate::Keep | Fate::Start(_) if front_new => {
                Fate::Make("its network holder was replaced".to_owned())
            }
            fate => fate,
        };
        let fingerprint = text_fingerprint(&self.nginx_text);
        self.nginx_conf(&fingerprint);
        let other = names::nginx(&self.site().name, other_slot(&spec.name));
        let old = self.find(&other).map(|container| container.name.clone());
        let old = old.filter(|old| !self.retired.contains(old));
        match fate {
            Fate::Keep => {
                self.kept_nginx(spec.name.clone(), fingerprint);
                self.shown_certificate(Some(&spec.name));
            }
            Fate::Start(_) | Fate::Make(_) => {
                self.realise(&spec, &fate, stack::NGINX_GRACE);
                let old_serves = old.as_deref().is_some_and(|old| self.runs(old));
                let cause = "it must answer before anything else happens";
                self.await_nginx(spec.name, fingerprint, cause, old_serves);
                self.shown_certificate(None);
            }
        }
        old
    }

    fn kept_nginx(&mut self, container: String, fingerprint: String) {
        if self.situation.state.nginx_loaded.as_deref() != Some(&fingerprint) {
            let reload = Action::ReloadNginx { container, fingerprint };
            self.plan.push(reload, "its configuration changed");
        } else if !self.situation.settled {
            self.await_nginx(container, fingerprint, UNPROVEN, false);
        }
    }

    fn await_nginx(&mut self, container: String, fingerprint: String, cause: &str, old_serves: bool) {
        let undo = vec![retire(&container, stack::NGINX_GRACE)];
        let (address, host) = (self.front_address(), self.site().domain.clone());
        let wait = Action::AwaitNginx { container, address, host, fingerprint, seconds: SOON };
        if old_serves {
            self.plan.push_gate(wait, cause, undo);
        } else {
            self.plan.push(wait, cause);
        }
    }

    /// Writes, tests and publishes nginx.conf when its text is new.
    fn nginx_conf(&mut self, fingerprint: &str) {
        if self.situation.local.nginx_live.as_deref() == Some(&self.nginx_text) {
            return;
        }
        let path = PathBuf::from(files::NGINX_CANDIDATE);
        let content = Hidden(self.nginx_text.clone());
        self.plan.push(Action::WriteFile { path, content }, "routes, names or certificate changed");
        let helper = Box::new(self.with_pinned_image(&self.stack.nginx_test));
        let undo = self.without_new_odoos();
        let test = Action::TestNginxConf { helper };
        self.plan.push_guarded(test, "a wrong one must not reach the proxy", undo);
        let publish = Action::PublishNginxConf { fingerprint: fingerprint.to_owned() };
        self.plan.push(publish, "it passed its test");
    }

    fn front_address(&self) -> Ipv4Addr {
        stack::front_address(self.stack.network.subnet)
    }

    /// A running container's address in the site's network.
    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let Connected::Networks(networks) = &self.find(name)?.connected else { return None };
        networks.get(&self.stack.network.name).copied().flatten()
    }

    fn retire_old(&mut self, odoos: Vec<String>, nginx: Option<String>) {
        if let Some(name) = nginx {
            // What waits in the old one's accept queue at that moment is lost: `reuseport` spreads
            // new connections over both.
            let cause = "its successor answers; of ten thousand new connections one may be reset";
            self.plan.push(retire(&name, stack::NGINX_GRACE), cause);
        }
        for name in odoos {
            if let Some(address) = self.address(&name).filter(|_| self.runs(&name)) {
                let (container, front) = (name.clone(), self.stack.front.name.clone());
                let drain = Action::DrainOdoo { container, address, front, seconds: DRAIN };
                self.plan.push(drain, "requests that it has begun are finished");
            }
            self.plan.push(retire(&name, stack::ODOO_GRACE), "its successor serves");
        }
        self.retire_unused_tunnel();
    }

    /// Nobody reaches a server through it any more.
    fn retire_unused_tunnel(&mut self) {
        let needed = self.stack.server.container().map(|spec| spec.name.clone());
        let tunnels = self.observed().containers.iter().filter(|found| found.role() == Some(Role::Tunnel));
        for tunnel in tunnels.filter(|found| Some(&found.name) != needed.as_ref()) {
            self.plan.push(retire(&tunnel.name, stack::TUNNEL_GRACE), "the site file asks for no tunnel");
        }
    }

    fn cron(&mut self, postgres_restarted: bool) {
        let spec = self.stack.cron.spec.clone();
        let mut fate = self.fate(&spec);
        if postgres_restarted && fate == Fate::Keep {
            fate = Fate::Start(WAY_CUT);
        }
        self.realise(&spec, &fate, stack::ODOO_GRACE);
        if fate != Fate::Keep || !self.situation.settled {
            let (container, seconds) = (spec.name, self.situation.wait_seconds);
            self.plan.push(Action::AwaitCron { container, seconds }, "scheduled actions depend on it");
        }
    }

    /// Asks the site from outside and sweeps, if anything was done at all.
    fn finish(&mut self) {
        if self.plan.is_empty() {
            return;
        }
        for probe in probes(self.site(), &self.stack.nginx_conf.certificate) {
            self.plan.push(probe, "success is what a browser sees");
        }
        let keep = self.configured().map(conf_name).collect();
        let ssh_client = self.stack.ssh_client.clone();
        let tunnel_files = self.tunnel_files();
        let sweep = Action::Sweep { ssh_client, tunnel_files, keep };
        self.plan.push(sweep, "they belong to containers that are gone");
    }
}

/// The questions that every `up` ends with, also one that had nothing to do: each database's
/// login page.
#[must_use]
pub fn probes(site: &Site, certificate: &str) -> Vec<Action> {
    let address = https_address(site);
    // While a CA is waited for, what serves may be for other names, or have ended.
    let trust = match site.tls {
        Tls::SelfSigned => Trust::LocalCa,
        Tls::Files { .. } | Tls::Acme(_) => Trust::Stored(certificate.to_owned()),
    };
    let probe = |host: Fqdn| Action::ProbeSite { address, host, trust: trust.clone(), seconds: SOON };
    site.databases().into_iter().map(|database| probe(database.domain)).collect()
}

fn retire(name: &str, grace: u32) -> Action {
    Action::RetireContainer { name: name.to_owned(), grace }
}

fn conf_name(container: &OdooContainer) -> String {
    container.spec.labels.get(LABEL_CONFIG).cloned().unwrap_or_default()
}

fn other_slot(name: &str) -> Slot {
    if name.ends_with("-a") { Slot::B } else { Slot::A }
}

pub(super) fn wanted_image_id<'a>(situation: &Situation<'a>, image: &ImageRef) -> Option<&'a str> {
    let observed: &'a Observed = situation.observed;
    situation.pins.image_id(image, observed)
}

/// The same container from the pinned image, when the tag has moved on this host.
#[must_use]
pub fn pinned(situation: &Situation<'_>, spec: &ContainerSpec) -> ContainerSpec {
    let mut spec = spec.clone();
    let here = situation.observed.images.get(&spec.image).map(|image| image.id.as_str());
    if let Some(wanted) = wanted_image_id(situation, &spec.image)
        && here != Some(wanted)
        && let Ok(reference) = wanted.parse()
    {
        spec.image = reference;
    }
    spec
}

#[cfg(test)]
mod tests;
