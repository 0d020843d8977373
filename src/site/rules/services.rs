//! Rules for what stands around Odoo: mail, an external PostgreSQL, proxies.

use super::Rules;
use crate::name::Port;
use crate::site::draft::{ExternalDraft, Field, Given, SmtpDraft};
use crate::site::release::Release;
use crate::site::value::{Cidr, FilePath, HeaderName, Memory, SslMode};
use crate::site::{ClientCertificate, External, Manager, Proxy, Smtp, SmtpEncryption, Ssh};

/// `Some(None)`: the group is not wanted; `None`: it cannot be known.
type Optional<T> = Option<Option<T>>;

/// The value of a key that may be left out.
pub(super) fn optional<T>(given: Given<T>) -> Optional<T> {
    match given {
        Given::Absent => Some(None),
        Given::Unknown => None,
        Given::Value(value) => Some(Some(value)),
    }
}

pub(super) fn all<T>(given: Vec<Given<T>>) -> Option<Vec<T>> {
    given.into_iter().map(|value| value.or(|| None)).collect()
}

impl Rules {
    pub(super) fn smtp(&mut self, draft: SmtpDraft, release: Option<Release>) -> Optional<Smtp> {
        if draft.host.is_absent() {
            if draft != SmtpDraft::default() {
                return self.conflict(Field::Key("smtp.host"), "required by the other keys of `smtp:`");
            }
            return Some(None);
        }
        if let Some(release) = release.filter(|release| !release.has_from_filter())
            && draft.from_filter.value().is_some()
        {
            let why =
                format!("Odoo {release} has no such line in odoo.conf, 16 and newer have; remove this key");
            return self.conflict(Field::Key("smtp.from_filter"), why);
        }
        Some(Some(Smtp {
            host: draft.host.or(|| None)?,
            port: draft.port.or(|| Some(Port::SUBMISSION))?,
            encryption: draft.encryption.or(|| Some(SmtpEncryption::StartTls))?,
            user: optional(draft.user)?,
            from: optional(draft.from)?,
            from_filter: optional(draft.from_filter)?,
        }))
    }

    pub(super) fn external(&mut self, draft: ExternalDraft) -> Optional<External> {
        if draft.host.is_absent() {
            if draft != ExternalDraft::default() {
                let why = "required by `port`, `user`, `sslmode`, `ssl_…` and `ssh`";
                return self.conflict(Field::Key("postgres.host"), why);
            }
            return Some(None);
        }
        self.way(&draft);
        let ssh = self.ssh(&draft);
        let sslmode = self.sslmode(&draft);
        let client = self.client_certificate(draft.certificate, draft.key);
        Some(Some(External {
            host: draft.host.or(|| None)?,
            port: draft.port.or(|| Some(Port::POSTGRESQL))?,
            user: draft.user.or(|| "odoo".parse().ok())?,
            sslmode: sslmode?,
            root_certificate: optional(draft.root_certificate)?.map(FilePath::into_path),
            client: client?,
            ssh: ssh?,
        }))
    }

    /// What cannot lead from a container to a server, or has no meaning on the way there.
    fn way(&mut self, draft: &ExternalDraft) {
        if draft.ssh_host.is_absent() {
            if let Some(host) = draft.host.value().filter(|host| host.is_loopback()) {
                let why = format!(
                    "in Odoo's container `{host}` is that container itself, where no PostgreSQL listens; write an \
                     address of the server that other machines reach (PostgreSQL must listen there), or how to get \
                     to it under `ssh:`"
                );
                self.conflict::<()>(Field::Key("postgres.host"), why);
            }
            return;
        }
        let files = [
            (&draft.root_certificate, "postgres.ssl_root_cert"),
            (&draft.certificate, "postgres.ssl_cert"),
            (&draft.key, "postgres.ssl_key"),
        ];
        for (_, key) in files.into_iter().filter(|(file, _)| file.value().is_some()) {
            let why = "through `ssh` PostgreSQL is reached by a Unix socket, where no certificate is asked for; \
                       remove this key";
            self.conflict::<()>(Field::Key(key), why);
        }
    }

