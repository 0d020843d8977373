//! From a [`Site`] to the volumes, networks, containers and files it needs.

pub mod collation;
pub mod fingerprint;
pub mod hardening;
pub mod names;
pub mod server;
pub mod sizing;
pub mod spec;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use fingerprint::fingerprint;
use names::Slot;
use server::{OwnServer, Server};
use sizing::Sizing;
use spec::{
    Attachment, ContainerSpec, LABEL_CONFIG, LABEL_ROLE, LABEL_SITE, LABEL_SITE_ID, Mount, MountSource,
    NetworkSpec, Owner, PublishedPort, Restart, Role, Subnet, VolumeSpec,
};

use crate::name::{DbName, ImageRef, Port, SiteName};
use crate::render::libpq::{self, Endpoint};
use crate::render::nginx_conf::{CACHE_MOUNT, CONFIG_MOUNT, DATA_MOUNT, Host, Hsts, NginxConf, TLS_MOUNT};
use crate::render::odoo_conf::{OdooConf, OdooSecrets, Purpose, SOCKET_MOUNT, odoo_conf};
use crate::render::pg_hba::PG_HBA;
use crate::render::postgresql_conf::{postgresql_conf, settings, start_words};
use crate::site::{Database, Site};

/// Seconds that a stopping container gets. PostgreSQL writes a checkpoint; Odoo ends its requests.
pub const POSTGRES_GRACE: u32 = 120;
pub const ODOO_GRACE: u32 = 60;
pub const NGINX_GRACE: u32 = 30;
pub const TUNNEL_GRACE: u32 = 2;
pub const HOLDER_GRACE: u32 = 1;

/// Directories of the site directory that containers see, relative to it.
pub mod dirs {
    pub const POSTGRES: &str = "generated/postgres";
    pub const NGINX: &str = "generated/nginx";
    /// What a CA finds at `/.well-known/acme-challenge/`.
    pub const CHALLENGE: &str = "generated/nginx/challenge";
    pub const TLS: &str = "secrets/tls";
    /// One subdirectory a configuration of Odoo, named by fingerprint.
    pub const ODOO: &str = "generated/odoo";
    /// The host's ssh client with its libraries, one subdirectory a fingerprint.
    pub const SSH_CLIENT: &str = "generated/ssh";
    /// The tunnel's key and the host key that it trusts, one subdirectory an ssh server and its key.
    pub const TUNNEL: &str = "generated/tunnel";
}

/// Files of the site directory, relative to it.
pub mod files {
    pub const PG_HBA: &str = "generated/postgres/pg_hba.conf";
    pub const POSTGRESQL_CONF: &str = "generated/postgres/postgresql.conf";
    pub const NGINX_CANDIDATE: &str = "generated/nginx/candidate/nginx.conf";
    pub const NGINX_LIVE: &str = "generated/nginx/live/nginx.conf";
}

const POSTGRES_MOUNT: &str = "/etc/autoodoo/postgres";
const ODOO_CONF_MOUNT: &str = "/etc/odoo";
/// Files that a process may have open. Set by the shell before the server starts and not by the engine:
/// an engine that may not raise its own limit so far would refuse to start the container.
const LIMIT_FILES: &str = "ulimit -n 16384 2>/dev/null;";
/// Does nothing. A shell that waits removes what processes run in the container leave behind, which
/// `sleep` as process 1 would not.
const HOLD: [&str; 3] = ["sh", "-c", "sleep infinity & wait"];

/// What a plan has chosen before the stack can be spelt out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub subnet: Subnet,
    /// The generation of the data volumes in use.
    pub generation: u32,
    /// One a database, the site's first one first.
    pub odoos: Vec<Place>,
    pub nginx_slot: Slot,
    /// The certificate's directory under `secrets/tls`.
    pub certificate: String,
    /// Browsers trust it by themselves.
    pub certificate_trusted: bool,
    /// Another one for each change of Odoo's image: what nginx keeps of one's static files is never
    /// sent for the other's.
    pub static_version: String,
    /// The fingerprint of the host's ssh client; empty for a site that needs none.
    pub ssh_client: String,
}

/// Where the Odoo of a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub database: Database,
    /// Its number among all databases that the site ever had, from 0: the others keep their
    /// addresses when one goes.
    pub index: u8,
    pub slot: Slot,
}

