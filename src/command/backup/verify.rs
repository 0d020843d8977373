//! `backup verify`: whether a target's repository is sound and a backup in it whole.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::opened::{LATEST, blocking, open, pick, readable, short, warn_of_the_future, watched};
use super::whole::{Examined, Sample, examine};
use crate::backup::words::{bytes, count, duration, some};
use crate::cli::VerifyArgs;
use crate::command::site::{Loaded, load};
use crate::command::{Adapters, Context};
use crate::event::{Event, Reporter, Unit};
use crate::failure::{Failure, Kind, Result};
use crate::host::lock::{Holder, SiteLock};
use crate::repository::{Checked, Depth, Listing, Progress, Repository, SetAside, Snapshot};
use crate::site::backup::Target;

/// Between two attempts to get the site's lock for a moment.
const BUSY: Duration = Duration::from_millis(500);
/// How often that is tried.
const ATTEMPTS: u32 = 20;

/// Sentences about other backups that are told; more are counted.
const NAMED: usize = 3;

/// What was found at one target.
#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    target: String,
    id: String,
    /// The share of the data that was read, 0 to 1.
    share: f64,
    whole: bool,
    findings: Vec<String>,
    /// What other backups at this target lack, where this one does not.
    elsewhere: Vec<String>,
    /// What was done about damaged packs, or is to be done.
    mended: Vec<String>,
    attachments: u64,
    attachments_read: u64,
    bytes_read: u64,
    seconds: u64,
    #[serde(skip)]
    took: Duration,
}

pub async fn cmd_verify<A: Adapters>(context: &Context<'_, A>, args: &VerifyArgs) -> Result<()> {
    let share = args.read_data.as_deref().map(share).transpose()?.unwrap_or(0.0);
    let loaded = load(context)?;
    let Located { found, mut failures } = locate(context, &loaded, args).await?;
    let of = found.len();
    let mut unsound = Vec::new();
    for (number, found) in (1..).zip(found) {
        let progress = Arc::new(Progress::default());
        let report = match verify(context, &loaded, &found, share, &progress, (number, of)).await {
            Ok(report) => report,
            Err(failure) if progress.stop.load(Ordering::Relaxed) => return Err(failure),
            Err(failure) => {
                failures.push((found.target.name.to_string(), failure));
                continue;
            }
        };
        if report.whole {
            remember(context, &loaded, &found.target, share).await?;
        } else {
            unsound.push(report.target.clone());
        }
        context.ui.result(&report)?;
    }
    ended(context, unsound, failures)
}

/// Exit code 7 where damage was found, whatever else went wrong.
fn ended<A: Adapters>(
    context: &Context<'_, A>,
    mut unsound: Vec<String>,
    mut failures: Vec<(String, Failure)>,
) -> Result<()> {
    if unsound.is_empty() && failures.len() < 2 {
        return failures.pop().map_or(Ok(()), |(_, failure)| Err(failure));
    }
    for (name, failure) in &failures {
        context.ui.warning(format!("target {name} was not verified: {failure}"));
    }
    let (damaged, unread): (Vec<_>, Vec<_>) =
        failures.into_iter().partition(|(_, failure)| failure.kind == Kind::Verification);
    unsound.extend(damaged.into_iter().map(|(name, _)| name));
    if unsound.is_empty() {
        let names: Vec<&str> = unread.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Failure::failed(format!("targets {} were not verified", names.join(", "))));
    }
    Err(damage(format!("the backup at {} is not whole", unsound.join(", "))))
}

fn damage(sentence: String) -> Failure {
    Failure::new(Kind::Verification, sentence)
        .hint("make another one with `autoodoo backup`: what the repository lacks is stored anew")
        .hint("`autoodoo backup list` shows older ones; verify one of them")
}

/// A backup at a target that has it.
struct Found {
    target: Target,
    repository: Arc<Repository>,
    snapshot: Snapshot,
}

/// Where there is something to verify, and why not where there is nothing.
#[derive(Default)]
struct Located {
    found: Vec<Found>,
    failures: Vec<(String, Failure)>,
}

