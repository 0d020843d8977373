//! The site: what its owner wants, checked. A [`Site`] that exists is valid.

pub mod acme;
pub mod backup;
pub mod decode;
pub mod draft;
pub mod fault;
pub mod key_kind;
pub mod locale;
pub mod named;
pub mod option;
pub mod parse;
pub mod release;
mod rules;
pub mod value;
pub mod yaml;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::name::{Country, DbName, Fqdn, ImageRef, Language, Login, Port, SiteName};
use acme::Acme;
use backup::Backup;
use release::Release;
use value::{
    Cidr, HeaderName, HostKey, HostName, MailAddress, OptionKey, OptionValue, RoleName, SmtpUser, SslMode,
    SystemUser,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    pub name: SiteName,
    /// The name that people type; Odoo's links use it.
    pub domain: Fqdn,
    /// Further names that answer with the same site.
    pub aliases: Vec<Fqdn>,
    pub database: DbName,
    /// Databases beside the first, each with names of its own.
    pub further: Vec<Database>,
    /// People who work with Odoo at the same time of day; sizing starts from it.
    pub users: u32,
    /// What the site may use of this machine.
    pub limits: Limits,
    pub odoo: Odoo,
    /// Where Odoo hands in its mail; without it mail servers are a matter of Odoo's settings.
    pub smtp: Option<Smtp>,
    pub postgres: Postgres,
    pub nginx: Nginx,
    pub manager: Manager,
    pub proxy: Option<Proxy>,
    pub listen: Listen,
    pub tls: Tls,
    pub tls_profile: TlsProfile,
    pub backup: Backup,
}

/// A database and the names that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    pub name: DbName,
    /// The name that people type; links in this database's mails use it.
    pub domain: Fqdn,
    pub aliases: Vec<Fqdn>,
}

impl Database {
    pub fn names(&self) -> impl Iterator<Item = &Fqdn> {
        std::iter::once(&self.domain).chain(&self.aliases)
    }
}

/// A share of the machine. `None`: all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub cpus: Option<u32>,
    pub memory_bytes: Option<u64>,
}

/// A mail server to hand mail to (a smarthost). Its password is the secret `smtp-password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Smtp {
    pub host: HostName,
    pub port: Port,
    pub encryption: SmtpEncryption,
    pub user: Option<SmtpUser>,
    /// The sender of mail that says no other (`email_from`).
    pub from: Option<MailAddress>,
    /// The domain or address that this server may send for (`from_filter`, Odoo 16 and newer).
    pub from_filter: Option<SmtpUser>,
}

/// What Odoo takes from odoo.conf: it reads `smtp_ssl` as STARTTLS (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpEncryption {
    None,
    StartTls,
}

/// Who may open Odoo's database manager. By default nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Manager {
    /// May open all of `/web/database`.
    pub allow: Vec<Cidr>,
    /// May open `/web/database/selector` alone.
    pub selector: Vec<Cidr>,
}

impl Manager {
    /// Odoo shows its manager only with `list_db`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.allow.is_empty() || !self.selector.is_empty()
    }
}

/// A CDN or a web application firewall in front of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// Its addresses: nobody else is answered. Never empty.
    pub trusted: Vec<Cidr>,
    /// The header in which it tells the client's address.
    pub header: HeaderName,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Odoo {
    pub image: ImageRef,
    /// From the image's tag, or from `odoo.release` when the tag does not tell.
    pub release: Release,
    /// Login of the first user; used once, when the database is made.
    pub admin_login: Login,
    /// Used once, when the database is made.
    pub language: Language,
    /// Used once, when the database is made.
    pub country: Option<Country>,
    /// Further lines of odoo.conf; none that we write ourselves.
    pub options: BTreeMap<OptionKey, OptionValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Postgres {
    pub image: ImageRef,
    /// From the image's tag, or from `postgres.major` when the tag does not tell.
    pub major: u32,
    /// A server that somebody else runs, in place of a container. The image is then used for its
    /// client programs.
    pub external: Option<External>,
}

/// A PostgreSQL server elsewhere. The role's password is the secret `database-password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct External {
    pub host: HostName,
    pub port: Port,
    pub user: RoleName,
    /// libpq's `sslmode`; meaningless through `ssh`.
    pub sslmode: SslMode,
    /// libpq's `sslrootcert`; relative paths start at the site directory, as those below.
    pub root_certificate: Option<PathBuf>,
    /// libpq's `sslcert` and `sslkey`.
    pub client: Option<ClientCertificate>,
    pub ssh: Option<Ssh>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The way to the server leads through this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ssh {
    pub host: HostName,
    pub port: Port,
    pub user: SystemUser,
    /// The fingerprint of the key by which that host is known. Without it `up` goes no further than
    /// telling which keys the host shows.
    pub host_key: Option<HostKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nginx {
    pub image: ImageRef,
    /// The largest request body, in MiB.
    pub upload_limit_mib: u32,
    /// Browsers that came once insist on https for every name below the site's, too.
    pub hsts_subdomains: bool,
}

/// Where the site is published on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listen {
    pub address: IpAddr,
    pub http: Port,
    pub https: Port,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Signed by the site's own local CA.
    SelfSigned,
    /// The owner's own PEM files; relative paths start at the site directory.
    Files { certificate: PathBuf, key: PathBuf },
    /// From a certificate authority, by ACME.
    Acme(Box<Acme>),
}

/// Where `cert import` puts the owner's certificate while `tls:` names no files.
pub const IMPORTED_CERTIFICATE: &str = "secrets/imported/fullchain.pem";
pub const IMPORTED_KEY: &str = "secrets/imported/privkey.pem";

/// Which browsers are served: Mozilla's "Server Side TLS" profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3: everything that is still kept.
    Intermediate,
    /// TLS 1.3 alone: browsers since about 2018.
    Modern,
}

impl TlsProfile {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TlsProfile::Intermediate => "intermediate",
            TlsProfile::Modern => "modern",
        }
    }
}

impl Site {
    /// Every database with its names, the first one first.
    #[must_use]
    pub fn databases(&self) -> Vec<Database> {
        let first = Database {
            name: self.database.clone(),
            domain: self.domain.clone(),
            aliases: self.aliases.clone(),
        };
        std::iter::once(first).chain(self.further.iter().cloned()).collect()
    }

    /// Every name that the site answers to, the domain first.
    pub fn names(&self) -> impl Iterator<Item = &Fqdn> {
        let first = std::iter::once(&self.domain).chain(&self.aliases);
        first.chain(self.further.iter().flat_map(Database::names))
    }

    /// What a person types into a browser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.domain)
    }

    #[must_use]
    pub fn url_of(&self, domain: &Fqdn) -> String {
        match self.listen.https {
            Port::HTTPS => format!("https://{domain}"),
            port => format!("https://{domain}:{port}"),
        }
    }
}
