//! Backups of a site whose containers are played and whose attachments and repositories are real files.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use autoodoo::engine::{Exec, ExecOutput, Stream};
use autoodoo::host::lock::{Holder, SiteLock};
use jiff::SignedDuration;
use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::world::{Ran, World};

/// What PostgreSQL knows.
#[derive(Default)]
struct Server {
    /// By name: rows of its one table, and `store_fname` with `file_size` of its attachments.
    databases: BTreeMap<String, Database>,
    /// Databases whose dump breaks off.
    broken: BTreeSet<String>,
    /// Databases without Odoo's tables.
    strays: BTreeSet<String>,
    /// What attachments weigh cannot be found out in time.
    slow: bool,
    /// Of each database, as `pg_database_size` tells.
    bytes: u64,
}

#[derive(Default, Clone)]
struct Database {
    rows: u64,
    attachments: BTreeMap<String, u64>,
}

/// Happens whenever a database is dumped.
type OnDump = Rc<RefCell<Option<Box<dyn Fn()>>>>;

fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A site that is up, with its data.
struct Site {
    world: World,
    server: Rc<RefCell<Server>>,
    /// What happens when a dump begins.
    on_dump: OnDump,
}

const END: &str = "autoodoo: end of answer\n";

impl Site {
    /// One database with three attachments, and these lines below `backup:`.
    fn with(backup: &str) -> Site {
        let world = World::with_site();
        world.engine.keep_volumes_in(&world.file("volumes"));
        let place = |name: &str| world.file(name).display().to_string();
        let backup = backup.replace("NEAR", &place("near")).replace("FAR", &place("far"));
        world.edit("backup:\n", &format!("backup:\n{backup}"));
        let world = world.brought_up();
        let server: Rc<RefCell<Server>> = Rc::default();
        let on_dump = OnDump::default();
        let (answering, dumping) = (Rc::clone(&server), Rc::clone(&on_dump));
        *world.script.borrow_mut() = Some(Box::new(move |_, exec| {
            let ours = exec.env.get("PGAPPNAME").is_some_and(|name| name.starts_with("autoodoo:"));
            if exec.argv.iter().any(|word| word == "pg_dump")
                && let Some(happens) = dumping.borrow().as_ref()
            {
                happens();
            }
            ours.then(|| answering.borrow().answer(exec))
        }));
        let site = Site { world, server, on_dump };
        site.server
            .borrow_mut()
            .databases
            .insert("acme".to_owned(), Database { rows: 1000, ..Database::default() });
        for number in 0..3 {
            site.attach(&format!("attachment {number}, {}", "x".repeat(5_000)));
        }
        for directory in ["near", "far"] {
            std::fs::create_dir_all(site.world.file(directory)).unwrap();
        }
        let setup = site.world.run("backup setup");
        assert_eq!(setup.code, 0, "{setup:?}");
        site.world.engine.forget_calls();
        site
    }

    /// One target on this host.
    fn new() -> Site {
        Site::with("  to: [ { url: NEAR, name: near } ]\n")
    }

