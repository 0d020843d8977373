//! A container engine that exists in memory only, for tests of everything above the engine. It keeps
//! state and refuses what Docker or Podman refuses; where the two differ, it takes the stricter one.
//! Clones are the same host, as seen by a second process.

mod exec;
mod fake;
mod host;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use self::exec::MemoryExec;
use self::fake::Fake;
use self::host::{Ending, Host};
use super::{Engine, Exec, ExecOutput, LogQuery, PullProgress, Stream};
use crate::failure::{Failure, Kind, Result};
use crate::name::ImageRef;
use crate::observed::{Container, ContainerSummary, EngineInfo, EngineKind, Health, Image, Network, Volume};
use crate::stack::spec::{ContainerSpec, NetworkSpec, Role, VolumeSpec};

/// What a container's main process does once it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// Runs until it is stopped.
    Stays,
    /// Writes these lines to its standard output and ends.
    Ends { exit_code: i64, lines: Vec<String> },
}

type OnExec = dyn Fn(&str, &Exec) -> Option<ExecOutput>;
type OnStart = dyn Fn(&ContainerSpec) -> Option<Process>;
type HasDirectory = dyn Fn(&Path) -> bool;

#[derive(Clone)]
pub struct MemoryEngine {
    shared: Rc<Shared>,
}

struct Shared {
    kind: EngineKind,
    host: RefCell<Host>,
    calls: RefCell<Vec<String>>,
    trouble: Cell<Option<Trouble>>,
    on_exec: RefCell<Rc<OnExec>>,
    on_start: RefCell<Rc<OnStart>>,
    has_directory: RefCell<Rc<HasDirectory>>,
}

/// What goes wrong, and at which call of the log (from 0).
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// That call fails without effect, the others work.
    Fails(usize),
    /// That call and everything after it fails without effect.
    Stops(usize),
}

impl Default for MemoryEngine {
    fn default() -> Self {
        MemoryEngine::new(EngineKind::Docker)
    }
}

/// Setting the scene, and looking at it afterwards.
impl MemoryEngine {
    /// A host without anything on it, whose registry has no images. Every command in a container
    /// succeeds without output; helper containers end at once, others stay; every directory exists.
    #[must_use]
    pub fn new(kind: EngineKind) -> Self {
        let shared = Shared {
            kind,
            host: RefCell::default(),
            calls: RefCell::default(),
            trouble: Cell::new(None),
            on_exec: RefCell::new(Rc::new(|_, _| None)),
            on_start: RefCell::new(Rc::new(|_| None)),
            has_directory: RefCell::new(Rc::new(|_| true)),
        };
        MemoryEngine { shared: Rc::new(shared) }
    }

    /// Puts an image on the host.
    pub fn add_image(&self, reference: &str) {
        self.shared.host.borrow_mut().add_image(reference);
    }

    /// Puts an image into the registry. Offering it again makes it a newer one.
    pub fn offer_image(&self, reference: &str) {
        self.shared.host.borrow_mut().offer_image(reference);
    }

    pub fn set_registry_reachable(&self, reachable: bool) {
        self.shared.host.borrow_mut().registry_reachable = reachable;
    }

    /// Another program of the host takes a TCP port.
    pub fn take_port(&self, port: u16) {
        self.shared.host.borrow_mut().foreign_ports.insert(port);
    }

    pub fn free_port(&self, port: u16) {
        self.shared.host.borrow_mut().foreign_ports.remove(&port);
    }

    /// Loses a volume behind everybody's back, as a broken disk or a careless prune does.
    pub fn lose_volume(&self, name: &str) {
        self.shared.host.borrow_mut().volumes.remove(name);
    }

    /// A container's main process writes a line.
    pub fn write_log(&self, container: &str, stream: Stream, line: &str) {
        if let Ok(found) = self.shared.host.borrow_mut().find(container) {
            found.log.push((stream, line.to_owned()));
        }
    }

    /// What a container's healthcheck says from now on.
    pub fn set_health(&self, container: &str, health: Health) {
        if let Ok(found) = self.shared.host.borrow_mut().find(container) {
            found.health = Some(health);
        }
    }

    /// What commands in containers do: from the container's name and the command to its outcome;
    /// `None` for success without output.
    pub fn on_exec(&self, hook: impl Fn(&str, &Exec) -> Option<ExecOutput> + 'static) {
        *self.shared.on_exec.borrow_mut() = Rc::new(hook);
    }

    /// What containers do once started; `None` for the default.
    pub fn on_start(&self, hook: impl Fn(&ContainerSpec) -> Option<Process> + 'static) {
        *self.shared.on_start.borrow_mut() = Rc::new(hook);
    }

