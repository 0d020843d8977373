//! A target's place, as people write it: an absolute path or a URL. It never holds a secret.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Place, TargetName};
use crate::name::{Invalid, Port, nearest};
use crate::site::value::{HostName, SystemUser};

const SCHEMES: [&str; 6] = ["local", "sftp", "s3", "s3+http", "rest", "drop+sftp"];
/// What servers that have no regions take (Amazon's first one).
const DEFAULT_REGION: &str = "us-east-1";
/// Linux: `PATH_MAX` without the final zero.
const LONGEST_PATH: usize = 4095;

fn invalid<T>(why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(why.into()))
}

fn expected<T>() -> Result<T, Invalid> {
    invalid(
        "expected a place for backups: an absolute path such as `/srv/backup`, or a URL such as \
         `sftp://user@backup.example.com/odoo`, `s3://s3.example.com/bucket` or `rest:https://backup.example.com/odoo`",
    )
}

impl FromStr for Place {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.chars().any(char::is_control) {
            return expected();
        }
        if text.starts_with('/') {
            return local(text);
        }
        match text.split_once(':') {
            Some(("local", path)) => local(path.strip_prefix("//").unwrap_or(path)),
            Some(("rest", url)) => rest(url),
            Some((scheme, rest)) => match rest.strip_prefix("//") {
                Some(rest) => remote(scheme, rest),
                None => without_slashes(scheme),
            },
            None => expected(),
        }
    }
}

fn remote(scheme: &str, rest: &str) -> Result<Place, Invalid> {
    match scheme {
        "sftp" => {
            let (user, host, port, path) = account(scheme, rest)?;
            Ok(Place::Sftp { user, host, port, path })
        }
        "drop+sftp" => {
            let (user, host, port, path) = account(scheme, rest)?;
            Ok(Place::Drop { user, host, port, path })
        }
        "s3" | "s3+http" => s3(scheme, rest),
        "http" | "https" => {
            invalid("expected `rest:` before the address of a REST server, or `s3://` for S3")
        }
        unknown => match nearest(unknown, SCHEMES) {
            Some(known) => invalid(format!("there is no kind of place `{unknown}`; did you mean `{known}`?")),
            None => expected(),
        },
    }
}

/// restic's own short forms, and slips.
fn without_slashes(scheme: &str) -> Result<Place, Invalid> {
    match scheme {
        "sftp" => invalid("expected `//` after `sftp:`, as in `sftp://user@backup.example.com/odoo`"),
        "s3" => invalid("expected `//` after `s3:`, as in `s3://s3.example.com/bucket`"),
        _ => expected(),
    }
}

fn local(text: &str) -> Result<Place, Invalid> {
    let path = path(text)?;
    if !text.starts_with('/') || path.starts_with("/.") && path.get(2..3) == Some("/") {
        return invalid("expected an absolute path, such as `/srv/backup`");
    }
    Ok(Place::Local { path: PathBuf::from(path) })
}

/// A path with one slash between its names, none at its end, and a first `.` (of sftp: the home
/// directory) as it is.
fn path(text: &str) -> Result<String, Invalid> {
    let mut names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
    let from_home = names.first() == Some(&".");
    names.retain(|name| *name != ".");
    if names.is_empty() || names.contains(&"..") || text.len() > LONGEST_PATH {
        return invalid("expected a directory of its own for the backups, without `..`, such as `/odoo`");
    }
    let start = if from_home { "/./" } else { "/" };
    Ok(format!("{start}{}", names.join("/")))
}

/// The user, host, port and path of an account on an ssh server.
fn account(scheme: &str, rest: &str) -> Result<(SystemUser, HostName, Port, String), Invalid> {
    if holds_password(rest) {
        return invalid(
            "a password does not belong in a URL; ssh logs in with a key, which `autoodoo backup setup` makes",
        );
    }
    let (authority, text) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, server)) = authority.rsplit_once('@') else {
        return invalid(format!(
            "expected a user before the host, as in `{scheme}://backup@{authority}/odoo`"
        ));
    };
    let (host, port) = host_and_port(server)?;
    Ok((user.parse()?, host, port.unwrap_or(Port::SSH), path(&decoded(text)?)?))
}

