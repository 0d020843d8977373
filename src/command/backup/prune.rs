//! `backup prune`: forgets old backups by the rules under `backup.keep`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use serde::Serialize;

use super::manifests::{Described, Manifests};
use super::opened::{blocking, open, readable, short, warn_of_the_future, watched};
use crate::backup::shrink::{Content, Objection, Weight, objection, spared};
use crate::backup::words::{bytes, count};
use crate::cli::PruneArgs;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context};
use crate::event::{Event, Reporter, Unit};
use crate::failure::{Failure, Result};
use crate::repository::{Progress, Pruned, Removal, Repository, Verdict};
use crate::site::backup::Target;
use crate::ui::prompt::Confirm;
use crate::ui::table::table;

/// The reason of a backup that stays against the rules.
const LAST_WHOLE: &str = "the last whole one";

/// What is done at one target, and why.
#[derive(Debug, Serialize)]
struct Judgement {
    event: &'static str,
    target: String,
    /// Newest first.
    backups: Vec<Line>,
    /// Why nothing is forgotten by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    objection: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: String,
    time: Timestamp,
    keep: bool,
    /// restic's words.
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    event: &'static str,
    target: String,
    forgotten: u64,
    kept: u64,
    freed_bytes: u64,
    /// Nobody needs them any more; a prune after 23 hours frees them.
    marked_bytes: u64,
}

pub async fn cmd_prune<A: Adapters>(context: &Context<'_, A>, args: &PruneArgs) -> Result<()> {
    if args.dry_run {
        let loaded = load(context)?;
        for target in readable(&loaded, args.target.as_deref())? {
            let judged = judge(context, &loaded, &target).await?;
            context.ui.result(&judged.told)?;
        }
        return Ok(());
    }
    let (loaded, _lock) = load_locked(context, "backup prune")?;
    let targets = readable(&loaded, args.target.as_deref())?;
    let of = targets.len();
    let (mut failures, progress) = (Vec::new(), Arc::new(Progress::default()));
    for (number, target) in (1..).zip(targets) {
        if progress.stop.load(Relaxed) {
            break;
        }
        let pruned = prune(context, &loaded, &target, args, &progress, (number, of)).await;
        failures.extend(pruned.err().map(|failure| (target.name.to_string(), failure)));
    }
    ended(failures)
}

/// One target that objects does not keep the others from being pruned.
fn ended(mut failures: Vec<(String, Failure)>) -> Result<()> {
    if failures.len() <= 1 {
        return failures.pop().map_or(Ok(()), |(_, failure)| Err(failure));
    }
    let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
    let mut all = Failure::failed(format!("targets {} were not pruned", names.join(", ")));
    for (name, failure) in failures {
        all.causes.push(format!("{name}: {failure}"));
        all.hints.extend(failure.hints);
    }
    all.hints.dedup();
    Err(all)
}

async fn prune<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    args: &PruneArgs,
    progress: &Arc<Progress>,
    (number, of): (usize, usize),
) -> Result<()> {
    let judged = judge(context, loaded, target).await?;
    if let Some(objection) = &judged.objection {
        agreed(context, target, objection, args.accept_loss)?;
    }
    let removal = if args.now {
        alone(loaded, target, &judged.hosts)?;
        Removal::Now
    } else {
        Removal::Marked
    };
    let kept = judged.told.backups.len() - judged.going.len();
    // Also when none goes: earlier runs may have left what nobody needs.
    let action = match judged.going.len() as u64 {
        0 => format!("free what no backup needs at {}", target.name),
        going => format!("forget {} at {}", count(going, "backup"), target.name),
    };
    let cause = "backup.keep in autoodoo.yaml".to_owned();
    context.ui.report(Event::StepStarted { number, of, action, cause });
    let begun = tokio::time::Instant::now();
    let pruned = forget(context, judged.repository, judged.going, removal, progress).await;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    context.ui.report(match &pruned {
        Ok(_) => Event::StepDone { number, of, milliseconds },
        Err(_) => Event::StepFailed { number, of },
    });
    let pruned = pruned?;
    context.ui.result(&Done {
        event: "pruned",
        target: target.name.to_string(),
        forgotten: pruned.snapshots,
        kept: kept as u64,
        freed_bytes: pruned.freed,
        marked_bytes: pruned.marked,
    })
}