    fn attach(&self, content: &str) -> String {
        let hash = sha1_hex(content.as_bytes());
        let name = format!("{}/{hash}", &hash[..2]);
        let path = self.attachment(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        let mut server = self.server.borrow_mut();
        let acme = server.databases.get_mut("acme").unwrap();
        acme.attachments.insert(name.clone(), content.len() as u64);
        name
    }

    fn attachment(&self, name: &str) -> PathBuf {
        self.world.file("volumes/acme-web-1/filestore/acme").join(name)
    }

    fn run(&self, line: &str) -> Ran {
        self.world.run(line)
    }

    fn done(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran
    }

    fn json(&self, line: &str) -> Value {
        let ran = self.run(&format!("--json {line}"));
        let last = ran.data.lines().rfind(|line| !line.contains("\"event\":\"progress\""));
        serde_json::from_str(last.unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Full ids, oldest first.
    fn backups(&self) -> Vec<String> {
        let list = self.json("backup list");
        let backups = list["targets"][0]["backups"].as_array().unwrap();
        backups.iter().rev().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs that came to write down that they began.
    fn begun(&self) -> usize {
        self.world.text("state/journal.jsonl").matches(r#""operation":"backup""#).count()
    }

    fn leftovers(&self) -> bool {
        self.world.file("volumes/acme-web-1/.autoodoo-backup").exists()
    }
}

impl Server {
    fn answer(&self, exec: &Exec) -> ExecOutput {
        let words: Vec<&str> = exec.argv.iter().map(String::as_str).collect();
        let database = words.iter().find_map(|word| word.strip_prefix("dbname=")).unwrap_or_default();
        if let ["sh", "-c", _, "sh", program, ..] = words.as_slice() {
            return self.program(program, database);
        }
        let stdin = exec.stdin.as_deref().map(String::from_utf8_lossy);
        match (stdin, words.iter().rposition(|word| *word == "--command")) {
            (Some(sql), _) => said(self.session(database, &sql) + END),
            (None, Some(at)) if self.slow && words[at + 1].contains("coalesce(sum(size)") => {
                let stderr = "ERROR:  canceling statement due to statement timeout\n".to_owned();
                ExecOutput { exit_code: 1, stdout: String::new(), stderr }
            }
            (None, Some(at)) => said(self.statement(database, words[at + 1])),
            (None, None) => said(String::new()),
        }
    }

    fn program(&self, program: &str, database: &str) -> ExecOutput {
        let stdout = match program {
            "pg_dump" => self.dump(database),
            "pg_dumpall" => "-- roles\n".to_owned(),
            _ => self.attachments(database),
        };
        if program == "pg_dump" && self.broken.contains(database) {
            let stderr = "pg_dump: error: out of memory\n".to_owned();
            return ExecOutput { exit_code: 1, stdout, stderr };
        }
        said(stdout + "autoodoo: complete")
    }

    /// Rows that stay are the same bytes every time.
    fn dump(&self, database: &str) -> String {
        let mut text = "PGDMP".to_owned();
        for row in 0..self.databases[database].rows {
            writeln!(text, "{row} {}", sha1_hex(&row.to_le_bytes())).unwrap();
        }
        text
    }

    fn attachments(&self, database: &str) -> String {
        let attachments = &self.databases[database].attachments;
        attachments.iter().fold(String::new(), |text, (name, size)| text + &format!("{name}\t{size}\n"))
    }

    fn session(&self, database: &str, sql: &str) -> String {
        match sql {
            sql if sql.contains("to_regclass") => self.has_tables(database),
            sql if sql.contains("pg_export_snapshot") => "00000003-00000001-1\n".to_owned(),
            sql if sql.contains("COPY (SELECT store_fname") => self.attachments(database),
            sql if sql.contains("extract(epoch") => "1780000000000000\t8000000\t17.2\n".to_owned(),
            sql if sql.contains("\\gexec") => {
                format!("public.res_partner\t{}\n", self.databases[database].rows)
            }
            sql if sql.contains("SELECT 1;") => "1\n".to_owned(),
            _ => String::new(),
        }
    }

    fn has_tables(&self, database: &str) -> String {
        if self.strays.contains(database) { "f\n" } else { "t\n" }.to_owned()
    }

    fn statement(&self, database: &str, sql: &str) -> String {
        match sql {
            sql if sql.contains("datname, pg_database_size") => self
                .databases
                .keys()
                .fold(String::new(), |text, name| text + &format!("{name}|{}\n", self.bytes)),
            sql if sql.contains("to_regclass") => self.has_tables(database),
            sql if sql.contains("coalesce(sum(size)") => {
                format!("{}\n", self.databases[database].attachments.values().sum::<u64>())
            }
            sql if sql.contains("count(*) FROM pg_database") => "1\n".to_owned(),
            _ => String::new(),
        }
    }
}

fn said(stdout: String) -> ExecOutput {
    ExecOutput { exit_code: 0, stdout, stderr: String::new() }
}

#[test]
fn a_site_without_targets_is_told_what_to_write() {
    let world = World::up();
    for line in ["backup", "backup list", "backup verify", "backup prune", "backup --dry-run"] {
        let ran = world.run(line);
        assert_eq!(ran.code, 2, "{line}: {ran:?}");
        assert!(ran.talk.contains("names no place for backups") && ran.talk.contains("to:"), "{}", ran.talk);
    }
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn a_first_run_saves_everything_and_a_second_one_adds_little() {
    let site = Site::new();
    let first = site.done("backup");
    assert!(first.data.starts_with("backed up 1 database, "), "{first:?}");
    assert!(first.data.contains("to 1 of 1 target in "), "{first:?}");
    assert!(!site.leftovers());
    site.world.pass(SignedDuration::from_hours(24));
    let second = site.json("backup");
    assert_eq!(second["event"], "backed-up");
    let (bytes, added) = (second["bytes"].as_u64().unwrap(), second["added_bytes"].as_u64().unwrap());
    assert!(added * 5 < bytes, "{second}");
    assert_eq!(site.backups().len(), 2);
    let list = site.done("backup list").data;
    assert!(list.contains("near (") && list.contains("hot") && list.contains("whole"), "{list}");
    assert_eq!(site.world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn a_dry_run_changes_nothing() {
    let site = Site::new();
    let ran = site.done("backup --dry-run");
    assert!(ran.data.contains("hold one moment of acme"), "{}", ran.data);
    assert!(ran.data.contains("back up to near ("), "{}", ran.data);
    assert!(ran.data.contains("note: what destroys this server destroys its backups"), "{}", ran.data);
    assert_eq!(site.world.engine.changes(), Vec::<String>::new());
    assert_eq!(site.backups().len(), 0);
    for line in site.run("--json backup --dry-run").data.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        assert_eq!(step["event"], "planned");
        assert!(step["action"]["action"].is_string() && step["cause"].is_string(), "{line}");
    }
}

#[test]
fn files_are_listed_and_read_back_byte_for_byte() {
    let site = Site::new();
    let name = site.attach("a letter");
    site.done("backup");
    let ls = site.done("backup ls latest filestore").data;
    assert!(ls.contains(&format!("filestore/acme/{name}")), "{ls}");
    assert!(!ls.contains("manifest.json"), "{ls}");
    let read = site.done(&format!("backup cat latest filestore/acme/{name}"));
    assert_eq!(read.data, "a letter");
    assert!(site.done("backup cat latest /databases/acme/dump.pgdump").data.starts_with("PGDMP0 "));
    for (line, code) in [
        ("backup cat latest filestore/acme/nothing", 1),
        ("backup cat 0000 manifest.json", 2),
        ("backup ls latest --target zebra", 2),
    ] {
        let ran = site.run(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
    }
}

/// What is not in it is made anew, or is a matter of this host alone.
#[test]
fn every_file_that_a_restored_site_needs_is_in_the_backup() {
    const ANEW: [&str; 5] = ["generated/nginx/candidate/", "near/", "far/", "volumes/", "state/"];
    let site = Site::new();
    site.done("backup");
    let ls = site.done("backup ls latest configuration").data;
    let saved: BTreeSet<&str> =
        ls.lines().filter_map(|line| line.split_once("configuration/").map(|(_, path)| path)).collect();
    let there = files_below(site.world.root());
    assert!(there.len() > 20, "{there:?}");
    for path in &there {
        let anew = path != "state/state.json" && ANEW.iter().any(|part| path.starts_with(part));
        assert_eq!(saved.contains(path.as_str()), !anew, "{path}: {saved:#?}");
    }
    assert!(saved.contains("ca.crt") && saved.contains("secrets/ca.key"));
}

fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found
}

/// The engine keeps a part of each log: what it has overwritten since the last backup is in none.
#[test]
fn log_lines_that_were_lost_before_they_were_backed_up_are_told() {
    let site = Site::new();
    let write = |container: &str, line: &str| site.world.engine.write_log(container, Stream::Stderr, line);
    write("acme-postgres", "2026-05-01T00:00:00.5Z ready to accept connections");
    write("acme-odoo-a", "2026-05-29T02:00:00.123456789Z GET /web");
    write("acme-cron", "no time");
    let first = site.done("backup");
    assert!(!first.data.contains("not in it"), "{first:?}");
    site.world.pass(SignedDuration::from_hours(24));
    let second = site.done("backup");
    let told: Vec<&str> = second.data.lines().filter(|line| line.contains("not in it: logs of ")).collect();
    let gap = |container: &str, until: &str| {
        format!(
            "not in it: logs of {container} from 2026-05-28 20:26 UTC to {until} UTC were overwritten before they were \
             backed up"
        )
    };
    let now = "2026-05-29 20:26";
    assert_eq!(told, [gap("acme-nginx-a", now), gap("acme-odoo-a", "2026-05-29 02:00")]);
    let manifest = site.done("backup cat latest manifest.json").data;
    assert!(manifest.contains("logs of acme-odoo-a from "), "{manifest}");
}

#[test]
fn damage_on_the_server_is_saved_around_named_and_told_by_verify() {
    let site = Site::new();
    let gone = site.attach("gone");
    let changed = site.attach("changed");
    std::fs::remove_file(site.attachment(&gone)).unwrap();
    std::fs::write(site.attachment(&changed), "CHANGED").unwrap();
    let ran = site.run("backup");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.data.contains("to 1 of 1 target"), "{ran:?}");
    assert!(ran.talk.contains(&format!("database acme: {gone} is missing")), "{ran:?}");
    assert!(ran.talk.contains(&format!("database acme: {changed} is altered")), "{ran:?}");
    assert!(site.done("backup list").data.contains("DAMAGED: 2 attachments"));
    let verify = site.run("backup verify");
    assert_eq!(verify.code, 7, "{verify:?}");
    assert!(verify.data.contains("2 attachments missing or altered on the server already"), "{verify:?}");

    let fsck = site.run("fsck");
    assert_eq!(fsck.code, 7, "{fsck:?}");
    assert!(fsck.data.contains(&format!("acme: {gone} is missing")), "{fsck:?}");
    assert!(fsck.data.contains(&format!("acme: {changed} is not what its name says")), "{fsck:?}");
}

/// It has not changed since the backup before: nothing but its being named there has it read again.
#[test]
fn what_is_altered_is_told_by_every_run_until_it_is_put_right() {
    let site = Site::new();
    let changed = site.attach("changed");
    let run = || {
        site.world.pass(SignedDuration::from_hours(1));
        site.run("backup")
    };
    assert_eq!(run().code, 0);
    std::fs::write(site.attachment(&changed), "CHANGED").unwrap();
    for _ in 0..3 {
        let ran = run();
        assert_eq!(ran.code, 7, "{ran:?}");
        assert!(ran.talk.contains(&format!("database acme: {changed} is altered")), "{ran:?}");
    }
    // Also where the copies of what backups say were lost.
    std::fs::remove_dir_all(site.world.file("state/cache")).unwrap();
    assert_eq!(run().code, 7);
    assert_eq!(site.done("backup list").data.matches("DAMAGED: 1 attachment").count(), 4);
    std::fs::write(site.attachment(&changed), "changed").unwrap();
    for _ in 0..2 {
        assert_eq!(run().code, 0);
    }
    site.done("backup verify --read-data");
}

#[test]
fn fsck_of_a_whole_site_is_content() {
    let site = Site::new();
    std::fs::write(site.attachment("orphan"), "nobody's").unwrap();
    for line in ["fsck", "fsck --database acme"] {
        let ran = site.done(line);
        assert!(ran.data.contains("whole") && ran.data.contains("1 (8 bytes)"), "{ran:?}");
    }
    assert_eq!(site.json("fsck")["databases"][0]["standing"]["files"], 3);
    assert_eq!(site.run("fsck --database zebra").code, 2);
}

#[test]
fn a_required_target_that_fails_does_not_keep_the_others() {
    let site = Site::with("  to: [ FAR, { url: NEAR, name: near } ]\n");
    site.done("backup");
    std::fs::rename(site.world.file("far"), site.world.file("unplugged")).unwrap();
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("no backup at target far") && ran.talk.contains("not mounted"), "{ran:?}");
    assert!(ran.data.contains("to 1 of 2 targets"), "{ran:?}");
    assert!(!site.world.file("far/config").exists(), "nothing was written below the mount point");
    let list = site.run("backup list");
    assert_eq!(list.code, 1, "{list:?}");
    assert!(list.data.contains("cannot be read: ") && list.data.matches("whole").count() == 2, "{list:?}");
    assert_eq!(site.run("backup list --target near").code, 0);
}

#[test]
fn an_optional_target_that_fails_is_a_warning() {
    let site = Site::with("  to: [ { url: NEAR, name: near }, { url: FAR, name: far, required: false } ]\n");
    site.done("backup");
    std::fs::rename(site.world.file("far"), site.world.file("unplugged")).unwrap();
    let ran = site.done("backup");
    assert!(ran.talk.contains("warning: optional target far has no backup of this run"), "{ran:?}");
    let alone = site.run("backup --target far");
    assert_eq!(alone.code, 1, "nothing was saved anywhere: {alone:?}");
}

#[test]
fn a_dump_that_breaks_off_saves_nothing() {
    let site = Site::new();
    site.server.borrow_mut().broken.insert("acme".to_owned());
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("pg_dump of database acme failed with exit code 1"), "{ran:?}");
    assert!(ran.talk.contains("out of memory"), "{ran:?}");
    assert_eq!(site.backups(), Vec::<String>::new());
    assert!(!site.leftovers());
    site.server.borrow_mut().broken.clear();
    site.done("backup");
}

#[test]
fn ctrl_c_leaves_nothing_that_looks_like_a_backup() {
    let site = Site::new();
    let interrupt = Rc::clone(&site.world.interrupt);
    *site.on_dump.borrow_mut() = Some(Box::new(move || interrupt.notify_one()));
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("interrupted"), "{ran:?}");
    *site.on_dump.borrow_mut() = None;
    assert_eq!(site.backups(), Vec::<String>::new());
    assert!(!site.leftovers());
    site.done("backup");
    site.done("backup verify --read-data");
}

/// Every call to the engine fails in turn, with everything after it, as if the program had been
/// killed there.
#[test]
fn killed_at_any_call_the_next_run_is_whole_and_odoo_runs() {
    for line in ["backup", "backup --cold"] {
        let site = Site::new();
        let running = site.world.containers();
        for call in 1.. {
            site.world.engine.forget_calls();
            site.world.engine.stop_at(call);
            let before = site.world.engine.calls().len();
            let begun = site.begun();
            let ran = site.run(line);
            let reached = site.world.engine.calls().len() - before >= call;
            site.world.engine.resume();
            if !reached {
                assert_eq!(ran.code, 0, "{line}, call {call}: {ran:?}");
                assert!(call > 10, "{line}: {call}");
                break;
            }
            if site.begun() > begun {
                site.world.journal_as_if_killed();
            }
            let next = site.run("backup");
            assert_eq!(next.code, 0, "{line} killed at call {call}: {next:?}");
            assert_eq!(site.world.containers(), running, "{line} killed at call {call}");
            assert!(!site.leftovers(), "{line} killed at call {call}");
            assert!(!site.world.file("state/stopped-for-backup.json").exists(), "{line}, call {call}");
        }
        assert_eq!(site.world.run("up --dry-run").data, "nothing to do\n");
        site.done("backup verify --read-data");
    }
}

#[test]
fn a_cold_run_stops_odoo_for_the_moment_and_starts_it_again() {
    let site = Site::new();
    let running = site.world.containers();
    let ran = site.done("backup create --cold");
    assert!(ran.data.contains("; cold"), "{ran:?}");
    assert_eq!(site.world.containers(), running);
    let calls = site.world.engine.calls();
    let at = |call: &str| {
        calls.iter().position(|made| made.starts_with(call)).unwrap_or_else(|| panic!("{call}: {calls:?}"))
    };
    let copy = calls.iter().position(|call| call.contains("--file=-")).unwrap();
    let dump = calls.iter().position(|call| call.contains(" pg_dump ")).unwrap();
    assert!(at("stop acme-cron") < copy && at("stop acme-odoo-a") < copy, "{calls:?}");
    assert!(copy < at("start acme-odoo-a") && at("start acme-odoo-a") < dump, "{calls:?}");
    assert!(site.done("backup list").data.contains("cold"));
}

#[test]
fn a_cold_run_that_fails_starts_odoo_again() {
    let site = Site::new();
    let running = site.world.containers();
    site.server
        .borrow_mut()
        .databases
        .get_mut("acme")
        .unwrap()
        .attachments
        .insert("torn\tline".to_owned(), 1);
    let ran = site.run("backup --cold");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(site.world.containers(), running);
    assert!(!site.leftovers());
}

/// Whoever waits for a backup of a site that is ill gets one.
#[test]
fn a_cold_run_of_an_odoo_that_does_not_answer_saves_it_and_says_so() {
    let site = Site::new();
    let running = site.world.containers();
    *site.world.deaf.borrow_mut() = Some("odoo-a".to_owned());
    let ran = site.run("backup --cold");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.data.contains("to 1 of 1 target"), "{ran:?}");
    assert!(
        ran.talk.contains("the backup was saved, and Odoo, which was started again, does not answer"),
        "{ran:?}"
    );
    assert_eq!(site.world.containers(), running);
    let file = site.world.file("acme.tar.zst");
    let ran = site.run(&format!("backup export --cold {}", file.display()));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.data.contains("exported 1 database") && ran.talk.contains("the export was made, and Odoo"));
    assert_eq!(site.world.containers(), running);
    *site.world.deaf.borrow_mut() = None;
    assert_eq!(site.backups().len(), 1);
    assert!(file.exists());
}

/// Each call to the engine fails once.
#[test]
fn a_cold_export_starts_odoo_again_whatever_fails() {
    let site = Site::new();
    let running = site.world.containers();
    for call in 1.. {
        site.world.engine.forget_calls();
        site.world.engine.fail_at(call);
        let file = site.world.file(&format!("{call}.tar.zst"));
        let ran = site.run(&format!("backup export --cold {}", file.display()));
        site.world.engine.resume();
        assert_eq!(site.world.containers(), running, "call {call}: {ran:?}");
        assert_eq!(file.exists(), ran.code == 0, "call {call}: {ran:?}");
        assert!(!site.world.file("state/stopped-for-backup.json").exists(), "call {call}");
        if site.world.engine.calls().len() < call {
            assert_eq!(ran.code, 0, "{ran:?}");
            break;
        }
    }
    let calls = site.world.engine.calls();
    let at = |part: &str| calls.iter().position(|call| call.contains(part)).unwrap();
    assert!(at("stop acme-cron") < at("--file=-"), "{calls:?}");
    assert!(at("--file=-") < at("start acme-odoo-a"), "{calls:?}");
    assert!(at("start acme-odoo-a") < at(" pg_dump "), "Odoo does not wait for the export: {calls:?}");
}

#[test]
fn an_export_whose_reader_goes_away_is_none() {
    let site = Site::new();
    let whole = site.run("backup export -");
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(site.world.text("state/backups.json").contains("\"last_export\": \""));
    std::fs::remove_file(site.world.file("state/backups.json")).unwrap();
    let ran = site.world.run_cut("backup export -", 100);
    assert_eq!(ran.code, 1, "{}", ran.talk);
    assert!(ran.talk.contains("whoever read the export went away before its end"), "{}", ran.talk);
    assert!(!ran.talk.contains("exported 1 database"), "{}", ran.talk);
    let kept = std::fs::read_to_string(site.world.file("state/backups.json")).unwrap_or_default();
    assert!(!kept.contains("\"last_export\": \""), "{kept}");
}

/// Something happens before PostgreSQL answers a statement of a session.
fn before(site: &Site, statement: &'static str, happens: impl Fn() + 'static) {
    let answer = site.world.script.borrow_mut().take().unwrap();
    *site.world.script.borrow_mut() = Some(Box::new(move |container, exec| {
        let stdin = exec.stdin.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        if stdin.contains(statement) {
            happens();
        }
        answer(container, exec)
    }));
}

#[test]
fn damage_is_told_also_when_the_moment_does_not_end_well() {
    let site = Site::new();
    let gone = site.attach("gone");
    std::fs::remove_file(site.attachment(&gone)).unwrap();
    let farm = site.world.file("volumes/acme-web-1/.autoodoo-backup");
    // Asked last before the manifest is written: every attachment has been read.
    before(&site, "SELECT 1;", move || {
        std::fs::remove_dir_all(&farm).unwrap_or_default();
        std::fs::write(&farm, "no directory").unwrap();
    });
    let ran = site.run("backup");
    assert!(ran.talk.contains("cannot remove "), "{ran:?}");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.talk.contains(&format!("database acme: {gone} is missing")), "{ran:?}");
}

