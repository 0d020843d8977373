//! PostgreSQL on a server that is not the site's: through TLS, and through ssh.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::checks::change::{self, keeps_its_word};
use crate::elsewhere::{Elsewhere, PASSWORD, ROLE};
use crate::http::Browser;
use crate::load::under_load;
use crate::process::{Run, until};
use crate::site::Site;

/// A site and the server that it uses.
pub struct Away {
    pub site: Site,
    pub server: Elsewhere,
}

impl Away {
    /// Points the site file to the server; `lines` are further keys of `postgres:`.
    fn point(&self, host: &str, lines: &str) {
        let keys = format!("  host: {host}\n  port: {}\n  user: {ROLE}\n{lines}", self.server.port);
        self.site.edit("  # host: db.example.com\n", &keys);
    }

    fn set_password(&self, password: &str) {
        let file = self.site.path("secrets/database-password");
        fs::write(file, format!("{password}\n")).expect("a secret of ours");
    }

    /// An `up` that is refused, with nothing left behind of a new site.
    #[track_caller]
    fn refused(&self, code: i32) -> Run {
        let up = self.site.run(&["up"]).ends(code);
        assert_eq!(self.site.things(), Vec::<String>::new(), "{up}");
        up
    }
}

/// Lines that `up` shows in a frame.
fn framed(up: &Run) -> Vec<String> {
    up.err.lines().filter_map(|line| line.trim_start().strip_prefix("| ")).map(str::to_owned).collect()
}

pub fn strange_certificate(away: &Away) {
    for file in ["ca.pem", "other-ca.pem", "client.pem", "client.key"] {
        fs::copy(away.server.path(file), away.site.path(file)).expect("files of ours");
    }
    away.point(away.server.address, "  sslmode: verify-full\n  ssl_root_cert: other-ca.pem\n");
    away.refused(1).says("was not signed by the CA");
    away.site.edit("ssl_root_cert: other-ca.pem", "ssl_root_cert: ca.pem");
}

pub fn wrong_password(away: &Away) {
    away.refused(1).says("does not accept the password of role acme").says("secrets/database-password");
    away.set_password(PASSWORD);
}

/// What is printed for the server's administrator is all that is needed.
pub fn missing_database(away: &Away) {
    let sql = framed(&away.refused(2).says("does not exist"));
    assert!(sql.first().is_some_and(|line| line.starts_with("CREATE DATABASE")), "{sql:?}");
    let (create, rest) = sql.split_at(1);
    away.server.administer(&create.join("\n"));
    let lacking = framed(&away.refused(2).says("lacks privileges"));
    assert_eq!(lacking, rest);
    away.server.administer(&rest.join("\n"));
}

pub fn strangers_database(away: &Away) {
    let database = &away.site.database;
    let stranger = format!("\\connect \"{database}\"\nCREATE TABLE precious (a int);");
    away.server.administer(&stranger);
    away.refused(2).says("is not empty").says("autoodoo import");
    assert_eq!(away.server.ask(database, "SELECT count(*) FROM precious"), "0");
    away.server.administer(&format!("\\connect \"{database}\"\nDROP TABLE precious;"));
}

