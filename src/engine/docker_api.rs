//! A real engine: Docker 20.10 to 29 or Podman 4.3 to 5, over its Docker-like HTTP interface. Every
//! difference between engines is dealt with here and below.

mod attach;
mod connect;
mod create;
mod exec;
mod fault;
mod frames;
mod lines;
mod logs;
mod observe;
mod pull;
mod streamed;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, KillContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, StartContainerOptions, StopContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use self::fault::{failure, has_status, is_absent};
use self::streamed::DockerExec;
use self::wire::{ORDINARY, Wire};
use super::endpoint::Candidates;
use super::{Engine, Exec, ExecOutput, ExecStream, LogQuery, PullProgress, Stream};
use crate::failure::{Context, Failure, Result};
use crate::name::ImageRef;
use crate::observed::{Container, ContainerSummary, EngineInfo, EngineKind, Image, Network, Volume};
use crate::stack::spec::{ContainerSpec, MountSource, NetworkSpec, Restart, VolumeSpec};

/// Seconds for requests that end when something else does: a pull, a stop, a log that is followed.
/// bollard wants a number; this one is 136 years.
const UNHURRIED: u64 = u32::MAX as u64;
/// Between two looks at something that changes by itself.
const BREATH: Duration = Duration::from_millis(20);

/// How often it is tried to change a restart policy, and the pause between.
const UPDATE_ATTEMPTS: u32 = 20;
const UPDATE_PAUSE: Duration = Duration::from_millis(50);

/// A connection to an engine that has answered.
pub struct DockerApi {
    info: EngineInfo,
    traits: create::Traits,
    wire: Wire,
    /// For what the engine does at once.
    ordinary: Docker,
    /// For what may take as long as it takes.
    unhurried: Docker,
}

impl DockerApi {
    /// The first candidate that answers. Fails with [`NoEngine`](crate::failure::Kind::NoEngine),
    /// saying what was tried.
    pub async fn connect(candidates: &Candidates) -> Result<DockerApi> {
        let (info, wire) = connect::first(candidates).await?;
        let address = Some("http://localhost");
        let version = bollard::API_DEFAULT_VERSION;
        let client =
            Docker::connect_with_custom_transport(wire.transport(), address, ORDINARY.as_secs(), version)
                .map_err(|error| failure("cannot talk to the container engine", error))?;
        let unhurried = client.clone().with_timeout(Duration::from_secs(UNHURRIED));
        let about: observe::ApiAbout =
            wire.get("/info").await.map_err(|error| failure("cannot ask the engine about itself", error))?;
        let traits = about.traits(info.kind);
        Ok(DockerApi { info, traits, wire, ordinary: client, unhurried })
    }