async fn forget<A: Adapters>(
    context: &Context<'_, A>,
    repository: Arc<Repository>,
    going: Vec<String>,
    removal: Removal,
    progress: &Arc<Progress>,
) -> Result<Pruned> {
    let shared = Arc::clone(progress);
    watched(context, progress, Unit::Items, move || repository.prune(&going, removal, &shared)).await
}

/// Nobody but this site writes there, and this site's lock is ours.
fn alone(loaded: &Loaded, target: &Target, hosts: &BTreeSet<String>) -> Result<()> {
    let others: Vec<&str> =
        hosts.iter().map(String::as_str).filter(|host| *host != loaded.site.name.as_str()).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "nothing was freed at target {}: it also has backups of {}, whose next one may be under way",
        target.name,
        others.join(", ")
    ))
    .hint("prune without `--now`: what nobody needs is freed by a prune 23 hours later"))
}

/// The rules' verdict at one target.
struct Judged {
    repository: Arc<Repository>,
    /// Full ids.
    going: Vec<String>,
    objection: Option<Objection>,
    /// Whose backups are in the repository.
    hosts: BTreeSet<String>,
    told: Judgement,
}

async fn judge<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, target: &Target) -> Result<Judged> {
    let repository = open(context, loaded, target).await?;
    let now = context.adapters.clock().now();
    let (keep, site) = (loaded.site.backup.keep, loaded.site.name.to_string());
    let memory = loaded.dir.backups()?;
    let last_run = memory.target(target).and_then(|memory| Some(memory.last_success.as_ref()?.time));
    let (reader, manifests) = (Arc::clone(&repository), Manifests::of(&loaded.dir));
    let (listing, verdicts, contents) = blocking(move || {
        let (listing, verdicts) = (reader.snapshots()?, reader.judge(&keep, &site, now)?);
        let contents = contents(&reader, &manifests, &site)?;
        Ok((listing, verdicts, contents))
    })
    .await?;
    warn_of_the_future(context, loaded, target, &listing);
    let hosts = listing.snapshots.into_iter().map(|snapshot| snapshot.host).collect();
    Ok(Judged { hosts, ..weigh(repository, target, verdicts, &contents, now, last_run) })
}

/// What the site's backups hold, by full id. Blocks.
fn contents(
    repository: &Repository,
    manifests: &Manifests,
    site: &str,
) -> Result<BTreeMap<String, Option<Content>>> {
    let catalogue = manifests.catalogue(repository, site)?;
    let content = |Described { snapshot, manifest }: Described| {
        (snapshot.id, manifest.ok().map(|manifest| Content::of(&manifest)))
    };
    Ok(catalogue.backups.into_iter().map(content).collect())
}

fn weigh(
    repository: Arc<Repository>,
    target: &Target,
    mut verdicts: Vec<Verdict>,
    contents: &BTreeMap<String, Option<Content>>,
    now: Timestamp,
    last_run: Option<Timestamp>,
) -> Judged {
    let (kept, going) = weights(&verdicts, contents);
    if let Some(last) = spared(&kept, &going) {
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.snapshot.id == last.id) {
            verdict.keep = true;
            verdict.reasons = vec![LAST_WHOLE.to_owned()];
        }
    }
    let (kept, going) = weights(&verdicts, contents);
    let objection = objection(&kept, &going, now, last_run);
    let told = Judgement {
        event: "judged",
        target: target.name.to_string(),
        backups: verdicts.into_iter().map(|verdict| line(verdict, contents)).collect(),
        objection: objection.as_ref().map(ToString::to_string),
    };
    let going = going.into_iter().map(|weight| weight.id).collect();
    Judged { repository, going, objection, hosts: BTreeSet::new(), told }
}

