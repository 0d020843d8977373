//! `backup setup`: makes targets ready, and says what is left to do. Running it again changes nothing.

mod answers;
mod steps;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::opened::{absent, blocking, chosen, expected};
use super::{access, kit, sealing};
use crate::backup::memory::BackupMemory;
use crate::cli::SetupArgs;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Kind, Result};
use crate::host::files;
use crate::repository::Repository;
use crate::repository::store::Store;
use crate::repository::store::sftp::authorized_keys_line;
use crate::secret::Secret;
use crate::site::backup::{Place, Target};
use answers::{Answers, Asked};
use steps::Planned;

pub async fn cmd_setup<A: Adapters>(context: &Context<'_, A>, args: &SetupArgs) -> Result<()> {
    let loaded = load(context)?;
    let names: Vec<String> = args.target.iter().cloned().collect();
    let targets = chosen(&loaded, &names)?;
    if args.dry_run {
        return context.ui.result(&Planned::of(&loaded, &targets)?);
    }
    // A question left open for the night must not keep the site from a renewal.
    let asked = answers::ask(context, &loaded, &targets, args)?;
    let (loaded, _lock) = load_locked(context, "backup setup")?;
    if chosen(&loaded, &names)? != targets {
        return Err(Failure::failed("autoodoo.yaml was changed meanwhile; nothing was done")
            .hint("run `autoodoo backup setup` again"));
    }
    let mut report = Report::default();
    for (target, asked) in targets.iter().zip(asked) {
        let outcome = match asked {
            Asked::Ready(answers) => make_ready(context, &loaded, target, answers).await,
            // The key all the same: whoever looks up the server's own can let this one in meanwhile.
            Asked::Lacks(failure) => ensure_key(context, &loaded, target).and(Err(failure)),
        };
        report.targets.push(told(context, &loaded, target, outcome));
    }
    report.next = next(&loaded)?;
    context.ui.result(&report)?;
    report.into_result()
}

/// What came of one target.
enum Ready {
    /// It has a repository.
    Repository { id: String, made: bool },
    /// It takes sealed exports, and cannot be asked whether it does.
    Exports,
}

async fn make_ready<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    answers: Answers,
) -> Result<Ready> {
    ensure_key(context, loaded, target)?;
    write_down(loaded, target, &answers)?;
    if matches!(target.place, Place::Drop { .. }) {
        let now = context.adapters.clock().now();
        return sealing::of_target(&loaded.dir.backup_secrets(), &target.name, now).map(|_| Ready::Exports);
    }
    let mut memory = loaded.dir.backups()?;
    ensure_password(context, loaded, target, &memory)?;
    let known = memory.target(target).and_then(|memory| memory.repository.clone());
    let secrets = loaded.dir.backup_secrets();
    let (password, access) = (secrets.password(target)?, access::access(&secrets, target)?);
    let store = context.adapters.store(&target.place, &access)?;
    let cache = loaded.dir.backup_cache(&target.name);
    let (name, place) = (target.name.to_string(), target.place.to_string());
    let opened =
        blocking(move || open_or_make(store, &password, &cache, known.as_deref(), &name, &place)).await?;
    let (id, made) = (opened.0.id(), opened.1);
    memory.target_mut(target).repository = Some(id.clone());
    loaded.dir.save_backups(&memory)?;
    Ok(Ready::Repository { id, made })
}

fn write_down(loaded: &Loaded, target: &Target, answers: &Answers) -> Result<()> {
    let secrets = loaded.dir.backup_secrets();
    if let Some((user, secret)) = &answers.credentials {
        secrets.save_credentials(&target.name, user, secret)?;
    }
    if let Some(recipients) = &answers.recipients {
        files::write_atomic(&secrets.recipients_file(&target.name), recipients, 0o600)?;
    }
    match &answers.known_host {
        Some(line) => files::write_atomic(&secrets.known_hosts(&target.name), line.as_bytes(), 0o600),
        None => Ok(()),
    }
}

/// Makes the password, but none in place of one that a repository was made with and that is lost.
fn ensure_password<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    memory: &BackupMemory,
) -> Result<()> {
    let secrets = loaded.dir.backup_secrets();
    let file = secrets.password_file(target);
    let mut sharing = loaded.site.backup.targets.iter().filter(|other| secrets.password_file(other) == file);
    if sharing.any(|other| memory.target(other).is_some_and(|known| known.repository.is_some())) {
        return Ok(());
    }
    secrets.ensure_password(target, context.adapters.random())
}

/// The repository at a place, and whether it was made just now: that happens only where none was ever
/// seen. Blocks.
pub fn open_or_make(
    store: Arc<dyn Store>,
    password: &Secret,
    cache: &Path,
    known: Option<&str>,
    name: &str,
    place: &str,
) -> Result<(Repository, bool)> {
    if Repository::exists(&*store)? {
        let repository = Repository::open(store, password, Some(cache))?;
        expected(name, place, known, &repository.id())?;
        return Ok((repository, false));
    }
    match known {
        Some(_) => Err(absent(name, place, true)),
        None => Ok((Repository::init(store, password)?, true)),
    }
}

