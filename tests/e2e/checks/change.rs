//! Second ups and changed site files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use crate::http::Browser;
use crate::site::{Site, image};

pub fn nothing_to_do(site: &Site) {
    let ids = |site: &Site| site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let before = ids(site);
    assert_eq!(site.run(&["up", "--dry-run"]).ends(0).out, "nothing to do\n");
    assert_eq!(site.run(&["--json", "up", "--dry-run"]).ends(0).out, "");
    let up = site.run(&["--json", "up"]).ends(0);
    let events: Vec<_> = up.out.lines().collect();
    assert!(matches!(events[..], [last] if last.contains("\"serving\"")), "{up}");
    assert_eq!(ids(site), before);
}

/// Runs `act` while a visitor asks on and on; returns how often and what was lost.
fn under_load(site: &Site, act: impl FnOnce()) -> (usize, Vec<String>) {
    let over = AtomicBool::new(false);
    let (first, began) = channel();
    thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let browser = Browser::new(site);
            let (mut asked, mut lost) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                let answer = browser.attempt(&browser.url("/web/login"), &["--output", "/dev/null"]);
                asked += 1;
                if !answer.succeeded() || !answer.out.contains("--e2e--200 ") {
                    lost.push(answer.to_string());
                }
                let _ = first.send(());
            }
            (asked, lost)
        });
        let _ = began.recv();
        // Whatever happens, the visitor must be told to stop.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        over.store(true, Ordering::Relaxed);
        let seen = visitor.join().expect("a visitor does not panic");
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    })
}

/// Sizes follow from the number of users: the Odoo that answers them is replaced, nothing else is.
pub fn more_users(site: &Site) {
    let steady = site.steady_ids();
    let odoo = site.odoo_container();
    let id = site.id_of(&odoo);
    site.edit("\nusers: 5\n", "\nusers: 30\n");
    site.run(&["up", "--dry-run"]).ends(0).says("create container");
    assert_eq!(site.id_of(&odoo), id, "a dry run changed something");
    let (asked, lost) = under_load(site, || drop(site.up()));
    eprintln!("           {asked} requests while Odoo was replaced, {} lost", lost.len());
    assert!(lost.is_empty(), "lost {} of {asked}, first: {}", lost.len(), lost[0]);
    assert!(asked > 3, "too few requests to tell");
    assert_ne!(site.odoo_container(), odoo, "Odoo is replaced beside the old one");
    assert_eq!(site.steady_ids(), steady);
}

pub fn alias(site: &Site) {
    let before = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let authority = site.read("ca.crt");
    let further = format!("www.{}", site.domain);
    let url = format!("https://{further}:{}/web/login", site.https);
    site.edit("\naliases: []\n", &format!("\naliases: [{further}]\n"));
    let (asked, lost) = under_load(site, || drop(site.up()));
    assert!(lost.is_empty(), "lost {} of {asked}, first: {}", lost.len(), lost[0]);
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
    let (asked, lost) = under_load(site, || {
        site.run(&["up"]).ends(6).says(LAST_WORDS).says("still serves");
    });
    assert!(lost.is_empty(), "lost {} of {asked}, first: {}", lost.len(), lost[0]);
    let after = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    assert_eq!(after, before);
    site.edit(&format!("image: {bad}\n"), &format!("image: {good}\n"));
    site.up();
    let after = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    assert_eq!(after, before, "going back is nothing to do");
    site.engine.attempt(&["image", "rm", "--force", &bad]);
}
