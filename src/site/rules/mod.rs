//! The rules that look at more than one value of a site, and the defaults.

mod backup;
mod databases;
mod services;
mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::name::{Country, DbName, Fqdn, ImageRef, Invalid, Language, Port, SiteName, nearest};
use crate::site::draft::{Conflict, Draft, Field, Given, nginx_image, odoo_image, postgres_image};
use crate::site::release::Release;
use crate::site::value::{Address, Flag, PostgresMajor, UploadLimit, Users, version_in_tag};
use crate::site::{Database, Limits, Listen, Nginx, Odoo, Postgres, Site, TlsProfile, locale};

/// The rules at work. Each returns `None` when its value cannot be known; it has then noted a
/// conflict, unless something it depends on was [`Given::Unknown`].
#[derive(Default)]
pub struct Rules {
    pub conflicts: Vec<Conflict>,
}

impl Rules {
    fn conflict<T>(&mut self, field: Field, message: impl fmt::Display) -> Option<T> {
        self.conflicts.push(Conflict { field, message: message.to_string() });
        None
    }

    fn required<T>(&mut self, given: Given<T>, field: Field) -> Option<T> {
        given.or(|| self.conflict(field, "required"))
    }

    pub fn site(&mut self, draft: Draft) -> Option<Site> {
        let release = self.release(&draft.odoo_image, &draft.odoo_release);
        let database = self.database(draft.database, &draft.name);
        let aliases = self.aliases(draft.aliases, draft.domain.value());
        let name = self.required(draft.name, Field::Name);
        let domain = self.required(draft.domain, Field::Domain);
        let language = self.language(draft.language, release);
        let country = self.country(draft.country);
        let postgres = self.postgres(draft.postgres_image, &draft.postgres_major, release);
        let listen = self.listen(draft.address, draft.http, draft.https);
        let names: Vec<Fqdn> = domain.iter().chain(aliases.iter().flatten()).cloned().collect();
        let further = self.further(&draft.further, database.as_ref(), names.iter().cloned());
        let every_name = further.iter().flatten().flat_map(Database::names).chain(&names);
        let tls = self.tls(
            &draft.tls_mode,
            draft.tls_certificate,
            draft.tls_key,
            draft.acme,
            &every_name.collect::<Vec<_>>(),
        );
        let options = self.options(draft.options);
        let smtp = self.smtp(draft.smtp, release);
        let external = self.external(draft.external);
        let manager = Self::manager(draft.manager_allow, draft.manager_selector);
        let proxy = self.proxy(draft.proxy_trusted, draft.proxy_header);
        let memory = self.memory(draft.memory);
        let backup = self.backup(draft.backup);
        // Every rule has run by now: only here does a missing value end it.
        let odoo = Odoo {
            image: draft.odoo_image.or(|| release.map(odoo_image))?,
            release: release?,
            admin_login: draft.admin_login.or(|| "owner".parse().ok())?,
            language: language?,
            country: country?,
            options: options?,
        };
        Some(Site {
            name: name?,
            domain: domain?,
            aliases: aliases?,
            database: database?,
            further: further?,
            users: draft.users.or(|| Some(Users::DEFAULT))?.get(),
            limits: Limits {
                cpus: services::optional(draft.cpus)?.map(|cpus| cpus.0),
                memory_bytes: memory?.map(|memory| memory.0),
            },
            odoo,
            smtp: smtp?,
            postgres: Postgres { external: external?, ..postgres? },
            nginx: Nginx {
                image: draft.nginx_image.or(|| Some(nginx_image()))?,
                upload_limit_mib: draft.upload_limit.or(|| Some(UploadLimit::DEFAULT))?.0,
                hsts_subdomains: draft.hsts_subdomains.or(|| Some(Flag(false)))?.0,
            },
            manager: manager?,
            proxy: proxy?,
            listen: listen?,
            tls: tls?,
            tls_profile: draft.tls_profile.or(|| Some(TlsProfile::Intermediate))?,
            backup: backup?,
        })
    }

    /// By default the site's name, with `_` for `-` so that it needs no quotes in SQL.
    pub fn database(&mut self, given: Given<DbName>, name: &Given<SiteName>) -> Option<DbName> {
        given.or(|| match name.value()?.as_str().replace('-', "_").parse() {
            Ok(database) => Some(database),
            Err(Invalid(why)) => {
                self.conflict(Field::Database, format!("required, as the site's name makes none: {why}"))
            }
        })
    }

