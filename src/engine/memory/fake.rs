//! One container in memory.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::engine::Stream;
use crate::observed::{Connected, Container, ContainerSummary, Health, Mounted, RunState};
use crate::stack::spec::{Attachment, ContainerSpec, Mount, MountSource, Restart};

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) id: String,
    pub(super) spec: ContainerSpec,
    pub(super) log: Vec<(Stream, String)>,
    pub(super) restart: Restart,
    image_id: String,
    pub(super) state: RunState,
    pub(super) exit_code: Option<i64>,
    pub(super) health: Option<Health>,
    pub(super) restart_count: u64,
    pub(super) started_at: Option<String>,
    /// Somebody stopped it, so that `unless-stopped` does not bring it back.
    pub(super) stopped_on_purpose: bool,
    /// The id of the container whose network it shares; the name may come to mean another.
    pub(super) joined: Option<String>,
    pub(super) address: Option<Ipv4Addr>,
}

impl Fake {
    /// `joined` is the id of the container whose network it shares.
    pub(super) fn created(id: String, spec: ContainerSpec, image_id: String, joined: Option<String>) -> Fake {
        Fake {
            id,
            log: Vec::new(),
            restart: spec.restart,
            image_id,
            state: RunState::Created,
            exit_code: None,
            health: None,
            restart_count: 0,
            started_at: None,
            stopped_on_purpose: false,
            joined,
            address: None,
            spec,
        }
    }

    pub(super) fn running(&self) -> bool {
        self.state == RunState::Running
    }

    pub(super) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(name) => Some(name.as_str()),
            MountSource::Directory(_) => None,
        })
    }

    pub(super) fn network(&self) -> Option<&str> {
        match &self.spec.attachment {
            Attachment::Network { name, .. } => Some(name),
            _ => None,
        }
    }

    pub(super) fn own_address(&self) -> Option<Ipv4Addr> {
        match self.spec.attachment {
            Attachment::Network { address, .. } => address.or(self.address),
            _ => None,
        }
    }

    fn connected(&self) -> Connected {
        match &self.spec.attachment {
            Attachment::None => Connected::None,
            Attachment::Container(_) => Connected::Container(self.joined.clone().unwrap_or_default()),
            Attachment::Network { name, address } => {
                Connected::Networks(BTreeMap::from([(name.clone(), address.or(self.address))]))
            }
        }
    }

    pub(super) fn summary(&self) -> ContainerSummary {
        let ports = self.spec.ports.iter().filter(|_| self.running());
        ContainerSummary {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            labels: self.spec.labels.clone(),
            running: self.running(),
            host_ports: ports.map(|port| SocketAddr::new(port.host, port.host_port.get())).collect(),
        }
    }

    pub(super) fn observed(&self) -> Container {
        let mounted = |mount: &Mount| Mounted {
            source: mount.source.clone(),
            target: mount.target.clone(),
            read_only: mount.read_only,
        };
        let mut ports = self.spec.ports.clone();
        ports.sort_by_key(|port| (port.container_port, port.host_port, port.host));
        Container {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            image: self.spec.image.to_string(),
            image_id: self.image_id.clone(),
            labels: self.spec.labels.clone(),
            state: self.state,
            exit_code: self.exit_code,
            health: self.health.filter(|_| self.running() && self.spec.healthcheck.is_some()),
            restart_count: self.restart_count,
            started_at: self.started_at.clone(),
            mounts: self.spec.mounts.iter().map(mounted).collect(),
            connected: self.connected(),
            ports,
            restart: self.restart,
        }
    }
}
