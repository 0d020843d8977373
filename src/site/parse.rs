//! `autoodoo.yaml`: its keys, and how they become a [`Site`].

use std::str::FromStr;

use crate::name::Invalid;
use crate::site::Site;
use crate::site::decode::{Decoder, Section};
use crate::site::draft::{
    AcmeDraft, BackupDraft, DatabaseDraft, Draft, ExternalDraft, Given, KeepDraft, SmtpDraft, TargetDraft,
};
use crate::site::fault::{Fault, Position, Problem};

pub use crate::site::fault::failure;
use crate::site::yaml::{self, Node};

/// The site file's name in the site directory.
pub const FILE_NAME: &str = "autoodoo.yaml";

/// Bytes. A site file has a few kilobytes; anything larger is another file.
const LARGEST: usize = 1024 * 1024;

const KEYS: &[&str] = &[
    "name",
    "domain",
    "aliases",
    "database",
    "databases",
    "users",
    "limits",
    "odoo",
    "smtp",
    "postgres",
    "nginx",
    "database_manager",
    "proxy",
    "listen",
    "tls",
    "backup",
    "version",
];
const DATABASE_KEYS: &[&str] = &["name", "domain", "aliases"];
const LIMITS_KEYS: &[&str] = &["cpus", "memory"];
const ODOO_KEYS: &[&str] = &["image", "release", "admin_login", "language", "country", "options"];
const SMTP_KEYS: &[&str] = &["host", "port", "encryption", "user", "from", "from_filter"];
const POSTGRES_KEYS: &[&str] =
    &["image", "major", "host", "port", "user", "sslmode", "ssl_root_cert", "ssl_cert", "ssl_key", "ssh"];
const SSH_KEYS: &[&str] = &["host", "port", "user", "host_key"];
const NGINX_KEYS: &[&str] = &["image", "upload_limit", "hsts_subdomains"];
const MANAGER_KEYS: &[&str] = &["allow", "selector"];
const PROXY_KEYS: &[&str] = &["trusted", "header"];
const LISTEN_KEYS: &[&str] = &["address", "http", "https"];
const TLS_KEYS: &[&str] = &["mode", "profile", "certificate", "key", "acme"];
const ACME_KEYS: &[&str] = &[
    "directory",
    "email",
    "agree_tos",
    "ca",
    "challenge",
    "dns_hook",
    "profile",
    "key_type",
    "eab_kid",
    "names",
    "resolvers",
];

const BACKUP_KEYS: &[&str] = &["to", "keep"];
const TARGET_KEYS: &[&str] = &["url", "name", "required", "own_password"];
const KEEP_KEYS: &[&str] = &["last", "hourly", "daily", "weekly", "monthly", "yearly", "within"];

