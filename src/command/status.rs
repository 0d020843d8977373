//! `status`: what runs, where it answers, what it keeps.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::backup::standing::{BackupStatus, standing};
use super::certificate::minute;
use super::external::place;
use super::site::{Loaded, load};
use super::sizing::{Chosen, report};
use super::{Adapters, Context};
use crate::cli::StatusArgs;
use crate::engine::Engine;
use crate::failure::Result;
use crate::name::DbName;
use crate::observed::{Container, EngineInfo, Health, Labelled, Observed, RunState};
use crate::plan::guard::data_volumes;
use crate::site::Site;
use crate::stack::spec::Role;
use crate::state::Phase;
use crate::ui::table::table;

/// Services in the order in which a request passes them.
const SERVICES: [Role; 4] = [Role::Front, Role::Nginx, Role::Odoo, Role::Cron];

/// What runs here for the database, if anything does.
fn server(site: &Site) -> Option<Role> {
    match &site.postgres.external {
        None => Some(Role::Postgres),
        Some(external) => external.ssh.as_ref().map(|_| Role::Tunnel),
    }
}

#[derive(Debug, Serialize)]
struct Status {
    site: String,
    url: String,
    databases: Vec<Address>,
    phase: Phase,
    engine: EngineInfo,
    /// Host and port of a PostgreSQL server elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<String>,
    /// The one in use, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    /// What has to be seen to about the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_problem: Option<String>,
    backup: BackupStatus,
    /// Data volumes that the site should have.
    #[serde(skip)]
    wanted_volumes: usize,
    /// Volumes with the site's data.
    volumes: Vec<String>,
    services: Vec<Line>,
}

/// Where people find a database.
#[derive(Debug, Serialize)]
struct Address {
    name: DbName,
    url: String,
}

/// Every database's, the first one first.
fn addresses(site: &Site) -> Vec<Address> {
    let databases = site.databases().into_iter();
    databases.map(|database| Address { url: site.url_of(&database.domain), name: database.name }).collect()
}

#[derive(Debug, Serialize)]
struct Certificate {
    issuer: String,
    /// RFC 3339.
    not_after: Timestamp,
    days_left: i64,
}

#[derive(Debug, Serialize)]
struct Line {
    service: Role,
    /// `absent` when it does not exist.
    state: String,
    /// What its healthcheck says; null when there was none.
    health: Option<Health>,
    container: Option<String>,
    image: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    restarts: u64,
}

pub async fn cmd_status<A: Adapters>(context: &Context<'_, A>, args: &StatusArgs) -> Result<()> {
    let loaded = load(context)?;
    let engine = loaded.engine(context).await?;
    if args.sizing {
        let chosen = Chosen::of(context, &loaded, engine.info().await?.kind);
        return context.ui.result(&report(&loaded, chosen));
    }
    let observed = loaded.observe(&engine).await?;
    let now = context.adapters.clock().now();
    let certificate = certificate(&loaded, now)?;
    let backup = standing(&loaded, now);
    context.ui.result(&status(&loaded, &observed, certificate, backup))
}

/// The one in use, and what has to be seen to.
fn certificate(loaded: &Loaded, now: Timestamp) -> Result<(Option<Certificate>, Option<String>)> {
    let Some(stored) = loaded.certificate_in_use()? else {
        return Ok((None, loaded.broken_certificate()?.map(|broken| broken.to_string())));
    };
    let fault = loaded.standing(&stored, now)?.fault;
    let certificate = Certificate {
        days_left: stored.days_left(now),
        issuer: stored.facts.issuer,
        not_after: stored.facts.not_after,
    };
    Ok((Some(certificate), fault.map(|fault| fault.sentence())))
}

fn status(
    loaded: &Loaded,
    observed: &Observed,
    (certificate, certificate_problem): (Option<Certificate>, Option<String>),
    backup: BackupStatus,
) -> Status {
    let (name, generation) = (&loaded.site.name, loaded.state.generation);
    let external = loaded.site.postgres.external.as_ref();
    let volumes = data_volumes(name, generation, external.is_some());
    Status {
        site: name.to_string(),
        url: loaded.site.url(),
        databases: addresses(&loaded.site),
        phase: loaded.state.phase,
        engine: observed.engine.clone(),
        external: external.map(place),
        certificate,
        certificate_problem,
        backup,
        wanted_volumes: volumes.len(),
        volumes: volumes
            .into_iter()
            .filter(|name| observed.volumes.iter().any(|volume| volume.name == *name))
            .collect(),
        services: SERVICES
            .into_iter()
            .chain(server(&loaded.site))
            .flat_map(|role| lines(role, observed))
            .collect(),
    }
}

