//! `autoodoo.yaml` with a comment at every key, so that the file is its own manual.

mod backup;
mod further;
mod tls;

use std::borrow::Cow;
use std::path::Path;

use crate::site::value::{Memory, version_in_tag};
use crate::site::{Listen, Nginx, Odoo, Postgres, Site};

/// The whole file. Reading it back gives the same site: every default is written out.
#[must_use]
pub fn site_file(site: &Site) -> String {
    [
        head(site),
        further::databases(&site.further),
        further::limits(&site.limits),
        odoo(&site.odoo),
        further::smtp(site.smtp.as_ref()),
        postgres(&site.postgres),
        nginx(&site.nginx),
        further::manager(&site.manager),
        further::proxy(site.proxy.as_ref()),
        listen(&site.listen),
        tls::tls(&site.tls, site.tls_profile),
        backup::backup(&site.backup),
    ]
    .join("\n")
}

fn head(site: &Site) -> String {
    let aliases: Vec<Cow<str>> = site.aliases.iter().map(|alias| scalar(alias.as_str())).collect();
    format!(
        "\
# What this site should be. Change it and run `autoodoo up`: only what depends on the change is
# replaced. `autoodoo up --dry-run` tells what would be done.

# The version of this file's format.
version: 1

# The prefix of every volume, network and container of the site. Do not change it afterwards.
name: {name}

# The name that people type into the browser; links in Odoo's mails use it.
domain: {domain}

# Further names that answer with the same site, such as [www.example.com, example.com].
aliases: [{aliases}]

# The database in PostgreSQL.
database: {database}

# How many people work with Odoo at the same time of day (1 to 100000); sizes follow from it.
users: {users}
",
        name = scalar(site.name.as_str()),
        domain = scalar(site.domain.as_str()),
        aliases = aliases.join(", "),
        database = scalar(site.database.as_str()),
        users = site.users,
    )
}

fn odoo(odoo: &Odoo) -> String {
    let country = match &odoo.country {
        Some(country) => format!("country: {}", scalar(country.as_str())),
        None => "# country: FR".to_owned(),
    };
    format!(
        "\
odoo:
  # Odoo's image. Its tag tells the release, as 19.0 does.
  image: {image}
  # The release, 14 to 19. Needed only when the tag does not tell it.
  {release}
  # The next three count once, when the database is made.
  # The login of the first user. Its password is random and kept in secrets/.
  admin_login: {login}
  # The first user's language, as Odoo writes it.
  language: {language}
  # The company's country in two letters; it decides the currency and the time zone.
  {country}
{options}",
        image = scalar(odoo.image.as_str()),
        release = version_key("release", odoo.release.number(), version_in_tag(&odoo.image)),
        login = scalar(odoo.admin_login.as_str()),
        language = scalar(odoo.language.as_str()),
        options = further::options(&odoo.options),
    )
}

fn postgres(postgres: &Postgres) -> String {
    format!(
        "\
postgres:
  # PostgreSQL's image. Its tag tells the major version.
  image: {image}
  # The major version, 10 to 18. Needed only when the tag does not tell it.
  {major}
{external}",
        image = scalar(postgres.image.as_str()),
        major = version_key("major", postgres.major, version_in_tag(&postgres.image)),
        external = further::external(postgres.external.as_ref()),
    )
}

fn nginx(nginx: &Nginx) -> String {
    format!(
        "\
nginx:
  # The reverse proxy's image.
  image: {image}
  # The largest file that can be sent to Odoo, from 1M to 100G. Odoo 17 and newer has a limit of its
  # own besides, 128 MB: the system parameter web.max_file_upload_size, in bytes.
  upload_limit: {limit}
  # With a publicly trusted certificate browsers insist on https for a year (HSTS); with `true`
  # for every name below the site's, too.
  hsts_subdomains: {subdomains}
",
        image = scalar(nginx.image.as_str()),
        limit = Memory(u64::from(nginx.upload_limit_mib) << 20),
        subdomains = nginx.hsts_subdomains,
    )
}

/// The key when it is needed, else an example of it.
fn version_key(key: &str, number: u32, told: Option<u32>) -> String {
    let comment = if told.is_some() { "# " } else { "" };
    format!("{comment}{key}: {number}")
}

fn listen(listen: &Listen) -> String {
    format!(
        "\
listen:
  # The address of this host to publish on: 0.0.0.0 for all, 127.0.0.1 for this host only.
  address: {address}
  # The port that redirects to https.
  http: {http}
  # The port that serves Odoo.
  https: {https}
",
        address = scalar(&listen.address.to_string()),
        http = listen.http,
        https = listen.https,
    )
}

/// A site's paths were text before; nothing is lost.
fn text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// A YAML scalar that every reader, of YAML 1.1 too, takes for this text. Plain when that is sure.
fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) { Cow::Borrowed(text) } else { Cow::Owned(quoted(text)) }
}

