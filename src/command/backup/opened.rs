//! Targets by name, and their repositories, opened to be read.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::access;
use crate::backup::shrink::is_ahead;
use crate::backup::words::some;
use crate::command::site::Loaded;
use crate::command::{Adapters, Context};
use crate::event::{Event, Reporter, Unit};
use crate::failure::{Failure, Result};
use crate::name::nearest;
use crate::repository::{Listing, Progress, Repository, Snapshot};
use crate::site::backup::{Place, Target};

/// Between two looks at how far an operation is.
const TICK: Duration = Duration::from_secs(1);

/// What people write for the newest backup.
pub const LATEST: &str = "latest";

/// The targets of these names, in the order of the site file; all of them for none.
pub fn chosen(loaded: &Loaded, names: &[String]) -> Result<Vec<Target>> {
    let targets = &loaded.site.backup.targets;
    if targets.is_empty() {
        return Err(Failure::usage("autoodoo.yaml names no place for backups; nothing was done").hint(
            "write at least one into it, better two, such as:\n\
             backup:\n  to:\n    - /mnt/usb-disk/acme\n    - sftp://acme@backup.example.com/odoo",
        ));
    }
    for name in names {
        if !targets.iter().any(|target| target.name.as_str() == name) {
            return Err(no_such_target(targets, name));
        }
    }
    let wanted = |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.name.as_str());
    Ok(targets.iter().filter(wanted).cloned().collect())
}

fn no_such_target(targets: &[Target], name: &str) -> Failure {
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let near = nearest(name, names.iter().copied());
    let near = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    Failure::usage(format!("there is no target `{name}`{near}"))
        .hint(format!("autoodoo.yaml names {}", names.join(", ")))
}

/// Those of [`chosen`] that can be read: a drop directory takes exports and shows nothing.
pub fn readable(loaded: &Loaded, name: Option<&str>) -> Result<Vec<Target>> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    let (drops, repositories): (Vec<Target>, Vec<Target>) =
        chosen(loaded, &names)?.into_iter().partition(|target| matches!(target.place, Place::Drop { .. }));
    if let (true, Some(drop)) = (repositories.is_empty(), drops.first()) {
        return Err(Failure::usage(format!(
            "target {} only takes sealed exports; what is in it cannot be read from here",
            drop.name
        ))
        .hint("read it where its server has moved it to; README.txt in each export says how"));
    }
    Ok(repositories)
}

/// The repository of a target that has one.
pub async fn open<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
) -> Result<Arc<Repository>> {
    let (password, access) = access::of(loaded, target)?;
    let store = context.adapters.store(&target.place, &access)?;
    let known = loaded.dir.backups()?.target(target).and_then(|memory| memory.repository.clone());
    let cache = loaded.dir.backup_cache(&target.name);
    let place = target.place.to_string();
    let name = target.name.to_string();
    let opened = blocking(move || {
        if !Repository::exists(&*store)? {
            return Err(absent(&name, &place, known.is_some()));
        }
        let repository = Repository::open(store, &password, Some(&cache))?;
        expected(&name, &place, known.as_deref(), &repository.id())?;
        Ok(repository)
    });
    Ok(Arc::new(opened.await?))
}

/// A place without a repository.
pub fn absent(name: &str, place: &str, known: bool) -> Failure {
    if known {
        return Failure::failed(format!(
            "the backups at target {name} are not there: {place} holds no repository"
        ))
        .hint("a disk that is not mounted looks like this: mount it, then run the command again")
        .hint("nothing was written there; for a new start at that place, give the target another name");
    }
    Failure::failed(format!("there is no backup at target {name} yet"))
        .hint("make one with `autoodoo backup`")
}

/// Fails when another repository lies where ours was.
pub fn expected(name: &str, place: &str, known: Option<&str>, found: &str) -> Result<()> {
    match known {
        Some(known) if known != found => Err(Failure::failed(format!(
            "{place} holds another repository than target {name} had"
        ))
        .hint("another disk may be mounted there, or one is not mounted: look at it, then run the command again")
        .hint("nothing was written there; if it is meant so, give the target another name in autoodoo.yaml")),
        _ => Ok(()),
    }
}

/// The backup that `latest` or the first digits of an id mean.
pub fn pick<'a>(listing: &'a Listing, site: &str, wanted: &str, now: Timestamp) -> Result<&'a Snapshot> {
    let ours = listing.snapshots.iter().filter(|snapshot| snapshot.host == site);
    if wanted == LATEST {
        return listing.newest(site, now).ok_or_else(|| {
            Failure::failed("there is no backup of this site yet").hint("make one with `autoodoo backup`")
        });
    }
    let found: Vec<&Snapshot> = ours.filter(|snapshot| snapshot.id.starts_with(wanted)).collect();
    match found.as_slice() {
        [one] if !wanted.is_empty() => Ok(one),
        [] => Err(Failure::usage(format!("there is no backup `{wanted}`"))
            .hint("`autoodoo backup list` shows them; `latest` is the newest")),
        several => Err(Failure::usage(format!(
            "`{wanted}` could be any of {} backups: {}",
            several.len(),
            several.iter().map(|snapshot| short(&snapshot.id)).collect::<Vec<_>>().join(", ")
        ))
        .hint("write more of its digits")),
    }
}

