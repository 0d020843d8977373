//! A whole machine in memory, but for the site directory: the engine keeps state, psql and nginx are
//! played, and the probe answers what the containers' state would make of a question.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use autoodoo::Output;
use autoodoo::command::{Adapters, Machine};
use autoodoo::engine::endpoint::EngineChoice;
use autoodoo::engine::memory::{MemoryEngine, Process};
use autoodoo::engine::{Engine, Exec, ExecOutput};
use autoodoo::failure::{Failure, Kind, Result};
use autoodoo::host::clock::Clock;
use autoodoo::host::probe::{Answer, Get, Probe, ProbeError, Shown};
use autoodoo::host::random::{Random, SeededRandom};
use autoodoo::host::ssh::{Ssh, SshClient};
use autoodoo::name::Port;
use autoodoo::observed::{Connected, EngineKind, RunState};
use autoodoo::render::nginx_conf::certificate_in;
use autoodoo::repository::store::{self, Access, DropBox, Store};
use autoodoo::site::backup::Place;
use autoodoo::site::value::HostName;
use autoodoo::tls::inspect::inspect;
use autoodoo::ui::prompt::{Prompter, Scripted};
use jiff::{SignedDuration, Timestamp};

use crate::ca::{FakeCa, FakeDns, FakeHooks};

/// Collects what a command writes; one that has room for so many bytes goes away after them.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>, Option<usize>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut text = self.0.borrow_mut();
        let room = self.1.map_or(bytes.len(), |room| room - text.len());
        if room == 0 && !bytes.is_empty() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        text.write(&bytes[..room.min(bytes.len())])
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a command line did.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub data: String,
    pub talk: String,
}

/// A database on a server elsewhere: its mark, and whether anything is in it.
#[derive(Clone, Default)]
pub struct Remote {
    pub mark: Option<String>,
    pub filled: bool,
}

/// A PostgreSQL server elsewhere.
#[derive(Clone)]
pub struct Server {
    pub identity: Rc<RefCell<String>>,
    pub databases: Rc<RefCell<BTreeMap<String, Remote>>>,
}

impl Server {
    fn new() -> Server {
        let databases = [("acme".to_owned(), Remote::default())].into();
        Server {
            identity: Rc::new(RefCell::new("711".to_owned())),
            databases: Rc::new(RefCell::new(databases)),
        }
    }

    fn run(&self, database: &str, sql: &str) -> String {
        let mut databases = self.databases.borrow_mut();
        if sql.contains("server_version_num") {
            let names: Vec<&String> = databases.keys().collect();
            return serde_json::json!({
                "version": 170_002, "encrypted": true, "superuser": false, "createdb": false,
                "createrole": false, "bypassrls": false, "role_limit": -1, "max_connections": 1000,
                "reserved": 3, "identity": *self.identity.borrow(), "databases": names,
            })
            .to_string();
        }
        let found = databases.get_mut(database).expect("a database that exists");
        if sql.contains("pg_encoding_to_char") {
            return serde_json::json!({
                "encoding": "UTF8", "create": true, "public": true, "relations": u64::from(found.filled),
                "odoo": found.filled, "mark": found.mark, "extensions": [],
            })
            .to_string();
        }
        if sql.contains("DROP %s") {
            found.filled = false;
        }
        if let Some((_, rest)) = sql.split_once("COMMENT ON SCHEMA autoodoo IS '") {
            found.mark = rest.split('\'').next().map(str::to_owned);
        }
        String::new()
    }
}

/// PostgreSQL's databases, as far as the SQL that goes by changes them.
#[derive(Clone, Default)]
pub struct Databases(Rc<RefCell<BTreeSet<String>>>);

impl Databases {
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().iter().cloned().collect()
    }

    fn run(&self, sql: &str) -> String {
        let mut databases = self.0.borrow_mut();
        for line in sql.lines() {
            let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            let name = |at: usize| words[at].trim_matches('"').to_owned();
            match words.as_slice() {
                ["DROP", "DATABASE", ..] => drop(databases.remove(&name(4))),
                ["CREATE", "DATABASE", ..] => drop(databases.insert(name(2))),
                ["ALTER", "DATABASE", _, "RENAME", "TO", _] => {
                    assert!(databases.remove(&name(2)), "{line}: no such database");
                    databases.insert(name(5));
                }
                _ => {}
            }
        }
        if sql.contains("system_identifier") { "7123456789\n".to_owned() } else { String::new() }
    }
}

type Answering = dyn Fn(&str, &Exec) -> Option<ExecOutput>;
pub type Script = Rc<RefCell<Option<Box<Answering>>>>;