    /// Reads one JSON value. Podman answers with an error when a container ends while it is being
    /// described, even if it is one of many; so an internal error is asked about again.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        for _ in 0..4 {
            match self.wire.get(path).await {
                Err(error) if has_status(&error, 500) => tokio::time::sleep(BREATH).await,
                answer => return answer,
            }
        }
        self.wire.get(path).await
    }

    /// `None` when the engine knows no such thing.
    async fn find<T: DeserializeOwned>(&self, path: &str, doing: &str) -> Result<Option<T>> {
        match self.read(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failure(doing, error)),
        }
    }

    /// What a container mounts must be there. Engines make a missing volume, and Podman a missing
    /// directory too; an empty volume in the place of a lost one would look like a new, empty site.
    async fn require_sources(&self, spec: &ContainerSpec) -> Result<()> {
        for mount in &spec.mounts {
            let missing = match &mount.source {
                MountSource::Volume(name) if !self.has_volume(name).await? => format!("volume `{name}`"),
                MountSource::Directory(path) if !path.is_dir() => format!("directory `{}`", path.display()),
                _ => continue,
            };
            let message = format!("cannot create the container `{}`: there is no {missing}", spec.name);
            return Err(Failure::failed(message));
        }
        Ok(())
    }

    async fn has_volume(&self, name: &str) -> Result<bool> {
        let path = format!("/volumes/{}", segment(name));
        let found = self.find::<IgnoredAny>(&path, &format!("cannot look for the volume `{name}`")).await?;
        Ok(found.is_some())
    }

    /// Whether `update` can change a restart policy; Podman can since 5.1.
    fn can_update_restart(&self) -> bool {
        let mut parts = self.info.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        self.info.kind == EngineKind::Docker || version >= (5, 1)
    }

    async fn begin_exec(
        &self,
        container: &str,
        exec: &Exec,
        tty: bool,
        stdin: bool,
    ) -> Result<(String, wire::Stream)> {
        let doing = || format!("cannot run `{}` in the container `{container}`", exec.argv.join(" "));
        let body = create::exec(exec, stdin, tty);
        let made = self.ordinary.create_exec(&segment(container), body).await;
        let id = made.map_err(|error| failure(doing(), error))?.id;
        let start = format!(r#"{{"Detach":false,"Tty":{tty}}}"#);
        let stream = self.wire.upgrade(&format!("/exec/{id}/start"), start.into()).await;
        Ok((id, stream.map_err(|error| failure(doing(), error))?))
    }

    async fn end_exec(&self, id: &str) -> Result<i64> {
        let code = exec::exit_code(&self.wire, id).await;
        code.map_err(|error| failure("cannot learn how a command in a container ended", error))
    }

    /// Waits for a container's end.
    async fn exit_code(&self, container: &str) -> Result<i64, Error> {
        match self.info.kind {
            EngineKind::Docker => {
                let waited: Waited = Wire::finish(self.begin_wait(container, "").await?).await?;
                Ok(waited.status_code)
            }
            // Podman's Docker-like `wait` looks four times a second; its own can be told how often.
            EngineKind::Podman => {
                let path = format!("/containers/{}/wait?interval=50ms", segment(container));
                Wire::finish(self.wire.libpod().begin(&path).await?).await
            }
        }
    }

    /// A wait that the engine answers now and finishes when the container has ended.
    async fn begin_wait(&self, container: &str, query: &str) -> Result<Response<Incoming>, Error> {
        self.wire.begin(&format!("/containers/{}/wait{query}", segment(container))).await
    }

    /// Asks for the exit code of a container that is about to be started, where that is needed: Docker
    /// must be asked before the start, or a short-lived container is gone already. Podman before 5
    /// misses the end of a short-lived one when asked before, and is slow enough to be asked after.
    async fn watch(&self, container: &str) -> Result<Option<Response<Incoming>>, Error> {
        match self.info.kind {
            EngineKind::Docker => self.begin_wait(container, "?condition=next-exit").await.map(Some),
            EngineKind::Podman => Ok(None),
        }
    }

    /// The exit code of a container whose output has just ended.
    async fn watched(&self, container: &str, watch: Option<Response<Incoming>>) -> Result<i64, Error> {
        match watch {
            Some(waiting) => Wire::finish::<Waited>(waiting).await.map(|waited| waited.status_code),
            None => self.exit_code(container).await,
        }
    }

    /// Waits until a container whose removal has begun is gone.
    async fn gone(&self, container: &str) -> Result<()> {
        for _ in 0..1500 {
            if self.inspect(container).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
        Err(Failure::failed(format!("the removal of the container `{container}` does not end")))
    }
}

/// The answer to Docker's `wait`, which Podman gives too.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i64,
}

