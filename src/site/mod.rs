//! The site: what its owner wants, checked. A [`Site`] that exists is valid.

pub mod decode;
pub mod draft;
pub mod fault;
pub mod locale;
pub mod parse;
pub mod release;
mod rules;
pub mod value;
pub mod yaml;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::name::{Country, DbName, Fqdn, ImageRef, Language, Login, Port, SiteName};
use release::Release;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    pub name: SiteName,
    /// The name that people type; Odoo's links use it.
    pub domain: Fqdn,
    /// Further names that answer with the same site.
    pub aliases: Vec<Fqdn>,
    pub database: DbName,
    /// People who work with Odoo at the same time of day; sizing starts from it.
    pub users: u32,
    pub odoo: Odoo,
    pub postgres: Postgres,
    pub nginx: Nginx,
    pub listen: Listen,
    pub tls: Tls,
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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Postgres {
    pub image: ImageRef,
    /// From the image's tag, or from `postgres.major` when the tag does not tell.
    pub major: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nginx {
    pub image: ImageRef,
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
}

impl Site {
    /// Every name that the site answers to, the domain first.
    pub fn names(&self) -> impl Iterator<Item = &Fqdn> {
        std::iter::once(&self.domain).chain(&self.aliases)
    }

    /// What a person types into a browser.
    #[must_use]
    pub fn url(&self) -> String {
        match self.listen.https {
            Port::HTTPS => format!("https://{}", self.domain),
            port => format!("https://{}:{port}", self.domain),
        }
    }
}
