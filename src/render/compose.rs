//! A Compose file of the stack, for people who want to leave or to look.
//!
//! It uses the site's volumes and files as `up` made them and makes neither: data volumes are
//! `external`. Its containers carry none of our labels, so that autoodoo never mistakes them for
//! its own.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::stack::server::Server;
use crate::stack::spec::{
    Attachment, ContainerSpec, Healthcheck, LABEL_SITE, LogRotation, Mount, MountSource, Restart,
};
use crate::stack::{OdooServer, Stack};

const HEAD: &str = "\
# Written by `autoodoo export compose`. Start it with `docker compose -f FILE up -d` after
# `autoodoo down`; both at once would want the same data.
";

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    services: BTreeMap<String, Service>,
    networks: BTreeMap<&'static str, Network<'a>>,
    volumes: BTreeMap<&'a str, Volume<'a>>,
}

#[derive(Serialize)]
struct Service {
    image: String,
    container_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    restart: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_mode: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<&'static str, Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<ServiceVolume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    cap_drop: [&'static str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_add: Vec<&'static str>,
    security_opt: [&'static str; 1],
    read_only: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tmpfs: Vec<String>,
    pids_limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memswap_limit: Option<u64>,
    logging: Logging,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    stop_grace_period: String,
}

#[derive(Serialize)]
struct Logging {
    driver: &'static str,
    options: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Check {
    test: [String; 2],
    interval: String,
    timeout: String,
    start_period: String,
    retries: u32,
}

#[derive(Serialize)]
struct Address {
    ipv4_address: String,
}

#[derive(Serialize)]
struct ServiceVolume {
    r#type: &'static str,
    source: String,
    target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
}

#[derive(Serialize)]
struct Network<'a> {
    name: &'a str,
    ipam: Ipam,
}

#[derive(Serialize)]
struct Ipam {
    config: [IpamConfig; 1],
}

#[derive(Serialize)]
struct IpamConfig {
    subnet: String,
    gateway: String,
    ip_range: String,
}

#[derive(Serialize)]
struct Volume<'a> {
    name: &'a str,
    external: bool,
}

/// The file's text. `root` is the site directory.
pub fn compose(stack: &Stack, root: &Path) -> Result<String, serde_yaml::ser::Error> {
    let service = |spec: &ContainerSpec, depends_on: &[&'static str]| service(spec, depends_on, root);
    let subnet = stack.network.subnet;
    let ipam = Ipam {
        config: [IpamConfig {
            subnet: subnet.to_string(),
            gateway: subnet.gateway().to_string(),
            ip_range: subnet.dynamic_range(),
        }],
    };
    let odoos: Vec<String> = stack.odoos.iter().map(service_name).collect();
    // The service through which Odoo reaches its database, if any runs here.
    let server = match &stack.server {
        Server::Own(own) => Some(("postgres", &own.container)),
        Server::External(tunnel) => tunnel.as_deref().map(|tunnel| ("tunnel", tunnel)),
    };
    let database: Vec<&'static str> = server.iter().map(|(name, _)| *name).collect();
    let mut services: BTreeMap<String, Service> = [
        ("cron", service(&stack.cron.spec, &database)),
        ("front", service(&stack.front, &[])),
        ("nginx", service(&stack.nginx, &["front"])),
    ]
    .map(|(name, service)| (name.to_owned(), service))
    .into();
    for odoo in &stack.odoos {
        services.insert(service_name(odoo), service(&odoo.container.spec, &database));
    }
    services.extend(server.map(|(name, spec)| (name.to_owned(), service(spec, &[]))));
    if let Some(nginx) = services.get_mut("nginx") {
        nginx.depends_on.extend(odoos);
    }
    let file = File {
        name: stack.network.labels.get(LABEL_SITE).unwrap_or(&stack.network.name),
        services,
        networks: [("site", Network { name: &stack.network.name, ipam })].into(),
        volumes: stack
            .volumes()
            .map(|volume| (volume.name.as_str(), Volume { name: &volume.name, external: true }))
            .collect(),
    };
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&file)?))
}

/// `odoo`, or `odoo-DATABASE` of a further database; Compose allows the characters of both.
fn service_name(odoo: &OdooServer) -> String {
    match odoo.place.index {
        0 => "odoo".to_owned(),
        _ => format!("odoo-{}", odoo.place.database.name),
    }
}

