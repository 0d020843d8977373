//! The groups that a site may do without: as they are, or as an example in comments.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::{scalar, text};
use crate::site::value::{Cidr, Memory, OptionKey, OptionValue};
use crate::site::{Database, External, Limits, Manager, Proxy, Smtp, SmtpEncryption};

/// `key: value` lines, each behind `indent`.
fn lines<'a>(indent: &str, pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    pairs.into_iter().fold(String::new(), |mut text, (key, value)| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{indent}{key}: {value}");
        }
        text
    })
}

fn quoted(text: &str) -> String {
    scalar(text).into_owned()
}

fn path(path: &Path) -> String {
    quoted(&text(path))
}

pub(super) fn databases(databases: &[Database]) -> String {
    const HEAD: &str = "\
# Databases beside the first, each with names of its own and an Odoo of its own.
";
    if databases.is_empty() {
        return format!(
            "{HEAD}# databases:\n#   - {{ name: shop, domain: shop.example.com, aliases: [] }}\n"
        );
    }
    let items: String = databases.iter().map(database).collect();
    format!("{HEAD}databases:\n{items}")
}

fn database(database: &Database) -> String {
    let aliases: Vec<_> = database.aliases.iter().map(|alias| scalar(alias.as_str())).collect();
    format!(
        "  - name: {}\n    domain: {}\n    aliases: [{}]\n",
        scalar(database.name.as_str()),
        scalar(database.domain.as_str()),
        aliases.join(", ")
    )
}

pub(super) fn limits(limits: &Limits) -> String {
    const HEAD: &str = "\
# What this site may use of the machine; all of it when left out. Several sites share a machine so.
";
    if *limits == Limits::default() {
        return format!("{HEAD}# limits: {{ cpus: 2, memory: 4G }}\n");
    }
    let keys = [
        ("cpus", limits.cpus.map(|cpus| cpus.to_string())),
        ("memory", limits.memory_bytes.map(|bytes| Memory(bytes).to_string())),
    ];
    format!("{HEAD}limits:\n{}", lines("  ", keys))
}

pub(super) fn options(options: &BTreeMap<OptionKey, OptionValue>) -> String {
    const HEAD: &str = "  # Further lines of odoo.conf, as Odoo writes them.\n";
    if options.is_empty() {
        return format!("{HEAD}  # options: {{ limit_time_real: 3600 }}\n");
    }
    let keys = options.iter().map(|(key, value)| (key.as_str(), Some(quoted(value.as_str()))));
    format!("{HEAD}  options:\n{}", lines("    ", keys))
}

pub(super) fn smtp(smtp: Option<&Smtp>) -> String {
    const HEAD: &str = "\
# The mail server to hand mail to. Its password goes into the file secrets/smtp-password.
";
    let Some(smtp) = smtp else {
        return format!(
            "{HEAD}# smtp: {{ host: mail.example.com, port: 587, encryption: starttls, user: odoo@example.com }}\n"
        );
    };
    let encryption = match smtp.encryption {
        SmtpEncryption::None => "none",
        SmtpEncryption::StartTls => "starttls",
    };
    let keys = [
        ("host", Some(quoted(smtp.host.as_str()))),
        ("port", Some(smtp.port.to_string())),
        ("encryption", Some(encryption.to_owned())),
        ("user", smtp.user.as_ref().map(|user| quoted(user.as_str()))),
        ("from", smtp.from.as_ref().map(|from| quoted(from.as_str()))),
        ("from_filter", smtp.from_filter.as_ref().map(|filter| quoted(filter.as_str()))),
    ];
    format!("{HEAD}smtp:\n{}", lines("  ", keys))
}

pub(super) fn external(external: Option<&External>) -> String {
    const HEAD: &str = "  \
  # A PostgreSQL server elsewhere in place of a container; the image is then used for its client
  # programs. The password of the role `user` goes into the file secrets/database-password.
  # sslmode: disable, prefer, require, verify-ca or verify-full, as libpq has them.
";
    let Some(external) = external else {
        return format!(
            "{HEAD}  # host: db.example.com\n  # port: 5432\n  # user: odoo\n  # sslmode: verify-full\n  \
             # ssl_root_cert: certs/db-ca.pem\n  # The way there may lead through ssh:\n  \
             # ssh: {{ host: db.example.com, port: 22, user: tunnel, host_key: 'SHA256:…' }}\n"
        );
    };
    let client = external.client.as_ref();
    let sslmode = external.ssh.is_none().then(|| external.sslmode.word().to_owned());
    let keys = [
        ("host", Some(quoted(external.host.as_str()))),
        ("port", Some(external.port.to_string())),
        ("user", Some(quoted(external.user.as_str()))),
        ("sslmode", sslmode),
        ("ssl_root_cert", external.root_certificate.as_deref().map(path)),
        ("ssl_cert", client.map(|client| path(&client.certificate))),
        ("ssl_key", client.map(|client| path(&client.key))),
    ];
    let mut text = format!("{HEAD}{}", lines("  ", keys));
    if let Some(ssh) = &external.ssh {
        let keys = [
            ("host", Some(quoted(ssh.host.as_str()))),
            ("port", Some(ssh.port.to_string())),
            ("user", Some(quoted(ssh.user.as_str()))),
            ("host_key", ssh.host_key.as_ref().map(|key| quoted(key.as_str()))),
        ];
        text.push_str("  ssh:\n");
        text.push_str(&lines("    ", keys));
    }
    text
}

pub(super) fn manager(manager: &Manager) -> String {
    const HEAD: &str = "\
# Networks from which Odoo's database manager may be opened (`allow`), or its list of databases
# alone (`selector`). While one is given Odoo lists its databases (list_db), JSON-RPC is answered
# for `allow` only, and with `allow` Odoo's role may create databases. Nobody may by default.
";
    if !manager.is_open() {
        return format!("{HEAD}# database_manager: {{ allow: [192.0.2.0/24], selector: [] }}\n");
    }
    let keys = [("allow", Some(networks(&manager.allow))), ("selector", Some(networks(&manager.selector)))];
    format!("{HEAD}database_manager:\n{}", lines("  ", keys))
}

pub(super) fn proxy(proxy: Option<&Proxy>) -> String {
    const HEAD: &str = "\
# A CDN or web application firewall in front of this site: only its networks are answered, and the
# client's address is taken from its header.
";
    let Some(proxy) = proxy else {
        return format!("{HEAD}# proxy: {{ trusted: [192.0.2.0/24], header: X-Forwarded-For }}\n");
    };
    let keys = [("trusted", Some(networks(&proxy.trusted))), ("header", Some(quoted(proxy.header.as_str())))];
    format!("{HEAD}proxy:\n{}", lines("  ", keys))
}

fn networks(networks: &[Cidr]) -> String {
    let items: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
    format!("[{}]", items.join(", "))
}
