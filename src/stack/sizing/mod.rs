//! How big Odoo, PostgreSQL and nginx should be on this machine for so many users.
//!
//! Pure functions from what there is ([`Capacity`]) and what is asked ([`Demand`]) to a [`Sizing`].
//! Containers are compared by fingerprints of these values, so they must not flutter: memory counts
//! in steps ([`steady`]), and nothing depends on what happens to be free at the moment.
//!
//! What PostgreSQL gets follows from the machine alone, neither from the number of users nor from
//! the first few databases: more of them must not mean a restart of the database server.

mod explain;
mod memory;
mod nginx;
mod odoo;
mod postgres;
mod warn;

use serde::Serialize;

pub use explain::{Line, explain};
pub use memory::{Memory, Share};
pub use nginx::NginxSizes;
pub use odoo::OdooSizes;
pub use postgres::PostgresSizes;
pub use warn::warnings;

use crate::site::{Limits, Site};

const MIB: u64 = 1024 * 1024;

/// What the machine has for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Processor cores, at least 1. The hardware threads of one core count once, as in Odoo's
    /// deployment guide, where 4 cores with 8 threads make at most 9 workers.
    pub cpus: u32,
    pub memory_bytes: u64,
    /// The engine keeps its data on a disk that rotates.
    pub rotational: bool,
}

impl Capacity {
    /// What is left of it within the site's own limits.
    #[must_use]
    pub fn within(self, limits: &Limits) -> Capacity {
        Capacity {
            cpus: limits.cpus.map_or(self.cpus, |cpus| cpus.min(self.cpus)).max(1),
            memory_bytes: limits.memory_bytes.map_or(self.memory_bytes, |bytes| bytes.min(self.memory_bytes)),
            ..self
        }
    }

    /// Memory to count on, in MiB.
    fn memory_mib(self) -> u64 {
        steady(self.memory_bytes / MIB)
    }
}

/// What is asked of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// People who work with Odoo at the same time of day, in all databases together.
    pub users: u32,
    /// At least 1. Each has an Odoo of its own.
    pub databases: u32,
    /// PostgreSQL runs elsewhere and needs nothing here.
    pub external_postgres: bool,
}

impl Demand {
    #[must_use]
    pub fn of(site: &Site) -> Demand {
        Demand {
            users: site.users,
            databases: u32::try_from(site.further.len()).unwrap_or(u32::MAX).saturating_add(1),
            external_postgres: site.postgres.external.is_some(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizing {
    /// Each database's Odoo, and the one that runs the scheduled actions of all.
    pub odoo: OdooSizes,
    pub postgres: PostgresSizes,
    pub nginx: NginxSizes,
    pub memory: Memory,
}

/// The sizes for this demand on a machine of this capacity.
#[must_use]
pub fn size(capacity: Capacity, demand: Demand) -> Sizing {
    let capacity = Capacity { cpus: capacity.cpus.max(1), ..capacity };
    let demand = Demand { databases: demand.databases.max(1), ..demand };
    let odoo = odoo::size(capacity, demand);
    let memory = memory::size(capacity, demand, &odoo);
    Sizing {
        postgres: postgres::size(capacity, demand, &odoo, memory.postgres.limit_bytes / MIB),
        nginx: nginx::size(capacity.cpus, demand),
        odoo,
        memory,
    }
}

/// Memory rounded down to steps of a ninth to an eighteenth of it. What a kernel reports lies some
/// percent below the size that was bought and moves by some megabytes with each update; the steps
/// are such that the usual sizes (1, 2, 4, 8 … and 3, 6, 12, 24 … GiB) lie well inside one.
fn steady(mib: u64) -> u64 {
    let about = mib + mib / 8;
    let step = (prev_power_of_two(about) / 8).max(1);
    mib / step * step
}

/// The largest power of two that is not above `number`; 1 for 0.
fn prev_power_of_two(number: u64) -> u64 {
    1 << number.max(1).ilog2()
}

#[cfg(test)]
mod tests;