/// The backup at every target that has it: an id is of one target, `latest` of each. A target that
/// cannot be opened does not keep the others from being verified.
async fn locate<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    args: &VerifyArgs,
) -> Result<Located> {
    let (mut located, mut absent) = (Located::default(), None);
    for target in readable(loaded, args.target.as_deref())? {
        let (repository, listing) = match listed(context, loaded, &target).await {
            Ok(listed) => listed,
            Err(failure) => {
                located.failures.push((target.name.to_string(), failure));
                continue;
            }
        };
        warn_of_the_future(context, loaded, &target, &listing);
        match pick(&listing, loaded.site.name.as_str(), &args.backup, context.adapters.clock().now()) {
            Ok(snapshot) => {
                let snapshot = snapshot.clone();
                located.found.push(Found { target, repository, snapshot });
            }
            Err(failure) => match unreadable(&listing, &args.backup) {
                Some(damage) => located.failures.push((target.name.to_string(), damage)),
                None if args.backup == LATEST => located.failures.push((target.name.to_string(), failure)),
                None => absent = Some(failure),
            },
        }
    }
    match absent {
        Some(failure) if located.found.is_empty() && located.failures.is_empty() => Err(failure),
        _ => Ok(located),
    }
}

async fn listed<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
) -> Result<(Arc<Repository>, Listing)> {
    let repository = open(context, loaded, target).await?;
    let reader = Arc::clone(&repository);
    let listing = blocking(move || reader.snapshots()).await?;
    Ok((repository, listing))
}

/// The backup that was asked for may be the one that nobody can read.
fn unreadable(listing: &Listing, wanted: &str) -> Option<Failure> {
    let mut files = listing.unreadable.iter();
    let found = files.any(|file| wanted == LATEST || file.contains(&format!("snapshots/{wanted}")));
    let sentence = match wanted {
        LATEST => "no backup of this site can be read".to_owned(),
        id => format!("the backup `{id}` cannot be read"),
    };
    found.then(|| damage(sentence).evidence(listing.unreadable.clone()))
}

async fn verify<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    found: &Found,
    share: f64,
    progress: &Arc<Progress>,
    (number, of): (usize, usize),
) -> Result<Report> {
    let action = format!("verify {} at {}", short(&found.snapshot.id), found.target.name);
    context.ui.report(Event::StepStarted { number, of, action, cause: String::new() });
    let begun = Instant::now();
    let sample = Sample { share, offset: offset(context) };
    let (repository, id) = (Arc::clone(&found.repository), found.snapshot.id.clone());
    let shared = Arc::clone(progress);
    let looked = watched(context, progress, Unit::Bytes, move || look(&repository, &id, sample, &shared));
    let Seen { examined, elsewhere, packs } = match looked.await {
        Ok(seen) => seen,
        Err(failure) => {
            context.ui.report(Event::StepFailed { number, of });
            return Err(failure);
        }
    };
    let mended = if packs.is_empty() {
        Vec::new()
    } else {
        set_aside(context, loaded, &found.repository, packs).await
    };
    let took = begun.elapsed();
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    context.ui.report(Event::StepDone { number, of, milliseconds });
    Ok(Report {
        event: "verified",
        target: found.target.name.to_string(),
        id: found.snapshot.id.clone(),
        share,
        whole: examined.findings.is_empty(),
        findings: examined.findings,
        elsewhere,
        mended,
        attachments: examined.attachments,
        attachments_read: examined.read,
        bytes_read: examined.read_bytes,
        seconds: took.as_secs(),
        took,
    })
}

/// What there is to say of a backup, and of the repository it is in.
struct Seen {
    examined: Examined,
    elsewhere: Vec<String>,
    packs: BTreeSet<String>,
}

/// The repository first, then the backup in it. Blocks.
fn look(repository: &Repository, snapshot: &str, sample: Sample, progress: &Arc<Progress>) -> Result<Seen> {
    let depth = if sample.share > 0.0 { Depth::Data(sample.share) } else { Depth::Structure };
    let Checked { mut faults, elsewhere, packs } = repository.check(depth, Some(snapshot), progress)?;
    let mut examined = match examine(repository, snapshot, sample, progress) {
        // What is damaged need not be readable to be told from what is whole.
        Err(failure) if !faults.is_empty() && !progress.stop.load(Ordering::Relaxed) => {
            Examined { findings: vec![failure.to_string()], ..Examined::default() }
        }
        examined => examined?,
    };
    faults.append(&mut examined.findings);
    Ok(Seen { examined: Examined { findings: faults, ..examined }, elsewhere, packs })
}

