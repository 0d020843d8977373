//! How the site stands on the engine, seen by the engine's own client; and that no secret shows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::Engine;
use crate::site::Site;

pub fn containers(site: &Site) {
    let mut expected = site.five();
    expected.sort();
    assert_eq!(site.engine.of_site("container", site.name), expected);
    for name in &expected {
        container(site, name);
    }
    let published = |service: &str| ports(&site.engine.inspect("container", &site.container(service)));
    let both = [("80/tcp", site.http), ("443/tcp", site.https)]
        .map(|(inside, port)| (inside.to_owned(), "127.0.0.1".to_owned(), port.to_string()));
    let mut both = both.to_vec();
    both.sort();
    assert_eq!(published("front"), both);
    let postgres = site.engine.inspect("container", &site.container("postgres"));
    assert_eq!(postgres["HostConfig"]["NetworkMode"], "none");
    assert_eq!(site.engine.of_site("network", site.name), [format!("{}-net", site.name)]);
    let (cache, volumes): (Vec<_>, Vec<_>) =
        site.engine.of_site("volume", site.name).into_iter().partition(|name| name.contains("-cache-"));
    assert_eq!(volumes, ["db-1", "socket", "tmp", "web-1"].map(|volume| format!("{}-{volume}", site.name)));
    // One a slot that nginx was in.
    assert!((1..=2).contains(&cache.len()), "{cache:?}");
}

/// What holds for each container.
fn container(site: &Site, name: &str) {
    let found = site.engine.inspect("container", name);
    assert_eq!(found["State"]["Running"], true, "{name}");
    assert_eq!(found["HostConfig"]["RestartPolicy"]["Name"], site.engine.returning(), "{name}");
    assert_eq!(found["HostConfig"]["Privileged"], false, "{name}");
    for label in ["autoodoo.site", "autoodoo.site-id", "autoodoo.role", "autoodoo.config"] {
        let value = found["Config"]["Labels"][label].as_str().unwrap_or_default();
        assert!(!value.is_empty(), "{name} has no label {label}");
    }
    assert_eq!(found["Config"]["Labels"]["autoodoo.site"], site.name);
    hardened(site, name, &found);
    if !name.ends_with("-front") {
        assert_eq!(ports(&found), [], "{name} publishes ports");
    }
}

/// CHOWN, DAC_OVERRIDE, SETGID, SETUID and NET_BIND_SERVICE as bits (capabilities(7)).
const OF_NGINX: &str = "00000000000004c3";

/// What a container may do, from what its engine says and from what its first process is.
fn hardened(site: &Site, name: &str, found: &Value) {
    let host = &found["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{name}");
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges"]), "{name}");
    assert!(host["PidsLimit"].as_i64().is_some_and(|limit| (1..=4096).contains(&limit)), "{name}");
    let memory = host["Tmpfs"].as_object().expect("directories in memory");
    assert!(memory.values().all(|options| options.as_str().is_some_and(|o| o.contains("size="))), "{name}");
    let log = &host["LogConfig"];
    match site.engine {
        Engine::Docker => assert_eq!(log["Config"]["max-size"], "10485760", "{name}"),
        // Podman shows the size in words of its own.
        Engine::Podman => assert!(log["Size"].as_str().is_some_and(|size| size != "0B"), "{name}: {log}"),
    }
    let checked = found["Config"]["Healthcheck"]["Test"].as_array().is_some_and(|test| !test.is_empty());
    assert_eq!(checked, !name.ends_with("-front"), "{name}");

    let status = site.engine.call(&["exec", name, "cat", "/proc/1/status"]);
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().trim().to_owned()
    };
    let is_nginx = name.contains("-nginx-");
    let expected = if is_nginx { OF_NGINX } else { "0000000000000000" };
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), expected, "{name} {set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1", "{name}");
    let as_root = field("Uid:").starts_with('0');
    assert_eq!(as_root, is_nginx, "{name}");
    let write = site.engine.attempt(&["exec", name, "sh", "-c", "touch /etc/of-e2e"]);
    assert!(write.text().contains("Read-only file system"), "{name}: {}", write.text());
}

