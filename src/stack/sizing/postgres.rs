//! PostgreSQL's sizes. Sources: the PostgreSQL manual, chapter "Server Configuration", section
//! "Resource Consumption" unless another is named.

use serde::Serialize;

use super::odoo::{OdooSizes, Peak, peak};
use super::{Capacity, Demand, MIB, prev_power_of_two};

/// Connections kept for us, backups and an administrator with psql; three of them only for
/// superusers (`superuser_reserved_connections`).
pub(super) const RESERVED_CONNECTIONS: u32 = 10;
/// Connections that are allowed without being needed.
const ROOMY_CONNECTIONS: u32 = 500;
/// Sorts and hash tables that a busy session is taken to have at a time.
const SORTS: u64 = 4;

/// Sizes in MiB, as in settings that end in `MB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PostgresSizes {
    /// Enough for two Odoos side by side in every database while one replaces the other.
    pub max_connections: u32,
    pub shared_buffers_mib: u64,
    /// What the planner may take to be cached, by PostgreSQL and by the kernel.
    pub effective_cache_size_mib: u64,
    pub work_mem_mib: u64,
    pub maintenance_work_mem_mib: u64,
    pub autovacuum_work_mem_mib: u64,
    pub max_wal_size_mib: u64,
    pub min_wal_size_mib: u64,
    pub autovacuum_max_workers: u32,
    pub max_worker_processes: u32,
    pub max_parallel_workers: u32,
    pub max_parallel_workers_per_gather: u32,
    pub max_parallel_maintenance_workers: u32,
    /// The data lies on a disk that rotates.
    pub rotational: bool,
    /// Bytes of /dev/shm: parallel queries and parallel VACUUM share memory there.
    pub shm_bytes: u64,
}

/// An eighth of the memory. The manual's "25% of the memory in your system" is for a dedicated
/// server; Odoo's workers live here, too.
fn shared_buffers(mib: u64) -> u64 {
    (mib / 8).clamp(64, 16 * 1024)
}

/// Memory of all sessions together.
fn private(mib: u64) -> u64 {
    (mib / 8).max(64)
}

/// What PostgreSQL is expected to use on a machine with so much memory.
pub(super) fn expected_mib(mib: u64) -> u64 {
    shared_buffers(mib) + private(mib)
}

/// `limit` is the ceiling of the container, in MiB.
pub(super) fn size(capacity: Capacity, demand: Demand, odoo: &OdooSizes, limit: u64) -> PostgresSizes {
    let mib = capacity.memory_mib();
    let peak = peak(capacity.cpus, demand.databases);
    let work_mem = work_mem(mib, &peak);
    let maintenance = (mib / 32).clamp(64, 1024);
    let max_wal = (mib / 2).clamp(1024, 8 * 1024);
    let per_gather = (capacity.cpus / 4).min(4);
    PostgresSizes {
        max_connections: max_connections(demand, odoo, &peak),
        shared_buffers_mib: shared_buffers(mib),
        effective_cache_size_mib: (limit / 4 * 3).max(shared_buffers(mib)),
        work_mem_mib: work_mem,
        maintenance_work_mem_mib: maintenance,
        autovacuum_work_mem_mib: (maintenance / 2).clamp(32, 512),
        max_wal_size_mib: max_wal,
        min_wal_size_mib: max_wal / 4,
        autovacuum_max_workers: (capacity.cpus / 4).clamp(3, 6),
        max_worker_processes: (capacity.cpus + 4).max(8),
        max_parallel_workers: capacity.cpus.max(2),
        // A site with few cores serves people side by side; it has none to lend to one query.
        max_parallel_workers_per_gather: per_gather,
        max_parallel_maintenance_workers: (capacity.cpus / 2).clamp(1, 4),
        rotational: capacity.rotational,
        shm_bytes: shm(maintenance, work_mem, limit.saturating_sub(shared_buffers(mib))) * MIB,
    }
}

/// Every session may use it several times over, so it is what all processes that Odoo could ever
/// have leave each other; a power of two, so that it moves seldom.
fn work_mem(mib: u64, peak: &Peak) -> u64 {
    let sessions = u64::from(peak.workers + peak.databases + peak.cron_threads);
    prev_power_of_two(private(mib) / (sessions * SORTS)).clamp(4, 64)
}

/// Room for the dead rows of a parallel VACUUM and the hash tables of parallel queries; at most
/// half of what the container's ceiling leaves, since it counts against it.
fn shm(maintenance: u64, work_mem: u64, left: u64) -> u64 {
    (maintenance + 16 * work_mem).min(left / 2).max(64)
}

/// Room for what Odoo has now; on most machines room for as much as it could ever have.
fn max_connections(demand: Demand, odoo: &OdooSizes, peak: &Peak) -> u32 {
    let room = |databases: u32, workers: u32, cron_threads: u32| {
        let requests = (workers + cron_threads).saturating_mul(odoo.db_maxconn);
        let one = requests.saturating_add(databases.saturating_mul(odoo.db_maxconn_gevent));
        one.saturating_mul(2).saturating_add(RESERVED_CONNECTIONS)
    };
    let needed = room(demand.databases, demand.databases.saturating_mul(odoo.workers), odoo.cron_threads);
    needed.max(room(peak.databases, peak.workers, peak.cron_threads).min(ROOMY_CONNECTIONS))
}
