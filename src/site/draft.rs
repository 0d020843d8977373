//! What was said about a site, by a file, by flags or by answers, before it is known to fit
//! together. Whoever speaks, [`Draft::into_site`] applies the same rules and the same defaults.

use crate::name::{Country, DbName, Fqdn, ImageRef, Language, Login, Port, SiteName};
use crate::site::acme::{
    AcmeProfile, CertificateName, ChallengeKind, DirectoryUrl, ExternalAccountId, Resolver,
};
use crate::site::backup::{Count, Days, Place, TargetName};
use crate::site::key_kind::KeyKind;
use crate::site::release::Release;
use crate::site::rules::Rules;
use crate::site::value::{
    Address, Cidr, Cpus, FilePath, Flag, HeaderName, HostKey, HostName, MailAddress, Memory, OptionKey,
    OptionValue, PostgresMajor, RoleName, SmtpUser, SslMode, SystemUser, TlsMode, UploadLimit, Users,
};
use crate::site::{Site, SmtpEncryption, TlsProfile};

/// One value of a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing was said; the default holds.
    #[default]
    Absent,
    /// Said but unreadable, or still to be asked. What depends on it is not judged.
    Unknown,
    Value(T),
}

impl<T> Given<T> {
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Given::Absent)
    }

    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Given::Unknown)
    }

    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Unknown => None,
        }
    }

    /// The value, or the default when nothing was said; `None` when it cannot be known.
    pub fn or(self, default: impl FnOnce() -> Option<T>) -> Option<T> {
        match self {
            Given::Value(value) => Some(value),
            Given::Absent => default(),
            Given::Unknown => None,
        }
    }
}

impl<T> From<Option<T>> for Given<T> {
    fn from(option: Option<T>) -> Self {
        option.map_or(Given::Absent, Given::Value)
    }
}

/// Each value of a draft that a rule can find at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One that no flag sets, by its key in the site file.
    Key(&'static str),
    /// A line of `odoo.options`.
    Option(OptionKey),
    /// A key of a further database, counted from 0.
    Further(usize, &'static str),
    /// A key of a target of backups, counted from 0.
    Target(usize, &'static str),
    Name,
    Domain,
    /// Counted from 0.
    Alias(usize),
    Database,
    OdooImage,
    OdooRelease,
    Language,
    Country,
    PostgresImage,
    PostgresMajor,
    HttpsPort,
    TlsMode,
    TlsCertificate,
    TlsKey,
    AcmeDirectory,
    AcmeEmail,
    AcmeHook,
}

impl Field {
    /// Its key in the site file.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Field::Alias(index) => format!("aliases[{index}]"),
            Field::Option(key) => format!("odoo.options.{key}"),
            Field::Further(index, key) => format!("databases[{index}].{key}"),
            Field::Target(index, key) => format!("backup.to[{index}].{key}"),
            _ => self.words().0.to_owned(),
        }
    }

    /// Its flag on the command line; `databases` and the like have none.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        self.words().1
    }

    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Field::Key(key) => (key, key),
            Field::Option(_) => ("odoo.options", "odoo.options"),
            Field::Further(..) => ("databases", "databases"),
            Field::Target(..) => ("backup.to", "--backup-to"),
            Field::Name => ("name", "--name"),
            Field::Domain => ("domain", "--domain"),
            Field::Alias(_) => ("aliases", "--alias"),
            Field::Database => ("database", "--database"),
            Field::OdooImage => ("odoo.image", "--odoo-image"),
            Field::OdooRelease => ("odoo.release", "--odoo-release"),
            Field::Language => ("odoo.language", "--language"),
            Field::Country => ("odoo.country", "--country"),
            Field::PostgresImage => ("postgres.image", "--postgres-image"),
            Field::PostgresMajor => ("postgres.major", "--postgres-major"),
            Field::HttpsPort => ("listen.https", "--https-port"),
            Field::TlsMode => ("tls.mode", "--tls"),
            Field::TlsCertificate => ("tls.certificate", "--tls-certificate"),
            Field::TlsKey => ("tls.key", "--tls-key"),
            Field::AcmeDirectory => ("tls.acme.directory", "--acme-directory"),
            Field::AcmeEmail => ("tls.acme.email", "--acme-email"),
            Field::AcmeHook => ("tls.acme.dns_hook", "--acme-dns-hook"),
        }
    }
}

/// A value that does not fit the others, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub field: Field,
    pub message: String,
}

/// A further database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseDraft {
    pub name: Given<DbName>,
    pub domain: Given<Fqdn>,
    pub aliases: Vec<Given<Fqdn>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmtpDraft {
    pub host: Given<HostName>,
    pub port: Given<Port>,
    pub encryption: Given<SmtpEncryption>,
    pub user: Given<SmtpUser>,
    pub from: Given<MailAddress>,
    pub from_filter: Given<SmtpUser>,
}

