//! Two sites on one machine, and a site whose directory moves.

use std::time::Duration;

use crate::checks::change::keeps_its_word;
use crate::http::Browser;
use crate::load::under_load;
use crate::process::Run;
use crate::site::Site;

const GIB: u64 = 1 << 30;

/// Two sites.
pub struct Pair {
    pub first: Site,
    pub second: Site,
}

/// With 1 GB for everything the second one comes up too, and says what that means.
pub fn small_beside(pair: &Pair) {
    let Pair { first, second } = pair;
    second.add("limits: { cpus: 1, memory: 1G }\n");
    let before = first.things();
    let mut up = None;
    under_load(first, || up = Some(second.run(&["up"]))).lost_nothing();
    let up: Run = up.expect("it has run").ends(0);
    assert!(remark(&up).is_some(), "no remark with numbers about memory: {up}");
    assert_eq!(first.things(), before);
    within_limits(second, GIB);
}

/// What is said about too little memory: a sentence with two numbers at least.
fn remark(up: &Run) -> Option<String> {
    let text = up.text();
    let numbers = |line: &str| {
        let digits = |word: &str| word.chars().next().is_some_and(|letter| letter.is_ascii_digit());
        line.split_whitespace().filter(|word| digits(word)).count()
    };
    let mut lines = text.lines().filter(|line| !line.starts_with('['));
    lines.find(|line| line.contains("memory") && numbers(line) >= 2).map(str::to_owned)
}

/// Each container has a ceiling within what the site may use. Their sum may be more: not all parts
/// are at their busiest at once.
fn within_limits(site: &Site, bytes: u64) {
    // The holder of the ports only sleeps.
    for name in site.five().into_iter().filter(|name| !name.ends_with("-front")) {
        let limit =
            site.engine.inspect("container", &name)["HostConfig"]["Memory"].as_u64().unwrap_or_default();
        assert!((1..=bytes).contains(&limit), "{name} may use {limit} bytes");
    }
}

/// Neither answers to the other's name, and both to their own.
pub fn apart(pair: &Pair) {
    let Pair { first, second } = pair;
    for (site, other) in [(first, second), (second, first)] {
        assert_eq!(Browser::new(site).get("/web/login").status, 200);
        let browser = Browser::new(site);
        let strange = format!("https://{}:{}/web/login", other.domain, site.https);
        assert!(!browser.attempt(&strange, &[]).succeeded(), "{} answers to {}", site.name, other.domain);
        let names = site.things();
        assert!(names.iter().all(|name| name.starts_with(&format!("{}-", site.name))), "{names:?}");
    }
    let password = second.secret("admin-password");
    assert_ne!(password, first.secret("admin-password"));
    assert_eq!(Browser::new(first).log_in("owner", &password), None);
}

/// PostgreSQL takes most of its sizes only when it starts: the plan says for how long nobody is served.
pub fn more_memory(pair: &Pair) {
    pair.second.edit("limits: { cpus: 1, memory: 1G }\n", "limits: { cpus: 2, memory: 3G }\n");
    let told = keeps_its_word(&pair.second);
    assert!(told > Duration::ZERO, "PostgreSQL was not restarted");
    within_limits(&pair.second, 3 * GIB);
}

/// The directory of a site is moved: the containers still see the old one, until the next `up`.
pub fn moved(pair: &Pair) {
    let site = &pair.second;
    site.sql("create table e2e_moved (text text); insert into e2e_moved values ('kept')");
    site.move_to("elsewhere");
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    keeps_its_word(site);
    assert_eq!(site.sql("select text from e2e_moved"), "kept");
    let place = site.dir().display().to_string();
    for name in site.five() {
        let mounts = site.engine.inspect("container", &name)["Mounts"].clone();
        let directories = mounts.as_array().into_iter().flatten().filter(|mount| mount["Type"] == "bind");
        for mount in directories {
            let source = mount["Source"].as_str().unwrap_or_default();
            assert!(source.starts_with(&place), "{name} still uses {source}");
        }
    }
    site.run(&["up", "--dry-run"]).ends(0).says("nothing to do");
}

/// What one of them does is nothing to the other.
pub fn one_goes(pair: &Pair) {
    let Pair { first, second } = pair;
    let before = first.things();
    under_load(first, || drop(second.run(&["down", "--volumes", "--confirm", second.name]).ends(0)))
        .lost_nothing();
    assert_eq!(second.things(), Vec::<String>::new());
    assert_eq!(first.things(), before);
}