fn lines(role: Role, observed: &Observed) -> Vec<Line> {
    let found: Vec<_> = observed.containers.iter().filter(|c| c.role() == Some(role)).map(line).collect();
    if !found.is_empty() {
        return found;
    }
    let state = "absent".to_owned();
    vec![Line { service: role, state, health: None, container: None, image: None, since: None, restarts: 0 }]
}

fn line(container: &Container) -> Line {
    Line {
        service: container.role().unwrap_or(Role::Helper),
        state: state_word(container),
        health: container.health,
        container: Some(container.name.clone()),
        image: Some(container.image.clone()),
        since: container.started_at.clone(),
        restarts: container.restart_count,
    }
}

fn state_word(container: &Container) -> String {
    match container.state {
        RunState::Created => "created".to_owned(),
        RunState::Running => "running".to_owned(),
        RunState::Paused => "paused".to_owned(),
        RunState::Restarting => "restarting".to_owned(),
        RunState::Exited => format!("exited ({})", container.exit_code.unwrap_or(-1)),
        RunState::Other => "unknown".to_owned(),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "site    {} at {}", self.site, self.url)?;
        for Address { name, url } in self.databases.iter().skip(1) {
            writeln!(f, "        database {name} at {url}")?;
        }
        writeln!(f, "engine  {} {} at {}", self.engine.kind, self.engine.version, self.engine.endpoint)?;
        let data = match self.phase {
            Phase::Ready if self.volumes.len() < self.wanted_volumes => {
                "MISSING; see `autoodoo up`".to_owned()
            }
            Phase::Ready => self.volumes.join(", "),
            phase => format!("none yet ({phase})"),
        };
        writeln!(f, "data    {data}")?;
        if let Some(place) = &self.external {
            writeln!(f, "        databases on the server at {place}, which is not ours")?;
        }
        if let Some(Certificate { issuer, not_after, days_left }) = &self.certificate {
            let until = minute(*not_after);
            match days_left {
                ..0 => writeln!(f, "tls     by {issuer}, until {until}")?,
                days => writeln!(f, "tls     by {issuer}, until {until} ({days} days)")?,
            }
        }
        if let Some(problem) = &self.certificate_problem {
            writeln!(f, "        PROBLEM: {problem}; see `autoodoo cert show`")?;
        }
        self.backup.fmt(f)?;
        writeln!(f)?;
        let rows: Vec<_> = self
            .services
            .iter()
            .map(|line| {
                let dash = || "-".to_owned();
                vec![
                    line.service.word().to_owned(),
                    line.state.clone(),
                    line.health.map_or_else(dash, |health| health.word().to_owned()),
                    line.since.as_deref().map_or_else(dash, seconds_precision),
                    line.container.clone().unwrap_or_else(dash),
                    line.image.clone().unwrap_or_else(dash),
                ]
            })
            .collect();
        f.write_str(&table(&["SERVICE", "STATE", "HEALTH", "SINCE", "CONTAINER", "IMAGE"], &rows))
    }
}

/// `2026-01-31T03:00:00.123456789Z` without its fraction.
fn seconds_precision(time: &str) -> String {
    time.parse::<jiff::Timestamp>()
        .map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The last words of a successful `up`.
#[derive(Debug, Serialize)]
pub struct Serving {
    event: &'static str,
    url: String,
    databases: Vec<Address>,
    login: String,
    password_file: String,
}

#[must_use]
pub fn serving(loaded: &Loaded) -> Serving {
    Serving {
        event: "serving",
        url: loaded.site.url(),
        databases: addresses(&loaded.site),
        login: loaded.site.odoo.admin_login.to_string(),
        password_file: loaded.dir.secrets_dir().join("admin-password").display().to_string(),
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.databases.iter().map(|database| database.url.as_str()).collect();
        let are = if urls.len() > 1 { "are" } else { "is" };
        let (login, file) = (&self.login, &self.password_file);
        write!(f, "{} {are} up; first login `{login}`, password in {file}", urls.join(", "))
    }
}
