//! Odoo's processes and their limits.
//!
//! The rules are those of Odoo's deployment guide ("Worker number calculation" and "Memory size
//! calculation"): at most `2 × CPUs + 1` processes, one worker for about six concurrent users, and
//! a worker needs 150 MB four times in five and 1 GB the fifth.

use serde::Serialize;

use super::{Capacity, Demand, MIB, memory};

/// Below two, printing a report never ends: wkhtmltopdf asks Odoo for the report's style sheets
/// while the only worker waits for wkhtmltopdf.
pub(super) const FEWEST_WORKERS: u32 = 2;
pub(super) const USERS_PER_WORKER: u32 = 6;
/// Users for whom one more cron thread is worth a process.
const USERS_PER_CRON_THREAD: u32 = 50;
const CORES_PER_CRON_THREAD: u32 = 4;
const MOST_CRON_THREADS: u32 = 4;
/// Connections that one process may open. A worker answers one request at a time, which borrows
/// one connection and seldom a second.
const CONNECTIONS_PER_PROCESS: u32 = 8;
/// The evented process serves everybody's notifications, each with a short query.
const EVENTED_CONNECTIONS: u32 = 16;
/// The number of databases up to which PostgreSQL's own settings have room beforehand.
pub(super) const ROOMY_DATABASES: u32 = 4;

/// Keys of odoo.conf. Memory is in bytes, time in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OdooSizes {
    /// Worker processes that answer requests, in each database's Odoo.
    pub workers: u32,
    /// Processes that run scheduled actions, in the one container that does so for all databases.
    pub cron_threads: u32,
    /// Virtual memory above which a worker ends after its request.
    pub limit_memory_soft: u64,
    /// Virtual memory that a worker can never exceed (`RLIMIT_AS`).
    pub limit_memory_hard: u64,
    /// As the two above, for the evented process (a key of its own from Odoo 18).
    pub limit_memory_soft_gevent: u64,
    pub limit_memory_hard_gevent: u64,
    /// Requests after which a worker is replaced.
    pub limit_request: u32,
    /// CPU time of one request.
    pub limit_time_cpu: u32,
    /// Time of one request.
    pub limit_time_real: u32,
    /// Time of one scheduled action.
    pub limit_time_real_cron: u32,
    /// Connections that one process may open.
    pub db_maxconn: u32,
    /// The same for the evented process (a key of its own from Odoo 17).
    pub db_maxconn_gevent: u32,
}

pub(super) fn size(capacity: Capacity, demand: Demand) -> OdooSizes {
    let cron_threads = cron_threads(capacity.cpus, demand);
    OdooSizes {
        workers: workers(capacity, demand, cron_threads),
        cron_threads,
        limit_memory_soft: 600 * MIB,
        limit_memory_hard: 1600 * MIB,
        // It holds every browser's connection: it should not be replaced as soon as a worker.
        limit_memory_soft_gevent: 1200 * MIB,
        limit_memory_hard_gevent: 1600 * MIB,
        limit_request: 8192,
        limit_time_cpu: 600,
        limit_time_real: 1200,
        // An action that is cut off begins anew the next time, and never ends.
        limit_time_real_cron: 3600,
        db_maxconn: CONNECTIONS_PER_PROCESS,
        db_maxconn_gevent: EVENTED_CONNECTIONS,
    }
}

/// As many as the users want, the processors bear and the memory holds, the same for each database.
fn workers(capacity: Capacity, demand: Demand, cron_threads: u32) -> u32 {
    let wanted = demand.users.div_ceil(USERS_PER_WORKER);
    let by_cpus = most_processes(capacity.cpus).saturating_sub(cron_threads);
    let by_memory = memory::workers_that_fit(capacity, demand, cron_threads);
    (wanted.min(by_cpus).min(by_memory) / demand.databases).max(FEWEST_WORKERS)
}

fn cron_threads(cpus: u32, demand: Demand) -> u32 {
    let by_users = (cpus / CORES_PER_CRON_THREAD).min(demand.users / USERS_PER_CRON_THREAD);
    let by_databases = demand.databases.min(2).min(cpus);
    by_users.max(by_databases).clamp(1, MOST_CRON_THREADS)
}

/// Workers and cron threads that the processors bear.
pub(super) fn most_processes(cpus: u32) -> u32 {
    cpus.saturating_mul(2).saturating_add(1)
}

/// The processes that the machine could ever have, whatever the number of users and for at least
/// [`ROOMY_DATABASES`].
pub(super) struct Peak {
    pub(super) databases: u32,
    /// In all databases together.
    pub(super) workers: u32,
    pub(super) cron_threads: u32,
}

pub(super) fn peak(cpus: u32, databases: u32) -> Peak {
    let databases = databases.max(ROOMY_DATABASES);
    Peak {
        databases,
        workers: most_processes(cpus).max(databases.saturating_mul(FEWEST_WORKERS)),
        cron_threads: cron_threads(cpus, Demand { users: u32::MAX, databases, external_postgres: false }),
    }
}
