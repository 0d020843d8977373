//! What has to hold of a capture.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autoodoo::capture::{Client, Facts, Moment, Secrets, Suspects, examine, sweep};
use autoodoo::engine::Engine;
use autoodoo::engine::Exec;
use autoodoo::event::{Event, Reporter};
use autoodoo::failure::Result;
use autoodoo::filestore::Named;
use tokio::task::spawn_blocking;

use crate::bench::{Bench, connect};
use crate::reader::{Copy, copy, copy_slowly, manifest};
use crate::site::{Site, name_of, subject, write_file};

struct Silent;

impl Reporter for Silent {
    fn report(&self, _: Event) {}
}

/// A whole run.
async fn capture(site: &Site<'_>) -> (Copy, Facts) {
    let subject = site.subject();
    let mut moment = Moment::begin(&site.bench.engine, &subject, &Silent).await.unwrap();
    let source = moment.source(Secrets::Included, Suspects::none());
    let job = spawn_blocking(move || copy(&*source));
    let read = moment.serve_until(&AtomicBool::new(false), job).await.unwrap();
    let facts = moment.end().await.unwrap();
    (read.unwrap(), facts)
}

/// A run that is disturbed once a part of the dump has been read; how reading and run ended.
async fn disturbed(
    site: &Site<'_>,
    stop: &AtomicBool,
    disturb: impl AsyncFnOnce(),
) -> (std::io::Result<()>, Result<Facts>) {
    let subject = site.subject();
    let mut moment = Moment::begin(&site.bench.engine, &subject, &Silent).await.unwrap();
    let source = moment.source(Secrets::Included, Suspects::none());
    let [begun, go] = [(), ()].map(|()| Arc::new(AtomicBool::new(false)));
    let job = {
        let (begun, go) = (begun.clone(), go.clone());
        spawn_blocking(move || copy_slowly(&*source, &begun, &go))
    };
    let disturbing = async {
        while !begun.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        disturb().await;
        go.store(true, Ordering::SeqCst);
        job.await.unwrap()
    };
    let read = moment.serve_until(stop, disturbing).await;
    (read, moment.end().await)
}

/// Restores a dump with the stock program, and returns what a query says in it.
async fn restored(bench: &Bench, dump: &[u8], query: &str) -> String {
    bench.sql("postgres", "CREATE DATABASE restored TEMPLATE template0;").await;
    let exec = |words: &[&str]| Exec::new(words.iter().copied()).user("postgres").stdin(dump);
    // It is done before it has read all: whoever still writes to it may lose what it said.
    let words = ["sh", "-c", "pg_restore --list && cat >/dev/null"];
    let list = bench.engine.exec(&bench.container, exec(&words), &mut |_, _| {}).await.unwrap();
    assert_eq!(list.exit_code, 0, "{}", list.stderr);
    assert!(list.stdout.contains("TABLE DATA public ballast"), "{}", list.stdout);
    let words = ["pg_restore", "--exit-on-error", "--dbname=restored"];
    let output = bench.engine.exec(&bench.container, exec(&words), &mut |_, _| {}).await.unwrap();
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    let answer = bench.sql("restored", query).await;
    bench.sql("postgres", "DROP DATABASE restored;").await;
    answer
}

fn names_in(copy: &Copy, database: &str) -> BTreeSet<String> {
    let below = Path::new("filestore").join(database);
    let names = copy.keys().filter_map(|path| path.strip_prefix(&below).ok());
    names.map(|path| path.to_str().unwrap().to_owned()).collect()
}

fn listed(copy: &Copy, database: &str) -> BTreeSet<String> {
    let text = &copy[&PathBuf::from(format!("databases/{database}/attachments.tsv"))];
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines.map(|line| Named::parse(line).unwrap().name).collect()
}

fn dump<'a>(copy: &'a Copy, database: &str) -> &'a [u8] {
    &copy[&PathBuf::from(format!("databases/{database}/dump.pgdump"))]
}