#[test]
fn secrets_of_an_optional_target_that_cannot_be_read_are_told_after_the_backup() {
    let site = Site::with("  to: [ { url: NEAR, name: near }, { url: FAR, name: far, required: false } ]\n");
    let gone = site.attach("gone");
    std::fs::remove_file(site.attachment(&gone)).unwrap();
    std::fs::write(site.world.file("secrets/backup/far.credentials"), "one line\n").unwrap();
    let ran = site.run("backup");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.data.contains("backed up 1 database"), "{ran:?}");
    assert!(ran.talk.contains("warning: there is no recovery kit: "), "{ran:?}");
    let status = site.done("status");
    assert!(status.data.contains("PROBLEM: there is no recovery kit: "), "{status:?}");
    std::fs::write(site.world.file("state/backups.json"), "{").unwrap();
    let status = site.done("status");
    assert!(status.data.contains("PROBLEM: what is known of the backups cannot be read: "), "{status:?}");
    assert!(status.data.contains("acme-odoo-a"), "{status:?}");
}

#[test]
fn a_size_that_is_not_known_keeps_nobody_from_a_backup() {
    let site = Site::new();
    site.server.borrow_mut().slow = true;
    for line in ["backup --dry-run", "backup", "fsck"] {
        let ran = site.done(line);
        let said = "how big the attachments of database acme are is not known";
        assert!(ran.talk.contains(said) && ran.talk.contains("statement timeout"), "{line}: {ran:?}");
    }
    assert_eq!(site.backups().len(), 1);
}

