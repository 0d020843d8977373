//! From the engine's answers to our own types. Only the fields that count are read, and words that
//! are not known are let pass: a foreign container in an odd state must not stop anybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::create::Traits;
use crate::name::Port;
use crate::observed::{
    Connected, Container, ContainerSummary, EngineKind, Health, Image, Mounted, Network, RunState, Volume,
};
use crate::stack::spec::{MountSource, PublishedPort, Restart};

type Labels = Option<BTreeMap<String, String>>;

/// What the engine says about itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiAbout {
    logging_driver: Option<String>,
    security_options: Option<Vec<String>>,
}

impl ApiAbout {
    pub(super) fn traits(&self, kind: EngineKind) -> Traits {
        let options = self.security_options.iter().flatten();
        Traits {
            kind,
            selinux: options.flat_map(|option| option.split(',')).any(|part| part == "name=selinux"),
            json_file_log: self.logging_driver.as_deref() == Some("json-file"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiImage {
    id: String,
    repo_digests: Option<Vec<String>>,
    size: u64,
    config: Option<ApiImageConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiImageConfig {
    env: Option<Vec<String>>,
}

impl From<ApiImage> for Image {
    fn from(image: ApiImage) -> Image {
        let env = image.config.and_then(|config| config.env).unwrap_or_default();
        let split = |text: &String| text.split_once('=').map(|(key, value)| (key.into(), value.into()));
        Image {
            id: with_algorithm(image.id),
            repo_digests: image.repo_digests.unwrap_or_default(),
            env: env.iter().filter_map(split).collect(),
            size: image.size,
        }
    }
}

/// Podman leaves out the algorithm in places.
fn with_algorithm(id: String) -> String {
    if id.contains(':') { id } else { format!("sha256:{id}") }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiNetwork {
    id: String,
    name: String,
    labels: Labels,
    #[serde(rename = "IPAM")]
    ipam: Option<ApiIpam>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiIpam {
    config: Option<Vec<ApiSubnet>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiSubnet {
    subnet: Option<String>,
}

impl From<ApiNetwork> for Network {
    fn from(network: ApiNetwork) -> Network {
        let ranges = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Network {
            id: network.id,
            name: network.name,
            labels: network.labels.unwrap_or_default(),
            subnets: ranges.into_iter().filter_map(|range| range.subnet).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiVolumes {
    volumes: Option<Vec<ApiVolume>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiVolume {
    name: String,
    labels: Labels,
    #[serde(default)]
    mountpoint: PathBuf,
}

impl From<ApiVolumes> for Vec<Volume> {
    fn from(list: ApiVolumes) -> Vec<Volume> {
        let ours = |volume: ApiVolume| Volume {
            name: volume.name,
            labels: volume.labels.unwrap_or_default(),
            directory: volume.mountpoint,
        };
        list.volumes.unwrap_or_default().into_iter().map(ours).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiSummary {
    id: String,
    names: Option<Vec<String>>,
    labels: Labels,
    state: String,
    ports: Option<Vec<ApiPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiPort {
    #[serde(rename = "IP")]
    ip: Option<String>,
    public_port: Option<u16>,
}

impl From<ApiSummary> for ContainerSummary {
    fn from(summary: ApiSummary) -> ContainerSummary {
        let running = is_running(&summary.state);
        ContainerSummary {
            name: own_name(&summary.names.unwrap_or_default()),
            id: summary.id,
            labels: summary.labels.unwrap_or_default(),
            running,
            // Podman lists the ports of stopped containers too; those are free.
            host_ports: if running { taken(summary.ports.unwrap_or_default()) } else { Vec::new() },
        }
    }
}

/// Docker lists legacy links as `/other/alias` among the names.
fn own_name(names: &[String]) -> String {
    let bare = |name: &String| name.trim_start_matches('/').to_owned();
    names.iter().map(bare).find(|name| !name.contains('/')).unwrap_or_default()
}

/// What is taken on the host, once each.
fn taken(ports: Vec<ApiPort>) -> Vec<SocketAddr> {
    let address = |ip: Option<String>| match ip.as_deref() {
        None | Some("") => Some(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Some(text) => text.parse().ok(),
    };
    let mut taken: Vec<SocketAddr> = ports
        .into_iter()
        .filter_map(|port| Some(SocketAddr::new(address(port.ip)?, port.public_port?)))
        .collect();
    taken.retain(|address| address.port() != 0);
    taken.sort_unstable();
    taken.dedup();
    taken
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiContainer {
    id: String,
    name: String,
    image: String,
    config: ApiConfig,
    state: ApiState,
    restart_count: Option<u64>,
    mounts: Option<Vec<ApiMount>>,
    host_config: ApiHostConfig,
    network_settings: Option<ApiNetworkSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiConfig {
    image: Option<String>,
    labels: Labels,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiState {
    status: String,
    exit_code: Option<i64>,
    health: Option<ApiHealth>,
    started_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiHealth {
    status: Option<String>,
    log: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiMount {
    #[serde(rename = "Type")]
    kind: String,
    name: Option<String>,
    source: Option<String>,
    destination: String,
    #[serde(rename = "RW")]
    writable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiHostConfig {
    network_mode: Option<String>,
    restart_policy: Option<ApiRestartPolicy>,
    port_bindings: Option<BTreeMap<String, Option<Vec<ApiBinding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiRestartPolicy {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiBinding {
    host_ip: Option<String>,
    host_port: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiNetworkSettings {
    networks: Option<BTreeMap<String, ApiEndpoint>>,
}

#[derive(Deserialize)]
struct ApiEndpoint {
    #[serde(rename = "IPAddress")]
    current: Option<String>,
    #[serde(rename = "IPAMConfig")]
    wanted: Option<ApiFixed>,
}

#[derive(Deserialize)]
struct ApiFixed {
    #[serde(rename = "IPv4Address")]
    address: Option<String>,
}

impl From<ApiContainer> for Container {
    fn from(container: ApiContainer) -> Container {
        let state = run_state(&container.state.status);
        let ended = !matches!(state, RunState::Created | RunState::Running | RunState::Paused);
        Container {
            id: container.id,
            name: container.name.trim_start_matches('/').to_owned(),
            image: container.config.image.unwrap_or_default(),
            image_id: with_algorithm(container.image),
            labels: container.config.labels.unwrap_or_default(),
            state,
            exit_code: container.state.exit_code.filter(|_| ended),
            health: container.state.health.filter(|_| state == RunState::Running).and_then(health),
            restart_count: container.restart_count.unwrap_or(0),
            started_at: container.state.started_at.filter(|time| !time.starts_with("0001-")),
            mounts: container.mounts.unwrap_or_default().into_iter().filter_map(mounted).collect(),
            connected: connected(
                container.host_config.network_mode.as_deref().unwrap_or_default(),
                container.network_settings,
            ),
            ports: published(container.host_config.port_bindings.unwrap_or_default()),
            restart: restart(container.host_config.restart_policy),
        }
    }
}

fn is_running(status: &str) -> bool {
    matches!(run_state(status), RunState::Running | RunState::Paused | RunState::Restarting)
        || status == "stopping"
}

/// Docker's words, and those of Podman that reach its Docker-like interface.
fn run_state(status: &str) -> RunState {
    match status {
        "created" | "configured" | "initialized" => RunState::Created,
        "running" => RunState::Running,
        "paused" => RunState::Paused,
        "restarting" => RunState::Restarting,
        "exited" | "stopped" => RunState::Exited,
        _ => RunState::Other,
    }
}

/// Podman without systemd says `starting` for ever and makes no check: without one there is nothing
/// to say.
fn health(health: ApiHealth) -> Option<Health> {
    let checked = health.log.is_some_and(|log| !log.is_empty());
    match health.status.as_deref() {
        Some("healthy") => Some(Health::Healthy),
        Some("unhealthy") => Some(Health::Unhealthy),
        Some("starting") if checked => Some(Health::Starting),
        _ => None,
    }
}

/// `None` for mounts that are neither a volume nor a directory of the host.
fn mounted(mount: ApiMount) -> Option<Mounted> {
    let source = match mount.kind.as_str() {
        "volume" => MountSource::Volume(mount.name?),
        "bind" => MountSource::Directory(PathBuf::from(mount.source?)),
        _ => return None,
    };
    Some(Mounted { source, target: mount.destination, read_only: !mount.writable })
}

fn connected(mode: &str, settings: Option<ApiNetworkSettings>) -> Connected {
    if mode == "none" {
        return Connected::None;
    }
    if let Some(id) = mode.strip_prefix("container:") {
        return Connected::Container(id.to_owned());
    }
    let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
    Connected::Networks(networks.into_iter().map(|(name, endpoint)| (name, address(endpoint))).collect())
}

/// The fixed address, which a stopped container has too, or else the current one.
fn address(endpoint: ApiEndpoint) -> Option<Ipv4Addr> {
    let fixed = endpoint.wanted.and_then(|fixed| fixed.address);
    let parsed = |text: String| text.parse().ok();
    fixed.and_then(parsed).or_else(|| endpoint.current.and_then(parsed))
}

/// TCP ports in a stable order.
fn published(bindings: BTreeMap<String, Option<Vec<ApiBinding>>>) -> Vec<PublishedPort> {
    let mut ports: Vec<PublishedPort> = bindings
        .into_iter()
        .filter_map(|(key, bindings)| Some((key.strip_suffix("/tcp")?.parse().ok()?, bindings?)))
        .flat_map(|(port, bindings)| bindings.into_iter().filter_map(move |binding| bound(port, &binding)))
        .collect();
    ports.sort_by_key(|port| (port.container_port, port.host_port, port.host));
    ports
}

fn bound(container_port: Port, binding: &ApiBinding) -> Option<PublishedPort> {
    let everywhere = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let host = match binding.host_ip.as_deref() {
        None | Some("") => everywhere,
        Some(text) => text.parse().ok()?,
    };
    Some(PublishedPort { host, host_port: binding.host_port.as_ref()?.parse().ok()?, container_port })
}

/// Anything but `no` brings a container back by itself.
fn restart(policy: Option<ApiRestartPolicy>) -> Restart {
    match policy.and_then(|policy| policy.name).as_deref() {
        None | Some("" | "no" | "never") => Restart::No,
        Some(_) => Restart::UnlessStopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(json: &str) -> Container {
        serde_json::from_str::<ApiContainer>(json).unwrap().into()
    }

    #[test]
    fn a_container_of_docker() {
        let container = inspected(
            r#"{"Id":"abc","Name":"/acme-front","Image":"sha256:12","RestartCount":2,
                "Config":{"Image":"nginx:1","Labels":{"autoodoo.site":"acme"}},
                "State":{"Status":"exited","ExitCode":137,"StartedAt":"2026-01-02T03:04:05.6Z"},
                "Mounts":[{"Type":"volume","Name":"v","Source":"/x","Destination":"/v","RW":true},
                          {"Type":"bind","Source":"/srv/a","Destination":"/a","RW":false},
                          {"Type":"tmpfs","Source":"","Destination":"/t","RW":true}],
                "HostConfig":{"NetworkMode":"acme","RestartPolicy":{"Name":"unless-stopped"},
                  "PortBindings":{"443/tcp":[{"HostIp":"127.0.0.1","HostPort":"8443"}],
                                  "80/tcp":[{"HostIp":"","HostPort":"8080"}],"53/udp":null}},
                "NetworkSettings":{"Networks":{"acme":{"IPAddress":"",
                  "IPAMConfig":{"IPv4Address":"10.1.2.3"}}}}}"#,
        );
        insta::assert_debug_snapshot!(container, @r#"
        Container {
            id: "abc",
            name: "acme-front",
            image: "nginx:1",
            image_id: "sha256:12",
            labels: {
                "autoodoo.site": "acme",
            },
            state: Exited,
            exit_code: Some(
                137,
            ),
            health: None,
            restart_count: 2,
            started_at: Some(
                "2026-01-02T03:04:05.6Z",
            ),
            mounts: [
                Mounted {
                    source: Volume(
                        "v",
                    ),
                    target: "/v",
                    read_only: false,
                },
                Mounted {
                    source: Directory(
                        "/srv/a",
                    ),
                    target: "/a",
                    read_only: true,
                },
            ],
            connected: Networks(
                {
                    "acme": Some(
                        10.1.2.3,
                    ),
                },
            ),
            ports: [
                PublishedPort {
                    host: 0.0.0.0,
                    host_port: Port(
                        8080,
                    ),
                    container_port: Port(
                        80,
                    ),
                },
                PublishedPort {
                    host: 127.0.0.1,
                    host_port: Port(
                        8443,
                    ),
                    container_port: Port(
                        443,
                    ),
                },
            ],
            restart: UnlessStopped,
        }
        "#);
    }

    #[test]
    fn nulls_and_absent_fields_are_let_pass() {
        let container = inspected(
            r#"{"Id":"abc","Name":"a","Image":"12","Config":{"Labels":null},
                "State":{"Status":"running","ExitCode":0,"StartedAt":"0001-01-01T00:00:00Z"},
                "HostConfig":{"NetworkMode":"container:def","PortBindings":null}}"#,
        );
        assert_eq!((container.exit_code, container.started_at), (None, None));
        assert_eq!(container.connected, Connected::Container("def".into()));
        assert_eq!(container.restart, Restart::No);
        assert_eq!(container.image_id, "sha256:12");
    }

    #[test]
    fn an_engine_about_itself() {
        let traits = |json: &str| serde_json::from_str::<ApiAbout>(json).unwrap().traits(EngineKind::Docker);
        let plain =
            traits(r#"{"LoggingDriver":"json-file","SecurityOptions":["name=seccomp,profile=default"]}"#);
        assert_eq!((plain.selinux, plain.json_file_log), (false, true));
        let other =
            traits(r#"{"LoggingDriver":"journald","SecurityOptions":["name=seccomp","name=selinux"]}"#);
        assert_eq!((other.selinux, other.json_file_log), (true, false));
        let silent = traits("{}");
        assert_eq!((silent.selinux, silent.json_file_log), (false, false));
    }

    #[test]
    fn health_is_what_a_check_has_said() {
        let health = |json: &str| {
            let state = format!(r#"{{"Status":"running","Health":{json}}}"#);
            inspected(&format!(
                r#"{{"Id":"1","Name":"a","Image":"1","Config":{{}},"State":{state},"HostConfig":{{}}}}"#
            ))
            .health
        };
        assert_eq!(health(r#"{"Status":"healthy","Log":[{"ExitCode":0}]}"#), Some(Health::Healthy));
        assert_eq!(health(r#"{"Status":"unhealthy","Log":[]}"#), Some(Health::Unhealthy));
        assert_eq!(health(r#"{"Status":"starting","Log":[{"ExitCode":1}]}"#), Some(Health::Starting));
        assert_eq!(health(r#"{"Status":"starting","Log":null}"#), None);
        assert_eq!(health(r#"{"Status":"","Log":null}"#), None);
        assert_eq!(health("null"), None);
    }

    #[test]
    fn a_foreign_state_does_not_hide_the_others() {
        let list: Vec<ApiSummary> = serde_json::from_str(
            r#"[{"Id":"1","Names":["/b/alias","/a"],"Labels":null,"State":"stopped","Ports":[{"PublicPort":80}]},
                {"Id":"2","Names":["/c"],"Labels":{},"State":"zebra","Ports":null},
                {"Id":"3","Names":["/d"],"Labels":{},"State":"running",
                 "Ports":[{"PublicPort":80},{"IP":"0.0.0.0","PublicPort":80},{"PrivatePort":9},
                          {"IP":"127.0.0.2","PublicPort":80}]}]"#,
        )
        .unwrap();
        let seen: Vec<_> = list
            .into_iter()
            .map(ContainerSummary::from)
            .map(|summary| (summary.name, summary.running, summary.host_ports))
            .collect();
        assert_eq!(
            seen,
            [
                ("a".into(), false, vec![]),
                ("c".into(), false, vec![]),
                ("d".into(), true, vec!["0.0.0.0:80".parse().unwrap(), "127.0.0.2:80".parse().unwrap()])
            ]
        );
    }

    #[test]
    fn images_networks_and_volumes() {
        let image: ApiImage =
            serde_json::from_str(r#"{"Id":"12","RepoDigests":null,"Size":5,"Config":{"Env":["A=b=c","B"]}}"#)
                .unwrap();
        let image = Image::from(image);
        assert_eq!(image.id, "sha256:12");
        assert_eq!(image.env, BTreeMap::from([("A".into(), "b=c".into())]));

        let network: ApiNetwork = serde_json::from_str(
            r#"{"Id":"1","Name":"n","Labels":null,"IPAM":{"Config":[{"Subnet":"10.0.0.0/24"},{}]}}"#,
        )
        .unwrap();
        assert_eq!(Network::from(network).subnets, ["10.0.0.0/24"]);

        let none: ApiVolumes = serde_json::from_str(r#"{"Volumes":null,"Warnings":null}"#).unwrap();
        assert!(Vec::<Volume>::from(none).is_empty());
    }
}