/// Says which backups are of a time that has not come: they are not `latest`, and no prune forgets them.
pub fn warn_of_the_future<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    target: &Target,
    listing: &Listing,
) {
    let (site, now) = (loaded.site.name.as_str(), context.adapters.clock().now());
    let future = listing.snapshots.iter().filter(|it| it.host == site && is_ahead(it.time, now));
    let named: Vec<String> =
        future.map(|it| format!("{} of {}", short(&it.id), it.time.strftime("%Y-%m-%d %H:%M UTC"))).collect();
    if !named.is_empty() {
        context.ui.warning(format!(
            "target {} has backups dated in the future: {}; while there are others they are not `latest`, and \
             until then no prune forgets them",
            target.name,
            some(&named, 3)
        ));
    }
}

/// What people see of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Does work that blocks on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::failed("a part of the work broke off").because(error)))
}

/// The same, telling every second how far it is. Ctrl-C stops it as soon as it can stop.
pub async fn watched<A: Adapters, T: Send + 'static>(
    context: &Context<'_, A>,
    progress: &Arc<Progress>,
    unit: Unit,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let interrupted = async {
        context.adapters.interrupted().await;
        progress.stop.store(true, Ordering::Relaxed);
        std::future::pending().await
    };
    tokio::select! {
        done = telling(context, || position(progress), unit, blocking(work)) => done,
        never = interrupted => never,
    }
}

/// How far an operation is, and of how much; 0 where that is not known.
pub fn position(progress: &Progress) -> (u64, u64) {
    (progress.done.load(Ordering::Relaxed), progress.total.load(Ordering::Relaxed))
}

/// Tells every second how far a piece of work is, until it is done.
pub async fn telling<A: Adapters, T>(
    context: &Context<'_, A>,
    position: impl Fn() -> (u64, u64),
    unit: Unit,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(TICK) => {
                let (done, total) = position();
                let total = (total > 0).then_some(total);
                context.ui.report(Event::Progress { done, total, unit, note: String::new() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let snapshot = |id: &str, second, host: &str| Snapshot {
            id: id.repeat(16),
            time: jiff::Timestamp::from_second(second).unwrap(),
            host: host.to_owned(),
            tags: Vec::new(),
        };
        let snapshots = vec![
            snapshot("ab01", 10, "acme"),
            snapshot("ab02", 30, "acme"),
            snapshot("cd03", 20, "acme"),
            snapshot("ef04", 90, "other"),
        ];
        Listing { snapshots, unreadable: Vec::new() }
    }

    #[test]
    fn backups_are_found_by_their_first_digits() {
        let (listing, now) = (listing(), jiff::Timestamp::from_second(100).unwrap());
        for (wanted, id) in [("latest", "ab02"), ("cd", "cd03"), ("ab01", "ab01")] {
            assert!(pick(&listing, "acme", wanted, now).unwrap().id.starts_with(id), "{wanted}");
        }
        for (wanted, said) in [
            ("ab", "`ab` could be any of 2 backups: ab01ab01, ab02ab02"),
            ("ef", "there is no backup `ef`"),
            ("", "`` could be any of 3 backups: ab01ab01, ab02ab02, cd03cd03"),
        ] {
            assert_eq!(pick(&listing, "acme", wanted, now).unwrap_err().message, said);
        }
        let none = pick(&Listing::default(), "acme", "latest", now).unwrap_err();
        assert_eq!(none.message, "there is no backup of this site yet");
    }

    #[test]
    fn the_latest_is_not_of_the_future_unless_all_are() {
        let mut listing = listing();
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        listing.snapshots[1].time = at(100_000);
        for (now, id) in [(100, "cd03"), (99_999, "ab02"), (-100_000, "ab02")] {
            assert!(pick(&listing, "acme", LATEST, at(now)).unwrap().id.starts_with(id), "{now}");
        }
    }

    #[test]
    fn another_repository_is_told_from_the_one_that_was_there() {
        assert!(expected("disk", "/srv", None, "1").is_ok());
        assert!(expected("disk", "/srv", Some("1"), "1").is_ok());
        let failure = expected("disk", "/srv", Some("1"), "2").unwrap_err();
        assert!(failure.hints[0].contains("not mounted"), "{failure:?}");
    }
}
