//! What each kind of container may do: as little as it needs. Every container starts from no
//! capability, a root directory that cannot be written, and small scratch directories
//! ([`scratch`]); the functions here say what a role gets beyond that, and how its health is told.

use sha2::{Digest, Sha256};

use super::spec::{Capability, ContainerSpec, Healthcheck, LogRotation, Tmpfs};
use crate::render::libpq::Endpoint;
use crate::render::odoo_conf::{HTTP_PORT, Purpose, SOCKET_DIRECTORY};
use crate::site::release::Release;

const MIB: u64 = 1024 * 1024;

/// The user `nobody` by number, which every image knows.
pub const NOBODY: &str = "65534:65534";
/// Processes and threads of a container that needs few.
pub const PIDS: u32 = 256;
/// Odoo's workers and what they start: wkhtmltopdf and numerical libraries have a thread a CPU.
const ODOO_PIDS: u32 = 4096;
/// nginx has a process a CPU, each with a pool of 32 threads at most.
const NGINX_PIDS: u32 = 4096;
/// PostgreSQL's own processes, parallel workers and what we run beside them. Connections come on top.
const POSTGRES_PIDS: u32 = 256;
/// 50 MiB a container.
pub const LOG: LogRotation = LogRotation { file_bytes: 10 * MIB, files: 5 };

/// What a helper as root needs to give a file of any owner to another.
pub const GIVE_AWAY: [Capability; 3] = [Capability::Chown, Capability::DacOverride, Capability::Fowner];
/// nginx's master: it binds ports below 1024, gives its directories to the user `nginx` and becomes
/// that user in its workers. Keys belong to the owner of the site directory, who need not be root.
const NGINX: [Capability; 5] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::NetBindService,
    Capability::Setgid,
    Capability::Setuid,
];

/// While the image makes a new cluster, process 1 is still its entrypoint and a temporary server
/// answers on the same socket: only when process 1 is the server itself is this the real one.
pub const POSTGRES_READY: &str =
    "[ \"$(cat /proc/1/comm)\" = postgres ] && pg_isready --quiet --host=/var/run/postgresql";
/// Until it has become Odoo, process 1 is a shell that waits for PostgreSQL and has children too.
const CRON_WORKS: &str = "case \"$(cat /proc/1/comm)\" in odoo*|python*) ;; *) exit 1;; esac; \
     [ -n \"$(cat /proc/1/task/1/children)\" ]";
/// An nginx in the other slot listens on the same port: this one must have workers of its own. Who
/// asks for no name of the site gets no answer (curl's exit code 52), which is one. A slim image
/// has no curl.
const NGINX_WORKS: &str = "[ \"$(cat /proc/1/comm)\" = nginx ] && \
     [ -n \"$(cat /proc/1/task/1/children)\" ] || exit 1; \
     command -v curl >/dev/null || exit 0; \
     curl --silent --output /dev/null --max-time 8 --user-agent autoodoo-health http://127.0.0.1/; \
     case $? in 0|52) ;; *) exit 1;; esac";

/// Directories that programs expect to be able to write. Named here so that both engines make the
/// same ones: Podman puts memory without a limit there when the root directory is read-only.
#[must_use]
pub fn scratch() -> Vec<Tmpfs> {
    [("/run", MIB), ("/tmp", 16 * MIB), ("/var/tmp", MIB)]
        .map(|(target, size_bytes)| Tmpfs { target: target.to_owned(), size_bytes })
        .to_vec()
}

/// The server as the image's own user from the start. `connections` is its `max_connections`.
#[must_use]
pub fn postgres(spec: ContainerSpec, connections: u32) -> ContainerSpec {
    ContainerSpec {
        user: Some("postgres".to_owned()),
        pids: POSTGRES_PIDS + connections,
        // Recovery after a crash takes minutes on a big database.
        healthcheck: Some(shell(POSTGRES_READY, 900)),
        ..spec
    }
}

