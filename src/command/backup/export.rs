//! `backup export`: one moment of the site as a single file, for people and for auditors.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cold;
use super::create::{unless_stopped, until_interrupted};
use super::desk::{Desk, databases, subject};
use super::opened::{blocking, position, telling};
use super::read::{CHUNKS, Sender};
use super::sealing::by_flags;
use super::summary::{damage, damaged};
use crate::archive::file::Unfinished;
use crate::archive::seal::Recipients;
use crate::archive::{self, Export, Written};
use crate::backup::manifest::BackupKind;
use crate::backup::source::Source;
use crate::backup::words::{bytes, count, duration};
use crate::capture::{Moment, Secrets, Subject, Suspects, sweep};
use crate::cli::SealArgs;
use crate::command::open::has_data;
use crate::command::site::{Loaded, load_locked};
use crate::command::{Adapters, Context, run};
use crate::event::{Reporter, Unit};
use crate::failure::{Failure, Result};
use crate::host::journal::{BACKUP, Outcome as Ending};
use crate::observed::Observed;
use crate::render::libpq::Endpoint;
use crate::repository::Progress;
use crate::stack::names;

pub async fn cmd_export<A: Adapters>(context: &Context<'_, A>, args: &SealArgs) -> Result<()> {
    let recipients = by_flags(args, context.adapters.clock().now())?;
    // Before anything is asked of the site: a name that cannot be had is told at once.
    let into = Into::at(context, &args.file)?;
    advise(context, &args.file, &recipients);
    let (loaded, _lock) = load_locked(context, "backup export")?;
    has_data(&loaded)?;
    let engine = loaded.engine(context).await?;
    run::after_interruption(context, &loaded)?;
    let done = exported(context, &loaded, &engine, args, recipients, into).await;
    if done.is_err() {
        // Whatever went wrong, and whenever: what a cold run has stopped runs again.
        cold::start_what_stands_still(context, &loaded, &engine).await?;
    }
    let exported = done?;
    remember(context, &loaded)?;
    tell(context, &args.file, &exported)?;
    exported.verdict()
}

async fn exported<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    args: &SealArgs,
    recipients: Recipients,
    into: Into,
) -> Result<Exported> {
    let observed = loaded.observe(engine).await?;
    let helper = names::helper(&loaded.site.name, names::HELPER_BACKUP);
    let desk = Desk::set_up(context, loaded, engine, &observed, helper).await?;
    let site = Site { context, loaded, engine, observed: &observed };
    let done = site.export(&desk, args, recipients, into).await;
    if let Err(failure) = desk.clear(engine).await {
        // The next run removes it; what was exported is exported.
        context.ui.warning(failure.to_string());
    }
    done
}

/// Where the bytes go.
enum Into {
    File(Unfinished),
    StandardOutput,
}

impl Into {
    fn at<A: Adapters>(context: &Context<'_, A>, file: &Path) -> Result<Into> {
        if !is_standard_output(file) {
            return Unfinished::create(file).map(Into::File);
        }
        if context.cli.global.json {
            return Err(Failure::usage("with `--json` standard output has no place for the export")
                .hint("give a file in place of `-`"));
        }
        if context.adapters.machine().terminal {
            return Err(Failure::usage("an export is no text; it is not written to a terminal")
                .hint("redirect it: `autoodoo backup export - > FILE`"));
        }
        Ok(Into::StandardOutput)
    }
}

fn is_standard_output(file: &Path) -> bool {
    file == Path::new("-")
}

/// What should be looked at before it is too late.
fn advise<A: Adapters>(context: &Context<'_, A>, file: &Path, recipients: &Recipients) {
    if !recipients.is_sealed() {
        context.ui.warning(
            "this export is not sealed: whoever has the file can read all of it; secrets/ and generated/ of the \
             site directory are left out, and the keys and the DNS hook that autoodoo.yaml names",
        );
    }
    let suffix = recipients.suffix();
    if !is_standard_output(file) && !file.to_string_lossy().ends_with(suffix) {
        context.ui.warning(format!("{} would be known for what it is by a name in {suffix}", file.display()));
    }
}