/// Odoo has begun to fill the database; the next run knows that it was ours and begins again.
pub fn comes_up_killed(away: &Away) {
    let site = &away.site;
    let up = site.start(&["up"]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    until("the database is being filled", 120, || {
        let count = away.server.ask(&site.database, tables);
        count.parse::<u32>().is_ok_and(|count| count > 10).then_some(())
    });
    up.signal("KILL");
    drop(up.finish());
    site.up().says("was cut off");
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
}

pub fn nothing_of_ours(away: &Away) {
    let site = &away.site;
    let names = site.engine.of_site("container", site.name);
    assert!(!names.iter().any(|name| name.ends_with("-postgres")), "{names:?}");
    let volumes = site.engine.of_site("volume", site.name);
    assert!(!volumes.iter().any(|name| name.contains("-db-")), "{volumes:?}");
    site.run(&["restart", "postgres"]).ends(2).says("is not ours");
    site.run(&["logs", "postgres"]).ends(2).says("is not ours");
    site.run(&["psql", "--superuser"]).ends(2).says("is not ours");
    site.run(&["status"])
        .ends(0)
        .says(&format!("{}", away.server.port))
        .says_not("absent")
        .says_not("MISSING");
}

pub fn second_up(away: &Away) {
    change::nothing_to_do(&away.site);
}

/// Every session of Odoo and psql is encrypted, and its role is nobody's master.
pub fn encrypted(away: &Away) {
    let site = &away.site;
    let sessions = "SELECT bool_and(ssl) AND count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE usename = current_user";
    assert_eq!(psql(site, sessions), "t");
    let powers = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user";
    assert_eq!(psql(site, powers), "f");
    let script = "select nonsense;";
    site.run_with(&["psql", "-v", "ON_ERROR_STOP=1"], script).ends(3);
    site.run(&["odoo", "-u", "bus", "--stop-after-init"]).ends(0).says("Modules loaded");
}

fn psql(site: &Site, query: &str) -> String {
    site.run(&["psql", "-X", "-t", "-A", "-c", query]).ends(0).out.trim().to_owned()
}

/// Odoo's successor has the certificate, while the old one serves on.
pub fn client_certificate(away: &Away) {
    let site = &away.site;
    away.server.demand_certificate();
    site.run(&["psql", "-c", "select 1"]).ends(2).says("client certificate");
    site.edit(
        "ssl_root_cert: ca.pem\n",
        "ssl_root_cert: ca.pem\n  ssl_cert: client.pem\n  ssl_key: client.key\n",
    );
    let before = site.odoo_container();
    site.up();
    assert_ne!(site.odoo_container(), before);
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    let shown = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(site, shown), format!("/CN={ROLE}"));
}

pub fn data_stays_there(away: &Away) {
    let site = &away.site;
    let down = site.run(&["down", "--volumes", "--confirm", site.name]).ends(0);
    down.says("were left alone");
    away.refused(2).says("holds data that this site made");
    let users = away.server.ask(&site.database, "SELECT count(*) FROM res_users");
    assert!(users.parse::<u32>().is_ok_and(|users| users > 1), "{users}");
}

pub fn unknown_ssh_server(away: &Away) {
    let Away { site, server } = away;
    away.set_password(PASSWORD);
    // The server that ssh leads to is on the loopback interface there.
    let ssh =
        format!("  ssh:\n    host: {}\n    port: {}\n    user: root\n", server.address, server.ssh_port);
    away.point("127.0.0.1", &ssh);
    let shown = framed(&away.refused(2).says("is not known yet"));
    let key = server.host_key();
    assert!(shown.iter().any(|line| line.contains(&key)), "{shown:?} without {key}");
    let other = format!("SHA256:{}", "A".repeat(43));
    site.edit("    user: root\n", &format!("    user: root\n    host_key: '{other}'\n"));
    away.refused(1).says("does not have the key");
    site.edit(&other, &key);
}

pub fn unknown_key(away: &Away) {
    let refused = away.refused(1).says("does not accept the site's key");
    let line =
        refused.err.lines().find(|line| line.trim_start().starts_with("restrict,")).expect("a line to add");
    let line = line.trim();
    // A right that leads elsewhere is none.
    let port = away.server.port.to_string();
    away.server.authorise(&line.replace(&port, "1"));
    away.refused(1).says("administratively prohibited");
    away.server.authorise(line);
}

/// The database belongs to nobody yet: our role owns it, as some administrators like it.
pub fn older_client(away: &Away) {
    let Away { site, server } = away;
    server.administer(&format!(
        "CREATE DATABASE \"{}\" OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8';",
        site.database
    ));
    away.refused(2).says("set `postgres.image` in autoodoo.yaml to one of PostgreSQL 17");
    site.edit("postgres:15", "postgres:17");
}