/// Dump, list and files tell the same, and every file is what its name says.
async fn assert_consistent(site: &Site<'_>, copy: &Copy) {
    let (names, database) = (names_in(copy, &site.database), &site.database);
    assert_eq!(names, listed(copy, database));
    let query =
        "SELECT count(*), count(DISTINCT store_fname), (SELECT count(*) FROM ballast) FROM ir_attachment;";
    let facts = &manifest(copy).databases[0];
    let (rows, ballast) = (facts.rows["public.ir_attachment"], facts.rows["public.ballast"]);
    let answer = restored(site.bench, dump(copy, database), query).await;
    assert_eq!(answer, format!("{rows}|{}|{ballast}", names.len()));
    for name in names {
        let content = &copy[&Path::new("filestore").join(database).join(&name)];
        assert_eq!(name_of(content), name);
    }
    let read: usize =
        copy.iter().filter(|(path, _)| !path.ends_with("manifest.json")).map(|(_, b)| b.len()).sum();
    assert_eq!(manifest(copy).bytes, read as u64);
    assert_eq!(manifest(copy).files, copy.len() as u64 - 1);
    assert_eq!(facts.dump, dump(copy, database).len() as u64);
}

/// psql on the host's side of the engine, whose statements follow each other.
struct Psql {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Psql {
    fn start(container: &str, database: &str) -> Psql {
        let program = std::env::var("AUTOODOO_TEST_ENGINE").unwrap();
        let words = ["exec", "-i", "-u", "postgres", container, "psql", "-XqAt", "-d", database];
        let mut command = Command::new(program);
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Psql { child, answers }
    }

