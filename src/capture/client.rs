//! Where PostgreSQL's client programs run.

use crate::apply::client;
use crate::engine::Exec;

/// A running container that has PostgreSQL's client programs, and the way from there to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub container: String,
    way: Way,
    /// How its sessions are called.
    application: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The server's own container: its superuser, through the socket.
    Superuser,
    /// A container that [`furnish`](client::furnish) has prepared: the site's role.
    Service,
}

/// How sessions of a backup are called in `pg_stat_activity`. What a killed run left is known by it.
pub(super) const APPLICATION: &str = "autoodoo:backup";
/// Those of an examination, which takes no lock of the site: a backup that begins leaves them alone.
const EXAMINATION: &str = "autoodoo:fsck";

impl Client {
    /// Of a server of the site's own: its container.
    #[must_use]
    pub fn own(container: impl Into<String>) -> Client {
        Client { container: container.into(), way: Way::Superuser, application: APPLICATION }
    }

    /// Of a server elsewhere: a one-off container ([`crate::stack::server::client`]) that was furnished.
    #[must_use]
    pub fn elsewhere(container: impl Into<String>) -> Client {
        Client { container: container.into(), way: Way::Service, application: APPLICATION }
    }

    /// The same, for one who looks at a site that may be backed up meanwhile.
    #[must_use]
    pub fn examining(&self) -> Client {
        Client { application: EXAMINATION, ..self.clone() }
    }

    /// The server is the site's own, with nobody else's data, and we are its superuser.
    pub(super) fn is_superuser(&self) -> bool {
        self.way == Way::Superuser
    }

    /// A client program on a database. `words` follow.
    pub(super) fn exec(&self, program: &str, database: &str, words: &[&str]) -> Exec {
        let words = words.iter().copied();
        let exec = match self.way {
            Way::Service => client::program(program, database, words),
            Way::Superuser => {
                // A connection string, the only form that every program takes: a database's name has no
                // character that it would need to quote.
                let connection = format!("dbname={database}");
                let argv = [program, "--no-password", "--username=postgres", "--dbname", &connection];
                Exec::new(argv.into_iter().chain(words)).user("postgres")
            }
        };
        exec.env("PGAPPNAME", self.application).env("PGCLIENTENCODING", "UTF8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_a_server() {
        let own = Client::own("acme-postgres").exec("pg_dump", "acme", &["--format=custom"]);
        let line = "pg_dump --no-password --username=postgres --dbname dbname=acme --format=custom";
        assert_eq!((own.argv.join(" ").as_str(), own.user.as_deref()), (line, Some("postgres")));
        let elsewhere = Client::elsewhere("acme-helper-backup").exec("pg_dump", "acme", &["--verbose"]);
        let line = "pg_dump --no-password --dbname service=autoodoo dbname=acme --verbose";
        assert_eq!((elsewhere.argv.join(" ").as_str(), elsewhere.user), (line, None));
        assert_eq!(elsewhere.env["PGAPPNAME"], APPLICATION);
        assert!(elsewhere.env.contains_key("PGSERVICEFILE"));
        let examining = Client::own("acme-postgres").examining().exec("psql", "acme", &[]);
        assert!(!examining.env["PGAPPNAME"].starts_with(APPLICATION), "a sweep would end it");
    }
}
