//! Finding an engine: trying candidates in order, agreeing on a version of the API, and saying what
//! to do when there is none.

use std::io::ErrorKind;
use std::time::Duration;

use bollard::errors::Error;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, SERVER};

use super::wire::Wire;
use crate::engine::endpoint::{Candidates, Endpoint};
use crate::failure::{Failure, Kind, Result};
use crate::observed::{EngineInfo, EngineKind};

/// A version of the API, as in `1.41`.
type Api = (u32, u32);

/// The newest version that this program was written for. Never more is spoken, so that later
/// engines go on meaning what we mean.
const NEWEST: Api = (1, 53);
/// Docker 20.10 and Podman 4.3.
const OLDEST: Api = (1, 41);

/// An engine answers `/_ping` at once or hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first candidate that answers as an engine of the wanted kind.
pub(super) async fn first(candidates: &Candidates) -> Result<(EngineInfo, Wire)> {
    let mut tried = Vec::new();
    for endpoint in &candidates.endpoints {
        match knock(endpoint, candidates.only).await {
            Ok(found) => return Ok(found),
            Err(why) => tried.push((endpoint, why)),
        }
    }
    Err(nobody(&tried, candidates.only))
}

/// Why an endpoint is not our engine.
#[derive(Debug)]
enum Why {
    Denied,
    Other(String),
}

