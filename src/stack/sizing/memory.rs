//! Who gets how much memory.
//!
//! Each part has what it is expected to use, by which Odoo's workers are counted, and a ceiling
//! (`memory.max` of its cgroup), at which the kernel ends a process of that part and of no other.
//! On a machine that is not too small, any one part can be at its ceiling while all others use
//! what is expected of them, and the system keeps its reserve. A ceiling also counts what a part
//! has in /dev/shm and its files' page cache; the kernel takes the latter back before it ends
//! anybody.

use serde::Serialize;

use super::odoo::{OdooSizes, peak};
use super::{Capacity, Demand, MIB, nginx, postgres};

/// Odoo's rule: 0.8 × 150 MB + 0.2 × 1 GB.
pub(super) const PROCESS_MIB: u64 = (4 * 150 + 1024) / 5;
/// A process that has not met a heavy request yet; the evented process never does.
pub(super) const LIGHT_PROCESS_MIB: u64 = 150;
/// nginx's zones, and each of its workers.
const NGINX_MIB: u64 = 48;
const NGINX_WORKER_MIB: u64 = 8;
/// Uploads and reports on their way to disk.
const FILES_MIB: u64 = 256;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What it is expected to use on a busy day.
    pub expected_bytes: u64,
    /// The ceiling of its container. 0: there is no such container.
    pub limit_bytes: u64,
}

/// Bytes of memory, for each container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The machine's memory as sizes count it, a little less than it is.
    pub counted_bytes: u64,
    /// Left to the kernel, the engine and whoever else is there.
    pub reserve_bytes: u64,
    /// Each database's Odoo.
    pub odoo: Share,
    pub cron: Share,
    pub postgres: Share,
    pub nginx: Share,
    /// What the Odoos that start beside the present ones use during a change, all databases together.
    pub side_by_side_bytes: u64,
    /// How many Odoos answer requests.
    pub odoos: u32,
}

impl Memory {
    /// What all parts are expected to use together, the reserve included.
    #[must_use]
    pub fn expected_bytes(&self) -> u64 {
        let once = [self.cron, self.postgres, self.nginx].into_iter().map(|share| share.expected_bytes);
        self.reserve_bytes + u64::from(self.odoos) * self.odoo.expected_bytes + once.sum::<u64>()
    }
}

/// Workers, in all databases together, for which there is memory beside all else. May be 0.
pub(super) fn workers_that_fit(capacity: Capacity, demand: Demand, cron_threads: u32) -> u32 {
    let budget = Budget::new(capacity, demand);
    // Not what PostgreSQL is expected to use but what it may: its ceiling comes first.
    let postgres = if demand.external_postgres { 0 } else { budget.postgres_at_least() };
    let others = postgres + budget.nginx + cron(cron_threads) + evented(demand.databases);
    u32::try_from(budget.ours.saturating_sub(others) / PROCESS_MIB).unwrap_or(u32::MAX)
}

pub(super) fn size(capacity: Capacity, demand: Demand, odoo: &OdooSizes) -> Memory {
    let budget = Budget::new(capacity, demand);
    let hard = odoo.limit_memory_hard / MIB;
    let each = u64::from(odoo.workers) * PROCESS_MIB + LIGHT_PROCESS_MIB;
    let cron = cron(odoo.cron_threads);
    let all = each * u64::from(demand.databases) + cron + budget.postgres + budget.nginx;
    // One worker may go up to its hard limit.
    let share = |expected: u64| budget.share(all, expected, expected + hard + FILES_MIB);
    Memory {
        counted_bytes: budget.all * MIB,
        reserve_bytes: (budget.all - budget.ours) * MIB,
        odoo: share(each),
        cron: share(cron),
        postgres: Share {
            expected_bytes: budget.postgres * MIB,
            limit_bytes: postgres_limit(capacity, demand, &budget) * MIB,
        },
        nginx: Share { expected_bytes: budget.nginx * MIB, limit_bytes: budget.nginx * MIB },
        side_by_side_bytes: u64::from(demand.databases) * fresh(odoo.workers) * MIB,
        odoos: demand.databases,
    }
}

fn cron(threads: u32) -> u64 {
    u64::from(threads) * PROCESS_MIB
}

fn evented(databases: u32) -> u64 {
    u64::from(databases) * LIGHT_PROCESS_MIB
}

/// An Odoo that has just started.
fn fresh(workers: u32) -> u64 {
    (u64::from(workers) + 1) * LIGHT_PROCESS_MIB
}

/// MiB.
struct Budget {
    /// The machine.
    all: u64,
    /// Without the system's reserve.
    ours: u64,
    /// What PostgreSQL is expected to use.
    postgres: u64,
    /// What nginx may use.
    nginx: u64,
}

impl Budget {
    fn new(capacity: Capacity, demand: Demand) -> Budget {
        let all = capacity.memory_mib();
        let reserve = (all / 16).clamp(128, 4096).min(all);
        let postgres = if demand.external_postgres { 0 } else { postgres::expected_mib(all) };
        let ours = all - reserve;
        // What is left of it caches files. It follows from the machine alone: more users must not
        // mean another nginx.
        let least = NGINX_MIB + NGINX_WORKER_MIB * u64::from(nginx::worker_processes(capacity.cpus));
        Budget { all, ours, postgres, nginx: (ours / 24).clamp(least, 512).min(ours) }
    }

    /// A ceiling of what the others leave, not above `most`. On a machine that is too small it is what
    /// the part needs all the same, but for a quarter that keeps the others alive.
    fn share(&self, all: u64, expected: u64, most: u64) -> Share {
        let left = self.ours.saturating_sub(all - expected);
        let limit = left.min(most).max(expected.min(self.ours * 3 / 4));
        Share { expected_bytes: expected * MIB, limit_bytes: limit * MIB }
    }

    /// A third of what the system leaves. A database server that is ended takes everybody's work with
    /// it: on small machines it may have more.
    fn postgres_at_least(&self) -> u64 {
        (self.ours / 3).max(512.min(self.ours / 2))
    }
}

/// What Odoo could never want, whatever the number of users, but at most three quarters of what the
/// system leaves.
fn postgres_limit(capacity: Capacity, demand: Demand, budget: &Budget) -> u64 {
    if demand.external_postgres {
        return 0;
    }
    let peak = peak(capacity.cpus, demand.databases);
    let odoo = u64::from(peak.workers) * PROCESS_MIB + evented(peak.databases) + cron(peak.cron_threads);
    let least = budget.postgres_at_least();
    budget.ours.saturating_sub(odoo + budget.nginx).clamp(least, (budget.ours * 3 / 4).max(least))
}
