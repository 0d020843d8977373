//! How a site comes up, goes down, and comes up again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checks::design::tell_no_secret;
use crate::http::Browser;
use crate::process::{Started, until};
use crate::site::{Recipe, Site};

/// The first `up`, and meanwhile a second one, which is sent away.
pub fn comes_up_alone(site: &Site) {
    let plan = site.run(&["up", "--dry-run"]).ends(0).says("create database").text();
    let json = site.run(&["--json", "up", "--dry-run"]).ends(0).says("\"planned\"").text();
    tell_no_secret(site, &[("the plan".to_owned(), plan), ("the plan in JSON".to_owned(), json)]);
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

/// How many steps each run may do before it is killed: at least, and less than. Together they reach
/// all of it: volumes and PostgreSQL, the making of the database, its completion (after which that
/// is redone), Odoo, the proxy and cron.
const SPANS: [(u64, u64); 9] = [(1, 5), (1, 5), (2, 7), (2, 7), (4, 7), (7, 11), (13, 20), (1, 6), (1, 6)];

/// Interrupts the first `up`, then kills it again and again, each time some steps and a moment
/// later; at the end it must come up as if nothing had been.
pub fn comes_up_killed(site: &Site) {
    let mut seeded = Seeded(2_026);
    let interrupted = cut_off(site, "INT", 4, Duration::ZERO).expect("it has more steps than that");
    interrupted.finish().ends(1).says("interrupted during").says("the same command goes on");
    let mut killed = Vec::new();
    for (least, end) in SPANS {
        let (steps, moment) = (least + seeded.below(end - least), Duration::from_millis(seeded.below(400)));
        let Some(run) = cut_off(site, "KILL", steps, moment) else { break };
        assert_eq!(run.finish().code, None);
        killed.push(last_step(site));
    }
    let last = site.up();
    eprintln!("           killed during: {}", killed.join("; "));
    assert!(killed.len() >= 7, "too few kills to tell");
    last.says("is up");
    no_orphans(site);
}

/// Starts `up` and sends it a signal a moment after so many steps have begun; `None` when it had
/// ended by then.
fn cut_off(site: &Site, signal: &str, steps: u64, moment: Duration) -> Option<Started> {
    let before = journal(site).len();
    let mut up = site.start(&["up"]);
    let mut then = None;
    let ended = until("the moment to cut off", 300, || {
        let begun = journal(site)[before..].matches("\"step-begin\"").count() as u64;
        if begun >= steps && then.is_none() {
            then = Some(Instant::now() + moment);
        }
        let due = then.is_some_and(|then| Instant::now() >= then);
        if up.has_ended() { Some(true) } else { due.then_some(false) }
    });
    if ended {
        up.finish().ends(0);
        return None;
    }
    up.signal(signal);
    Some(up)
}

fn journal(site: &Site) -> String {
    std::fs::read_to_string(site.path("state/journal.jsonl")).unwrap_or_default()
}

/// In words, the step in which the last run was.
fn last_step(site: &Site) -> String {
    let text = journal(site);
    let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let steps = records.iter().rfind(|record| record["record"] == "begin").map(|record| &record["steps"]);
    let last = records.iter().rfind(|record| record["record"] == "step-begin");
    let number = last.and_then(|record| record["number"].as_u64()).unwrap_or(1);
    let index = usize::try_from(number - 1).expect("a small number");
    steps.and_then(|steps| steps[index].as_str()).unwrap_or("nothing").to_owned()
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
    let volumes = ["db-1", "socket", "tmp", "web-1"].map(|volume| site.container(volume));
    let kept: Vec<_> = site.things().into_iter().filter(|name| !name.contains("-cache-")).collect();
    assert_eq!(kept, volumes);
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
