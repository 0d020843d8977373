//! Certificates by ACME, from files and by hand: what a user sees, and what is left on bad days.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autoodoo::acme::RenewalInfo;
use autoodoo::host::lock::{Holder, SiteLock};
use autoodoo::name::Fqdn;
use autoodoo::render::nginx_conf::certificate_in;
use autoodoo::site::IMPORTED_KEY;
use autoodoo::tls::inspect::inspect;
use autoodoo::tls::local_ca::{CaPair, Leaf, issue, new_ca};
use autoodoo::ui::prompt::{Answer, Scripted};
use jiff::SignedDuration;
use serde_json::Value;

use crate::UP;
use crate::ca::{ACCOUNT, Mood};
use crate::world::{Ran, World};

impl World {
    fn state(&self) -> Value {
        serde_json::from_str(&self.text("state/state.json")).unwrap()
    }

    /// The pair that the state names.
    fn in_use(&self) -> String {
        self.state()["certificate"].as_str().unwrap_or_default().to_owned()
    }

    /// The pair that nginx.conf names.
    fn live(&self) -> String {
        certificate_in(&self.text("generated/nginx/live/nginx.conf")).unwrap().to_owned()
    }

    fn fingerprint(&self, id: &str) -> String {
        inspect(&self.text(&format!("secrets/tls/{id}/fullchain.pem"))).unwrap().fingerprint
    }

    fn orders(&self) -> usize {
        self.ca.orders.borrow().len()
    }

    fn failures(&self) -> u64 {
        let attempts: Value = serde_json::from_str(&self.text("state/renewal.json")).unwrap();
        attempts["attempts"]["failures"].as_u64().unwrap()
    }

    /// Answers that lie where the CA would look.
    fn answers(&self) -> Vec<String> {
        names_in(&self.file("generated/nginx/challenge"))
    }

    /// nginx and the state agree on a pair of the CA's.
    fn serves_from_the_ca(&self) -> bool {
        self.live() == self.in_use() && self.live().starts_with("acme-")
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}", ran.talk);
    ran
}

#[track_caller]
fn bad(ran: Ran, code: u8, expected: &str) -> Ran {
    assert_eq!(ran.code, code, "{}", ran.talk);
    assert!(ran.talk.contains(expected), "{expected}: {}", ran.talk);
    ran
}

