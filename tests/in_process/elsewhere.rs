//! PostgreSQL on a server elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::world::{DEAD_PORT, HOST_KEY, Remote, World};

const UP: [&str; 4] = ["acme-cron", "acme-front", "acme-nginx-a", "acme-odoo-a"];

fn ssh() -> String {
    format!("  ssh: {{ host: gate.example.com, user: tunnel, host_key: '{HOST_KEY}' }}\n")
}

fn with_tunnel() -> Vec<String> {
    UP.iter().map(|name| (*name).to_owned()).chain(["acme-tunnel".to_owned()]).collect()
}

#[test]
fn up_makes_no_server_and_a_second_one_changes_nothing() {
    for (keys, containers) in [(String::new(), UP.map(str::to_owned).to_vec()), (ssh(), with_tunnel())] {
        let world = World::with_server_elsewhere(&keys);
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "{}", ran.talk);
        assert_eq!(world.containers(), containers);
        assert!(!world.volumes().contains(&"acme-db-1".to_owned()));
        world.engine.forget_calls();
        assert_eq!(world.run("up").code, 0);
        assert_eq!(world.engine.changes(), Vec::<String>::new());
        let status = world.run("status").data;
        assert!(
            status.contains("on the server at db.example.com:5432") && !status.contains("MISSING"),
            "{status}"
        );
    }
}

/// Every changing call is made to fail in turn with all after it; the next `up` ends where an
/// undisturbed one does, with a database that was begun once more or kept.
#[test]
fn killed_at_any_call_the_next_up_converges() {
    let undisturbed = World::with_server_elsewhere(&ssh());
    assert_eq!(undisturbed.run("up").code, 0);
    let calls = undisturbed.engine.calls().len();
    assert!(calls > 30, "{calls}");
    for call in 1..=calls {
        let world = World::with_server_elsewhere(&ssh());
        world.engine.stop_at(call);
        assert_ne!(world.run("up").code, 0, "call {call} was not needed");
        world.engine.resume();
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "killed at call {call}: {}", ran.talk);
        assert_eq!(world.containers(), with_tunnel(), "killed at call {call}");
        let mark = world.server.databases.borrow()["acme"].mark.clone().unwrap();
        assert!(mark.ends_with(", complete"), "killed at call {call}: {mark}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "killed at call {call}");
    }
}

/// The same while the tunnel is replaced.
#[test]
fn killed_while_the_tunnel_is_replaced_the_next_up_converges() {
    let changed = || {
        let world = World::with_server_elsewhere(&ssh());
        assert_eq!(world.run("up").code, 0);
        world.edit("user: tunnel", "user: tunnel, port: 2222");
        world.engine.forget_calls();
        world
    };
    let undisturbed = changed();
    assert_eq!(undisturbed.run("up").code, 0);
    let calls = undisturbed.engine.calls().len();
    assert!(calls > 15, "{calls}");
    for call in 1..=calls {
        let world = changed();
        world.engine.stop_at(call);
        assert_ne!(world.run("up").code, 0, "call {call} was not needed");
        world.engine.resume();
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "killed at call {call}: {}", ran.talk);
        assert_eq!(world.containers(), with_tunnel(), "killed at call {call}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "killed at call {call}");
    }
}

#[test]
fn a_strangers_database_is_refused_and_nothing_is_left() {
    let world = World::with_server_elsewhere(&ssh());
    let stranger = Remote { mark: None, filled: true };
    world.server.databases.borrow_mut().insert("acme".to_owned(), stranger);
    let ran = world.run("up");
    assert_eq!(ran.code, 2, "{}", ran.talk);
    assert!(
        ran.talk.contains("holds an Odoo already") && ran.talk.contains("autoodoo import"),
        "{}",
        ran.talk
    );
    assert!(world.containers().is_empty() && world.volumes().is_empty(), "{:?}", world.containers());
    assert!(world.server.databases.borrow()["acme"].filled);
}