/// Makes the ssh key of a target that needs one and has none, whole or not at all.
fn ensure_key<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, target: &Target) -> Result<()> {
    loaded.dir.backup_secrets().ensure_dirs()?;
    if !matches!(target.place, Place::Sftp { .. } | Place::Drop { .. }) {
        return Ok(());
    }
    let (ssh, path) = (context.adapters.ssh(), loaded.dir.backup_secrets().ssh_key(&target.name));
    if files::mode_of(&path)?.is_none() {
        let unfinished = path.with_extension("new");
        let unfinished_public = path.with_extension("new.pub");
        // What a killed run has left would be asked about.
        files::remove(&unfinished)?;
        ssh.new_key(&unfinished, &format!("autoodoo-{}-{}", loaded.site.name, target.name))?;
        files::remove(&unfinished_public)?;
        files::rename(&unfinished, &path)?;
    }
    let public = ssh.public_key(&path)?;
    files::write_atomic(&path.with_extension("pub"), public.as_bytes(), 0o600)
}

/// A target as it is after the attempt.
#[derive(Serialize)]
struct TargetReport {
    target: String,
    place: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    /// The repository was made by this run.
    made: bool,
    /// What somebody has to do.
    left: Vec<String>,
    #[serde(skip)]
    kind: Kind,
}

fn told<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    outcome: Result<Ready>,
) -> TargetReport {
    let mut report = TargetReport {
        target: target.name.to_string(),
        place: target.place.to_string(),
        ready: outcome.is_ok(),
        repository: None,
        made: false,
        left: Vec::new(),
        kind: Kind::Failed,
    };
    match outcome {
        Ok(Ready::Repository { id, made }) => (report.repository, report.made) = (Some(id), made),
        Ok(Ready::Exports) => report.left.extend(key_line(context, loaded, target)),
        Err(failure) => {
            report.kind = failure.kind;
            report.left.push(failure.to_string());
            report.left.extend(failure.evidence);
            report.left.extend(failure.hints);
            report.left.extend(key_line(context, loaded, target));
        }
    }
    report
}

/// What the server's administrator is to write, of a target that has a key.
fn key_line<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, target: &Target) -> Option<String> {
    let (Place::Sftp { user, host, .. } | Place::Drop { user, host, .. }) = &target.place else {
        return None;
    };
    let path = loaded.dir.backup_secrets().ssh_key(&target.name);
    files::mode_of(&path).ok().flatten()?;
    let public = context.adapters.ssh().public_key(&path).ok()?;
    Some(format!(
        "on {host} the authorized_keys of {user} needs this line, with which this server can add files and \
         neither change nor remove any (`scripts/backup-server add` writes it, and makes the directories):\n{}",
        authorized_keys_line(&public)
    ))
}

#[derive(Default, Serialize)]
struct Report {
    targets: Vec<TargetReport>,
    /// Commands that should follow.
    next: Vec<String>,
}

impl Report {
    fn into_result(self) -> Result<()> {
        let waiting: Vec<&TargetReport> = self.targets.iter().filter(|target| !target.ready).collect();
        let names: Vec<&str> = waiting.iter().map(|target| target.target.as_str()).collect();
        let message = match names.as_slice() {
            [] => return Ok(()),
            [name] => format!("target {name} is not ready"),
            names => format!("targets {} are not ready", names.join(", ")),
        };
        let usage = waiting.iter().all(|target| target.kind == Kind::Usage);
        let kind = if usage { Kind::Usage } else { Kind::Failed };
        Err(Failure::new(kind, message).hint("do what is told above, then run `autoodoo backup setup` again"))
    }
}

/// What should follow when the targets are ready.
fn next(loaded: &Loaded) -> Result<Vec<String>> {
    let memory = loaded.dir.backups()?;
    let mut next = Vec::new();
    let targets = &loaded.site.backup.targets;
    let known = |target: &Target| memory.target(target).cloned();
    if targets
        .iter()
        .filter_map(known)
        .any(|memory| memory.repository.is_some() && memory.last_success.is_none())
    {
        next.push("make the first backup: `autoodoo backup`".to_owned());
    }
    if kit::is_to_be_kept(loaded, &memory)? {
        next.push(
            "keep the recovery kit in another place: `autoodoo backup key show`, then `autoodoo backup key kept`"
                .to_owned(),
        );
    }
    Ok(next)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in &self.targets {
            let state = match (target.ready, target.made, &target.repository) {
                (false, ..) => "NOT READY",
                (true, true, _) => "ready, its repository was made",
                (true, false, Some(_)) => "ready",
                (true, false, None) => "takes sealed exports; whether it does is seen with the first one",
            };
            writeln!(f, "{}  {}: {state}", target.target, target.place)?;
            for left in &target.left {
                // A line to be copied stands alone.
                writeln!(f, "  - {left}")?;
            }
        }
        for next in &self.next {
            writeln!(f, "next: {next}")?;
        }
        Ok(())
    }
}