fn service(spec: &ContainerSpec, depends_on: &[&'static str], root: &Path) -> Service {
    let (network_mode, networks) = match &spec.attachment {
        Attachment::None => (Some("none".to_owned()), BTreeMap::new()),
        Attachment::Container(_) => (Some("service:front".to_owned()), BTreeMap::new()),
        Attachment::Network { address, .. } => {
            let address = address.map(|address| ("site", Address { ipv4_address: address.to_string() }));
            (None, address.into_iter().collect())
        }
    };
    Service {
        image: spec.image.to_string(),
        container_name: spec.name.clone(),
        entrypoint: spec.entrypoint.iter().map(|word| escaped(word)).collect(),
        command: spec.command.iter().map(|word| escaped(word)).collect(),
        environment: spec.env.iter().map(|(key, value)| (key.clone(), escaped(value))).collect(),
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        restart: match spec.restart {
            Restart::No => "no",
            Restart::UnlessStopped => "unless-stopped",
        },
        network_mode,
        networks,
        ports: spec
            .ports
            .iter()
            .map(|port| {
                format!(
                    "{}:{}",
                    std::net::SocketAddr::new(port.host, port.host_port.get()),
                    port.container_port
                )
            })
            .collect(),
        volumes: spec.mounts.iter().map(|mount| volume(mount, root)).collect(),
        user: spec.user.clone(),
        cap_drop: ["ALL"],
        cap_add: spec.capabilities.iter().map(|capability| capability.word()).collect(),
        security_opt: ["no-new-privileges:true"],
        read_only: spec.read_only_root,
        tmpfs: spec.tmpfs.iter().map(|tmpfs| format!("{}:size={}", tmpfs.target, tmpfs.size_bytes)).collect(),
        pids_limit: spec.pids,
        mem_limit: spec.memory_bytes,
        memswap_limit: spec.memory_bytes,
        logging: logging(spec.log),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        shm_size: spec.shm_bytes,
        stop_signal: spec.stop_signal.clone(),
        stop_grace_period: format!("{}s", spec.stop_grace),
    }
}

/// Docker's own files; for another driver, the owner of the file changes it.
fn logging(log: LogRotation) -> Logging {
    let options = [("max-size", log.file_bytes.to_string()), ("max-file", log.files.to_string())];
    Logging { driver: "json-file", options: options.into() }
}

fn healthcheck(check: &Healthcheck) -> Check {
    let seconds = |number: u32| format!("{number}s");
    Check {
        test: ["CMD-SHELL".to_owned(), escaped(&check.script)],
        interval: seconds(check.interval),
        timeout: seconds(check.timeout),
        start_period: seconds(check.start_period),
        retries: check.retries,
    }
}

/// Compose replaces `$NAME` in every value; `$$` is a dollar.
fn escaped(word: &str) -> String {
    word.replace('$', "$$")
}

fn volume(mount: &Mount, root: &Path) -> ServiceVolume {
    let (kind, source) = match &mount.source {
        MountSource::Volume(name) => ("volume", name.clone()),
        MountSource::Directory(path) => ("bind", escaped(&root.join(path).display().to_string())),
    };
    ServiceVolume { r#type: kind, source, target: mount.target.clone(), read_only: mount.read_only }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::libpq::Certificates;
    use crate::render::odoo_conf::OdooSecrets;
    use crate::secret::Secret;
    use crate::site::parse;
    use crate::stack::names::Slot;
    use crate::stack::sizing::{Capacity, Demand, size};
    use crate::stack::spec::{Owner, Subnet};
    use crate::stack::{Choice, Inputs, Place, stack};

    /// The sample that people read in the repository.
    const GOLDEN: &str = "compose/compose.yaml";

    fn sample(root: &str) -> String {
        let site = parse::site(
            b"name: acme\ndomain: odoo.example.com\nodoo: {image: 'docker.io/library/odoo:19.0'}\n\
              postgres: {image: 'docker.io/library/postgres:17'}\nnginx: {image: 'docker.io/library/nginx:stable'}\n",
        )
        .unwrap();
        let sizing = size(Capacity { cpus: 2, memory_bytes: 4 << 30, rotational: false }, Demand::of(&site));
        let owner = Owner { site: site.name.to_string(), site_id: "id1".into() };
        let (password, hash) = (Secret::new("the-password"), Secret::new("the-hash"));
        let secrets = OdooSecrets {
            database_password: &password,
            master_password_hash: &hash,
            smtp_password: None,
            certificates: &Certificates::default(),
        };
        let inputs = Inputs { site: &site, owner: &owner, sizing: &sizing, secrets: &secrets };
        let choice = Choice {
            subnet: Subnet::around([10, 213, 7, 0].into()),
            generation: 1,
            odoos: vec![Place { database: site.databases().remove(0), index: 0, slot: Slot::A }],
            nginx_slot: Slot::A,
            certificate: "local-1".into(),
            certificate_trusted: false,
            static_version: "1".into(),
            ssh_client: String::new(),
        };
        compose(&stack(&inputs, &choice), Path::new(root)).unwrap()
    }

    /// After a change that is meant, write the file anew and look at what `git diff` says:
    /// `UPDATE_GOLDEN=1 cargo test --lib render::compose`
    #[test]
    fn the_sample_in_the_repository_is_what_export_writes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
        let text = sample("/srv/acme");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == golden,
            "{GOLDEN} is out of date; write it anew with `UPDATE_GOLDEN=1 cargo test --lib render::compose`.\n{text}"
        );
    }

    #[test]
    fn it_holds_no_secret_and_no_label_of_ours() {
        let text = sample("/srv/acme");
        for absent in ["the-password", "the-hash", "autoodoo.site", "labels:"] {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    /// Compose would put the value of a variable there.
    #[test]
    fn dollars_are_kept_from_compose() {
        let text = sample("/srv/$acme");
        assert!(text.contains("/srv/$$acme/generated/nginx"), "{text}");
        assert!(text.contains("\"$$@\""), "{text}");
        assert!(!text.replace("$$", "").contains('$'), "{text}");
    }
}