/// Killed in the middle of a cold run, with the database server gone meanwhile: no backup, but Odoo.
#[test]
fn odoo_is_started_again_also_by_a_run_that_fails() {
    let site = Site::new();
    let running = site.world.containers();
    let engine = site.world.engine.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for container in ["acme-odoo-a", "acme-cron"] {
        runtime.block_on(autoodoo::engine::Engine::stop(&engine, container, 1)).unwrap();
    }
    std::fs::write(
        site.world.file("state/stopped-for-backup.json"),
        r#"{"containers":["acme-odoo-a","acme-cron"]}"#,
    )
    .unwrap();
    site.server.borrow_mut().databases.clear();
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(site.world.containers(), running);
    assert!(!site.world.file("state/stopped-for-backup.json").exists());
}

/// Told twice to stop while Odoo was being stopped: it comes to its end all the same, and is started
/// again. What another process has marked and runs by now is left alone.
#[test]
fn odoo_that_is_on_its_way_down_is_started_again() {
    for (pid, restarted) in [(std::process::id(), true), (1, false)] {
        let site = Site::new();
        let running = site.world.containers();
        let mark = format!(r#"{{"containers":["acme-odoo-a","acme-cron"],"pid":{pid}}}"#);
        std::fs::write(site.world.file("state/stopped-for-backup.json"), mark).unwrap();
        site.server.borrow_mut().databases.clear();
        assert_eq!(site.run("backup").code, 1);
        let calls = site.world.engine.calls().join("\n");
        for container in ["acme-odoo-a", "acme-cron"] {
            let at = |verb: &str| calls.find(&format!("{verb} {container}"));
            assert_eq!(at("stop").is_some() && at("stop") < at("start"), restarted, "{pid}: {calls}");
        }
        assert_eq!(site.world.containers(), running);
        assert!(!site.world.file("state/stopped-for-backup.json").exists());
    }
}

#[test]
fn two_backups_at_once_are_refused() {
    let site = Site::new();
    let holder = Holder {
        command: "autoodoo backup".to_owned(),
        pid: 4242,
        since: "2026-01-31T03:00:00Z".parse().unwrap(),
    };
    let lock = SiteLock::acquire(&site.world.file("state"), &holder).unwrap();
    for line in ["backup", "backup prune"] {
        let ran = site.run(line);
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.talk.contains("4242"), "{ran:?}");
    }
    drop(lock);
    site.done("backup");
}

