//! A database as Odoo has one, as far as backups care: rows of `ir_attachment` and their files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use autoodoo::backup::manifest::BackupKind;
use autoodoo::capture::{Client, Log, Subject};
use jiff::Timestamp;
use sha1::{Digest, Sha1};

use crate::bench::Bench;

pub struct Site<'a> {
    pub bench: &'a Bench,
    pub database: String,
    root: tempfile::TempDir,
}

/// `aa/SHA-1` of a content.
pub fn name_of(content: &[u8]) -> String {
    let digits = Sha1::digest(content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!("{}/{digits}", &digits[..2])
}

/// Writes the file of an attachment as Odoo does: before its row.
pub fn write_file(filestore: &Path, content: &[u8]) -> String {
    let name = name_of(content);
    let path = filestore.join(&name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    name
}

impl<'a> Site<'a> {
    /// An empty database of this name.
    pub async fn empty(bench: &'a Bench, database: &str) -> Site<'a> {
        let create = format!("CREATE DATABASE {database};\n");
        bench.sql("postgres", &create).await;
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("autoodoo.yaml"), "name: cap\n").unwrap();
        std::fs::create_dir(root.path().join("secrets")).unwrap();
        std::fs::write(root.path().join("secrets/database-password"), "secret").unwrap();
        Site { bench, database: database.to_owned(), root }
    }

    /// With `count` attachments of `bytes` bytes, and 24 MiB of other rows: more than all the buffers
    /// between a dump and its reader hold.
    pub async fn with(bench: &'a Bench, database: &str, count: usize, bytes: usize) -> Site<'a> {
        let site = Site::empty(bench, database).await;
        let mut sql = "CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname varchar, file_size int);\n\
             CREATE TABLE ballast AS SELECT n, repeat(md5(n::text), 32) AS text FROM generate_series(1, 24576) n;\n\
             COPY ir_attachment (store_fname, file_size) FROM STDIN;\n"
            .to_owned();
        for number in 0..count {
            let mut content = format!("{database} {number} ").into_bytes();
            content.resize(bytes, b'x');
            writeln!(sql, "{}\t{bytes}", write_file(&site.filestore(), &content)).unwrap();
        }
        sql.push_str("\\.\n");
        bench.sql(database, &sql).await;
        site
    }

    pub fn filestore(&self) -> PathBuf {
        self.bench.volume.join("filestore").join(&self.database)
    }

    pub fn farm(&self) -> PathBuf {
        self.bench.volume.join(".autoodoo-backup")
    }

    pub async fn sql(&self, sql: &str) -> String {
        self.bench.sql(&self.database, sql).await
    }

    pub fn subject(&self) -> Subject {
        Subject {
            logs: vec![Log { container: self.bench.container.clone(), begun: None }],
            ..subject(&self.bench.container, &self.bench.volume, &self.database, self.root.path())
        }
    }

    /// Nothing is left of a run.
    pub async fn assert_clean(&self) {
        assert_eq!(self.bench.sessions().await, "");
        assert!(!self.farm().exists());
        assert!(Bench::processes("pg_dump", &self.database).is_empty());
    }
}

pub fn subject(container: &str, volume: &Path, database: &str, root: &Path) -> Subject {
    Subject {
        site: "cap".into(),
        site_id: "cap".into(),
        root: root.to_owned(),
        named: Vec::new(),
        volume: volume.to_owned(),
        databases: vec![database.parse().unwrap()],
        client: Client::own(container),
        logs: Vec::new(),
        logs_since: None,
        began: "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap(),
        kind: BackupKind::Hot,
        images: Vec::new(),
        odoo_release: 19,
    }
}
