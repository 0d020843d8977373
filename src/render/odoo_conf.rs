//! odoo.conf for the stock image, by release.
//!
//! The format is strict: images of 14 to 16 read values with `cut -d" " -f3`, so each line is
//! `key = value` with one space on each side and no space inside the value.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::name::DbName;
use crate::render::libpq::{Certificates, Endpoint};
use crate::secret::Secret;
use crate::site::release::Release;
use crate::site::value::{OptionKey, OptionValue};
use crate::site::{Smtp, SmtpEncryption};
use crate::stack::sizing::OdooSizes;

/// Where the socket directory is mounted in both containers.
pub const SOCKET_DIRECTORY: &str = "/var/run/postgresql";
/// The same directory as a mount must name it: /var/run is a symbolic link in the images, and Podman
/// 4.3 follows it on the host when it fills a new volume from the image.
pub const SOCKET_MOUNT: &str = "/run/postgresql";
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
    pub endpoint: Endpoint,
    /// One, but for scheduled actions, which serve all.
    pub databases: Vec<DbName>,
    pub sizing: OdooSizes,
    /// Odoo's database manager may be shown.
    pub list_databases: bool,
    pub smtp: Option<Smtp>,
    /// The user's own lines; none of a key that is written here, but for sizes.
    pub options: BTreeMap<OptionKey, OptionValue>,
}

/// What is secret in odoo.conf.
pub struct OdooSecrets<'a> {
    pub database_password: &'a Secret,
    /// passlib's hash of the database manager's password.
    pub master_password_hash: &'a Secret,
    /// At the mail server.
    pub smtp_password: Option<&'a Secret>,
    /// They lie beside odoo.conf, which cannot name them.
    pub certificates: &'a Certificates,
}

/// The file's text. It holds secrets: it may only go to a file of mode 0400 or 0600.
#[must_use]
pub fn odoo_conf(conf: &OdooConf, secrets: &OdooSecrets<'_>) -> Secret {
    let mut text = String::from("# Written by autoodoo; changes are overwritten.\n[options]\n");
    for (key, value) in with_own_options(options(conf, secrets), &conf.options) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    Secret::new(text)
}

/// The user's values take the place of ours (`site::option` lets only sizes through) or come last.
fn with_own_options<'a>(
    ours: Vec<(&'a str, String)>,
    own: &'a BTreeMap<OptionKey, OptionValue>,
) -> Vec<(&'a str, String)> {
    let is_own = |key: &str| own.keys().any(|own| own.as_str() == key);
    let kept = ours.into_iter().filter(|(key, _)| !is_own(key));
    kept.chain(own.iter().map(|(key, value)| (key.as_str(), value.to_string()))).collect()
}

fn options(conf: &OdooConf, secrets: &OdooSecrets<'_>) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("admin_passwd", secrets.master_password_hash.expose().to_owned()),
        ("data_dir", "/var/lib/odoo".to_owned()),
        ("addons_path", "/mnt/extra-addons".to_owned()),
    ];
    options.extend(database(conf, secrets));
    options.extend(server(conf));
    if conf.purpose != Purpose::Command {
        options.extend(limits(&conf.sizing, conf.release));
    }
    if let Some(smtp) = &conf.smtp {
        options.extend(mail(smtp, secrets.smtp_password));
    }
    options
}

fn database(conf: &OdooConf, secrets: &OdooSecrets<'_>) -> Vec<(&'static str, String)> {
    let databases: Vec<&str> = conf.databases.iter().map(DbName::as_str).collect();
    let endpoint = &conf.endpoint;
    let mut options = vec![
        ("db_host", endpoint.host.clone()),
        ("db_port", endpoint.port.to_string()),
        ("db_user", endpoint.user.clone()),
        ("db_password", secrets.database_password.expose().to_owned()),
        // Always db_name, never dbfilter: with dbfilter Odoo lists only databases that its role
        // owns, and without db_name no scheduled action runs.
        ("db_name", databases.join(",")),
        ("db_maxconn", db_maxconn(conf).to_string()),
        ("list_db", python_bool(conf.list_databases)),
    ];
    options.extend(endpoint.sslmode.map(|mode| ("db_sslmode", mode.word().to_owned())));
    options
}

/// Before 17 the evented process has no limit of its own and needs the larger one; workers then may
/// open more, and do not: each answers one request at a time.
fn db_maxconn(conf: &OdooConf) -> u32 {
    let sizing = &conf.sizing;
    match (conf.purpose, conf.release.number()) {
        (Purpose::Http, ..=16) => sizing.db_maxconn.max(sizing.db_maxconn_gevent),
        _ => sizing.db_maxconn,
    }
}

