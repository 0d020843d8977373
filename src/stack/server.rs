//! The PostgreSQL of a site: a container of its own, or a server elsewhere and the way there.

use std::path::PathBuf;

use super::fingerprint::text_fingerprint;
use super::spec::{Attachment, ContainerSpec, LABEL_CONFIG, LABEL_ROLE, Restart, Role, VolumeSpec};
use super::{
    Choice, HOLD, HOLDER_GRACE, Inputs, TUNNEL_GRACE, dirs, hardening, names, plain, read_only_directory,
    sealed, volume_mount,
};
use crate::name::SiteName;
use crate::render::libpq::Endpoint;
use crate::render::odoo_conf::{SOCKET_DIRECTORY, SOCKET_MOUNT};
use crate::site::value::HostName;
use crate::site::{External, Ssh};

/// Where the tunnel's container sees the ssh client and its libraries.
const CLIENT_MOUNT: &str = "/opt/autoodoo/ssh";
/// Where it sees its key and the host's.
const KEYS_MOUNT: &str = "/etc/autoodoo/tunnel";
/// Where the helper that gives the keys away sees the same directory.
pub const TUNNEL_HELPER_MOUNT: &str = "/tunnel";
/// Bytes. ssh needs about 10 MiB; all of Odoo's connections pass through its buffers.
const TUNNEL_MEMORY: u64 = 128 << 20;
/// Where the next tunnel listens while it is on trial: in memory of its own. A tmpfs below /run would
/// be root's on Podman.
pub const CANDIDATE_SOCKET: &str = "/tmp";
/// The dynamic loader's name among the copied files.
pub const LOADER: &str = "ld.so";