#[test]
fn a_failed_or_killed_backup_says_nothing_of_the_containers() {
    let site = Site::new();
    site.server.borrow_mut().broken.insert("acme".to_owned());
    assert_eq!(site.run("backup").code, 1);
    assert_eq!(site.world.run("up --dry-run").data, "nothing to do\n");
    site.world.journal_as_if_killed();
    assert_eq!(site.world.run("up --dry-run").data, "nothing to do\n");
    site.server.borrow_mut().broken.clear();
    let ran = site.done("backup");
    assert!(ran.talk.contains("the last operation (`backup` of "), "{ran:?}");
}

#[test]
fn a_whole_backup_is_verified_and_remembered() {
    let site = Site::new();
    site.done("backup");
    let verify = site.done("backup verify --read-data");
    assert!(
        verify.data.contains("is whole: 3 attachments there, 3 attachments of 15 kB read back"),
        "{verify:?}"
    );
    assert!(site.world.text("state/backups.json").contains("\"share\": 1.0"));
    assert_eq!(site.json("backup verify --read-data 10%")["share"], 0.1);
    assert_eq!(site.run("backup verify --read-data 0%").code, 2);
}

/// The files below a directory of the target.
fn files(site: &Site, directory: &str) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![site.world.file(directory)]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[40] ^= 1;
    overwrite(path, &bytes);
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file in a test's own directory")]
    permissions.set_readonly(false);
    std::fs::set_permissions(path, permissions).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_is_found() {
    let site = Site::new();
    site.done("backup");
    flip_a_byte(&files(&site, "near/data")[0]);
    let verify = site.run("backup verify --read-data");
    assert_eq!(verify.code, 7, "{verify:?}");
    assert!(verify.data.contains("is NOT whole"), "{verify:?}");
}

