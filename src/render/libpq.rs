//! How a program that uses libpq is told the way to the server: connection parameters, files and
//! environment variables (PostgreSQL manual, "libpq: Parameter Key Words", "The Password File",
//! "The Connection Service File", "Environment Variables").

use std::collections::BTreeMap;

use serde::Serialize;

use super::odoo_conf::{DATABASE_ROLE, SOCKET_DIRECTORY};
use crate::name::Port;
use crate::secret::Secret;
use crate::site::value::SslMode;
use crate::site::{External, Postgres};

/// The service's name in the file that [`service_file`] writes.
pub const SERVICE: &str = "autoodoo";
const ROOT_CERTIFICATE: &str = "database-ca.pem";
const CERTIFICATE: &str = "database-client.pem";
const KEY: &str = "database-client.key";

/// Where the server is and as whom to come, for Odoo and for psql alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The server's name or address, or the directory of its Unix socket.
    pub host: String,
    pub port: Port,
    pub user: String,
    /// `None` on a Unix socket, where libpq does no TLS.
    pub sslmode: Option<SslMode>,
}

impl Endpoint {
    #[must_use]
    pub fn of(postgres: &Postgres) -> Endpoint {
        postgres.external.as_ref().map_or_else(|| Endpoint::socket(DATABASE_ROLE), Endpoint::of_external)
    }

    /// A tunnel ends at the very socket at which a container of our own would listen.
    #[must_use]
    pub fn of_external(external: &External) -> Endpoint {
        if external.ssh.is_some() {
            return Endpoint::socket(external.user.as_str());
        }
        Endpoint {
            host: external.host.to_string(),
            port: external.port,
            user: external.user.to_string(),
            sslmode: Some(external.sslmode),
        }
    }

    fn socket(user: &str) -> Endpoint {
        Endpoint {
            host: SOCKET_DIRECTORY.to_owned(),
            port: Port::POSTGRESQL,
            user: user.to_owned(),
            sslmode: None,
        }
    }

    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.sslmode.is_none()
    }
}

/// The content of the certificate files that the site file names. Nothing for a server of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// PEM of the CAs whose servers are trusted.
    pub root: Option<String>,
    pub client: Option<ClientCertificate>,
}

/// PEM of a certificate, and of its key, by which the server knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: String,
    pub key: Secret,
}

impl Certificates {
    /// The files to lay down, by name. A key must belong to who reads it and to nobody else: libpq
    /// refuses one that its group may read.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &str)> {
        let root = self.root.as_deref().map(|text| (ROOT_CERTIFICATE, text));
        let client = self
            .client
            .iter()
            .flat_map(|client| [(CERTIFICATE, client.certificate.as_str()), (KEY, client.key.expose())]);
        root.into_iter().chain(client).collect()
    }

    /// libpq's parameters for the files in `directory`: key word, environment variable, path.
    fn parameters(&self, directory: &str) -> Vec<(&'static str, &'static str, String)> {
        let of = |name: &str| match name {
            ROOT_CERTIFICATE => ("sslrootcert", "PGSSLROOTCERT"),
            CERTIFICATE => ("sslcert", "PGSSLCERT"),
            _ => ("sslkey", "PGSSLKEY"),
        };
        let parameter = |(name, _): (&'static str, &str)| {
            let (word, variable) = of(name);
            (word, variable, format!("{directory}/{name}"))
        };
        self.files().into_iter().map(parameter).collect()
    }
}

/// What Odoo cannot say in odoo.conf: the paths of the certificates. pg_dump, which Odoo's database
/// manager calls, takes `sslmode` from here too.
#[must_use]
pub fn environment(
    endpoint: &Endpoint,
    certificates: &Certificates,
    directory: &str,
) -> BTreeMap<String, String> {
    let Some(sslmode) = endpoint.sslmode else { return BTreeMap::new() };
    let files = certificates.parameters(directory).into_iter();
    let files = files.map(|(_, variable, path)| (variable.to_owned(), path));
    files.chain([("PGSSLMODE".to_owned(), sslmode.word().to_owned())]).collect()
}

/// A connection service file for psql; the password comes from the password file beside it.
#[must_use]
pub fn service_file(endpoint: &Endpoint, certificates: &Certificates, directory: &str) -> String {
    let mut lines = vec![
        format!("[{SERVICE}]"),
        format!("host={}", endpoint.host),
        format!("port={}", endpoint.port),
        format!("user={}", endpoint.user),
        format!("passfile={directory}/pgpass"),
        "connect_timeout=15".to_owned(),
    ];
    if let Some(sslmode) = endpoint.sslmode {
        lines.push(format!("sslmode={}", sslmode.word()));
        let files = certificates.parameters(directory).into_iter();
        lines.extend(files.map(|(word, _, path)| format!("{word}={path}")));
    }
    lines.join("\n") + "\n"
}

/// A password file that has one password for everything.
#[must_use]
pub fn password_file(password: &Secret) -> Secret {
    let escaped = password.expose().replace('\\', "\\\\").replace(':', "\\:");
    Secret::new(format!("*:*:*:*:{escaped}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::parse;

    fn endpoint(postgres: &str) -> Endpoint {
        let text = format!("name: acme\ndomain: a.b\npostgres: {{ {postgres} }}\n");
        Endpoint::of(&parse::site(text).unwrap().postgres)
    }

    fn certificates() -> Certificates {
        let client = ClientCertificate { certificate: "cert".into(), key: Secret::new("key") };
        Certificates { root: Some("ca".into()), client: Some(client) }
    }

    #[test]
    fn a_server_with_certificates() {
        let endpoint = endpoint("host: db.example.com, port: 5433, user: acme, ssl_root_cert: ca.pem");
        insta::assert_snapshot!(service_file(&endpoint, &certificates(), "/run/c"), @r"
        [autoodoo]
        host=db.example.com
        port=5433
        user=acme
        passfile=/run/c/pgpass
        connect_timeout=15
        sslmode=verify-full
        sslrootcert=/run/c/database-ca.pem
        sslcert=/run/c/database-client.pem
        sslkey=/run/c/database-client.key
        ");
        let environment = environment(&endpoint, &certificates(), "/etc/odoo");
        let environment: Vec<_> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            environment,
            [
                "PGSSLCERT=/etc/odoo/database-client.pem",
                "PGSSLKEY=/etc/odoo/database-client.key",
                "PGSSLMODE=verify-full",
                "PGSSLROOTCERT=/etc/odoo/database-ca.pem"
            ]
        );
    }

    #[test]
    fn a_tunnel_and_a_container_of_our_own_end_at_the_socket() {
        for (postgres, user) in
            [("major: 17", "odoo"), ("host: db, user: acme, ssh: { host: h, user: u }", "acme")]
        {
            let endpoint = endpoint(postgres);
            assert_eq!((endpoint.host.as_str(), endpoint.user.as_str()), (SOCKET_DIRECTORY, user));
            assert!(environment(&endpoint, &Certificates::default(), "/etc/odoo").is_empty());
            assert!(!service_file(&endpoint, &Certificates::default(), "/run/c").contains("ssl"));
        }
    }

    #[test]
    fn a_password_with_the_separators_of_its_file() {
        let file = password_file(&Secret::new(r"a:b\c"));
        assert_eq!(file.expose(), "*:*:*:*:a\\:b\\\\c\n");
    }
}