/// An external PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalDraft {
    pub host: Given<HostName>,
    pub port: Given<Port>,
    pub user: Given<RoleName>,
    pub sslmode: Given<SslMode>,
    pub root_certificate: Given<FilePath>,
    pub certificate: Given<FilePath>,
    pub key: Given<FilePath>,
    pub ssh_host: Given<HostName>,
    pub ssh_port: Given<Port>,
    pub ssh_user: Given<SystemUser>,
    pub ssh_host_key: Given<HostKey>,
}

/// Certificates by ACME.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcmeDraft {
    pub directory: Given<DirectoryUrl>,
    pub email: Given<MailAddress>,
    pub agreed: Given<Flag>,
    pub root: Given<FilePath>,
    pub challenge: Given<ChallengeKind>,
    pub hook: Given<FilePath>,
    pub profile: Given<AcmeProfile>,
    pub key: Given<KeyKind>,
    pub external_account: Given<ExternalAccountId>,
    pub names: Vec<Given<CertificateName>>,
    pub resolvers: Vec<Given<Resolver>>,
}

/// Backups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupDraft {
    pub to: Vec<TargetDraft>,
    pub keep: KeepDraft,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetDraft {
    pub url: Given<Place>,
    pub name: Given<TargetName>,
    pub required: Given<Flag>,
    pub own_password: Given<Flag>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepDraft {
    pub last: Given<Count>,
    pub hourly: Given<Count>,
    pub daily: Given<Count>,
    pub weekly: Given<Count>,
    pub monthly: Given<Count>,
    pub yearly: Given<Count>,
    pub within: Given<Days>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub name: Given<SiteName>,
    pub domain: Given<Fqdn>,
    pub aliases: Vec<Given<Fqdn>>,
    pub database: Given<DbName>,
    pub further: Vec<DatabaseDraft>,
    pub users: Given<Users>,
    pub cpus: Given<Cpus>,
    pub memory: Given<Memory>,
    pub odoo_image: Given<ImageRef>,
    pub odoo_release: Given<Release>,
    pub admin_login: Given<Login>,
    pub language: Given<Language>,
    pub country: Given<Country>,
    pub options: Vec<(OptionKey, Given<OptionValue>)>,
    pub smtp: SmtpDraft,
    pub postgres_image: Given<ImageRef>,
    pub postgres_major: Given<PostgresMajor>,
    pub external: ExternalDraft,
    pub nginx_image: Given<ImageRef>,
    pub upload_limit: Given<UploadLimit>,
    pub hsts_subdomains: Given<Flag>,
    pub manager_allow: Vec<Given<Cidr>>,
    pub manager_selector: Vec<Given<Cidr>>,
    pub proxy_trusted: Vec<Given<Cidr>>,
    pub proxy_header: Given<HeaderName>,
    pub address: Given<Address>,
    pub http: Given<Port>,
    pub https: Given<Port>,
    pub tls_mode: Given<TlsMode>,
    pub tls_certificate: Given<FilePath>,
    pub tls_key: Given<FilePath>,
    pub tls_profile: Given<TlsProfile>,
    pub acme: AcmeDraft,
    pub backup: BackupDraft,
}

impl Draft {
    /// The site, or everything that does not fit. The list is empty when the only trouble is a
    /// value that is [`Given::Unknown`]: whoever put that there knows why.
    pub fn into_site(self) -> Result<Site, Vec<Conflict>> {
        let mut rules = Rules::default();
        match rules.site(self) {
            Some(site) if rules.conflicts.is_empty() => Ok(site),
            _ => Err(rules.conflicts),
        }
    }

    /// What does not fit so far.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.clone().into_site().err().unwrap_or_default()
    }

    /// The release, when what was said is enough to know it.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        Rules::default().release(&self.odoo_image, &self.odoo_release)
    }

    /// The database, when what was said is enough to know it.
    #[must_use]
    pub fn database(&self) -> Option<DbName> {
        Rules::default().database(self.database.clone(), &self.name)
    }
}

/// Docker Hub's image of a release.
#[must_use]
pub fn odoo_image(release: Release) -> ImageRef {
    stock(&format!("docker.io/library/odoo:{release}.0"))
}

/// Docker Hub's image of a PostgreSQL major.
#[must_use]
pub fn postgres_image(major: PostgresMajor) -> ImageRef {
    stock(&format!("docker.io/library/postgres:{major}"))
}

/// Docker Hub's stable nginx.
#[must_use]
pub fn nginx_image() -> ImageRef {
    stock("docker.io/library/nginx:stable")
}

fn stock(reference: &str) -> ImageRef {
    // The three callers write valid references; a test makes each of them.
    reference.parse().expect("a stock image's reference")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stock_image_is_a_valid_reference() {
        let releases: Vec<String> = Release::all().map(|release| odoo_image(release).to_string()).collect();
        assert_eq!(releases.last().map(String::as_str), Some("docker.io/library/odoo:19.0"));
        for major in PostgresMajor::OLDEST..=PostgresMajor::NEWEST {
            assert_eq!(postgres_image(PostgresMajor::new(major).unwrap()).tag_major(), Some(major));
        }
        assert_eq!(nginx_image().tag(), Some("stable"));
    }
}