fn server(conf: &OdooConf) -> Vec<(&'static str, String)> {
    let sizing = &conf.sizing;
    let (workers, cron_threads, http) = match conf.purpose {
        Purpose::Http => (sizing.workers, 0, true),
        // One "worker" selects the multi-process server, whose cron processes obey the limits;
        // without HTTP it starts none that answers requests.
        Purpose::Cron => (1, sizing.cron_threads, false),
        Purpose::Command => (0, 0, false),
    };
    let mut options = vec![
        ("proxy_mode", "True".to_owned()),
        ("http_enable", python_bool(http)),
        ("http_interface", "0.0.0.0".to_owned()),
        ("http_port", HTTP_PORT.to_string()),
        (conf.release.evented_port_key(), EVENTED_PORT.to_string()),
        ("workers", workers.to_string()),
        ("max_cron_threads", cron_threads.to_string()),
    ];
    if http && conf.release.has_x_accel() {
        // nginx sends attachments: a worker of Odoo would be busy for as long as the client reads.
        options.push(("x_sendfile", python_bool(true)));
    }
    options
}

/// The mail server of last resort: Odoo asks it when none is set up in its own settings.
fn mail(smtp: &Smtp, password: Option<&Secret>) -> Vec<(&'static str, String)> {
    let starttls = smtp.encryption == SmtpEncryption::StartTls;
    let mut options = vec![
        ("smtp_server", smtp.host.to_string()),
        ("smtp_port", smtp.port.to_string()),
        ("smtp_ssl", python_bool(starttls)),
    ];
    options.extend(smtp.user.as_ref().map(|user| ("smtp_user", user.to_string())));
    options.extend(password.map(|password| ("smtp_password", password.expose().to_owned())));
    options.extend(smtp.from.as_ref().map(|from| ("email_from", from.to_string())));
    options.extend(smtp.from_filter.as_ref().map(|filter| ("from_filter", filter.to_string())));
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
        text(&conf(release, purpose))
    }

    fn conf(release: u32, purpose: Purpose) -> OdooConf {
        OdooConf {
            release: Release::new(release).unwrap(),
            purpose,
            endpoint: Endpoint::of(&crate::site::parse::site("name: acme\ndomain: a.b").unwrap().postgres),
            databases: vec!["acme".parse().unwrap()],
            sizing: size(
                Capacity { cpus: 4, memory_bytes: 8 << 30, rotational: false },
                Demand { users: 60, databases: 1, external_postgres: false },
            )
            .odoo,
            list_databases: false,
            smtp: None,
            options: BTreeMap::new(),
        }
    }

    fn text(conf: &OdooConf) -> String {
        let (password, hash) = (Secret::new("pw"), Secret::new("$pbkdf2-sha512$x"));
        let secrets = OdooSecrets {
            database_password: &password,
            master_password_hash: &hash,
            smtp_password: Some(&password),
            certificates: &Certificates::default(),
        };
        odoo_conf(conf, &secrets).expose().to_owned()
    }

    #[test]
    fn own_options_take_the_place_of_sizes_and_come_last() {
        let mut conf = conf(19, Purpose::Http);
        conf.options = [("limit_time_real", "7200"), ("log_level", "debug")]
            .map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()))
            .into();
        let text = text(&conf);
        assert_eq!(text.matches("limit_time_real = ").count(), 1);
        assert!(text.ends_with("limit_time_real = 7200\nlog_level = debug\n"), "{text}");
    }

    #[test]
    fn mail_server() {
        let mail = |filter: &str| {
            let keys = format!("smtp: {{ host: mail.b, user: u@b, from: o@b.c{filter} }}");
            let site = crate::site::parse::site(format!("name: acme\ndomain: a.b\n{keys}")).unwrap();
            let mut conf = conf(19, Purpose::Http);
            conf.smtp.clone_from(&site.smtp);
            text(&conf).split_once("smtp_server").unwrap().1.to_owned()
        };
        let common = " = mail.b\nsmtp_port = 587\nsmtp_ssl = True\nsmtp_user = u@b\n\
                      smtp_password = pw\nemail_from = o@b.c\n";
        assert_eq!(mail(""), common);
        assert_eq!(mail(", from_filter: b.c"), format!("{common}from_filter = b.c\n"));
    }

    #[test]
    fn scheduled_actions_serve_every_database() {
        let mut conf = conf(19, Purpose::Cron);
        conf.databases.push("shop".parse().unwrap());
        assert!(text(&conf).contains("\ndb_name = acme,shop\n"));
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