/// A name or reference as part of a path.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Engine for DockerApi {
    type ExecStream = DockerExec;

    async fn info(&self) -> Result<EngineInfo> {
        Ok(self.info.clone())
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let path = format!("/images/{}/json", segment(reference));
        let doing = format!("cannot look for the image `{reference}`");
        Ok(self.find::<observe::ApiImage>(&path, &doing).await?.map(Image::from))
    }

    async fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<()> {
        let (name, tag) = pull::split(image.as_str());
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut messages = self.unhurried.create_image(Some(options), None, None);
        let mut meter = pull::Meter::default();
        while let Some(message) = messages.next().await {
            let message =
                message.map_err(|error| failure(format!("cannot pull the image `{image}`"), error))?;
            if let Some(sum) = meter.feed(&message) {
                progress(sum);
            }
        }
        Ok(())
    }

    async fn networks(&self) -> Result<Vec<Network>> {
        let list: Vec<observe::ApiNetwork> =
            self.read("/networks").await.map_err(|error| failure("cannot list the networks", error))?;
        Ok(list.into_iter().map(Network::from).collect())
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        let doing = format!("cannot create the network `{}`", spec.name);
        let body = serde_json::to_vec(&create::network(spec)).context(&doing)?;
        let made = self.wire.ask(Method::POST, "/networks/create", body.into()).await;
        made.map(drop).map_err(|error| failure(doing, error))
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        let removed = self.ordinary.remove_network(&segment(name)).await;
        unless_absent(removed, || format!("cannot remove the network `{name}`"))
    }

    async fn volumes(&self) -> Result<Vec<Volume>> {
        let list = self.read::<observe::ApiVolumes>("/volumes").await;
        list.map(Vec::from).map_err(|error| failure("cannot list the volumes", error))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let doing = || format!("cannot create the volume `{}`", spec.name);
        let made = self.ordinary.create_volume(create::volume(spec)).await;
        let made = made.map_err(|error| failure(doing(), error))?;
        // Engines answer with a volume of that name that is there already, whosever it is.
        if made.labels.into_iter().collect::<BTreeMap<_, _>>() == spec.labels {
            Ok(())
        } else {
            Err(Failure::failed(format!("{}: the name is taken", doing())))
        }
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = self.ordinary.remove_volume(&segment(name), None::<RemoveVolumeOptions>).await;
        unless_absent(removed, || format!("cannot remove the volume `{name}`"))
    }

    async fn containers(&self) -> Result<Vec<ContainerSummary>> {
        let list: Vec<observe::ApiSummary> = self
            .read("/containers/json?all=true")
            .await
            .map_err(|error| failure("cannot list the containers", error))?;
        Ok(list.into_iter().map(ContainerSummary::from).collect())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        let path = format!("/containers/{}/json", segment(container));
        let doing = format!("cannot look at the container `{container}`");
        Ok(self.find::<observe::ApiContainer>(&path, &doing).await?.map(Container::from))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String> {
        self.require_sources(spec).await?;
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let made = self.ordinary.create_container(Some(options), create::container(spec, self.traits)).await;
        let doing = || format!("cannot create the container `{}`", spec.name);
        made.map(|made| made.id).map_err(|error| failure(doing(), error))
    }

    async fn start(&self, container: &str) -> Result<()> {
        let started = self.ordinary.start_container(&segment(container), None::<StartContainerOptions>).await;
        started.map_err(|error| failure(format!("cannot start the container `{container}`"), error))
    }

    async fn stop(&self, container: &str, grace: u32) -> Result<()> {
        if self.info.kind == EngineKind::Podman {
            // Podman refuses to stop what is paused. That it is not paused is the usual answer.
            let _ = self.ordinary.unpause_container(&segment(container)).await;
        }
        let grace = i32::try_from(grace).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(grace).build();
        let stopped = self.unhurried.stop_container(&segment(container), Some(options)).await;
        stopped.map_err(|error| failure(format!("cannot stop the container `{container}`"), error))
    }

    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = self.ordinary.kill_container(&segment(container), Some(options)).await;
        sent.map_err(|error| failure(format!("cannot send {signal} to the container `{container}`"), error))
    }

    async fn forbid_restart(&self, container: &str) -> Result<()> {
        // Podman before 5.1 cannot change the policy. Nothing but its boot service would bring the
        // container back, and the lock on the data volume stops a second PostgreSQL then.
        if !self.can_update_restart() {
            return Ok(());
        }
        let policy = Some(create::restart_policy(Restart::No, self.info.kind));
        let body = ContainerUpdateBody { restart_policy: policy, ..ContainerUpdateBody::default() };
        let mut attempts = 1..=UPDATE_ATTEMPTS;
        loop {
            let Err(error) = self.ordinary.update_container(&segment(container), body.clone()).await else {
                return Ok(());
            };
            // Docker refuses in the moment between a crash and the restart that follows it.
            let between = error.to_string().contains("cannot update a stopped container");
            if !between || attempts.next().is_none() {
                let doing = format!("cannot change the restart policy of the container `{container}`");
                return Err(failure(doing, error));
            }
            tokio::time::sleep(UPDATE_PAUSE).await;
        }
    }

    async fn remove(&self, container: &str) -> Result<()> {
        if self.info.kind == EngineKind::Podman {
            // A forced removal would first wait for the container's whole stop grace. An error means
            // that it does not run or is not there.
            let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
            let _ = self.ordinary.kill_container(&segment(container), Some(options)).await;
        }
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.unhurried.remove_container(&segment(container), Some(options)).await {
            // The engine is removing it already.
            Err(error) if has_status(&error, 409) && error.to_string().contains("in progress") => {
                self.gone(container).await
            }
            removed => unless_absent(removed, || format!("cannot remove the container `{container}`")),
        }
    }

    async fn wait(&self, container: &str) -> Result<i64> {
        let code = self.exit_code(container).await;
        code.map_err(|error| failure(format!("cannot wait for the container `{container}`"), error))
    }

    async fn exec(
        &self,
        container: &str,
        exec: Exec,
        line: &mut dyn FnMut(Stream, &str),
    ) -> Result<ExecOutput> {
        let (id, stream) = self.begin_exec(container, &exec, false, exec.stdin.is_some()).await?;
        let talked = exec::talk(stream, exec.stdin.as_deref(), line).await;
        let output = talked.context(format!("the output of a command in `{container}` was cut off"))?;
        Ok(ExecOutput { exit_code: self.end_exec(&id).await?, ..output })
    }

    async fn exec_streamed(&self, container: &str, exec: Exec) -> Result<DockerExec> {
        let (id, stream) = self.begin_exec(container, &exec, false, true).await?;
        let mut running = DockerExec::new(self.wire.clone(), id, container, stream);
        if let Some(bytes) = &exec.stdin {
            running.write(bytes).await?;
        }
        Ok(running)
    }

    async fn exec_attached(&self, container: &str, exec: Exec, tty: bool) -> Result<i64> {
        let (id, stream) = self.begin_exec(container, &exec, tty, true).await?;
        attach::join(&self.wire, stream, &format!("/exec/{id}"), tty).await?;
        self.end_exec(&id).await
    }

    async fn run_attached(&self, container: &str, tty: bool) -> Result<i64> {
        let doing = || format!("cannot run the container `{container}`");
        let target = format!("/containers/{}", segment(container));
        let keys = segment(attach::DETACH_KEYS);
        let path = format!("{target}/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys={keys}");
        // No body: the engine would take it for the first input.
        let stream = self.wire.upgrade(&path, Bytes::new()).await.map_err(|error| failure(doing(), error))?;
        let watch = self.watch(container).await.map_err(|error| failure(doing(), error))?;
        self.start(container).await?;
        attach::join(&self.wire, stream, &target, tty).await?;
        self.watched(container, watch).await.map_err(|error| failure(doing(), error))
    }

    async fn logs(
        &self,
        container: &str,
        query: &LogQuery,
        line: &mut dyn FnMut(Stream, &str),
    ) -> Result<()> {
        let mut log = logs::Log::default();
        let mut chunks = self.unhurried.logs(&segment(container), Some(logs::options(query)));
        while let Some(chunk) = chunks.next().await {
            let doing = || format!("cannot read the log of the container `{container}`");
            log.feed(chunk.map_err(|error| failure(doing(), error))?, line);
        }
        log.finish(line);
        Ok(())
    }
}

/// Removing what is not there succeeds.
fn unless_absent(removed: Result<(), Error>, doing: impl Fn() -> String) -> Result<()> {
    match removed {
        Err(error) if !is_absent(&error) => Err(failure(doing(), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(segment("docker.io/library/odoo:19@sha256:1"), "docker.io/library/odoo:19@sha256:1");
        assert_eq!(segment("a?b#c d%e"), "a%3Fb%23c%20d%25e");
    }
}