    /// Which directories exist for mounting.
    /// Volumes have their directories below this one, which is made by their first user.
    pub fn keep_volumes_in(&self, directory: &Path) {
        directory.clone_into(&mut self.shared.host.borrow_mut().volume_root);
    }

    pub fn on_directory(&self, hook: impl Fn(&Path) -> bool + 'static) {
        *self.shared.has_directory.borrow_mut() = Rc::new(hook);
    }

    /// The engine or the machine starts again: every container is killed, and those whose policy
    /// says so come back, in the order in which they were made or the other way round.
    pub fn engine_restart(&self, reverse_order: bool) {
        let order = self.shared.host.borrow_mut().restart(reverse_order);
        for id in order {
            // A container that cannot come back stays down, as on a real engine.
            let _ = self.begin(&id);
        }
    }

    /// The main process of a container dies; the engine restarts it if its policy says so.
    pub fn crash(&self, container: &str) {
        self.shared.host.borrow_mut().crash(container);
    }

    /// Every call that changed something or was meant to, in order: `start acme-odoo-a`. Commands in
    /// containers are among them: `exec acme-postgres psql -c …`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.borrow().clone()
    }

    /// [`calls`](Self::calls) without commands in containers.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| !call.starts_with("exec ")).collect()
    }

    pub fn forget_calls(&self) {
        self.shared.calls.borrow_mut().clear();
    }

    /// The `number`th call from now (from 1) fails without effect.
    pub fn fail_at(&self, number: usize) {
        self.shared.trouble.set(Some(Trouble::Fails(self.upcoming(number))));
    }

    /// The `number`th call from now (from 1) and everything after it fails without effect, as if the
    /// calling program had been killed there. [`resume`](Self::resume) is its next start.
    pub fn stop_at(&self, number: usize) {
        self.shared.trouble.set(Some(Trouble::Stops(self.upcoming(number))));
    }

    pub fn resume(&self) {
        self.shared.trouble.set(None);
    }

    /// The most database servers that ever ran on one volume at the same time. Above 1 the data
    /// would be destroyed.
    #[must_use]
    pub fn most_postgres_on_one_volume(&self) -> usize {
        self.shared.host.borrow().most_postgres_on_one_volume
    }

    fn upcoming(&self, number: usize) -> usize {
        self.shared.calls.borrow().len() + number - 1
    }

    /// Notes a changing call, and fails when it is to fail.
    fn change(&self, call: &str) -> Result<()> {
        self.look()?;
        let number = self.shared.calls.borrow().len();
        self.shared.calls.borrow_mut().push(call.to_owned());
        match self.shared.trouble.get() {
            Some(Trouble::Fails(at) | Trouble::Stops(at)) if at == number => {
                Err(Failure::failed(format!("{call}: failed on purpose")))
            }
            _ => Ok(()),
        }
    }

    /// Fails when the calling program counts as killed.
    fn look(&self) -> Result<()> {
        match self.shared.trouble.get() {
            Some(Trouble::Stops(at)) if self.shared.calls.borrow().len() > at => {
                Err(Failure::new(Kind::NoEngine, "the engine no longer answers, on purpose"))
            }
            _ => Ok(()),
        }
    }

    /// Starts a container without noting a call.
    fn begin(&self, container: &str) -> Result<()> {
        let spec = self.shared.host.borrow_mut().find(container)?.spec.clone();
        let scripted = self.shared.on_start.borrow().clone()(&spec);
        let process = scripted.unwrap_or_else(|| match spec.role {
            Role::Helper => Process::Ends { exit_code: 0, lines: Vec::new() },
            _ => Process::Stays,
        });
        self.shared.host.borrow_mut().start(container, process)
    }

    fn run(&self, container: &str, exec: &Exec) -> Result<ExecOutput> {
        let name = self.shared.host.borrow_mut().find(container).map(|found| found.spec.name.clone())?;
        self.change(&format!("exec {name} {}", exec.argv.join(" ")))?;
        self.shared.host.borrow_mut().require_running(container, "run a command in")?;
        let hook = self.shared.on_exec.borrow().clone();
        Ok(hook(&name, exec).unwrap_or_default())
    }
}

impl Engine for MemoryEngine {
    type ExecStream = MemoryExec;

    async fn info(&self) -> Result<EngineInfo> {
        self.look()?;
        let endpoint = format!("unix:///memory/{}.sock", self.shared.kind);
        let version = "0.0.0-memory".to_owned();
        Ok(EngineInfo { kind: self.shared.kind, version, api: "1.41".to_owned(), endpoint })
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        self.look()?;
        Ok(self.shared.host.borrow().images.get(reference).cloned())
    }