impl Place {
    #[must_use]
    pub fn container(&self, site: &SiteName) -> String {
        self.container_in(site, self.slot)
    }

    #[must_use]
    pub fn container_in(&self, site: &SiteName, slot: Slot) -> String {
        names::odoo(site, (self.index > 0).then_some(&self.database.name), slot)
    }

    #[must_use]
    pub fn address(&self, subnet: Subnet) -> Ipv4Addr {
        subnet.host(odoo_host(self.index, self.slot))
    }
}

/// What the stack is made from, besides the choice.
pub struct Inputs<'a> {
    pub site: &'a Site,
    pub owner: &'a Owner,
    pub sizing: &'a Sizing,
    pub secrets: &'a OdooSecrets<'a>,
}

/// A container of Odoo and the configuration file it starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OdooContainer {
    pub spec: ContainerSpec,
    pub conf: OdooConf,
    /// Relative to the site directory.
    pub conf_directory: PathBuf,
}

/// The Odoo that answers requests for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OdooServer {
    pub place: Place,
    pub address: Ipv4Addr,
    pub container: OdooContainer,
}

/// The detailed target. All directories are relative to the site directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub site: SiteName,
    pub network: NetworkSpec,
    /// The copy of the ssh client for the tunnel; empty without one.
    pub ssh_client: String,
    pub server: Server,
    pub web_volume: VolumeSpec,
    /// None when Odoo reaches its server through the network.
    pub socket_volume: Option<VolumeSpec>,
    pub tmp_volume: VolumeSpec,
    /// Of the nginx slot in use.
    pub cache_volume: VolumeSpec,
    /// One a database.
    pub odoos: Vec<OdooServer>,
    /// Scheduled actions of every database.
    pub cron: OdooContainer,
    /// For `odoo …`, `shell` and for making the database.
    pub command: OdooContainer,
    pub front: ContainerSpec,
    pub nginx: ContainerSpec,
    pub nginx_test: ContainerSpec,
    pub nginx_conf: NginxConf,
}

impl Stack {
    /// Data first.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumeSpec> {
        let db = self.server.own().map(|own| &own.volume);
        let scratch = [&self.tmp_volume, &self.cache_volume];
        db.into_iter().chain([&self.web_volume]).chain(&self.socket_volume).chain(scratch)
    }
}

/// Last octets of the fixed addresses. They are fixed so that a reboot, in whatever order the
/// engine starts the containers, finds everybody where nginx looks for them.
#[must_use]
fn odoo_host(index: u8, slot: Slot) -> u8 {
    let first = if index == 0 { FIRST_ODOO_HOST } else { FURTHER_ODOO_HOSTS + 2 * (index - 1) };
    match slot {
        Slot::A => first,
        Slot::B => first + 1,
    }
}

/// The largest [`Place::index`]: addresses from 128 on are the engine's to give.
pub const LAST_INDEX: u8 = 50;
const FIRST_ODOO_HOST: u8 = 11;
const FURTHER_ODOO_HOSTS: u8 = 20;

/// The holder's address, at which nginx answers.
#[must_use]
pub fn front_address(subnet: Subnet) -> Ipv4Addr {
    subnet.host(FRONT_HOST)
}
const FRONT_HOST: u8 = 10;
const CRON_HOST: u8 = 13;

/// Spells out the whole stack.
#[must_use]
pub fn stack(inputs: &Inputs<'_>, choice: &Choice) -> Stack {
    let site = inputs.site;
    let volume = |name: String, role: &str| VolumeSpec { name, labels: labels(inputs.owner, role) };
    Stack {
        site: site.name.clone(),
        ssh_client: choice.ssh_client.clone(),
        network: NetworkSpec {
            name: names::network(&site.name),
            labels: labels(inputs.owner, "network"),
            subnet: choice.subnet,
        },
        server: match &site.postgres.external {
            None => Server::Own(Box::new(OwnServer {
                container: postgres(inputs, choice),
                conf: conf_of_postgres(inputs),
                volume: volume(names::db_volume(&site.name, choice.generation), "db"),
            })),
            Some(external) => Server::External(
                external.ssh.as_ref().map(|ssh| Box::new(server::tunnel(inputs, choice, external, ssh))),
            ),
        },
        web_volume: volume(names::web_volume(&site.name, choice.generation), "web"),
        socket_volume: Endpoint::of(&site.postgres)
            .is_socket()
            .then(|| volume(names::socket_volume(&site.name), "socket")),
        tmp_volume: volume(names::tmp_volume(&site.name), "tmp"),
        cache_volume: volume(names::cache_volume(&site.name, choice.nginx_slot), "cache"),
        odoos: choice.odoos.iter().map(|place| odoo_server(inputs, choice, place)).collect(),
        cron: cron(inputs, choice),
        command: command(inputs, choice),
        front: front(inputs, choice),
        nginx: nginx(inputs, choice),
        nginx_test: nginx_test(inputs, choice),
        nginx_conf: conf_of_nginx(inputs, choice),
    }
}