fn s3(scheme: &str, rest: &str) -> Result<Place, Invalid> {
    no_credentials(rest)?;
    let (rest, region) = match rest.split_once('?') {
        None => (rest, DEFAULT_REGION.to_owned()),
        Some((rest, query)) => (rest, region(query)?),
    };
    let (server, text) = rest.split_once('/').unwrap_or((rest, ""));
    let web = if scheme == "s3" { "https" } else { "http" };
    let endpoint = endpoint(web, server)?;
    let text = decoded(text)?;
    let (bucket, prefix) = text.split_once('/').unwrap_or((&text, ""));
    // Amazon S3 User Guide, "Bucket naming rules".
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-');
    if !is_bucket {
        return invalid(format!("expected a bucket after the host, as in `{scheme}://{server}/acme-backup`"));
    }
    let prefix = if prefix.trim_matches('/').is_empty() { String::new() } else { path(prefix)? };
    Ok(Place::S3 { endpoint, bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned(), region })
}

fn region(query: &str) -> Result<String, Invalid> {
    let sayable = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    match query.split_once('=') {
        Some(("region", region)) if sayable(region) => Ok(region.to_owned()),
        Some(("region", _)) => invalid("expected a region after `?region=`, such as `eu-central-1`"),
        // What it holds is not repeated: it may be a secret.
        _ => invalid(
            "nothing but `?region=…` may follow the bucket; credentials go into secrets/backup/NAME.credentials",
        ),
    }
}

/// The address of a rest-server (<https://github.com/restic/rest-server>), which ends in `/`.
fn rest(url: &str) -> Result<Place, Invalid> {
    let Some((web @ ("http" | "https"), rest)) = url.split_once("://") else {
        return invalid(
            "expected an https address after `rest:`, as in `rest:https://backup.example.com/odoo`",
        );
    };
    no_credentials(rest)?;
    if rest.contains(['?', '#']) {
        return invalid("expected an address without `?` and `#`");
    }
    let (server, text) = rest.split_once('/').unwrap_or((rest, ""));
    let endpoint = endpoint(web, server)?;
    let path = if text.trim_matches('/').is_empty() { String::new() } else { path(&decoded(text)?)? };
    Ok(Place::Rest { url: format!("{endpoint}{}/", encoded(&path)) })
}

/// `https://host[:port]`. Without TLS only to this host: backups are encrypted, a password on its way
/// is not.
fn endpoint(web: &str, server: &str) -> Result<String, Invalid> {
    let (host, port) = host_and_port(server)?;
    if web == "http" && !host.is_loopback() {
        return invalid("`http` is taken for servers on this host alone; use https");
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{web}://{}{port}", bracketed(&host)))
}

fn no_credentials(rest: &str) -> Result<(), Invalid> {
    let server = rest.split('/').next().unwrap_or_default();
    if holds_password(rest) || server.contains('@') {
        return invalid(
            "credentials do not belong in a URL; `autoodoo backup setup` asks for them and keeps them in \
             secrets/backup/NAME.credentials",
        );
    }
    Ok(())
}

/// Whether `user:password@` comes first. The password may have a slash in it; `host:9000/a@b` has none.
fn holds_password(rest: &str) -> bool {
    let Some((before, _)) = rest.split_once('@') else { return false };
    let Some((_, after)) = before.split_once(':') else { return false };
    after.split_once('/').is_none_or(|(port, _)| port.parse::<Port>().is_err())
}

/// RFC 3986, section 3.2: an IPv6 address stands in brackets.
fn host_and_port(server: &str) -> Result<(HostName, Option<Port>), Invalid> {
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => (address, rest.strip_prefix(':')),
        _ => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    Ok((host.parse()?, port.map(str::parse).transpose()?))
}

fn bracketed(host: &HostName) -> String {
    if host.as_str().contains(':') { format!("[{host}]") } else { host.to_string() }
}

/// RFC 3986, section 2.1. What needs no encoding may stand as it is, such as letters of any script.
fn decoded(text: &str) -> Result<String, Invalid> {
    let wrong =
        || Invalid("expected two hexadecimal digits after each `%` of the path, as in `%20`".to_owned());
    if text.contains(['?', '#']) {
        return invalid("`?` and `#` in a path are written `%3F` and `%23`");
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    if text.contains(char::is_control) { Err(wrong()) } else { Ok(text) }
}

fn encoded(path: &str) -> String {
    path.chars().fold(String::new(), |mut text, c| {
        match c {
            '%' => text.push_str("%25"),
            '?' => text.push_str("%3F"),
            '#' => text.push_str("%23"),
            ' ' => text.push_str("%20"),
            c => text.push(c),
        }
        text
    })
}

impl fmt::Display for Place {
    /// The form that reads back as the same place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Local { path } => write!(f, "{}", path.display()),
            Place::Sftp { user, host, port, path } => {
                write!(f, "sftp://{user}@{}{}{}", bracketed(host), unusual(*port), encoded(path))
            }
            Place::Drop { user, host, port, path } => {
                write!(f, "drop+sftp://{user}@{}{}{}", bracketed(host), unusual(*port), encoded(path))
            }
            Place::S3 { endpoint, bucket, prefix, region } => {
                let (scheme, server) = match endpoint.strip_prefix("http://") {
                    Some(server) => ("s3+http", server),
                    None => ("s3", endpoint.trim_start_matches("https://")),
                };
                write!(f, "{scheme}://{server}/{bucket}")?;
                if !prefix.is_empty() {
                    write!(f, "/{}", encoded(prefix))?;
                }
                if region == DEFAULT_REGION { Ok(()) } else { write!(f, "?region={region}") }
            }
            Place::Rest { url } => write!(f, "rest:{url}"),
        }
    }
}

