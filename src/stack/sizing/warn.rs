//! What a machine is too small for, with numbers. A warning, not an error: the site comes up.

use super::odoo::{FEWEST_WORKERS, USERS_PER_WORKER};
use super::{Capacity, Demand, MIB, Sizing};

/// What will not work well, and what would be needed.
#[must_use]
pub fn warnings(capacity: Capacity, demand: Demand, sizing: &Sizing) -> Vec<String> {
    let memory = too_little_memory(sizing).or_else(|| no_room_for_two(sizing));
    memory.into_iter().chain(too_few_workers(capacity, demand, sizing)).collect()
}

fn mib(bytes: u64) -> u64 {
    bytes / MIB
}

fn too_little_memory(sizing: &Sizing) -> Option<String> {
    let (needed, counted) = (sizing.memory.expected_bytes(), sizing.memory.counted_bytes);
    (needed > counted).then(|| {
        format!(
            "this machine is small: by Odoo's rule the site needs about {} MiB of memory, and {} MiB can be \
             counted on; a heavy report or a change may be slow or be ended by the kernel, in its own container \
             only",
            mib(needed),
            mib(counted)
        )
    })
}

fn no_room_for_two(sizing: &Sizing) -> Option<String> {
    let memory = &sizing.memory;
    let needed = memory.expected_bytes() + memory.side_by_side_bytes;
    (needed > memory.counted_bytes).then(|| {
        format!(
            "during a change a second Odoo starts beside the first and uses about {} MiB; {} MiB are left for it \
             on a busy day. Change things when few people work, or add {} MiB of memory",
            mib(memory.side_by_side_bytes),
            mib(memory.counted_bytes.saturating_sub(memory.expected_bytes())),
            mib(needed - memory.counted_bytes)
        )
    })
}

fn too_few_workers(capacity: Capacity, demand: Demand, sizing: &Sizing) -> Option<String> {
    let wanted = demand.users.div_ceil(USERS_PER_WORKER).max(FEWEST_WORKERS);
    let workers = sizing.odoo.workers.saturating_mul(demand.databases);
    (workers < wanted).then(|| {
        format!(
            "{} users would want {wanted} Odoo workers; {} and {} MiB of memory bear {workers}, enough for about \
             {} users at a time",
            demand.users,
            cores(capacity.cpus),
            mib(sizing.memory.counted_bytes),
            workers.saturating_mul(USERS_PER_WORKER)
        )
    })
}

fn cores(cpus: u32) -> String {
    if cpus == 1 { "1 processor core".to_owned() } else { format!("{cpus} processor cores") }
}