fn conf_of_nginx(inputs: &Inputs<'_>, choice: &Choice) -> NginxConf {
    let site = inputs.site;
    NginxConf {
        release: site.odoo.release,
        hosts: choice.odoos.iter().map(|place| nginx_host(place, choice.subnet)).collect(),
        https: site.listen.https,
        certificate: choice.certificate.clone(),
        tls_profile: site.tls_profile,
        gateway: choice.subnet.gateway(),
        static_version: choice.static_version.clone(),
        hsts: hsts(site, choice),
        upload_limit_mib: site.nginx.upload_limit_mib,
        manager: site.manager.clone(),
        proxy: site.proxy.clone(),
        sizing: inputs.sizing.nginx,
    }
}

/// Where browsers do not trust the certificate they would lock the visitor out; and with https at
/// another port, since they turn http into https at 443 (RFC 6797, section 8.3).
fn hsts(site: &Site, choice: &Choice) -> Hsts {
    let fit = choice.certificate_trusted && site.listen.https == Port::HTTPS;
    match (fit, site.nginx.hsts_subdomains) {
        (false, _) => Hsts::Off,
        (true, false) => Hsts::OneYear,
        (true, true) => Hsts::OneYearWithSubdomains,
    }
}

fn nginx_host(place: &Place, subnet: Subnet) -> Host {
    Host {
        names: place.database.names().cloned().collect(),
        database: place.database.name.clone(),
        odoo: place.address(subnet),
        other: Place { slot: place.slot.other(), ..place.clone() }.address(subnet),
    }
}