pub fn through_the_tunnel(away: &Away) {
    let site = &away.site;
    site.up();
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    let from = "SELECT host(client_addr) FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(psql(site, from), "127.0.0.1");
    change::nothing_to_do(site);
}

/// The engine brings the tunnel back, and Odoo connects again.
pub fn broken_tunnel(away: &Away) {
    let site = &away.site;
    broken_connection(away);
    site.run(&["logs", "tunnel"]).ends(0).says("closed by remote host");
    change::nothing_to_do(site);
}

fn broken_connection(away: &Away) {
    let site = &away.site;
    away.server.cut_connections();
    thread::sleep(Duration::from_secs(1));
    until("the login page is back", 90, || {
        (Browser::new(site).get("/web/login").status == 200).then_some(())
    });
    let tunnel = site.engine.inspect("container", &site.container("tunnel"));
    assert_eq!(tunnel["State"]["Running"], true);
}

/// Nobody notices a change that cannot work, and the tunnel in use starts anew from its own files.
pub fn dead_ssh_port(away: &Away) {
    let Away { site, server } = away;
    let [good, dead] = [server.ssh_port, 9].map(|port| format!("    port: {port}\n"));
    let ids = all_ids(site);
    site.edit(&good, &dead);
    refused_unnoticed(site, "no ssh server answers");
    assert_eq!(all_ids(site), ids);
    broken_connection(away);
    site.edit(&dead, &good);
    site.up();
    assert_eq!(all_ids(site), ids, "going back is nothing to do");
    change::nothing_to_do(site);
}

fn refused_unnoticed(site: &Site, why: &str) {
    let seen = under_load(site, || {
        site.run(&["up"]).ends(6).says(why).says("still serves");
        // Enough visitors to tell, however soon it was refused.
        thread::sleep(Duration::from_secs(2));
    });
    seen.lost_nothing();
}

fn all_ids(site: &Site) -> Vec<String> {
    site.engine.of_site("container", site.name).iter().map(|name| site.id_of(name)).collect()
}

/// One that does not let the site in is found out beside the one in use; then it lets it in.
pub fn another_ssh_server(away: &Away) {
    let Away { site, server } = away;
    let (second, port) = server.second_sshd();
    let [here, there] = [server.ssh_port, port].map(|port| format!("    port: {port}\n"));
    let ids = all_ids(site);
    site.edit(&here, &there);
    refused_unnoticed(site, "does not accept the site's key");
    assert_eq!(all_ids(site), ids);
    second.authorise(&server.authorised());
    assert!(!keeps_its_word(site).is_zero(), "Odoo stops while its tunnel is replaced");
    change::nothing_to_do(site);
    site.edit(&there, &here);
    keeps_its_word(site);
}

/// Odoo's successor goes the other way, beside the old one.
pub fn without_tunnel(away: &Away) {
    let Away { site, server } = away;
    fs::copy(server.path("ca.pem"), site.path("ca.pem")).expect("files of ours");
    let text = site.read("autoodoo.yaml");
    let (_, rest) = text.split_once("  ssh:\n").expect("a tunnel");
    let lines: Vec<_> = rest.lines().take_while(|line| line.starts_with("    ")).collect();
    let ssh = format!("  ssh:\n{}\n", lines.join("\n"));
    let direct = format!("  host: {}\n", server.address);
    site.edit(&ssh, "  ssl_root_cert: ca.pem\n");
    site.edit("  host: 127.0.0.1\n", &direct);
    assert!(keeps_its_word(site).is_zero());
    assert!(!site.things().iter().any(|name| name.ends_with("-tunnel")));
    site.edit(&direct, "  host: 127.0.0.1\n");
    site.edit("  ssl_root_cert: ca.pem\n", &ssh);
    assert!(keeps_its_word(site).is_zero());
    change::nothing_to_do(site);
}

pub fn restarts(away: &Away) {
    let site = &away.site;
    site.run(&["restart", "tunnel"]).ends(0);
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    site.run(&["down"]).ends(0);
    site.up();
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
}
