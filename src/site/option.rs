//! Keys of odoo.conf that a site file may not set under `odoo.options`, and what to use instead.

/// What to do instead of setting this key; `None` when it is the user's to set.
#[must_use]
pub fn instead(key: &str) -> Option<&'static str> {
    OWNED
        .iter()
        .find(|(keys, _)| keys.contains(&key))
        .map(|(_, instead)| *instead)
        .or_else(|| key.starts_with("smtp_").then_some(MAIL))
}

const MAIL: &str = "mail is set up under `smtp:`; its password is kept in secrets/smtp-password";

/// The sizes of `limit_*` are not here: who knows better may set them.
const OWNED: [(&[&str], &str); 9] = [
    (
        &["db_host", "db_port", "db_user", "db_password", "db_sslmode"],
        "where the database is follows from `postgres:`",
    ),
    (
        &["db_name", "dbfilter", "list_db", "db_template"],
        "the databases follow from `database:` and `databases:`, who sees the manager from `database_manager:`",
    ),
    (
        &["workers", "max_cron_threads", "db_maxconn", "db_maxconn_gevent"],
        "PostgreSQL's connections are counted from it: change `users:` or `limits:`",
    ),
    (
        &[
            "http_enable",
            "http_interface",
            "http_port",
            "longpolling_port",
            "gevent_port",
            "proxy_mode",
            "x_sendfile",
            "xmlrpc",
            "xmlrpc_interface",
            "xmlrpc_port",
            "xmlrpcs",
            "netrpc",
        ],
        "nginx reaches Odoo by it",
    ),
    (&["admin_passwd"], "the manager's password is made by autoodoo and kept in secrets/master-password"),
    (&["data_dir", "addons_path"], "the volumes are mounted there"),
    (&["logfile", "syslog", "pidfile"], "the engine keeps the log; `autoodoo logs odoo` shows it"),
    (
        &[
            "init",
            "update",
            "reinit",
            "stop_after_init",
            "save",
            "config",
            "load_language",
            "language",
            "test_enable",
            "test_file",
            "test_tags",
            "import_partial",
            "without_demo",
            "with_demo",
            "demo",
        ],
        "it would be done at every start: run it once with `autoodoo odoo …`",
    ),
    (&["email_from", "from_filter"], MAIL),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::value::OptionKey;

    #[test]
    fn owned_keys_are_keys_and_limits_are_free() {
        for key in OWNED.iter().flat_map(|(keys, _)| *keys) {
            assert!(key.parse::<OptionKey>().is_ok(), "{key}");
        }
        assert!(instead("smtp_ssl_certificate_filename").is_some());
        for free in ["limit_time_real", "limit_memory_hard", "log_level", "server_wide_modules", "unaccent"] {
            assert_eq!(instead(free), None);
        }
    }
}
