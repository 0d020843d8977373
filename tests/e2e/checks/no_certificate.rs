//! Bad days of certificates by ACME. Whatever happens, the present one serves on, the owner is told
//! what to do, and the next run finishes without asking the CA for more than it must.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::certified::Certified;
use crate::load::under_pace;
use crate::process::{Run, run, start, until};
use crate::proxy::Reply;

/// A visitor believes any of the certificates; there are as many as the CA issued.
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
    // The site file asks for another key now, which is due, and the CA wants to be left alone.
    let counts = certified.counts_of(|| {
        certified.site.edit("\n    key_type: p256\n", "\n    key_type: p384\n");
        certified.cert("renew").ends(0).says("the CA asks for no attempt before");
        certified.site.run(&["up", "--dry-run"]).ends(0).says("the CA asks for no attempt before");
        certified.site.edit("\n    key_type: p384\n", "\n    key_type: p256\n");
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
    certified.cert("renew").ends(0).says("its key is another's").says("serves; it ends on");
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
    certified.new_ca(|options| options.lifetime = 20);
    certified.cert("issue").ends(0);
    until("the end of a certificate", 40, || (certified.cert("show").code == Some(7)).then_some(()));
    certified.cert("show").ends(7).says("the certificate expired on");
    certified.new_ca(|options| options.lifetime = 90 * 24 * 3600);
    let counts = certified.counts_of(|| drop(certified.cert("renew").ends(0).says("it expired on")));
    assert_eq!(counts, (1, 1));
    certified.cert("show").ends(0);
    certified.served();
}

/// With the machine's clock this far off (libfaketime).
fn at_another_time(certified: &Certified, offset: &str, args: &[&str]) -> Run {
    let mut command = certified.site.command(args);
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    start(command, "").finish()
}

pub fn wrong_clock(certified: &Certified) {
    let ahead = at_another_time(certified, "+3d", &["cert", "issue"]).ends(0);
    ahead.says("clock is 3 days ahead of the CA's").says("timedatectl set-ntp true");
    // A certificate that is not valid yet, as far as this machine can tell, is not put in use.
    certified.untouched_by(|| {
        let behind = at_another_time(certified, "-3d", &["cert", "issue"]).ends(1);
        behind.says("clock is 3 days behind the CA's").says("what the CA sent does not fit this site");
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

const KILLS: u32 = 8;

/// The last step that a run with `--json` had begun.
fn last_step(run: &Run) -> u64 {
    let steps = run.out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    steps
        .filter(|event| event["event"] == "step-started")
        .filter_map(|event| event["number"].as_u64())
        .last()
        .unwrap_or(0)
}

/// Killed at moments spread over the whole run, the first half of them while the CA is asked. The
/// next run finishes; as long as the certificate was not in use, the CA issues one alone.
pub fn killed(certified: &Certified) {
    let site = &certified.site;
    let begun = Instant::now();
    certified.cert("issue").ends(0);
    let whole = begun.elapsed();
    let mut steps = Vec::new();
    let seen = under_pace(site, 20, || {
        for number in 0..KILLS {
            // Odd multiples of a sixteenth, moved by up to a thirty-second: the same each time.
            let parts = 4 * number + 1 + (number * 7 + 3) % 3;
            let mut step = 0;
            let (orders, issued) = certified.counts_of(|| {
                let mut issue = site.start(&["--json", "cert", "issue"]);
                thread::sleep(whole * parts / (4 * KILLS));
                let ended = issue.has_ended();
                issue.signal("KILL");
                let killed = issue.finish();
                step = if ended { 0 } else { last_step(&killed) };
                certified.served();
                certified.cert("issue").ends(0).says("serves; it ends on");
            });
            eprintln!("           killed in step {step}: {orders} orders, {issued} certificates");
            // Step 7 of 8 records what serves; after it a new one is wanted.
            assert!(issued <= if (1..7).contains(&step) { 1 } else { 2 }, "{issued} certificates");
            assert!(orders <= 2, "{orders} orders");
            steps.push(step);
            certified.nothing_left();
        }
    });
    seen.lost_nothing();
    assert!(steps.iter().filter(|step| **step > 0).count() >= 6, "the others had ended: {steps:?}");
}
