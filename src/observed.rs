//! What is there now, in our own types. Adapters fill it in; plans read it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use crate::name::{ImageRef, Port};
use crate::stack::spec::{
    LABEL_CONFIG, LABEL_ROLE, LABEL_SITE, LABEL_SITE_ID, MountSource, PublishedPort, Restart, Role,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Docker,
    Podman,
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EngineKind::Docker => "Docker",
            EngineKind::Podman => "Podman",
        })
    }
}

/// The engine that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    pub kind: EngineKind,
    pub version: String,
    /// The API version that was negotiated.
    pub api: String,
    /// Where it was reached, such as `unix:///var/run/docker.sock`.
    pub endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// `sha256:…` of the image configuration.
    pub id: String,
    /// `repository@sha256:…` under which a registry knows it; empty for an image built here.
    pub repo_digests: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Bytes.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Its directory on the host, as the engine tells it.
    pub directory: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// CIDR texts as the engine gives them.
    pub subnets: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    /// Anything else the engine may say (removing, dead, stopping).
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mounted {
    pub source: MountSource,
    pub target: String,
    pub read_only: bool,
}

/// What the container's own healthcheck says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not healthy yet; it was started a short while ago.
    Starting,
    Healthy,
    Unhealthy,
}

impl Health {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// How a container is connected now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connected {
    None,
    /// In the namespace of the container with this id.
    Container(String),
    /// Networks by name, with the address where there is one. A stopped container may have none.
    Networks(BTreeMap<String, Option<Ipv4Addr>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// The image reference it was made from, as the engine tells it.
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    pub state: RunState,
    pub exit_code: Option<i64>,
    /// `None` when no check was made: it has none, does not run, has just been started, or the engine
    /// makes none by itself (Podman without systemd).
    pub health: Option<Health>,
    /// Restarts that the engine made by itself since it was started.
    pub restart_count: u64,
    /// RFC 3339, as the engine tells it; `None` when it never ran.
    pub started_at: Option<String>,
    pub mounts: Vec<Mounted>,
    pub connected: Connected,
    pub ports: Vec<PublishedPort>,
    pub restart: Restart,
}

impl Container {
    #[must_use]
    pub fn mounts_volume(&self, volume: &str) -> bool {
        self.mounts.iter().any(|mount| mount.source.is_volume(volume))
    }
}

/// One line of `docker ps --all`: every container of the host, ours or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub running: bool,
    /// Addresses and TCP ports it has taken on the host.
    pub host_ports: Vec<SocketAddr>,
}

impl ContainerSummary {
    /// Whether nobody else can publish this port on this address.
    #[must_use]
    pub fn takes(&self, address: IpAddr, port: Port) -> bool {
        self.host_ports.iter().any(|taken| {
            let everywhere = taken.ip().is_unspecified() || address.is_unspecified();
            taken.port() == port.get() && (everywhere || taken.ip() == address)
        })
    }
}

/// What carries our labels.
pub trait Labelled {
    fn labels(&self) -> &BTreeMap<String, String>;

    fn site(&self) -> Option<&str> {
        self.labels().get(LABEL_SITE).map(String::as_str)
    }

    fn site_id(&self) -> Option<&str> {
        self.labels().get(LABEL_SITE_ID).map(String::as_str)
    }

    fn role(&self) -> Option<Role> {
        self.labels().get(LABEL_ROLE).and_then(|word| Role::from_word(word))
    }

    fn fingerprint(&self) -> Option<&str> {
        self.labels().get(LABEL_CONFIG).map(String::as_str)
    }
}

macro_rules! labelled {
    ($($type:ty),*) => {$(
        impl Labelled for $type {
            fn labels(&self) -> &BTreeMap<String, String> {
                &self.labels
            }
        }
    )*};
}
labelled!(Volume, Network, Container, ContainerSummary);

/// Everything about a site that a plan depends on, at one moment.
#[derive(Debug, Clone)]
pub struct Observed {
    pub engine: EngineInfo,
    /// Images of the site file that are present, by reference.
    pub images: BTreeMap<ImageRef, Image>,
    /// Every volume of the host.
    pub volumes: Vec<Volume>,
    /// Every network of the host.
    pub networks: Vec<Network>,
    /// Every container of the host.
    pub all_containers: Vec<ContainerSummary>,
    /// The site's own containers in detail.
    pub containers: Vec<Container>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_on_two_addresses_is_two_ports() {
        let taken = ContainerSummary {
            id: "1".into(),
            name: "other-front".into(),
            labels: BTreeMap::new(),
            running: true,
            host_ports: vec!["192.0.2.1:443".parse().unwrap()],
        };
        let refuses = |address: &str| taken.takes(address.parse().unwrap(), Port::HTTPS);
        assert!(refuses("192.0.2.1") && refuses("0.0.0.0"));
        assert!(!refuses("192.0.2.2"));
        assert!(!taken.takes("192.0.2.1".parse().unwrap(), Port::HTTP));
    }
}
