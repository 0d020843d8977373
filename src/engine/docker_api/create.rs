//! From our specifications to the engine's request bodies. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, ExecConfig, HealthConfig, HostConfig,
    HostConfigLogConfig, Ipam, IpamConfig, Mount as ApiMount, MountType, NetworkingConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum, VolumeCreateRequest,
};
use serde::Serialize;

use super::attach::DETACH_KEYS;
use crate::engine::Exec;
use crate::observed::EngineKind;
use crate::stack::spec::{
    Attachment, ContainerSpec, Healthcheck, LogRotation, Mount, MountSource, NetworkSpec, PublishedPort,
    Restart, Tmpfs, VolumeSpec,
};

/// bollard's type lacks `CheckDuplicate`, without which Docker before 25 makes a second network of
/// the same name.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkBody {
    name: String,
    driver: &'static str,
    check_duplicate: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    labels: HashMap<String, String>,
}

pub(super) fn network(spec: &NetworkSpec) -> NetworkBody {
    let range = IpamConfig {
        subnet: Some(spec.subnet.to_string()),
        gateway: Some(spec.subnet.gateway().to_string()),
        ip_range: Some(spec.subnet.dynamic_range()),
        ..IpamConfig::default()
    };
    NetworkBody {
        name: spec.name.clone(),
        driver: "bridge",
        check_duplicate: true,
        ipam: Ipam { config: Some(vec![range]), ..Ipam::default() },
        labels: to_hash(&spec.labels),
    }
}

pub(super) fn volume(spec: &VolumeSpec) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: Some("local".into()),
        labels: Some(to_hash(&spec.labels)),
        ..VolumeCreateRequest::default()
    }
}

/// What a container's request depends on besides its specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    pub kind: EngineKind,
    /// It labels processes and files.
    pub selinux: bool,
    /// Its usual log is a file that grows for ever unless told otherwise.
    pub json_file_log: bool,
}

pub(super) fn container(spec: &ContainerSpec, engine: Traits) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        entrypoint: not_empty(&spec.entrypoint),
        cmd: not_empty(&spec.command),
        env: Some(assignments(&spec.env)),
        user: spec.user.clone(),
        labels: Some(to_hash(&spec.labels)),
        exposed_ports: Some(spec.ports.iter().map(port_key).collect()),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: Some(spec.stop_grace.into()),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        // An attached client that ends its input ends the container's.
        stdin_once: Some(spec.stdin),
        attach_stdin: Some(spec.stdin),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        host_config: Some(host_config(spec, engine)),
        networking_config: networking(&spec.attachment, engine.kind),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, engine: Traits) -> HostConfig {
    let memory = spec.memory_bytes.map(saturating);
    HostConfig {
        network_mode: Some(network_mode(&spec.attachment)),
        port_bindings: Some(port_bindings(&spec.ports, engine.kind)),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        restart_policy: Some(restart_policy(spec.restart, engine.kind)),
        auto_remove: Some(spec.auto_remove),
        shm_size: spec.shm_bytes.map(saturating),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(spec.capabilities.iter().map(|capability| capability.word().to_owned()).collect()),
        security_opt: Some(security_options(spec, engine)),
        readonly_rootfs: Some(spec.read_only_root),
        tmpfs: Some(spec.tmpfs.iter().map(tmpfs).collect()),
        pids_limit: Some(spec.pids.into()),
        memory,
        // Memory and swap together: an Odoo that swaps slows everybody down for minutes, while a worker
        // that is killed is replaced at once.
        memory_swap: memory,
        log_config: log_config(spec.log, engine),
        ..HostConfig::default()
    }
}

fn security_options(spec: &ContainerSpec, engine: Traits) -> Vec<String> {
    let level =
        spec.selinux_level.iter().filter(|_| engine.selinux).map(|level| format!("label=level:{level}"));
    ["no-new-privileges".to_owned()].into_iter().chain(level).collect()
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    // Engines differ in what they take for granted.
    let mode = if tmpfs.target == "/run" { "0755" } else { "1777" };
    let options = format!("rw,noexec,nosuid,nodev,size={},mode={mode}", tmpfs.size_bytes);
    (tmpfs.target.clone(), options)
}

