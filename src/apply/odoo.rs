//! Steps that ask Odoo and the whole site whether they answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::containers::Watched;
use super::{Bench, Deadline, POLL};
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Kind, Result};
use crate::host::files;
use crate::host::probe::{Get, Probe, TlsTrust};
use crate::name::Fqdn;
use crate::plan::Trust;
use crate::render::odoo_conf::HTTP_PORT;

/// The page that proves Odoo, its database and its modules: 200 without a redirect. `/web/health`
/// says 200 even when every visitor is sent to the database selector.
const LOGIN_PAGE: &str = "/web/login";
/// A first request loads the registry; later ones answer within this.
const ANSWER: Duration = Duration::from_mins(1);

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn await_odoo(
        &self,
        container: &str,
        address: Ipv4Addr,
        host: &Fqdn,
        seconds: u32,
    ) -> Result<()> {
        self.waiting("Odoo has not answered yet", seconds);
        let deadline = Deadline::after(seconds);
        let mut watched = Watched::new(container);
        loop {
            let request = Get {
                connect: SocketAddr::new(IpAddr::V4(address), HTTP_PORT),
                tls: None,
                host: host.to_string(),
                path: LOGIN_PAGE.to_owned(),
                headers: Vec::new(),
                deadline: deadline.left().min(ANSWER),
            };
            // The address of a container that has just gone swallows questions: look at both.
            let fault = tokio::select! {
                answer = self.ask(&request) => match answer {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                },
                failure = self.ends(&mut watched) => return Err(failure),
            };
            self.must_run(&mut watched).await?;
            if deadline.passed() {
                let lines = self.last_lines(container).await;
                let message = format!("{container} did not show its login page within {seconds} s: {fault}");
                return Err(Failure::failed(message)
                    .evidence(lines)
                    .hint("give it longer with `--wait-timeout SECONDS`"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Resolves when the container has ended or keeps being restarted.
    async fn ends(&self, watched: &mut Watched<'_>) -> Failure {
        loop {
            tokio::time::sleep(POLL).await;
            if let Err(failure) = self.must_run(watched).await {
                return failure;
            }
        }
    }

    /// `Err` says in words what came instead of a 200.
    async fn ask(&self, request: &Get) -> Result<(), String> {
        match self.probe.get(request).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} answered {}", request.path, answer.status)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a browser would do: the published address, the site's name, a certificate it trusts.
    pub(super) async fn probe_site(
        &self,
        address: SocketAddr,
        host: &Fqdn,
        trust: &Trust,
        seconds: u32,
    ) -> Result<()> {
        let tls = match trust {
            Trust::LocalCa => TlsTrust::Roots(files::read_text(&self.dir.ca_certificate())?),
            Trust::Stored(id) => TlsTrust::Certificate(self.fingerprint(id)?),
        };
        let deadline = Deadline::after(seconds);
        let request = Get {
            connect: address,
            tls: Some(tls),
            host: host.to_string(),
            path: LOGIN_PAGE.to_owned(),
            headers: Vec::new(),
            deadline: deadline.left().min(ANSWER),
        };
        loop {
            let Err(fault) = self.ask(&request).await else { return Ok(()) };
            if deadline.passed() {
                return Err(Failure::new(
                    Kind::Failed,
                    format!("https://{host} at {address} does not show the login page: {fault}"),
                )
                .hint("`autoodoo logs nginx` and `autoodoo logs odoo` say more"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until nginx has no connection to it that was begun before the switch, or for so many
    /// seconds. nginx is asked and not Odoo: a connection that waits for room in Odoo's backlog is
    /// begun there and not yet seen here.
    pub(super) async fn drain_odoo(
        &self,
        container: &str,
        address: Ipv4Addr,
        front: &str,
        seconds: u32,
    ) -> Result<()> {
        self.waiting("requests that were begun before the switch are finished", seconds);
        let deadline = Deadline::after(seconds);
        loop {
            let exec = Exec::new(["cat", "/proc/net/tcp"]);
            let Ok(output) = self.exec(front, exec).await else { return Ok(()) };
            let open = open_to(&output.stdout, address, HTTP_PORT);
            if open == 0 {
                return Ok(());
            }
            if deadline.passed() {
                self.note(format!(
                    "{container} still has {open} open requests; it gets a moment to end them"
                ));
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Odoo's server starts its cron processes once it has loaded the database.
    pub(super) async fn await_cron(&self, container: &str, seconds: u32) -> Result<()> {
        self.waiting("scheduled actions have not started yet", seconds);
        let mut watched = Watched::new(container);
        let deadline = Deadline::after(seconds);
        while !self.cron_runs(container).await {
            self.must_run(&mut watched).await?;
            if deadline.passed() {
                let lines = self.last_lines(container).await;
                return Err(Failure::failed(format!(
                    "{container} started no cron process within {seconds} s"
                ))
                .evidence(lines));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Until it has become Odoo, process 1 is a shell that waits for PostgreSQL and has children too.
    async fn cron_runs(&self, container: &str) -> bool {
        let comm = self.exec(container, Exec::new(["cat", "/proc/1/comm"])).await.unwrap_or_default();
        let is_odoo = ["odoo", "python"].iter().any(|name| comm.stdout.starts_with(name));
        is_odoo && self.children(container).await.is_ok_and(|children| !children.is_empty())
    }

    /// Process ids of the children of a container's first process (proc(5)).
    pub(super) async fn children(&self, container: &str) -> Result<Vec<String>> {
        let output = self.exec(container, Exec::new(["cat", "/proc/1/task/1/children"])).await?;
        if output.exit_code != 0 {
            return Err(Failure::failed(format!("cannot see the processes of {container}")));
        }
        Ok(output.stdout.split_whitespace().map(str::to_owned).collect())
    }
}

/// Connections to a remote address and port in the text of /proc/net/tcp (proc(5)): addresses are
/// hexadecimal, in the machine's own byte order; state 01 is ESTABLISHED, 02 SYN_SENT.
fn open_to(table: &str, address: Ipv4Addr, port: u16) -> usize {
    let remote = format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()));
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(&remote) && matches!(fields.next(), Some("01" | "02"))
    };
    table.lines().skip(1).filter(is_open).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn connections_that_are_open_or_begun_are_counted_by_where_they_lead() {
        let table = "\
  sl  local_address rem_address   st tx_queue
   0: 00000000:1F85 00000000:0000 0A 00000000:00000000
   1: 0A07D50A:C350 0B07D50A:1F85 01 00000000:00000000
   2: 0A07D50A:C351 0B07D50A:1F85 02 00000000:00000000
   3: 0A07D50A:C352 0B07D50A:1F85 06 00000000:00000000
   4: 0A07D50A:C353 0C07D50A:1F85 01 00000000:00000000
";
        assert_eq!(open_to(table, Ipv4Addr::new(10, 213, 7, 11), 8069), 2);
        assert_eq!(open_to("", Ipv4Addr::new(10, 213, 7, 11), 8069), 0);
    }
}