#[test]
fn another_server_under_the_same_name_is_refused() {
    let world = World::with_server_elsewhere("");
    assert_eq!(world.run("up").code, 0);
    assert_eq!(world.run("down").code, 0);
    "712".clone_into(&mut world.server.identity.borrow_mut());
    let ran = world.run("up");
    assert_eq!(ran.code, 1, "{}", ran.talk);
    assert!(ran.talk.contains("system identifier 712, not 711"), "{}", ran.talk);
    assert!(world.containers().is_empty());
}

#[test]
fn a_replaced_database_is_refused() {
    let world = World::with_server_elsewhere("");
    assert_eq!(world.run("up").code, 0);
    assert_eq!(world.run("down").code, 0);
    world.server.databases.borrow_mut().insert("acme".to_owned(), Remote::default());
    let ran = world.run("up");
    assert_eq!(ran.code, 1, "{}", ran.talk);
    assert!(ran.talk.contains("does not carry this site's mark"), "{}", ran.talk);
    assert!(world.containers().is_empty());
}

#[test]
fn down_with_volumes_leaves_the_databases_alone() {
    let world = World::with_server_elsewhere("");
    assert_eq!(world.run("up").code, 0);
    let ran = world.run("down --volumes --confirm acme");
    assert_eq!(ran.code, 0);
    assert!(ran.talk.contains("databases at db.example.com:5432 were left alone"), "{}", ran.talk);
    assert!(world.volumes().is_empty() && world.server.databases.borrow()["acme"].filled);
    let again = world.run("up");
    assert_eq!(again.code, 2, "{}", again.talk);
    assert!(again.talk.contains("holds data that this site made"), "{}", again.talk);
    *world.server.databases.borrow_mut().get_mut("acme").unwrap() = Remote::default();
    assert_eq!(world.run("up").code, 0);
}

#[test]
fn what_is_not_ours_is_neither_restarted_nor_read() {
    let world = World::with_server_elsewhere("");
    assert_eq!(world.run("up").code, 0);
    world.engine.forget_calls();
    for line in ["restart postgres", "restart tunnel", "logs postgres", "psql --superuser"] {
        let ran = world.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.talk);
    }
    assert_eq!(world.engine.changes(), Vec::<String>::new());
    assert_eq!(world.run("psql -c select").code, 0);
    assert_eq!(world.containers(), UP);
    let compose = world.run("export compose").data;
    assert!(!compose.contains("postgres:") && !compose.contains("acme-db-1"), "{compose}");
}

#[test]
fn an_unknown_ssh_server_is_never_trusted() {
    let other = format!("SHA256:{}", "A".repeat(43));
    for (pin, expected) in
        [(String::new(), "is not known yet"), (format!(", host_key: '{other}'"), "does not have the key")]
    {
        let keys = format!("  ssh: {{ host: gate.example.com, user: tunnel{pin} }}\n");
        let world = World::with_server_elsewhere(&keys);
        let ran = world.run("up");
        assert_ne!(ran.code, 0);
        assert!(ran.talk.contains(expected) && ran.talk.contains(HOST_KEY), "{}", ran.talk);
        assert!(world.containers().is_empty() && world.volumes().is_empty());
    }
}

