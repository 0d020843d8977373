//! How everything of a site is called. All names start with the site's, so that two sites never
//! meet and `docker ps` reads like a table.

use crate::name::{DbName, SiteName};

/// One of the two places in which a container can stand beside its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

impl Slot {
    #[must_use]
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Slot::A => 'a',
            Slot::B => 'b',
        }
    }
}

#[must_use]
pub fn network(site: &SiteName) -> String {
    format!("{site}-net")
}

/// PostgreSQL's data of one generation.
#[must_use]
pub fn db_volume(site: &SiteName, generation: u32) -> String {
    format!("{site}-db-{generation}")
}

/// Odoo's data directory (filestore and sessions) of one generation.
#[must_use]
pub fn web_volume(site: &SiteName, generation: u32) -> String {
    format!("{site}-web-{generation}")
}

/// The directory of PostgreSQL's Unix socket, shared with Odoo. It holds no data.
#[must_use]
pub fn socket_volume(site: &SiteName) -> String {
    format!("{site}-socket")
}

/// Odoo's temporary files: uploads on their way, reports in the making. It holds no data.
#[must_use]
pub fn tmp_volume(site: &SiteName) -> String {
    format!("{site}-tmp")
}

/// What nginx of a slot keeps: static files and bodies on their way. It holds no data. Two nginx
/// beside each other have one each, since either would throw away the other's files.
#[must_use]
pub fn cache_volume(site: &SiteName, slot: Slot) -> String {
    format!("{site}-cache-{}", slot.letter())
}

#[must_use]
pub fn postgres(site: &SiteName) -> String {
    format!("{site}-postgres")
}

/// Odoo of the first database; that of a further one has its database's name too, behind a dot,
/// which no site's name has: two sites never meet.
#[must_use]
pub fn odoo(site: &SiteName, further: Option<&DbName>, slot: Slot) -> String {
    let letter = slot.letter();
    match further {
        None => format!("{site}-odoo-{letter}"),
        Some(database) => format!("{site}-odoo.{database}-{letter}"),
    }
}

/// The ssh tunnel to a PostgreSQL server elsewhere.
#[must_use]
pub fn tunnel(site: &SiteName) -> String {
    format!("{site}-tunnel")
}

#[must_use]
pub fn cron(site: &SiteName) -> String {
    format!("{site}-cron")
}

#[must_use]
pub fn front(site: &SiteName) -> String {
    format!("{site}-front")
}

#[must_use]
pub fn nginx(site: &SiteName, slot: Slot) -> String {
    format!("{site}-nginx-{}", slot.letter())
}

/// Purposes of helpers.
pub const HELPER_CONF: &str = "conf";
pub const HELPER_INIT: &str = "init";
pub const HELPER_PSQL: &str = "psql";
pub const HELPER_BACKUP: &str = "backup";
pub const HELPER_TUNNEL: &str = "tunnel";
pub const HELPER_NEXT_TUNNEL: &str = "next-tunnel";
pub const HELPER_NGINX_TEST: &str = "nginx-test";

/// A container that lives as long as one operation.
#[must_use]
pub fn helper(site: &SiteName, purpose: &str) -> String {
    format!("{site}-helper-{purpose}")
}

/// The name that a database has until it is complete. [`DbName`] refuses it to users, so whatever
/// carries it is ours to drop.
#[must_use]
pub fn unfinished_database(database: &DbName) -> String {
    format!("{database}__init")
}

/// The name under which a database (or its filestore) is kept when another gets its own. `second` is
/// one of Unix time. PostgreSQL cuts longer names off (manual, 4.1.1 "Identifiers and Key Words"):
/// the database's part is shortened here, so that the time stays readable.
#[must_use]
pub fn aside_database(database: &DbName, second: i64) -> String {
    const LONGEST: usize = 63; // bytes: NAMEDATALEN - 1
    let time = format!("_{second}");
    // ASCII: a name can be cut anywhere.
    let name: String = database.as_str().chars().take(LONGEST.saturating_sub(time.len())).collect();
    name + &time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_set_aside_is_one_that_postgresql_keeps() {
        let aside = |name: &str| aside_database(&name.parse().unwrap(), 1_780_000_000);
        assert_eq!(aside("acme"), "acme_1780000000");
        let longest = "a".repeat(57);
        assert_eq!(aside(&longest), format!("{}_1780000000", "a".repeat(52)));
        assert_eq!(aside(&longest).len(), 63);
    }
}
