//! Whole commands on an engine in memory: what a user sees, and what is left when things go wrong.

mod backups;
mod ca;
mod certificates;
mod elsewhere;
mod exports;
mod targets;
mod world;

use std::os::unix::fs::PermissionsExt;

use autoodoo::host::lock::{Holder, SiteLock};
use world::World;

const UP: [&str; 5] = ["acme-cron", "acme-front", "acme-nginx-a", "acme-odoo-a", "acme-postgres"];

#[test]
fn init_writes_a_site_once() {
    let world = World::with_site();
    for secret in ["admin-password", "database-password", "master-password", "master-password.hash"] {
        let mode = std::fs::metadata(world.file("secrets").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let before = std::fs::read(world.file("autoodoo.yaml")).unwrap();
    let again = world.run("init --yes --name other");
    assert_eq!(again.code, 2);
    assert!(again.talk.contains("is a site already; nothing was written"), "{}", again.talk);
    assert_eq!(std::fs::read(world.file("autoodoo.yaml")).unwrap(), before);
}

#[test]
fn up_ends_with_the_address_and_a_second_one_changes_nothing() {
    let world = World::with_site();
    let first = world.run("up");
    assert_eq!(first.code, 0, "{}", first.talk);
    assert!(first.data.starts_with("https://odoo.example.com is up; first login `owner`"), "{}", first.data);
    assert_eq!(world.containers(), UP);
    assert_eq!(world.databases.names(), ["acme"]);
    world.engine.forget_calls();
    let second = world.run("up");
    assert_eq!((second.code, second.data), (0, first.data));
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::with_site();
    let plan = world.run("up --dry-run");
    assert_eq!(plan.code, 0);
    assert!(plan.data.contains("create volume acme-db-1: it does not exist"), "{}", plan.data);
    assert_eq!(world.engine.changes(), Vec::<String>::new());
    let lines = world.run("--json up --dry-run").data;
    for line in lines.lines() {
        let step: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(step["event"], "planned");
        assert!(step["cause"].is_string() && step["action"]["action"].is_string(), "{line}");
    }
    assert_eq!(lines.lines().count(), plan.data.lines().count());
}

#[test]
fn no_secret_is_in_a_plan_a_journal_or_the_engine() {
    let world = World::with_site();
    let shown = [world.run("--json up --dry-run").data, world.run("--verbose up").talk].concat();
    let journal = std::fs::read_to_string(world.file("state/journal.jsonl")).unwrap();
    let calls = world.engine.calls().join("\n");
    for name in ["admin-password", "database-password", "master-password", "master-password.hash"] {
        let secret = std::fs::read_to_string(world.file("secrets").join(name)).unwrap();
        for (place, text) in [("output", &shown), ("journal", &journal), ("engine calls", &calls)] {
            assert!(!text.contains(secret.trim()), "{name} is in the {place}");
        }
    }
}

/// Every changing call of a first `up` is made to fail in turn, with everything after it, as if
/// the program had been killed there. The next `up` must end where an undisturbed one does.
#[test]
fn killed_at_any_call_the_next_up_converges() {
    let undisturbed = World::with_site();
    undisturbed.run("up");
    let calls = undisturbed.engine.calls().len();
    assert!(calls > 30, "{calls}");
    for call in 1..=calls {
        let world = World::with_site();
        world.engine.stop_at(call);
        let cut_off = world.run("up");
        assert_ne!(cut_off.code, 0, "call {call} was not needed");
        world.engine.resume();
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "killed at call {call}: {}", ran.talk);
        assert_eq!(world.containers(), UP, "killed at call {call}");
        assert!(world.databases.names().contains(&"acme".to_owned()), "killed at call {call}");
        assert!(
            !world.databases.names().iter().any(|name| name.ends_with("__init")),
            "killed at call {call}"
        );
        assert_eq!(world.engine.most_postgres_on_one_volume(), 1, "killed at call {call}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "killed at call {call}");
    }
}

/// The same for a change of a running site; and at no point is nobody there who serves.
#[test]
fn killed_during_a_change_the_site_serves_and_converges() {
    let calls = {
        let world = World::up();
        world.edit("users: 5", "users: 60");
        assert_eq!(world.run("up").code, 0);
        world.engine.calls().len()
    };
    for call in 1..=calls {
        let world = World::up();
        world.edit("users: 5", "users: 60");
        world.engine.stop_at(call);
        assert_ne!(world.run("up").code, 0);
        world.engine.resume();
        let serving = world.containers();
        assert!(
            serving.iter().any(|name| name.starts_with("acme-odoo-") && !name.contains("down")),
            "{serving:?}"
        );
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "killed at call {call}: {}", ran.talk);
        let expected = UP.map(|name| name.replace("odoo-a", "odoo-b"));
        assert_eq!(world.containers(), expected, "killed at call {call}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "killed at call {call}");
    }
}

#[test]
fn a_new_odoo_that_does_not_answer_is_undone() {
    let world = World::up();
    world.edit("users: 5", "users: 60");
    *world.deaf.borrow_mut() = Some("odoo-b".to_owned());
    let ran = world.run("up --wait-timeout 1");
    assert_eq!(ran.code, 6, "{}", ran.talk);
    assert!(ran.talk.contains("what served before still serves"), "{}", ran.talk);
    assert_eq!(world.containers(), UP);
}

#[test]
fn what_was_removed_by_hand_comes_back() {
    for name in UP {
        let world = World::up();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if name == "acme-front" {
            // An engine refuses to remove a holder before those who live in its network.
            runtime.block_on(autoodoo::engine::Engine::remove(&world.engine, "acme-nginx-a")).unwrap();
        }
        runtime.block_on(autoodoo::engine::Engine::remove(&world.engine, name)).unwrap();
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "{name}: {}", ran.talk);
        assert_eq!(world.containers(), UP, "{name}");
    }
}

#[test]
fn an_engine_restart_in_reversed_order_leaves_nothing_to_do() {
    let world = World::up();
    world.engine.engine_restart(true);
    assert_eq!(world.containers(), UP);
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn down_keeps_data_and_volumes_need_the_name() {
    let world = World::up();
    let volumes = world.volumes();
    assert_eq!(world.run("down").code, 0);
    assert!(world.containers().is_empty());
    assert_eq!(world.volumes(), volumes);
    assert_eq!(world.run("up").code, 0);

    for line in ["--yes down --volumes", "down --volumes --confirm zebra"] {
        let refused = world.run(line);
        assert_eq!(refused.code, 2, "{line}");
        assert!(refused.talk.contains("nothing was removed"), "{}", refused.talk);
        assert_eq!((world.volumes(), world.containers().len()), (volumes.clone(), 5), "{line}");
    }
    assert_eq!(world.run("down --volumes --confirm acme").code, 0);
    assert!(world.volumes().is_empty());
    let again = world.run("up");
    assert_eq!(again.code, 0, "{}", again.talk);
}

#[test]
fn a_lost_volume_is_refused_and_nothing_is_touched() {
    let world = World::up();
    assert_eq!(world.run("down").code, 0);
    world.engine.forget_calls();
    world.engine.lose_volume("acme-db-1");
    let ran = world.run("up");
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("acme-db-1") && ran.talk.contains("restore"), "{}", ran.talk);
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn lost_memory_is_refused_and_nothing_is_touched() {
    let world = World::up();
    std::fs::remove_file(world.file("state/state.json")).unwrap();
    let ran = world.run("up");
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("restore"), "{}", ran.talk);
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn a_held_site_names_its_holder() {
    let world = World::up();
    let holder = Holder {
        command: "autoodoo update".to_owned(),
        pid: 4242,
        since: "2026-01-31T03:00:00Z".parse().unwrap(),
    };
    let _lock = SiteLock::acquire(&world.file("state"), &holder).unwrap();
    let ran = world.run("up");
    assert_eq!(ran.code, 5);
    assert!(ran.talk.contains("4242") && ran.talk.contains("autoodoo update"), "{}", ran.talk);
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn without_an_engine_the_code_is_four() {
    let world = World::with_site();
    world.engine_runs.set(false);
    for line in ["up", "down", "status", "logs", "psql", "restart"] {
        let expected = if line == "psql" { 1 } else { 4 }; // psql: the site has no database yet
        assert_eq!(world.run(line).code, expected, "{line}");
    }
}

#[test]
fn all_faults_of_the_site_file_are_told_and_nothing_is_changed() {
    let world = World::with_site();
    world.edit("users: 5", "users: many\nzebra: 1\ndomian: x");
    let ran = world.run("up");
    assert_eq!(ran.code, 2);
    for expected in ["autoodoo.yaml:", "users", "zebra", "did you mean `domain`"] {
        assert!(ran.talk.contains(expected), "{expected}: {}", ran.talk);
    }
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

/// The databases of a site that has two are told apart by name.
#[test]
fn tools_work_on_the_database_that_they_are_told() {
    let world = World::with_site();
    let path = world.file("autoodoo.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "databases:\n  - { name: shop, domain: shop.example.com }\n").unwrap();
    let up = world.run("up");
    assert_eq!(up.code, 0, "{}", up.talk);
    let addresses = "https://odoo.example.com, https://shop.example.com are up";
    assert!(up.data.contains(addresses) || up.talk.contains(addresses), "{up:?}");
    let status = world.run("status").data;
    assert!(status.contains("database shop at https://shop.example.com\n"), "{status}");
    for (line, expected) in [
        ("psql --database shop -c x", "psql --username=postgres --dbname shop -c x"),
        ("psql -c x", "psql --username=postgres --dbname acme -c x"),
    ] {
        world.engine.forget_calls();
        assert_eq!(world.run(line).code, 0);
        let calls = world.engine.calls().join("\n");
        assert!(calls.contains(expected), "{calls}");
    }
    for line in ["psql --database shpo", "shell --database=shpo", "odoo --database shpo -u sale"] {
        world.engine.forget_calls();
        let ran = world.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.talk);
        assert!(ran.talk.contains("the site has no database `shpo`; did you mean `shop`?"), "{}", ran.talk);
        assert!(ran.talk.contains("autoodoo.yaml names acme, shop"), "{}", ran.talk);
        assert_eq!(world.engine.changes(), Vec::<String>::new());
    }
}

#[test]
fn a_taken_port_names_its_holder_and_nothing_is_made() {
    let world = World::with_site();
    world.take_port(443, "caddy (process 812)");
    let ran = world.run("up");
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("port 443 is taken by caddy (process 812)"), "{}", ran.talk);
    assert_eq!(world.engine.changes(), Vec::<String>::new());
}

#[test]
fn an_absent_image_and_no_registry() {
    let world = World::with_site();
    world.edit("odoo:19", "example.com/odoo:19");
    world.engine.set_registry_reachable(false);
    let ran = world.run("up");
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("example.com/odoo:19"), "{}", ran.talk);
    assert!(world.containers().is_empty() && world.volumes().is_empty());
}

#[test]
fn status_tells_programs_and_people() {
    let world = World::up();
    let people = world.run("status");
    assert!(people.data.contains("acme-odoo-a"), "{}", people.data);
    let programs: serde_json::Value = serde_json::from_str(&world.run("--json status").data).unwrap();
    assert_eq!(programs["url"], "https://odoo.example.com");
    let services = programs["services"].as_array().unwrap();
    assert!(services.iter().all(|service| service["state"] == "running"), "{services:?}");
}

#[test]
fn a_new_nginx_that_does_not_work_is_undone() {
    let world = World::up();
    world.engine.add_image("nginx:newer");
    world.edit("nginx:stable", "nginx:newer");
    *world.deaf.borrow_mut() = Some("nginx-b".to_owned());
    let ran = world.run("up");
    assert_eq!(ran.code, 6, "{}", ran.talk);
    assert_eq!(world.containers(), UP);
}

#[test]
fn another_engine_is_refused_whatever_the_command() {
    let world = World::up();
    let other = world.on_an_empty_engine();
    for line in ["up", "down", "down --volumes --confirm acme", "restart", "status"] {
        let ran = other.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.talk);
        assert!(ran.talk.contains("was made on the engine at"), "{line}: {}", ran.talk);
    }
    assert_eq!(other.engine.changes(), Vec::<String>::new());
}

#[test]
fn a_site_file_that_the_data_does_not_fit_is_refused() {
    let changes = [
        ("postgres:17", "postgres:15", "PostgreSQL major is 17"),
        ("odoo:19", "odoo:18", "Odoo release is 19"),
        ("database: acme", "database: other", "database is acme"),
        ("name: acme", "name: other", "name is acme"),
    ];
    for (from, to, expected) in changes {
        let world = World::up();
        world.edit(from, to);
        let ran = world.run("up");
        assert_eq!(ran.code, 2, "{to}: {}", ran.talk);
        assert!(ran.talk.contains(expected), "{}", ran.talk);
        assert_eq!(world.engine.changes(), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn a_restart_that_up_would_refuse_stops_nothing() {
    let world = World::up();
    world.edit("postgres:17", "postgres:15");
    assert_eq!(world.run("restart").code, 2);
    assert_eq!(world.containers(), UP);
}

#[test]
fn the_owners_own_certificates_are_never_swept() {
    let world = World::up();
    let own = world.file("secrets/tls/mine");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("privkey.pem"), "precious").unwrap();
    world.edit("users: 5", "users: 60");
    assert_eq!(world.run("up").code, 0);
    assert_eq!(std::fs::read_to_string(own.join("privkey.pem")).unwrap(), "precious");
}

#[test]
fn half_a_local_ca_is_never_replaced() {
    let world = World::up();
    let key = std::fs::read(world.file("secrets/ca.key")).unwrap();
    std::fs::remove_file(world.file("ca.crt")).unwrap();
    let ran = world.run("up");
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("half of the site's local CA"), "{}", ran.talk);
    assert_eq!(std::fs::read(world.file("secrets/ca.key")).unwrap(), key);
}

#[test]
fn sizes_are_explained_to_people_and_programs() {
    let world = World::with_site();
    let ran = world.run("status --sizing");
    assert_eq!(ran.code, 0, "{}", ran.talk);
    for line in ["PART", "odoo      workers", "postgres  shared_buffers", "memory    limit of PostgreSQL"] {
        assert!(ran.data.contains(line), "{line}: {}", ran.data);
    }
    let ran = world.run("--json status --sizing");
    let report: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(report["capacity"]["cpus"], 2);
    assert_eq!(report["sizing"]["postgres"]["shared_buffers_mib"], 512);
    assert_eq!(report["sizing"]["odoo"]["workers"], 2);
    assert_eq!(report["warnings"], serde_json::json!([]));
}

#[test]
fn a_small_machine_is_told_with_numbers_and_served() {
    let mut world = World::with_site();
    world.resize(1, 975);
    let plan = world.run("up --dry-run");
    assert_eq!(plan.code, 0, "{}", plan.talk);
    assert!(plan.data.contains("note: this machine is small: by Odoo's rule the site needs about 1530 MiB"));
    assert_eq!(world.run("up").code, 0);
}

#[test]
fn more_users_leave_postgres_alone_and_a_kernel_update_everything() {
    let mut world = World::up();
    world.resize(2, 4096 + 20);
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
    world.edit("users: 5", "users: 500");
    let plan = world.run("up --dry-run").data;
    assert!(plan.contains("create container acme-odoo-b") && !plan.contains("acme-postgres"), "{plan}");
}
