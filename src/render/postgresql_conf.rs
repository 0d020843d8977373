//! PostgreSQL's settings. The stock image has no `conf.d`: those that count only at the start are
//! words of the server's command line, all others lie in a file of ours that includes the cluster's
//! own, so that a change of them needs a reload and no restart. `ALTER SYSTEM` wins over the file.
//!
//! Settings at which the server's own default is right are left alone, among them `huge_pages`
//! (`try`), `wal_buffers` (follows `shared_buffers`), and everything that durability depends on:
//! `fsync`, `full_page_writes` and `synchronous_commit` stay on. So does `wal_level = replica`, which
//! physical backups need. Idle transactions are not ended either: Odoo computes between two queries
//! of one transaction, for minutes in a scheduled action.
//!
//! Source: the PostgreSQL manual, chapter "Server Configuration", of each major.

use std::fmt::Write;

use crate::stack::sizing::PostgresSizes;

/// A setting, its value and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub why: &'static str,
}

fn setting(name: &'static str, value: impl ToString + Copy, why: &'static str) -> Setting {
    Setting { name, value: value.to_string(), why }
}

fn megabytes(name: &'static str, mib: u64, why: &'static str) -> Setting {
    Setting { name, value: format!("{mib}MB"), why }
}

/// Every setting that follows from the machine, for a server of this major (10 to 18).
#[must_use]
pub fn settings(sizes: &PostgresSizes, major: u32) -> Vec<Setting> {
    let groups = [memory(sizes), wal(major), wal_sizes(sizes), planner(sizes, major), workers(sizes, major)];
    groups.into_iter().flatten().chain(autovacuum(sizes, major)).collect()
}

/// Settings that a running server cannot take on (context `postmaster`).
const AT_START: [&str; 4] =
    ["max_connections", "shared_buffers", "max_worker_processes", "autovacuum_max_workers"];

fn is_at_start(setting: &Setting) -> bool {
    AT_START.contains(&setting.name)
}

/// The settings that count only at the start, as words of the server's command line.
#[must_use]
pub fn start_words(settings: &[Setting]) -> Vec<String> {
    let word = |setting: &Setting| ["-c".to_owned(), format!("{}={}", setting.name, setting.value)];
    settings.iter().filter(|setting| is_at_start(setting)).flat_map(word).collect()
}

/// The text of postgresql.conf with all others, each with its reason. `included` is the cluster's
/// own file.
#[must_use]
pub fn postgresql_conf(settings: &[Setting], included: &str) -> String {
    let head = format!("# Written by autoodoo; changes are overwritten.\ninclude '{included}'\n");
    settings.iter().filter(|setting| !is_at_start(setting)).fold(head, |mut text, setting| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n# {}\n{} = '{}'\n", setting.why, setting.name, setting.value);
        text
    })
}

fn memory(sizes: &PostgresSizes) -> Vec<Setting> {
    vec![
        setting("max_connections", sizes.max_connections, "two Odoos side by side, and ten for us"),
        megabytes(
            "shared_buffers",
            sizes.shared_buffers_mib,
            "an eighth of the memory; Odoo lives here, too",
        ),
        megabytes(
            "work_mem",
            sizes.work_mem_mib,
            "for each sort or hash; all processes may need it at a time",
        ),
        megabytes(
            "maintenance_work_mem",
            sizes.maintenance_work_mem_mib,
            "makes indexes and restores faster",
        ),
    ]
}

/// LZ4 costs a fraction of the processor time of PostgreSQL's own compression. The server must have
/// been built with it: the stock image is in both its variants, Debian's (as Debian's own packages)
/// and Alpine's (`--with-lz4` in its Dockerfile).
fn wal(major: u32) -> Vec<Setting> {
    let compression = if major >= 15 { "lz4" } else { "on" };
    let mut settings = vec![
        setting(
            "checkpoint_timeout",
            "15min",
            "after each checkpoint every page goes into the WAL whole, once",
        ),
        setting("wal_compression", compression, "whole pages shrink to a fraction"),
    ];
    if major < 14 {
        let why = "spreads a checkpoint's writes; the default from PostgreSQL 14";
        settings.push(setting("checkpoint_completion_target", "0.9", why));
    }
    settings
}

fn wal_sizes(sizes: &PostgresSizes) -> Vec<Setting> {
    vec![
        megabytes("max_wal_size", sizes.max_wal_size_mib, "checkpoints come by time, not by amount"),
        megabytes("min_wal_size", sizes.min_wal_size_mib, "files that are written over need no making"),
    ]
}

