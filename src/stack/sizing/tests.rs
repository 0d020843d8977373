use std::fmt::Write as _;

use super::*;

const GIB: u64 = 1024 * MIB;

fn capacity(cpus: u32, mib: u64) -> Capacity {
    Capacity { cpus, memory_bytes: mib * MIB, rotational: false }
}

fn demand(users: u32, databases: u32) -> Demand {
    Demand { users, databases, external_postgres: false }
}

fn sized(cpus: u32, gib: u64, users: u32) -> Sizing {
    size(capacity(cpus, gib * 1024), demand(users, 1))
}

/// Machines from the smallest to the largest, with odd shapes between.
const MACHINES: [(u32, u64); 14] = [
    (1, 512),
    (1, 960),
    (1, 1024),
    (1, 1963),
    (2, 2048),
    (2, 3900),
    (2, 4096),
    (2, 24_105),
    (4, 8192),
    (4, 15_990),
    (8, 32_000),
    (16, 8192),
    (16, 65_536),
    (64, 262_144),
];
const USERS: [u32; 8] = [1, 5, 20, 60, 100, 200, 600, 1000];

/// Every machine with every demand.
fn all() -> impl Iterator<Item = (Capacity, Demand, Sizing)> {
    let demands = USERS.into_iter().flat_map(|users| [1, 2, 3, 8].map(|databases| demand(users, databases)));
    let demands: Vec<Demand> =
        demands.flat_map(|demand| [demand, Demand { external_postgres: true, ..demand }]).collect();
    MACHINES.into_iter().flat_map(move |(cpus, mib)| {
        let capacity = capacity(cpus, mib);
        demands.clone().into_iter().map(move |demand| (capacity, demand, size(capacity, demand)))
    })
}

