//! How a database of a backup is brought back by hand, with PostgreSQL's own programs.

use std::fmt::{self, Display};

/// The steps, for somebody who stands where the backup's files lie.
///
/// Extensions come first, and `unaccent` immutable: indexes of Odoo need that. Every object gets the
/// role as its owner, whatever roles the server of the dump had (PostgreSQL manual, "pg_restore").
pub struct Restore<'a> {
    pub database: &'a str,
    /// The role that Odoo uses.
    pub role: &'a str,
    /// The major version that the dump was made with.
    pub postgres_major: u32,
}

impl Display for Restore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restore { database, role, postgres_major } = self;
        write!(
            f,
            r#"
Restore {database} (PostgreSQL {postgres_major} or newer; PGHOST and PGUSER lead to its superuser)

    psql -d postgres -c 'CREATE ROLE "{role}" LOGIN'    # unless it exists
    createdb --template=template0 --encoding=UTF8 '{database}'
    psql -d '{database}' -v ON_ERROR_STOP=1 \
      -c 'GRANT CONNECT, TEMPORARY, CREATE ON DATABASE "{database}" TO "{role}"' \
      -c 'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"' \
      -c 'CREATE EXTENSION unaccent' -c 'CREATE EXTENSION pg_trgm' \
      -c 'ALTER FUNCTION unaccent(text) IMMUTABLE'
    cat 'databases/{database}/dump.pgdump'* | pg_restore -d '{database}' --no-owner --no-acl \
      --no-comments --role='{role}' --exit-on-error

  and its files, where Odoo's option data_dir is /var/lib/odoo

    mkdir -p /var/lib/odoo/filestore
    cp -R 'filestore/{database}' /var/lib/odoo/filestore/
    chown -R odoo: /var/lib/odoo/filestore
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What keeps a restored database from having other owners, and from lacking an index.
    #[test]
    fn the_dump_is_read_when_everything_is_there_that_it_needs() {
        let text = Restore { database: "acme", role: "acme-erp", postgres_major: 17 }.to_string();
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        let restore = at("| pg_restore -d 'acme' --no-owner --no-acl");
        for before in ["CREATE ROLE \"acme-erp\"", "CREATE EXTENSION unaccent", "unaccent(text) IMMUTABLE"] {
            assert!(at(before) < restore, "{text}");
        }
        assert!(at("--no-comments --role='acme-erp' --exit-on-error") > restore, "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}
