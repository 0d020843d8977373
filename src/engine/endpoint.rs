//! Where container engines are looked for. Pure: environment values come in as values.
//!
//! Only engines of this machine are accepted: a site's directories are mounted into containers, and
//! an engine elsewhere would mount directories of that other machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::failure::{Failure, Result};
use crate::name::{Invalid, nearest};
use crate::observed::EngineKind;

/// The port of an engine's unencrypted TCP interface when the URL names none (IANA: `docker`).
const DEFAULT_TCP_PORT: u16 = 2375;

/// An address of an engine on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An absolute path.
    Unix(PathBuf),
    /// Always a loopback address.
    Tcp(SocketAddr),
}

impl Endpoint {
    fn unix(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint::Unix(path.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl FromStr for Endpoint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::unix(path)),
            Some(("unix", _)) => Err(Invalid("expected an absolute path after `unix://`".into())),
            Some(("tcp" | "http", rest)) => loopback(rest).map(Endpoint::Tcp),
            Some(("ssh", _)) => Err(Invalid(ELSEWHERE.into())),
            Some((scheme, _)) => Err(Invalid(format!(
                "`{scheme}://` is not supported; expected `unix:///path/to.sock` or `tcp://127.0.0.1:{DEFAULT_TCP_PORT}`"
            ))),
            None if text.starts_with('/') => Err(Invalid(format!("expected `unix://{text}`"))),
            None => Err(Invalid("expected a URL such as `unix:///var/run/docker.sock`".into())),
        }
    }
}

const ELSEWHERE: &str = "the engine must run on this machine, because directories of the site are \
                         mounted into containers; run autoodoo on that machine instead";

/// `host[:port]` as a loopback address.
fn loopback(text: &str) -> Result<SocketAddr, Invalid> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let address = match text.strip_prefix("localhost") {
        Some(rest) => parse_address(&format!("{}{rest}", Ipv4Addr::LOCALHOST)),
        None => parse_address(text),
    };
    match address {
        Some(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(Invalid(ELSEWHERE.into())),
    }
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    text.parse().ok().or_else(|| bare(text).ok().map(|ip| SocketAddr::new(ip, DEFAULT_TCP_PORT)))
}

/// The user's `--engine`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineChoice {
    #[default]
    Auto,
    Docker,
    Podman,
    At(Endpoint),
}

impl FromStr for EngineChoice {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "docker" => Ok(EngineChoice::Docker),
            "podman" => Ok(EngineChoice::Podman),
            _ if text.contains('/') => text.parse().map(EngineChoice::At),
            _ => Err(Invalid(match nearest(text, ["auto", "docker", "podman"]) {
                Some(word) => format!("expected auto, docker, podman or a URL; did you mean `{word}`?"),
                None => "expected auto, docker, podman or a URL".into(),
            })),
        }
    }
}

/// What the surroundings say about engines. Empty texts count as absent.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The value of `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// The value of `CONTAINER_HOST`.
    pub container_host: Option<String>,
    /// The value of `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The endpoint that the site was made on.
    pub remembered: Option<Endpoint>,
}

/// Endpoints to try in this order, without repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    pub endpoints: Vec<Endpoint>,
    /// The kind that was asked for by name; an engine of the other kind is then refused.
    pub only: Option<EngineKind>,
}

/// The endpoints to try. A URL is tried alone; `auto` takes `DOCKER_HOST`, else `CONTAINER_HOST`, else
/// the remembered endpoint, and does not turn to another engine when that one is silent: the site
/// would not be there. Without any of them it tries every known socket. `docker` and `podman` try
/// their own variable and sockets.
///
/// Fails with [`Usage`](crate::failure::Kind::Usage) when a variable that counts is not an address
/// of this machine.
pub fn candidates(choice: &EngineChoice, around: &Surroundings) -> Result<Candidates> {
    let docker = || from_variable("DOCKER_HOST", around.docker_host.as_deref());
    let podman = || from_variable("CONTAINER_HOST", around.container_host.as_deref());
    let rootless = around.runtime_dir.as_deref();
    let (endpoints, only) = match choice {
        EngineChoice::At(endpoint) => (vec![endpoint.clone()], None),
        EngineChoice::Docker => {
            (docker()?.into_iter().chain(docker_sockets(rootless)).collect(), Some(EngineKind::Docker))
        }
        EngineChoice::Podman => {
            (podman()?.into_iter().chain(podman_sockets(rootless)).collect(), Some(EngineKind::Podman))
        }
        EngineChoice::Auto => {
            let named = docker()?.or(podman()?).or(around.remembered.clone());
            (named.map_or_else(|| every_socket(rootless), |named| vec![named]), None)
        }
    };
    Ok(Candidates { endpoints: without_repeats(endpoints), only })
}

fn from_variable(variable: &str, value: Option<&str>) -> Result<Option<Endpoint>> {
    let parse = |text: &str| {
        text.parse().map_err(|error: Invalid| {
            Failure::usage(format!("{variable} is `{text}`, which cannot be used")).because(error)
        })
    };
    value.map(str::trim).filter(|text| !text.is_empty()).map(parse).transpose()
}

