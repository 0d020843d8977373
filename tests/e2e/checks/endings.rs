//! How a site comes up, goes down, and comes up again.

use std::time::{Duration, Instant};

use crate::http::Browser;
use crate::process::{Started, until};
use crate::site::{Recipe, Site};

/// The first `up`, and meanwhile a second one, which is sent away.
pub fn comes_up_alone(site: &Site) {
    assert!(site.run(&["up", "--dry-run"]).ends(0).says("create database").succeeded());
    assert_eq!(site.things(), Vec::<String>::new(), "a dry run made something");
    let mut first = site.start(&["up"]);
    until("the first up takes the site", 20, || {
        (first.has_ended() || !site.read("state/lock").is_empty()).then_some(())
    });
    let pid = format!("process {}", first.pid());
    for second in [&["up"][..], &["down"], &["down", "--volumes", "--confirm", site.name]] {
        site.run(second).ends(5).says(&pid).says("autoodoo up");
    }
    let first = first.finish().ends(0);
    let last = first.out.lines().last().unwrap_or_default();
    let url = format!("https://{}:{} is up", site.domain, site.https);
    assert!(last.starts_with(&url), "the last line tells the URL: {first}");
    assert!(last.contains("owner") && last.contains("secrets/admin-password"), "{last}");
}

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
struct Seeded(u64);

impl Seeded {
    /// Up to, not including, `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const KILLS: usize = 8;

/// Kills at points that are spread over the whole course: after so many steps, and a moment more.
pub fn comes_up_killed(site: &Site) {
    let mut seeded = Seeded(2_026);
    let interrupted = cut_off(site, "INT", Duration::from_millis(1_500)).expect("it takes longer than that");
    interrupted.finish().ends(1).says("interrupted during").says("the same command goes on");
    let mut killed = 0;
    for number in 0..KILLS as u64 {
        let moment = Duration::from_millis(200 + seeded.below(1_000 + 1_200 * number));
        let Some(run) = cut_off(site, "KILL", moment) else { break };
        assert_eq!(run.finish().code, None);
        killed += 1;
    }
    let last = site.up();
    eprintln!("           {killed} kills and an interruption survived");
    assert!(killed > 3, "too few kills to tell");
    last.says("was cut off").says("is up");
    no_orphans(site);
}

/// Starts `up` and sends it a signal after a while; `None` when it had ended by then.
fn cut_off(site: &Site, signal: &str, after: Duration) -> Option<Started> {
    let mut up = site.start(&["up"]);
    let moment = Instant::now() + after;
    let ended = until("the moment", 60, || match (up.has_ended(), Instant::now() >= moment) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    });
    if ended {
        up.finish().ends(0);
        return None;
    }
    up.signal(signal);
    Some(up)
}

fn no_orphans(site: &Site) {
    let mut expected = site.five();
    expected.sort();
    assert_eq!(site.engine.of_site("container", site.name), expected);
    assert_eq!(site.sql("select count(*) from pg_database where datname like '%\\_\\_init%'"), "0");
    let filestores =
        ["exec", &site.odoo_container(), "sh", "-c", "ls /var/lib/odoo/filestore 2>/dev/null || true"];
    let filestores = site.engine.call(&filestores);
    assert!(!filestores.contains("__init"), "{filestores}");
}

const NOTE: &str = "create table if not exists e2e_kept (text text); insert into e2e_kept values ('kept');";
const READ_NOTE: &str = "select text from e2e_kept limit 1";

pub fn down_keeps_data(site: &Site) {
    site.sql(NOTE);
    site.run(&["down", "--dry-run"]).ends(0).says("stop and remove");
    assert_eq!(site.sql(READ_NOTE), "kept");
    site.run(&["down"]).ends(0).says("its data stays");
    let volumes = ["db-1", "socket", "web-1"].map(|volume| site.container(volume));
    assert_eq!(site.things(), volumes);
    site.run(&["down"]).ends(0).says("down already");
    site.run(&["psql", "-c", "select 1"]).ends(1).says("autoodoo up");
    site.up();
    assert_eq!(site.sql(READ_NOTE), "kept");
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
}

/// An empty Odoo must never take the place of lost data.
pub fn lost_volume(site: &Site) {
    site.run(&["down"]).ends(0);
    site.engine.call(&["volume", "rm", &site.container("web-1")]);
    let before = site.things();
    site.run(&["up"]).ends(1).says(&site.container("web-1")).says("autoodoo restore");
    assert_eq!(site.things(), before, "something was touched");
    site.run(&["up", "--dry-run"]).ends(1).says("restore");
}

pub fn down_volumes(site: &Site) {
    site.run(&["--yes", "down", "--volumes"]).ends(2).says("--confirm");
    site.run(&["down", "--volumes", "--confirm", "another"]).ends(2).says("nothing was removed");
    site.run(&["--yes", "down", "--confirm", site.name]).ends(2);
    assert!(site.things().contains(&site.container("db-1")));
    site.run(&["down", "--volumes", "--confirm", site.name]).ends(0).says("its data is gone");
    assert_eq!(site.things(), Vec::<String>::new());
    site.run(&["up", "--dry-run"]).ends(0).says("create database");
}

/// Volumes without state.
pub fn lost_memory(site: &Site) {
    site.sql(NOTE);
    site.run(&["down"]).ends(0);
    let before = site.things();
    let (state, aside) = (site.path("state"), site.path("state.aside"));
    std::fs::rename(&state, &aside).expect("a directory of ours");
    for args in [&["up"][..], &["down", "--volumes", "--confirm", site.name], &["status"]] {
        site.run(args).ends(1).says("state").says("autoodoo restore");
    }
    assert_eq!(site.things(), before, "something was touched");
    assert!(!state.exists(), "a new memory was made");
    std::fs::rename(&aside, &state).expect("a directory of ours");
    site.up();
    assert_eq!(site.sql(READ_NOTE), "kept");
}

/// Another directory that describes a site of the same name gets nothing of this one.
pub fn second_directory(site: &Site) {
    let other = tempfile::tempdir().expect("a directory");
    site.run_init(&Recipe::odoo_14(), other.path()).ends(0);
    let before = site.things();
    for args in [&["up"][..], &["up", "--dry-run"]] {
        let mut command = crate::site::program(other.path());
        command.args(["--engine", site.engine.word()]).args(args);
        crate::process::run(command).ends(1).says("another autoodoo site directory");
    }
    let mut command = crate::site::program(other.path());
    command.args(["--engine", site.engine.word(), "down", "--volumes", "--confirm", site.name]);
    crate::process::run(command);
    assert_eq!(site.things(), before, "something was touched");
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
}

pub fn fresh_again(site: &Site) {
    let password = site.secret("admin-password");
    site.run(&["down", "--volumes", "--confirm", site.name]).ends(0);
    assert_eq!(site.things(), Vec::<String>::new());
    site.up();
    assert_eq!(site.sql("select count(*) from pg_tables where tablename = 'e2e_kept'"), "0");
    assert!(Browser::new(site).log_in("owner", &password).is_some());
}