#[test]
fn golden_table() {
    let mut text = String::from(
        "cores  memory users dbs | workers cron | conns buffers cache work maint wal(max) gather shm | nginx conns \
         | limits: odoo cron postgres nginx, expected of memory (second Odoo), MiB\n",
    );
    for (cpus, mib) in MACHINES {
        for (users, databases) in [(1, 1), (20, 1), (60, 3), (1000, 1)] {
            let Sizing { odoo, postgres, nginx, memory } =
                size(capacity(cpus, mib), demand(users, databases));
            let limits = [memory.odoo, memory.cron, memory.postgres, memory.nginx];
            let limits = limits.map(|share| (share.limit_bytes / MIB).to_string()).join(" ");
            writeln!(
                text,
                "{cpus:5} {mib:7} {users:5} {databases:3} | {:7} {:4} | {:5} {:7} {:5} {:4} {:5} {:8} {:6} {:3} | \
                 {:5} {:5} | {limits}, {} of {} ({})",
                odoo.workers,
                odoo.cron_threads,
                postgres.max_connections,
                postgres.shared_buffers_mib,
                postgres.effective_cache_size_mib,
                postgres.work_mem_mib,
                postgres.maintenance_work_mem_mib,
                postgres.max_wal_size_mib,
                postgres.max_parallel_workers_per_gather,
                postgres.shm_bytes / MIB,
                nginx.worker_processes,
                nginx.worker_connections,
                memory.expected_bytes() / MIB,
                memory.counted_bytes / MIB,
                memory.side_by_side_bytes / MIB,
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

/// Odoo's own example: a server with 4 cores and 60 users gets 8 workers and 1 cron, 3 GB.
#[test]
fn the_example_of_the_deployment_guide() {
    let Sizing { odoo, memory, .. } = sized(4, 8, 60);
    assert_eq!((odoo.workers, odoo.cron_threads), (8, 1));
    assert_eq!((odoo.limit_memory_soft, odoo.limit_memory_hard), (629_145_600, 1_677_721_600));
    assert_eq!((odoo.limit_request, odoo.limit_time_cpu, odoo.limit_time_real), (8192, 600, 1200));
    let processes = memory.odoo.expected_bytes + memory.cron.expected_bytes - 150 * MIB;
    assert!((2_900_000_000..3_200_000_000).contains(&processes), "{processes}");
    assert_eq!(odoo::most_processes(4), 9);
}

#[test]
fn no_part_may_have_more_than_the_machine() {
    for (capacity, demand, sizing) in all() {
        let memory = &sizing.memory;
        let ours = capacity.memory_bytes - memory.reserve_bytes;
        for share in [memory.odoo, memory.cron, memory.postgres, memory.nginx] {
            assert!(share.limit_bytes <= ours, "{capacity:?} {demand:?} {share:?}");
        }
        let postgres = &sizing.postgres;
        let fixed = (postgres.shared_buffers_mib + postgres.maintenance_work_mem_mib) * MIB;
        assert!(fixed <= memory.postgres.limit_bytes || demand.external_postgres, "{capacity:?} {demand:?}");
        assert!(postgres.effective_cache_size_mib * MIB < capacity.memory_bytes);
    }
}

/// The promise of the ceilings: one part gone wild leaves the others what they need.
#[test]
fn one_part_at_its_ceiling_leaves_the_others_alive() {
    let mut checked = 0;
    for (capacity, demand, sizing) in all() {
        let memory = &sizing.memory;
        if memory.expected_bytes() > memory.counted_bytes {
            assert!(!warnings(capacity, demand, &sizing).is_empty());
            continue;
        }
        checked += 1;
        for share in [memory.odoo, memory.cron, memory.postgres, memory.nginx] {
            let wild = memory.expected_bytes() - share.expected_bytes + share.limit_bytes;
            assert!(wild <= capacity.memory_bytes, "{capacity:?} {demand:?} {share:?}");
        }
    }
    assert!(checked > 300, "{checked}");
}

#[test]
fn two_odoos_of_every_database_fit_into_max_connections() {
    for (_, demand, sizing) in all() {
        let odoo = &sizing.odoo;
        let one = odoo.workers * odoo.db_maxconn + odoo.db_maxconn_gevent;
        let needed = 2 * (demand.databases * one + odoo.cron_threads * odoo.db_maxconn);
        assert!(sizing.postgres.max_connections >= needed + postgres::RESERVED_CONNECTIONS);
    }
}

#[test]
fn more_users_or_a_few_databases_mean_no_restart_of_postgres() {
    for (cpus, mib) in MACHINES.into_iter().filter(|(cpus, _)| *cpus < 16) {
        let postgres = |users, databases| {
            let sizing = size(capacity(cpus, mib), demand(users, databases));
            (sizing.postgres, sizing.memory.postgres, sizing.memory.nginx)
        };
        assert_eq!(postgres(1, 1), postgres(1000, 4), "{cpus} cores, {mib} MiB");
    }
}

#[test]
fn more_of_anything_is_never_less() {
    for (cpus, mib) in MACHINES {
        for users in USERS {
            let processes = |cpus: u32, mib: u64, users: u32| {
                let odoo = size(capacity(cpus, mib), demand(users, 1)).odoo;
                odoo.workers + odoo.cron_threads
            };
            let here = processes(cpus, mib, users);
            assert!(processes(cpus, mib, users + 7) >= here);
            assert!(processes(cpus, mib + 1000, users) >= here);
            assert!(processes(cpus + 1, mib, users) >= here);
            let buffers = |mib| sized_mib(cpus, mib).postgres.shared_buffers_mib;
            assert!(buffers(mib + 1000) >= buffers(mib));
        }
    }
}

fn sized_mib(cpus: u32, mib: u64) -> Sizing {
    size(capacity(cpus, mib), demand(20, 1))
}

#[test]
fn processes_keep_odoo_s_rule_where_it_leaves_two_workers() {
    for (capacity, demand, sizing) in all() {
        let workers = sizing.odoo.workers * demand.databases;
        let least = workers == odoo::FEWEST_WORKERS * demand.databases;
        assert!(least || workers + sizing.odoo.cron_threads <= odoo::most_processes(capacity.cpus));
    }
}

/// What kernels report on machines that were sold with a round number of GiB.
#[test]
fn a_kernel_update_changes_no_size() {
    for mib in [950, 975, 1963, 1990, 3819, 3911, 3935, 7751, 7941, 7976, 15_606, 15_990, 24_105, 32_095] {
        let here = sized_mib(2, mib);
        for other in mib - 24..mib + 24 {
            assert_eq!(sized_mib(2, other), here, "{mib} and {other}");
        }
    }
}

#[test]
fn steps_never_rise_above_the_memory_and_lose_little() {
    let mut last = 0;
    for mib in 128..300_000 {
        let counted = steady(mib);
        assert!(counted <= mib && counted >= mib - mib / 8, "{mib}: {counted}");
        assert!(counted >= last, "{mib}");
        last = counted;
    }
    assert_eq!((steady(0), steady(1), steady(4096), steady(8192)), (0, 1, 4096, 8192));
}

#[test]
fn limits_of_the_site_cap_the_machine() {
    let machine = Capacity { cpus: 16, memory_bytes: 64 * GIB, rotational: true };
    let limits = Limits { cpus: Some(4), memory_bytes: Some(8 * GIB) };
    let within = machine.within(&limits);
    assert_eq!(within, Capacity { cpus: 4, memory_bytes: 8 * GIB, rotational: true });
    assert_eq!(capacity(2, 4096).within(&limits), capacity(2, 4096));
    assert_eq!(machine.within(&Limits::default()), machine);
}

#[test]
fn an_external_server_leaves_its_memory_to_odoo() {
    let here = demand(1000, 1);
    let there = Demand { external_postgres: true, ..here };
    let machine = capacity(16, 8192);
    assert!(size(machine, there).odoo.workers > size(machine, here).odoo.workers);
    assert_eq!(size(machine, there).memory.postgres, Share { expected_bytes: 0, limit_bytes: 0 });
}

#[test]
fn several_databases_share_the_workers() {
    let workers = |databases| size(capacity(16, 65_536), demand(100, databases)).odoo.workers;
    assert_eq!([1, 2, 3, 20].map(workers), [17, 8, 5, 2]);
}

#[test]
fn warnings_name_numbers() {
    let text = |cpus, mib, users| {
        let (capacity, demand) = (capacity(cpus, mib), demand(users, 1));
        warnings(capacity, demand, &size(capacity, demand)).join("\n")
    };
    assert_eq!(text(4, 8192, 20), "");
    insta::assert_snapshot!([text(1, 960, 5), text(1, 1963, 5), text(2, 4096, 100)].join("\n\n"));
}

#[test]
fn explanation() {
    let (capacity, demand) = (capacity(4, 15_990), demand(60, 2));
    let lines = explain(capacity, demand, &size(capacity, demand), 17);
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {} = {}: {}", line.part, line.what, line.value, line.why))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
