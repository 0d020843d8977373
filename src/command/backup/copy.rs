//! One target gets the moment that is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::access;
use super::line::Line;
use super::manifests::Manifests;
use super::opened::{blocking, position, telling};
use super::setup::open_or_make;
use crate::backup::words::bytes;
use crate::capture::{Moment, Secrets, Suspects};
use crate::command::site::Loaded;
use crate::command::{Adapters, Context};
use crate::event::{Reporter, Unit};
use crate::failure::{Failure, Result};
use crate::repository::store::Store;
use crate::repository::{Label, Progress, Repository, Saved};
use crate::site::backup::{Place, Target};

/// Before a place is tried again whose connection broke.
const PAUSE: Duration = Duration::from_secs(15);

/// What every target gets.
pub struct Copying<'a, A> {
    pub context: &'a Context<'a, A>,
    pub loaded: &'a Loaded,
    pub label: Label,
    pub progress: Arc<Progress>,
}

impl<A: Adapters> Copying<'_, A> {
    /// Saves the moment. A connection that broke is tried once more: the repository has what had
    /// arrived by then.
    pub async fn to(
        &self,
        moment: &mut Moment<'_, A::Engine>,
        target: &Target,
        estimated_bytes: u64,
    ) -> Result<Saved> {
        let broke = AtomicBool::new(false);
        let failure = match self.attempt(moment, target, estimated_bytes, &broke).await {
            Err(failure) if broke.load(Ordering::Relaxed) && !self.is_stopped() => failure,
            done => return done,
        };
        let again = format!("{failure}; target {} is tried again in {} s", target.name, PAUSE.as_secs());
        self.context.ui.warning(again);
        moment.serve_until(&self.progress.stop, self.pause()).await;
        self.attempt(moment, target, estimated_bytes, &broke).await
    }

    async fn pause(&self) {
        let mut left = PAUSE;
        while !left.is_zero() && !self.is_stopped() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            left = left.saturating_sub(Duration::from_secs(1));
        }
    }

    fn is_stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    async fn attempt(
        &self,
        moment: &mut Moment<'_, A::Engine>,
        target: &Target,
        estimated_bytes: u64,
        broke: &AtomicBool,
    ) -> Result<Saved> {
        let (line, failed) = self.line(target)?;
        let copied = self.copy(moment, target, estimated_bytes, line).await;
        broke.fetch_or(failed.load(Ordering::Relaxed), Ordering::Relaxed);
        copied
    }

    fn line(&self, target: &Target) -> Result<(Arc<Line>, Arc<AtomicBool>)> {
        let (_, access) = access::of(self.loaded, target)?;
        Ok(Line::new(self.context.adapters.store(&target.place, &access)?))
    }

    async fn copy(
        &self,
        moment: &mut Moment<'_, A::Engine>,
        target: &Target,
        estimated_bytes: u64,
        line: Arc<Line>,
    ) -> Result<Saved> {
        let repository = moment.serve_until(&self.progress.stop, self.open(target, estimated_bytes, line));
        let (repository, suspects) = repository.await?;
        let source = moment.source(Secrets::Included, suspects);
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(source.size(), Ordering::Relaxed);
        let (label, progress) = (self.label.clone(), Arc::clone(&self.progress));
        let job = blocking(move || repository.back_up(source, &label, &progress));
        let job = telling(self.context, || position(&self.progress), Unit::Bytes, job);
        let saved = moment.serve_until(&self.progress.stop, job).await?;
        if let Some(manifest) = moment.manifest() {
            // A copy that cannot be kept is fetched when it is needed.
            let _ = Manifests::of(&self.loaded.dir).keep(&saved.id, &manifest);
        }
        Ok(saved)
    }

    /// The target's repository, made when the target is new, with what has to be looked at anew. It has
    /// room enough.
    async fn open(
        &self,
        target: &Target,
        estimated_bytes: u64,
        line: Arc<Line>,
    ) -> Result<(Repository, Suspects)> {
        let (password, _) = access::of(self.loaded, target)?;
        let known = self.loaded.dir.backups()?.target(target).and_then(|memory| memory.repository.clone());
        let cache = self.loaded.dir.backup_cache(&target.name);
        let (name, place) = (target.name.to_string(), target.place.to_string());
        let is_new = known.is_none();
        let (manifests, site) = (Manifests::of(&self.loaded.dir), self.label.site.clone());
        let (repository, suspects) = blocking(move || {
            let store: Arc<dyn Store> = line;
            let made = open_or_make(Arc::clone(&store), &password, &cache, known.as_deref(), &name, &place);
            let (repository, _) = made?;
            has_room(&*store, &name, estimated_bytes)?;
            let suspects = suspects(&repository, &manifests, &site)?;
            Ok((repository, suspects))
        })
        .await?;
        if is_new {
            self.remember(target, &repository)?;
        }
        Ok((repository, suspects))
    }

    /// From now on this repository and no other one is the target's.
    fn remember(&self, target: &Target, repository: &Repository) -> Result<()> {
        let mut memory = self.loaded.dir.backups()?;
        memory.target_mut(target).repository = Some(repository.id());
        self.loaded.dir.save_backups(&memory)
    }
}

/// Whether backups lie there in a repository; a drop directory takes exports.
#[must_use]
pub fn is_repository(place: &Place) -> bool {
    !matches!(place, Place::Drop { .. })
}

/// What the newest backup found altered: it has their stamps, and they would not be read again. Blocks.
fn suspects(repository: &Repository, manifests: &Manifests, site: &str) -> Result<Suspects> {
    let listing = repository.snapshots()?;
    let newest = listing.snapshots.iter().rfind(|snapshot| snapshot.host == site);
    Ok(match newest.map(|snapshot| manifests.get(repository, &snapshot.id)) {
        None => Suspects::none(),
        Some(Ok(manifest)) => Suspects::of(&manifest),
        Some(Err(_)) => Suspects::All,
    })
}

fn has_room(store: &dyn Store, name: &str, needed: u64) -> Result<()> {
    match store.free()? {
        Some(free) if free < needed => Err(Failure::failed(format!(
            "target {name} has {} free, and this backup may need {}; nothing was written there",
            bytes(free),
            bytes(needed)
        ))
        .hint("make room there: `autoodoo backup prune` forgets what `backup.keep` does not keep")),
        _ => Ok(()),
    }
}
