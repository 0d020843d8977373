//! Files of the owner's that the site file names.

use std::path::{Path, PathBuf};

use super::acme::Challenge;
use super::{Site, Tls};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// As it is written; a relative path starts at the site directory.
    pub path: PathBuf,
    pub kind: NamedKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedKind {
    /// For everybody to see.
    Certificate,
    Key,
    /// What lets it into somebody's DNS is often written in it.
    Program,
}

impl NamedFile {
    fn new(path: &Path, kind: NamedKind) -> NamedFile {
        NamedFile { path: path.to_owned(), kind }
    }
}

impl Site {
    /// Every one of them: without these files the site cannot be brought up elsewhere.
    #[must_use]
    pub fn named_files(&self) -> Vec<NamedFile> {
        let mut files = Vec::new();
        let mut name = |path: &Path, kind| files.push(NamedFile::new(path, kind));
        match &self.tls {
            Tls::SelfSigned => {}
            Tls::Files { certificate, key } => {
                name(certificate, NamedKind::Certificate);
                name(key, NamedKind::Key);
            }
            Tls::Acme(acme) => {
                acme.root.iter().for_each(|root| name(root, NamedKind::Certificate));
                if let Challenge::Dns01 { hook } = &acme.challenge {
                    name(hook, NamedKind::Program);
                }
            }
        }
        if let Some(external) = &self.postgres.external {
            external.root_certificate.iter().for_each(|root| name(root, NamedKind::Certificate));
            if let Some(pair) = &external.client {
                name(&pair.certificate, NamedKind::Certificate);
                name(&pair.key, NamedKind::Key);
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::parse;

    fn named(yaml: &str) -> Vec<(String, NamedKind)> {
        let site = parse::site(yaml).unwrap_or_else(|error| panic!("{error:?}"));
        site.named_files().into_iter().map(|file| (file.path.display().to_string(), file.kind)).collect()
    }

    #[test]
    fn every_file_that_a_site_can_name() {
        use NamedKind::{Certificate, Key, Program};
        let all = |files: &[(&str, NamedKind)]| -> Vec<(String, NamedKind)> {
            files.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
        };
        let head = "name: acme\ndomain: odoo.example.com\n";
        assert_eq!(named(head), []);
        let files = format!("{head}tls: {{ mode: files, certificate: c.pem, key: /etc/k.pem }}\n");
        assert_eq!(named(&files), all(&[("c.pem", Certificate), ("/etc/k.pem", Key)]));
        let acme = format!(
            "{head}tls:\n  mode: acme\n  acme: {{ agree_tos: true, challenge: dns-01, dns_hook: bin/hook, ca: ca.pem, \
             directory: 'https://ca.example.com/d' }}\n"
        );
        assert_eq!(named(&acme), all(&[("ca.pem", Certificate), ("bin/hook", Program)]));
        let server = format!(
            "{head}postgres: {{ host: db.example.com, ssl_root_cert: db/ca.pem, ssl_cert: db/c.pem, ssl_key: db/k.pem }}\n"
        );
        assert_eq!(
            named(&server),
            all(&[("db/ca.pem", Certificate), ("db/c.pem", Certificate), ("db/k.pem", Key)])
        );
    }
}
