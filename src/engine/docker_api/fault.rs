//! From the engine's errors to failures that say in plain words what is wrong.

use bollard::errors::Error;

use crate::failure::{Failure, Kind};

/// A failure that says what was being done, what is wrong as far as that is known, and as its cause
/// the engine's own message.
pub(super) fn failure(doing: impl AsRef<str>, error: Error) -> Failure {
    let doing = doing.as_ref();
    match &error {
        Error::DockerResponseServerError { message, .. } => told(doing, message),
        Error::DockerStreamError { error } => told(doing, error),
        Error::RequestTimeoutError => Failure::failed(format!("{doing}: the engine did not answer in time")),
        Error::IOError { .. } | Error::HyperResponseError { .. } => {
            Failure::new(Kind::NoEngine, format!("{doing}: the engine no longer answers")).because(error)
        }
        _ => Failure::failed(doing).because(error),
    }
}

/// A failure from a message of the engine.
pub(super) fn told(doing: &str, message: &str) -> Failure {
    let message = message.trim();
    let mut failure = match plain(message) {
        Some((sentence, hint)) => {
            let failure = Failure::failed(format!("{doing}: {sentence}"));
            hint.into_iter().fold(failure, Failure::hint)
        }
        None => Failure::failed(doing),
    };
    failure.causes.push(message.to_owned());
    failure
}

pub(super) fn is_absent(error: &Error) -> bool {
    has_status(error, 404)
}

pub(super) fn has_status(error: &Error, wanted: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == wanted)
}

/// What a message means, and what can be done.
fn plain(message: &str) -> Option<(String, Option<&'static str>)> {
    let lower = message.to_lowercase();
    if let Some(port) = taken_port(&lower) {
        let hint = "stop the program that listens there, or choose another port";
        return Some((format!("port {port} of this machine is taken"), Some(hint)));
    }
    let known = KNOWN.iter().find(|known| known.signs.iter().any(|sign| lower.contains(sign)))?;
    Some((known.sentence.to_owned(), known.hint))
}

struct Known {
    /// Parts of messages, in lower case; one is enough.
    signs: &'static [&'static str],
    sentence: &'static str,
    hint: Option<&'static str>,
}

/// Messages of Docker 20.10 to 29 and Podman 4.3 to 5. The first that fits counts.
const KNOWN: &[Known] = &[
    Known {
        signs: &["no space left on device", "disk quota exceeded"],
        sentence: "the disk is full",
        hint: Some("make room on the disk of the engine's data, then repeat the command"),
    },
    Known {
        signs: &[
            "no such host",
            "dial tcp",
            "i/o timeout",
            "tls handshake timeout",
            "connection refused",
            "network is unreachable",
            "server misbehaving",
            "client.timeout exceeded",
            "pinging container registry",
        ],
        sentence: "the registry cannot be reached",
        hint: Some("check the network and the engine's proxy settings, or load the image by hand"),
    },
    Known {
        signs: &["toomanyrequests", "too many requests"],
        sentence: "the registry refuses more requests for now",
        hint: Some("wait, or log in to the registry"),
    },
    Known {
        signs: &[
            "manifest unknown",
            "name unknown",
            "pull access denied",
            "repository does not exist",
            "repository name not known",
            "requested access to the resource is denied",
            "unauthorized",
        ],
        sentence: "the registry has no such image, or wants a login",
        hint: Some("check the image's name and tag"),
    },
    Known {
        signs: &["has dependent containers"],
        sentence: "other containers share its network; remove those first",
        hint: None,
    },
    Known {
        signs: &["cannot join network of a non running container"],
        sentence: "the container whose network it shares is not running",
        hint: None,
    },
    Known {
        signs: &["no such image", "image not known", "unable to find image"],
        sentence: "the image is not on this machine",
        hint: Some("pull it first"),
    },
    Known {
        signs: &["name is already in use", "is already in use by", "already exists"],
        sentence: "the name is taken",
        hint: None,
    },
    Known {
        signs: &["volume is in use", "volume is being used", "is being used by the following container"],
        sentence: "a container still uses it",
        hint: None,
    },
    Known {
        signs: &["has active endpoints", "network is being used", "has associated containers"],
        sentence: "containers are still connected to it",
        hint: None,
    },
    Known {
        signs: &["pool overlaps", "is already used on the host", "is being used by a network interface"],
        sentence: "its addresses are used by another network of this machine",
        hint: None,
    },
    Known {
        signs: &["address already in use", "is already allocated to container", "requested ip address"],
        sentence: "its address is taken by another container",
        hint: None,
    },
    Known {
        signs: &["bind source path does not exist", "statfs", "no such file or directory: mount"],
        sentence: "a directory to mount does not exist",
        hint: None,
    },
    Known {
        signs: &["no such container", "no container with name or id"],
        sentence: "there is no such container",
        hint: None,
    },
    Known {
        signs: &["no such network", "network not found", "unable to find network"],
        sentence: "the network does not exist",
        hint: None,
    },
    Known {
        signs: &["is not running", "container state improper"],
        sentence: "the container is not running",
        hint: None,
    },
    Known {
        signs: &["client version", "api version"],
        sentence: "the engine is too new or too old for this autoodoo",
        hint: None,
    },
    Known { signs: &["permission denied"], sentence: "permission was denied", hint: None },
];

/// The port in messages such as `Bind for 0.0.0.0:80 failed: port is already allocated` (Docker) and
/// `listen tcp4 :80: bind: address already in use` (both).
fn taken_port(message: &str) -> Option<u16> {
    let end = [" failed: port is already allocated", ": bind: address already in use"]
        .iter()
        .find_map(|sign| message.find(sign))?;
    message[..end].rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(message: &str) -> String {
        told("cannot do it", message).message
    }

    #[test]
    fn a_taken_port_is_named() {
        for message in [
            "driver failed programming external connectivity on endpoint x (12ab): Bind for 0.0.0.0:8080 \
             failed: port is already allocated",
            "driver failed programming external connectivity on endpoint x (12ab): Error starting \
             userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
            "cannot listen on the TCP port: listen tcp4 :8080: bind: address already in use",
        ] {
            assert_eq!(sentence(message), "cannot do it: port 8080 of this machine is taken");
        }
    }

    #[test]
    fn messages_of_both_engines() {
        let table = [
            ("No such image: x:1", "the image is not on this machine"),
            ("localhost/x:1: image not known", "the image is not on this machine"),
            ("Address already in use", "its address is taken by another container"),
            (
                "IPAM error: requested ip address 10.1.1.2 is already allocated to container ID 12",
                "its address is taken by another container",
            ),
            (
                "Conflict. The container name \"/x\" is already in use by container \"12\".",
                "the name is taken",
            ),
            (
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                "the registry cannot be reached",
            ),
            (
                "manifest for x:1 not found: manifest unknown",
                "the registry has no such image, or wants a login",
            ),
            ("write /x: no space left on device", "the disk is full"),
            (
                "Pool overlaps with other one on this address space",
                "its addresses are used by another network of this machine",
            ),
        ];
        for (message, expected) in table {
            assert_eq!(sentence(message), format!("cannot do it: {expected}"), "{message}");
        }
    }

    #[test]
    fn the_engines_own_message_is_the_cause() {
        let failure = told("cannot start `x`", "zebra\n");
        assert_eq!(failure.to_string(), "cannot start `x`: zebra");
        assert_eq!(failure.kind, Kind::Failed);
    }

    #[test]
    fn an_engine_that_went_away_is_no_engine() {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(failure("cannot start `x`", gone.into()).kind, Kind::NoEngine);
    }
}