    async fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<()> {
        self.change(&format!("pull {image}"))?;
        let size = self.shared.host.borrow_mut().pull(image.as_str())?;
        for done_bytes in [size / 2, size] {
            progress(PullProgress { done_bytes, total_bytes: size });
        }
        Ok(())
    }

    async fn networks(&self) -> Result<Vec<Network>> {
        self.look()?;
        Ok(self.shared.host.borrow().networks.values().map(|(network, _)| network.clone()).collect())
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        self.change(&format!("create_network {}", spec.name))?;
        self.shared.host.borrow_mut().create_network(spec)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        self.change(&format!("remove_network {name}"))?;
        self.shared.host.borrow_mut().remove_network(name)
    }

    async fn volumes(&self) -> Result<Vec<Volume>> {
        self.look()?;
        Ok(self.shared.host.borrow().volumes.values().cloned().collect())
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        self.change(&format!("create_volume {}", spec.name))?;
        self.shared.host.borrow_mut().create_volume(spec)
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.change(&format!("remove_volume {name}"))?;
        self.shared.host.borrow_mut().remove_volume(name)
    }

    async fn containers(&self) -> Result<Vec<ContainerSummary>> {
        self.look()?;
        Ok(self.shared.host.borrow().containers.iter().map(Fake::summary).collect())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        self.look()?;
        Ok(self.shared.host.borrow().get(container).map(Fake::observed))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String> {
        self.change(&format!("create {}", spec.name))?;
        let has_directory = self.shared.has_directory.borrow().clone();
        self.shared.host.borrow_mut().create(spec, &*has_directory)
    }

    async fn start(&self, container: &str) -> Result<()> {
        self.change(&format!("start {container}"))?;
        self.begin(container)
    }

    async fn stop(&self, container: &str, _grace: u32) -> Result<()> {
        self.change(&format!("stop {container}"))?;
        self.shared.host.borrow_mut().stop(container, Ending::Stopped)
    }

    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        self.change(&format!("signal {container} {signal}"))?;
        let mut host = self.shared.host.borrow_mut();
        host.require_running(container, &format!("send {signal} to"))?;
        if matches!(signal, "SIGKILL" | "KILL" | "9") { host.stop(container, Ending::Killed) } else { Ok(()) }
    }

    async fn forbid_restart(&self, container: &str) -> Result<()> {
        self.change(&format!("forbid_restart {container}"))?;
        self.shared.host.borrow_mut().find(container)?.restart = crate::stack::spec::Restart::No;
        Ok(())
    }

    async fn remove(&self, container: &str) -> Result<()> {
        self.change(&format!("remove {container}"))?;
        self.shared.host.borrow_mut().remove(container)
    }

    /// Fails for a process that stays, where a real engine would wait for ever.
    async fn wait(&self, container: &str) -> Result<i64> {
        self.look()?;
        self.shared.host.borrow_mut().ended(container)
    }

    async fn exec(
        &self,
        container: &str,
        exec: Exec,
        line: &mut dyn FnMut(Stream, &str),
    ) -> Result<ExecOutput> {
        let output = self.run(container, &exec)?;
        output.stdout.lines().for_each(|text| line(Stream::Stdout, text));
        output.stderr.lines().for_each(|text| line(Stream::Stderr, text));
        Ok(output)
    }

    async fn exec_streamed(&self, container: &str, exec: Exec) -> Result<MemoryExec> {
        MemoryExec::start(self, container, exec)
    }

    async fn exec_attached(&self, container: &str, exec: Exec, _tty: bool) -> Result<i64> {
        self.run(container, &exec).map(|output| output.exit_code)
    }

    async fn run_attached(&self, container: &str, _tty: bool) -> Result<i64> {
        self.change(&format!("run_attached {container}"))?;
        let auto_remove = {
            let mut host = self.shared.host.borrow_mut();
            std::mem::take(&mut host.find(container)?.spec.auto_remove)
        };
        self.begin(container)?;
        let mut host = self.shared.host.borrow_mut();
        // The user leaves a process that would stay.
        host.stop(container, Ending::Stopped)?;
        let code = host.ended(container)?;
        if auto_remove { host.remove(container).map(|()| code) } else { Ok(code) }
    }

    async fn logs(
        &self,
        container: &str,
        query: &LogQuery,
        line: &mut dyn FnMut(Stream, &str),
    ) -> Result<()> {
        self.look()?;
        let log = self.shared.host.borrow_mut().find(container)?.log.clone();
        let skipped = query.tail.map_or(0, |tail| log.len().saturating_sub(tail as usize));
        log[skipped..].iter().for_each(|(stream, text)| line(*stream, text));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
