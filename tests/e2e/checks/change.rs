//! Second ups and changed site files.

use std::thread;
use std::time::Duration;

use crate::http::Browser;
use crate::load::{Seen, under_load};
use crate::process::Run;
use crate::site::{Site, image};

pub fn nothing_to_do(site: &Site) {
    let names = |site: &Site| site.engine.of_site("container", site.name);
    let ids = |site: &Site| names(site).iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let before = ids(site);
    assert_eq!(site.run(&["up", "--dry-run"]).ends(0).out, "nothing to do\n");
    assert_eq!(site.run(&["--json", "up", "--dry-run"]).ends(0).out, "");
    let up = site.run(&["--json", "up"]).ends(0);
    let events: Vec<_> = up.out.lines().collect();
    assert!(matches!(events[..], [last] if last.contains("\"serving\"")), "{up}");
    assert_eq!(ids(site), before);
}

/// How long the site is away by the words of a plan; each step says it.
fn announced(plan: &Run) -> Duration {
    let steps = plan.out.lines().filter(|line| line.starts_with('['));
    let seconds = steps.map(|line| match line.rsplit_once(" (") {
        Some((_, "no interruption)")) => 0,
        Some((_, words)) => {
            let number = words.strip_prefix("about ").and_then(|words| words.strip_suffix(" s)"));
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("no words about it: {line}"))
        }
        None => panic!("no words about it: {line}"),
    });
    Duration::from_secs(seconds.sum())
}

/// Goes up under load: what the plan calls no interruption is none, and what it calls one is over
/// after about the time that it tells. Returns that time.
#[track_caller]
pub fn keeps_its_word(site: &Site) -> Duration {
    let told = announced(&site.run(&["up", "--dry-run"]).ends(0));
    let seen: Seen = under_load(site, || drop(site.up()));
    if told.is_zero() {
        seen.lost_nothing();
    }
    let outage = seen.outage();
    eprintln!("           announced: {told:?}; seen: {outage:?}");
    // Seconds in a plan are those of an idle machine; this one has fifty visitors a second to serve.
    assert!(outage <= 3 * told + Duration::from_secs(2), "away for {outage:?}, announced {told:?}");
    told
}

/// Sizes follow from the number of users: the Odoo that answers them is replaced, nothing else is.
pub fn more_users(site: &Site) {
    let steady = site.steady_ids();
    let odoo = site.odoo_container();
    let id = site.id_of(&odoo);
    site.edit("\nusers: 5\n", "\nusers: 30\n");
    site.run(&["up", "--dry-run"]).ends(0).says("create container");
    assert_eq!(site.id_of(&odoo), id, "a dry run changed something");
    assert_eq!(keeps_its_word(site), Duration::ZERO, "the plan announces an interruption");
    assert_ne!(site.odoo_container(), odoo, "Odoo is replaced beside the old one");
    assert_eq!(site.steady_ids(), steady);
}

/// What somebody with a slow line began to send before a change is answered after it, although the
/// Odoo that served then is gone.
pub fn slow_request(site: &Site) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(24 << 20).expect("room on the disk");
    let part = format!("file=@{}", file.path().display());
    let (browser, gone) = (Browser::new(site), site.odoo_container());
    site.edit("\nusers: 30\n", "\nusers: 6\n");
    thread::scope(|scope| {
        let upload = scope.spawn(|| {
            let slowly = ["--limit-rate", "1M", "--form", &part, "--output", "/dev/null"];
            browser.ask(&browser.url("/web/login"), &slowly).status
        });
        thread::sleep(Duration::from_secs(1));
        site.up();
        assert!(!upload.is_finished(), "the upload was too fast to tell");
        // It has no form token: Odoo answers, and refuses.
        assert_eq!(upload.join().expect("no panic"), 400);
    });
    assert_ne!(site.odoo_container(), gone);
}

pub fn alias(site: &Site) {
    let before = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let authority = site.read("ca.crt");
    let further = format!("www.{}", site.domain);
    let url = format!("https://{further}:{}/web/login", site.https);
    site.edit("\naliases: []\n", &format!("\naliases: [{further}]\n"));
    assert_eq!(keeps_its_word(site), Duration::ZERO, "the plan announces an interruption");
    assert_eq!(Browser::new(site).ask(&url, &[]).status, 200);
    assert_eq!(Browser::new(site).get("/web/login").status, 200);
    let after = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    assert_eq!(after, before, "a reload is enough");
    assert_eq!(site.read("ca.crt"), authority, "the authority is kept: browsers know it");
}

const LAST_WORDS: &str = "e2e: this release cannot start";

/// An image whose Odoo ends at once: what serves goes on serving, and the site file can go back.
pub fn bad_image(site: &Site) {
    let (good, bad) = (image("odoo", site.release), image("odoo-broken", site.release));
    let program = "/usr/local/bin/odoo"; // found before the package's own
    let recipe = format!(
        "FROM {good}\nUSER root\n\
         RUN printf '%s\\n' '#!/bin/sh' 'echo {LAST_WORDS}' 'exit 3' > {program} && chmod 0755 {program}\n\
         USER odoo\n"
    );
    site.engine.build(&bad, &recipe);
    let before = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    site.edit(&format!("image: {good}\n"), &format!("image: {bad}\n"));
    under_load(site, || drop(site.run(&["up"]).ends(6).says(LAST_WORDS).says("still serves"))).lost_nothing();
    let after = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    assert_eq!(after, before);
    site.edit(&format!("image: {bad}\n"), &format!("image: {good}\n"));
    site.up();
    let after = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    assert_eq!(after, before, "going back is nothing to do");
    site.engine.attempt(&["image", "rm", "--force", &bad]);
}
