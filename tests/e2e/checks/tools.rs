//! The commands that look into a running site or work in it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::http::Browser;
use crate::process::until;
use crate::site::Site;

pub fn status(site: &Site) {
    let status = site.status();
    assert_eq!(status["site"], site.name);
    assert_eq!(status["url"], format!("https://{}:{}", site.domain, site.https));
    let services = status["services"].as_array().expect("services");
    let running = services.iter().filter(|service| service["state"] == "running").count();
    assert_eq!((services.len(), running), (5, 5), "{status}");
    let text = site.run(&["status"]).ends(0).says("SERVICE").says(&format!("https://{}", site.domain)).out;
    assert_eq!(text.matches("running").count(), 5, "{text}");
    for volume in ["db-1", "web-1"] {
        assert!(text.contains(&site.container(volume)), "{text}");
    }
}

pub fn logs(site: &Site) {
    Browser::new(site).get("/e2e-logs");
    // nginx keeps records for a second before it writes them.
    let nginx = until("the record", 10, || {
        let nginx = site.run(&["logs", "nginx"]).ends(0);
        nginx.text().contains("/e2e-logs").then_some(nginx)
    });
    nginx.says_not(" | ");
    site.run(&["logs"]).ends(0).says("postgres").says("nginx-a").says("odoo-").says("cron");
    site.run(&["logs", "postgres"]).ends(0).says("database system is ready");
    site.run(&["logs", "--since", "1h", "nginx"]).ends(0).says("e2e-logs");
    let later = site.run(&["logs", "--since", "2099-01-01T00:00:00Z", "nginx"]).ends(0);
    assert_eq!(later.out, "");
    assert_eq!(site.run(&["logs", "-n", "1", "nginx"]).ends(0).out.lines().count(), 1);
    site.run(&["logs", "--since", "yesterday", "nginx"]).ends(2).says("yesterday");
}

pub fn follows_logs(site: &Site) {
    let mut command = site.command(&["logs", "--follow", "--tail", "1", "nginx"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (line, read) = channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|text| line.send(text)));
    let next = || read.recv_timeout(Duration::from_secs(30));
    let known = next();
    Browser::new(site).get("/e2e-follow");
    let mut news = std::iter::from_fn(|| next().ok());
    let seen = news.any(|line| line.contains("e2e-follow"));
    let goes_on = child.try_wait().expect("a child can be asked").is_none();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(known.is_ok() && seen && goes_on, "known {known:?}, seen {seen}, goes on {goes_on}");
}

pub fn psql(site: &Site) {
    let who = "select current_user || ' in ' || current_database()";
    let odoo = site.run(&["psql", "-X", "-t", "-A", "-c", who]).ends(0);
    assert_eq!(odoo.out.trim(), format!("odoo in {}", site.database));
    let superuser = site.run(&["psql", "--superuser", "-X", "-t", "-A", "-c", who]).ends(0);
    assert_eq!(superuser.out.trim(), format!("postgres in {}", site.database));
    let script = "create table e2e_note (text text);\ninsert into e2e_note values ('kept');\n";
    site.run_with(&["psql", "-v", "ON_ERROR_STOP=1"], script).ends(0);
    let owner = "select tableowner from pg_tables where tablename = 'e2e_note'";
    assert_eq!(site.sql(owner), "odoo");
    site.run(&["psql", "-c", "select 1/0"]).ends(1).says("division by zero");
    site.run_with(&["psql", "-v", "ON_ERROR_STOP=1"], "select nonsense;").ends(3);
    site.run(&["psql", "-c", "create role e2e"]).ends(1).says("permission denied");
}

pub fn shell(site: &Site) {
    let script = "print('e2e owner', env['res.users'].search([('login', '=', 'owner')]).login)\n\
                  print('e2e in', env.cr.dbname)\n";
    let shell = site.run_with(&["shell"], script).ends(0).says("e2e owner owner");
    shell.says(&format!("e2e in {}", site.database));
    no_sessions(site);
}

pub fn odoo(site: &Site) {
    let version = site.run(&["odoo", "--version"]).ends(0);
    assert!(version.out.contains(&format!("{}.0", site.release)), "{version}");
    site.run(&["odoo", "--e2e-no-such-option"]).ends(2).says("e2e-no-such-option");
    site.run(&["odoo", "-u", "bus", "--stop-after-init"]).ends(0).says("Modules loaded");
    no_sessions(site);
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
}

pub fn no_sessions(site: &Site) {
    // An engine removes a container that removes itself a moment after it has ended.
    until("the session's container is removed", 10, || {
        let found = site.engine.of_site("container", site.name);
        (!found.iter().any(|name| name.contains("-helper-"))).then_some(())
    });
}

pub fn restart(site: &Site) {
    let started = |service: &str| {
        let name = if service == "odoo" { site.odoo_container() } else { site.container(service) };
        site.engine.inspect("container", &name)["State"]["StartedAt"].to_string()
    };
    let (odoo, cron, postgres) = (started("odoo"), started("cron"), started("postgres"));
    site.run(&["restart", "cron"]).ends(0);
    assert_ne!(started("cron"), cron);
    assert_eq!(started("odoo"), odoo);
    site.run(&["restart"]).ends(0).says("is up");
    assert_ne!(started("odoo"), odoo);
    assert_ne!(started("postgres"), postgres);
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    site.run(&["restart", "oddo"]).ends(2).says("odoo");
}
