//! Steps on images and containers.

use super::{AFTERMATH, Bench, POLL};
use crate::engine::{Engine, PullProgress};
use crate::event::{Event, Unit};
use crate::failure::{Context, Failure, Result};
use crate::host::files;
use crate::host::probe::Probe;
use crate::name::ImageRef;
use crate::observed::{Labelled, RunState};
use crate::pins::Pin;
use crate::stack::spec::{ContainerSpec, LABEL_CONFIG, LABEL_SITE_ID, MountSource, NetworkSpec};

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn pull(&self, image: &ImageRef) -> Result<()> {
        let reporter = self.reporter;
        let mut progress = |position: PullProgress| {
            reporter.report(Event::Progress {
                done: position.done_bytes,
                total: (position.total_bytes > 0).then_some(position.total_bytes),
                unit: Unit::Bytes,
                note: String::new(),
            });
        };
        self.engine.pull(image, &mut progress).await
    }

    pub(super) async fn pin_images(&self, pin: &[ImageRef], keep: &[ImageRef]) -> Result<()> {
        let mut pins = self.dir.pins()?;
        pins.images.retain(|reference, _| keep.iter().any(|kept| kept.as_str() == reference));
        for reference in pin {
            let image = self.engine.image(reference.as_str()).await?.ok_or_else(|| {
                Failure::failed(format!("image {reference} was here a moment ago and is gone"))
            })?;
            let since = self.clock.now().to_string();
            pins.images
                .insert(reference.to_string(), Pin { id: image.id, digests: image.repo_digests, since });
        }
        let text = serde_json::to_vec_pretty(&pins).context("cannot write down the images")?;
        files::write_atomic(&self.dir.lock_file(), &text, 0o644)
    }

    /// Makes a container with the site directory's real path in its mounts.
    pub(super) async fn create(&self, spec: &ContainerSpec) -> Result<()> {
        let mut spec = spec.clone();
        for mount in &mut spec.mounts {
            if let MountSource::Directory(path) = &mut mount.source {
                let mode = if path.starts_with("secrets") { 0o700 } else { 0o755 };
                *path = self.dir.root().join(&path);
                files::ensure_dir(path, mode)?;
            }
        }
        let Err(failure) = self.engine.create(&spec).await else { return Ok(()) };
        let appears = self.appears(async || {
            let found = self.engine.inspect(&spec.name).await.ok().flatten();
            found.is_some_and(|container| {
                [LABEL_SITE_ID, LABEL_CONFIG]
                    .iter()
                    .all(|key| container.labels.get(*key) == spec.labels.get(*key))
            })
        });
        if appears.await { Ok(()) } else { Err(failure) }
    }

    pub(super) async fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        let Err(failure) = self.engine.create_network(spec).await else { return Ok(()) };
        let appears = self.appears(async || {
            let networks = self.engine.networks().await.unwrap_or_default();
            networks.iter().any(|network| network.name == spec.name && network.labels == spec.labels)
        });
        if appears.await { Ok(()) } else { Err(failure) }
    }

    /// What cannot be made may be in the making: an engine finishes a request whose client was
    /// killed, and until then it shows nothing and yet refuses a second one.
    async fn appears(&self, mut there: impl AsyncFnMut() -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + AFTERMATH;
        while tokio::time::Instant::now() < deadline {
            if there().await {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    /// Its restart policy goes first, so that an engine restart in between does not bring it back;
    /// it is removed only once it was seen stopped.
    pub(super) async fn retire(&self, name: &str, grace: u32) -> Result<()> {
        let Some(found) = self.engine.inspect(name).await? else { return Ok(()) };
        if found.site_id() != Some(&self.state.site_id) {
            return Err(Failure::failed(format!("container {name} is not of this site; it was not touched"))
                .hint("remove or rename it yourself if it is not needed"));
        }
        self.engine.forbid_restart(name).await?;
        self.engine.stop(name, grace).await?;
        match self.engine.inspect(name).await? {
            Some(found)
                if matches!(found.state, RunState::Running | RunState::Restarting | RunState::Paused) =>
            {
                Err(Failure::failed(format!("container {name} does not stop")))
            }
            Some(_) => self.engine.remove(name).await,
            None => Ok(()),
        }
    }

    /// Fails with the container's last lines when it has ended, or was restarted since it is watched.
    pub(super) async fn must_run(&self, watched: &mut Watched<'_>) -> Result<()> {
        let name = watched.container;
        let Some(found) = self.engine.inspect(name).await? else {
            return Err(Failure::failed(format!("container {name} is gone")));
        };
        let before = *watched.restarts.get_or_insert(found.restart_count);
        let fault = match found.state {
            _ if found.restart_count > before => "keeps ending and being restarted".to_owned(),
            RunState::Running | RunState::Created | RunState::Restarting => return Ok(()),
            _ => format!("ended with exit code {}", found.exit_code.unwrap_or(-1)),
        };
        let lines = self.last_lines(name).await;
        Err(Failure::failed(format!("container {name} {fault}")).evidence(lines))
    }
}

/// A container that must not end while something else is waited for.
pub(super) struct Watched<'a> {
    container: &'a str,
    /// How often the engine had restarted it when it was first looked at.
    restarts: Option<u64>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(container: &'a str) -> Self {
        Watched { container, restarts: None }
    }
}
