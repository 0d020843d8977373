//! Steps on the proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::containers::Watched;
use super::{Bench, Deadline, POLL};
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::probe::{Get, Probe};
use crate::name::Fqdn;
use crate::render::nginx_conf::CONFIG_MOUNT;
use crate::stack::files as paths;
use crate::stack::spec::ContainerSpec;

/// Without `reuseport`, a port that is served refuses the test's socket, which is no fault to
/// `nginx -t` (`ngx_open_listening_sockets`); with it, the test would take visitors' connections and
/// drop them.
const TEST_IN_PLACE: &str = "umask 077; \
    sed 's/ reuseport//' \"$1\" >/tmp/test.conf && nginx -t -c /tmp/test.conf; \
    code=$?; rm -f /tmp/test.conf; exit $code";
/// Process id and title of each child of the first process, a line each; one that has just ended has
/// no title (proc(5)).
const CHILDREN: &str = "children=$(cat /proc/1/task/1/children) || exit 1; \
    for id in $children; do echo \"$id $(tr '\\0' ' ' <\"/proc/$id/cmdline\")\"; done";
/// Seconds that nginx may take to start workers with a new configuration.
const RELOAD: u32 = 30;

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn test_nginx_conf(&self, helper: &ContainerSpec) -> Result<()> {
        self.retire(&helper.name, 0).await?;
        self.create(helper).await?;
        self.engine.start(&helper.name).await?;
        let code = self.engine.wait(&helper.name).await?;
        let lines = self.last_lines(&helper.name).await;
        self.engine.remove(&helper.name).await?;
        if code == 0 { Ok(()) } else { Err(refused(lines)) }
    }

    /// The same for a text whose ports are all served by this container, without the cost of
    /// another one, which visitors would feel on a small machine.
    pub(super) async fn test_in_nginx(&self, container: &str) -> Result<()> {
        let candidate = format!("{CONFIG_MOUNT}/candidate/nginx.conf");
        let exec = Exec::new(["sh", "-c", TEST_IN_PLACE, "sh", &candidate]);
        let output = self.exec(container, exec).await?;
        if output.exit_code == 0 {
            return Ok(());
        }
        Err(refused(output.stderr.lines().map(str::to_owned).collect()))
    }

    /// The rename is atomic: nginx finds the old file or the new one, never half of one.
    pub(super) fn publish_nginx_conf(&self) -> Result<()> {
        let candidate = files::read_text(&self.dir.root().join(paths::NGINX_CANDIDATE))?;
        let live = self.dir.root().join(paths::NGINX_LIVE);
        if let Some(directory) = live.parent() {
            files::ensure_dir(directory, 0o755)?;
        }
        files::write_atomic(&live, candidate.as_bytes(), 0o644)
    }

    /// nginx answers a reload that it cannot do by going on as before and saying so in its log:
    /// only new worker processes prove that the new configuration is in force. The old ones take
    /// connections beside them for another moment: until they have ended or finish what they have,
    /// a visitor may still meet the old configuration.
    pub(super) async fn reload_nginx(&mut self, container: &str, fingerprint: &str) -> Result<()> {
        let before = self.accepting(container).await?;
        self.engine.signal(container, "HUP").await?;
        let mut watched = Watched::new(container);
        let deadline = Deadline::after(RELOAD);
        loop {
            let now = self.accepting(container).await.unwrap_or_default();
            if !now.is_empty() && now.iter().all(|worker| !before.contains(worker)) {
                return self.nginx_has_loaded(fingerprint);
            }
            self.must_run(&mut watched).await?;
            if deadline.passed() {
                let lines = self.last_lines(container).await;
                return Err(Failure::failed(format!("{container} did not take its new configuration"))
                    .evidence(lines));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Process ids of the workers that take new connections.
    async fn accepting(&self, container: &str) -> Result<Vec<String>> {
        let output = self.exec(container, Exec::new(["sh", "-c", CHILDREN])).await?;
        if output.exit_code != 0 {
            return Err(Failure::failed(format!("cannot see the processes of {container}")));
        }
        Ok(accepting(&output.stdout))
    }

    pub(super) async fn await_nginx(
        &mut self,
        container: &str,
        address: Ipv4Addr,
        host: &Fqdn,
        fingerprint: &str,
        seconds: u32,
    ) -> Result<()> {
        let request = Get {
            connect: SocketAddr::new(IpAddr::V4(address), 80),
            tls: None,
            host: host.to_string(),
            path: "/".to_owned(),
            headers: Vec::new(),
            deadline: Duration::from_secs(5),
        };
        let mut watched = Watched::new(container);
        let deadline = Deadline::after(seconds);
        // An older nginx in the same network namespace would answer too: the new one must have
        // workers of its own.
        while !self.nginx_works(container).await || self.probe.get(&request).await.is_err() {
            self.must_run(&mut watched).await?;
            if deadline.passed() {
                let lines = self.last_lines(container).await;
                return Err(
                    Failure::failed(format!("{container} does not answer on port 80")).evidence(lines)
                );
            }
            tokio::time::sleep(POLL).await;
        }
        self.nginx_has_loaded(fingerprint)
    }

    async fn nginx_works(&self, container: &str) -> bool {
        let comm = self.exec(container, Exec::new(["cat", "/proc/1/comm"])).await.unwrap_or_default();
        comm.stdout.trim() == "nginx"
            && self.children(container).await.is_ok_and(|workers| !workers.is_empty())
    }

    fn nginx_has_loaded(&mut self, fingerprint: &str) -> Result<()> {
        self.state.nginx_loaded = Some(fingerprint.to_owned());
        self.dir.save_state(&self.state)
    }
}

fn refused(lines: Vec<String>) -> Failure {
    Failure::failed("nginx refuses the new configuration")
        .evidence(lines)
        .hint("the configuration in use was not touched")
}

/// Workers that take new connections, by their titles: nginx renames one that only finishes what it
/// has, just before it closes its listening sockets (`ngx_worker_process_cycle`).
fn accepting(children: &str) -> Vec<String> {
    let child = |line: &str| {
        let (id, title) = line.split_once(' ')?;
        let accepts = title.contains("worker process") && !title.contains("is shutting down");
        accepts.then(|| id.to_owned())
    };
    children.lines().filter_map(child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workers_that_are_not_ending_accept() {
        let children = "\
            7 nginx: worker process is shutting down\n\
            8 \n\
            9 nginx: worker process   \n\
            10 nginx: worker process\n\
            11 nginx: cache manager process\n";
        assert_eq!(accepting(children), ["9", "10"]);
        assert!(accepting("").is_empty());
    }
}
