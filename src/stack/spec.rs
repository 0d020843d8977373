//! What a volume, a network or a container of ours should be: values, complete and final. An
//! engine adapter carries them out and decides nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::Serialize;

use crate::name::{ImageRef, Port};

/// Label: the site's name.
pub const LABEL_SITE: &str = "autoodoo.site";
/// Label: the site directory's identity, so that two directories with one site name are told apart.
pub const LABEL_SITE_ID: &str = "autoodoo.site-id";
/// Label: what the thing is for, a [`Role`].
pub const LABEL_ROLE: &str = "autoodoo.role";
/// Label: the fingerprint of the specification it was made from.
pub const LABEL_CONFIG: &str = "autoodoo.config";

/// Whose a thing is. Every volume, network and container of ours carries both labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub site: String,
    pub site_id: String,
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The database server.
    Postgres,
    /// The way through ssh to a database server elsewhere.
    Tunnel,
    /// Odoo answering requests; one of two slots.
    Odoo,
    /// Odoo running scheduled actions only.
    Cron,
    /// The holder of published ports and of the front network namespace.
    Front,
    /// The reverse proxy inside the holder's namespace; one of two slots.
    Nginx,
    /// A short-lived container of an operation; the next operation removes leftovers.
    Helper,
    /// A container of an interactive `odoo` or `shell`; it goes with its user.
    Session,
}

impl Role {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Postgres => "postgres",
            Role::Tunnel => "tunnel",
            Role::Odoo => "odoo",
            Role::Cron => "cron",
            Role::Front => "front",
            Role::Nginx => "nginx",
            Role::Helper => "helper",
            Role::Session => "session",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Role> {
        use Role::{Cron, Front, Helper, Nginx, Odoo, Postgres, Session, Tunnel};
        [Postgres, Tunnel, Odoo, Cron, Front, Nginx, Helper, Session]
            .into_iter()
            .find(|role| role.word() == word)
    }
}

/// A named volume. An engine never creates one by itself for us: see [`Mount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeSpec {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A bridge network of the site's own with a fixed subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub subnet: Subnet,
}

/// An IPv4 /24 of the site's own network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    /// The network address; its last octet is 0.
    base: Ipv4Addr,
}

impl Subnet {
    /// The /24 that contains `address`.
    #[must_use]
    pub fn around(address: Ipv4Addr) -> Subnet {
        let [a, b, c, _] = address.octets();
        Subnet { base: Ipv4Addr::new(a, b, c, 0) }
    }

    /// The address with this last octet.
    #[must_use]
    pub fn host(self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.base.octets();
        Ipv4Addr::new(a, b, c, last)
    }

    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    /// The upper half, from which engines may give out addresses; the lower half is ours to fix.
    #[must_use]
    pub fn dynamic_range(self) -> String {
        format!("{}/25", self.host(128))
    }
}

/// An IPv4 network of any size that somebody already uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedNetwork {
    base: Ipv4Addr,
    /// Bits of the network part, 0 to 32.
    prefix: u32,
}

impl UsedNetwork {
    /// `None` for more than 32 bits.
    #[must_use]
    pub fn new(base: Ipv4Addr, prefix: u32) -> Option<UsedNetwork> {
        (prefix <= 32).then_some(UsedNetwork { base, prefix })
    }

    /// Reads `10.0.0.0/8`; an IPv6 network is none of ours.
    #[must_use]
    pub fn parse(cidr: &str) -> Option<UsedNetwork> {
        let (base, prefix) = cidr.split_once('/')?;
        UsedNetwork::new(base.parse().ok()?, prefix.parse().ok()?)
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, subnet: Subnet) -> bool {
        let shared = self.prefix.min(24);
        let mask = u32::MAX.checked_shl(32 - shared).unwrap_or(0);
        u32::from(self.base) & mask == u32::from(subnet.base) & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/24", self.base)
    }
}

impl Serialize for Subnet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// What is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A named volume that an earlier step made.
    Volume(String),
    /// A directory of the site directory, always a directory and never a file that we rewrite:
    /// after an atomic rename a mounted file would still show its old content.
    Directory(PathBuf),
}