    /// By default the server's certificate is checked as soon as a CA is named. Through ssh the
    /// connection ends at a Unix socket, where libpq does no TLS.
    fn sslmode(&mut self, draft: &ExternalDraft) -> Option<SslMode> {
        let key = Field::Key("postgres.sslmode");
        let tunnel = !draft.ssh_host.is_absent();
        let default = match (tunnel, draft.root_certificate.is_absent()) {
            (true, _) => SslMode::Disable,
            (false, true) => SslMode::Require,
            (false, false) => SslMode::VerifyFull,
        };
        let mode = draft.sslmode.clone().or(|| Some(default))?;
        if tunnel && mode != SslMode::Disable {
            return self.conflict(key, "the way through `ssh` is encrypted already; remove this key");
        }
        if mode.verifies() && draft.root_certificate.is_absent() {
            let why = format!(
                "required by the sslmode `{}`: the CA that signed the server's certificate",
                mode.word()
            );
            return self.conflict(Field::Key("postgres.ssl_root_cert"), why);
        }
        Some(mode)
    }

    fn client_certificate(
        &mut self,
        certificate: Given<FilePath>,
        key: Given<FilePath>,
    ) -> Optional<ClientCertificate> {
        match (optional(certificate)?, optional(key)?) {
            (None, None) => Some(None),
            (Some(certificate), Some(key)) => {
                Some(Some(ClientCertificate { certificate: certificate.into_path(), key: key.into_path() }))
            }
            (Some(_), None) => self.conflict(Field::Key("postgres.ssl_key"), "required by `ssl_cert`"),
            (None, Some(_)) => self.conflict(Field::Key("postgres.ssl_cert"), "required by `ssl_key`"),
        }
    }

    fn ssh(&mut self, draft: &ExternalDraft) -> Optional<Ssh> {
        let others =
            !draft.ssh_port.is_absent() || !draft.ssh_user.is_absent() || !draft.ssh_host_key.is_absent();
        if draft.ssh_host.is_absent() {
            if others {
                return self
                    .conflict(Field::Key("postgres.ssh.host"), "required by the other keys of `ssh:`");
            }
            return Some(None);
        }
        let user = self.required(draft.ssh_user.clone(), Field::Key("postgres.ssh.user"));
        Some(Some(Ssh {
            host: draft.ssh_host.clone().or(|| None)?,
            port: draft.ssh_port.clone().or(|| Some(Port::SSH))?,
            user: user?,
            host_key: optional(draft.ssh_host_key.clone())?,
        }))
    }

    /// Less than this is no Odoo, and ceilings of nothing would be none.
    pub(super) fn memory(&mut self, given: Given<Memory>) -> Optional<Memory> {
        const LEAST: Memory = Memory(512 << 20);
        match given.value() {
            Some(memory) if memory.0 < LEAST.0 => self.conflict(
                Field::Key("limits.memory"),
                format!("{memory} is too little; give {LEAST} or more"),
            ),
            _ => optional(given),
        }
    }

    pub(super) fn manager(allow: Vec<Given<Cidr>>, selector: Vec<Given<Cidr>>) -> Option<Manager> {
        Some(Manager { allow: all(allow)?, selector: all(selector)? })
    }

    pub(super) fn proxy(&mut self, trusted: Vec<Given<Cidr>>, header: Given<HeaderName>) -> Optional<Proxy> {
        if trusted.is_empty() {
            if header.value().is_some() {
                return self.conflict(Field::Key("proxy.trusted"), "required by `proxy.header`");
            }
            return Some(None);
        }
        let everybody = |cidr: &&Cidr| cidr.prefix() < if cidr.address().is_ipv4() { 8 } else { 16 };
        if let Some(cidr) = trusted.iter().filter_map(Given::value).find(everybody) {
            let why = format!("`{cidr}` is nearly everybody, who could then claim any address");
            return self.conflict(Field::Key("proxy.trusted"), why);
        }
        let header = header.or(|| "X-Forwarded-For".parse().ok());
        Some(Some(Proxy { trusted: all(trusted)?, header: header? }))
    }
}
