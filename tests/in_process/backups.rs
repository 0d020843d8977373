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
    /// Of each database, as `pg_database_size` tells.
    bytes: u64,
}

#[derive(Default, Clone)]
struct Database {
    rows: u64,
    attachments: BTreeMap<String, u64>,
}

/// A site that is up, with its data.
struct Site {
    world: World,
    server: Rc<RefCell<Server>>,
    /// What happens when a dump begins.
    on_dump: Rc<RefCell<Option<Box<dyn Fn()>>>>,
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
        let on_dump: Rc<RefCell<Option<Box<dyn Fn()>>>> = Rc::default();
        let (answering, dumping) = (Rc::clone(&server), Rc::clone(&on_dump));
        *world.script.borrow_mut() = Some(Box::new(move |_, exec| {
            let ours = exec.env.get("PGAPPNAME").is_some_and(|name| name.starts_with("autoodoo:backup"));
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
        let hash: String = Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
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
        let last = ran.data.lines().filter(|line| !line.contains("\"event\":\"progress\"")).last();
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
        match (stdin, words.iter().position(|word| *word == "--command")) {
            (Some(sql), _) => said(self.session(database, &sql) + END),
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
        ExecOutput { exit_code: 0, stdout, stderr: "autoodoo: complete\n".to_owned() }
    }

    /// Rows that stay are the same bytes every time.
    fn dump(&self, database: &str) -> String {
        let mut text = "PGDMP".to_owned();
        for row in 0..self.databases[database].rows {
            let hash: String =
                Sha1::digest(row.to_le_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{row} {hash}").unwrap();
        }
        text
    }

    fn attachments(&self, database: &str) -> String {
        let attachments = &self.databases[database].attachments;
        attachments.iter().fold(String::new(), |text, (name, size)| text + &format!("{name}\t{size}\n"))
    }

    fn session(&self, database: &str, sql: &str) -> String {
        match sql {
            sql if sql.contains("to_regclass") => "t\n".to_owned(),
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

    fn statement(&self, database: &str, sql: &str) -> String {
        match sql {
            sql if sql.contains("datname, pg_database_size") => self
                .databases
                .keys()
                .fold(String::new(), |text, name| text + &format!("{name}|{}\n", self.bytes)),
            sql if sql.contains("to_regclass") => "t\n".to_owned(),
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
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path.strip_prefix(root).unwrap().display().to_string()),
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

#[test]
fn a_flipped_byte_is_found() {
    let site = Site::new();
    site.done("backup");
    let packs = std::fs::read_dir(site.world.file("near/data")).unwrap();
    let pack =
        packs.flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap()).next().unwrap();
    let path = pack.unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file in a test's own directory")]
    permissions.set_readonly(false);
    std::fs::set_permissions(&path, permissions).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let verify = site.run("backup verify --read-data");
    assert_eq!(verify.code, 7, "{verify:?}");
    assert!(verify.data.contains("is NOT whole"), "{verify:?}");
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