/// Reads a site file.
///
/// # Errors
/// Everything wrong with it, in the order of the file. A file that is not YAML ends at the first
/// place that is not; what is wrong with values is told all at once.
pub fn site(file: impl AsRef<[u8]>) -> Result<Site, Vec<Fault>> {
    let bytes = file.as_ref();
    let text =
        text(bytes).map_err(|problem| Fault::list(&String::from_utf8_lossy(head(bytes)), vec![problem]))?;
    read(text).map_err(|problems| Fault::list(text, problems))
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LARGEST)]
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > LARGEST {
        return Err(Problem::new(Position::START, "", "the file is larger than 1 MiB; this is no site file"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn not_utf8(bytes: &[u8], valid: usize) -> Problem {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Problem::new(Position { line, column }, "", "the file is not UTF-8 text from here on; save it as UTF-8")
}

fn read(text: &str) -> Result<Site, Vec<Problem>> {
    let (tree, mut problems) = yaml::read(text);
    let Some(tree) = tree else { return Err(problems) };
    let mut decoder = Decoder::default();
    let site = draft(&mut decoder, &tree).into_site();
    for conflict in site.as_ref().err().into_iter().flatten() {
        decoder.note(&conflict.field.key(), &conflict.message);
    }
    problems.extend(decoder.into_problems());
    match site {
        Ok(site) if problems.is_empty() => Ok(site),
        _ => Err(problems),
    }
}

fn draft(decoder: &mut Decoder, tree: &Node) -> Draft {
    let root = decoder.root(tree, KEYS);
    let _: Given<FormatVersion> = decoder.value(&root, "version");
    let mut draft = Draft {
        name: decoder.value(&root, "name"),
        domain: decoder.value(&root, "domain"),
        aliases: decoder.list(&root, "aliases"),
        database: decoder.value(&root, "database"),
        further: further(decoder, &root),
        users: decoder.value(&root, "users"),
        smtp: smtp(decoder, &root),
        ..Draft::default()
    };
    let limits = decoder.section(&root, "limits", LIMITS_KEYS);
    draft.cpus = decoder.value(&limits, "cpus");
    draft.memory = decoder.value(&limits, "memory");
    odoo(decoder, &root, &mut draft);
    postgres(decoder, &root, &mut draft);
    nginx(decoder, &root, &mut draft);
    front(decoder, &root, &mut draft);
    draft.backup = backup(decoder, &root);
    draft
}

fn further(decoder: &mut Decoder, root: &Section) -> Vec<DatabaseDraft> {
    let groups = decoder.groups(root, "databases", DATABASE_KEYS);
    let draft = |group: &Section| DatabaseDraft {
        name: decoder.value(group, "name"),
        domain: decoder.value(group, "domain"),
        aliases: decoder.list(group, "aliases"),
    };
    groups.iter().map(draft).collect()
}

fn smtp(decoder: &mut Decoder, root: &Section) -> SmtpDraft {
    let smtp = decoder.section(root, "smtp", SMTP_KEYS);
    SmtpDraft {
        host: decoder.value(&smtp, "host"),
        port: decoder.value(&smtp, "port"),
        encryption: decoder.value(&smtp, "encryption"),
        user: decoder.value(&smtp, "user"),
        from: decoder.value(&smtp, "from"),
        from_filter: decoder.value(&smtp, "from_filter"),
    }
}

/// The only version of the file's format so far.
struct FormatVersion;

impl FromStr for FormatVersion {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "1" => Ok(FormatVersion),
            _ => Err(Invalid("expected 1, the only version that this autoodoo reads".to_owned())),
        }
    }
}

fn odoo(decoder: &mut Decoder, root: &Section, draft: &mut Draft) {
    let odoo = decoder.section(root, "odoo", ODOO_KEYS);
    draft.odoo_image = decoder.value(&odoo, "image");
    draft.odoo_release = decoder.value(&odoo, "release");
    draft.admin_login = decoder.value(&odoo, "admin_login");
    draft.language = decoder.value(&odoo, "language");
    draft.country = decoder.value(&odoo, "country");
    draft.options = decoder.entries(&odoo, "options");
}

fn postgres(decoder: &mut Decoder, root: &Section, draft: &mut Draft) {
    let postgres = decoder.section(root, "postgres", POSTGRES_KEYS);
    draft.postgres_image = decoder.value(&postgres, "image");
    draft.postgres_major = decoder.value(&postgres, "major");
    let ssh = decoder.section(&postgres, "ssh", SSH_KEYS);
    draft.external = ExternalDraft {
        host: decoder.value(&postgres, "host"),
        port: decoder.value(&postgres, "port"),
        user: decoder.value(&postgres, "user"),
        sslmode: decoder.value(&postgres, "sslmode"),
        root_certificate: decoder.value(&postgres, "ssl_root_cert"),
        certificate: decoder.value(&postgres, "ssl_cert"),
        key: decoder.value(&postgres, "ssl_key"),
        ssh_host: decoder.value(&ssh, "host"),
        ssh_port: decoder.value(&ssh, "port"),
        ssh_user: decoder.value(&ssh, "user"),
        ssh_host_key: decoder.value(&ssh, "host_key"),
    };
}

fn nginx(decoder: &mut Decoder, root: &Section, draft: &mut Draft) {
    let nginx = decoder.section(root, "nginx", NGINX_KEYS);
    draft.nginx_image = decoder.value(&nginx, "image");
    draft.upload_limit = decoder.value(&nginx, "upload_limit");
    draft.hsts_subdomains = decoder.value(&nginx, "hsts_subdomains");
    let manager = decoder.section(root, "database_manager", MANAGER_KEYS);
    draft.manager_allow = decoder.list(&manager, "allow");
    draft.manager_selector = decoder.list(&manager, "selector");
    let proxy = decoder.section(root, "proxy", PROXY_KEYS);
    draft.proxy_trusted = decoder.list(&proxy, "trusted");
    draft.proxy_header = decoder.value(&proxy, "header");
}

fn front(decoder: &mut Decoder, root: &Section, draft: &mut Draft) {
    let listen = decoder.section(root, "listen", LISTEN_KEYS);
    draft.address = decoder.value(&listen, "address");
    draft.http = decoder.value(&listen, "http");
    draft.https = decoder.value(&listen, "https");
    let (tls, mode) = decoder.section_or_value(root, "tls", TLS_KEYS);
    draft.tls_mode = mode;
    draft.tls_certificate = decoder.value(&tls, "certificate");
    draft.tls_key = decoder.value(&tls, "key");
    draft.tls_profile = decoder.value(&tls, "profile");
    draft.acme = acme(decoder, &tls);
}

fn acme(decoder: &mut Decoder, tls: &Section) -> AcmeDraft {
    let acme = decoder.section(tls, "acme", ACME_KEYS);
    AcmeDraft {
        directory: decoder.value(&acme, "directory"),
        email: decoder.value(&acme, "email"),
        agreed: decoder.value(&acme, "agree_tos"),
        root: decoder.value(&acme, "ca"),
        challenge: decoder.value(&acme, "challenge"),
        hook: decoder.value(&acme, "dns_hook"),
        profile: decoder.value(&acme, "profile"),
        key: decoder.value(&acme, "key_type"),
        external_account: decoder.value(&acme, "eab_kid"),
        names: decoder.list(&acme, "names"),
        resolvers: decoder.list(&acme, "resolvers"),
    }
}

fn backup(decoder: &mut Decoder, root: &Section) -> BackupDraft {
    let backup = decoder.section(root, "backup", BACKUP_KEYS);
    let targets = decoder.groups_or_values(&backup, "to", TARGET_KEYS);
    let target = |(group, url): (Section, _)| TargetDraft {
        url,
        name: decoder.value(&group, "name"),
        required: decoder.value(&group, "required"),
        own_password: decoder.value(&group, "own_password"),
    };
    let to = targets.into_iter().map(target).collect();
    let keep = decoder.section(&backup, "keep", KEEP_KEYS);
    let keep = KeepDraft {
        last: decoder.value(&keep, "last"),
        hourly: decoder.value(&keep, "hourly"),
        daily: decoder.value(&keep, "daily"),
        weekly: decoder.value(&keep, "weekly"),
        monthly: decoder.value(&keep, "monthly"),
        yearly: decoder.value(&keep, "yearly"),
        within: decoder.value(&keep, "within"),
    };
    BackupDraft { to, keep }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::failure::Kind;
    use crate::site::Tls;

    /// The smallest file, to which tests add lines.
    const SMALL: &str = "name: acme\ndomain: odoo.example.com\n";

    /// What the user reads.
    fn told(text: impl AsRef<[u8]>) -> String {
        let faults = super::site(text).expect_err("the file has a fault");
        failure(FILE_NAME, &faults).evidence.join("\n")
    }

    /// The messages for [`SMALL`] with these lines added; `path: message` each.
    fn messages(lines: &str) -> Vec<String> {
        let faults = super::site(format!("{SMALL}{lines}")).expect_err("the file has a fault");
        faults.into_iter().map(|fault| fault.message).collect()
    }

    fn small(lines: &str) -> Site {
        super::site(format!("{SMALL}{lines}")).unwrap_or_else(|faults| panic!("{lines}: {faults:?}"))
    }

    #[test]
    fn the_smallest_file_has_a_default_for_everything_else() {
        let site = small("");
        assert_eq!(site.database.as_str(), "acme");
        assert_eq!(site.users, 5);
        assert_eq!(site.odoo.image.as_str(), "docker.io/library/odoo:19.0");
        assert_eq!(site.odoo.admin_login.as_str(), "owner");
        assert_eq!(site.odoo.language.as_str(), "en_US");
        assert_eq!(site.odoo.country, None);
        assert_eq!(
            (site.postgres.image.as_str(), site.postgres.major),
            ("docker.io/library/postgres:17", 17)
        );
        assert_eq!(site.nginx.image.as_str(), "docker.io/library/nginx:stable");
        assert_eq!(site.listen.address.to_string(), "0.0.0.0");
        assert_eq!((site.listen.http.get(), site.listen.https.get()), (80, 443));
        assert_eq!(site.tls, Tls::SelfSigned);
    }

    #[test]
    fn a_full_file() {
        let text = "\
version: 1
name: acme-2
domain: Odoo.Example.com
aliases: [www.example.com]
users: 10
odoo:
  image: registry.example/odoo:latest
  release: 16.0
  admin_login: jo@example.com
  language: fr_FR
  country: fr
postgres: { image: docker.io/library/postgres:12.4-alpine, major: 12 }
nginx: { image: nginx }
listen: { address: '::', http: 8080, https: 8443 }
tls: { mode: files, certificate: a.pem, key: a.key }
";
        let site = super::site(text).unwrap();
        assert_eq!(site.database.as_str(), "acme_2");
        assert_eq!(site.odoo.release.number(), 16);
        assert_eq!(site.odoo.country.unwrap().as_str(), "FR");
        assert_eq!(site.postgres.major, 12);
        assert_eq!(site.listen.https.get(), 8443);
        assert_eq!(site.tls, Tls::Files { certificate: "a.pem".into(), key: "a.key".into() });
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place() {
        let text = "\
version: 2
name: Acme
domian: odoo.example.com
aliases: [ok.example.com, -bad-, ok.example.com]
users: many
odoo:
  imgae: odoo:19
  image: [odoo]
  release: 13
  language: fr_FX
postgres: 17
users: 3
listen:
  http: 443
tls:
  mode: acme
zebra: 1
";
        insta::assert_snapshot!(told(text), @r#"
        autoodoo.yaml:1:10: `version`: expected 1, the only version that this autoodoo reads, found `2`
          1 | version: 2
        autoodoo.yaml:2:7: `name`: expected 1 to 32 lowercase letters, digits or hyphens, starting with a letter and not ending with a hyphen, such as `acme`, found `Acme`
          2 | name: Acme
        autoodoo.yaml:3:1: unknown key `domian`; did you mean `domain`?
          3 | domian: odoo.example.com
        autoodoo.yaml:4:27: `aliases[1]`: expected a host name such as `odoo.example.com`, found `-bad-`
          4 | aliases: [ok.example.com, -bad-, ok.example.com]
        autoodoo.yaml:4:34: `aliases[2]`: `ok.example.com` is given twice
          4 | aliases: [ok.example.com, -bad-, ok.example.com]
        autoodoo.yaml:5:8: `users`: expected a whole number from 1 to 100000, found `many`
          5 | users: many
        autoodoo.yaml:7:3: unknown key `imgae`; did you mean `image`?
          7 |   imgae: odoo:19
        autoodoo.yaml:8:10: `odoo.image`: expected a single value, found a list
          8 |   image: [odoo]
        autoodoo.yaml:9:12: `odoo.release`: expected an Odoo release from 14 to 19, found `13`
          9 |   release: 13
        autoodoo.yaml:11:1: `postgres`: expected keys such as `image:`, found `17`
         11 | postgres: 17
        autoodoo.yaml:12:1: `users`: given twice; first on line 5
         12 | users: 3
        autoodoo.yaml:13:1: `listen.https`: port 443 is already the port for http
         13 | listen:
        autoodoo.yaml:17:1: unknown key `zebra`; known here: name, domain, aliases, database, databases, users, limits, odoo, smtp, postgres, nginx, database_manager, proxy, listen, tls, backup, version
         17 | zebra: 1
        "#);
    }

    #[test]
    fn a_failure_says_that_nothing_was_changed_and_exits_with_2() {
        let failure = failure(FILE_NAME, &super::site("name: 1\n").unwrap_err());
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(failure.message, "autoodoo.yaml has 2 faults");
        assert!(failure.hints[0].contains("nothing was changed"));
    }

    const FAULTY_LINES: [&str; 61] = [
        "database: postgres",
        "users: 0",
        "users: '5x'",
        "users: [5]",
        "users:",
        "users: ~",
        "aliases: www.example.com",
        "aliases: [odoo.example.com]",
        "aliases: [a.b, {c: d}]",
        "odoo: { image: 'odoo:latest' }",
        "odoo: { image: 'odoo:13' }",
        "odoo: { image: 'odoo:18', release: 17 }",
        "odoo: { language: xx_YY }",
        "odoo: { language: fr_FT }",
        "odoo: { country: ZZ }",
        "odoo: { admin_login: admin }",
        "odoo: odoo:19",
        "postgres: { image: postgres }",
        "postgres: { image: 'postgres:9.6' }",
        "postgres: { major: 12 }",
        "postgres: { image: 'postgres:12' }",
        "postgres: { image: 'postgres:17', major: 16 }",
        "listen: { http: 0 }",
        "listen: { address: localhost }",
        "listen: { https: 80 }",
        "tls: { mode: files, key: a.key }",
        "tls: { mode: self-singed }",
        "tls: { certificate: a.pem }",
        "tls: { profile: old, acme: { email: a@b.example } }",
        "tls: { mode: acme, certificate: a.pem }",
        "tls: { mode: acme, acme: { directory: 'http://ca.example/dir', key_type: rsa1024, eab_kid: a b } }",
        "tls: { mode: acme, acme: { challenge: tls-alpn-01, names: ['*'], resolvers: [dns.example] } }",
        "tls: { mode: acme, acme: { challenge: dns-01 } }",
        "tls: { mode: acme, acme: { dns_hook: hook } }",
        "tls: { mode: acme, acme: { names: ['*.example.com'] } }",
        "tls: { mode: acme, acme: { names: [example.com] } }",
        "version: 2",
        "? [a]\n: b",
        "? a\n: b",
        "databases: [shop]",
        "databases: [{ name: shop }]",
        "databases: [{ name: acme, domain: b.c }, { name: b, domain: odoo.example.com, aliases: [b.c] }]",
        "databases: { name: shop }",
        "limits: { cpus: 0, memory: 4 }",
        "odoo: { options: { workers: 9, dbfilter: .*, Smtp: x, smtp_user: a, log_level: debug } }",
        "odoo: { options: [a] }",
        "smtp: { port: 587 }",
        "odoo: { image: 'odoo:14' }\nsmtp: { host: m, from_filter: a.b }",
        "smtp: { host: a b, encryption: ssl, from: nobody }",
        "postgres: { sslmode: require }",
        "postgres: { host: db, sslmode: verify-full }",
        "postgres: { host: db, ssl_cert: c.pem, ssh: { port: 22 } }",
        "postgres: { host: localhost }",
        "postgres: { host: 127.0.0.2, port: 5433 }",
        "postgres: { host: '::1' }",
        "postgres: { host: db, ssl_root_cert: a, ssl_cert: b, ssl_key: c, ssh: { host: h, user: u } }",
        "postgres: { host: db, ssh: { host: h, user: u, host_key: 'MD5:00:11' } }",
        "postgres: { host: db, sslmode: require, ssh: { host: h, user: u } }",
        "nginx: { upload_limit: 0M, hsts_subdomains: yes }",
        "database_manager: { allow: [192.0.2.1/24, x], selector: all }",
        "proxy: { header: X-Real-IP }",
    ];

    #[test]
    fn each_kind_of_value_fault() {
        let table: Vec<String> = FAULTY_LINES
            .iter()
            .map(|line| format!("{line:?}\n    {}", messages(line).join("\n    ")))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    const NO_SITE_FILES: [&[u8]; 26] = [
        b"",
        b"# only a comment\n",
        b"- a\n- b\n",
        b"just words\n",
        b"name: acme\n\tdomain: a.b\n",
        b"odoo:\n\timage: odoo:19\n",
        b"name: acme\n  domain: a.b\n",
        b"odoo:\n    image: odoo:19\n  release: 19\n",
        b"name: a: b\n",
        b"name: @acme\n",
        b"name: \"acme\n",
        b"aliases: [a.b\nname: acme\n",
        b"name: &n acme\ndomain: *n\n",
        b"name: *n\n",
        b"name: !!str acme\ndomain: a.b\n",
        b"name: acme\ndomain: a.b\n---\nname: acme\n",
        b"name: acme\ndomain: a.b\nname: other\n",
        b"a: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]\n",
        b"name: acme\ndomain: \xe9.b\n",
        b"name: acme\0\ndomain: a.b\n",
        b"name: {a: b, c}\n",
        b"name\ndomain: a.b\n",
        b"}\n",
        b"%FOO\nname: acme\n",
        b"name: >\n acme\n",
        b"name: 'a\\x'\n",
    ];

    #[test]
    fn each_kind_of_text_that_is_no_site_file() {
        let table: Vec<String> = NO_SITE_FILES
            .iter()
            .map(|text| format!("{:?}\n{}", String::from_utf8_lossy(text), told(text)))
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r##"
        ""
        autoodoo.yaml:1:1: the file is empty; `autoodoo init` writes one
        "# only a comment\n"
        autoodoo.yaml:2:1: the file is empty; `autoodoo init` writes one
        "- a\n- b\n"
        autoodoo.yaml:1:1: expected keys such as `name:`, found a list
          1 | - a
        "just words\n"
        autoodoo.yaml:1:1: expected keys such as `name:`, found `just words`
          1 | just words
        "name: acme\n\tdomain: a.b\n"
        autoodoo.yaml:2:1: a tab cannot indent; use spaces
          2 | →domain: a.b
        "odoo:\n\timage: odoo:19\n"
        autoodoo.yaml:2:1: a tab cannot indent; use spaces
          2 | →image: odoo:19
        "name: acme\n  domain: a.b\n"
        autoodoo.yaml:2:9: this `:` does not belong here; check the indentation, or put the value in double quotes
          2 |   domain: a.b
        "odoo:\n    image: odoo:19\n  release: 19\n"
        autoodoo.yaml:3:3: the indentation of this line does not fit the lines above
          3 |   release: 19
        "name: a: b\n"
        autoodoo.yaml:1:8: this `:` does not belong here; check the indentation, or put the value in double quotes
          1 | name: a: b
        "name: @acme\n"
        autoodoo.yaml:1:7: a value cannot start with this character; put it in double quotes
          1 | name: @acme
        "name: \"acme\n"
        autoodoo.yaml:1:7: the file ends inside a value; a closing quote or bracket is missing
          1 | name: "acme
        "aliases: [a.b\nname: acme\n"
        autoodoo.yaml:2:5: this `:` does not belong here; check the indentation, or put the value in double quotes
          2 | name: acme
        "name: &n acme\ndomain: *n\n"
        autoodoo.yaml:1:7: `name`: anchors and aliases (`&x`, `*x`) are not used here; write the value itself, and quote a value that starts with `&` or `*`
          1 | name: &n acme
        autoodoo.yaml:2:9: `domain`: anchors and aliases (`&x`, `*x`) are not used here; write the value itself, and quote a value that starts with `&` or `*`
          2 | domain: *n
        "name: *n\n"
        autoodoo.yaml:1:7: anchors and aliases (`&x`, `*x`) are not used here; write the value itself, and quote a value that starts with `&` or `*`
          1 | name: *n
        "name: !!str acme\ndomain: a.b\n"
        autoodoo.yaml:1:7: `name`: tags such as `!!str` are not used here; write the plain value
          1 | name: !!str acme
        "name: acme\ndomain: a.b\n---\nname: acme\n"
        autoodoo.yaml:3:1: a second document starts here; a site file has one, without `---`
          3 | ---
        "name: acme\ndomain: a.b\nname: other\n"
        autoodoo.yaml:3:1: `name`: given twice; first on line 1
          3 | name: other
        "a: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]\n"
        autoodoo.yaml:1:20: lists and groups are nested too deeply
          1 | a: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]
        "name: acme\ndomain: �.b\n"
        autoodoo.yaml:2:9: the file is not UTF-8 text from here on; save it as UTF-8
          2 | domain: �.b
        "name: acme\0\ndomain: a.b\n"
        autoodoo.yaml:1:11: this character cannot be printed; the file is not plain text
          1 | name: acme�
        "name: {a: b, c}\n"
        autoodoo.yaml:1:1: `domain`: required
          1 | name: {a: b, c}
        autoodoo.yaml:1:7: `name`: expected a single value, found a group of keys
          1 | name: {a: b, c}
        "name\ndomain: a.b\n"
        autoodoo.yaml:2:7: this `:` does not belong here; check the indentation, or put the value in double quotes
          2 | domain: a.b
        "}\n"
        autoodoo.yaml:1:1: this is not valid YAML: misplaced bracket
          1 | }
        "%FOO\nname: acme\n"
        autoodoo.yaml:2:1: this is not valid YAML: did not find expected <document start>
          2 | name: acme
        "name: >\n acme\n"
        autoodoo.yaml:1:1: `domain`: required
          1 | name: >
        autoodoo.yaml:2:2: `name`: expected 1 to 32 lowercase letters, digits or hyphens, starting with a letter and not ending with a hyphen, such as `acme`, found `acme�`
          2 |  acme
        "name: 'a\\x'\n"
        autoodoo.yaml:1:1: `domain`: required
          1 | name: 'a\x'
        autoodoo.yaml:1:7: `name`: expected 1 to 32 lowercase letters, digits or hyphens, starting with a letter and not ending with a hyphen, such as `acme`, found `a\x`
          1 | name: 'a\x'
        "##);
    }

    #[test]
    fn a_byte_order_mark_and_dos_line_ends_are_fine() {
        assert!(super::site("\u{feff}---\r\nname: acme\r\ndomain: a.b\r\n...\r\n").is_ok());
    }

    #[test]
    fn groups_with_every_key_commented_out_are_empty() {
        assert_eq!(small("odoo:\n  # image: x\nlisten:\naliases:\n"), small(""));
    }

    #[test]
    fn yaml_does_not_change_what_was_written() {
        let text = "name: no\ndomain: null.example\ndatabase: 019\nodoo: { country: NO, image: 'a:1_0', release: 19.0 }";
        let site = super::site(text).unwrap();
        assert_eq!((site.name.as_str(), site.database.as_str()), ("no", "019"));
        assert_eq!(site.odoo.country.unwrap().as_str(), "NO");
    }

    #[test]
    fn the_mode_may_stand_for_the_whole_group() {
        assert_eq!(small("tls: acme\n"), small("tls: { mode: acme }\n"));
        assert_eq!(
            messages("tls: acm\n"),
            ["`tls.mode`: expected `self-signed`, `acme` or `files`, found `acm`"]
        );
    }

    #[test]
    fn the_newest_image_of_the_release_that_was_said() {
        let site = small("odoo: { release: 16 }\n");
        assert_eq!(site.odoo.image.as_str(), "docker.io/library/odoo:16.0");
        assert_eq!(site.postgres.image.as_str(), "docker.io/library/postgres:16");
    }

    #[test]
    fn what_depends_on_an_unreadable_value_is_not_judged() {
        assert_eq!(messages("odoo: { release: x }\npostgres: { major: 10 }\n").len(), 1);
        assert_eq!(messages("tls: { mode: x, certificate: y }\n").len(), 1);
        assert_eq!(messages("tls: { mode: files, certificate: a.pem, key: '' }\n").len(), 1);
        assert_eq!(super::site("name: A\ndomain: a.b\n").unwrap_err().len(), 1);
    }

    #[test]
    fn too_large_a_file_is_not_read() {
        assert!(told("#".repeat(LARGEST + 1)).contains("larger than 1 MiB"));
    }

    #[test]
    fn large_and_hostile_files_are_answered_quickly() {
        use std::fmt::Write as _;
        let mut aliases = SMALL.to_owned() + "aliases:\n";
        (0..1000).for_each(|index| writeln!(aliases, "  - a{index}.example.com").unwrap());
        let mut distinct = String::new();
        (0..100_000).for_each(|index| writeln!(distinct, "k{index}:").unwrap());
        let files = [
            aliases,
            distinct,
            "a: 1\n".repeat(200_000),
            "[".repeat(LARGEST),
            "- ".repeat(LARGEST / 2),
            "? ".repeat(LARGEST / 2),
            "{a: ".repeat(LARGEST / 4),
            format!("aliases: [{}]", "_, ".repeat(300_000)),
            format!("{}: x", "k".repeat(LARGEST - 10)),
            format!("? {}\n: x", "k".repeat(LARGEST - 10)),
            format!("a: \"{}", "\\".repeat(LARGEST - 10)),
        ];
        for file in files {
            let start = Instant::now();
            let _ = super::site(&file);
            assert!(start.elapsed() < Duration::from_secs(30), "{}", &file[..20]);
        }
    }

    /// A small generator of the xorshift kind; the same numbers in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % limit as u64).unwrap()
        }
    }

    #[test]
    fn mutated_files_never_panic_and_every_fault_has_a_place() {
        const PIECES: [&[u8]; 24] = [
            b":",
            b"\n",
            b"  ",
            b"\t",
            b"- ",
            b"[",
            b"]",
            b"{",
            b"}",
            b"\"",
            b"'",
            b"&a ",
            b"*a",
            b"!x ",
            b"#",
            b"---\n",
            b"|",
            b">",
            b"\0",
            b"\xff",
            b"? ",
            b",",
            b"\r",
            "\u{feff}é".as_bytes(),
        ];
        let seed = crate::render::site_file::site_file(&small(
            "aliases: [a.b]\ntls: { mode: files, certificate: a, key: b }",
        ));
        let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
        for _ in 0..3000 {
            let mut file = seed.clone().into_bytes();
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(file.len());
                let end = (at + numbers.below(6)).min(file.len());
                file.splice(at..end, PIECES[numbers.below(PIECES.len())].iter().copied());
            }
            if let Err(faults) = super::site(&file) {
                assert!(!faults.is_empty(), "{}", String::from_utf8_lossy(&file));
                assert!(faults.iter().all(|fault| fault.at.line >= 1 && fault.at.column >= 1));
            }
        }
    }
}
