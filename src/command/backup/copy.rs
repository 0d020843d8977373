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
        let memory = self.loaded.dir.backups()?;
        let memory = memory.target(target);
        let known = memory.and_then(|memory| memory.repository.clone());
        let last_added = memory.and_then(|memory| Some(memory.last_success.as_ref()?.added));
        let cache = self.loaded.dir.backup_cache(&target.name);
        let (name, place) = (target.name.to_string(), target.place.to_string());
        let is_new = known.is_none();
        let (manifests, label) = (Manifests::of(&self.loaded.dir), self.label.clone());
        let (repository, suspects, room) = blocking(move || {
            let store: Arc<dyn Store> = line;
            // A disk that is not mounted has another one's room: that is told first.
            let room = if known.is_none() || Repository::exists(&*store)? {
                room(store.free()?, &name, last_added, estimated_bytes)?
            } else {
                None
            };
            let made = open_or_make(Arc::clone(&store), &password, &cache, known.as_deref(), &name, &place);
            let (repository, _) = made?;
            let suspects = suspects(&repository, &manifests, &label)?;
            Ok((repository, suspects, room))
        })
        .await?;
        if let Some(scarce) = room {
            self.context.ui.warning(scarce);
        }
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
fn suspects(repository: &Repository, manifests: &Manifests, label: &Label) -> Result<Suspects> {
    let listing = repository.snapshots()?;
    Ok(
        match listing.newest(&label.site, label.time).map(|snapshot| manifests.get(repository, &snapshot.id))
        {
            None => Suspects::none(),
            Some(Ok(manifest)) => Suspects::of(&manifest),
            Some(Err(_)) => Suspects::All,
        },
    )
}

/// Refuses where less is free than the last run added, or than a first one may need; returns what is to
/// be said where it may not be enough. `free`: `None` where nobody can tell.
fn room(free: Option<u64>, name: &str, last_added: Option<u64>, estimated: u64) -> Result<Option<String>> {
    let Some(free) = free else { return Ok(None) };
    let needed = last_added.unwrap_or(estimated);
    if free < needed {
        return Err(Failure::failed(format!(
            "target {name} has {} free, and this backup may need {}; nothing was written there",
            bytes(free),
            bytes(needed)
        ))
        .hint("make room there: `autoodoo backup prune --now` forgets what `backup.keep` does not keep"));
    }
    let scarce = (free < estimated).then(|| {
        let (free, estimated) = (bytes(free), bytes(estimated));
        format!("target {name} has {free} free, and this backup may need up to {estimated}")
    });
    Ok(scarce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_run_added_is_needed_and_more_is_a_warning() {
        for (free, last_added, said) in [
            (None, None, Ok(None)),
            (Some(100), None, Ok(None)),
            (Some(99), None, Err("has 99 bytes free, and this backup may need 100 bytes")),
            (
                Some(99),
                Some(10),
                Ok(Some("target disk has 99 bytes free, and this backup may need up to 100 bytes")),
            ),
            (
                Some(9),
                Some(10),
                Err("has 9 bytes free, and this backup may need 10 bytes; nothing was written there"),
            ),
        ] {
            match (room(free, "disk", last_added, 100), said) {
                (Ok(told), Ok(said)) => assert_eq!(told.as_deref(), said),
                (Err(failure), Err(said)) => assert!(failure.message.contains(said), "{failure}"),
                (told, said) => panic!("{told:?} instead of {said:?}"),
            }
        }
    }
}