/// Files of the tunnel, in its [`tunnel_directory`].
pub mod tunnel_files {
    pub const KEY: &str = "id_ed25519";
    pub const KNOWN_HOSTS: &str = "known_hosts";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// In a container of the site's own, with its data volume.
    Own(Box<OwnServer>),
    /// Somebody else's; the container is the tunnel to it, if there is one.
    External(Option<Box<ContainerSpec>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnServer {
    pub container: ContainerSpec,
    /// The text of postgresql.conf.
    pub conf: String,
    pub volume: VolumeSpec,
}

impl Server {
    /// What must run here so that Odoo reaches its database: the server or the tunnel to it.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerSpec> {
        match self {
            Server::Own(own) => Some(&own.container),
            Server::External(tunnel) => tunnel.as_deref(),
        }
    }

    #[must_use]
    pub fn own(&self) -> Option<&OwnServer> {
        match self {
            Server::Own(own) => Some(own),
            Server::External(_) => None,
        }
    }
}

/// A container of PostgreSQL's image for its client programs, doing nothing until a command is run
/// in it. Its user is `postgres`; passwords and keys go to its memory by standard input.
#[must_use]
pub fn client(inputs: &Inputs<'_>) -> ContainerSpec {
    let site = inputs.site;
    let (attachment, mounts) = if Endpoint::of(&site.postgres).is_socket() {
        (Attachment::None, vec![volume_mount(names::socket_volume(&site.name), SOCKET_MOUNT)])
    } else {
        (Attachment::Network { name: names::network(&site.name), address: None }, Vec::new())
    };
    ContainerSpec {
        entrypoint: HOLD.map(str::to_owned).to_vec(),
        user: Some("postgres".to_owned()),
        mounts,
        attachment,
        restart: Restart::No,
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace: HOLDER_GRACE,
        ..plain(inputs, Role::Helper, names::helper(&site.name, names::HELPER_PSQL), &site.postgres.image)
    }
}

/// The same for a person at psql. It ends by itself once no psql runs in it, also when we are killed.
#[must_use]
pub fn psql_session(inputs: &Inputs<'_>, name: String) -> ContainerSpec {
    const WHILE_PSQL_RUNS: &str = "sleep 10; while grep -qsx psql /proc/[0-9]*/comm; do sleep 1; done";
    let spec = client(inputs);
    let mut labels = spec.labels.clone();
    labels.insert(LABEL_ROLE.to_owned(), Role::Session.word().to_owned());
    ContainerSpec {
        name,
        role: Role::Session,
        labels,
        entrypoint: ["sh", "-c", WHILE_PSQL_RUNS].map(str::to_owned).to_vec(),
        auto_remove: true,
        ..spec
    }
}

/// The host's own ssh client, which no stock image has, in PostgreSQL's image: it runs under its own
/// dynamic loader with its own libraries, whatever libc the image has. It listens at the socket
/// where a server of our own would, so that Odoo sees no difference. A broken connection ends it,
/// and the engine starts it again. The site file's pin is in the name of a mounted directory: another
/// one makes another tunnel.
pub(super) fn tunnel(inputs: &Inputs<'_>, choice: &Choice, external: &External, ssh: &Ssh) -> ContainerSpec {
    let site = inputs.site;
    let client = PathBuf::from(dirs::SSH_CLIENT).join(&choice.ssh_client);
    let spec = ContainerSpec {
        entrypoint: vec![format!("{CLIENT_MOUNT}/{LOADER}")],
        command: tunnel_command(external, ssh, SOCKET_DIRECTORY),
        user: Some("postgres".to_owned()),
        mounts: vec![
            volume_mount(names::socket_volume(&site.name), SOCKET_MOUNT),
            read_only_directory(client, CLIENT_MOUNT),
            read_only_directory(tunnel_directory(ssh), KEYS_MOUNT),
        ],
        attachment: Attachment::Network { name: names::network(&site.name), address: None },
        stop_grace: TUNNEL_GRACE,
        memory_bytes: Some(TUNNEL_MEMORY),
        healthcheck: Some(hardening::tunnel()),
        ..plain(inputs, Role::Tunnel, names::tunnel(&site.name), &site.postgres.image)
    };
    sealed(spec, &[])
}

/// Where the tunnel's files lie, relative to the site directory. What they say follows from the ssh
/// server and its pinned key, and so does the directory's name: the files from which a running
/// tunnel starts anew are not touched while others are tried.
#[must_use]
pub fn tunnel_directory(ssh: &Ssh) -> PathBuf {
    let pin = ssh.host_key.as_ref().map_or("", |key| key.as_str());
    PathBuf::from(dirs::TUNNEL).join(text_fingerprint(&format!("{}:{} {pin}", ssh.host, ssh.port)))
}

/// The next tunnel beside the one in use, as long as it is asked whether it leads to PostgreSQL. It
/// listens in its own memory, and psql runs in it.
#[must_use]
pub fn candidate(site: &SiteName, tunnel: &ContainerSpec, external: &External, ssh: &Ssh) -> ContainerSpec {
    let mut spec = tunnel.clone();
    spec.name = names::helper(site, names::HELPER_NEXT_TUNNEL);
    spec.role = Role::Helper;
    spec.labels.remove(LABEL_CONFIG);
    spec.labels.insert(LABEL_ROLE.to_owned(), Role::Helper.word().to_owned());
    spec.mounts.retain(|mount| mount.target != SOCKET_MOUNT);
    spec.command = tunnel_command(external, ssh, CANDIDATE_SOCKET);
    // How it ended the first time is what is to be told.
    spec.restart = Restart::No;
    spec.healthcheck = None;
    spec
}

/// The client under its own loader, listening in the directory `socket`.
fn tunnel_command(external: &External, ssh: &Ssh, socket: &str) -> Vec<String> {
    let client = format!("{CLIENT_MOUNT}/ssh");
    let loaded = ["--library-path", CLIENT_MOUNT, &client].map(str::to_owned);
    loaded.into_iter().chain(ssh_arguments(external, ssh, socket)).collect()
}

/// ssh(1), ssh_config(5). No configuration file of any machine has a say.
fn ssh_arguments(external: &External, ssh: &Ssh, socket: &str) -> Vec<String> {
    let forward = format!("{socket}/.s.PGSQL.5432:{}:{}", bracketed(&external.host), external.port);
    let mut arguments = ["-N", "-T", "-F", "/dev/null"].map(str::to_owned).to_vec();
    let options = [
        format!("IdentityFile={KEYS_MOUNT}/{}", tunnel_files::KEY),
        "IdentitiesOnly=yes".to_owned(),
        format!("UserKnownHostsFile={KEYS_MOUNT}/{}", tunnel_files::KNOWN_HOSTS),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "BatchMode=yes".to_owned(),
        "ConnectTimeout=20".to_owned(),
        "ServerAliveInterval=15".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "ExitOnForwardFailure=yes".to_owned(),
        // The socket that a killed client left behind is in the way of the next one.
        "StreamLocalBindUnlink=yes".to_owned(),
        // Odoo has another user than PostgreSQL's image; who comes is the server's question.
        "StreamLocalBindMask=0111".to_owned(),
    ];
    arguments.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
    let way = ["-p", &ssh.port.to_string(), "-l", ssh.user.as_str(), "-L", &forward, ssh.host.as_str()];
    arguments.extend(way.map(str::to_owned));
    arguments
}

/// An IPv6 address needs brackets before a port.
#[must_use]
pub fn bracketed(host: &HostName) -> String {
    if host.as_str().contains(':') { format!("[{host}]") } else { host.to_string() }
}

/// A one-off container as root in PostgreSQL's image that gives the tunnel's files to the user
/// `postgres`, whatever its number in this image.
#[must_use]
pub fn tunnel_owner(inputs: &Inputs<'_>, ssh: &Ssh) -> ContainerSpec {
    let mut mount = read_only_directory(tunnel_directory(ssh), TUNNEL_HELPER_MOUNT);
    mount.read_only = false;
    ContainerSpec {
        name: names::helper(&inputs.site.name, names::HELPER_TUNNEL),
        user: Some("0:0".to_owned()),
        capabilities: hardening::GIVE_AWAY.to_vec(),
        mounts: vec![mount],
        attachment: Attachment::None,
        ..client(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::parse;

    fn arguments(host: &str) -> String {
        let text = format!(
            "name: acme\ndomain: a.b\npostgres: {{ host: '{host}', port: 5433, \
             ssh: {{ host: gate.example.com, port: 2222, user: tunnel }} }}\n"
        );
        let external = parse::site(text).unwrap().postgres.external.unwrap();
        ssh_arguments(&external, external.ssh.as_ref().unwrap(), SOCKET_DIRECTORY).join(" ")
    }

    #[test]
    fn the_tunnel_trusts_one_key_and_asks_nobody() {
        let line = arguments("127.0.0.1");
        for word in ["StrictHostKeyChecking=yes", "BatchMode=yes", "ExitOnForwardFailure=yes"] {
            assert!(line.contains(word), "{line}");
        }
        let end = "-p 2222 -l tunnel -L /var/run/postgresql/.s.PGSQL.5432:127.0.0.1:5433 gate.example.com";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn an_ipv6_address_is_told_from_its_port() {
        assert!(arguments("2001:db8::5").contains(":[2001:db8::5]:5433 "));
    }
}