pub struct World {
    pub engine: MemoryEngine,
    pub databases: Databases,
    pub server: Server,
    pub engine_runs: Cell<bool>,
    /// The container whose name ends so runs and never answers.
    pub deaf: Rc<RefCell<Option<String>>>,
    /// The SHA-256 that nginx goes on showing, whatever its configuration says.
    pub stuck: Rc<RefCell<Option<String>>>,
    pub ca: FakeCa,
    pub hooks: FakeHooks,
    clock: WorldClock,
    probe: FakeProbe,
    random: SeededRandom,
    machine: Machine,
    pub prompter: Scripted,
    port_holder: RefCell<Option<(u16, String)>>,
    /// Asked first what a command in a container answers.
    pub script: Script,
    /// The user wants the running command to stop.
    pub interrupt: Rc<tokio::sync::Notify>,
    directory: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        World::new_on(EngineKind::Docker)
    }

    fn new_on(kind: EngineKind) -> World {
        let engine = MemoryEngine::new(kind);
        for image in ["odoo:19", "postgres:17", "nginx:stable", "odoo:18", "postgres:15"] {
            engine.add_image(image);
        }
        let directory = tempfile::tempdir().unwrap();
        let databases = Databases::default();
        let deaf: Rc<RefCell<Option<String>>> = Rc::new(RefCell::new(None));
        let stuck: Rc<RefCell<Option<String>>> = Rc::new(RefCell::new(None));
        let now = Rc::new(Cell::new(Timestamp::constant(1_780_000_000, 0)));
        let (played, root) = (databases.clone(), directory.path().to_owned());
        let server = Server::new();
        let elsewhere = server.clone();
        let hears = Rc::clone(&deaf);
        let script: Script = Rc::default();
        let scripted = Rc::clone(&script);
        engine.on_exec(move |container, exec| {
            if let Some(answer) = scripted.borrow().as_ref().and_then(|answer| answer(container, exec)) {
                return Some(answer);
            }
            let remote = exec.argv.iter().find_map(|word| word.strip_prefix("service=autoodoo dbname="));
            let stdin = exec.stdin.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            if let Some(database) = remote {
                let stdout = elsewhere.run(database, &stdin);
                return Some(ExecOutput { exit_code: 0, stdout, stderr: String::new() });
            }
            if let [odoo, _, database, init, ..] = exec.argv.as_slice()
                && (odoo.as_str(), init.as_str()) == ("odoo", "--init")
                && let Some(found) = elsewhere.databases.borrow_mut().get_mut(database)
            {
                found.filled = true;
            }
            Some(play(container, exec, &played, &root, hears.borrow().as_ref()))
        });
        engine.on_start(|spec| {
            let test = spec.name.ends_with("nginx-test");
            Some(if test { Process::Ends { exit_code: 0, lines: Vec::new() } } else { Process::Stays })
        });
        let ca = FakeCa::new(directory.path(), Rc::clone(&now));
        World {
            probe: FakeProbe {
                engine: engine.clone(),
                ca: ca.clone(),
                deaf: Rc::clone(&deaf),
                stuck: Rc::clone(&stuck),
                root: directory.path().to_owned(),
            },
            ca,
            hooks: FakeHooks::default(),
            clock: WorldClock(now),
            stuck,
            engine,
            databases,
            server,
            engine_runs: Cell::new(true),
            deaf,
            random: SeededRandom::new(7),
            machine: Machine {
                cpus: 2,
                memory_bytes: 4 << 30,
                rotating: Vec::new(),
                routed: Vec::new(),
                addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                fqdn: None,
                lang: None,
                terminal: false,
                pid: std::process::id(),
            },
            prompter: Scripted::absent(),
            port_holder: RefCell::new(None),
            script,
            interrupt: Rc::default(),
            directory,
        }
    }

    /// A world whose site is described and not yet up.
    pub fn with_site() -> World {
        let world = World::new();
        let ran = world.run(
            "init --yes --name acme --domain odoo.example.com --odoo-image odoo:19 --postgres-image postgres:17 \
             --nginx-image nginx:stable --bind 127.0.0.1",
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        world
    }

    /// A world whose site has its PostgreSQL elsewhere; `keys` are lines of `postgres:`.
    pub fn with_server_elsewhere(keys: &str) -> World {
        let world = World::with_site();
        world.edit("  # host: db.example.com\n", &format!("  host: db.example.com\n{keys}"));
        world
    }

    /// A world whose site is described and gets its certificate from a CA.
    pub fn with_acme() -> World {
        let world = World::with_site();
        world.edit(
            "  mode: self-signed\n",
            "  mode: acme\n  acme:\n    email: owner@example.com\n    agree_tos: true\n",
        );
        world
    }

    /// A world whose site is up.
    pub fn up() -> World {
        World::with_site().brought_up()
    }

    /// A world whose site is up with a certificate from a CA.
    pub fn up_with_acme() -> World {
        World::with_acme().brought_up()
    }

    pub fn brought_up(self) -> World {
        let world = self;
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "{ran:?}");
        world.engine.forget_calls();
        world
    }

    /// The same site directory, with an engine that has only the images.
    pub fn on_an_empty_engine(self) -> World {
        let other = World::new_on(EngineKind::Podman);
        World { directory: self.directory, ..other }
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Another machine: cores and MiB of memory.
    pub fn resize(&mut self, cpus: u32, mib: u64) {
        (self.machine.cpus, self.machine.memory_bytes) = (cpus, mib << 20);
    }

    pub fn take_port(&self, port: u16, holder: &str) {
        *self.port_holder.borrow_mut() = Some((port, holder.to_owned()));
    }

    /// Changes the site file.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.file("autoodoo.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    pub fn run(&self, line: &str) -> Ran {
        self.run_into(line, &Paper::default())
    }

    /// Whoever reads standard output goes away after so many bytes.
    pub fn run_cut(&self, line: &str, bytes: usize) -> Ran {
        self.run_into(line, &Paper(Rc::default(), Some(bytes)))
    }

    fn run_into(&self, line: &str, data: &Paper) -> Ran {
        let talk = Paper::default();
        let output = Output {
            data: Box::new(data.clone()),
            talk: Box::new(talk.clone()),
            terminal: false,
            colour: false,
        };
        let words = ["autoodoo", "-C"].map(OsString::from).into_iter();
        let words = words.chain([self.root().as_os_str().to_owned()]);
        let words = words.chain(line.split_whitespace().map(OsString::from));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let code = runtime.block_on(autoodoo::run(words, self, output));
        let text = |paper: &Paper| String::from_utf8_lossy(&paper.0.borrow()).into_owned();
        Ran { code, data: text(data), talk: text(&talk) }
    }

    /// The clock goes on, or back.
    pub fn pass(&self, time: SignedDuration) {
        self.ca.now.set(self.ca.now.get() + time);
    }

    pub fn pass_days(&self, days: i64) {
        self.pass(SignedDuration::from_hours(24 * days));
    }

    /// Whether the program was killed in the midst of this.
    pub fn dies(&self, line: &str) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(line))).is_err()
    }

    /// The last run did not come to write how it ended.
    pub fn journal_as_if_killed(&self) {
        let text = self.text("state/journal.jsonl");
        let kept = text.trim_end().rsplit_once('\n').filter(|(_, last)| last.contains(r#""record":"end""#));
        std::fs::write(self.file("state/journal.jsonl"), format!("{}\n", kept.expect("an end").0)).unwrap();
    }

    pub fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Names of the site's containers, those that run first marked.
    pub fn containers(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found: Vec<String> = runtime
            .block_on(self.engine.containers())
            .unwrap()
            .into_iter()
            .map(
                |container| {
                    if container.running { container.name } else { format!("{} (down)", container.name) }
                },
            )
            .collect();
        found.sort();
        found
    }

    pub fn volumes(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found: Vec<String> =
            runtime.block_on(self.engine.volumes()).unwrap().into_iter().map(|volume| volume.name).collect();
        found.sort();
        found
    }
}

/// What the programs inside containers would do.
fn play(
    container: &str,
    exec: &Exec,
    databases: &Databases,
    root: &Path,
    deaf: Option<&String>,
) -> ExecOutput {
    let stdin = exec.stdin.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let words: Vec<&str> = exec.argv.iter().map(String::as_str).collect();
    let stdout = match words.as_slice() {
        ["psql", ..] => databases.run(&stdin),
        ["odoo", "shell", ..] => "autoodoo: the first user is set\n".to_owned(),
        ["pg_isready", ..] if deaf.is_some_and(|deaf| container.ends_with(deaf.as_str())) => {
            return ExecOutput { exit_code: 2, stdout: String::new(), stderr: String::new() };
        }
        ["cat", "/proc/1/comm"] if deaf.is_some_and(|deaf| container.ends_with(deaf.as_str())) => {
            "sh\n".to_owned()
        }
        ["cat", "/proc/1/comm"] if container.contains("nginx") => "nginx\n".to_owned(),
        ["cat", "/proc/1/comm"] => "odoo\n".to_owned(),
        ["cat", "/proc/1/task/1/children"] => children(container),
        ["sh", "-c", script] if script.contains("/cmdline") => {
            children(container).replace(' ', " nginx: worker process\n") + " nginx: worker process\n"
        }
        ["sh", "-c", script, "sh", "/tunnel"] if script.contains("chown postgres") => {
            give_tunnel_files(root);
            String::new()
        }
        ["sh", "-c", script, "sh", directories @ ..] if script.contains("chown odoo") => {
            give_away(root, directories);
            String::new()
        }
        _ => String::new(),
    };
    ExecOutput { exit_code: 0, stdout, stderr: String::new() }
}

thread_local! {
    /// Grows with every look, as if each reload had made new worker processes.
    static WORKER: Cell<u32> = const { Cell::new(20) };
}

fn children(container: &str) -> String {
    if !container.contains("nginx") {
        return "20 21".to_owned();
    }
    WORKER.set(WORKER.get() + 1);
    WORKER.get().to_string()
}

/// The same for the tunnel's files, wherever new ones lie.
fn give_tunnel_files(root: &Path) {
    for directory in std::fs::read_dir(root.join("generated/tunnel")).unwrap() {
        for name in ["id_ed25519", "known_hosts"] {
            let file = directory.as_ref().unwrap().path().join(name);
            if file.with_extension("new").exists() {
                std::fs::rename(file.with_extension("new"), file).unwrap();
            }
        }
    }
}

/// The helper's renaming, without the change of owner.
fn give_away(root: &Path, directories: &[&str]) {
    for directory in directories {
        let name = directory.strip_prefix("/conf/").unwrap();
        let directory = root.join("generated/odoo").join(name);
        std::fs::rename(directory.join("odoo.conf.new"), directory.join("odoo.conf")).unwrap();
    }
}

/// Answers from the state of the containers.
pub struct FakeProbe {
    engine: MemoryEngine,
    ca: FakeCa,
    deaf: Rc<RefCell<Option<String>>>,
    stuck: Rc<RefCell<Option<String>>>,
    root: PathBuf,
}

impl FakeProbe {
    /// The running container of the site with this address.
    async fn at(&self, address: Ipv4Addr) -> Option<String> {
        for summary in self.engine.containers().await.ok()? {
            let container = self.engine.inspect(&summary.id).await.ok()??;
            let Connected::Networks(networks) = &container.connected else { continue };
            if container.state == RunState::Running && networks.values().any(|found| *found == Some(address))
            {
                return Some(container.name);
            }
        }
        None
    }

    async fn runs(&self, name: &str) -> bool {
        let found = self.engine.inspect(name).await.ok().flatten();
        found.is_some_and(|container| container.state == RunState::Running)
    }

    async fn odoo_answers(&self, address: Ipv4Addr) -> bool {
        let Some(name) = self.at(address).await else { return false };
        let deaf = self.deaf.borrow().as_ref().is_some_and(|deaf| name.ends_with(deaf.as_str()));
        let site = std::fs::read_to_string(self.root.join("autoodoo.yaml")).unwrap_or_default();
        let elsewhere = site.contains("\n  host: db.example.com");
        !deaf && (elsewhere || self.runs("acme-postgres").await)
    }

    async fn nginx_answers(&self) -> bool {
        self.runs("acme-front").await && (self.runs("acme-nginx-a").await || self.runs("acme-nginx-b").await)
    }

    /// Where the live nginx.conf sends requests.
    fn upstream(&self) -> Option<Ipv4Addr> {
        let text = std::fs::read_to_string(self.root.join("generated/nginx/live/nginx.conf")).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("server 10."))?;
        format!("10.{}", line.split(':').next()?).parse().ok()
    }

    async fn answers(&self, request: &Get) -> bool {
        match (request.connect.ip(), request.connect.port()) {
            (IpAddr::V4(address), 8069) => self.odoo_answers(address).await,
            (_, 80) => self.nginx_answers().await,
            _ => match self.upstream() {
                Some(address) => self.nginx_answers().await && self.odoo_answers(address).await,
                None => false,
            },
        }
    }
}