fn unusual(port: Port) -> String {
    if port == Port::SSH { String::new() } else { format!(":{port}") }
}

impl Place {
    /// What the target is called when nobody says: the last directory, the host or the bucket. `None`
    /// when that makes no name.
    #[must_use]
    pub fn own_name(&self) -> Option<TargetName> {
        let source = match self {
            Place::Local { path } => path.file_name()?.to_string_lossy().into_owned(),
            Place::Sftp { host, .. } | Place::Drop { host, .. } => host.to_string(),
            Place::S3 { bucket, .. } => bucket.clone(),
            Place::Rest { url } => server_name(url).to_owned(),
        };
        let mut name = String::new();
        for c in source.to_lowercase().chars() {
            let c = if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
            if c != '-' || !name.ends_with('-') {
                name.push(c);
            }
        }
        let name = name.trim_matches('-');
        name.get(..name.len().min(TargetName::LONGEST))?.trim_matches('-').parse().ok()
    }

    /// Whether what destroys this host destroys it too: a directory, or a server on this host. Of a
    /// directory that another computer lends (NFS) it cannot be told.
    #[must_use]
    pub fn is_on_this_host(&self) -> bool {
        let loopback = |host: &str| host.parse::<HostName>().is_ok_and(|host| host.is_loopback());
        match self {
            Place::Local { .. } => true,
            Place::Sftp { host, .. } | Place::Drop { host, .. } => host.is_loopback(),
            Place::S3 { endpoint: url, .. } | Place::Rest { url } => loopback(server_name(url)),
        }
    }
}