/// Odoo's temporary files lie on disk: uploads would fill a directory in memory, which counts
/// against the container's limit. A command that a person runs has no healthcheck.
#[must_use]
pub fn odoo(spec: ContainerSpec, purpose: Purpose, release: Release, endpoint: &Endpoint) -> ContainerSpec {
    ContainerSpec {
        tmpfs: scratch().into_iter().filter(|tmpfs| tmpfs.target != "/tmp").collect(),
        pids: ODOO_PIDS,
        healthcheck: match purpose {
            Purpose::Http => Some(odoo_answers(release, endpoint)),
            Purpose::Cron => Some(shell(CRON_WORKS, 300)),
            Purpose::Command => None,
        },
        ..spec
    }
}

#[must_use]
pub fn nginx(spec: ContainerSpec) -> ContainerSpec {
    ContainerSpec {
        capabilities: NGINX.to_vec(),
        pids: NGINX_PIDS,
        healthcheck: Some(shell(NGINX_WORKS, 30)),
        ..spec
    }
}

/// A level of its own for each site and the same for all its containers, or SELinux would keep Odoo
/// from PostgreSQL's socket: two different categories of 1024, as engines choose them.
#[must_use]
pub fn selinux_level(site_id: &str) -> String {
    let digest = Sha256::digest(site_id.as_bytes());
    let category = |at: usize| u32::from(u16::from_be_bytes([digest[at], digest[at + 1]])) % 1024;
    let (one, other) = (category(0), category(2));
    let other = if one == other { (one + 1) % 1024 } else { other };
    format!("s0:c{},c{}", one.min(other), one.max(other))
}

/// A page that touches no session: each one that did would leave a file behind. Releases before 16
/// cannot be asked for their database, so PostgreSQL is asked beside them; 14 has no health page.
/// Source: `addons/web/controllers/` of each release.
fn odoo_answers(release: Release, endpoint: &Endpoint) -> Healthcheck {
    let ready = format!("{} && ", pg_isready(endpoint));
    let (first, path) = match release.number() {
        ..=14 => (ready.as_str(), "/web/static/src/img/favicon.ico"),
        15 => (ready.as_str(), "/web/health"),
        _ => ("", "/web/health?db_server_status=1"),
    };
    // The image is sure to have Python, and nothing else that speaks HTTP.
    let script = format!(
        "{first}exec python3 -c \"import http.client, sys; sys.tracebacklimit = 0; \
         c = http.client.HTTPConnection('127.0.0.1', {HTTP_PORT}, timeout=8); \
         c.request('GET', '{path}'); raise SystemExit(c.getresponse().status != 200)\""
    );
    shell(&script, 300)
}

/// Asks whether the server takes connections, whoever comes.
#[must_use]
pub fn pg_isready(endpoint: &Endpoint) -> String {
    format!("pg_isready --quiet --host={} --port={}", endpoint.host, endpoint.port)
}

/// A tunnel is as healthy as the server behind it.
#[must_use]
pub fn tunnel() -> Healthcheck {
    shell(&format!("pg_isready --quiet --host={SOCKET_DIRECTORY}"), 30)
}

fn shell(script: &str, start_period: u32) -> Healthcheck {
    Healthcheck { script: script.to_owned(), interval: 30, timeout: 10, start_period, retries: 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_its_level_and_keeps_it() {
        assert_eq!(selinux_level("id1"), selinux_level("id1"));
        assert_ne!(selinux_level("id1"), selinux_level("id2"));
        for number in 0..2000 {
            let level = selinux_level(&number.to_string());
            let (low, high) = level.strip_prefix("s0:c").unwrap().split_once(",c").unwrap();
            let (low, high): (u32, u32) = (low.parse().unwrap(), high.parse().unwrap());
            assert!(low < high && high < 1024, "{level}");
        }
    }

    #[test]
    fn the_health_page_is_one_that_the_release_has() {
        let site = crate::site::parse::site("name: acme\ndomain: a.b\npostgres: { host: db }").unwrap();
        let endpoint = Endpoint::of(&site.postgres);
        let script = |number: u32| odoo_answers(Release::new(number).unwrap(), &endpoint).script;
        assert!(
            script(14).contains("/favicon.ico")
                && script(14).contains("pg_isready --quiet --host=db --port=5432 && ")
        );
        assert!(script(15).contains("'/web/health'") && script(15).contains("pg_isready"));
        for number in 16..=19 {
            assert!(script(number).contains("'/web/health?db_server_status=1'"), "{number}");
        }
    }
}
