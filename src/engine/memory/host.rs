//! The state of the host in memory, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::Process;
use super::fake::Fake;
use crate::engine::Stream;
use crate::failure::{Failure, Result};
use crate::observed::{Image, Network, RunState, Volume};
use crate::stack::spec::{
    Attachment, ContainerSpec, MountSource, NetworkSpec, PublishedPort, Restart, Role, Subnet, VolumeSpec,
};

/// Why a running container no longer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Stopped,
    Killed,
}

#[derive(Debug)]
pub(super) struct Host {
    pub images: BTreeMap<String, Image>,
    pub volumes: BTreeMap<String, Volume>,
    pub networks: BTreeMap<String, (Network, Subnet)>,
    /// In the order in which they were made.
    pub containers: Vec<Fake>,
    /// TCP ports taken by other programs.
    pub foreign_ports: BTreeSet<u16>,
    pub registry_reachable: bool,
    pub most_postgres_on_one_volume: usize,
    pub volume_root: PathBuf,
    offered: BTreeMap<String, Image>,
    /// Ids and times are drawn from it, so that a test sees the same every time.
    ticks: u64,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            containers: Vec::new(),
            foreign_ports: BTreeSet::new(),
            volume_root: PathBuf::from("/volumes"),
            registry_reachable: true,
            most_postgres_on_one_volume: 0,
            offered: BTreeMap::new(),
            ticks: 0,
        }
    }
}

fn refused<T>(doing: impl std::fmt::Display, why: impl std::fmt::Display) -> Result<T> {
    Err(Failure::failed(format!("{doing}: {why}")))
}

impl Host {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn new_id(&mut self) -> String {
        format!("{:064x}", self.tick())
    }