/// An owner who sends the logs of all containers elsewhere has chosen so: only Docker's own file is
/// given a limit. Podman's file has no successors and starts anew when it is full; a driver of its
/// owner's choice without files takes no notice.
fn log_config(log: LogRotation, engine: Traits) -> Option<HostConfigLogConfig> {
    let option = |key: &str, value: String| (key.to_owned(), value);
    let (typ, config) = match engine.kind {
        EngineKind::Docker if engine.json_file_log => {
            let options =
                [option("max-size", log.file_bytes.to_string()), option("max-file", log.files.to_string())];
            (Some("json-file".to_owned()), HashMap::from(options))
        }
        EngineKind::Docker => return None,
        EngineKind::Podman => {
            let bytes = log.file_bytes * u64::from(log.files);
            (None, HashMap::from([option("max-size", bytes.to_string())]))
        }
    };
    Some(HostConfigLogConfig { typ, config: Some(config) })
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |seconds: u32| Some(i64::from(seconds) * 1_000_000_000);
    HealthConfig {
        test: Some(vec!["CMD-SHELL".into(), check.script.clone()]),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        retries: Some(check.retries.into()),
        ..HealthConfig::default()
    }
}

/// Podman's boot service brings back containers with `always` only; it has no daemon that would
/// start one again that was stopped on purpose.
pub(super) fn restart_policy(restart: Restart, engine: EngineKind) -> RestartPolicy {
    let name = match (restart, engine) {
        (Restart::No, _) => RestartPolicyNameEnum::NO,
        (Restart::UnlessStopped, EngineKind::Docker) => RestartPolicyNameEnum::UNLESS_STOPPED,
        (Restart::UnlessStopped, EngineKind::Podman) => RestartPolicyNameEnum::ALWAYS,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}

/// `Mounts` and not `Binds`: a missing directory is an error instead of being made.
fn mount(mount: &Mount) -> ApiMount {
    let (typ, source) = match &mount.source {
        MountSource::Volume(name) => (MountType::VOLUME, name.clone()),
        MountSource::Directory(path) => (MountType::BIND, path.display().to_string()),
    };
    ApiMount {
        typ: Some(typ),
        source: Some(source),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..ApiMount::default()
    }
}

fn network_mode(attachment: &Attachment) -> String {
    match attachment {
        Attachment::None => "none".into(),
        Attachment::Container(name) => format!("container:{name}"),
        Attachment::Network { name, .. } => name.clone(),
    }
}

/// Docker makes a fixed address's hardware address from it. Podman draws one by chance: the successor
/// of a container at an address would not be reached until its neighbours forget the old one.
fn hardware_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn networking(attachment: &Attachment, engine: EngineKind) -> Option<NetworkingConfig> {
    let Attachment::Network { name, address } = attachment else { return None };
    let ipam_config = address.map(|address| EndpointIpamConfig {
        ipv4_address: Some(address.to_string()),
        ..EndpointIpamConfig::default()
    });
    let mac_address = address.filter(|_| engine == EngineKind::Podman).map(hardware_address);
    let endpoint = EndpointSettings { ipam_config, mac_address, ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(name.clone(), endpoint)])) })
}

fn port_key(port: &PublishedPort) -> String {
    format!("{}/tcp", port.container_port)
}

/// Podman's netavark takes 0.0.0.0 to the letter and redirects only what is sent to that address;
/// without an address it means every one, as Docker does with it.
fn host_ip(host: IpAddr, engine: EngineKind) -> Option<String> {
    let everywhere = host == IpAddr::from(Ipv4Addr::UNSPECIFIED);
    (engine == EngineKind::Docker || !everywhere).then(|| host.to_string())
}

fn port_bindings(ports: &[PublishedPort], engine: EngineKind) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding =
            PortBinding { host_ip: host_ip(port.host, engine), host_port: Some(port.host_port.to_string()) };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

