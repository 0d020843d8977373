//! The recovery kit: one page with which the backups can be read when this server is gone.

use std::fmt::Write;

use jiff::Timestamp;

use super::restore::Restore;
use crate::digest::sha256_hex;
use crate::secret::Secret;
use crate::site::backup::{Place, TargetName};

pub struct Kit {
    pub site: String,
    pub url: String,
    pub odoo_release: u32,
    pub postgres_major: u32,
    /// The role that Odoo uses.
    pub role: String,
    /// The first one first; never empty.
    pub databases: Vec<String>,
    pub targets: Vec<KitTarget>,
}

pub struct KitTarget {
    pub name: TargetName,
    pub place: Place,
    /// `None` of a place for sealed exports: those are opened by their recipients.
    pub password: Option<Secret>,
    /// Of S3 and REST.
    pub credentials: Option<(String, Secret)>,
    /// The place's server has a certificate that is not publicly trusted.
    pub own_roots: bool,
}

impl Kit {
    /// Another one when anything changes that is needed to read the backups.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut text = format!("{}\n", self.site);
        for target in &self.targets {
            let password = target.password.as_ref().map_or("", Secret::expose);
            let (user, secret) =
                target.credentials.as_ref().map_or(("", ""), |(user, secret)| (user, secret.expose()));
            // Writing to a String cannot fail; no part has a line break.
            let _ = writeln!(text, "{}\n{}\n{password}\n{user}\n{secret}", target.name, target.place);
        }
        sha256_hex(text.as_bytes())
    }

    /// One page of plain text, without a final line end.
    #[must_use]
    pub fn page(&self, now: Timestamp) -> String {
        let mut page = self.head(now);
        for target in &self.targets {
            page.push_str(&target.section());
        }
        page.push_str(&self.way_back());
        page.truncate(page.trim_end().len());
        page
    }

    fn head(&self, now: Timestamp) -> String {
        format!(
            "\
RECOVERY KIT of the Odoo site {site}, {url}
Made on {date}. Odoo {odoo}, PostgreSQL {postgres}, databases: {databases}

Keep this page away from the server: on paper in a safe, or in a password manager. Without
it nobody can read the backups; whoever has it and reaches a target can read all of them.

READING A BACKUP WITHOUT AUTOODOO, with restic (0.14 or newer; Debian: apt install restic).
Save the target's password, hyphens included, in a file only you can read, and type:
",
            site = self.site,
            url = self.url,
            date = now.strftime("%Y-%m-%d"),
            odoo = self.odoo_release,
            postgres = self.postgres_major,
            databases = self.databases.join(", "),
        )
    }

    fn way_back(&self) -> String {
        let (database, others) = match self.databases.split_first() {
            Some((first, others)) => (first.as_str(), others.join(", ")),
            None => ("NAME", String::new()),
        };
        let alike = if others.is_empty() { String::new() } else { format!("; {others} alike") };
        let (dump, files) = (format!("databases/{database}/dump.pgdump"), format!("filestore/{database}/"));
        let restore = Restore { database, role: &self.role, postgres_major: self.postgres_major };
        format!(
            "
THEN, for each target alike (--no-lock: nothing is written there, which it may not allow)
    restic --no-lock snapshots --host {site}
    restic --no-lock restore latest --host {site} --target ./rescued

WHAT IS IN IT
    {configuration:<28} the site directory: autoodoo.yaml, secrets/, state/state.json
    {dump:<28} the database, in pg_dump's custom format
    {globals:<28} the roles of PostgreSQL, without their passwords
    {files:<28} the attachments, as in Odoo's data_dir
    {manifest:<28} what should be there: versions, counts, faults

BRINGING IT BACK, in the directory rescued/{alike}. The whole way, Odoo {odoo} included, is in
docs/backups.md of autoodoo: \"Bringing a site back without autoodoo\".
{restore}",
            configuration = "configuration/",
            globals = "databases/globals.sql",
            manifest = "manifest.json",
            site = self.site,
            odoo = self.odoo_release,
        )
    }
}