/// Each pack in turn; nothing on the server has changed.
#[test]
fn a_damaged_pack_is_set_aside_and_the_next_backup_is_whole() {
    let site = Site::new();
    site.done("backup");
    for pack in files(&site, "near/data") {
        flip_a_byte(&pack);
        let verify = site.run("backup verify --read-data");
        assert_eq!(verify.code, 7, "{verify:?}");
        assert!(verify.data.contains("set aside 1 pack: the next backup stores anew"), "{verify:?}");
        site.world.pass_days(1);
        site.done("backup");
        let verify = site.done("backup verify --read-data");
        assert!(verify.data.contains("is whole: 3 attachments there, 3 attachments of"), "{verify:?}");
    }
}

#[test]
fn databases_without_attachments_or_without_odoo_are_whole() {
    let site = Site::new();
    {
        let mut server = site.server.borrow_mut();
        server.databases.insert("stray".to_owned(), Database { rows: 5, ..Database::default() });
        server.strays.insert("stray".to_owned());
        server.databases.insert("fresh".to_owned(), Database { rows: 7, ..Database::default() });
    }
    let ran = site.done("backup");
    assert!(ran.data.starts_with("backed up 3 databases"), "{ran:?}");
    assert_eq!(site.run("backup cat latest databases/stray/attachments.tsv").code, 1);
    for line in ["backup verify", "backup verify --read-data"] {
        assert!(site.done(line).data.contains("is whole: 3 attachments there"), "{line}");
    }
}

#[test]
fn a_target_that_cannot_be_opened_does_not_keep_the_others_from_being_verified() {
    let site = Site::with("  to: [ FAR, { url: NEAR, name: near } ]\n");
    site.done("backup");
    std::fs::rename(site.world.file("far"), site.world.file("unplugged")).unwrap();
    let verify = site.run("backup verify");
    assert_eq!(verify.code, 1, "{verify:?}");
    assert!(verify.data.contains("at near is whole"), "{verify:?}");
    assert!(verify.talk.contains("the backups at target far are not there"), "{verify:?}");
    assert!(site.world.text("state/backups.json").contains("\"share\": 0.0"));
    // An id is of one target.
    let near = site.json("backup list --target near")["targets"][0]["backups"][0]["id"].clone();
    let verify = site.run(&format!("backup verify {}", &near.as_str().unwrap()[..8]));
    assert!(verify.code == 1 && verify.data.contains("at near is whole"), "{verify:?}");
    // Damage weighs more than absence.
    flip_a_byte(&files(&site, "near/data")[0]);
    let verify = site.run("backup verify --read-data");
    assert_eq!(verify.code, 7, "{verify:?}");
    assert!(verify.talk.contains("warning: target far was not verified"), "{verify:?}");
    std::fs::rename(site.world.file("near"), site.world.file("unplugged-too")).unwrap();
    let verify = site.run("backup verify");
    assert_eq!(verify.code, 1, "{verify:?}");
    assert!(verify.talk.contains("targets far, near were not verified"), "{verify:?}");
}

