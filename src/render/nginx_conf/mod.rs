//! nginx.conf: the whole file, for the stock image. It needs nginx 1.25.1 or newer (`http2 on`).
//!
//! The parts that are the same for every site lie as text in `text/`; the functions here fill in
//! the rest. docs/nginx.md says why things are as they are.

mod access;
mod answers;
mod assets;
mod server;
mod template;

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::name::{DbName, Fqdn, Port};
use crate::site::release::Release;
use crate::site::{Manager, Proxy, TlsProfile};
use crate::stack::sizing::NginxSizes;
use template::fill;

/// Where the directory with nginx.conf is mounted.
pub const CONFIG_MOUNT: &str = "/etc/autoodoo/nginx";
/// Where the directory with one subdirectory a certificate is mounted.
pub const TLS_MOUNT: &str = "/etc/autoodoo/tls";
/// Where the answers to a CA's questions lie (RFC 8555, section 8.3).
pub const CHALLENGE_MOUNT: &str = "/etc/autoodoo/nginx/challenge";
/// Where nginx keeps what it caches, and bodies that are on their way. On a disk, never in memory:
/// an upload of 1 GB lies here whole.
pub const CACHE_MOUNT: &str = "/var/cache/nginx";
/// Where Odoo's data directory is mounted, read-only, for attachments.
pub const DATA_MOUNT: &str = "/var/lib/odoo";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NginxConf {
    pub release: Release,
    /// One a database, the first one first; never empty. Whoever asks for a name that none of
    /// them has gets no answer.
    pub hosts: Vec<Host>,
    /// The host's port for https, for redirects.
    pub https: Port,
    /// The certificate's directory under [`TLS_MOUNT`].
    pub certificate: String,
    pub tls_profile: TlsProfile,
    /// The address that connections have which the engine passes on by a process of its own.
    pub gateway: Ipv4Addr,
    /// Says which static files Odoo has: the image's digest and the addons' fingerprint. One word.
    pub static_version: String,
    pub hsts: Hsts,
    /// The largest request body, in MiB.
    pub upload_limit_mib: u32,
    pub manager: Manager,
    pub proxy: Option<Proxy>,
    pub sizing: NginxSizes,
}

/// A database, the names that lead to it and the Odoo that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    pub names: Vec<Fqdn>,
    pub database: DbName,
    /// The address of the Odoo slot that serves.
    pub odoo: Ipv4Addr,
    /// The address of its other slot.
    pub other: Ipv4Addr,
}

/// Whether browsers that came once insist on https (RFC 6797). Only for a certificate that they
/// trust: the visitor can no longer click a warning away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hsts {
    Off,
    OneYear,
    OneYearWithSubdomains,
}

impl Hsts {
    fn value(self) -> Option<&'static str> {
        match self {
            Hsts::Off => None,
            Hsts::OneYear => Some("max-age=31536000"),
            Hsts::OneYearWithSubdomains => Some("max-age=31536000; includeSubDomains"),
        }
    }
}

/// The file's text.
#[must_use]
pub fn nginx_conf(conf: &NginxConf) -> String {
    fill(
        include_str!("text/main.conf"),
        &[
            ("worker_processes", &conf.sizing.worker_processes.to_string()),
            ("open_files", &conf.sizing.open_files.to_string()),
            ("worker_connections", &conf.sizing.worker_connections.to_string()),
            ("upload_limit", &conf.upload_limit_mib.to_string()),
            ("hosts", &server::hosts(conf)),
            ("people", &access::people(conf)),
            ("limits", include_str!("text/limits.conf")),
            ("cache", &assets::cache(conf)),
            ("headers", &server::header_maps(conf)),
            ("answers", &answers::maps()),
            ("plain_http", &server::plain_http(conf)),
            ("https", &server::https(conf)),
        ],
    )
}

/// Whether requests go to this address, by a text of ours.
#[must_use]
pub fn asks(text: &str, address: Ipv4Addr) -> bool {
    text.contains(&format!("{};", server::asked(address)))
}

/// The certificate's directory in a text of ours.
#[must_use]
pub fn certificate_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(&format!("ssl_certificate {TLS_MOUNT}/"))?;
    rest.split_once('/').map(|(id, _)| id)
}

/// The names that a text of ours answers to.
#[must_use]
pub fn names_in(text: &str) -> Vec<Fqdn> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("server_name ")?.strip_suffix(';'));
    let names = lines.map(|line| line.split(' ').filter_map(|name| name.parse().ok()).collect::<Vec<_>>());
    names.into_iter().find(|names: &Vec<Fqdn>| !names.is_empty()).unwrap_or_default()
}

/// The same text with another certificate.
#[must_use]
pub fn with_certificate(text: &str, id: &str) -> String {
    match certificate_in(text) {
        Some(present) => text.replace(&format!("{TLS_MOUNT}/{present}/"), &format!("{TLS_MOUNT}/{id}/")),
        None => text.to_owned(),
    }
}

/// The static version in a text of ours.
#[must_use]
pub fn static_version_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("proxy_cache_key \"$host ")?;
    rest.split_once(' ').map(|(version, _)| version)
}

#[cfg(test)]
mod tests;
