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
use crate::stack::files as paths;
use crate::stack::spec::ContainerSpec;

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
        if code == 0 {
            return Ok(());
        }
        Err(Failure::failed("nginx refuses the new configuration")
            .evidence(lines)
            .hint("the configuration in use was not touched"))
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
        let before = self.children(container).await?;
        self.engine.signal(container, "HUP").await?;
        let mut watched = Watched::new(container);
        let deadline = Deadline::after(RELOAD);
        loop {
            let now = self.children(container).await.unwrap_or_default();
            let (old, new): (Vec<_>, Vec<_>) = now.into_iter().partition(|pid| before.contains(pid));
            if self.accepting(container, &new).await > 0 && self.accepting(container, &old).await == 0 {
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

    /// How many of these processes are workers that take new connections.
    async fn accepting(&self, container: &str, pids: &[String]) -> usize {
        if pids.is_empty() {
            return 0;
        }
        let titles = pids.iter().map(|pid| format!("/proc/{pid}/cmdline"));
        // A process may be gone by now: what is said of the others counts.
        let exec = Exec::new(std::iter::once("cat".to_owned()).chain(titles));
        accepting(&self.exec(container, exec).await.unwrap_or_default().stdout)
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

/// Workers that take new connections, by their titles: nginx renames one that only finishes what it
/// has, just before it closes its listening sockets (`ngx_worker_process_cycle`).
fn accepting(titles: &str) -> usize {
    titles.matches("worker process").count() - titles.matches("worker process is shutting down").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workers_that_are_not_ending_accept() {
        assert_eq!(accepting(""), 0);
        assert_eq!(
            accepting("nginx: worker process\0\0nginx: worker process\0nginx: cache manager process"),
            2
        );
        assert_eq!(accepting("nginx: worker process is shutting down\0nginx: cache loader process\0"), 0);
        assert_eq!(accepting("nginx: worker process is shutting down\0nginx: worker process\0"), 1);
    }
}
