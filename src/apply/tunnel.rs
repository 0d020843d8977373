//! Steps on the ssh tunnel to a PostgreSQL server elsewhere.

use std::path::Path;

use super::containers::Watched;
use super::{Bench, Deadline, POLL};
use crate::engine::{Engine, Exec, LogQuery};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::probe::Probe;
use crate::host::ssh::{SshClient, ensure_key, fingerprints, pinned_line};
use crate::plan::TunnelFiles;
use crate::site::{External, Ssh};
use crate::stack::dirs;
use crate::stack::server::{TUNNEL_HELPER_MOUNT, bracketed, tunnel_directory, tunnel_files};

/// Gives the new files to the user of the tunnel and puts them in place.
const GIVE_AWAY: &str = "cd \"$1\" && for f in *.new; do chown postgres \"$f\" && chmod 0400 \"$f\" && \
     mv \"$f\" \"${f%.new}\" || exit 1; done";

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn prepare_tunnel(&self, tunnel: &TunnelFiles) -> Result<()> {
        let known_host = self.known_host(&tunnel.ssh)?;
        self.ensure_key(&tunnel.comment)?;
        self.copy_client(&self.ssh.client()?, &tunnel.client)?;
        let directory = self.dir.root().join(tunnel_directory(&tunnel.ssh));
        files::ensure_dir(&directory, 0o755)?;
        let key = files::read_text(&self.dir.ssh_key())?;
        for (name, text) in [(tunnel_files::KEY, &key), (tunnel_files::KNOWN_HOSTS, &known_host)] {
            files::write_atomic(&directory.join(format!("{name}.new")), text.as_bytes(), 0o600)?;
        }
        let argv = ["sh", "-c", GIVE_AWAY, "sh", TUNNEL_HELPER_MOUNT];
        self.run_helper(&tunnel.helper, Exec::new(argv), "cannot give the tunnel's files to its user").await
    }

    /// The line of known_hosts for the pinned key. Nothing is trusted at first sight.
    fn known_host(&self, ssh: &Ssh) -> Result<String> {
        let shown = self.ssh.host_keys(&ssh.host, ssh.port);
        let shown = shown.map_err(|failure| failure.hint("put `postgres.ssh` right in autoodoo.yaml"))?;
        let found = fingerprints(&shown);
        let list = || found.iter().map(|(kind, print)| format!("{kind} {print}")).collect::<Vec<_>>();
        let (host, port) = (&ssh.host, ssh.port);
        let Some(pin) = &ssh.host_key else {
            return Err(Failure::usage(format!(
                "the key of the ssh server {host}:{port} is not known yet; it shows these"
            ))
            .evidence(list())
            .hint(
                "compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on that server, \
                 then write the fingerprint as `host_key:` under `postgres.ssh` in autoodoo.yaml",
            ));
        };
        pinned_line(&shown, pin).ok_or_else(|| {
            Failure::failed(format!(
                "the ssh server {host}:{port} does not have the key {pin} of autoodoo.yaml; it shows these"
            ))
            .evidence(list())
            .hint("somebody may stand in between; change `postgres.ssh.host_key` only if you know why")
        })
    }

    fn ensure_key(&self, comment: &str) -> Result<()> {
        ensure_key(self.ssh, &self.dir.ssh_key(), comment).map(drop)
    }

    /// What a running tunnel starts from stays: it is swept once that tunnel is gone.
    fn copy_client(&self, client: &SshClient, expected: &str) -> Result<()> {
        if client.fingerprint != expected {
            return Err(Failure::failed("this machine's ssh client has just changed").hint("try again"));
        }
        let directory = self.dir.root().join(dirs::SSH_CLIENT).join(&client.fingerprint);
        files::ensure_dir(&directory, 0o755)?;
        for (name, source) in &client.files {
            copy(source, &directory.join(name))?;
        }
        Ok(())
    }

    /// Asks in the directory `socket`. What the container wrote before `since` (seconds of Unix time) does not count.
    pub(super) async fn await_tunnel(
        &self,
        container: &str,
        external: &External,
        seconds: u32,
        socket: &str,
        since: Option<i64>,
    ) -> Result<()> {
        self.waiting("PostgreSQL does not answer through the tunnel yet", seconds);
        let mut watched = Watched::new(container);
        let query = LogQuery { since, ..LogQuery::default() };
        let deadline = Deadline::after(seconds);
        loop {
            let exec = Exec::new(["pg_isready", "--quiet", &format!("--host={socket}")]);
            if self.exec(container, exec).await.is_ok_and(|output| output.exit_code == 0) {
                return Ok(());
            }
            let ended = self.must_run(&mut watched).await.is_err();
            let lines = self.lines(container, &query).await;
            if deadline.passed() || ended || is_final(&lines) {
                return Err(self.tunnel_failure(container, external, lines));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn tunnel_failure(&self, container: &str, external: &External, lines: Vec<String>) -> Failure {
        let says = |text: &str| lines.iter().any(|line| line.contains(text));
        let host = external.ssh.as_ref().map_or("", |ssh| ssh.host.as_str());
        let server = format!("{}:{}", external.host, external.port);
        let failure = if says("Permission denied") {
            let failure = Failure::failed(format!("the ssh server {host} does not accept the site's key"));
            match self.ssh.public_key(&self.dir.ssh_key()) {
                Ok(key) => failure.hint(format!(
                    "add this line to ~/.ssh/authorized_keys of the tunnel's user there:\n{}",
                    authorized_keys(external, &key)
                )),
                Err(_) => failure,
            }
        } else if says("administratively prohibited") {
            Failure::failed(format!("the ssh server {host} does not let the site's key open {server}"))
                .hint("put `port-forwarding` and `permitopen` of its authorized_keys line right")
        } else if says("open failed") {
            Failure::failed(format!("the ssh server {host} cannot reach PostgreSQL at {server}"))
                .hint("`postgres.host` and `port` are as seen from the ssh server")
        } else {
            Failure::failed(format!("PostgreSQL does not answer through the tunnel {container}"))
                .hint(format!("see that {host} answers, and that it reaches {server}"))
        };
        failure.evidence(lines)
    }
}

/// Whether waiting longer is in vain.
fn is_final(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains("open failed") || line.contains("Permission denied"))
}

/// What the key may do on the ssh server, and nothing else (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
fn authorized_keys(external: &External, public_key: &str) -> String {
    format!(
        "restrict,port-forwarding,permitopen=\"{}:{}\" {}",
        bracketed(&external.host),
        external.port,
        public_key.trim()
    )
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    let bytes = files::read_optional(source)?
        .ok_or_else(|| Failure::failed(format!("{} is gone", source.display())))?;
    files::write_atomic(target, &bytes, 0o755)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::parse;

    #[test]
    fn the_key_may_open_the_server_and_nothing_else() {
        let text = "name: acme\ndomain: a.b\npostgres: { host: '2001:db8::5', ssh: { host: h, user: u } }\n";
        let external = parse::site(text).unwrap().postgres.external.unwrap();
        assert_eq!(
            authorized_keys(&external, "ssh-ed25519 AAAA autoodoo-acme\n"),
            "restrict,port-forwarding,permitopen=\"[2001:db8::5]:5432\" ssh-ed25519 AAAA autoodoo-acme"
        );
    }
}
