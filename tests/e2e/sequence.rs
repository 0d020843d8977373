//! Checks in order on one thing, each with its duration; all run even when one fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

pub type Check<T> = (&'static str, fn(&T));

/// Runs the checks and fails at the end, naming those that failed. A site that does not come up
/// (checks named `up: …`) ends it at once.
pub fn run<T>(title: &str, thing: &T, checks: &[Check<T>]) {
    let begun = Instant::now();
    let mut failed = Vec::new();
    for (name, check) in checks.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        let good = catch_unwind(AssertUnwindSafe(|| check(thing))).is_ok();
        let word = if good { "ok" } else { "FAILED" };
        eprintln!("{title:<9} {:>6.1} s  {word:<6}  {name}", started.elapsed().as_secs_f32());
        if !good {
            failed.push(*name);
            if name.starts_with("up: ") {
                break;
            }
        }
    }
    eprintln!("{title:<9} {:>6.1} s  in all", begun.elapsed().as_secs_f32());
    assert!(failed.is_empty(), "{title}: failed: {}", failed.join("; "));
}

fn wanted(name: &str) -> bool {
    let only = std::env::var("AUTOODOO_TEST_ONLY").unwrap_or_default();
    let mut words = only.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    name.starts_with("up: ") || words.peek().is_none() || words.any(|word| name.contains(word))
}