fn planner(sizes: &PostgresSizes, major: u32) -> Vec<Setting> {
    let cached = "PostgreSQL's and the kernel's cache within the container's ceiling";
    let mut settings = vec![megabytes("effective_cache_size", sizes.effective_cache_size_mib, cached)];
    if !sizes.rotational {
        settings.push(setting("random_page_cost", "1.1", "no disk arm has to move"));
    }
    // From 18 the default is 16, on rotating disks 1 was the default before and still fits.
    if !sizes.rotational && major < 18 {
        settings.push(setting("effective_io_concurrency", 200, "this disk answers many reads at a time"));
    }
    if major >= 11 {
        settings.push(setting("jit", "off", "Odoo's queries are short; compiling them takes longer"));
    }
    settings
}

fn workers(sizes: &PostgresSizes, major: u32) -> Vec<Setting> {
    let mut settings = vec![
        setting(
            "max_worker_processes",
            sizes.max_worker_processes,
            "parallel workers and some for extensions",
        ),
        setting("max_parallel_workers", sizes.max_parallel_workers, "one for each core"),
        setting(
            "max_parallel_workers_per_gather",
            sizes.max_parallel_workers_per_gather,
            "cores that one query may borrow from people who wait",
        ),
    ];
    if major >= 11 {
        let why = "cores that making one index may use";
        settings.push(setting(
            "max_parallel_maintenance_workers",
            sizes.max_parallel_maintenance_workers,
            why,
        ));
    }
    settings
}

/// Odoo has hundreds of small tables and some that change all day (sessions of its bus, scheduled
/// actions, mail): with the default of a fifth the big ones would be looked after too seldom.
fn autovacuum(sizes: &PostgresSizes, major: u32) -> Vec<Setting> {
    let memory = "of each worker, beside maintenance_work_mem";
    let mut settings = vec![
        setting("autovacuum_max_workers", sizes.autovacuum_max_workers, "tables that are cleaned at a time"),
        megabytes("autovacuum_work_mem", sizes.autovacuum_work_mem_mib, memory),
        setting("autovacuum_vacuum_scale_factor", "0.05", "big tables are cleaned before they bloat"),
        setting("autovacuum_analyze_scale_factor", "0.05", "plans follow the data sooner"),
    ];
    if !sizes.rotational {
        settings.push(setting("autovacuum_vacuum_cost_limit", 1000, "this disk bears it"));
    }
    if major < 12 {
        let why = "the default from PostgreSQL 12";
        settings.push(setting("autovacuum_vacuum_cost_delay", "2ms", why));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::sizing::{Capacity, Demand, size};

    fn sizes(rotational: bool) -> PostgresSizes {
        let demand = Demand { users: 20, databases: 1, external_postgres: false };
        size(Capacity { cpus: 4, memory_bytes: 8 << 30, rotational }, demand).postgres
    }

    fn names(major: u32, rotational: bool) -> Vec<&'static str> {
        settings(&sizes(rotational), major).iter().map(|setting| setting.name).collect()
    }

    #[test]
    fn all_of_17() {
        let settings = settings(&sizes(false), 17);
        let words = start_words(&settings).join(" ").replace(" -c ", "\n-c ");
        let file = postgresql_conf(&settings, "/var/lib/postgresql/data/postgresql.conf");
        insta::assert_snapshot!(format!("{words}\n\n{file}"));
    }

    #[test]
    fn each_major_gets_what_it_knows() {
        for (name, majors) in [
            ("checkpoint_completion_target", 10..=13),
            ("jit", 11..=18),
            ("max_parallel_maintenance_workers", 11..=18),
            ("autovacuum_vacuum_cost_delay", 10..=11),
            ("effective_io_concurrency", 10..=17),
            ("shared_buffers", 10..=18),
        ] {
            for major in 10..=18 {
                assert_eq!(names(major, false).contains(&name), majors.contains(&major), "{name} in {major}");
            }
        }
    }

    #[test]
    fn compression_by_lz4_came_with_15() {
        for (major, value) in [(10, "on"), (14, "on"), (15, "lz4"), (18, "lz4")] {
            let text = postgresql_conf(&settings(&sizes(false), major), "/x");
            assert!(text.contains(&format!("wal_compression = '{value}'")), "{major}");
        }
    }

    #[test]
    fn a_rotating_disk_keeps_the_planner_s_defaults() {
        let rotating = names(17, true);
        for name in ["random_page_cost", "effective_io_concurrency", "autovacuum_vacuum_cost_limit"] {
            assert!(!rotating.contains(&name), "{name}");
        }
    }

    #[test]
    fn durability_is_left_alone_and_no_setting_comes_twice() {
        for major in 10..=18 {
            let mut names = names(major, false);
            for name in ["fsync", "full_page_writes", "synchronous_commit", "wal_level", "data_sync_retry"] {
                assert!(!names.contains(&name), "{name}");
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