/// Those that stay and those that go.
fn weights(verdicts: &[Verdict], contents: &BTreeMap<String, Option<Content>>) -> (Vec<Weight>, Vec<Weight>) {
    let weight = |verdict: &Verdict| Weight {
        id: verdict.snapshot.id.clone(),
        time: verdict.snapshot.time,
        content: contents.get(&verdict.snapshot.id).cloned().flatten(),
    };
    let (kept, going): (Vec<&Verdict>, Vec<&Verdict>) = verdicts.iter().partition(|verdict| verdict.keep);
    (kept.into_iter().map(weight).collect(), going.into_iter().map(weight).collect())
}

fn line(verdict: Verdict, contents: &BTreeMap<String, Option<Content>>) -> Line {
    let content = contents.get(&verdict.snapshot.id).and_then(Option::as_ref);
    Line {
        time: verdict.snapshot.time,
        keep: verdict.keep,
        reasons: verdict.reasons,
        bytes: content.map(|content| content.bytes),
        rows: content.map(|content| content.rows),
        id: verdict.snapshot.id,
    }
}

/// Goes on only when somebody has said that what the newest backup lacks is not wanted. `--yes` is a
/// habit, not an answer.
fn agreed<A: Adapters>(
    context: &Context<'_, A>,
    target: &Target,
    objection: &Objection,
    accepted: bool,
) -> Result<()> {
    let refused = Failure::failed(format!("nothing was forgotten at target {}: {objection}", target.name));
    if !objection.is_answerable() {
        return Err(unanswerable(refused, objection));
    }
    if accepted {
        return Ok(());
    }
    let prompter = context.adapters.prompter();
    let refused = refused
        .hint("look at the site first: if data is lost, those backups are what brings it back")
        .hint("if it is meant so, say `autoodoo backup prune --accept-loss` once; not in a schedule");
    if !prompter.is_interactive() {
        return Err(refused);
    }
    let goes_on = prompter.confirm(&Confirm {
        question: "Forget the old backups all the same?".to_owned(),
        explanation: format!("At target {}, {objection}.", target.name),
        default: false,
    })?;
    if goes_on { Ok(()) } else { Err(refused) }
}

fn unanswerable(refused: Failure, objection: &Objection) -> Failure {
    match objection {
        Objection::Future { .. } => {
            refused.hint("set this machine's clock; while it is wrong, ages mean nothing").hint(
                "if it is right, make a backup with `autoodoo backup`: then those of the future are left alone",
            )
        }
        _ => refused
            .hint("make another backup with `autoodoo backup`, then prune again")
            .hint("`autoodoo backup verify` says what is wrong with that one"),
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = || "-".to_owned();
        let rows: Vec<_> = self
            .backups
            .iter()
            .map(|line| {
                vec![
                    short(&line.id).to_owned(),
                    line.time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
                    line.bytes.map_or_else(dash, bytes),
                    line.rows.map_or_else(dash, |rows| rows.to_string()),
                    if line.keep { "keep" } else { "forget" }.to_owned(),
                    if line.keep { line.reasons.join(", ") } else { "no rule keeps it".to_owned() },
                ]
            })
            .collect();
        writeln!(f, "{}", self.target)?;
        f.write_str(&table(&["ID", "TIME", "SIZE", "ROWS", "VERDICT", "REASON"], &rows))?;
        if let Some(objection) = &self.objection {
            writeln!(f, "would stop and ask: {objection}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, kept) = (&self.target, count(self.kept, "backup"));
        match self.forgotten {
            0 => write!(f, "{target}: nothing to forget, {kept} kept")?,
            forgotten => write!(f, "{target}: forgot {forgotten}, kept {kept}")?,
        }
        if self.forgotten > 0 || self.freed_bytes > 0 {
            write!(f, ", freed {}", bytes(self.freed_bytes))?;
        }
        if self.marked_bytes > 0 {
            let marked = bytes(self.marked_bytes);
            write!(f, "; {marked} more will be freed by a prune after 23 h, or by `--now`")?;
        }
        Ok(())
    }
}
