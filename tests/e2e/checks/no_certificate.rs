//! Bad days of certificates by ACME. Whatever happens, the present one serves on, the owner is told
//! what to do, and the next run finishes without asking the CA for more than it must.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::certified::{ANSWERS, Certified};
use crate::load::under_pace;
use crate::process::{Run, run, start, until};
use crate::proxy::Reply;
use crate::site::Site;

const PRESENT_KEPT: &str = "the present certificate was not touched";

fn refused(certified: &Certified, words: &[&str]) {
    certified.untouched_by(|| {
        let mut issue = certified.cert("issue").ends(1).says(PRESENT_KEPT);
        for words in words {
            issue = issue.says(words);
        }
    });
}

/// The name leads to a machine where nobody listens.
pub fn closed_port(certified: &Certified) {
    certified.names.lead_to("127.0.0.2");
    refused(certified, &["could not validate", "port 80 of the name's addresses", "open it in the firewall"]);
    certified.names.lead_to("127.0.0.1");
}

pub fn no_address(certified: &Certified) {
    certified.names.lead_to("");
    refused(certified, &["could not validate", "has no address in the DNS", "needs an A (or AAAA) record"]);
    certified.names.lead_to("127.0.0.1");
}

/// A stumble is not seen; a refusal with a time is kept to by the schedule.
pub fn unwell_ca(certified: &Certified) {
    for path in ["/dir", "/order-plz", "/finalize-order", "/certZ"] {
        certified.proxy.reply(Reply::problem(path, 503, "serverInternal").times(2));
    }
    let counts = certified.counts_of(|| drop(certified.cert("issue").ends(0)));
    assert_eq!(counts, (1, 1));
    certified.proxy.let_through();
    let limit = Reply { retry_after: Some("7200"), ..Reply::problem("/order-plz", 429, "rateLimited") };
    certified.proxy.reply(limit);
    refused(certified, &["rateLimited"]);
    certified.proxy.let_through();
    let counts = certified.counts_of(|| {
        certified.untouched_by(|| {
            drop(certified.cert("issue").says("the CA asks for no attempt before"));
        });
    });
    assert_eq!(counts, (0, 0));
    fs::remove_file(certified.site.path("state/renewal.json")).expect("what the CA said is remembered");
}

/// The CA has lost everything; the account is made anew.
pub fn forgotten_account(certified: &Certified) {
    certified.new_ca(|_| ());
    let counts = certified.counts_of(|| drop(certified.cert("issue").ends(0)));
    assert_eq!(counts, (1, 1));
}

/// Somebody put another key beside the certificate. nginx serves on with what it has read; it is
/// seen and mended before nginx must read again.
pub fn swapped_key(certified: &Certified) {
    let key = certified.site.path(&format!("{}/privkey.pem", certified.pair()));
    fs::copy(certified.site.path("secrets/ca.key"), key).expect("a key of ours");
    certified.cert("show").ends(7).says("cannot serve another time").says("cert issue");
    certified.cert("issue").ends(0).says("its key is another's").says("serves; it ends on");
    certified.cert("show").ends(0);
}

/// Something mounted over a directory; gone with this value.
struct Mount(std::path::PathBuf);

impl Mount {
    /// A file system with what was there and room for one file of a page.
    fn small(directory: std::path::PathBuf) -> Mount {
        let saved = tempfile::tempdir().expect("a directory");
        let copy = |from: &std::path::Path, to: &std::path::Path| {
            let mut command = Command::new("cp");
            command.arg("--archive").arg(from.join(".")).arg(to);
            run(command).ends(0);
        };
        copy(&directory, saved.path());
        let mut find = Command::new("find");
        find.arg(&directory).args(["-type", "f", "-size", "+0"]);
        let size = format!("size={}k,mode=700", 4 * (run(find).ends(0).out.lines().count() + 1));
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(&directory);
        run(command).ends(0);
        let mount = Mount(directory);
        copy(saved.path(), &mount.0);
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        command.arg(&self.0);
        let _ = run(command);
    }
}

/// What the CA has issued is stored as soon as there is room, and not ordered again.
pub fn full_disk(certified: &Certified) {
    let counts = certified.counts_of(|| {
        certified.untouched_by(|| {
            // One page is free, and a pair takes two.
            let full = Mount::small(certified.site.path("secrets/tls"));
            certified.cert("issue").ends(1).says("no space is left on its file system");
            drop(full);
        });
        certified.cert("issue").ends(0).says("serves; it ends on");
    });
    assert_eq!(counts, (1, 1));
}

/// Somebody edited nginx.conf: it cannot be tested with another certificate. `up` writes it anew and
/// takes the certificate that is there already.
pub fn refused_configuration(certified: &Certified) {
    let live = certified.site.path("generated/nginx/live/nginx.conf");
    let text = fs::read_to_string(&live).expect("nginx.conf");
    fs::write(&live, format!("{text}\nnonsense on;\n")).expect("nginx.conf");
    let counts = certified.counts_of(|| {
        certified.untouched_by(|| drop(certified.cert("issue").ends(1).says("nonsense")));
        let before = certified.served();
        certified.site.up();
        assert_ne!(certified.served(), before, "the new one serves");
    });
    assert_eq!(counts, (1, 1));
}

