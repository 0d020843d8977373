//! `autoodoo.yaml` with a comment at every key, so that the file is its own manual.

use std::borrow::Cow;
use std::path::Path;

use crate::site::value::version_in_tag;
use crate::site::{Listen, Odoo, Postgres, Site, Tls};

/// The whole file. Reading it back gives the same site: every default is written out.
#[must_use]
pub fn site_file(site: &Site) -> String {
    [
        head(site),
        odoo(&site.odoo),
        postgres(&site.postgres),
        format!("nginx:\n  # The reverse proxy's image.\n  image: {}\n", scalar(site.nginx.image.as_str())),
        listen(&site.listen),
        tls(&site.tls),
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
",
        image = scalar(odoo.image.as_str()),
        release = version_key("release", odoo.release.number(), version_in_tag(&odoo.image)),
        login = scalar(odoo.admin_login.as_str()),
        language = scalar(odoo.language.as_str()),
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
",
        image = scalar(postgres.image.as_str()),
        major = version_key("major", postgres.major, version_in_tag(&postgres.image)),
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

fn tls(tls: &Tls) -> String {
    let settings = match tls {
        Tls::SelfSigned => {
            "  mode: self-signed\n  # certificate: certs/odoo.pem\n  # key: certs/odoo.key\n".to_owned()
        }
        Tls::Files { certificate, key } => format!(
            "  mode: files\n  certificate: {}\n  key: {}\n",
            scalar(&text(certificate)),
            scalar(&text(key))
        ),
    };
    format!(
        "\
tls:
  # `self-signed`: by a certificate authority of this site's own, which browsers must be told of.
  # `files`: the certificate with its chain, and its key, in PEM. Relative paths start here, at this directory.
{settings}"
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

        postgres:
          # PostgreSQL's image. Its tag tells the major version.
          image: docker.io/library/postgres:17
          # The major version, 10 to 18. Needed only when the tag does not tell it.
          # major: 17

        nginx:
          # The reverse proxy's image.
          image: docker.io/library/nginx:stable

        listen:
          # The address of this host to publish on: 0.0.0.0 for all, 127.0.0.1 for this host only.
          address: 0.0.0.0
          # The port that redirects to https.
          http: 80
          # The port that serves Odoo.
          https: 443

        tls:
          # `self-signed`: by a certificate authority of this site's own, which browsers must be told of.
          # `files`: the certificate with its chain, and its key, in PEM. Relative paths start here, at this directory.
          mode: self-signed
          # certificate: certs/odoo.pem
          # key: certs/odoo.key
        "#);
    }
}
