//! How much memory an export takes. Each is made in a process of its own, which is measured.

use std::io;
use std::process::Command;
use std::time::Instant;

use autoodoo::archive::Export;
use autoodoo::archive::seal::Recipients;

use crate::age_key;
use crate::gpg::Gpg;
use crate::made::{Made, subject};

/// Bytes that a backup may need, whatever its size.
const LIMIT: u64 = 150 << 20;
const SIZE: u64 = 300 << 20;

/// The most that this process ever had in memory (proc(5), `VmHWM`), in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

fn measure(what: &str, source: &Made, recipients: &Recipients) {
    let began = Instant::now();
    let export = Export { source, subject: &subject(), recipients, watch: &|_| Ok(()) };
    let written = export.write_to("nowhere", io::sink()).unwrap();
    let (seconds, peak) = (began.elapsed().as_secs_f64(), peak());
    let megabytes = f64::from(u32::try_from(written.bytes / 1_000_000).unwrap());
    println!("{what}: {:.0} MB/s, at most {} MB of memory", megabytes / seconds, peak >> 20);
    assert!(written.bytes >= SIZE, "{}", written.bytes);
    assert!(peak < LIMIT, "{what}: {peak} bytes");
}

#[test]
#[ignore = "measures its whole process; `memory_stays_flat` starts it alone"]
fn alone_plain() {
    measure("not sealed", &Made::stream(SIZE), &Recipients::Anyone);
}

#[test]
#[ignore = "measures its whole process; `memory_stays_flat` starts it alone"]
fn alone_age() {
    let keys = tempfile::tempdir().unwrap();
    let recipients = Recipients::Age(vec![age_key(keys.path(), "one")]);
    measure("for age", &Made::stream(SIZE), &recipients);
}

#[test]
#[ignore = "measures its whole process; `memory_stays_flat` starts it alone"]
fn alone_openpgp() {
    let person = Gpg::with_key("future-default");
    let recipients = Recipients::OpenPgp(person.certificates().unwrap());
    measure("for OpenPGP", &Made::stream(SIZE), &recipients);
}

/// The list of the source itself is in memory here, 20 MB of it.
#[test]
#[ignore = "measures its whole process; `memory_stays_flat` starts it alone"]
fn alone_many_files() {
    measure("150,000 files", &Made::files(150_000, 2100), &Recipients::Anyone);
}

#[test]
fn memory_stays_flat() {
    for name in ["plain", "age", "openpgp", "many_files"] {
        let test = format!("size::alone_{name}");
        let program = std::env::current_exe().unwrap();
        let output =
            Command::new(program).args(["--exact", &test, "--ignored", "--nocapture"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        print!("{}", said.lines().filter(|line| line.contains("MB/s")).collect::<Vec<_>>().join("\n"));
    }
}