fn labels(owner: &Owner, role: &str) -> BTreeMap<String, String> {
    [(LABEL_SITE, owner.site.as_str()), (LABEL_SITE_ID, &owner.site_id), (LABEL_ROLE, role)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// A container with nothing particular about it, and with no right that it may do without.
fn plain(inputs: &Inputs<'_>, role: Role, name: String, image: &ImageRef) -> ContainerSpec {
    ContainerSpec {
        name,
        role,
        image: image.clone(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        env: BTreeMap::new(),
        user: None,
        labels: labels(inputs.owner, role.word()),
        mounts: Vec::new(),
        attachment: Attachment::None,
        ports: Vec::new(),
        restart: Restart::UnlessStopped,
        stop_signal: None,
        stop_grace: 10,
        shm_bytes: None,
        capabilities: Vec::new(),
        read_only_root: true,
        tmpfs: hardening::scratch(),
        pids: hardening::PIDS,
        memory_bytes: None,
        log: hardening::LOG,
        healthcheck: None,
        selinux_level: Some(hardening::selinux_level(&inputs.owner.site_id)),
        stdin: false,
        tty: false,
        auto_remove: false,
    }
}

/// Writes the fingerprint into the label, last of all.
fn sealed(mut spec: ContainerSpec, files: &[&str]) -> ContainerSpec {
    let print = fingerprint(&spec, files);
    spec.labels.insert(LABEL_CONFIG.to_owned(), print);
    spec
}

fn volume_mount(name: String, target: &str) -> Mount {
    Mount { source: MountSource::Volume(name), target: target.to_owned(), read_only: false }
}

fn read_only_directory(directory: impl Into<PathBuf>, target: &str) -> Mount {
    Mount { source: MountSource::Directory(directory.into()), target: target.to_owned(), read_only: true }
}

/// The path at which the image of this major declares its volume. 18 moved it and refuses the old one.
#[must_use]
pub fn postgres_data_mount(major: u32) -> &'static str {
    if major >= 18 { "/var/lib/postgresql" } else { "/var/lib/postgresql/data" }
}

/// What a reload is enough for; the file is therefore no part of the container's fingerprint.
fn conf_of_postgres(inputs: &Inputs<'_>) -> String {
    let major = inputs.site.postgres.major;
    let cluster = match major {
        18.. => format!("{}/{major}/docker", postgres_data_mount(major)),
        _ => postgres_data_mount(major).to_owned(),
    };
    let settings = settings(&inputs.sizing.postgres, major);
    postgresql_conf(&settings, &format!("{cluster}/postgresql.conf"))
}

/// PostgreSQL without a network. It starts under a lock on the data volume's root directory: two
/// postmasters on one volume destroy it, and process 1 in each container defeats postmaster.pid.
/// The image insists on a superuser password when it makes the cluster: it gets one that nobody
/// knows, since pg_hba.conf lets the superuser in by its system user alone.
fn postgres(inputs: &Inputs<'_>, choice: &Choice) -> ContainerSpec {
    let site = inputs.site;
    let data = postgres_data_mount(site.postgres.major);
    let guard = format!(
        "exec 9<{data} && flock -n 9 || \
         {{ echo 'another PostgreSQL is running on this volume' >&2; exit 75; }}; \
         [ -O {data} ] || \
         {{ echo \"the data belongs to user $(stat -c %u {data}), the image's postgres is $(id -u)\" >&2; exit 77; }}; \
         {LIMIT_FILES} \
         export POSTGRES_PASSWORD=\"$(head -c 32 /dev/urandom | base64)\"; \
         exec docker-entrypoint.sh \"$@\""
    );
    let hba_file = format!("hba_file={POSTGRES_MOUNT}/pg_hba.conf");
    let config_file = format!("config_file={POSTGRES_MOUNT}/postgresql.conf");
    let fixed = [&config_file, "listen_addresses=", &hba_file, "password_encryption=scram-sha-256"];
    let mut command = vec!["postgres".to_owned()];
    command.extend(fixed.into_iter().flat_map(|setting| ["-c".to_owned(), setting.to_owned()]));
    command.extend(start_words(&settings(&inputs.sizing.postgres, site.postgres.major)));
    let env = [("POSTGRES_INITDB_ARGS", "--data-checksums --encoding=UTF8")];
    let spec = ContainerSpec {
        entrypoint: ["sh", "-c", &guard, "sh"].map(str::to_owned).to_vec(),
        command,
        env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        mounts: vec![
            volume_mount(names::db_volume(&site.name, choice.generation), data),
            volume_mount(names::socket_volume(&site.name), SOCKET_MOUNT),
            read_only_directory(dirs::POSTGRES, POSTGRES_MOUNT),
        ],
        stop_grace: POSTGRES_GRACE,
        shm_bytes: Some(inputs.sizing.postgres.shm_bytes),
        memory_bytes: Some(inputs.sizing.memory.postgres.limit_bytes),
        ..plain(inputs, Role::Postgres, names::postgres(&site.name), &site.postgres.image)
    };
    sealed(hardening::postgres(spec, inputs.sizing.postgres.max_connections), &[PG_HBA])
}

/// Starts Odoo once PostgreSQL accepts connections. The image's own entrypoint would wait too, but up
/// to release 16 it hands the password of odoo.conf to Odoo as an argument, for every `ps` to see;
/// and while it waits it ignores the signal to stop.
///
/// /tmp outlives the container: what nobody has written to for days is removed at the start.
fn start_odoo(endpoint: &Endpoint) -> String {
    let ready = hardening::pg_isready(endpoint);
    format!(
        "{LIMIT_FILES} trap 'exit 143' TERM INT; \
         find /tmp -xdev -mindepth 1 -mtime +2 -delete 2>/dev/null; \
         until {ready}; do sleep 0.2; done; \
         exec odoo \"$@\""
    )
}

/// The Odoo of one database; the choice's own places do not count.
#[must_use]
pub fn odoo_server(inputs: &Inputs<'_>, choice: &Choice, place: &Place) -> OdooServer {
    let address = place.address(choice.subnet);
    let conf = conf(inputs, Purpose::Http, vec![place.database.name.clone()]);
    let name = place.container(&inputs.site.name);
    let container = odoo(inputs, choice, conf, Role::Odoo, name, Some(address));
    OdooServer { place: place.clone(), address, container }
}

fn cron(inputs: &Inputs<'_>, choice: &Choice) -> OdooContainer {
    let databases = choice.odoos.iter().map(|place| place.database.name.clone()).collect();
    let conf = conf(inputs, Purpose::Cron, databases);
    let address = choice.subnet.host(CRON_HOST);
    odoo(inputs, choice, conf, Role::Cron, names::cron(&inputs.site.name), Some(address))
}

fn command(inputs: &Inputs<'_>, choice: &Choice) -> OdooContainer {
    let conf = conf(inputs, Purpose::Command, vec![inputs.site.database.clone()]);
    odoo(inputs, choice, conf, Role::Session, names::helper(&inputs.site.name, "odoo"), None)
}

fn conf(inputs: &Inputs<'_>, purpose: Purpose, databases: Vec<DbName>) -> OdooConf {
    let site = inputs.site;
    OdooConf {
        release: site.odoo.release,
        purpose,
        endpoint: Endpoint::of(&site.postgres),
        databases,
        sizing: inputs.sizing.odoo.clone(),
        list_databases: site.manager.is_open(),
        smtp: site.smtp.clone(),
        options: site.odoo.options.clone(),
    }
}

/// Odoo in one of its purposes. The configuration directory is named by the fingerprint, so that
/// an old container that the engine restarts still finds the file it was made with.
fn odoo(
    inputs: &Inputs<'_>,
    choice: &Choice,
    conf: OdooConf,
    role: Role,
    name: String,
    address: Option<Ipv4Addr>,
) -> OdooContainer {
    let site = inputs.site;
    let endpoint = &conf.endpoint;
    let certificates = inputs.secrets.certificates;
    let socket = endpoint.is_socket().then(|| names::socket_volume(&site.name));
    let mut spec = ContainerSpec {
        entrypoint: ["sh", "-c", &start_odoo(endpoint), "odoo"].map(str::to_owned).to_vec(),
        env: libpq::environment(endpoint, certificates, ODOO_CONF_MOUNT),
        mounts: [
            volume_mount(names::web_volume(&site.name, choice.generation), "/var/lib/odoo"),
            volume_mount(names::tmp_volume(&site.name), "/tmp"),
        ]
        .into_iter()
        .chain(socket.map(|name| volume_mount(name, SOCKET_MOUNT)))
        .collect(),
        attachment: Attachment::Network { name: names::network(&site.name), address },
        stop_grace: ODOO_GRACE,
        memory_bytes: Some(match conf.purpose {
            Purpose::Http | Purpose::Command => inputs.sizing.memory.odoo.limit_bytes,
            Purpose::Cron => inputs.sizing.memory.cron.limit_bytes,
        }),
        ..plain(inputs, role, name, &site.odoo.image)
    };
    spec = hardening::odoo(spec, conf.purpose, site.odoo.release, endpoint);
    let conf_text = odoo_conf(&conf, inputs.secrets);
    let certificates = certificates.files().into_iter().map(|(_, text)| text);
    let files: Vec<&str> = std::iter::once(conf_text.expose()).chain(certificates).collect();
    spec = sealed(spec, &files);
    let conf_directory = PathBuf::from(dirs::ODOO).join(&spec.labels[LABEL_CONFIG]);
    spec.mounts.push(read_only_directory(conf_directory.clone(), ODOO_CONF_MOUNT));
    OdooContainer { spec, conf, conf_directory }
}

/// The holder of the published ports: while nginx is replaced, the ports stay open.
fn front(inputs: &Inputs<'_>, choice: &Choice) -> ContainerSpec {
    let site = inputs.site;
    let publish = |host_port: Port, container_port: Port| PublishedPort {
        host: site.listen.address,
        host_port,
        container_port,
    };
    let mut spec = ContainerSpec {
        entrypoint: HOLD.map(str::to_owned).to_vec(),
        user: Some(hardening::NOBODY.to_owned()),
        attachment: Attachment::Network {
            name: names::network(&site.name),
            address: Some(choice.subnet.host(FRONT_HOST)),
        },
        ports: vec![publish(site.listen.http, Port::HTTP), publish(site.listen.https, Port::HTTPS)],
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace: HOLDER_GRACE,
        ..plain(inputs, Role::Front, names::front(&site.name), &site.nginx.image)
    };
    // A new nginx image is no reason to close the ports: the holder only sleeps.
    let image = std::mem::replace(&mut spec.image, holder_image());
    spec = sealed(spec, &[]);
    spec.image = image;
    spec
}

/// Stands for "whatever image" in the holder's fingerprint.
fn holder_image() -> ImageRef {
    "any".parse().unwrap_or_else(|_| unreachable!("`any` is a valid reference"))
}

fn nginx(inputs: &Inputs<'_>, choice: &Choice) -> ContainerSpec {
    let site = inputs.site;
    let name = names::nginx(&site.name, choice.nginx_slot);
    sealed(hardening::nginx(nginx_with(inputs, choice, name, Role::Nginx, "live")), &[])
}

/// A one-off container that checks the candidate configuration in the real image, without a
/// network: with `reuseport` even a test in the live namespace would take connections and drop them.
fn nginx_test(inputs: &Inputs<'_>, choice: &Choice) -> ContainerSpec {
    let name = names::helper(&inputs.site.name, names::HELPER_NGINX_TEST);
    let mut spec = nginx_with(inputs, choice, name, Role::Helper, "candidate");
    spec.command.insert(0, "-t".to_owned());
    spec.attachment = Attachment::None;
    spec.restart = Restart::No;
    ContainerSpec { healthcheck: None, ..hardening::nginx(spec) }
}

/// Without the image's own entrypoint, whose scripts want to change files of the root directory.
const START_NGINX: &str = "exec nginx \"$@\"";

fn nginx_with(inputs: &Inputs<'_>, choice: &Choice, name: String, role: Role, which: &str) -> ContainerSpec {
    let site = inputs.site;
    let data = volume_mount(names::web_volume(&site.name, choice.generation), DATA_MOUNT);
    let conf = format!("{CONFIG_MOUNT}/{which}/nginx.conf");
    ContainerSpec {
        entrypoint: ["sh", "-c", &format!("{LIMIT_FILES} {START_NGINX}"), "nginx"]
            .map(str::to_owned)
            .to_vec(),
        command: ["-c", &conf, "-g", "daemon off;"].map(str::to_owned).to_vec(),
        mounts: vec![
            read_only_directory(dirs::NGINX, CONFIG_MOUNT),
            read_only_directory(dirs::TLS, TLS_MOUNT),
            volume_mount(names::cache_volume(&site.name, choice.nginx_slot), CACHE_MOUNT),
            Mount { read_only: true, ..data },
        ],
        attachment: Attachment::Container(names::front(&site.name)),
        stop_grace: NGINX_GRACE,
        memory_bytes: Some(inputs.sizing.memory.nginx.limit_bytes),
        ..plain(inputs, role, name, &site.nginx.image)
    }
}

/// The container in which a database is made: Odoo's image with the web volume, waiting for
/// commands; without a network unless the server is reached through it.
#[must_use]
pub fn database_maker(inputs: &Inputs<'_>, command: &OdooContainer) -> ContainerSpec {
    ContainerSpec {
        name: names::helper(&inputs.site.name, names::HELPER_INIT),
        role: Role::Helper,
        labels: labels(inputs.owner, Role::Helper.word()),
        entrypoint: HOLD.map(str::to_owned).to_vec(),
        attachment: if command.conf.endpoint.is_socket() {
            Attachment::None
        } else {
            command.spec.attachment.clone()
        },
        restart: Restart::No,
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace: HOLDER_GRACE,
        ..command.spec.clone()
    }
}

/// A one-off container as root in Odoo's image that gives a configuration directory to the user
/// `odoo`, whatever its number in this image.
#[must_use]
pub fn conf_owner(inputs: &Inputs<'_>) -> ContainerSpec {
    let mut mount = read_only_directory(dirs::ODOO, "/conf");
    mount.read_only = false;
    ContainerSpec {
        entrypoint: HOLD.map(str::to_owned).to_vec(),
        user: Some("0:0".to_owned()),
        capabilities: hardening::GIVE_AWAY.to_vec(),
        mounts: vec![mount],
        restart: Restart::No,
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace: HOLDER_GRACE,
        ..plain(
            inputs,
            Role::Helper,
            names::helper(&inputs.site.name, names::HELPER_CONF),
            &inputs.site.odoo.image,
        )
    }
}
