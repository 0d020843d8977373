//! A site under test: its directory, the program run on it, and its removal whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{Engine, engine};
use crate::process::{Run, Started, run, start};

/// What a site is made from.
pub struct Recipe {
    pub name: &'static str,
    pub odoo: u32,
    pub postgres: u32,
    /// Added to the engine's own range of ports.
    pub port: u16,
    pub flags: &'static [&'static str],
}

impl Recipe {
    pub fn odoo_19() -> Recipe {
        let flags = &["--language", "fr_FR", "--country", "FR"];
        Recipe { name: "e2e-new", odoo: 19, postgres: 17, port: 190, flags }
    }

    /// Gets a second database.
    pub fn several() -> Recipe {
        let flags = &["--language", "en_US"];
        Recipe { name: "e2e-many", odoo: 19, postgres: 17, port: 160, flags }
    }

    /// Beside another site, with little of the machine.
    pub fn small() -> Recipe {
        let flags = &["--language", "en_US"];
        Recipe { name: "e2e-small", odoo: 14, postgres: 15, port: 170, flags }
    }

    pub fn odoo_14() -> Recipe {
        let flags = &["--language", "en_US", "--users", "12"];
        Recipe { name: "e2e-old", odoo: 14, postgres: 15, port: 140, flags }
    }

    /// Its PostgreSQL is a server elsewhere.
    pub fn away() -> Recipe {
        Recipe { name: "e2e-away", odoo: 19, postgres: 17, port: 182, flags: &["--language", "en_US"] }
    }

    /// The same, behind ssh. The client programs are too old for that server at first.
    pub fn behind_ssh() -> Recipe {
        Recipe { name: "e2e-ssh", odoo: 19, postgres: 15, port: 184, flags: &["--language", "en_US"] }
    }

    /// Its certificate comes from a CA.
    pub fn certified() -> Recipe {
        Recipe { name: "e2e-acme", odoo: 19, postgres: 17, port: 150, flags: &["--language", "en_US"] }
    }

    fn first_port(&self) -> u16 {
        let range = match engine() {
            Engine::Docker => 20_000,
            Engine::Podman => 21_000,
        };
        range + self.port
    }

    /// Where the site answers plain HTTP.
    pub fn http(&self) -> u16 {
        self.first_port()
    }

    /// For sites that are never to come up.
    pub fn never_up(name: &'static str, port: u16) -> Recipe {
        Recipe { name, odoo: 19, postgres: 17, port, flags: &[] }
    }
}

pub fn image(repository: &str, tag: impl std::fmt::Display) -> String {
    format!("localhost/autoodoo/{repository}:{tag}")
}

pub struct Site {
    pub engine: Engine,
    pub name: &'static str,
    pub database: String,
    pub release: u32,
    pub domain: String,
    pub http: u16,
    pub https: u16,
    /// Holds the site directory, which may move inside.
    room: TempDir,
    place: Mutex<PathBuf>,
}

impl Site {
    /// A described site of which nothing runs yet.
    pub fn init(recipe: &Recipe) -> Site {
        Site::init_with(recipe, &[])
    }

    /// With flags that are known only now.
    pub fn init_with(recipe: &Recipe, flags: &[&str]) -> Site {
        let engine = engine();
        let room = TempDir::with_prefix(recipe.name).expect("a directory");
        let place = room.path().join("site");
        fs::create_dir(&place).expect("a directory");
        let site = Site {
            engine,
            name: recipe.name,
            database: recipe.name.replace('-', "_"),
            release: recipe.odoo,
            domain: format!("{}.example.com", recipe.name),
            http: recipe.http(),
            https: recipe.http() + 1,
            room,
            place: Mutex::new(place),
        };
        // What an earlier run that was killed has left would stand in the way.
        site.remove_by_force();
        let mut init = site.init_command(recipe, &site.dir());
        init.args(flags);
        run(init).ends(0);
        site
    }

    pub fn run_init(&self, recipe: &Recipe, directory: &Path) -> Run {
        run(self.init_command(recipe, directory))
    }

    fn init_command(&self, recipe: &Recipe, directory: &Path) -> Command {
        let mut command = program(directory);
        command.args(["init", "--yes", "--name", self.name, "--domain", &self.domain]);
        command.args(["--database", &self.database, "--bind", "127.0.0.1"]);
        command.args(["--http-port", &self.http.to_string(), "--https-port", &self.https.to_string()]);
        command.args(["--odoo-image", &image("odoo", recipe.odoo)]);
        command.args(["--postgres-image", &image("postgres", recipe.postgres)]);
        command.args(["--nginx-image", &image("nginx", "1.26")]);
        command.args(recipe.flags);
        command
    }

    pub fn dir(&self) -> PathBuf {
        self.place.lock().expect("nobody panics with it").clone()
    }

