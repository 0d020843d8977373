//! Static files: what is kept, and which files nginx sends itself.

use super::NginxConf;
use super::server::{browser_headers, odoo_headers};
use super::template::fill;
use crate::site::release::Release;

/// The paths of Odoo's asset bundles, without those of the debug mode. Odoo 14 serves them as
/// attachments (`/web/content/30-1031ff6/web.assets_common.js`), 15 and 16 as
/// `/web/assets/30-1031ff6/…`, later ones as `/web/assets/1031ff6/…` (a website's number before it).
fn pattern(release: Release, extension: &str) -> String {
    match release.number() {
        14 => format!("^/web/content/[0-9]+-[0-9a-f]{{7}}/[^/]*assets[^/]*\\.{extension}$"),
        _ => format!("^/web/assets/(?:[0-9]+[-/])?[0-9a-f]{{7}}/.+\\.{extension}$"),
    }
}

/// The part of `http` about caching.
pub(super) fn cache(conf: &NginxConf) -> String {
    let text = fill(
        include_str!("text/cache.conf"),
        &[
            ("cache_mib", &conf.sizing.cache_mib.to_string()),
            ("cache_keys_mib", &conf.sizing.cache_keys_mib.to_string()),
            ("static_version", &conf.static_version),
        ],
    );
    if conf.release.has_x_accel() { text + include_str!("text/accel.conf") } else { text }
}

/// The locations of bundles and attachments.
pub(super) fn locations(conf: &NginxConf) -> String {
    if !conf.release.has_x_accel() {
        let pattern = pattern(conf.release, "(?:js|css)");
        return fill(
            include_str!("text/assets_proxied.conf"),
            &[("pattern", &pattern), ("odoo_headers", &odoo_headers("            "))],
        ) + "\n";
    }
    let headers = browser_headers(conf, "            ");
    let mut text = String::from(
        "        # Bundles of scripts and styles: the same for everybody. Odoo is asked once which file it is,\n        \
         # without the visitor's session. What is no file (an outdated bundle, say) goes the usual way.\n",
    );
    for (extension, media_type) in [("js", "application/javascript"), ("css", "text/css")] {
        let pattern = pattern(conf.release, extension);
        let values = [("pattern", pattern.as_str()), ("type", media_type), ("browser_headers", &headers)];
        text.push_str(&fill(include_str!("text/assets_accel.conf"), &values));
    }
    let values = [
        ("static_version", conf.static_version.as_str()),
        ("odoo_headers", &odoo_headers("            ")),
        ("browser_headers", &headers),
    ];
    text + &fill(include_str!("text/filestore.conf"), &values) + "\n"
}
