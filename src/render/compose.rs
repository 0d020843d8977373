//! A Compose file of the stack, for people who want to leave or to look.
//!
//! It uses the site's volumes and files as `up` made them and makes neither: data volumes are
//! `external`. Its containers carry none of our labels, so that autoodoo never mistakes them for
//! its own.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::stack::Stack;
use crate::stack::spec::{Attachment, ContainerSpec, Mount, MountSource, Restart};

const HEAD: &str = "\
# Written by `autoodoo export compose`. Start it with `docker compose -f FILE up -d` after
# `autoodoo down`; both at once would want the same data, and PostgreSQL refuses the second.
";

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    services: BTreeMap<&'static str, Service>,
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
    depends_on: Vec<&'static str>,
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
    shm_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    stop_grace_period: String,
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
    let volumes = [&stack.db_volume, &stack.web_volume, &stack.socket_volume];
    let file = File {
        name: &stack.network.name,
        services: [
            ("postgres", service(&stack.postgres, &[])),
            ("odoo", service(&stack.odoo.spec, &["postgres"])),
            ("cron", service(&stack.cron.spec, &["postgres"])),
            ("front", service(&stack.front, &[])),
            ("nginx", service(&stack.nginx, &["front", "odoo"])),
        ]
        .into(),
        networks: [("site", Network { name: &stack.network.name, ipam })].into(),
        volumes: volumes
            .into_iter()
            .map(|volume| (volume.name.as_str(), Volume { name: &volume.name, external: true }))
            .collect(),
    };
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&file)?))
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
        environment: spec.env.clone(),
        depends_on: depends_on.to_vec(),
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
        shm_size: spec.shm_bytes,
        stop_signal: spec.stop_signal.clone(),
        stop_grace_period: format!("{}s", spec.stop_grace),
    }
}

/// Compose replaces `$NAME` in every value; `$$` is a dollar.
fn escaped(word: &str) -> String {
    word.replace('$', "$$")
}

fn volume(mount: &Mount, root: &Path) -> ServiceVolume {
    let (kind, source) = match &mount.source {
        MountSource::Volume(name) => ("volume", name.clone()),
        MountSource::Directory(path) => ("bind", root.join(path).display().to_string()),
    };
    ServiceVolume { r#type: kind, source, target: mount.target.clone(), read_only: mount.read_only }
}