/// Sees to it that no later backup relies on packs that nobody can read; says what came of it.
async fn set_aside<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    repository: &Arc<Repository>,
    packs: BTreeSet<String>,
) -> Vec<String> {
    let done = match lock(context, loaded).await {
        Ok(Some(_lock)) => {
            let repository = Arc::clone(repository);
            blocking(move || repository.set_aside(&packs)).await
        }
        Ok(None) => Err(Failure::failed("another operation works on the site").hint("verify once more")),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(SetAside { packs, .. }) if packs.is_empty() => Vec::new(),
        Ok(SetAside { packs, parts, saved }) => vec![format!(
            "set aside {}: the next backup stores anew what was in {}; {saved} of {parts} parts could still be read \
             and are kept",
            count(packs.len() as u64, "pack"),
            if packs.len() == 1 { "it" } else { "them" },
        )],
        Err(failure) => {
            let told = format!("the damaged packs are still relied on: {failure}");
            std::iter::once(told).chain(failure.hints).collect()
        }
    }
}

fn offset<A: Adapters>(context: &Context<'_, A>) -> u8 {
    let mut offset = [0];
    context.adapters.random().bytes(&mut offset);
    offset[0]
}

/// Writes down that it was whole.
async fn remember<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    share: f64,
) -> Result<()> {
    let Some(_lock) = lock(context, loaded).await? else {
        context
            .ui
            .warning("another operation works on the site: `status` will not know that this was verified");
        return Ok(());
    };
    let mut memory = loaded.dir.backups()?;
    memory.verified(target, context.adapters.clock().now(), share);
    loaded.dir.save_backups(&memory)
}

/// The site's lock, for a moment: reading takes hours, in which the site must not be held up. `None`
/// where another operation does not let go of it.
async fn lock<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<Option<SiteLock>> {
    for _ in 0..ATTEMPTS {
        let holder = Holder {
            command: "autoodoo backup verify".to_owned(),
            pid: context.adapters.machine().pid,
            since: context.adapters.clock().now(),
        };
        match SiteLock::acquire(&loaded.dir.state_dir(), &holder) {
            Err(failure) if failure.kind == Kind::Busy => tokio::time::sleep(BUSY).await,
            acquired => return acquired.map(Some),
        }
    }
    Ok(None)
}

/// `100%`, `10%`, `2.5%` as a part of 1.
fn share(text: &str) -> Result<f64> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(Failure::usage(format!("`{text}` is no share of the data"))
            .hint("write a percentage such as `--read-data 10%`, or `--read-data` for all of it")),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, target) = (short(&self.id), &self.target);
        let verdict = if self.whole { "is whole" } else { "is NOT whole" };
        write!(f, "{id} at {target} {verdict}: {} there", count(self.attachments, "attachment"))?;
        if self.attachments_read > 0 {
            let read = bytes(self.bytes_read);
            write!(f, ", {} of {read} read back", count(self.attachments_read, "attachment"))?;
        }
        write!(f, ", {}", duration(self.took))?;
        for told in self.findings.iter().chain(&self.mended) {
            write!(f, "\n  {told}")?;
        }
        if !self.elsewhere.is_empty() {
            write!(f, "\n  other backups there are not: {}", some(&self.elsewhere, NAMED))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        for (text, expected) in [("100%", 1.0), ("10%", 0.1), ("2.5 %", 0.025)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
        for text in ["0%", "101%", "10", "%", "-1%", "NaN%", "inf%"] {
            assert_eq!(share(text).unwrap_err().kind, Kind::Usage, "{text}");
        }
    }

    #[test]
    fn a_report_names_what_is_wrong() {
        let mut report = Report {
            event: "verified",
            target: "near".to_owned(),
            id: "ab12cd34ef".to_owned(),
            share: 0.1,
            whole: true,
            findings: Vec::new(),
            elsewhere: Vec::new(),
            mended: Vec::new(),
            attachments: 20_000,
            attachments_read: 2_000,
            bytes_read: 203_000_000,
            seconds: 4,
            took: Duration::from_millis(4_200),
        };
        let text =
            "ab12cd34 at near is whole: 20000 attachments there, 2000 attachments of 203 MB read back, 4.2 s";
        assert_eq!(report.to_string(), text);
        (report.whole, report.findings) =
            (false, vec!["database acme: 1 attachment not in the backup: aa/1".to_owned()]);
        assert!(report.to_string().contains("is NOT whole"));
        assert!(report.to_string().ends_with("\n  database acme: 1 attachment not in the backup: aa/1"));
    }
}