fn remember<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<()> {
    let mut memory = loaded.dir.backups()?;
    memory.last_export = Some(context.adapters.clock().now());
    loaded.dir.save_backups(&memory)
}

fn tell<A: Adapters>(context: &Context<'_, A>, file: &Path, exported: &Exported) -> Result<()> {
    let global = &context.cli.global;
    if is_standard_output(file) {
        // Standard output is the export.
        context.ui.note(exported.to_string());
    } else if global.json || !global.quiet {
        context.ui.result(exported)?;
    }
    Ok(())
}

fn interruption() -> Failure {
    Failure::failed("interrupted; no export was made")
}

/// What an export came to.
#[derive(Debug, Serialize)]
struct Exported {
    event: &'static str,
    file: PathBuf,
    kind: BackupKind,
    databases: Vec<String>,
    files: u64,
    /// Of what was exported.
    bytes: u64,
    /// Of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_bytes: Option<u64>,
    sealed_for: Vec<String>,
    seconds: u64,
    damaged: Vec<String>,
    left_out: Vec<String>,
    #[serde(skip)]
    took: Duration,
    /// Why Odoo, which was stopped for this export, does not answer now.
    #[serde(skip)]
    silent: Option<Failure>,
}

impl Exported {
    /// Exit code 7 where the source was damaged already, 1 where Odoo does not come back.
    fn verdict(self) -> Result<()> {
        let done = "the export was made";
        if !self.damaged.is_empty() {
            return Err(damaged(done, &self.damaged));
        }
        self.silent.map_or(Ok(()), |beneath| Err(cold::silent(done, beneath)))
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases = count(self.databases.len() as u64, "database");
        write!(f, "exported {databases}, {}, in {}", bytes(self.bytes), duration(self.took))?;
        if let Some(length) = self.file_bytes {
            write!(f, "; {} has {}", self.file.display(), bytes(length))?;
        }
        match self.sealed_for.len() as u64 {
            0 => write!(f, ", not sealed")?,
            number => write!(f, ", sealed for {}", count(number, "recipient"))?,
        }
        self.left_out.iter().try_for_each(|left_out| write!(f, "\nnot in it: {left_out}"))
    }
}

/// A site whose lock is held.
struct Site<'a, A: Adapters> {
    context: &'a Context<'a, A>,
    loaded: &'a Loaded,
    engine: &'a A::Engine,
    observed: &'a Observed,
}

impl<A: Adapters> Site<'_, A> {
    async fn export(
        &self,
        desk: &Desk,
        args: &SealArgs,
        recipients: Recipients,
        into: Into,
    ) -> Result<Exported> {
        let (names, _) = databases(self.loaded, self.engine, &desk.client).await?;
        let kind = if args.cold { BackupKind::Cold } else { BackupKind::Hot };
        let subject = subject(self.context, self.loaded, self.observed, desk, names, kind, None)?;
        let progress = Arc::new(Progress::default());
        let exporting = Exporting { site: self, file: &args.file, subject: &subject, recipients, progress };
        let progress = Arc::clone(&exporting.progress);
        until_interrupted(self.context, &progress, exporting.journaled(into), interruption).await
    }
}

/// One export, carried out.
struct Exporting<'a, A: Adapters> {
    site: &'a Site<'a, A>,
    file: &'a Path,
    subject: &'a Subject,
    recipients: Recipients,
    progress: Arc<Progress>,
}