impl MountSource {
    #[must_use]
    pub fn is_volume(&self, name: &str) -> bool {
        matches!(self, MountSource::Volume(volume) if volume == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    pub source: MountSource,
    pub target: String,
    pub read_only: bool,
}

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// No network at all.
    None,
    /// In the network namespace of the container with this name.
    Container(String),
    /// On a network; with a fixed address, or one that the engine gives.
    Network { name: String, address: Option<Ipv4Addr> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PublishedPort {
    pub host: IpAddr,
    pub host_port: Port,
    pub container_port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never by itself.
    No,
    /// After a crash, a reboot or an engine restart, unless it was stopped on purpose.
    UnlessStopped,
}

/// A Linux capability (capabilities(7)) that a container keeps. All others are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    Chown,
    DacOverride,
    Fowner,
    NetBindService,
    Setgid,
    Setuid,
}

impl Capability {
    /// As engines and Compose write it, without `CAP_`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Capability::Chown => "CHOWN",
            Capability::DacOverride => "DAC_OVERRIDE",
            Capability::Fowner => "FOWNER",
            Capability::NetBindService => "NET_BIND_SERVICE",
            Capability::Setgid => "SETGID",
            Capability::Setuid => "SETUID",
        }
    }
}

/// A small directory in memory. What is written there counts against the container's memory limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tmpfs {
    pub target: String,
    /// Bytes at most.
    pub size_bytes: u64,
}

/// How much of a container's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LogRotation {
    /// Bytes of one file.
    pub file_bytes: u64,
    pub files: u32,
}

/// A script that the engine runs in the container's shell now and then; exit code 0 means healthy.
/// Not a list of words, which Podman 4.3 would take apart at every space. All times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    pub script: String,
    pub interval: u32,
    pub timeout: u32,
    /// Failures within this time after the start do not count.
    pub start_period: u32,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// A container. Its processes never gain privileges by executing a program (`no-new-privileges`),
/// whatever is written here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, as engines ask it")]
pub struct ContainerSpec {
    pub name: String,
    pub role: Role,
    pub image: ImageRef,
    /// Empty: the image's own.
    pub entrypoint: Vec<String>,
    /// Empty: the image's own.
    pub command: Vec<String>,
    /// Never a secret: `inspect` shows it.
    pub env: BTreeMap<String, String>,
    /// `None`: the image's own.
    pub user: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    pub attachment: Attachment,
    pub ports: Vec<PublishedPort>,
    pub restart: Restart,
    /// `None`: the image's own.
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_grace: u32,
    /// Bytes of /dev/shm; `None` for the engine's default (64 MiB).
    pub shm_bytes: Option<u64>,
    /// What it keeps; everything else is dropped.
    pub capabilities: Vec<Capability>,
    /// Nothing but mounts can be written.
    pub read_only_root: bool,
    pub tmpfs: Vec<Tmpfs>,
    /// Processes and threads at most.
    pub pids: u32,
    /// Bytes of memory at most, swap included; `None` for no limit.
    pub memory_bytes: Option<u64>,
    pub log: LogRotation,
    pub healthcheck: Option<Healthcheck>,
    /// The level of SELinux's label, where the engine uses SELinux; `None` for one that it chooses.
    pub selinux_level: Option<String>,
    /// Keep standard input open for an attached client.
    pub stdin: bool,
    pub tty: bool,
    /// Removed by the engine when it ends.
    pub auto_remove: bool,
}

impl ContainerSpec {
    #[must_use]
    pub fn mounts_volume(&self, volume: &str) -> bool {
        self.mounts.iter().any(|mount| mount.source.is_volume(volume))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_know_their_masks() {
        let ours = Subnet::around(Ipv4Addr::new(10, 213, 7, 0));
        for cidr in
            ["10.213.7.0/24", "10.213.7.128/25", "10.213.7.9/32", "10.208.0.0/12", "10.0.0.0/8", "0.0.0.0/0"]
        {
            assert!(UsedNetwork::parse(cidr).unwrap().overlaps(ours), "{cidr}");
        }
        for cidr in ["10.213.8.0/24", "10.214.0.0/16", "192.168.0.0/16", "11.0.0.0/8"] {
            assert!(!UsedNetwork::parse(cidr).unwrap().overlaps(ours), "{cidr}");
        }
        for cidr in ["fd00::/64", "10.0.0.0", "10.0.0.0/33"] {
            assert_eq!(UsedNetwork::parse(cidr), None);
        }
    }

    #[test]
    fn subnet_arithmetic() {
        let subnet = Subnet::around(Ipv4Addr::new(10, 213, 7, 9));
        assert_eq!(subnet.to_string(), "10.213.7.0/24");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 213, 7, 1));
        assert_eq!(subnet.dynamic_range(), "10.213.7.128/25");
    }

    #[test]
    fn roles_and_their_words() {
        for role in [
            Role::Postgres,
            Role::Tunnel,
            Role::Odoo,
            Role::Cron,
            Role::Front,
            Role::Nginx,
            Role::Helper,
            Role::Session,
        ] {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert_eq!(Role::from_word("zebra"), None);
    }
}