async fn knock(endpoint: &Endpoint, only: Option<EngineKind>) -> Result<(EngineInfo, Wire), Why> {
    let wire = Wire::new(endpoint.clone());
    // `/version` would say as much, but Podman takes a third of a second for it and Docker 10 ms,
    // because they ask their helper programs; `/_ping` takes half a millisecond on both.
    let ping = tokio::time::timeout(PATIENCE, wire.ask(Method::GET, "/_ping", Bytes::new()));
    let response = match ping.await {
        Ok(answer) => answer.map_err(|error| reason(&error))?,
        Err(_) => return Err(Why::Other(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    let info = identify(response.headers(), endpoint)?;
    if let Some(wanted) = only.filter(|wanted| *wanted != info.kind) {
        return Err(Why::Other(format!("{} answers there, not {wanted}", info.kind)));
    }
    let wire = wire.speaking(&info.api);
    Ok((info, wire))
}

/// Both engines name themselves in the headers of every answer.
fn identify(headers: &HeaderMap, endpoint: &Endpoint) -> Result<EngineInfo, Why> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let theirs = text("api-version").and_then(parse_api);
    let theirs = theirs.ok_or_else(|| Why::Other("what answers there is not a container engine".into()))?;
    let kind =
        if headers.contains_key("libpod-api-version") { EngineKind::Podman } else { EngineKind::Docker };
    // Such as `Docker/20.10.24 (linux)` and `Libpod/4.3.1 (linux)`.
    let server = text(SERVER.as_str()).and_then(|server| server.split_once('/'));
    let version = server.and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("unknown");
    if theirs < OLDEST {
        return Err(Why::Other(format!(
            "{kind} {version} is too old; Docker 20.10 or Podman 4.3 is the oldest that will do"
        )));
    }
    let (major, minor) = theirs.min(NEWEST);
    Ok(EngineInfo {
        kind,
        version: version.to_owned(),
        api: format!("{major}.{minor}"),
        endpoint: endpoint.to_string(),
    })
}

fn parse_api(text: &str) -> Option<Api> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn reason(error: &Error) -> Why {
    match error {
        Error::IOError { err } => match err.kind() {
            ErrorKind::PermissionDenied => Why::Denied,
            ErrorKind::NotFound => Why::Other("there is no such socket".into()),
            ErrorKind::ConnectionRefused => Why::Other("nothing listens there".into()),
            _ => Why::Other(err.to_string()),
        },
        other => Why::Other(other.to_string()),
    }
}

fn nobody(tried: &[(&Endpoint, Why)], only: Option<EngineKind>) -> Failure {
    let denied = tried.iter().find(|(_, why)| matches!(why, Why::Denied));
    let mut failure = match denied {
        Some((endpoint, _)) => not_allowed(endpoint),
        None => not_there(only),
    };
    for (endpoint, why) in tried {
        failure.causes.push(match why {
            Why::Denied => format!("{endpoint}: permission denied"),
            Why::Other(text) => format!("{endpoint}: {text}"),
        });
    }
    failure
}

fn not_allowed(endpoint: &Endpoint) -> Failure {
    Failure::new(Kind::NoEngine, format!("no permission to use the container engine at {endpoint}"))
        .hint("run the command with sudo")
        .hint("or join the socket's group, for Docker `sudo usermod -aG docker $USER`, and log in again")
}

fn not_there(only: Option<EngineKind>) -> Failure {
    let (name, hints): (_, &[&str]) = match only {
        Some(EngineKind::Docker) => ("Docker", &[START_DOCKER]),
        Some(EngineKind::Podman) => ("Podman", &[START_PODMAN]),
        None => ("container engine", &[START_DOCKER, START_PODMAN]),
    };
    let failure = Failure::new(Kind::NoEngine, format!("no {name} could be reached"));
    hints.iter().fold(failure, |failure, hint| failure.hint(*hint))
}

const START_DOCKER: &str =
    "start Docker: `sudo systemctl start docker`; on Debian and Ubuntu the package is `docker.io`";
const START_PODMAN: &str =
    "start Podman: `sudo systemctl enable --now podman.socket`; on Debian and Ubuntu the package is `podman`";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn identified(pairs: &[(&'static str, &str)]) -> Result<(EngineKind, String, String), String> {
        let endpoint = "unix:///x.sock".parse().unwrap();
        match identify(&headers(pairs), &endpoint) {
            Ok(info) => Ok((info.kind, info.version, info.api)),
            Err(Why::Other(text)) => Err(text),
            Err(Why::Denied) => unreachable!(),
        }
    }

    #[test]
    fn engines_are_told_apart_and_versions_agreed_on() {
        let docker = [("server", "Docker/20.10.24+dfsg1 (linux)"), ("api-version", "1.41")];
        let podman =
            [("server", "Libpod/4.3.1 (linux)"), ("api-version", "1.41"), ("libpod-api-version", "4.3.1")];
        let future = [("server", "Docker/40.0.0 (linux)"), ("api-version", "1.99")];
        let expected = |kind, version: &str, api: &str| Ok((kind, version.to_owned(), api.to_owned()));
        assert_eq!(identified(&docker), expected(EngineKind::Docker, "20.10.24+dfsg1", "1.41"));
        assert_eq!(identified(&podman), expected(EngineKind::Podman, "4.3.1", "1.41"));
        assert_eq!(identified(&future), expected(EngineKind::Docker, "40.0.0", "1.53"));
    }

    #[test]
    fn what_will_not_do_is_refused() {
        let old = [("server", "Docker/19.03.1 (linux)"), ("api-version", "1.40")];
        assert!(identified(&old).unwrap_err().starts_with("Docker 19.03.1 is too old"));
        assert!(identified(&[("server", "nginx/1.26")]).unwrap_err().contains("not a container engine"));
    }

    async fn failure(endpoints: &[&str], only: Option<EngineKind>) -> Failure {
        let endpoints = endpoints.iter().map(|text| text.parse().unwrap()).collect();
        first(&Candidates { endpoints, only }).await.err().unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_an_engine_it_says_what_was_tried_and_how_to_start_one() {
        let dir = tempfile::tempdir().unwrap();
        let absent = format!("unix://{}/absent.sock", dir.path().display());
        let failure = failure(&[&absent], None).await;
        assert_eq!(failure.kind, Kind::NoEngine);
        assert_eq!(failure.message, "no container engine could be reached");
        assert_eq!(failure.causes, [format!("{absent}: there is no such socket")]);
        assert_eq!(failure.hints.len(), 2);
    }

    #[test]
    fn a_denied_socket_is_named() {
        let (open, denied) = ("unix:///a.sock".parse().unwrap(), "unix:///b.sock".parse().unwrap());
        let failure = nobody(&[(&open, Why::Other("gone".into())), (&denied, Why::Denied)], None);
        assert_eq!(failure.message, "no permission to use the container engine at unix:///b.sock");
        assert!(failure.hints.iter().any(|hint| hint.contains("sudo")));
        assert_eq!(failure.kind, Kind::NoEngine);
    }

    /// Answers one request with these headers, then goes away.
    fn answer_once(path: &std::path::Path, headers: &'static str) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nOK").unwrap();
        })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_other_kind_is_refused_when_one_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let headers = "Server: Libpod/5.0.0 (linux)\r\nApi-Version: 1.41\r\nLibpod-Api-Version: 5.0.0\r\n";
        let server = answer_once(&path, headers);
        let endpoint = format!("unix://{}", path.display());
        let failure = failure(&[&endpoint], Some(EngineKind::Docker)).await;
        assert_eq!(failure.causes, [format!("{endpoint}: Podman answers there, not Docker")]);
        server.join().unwrap();
    }
}
