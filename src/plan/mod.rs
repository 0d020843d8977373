//! Plans: what will be done, in which order and why. A plan is made from values and printed or
//! carried out afterwards; carrying it out chooses nothing.

pub mod certificate;
pub mod down;
pub mod guard;
pub mod matching;
pub mod preflight;
pub mod renewal;
pub mod renewal_memory;
pub mod server;
pub mod up;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use crate::name::{Country, DbName, Fqdn, ImageRef, Language, Login};
use crate::render::odoo_conf::OdooConf;
use crate::site::release::Release;
use crate::site::{External, Ssh};
use crate::stack::collation::Collation;
use crate::stack::spec::{ContainerSpec, NetworkSpec, VolumeSpec};
use crate::state::{Made, Phase};
use certificate::CertificateOrder;
use server::ServerCheck;

/// One thing to do. Everything is decided: names, addresses, texts, deadlines in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    PullImage {
        image: ImageRef,
    },
    /// Writes autoodoo.lock: these references are pinned to what they lead to now, those keep their pins.
    PinImages {
        pin: Vec<ImageRef>,
        keep: Vec<ImageRef>,
    },
    /// `made` is what the data was made as, once there is any.
    RecordPhase {
        phase: Phase,
        generation: u32,
        made: Option<Made>,
    },
    CreateNetwork(NetworkSpec),
    RemoveNetwork {
        name: String,
    },
    CreateVolume(VolumeSpec),
    RemoveVolume {
        name: String,
    },
    /// A generated file without secrets; the path is relative to the site directory.
    WriteFile {
        path: PathBuf,
        content: Hidden,
    },
    /// Odoo's configuration files, with secrets filled in and owned by the image's own user.
    WriteOdooConf {
        files: Vec<OdooConfFile>,
        helper: Box<ContainerSpec>,
    },
    IssueCertificate {
        id: String,
        names: Vec<Fqdn>,
    },
    InstallCertificate {
        id: String,
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Stores a pair that a CA certified by ACME.
    OrderCertificate(Box<CertificateOrder>),
    /// Whether the published address shows this certificate for each name.
    VerifyCertificate {
        address: SocketAddr,
        names: Vec<Fqdn>,
        certificate: String,
        seconds: u32,
    },
    /// Remembers which pair is in use.
    UseCertificate {
        id: String,
    },
    SweepCertificates {
        keep: Vec<String>,
    },
    CreateContainer(Box<ContainerSpec>),
    StartContainer {
        name: String,
    },
    StopContainer {
        name: String,
        grace: u32,
    },
    /// Keeps it from coming back, stops it, sees it stopped, removes it.
    RetireContainer {
        name: String,
        grace: u32,
    },
    AwaitPostgres {
        container: String,
        seconds: u32,
        system_identifier: Option<String>,
    },
    /// Makes what the ssh tunnel reads: its key, once; the host's key, if it is the pinned one; a
    /// copy of this host's ssh client.
    PrepareTunnel(Box<TunnelFiles>),
    /// Until the server behind the tunnel answers.
    AwaitTunnel {
        container: String,
        external: Box<External>,
        seconds: u32,
    },
    /// The same through the next tunnel, beside the one in use.
    ProveTunnel {
        container: String,
        external: Box<External>,
        seconds: u32,
    },
    /// Asks a server elsewhere everything that could stand in the way, and changes nothing in it.
    CheckServer(Box<ServerCheck>),
    /// Makes an empty database of a server elsewhere the site's; what an interrupted run left in it
    /// goes first.
    ClaimDatabase {
        check: Box<ServerCheck>,
        database: DbName,
    },
    /// Marks it: from now on nobody begins it again.
    CompleteDatabase {
        container: String,
        database: DbName,
        site_id: String,
    },
    /// Lets PostgreSQL read its files anew, once it has found no fault in them.
    ReloadPostgres {
        container: String,
    },
    PrepareRole {
        container: String,
        /// It may create databases: Odoo's database manager is open.
        createdb: bool,
    },
    /// Marks a database as one that people work in.
    MarkComplete {
        container: String,
        database: DbName,
    },
    /// Makes an empty one under a name of its own, once it is sure that nothing else has the name
    /// that it will get.
    CreateDatabase {
        container: String,
        name: String,
        collation: Collation,
        becomes: DbName,
    },
    InstallBase {
        container: String,
        database: String,
        release: Release,
        language: Language,
    },
    SetFirstUser {
        container: String,
        database: String,
        user: FirstUser,
    },
    AdoptFilestore {
        container: String,
        from: String,
        to: DbName,
    },
    RenameDatabase {
        container: String,
        from: String,
        to: DbName,
    },
    AwaitOdoo {
        container: String,
        address: Ipv4Addr,
        host: Fqdn,
        seconds: u32,
    },
    TestNginxConf {
        helper: Box<ContainerSpec>,
    },
    /// In an nginx that serves all the ports of the new text.
    TestInNginx {
        container: String,
    },
    PublishNginxConf {
        fingerprint: String,
    },
    ReloadNginx {
        container: String,
        fingerprint: String,
    },
    AwaitNginx {
        container: String,
        address: Ipv4Addr,
        host: Fqdn,
        fingerprint: String,
        seconds: u32,
    },
    DrainOdoo {
        container: String,
        address: Ipv4Addr,
        /// A container in nginx's network namespace.
        front: String,
        seconds: u32,
    },
    AwaitCron {
        container: String,
        seconds: u32,
    },
    /// Asks the published address for the login page, as a browser would.
    ProbeSite {
        address: SocketAddr,
        host: Fqdn,
        trust: Trust,
        seconds: u32,
    },
    /// Removes configuration directories that no container uses any more.
    Sweep {
        /// The copy of the ssh client in use; empty without a tunnel.
        ssh_client: String,
        /// The directory of the tunnel's files; empty without a tunnel.
        tunnel_files: String,
        keep: Vec<String>,
    },
}

