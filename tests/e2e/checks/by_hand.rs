//! What people and engines do to a site behind the program's back.

use std::process::Command;

use serde_json::json;

use crate::engine::Engine;
use crate::http::Browser;
use crate::process::{run, until};
use crate::site::Site;

#[track_caller]
fn put_right(site: &Site) {
    site.up();
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    site.run(&["up", "--dry-run"]).ends(0).says("nothing to do");
}

pub fn removed(site: &Site) {
    let (cron, nginx) = (site.container("cron"), site.nginx_container());
    let together = [vec![site.odoo_container()], vec![cron, nginx], vec![site.container("front")]];
    for names in together.into_iter().chain([vec![site.container("postgres")]]) {
        for name in &names {
            site.engine.remove_by_force("container", name).ends(0);
        }
        let status = site.status().to_string();
        assert!(status.contains("absent"), "{names:?} is gone, and status says {status}");
        put_right(site);
    }
}

pub fn altered(site: &Site) {
    let network = site.container("net");
    let (cron, odoo) = (site.container("cron"), site.odoo_container());
    site.engine.call(&["stop", "--time", "30", &odoo]);
    site.engine.call(&["network", "disconnect", "--force", &network, &cron]);
    if site.engine == Engine::Docker {
        // Podman 4.3 has no way to change a policy.
        site.engine.call(&["update", "--restart", "no", &site.nginx_container()]);
    }
    put_right(site);
    let nginx = site.engine.inspect("container", &site.nginx_container());
    assert_eq!(nginx["HostConfig"]["RestartPolicy"]["Name"], site.engine.returning());
    let networks = &site.engine.inspect("container", &cron)["NetworkSettings"]["Networks"];
    assert!(networks.get(&network).is_some(), "{networks}");
    site.engine.call(&["pause", &site.nginx_container()]);
    put_right(site);
}

/// A worker that wants more than its container may have is killed alone: the server goes on and
/// starts another.
pub fn out_of_memory(site: &Site) {
    let odoo = site.odoo_container();
    let server = || site.engine.inspect("container", &odoo)["State"]["Pid"].clone();
    let before = server();
    site.engine.call(&["update", "--memory", "600m", "--memory-swap", "600m", &odoo]);
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let model = browser.model("ir.model", "search", &json!([[["model", "=", "res.partner"]]]), &json!({}));
    let code = "x = b'a' * (900 * 1024 * 1024)";
    let action = json!([{"name": "e2e", "model_id": model[0], "state": "code", "code": code}]);
    let action = browser.model("ir.actions.server", "create", &action, &json!({}));
    let run = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": {
        "model": "ir.actions.server", "method": "run", "args": [[action]], "kwargs": {}}});
    let path = "/web/dataset/call_kw/ir.actions.server/run";
    let json = ["--header", "Content-Type: application/json", "--data", &run.to_string()];
    assert_eq!(browser.ask(&browser.url(path), &json).status, 502);
    let counters = "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null";
    let counters = site.engine.attempt(&["exec", &odoo, "sh", "-c", counters]).text();
    assert!(counters.contains("oom_kill 1"), "{counters}");
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    assert_eq!(server(), before, "the server itself was killed");
    site.engine.remove_by_force("container", &odoo).ends(0);
    put_right(site);
}

/// Process 1 in two containers defeats postmaster.pid; the lock on the volume does not let two in.
pub fn second_postgres(site: &Site) {
    let first = site.container("postgres");
    let found = site.engine.inspect("container", &first);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let entrypoint = text(&found["Path"]);
    let rest: Vec<_> = found["Args"].as_array().expect("arguments").iter().map(text).collect();
    let image = text(&found["Image"]);
    let mut args = ["run", "--rm", "--network", "none", "--volumes-from", &first].to_vec();
    args.extend(["--entrypoint", &entrypoint, &image]);
    args.extend(rest.iter().map(String::as_str));
    site.engine.attempt(&args).ends(75).says("another PostgreSQL is running on this volume");
    assert_eq!(site.sql("select 1"), "1");
    assert_eq!(site.id_of(&first), text(&found["Id"]));
}

/// As after an engine restart in the least fortunate order.
pub fn reversed(site: &Site) {
    let order = site.five();
    site.engine.call(&[&["stop", "--time", "30"][..], &refs(&order)].concat());
    // nginx lives in the holder's network: the engine itself insists on the holder first.
    let starting =
        [site.container("cron"), site.odoo_container(), site.container("front"), site.nginx_container()];
    for name in starting.iter().chain([&site.container("postgres")]) {
        site.engine.call(&["start", name]);
    }
    comes_back(site);
    put_right(site);
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Without any command of ours.
pub fn comes_back(site: &Site) {
    let browser = Browser::new(site);
    until("the login page", 120, || {
        let answer = browser.attempt(&browser.url("/web/login"), &[]);
        (answer.succeeded() && answer.out.contains("--e2e--200 ")).then_some(())
    });
}

/// Disturbs everybody on the engine, so it must be asked for.
pub fn engine_restart(site: &Site) {
    if std::env::var_os("AUTOODOO_TEST_RESTART_ENGINE").is_none_or(|value| value != "1") {
        eprintln!("           AUTOODOO_TEST_RESTART_ENGINE is not 1: the engine is not restarted");
        return;
    }
    let script = |verb: &str| {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/engine"));
        command.args([verb, site.engine.word()]);
        run(command).ends(0);
    };
    script("stop");
    script("start");
    // Podman has no daemon whose end would stop containers.
    if site.engine == Engine::Docker && !nginx_was_given_up(site) {
        comes_back(site);
    }
    put_right(site);
}

/// Docker before 29 starts its containers in no order: where nginx comes before the container whose
/// network it joins, Docker leaves it at that (moby#50326) and only `up` starts it again.
fn nginx_was_given_up(site: &Site) -> bool {
    let version = site.engine.call(&["version", "--format", "{{.Server.Version}}"]);
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).expect("a version");
    let nginx = &site.engine.inspect("container", &site.nginx_container())["State"];
    let error = nginx["Error"].as_str().unwrap_or_default();
    let given_up = major < 29 && error.starts_with("cannot join network of a non running container");
    if given_up {
        eprintln!("           Docker {} started nginx too early and gave it up", version.trim());
    }
    given_up
}