/// Inside port, host address and host port of what is published.
fn ports(container: &Value) -> Vec<(String, String, String)> {
    let Some(bindings) = container["HostConfig"]["PortBindings"].as_object() else { return Vec::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = bindings
        .iter()
        .flat_map(|(inside, hosts)| hosts.as_array().into_iter().flatten().map(move |host| (inside, host)))
        .map(|(inside, host)| (inside.clone(), text(&host["HostIp"]), text(&host["HostPort"])))
        .collect();
    found.sort();
    found
}

pub fn files(site: &Site) {
    let uid = site.engine.call(&["exec", &site.odoo_container(), "id", "-u", "odoo"]);
    let uid: u32 = uid.trim().parse().expect("a number");
    let confs = confs(site);
    assert!(confs.len() >= 2, "odoo.conf for http and cron are expected: {confs:?}");
    for conf in confs {
        let about = fs::metadata(&conf).expect("a file");
        assert_eq!((about.mode() & 0o7777, about.uid()), (0o400, uid), "{}", conf.display());
    }
    assert_eq!(mode(&site.path("secrets")), 0o700);
    for secret in files_below(&site.path("secrets")) {
        // nginx's master reads certificates as root; nobody else reads a key.
        let expected = if secret.ends_with("fullchain.pem") { 0o077 & mode(&secret) } else { 0 };
        assert_eq!(mode(&secret) & 0o077, expected, "{}", secret.display());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
}

fn confs(site: &Site) -> Vec<PathBuf> {
    files_below(&site.path("generated/odoo")).into_iter().filter(|path| path.ends_with("odoo.conf")).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Looks for every secret in everything that others may read.
pub fn no_secret_told(site: &Site) {
    assert!(secrets(site).len() >= 5, "passwords, their hash and keys are expected");
    tell_no_secret(site, &places(site));
}

/// `places` are names and texts.
#[track_caller]
pub fn tell_no_secret(site: &Site, places: &[(String, String)]) {
    let told: Vec<_> = secrets(site)
        .iter()
        .flat_map(|secret| places.iter().map(move |place| (secret, place)))
        .filter(|((_, value), (_, text))| text.contains(value.as_str()))
        .map(|((secret, _), (place, _))| format!("{secret} can be read in {place}"))
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// Name and value; of a key its first line of text.
fn secrets(site: &Site) -> Vec<(String, String)> {
    files_below(&site.path("secrets"))
        .into_iter()
        .filter(|path| !["fullchain.pem", "stapling.conf", "names"].iter().any(|open| path.ends_with(open)))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a secret is text");
            let line = text.lines().find(|line| !line.starts_with("-----")).unwrap_or_default();
            assert!(line.len() >= 16, "{} is short", path.display());
            (path.display().to_string(), line.to_owned())
        })
        .collect()
}

fn places(site: &Site) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in ["container", "volume", "network"] {
        for name in site.engine.of_site(kind, site.name) {
            let text = site.engine.call(&[kind, "inspect", &name]);
            found.push((format!("inspect of {kind} {name}"), text));
        }
    }
    for name in site.engine.of_site("container", site.name) {
        found.push((format!("the log of {name}"), site.engine.attempt(&["logs", &name]).text()));
        let processes = site.engine.attempt(&["exec", &name, "sh", "-c", "cat /proc/[0-9]*/cmdline"]);
        found.push((format!("command lines in {name}"), processes.text()));
    }
    let confs = confs(site);
    for path in files_below(&site.dir()) {
        let key = path.starts_with(site.path("generated/tunnel")) && mode(&path) == 0o400;
        if !path.starts_with(site.path("secrets")) && !confs.contains(&path) && !key {
            let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    for args in [&["down", "--volumes", "--dry-run", "--json"][..], &["status", "--json"], &["-v", "logs"]] {
        found.push((format!("{args:?}"), site.run(args).ends(0).text()));
    }
    found
}
