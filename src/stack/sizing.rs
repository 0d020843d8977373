//! How big Odoo and PostgreSQL should be on this host for so many users.
//!
//! The rules are those of Odoo's deployment guide ("Worker number calculation" and "Memory size
//! calculation"): at most `2 × CPUs + 1` processes, one worker for about six concurrent users, and
//! a worker needs 150 MB four times in five and 1 GB the fifth.

use serde::Serialize;

const MIB: u64 = 1024 * 1024;
/// Workers that are always there: one page may load while another request runs.
const FEWEST_WORKERS: u32 = 2;
const USERS_PER_WORKER: u32 = 6;
const CRON_THREADS: u32 = 1;
/// Connections that one Odoo process may open (`db_maxconn`).
const CONNECTIONS_PER_PROCESS: u32 = 8;
/// Connections kept for us, backups and an administrator with psql.
const RESERVED_CONNECTIONS: u32 = 10;

/// Connections that are allowed without being needed.
const ROOMY_CONNECTIONS: u32 = 500;

/// What the host has for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub cpus: u32,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizing {
    /// Odoo worker processes that answer requests.
    pub workers: u32,
    /// Threads (one process each) that run scheduled actions.
    pub cron_threads: u32,
    /// Bytes of virtual memory above which a worker ends after its request.
    pub limit_memory_soft: u64,
    /// Bytes of virtual memory that a worker can never exceed.
    pub limit_memory_hard: u64,
    /// Requests after which a worker is replaced.
    pub limit_request: u32,
    /// Seconds of CPU time for one request.
    pub limit_time_cpu: u32,
    /// Seconds for one request.
    pub limit_time_real: u32,
    pub db_maxconn: u32,
    /// PostgreSQL's `max_connections`: enough for two Odoos side by side while one replaces the other.
    pub max_connections: u32,
    /// PostgreSQL's `shared_buffers`, in MiB.
    pub shared_buffers_mib: u64,
    /// Bytes that the workers are expected to use together.
    pub expected_worker_memory: u64,
}

/// The sizes for `users` people on a host of this capacity.
#[must_use]
pub fn size(capacity: Capacity, users: u32) -> Sizing {
    let most_processes = capacity.cpus * 2 + 1;
    let workers =
        users.div_ceil(USERS_PER_WORKER).min(most_processes.saturating_sub(CRON_THREADS)).max(FEWEST_WORKERS);
    Sizing {
        workers,
        cron_threads: CRON_THREADS,
        limit_memory_soft: 600 * MIB,
        limit_memory_hard: 1600 * MIB,
        limit_request: 8192,
        limit_time_cpu: 600,
        limit_time_real: 1200,
        db_maxconn: CONNECTIONS_PER_PROCESS,
        max_connections: max_connections(workers, most_processes),
        shared_buffers_mib: (steady(capacity.memory_bytes / MIB) / 8).clamp(128, 8192),
        expected_worker_memory: u64::from(workers + CRON_THREADS) * (150 * MIB * 4 + 1024 * MIB) / 5,
    }
}

/// Memory to the nearest sixteenth of the next power of two: what the kernel reports moves by some
/// megabytes with each update, and no setting should move with it.
fn steady(mib: u64) -> u64 {
    let grain = (mib.next_power_of_two() / 16).max(1);
    (mib + grain / 2) / grain * grain
}

/// Room for two Odoos with these workers; on most hosts room for as many as the host could ever have,
/// so that more users do not mean a restart of the database server.
fn max_connections(workers: u32, most_processes: u32) -> u32 {
    let room = |workers: u32| {
        let processes = workers + 1 + CRON_THREADS; // and the evented one
        2 * processes * CONNECTIONS_PER_PROCESS + RESERVED_CONNECTIONS
    };
    room(workers).max(room(most_processes).min(ROOMY_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    fn sized(cpus: u32, gib: u64, users: u32) -> Sizing {
        size(Capacity { cpus, memory_bytes: gib * GIB }, users)
    }

    /// Odoo's own example: a server with 4 CPUs and 60 users gets 8 workers and 1 cron, 3 GB.
    #[test]
    fn the_example_of_the_deployment_guide() {
        let sizing = sized(4, 8, 60);
        assert_eq!((sizing.workers, sizing.cron_threads), (8, 1));
        assert_eq!(sizing.limit_memory_soft, 629_145_600);
        assert_eq!(sizing.limit_memory_hard, 1_677_721_600);
        assert_eq!((sizing.limit_request, sizing.limit_time_cpu, sizing.limit_time_real), (8192, 600, 1200));
        let megabytes = sizing.expected_worker_memory / 1_000_000;
        assert!((2_900..3_200).contains(&megabytes), "{megabytes}");
    }

    #[test]
    fn small_hosts_keep_two_workers_and_big_ones_follow_the_users() {
        assert_eq!(sized(1, 1, 1).workers, 2);
        assert_eq!(sized(2, 4, 20).workers, 4);
        assert_eq!(sized(64, 256, 600).workers, 100);
    }

    #[test]
    fn more_users_need_no_restart_of_postgres() {
        assert_eq!(sized(2, 4, 1).max_connections, sized(2, 4, 1000).max_connections);
    }

    #[test]
    fn a_few_megabytes_more_or_less_change_nothing() {
        let buffers = |mib: u64| size(Capacity { cpus: 2, memory_bytes: mib * MIB }, 5).shared_buffers_mib;
        for (mib, expected) in [(3900, 480), (3920, 480), (3935, 480), (24_030, 3072), (24_100, 3072)] {
            assert_eq!(buffers(mib), expected, "{mib}");
        }
    }

    #[test]
    fn two_odoos_fit_into_max_connections() {
        for users in [1, 60, 600] {
            let sizing = sized(16, 64, users);
            let one_odoo = (sizing.workers + 1 + sizing.cron_threads) * sizing.db_maxconn;
            assert!(sizing.max_connections >= 2 * one_odoo + RESERVED_CONNECTIONS);
        }
    }
}
