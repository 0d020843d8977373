//! The engine as its own client shows it.

use std::fs::File;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::process::{Run, Started, run, start};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Docker,
    Podman,
}

/// The engine under test.
pub fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    *ENGINE.get_or_init(|| {
        let name = std::env::var("AUTOODOO_TEST_ENGINE").unwrap_or_default();
        let engine = match name.as_str() {
            "docker" => Engine::Docker,
            "podman" => Engine::Podman,
            _ => panic!("AUTOODOO_TEST_ENGINE must be docker or podman, not `{name}`"),
        };
        engine.call(&["version"]);
        alone(engine);
        engine
    })
}

/// Waits until no other run of these tests uses the engine: its sites have the names of ours.
fn alone(engine: Engine) {
    static LOCK: OnceLock<File> = OnceLock::new();
    let path = std::env::temp_dir().join(format!("autoodoo-e2e-{}.lock", engine.word()));
    let file = File::create(&path).expect("a file for the lock");
    file.lock().expect("a lock");
    // Held until the process ends.
    let _ = LOCK.set(file);
}

impl Engine {
    /// The restart policy of what must come back after a reboot.
    pub fn returning(self) -> &'static str {
        match self {
            Engine::Docker => "unless-stopped",
            Engine::Podman => "always",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
        }
    }

    pub fn socket(self) -> &'static str {
        match self {
            Engine::Docker => "/run/docker.sock",
            Engine::Podman => "/run/podman/podman.sock",
        }
    }

    fn command(self, args: &[&str]) -> Command {
        let mut command = Command::new(self.word());
        if self == Engine::Docker {
            command.args(["--host", "unix:///run/docker.sock"]);
        }
        command.args(args);
        command
    }

    /// Starts the client.
    pub fn start(self, args: &[&str]) -> Started {
        start(self.command(args), "")
    }

    /// Runs the client, however it ends.
    pub fn attempt(self, args: &[&str]) -> Run {
        run(self.command(args))
    }

    /// Runs the client, which must succeed; returns what it printed.
    #[track_caller]
    pub fn call(self, args: &[&str]) -> String {
        self.attempt(args).ends(0).out
    }

    #[track_caller]
    pub fn inspect(self, kind: &str, name: &str) -> Value {
        let text = self.call(&[kind, "inspect", name]);
        serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].clone()
    }

    pub fn exists(self, kind: &str, name: &str) -> bool {
        self.attempt(&[kind, "inspect", name]).succeeded()
    }

    /// Everything of this kind (`container`, `volume`, `network`) that carries the site's label.
    pub fn of_site(self, kind: &str, site: &str) -> Vec<String> {
        let filter = format!("label=autoodoo.site={site}");
        let names = if kind == "container" { "{{.Names}}" } else { "{{.Name}}" };
        let all: &[&str] = if kind == "container" { &["--all"] } else { &[] };
        let args = [&[kind, "ls", "--filter", &filter, "--format", names], all].concat();
        let mut found: Vec<_> = self.call(&args).lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    /// Removes a container with what the image declares as volumes and nobody named, and with the
    /// containers that share its network, without which Podman does not remove it; or a network or
    /// volume. However it ends.
    pub fn remove_by_force(self, kind: &str, name: &str) -> Run {
        match (self, kind) {
            (Engine::Docker, "container") => self.attempt(&["rm", "--force", "--volumes", name]),
            (Engine::Podman, "container") => self.attempt(&["rm", "--force", "--volumes", "--depend", name]),
            _ => self.attempt(&[kind, "rm", name]),
        }
    }

    /// Builds an image from the text of a recipe.
    pub fn build(self, tag: &str, recipe: &str) {
        let args: &[&str] = match self {
            Engine::Docker => &["build", "--tag", tag, "-"],
            Engine::Podman => &["build", "--tag", tag, "--file", "-"],
        };
        start(self.command(args), recipe).finish().ends(0);
    }
}