impl<A: Adapters> Exporting<'_, A> {
    async fn journaled(self, into: Into) -> Result<Exported> {
        let (journal, clock) = (self.site.loaded.dir.journal(), self.site.context.adapters.clock());
        journal.begin(clock.now(), BACKUP, vec![format!("export to {}", self.file.display())])?;
        journal.step_begin(clock.now(), 1)?;
        let done = self.at_rest(into).await;
        journal.end(clock.now(), if done.is_ok() { Ending::Done } else { Ending::Failed })?;
        done
    }

    /// Begins with what a killed run has left.
    async fn at_rest(self, into: Into) -> Result<Exported> {
        let Site { loaded, engine, observed, .. } = *self.site;
        let left_stopped = cold::left_stopped(loaded, observed)?;
        cold::start(loaded, engine, &left_stopped).await?;
        sweep(engine, &self.subject.client, &self.subject.volume, &self.subject.databases).await?;
        let mut odoo = left_stopped;
        if self.subject.kind == BackupKind::Cold {
            odoo.extend(cold::running(loaded, observed));
            cold::stop(self.site.context, loaded, engine, &odoo).await?;
        }
        self.at_one_moment(&odoo, into).await
    }

    /// Odoo stands still for a cold export until the moment is held, and no longer.
    async fn moment(&self, odoo: &[String]) -> Result<Moment<'_, A::Engine>> {
        let Site { context, loaded, engine, .. } = *self.site;
        let beginning = Moment::begin(engine, self.subject, context.ui);
        let begun = unless_stopped(&self.progress, beginning, interruption).await;
        if self.subject.kind == BackupKind::Cold {
            // Odoo that does not come back is worse than an export that is missing.
            cold::start(loaded, engine, odoo).await?;
        }
        begun
    }

    /// Why Odoo, which was started, does not answer.
    async fn silent(&self, odoo: &[String], moment: &mut Moment<'_, A::Engine>) -> Option<Failure> {
        if odoo.is_empty() {
            return None;
        }
        let Site { context, loaded, engine, .. } = *self.site;
        let answers = unless_stopped(&self.progress, cold::answers(context, loaded, engine), interruption);
        let silent = moment.serve_until(&self.progress.stop, answers).await.err();
        // At once: the export may fail for other reasons.
        silent.inspect(|failure| context.ui.warning(format!("Odoo does not answer: {failure}")))
    }

    async fn at_one_moment(self, odoo: &[String], into: Into) -> Result<Exported> {
        let (begun, context) = (Instant::now(), self.site.context);
        let mut moment = self.moment(odoo).await?;
        let silent = self.silent(odoo, &mut moment).await;
        let done = self.written(&mut moment, into).await;
        let lost = moment.end().await.err();
        let (written, file_bytes) = match done {
            Ok(done) => done,
            Err(_) if self.progress.stop.load(Ordering::Relaxed) => return Err(interruption()),
            Err(failure) => return Err(explained(failure, lost)),
        };
        // Everything was read before it was lost.
        if let Some(lost) = lost {
            context.ui.warning(lost.to_string());
        }
        Ok(Exported {
            event: "exported",
            file: self.file.to_owned(),
            kind: self.subject.kind,
            databases: self.subject.databases.iter().map(ToString::to_string).collect(),
            files: written.files,
            bytes: written.bytes,
            file_bytes,
            sealed_for: self.recipients.names(),
            seconds: begun.elapsed().as_secs(),
            damaged: damage(&written.manifest),
            left_out: written.manifest.left_out,
            took: begun.elapsed(),
            silent,
        })
    }

    /// Bytes of the file are known where it is one.
    async fn written(
        &self,
        moment: &mut Moment<'_, A::Engine>,
        into: Into,
    ) -> Result<(Written, Option<u64>)> {
        let secrets = if self.recipients.is_sealed() { Secrets::Included } else { Secrets::LeftOut };
        let work = Work {
            source: moment.source(secrets, Suspects::none()),
            subject: self.readme(),
            recipients: self.recipients.clone(),
            progress: Arc::clone(&self.progress),
        };
        self.progress.total.store(work.source.size(), Ordering::Relaxed);
        let context = self.site.context;
        match into {
            Into::File(file) => {
                self.has_room(&file, work.source.size())?;
                let name = self.file.display().to_string();
                let job = blocking(move || work.into_file(&name, file));
                let job = telling(context, || position(&self.progress), Unit::Bytes, job);
                let (written, length) = moment.serve_until(&self.progress.stop, job).await?;
                Ok((written, Some(length)))
            }
            Into::StandardOutput => {
                let job = shown(context, work);
                let job = telling(context, || position(&self.progress), Unit::Bytes, job);
                Ok((moment.serve_until(&self.progress.stop, job).await?, None))
            }
        }
    }

    fn readme(&self) -> archive::Subject {
        let name = self.file.file_name().unwrap_or_default();
        let file = if is_standard_output(self.file) { "FILE".into() } else { name.to_string_lossy() };
        described(self.site.loaded, self.subject, &file)
    }

    /// A dump has no indexes and both shrink: a quarter is what an export needs at least.
    fn has_room(&self, file: &Unfinished, size: u64) -> Result<()> {
        let Some(free) = file.free().filter(|free| *free < size) else { return Ok(()) };
        let (free_words, size_words) = (bytes(free), bytes(size));
        if free < size / 4 {
            return Err(Failure::failed(format!(
                "there are {free_words} free where {} is to be, too few for an export of {size_words}",
                self.file.display()
            ))
            .hint("make room there, or write it to another file system"));
        }
        self.site.context.ui.warning(format!(
            "{free_words} are free for an export of {size_words}: enough only if it shrinks well"
        ));
        Ok(())
    }
}

