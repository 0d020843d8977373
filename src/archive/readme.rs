//! What an export says of itself to a person who has nothing but the file.

use std::fmt::{self, Display};

use jiff::Timestamp;

use super::seal::Recipients;
use crate::backup::restore::Restore;
use crate::name::DbName;

/// What an export is of.
#[derive(Debug, Clone)]
pub struct Subject {
    pub site: String,
    pub databases: Vec<DbName>,
    /// The role that Odoo uses.
    pub role: String,
    pub odoo_release: u32,
    /// The major version.
    pub postgres_release: u32,
    /// The moment it was begun.
    pub made: Timestamp,
    /// The version of autoodoo that made it.
    pub autoodoo: String,
    /// The file's name, without directories.
    pub file: String,
}

/// The text of `README.txt`.
pub struct Readme<'a> {
    pub subject: &'a Subject,
    pub recipients: &'a Recipients,
}

impl Display for Readme<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        self.opening(f)?;
        self.content(f)?;
        self.subject.databases.iter().try_for_each(|database| self.restore(database).fmt(f))?;
        f.write_str(ENDING)
    }
}

impl Readme<'_> {
    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { site, odoo_release, postgres_release, made, autoodoo, .. } = self.subject;
        let databases: Vec<&str> = self.subject.databases.iter().map(DbName::as_str).collect();
        writeln!(f, "Export of the Odoo site {site}\n")?;
        writeln!(f, "Made      {}, by autoodoo {autoodoo}", made.strftime("%Y-%m-%d %H:%M:%S UTC"))?;
        writeln!(f, "Odoo      {odoo_release}, on PostgreSQL {postgres_release}")?;
        writeln!(f, "Databases {}", databases.join(", "))?;
        match self.recipients.names().split_first() {
            None => writeln!(f, "Sealed    no: whoever has this file can read all of it"),
            Some((first, others)) => {
                writeln!(f, "Sealed    for {first}")?;
                others.iter().try_for_each(|other| writeln!(f, "          and {other}"))
            }
        }
    }

    fn opening(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may begin with a hyphen and have any characters: quoted, with a path.
        let file = quoted(&format!("./{}", self.subject.file));
        let (programs, open) = match self.recipients {
            Recipients::Anyone => ("tar and zstd", format!("zstd -d -c {file}")),
            Recipients::Age(_) => ("tar, zstd and age", format!("age -d -i KEYFILE {file} | zstd -d")),
            Recipients::OpenPgp(_) => ("tar, zstd and gpg", format!("gpg --decrypt {file} | zstd -d")),
        };
        write!(
            f,
            "\nOpen it (with {programs}; autoodoo is not needed)\n\n    \
             mkdir -m 700 export\n    \
             {open} | tar -x -f - -C export\n    \
             cd export\n\n\
             Check it: nothing is printed when every file is whole\n\n    \
             sha256sum --check --quiet SHA256SUMS*\n"
        )
    }

    fn content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CONTENT)?;
        f.write_str(if self.recipients.is_sealed() { "" } else { LEFT_OUT })
    }

    fn restore<'a>(&'a self, database: &'a DbName) -> Restore<'a> {
        let Subject { role, postgres_release, .. } = self.subject;
        Restore { database: database.as_str(), role, postgres_major: *postgres_release }
    }
}

const CONTENT: &str = "
What is in it

    manifest.json           versions, sizes, counts of rows and files, what was missing already, and
                            what was left out
    databases/globals.sql   roles
    databases/NAME/dump.pgdump
                            a dump in pg_dump's custom format; a long one comes in parts of 32 MiB
                            (dump.pgdump.00000, ...) that `cat` joins
    databases/NAME/attachments.tsv
                            the files that the database names, with their sizes
    filestore/NAME          the files; the name of each is the SHA-1 of its content
    configuration           the site's files
    logs                    logs of the containers; long ones in parts, too
";

const LEFT_OUT: &str = "
Left out, because this file is not sealed: configuration/secrets and configuration/generated
(passwords and private keys), and the keys and the DNS hook that configuration/autoodoo.yaml names.
The databases hold personal data and hashes of passwords all the same.
";

const ENDING: &str = "
A copy that runs beside the original sends the same mail and runs the same scheduled actions: give it
no network before both are switched off.
";

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::archive::age_key::AgeKey;

    pub fn subject() -> Subject {
        Subject {
            site: "acme".to_owned(),
            databases: vec!["acme".parse().unwrap(), "Acme-2".parse().unwrap()],
            role: "odoo".to_owned(),
            odoo_release: 19,
            postgres_release: 17,
            made: "2026-11-22T09:30:00Z".parse().unwrap(),
            autoodoo: "0.1.0".to_owned(),
            file: "acme.tar.zst.age".to_owned(),
        }
    }

    fn readme(recipients: &Recipients) -> String {
        Readme { subject: &subject(), recipients }.to_string()
    }

    #[test]
    fn sealed() {
        let key = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        let recipients = Recipients::Age(vec![AgeKey::parse(key).unwrap()]);
        insta::assert_snapshot!("sealed", readme(&recipients));
    }

    #[test]
    fn open_to_anyone() {
        let text = readme(&Recipients::Anyone);
        assert!(text.contains("Sealed    no: whoever has this file can read all of it\n"), "{text}");
        assert!(text.contains("    zstd -d -c './acme.tar.zst.age' | tar -x"), "{text}");
        assert!(text.contains("Left out, because this file is not sealed: configuration/secrets"), "{text}");
    }

    #[test]
    fn any_file_name_is_one_word() {
        assert_eq!(quoted("./it's a $(file)"), r"'./it'\''s a $(file)'");
    }
}