fn docker_sockets(rootless: Option<&Path>) -> Vec<Endpoint> {
    let rootless = rootless.map(|dir| Endpoint::unix(dir.join("docker.sock")));
    [Endpoint::unix("/var/run/docker.sock")].into_iter().chain(rootless).collect()
}

fn podman_sockets(rootless: Option<&Path>) -> Vec<Endpoint> {
    let rootless = rootless.map(|dir| Endpoint::unix(dir.join("podman/podman.sock")));
    [Endpoint::unix("/run/podman/podman.sock")].into_iter().chain(rootless).collect()
}

/// System sockets before rootless ones.
fn every_socket(rootless: Option<&Path>) -> Vec<Endpoint> {
    let (docker, podman) = (docker_sockets(rootless), podman_sockets(rootless));
    let system = [&docker[..1], &podman[..1]].concat();
    [system, docker[1..].to_vec(), podman[1..].to_vec()].concat()
}

fn without_repeats(endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut unique = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        if !unique.contains(&endpoint) {
            unique.push(endpoint);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn tried(choice: &str, around: &Surroundings) -> Vec<String> {
        let found = candidates(&choice.parse().unwrap(), around).unwrap();
        found.endpoints.iter().map(ToString::to_string).collect()
    }

    fn everything() -> Surroundings {
        Surroundings {
            docker_host: Some("tcp://localhost:1234".into()),
            container_host: Some("unix:///c.sock".into()),
            runtime_dir: Some("/run/user/7".into()),
            remembered: Some(endpoint("unix:///r.sock")),
        }
    }

    #[test]
    fn endpoints_of_this_machine() {
        let table = [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:99", "tcp://127.0.0.1:99"),
            ("tcp://localhost", "tcp://127.0.0.1:2375"),
            ("http://localhost:80/", "tcp://127.0.0.1:80"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://127.9.9.9", "tcp://127.9.9.9:2375"),
        ];
        for (text, shown) in table {
            assert_eq!(endpoint(text).to_string(), shown);
            assert_eq!(endpoint(shown), endpoint(text), "what is shown can be read again");
        }
    }

    #[test]
    fn other_endpoints_are_refused_with_the_reason() {
        let table = [
            ("ssh://me@there", "must run on this machine"),
            ("tcp://192.0.2.1:2375", "must run on this machine"),
            ("tcp://engine.example:2375", "must run on this machine"),
            ("tcp://localhost.example:2375", "must run on this machine"),
            ("unix://relative.sock", "absolute path"),
            ("https://localhost", "`https://` is not supported"),
            ("/run/docker.sock", "expected `unix:///run/docker.sock`"),
        ];
        for (text, reason) in table {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn choices() {
        assert_eq!("auto".parse(), Ok(EngineChoice::Auto));
        assert_eq!("unix:///x".parse(), Ok(EngineChoice::At(endpoint("unix:///x"))));
        let error = "dokcer".parse::<EngineChoice>().unwrap_err().to_string();
        assert!(error.ends_with("did you mean `docker`?"), "{error}");
        assert!("kubernetes".parse::<EngineChoice>().is_err());
    }

    #[test]
    fn auto_takes_the_environment_else_the_memory_else_every_socket() {
        let mut around = everything();
        assert_eq!(tried("auto", &around), ["tcp://127.0.0.1:1234"]);
        around.docker_host = None;
        assert_eq!(tried("auto", &around), ["unix:///c.sock"]);
        around.container_host = None;
        assert_eq!(tried("auto", &around), ["unix:///r.sock"]);
        around.remembered = None;
        assert_eq!(
            tried("auto", &around),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/podman/podman.sock",
                "unix:///run/user/7/docker.sock",
                "unix:///run/user/7/podman/podman.sock",
            ]
        );
    }

    #[test]
    fn a_named_engine_asks_its_own_variable_and_sockets() {
        let docker =
            ["tcp://127.0.0.1:1234", "unix:///var/run/docker.sock", "unix:///run/user/7/docker.sock"];
        let podman =
            ["unix:///c.sock", "unix:///run/podman/podman.sock", "unix:///run/user/7/podman/podman.sock"];
        assert_eq!(tried("docker", &everything()), docker);
        assert_eq!(tried("podman", &everything()), podman);
        let only = candidates(&EngineChoice::Podman, &everything()).unwrap().only;
        assert_eq!(only, Some(EngineKind::Podman));
    }

    #[test]
    fn a_url_is_tried_alone_whatever_the_environment_says() {
        let around = Surroundings { docker_host: Some("ssh://there".into()), ..Surroundings::default() };
        assert_eq!(tried("unix:///x.sock", &around), ["unix:///x.sock"]);
        let failure = candidates(&EngineChoice::Auto, &around).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.to_string().starts_with("DOCKER_HOST is `ssh://there`"), "{failure}");
        assert!(candidates(&EngineChoice::Podman, &around).is_ok(), "DOCKER_HOST does not count for podman");
    }

    #[test]
    fn repeats_and_empty_values_are_left_out() {
        let around = Surroundings {
            docker_host: Some("unix:///var/run/docker.sock".into()),
            container_host: Some(" ".into()),
            remembered: Some(endpoint("unix:///run/podman/podman.sock")),
            ..Surroundings::default()
        };
        assert_eq!(tried("auto", &around), ["unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"]);
    }
}