/// Why the moment was lost is what a failure lacks.
fn explained(mut failure: Failure, lost: Option<Failure>) -> Failure {
    if let Some(lost) = lost {
        let told = failure.to_string();
        failure.causes.extend((!told.contains(&lost.message)).then(|| lost.to_string()));
        failure.evidence.extend(lost.evidence);
        failure.hints.extend(lost.hints);
    }
    failure
}

/// What an export named `file` says of itself.
pub(super) fn described(loaded: &Loaded, subject: &Subject, file: &str) -> archive::Subject {
    archive::Subject {
        site: subject.site.clone(),
        databases: subject.databases.clone(),
        role: Endpoint::of(&loaded.site.postgres).user,
        odoo_release: loaded.site.odoo.release.number(),
        postgres_release: loaded.site.postgres.major,
        made: subject.began,
        autoodoo: env!("CARGO_PKG_VERSION").to_owned(),
        file: file.to_owned(),
    }
}

/// What the thread that writes has in its hands.
pub(super) struct Work {
    pub source: Arc<dyn Source>,
    pub subject: archive::Subject,
    pub recipients: Recipients,
    pub progress: Arc<Progress>,
}

impl Work {
    pub fn export<T>(&self, write: impl FnOnce(Export<'_>) -> Result<T>) -> Result<T> {
        let watch = |read| {
            self.progress.done.fetch_add(read, Ordering::Relaxed);
            if self.progress.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("the export was stopped"));
            }
            Ok(())
        };
        let Work { source, subject, recipients, .. } = self;
        write(Export { source: &**source, subject, recipients, watch: &watch })
    }

    fn into_file(self, name: &str, mut file: Unfinished) -> Result<(Written, u64)> {
        let written = self.export(|export| export.write_to(name, &mut file))?;
        let length = file.length()?;
        file.keep()?;
        Ok((written, length))
    }
}

/// Only the program's own thread prints. A reader that goes away has no whole export.
async fn shown<A: Adapters>(context: &Context<'_, A>, work: Work) -> Result<Written> {
    let (send, mut chunks) = mpsc::channel(CHUNKS);
    let writing = blocking(move || work.export(|export| export.write_to("to standard output", Sender(send))));
    let showing = async {
        while let Some(chunk) = chunks.recv().await {
            context.ui.bytes(&chunk)?;
            if context.ui.is_closed() {
                break;
            }
        }
        drop(chunks);
        Ok::<(), Failure>(())
    };
    let (written, shown) = tokio::join!(writing, showing);
    shown?;
    if context.ui.is_closed() {
        // Also where everything was written into the channel before that was noticed.
        return Err(Failure::failed("whoever read the export went away before its end; no export was made"));
    }
    written
}