#[test]
fn damage_that_keeps_a_repository_from_being_opened_is_a_verification_that_failed() {
    let site = Site::new();
    site.done("backup");
    for directory in ["config", "keys", "snapshots"] {
        let file = files(&site, &format!("near/{directory}")).remove(0);
        let sound = std::fs::read(&file).unwrap();
        std::fs::remove_dir_all(site.world.file("state/cache")).unwrap();
        flip_a_byte(&file);
        let verify = site.run("backup verify");
        assert_eq!(verify.code, 7, "{directory}: {verify:?}");
        overwrite(&file, &sound);
        site.done("backup verify");
    }
    std::fs::rename(site.world.file("near/config"), site.world.file("near/aside")).unwrap();
    let verify = site.run("backup verify");
    assert!(verify.code == 7 && verify.talk.contains("it has a key and no config"), "{verify:?}");
}

#[test]
fn a_damaged_snapshot_hides_no_other() {
    let site = Site::new();
    site.done("backup");
    let old = site.backups().remove(0);
    site.world.pass_days(1);
    site.done("backup");
    let new = site.backups().remove(1);
    flip_a_byte(&site.world.file(&format!("near/snapshots/{new}")));
    std::fs::remove_dir_all(site.world.file("state/cache")).unwrap();
    let list = site.done("backup list").data;
    assert!(list.contains(&old[..8]) && list.contains(&format!("snapshots/{new} is damaged")), "{list}");
    assert!(site.done("backup cat latest manifest.json").data.starts_with('{'));
    let latest = site.run("backup verify");
    assert_eq!(latest.code, 7, "{latest:?}");
    assert!(latest.data.contains(&old[..8]) && latest.data.contains(&new), "{latest:?}");
    let named = site.run(&format!("backup verify {}", &new[..8]));
    assert_eq!(named.code, 7, "{named:?}");
    assert!(named.talk.contains("cannot be read") && named.talk.contains(&new), "{named:?}");
    assert_eq!(site.run("backup verify 00000000").code, 2);
}

fn pruned() -> Site {
    let site = Site::with("  to: [ { url: NEAR, name: near } ]\n");
    site.world.edit("    last: 3\n", "    last: 1\n");
    for rule in ["daily: 7", "weekly: 5", "monthly: 12", "yearly: 3"] {
        let (word, _) = rule.split_once(' ').unwrap();
        site.world.edit(rule, &format!("{word} 0"));
    }
    site.world.edit("within: 2d", "within: 0d");
    for _ in 0..3 {
        site.done("backup");
        site.world.pass_days(1);
    }
    site
}

#[test]
fn prune_names_reasons_and_keeps_what_the_rules_say() {
    let site = pruned();
    let kept = site.backups().pop().unwrap();
    let dry = site.done("backup prune --dry-run");
    assert_eq!(dry.data.matches("forget").count(), 2, "{dry:?}");
    assert!(dry.data.contains("last"), "{dry:?}");
    assert_eq!(site.backups().len(), 3);
    let ran = site.done("backup prune");
    assert!(ran.data.contains("near: forgot 2, kept 1 backup"), "{ran:?}");
    assert_eq!(site.backups(), [kept]);
    assert!(site.done("backup prune").data.contains("nothing to forget, 1 backup kept"));
    site.done("backup verify --read-data");
}

fn bytes_at_near(site: &Site) -> u64 {
    files(site, "near").iter().map(|path| path.metadata().unwrap().len()).sum()
}

/// What nobody needs is marked, told, and freed when there is nothing to forget any more.
#[test]
fn prune_frees_at_once_when_it_is_told_to() {
    let site = pruned();
    let first = site.json("backup prune");
    assert_eq!((first["forgotten"].as_u64(), first["freed_bytes"].as_u64()), (Some(2), Some(0)), "{first}");
    assert!(first["marked_bytes"].as_u64().unwrap() > 0, "{first}");
    let again = site.done("backup prune");
    assert!(again.data.contains("nothing to forget, 1 backup kept; "), "{again:?}");
    assert!(again.data.contains(" more will be freed by a prune after 23 h"), "{again:?}");
    // A run that was killed leaves packs that no index names.
    let orphan = site.world.file(&format!("near/data/00/{}", "00".repeat(32)));
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, vec![0; 100_000]).unwrap();
    let before = bytes_at_near(&site);
    let now = site.json("backup prune --now");
    let freed = now["freed_bytes"].as_u64().unwrap();
    assert!(freed > 100_000 && now["marked_bytes"] == 0, "{now}");
    assert!(!orphan.exists() && bytes_at_near(&site) + 100_000 < before);
    site.done("backup verify --read-data");
    let nothing = site.done("backup prune --now").data;
    assert!(nothing.ends_with("nothing to forget, 1 backup kept\n"), "{nothing}");
}

