//! Refusals before anything is made.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::engine::engine;
use crate::process::run;
use crate::site::{Recipe, Site, image, program, program_at};

fn nothing_made(site: &Site) {
    assert_eq!(site.things(), Vec::<String>::new(), "something was made");
}

pub fn no_engine() {
    let site = Site::init(&Recipe::never_up("e2e-engineless", 10));
    for args in [&["up"][..], &["status"], &["down"], &["logs"]] {
        let mut command = program(&site.dir());
        command.args(["--engine", "unix:///run/e2e-nobody.sock"]).args(args);
        run(command).ends(4).says("/run/e2e-nobody.sock");
    }
    let mut command = program(&site.dir());
    command.env("DOCKER_HOST", "ssh://root@odoo.example.com").args(["--engine", "docker", "up"]);
    run(command).ends(2).says("DOCKER_HOST");
    let mut command = program(&site.dir());
    command.args(["--engine", "dockr", "up"]);
    run(command).ends(2).says("docker");
}

/// The number of the user `nobody` on Debian and most other systems.
const NOBODY: u32 = 65_534;

pub fn no_permission() {
    // The program itself may lie where nobody else gets to.
    let place = tempfile::tempdir().expect("a directory");
    let binary = place.path().join("autoodoo");
    fs::copy(env!("CARGO_BIN_EXE_autoodoo"), &binary).expect("a copy of the program");
    for path in [place.path(), &binary] {
        open_to_all(path);
    }
    let site = place.path().join("site");
    fs::create_dir(&site).expect("a directory");
    std::os::unix::fs::chown(&site, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    let nobody = |args: &[&str]| {
        let mut command = program_at(&binary, &site);
        command.args(args).uid(NOBODY).gid(NOBODY);
        run(command)
    };
    nobody(&[
        "init",
        "--yes",
        "--name",
        "e2e-nobody",
        "--domain",
        "nobody.example.com",
        "--database",
        "nobody",
    ])
    .ends(0);
    let url = format!("unix://{}", engine().socket());
    for args in [&["up"][..], &["status"]] {
        nobody(&[&["--engine", &url][..], args].concat()).ends(4).says("permission").says(engine().socket());
    }
    nobody(&["--engine", engine().word(), "up"]).ends(4).says("permission");
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

pub fn wrong_site_file() {
    let site = Site::init(&Recipe::never_up("e2e-wrong", 20));
    site.edit("\nusers: 5\n", "\nuser: 5\n");
    site.edit(&format!("\n  http: {}\n", site.http), "\n  http: many\n");
    let text = site.read("autoodoo.yaml");
    let place = |words: &str, column: usize| {
        let line = text.lines().position(|line| line == words).expect("the line") + 1;
        format!("autoodoo.yaml:{line}:{column}: ")
    };
    for args in [&["up"][..], &["up", "--dry-run"], &["status"], &["down"]] {
        site.run(args)
            .ends(2)
            .says("2 faults")
            .says(&format!("{}unknown key `user`; did you mean `users`?", place("user: 5", 1)))
            .says(&format!("{}`listen.http`: expected a port", place("  http: many", 9)));
    }
    nothing_made(&site);
    assert_eq!(site.read("autoodoo.yaml"), text);
    fs::remove_file(site.path("autoodoo.yaml")).expect("the site file");
    site.run(&["up"]).ends(2).says("autoodoo init");
    fs::write(site.path("autoodoo.yaml"), text.replace("user: 5", "users: 5").replace("many", "1"))
        .expect("the site file");
}

pub fn taken_port() {
    let site = Site::init(&Recipe::never_up("e2e-port", 30));
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, site.https)).expect("a free port");
    let own = format!("process {}", std::process::id());
    let port = format!("port {}", site.https);
    site.run(&["up"]).ends(1).says(&port).says(&own);
    nothing_made(&site);
}

/// Nobody listens on port 1 of this machine.
const UNREACHABLE: &str = "127.0.0.1:1/e2e/odoo:19";

pub fn absent_image() {
    let site = Site::init(&Recipe::never_up("e2e-imageless", 40));
    site.edit(&format!("image: {}\n", image("odoo", 19)), &format!("image: {UNREACHABLE}\n"));
    site.run(&["up"]).ends(1).says(UNREACHABLE);
    nothing_made(&site);
}

pub fn strangers() {
    let site = Site::init(&Recipe::never_up("e2e-stranger", 50));
    let (container, volume) = (site.container("postgres"), site.container("db-1"));
    let _guard = Strangers { container: container.clone(), volume: volume.clone() };
    let nginx = image("nginx", "1.26");
    let create = ["run", "--detach", "--name", &container, "--entrypoint", "sleep", &nginx, "600"];
    site.engine.call(&create);
    site.engine.call(&["volume", "create", &volume]);
    let before = site.engine.inspect("container", &container);
    for args in [&["up"][..], &["up", "--dry-run"]] {
        site.run(args).ends(1).says(&container).says(&volume).says("not made by autoodoo");
    }
    site.run(&["down", "--volumes", "--confirm", site.name]);
    let after = site.engine.inspect("container", &container);
    assert_eq!((&after["Id"], &after["State"]["Running"]), (&before["Id"], &serde_json::json!(true)));
    assert!(site.engine.exists("volume", &volume));
    nothing_made(&site);
}

struct Strangers {
    container: String,
    volume: String,
}

impl Drop for Strangers {
    fn drop(&mut self) {
        engine().remove_by_force("container", &self.container);
        engine().remove_by_force("volume", &self.volume);
    }
}