/// Files of the tunnel, with their content.
fn tunnel_files(world: &World) -> BTreeMap<PathBuf, String> {
    let directories = std::fs::read_dir(world.file("generated/tunnel")).unwrap();
    let files = directories.flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// Each is refused before anybody is interrupted, and what the running tunnel starts from stays.
#[test]
fn a_tunnel_that_leads_nowhere_changes_nothing() {
    let dead = format!(", port: {DEAD_PORT}");
    for (change, deaf, code, expected) in [
        (dead.as_str(), None, 6, "no ssh server answers at gate.example.com:9"),
        (", port: 2222", Some("helper-next-tunnel"), 6, "does not answer through the tunnel"),
    ] {
        let world = World::with_server_elsewhere(&ssh());
        assert_eq!(world.run("up").code, 0);
        let before = tunnel_files(&world);
        world.engine.forget_calls();
        world.edit("user: tunnel", &format!("user: tunnel{change}"));
        *world.deaf.borrow_mut() = deaf.map(str::to_owned);
        let ran = world.run("up");
        assert_eq!(ran.code, code, "{}", ran.talk);
        assert!(ran.talk.contains(expected) && ran.talk.contains("still serves"), "{}", ran.talk);
        assert_eq!(world.containers(), with_tunnel());
        let after = tunnel_files(&world);
        assert!(before.iter().all(|(path, text)| after.get(path) == Some(text)), "{after:?}");
        let served = ["acme-odoo-a", "acme-cron", "acme-tunnel"];
        for call in world.engine.changes() {
            assert!(!served.iter().any(|name| call.split_whitespace().any(|word| word == *name)), "{call}");
        }
        world.edit(&format!("user: tunnel{change}"), "user: tunnel");
        *world.deaf.borrow_mut() = None;
        assert_eq!(world.run("up").code, 0);
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
        assert_eq!(tunnel_files(&world), before, "the others are swept");
    }
}

/// Another server behind the tunnel is found by the candidate too.
#[test]
fn a_tunnel_to_another_server_is_refused_while_all_work() {
    let world = World::with_server_elsewhere(&ssh());
    assert_eq!(world.run("up").code, 0);
    "712".clone_into(&mut world.server.identity.borrow_mut());
    world.edit("user: tunnel", "user: tunnel, port: 2222");
    let ran = world.run("up");
    assert_eq!(ran.code, 6, "{}", ran.talk);
    assert!(ran.talk.contains("system identifier 712, not 711"), "{}", ran.talk);
    assert_eq!(world.containers(), with_tunnel());
}

#[test]
fn a_site_gets_another_tunnel_its_first_one_and_none() {
    let world = World::with_server_elsewhere(&ssh());
    assert_eq!(world.run("up").code, 0);
    world.edit("user: tunnel", "user: tunnel, port: 2222");
    assert_eq!(world.run("up").code, 0);
    assert_eq!(world.containers(), with_tunnel());
    assert_eq!(tunnel_files(&world).len(), 2, "those of the old one are swept");
    let keys = ssh().replace("user: tunnel", "user: tunnel, port: 2222");
    for (from, to, tunnel) in [(keys.as_str(), "", false), ("  host: db.example.com\n", "ssh", true)] {
        let to = if to.is_empty() { String::new() } else { format!("{from}{}", ssh()) };
        world.edit(from, &to);
        let ran = world.run("up");
        assert_eq!(ran.code, 0, "{}", ran.talk);
        assert!(!ran.talk.contains("the site does not answer"), "{}", ran.talk);
        assert_eq!(world.containers().contains(&"acme-tunnel".to_owned()), tunnel);
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
    }
}

/// A first tunnel that leads nowhere is taken back, with all that was made for it.
#[test]
fn a_first_tunnel_that_leads_nowhere_is_taken_back() {
    let world = World::with_server_elsewhere("");
    assert_eq!(world.run("up").code, 0);
    let (containers, volumes) = (world.containers(), world.volumes());
    world.edit("  host: db.example.com\n", &format!("  host: db.example.com\n{}", ssh()));
    *world.deaf.borrow_mut() = Some("tunnel".to_owned());
    let ran = world.run("up");
    assert_eq!(ran.code, 6, "{}", ran.talk);
    assert_eq!((world.containers(), world.volumes()), (containers, volumes));
}

#[test]
fn no_secret_is_in_a_plan_a_journal_or_the_engine() {
    let world = World::with_server_elsewhere(&ssh());
    let shown = [world.run("--json up --dry-run").data, world.run("--verbose up").talk].concat();
    let journal = std::fs::read_to_string(world.file("state/journal.jsonl")).unwrap();
    let calls = world.engine.calls().join("\n");
    for name in ["database-password", "ssh/id_ed25519"] {
        let secret = std::fs::read_to_string(world.file("secrets").join(name)).unwrap();
        for (place, text) in [("output", &shown), ("journal", &journal), ("engine calls", &calls)] {
            assert!(!text.contains(secret.trim()), "{name} is in the {place}");
        }
    }
}

#[test]
fn a_password_that_odoo_conf_cannot_hold_is_refused() {
    let world = World::with_server_elsewhere("");
    std::fs::write(world.file("secrets/database-password"), "two words\n").unwrap();
    let ran = world.run("up");
    assert_eq!(ran.code, 2);
    assert!(ran.talk.contains("has a space"), "{}", ran.talk);
}