/// Another site may be writing what no backup needs yet.
#[test]
fn prune_frees_nothing_at_once_where_others_have_backups() {
    let site = pruned();
    let store = autoodoo::repository::store::open(
        &autoodoo::site::backup::Place::Local { path: site.world.file("near") },
        &autoodoo::repository::store::Access::default(),
    );
    let password = site.world.text("secrets/backup/password");
    let password = autoodoo::secret::Secret::new(password.trim());
    let repository = autoodoo::repository::Repository::open(store.unwrap(), &password, None).unwrap();
    let label = autoodoo::repository::Label {
        site: "shop".to_owned(),
        tags: Vec::new(),
        time: "2026-01-31T03:00:00Z".parse().unwrap(),
    };
    repository.back_up(std::sync::Arc::new(Nothing), &label, &std::sync::Arc::default()).unwrap();
    let refused = site.run("backup prune --now");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.talk.contains("it also has backups of shop"), "{refused:?}");
    assert_eq!(site.backups().len(), 3);
    site.done("backup prune");
    assert_eq!(site.backups().len(), 1);
}

struct Nothing;

impl autoodoo::repository::source::Source for Nothing {
    fn entries(
        &self,
    ) -> Box<dyn Iterator<Item = std::io::Result<autoodoo::repository::source::Entry>> + Send> {
        Box::new(std::iter::empty())
    }

    fn size(&self) -> u64 {
        0
    }
}

/// A clock that was wrong once does not stop pruning for ever.
#[test]
fn a_backup_of_the_future_is_left_alone() {
    let site = pruned();
    site.world.pass_days(400);
    site.done("backup");
    let future = site.backups().pop().unwrap();
    site.world.pass_days(-400);
    let refused = site.run("backup prune");
    assert!(refused.code == 1 && refused.talk.contains("this machine's clock says"), "{refused:?}");
    site.done("backup");
    let dry = site.done("backup prune --dry-run");
    assert!(dry.data.contains("dated in the future") && !dry.data.contains("would stop"), "{dry:?}");
    let ran = site.done("backup prune");
    assert!(ran.talk.contains(&format!("dated in the future: {}", &future[..8])), "{ran:?}");
    assert!(ran.data.contains("forgot 3, kept 2 backups"), "{ran:?}");
    let verify = site.done("backup verify");
    assert!(!verify.data.contains(&future[..8]) && verify.talk.contains("in the future"), "{verify:?}");
    assert!(site.backups().contains(&future));
}

#[test]
fn prune_stops_when_the_newest_is_far_smaller() {
    let site = pruned();
    site.server.borrow_mut().databases.get_mut("acme").unwrap().rows = 10;
    site.done("backup");
    assert!(site.done("backup prune --dry-run").data.contains("would stop and ask"));
    for line in ["backup prune", "--yes backup prune"] {
        let ran = site.run(line);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.talk.contains("10 rows instead of 1000") && ran.talk.contains("--accept-loss"),
            "{ran:?}"
        );
        assert_eq!(site.backups().len(), 4);
    }
    site.done("backup prune --accept-loss");
    assert_eq!(site.backups().len(), 1);
}

#[test]
fn prune_never_forgets_the_last_whole_backup() {
    let site = pruned();
    let gone = site.attach("gone");
    std::fs::remove_file(site.attachment(&gone)).unwrap();
    assert_eq!(site.run("backup").code, 7);
    let refused = site.run("backup prune");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.talk.contains(&gone), "{refused:?}");
    let whole = site.backups()[2].clone();
    let ran = site.done("backup prune --accept-loss");
    assert!(ran.data.contains("forgot 2, kept 2 backups"), "{ran:?}");
    assert!(site.backups().contains(&whole));
}

#[test]
fn prune_refuses_when_the_clock_goes_backwards() {
    let site = pruned();
    site.world.pass_days(-10);
    let ran = site.run("backup prune --accept-loss");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.talk.contains("this machine's clock says") && ran.talk.contains("set this machine's clock"),
        "{ran:?}"
    );
    assert_eq!(site.backups().len(), 3);
}

#[test]
fn a_target_without_room_is_left_alone_with_numbers() {
    let site = Site::new();
    site.server.borrow_mut().bytes = u64::MAX / 4;
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.talk.contains("target near has ") && ran.talk.contains(" free, and this backup may need "),
        "{ran:?}"
    );
    assert_eq!(site.backups(), Vec::<String>::new());
}

#[test]
fn a_new_target_without_room_gets_no_repository() {
    let site = Site::new();
    let (near, far) = (site.world.file("near"), site.world.file("far"));
    site.world.edit(&near.display().to_string(), &far.display().to_string());
    site.server.borrow_mut().bytes = u64::MAX / 4;
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("nothing was written there"), "{ran:?}");
    assert_eq!(files(&site, "far"), Vec::<PathBuf>::new());
    site.server.borrow_mut().bytes = 0;
    site.done("backup");
    // What the last run added is there; that all of it may be new is a warning.
    site.server.borrow_mut().bytes = u64::MAX / 4;
    let ran = site.done("backup");
    assert!(ran.talk.contains("warning: target near has "), "{ran:?}");
}

#[test]
fn nothing_on_this_server_is_beyond_its_reach() {
    let site = Site::new();
    let ran = site.run("backup probe");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.data.contains("it lies on this server"), "{ran:?}");
}

#[test]
fn a_database_that_is_gone_is_no_reason_to_save_the_rest_as_if_it_were_all() {
    let site = Site::new();
    site.server.borrow_mut().databases.clear();
    let ran = site.run("backup");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("database acme of this site does not exist"), "{ran:?}");
}

/// Also what was made in Odoo's database manager.
#[test]
fn every_database_of_the_server_is_saved() {
    let site = Site::new();
    let other = Database { rows: 5, ..Database::default() };
    site.server.borrow_mut().databases.insert("test".to_owned(), other);
    let ran = site.done("backup");
    assert!(ran.data.starts_with("backed up 2 databases"), "{ran:?}");
    assert!(site.done("backup cat latest databases/test/dump.pgdump").data.starts_with("PGDMP"));
}