    fn aliases(&mut self, given: Vec<Given<Fqdn>>, domain: Option<&Fqdn>) -> Option<Vec<Fqdn>> {
        let mut seen = BTreeSet::new();
        for (index, alias) in given.iter().enumerate() {
            let Some(alias) = alias.value() else { continue };
            if Some(alias) == domain {
                self.conflict::<()>(
                    Field::Alias(index),
                    format!("`{alias}` is both the domain and an alias"),
                );
            } else if !seen.insert(alias) {
                self.conflict::<()>(Field::Alias(index), format!("`{alias}` is given twice"));
            }
        }
        given.into_iter().map(|alias| alias.or(|| None)).collect()
    }

    pub fn release(&mut self, image: &Given<ImageRef>, given: &Given<Release>) -> Option<Release> {
        let fields = (Field::OdooImage, Field::OdooRelease);
        self.version(image, given, fields, Release::new, Some(Release::NEWEST))
    }

    fn postgres(
        &mut self,
        image: Given<ImageRef>,
        given: &Given<PostgresMajor>,
        release: Option<Release>,
    ) -> Option<Postgres> {
        let fields = (Field::PostgresImage, Field::PostgresMajor);
        let fitting = release.and_then(|release| PostgresMajor::new(release.fitting_postgres()[0]).ok());
        let major = self.version(&image, given, fields.clone(), PostgresMajor::new, fitting)?;
        let (release, oldest) = (release?, release?.oldest_postgres());
        if major.get() < oldest {
            let field = if given.value().is_some() { fields.1 } else { fields.0 };
            let why =
                format!("PostgreSQL {major} is older than Odoo {release} supports; use {oldest} or newer");
            return self.conflict(field, why);
        }
        Some(Postgres {
            image: image.or(|| Some(postgres_image(major)))?,
            major: major.get(),
            external: None,
        })
    }

    /// The version that the image's tag tells, or that was said beside it; both must agree.
    fn version<V: Copy + PartialEq + fmt::Display>(
        &mut self,
        image: &Given<ImageRef>,
        said: &Given<V>,
        (image_field, said_field): (Field, Field),
        known: fn(u32) -> Result<V, Invalid>,
        default: Option<V>,
    ) -> Option<V> {
        let image = match image {
            Given::Unknown => return None,
            Given::Absent => return said.clone().or(|| default),
            Given::Value(image) => image,
        };
        let Some(number) = version_in_tag(image) else {
            let why = || format!("required, as the tag of `{image}` does not tell it");
            return said.clone().or(|| self.conflict(said_field, why()));
        };
        match (known(number), said) {
            (Err(Invalid(expected)), _) => {
                self.conflict(image_field, format!("{expected}, found {number} in `{image}`"))
            }
            (Ok(told), Given::Value(said)) if *said != told => {
                self.conflict(said_field, format!("says {said}, but the tag of `{image}` says {told}"))
            }
            (Ok(told), _) => Some(told),
        }
    }

    fn language(&mut self, given: Given<Language>, release: Option<Release>) -> Option<Language> {
        let language = given.or(|| "en_US".parse().ok())?;
        let Some(release) = release else { return Some(language) };
        let code = language.as_str();
        if locale::languages(release).any(|known| known == code) {
            return Some(language);
        }
        let near = nearest(code, locale::languages(release)).or_else(|| locale::of_word(code));
        let near = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        self.conflict(Field::Language, format!("Odoo {release} has no language `{code}`{near}"))
    }

    /// `Some(None)`: no country is wanted.
    #[expect(clippy::option_option, reason = "unknown, none and some country are three things")]
    fn country(&mut self, given: Given<Country>) -> Option<Option<Country>> {
        match given {
            Given::Unknown => None,
            Given::Absent => Some(None),
            Given::Value(country) if locale::is_country(&country) => Some(Some(country)),
            Given::Value(country) => {
                self.conflict(Field::Country, format!("there is no country `{country}` in ISO 3166-1"))
            }
        }
    }

    fn listen(&mut self, address: Given<Address>, http: Given<Port>, https: Given<Port>) -> Option<Listen> {
        let http = http.or(|| Some(Port::HTTP));
        let https = https.or(|| Some(Port::HTTPS));
        if let (Some(http), true) = (http, http == https) {
            return self.conflict(Field::HttpsPort, format!("port {http} is already the port for http"));
        }
        let address = address.or(|| Some(Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))?;
        Some(Listen { address: address.0, http: http?, https: https? })
    }
}