#[test]
fn up_ends_with_a_certificate_from_the_ca() {
    let world = World::with_acme();
    let first = good(world.run("up"));
    assert_eq!(world.containers(), UP);
    assert!(!first.talk.contains("somebody else answers"), "it finds itself at port 80: {}", first.talk);
    assert_eq!(world.orders(), 1);
    let order = world.ca.orders.borrow()[0].clone();
    assert_eq!((order.names, order.replaces), (vec!["odoo.example.com".to_owned()], None));
    assert_eq!(order.email.as_deref(), Some("owner@example.com"));
    assert!(world.serves_from_the_ca(), "{}", world.live());
    let pair = format!("secrets/tls/{}", world.in_use());
    let files = ["fullchain.pem", "privkey.pem"].map(|name| world.file(&pair).join(name));
    let account = names_in(&world.file("secrets/acme"));
    assert_eq!(account.len(), 1, "the order is done with: {account:?}");
    for file in files.iter().chain([&world.file("secrets/acme").join(&account[0])]) {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(world.answers(), Vec::<String>::new());

    world.engine.forget_calls();
    let second = good(world.run("up"));
    assert_eq!(second.data, first.data);
    assert_eq!((world.engine.changes(), world.ca.asked.get()), (Vec::<String>::new(), 1));
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn a_ca_that_refuses_leaves_a_site_that_serves() {
    let world = World::with_acme();
    world.ca.mood.set(Mood::Refuses);
    bad(world.run("up"), 1, "the CA could not reach odoo.example.com");
    assert_eq!(world.containers(), UP);
    assert!(world.live().starts_with("local-") && world.live() == world.in_use());
    assert_eq!((world.failures(), world.answers()), (1, vec![]));
    world.ca.mood.set(Mood::Certifies);
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
    assert_eq!((world.orders(), world.failures()), (1, 0));
}

#[test]
fn a_ca_that_is_gone_is_the_same() {
    let world = World::with_acme();
    world.ca.mood.set(Mood::IsGone);
    bad(world.run("up"), 1, "the CA does not answer");
    assert_eq!((world.containers(), world.failures()), (UP.map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_ca_that_wants_to_be_left_alone_is() {
    let world = World::with_acme();
    world.ca.mood.set(Mood::Limits);
    bad(world.run("up"), 1, "the CA wants to be asked later");
    let second = good(world.run("up"));
    let until =
        (world.ca.now.get() + SignedDuration::from_hours(1)).strftime("%Y-%m-%d %H:%M UTC").to_string();
    assert!(second.talk.contains(&format!("no certificate is ordered before {until}")), "{}", second.talk);
    assert_eq!(world.ca.asked.get(), 1);
    for line in ["cert issue", "cert renew --force", "cert renew"] {
        let ran = bad(world.run(line), 1, &until);
        assert!(!ran.talk.contains("tries at once"), "{line}: {}", ran.talk);
        assert!(ran.talk.contains("the CA wants to be asked later"), "{line}: {}", ran.talk);
        assert_eq!((world.ca.asked.get(), ran.data.as_str()), (1, ""), "{line}");
    }
    world.ca.mood.set(Mood::Certifies);
    world.pass(SignedDuration::from_mins(61));
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
}

/// Who asks for one is told why there is none, also when the present one is good.
#[test]
fn a_limit_is_told_to_who_asks() {
    let world = World::up_with_acme();
    world.ca.mood.set(Mood::Limits);
    bad(world.run("cert issue"), 1, "later");
    bad(world.run("cert issue"), 1, "no certificate is ordered before");
    good(world.run("cert renew"));
    assert_eq!(world.ca.asked.get(), 2);
}

#[test]
fn what_does_not_fit_is_not_let_in() {
    let world = World::up_with_acme();
    let before = world.live();
    world.ca.mood.set(Mood::Errs);
    bad(world.run("cert issue"), 1, "what the CA sent does not fit this site: the certificate is not for");
    assert_eq!((world.live(), world.in_use()), (before.clone(), before.clone()));
    assert_eq!(world.failures(), 1);
    world.ca.mood.set(Mood::Certifies);
    good(world.run("cert issue"));
    assert!(world.serves_from_the_ca() && world.live() != before);
}

#[test]
fn terms_are_agreed_to_before_anything_happens() {
    let world = World::with_acme();
    world.edit("agree_tos: true", "agree_tos: false");
    bad(world.run("up"), 2, "https://ca.example/terms");
    assert_eq!(world.engine.changes(), Vec::<String>::new());
    assert_eq!((world.ca.asked.get(), world.in_use()), (0, String::new()));
}

/// A site that needs nothing of the CA does not depend on it.
#[test]
fn terms_are_no_matter_while_nothing_is_ordered() {
    let world = World::up_with_acme();
    world.edit("agree_tos: true", "agree_tos: false");
    world.ca.mood.set(Mood::IsGone);
    good(world.run("up"));
    world.edit("users: 5", "users: 60");
    good(world.run("up"));
    good(world.run("restart"));
    good(world.run("cert renew"));
    world.ca.mood.set(Mood::Certifies);
    for line in ["cert issue", "cert renew --force"] {
        bad(world.run(line), 2, "https://ca.example/terms");
    }
    assert_eq!(world.orders(), 1);
}

#[test]
fn a_pair_that_nginx_does_not_show_is_taken_back() {
    let world = World::up_with_acme();
    let (before, text) = (world.live(), world.text("generated/nginx/live/nginx.conf"));
    *world.stuck.borrow_mut() = Some(world.fingerprint(&before));
    let ran = bad(world.run("cert issue"), 7, "does not show the new certificate for odoo.example.com");
    assert!(ran.talk.contains("the certificate that was there before serves again"), "{}", ran.talk);
    assert_eq!(world.text("generated/nginx/live/nginx.conf"), text);
    assert_eq!(world.in_use(), before);
    *world.stuck.borrow_mut() = None;
    good(world.run("cert renew"));
    assert!(world.serves_from_the_ca() && world.live() != before);
    assert_eq!(world.orders(), 2, "it was stored");
}

#[test]
fn up_takes_back_what_nginx_does_not_show() {
    let world = World::up_with_acme();
    let before = world.live();
    world.edit("aliases: []", "aliases: [www.example.com]");
    *world.stuck.borrow_mut() = Some(world.fingerprint(&before));
    bad(world.run("up"), 7, "does not show the new certificate");
    assert_eq!((world.live(), world.in_use()), (before.clone(), before));
    *world.stuck.borrow_mut() = None;
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
    assert_eq!(world.orders(), 2);
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_time() {
    let world = World::up_with_acme();
    let first = world.live();
    world.pass_days(50);
    let early = good(world.run("cert renew"));
    assert!(early.data.contains("the certificate for odoo.example.com is not due"), "{}", early.data);
    assert!(early.data.contains("two thirds of its 90 days"), "{}", early.data);
    assert_eq!((world.orders(), world.live()), (1, first.clone()));
    world.pass_days(14);
    let due = good(world.run("cert renew"));
    assert!(due.data.contains("the certificate for odoo.example.com serves"), "{}", due.data);
    assert!(due.data.contains("two thirds of its 90 days"), "{}", due.data);
    assert!(world.serves_from_the_ca() && world.live() != first);
    assert_eq!(world.ca.orders.borrow()[1].replaces.as_deref(), Some(world.chain(&first).as_str()));
    assert_eq!(names_in(&world.file("secrets/tls")).len(), 2, "the previous one stays for a look back");
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
    world.pass_days(1);
    good(world.run("cert renew"));
    assert_eq!(world.orders(), 2);
}

impl World {
    fn chain(&self, id: &str) -> String {
        self.text(&format!("secrets/tls/{id}/fullchain.pem"))
    }

    /// The CA's wish from now on, in days from now.
    fn wishes(&self, from: i64, to: i64) {
        let day = |days: i64| self.ca.now.get() + SignedDuration::from_hours(24 * days);
        let retry_after = Duration::from_hours(6);
        let info = RenewalInfo { start: day(from), end: day(to), retry_after, explanation_url: None };
        *self.ca.window.borrow_mut() = Some(info);
    }
}

#[test]
fn the_window_of_the_ca_comes_before_two_thirds() {
    let world = World::up_with_acme();
    world.wishes(10, 11);
    let early = good(world.run("cert renew"));
    assert!(early.data.contains("the CA asks for it between"), "{}", early.data);
    world.pass_days(12);
    // As after a revocation: all of it in the past.
    let plan = good(world.run("cert renew --dry-run")).data;
    assert!(plan.contains("order certificate") && plan.contains("the CA asks for it between"), "{plan}");
    good(world.run("cert renew"));
    assert_eq!(world.orders(), 2);
    *world.ca.window.borrow_mut() = None;
    assert!(good(world.run("cert show")).data.contains("two thirds of its 90 days"));
}

/// What the CA wanted for one certificate is nothing to its successor.
#[test]
fn a_window_goes_with_its_certificate() {
    let world = World::up_with_acme();
    world.wishes(1, 2);
    good(world.run("cert renew"));
    world.pass_days(3);
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
    assert!(world.live().starts_with("imported-"));
    for line in ["cert renew", "up"] {
        good(world.run(line));
        assert_eq!((world.orders(), world.live().starts_with("imported-")), (1, true), "{line}");
    }
}

#[test]
fn after_failures_a_schedule_waits_and_a_person_need_not() {
    let world = World::up_with_acme();
    let before = world.live();
    world.pass_days(64);
    world.ca.mood.set(Mood::Refuses);
    let ran = bad(world.run("cert renew"), 1, "the present certificate was not touched and is good until");
    assert!(!ran.talk.contains("of its own"), "{}", ran.talk);
    assert_eq!((world.live(), world.failures(), world.ca.asked.get()), (before, 1, 2));
    let cause = "the last attempt failed: the CA could not reach odoo.example.com";
    let early = bad(world.run("cert renew --quiet"), 1, cause);
    assert!(early.talk.contains("`autoodoo cert issue` tries at once"), "{}", early.talk);
    assert_eq!(world.ca.asked.get(), 2);
    let shown = bad(world.run("cert show"), 7, cause).data;
    assert!(shown.contains(&format!(" UTC: {cause}\n")), "{shown}");
    let status = good(world.run("status")).data;
    assert!(status.contains("PROBLEM: the certificate should have been renewed by now"), "{status}");
    assert!(status.contains(cause), "{status}");
    world.pass(SignedDuration::from_mins(2));
    bad(world.run("cert renew"), 1, "");
    assert_eq!((world.failures(), world.ca.asked.get()), (2, 3));
    world.ca.mood.set(Mood::Certifies);
    bad(world.run("cert renew"), 1, "the last 2 attempts failed");
    assert_eq!(world.ca.asked.get(), 3);
    good(world.run("cert issue"));
    assert_eq!((world.orders(), world.failures()), (2, 0));
}

#[test]
fn force_is_for_certificates_that_are_not_due() {
    for line in ["cert issue", "cert renew --force"] {
        let world = World::up_with_acme();
        let before = world.live();
        let plan = good(world.run(&format!("{line} --dry-run"))).data;
        assert!(plan.contains("order certificate for odoo.example.com"), "{plan}");
        assert_eq!((world.orders(), world.live()), (1, before.clone()));
        good(world.run(line));
        assert_eq!((world.orders(), world.live() != before), (2, true), "{line}");
    }
    let world = World::up();
    let before = world.live();
    good(world.run("cert issue"));
    assert!(world.live() != before && world.live().starts_with("local-") && world.in_use() == world.live());
}

#[test]
fn show_tells_people_and_programs() {
    let world = World::up_with_acme();
    world.pass_days(10);
    let people = good(world.run("cert show")).data;
    for line in [
        "names     odoo.example.com\n",
        "key       EC P-256\n",
        ", 80 days left\n",
        "two thirds of its 90 days\n",
        "served    127.0.0.1:443 for odoo.example.com: shows it\n",
        "letsencrypt.org",
    ] {
        assert!(people.contains(line), "{line}: {people}");
    }
    let fingerprint = world.fingerprint(&world.in_use());
    assert!(people.contains(&format!("sha256    {fingerprint}\n")), "{people}");
    let report: Value = serde_json::from_str(&good(world.run("--json cert show")).data).unwrap();
    assert_eq!(report["mode"], "acme");
    assert_eq!(report["certificate"], world.in_use());
    assert_eq!(report["days_left"], 80);
    assert_eq!(report["sha256"], fingerprint);
    assert_eq!(report["served"][0]["matches"], true);
    assert_eq!(report["problems"], serde_json::json!([]));
    assert!(report["renewal"]["at"].is_string(), "{report}");
}

#[test]
fn show_ends_with_seven_when_browsers_would_object() {
    let expired = World::up_with_acme();
    expired.pass_days(91);
    let ran = bad(expired.run("cert show"), 7, "the certificate expired on");
    assert!(ran.data.contains("due now: it expired on"), "{}", ran.data);

    let named = World::up_with_acme();
    named.edit("aliases: []", "aliases: [www.example.com]");
    bad(named.run("cert show"), 7, "the certificate is not for `www.example.com`");

    let other = World::up_with_acme();
    *other.stuck.borrow_mut() = Some("ab".repeat(32));
    let ran = bad(other.run("cert show"), 7, "127.0.0.1:443 shows another certificate for odoo.example.com");
    assert!(ran.data.contains(&format!("SHOWS ANOTHER, {}", "ab".repeat(32))), "{}", ran.data);
    let report: Value =
        serde_json::from_str(other.run("--json cert show").data.lines().next().unwrap()).unwrap();
    assert_eq!(report["served"][0]["matches"], false);

    let down = World::up_with_acme();
    good(down.run("down"));
    bad(down.run("cert show"), 7, "no certificate for odoo.example.com");

    let new = World::with_acme();
    bad(new.run("cert show"), 7, "the site has no certificate yet");
}

/// A pair of a company's own CA, in files beside the site.
fn imported_pair(world: &World, names: &[&str]) -> (PathBuf, PathBuf) {
    let (chain, leaf) = company_pair(world, names);
    let paths = ["company.pem", "company.key"].map(|name| world.file(name));
    std::fs::write(&paths[0], chain).unwrap();
    std::fs::write(&paths[1], leaf.key_pem.expose()).unwrap();
    paths.into()
}

fn company_pair(world: &World, names: &[&str]) -> (String, Leaf) {
    let now = world.ca.now.get();
    let ca: CaPair = new_ca("company CA", now).unwrap();
    let names: Vec<Fqdn> = names.iter().map(|name| name.parse().unwrap()).collect();
    let leaf = issue(&ca, &names, now).unwrap();
    (format!("{}{}", leaf.chain_pem, ca.certificate_pem), leaf)
}

#[test]
fn an_imported_certificate_serves_in_files_mode() {
    let world = World::up();
    world.edit("mode: self-signed", "mode: files");
    bad(world.run("up"), 2, "there is no certificate yet");
    for _ in 0..2 {
        let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
        good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
        assert!(world.live().starts_with("files-") && world.live() == world.in_use(), "{}", world.live());
        assert_eq!(
            world.fingerprint(&world.live()),
            inspect(&std::fs::read_to_string(&chain).unwrap()).unwrap().fingerprint
        );
    }
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
    let (chain, key) = imported_pair(&world, &["other.example.com"]);
    let before = world.live();
    bad(
        world.run(&format!("cert import {} {}", chain.display(), key.display())),
        2,
        "the certificate is not for `odoo.example.com`",
    );
    assert_eq!((world.live(), world.run("up").code), (before, 0), "nothing was changed");
}

/// A power cut on a disk that lied.
#[test]
fn a_torn_pair_stops_no_command_and_is_replaced() {
    for torn in [&b""[..], b"-----BEGIN CERTIFICATE-----\nMIIB", b"\xff\xfe\x00"] {
        for line in ["up", "cert issue", "cert renew"] {
            for world in [World::up(), World::up_with_acme()] {
                let (before, path) = (world.live(), format!("secrets/tls/{}", world.in_use()));
                std::fs::write(world.file(&path).join("fullchain.pem"), torn).unwrap();
                std::fs::write(world.file("state/renewal.json"), torn).unwrap();
                let status = good(world.run("status")).data;
                assert!(status.contains(&format!("PROBLEM: the certificate in use, {path}")), "{status}");
                bad(world.run("cert show"), 7, &path);
                let ran = good(world.run(line));
                assert!(ran.talk.contains(&path), "{line}: {}", ran.talk);
                assert!(world.live() != before && world.live() == world.in_use(), "{line}");
                world.fingerprint(&world.live());
                assert!(!good(world.run("status")).data.contains("PROBLEM: the certificate"), "{line}");
            }
        }
    }
}

/// Killed between the key's file and the certificate's: what serves goes on, and its key is kept until
/// a whole pair is there.
#[test]
fn an_import_that_was_cut_off_leaves_the_former_pair() {
    let world = World::up();
    world.edit("mode: self-signed", "mode: files");
    let import = || {
        let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
        world.run(&format!("cert import {} {}", chain.display(), key.display()))
    };
    good(import());
    let (served, key) = (world.live(), world.text(IMPORTED_KEY));
    let previous = format!("{IMPORTED_KEY}.previous");
    std::fs::write(world.file(&previous), &key).unwrap();
    let other = company_pair(&world, &["odoo.example.com"]).1;
    std::fs::write(world.file(IMPORTED_KEY), other.key_pem.expose()).unwrap();
    for line in ["up", "cert renew"] {
        good(world.run(line));
        assert_eq!((world.live(), world.in_use()), (served.clone(), served.clone()), "{line}");
    }
    good(import());
    assert!(world.live() != served && world.live() == world.in_use());
    assert_eq!(world.text(&previous), key);

    std::fs::write(world.file(IMPORTED_KEY), other.key_pem.expose()).unwrap();
    bad(world.run("up"), 2, "`autoodoo cert import CERTIFICATE KEY` again puts both in place");
}

#[test]
fn an_import_changes_its_own_files_alone() {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let world = World::up();
    world.edit("mode: self-signed", "mode: files\n  certificate: odoo.pem\n  key: certs/odoo.key");
    std::fs::create_dir(world.file("certs")).unwrap();
    for (path, bits) in [("", 0o755), ("certs", 0o750)] {
        std::fs::set_permissions(world.file(path), std::fs::Permissions::from_mode(bits)).unwrap();
    }
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let line = format!("cert import {} {}", chain.display(), key.display());
    good(world.run(&line));
    assert_eq!((mode(&world.file("")), mode(&world.file("certs"))), (0o755, 0o750));
    assert_eq!(mode(&world.file("certs/odoo.key")), 0o600);

    std::fs::remove_file(world.file("certs/odoo.key")).unwrap();
    std::os::unix::fs::symlink("/dev/null", world.file("certs/odoo.key")).unwrap();
    bad(world.run(&line), 2, "names files outside of the site directory");
    world.edit("certs/odoo.key", "certs/../../odoo.key");
    bad(world.run(&line), 2, "names files outside of the site directory");
    assert!(!world.root().parent().unwrap().join("odoo.key").exists());
}

#[test]
fn before_the_first_up_it_is_stored() {
    for mode in ["files", "acme"] {
        let world = if mode == "acme" { World::with_acme() } else { World::with_site() };
        if mode == "files" {
            world.edit("mode: self-signed", "mode: files");
        }
        let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
        let ran = good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
        assert!(ran.talk.contains("`autoodoo up` serves it"), "{}", ran.talk);
        good(world.run("up"));
        assert_eq!(world.live(), world.in_use());
        assert!(!world.live().starts_with("local-") && world.orders() == 0, "{mode}: {}", world.live());
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "{mode}");
    }
}

#[test]
fn an_imported_certificate_serves_until_the_ca_is_asked_for_the_next() {
    let world = World::up_with_acme();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
    assert!(world.live().starts_with("imported-") && world.live() == world.in_use());
    let files = names_in(&world.file("secrets/tls").join(world.live()));
    assert_eq!(files, ["fullchain.pem", "privkey.pem", "stapling.conf"]);
    assert_eq!(world.orders(), 1);
    good(world.run("cert renew"));
    good(world.run("up"));
    assert_eq!(world.orders(), 1);
    // The company's CA certifies for 397 days.
    world.pass_days(290);
    good(world.run("cert renew"));
    assert!(world.serves_from_the_ca());
    assert_eq!(world.orders(), 2);
}

#[test]
fn a_site_with_its_own_ca_takes_no_import() {
    let world = World::up();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let ran = bad(
        world.run(&format!("cert import {} {}", chain.display(), key.display())),
        2,
        "asks for a certificate of the local CA",
    );
    assert!(ran.talk.contains("mode: files"), "{}", ran.talk);
    assert!(world.live().starts_with("local-"));
}

/// The same key, opened by `secret`.
fn closed_key(world: &World, key: &Path) -> PathBuf {
    let closed = world.file("closed.key");
    let done = std::process::Command::new("openssl")
        .args(["pkey", "-aes256", "-passout", "pass:secret", "-in"])
        .args([key, Path::new("-out"), &closed])
        .status();
    assert!(done.unwrap().success());
    closed
}

#[test]
fn a_passphrase_is_asked_or_read_from_a_file() {
    let mut world = World::up_with_acme();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let closed = closed_key(&world, &key);
    let line = format!("cert import {} {}", chain.display(), closed.display());
    bad(world.run(&line), 2, "Passphrase of the key");
    world.prompter = Scripted::new([Answer::Say("wrong")]);
    bad(world.run(&line), 2, "passphrase");
    assert!(world.live().starts_with("acme-"));

    let file = world.file("passphrase");
    std::fs::write(&file, "secret\n").unwrap();
    good(world.run(&format!("{line} --passphrase-file {}", file.display())));
    assert!(world.live().starts_with("imported-"));

    let mut world = World::up_with_acme();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let closed = closed_key(&world, &key);
    world.prompter = Scripted::new([Answer::Say("secret")]);
    good(world.run(&format!("cert import {} {}", chain.display(), closed.display())));
    assert_eq!(world.prompter.heard(), ["Passphrase of the key"]);
    assert!(world.live().starts_with("imported-"));
}

/// One more certificate, killed at every call of the engine: at no point does nginx.conf name a pair
/// that is not there, the next run ends with the new one, and the CA certified it once.
#[test]
fn killed_at_any_call_of_a_renewal_the_next_run_finishes_it() {
    let undisturbed = World::up_with_acme();
    undisturbed.engine.forget_calls();
    good(undisturbed.run("cert issue"));
    let calls = undisturbed.engine.calls().len();
    assert!(calls > 2, "{calls}");
    for again in ["cert renew", "up", "cert issue"] {
        for call in 1..=calls {
            let world = World::up_with_acme();
            let before = world.live();
            world.engine.stop_at(call);
            assert_ne!(world.run("cert issue").code, 0, "call {call} was not needed");
            world.engine.resume();
            world.journal_as_if_killed();
            world.fingerprint(&world.live());
            good(world.run(again));
            finished(&world, &before, &format!("killed at call {call}, then {again}"));
        }
    }
}

fn finished(world: &World, before: &str, when: &str) {
    assert!(world.serves_from_the_ca() && world.live() != before, "{when}: {}", world.live());
    assert_eq!(world.orders(), 2, "{when}");
    assert_eq!(world.answers(), Vec::<String>::new(), "{when}");
    assert_eq!(names_in(&world.file("secrets/acme")).len(), 1, "{when}");
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "{when}");
    good(world.run("cert renew"));
    assert_eq!(world.orders(), 2, "{when}");
}

/// The same while the CA is spoken to, and while nginx is asked for the new pair.
#[test]
fn killed_in_the_midst_of_an_order_the_next_run_goes_on_with_it() {
    const MOMENTS: usize = 6;
    for moment in 1..=MOMENTS + 1 {
        let world = World::up_with_acme();
        let before = world.live();
        world.pass_days(64);
        world.ca.dies_at.set(moment);
        let died = world.dies("cert renew");
        assert_eq!(died, moment <= MOMENTS, "moment {moment}");
        world.ca.dies_at.set(0);
        good(world.run("cert renew"));
        finished(&world, &before, &format!("killed at moment {moment}"));
    }
}

#[test]
fn killed_in_the_midst_of_the_first_order() {
    // The first is the look at the placeholder, the last that at its successor.
    const MOMENTS: usize = 8;
    for moment in 1..=MOMENTS {
        let world = World::with_acme();
        world.ca.dies_at.set(moment);
        assert!(world.dies("up"), "moment {moment}");
        assert!(moment == 1 || world.containers() == UP, "moment {moment}");
        world.ca.dies_at.set(0);
        good(world.run("up"));
        assert!(world.serves_from_the_ca(), "moment {moment}");
        assert_eq!((world.orders(), world.answers()), (1, vec![]), "moment {moment}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "moment {moment}");
    }
}

/// The certificate was stored; then the program was killed, before it had forgotten the order and
/// what it remembered of attempts.
#[test]
fn killed_between_storing_and_forgetting() {
    let world = World::up_with_acme();
    let before = world.live();
    world.wishes(1, 2);
    good(world.run("cert renew"));
    world.pass_days(6);
    // The order as the vault has it at the end of the CA's work.
    world.ca.dies_at.set(5);
    assert!(world.dies("cert renew"));
    world.ca.dies_at.set(0);
    let files = ["secrets/acme/order.json", "state/renewal.json"].map(|path| (path, world.text(path)));
    world.engine.stop_at(1);
    assert_ne!(world.run("cert renew").code, 0);
    world.engine.resume();
    for (path, text) in files {
        std::fs::write(world.file(path), text).unwrap();
    }
    *world.ca.window.borrow_mut() = None;
    good(world.run("up"));
    finished(&world, &before, "killed before forgetting");
}

/// An order that was certified long ago, and never fetched, gives what has ended since.
#[test]
fn an_order_that_was_left_too_long_is_given_up() {
    let world = World::up_with_acme();
    world.pass_days(64);
    world.ca.dies_at.set(5);
    assert!(world.dies("cert renew"));
    world.ca.dies_at.set(0);
    world.pass_days(100);
    let first = world.run("up");
    if first.code != 0 {
        good(world.run("up"));
    }
    assert!(world.serves_from_the_ca());
    assert_eq!(world.orders(), 3);
    good(world.run("cert show"));
}

#[test]
fn the_dns_hook_is_called_for_each_name_and_again_to_clean_up() {
    let world = World::with_acme();
    world.edit(
        "    agree_tos: true\n",
        "    agree_tos: true\n    challenge: dns-01\n    dns_hook: hooks/dns\n    \
         names: ['odoo.example.com', '*.odoo.example.com']\n",
    );
    good(world.run("up"));
    let name = "_acme-challenge.odoo.example.com";
    // The two values of one name are there at the same time.
    let calls = ["present", "wait", "cleanup"].iter().flat_map(|word| {
        ["odoo.example.com", "*.odoo.example.com"]
            .map(|wanted| format!("{word} {name} value-{}", wanted.len()))
    });
    assert!(world.hooks.0.borrow().iter().cloned().eq(calls), "{:?}", world.hooks.0.borrow());
    assert_eq!(world.ca.orders.borrow()[0].names, ["odoo.example.com", "*.odoo.example.com"]);
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn what_a_certificate_is_made_of_leads_to_another() {
    let changes = [
        ("aliases: []", "aliases: [www.example.com]", "it is not for `www.example.com`"),
        ("agree_tos: true\n", "agree_tos: true\n    profile: shortlived\n", "another CA or profile"),
        ("agree_tos: true\n", "agree_tos: true\n    key_type: rsa2048\n", "the kind rsa2048, not p256"),
        (
            "agree_tos: true\n",
            "agree_tos: true\n    directory: https://ca.example/dir\n",
            "another CA or profile",
        ),
    ];
    for (from, to, why) in changes {
        let world = World::up_with_acme();
        let before = world.live();
        world.edit(from, to);
        let plan = good(world.run("up --dry-run")).data;
        assert!(plan.contains(why), "{to}: {plan}");
        good(world.run("up"));
        assert_eq!((world.orders(), world.live() != before), (2, true), "{to}");
        assert!(world.serves_from_the_ca(), "{to}");
        assert_eq!(world.run("up --dry-run").data, "nothing to do\n", "{to}");
        world.edit(to, from);
        good(world.run("up"));
        assert_eq!(world.orders(), 3, "and back: {to}");
    }
    let order = {
        let world = World::with_acme();
        world.edit("agree_tos: true\n", "agree_tos: true\n    key_type: rsa2048\n    profile: shortlived\n");
        good(world.run("up"));
        assert!(good(world.run("cert show")).data.contains("RSA 2048 bits"));
        world.ca.orders.borrow()[0].clone()
    };
    assert_eq!((order.key_type.as_str(), order.profile.as_deref()), ("rsa2048", Some("shortlived")));
}

#[test]
fn nothing_else_leads_to_another() {
    for (from, to) in [("users: 5", "users: 60"), ("owner@example.com", "other@example.com")] {
        let world = World::up_with_acme();
        world.edit(from, to);
        good(world.run("up"));
        assert_eq!(world.orders(), 1, "{to}");
    }
}

#[test]
fn a_site_goes_from_mode_to_mode() {
    let world = World::up();
    let own = world.fingerprint(&world.live());
    world.edit("mode: self-signed\n", "mode: acme\n  acme: { agree_tos: true }\n");
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
    world.edit("mode: acme\n  acme: { agree_tos: true }\n", "mode: self-signed\n");
    good(world.run("up"));
    assert!(world.live().starts_with("local-") && world.fingerprint(&world.live()) != own);
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    world.edit("mode: self-signed\n", "mode: files\n  certificate: company.pem\n  key: company.key\n");
    assert!(chain.exists() && key.exists());
    good(world.run("up"));
    assert!(world.live().starts_with("files-") && world.live() == world.in_use());
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn no_secret_is_in_a_plan_a_journal_the_engine_or_the_output() {
    const EAB: &str = "aHR0cHM6Ly9jYS5leGFtcGxlL2VhYg";
    let world = World::with_acme();
    world.edit("agree_tos: true\n", "agree_tos: true\n    eab_kid: kid-1\n");
    bad(world.run("up"), 2, "acme-eab-key");
    std::fs::write(world.file("secrets/acme-eab-key"), format!("{EAB}\n")).unwrap();
    let mut shown = world.run("--json up --dry-run").data;
    for line in ["--verbose up", "--json --verbose cert issue", "cert show", "--json cert show", "status"] {
        let ran = good(world.run(line));
        shown += &(ran.data + &ran.talk);
    }
    assert_eq!(world.ca.orders.borrow()[0].eab.as_ref().unwrap().hmac_key.expose(), EAB);
    let journal = world.text("state/journal.jsonl");
    let state = world.text("state/state.json") + &world.text("state/renewal.json");
    let calls = world.engine.calls().join("\n");
    let mut secrets = vec![EAB.to_owned(), ACCOUNT.to_owned()];
    for id in names_in(&world.file("secrets/tls")) {
        let key = world.text(&format!("secrets/tls/{id}/privkey.pem"));
        secrets.push(key.lines().nth(1).unwrap().to_owned());
    }
    assert!(secrets.len() > 3, "{}", secrets.len());
    for secret in secrets {
        for (place, text) in
            [("output", &shown), ("journal", &journal), ("state", &state), ("engine", &calls)]
        {
            assert!(!text.contains(&secret), "{secret} is in the {place}");
        }
    }
}

/// This machine's clock is two days behind the CA's: what it sends begins in the future.
#[test]
fn a_clock_that_is_behind_is_told_and_no_second_order_is_made() {
    let world = World::with_acme();
    world.ca.ahead.set(SignedDuration::from_hours(48));
    let ran = bad(world.run("up"), 1, "the certificate is not valid before");
    assert!(ran.talk.contains("clock"), "{}", ran.talk);
    assert_eq!(world.containers(), UP);
    // It is put right.
    world.pass_days(2);
    world.ca.ahead.set(SignedDuration::ZERO);
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
    assert_eq!(world.orders(), 1);
}

#[test]
fn a_clock_that_goes_wrong_orders_nothing() {
    for days in [2, -2] {
        let world = World::up_with_acme();
        world.pass_days(10);
        world.pass_days(days);
        for line in ["up", "cert renew"] {
            good(world.run(line));
            assert_eq!(world.orders(), 1, "{line}, {days} days");
        }
        world.pass_days(-days);
        good(world.run("cert renew"));
        assert_eq!(world.orders(), 1, "{days} days");
    }
    // A failure that was noted two days ahead of now holds nobody up.
    let world = World::up_with_acme();
    world.pass_days(66);
    world.ca.mood.set(Mood::Refuses);
    bad(world.run("cert renew"), 1, "");
    world.pass_days(-2);
    world.ca.mood.set(Mood::Certifies);
    good(world.run("cert renew"));
    assert_eq!(world.orders(), 2);
}

#[test]
fn one_that_expired_while_the_machine_was_off_is_replaced_at_once() {
    for line in ["up", "cert renew"] {
        let world = World::up_with_acme();
        world.pass_days(200);
        let ran = good(world.run(line));
        assert!(ran.talk.contains("it expired on"), "{line}: {}", ran.talk);
        assert!(world.serves_from_the_ca());
        assert_eq!(world.orders(), 2, "{line}");
        good(world.run("cert show"));
    }
}

/// The CA does not want to be asked while the present one has ended: that should be told.
#[test]
fn one_that_expired_and_has_to_wait_is_told() {
    let world = World::up_with_acme();
    world.pass_days(200);
    world.ca.mood.set(Mood::Limits);
    bad(world.run("cert renew"), 1, "later");
    let ran = good(world.run("up"));
    assert!(ran.talk.contains("no certificate is ordered before"), "{}", ran.talk);
    let ran = bad(world.run("cert renew"), 7, "the certificate ended on");
    assert!(ran.talk.contains("the CA wants to be asked later"), "{}", ran.talk);
    let status = good(world.run("status")).data;
    assert!(status.contains("PROBLEM: the certificate ended on") && !status.contains("days)"), "{status}");
}

/// What is the owner's to replace is not renewed for him, and he is told so.
#[test]
fn the_owner_s_own_is_never_called_renewed() {
    let world = World::up();
    world.edit("mode: self-signed", "mode: files");
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let line = format!("cert import {} {}", chain.display(), key.display());
    good(world.run(&line));
    let again = good(world.run(&line)).data;
    assert!(again.contains("the certificate for odoo.example.com serves already"), "{again}");
    for line in ["cert issue", "cert renew --force"] {
        bad(world.run(line), 2, "names a certificate of your own");
    }
    assert!(good(world.run("cert renew")).data.contains("is not due"));
    assert_eq!(good(world.run("cert renew --quiet")).data, "");
    world.pass_days(400);
    let ran = bad(world.run("cert renew --quiet"), 7, "the certificate ended on");
    assert!(ran.talk.contains("cert import"), "{}", ran.talk);
}

/// Cron mails what is said: nothing when there was nothing to do.
#[test]
fn a_quiet_renewal_says_nothing_where_nothing_was_done() {
    let world = World::up_with_acme();
    let ran = good(world.run("cert renew --quiet"));
    assert_eq!((ran.data.as_str(), ran.talk.as_str()), ("", ""));
    let report: Value = serde_json::from_str(&good(world.run("--json cert renew --quiet")).data).unwrap();
    assert_eq!(report["event"], "not-due");
}

#[test]
fn a_first_up_without_a_certificate_tells_where_the_site_is() {
    let world = World::with_acme();
    world.ca.mood.set(Mood::Refuses);
    let ran = bad(world.run("up"), 1, "the site is up with a certificate of its own");
    assert!(ran.data.contains("https://odoo.example.com is up; first login"), "{}", ran.data);
    assert!(ran.talk.contains("`autoodoo cert issue` tries again"), "{}", ran.talk);
    assert!(!ran.talk.contains("to cron") && !ran.talk.contains("not touched"), "{}", ran.talk);
    let status = good(world.run("status")).data;
    assert!(status.contains("PROBLEM: browsers do not trust the certificate"), "{status}");
    bad(world.run("cert show"), 7, "browsers do not trust the certificate");
    world.ca.mood.set(Mood::Certifies);
    let cron = format!("`0 4 * * * autoodoo -C {} cert renew --quiet`", world.root().display());
    assert!(good(world.run("up")).talk.contains(&cron));
    assert!(!good(world.run("up")).talk.contains(&cron), "once");
    assert!(!good(world.run("status")).data.contains("PROBLEM: browsers"));
}

#[test]
fn an_up_that_fails_before_its_order_calls_nothing_up() {
    let world = World::with_acme();
    world.engine.stop_at(5);
    let ran = world.run("up");
    assert_eq!((ran.code != 0, ran.data.as_str()), (true, ""), "{}", ran.talk);
}

#[test]
fn two_at_once_are_one() {
    let world = World::up_with_acme();
    let holder = Holder { command: "autoodoo cert".to_owned(), pid: 4242, since: world.ca.now.get() };
    let lock = SiteLock::acquire(&world.file("state"), &holder).unwrap();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    let import = format!("cert import {} {}", chain.display(), key.display());
    for line in ["cert renew", "cert issue", &import] {
        bad(world.run(line), 5, "4242");
    }
    good(world.run("cert show"));
    assert_eq!(world.orders(), 1);
    drop(lock);
    good(world.run("cert issue"));
    assert_eq!(world.orders(), 2);
}

#[test]
fn a_site_that_is_down_says_so() {
    let world = World::up_with_acme();
    good(world.run("down"));
    bad(world.run("cert issue"), 1, "the site is down");
    good(world.run("cert renew"));
    assert_eq!(world.ca.asked.get(), 1);
    good(world.run("up"));
    assert!(world.serves_from_the_ca());
    assert_eq!(world.orders(), 1);
}

/// What the owner keeps beside our pairs is his.
#[test]
fn what_is_not_ours_is_not_swept() {
    let world = World::up_with_acme();
    std::fs::create_dir(world.file("secrets/tls/acme-company")).unwrap();
    for _ in 0..3 {
        world.pass_days(64);
        good(world.run("cert renew"));
    }
    let kept = names_in(&world.file("secrets/tls"));
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.contains(&"acme-company".to_owned()) && kept.contains(&world.live()), "{kept:?}");
}

/// A renewal between a change that was cut off and the next `up` starts nothing and proves nothing.
#[test]
fn a_renewal_says_nothing_of_what_others_started() {
    const UNPROVEN: &str = "has not proved itself";
    let world = World::up_with_acme();
    world.edit("users: 5", "users: 60");
    world.engine.stop_at(4);
    assert_ne!(world.run("up").code, 0);
    world.engine.resume();
    assert!(world.run("up --dry-run").data.contains(UNPROVEN));
    good(world.run("cert issue"));
    assert!(world.run("up --dry-run").data.contains(UNPROVEN));
    good(world.run("up"));
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");

    world.ca.mood.set(Mood::Refuses);
    bad(world.run("cert issue"), 1, "");
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

/// Browsers that were told to insist on HTTPS let nobody past a certificate that they do not know.
#[test]
fn browsers_are_told_to_insist_by_a_certificate_that_they_believe() {
    let insists =
        |world: &World| world.text("generated/nginx/live/nginx.conf").contains("Strict-Transport-Security");
    let world = World::with_acme();
    let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
    good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
    good(world.run("up"));
    assert!(world.live().starts_with("imported-") && !insists(&world), "a company's CA");

    let world = World::with_acme();
    world.ca.mood.set(Mood::Refuses);
    bad(world.run("up"), 1, "");
    assert!(!insists(&world), "a placeholder");
    world.ca.mood.set(Mood::Certifies);
    world.edit("agree_tos: true\n", "agree_tos: true\n    directory: letsencrypt-staging\n");
    good(world.run("up"));
    assert!(!insists(&world), "staging");
    world.edit("    directory: letsencrypt-staging\n", "");
    world.ca.mood.set(Mood::Refuses);
    bad(world.run("up"), 1, "");
    assert!(!insists(&world), "staging still");
    world.ca.mood.set(Mood::Certifies);
    good(world.run("up"));
    assert!(insists(&world));
    assert_eq!(world.run("up --dry-run").data, "nothing to do\n");
}

#[test]
fn what_is_imported_while_the_site_is_down_serves_when_it_comes_up() {
    for mode in ["acme", "files"] {
        let world = World::up_with_acme();
        if mode == "files" {
            world.edit(
                "  mode: acme\n  acme:\n    email: owner@example.com\n    agree_tos: true\n",
                "  mode: files\n",
            );
        }
        good(world.run("down"));
        let (chain, key) = imported_pair(&world, &["odoo.example.com"]);
        let ran = good(world.run(&format!("cert import {} {}", chain.display(), key.display())));
        assert!(ran.talk.contains("`autoodoo up` serves it"), "{mode}: {}", ran.talk);
        good(world.run("up"));
        assert!(!world.live().starts_with("acme-") && world.live() == world.in_use(), "{mode}");
        assert_eq!(world.orders(), 1, "{mode}");
    }
}

#[test]
fn the_owners_replaced_files_serve_with_cert_renew() {
    let world = World::with_site();
    imported_pair(&world, &["odoo.example.com"]);
    world.edit("mode: self-signed\n", "mode: files\n  certificate: company.pem\n  key: company.key\n");
    good(world.run("up"));
    let before = world.live();
    assert!(good(world.run("cert renew")).data.contains("is not due"));
    imported_pair(&world, &["odoo.example.com"]);
    good(world.run("cert renew"));
    assert!(world.live() != before && world.live().starts_with("files-") && world.live() == world.in_use());
    std::fs::write(world.file("company.key"), world.text(&format!("secrets/tls/{before}/privkey.pem")))
        .unwrap();
    bad(world.run("cert renew"), 2, "key");
    assert_eq!(world.live(), world.in_use());
}
