//! How a new database sorts and compares text.
//!
//! From PostgreSQL 15 a database may sort by ICU, which knows every language in every image; the
//! stock image's C library knows `en_US` and little else. Manual: chapter "Localization", section
//! "Collation Support"; `CREATE DATABASE`.
//!
//! **A new image may sort differently.** Indexes on text are sorted, so they break when the library
//! beneath them changes its mind: ICU's version changes with the image's Debian or Alpine release,
//! glibc's as well. PostgreSQL records the version with which a database was made
//! (`pg_database.datcollversion`, from 15) and warns at each connection ("collation version
//! mismatch") when the library's differs (`pg_database_collation_actual_version(oid)`). Whoever
//! brings a new PostgreSQL image has to compare the two and, where they differ, run `REINDEX
//! DATABASE` in each database and then `ALTER DATABASE … REFRESH COLLATION VERSION`. Up to 14 nothing
//! is recorded for a database: after a change of the image's C library (Debian release, or between
//! Debian and Alpine) it has to be reindexed without being asked. A database that was dumped and
//! restored needs none of this.

use serde::Serialize;

use crate::name::{Country, Language};

/// The first major whose databases can sort by ICU.
const FIRST_WITH_ICU: u32 = 15;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "provider", rename_all = "kebab-case")]
pub enum Collation {
    /// By ICU, for a language tag (BCP 47) such as `fr-BE`.
    Icu { locale: String },
    /// By the first of these locales that the server's C library has, else by the cluster's own.
    Libc { locales: Vec<String> },
}

impl std::fmt::Display for Collation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Collation::Icu { locale } => f.write_str(locale),
            Collation::Libc { locales } => f.write_str(&locales.join(" or ")),
        }
    }
}

/// The collation for people who speak `language` in `country`, on a server of this major.
#[must_use]
pub fn collation(language: &Language, country: Option<&Country>, major: u32) -> Collation {
    let tongue = Tongue::of(language, country);
    if major >= FIRST_WITH_ICU {
        Collation::Icu { locale: tongue.tag() }
    } else {
        Collation::Libc { locales: tongue.locales(language) }
    }
}

/// Odoo's language code in parts: `sr@latin`, `es_419`, `fr_BE`.
struct Tongue<'a> {
    word: &'a str,
    /// ISO 15924.
    script: Option<&'static str>,
    /// The country, else the code's own territory.
    territory: Option<&'a str>,
}

impl<'a> Tongue<'a> {
    fn of(language: &'a Language, country: Option<&'a Country>) -> Tongue<'a> {
        let (base, variant) = language.as_str().split_once('@').unwrap_or((language.as_str(), ""));
        let (word, own) = base.split_once('_').map_or((base, None), |(word, own)| (word, Some(own)));
        let script = match variant {
            "latin" => Some("Latn"),
            "Cyrl" => Some("Cyrl"),
            _ => None,
        };
        Tongue { word, script, territory: country.map(Country::as_str).or(own) }
    }

    /// The language tag: language, script, territory (RFC 5646, section 2.1).
    fn tag(&self) -> String {
        let parts = [Some(self.word), self.script, self.territory];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// As glibc names them. American English is in every stock image and sorts accents where most
    /// people look for them; `C` does not.
    fn locales(&self, language: &Language) -> Vec<String> {
        let here = self.territory.map(|territory| format!("{}_{territory}.utf8", self.word));
        let own = (!language.as_str().contains('@')).then(|| format!("{language}.utf8"));
        let known = ["en_US.utf8", "C.utf8"].map(str::to_owned);
        let mut locales: Vec<String> = Vec::new();
        for locale in here.into_iter().chain(own).chain(known) {
            if !locales.contains(&locale) {
                locales.push(locale);
            }
        }
        locales
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(language: &str, country: Option<&str>, major: u32) -> String {
        let country: Option<Country> = country.map(|code| code.parse().unwrap());
        collation(&language.parse().unwrap(), country.as_ref(), major).to_string()
    }

    #[test]
    fn language_tags() {
        for (language, country, tag) in [
            ("fr_FR", None, "fr-FR"),
            ("fr_FR", Some("BE"), "fr-BE"),
            ("en_US", Some("SE"), "en-SE"),
            ("sr@latin", None, "sr-Latn"),
            ("sr@latin", Some("RS"), "sr-Latn-RS"),
            ("sr@Cyrl", Some("RS"), "sr-Cyrl-RS"),
            ("es_419", None, "es-419"),
            ("ar_001", Some("EG"), "ar-EG"),
            ("sw", None, "sw"),
            ("kab_DZ", None, "kab-DZ"),
        ] {
            assert_eq!(chosen(language, country, 17), tag, "{language} {country:?}");
            assert_eq!(chosen(language, country, 15), tag);
        }
    }

    #[test]
    fn older_servers_take_what_their_library_has() {
        for (language, country, locales) in [
            ("fr_FR", None, "fr_FR.utf8 or en_US.utf8 or C.utf8"),
            ("fr_FR", Some("BE"), "fr_BE.utf8 or fr_FR.utf8 or en_US.utf8 or C.utf8"),
            ("sr@latin", Some("RS"), "sr_RS.utf8 or en_US.utf8 or C.utf8"),
            ("en_US", None, "en_US.utf8 or C.utf8"),
        ] {
            assert_eq!(chosen(language, country, 14), locales);
        }
    }

    /// Every language that Odoo has makes a tag of letters, digits and hyphens.
    #[test]
    fn every_language_makes_a_tag() {
        use crate::site::{locale::languages, release::Release};
        for language in Release::all().flat_map(languages) {
            let tag = chosen(language, None, 17);
            assert!(tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{tag}");
            assert_eq!(tag.split('-').next(), language.split(['_', '@']).next());
        }
    }
}
