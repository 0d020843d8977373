//! Backups of a site that people work in, and what they are worth.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::http::Browser;
use crate::load::under_pace;
use crate::process::{run, until};
use crate::site::Site;

/// The longest that a person may wait for what he saves while a backup runs.
const STALL: Duration = Duration::from_secs(4);
/// Requests a second of visitors, beside those who write.
const PACE: u32 = 10;
const WRITERS: usize = 3;
/// A target whose name a careless program would break at.
const PLACE: &str = "backups/Büro 1";
const SECOND: &str = "backups/two";

fn place(site: &Site) -> PathBuf {
    site.room().join(PLACE)
}

fn dump_path(site: &Site) -> String {
    format!("databases/{}/dump.pgdump", site.database)
}

fn attachments(site: &Site) -> Vec<String> {
    let path = format!("databases/{}/attachments.tsv", site.database);
    let text = site.run(&["backup", "cat", "latest", &path]).ends(0).out;
    text.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

fn manifest(site: &Site) -> Value {
    let text = site.run(&["backup", "cat", "latest", "manifest.json"]).ends(0).out;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The site's filestore, as this host sees it.
fn filestore(site: &Site) -> PathBuf {
    let volume = site.engine.inspect("volume", &site.container("web-1"));
    let mountpoint = volume["Mountpoint"].as_str().expect("a directory").to_owned();
    Path::new(&mountpoint).join("filestore").join(&site.database)
}

/// A file that a row names.
fn some_file(site: &Site) -> PathBuf {
    let query =
        "select store_fname from ir_attachment where store_fname is not null order by id desc limit 1";
    filestore(site).join(site.sql(query))
}

/// Asks restic itself, which must understand the repository.
fn restic(site: &Site, args: &[&str]) -> String {
    let mut command = Command::new("restic");
    command.arg("--no-cache").arg("--repo").arg(place(site));
    command.arg("--password-file").arg(site.path("secrets/backup/password")).args(args);
    run(command).ends(0).out
}

pub fn two_targets(site: &Site) {
    site.run(&["backup"]).ends(2).says("backup");
    for directory in [PLACE, SECOND] {
        fs::create_dir_all(site.room().join(directory)).expect("a room of ours");
    }
    let (first, second) = (place(site), site.room().join(SECOND));
    site.edit(
        "\nbackup:\n",
        &format!(
            "\nbackup:\n  to:\n    - name: one\n      url: '{}'\n    - {}\n",
            first.display(),
            second.display()
        ),
    );
    site.run(&["backup", "--dry-run"]).ends(0).says("one").says("two");
    assert_eq!(fs::read_dir(&first).expect("a place of ours").count(), 0, "a dry run made something");
    site.run(&["backup", "setup"]).ends(0);
    site.run(&["backup", "setup"]).ends(0);
    site.run(&["status"]).ends(0).says("kit");
    let password = site.read("secrets/backup/password");
    site.run(&["backup", "key", "show"]).ends(0).says(password.trim());
    site.run(&["backup", "key", "kept"]).ends(0);
}

/// Tells writers to stop, even when a check fails: they would go on for ever.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What one writer saved, and how long he waited at most.
struct Written {
    ids: Vec<(u64, Instant)>,
    longest: Duration,
}

fn write_until(site: &Site, over: &AtomicBool, writer: usize) -> Written {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let mut written = Written { ids: Vec::new(), longest: Duration::ZERO };
    while !over.load(Ordering::Relaxed) {
        let content = format!("{writer} {} {}", written.ids.len(), "x".repeat(20_000));
        let values = json!([{"name": "e2e backup", "datas": BASE64_STANDARD.encode(content)}]);
        let began = Instant::now();
        let created = browser.model("ir.attachment", "create", &json!([values]), &json!({}));
        written.longest = written.longest.max(began.elapsed());
        let id = created[0].as_u64().or(created.as_u64()).unwrap_or_else(|| panic!("not saved: {created}"));
        written.ids.push((id, Instant::now()));
        thread::sleep(Duration::from_millis(100));
    }
    written
}

/// Everybody goes on working; what was saved before it began is in it, and the copy fits together.
pub fn while_people_work(site: &Site) {
    let over = AtomicBool::new(false);
    let (seen, written, began) = thread::scope(|scope| {
        let ending = AtEnd(&over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let over = &over;
                    move || write_until(site, over, writer)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(3));
        let began = Instant::now();
        let seen = under_pace(site, PACE, || drop(site.run(&["backup"]).ends(0).says("2 of 2 targets")));
        drop(ending);
        let written: Vec<Written> =
            writers.into_iter().map(|thread| thread.join().expect("a writer")).collect();
        (seen, written, began)
    });
    seen.lost_nothing();
    let longest = written.iter().map(|writer| writer.longest).max().expect("writers");
    eprintln!("           longest wait of somebody who saves: {longest:?}");
    assert!(longest <= STALL, "somebody waited {longest:?}");
    let earlier = |writer: &Written| {
        writer.ids.iter().filter(|(_, at)| *at < began).map(|(id, _)| *id).collect::<Vec<_>>()
    };
    let earlier: Vec<u64> = written.iter().flat_map(earlier).collect();
    assert!(earlier.len() > 3, "too few to tell: {earlier:?}");
    let ids: Vec<String> = earlier.iter().map(ToString::to_string).collect();
    let names = site.sql(&format!("select store_fname from ir_attachment where id in ({})", ids.join(",")));
    let kept = attachments(site);
    for name in names.lines() {
        assert!(kept.iter().any(|kept| kept == name), "{name} was saved before and is not in the backup");
    }
    site.run(&["backup", "verify", "--read-data"]).ends(0);
    left_nothing(site);
}

/// No hard links, no sessions.
fn left_nothing(site: &Site) {
    let farm = filestore(site).join("../../.autoodoo-backup");
    assert!(
        !farm.exists() || fs::read_dir(&farm).expect("ours").count() == 0,
        "links were left in {}",
        farm.display()
    );
    let sessions = "select count(*) from pg_stat_activity where application_name like 'autoodoo:%' and pid <> pg_backend_pid()";
    assert_eq!(site.sql(sessions), "0");
}

/// restic and pg_restore alone bring the data back.
pub fn without_autoodoo(site: &Site) {
    restic(site, &["check", "--read-data"]);
    let target = site.room().join("by restic");
    restic(site, &["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    let found = find(&target, "dump.pgdump");
    let filestore = find(&target, "filestore").join(&site.database);
    for name in attachments(site) {
        let meant = name.rsplit('/').next().expect("a name");
        assert_eq!(sha1_of(&filestore.join(&name)), meant);
    }
    site.sql("drop database if exists e2e_back with (force);\ncreate database e2e_back template template0");
    site.sql_in(
        "e2e_back",
        "create extension unaccent; create extension pg_trgm; alter function unaccent(text) immutable",
    );
    let mut command = Command::new(site.engine.word());
    command.args([
        "exec",
        "-i",
        "-u",
        "postgres",
        &site.container("postgres"),
        "pg_restore",
        "--no-owner",
        "--no-acl",
    ]);
    command.args(["--no-comments", "--exit-on-error", "--clean", "--if-exists", "-d", "e2e_back"]);
    command.stdin(File::open(found).expect("a dump"));
    let restored = command.output().expect("an engine");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let rows = &manifest(site)["databases"][0]["rows"];
    let counted = |(table, _): (&String, &Value)| {
        let (schema, name) = table.split_once('.').expect("a schema");
        format!("select '{table}', count(*) from only \"{schema}\".\"{name}\"")
    };
    let told = rows.as_object().expect("tables");
    let counts = told.iter().map(counted).collect::<Vec<_>>().join(" union all ");
    for line in site.sql_in("e2e_back", &counts).lines() {
        let (table, count) = line.split_once('|').expect("a table and its rows");
        assert_eq!(count, told[table].to_string(), "{table}");
    }
    site.sql("drop database e2e_back with (force)");
}

fn find(directory: &Path, name: &str) -> PathBuf {
    let mut command = Command::new("find");
    command.arg(directory).args(["-name", name, "-print", "-quit"]);
    let out = run(command).ends(0).out;
    assert!(!out.trim().is_empty(), "no {name} in {}", directory.display());
    PathBuf::from(out.trim())
}

fn sha1_of(path: &Path) -> String {
    let mut command = Command::new("sha1sum");
    command.arg(path);
    run(command).ends(0).out.split(' ').next().expect("a sum").to_owned()
}

/// The bytes of one file of the newest backup.
fn content(site: &Site, path: &str) -> Vec<u8> {
    let mut command = site.command(&["backup", "cat", "latest", path]);
    let output = command.stdin(Stdio::null()).output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn a_second_one_is_small(site: &Site) {
    let stored = |directory: &Path| -> u64 {
        let mut command = Command::new("du");
        command.args(["-sb"]).arg(directory);
        let out = run(command).ends(0).out;
        out.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    };
    site.run(&["backup", "--target", "one"]).ends(0);
    let before = stored(&place(site));
    site.run(&["backup", "--target", "one"]).ends(0);
    let after = stored(&place(site));
    // All of this database is a handful of pieces, and those that changed are stored anew.
    assert!(after - before < before / 2, "{before} bytes, then {after}");
    assert!(content(site, &dump_path(site)).starts_with(b"PGDMP"));
    assert!(count(site) >= 2, "too few in the list");
    site.run(&["backup", "ls", "latest", "databases"]).ends(0).says("dump.pgdump");
    site.run(&["backup", "prune", "--dry-run"]).ends(0);
}

/// Damage on the disk is told by name; the rest is kept all the same.
pub fn damage(site: &Site) {
    site.run(&["fsck"]).ends(0);
    let file = some_file(site);
    let name = file.file_name().expect("a name").to_str().expect("digits").to_owned();
    let (bytes, owner) =
        (fs::read(&file).expect("an attachment"), fs::metadata(&file).expect("an attachment"));
    fs::write(&file, b"somebody else's words").expect("root may");
    site.run(&["fsck"]).ends(7).says(&name);
    site.run(&["backup"]).ends(7).says(&name);
    fs::remove_file(&file).expect("root may");
    site.run(&["fsck"]).ends(7).says(&name);
    site.run(&["backup"]).ends(7).says(&name);
    assert!(manifest(site)["databases"][0]["attachments"]["missing"].to_string().contains(&name));
    site.run(&["backup", "list"]).ends(0).says("DAMAGED");
    fs::write(&file, bytes).expect("root may");
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).expect("root may");
    site.run(&["fsck"]).ends(0);
    site.run(&["backup"]).ends(0);
}

/// Odoo takes away what no row names, at the same time.
pub fn beside_the_collector(site: &Site) {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let mut ids = Vec::new();
    for number in 0..20 {
        let content = BASE64_STANDARD.encode(format!("e2e collected {number}"));
        let created = browser.model(
            "ir.attachment",
            "create",
            &json!([[{"name": "gone", "datas": content}]]),
            &json!({}),
        );
        ids.push(created[0].as_u64().or(created.as_u64()).expect("an id"));
    }
    browser.model("ir.attachment", "unlink", &json!([ids]), &json!({}));
    let script = "
for _ in range(5):
    env['ir.attachment']._gc_file_store()
    env.cr.commit()
";
    thread::scope(|scope| {
        let collector = scope.spawn(|| drop(site.run_with(&["shell"], script).ends(0)));
        for _ in 0..2 {
            site.run(&["backup", "--target", "one"]).ends(0);
        }
        collector.join().expect("Odoo's shell");
    });
    site.run(&["backup", "verify", "--read-data", "--target", "one"]).ends(0);
}

/// Backups at the first target.
fn count(site: &Site) -> usize {
    let listed = site.run(&["backup", "list", "--target", "one", "--json"]).ends(0).out;
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|error| panic!("{error}: {listed}"));
    listed["targets"][0]["backups"].as_array().expect("a list").len()
}

/// Killed wherever it is, it leaves nothing that looks like a backup, and the next one works.
pub fn killed(site: &Site) {
    let before = count(site);
    let began = Instant::now();
    site.run(&["backup", "--target", "one"]).ends(0);
    let whole = began.elapsed();
    let moments = [0.15, 0.4, 0.65, 0.9];
    for share in moments {
        let backup = site.start(&["backup", "--target", "one"]);
        thread::sleep(whole.mul_f64(share));
        backup.signal("KILL");
        drop(backup.finish());
    }
    let killed = count(site);
    let possible = before + 1..=before + 1 + moments.len();
    assert!(possible.contains(&killed), "{killed} backups, not {possible:?}");
    let mut interrupted = site.start(&["backup", "--target", "one"]);
    thread::sleep(whole.mul_f64(0.3));
    if !interrupted.has_ended() {
        interrupted.signal("INT");
        assert_ne!(interrupted.finish().code, Some(0));
    }
    left_nothing_soon(site);
    site.run(&["backup", "--target", "one"]).ends(0);
    site.run(&["backup", "verify", "--target", "one", "--read-data"]).ends(0);
    left_nothing(site);
}

fn left_nothing_soon(site: &Site) {
    let sessions = "select count(*) from pg_stat_activity where application_name like 'autoodoo:%' and pid <> pg_backend_pid()";
    until("sessions of an interrupted backup end", 30, || (site.sql(sessions) == "0").then_some(()));
}

pub fn two_at_once(site: &Site) {
    let first = site.start(&["backup"]);
    let lock = site.path("state");
    until("the first one has begun", 20, || lock.exists().then_some(()));
    thread::sleep(Duration::from_millis(500));
    site.run(&["backup"]).ends(5).says("backup");
    first.finish().ends(0);
}

/// A database or a dump that goes away in the middle fails the run; nothing is saved of it.
pub fn a_server_that_dies(site: &Site) {
    let backups =
        |site: &Site| site.run(&["backup", "list", "--target", "one", "--json"]).ends(0).out.lines().count();
    let before = backups(site);
    let backup = site.start(&["backup", "--target", "one"]);
    let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'autoodoo:%' and pid <> pg_backend_pid()";
    until("a session of the backup", 30, || (site.sql(ended) != "0").then_some(()));
    let run = backup.finish();
    assert_eq!(run.code, Some(1), "{run}");
    assert_eq!(backups(site), before, "something was saved");
    site.run(&["backup", "--target", "one"]).ends(0);
}

pub fn cold(site: &Site) {
    site.run(&["backup", "--cold", "--target", "one"]).ends(0);
    assert_eq!(manifest(site)["kind"], "cold");
    site.run(&["up", "--dry-run"]).ends(0).says("nothing to do");
}

/// A disk that is not mounted must not become a new, empty repository.
pub fn a_target_that_went_away(site: &Site) {
    let (here, away) = (place(site), site.room().join("away"));
    fs::rename(&here, &away).expect("a room of ours");
    fs::create_dir(&here).expect("a room of ours");
    site.run(&["backup"]).ends(1).says("1 of 2 targets");
    assert_eq!(fs::read_dir(&here).expect("ours").count(), 0, "a new repository was made");
    fs::remove_dir(&here).expect("ours");
    fs::rename(&away, &here).expect("a room of ours");
    site.run(&["backup"]).ends(0);
}

/// One file that other programs open.
pub fn exported(site: &Site) {
    let file = site.room().join("site.tar.zst");
    site.run(&["backup", "export", file.to_str().expect("UTF-8")]).ends(0);
    let out = site.room().join("opened");
    fs::create_dir(&out).expect("a room of ours");
    let mut command = Command::new("tar");
    command.args(["--zstd", "-xf"]).arg(&file).arg("-C").arg(&out);
    run(command).ends(0);
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out);
    run(sums).ends(0);
    assert!(!out.join("configuration/secrets").exists(), "secrets in a file that anybody opens");
    let listed = Command::new("sh")
        .args(["-c", "cat databases/*/dump.pgdump* | \"$@\"", "sh", site.engine.word(), "exec", "-i"])
        .args([&site.container("postgres"), "pg_restore", "--list"])
        .current_dir(&out)
        .output()
        .expect("an engine");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE DATA public res_users"));
}