impl FakeProbe {
    /// What nginx serves: the pair of the live nginx.conf, unless it is stuck with another.
    fn served(&self) -> Option<String> {
        if let Some(stuck) = self.stuck.borrow().clone() {
            return Some(stuck);
        }
        let text = std::fs::read_to_string(self.root.join("generated/nginx/live/nginx.conf")).ok()?;
        let id = certificate_in(&text)?;
        let chain =
            std::fs::read_to_string(self.root.join("secrets/tls").join(id).join("fullchain.pem")).ok()?;
        Some(inspect(&chain).ok()?.fingerprint)
    }
}

impl Probe for FakeProbe {
    async fn certificate(
        &self,
        connect: SocketAddr,
        _: &str,
        _: Duration,
    ) -> std::result::Result<Shown, ProbeError> {
        let reason = "connection refused".to_owned();
        let none = ProbeError::Connect { address: connect, reason };
        self.ca.moment();
        if self.nginx_answers().await {
            return self.served().map(|fingerprint| Shown { fingerprint }).ok_or(none);
        }
        Err(none)
    }

    async fn get(&self, request: &Get) -> std::result::Result<Answer, ProbeError> {
        if self.answers(request).await {
            let token = request.path.strip_prefix("/.well-known/acme-challenge/");
            let file = token.map(|token| self.root.join("generated/nginx/challenge").join(token));
            let body = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
            return Ok(Answer { status: 200, headers: Vec::new(), body, certificate: None });
        }
        let reason = "connection refused".to_owned();
        Err(ProbeError::Connect { address: request.connect, reason })
    }
}

