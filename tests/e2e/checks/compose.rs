//! The exported Compose file, started by Compose itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checks::by_hand::comes_back;
use crate::engine::Engine;
use crate::process::{Run, run};
use crate::site::Site;

pub fn login_page(site: &Site) {
    if site.engine == Engine::Podman {
        eprintln!("           Compose is Docker's: on Podman the file is written, not started");
        site.run(&["export", "compose"]).ends(0).says("services:");
        return;
    }
    let file = site.path("compose.yaml");
    let text = site.run(&["export", "compose"]).ends(0).out;
    std::fs::write(&file, text).expect("the site directory is ours");
    site.run(&["down"]).ends(0);
    let compose = Compose { tool: tool(), file };
    compose.run(&["up", "--detach"]).ends(0);
    comes_back(site);
    site.run(&["up"]).ends(1).says("not made by autoodoo");
    compose.run(&["down"]).ends(0);
    site.up();
}

fn tool() -> PathBuf {
    if let Some(path) = std::env::var_os("AUTOODOO_TEST_COMPOSE") {
        return path.into();
    }
    let script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compose-tool"));
    Path::new(run(script).ends(0).out.trim()).to_owned()
}

/// Takes down what it brought up, whatever happens.
struct Compose {
    tool: PathBuf,
    file: PathBuf,
}

impl Compose {
    fn run(&self, args: &[&str]) -> Run {
        let mut command = Command::new(&self.tool);
        command.env("DOCKER_HOST", format!("unix://{}", Engine::Docker.socket()));
        command.arg("--file").arg(&self.file).args(args);
        run(command)
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}