/// What the tunnel's files are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TunnelFiles {
    pub ssh: Ssh,
    /// The fingerprint of this host's ssh client.
    pub client: String,
    /// Says whose key it is.
    pub comment: String,
    /// A container as root in the tunnel's image that gives the files to its user.
    pub helper: ContainerSpec,
}

/// Odoo's first user, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirstUser {
    pub login: Login,
    pub language: Language,
    /// The company's country; its currency becomes the company's.
    pub country: Option<Country>,
    /// The address that Odoo puts into links.
    pub url: String,
}

/// Which certificate the probe accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Only one that the site's local CA signed.
    LocalCa,
    /// The one in this directory under `secrets/tls`, which was checked when it was stored.
    Stored(String),
}

/// A text that a plan carries and does not print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{} bytes", self.0.len()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OdooConfFile {
    /// Relative to the site directory.
    pub directory: PathBuf,
    pub conf: OdooConf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub action: Action,
    /// Why it is done.
    pub cause: String,
    /// Seconds for which nobody is answered, about; `None` when the site does not serve anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption_seconds: Option<u32>,
    /// What is done when it fails, so that what served before serves on, or a new site that is
    /// refused leaves nothing behind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Action>,
    /// It asks whether something new works, while what served before still serves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gate: bool,
}

/// Steps in order. Made by the functions of this module only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Things worth saying that lead to no step.
    pub remarks: Vec<String>,
}

impl Plan {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn push(&mut self, action: Action, cause: impl Into<String>) {
        self.push_guarded(action, cause, Vec::new());
    }

    /// Adds a step that undoes something when it fails.
    fn push_guarded(&mut self, action: Action, cause: impl Into<String>, on_failure: Vec<Action>) {
        let cause = cause.into();
        self.steps.push(Step { action, cause, interruption_seconds: None, on_failure, gate: false });
    }