/// An ssh server with one key, which is [`HOST_KEY`]'s.
struct FakeSsh;

/// Nobody listens there.
pub const DEAD_PORT: u16 = 9;
pub const HOST_KEY: &str = "SHA256:cJ6AyISHokEeHuTfufIqhhSS0gxHZRUMDHlKvXD4FHw";

impl Ssh for FakeSsh {
    fn client(&self) -> Result<SshClient> {
        let files = vec![("ssh".to_owned(), PathBuf::from("/bin/true"))];
        Ok(SshClient { fingerprint: "00112233aabbccdd".to_owned(), files })
    }

    fn new_key(&self, path: &Path, comment: &str) -> Result<()> {
        std::fs::write(path, format!("the tunnel's key of {comment}")).unwrap();
        Ok(())
    }

    fn public_key(&self, _: &Path) -> Result<String> {
        Ok("ssh-ed25519 AAAA autoodoo-acme\n".to_owned())
    }

    fn host_keys(&self, host: &HostName, port: Port) -> Result<String> {
        if port.get() == DEAD_PORT {
            return Err(Failure::failed(format!("no ssh server answers at {host}:{port}")));
        }
        Ok("gate.example.com ssh-ed25519 AAAA\n".to_owned())
    }
}

/// Stands still until a test moves it.
pub struct WorldClock(Rc<Cell<Timestamp>>);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.get()
    }
}