fn is_plain(text: &str) -> bool {
    const READ_AS_SOMETHING_ELSE: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let ipv4 = text.split('.').count() == 4 && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let safe_start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') || ipv4;
    safe_start
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:@+-".contains(c))
        && !READ_AS_SOMETHING_ELSE.contains(&text.to_ascii_lowercase().as_str())
}

/// YAML 1.2.2, section 5.7. Control characters do not occur: no value of a site has them.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::parse;

    fn site(text: &str) -> Site {
        parse::site(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    /// Reads back what is written, for every combination of the values of `table`.
    fn round_trip(names: &[&str], databases: &[&str], rests: &[&str]) {
        for name in names {
            for database in databases {
                for rest in rests {
                    let text =
                        format!("name: '{name}'\ndomain: odoo.example.com\ndatabase: '{database}'\n{rest}");
                    let first = site(&text);
                    let written = site_file(&first);
                    assert_eq!(site(&written), first, "{written}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_site() {
        round_trip(
            &["acme", "on", "null", "true", "y2"],
            &["on", "019", "1e5", "0x1F", "1_000", "12.5", "2026-01-01", "null", "True", "NO", "a.b-c_d"],
            &[
                "",
                "users: 100000",
                "aliases: [a.example.com, b.example.com, null.example, 1.no]",
                "odoo: { image: 'acme/odoo:latest', release: 14 }\npostgres: { image: 'pg@sha256:\
                 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', major: 12 }",
                "odoo: { image: 'localhost:5000/odoo:17.0-2026', country: NO, language: nb_NO, admin_login: 'on' }",
                "odoo: { admin_login: '@jo', language: sr@latin, country: XK }",
                "listen: { address: '::', http: 8080, https: 8443 }",
                "listen: { address: '::1' }",
                "listen: { address: 127.0.0.1 }",
                "nginx: { image: 'nginx' }",
                "tls: { mode: files, certificate: '/a b/#c: \"d\".pem', key: 'C:\\k' }",
                "tls: { mode: files, certificate: '- x', key: '~' }",
                "tls: { mode: files, certificate: 'é.pem', key: 'key:' }",
                "tls: { mode: files, profile: modern }",
                "tls: { mode: acme }",
                "tls: { mode: acme, acme: { email: a@b.example, directory: 'https://ca.example:14000/dir', ca: ca.pem, \
                 agree_tos: true, profile: shortlived, key_type: rsa3072, eab_kid: 'kid:#1', \
                 resolvers: ['127.0.0.1:5353', '[::1]:53'] } }",
                "tls: { mode: acme, acme: { directory: letsencrypt-staging, challenge: dns-01, dns_hook: ./hook, \
                 names: ['*.example.com', example.com] } }",
                "limits: { cpus: 2, memory: 1536M }\nnginx: { upload_limit: 2G, hsts_subdomains: true }",
                "databases:\n- { name: shop, domain: shop.example.com }\n\
                 - { name: '19', domain: b.example.com, aliases: [c.example.com, d.example.com] }",
                "odoo: { options: { limit_time_real: 3600, server_wide_modules: 'base,web', x: 'a: \"b\" # c' } }",
                "smtp: { host: mail.example.com }",
                "smtp: { host: 192.0.2.1, port: 25, encryption: none, user: 'odoo@example.com', from: a@b.c, from_filter: b.c }",
                "postgres: { host: db.example.com }",
                "postgres: { host: db, port: 5433, user: acme, sslmode: verify-ca, ssl_root_cert: ca.pem, \
                 ssl_cert: c.pem, ssl_key: c.key }",
                "postgres: { host: 127.0.0.1, ssh: { host: db.example.com, user: tunnel, port: 2222, \
                 host_key: 'SHA256:uNiVztksCsDhcc0u9e8BrHYl4ApXMzYoKcQnOr8lZ4g' } }",
                "database_manager: { allow: [192.0.2.0/24, '2001:db8::/32'], selector: [10.0.0.1] }",
                "proxy: { trusted: [192.0.2.0/24] }",
                "proxy: { trusted: ['2001:db8::1'], header: CF-Connecting-IP }",
            ],
        );
    }

    #[test]
    fn values_are_quoted_only_where_yaml_would_misread_them() {
        for plain in
            ["acme", "odoo.example.com", "docker.io/library/odoo:19.0", "0.0.0.0", "sr@latin", "/etc/x"]
        {
            assert_eq!(scalar(plain), plain);
        }
        for unsafe_plain in
            ["on", "No", "019", "1.5", "::1", "~", "a: b", "a #b", "key:", "@jo", "", "-x", "1:20"]
        {
            assert!(scalar(unsafe_plain).starts_with('"'), "{unsafe_plain}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a whole file")]
    fn the_file_explains_itself() {
        let file = site_file(&site("name: acme\ndomain: odoo.example.com\nusers: 10"));
        insta::assert_snapshot!(file, @r#"
        # What this site should be. Change it and run `autoodoo up`: only what depends on the change is
        # replaced. `autoodoo up --dry-run` tells what would be done.

        # The version of this file's format.
        version: 1

        # The prefix of every volume, network and container of the site. Do not change it afterwards.
        name: acme

        # The name that people type into the browser; links in Odoo's mails use it.
        domain: odoo.example.com

        # Further names that answer with the same site, such as [www.example.com, example.com].
        aliases: []

        # The database in PostgreSQL.
        database: acme

        # How many people work with Odoo at the same time of day (1 to 100000); sizes follow from it.
        users: 10

        # Databases beside the first, each with names of its own and an Odoo of its own.
        # databases:
        #   - { name: shop, domain: shop.example.com, aliases: [] }

        # What this site may use of the machine; all of it when left out. Several sites share a machine so.
        # limits: { cpus: 2, memory: 4G }

        odoo:
          # Odoo's image. Its tag tells the release, as 19.0 does.
          image: docker.io/library/odoo:19.0
          # The release, 14 to 19. Needed only when the tag does not tell it.
          # release: 19
          # The next three count once, when the database is made.
          # The login of the first user. Its password is random and kept in secrets/.
          admin_login: owner
          # The first user's language, as Odoo writes it.
          language: en_US
          # The company's country in two letters; it decides the currency and the time zone.
          # country: FR
          # Further lines of odoo.conf, as Odoo writes them.
          # options: { limit_time_real: 3600 }

        # The mail server to hand mail to. Its password goes into the file secrets/smtp-password.
        # smtp: { host: mail.example.com, port: 587, encryption: starttls, user: odoo@example.com }

        postgres:
          # PostgreSQL's image. Its tag tells the major version.
          image: docker.io/library/postgres:17
          # The major version, 10 to 18. Needed only when the tag does not tell it.
          # major: 17
          # A PostgreSQL server elsewhere in place of a container; the image is then used for its client
          # programs. The password of the role `user` goes into the file secrets/database-password.
          # sslmode: disable, prefer, require, verify-ca or verify-full, as libpq has them.
          # host: db.example.com
          # port: 5432
          # user: odoo
          # sslmode: verify-full
          # ssl_root_cert: certs/db-ca.pem
          # The way there may lead through ssh:
          # ssh: { host: db.example.com, port: 22, user: tunnel, host_key: 'SHA256:…' }

        nginx:
          # The reverse proxy's image.
          image: docker.io/library/nginx:stable
          # The largest file that can be sent to Odoo, from 1M to 100G. Odoo 17 and newer has a limit of its
          # own besides, 128 MB: the system parameter web.max_file_upload_size, in bytes.
          upload_limit: 100M
          # With a publicly trusted certificate browsers insist on https for a year (HSTS); with `true`
          # for every name below the site's, too.
          hsts_subdomains: false

        # Networks from which Odoo's database manager may be opened (`allow`), or its list of databases
        # alone (`selector`). While one is given Odoo lists its databases (list_db), JSON-RPC is answered
        # for `allow` only, and with `allow` Odoo's role may create databases. Nobody may by default.
        # database_manager: { allow: [192.0.2.0/24], selector: [] }

        # A CDN or web application firewall in front of this site: only its networks are answered, and the
        # client's address is taken from its header.
        # proxy: { trusted: [192.0.2.0/24], header: X-Forwarded-For }

        listen:
          # The address of this host to publish on: 0.0.0.0 for all, 127.0.0.1 for this host only.
          address: 0.0.0.0
          # The port that redirects to https.
          http: 80
          # The port that serves Odoo.
          https: 443

        tls:
          # `self-signed`: by a certificate authority of this site's own, which browsers must be told of.
          # `acme`: by a public one, Let's Encrypt unless told otherwise, and renewed in time.
          # `files`: the certificate with its chain, and its key, in PEM. Relative paths start here, at this
          # directory; without them it is the certificate of `autoodoo cert import`.
          mode: self-signed
          # certificate: certs/odoo.pem
          # key: certs/odoo.key
          # Mozilla's profiles: `intermediate` (TLS 1.2 and 1.3) or `modern` (TLS 1.3 alone).
          profile: intermediate

        backup:
          # Where `autoodoo backup` puts the site, encrypted: absolute paths on this host, or URLs. Each gets
          # every backup. One alone is lost with what destroys it: have a second one elsewhere, which this
          # server cannot erase (docs/backups.md). No passwords here: `autoodoo backup setup` asks for them.
          # to:
          #   - /srv/backup/acme
          #   - { name: offsite, url: "sftp://acme@backup.example.com:2222/odoo", required: true, own_password: false }
          #   - s3://s3.example.com/acme-backup?region=eu-central-1
          #   - rest:https://backup.example.com:8000/acme/
          # What `autoodoo backup prune` keeps: the last so many, the newest of so many hours, days, weeks,
          # months and years, and everything younger than `within`. 0 is no such rule.
          keep:
            last: 3
            hourly: 0
            daily: 7
            weekly: 5
            monthly: 12
            yearly: 3
            within: 2d
        "#);
    }
}