    fn ask(&mut self, sql: &str) -> Vec<String> {
        writeln!(self.child.stdin.as_mut().unwrap(), "{sql}\n\\echo end").unwrap();
        let lines = self.answers.by_ref().lines().map(|line| line.unwrap());
        lines.take_while(|line| line != "end").collect()
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Attachments are written all the while: how many, and the longest that one took.
fn write_until(container: &str, database: &str, filestore: &Path, stop: &AtomicBool) -> (usize, Duration) {
    let mut psql = Psql::start(container, database);
    let (mut number, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let content = format!("written meanwhile {number}");
        let name = write_file(filestore, content.as_bytes());
        let began = Instant::now();
        let sql = format!(
            "INSERT INTO ir_attachment (store_fname, file_size) VALUES ('{name}', {});",
            content.len()
        );
        psql.ask(&sql);
        longest = longest.max(began.elapsed());
        number += 1;
    }
    (number, longest)
}

/// Odoo's collector, without pause: rows go, then the files that no row names any more.
fn collect_until(container: &str, database: &str, filestore: &Path, stop: &AtomicBool) -> usize {
    let mut psql = Psql::start(container, database);
    let mut removed = 0;
    while !stop.load(Ordering::SeqCst) {
        let gone = psql.ask(
            "DELETE FROM ir_attachment WHERE id IN (SELECT id FROM ir_attachment ORDER BY id LIMIT 3) \
             RETURNING store_fname;",
        );
        psql.ask("BEGIN; SET LOCAL lock_timeout = '10s'; LOCK ir_attachment IN SHARE MODE;");
        for name in gone {
            let still =
                psql.ask(&format!("SELECT count(*) FROM ir_attachment WHERE store_fname = '{name}';"));
            if still == ["0"] {
                std::fs::remove_file(filestore.join(name)).unwrap();
                removed += 1;
            }
        }
        psql.ask("COMMIT;");
    }
    removed
}

pub async fn everything_is_of_one_moment(bench: &Bench) {
    let site = Site::with(bench, "moment", 500, 100).await;
    let before = site.sql("SELECT count(*) FROM ir_attachment;").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (container, filestore, stop) = (bench.container.clone(), site.filestore(), stop.clone());
        std::thread::spawn(move || write_until(&container, "moment", &filestore, &stop))
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let committed: usize = site.sql("SELECT count(*) FROM ir_attachment;").await.parse().unwrap();
    let (copy, facts) = capture(&site).await;
    stop.store(true, Ordering::SeqCst);
    let (written, longest) = writer.join().unwrap();
    assert_consistent(&site, &copy).await;
    let found = names_in(&copy, "moment").len();
    assert!(found >= committed && committed > before.parse().unwrap(), "{found} {committed}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    println!("  {written} written meanwhile, the longest took {longest:?}; locks {:?}", facts.locks);
    assert_eq!(facts.manifest, Some(manifest(&copy)));
    assert!(copy.contains_key(Path::new("configuration/secrets/database-password")));
    assert!(
        String::from_utf8_lossy(&copy[Path::new("databases/globals.sql")]).contains("CREATE ROLE postgres")
    );
    let log = &copy[&PathBuf::from(format!("logs/{}.log", bench.container))];
    assert!(String::from_utf8_lossy(log).contains("database system is ready"));
    site.assert_clean().await;
}

pub async fn the_collector_at_the_same_time(bench: &Bench) {
    let site = Site::with(bench, "collected", 3000, 100).await;
    let stop = Arc::new(AtomicBool::new(false));
    let collector = {
        let (container, filestore, stop) = (bench.container.clone(), site.filestore(), stop.clone());
        std::thread::spawn(move || collect_until(&container, "collected", &filestore, &stop))
    };
    for _ in 0..3 {
        let (copy, facts) = capture(&site).await;
        assert!(facts.manifest.unwrap().databases[0].attachments.missing.is_empty());
        assert_consistent(&site, &copy).await;
    }
    stop.store(true, Ordering::SeqCst);
    let removed = collector.join().unwrap();
    println!("  {removed} files were removed meanwhile");
    assert!(removed > 20, "{removed}");
    site.assert_clean().await;
}

pub async fn a_database_without_attachments(bench: &Bench) {
    let site = Site::empty(bench, "bare").await;
    site.sql("CREATE TABLE ballast AS SELECT 1 AS n; CREATE TABLE ir_attachment_like (x int);").await;
    let (copy, facts) = capture(&site).await;
    let query = "SELECT count(*) FROM ballast;";
    assert_eq!(restored(bench, dump(&copy, "bare"), query).await, "1");
    assert!(!copy.contains_key(Path::new("databases/bare/attachments.tsv")));
    let manifest = facts.manifest.unwrap();
    assert!(!manifest.is_damaged());
    assert_eq!(manifest.databases[0].rows["public.ir_attachment_like"], 0);
}

pub async fn damage_on_the_disk_is_told(bench: &Bench) {
    let site = Site::with(bench, "damaged", 200, 100).await;
    let names = site.sql("SELECT store_fname FROM ir_attachment ORDER BY id;").await;
    let names: Vec<&str> = names.lines().collect();
    std::fs::remove_file(site.filestore().join(names[3])).unwrap();
    std::fs::write(site.filestore().join(names[5]), "short").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.filestore().join("link")).unwrap();
    site.sql("INSERT INTO ir_attachment (store_fname) VALUES ('link'), ('../../secret'), ('');").await;
    let (copy, facts) = capture(&site).await;
    let attachments = facts.manifest.as_ref().unwrap().databases[0].attachments.clone();
    let missing: BTreeSet<&str> = attachments.missing.iter().map(String::as_str).collect();
    assert_eq!(missing, BTreeSet::from([names[3], "link", "../../secret"]));
    assert_eq!(attachments.altered, [names[5]]);
    assert_eq!((attachments.files, names_in(&copy, "damaged").len()), (199, 199));
    assert!(facts.manifest.unwrap().is_damaged());

    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let client = Client::own(&bench.container);
    let database = site.database.parse().unwrap();
    let standing = examine(&bench.engine, &client, &database, &bench.volume, done, stop).await.unwrap();
    assert_eq!(standing.missing.iter().map(String::as_str).collect::<BTreeSet<_>>(), missing);
    assert_eq!(
        (standing.altered, standing.truncated),
        (vec![names[5].to_owned()], vec![names[5].to_owned()])
    );
    site.assert_clean().await;
}

pub async fn a_killed_dump(bench: &Bench) {
    let site = Site::with(bench, "killed", 10, 100).await;
    let (read, facts) =
        disturbed(&site, &AtomicBool::new(false), async || Bench::kill("pg_dump", "killed")).await;
    let error = read.unwrap_err().to_string();
    assert!(error.starts_with("pg_dump of database killed failed with exit code 137"), "{error}");
    let facts = facts.unwrap();
    assert_eq!((facts.manifest, facts.faults.len()), (None, 1));

    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'autoodoo:backup:%'";
    let disturb = async || drop(bench.sql("postgres", end).await);
    let (read, _) = disturbed(&site, &AtomicBool::new(false), disturb).await;
    let error = read.unwrap_err().to_string();
    assert!(error.starts_with("pg_dump of database killed failed with exit code 1"), "{error}");
    site.assert_clean().await;
}

pub async fn a_lost_session(bench: &Bench) {
    let site = Site::with(bench, "lost", 10, 100).await;
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'autoodoo:backup'";
    let disturb = async || drop(bench.sql("postgres", end).await);
    let (read, facts) = disturbed(&site, &AtomicBool::new(false), disturb).await;
    let error = read.unwrap_err().to_string();
    assert!(error.starts_with("the session that held the moment of database lost was lost"), "{error}");
    let failure = facts.unwrap_err();
    assert_eq!(failure.message, "the session that held the moment of database lost was lost");
    assert!(!failure.hints.is_empty());
    site.assert_clean().await;
}

pub async fn a_dropped_database(bench: &Bench) {
    let site = Site::with(bench, "dropped", 10, 100).await;
    let disturb = async || drop(bench.sql("postgres", "DROP DATABASE dropped WITH (FORCE);").await);
    let (read, facts) = disturbed(&site, &AtomicBool::new(false), disturb).await;
    let error = read.unwrap_err().to_string();
    assert!(error.starts_with("database dropped was dropped during the backup"), "{error}");
    assert_eq!(facts.unwrap_err().message, "database dropped was dropped during the backup");
    site.assert_clean().await;
}

pub async fn a_stop(bench: &Bench) {
    let site = Site::with(bench, "stopped", 10, 100).await;
    let (stop, began) = (AtomicBool::new(false), Instant::now());
    let (read, facts) = disturbed(&site, &stop, async || {
        stop.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    assert_eq!(read.unwrap_err().to_string(), "the backup was stopped");
    assert_eq!(facts.unwrap_err().message, "the backup was stopped");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    site.assert_clean().await;
}

pub async fn a_reader_that_gives_up(bench: &Bench) {
    let site = Site::with(bench, "given_up", 10, 100).await;
    let subject = site.subject();
    let mut moment = Moment::begin(&bench.engine, &subject, &Silent).await.unwrap();
    let source = moment.source(Secrets::Included, Suspects::none());
    let job = spawn_blocking(move || {
        let dump =
            source.entries().map(|entry| entry.unwrap()).find(|entry| entry.path.ends_with("dump.pgdump"));
        (dump.unwrap().open)().unwrap().read_exact(&mut [0; 4096]).unwrap();
    });
    let never = AtomicBool::new(false);
    moment.serve_until(&never, job).await.unwrap();
    assert!(Bench::processes("pg_dump", "given_up").is_empty());
    // The next target reads all of it.
    let source = moment.source(Secrets::LeftOut, Suspects::none());
    let job = spawn_blocking(move || copy(&*source));
    let copy = moment.serve_until(&never, job).await.unwrap().unwrap();
    assert_consistent(&site, &copy).await;
    assert!(!copy.keys().any(|path| path.starts_with("configuration/secrets")));
    assert!(moment.end().await.unwrap().faults.is_empty());
    site.assert_clean().await;
}

pub async fn a_killed_run_is_swept(bench: &Bench) {
    let site = Site::with(bench, "swept", 10, 100).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_run_to_be_killed", "--ignored", "--nocapture"])
        .env("CAP_CONTAINER", &bench.container)
        .env("CAP_VOLUME", &bench.volume)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
    assert!(lines.any(|line| line.contains("in the middle of it")));
    assert!(site.farm().exists());
    child.kill().unwrap();
    child.wait().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!(
        "  a second later: sessions `{}`, pg_dump {}",
        bench.sessions().await,
        Bench::processes("pg_dump", "swept").len()
    );
    let client = Client::own(&bench.container);
    sweep(&bench.engine, &client, &bench.volume, &["swept".parse().unwrap()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.assert_clean().await;
    assert_consistent(&site, &capture(&site).await.0).await;
}

pub async fn run_until_killed() {
    let variable = |name| std::env::var(name).expect("it is another test's child");
    let root = tempfile::tempdir().unwrap();
    let subject =
        subject(&variable("CAP_CONTAINER"), Path::new(&variable("CAP_VOLUME")), "swept", root.path());
    let engine = connect().await;
    let mut moment = Moment::begin(&engine, &subject, &Silent).await.unwrap();
    let source = moment.source(Secrets::Included, Suspects::none());
    let job = spawn_blocking(move || {
        let dump =
            source.entries().map(|entry| entry.unwrap()).find(|entry| entry.path.ends_with("dump.pgdump"));
        let mut reader = (dump.unwrap().open)().unwrap();
        reader.read_exact(&mut [0; 4096]).unwrap();
        println!("in the middle of it");
        std::thread::sleep(Duration::from_mins(1));
    });
    moment.serve_until(&AtomicBool::new(false), job).await.unwrap();
}

pub async fn many_files(bench: &Bench) {
    let (count, bytes) = (20_000, 20_000);
    let site = Site::with(bench, "many", count, bytes).await;
    let subject = site.subject();
    let began = Instant::now();
    let moment = Moment::begin(&bench.engine, &subject, &Silent).await.unwrap();
    let whole = began.elapsed();
    let facts = moment.end().await.unwrap();
    let lock = facts.locks["many"];
    println!("  {count} files: held for {lock:?} of {whole:?}");
    assert!(lock < Duration::from_secs(2), "{lock:?}");

    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (client, database) = (Client::own(&bench.container), site.database.parse().unwrap());
    let began = Instant::now();
    let examined = examine(&bench.engine, &client, &database, &bench.volume, done.clone(), stop).await;
    let milliseconds = began.elapsed().as_millis();
    let standing = examined.unwrap();
    assert!(!standing.is_damaged());
    assert_eq!((standing.files, done.load(Ordering::SeqCst)), (count as u64, (count * bytes) as u64));
    println!("  examined at {} MB/s", (count * bytes) as u128 / 1000 / milliseconds);
    site.assert_clean().await;
}

/// A second target may read hours after the first: nobody waits for it in the meantime.
pub async fn a_migration_meanwhile(bench: &Bench) {
    let site = Site::with(bench, "migrated", 300, 100).await;
    let subject = site.subject();
    let mut moment = Moment::begin(&bench.engine, &subject, &Silent).await.unwrap();
    let never = AtomicBool::new(false);
    let mut lists = Vec::new();
    for change in ["ADD COLUMN checked boolean", "ADD COLUMN again boolean"] {
        let began = Instant::now();
        let sql = format!("SET lock_timeout = '5s'; ALTER TABLE ir_attachment {change};");
        site.sql(&sql).await;
        println!("  ALTER TABLE ir_attachment {change}: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let source = moment.source(Secrets::Included, Suspects::none());
        let job = spawn_blocking(move || copy(&*source));
        let copy = moment.serve_until(&never, job).await.unwrap().unwrap();
        lists.push(listed(&copy, "migrated"));
    }
    assert_eq!((lists[0].len(), &lists[0]), (300, &lists[1]));
    // What is written anew looks empty to older snapshots: no backup may be made of that.
    site.sql("ALTER TABLE ir_attachment ALTER COLUMN file_size TYPE bigint;").await;
    let source = moment.source(Secrets::Included, Suspects::none());
    let job = spawn_blocking(move || copy(&*source));
    let error = moment.serve_until(&never, job).await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "table ir_attachment of database migrated was rewritten during the backup");
    assert_eq!(moment.end().await.unwrap().faults.len(), 1);
    site.assert_clean().await;
}

/// An examination takes no lock of the site: a backup that begins meanwhile does not end it.
pub async fn an_examination_beside_a_sweep(bench: &Bench) {
    let site = Site::with(bench, "examined", 50, 100).await;
    let client = Client::own(&bench.container);
    let database = site.database.parse().unwrap();
    let mut holder = Psql::start(&bench.container, "examined");
    holder.ask("BEGIN; LOCK TABLE ir_attachment IN ACCESS EXCLUSIVE MODE;");
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let examining = examine(&bench.engine, &client, &database, &bench.volume, done, stop);
    let sweeping = async {
        while !bench.sessions().await.contains("autoodoo:fsck") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sweep(&bench.engine, &client, &bench.volume, std::slice::from_ref(&database)).await.unwrap();
        holder.ask("COMMIT;");
    };
    let (standing, ()) = tokio::join!(examining, sweeping);
    assert_eq!(standing.unwrap().files, 50);
    site.assert_clean().await;
}