    /// Adds a step that a new thing must pass while the old one still serves.
    fn push_gate(&mut self, action: Action, cause: impl Into<String>, on_failure: Vec<Action>) {
        let cause = cause.into();
        self.steps.push(Step { action, cause, interruption_seconds: None, on_failure, gate: true });
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            write!(f, "[{number}] {}: {}", step.action, step.cause)?;
            match step.interruption_seconds {
                None => writeln!(f)?,
                Some(0) => writeln!(f, " (no interruption)")?,
                Some(seconds) => writeln!(f, " (about {seconds} s)")?,
            }
        }
        for remark in &self.remarks {
            writeln!(f, "note: {remark}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action as A;
        match self {
            A::PullImage { image } => write!(f, "pull image {image}"),
            A::PinImages { .. } => write!(f, "write autoodoo.lock"),
            A::RecordPhase { phase, generation, .. } => {
                write!(f, "record state {phase}, generation {generation}")
            }
            A::CreateNetwork(spec) => write!(f, "create network {} ({})", spec.name, spec.subnet),
            A::RemoveNetwork { name } => write!(f, "remove network {name}"),
            A::CreateVolume(spec) => write!(f, "create volume {}", spec.name),
            A::RemoveVolume { name } => write!(f, "remove volume {name} and all data in it"),
            A::WriteFile { path, .. } => write!(f, "write {}", path.display()),
            A::WriteOdooConf { files, .. } => {
                let names: Vec<_> = files.iter().map(|file| file.directory.display().to_string()).collect();
                write!(f, "write odoo.conf in {}", names.join(", "))
            }
            A::IssueCertificate { names, .. } => write!(f, "issue certificate for {}", join(names)),
            A::InstallCertificate { certificate, .. } => {
                write!(f, "install certificate {}", certificate.display())
            }
            A::OrderCertificate(order) => {
                write!(f, "order certificate for {} from {}", join(&order.names), order.acme.directory.host())
            }
            A::VerifyCertificate { address, .. } => write!(f, "look at the certificate that {address} shows"),
            A::UseCertificate { id } => write!(f, "record certificate {id} as the one in use"),
            A::SweepCertificates { .. } => write!(f, "remove certificates no longer used"),
            A::CreateContainer(spec) => write!(f, "create container {} from {}", spec.name, spec.image),
            A::StartContainer { name } => write!(f, "start {name}"),
            A::StopContainer { name, .. } => write!(f, "stop {name}"),
            A::RetireContainer { name, .. } => write!(f, "stop and remove container {name}"),
            A::AwaitPostgres { container, .. } => write!(f, "wait for PostgreSQL in {container}"),
            A::PrepareTunnel(files) => {
                write!(
                    f,
                    "prepare the ssh tunnel's key, the pinned host key of {} and the client",
                    files.ssh.host
                )
            }
            A::AwaitTunnel { container, .. } => write!(f, "wait for PostgreSQL behind {container}"),
            A::ProveTunnel { container, .. } => write!(f, "see that {container} leads to PostgreSQL"),
            A::CheckServer(check) => {
                write!(f, "ask PostgreSQL at {}:{} whether it fits", check.external.host, check.external.port)
            }
            A::ClaimDatabase { database, .. } => write!(f, "claim the empty database {database}"),
            A::CompleteDatabase { database, .. } | A::MarkComplete { database, .. } => {
                write!(f, "mark database {database} as complete")
            }
            A::PrepareRole { createdb: false, .. } => write!(f, "prepare PostgreSQL role odoo"),
            A::PrepareRole { createdb: true, .. } => {
                write!(f, "prepare PostgreSQL role odoo, which may create databases")
            }
            A::CreateDatabase { name, collation, .. } => {
                write!(f, "create database {name}, sorted by {collation}")
            }
            A::InstallBase { database, .. } => write!(f, "install Odoo's base modules in {database}"),
            A::SetFirstUser { user, .. } => {
                write!(f, "set the first user {} with a random password", user.login)
            }
            A::AdoptFilestore { from, to, .. } => write!(f, "rename filestore {from} to {to}"),
            A::RenameDatabase { from, to, .. } => write!(f, "rename database {from} to {to}"),
            A::AwaitOdoo { container, .. } => write!(f, "wait for the login page of {container}"),
            A::TestNginxConf { .. } => write!(f, "test the new nginx configuration"),
            A::TestInNginx { container } => write!(f, "test the new nginx configuration in {container}"),
            A::PublishNginxConf { .. } => write!(f, "put the new nginx configuration in place"),
            A::ReloadNginx { container, .. } | A::ReloadPostgres { container } => {
                write!(f, "reload {container}")
            }
            A::DrainOdoo { container, .. } => write!(f, "let {container} finish its requests"),
            A::AwaitNginx { container, .. } | A::AwaitCron { container, .. } => {
                write!(f, "wait for {container}")
            }
            A::ProbeSite { host, .. } => write!(f, "ask https://{host} for its login page"),
            A::Sweep { .. } => write!(f, "remove configuration files no longer used"),
        }
    }
}

fn join(names: &[impl fmt::Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