    /// Moves the site directory, as `mv` does.
    pub fn move_to(&self, name: &str) {
        let place = self.room.path().join(name);
        fs::rename(self.dir(), &place).expect("a directory of ours");
        *self.place.lock().expect("nobody panics with it") = place;
    }

    /// Where the site directory lies, with other things of the test.
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir().join(relative)
    }

    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What its visitors believe, in PEM: the site's own CA, or what [`Site::trust`] was told.
    pub fn trusted(&self) -> PathBuf {
        let told = self.room.path().join("trusted.pem");
        if told.exists() { told } else { self.path("ca.crt") }
    }

    pub fn trust(&self, pem: &str) {
        fs::write(self.room.path().join("trusted.pem"), pem).expect("a directory of ours");
    }

    pub fn roots(&self) -> String {
        fs::read_to_string(self.trusted()).expect("a file that visitors believe")
    }

    pub fn secret(&self, name: &str) -> String {
        self.read(&format!("secrets/{name}")).trim_end().to_owned()
    }

    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.name)
    }

    /// The container of Odoo that serves: in slot a or b.
    pub fn odoo_container(&self) -> String {
        self.slotted("odoo")
    }

    pub fn nginx_container(&self) -> String {
        self.slotted("nginx")
    }

    fn slotted(&self, service: &str) -> String {
        let both = ["a", "b"].map(|slot| self.container(&format!("{service}-{slot}")));
        let found = self.engine.of_site("container", self.name);
        let slots: Vec<_> = found.into_iter().filter(|name| both.contains(name)).collect();
        assert_eq!(slots.len(), 1, "one {service} is expected: {slots:?}");
        slots[0].clone()
    }

    /// The names of the five containers that a site consists of.
    pub fn five(&self) -> Vec<String> {
        let fixed = ["postgres", "cron", "front"].map(|service| self.container(service));
        fixed.into_iter().chain([self.odoo_container(), self.nginx_container()]).collect()
    }

    pub fn id_of(&self, container: &str) -> String {
        self.engine.inspect("container", container)["Id"].as_str().expect("an id").to_owned()
    }

    /// The ids of postgres, front and nginx, which few changes touch.
    pub fn steady_ids(&self) -> Vec<String> {
        [self.container("postgres"), self.container("front"), self.nginx_container()]
            .map(|name| self.id_of(&name))
            .to_vec()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program(&self.dir());
        command.args(["--engine", self.engine.word()]).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        run(self.command(args))
    }

    pub fn run_with(&self, args: &[&str], input: &str) -> Run {
        start(self.command(args), input).finish()
    }

    pub fn start(&self, args: &[&str]) -> Started {
        start(self.command(args), "")
    }

    #[track_caller]
    pub fn up(&self) -> Run {
        self.run(&["up"]).ends(0)
    }

    /// One value from the site's database, as the superuser.
    #[track_caller]
    pub fn sql(&self, query: &str) -> String {
        self.sql_in(&self.database, query)
    }

    #[track_caller]
    pub fn sql_in(&self, database: &str, query: &str) -> String {
        let args = ["psql", "--superuser", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"];
        let script = format!("\\connect \"{database}\"\n{query}");
        self.run_with(&args, &script).ends(0).out.trim().to_owned()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        let out = self.run(&["status", "--json"]).ends(0).out;
        serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Changes the site file, in which `from` must stand once.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.read("autoodoo.yaml");
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {text}");
        fs::write(self.path("autoodoo.yaml"), text.replace(from, to)).expect("a writable site file");
    }

    /// Adds groups at the end of the site file.
    pub fn add(&self, groups: &str) {
        let text = self.read("autoodoo.yaml");
        fs::write(self.path("autoodoo.yaml"), format!("{text}\n{groups}")).expect("a writable site file");
    }

    /// What of the site is on the engine: containers, networks, volumes.
    pub fn things(&self) -> Vec<String> {
        ["container", "network", "volume"]
            .into_iter()
            .flat_map(|kind| self.engine.of_site(kind, self.name))
            .collect()
    }

    fn remove_by_force(&self) {
        for kind in ["container", "network", "volume"] {
            for name in self.engine.of_site(kind, self.name) {
                self.engine.remove_by_force(kind, &name);
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let down = self.run(&["down", "--volumes", "--confirm", self.name]);
        let left = self.things();
        if !left.is_empty() {
            eprintln!("left after {down}: {left:?}; removed by force");
            self.remove_by_force();
        }
    }
}

/// The program under test, without what the surroundings say about engines.
pub fn program(directory: &Path) -> Command {
    program_at(Path::new(env!("CARGO_BIN_EXE_autoodoo")), directory)
}

pub fn program_at(binary: &Path, directory: &Path) -> Command {
    let mut command = Command::new(binary);
    for variable in ["DOCKER_HOST", "CONTAINER_HOST", "LANG", "LC_ALL"] {
        command.env_remove(variable);
    }
    command.arg("--site-dir").arg(directory);
    command
}