impl KitTarget {
    fn section(&self) -> String {
        let mut text = format!("\nTARGET {}: {}\n", self.name, self.place);
        let mut line = |line: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {line}");
        };
        let Some(password) = &self.password else {
            line("takes sealed exports: age or gpg opens them with the key of a recipient".to_owned());
            return text;
        };
        line(format!("password: {}", password.expose()));
        line("export RESTIC_PASSWORD_FILE=./password-file".to_owned());
        if let Some((user, secret)) = &self.credentials {
            let (first, second) = match self.place {
                Place::S3 { .. } => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                _ => ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"),
            };
            line(format!("export {first}='{user}' {second}='{}'", secret.expose()));
        }
        if let Place::S3 { region, .. } = &self.place {
            line(format!("export AWS_DEFAULT_REGION='{region}'"));
        }
        line(format!("export RESTIC_REPOSITORY='{}'", restic(&self.place).replace('\'', r"'\''")));
        if let Place::Sftp { user, host, .. } = &self.place {
            line(format!(
                "(log in to {host} with a key of yours that {user} or another reader there accepts)"
            ));
        }
        if self.own_roots {
            line(format!("(add --cacert FILE to each command: secrets/backup/{}.roots.pem)", self.name));
        }
        text
    }
}

/// The place as restic writes it (restic's manual, "Preparing a new repository"): of its sftp URLs two
/// slashes begin an absolute path.
#[must_use]
pub fn restic(place: &Place) -> String {
    match place {
        Place::Sftp { .. } => {
            let url = place.to_string();
            let slash = url.find("://").and_then(|at| Some(at + 3 + url[at + 3..].find('/')?));
            let (server, path) = url.split_at(slash.unwrap_or(url.len()));
            match path.strip_prefix("/./") {
                Some(from_home) => format!("{server}/{from_home}"),
                None => format!("{server}/{path}"),
            }
        }
        Place::S3 { endpoint, bucket, prefix, .. } if prefix.is_empty() => format!("s3:{endpoint}/{bucket}"),
        Place::S3 { endpoint, bucket, prefix, .. } => format!("s3:{endpoint}/{bucket}/{prefix}"),
        Place::Local { .. } | Place::Rest { .. } | Place::Drop { .. } => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, url: &str) -> KitTarget {
        KitTarget {
            name: name.parse().unwrap(),
            place: url.parse().unwrap(),
            password: Some(Secret::new("abcdef-ghijkl")),
            credentials: None,
            own_roots: false,
        }
    }

    fn kit() -> Kit {
        let credentials = Some(("AKIA".to_owned(), Secret::new("s/e+c")));
        Kit {
            site: "acme".to_owned(),
            url: "https://odoo.example.com".to_owned(),
            odoo_release: 19,
            postgres_major: 17,
            role: "odoo".to_owned(),
            databases: vec!["acme".to_owned(), "shop".to_owned()],
            targets: vec![
                target("disk", "/srv/back up's"),
                target("offsite", "sftp://acme@backup.example.com:2222/odoo"),
                KitTarget { credentials, own_roots: true, ..target("s3", "s3://h:9000/buck/a?region=eu-1") },
                KitTarget { password: None, ..target("drop", "drop+sftp://b@h/in") },
            ],
        }
    }

    #[test]
    fn one_page() {
        let page = kit().page(Timestamp::constant(1_780_000_000, 0));
        assert!(page.lines().count() <= 66, "it fits on a sheet");
        assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
        insta::assert_snapshot!(page);
    }

    #[test]
    fn places_as_restic_writes_them() {
        let table = [
            ("/srv/b", "/srv/b"),
            ("sftp://b@h/srv/odoo", "sftp://b@h//srv/odoo"),
            ("sftp://b@h:2222/./odoo", "sftp://b@h:2222/odoo"),
            ("s3://h/buck", "s3:https://h/buck"),
            ("s3+http://127.0.0.1:9000/buck/a", "s3:http://127.0.0.1:9000/buck/a"),
            ("rest:https://h:8000/x", "rest:https://h:8000/x/"),
        ];
        for (place, written) in table {
            assert_eq!(restic(&place.parse().unwrap()), written);
        }
    }

    #[test]
    fn whatever_is_needed_to_read_the_backups_makes_another_kit() {
        let digest = kit().digest();
        let changes: [fn(&mut Kit); 4] = [
            |kit| kit.targets[0].password = Some(Secret::new("other")),
            |kit| kit.targets[0].place = "/srv/other".parse().unwrap(),
            |kit| kit.targets[2].credentials = None,
            |kit| drop(kit.targets.pop()),
        ];
        for change in changes {
            let mut kit = kit();
            change(&mut kit);
            assert_ne!(kit.digest(), digest);
        }
        assert_eq!(Kit { url: "https://new.example.com".to_owned(), ..kit() }.digest(), digest);
    }
}
