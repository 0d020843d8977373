//! odoo.conf for the stock image, by release.
//!
//! The format is strict: images of 14 to 16 read values with `cut -d" " -f3`, so each line is
//! `key = value` with one space on each side and no space inside the value.

use std::fmt::Write;

use serde::Serialize;

use crate::name::DbName;
use crate::secret::Secret;
use crate::site::release::Release;
use crate::stack::sizing::OdooSizes;

/// Where the socket directory is mounted in both containers.
pub const SOCKET_DIRECTORY: &str = "/var/run/postgresql";
/// The PostgreSQL role that Odoo connects as: no superuser, no createdb.
pub const DATABASE_ROLE: &str = "odoo";
pub const HTTP_PORT: u16 = 8069;
pub const EVENTED_PORT: u16 = 8072;

/// Which of a site's Odoo processes the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Answers requests and runs no scheduled actions, so that two can run side by side.
    Http,
    /// Runs scheduled actions and listens on nothing.
    Cron,
    /// One command: no server at all.
    Command,
}

/// Everything in odoo.conf that is not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OdooConf {
    pub release: Release,
    pub purpose: Purpose,
    pub database: DbName,
    pub sizing: OdooSizes,
}

/// What is secret in odoo.conf.
pub struct OdooSecrets<'a> {
    pub database_password: &'a Secret,
    /// passlib's hash of the database manager's password.
    pub master_password_hash: &'a Secret,
}

/// The file's text. It holds secrets: it may only go to a file of mode 0400 or 0600.
#[must_use]
pub fn odoo_conf(conf: &OdooConf, secrets: &OdooSecrets<'_>) -> Secret {
    let mut text = String::from("# Written by autoodoo; changes are overwritten.\n[options]\n");
    for (key, value) in options(conf, secrets) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    Secret::new(text)
}

fn options(conf: &OdooConf, secrets: &OdooSecrets<'_>) -> Vec<(&'static str, String)> {
    let sizing = &conf.sizing;
    let (workers, cron_threads, http) = match conf.purpose {
        Purpose::Http => (sizing.workers, 0, true),
        // One "worker" selects the multi-process server, whose cron processes obey the limits;
        // without HTTP it starts none that answers requests.
        Purpose::Cron => (1, sizing.cron_threads, false),
        Purpose::Command => (0, 0, false),
    };
    let mut options = vec![
        ("admin_passwd", secrets.master_password_hash.expose().to_owned()),
        ("data_dir", "/var/lib/odoo".to_owned()),
        ("addons_path", "/mnt/extra-addons".to_owned()),
        ("db_host", SOCKET_DIRECTORY.to_owned()),
        ("db_port", "5432".to_owned()),
        ("db_user", DATABASE_ROLE.to_owned()),
        ("db_password", secrets.database_password.expose().to_owned()),
        // Always db_name, never dbfilter: with dbfilter Odoo lists only databases that its role
        // owns, and without db_name no scheduled action runs.
        ("db_name", conf.database.to_string()),
        ("db_maxconn", sizing.db_maxconn.to_string()),
        ("list_db", "False".to_owned()),
        ("proxy_mode", "True".to_owned()),
        ("http_enable", python_bool(http)),
        ("http_interface", "0.0.0.0".to_owned()),
        ("http_port", HTTP_PORT.to_string()),
        (conf.release.evented_port_key(), EVENTED_PORT.to_string()),
        ("workers", workers.to_string()),
        ("max_cron_threads", cron_threads.to_string()),
    ];
    if conf.purpose != Purpose::Command {
        options.extend(limits(sizing, conf.release));
    }
    options
}

/// Sizes of the multi-process server. 17 lets the evented process have connections of its own
/// number, 18 memory.
fn limits(sizing: &OdooSizes, release: Release) -> Vec<(&'static str, String)> {
    let mut limits = vec![
        ("limit_memory_soft", sizing.limit_memory_soft),
        ("limit_memory_hard", sizing.limit_memory_hard),
        ("limit_request", sizing.limit_request.into()),
        ("limit_time_cpu", sizing.limit_time_cpu.into()),
        ("limit_time_real", sizing.limit_time_real.into()),
        ("limit_time_real_cron", sizing.limit_time_real_cron.into()),
    ];
    if release.number() >= 17 {
        limits.push(("db_maxconn_gevent", sizing.db_maxconn_gevent.into()));
    }
    if release.number() >= 18 {
        limits.push(("limit_memory_soft_gevent", sizing.limit_memory_soft_gevent));
        limits.push(("limit_memory_hard_gevent", sizing.limit_memory_hard_gevent));
    }
    limits.into_iter().map(|(key, value)| (key, value.to_string())).collect()
}

fn python_bool(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::sizing::{Capacity, Demand, size};

    fn rendered(release: u32, purpose: Purpose) -> String {
        let conf = OdooConf {
            release: Release::new(release).unwrap(),
            purpose,
            database: "acme".parse().unwrap(),
            sizing: size(
                Capacity { cpus: 4, memory_bytes: 8 << 30, rotational: false },
                Demand { users: 60, databases: 1, external_postgres: false },
            )
            .odoo,
        };
        let (database_password, hash) = (Secret::new("pw"), Secret::new("$pbkdf2-sha512$x"));
        let secrets = OdooSecrets { database_password: &database_password, master_password_hash: &hash };
        odoo_conf(&conf, &secrets).expose().to_owned()
    }

    #[test]
    fn http_of_19() {
        insta::assert_snapshot!(rendered(19, Purpose::Http));
    }

    #[test]
    fn cron_of_14() {
        insta::assert_snapshot!(rendered(14, Purpose::Cron));
    }

    #[test]
    fn every_line_suits_the_entrypoints_that_cut_by_space() {
        for release in Release::all() {
            for purpose in [Purpose::Http, Purpose::Cron, Purpose::Command] {
                for line in rendered(release.number(), purpose).lines().skip(2) {
                    assert_eq!(line.split(' ').count(), 3, "{line}");
                }
            }
        }
    }
}