/// The host of an http or https URL, without brackets and port.
fn server_name(url: &str) -> &str {
    let server = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => server.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap_or_else(|Invalid(why)| panic!("{text}: {why}"))
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        // What is typed, what is written, and the name that follows from it.
        let table = [
            ("/srv/backup/acme", "/srv/backup/acme", "acme"),
            ("/srv//backup/Œuvres & Co/", "/srv/backup/Œuvres & Co", "uvres-co"),
            ("/srv/100%?#", "/srv/100%?#", "100"),
            ("local:/mnt/nas", "/mnt/nas", "nas"),
            ("local:///mnt/nas", "/mnt/nas", "nas"),
            ("sftp://b@backup.example.com/odoo", "sftp://b@backup.example.com/odoo", "backup-example-com"),
            ("sftp://b@h:22//srv/odoo/", "sftp://b@h/srv/odoo", "h"),
            ("sftp://b@h:2222/./odoo", "sftp://b@h:2222/./odoo", "h"),
            ("sftp://b@[2001:db8::1]:22/a%20b", "sftp://b@[2001:db8::1]/a%20b", "2001-db8-1"),
            ("sftp://b@h/a b/Zürich%3F@x", "sftp://b@h/a%20b/Zürich%3F@x", "h"),
            ("drop+sftp://b@h/in", "drop+sftp://b@h/in", "h"),
            ("s3://s3.example.com/acme.backup", "s3://s3.example.com/acme.backup", "acme-backup"),
            ("s3://h:9000/buck/a//b/", "s3://h:9000/buck/a/b", "buck"),
            ("s3://h/buck?region=eu-1", "s3://h/buck?region=eu-1", "buck"),
            ("s3://h/buck/?region=us-east-1", "s3://h/buck", "buck"),
            ("s3+http://127.0.0.1:9000/buck", "s3+http://127.0.0.1:9000/buck", "buck"),
            (
                "rest:https://b.example.com:8000/odoo",
                "rest:https://b.example.com:8000/odoo/",
                "b-example-com",
            ),
            ("rest:http://localhost:8000", "rest:http://localhost:8000/", "localhost"),
        ];
        for (typed, written, name) in table {
            let place = place(typed);
            assert_eq!(place.to_string(), written, "{typed}");
            assert_eq!(written.parse(), Ok(place.clone()), "{written}");
            assert_eq!(place.own_name().map(|name| name.to_string()).as_deref(), Some(name), "{typed}");
        }
        assert_eq!(place("/srv/日本").own_name(), None);
        assert!(place(&format!("/srv/{}", "a-".repeat(60))).own_name().is_some());
    }

    #[test]
    fn the_parts_are_what_the_stores_need() {
        let Place::Sftp { path, port, .. } = place("sftp://b@h/a%20b") else { panic!("sftp") };
        assert_eq!((path.as_str(), port), ("/a b", Port::SSH));
        let Place::S3 { endpoint, prefix, region, .. } = place("s3+http://[::1]:9000/buck/a/b") else {
            panic!("s3")
        };
        assert_eq!(endpoint, "http://[::1]:9000");
        assert_eq!((prefix.as_str(), region.as_str()), ("a/b", "us-east-1"));
    }

    #[test]
    fn what_is_refused_says_what_is_expected() {
        let table = [
            ("", "expected a place"),
            ("srv/backup", "expected a place"),
            ("/", "a directory of its own"),
            ("/srv/../etc", "without `..`"),
            ("local:srv", "an absolute path"),
            ("stfp://b@h/x", "did you mean `sftp`?"),
            ("ftp://b@h/x", "did you mean `sftp`?"),
            ("gopher://h/x", "expected a place"),
            ("sftp:b@h:/x", "expected `//` after `sftp:`"),
            ("https://h/x", "expected `rest:` before"),
            ("sftp://h/x", "expected a user before the host"),
            ("sftp://b@h", "a directory of its own"),
            ("sftp://b@h:0/x", "expected a port"),
            ("sftp://b@/x", "address of a host"),
            ("sftp://b@h/x%2", "two hexadecimal digits"),
            ("sftp://b@h/x%ff", "two hexadecimal digits"),
            ("sftp://b@h/x?y", "`?` and `#`"),
            ("s3://h", "expected a bucket"),
            ("s3://h/Bucket", "expected a bucket"),
            ("s3+http://s3.example.com/buck", "use https"),
            ("s3://h/buck?region=", "expected a region"),
            ("rest:http://backup.example.com/", "use https"),
            ("rest:b.example.com", "expected an https address"),
            ("rest:https://h/x?y", "without `?`"),
        ];
        for (typed, expected) in table {
            let Err(Invalid(why)) = typed.parse::<Place>() else { panic!("{typed} was taken") };
            assert!(why.contains(expected), "{typed}: {why}");
        }
    }

    #[test]
    fn secrets_in_urls_are_refused_and_not_repeated() {
        let table = [
            ("sftp://b:hunter2@h/x", "`autoodoo backup setup` makes"),
            ("sftp://b:hun/ter2@h/x", "`autoodoo backup setup` makes"),
            ("s3://AKIA:hunter2@h/buck", "credentials"),
            ("s3://hunter2@h/buck", "credentials"),
            ("s3://h/buck?secret=hunter2", "credentials"),
            ("rest:https://b:hunter2@h/x", "credentials"),
        ];
        for (typed, expected) in table {
            let Err(Invalid(why)) = typed.parse::<Place>() else { panic!("{typed} was taken") };
            assert!(why.contains(expected) && !why.contains("ter2"), "{typed}: {why}");
            // With this word in front the file's value would be put behind it.
            assert!(!why.starts_with("expected"), "{why}");
        }
        assert!("s3://h:9000/buck/a@b".parse::<Place>().is_ok());
    }

    #[test]
    fn what_is_on_this_host_is_known() {
        let here = ["/srv/b", "sftp://b@localhost/x", "s3+http://[::1]:1/buck", "rest:https://127.0.0.1/x"];
        assert!(here.iter().all(|text| place(text).is_on_this_host()));
        let elsewhere = ["sftp://b@h/x", "s3://h/buck", "rest:https://h/x", "drop+sftp://b@h/x"];
        assert!(!elsewhere.iter().any(|text| place(text).is_on_this_host()));
    }
}
