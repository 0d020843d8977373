//! Why each size is what it is.

use serde::Serialize;

use super::odoo::most_processes;
use super::{Capacity, Demand, MIB, Share, Sizing};
use crate::render::postgresql_conf::settings;

/// One size and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `machine`, `odoo`, `postgres`, `nginx` or `memory`.
    pub part: &'static str,
    pub what: String,
    pub value: String,
    pub why: String,
}

fn line(part: &'static str, what: &str, value: &impl ToString, why: impl Into<String>) -> Line {
    Line { part, what: what.to_owned(), value: value.to_string(), why: why.into() }
}

/// Every size with its reason; `major` is PostgreSQL's.
#[must_use]
pub fn explain(capacity: Capacity, demand: Demand, sizing: &Sizing, major: u32) -> Vec<Line> {
    let mut lines = machine(capacity, sizing);
    lines.extend(processes(capacity, demand, sizing));
    lines.extend(limits(sizing));
    if !demand.external_postgres {
        let ours = settings(&sizing.postgres, major).into_iter();
        lines.extend(ours.map(|setting| line("postgres", setting.name, &setting.value, setting.why)));
        let shm = mebibytes(sizing.postgres.shm_bytes);
        lines.push(line("postgres", "/dev/shm", &shm, "parallel queries and VACUUM share memory there"));
    }
    lines.extend(nginx(sizing));
    lines.extend(ceilings(demand, sizing));
    lines
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / MIB)
}

fn machine(capacity: Capacity, sizing: &Sizing) -> Vec<Line> {
    let memory = &sizing.memory;
    let disk = if capacity.rotational { "rotates" } else { "does not rotate" };
    vec![
        line("machine", "processor cores", &capacity.cpus, "hardware threads of a core count once"),
        line(
            "machine",
            "memory",
            &mebibytes(memory.counted_bytes),
            format!("of {}; counted in steps, so that sizes stay", mebibytes(capacity.memory_bytes)),
        ),
        line(
            "machine",
            "kept for the system",
            &mebibytes(memory.reserve_bytes),
            "a sixteenth: kernel, engine, ssh",
        ),
        line("machine", "disk", &disk, "where the engine keeps its volumes"),
    ]
}

fn processes(capacity: Capacity, demand: Demand, sizing: &Sizing) -> Vec<Line> {
    let most = most_processes(capacity.cpus);
    vec![
        line(
            "odoo",
            "workers",
            &sizing.odoo.workers,
            format!(
                "one for 6 of {} users, at most 2 × cores + 1 = {most} with the cron threads, as memory allows, \
                 shared by {} database(s); never below 2, or printing a report waits for itself",
                demand.users, demand.databases
            ),
        ),
        line(
            "odoo",
            "max_cron_threads",
            &sizing.odoo.cron_threads,
            "one container runs scheduled actions for all databases",
        ),
        line(
            "odoo",
            "db_maxconn",
            &sizing.odoo.db_maxconn,
            "of each process; one request borrows one or two",
        ),
        line(
            "odoo",
            "db_maxconn_gevent",
            &sizing.odoo.db_maxconn_gevent,
            "the evented process serves all notifications",
        ),
    ]
}

fn limits(sizing: &Sizing) -> Vec<Line> {
    let odoo = &sizing.odoo;
    vec![
        line(
            "odoo",
            "limit_memory_soft",
            &odoo.limit_memory_soft,
            "bytes; above it a worker ends after its request",
        ),
        line("odoo", "limit_memory_hard", &odoo.limit_memory_hard, "bytes; a request that wants more fails"),
        line(
            "odoo",
            "limit_memory_soft_gevent",
            &odoo.limit_memory_soft_gevent,
            "its end would cut all notifications",
        ),
        line("odoo", "limit_memory_hard_gevent", &odoo.limit_memory_hard_gevent, "as for workers"),
        line("odoo", "limit_request", &odoo.limit_request, "requests after which a worker is replaced"),
        line("odoo", "limit_time_cpu", &odoo.limit_time_cpu, "seconds of one request"),
        line("odoo", "limit_time_real", &odoo.limit_time_real, "seconds of one request, waiting included"),
        line(
            "odoo",
            "limit_time_real_cron",
            &odoo.limit_time_real_cron,
            "seconds; one that is cut off begins anew",
        ),
    ]
}

fn nginx(sizing: &Sizing) -> Vec<Line> {
    let nginx = &sizing.nginx;
    vec![
        line("nginx", "worker_processes", &nginx.worker_processes, "one for each core"),
        line(
            "nginx",
            "worker_connections",
            &nginx.worker_connections,
            "sixteen for a user, over all workers",
        ),
        line("nginx", "worker_rlimit_nofile", &nginx.open_files, "two files for a connection"),
        line(
            "nginx",
            "cache of static files",
            &format!("{} MiB", nginx.cache_mib),
            "on disk, 256 MiB for a database",
        ),
        line(
            "nginx",
            "keys of that cache",
            &format!("{} MiB", nginx.cache_keys_mib),
            "8,000 files for a MiB",
        ),
    ]
}

fn ceilings(demand: Demand, sizing: &Sizing) -> Vec<Line> {
    let memory = &sizing.memory;
    let ceiling = |what: &str, share: Share, why: &str| {
        let why = format!("{} expected; {why}", mebibytes(share.expected_bytes));
        line("memory", what, &mebibytes(share.limit_bytes), why)
    };
    let mut lines = vec![
        ceiling("limit of Odoo", memory.odoo, "325 MiB a worker; room for one at its hard limit"),
        ceiling("limit of cron", memory.cron, "325 MiB a thread; room for one at its hard limit"),
    ];
    if !demand.external_postgres {
        lines.push(ceiling("limit of PostgreSQL", memory.postgres, "the rest caches its files"));
    }
    lines.push(ceiling("limit of nginx", memory.nginx, "the page cache of its files included"));
    let second = mebibytes(memory.side_by_side_bytes);
    lines.push(line(
        "memory",
        "second Odoo",
        &second,
        "during a change, beside the first; 150 MiB for a fresh process",
    ));
    lines
}