pub(super) fn exec(exec: &Exec, stdin: bool, tty: bool) -> ExecConfig {
    ExecConfig {
        cmd: Some(exec.argv.clone()),
        user: exec.user.clone(),
        env: Some(assignments(&exec.env)),
        attach_stdin: Some(stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        detach_keys: Some(DETACH_KEYS.into()),
        ..ExecConfig::default()
    }
}

fn assignments<'a>(env: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<String> {
    env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn to_hash<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> HashMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn not_empty(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn saturating(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::spec::{Capability, Role, Subnet};
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            name: "acme-odoo".into(),
            role: Role::Odoo,
            image: "docker.io/library/odoo:19".parse().unwrap(),
            entrypoint: Vec::new(),
            command: vec!["odoo".into()],
            env: BTreeMap::from([("A".into(), "1".into())]),
            user: None,
            labels: BTreeMap::from([("autoodoo.site".into(), "acme".into())]),
            mounts: vec![
                Mount {
                    source: MountSource::Volume("acme-web-1".into()),
                    target: "/var/lib/odoo".into(),
                    read_only: false,
                },
                Mount {
                    source: MountSource::Directory("/srv/acme/generated/odoo".into()),
                    target: "/etc/odoo".into(),
                    read_only: true,
                },
            ],
            attachment: Attachment::Network {
                name: "acme".into(),
                address: Some(Ipv4Addr::new(10, 213, 7, 10)),
            },
            ports: vec![PublishedPort {
                host: [127, 0, 0, 1].into(),
                host_port: "8080".parse().unwrap(),
                container_port: "80".parse().unwrap(),
            }],
            restart: Restart::UnlessStopped,
            stop_signal: Some("SIGINT".into()),
            stop_grace: 60,
            shm_bytes: Some(1 << 28),
            capabilities: vec![Capability::Setuid],
            read_only_root: true,
            tmpfs: vec![Tmpfs { target: "/run".into(), size_bytes: 1 << 20 }],
            pids: 100,
            memory_bytes: Some(1 << 30),
            log: LogRotation { file_bytes: 1 << 20, files: 3 },
            healthcheck: Some(Healthcheck {
                script: "true".into(),
                interval: 30,
                timeout: 10,
                start_period: 60,
                retries: 3,
            }),
            selinux_level: Some("s0:c1,c2".into()),
            stdin: false,
            tty: false,
            auto_remove: false,
        }
    }

    const DOCKER: Traits = Traits { kind: EngineKind::Docker, selinux: false, json_file_log: true };

    fn shown(value: &impl serde::Serialize) -> String {
        // Through a Value, which sorts the keys of bollard's hash maps.
        serde_json::to_string_pretty(&serde_json::to_value(value).unwrap()).unwrap()
    }

    #[test]
    fn an_address_has_one_hardware_address_on_both_engines() {
        assert_eq!(hardware_address(Ipv4Addr::new(10, 213, 7, 12)), "02:42:0a:d5:07:0c");
        let attachment =
            Attachment::Network { name: "net".into(), address: Some(Ipv4Addr::new(10, 213, 7, 12)) };
        let given = |engine| {
            let endpoints = networking(&attachment, engine).unwrap().endpoints_config.unwrap();
            endpoints["net"].mac_address.clone()
        };
        assert_eq!(given(EngineKind::Podman).as_deref(), Some("02:42:0a:d5:07:0c"));
        assert_eq!(given(EngineKind::Docker), None);
    }

    #[test]
    fn a_container() {
        insta::assert_snapshot!(shown(&container(&spec(), DOCKER)), @r#"
        {
          "AttachStdin": false,
          "Cmd": [
            "odoo"
          ],
          "Env": [
            "A=1"
          ],
          "ExposedPorts": {
            "80/tcp": {}
          },
          "Healthcheck": {
            "Interval": 30000000000,
            "Retries": 3,
            "StartPeriod": 60000000000,
            "Test": [
              "CMD-SHELL",
              "true"
            ],
            "Timeout": 10000000000
          },
          "HostConfig": {
            "AutoRemove": false,
            "CapAdd": [
              "SETUID"
            ],
            "CapDrop": [
              "ALL"
            ],
            "LogConfig": {
              "Config": {
                "max-file": "3",
                "max-size": "1048576"
              },
              "Type": "json-file"
            },
            "Memory": 1073741824,
            "MemorySwap": 1073741824,
            "Mounts": [
              {
                "ReadOnly": false,
                "Source": "acme-web-1",
                "Target": "/var/lib/odoo",
                "Type": "volume"
              },
              {
                "ReadOnly": true,
                "Source": "/srv/acme/generated/odoo",
                "Target": "/etc/odoo",
                "Type": "bind"
              }
            ],
            "NetworkMode": "acme",
            "PidsLimit": 100,
            "PortBindings": {
              "80/tcp": [
                {
                  "HostIp": "127.0.0.1",
                  "HostPort": "8080"
                }
              ]
            },
            "ReadonlyRootfs": true,
            "RestartPolicy": {
              "Name": "unless-stopped"
            },
            "SecurityOpt": [
              "no-new-privileges"
            ],
            "ShmSize": 268435456,
            "Tmpfs": {
              "/run": "rw,noexec,nosuid,nodev,size=1048576,mode=0755"
            }
          },
          "Image": "docker.io/library/odoo:19",
          "Labels": {
            "autoodoo.site": "acme"
          },
          "NetworkingConfig": {
            "EndpointsConfig": {
              "acme": {
                "IPAMConfig": {
                  "IPv4Address": "10.213.7.10"
                }
              }
            }
          },
          "OpenStdin": false,
          "StdinOnce": false,
          "StopSignal": "SIGINT",
          "StopTimeout": 60,
          "Tty": false
        }
        "#);
    }

    #[test]
    fn attachments() {
        let with = |attachment| {
            let body = container(&ContainerSpec { attachment, ..spec() }, DOCKER);
            (body.host_config.unwrap().network_mode.unwrap(), body.networking_config.is_some())
        };
        assert_eq!(with(Attachment::None), ("none".into(), false));
        assert_eq!(with(Attachment::Container("front".into())), ("container:front".into(), false));
        assert_eq!(with(Attachment::Network { name: "n".into(), address: None }), ("n".into(), true));
    }

    #[test]
    fn logs_are_limited_where_the_engine_keeps_them_in_files_of_its_own() {
        let log = |kind, json_file_log| {
            let config = log_config(spec().log, Traits { kind, json_file_log, ..DOCKER })?;
            let mut options: Vec<_> = config.config?.into_iter().collect();
            options.sort();
            Some((config.typ, options))
        };
        let size = |bytes: &str| ("max-size".to_owned(), bytes.to_owned());
        let three = ("max-file".to_owned(), "3".to_owned());
        assert_eq!(
            log(EngineKind::Docker, true),
            Some((Some("json-file".into()), vec![three, size("1048576")]))
        );
        assert_eq!(log(EngineKind::Docker, false), None);
        assert_eq!(log(EngineKind::Podman, false), Some((None, vec![size("3145728")])));
    }

    #[test]
    fn the_level_is_given_where_selinux_is() {
        assert_eq!(security_options(&spec(), DOCKER), ["no-new-privileges"]);
        assert_eq!(
            security_options(&spec(), Traits { selinux: true, ..DOCKER }),
            ["no-new-privileges", "label=level:s0:c1,c2"]
        );
    }

    #[test]
    fn two_addresses_on_one_port() {
        let mut ports = spec().ports;
        ports.push(PublishedPort { host_port: "8081".parse().unwrap(), ..ports[0] });
        assert_eq!(port_bindings(&ports, EngineKind::Docker)["80/tcp"].as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_network() {
        let spec = NetworkSpec {
            name: "acme".into(),
            labels: BTreeMap::new(),
            subnet: Subnet::around(Ipv4Addr::new(10, 213, 7, 0)),
        };
        insta::assert_snapshot!(shown(&network(&spec)), @r#"
        {
          "CheckDuplicate": true,
          "Driver": "bridge",
          "IPAM": {
            "Config": [
              {
                "Gateway": "10.213.7.1",
                "IPRange": "10.213.7.128/25",
                "Subnet": "10.213.7.0/24"
              }
            ]
          },
          "Labels": {},
          "Name": "acme"
        }
        "#);
    }
}