impl Adapters for World {
    type Engine = MemoryEngine;
    type Probe = FakeProbe;
    type Ca = FakeCa;
    type Dns = FakeDns;
    type Hooks = FakeHooks;

    async fn engine(&self, _: &EngineChoice, _: Option<&str>) -> Result<MemoryEngine> {
        if self.engine_runs.get() {
            return Ok(self.engine.clone());
        }
        Err(Failure::new(Kind::NoEngine, "no container engine answers"))
    }

    fn probe(&self) -> &FakeProbe {
        &self.probe
    }

    fn ca(&self) -> &FakeCa {
        &self.ca
    }

    fn dns(&self, _: &[SocketAddr]) -> Result<FakeDns> {
        Ok(FakeDns(self.hooks.clone()))
    }

    fn hooks(&self) -> &FakeHooks {
        &self.hooks
    }

    fn ssh(&self) -> &dyn Ssh {
        &FakeSsh
    }

    /// What is elsewhere lies in a directory of its own.
    fn store(&self, place: &Place, access: &Access) -> Result<Arc<dyn Store>> {
        if matches!(place, Place::Local { .. }) {
            return store::open(place, access);
        }
        assert!(access.credentials.is_some() || access.ssh_key.exists() && access.known_hosts.exists());
        store::open(&Place::Local { path: self.file("elsewhere") }, &Access::default())
    }

    fn drop_box(&self, place: &Place, access: &Access) -> Result<Box<dyn DropBox>> {
        store::drop_box(place, access)
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn random(&self) -> &dyn Random {
        &self.random
    }

    fn prompter(&self) -> &dyn Prompter {
        &self.prompter
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn port_holder(&self, _: IpAddr, port: Port) -> Result<Option<String>> {
        let holder = self.port_holder.borrow();
        Ok(holder.as_ref().filter(|(taken, _)| *taken == port.get()).map(|(_, name)| name.clone()))
    }

    async fn interrupted(&self) {
        self.interrupt.notified().await;
    }
}