/// The machine was off until the certificate had ended.
pub fn expired(certified: &Certified) {
    certified.new_ca(|options| options.lifetime = 15);
    certified.cert("issue").ends(0);
    until("the end of a certificate", 40, || (certified.cert("show").code == Some(7)).then_some(()));
    certified.cert("show").ends(7).says("the certificate expired on");
    certified.new_ca(|options| options.lifetime = 90 * 24 * 3600);
    let counts = certified.counts_of(|| drop(certified.site.up().says("it expired on")));
    assert_eq!(counts, (1, 1));
    certified.cert("show").ends(0);
    certified.served();
}

/// With the machine's clock this far off (libfaketime).
fn at_another_time(certified: &Certified, offset: &str, args: &[&str]) -> Run {
    let mut command = certified.site.command(args);
    // Debian: libfaketime; the directory is named by the processor.
    let libraries = fs::read_dir("/usr/lib").expect("a directory").flatten();
    let mut found = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = found.find(|path| path.exists()).expect("libfaketime is installed");
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    start(command, "").finish()
}

pub fn wrong_clock(certified: &Certified) {
    let ahead = at_another_time(certified, "+3d", &["cert", "issue"]).ends(0);
    ahead.says("clock is 3 days ahead of the CA's").says("timedatectl set-ntp true");
    // A certificate that is not valid yet, as far as this machine can tell, is not put in use.
    certified.untouched_by(|| {
        let behind = at_another_time(certified, "-3d", &["cert", "issue"]).ends(1);
        behind.says("days behind the CA's").says("what the CA sent does not fit this site");
    });
    certified.cert("issue").ends(0);
}

pub fn two_at_once(certified: &Certified) {
    let counts = certified.counts_of(|| {
        let both = [certified.site.start(&["cert", "issue"]), certified.site.start(&["cert", "issue"])];
        let mut codes: Vec<_> = both.map(|started| started.finish().code).into_iter().collect();
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(5)]);
    });
    assert_eq!(counts, (1, 1));
}

/// When a run is killed: its name, and whether it has come, by the site's files and by what the run
/// with `--json` has said.
type Moment = (&'static str, fn(&Site, &str) -> bool);

const MOMENTS: [Moment; 9] = [
    ("the CA is asked", |_, said| said.contains(r#""number":1"#)),
    ("the order is written down", |site, _| ordered(site)),
    ("the answer is shown", |site, _| {
        ordered(site) && fs::read_dir(site.path(ANSWERS)).is_ok_and(|mut dir| dir.next().is_some())
    }),
    ("the certificate is stored", |_, said| said.contains(r#""number":2"#)),
    ("nginx.conf is tested", |_, said| said.contains(r#""number":3"#)),
    ("nginx.conf is in place", |_, said| said.contains(r#""number":4"#)),
    ("nginx reloads", |_, said| said.contains(r#""number":5"#)),
    ("the certificate is looked at", |_, said| said.contains(r#""number":6"#)),
    ("it is recorded", |_, said| said.contains(r#""number":7"#)),
];

fn ordered(site: &Site) -> bool {
    site.path("secrets/acme/order.json").exists()
}

/// Runs `cert issue` and kills it once the moment has come, after up to 20 ms: the same each time.
fn issue_until(site: &Site, number: usize) {
    let (name, come) = MOMENTS[number];
    let output = tempfile::NamedTempFile::new().expect("a file");
    let mut command = site.command(&["--json", "cert", "issue"]);
    command.stdout(output.reopen().expect("a file of ours")).stderr(Stdio::null());
    let mut issue = command.spawn().expect("the program runs");
    let begun = Instant::now();
    // Some moments are over after some milliseconds.
    while !come(site, &fs::read_to_string(output.path()).unwrap_or_default()) {
        assert!(begun.elapsed() < Duration::from_mins(1), "{name} does not come");
        thread::sleep(Duration::from_millis(1));
    }
    // The last moments are over sooner than that.
    let into = if number < 7 { 7 * number as u64 % 20 } else { 0 };
    thread::sleep(Duration::from_millis(into));
    issue.kill().expect("a child of ours");
    issue.wait().expect("a child of ours");
}

/// The next run finishes, and the CA issues one certificate alone, unless the first was in use.
pub fn killed(certified: &Certified) {
    let site = &certified.site;
    let seen = under_pace(site, 20, || {
        for (number, (name, _)) in MOMENTS.iter().enumerate() {
            let before = certified.served();
            let (orders, issued) = certified.counts_of(|| {
                issue_until(site, number);
                certified.served();
                certified.cert("issue").ends(0).says("serves; it ends on");
            });
            eprintln!("           killed when {name}: {orders} orders, {issued} certificates");
            // At the last moment the first one may be in use already: then another was asked for.
            let most = if number + 1 == MOMENTS.len() { 2 } else { 1 };
            assert!((1..=most).contains(&issued), "{issued} certificates when {name}");
            // The answer to the order may be lost with the program, once.
            assert!(orders <= 2, "{orders} orders when {name}");
            assert_ne!(certified.served(), before, "{name}");
            certified.nothing_left();
        }
    });
    seen.lost_nothing();
}