    /// A time of day that grows with every call.
    fn now(&mut self) -> String {
        let seconds = self.tick();
        format!("2026-01-01T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    // Images

    fn new_image(&mut self, reference: &str) -> Image {
        let digest = self.new_id();
        let repository = reference.split('@').next().unwrap_or(reference);
        Image {
            id: format!("sha256:{digest}"),
            repo_digests: vec![format!("{repository}@sha256:{digest}")],
            env: BTreeMap::new(),
            size: 1000,
        }
    }

    pub(super) fn add_image(&mut self, reference: &str) {
        let image = self.new_image(reference);
        self.images.insert(reference.to_owned(), image);
    }

    pub(super) fn offer_image(&mut self, reference: &str) {
        let image = self.new_image(reference);
        self.offered.insert(reference.to_owned(), image);
    }

    /// Returns its size.
    pub(super) fn pull(&mut self, reference: &str) -> Result<u64> {
        let doing = format!("cannot pull the image `{reference}`");
        if !self.registry_reachable {
            return refused(doing, "the registry cannot be reached");
        }
        let Some(image) = self.offered.get(reference) else {
            return refused(doing, "the registry has no such image, or wants a login");
        };
        self.images.insert(reference.to_owned(), image.clone());
        Ok(image.size)
    }

    // Volumes and networks

    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<()> {
        let directory = self.volume_root.join(&spec.name);
        let new = Volume { name: spec.name.clone(), labels: spec.labels.clone(), directory };
        match self.volumes.get(&spec.name) {
            Some(existing) if *existing != new => {
                refused(format!("cannot create the volume `{}`", spec.name), "the name is taken")
            }
            Some(_) => Ok(()),
            None => {
                self.volumes.insert(spec.name.clone(), new);
                Ok(())
            }
        }
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<()> {
        if self.containers.iter().any(|container| container.volumes().any(|volume| volume == name)) {
            return refused(format!("cannot remove the volume `{name}`"), "a container still uses it");
        }
        self.volumes.remove(name);
        Ok(())
    }

    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Result<()> {
        let doing = format!("cannot create the network `{}`", spec.name);
        if self.networks.contains_key(&spec.name) {
            return refused(doing, "the name is taken");
        }
        if self.networks.values().any(|(_, subnet)| *subnet == spec.subnet) {
            return refused(doing, "its addresses are used by another network of this machine");
        }
        let network = Network {
            id: self.new_id(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            subnets: vec![spec.subnet.to_string()],
        };
        self.networks.insert(spec.name.clone(), (network, spec.subnet));
        Ok(())
    }

    /// Stopped containers count too, as in Podman.
    pub(super) fn remove_network(&mut self, name: &str) -> Result<()> {
        if self.containers.iter().any(|container| container.network() == Some(name)) {
            return refused(
                format!("cannot remove the network `{name}`"),
                "containers are still connected to it",
            );
        }
        self.networks.remove(name);
        Ok(())
    }

    // Containers

    /// By id, by name, or by the beginning of an id as engines allow.
    fn position(&self, container: &str) -> Option<usize> {
        let is = |fake: &Fake| fake.id == container || fake.spec.name == container;
        let begins = |fake: &Fake| container.len() >= 12 && fake.id.starts_with(container);
        self.containers.iter().position(is).or_else(|| self.containers.iter().position(begins))
    }

    pub(super) fn get(&self, container: &str) -> Option<&Fake> {
        self.position(container).map(|position| &self.containers[position])
    }

    pub(super) fn find(&mut self, container: &str) -> Result<&mut Fake> {
        match self.position(container) {
            Some(position) => Ok(&mut self.containers[position]),
            None => refused(format!("`{container}`"), "there is no such container"),
        }
    }

    pub(super) fn require_running(&mut self, container: &str, doing: &str) -> Result<()> {
        if self.find(container)?.running() {
            return Ok(());
        }
        refused(format!("cannot {doing} the container `{container}`"), "the container is not running")
    }

    pub(super) fn create(
        &mut self,
        spec: &ContainerSpec,
        has_directory: &dyn Fn(&Path) -> bool,
    ) -> Result<String> {
        let doing = format!("cannot create the container `{}`", spec.name);
        if self.containers.iter().any(|container| container.spec.name == spec.name) {
            return refused(doing, "the name is taken");
        }
        let Some(image) = self.images.get(spec.image.as_str()) else {
            return refused(doing, "the image is not on this machine");
        };
        let image_id = image.id.clone();
        if let Some(missing) = self.missing_source(spec, has_directory) {
            return refused(doing, missing);
        }
        let joined = self.joined(spec)?;
        let id = self.new_id();
        self.containers.push(Fake::created(id.clone(), spec.clone(), image_id, joined));
        Ok(id)
    }

    fn missing_source(&self, spec: &ContainerSpec, has_directory: &dyn Fn(&Path) -> bool) -> Option<String> {
        spec.mounts.iter().find_map(|mount| match &mount.source {
            MountSource::Volume(name) if !self.volumes.contains_key(name) => {
                Some(format!("there is no volume `{name}`"))
            }
            MountSource::Directory(path) if !has_directory(path) => {
                Some(format!("there is no directory `{}`", path.display()))
            }
            _ => None,
        })
    }

    /// The id of the container whose network is to be shared. Its network must exist as well.
    fn joined(&self, spec: &ContainerSpec) -> Result<Option<String>> {
        let doing = || format!("cannot create the container `{}`", spec.name);
        match &spec.attachment {
            Attachment::None => Ok(None),
            Attachment::Network { name, .. } if self.networks.contains_key(name) => Ok(None),
            Attachment::Network { .. } => refused(doing(), "the network does not exist"),
            Attachment::Container(name) => match self.get(name) {
                Some(holder) => Ok(Some(holder.id.clone())),
                None => refused(doing(), "there is no such container"),
            },
        }
    }

    /// Starting what runs succeeds.
    pub(super) fn start(&mut self, container: &str, process: Process) -> Result<()> {
        let fake = self.find(container)?;
        if fake.running() {
            return Ok(());
        }
        let id = fake.id.clone();
        if let Some(why) = self.obstacle(&id) {
            return refused(format!("cannot start the container `{container}`"), why);
        }
        let (now, address) = (self.now(), self.free_address(&id));
        let fake = self.find(&id)?;
        fake.state = RunState::Running;
        fake.exit_code = None;
        fake.restart_count = 0;
        fake.started_at = Some(now);
        fake.stopped_on_purpose = false;
        fake.address = address;
        self.count_postgres();
        if let Process::Ends { exit_code, lines } = process {
            self.find(&id)?.log.extend(lines.into_iter().map(|line| (Stream::Stdout, line)));
            self.end(&id, exit_code)?;
        }
        Ok(())
    }

    /// What keeps a container from starting now.
    fn obstacle(&self, id: &str) -> Option<String> {
        let fake = self.get(id)?;
        if let Some(holder) = &fake.joined
            && !self.get(holder).is_some_and(Fake::running)
        {
            return Some("the container whose network it shares is not running".to_owned());
        }
        if let Some(lost) = fake.volumes().find(|volume| !self.volumes.contains_key(*volume)) {
            return Some(format!("there is no volume `{lost}`"));
        }
        if let Some(port) = fake.spec.ports.iter().find(|port| self.is_taken(port)) {
            return Some(format!("port {} of this machine is taken", port.host_port));
        }
        match fake.spec.attachment {
            Attachment::Network { ref name, address: Some(address) } if self.has_address(name, address) => {
                Some("its address is taken by another container".to_owned())
            }
            _ => None,
        }
    }

    fn is_taken(&self, wanted: &PublishedPort) -> bool {
        let clashes = |port: &PublishedPort| {
            port.host_port == wanted.host_port
                && (port.host == wanted.host || port.host.is_unspecified() || wanted.host.is_unspecified())
        };
        self.foreign_ports.contains(&wanted.host_port.get())
            || self
                .containers
                .iter()
                .filter(|fake| fake.running())
                .any(|fake| fake.spec.ports.iter().any(clashes))
    }

    fn has_address(&self, network: &str, wanted: Ipv4Addr) -> bool {
        let on_network =
            self.containers.iter().filter(|fake| fake.running() && fake.network() == Some(network));
        on_network.filter_map(Fake::own_address).any(|address| address == wanted)
    }

    /// An address from the dynamic half, for a container that wants any.
    fn free_address(&self, id: &str) -> Option<Ipv4Addr> {
        let Attachment::Network { name, address: None } = &self.get(id)?.spec.attachment else { return None };
        let (_, subnet) = self.networks.get(name)?;
        (128..255).map(|last| subnet.host(last)).find(|address| !self.has_address(name, *address))
    }

    fn count_postgres(&mut self) {
        let servers =
            self.containers.iter().filter(|fake| fake.running() && fake.spec.role == Role::Postgres);
        let mut on_volume: BTreeMap<&str, usize> = BTreeMap::new();
        servers.flat_map(Fake::volumes).for_each(|volume| *on_volume.entry(volume).or_default() += 1);
        let most = on_volume.into_values().max().unwrap_or(0);
        self.most_postgres_on_one_volume = self.most_postgres_on_one_volume.max(most);
    }

    /// Ends a running container, and removes it if that was asked for.
    fn end(&mut self, id: &str, exit_code: i64) -> Result<()> {
        let fake = self.find(id)?;
        fake.state = RunState::Exited;
        fake.exit_code = Some(exit_code);
        fake.address = None;
        if fake.spec.auto_remove { self.remove(id) } else { Ok(()) }
    }

    /// Stopping what does not run succeeds.
    pub(super) fn stop(&mut self, container: &str, ending: Ending) -> Result<()> {
        let fake = self.find(container)?;
        fake.stopped_on_purpose = true;
        if !fake.running() {
            return Ok(());
        }
        let id = fake.id.clone();
        self.end(&id, if ending == Ending::Killed { 137 } else { 0 })
    }

    pub(super) fn ended(&mut self, container: &str) -> Result<i64> {
        match self.find(container)? {
            fake if fake.running() => {
                refused(format!("cannot wait for `{container}`"), "in memory it would never end")
            }
            fake => Ok(fake.exit_code.unwrap_or(0)),
        }
    }

    /// Removing what is not there succeeds. What others depend on stays, as in Podman.
    pub(super) fn remove(&mut self, container: &str) -> Result<()> {
        let Some(position) = self.position(container) else { return Ok(()) };
        let id = Some(&self.containers[position].id);
        if self.containers.iter().any(|other| other.joined.as_ref() == id) {
            return refused(
                format!("cannot remove the container `{container}`"),
                "other containers share its network; remove those first",
            );
        }
        self.containers.remove(position);
        Ok(())
    }

    pub(super) fn crash(&mut self, container: &str) {
        let now = self.now();
        let Ok(fake) = self.find(container) else { return };
        if !fake.running() {
            return;
        }
        if fake.restart == Restart::UnlessStopped {
            fake.restart_count += 1;
            fake.started_at = Some(now);
        } else {
            let id = fake.id.clone();
            // It cannot be missing: it was found above.
            let _ = self.end(&id, 139);
        }
    }

    /// Kills everything. Returns the ids of those that are to come back, in this order, except that
    /// a container comes after the one whose network it shares, which both engines see to.
    pub(super) fn restart(&mut self, reverse_order: bool) -> Vec<String> {
        let was_running: Vec<String> =
            self.containers.iter().filter(|fake| fake.running()).map(|fake| fake.id.clone()).collect();
        for id in was_running {
            // Removal on exit fails for a container that others share the network of; it stays then.
            let _ = self.end(&id, 137);
        }
        let comes_back = |fake: &&Fake| {
            fake.restart == Restart::UnlessStopped && fake.started_at.is_some() && !fake.stopped_on_purpose
        };
        let mut order: Vec<&Fake> = self.containers.iter().filter(comes_back).collect();
        if reverse_order {
            order.reverse();
        }
        order.sort_by_key(|fake| fake.joined.is_some());
        order.into_iter().map(|fake| fake.id.clone()).collect()
    }
}
