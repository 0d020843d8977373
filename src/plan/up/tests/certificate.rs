//! Plans that get, replace and keep certificates.

use super::*;
use crate::render::nginx_conf::{certificate_in, with_certificate};
use crate::site::Tls;

const ACME: &str = "{ mode: acme, acme: { email: owner@example.com, agree_tos: true } }";
const FILES: &str = "{ mode: files, certificate: own/chain.pem, key: own/key.pem }";

fn tls(yaml: &str) -> Tls {
    parse::site(format!("name: acme\ndomain: a.b\ntls: {yaml}\n")).unwrap().tls
}

fn pair(id: &str, why: &str) -> Next {
    Next { id: id.into(), why: why.into(), stored: false }
}

/// A host with the images and a site that is to have its certificate from a CA.
fn fresh() -> World {
    let mut world = World::fresh();
    world.site.tls = tls(ACME);
    world.local.certificate = CertificateFacts {
        next: Some(pair("acme-1", "there is none yet")),
        placeholder: "local-p".into(),
        trusted: believed(),
        ..CertificateFacts::default()
    };
    world
}

/// Pairs from the CA.
fn believed() -> BTreeSet<String> {
    ["acme-1", "acme-2"].map(str::to_owned).into()
}

/// A site that is up with this pair.
fn serving(mode: &str, id: &str) -> World {
    let mut world = World::fresh();
    world.site.tls = tls(mode);
    world.bring_up();
    world.local.certificate = CertificateFacts {
        current: Some(id.into()),
        placeholder: "local-p".into(),
        trusted: believed(),
        ..CertificateFacts::default()
    };
    world.state.certificate = Some(id.into());
    world.settle();
    world
}

/// A site whose certificate by ACME is due.
fn due() -> World {
    let mut world = serving(ACME, "acme-1");
    world.local.certificate.next = Some(pair("acme-2", "two thirds of its 90 days"));
    world
}

/// The plan of `cert`, which leaves everything else alone.
fn certificate_plan(world: &World) -> Plan {
    let plan = world.with(certificate_only).unwrap();
    audit(world, &plan);
    let live = world.local.nginx_live.as_ref().unwrap();
    for step in &plan.steps {
        match &step.action {
            Action::WriteFile { path, content } => {
                assert_eq!(path, Path::new(files::NGINX_CANDIDATE));
                assert_eq!(with_certificate(&content.0, certificate_in(live).unwrap()), *live);
            }
            Action::TestInNginx { .. }
            | Action::PublishNginxConf { .. }
            | Action::ReloadNginx { .. }
            | Action::IssueCertificate { .. }
            | Action::InstallCertificate { .. }
            | Action::OrderCertificate(_)
            | Action::VerifyCertificate { .. }
            | Action::UseCertificate { .. }
            | Action::SweepCertificates { .. } => {}
            other => panic!("{other} is no affair of a certificate:\n{plan}"),
        }
    }
    plan
}

/// What holds in every plan: nginx has the certificate that is looked at, it is recorded only once
/// it was seen, and no sweep takes what nginx uses or the state names.
pub(super) fn audit(world: &World, plan: &Plan) {
    let mut stored: BTreeSet<String> = world.local.certificate.current.iter().cloned().collect();
    stored.extend(world.local.certificate.next.iter().filter(|next| next.stored).map(|next| next.id.clone()));
    let mut candidate = None;
    let mut live = world.local.nginx_live.clone();
    let mut loaded = live.clone().filter(|text| world.state.nginx_loaded == Some(text_fingerprint(text)));
    let mut seen = None;
    let mut used = world.state.certificate.clone();
    for step in &plan.steps {
        let of = |text: &Option<String>| text.as_deref().and_then(certificate_in).map(str::to_owned);
        match &step.action {
            Action::IssueCertificate { id, .. } | Action::InstallCertificate { id, .. } => {
                stored.insert(id.clone());
            }
            Action::OrderCertificate(order) => {
                assert!(stored.insert(order.id.clone()), "ordered twice:\n{plan}");
            }
            Action::WriteFile { path, content } if path == Path::new(files::NGINX_CANDIDATE) => {
                candidate = Some(content.0.clone());
                let id = of(&candidate).unwrap();
                assert!(stored.contains(&id), "{id} is not stored yet:\n{plan}");
            }
            Action::PublishNginxConf { .. } => live = candidate.take(),
            Action::ReloadNginx { .. } | Action::AwaitNginx { .. } => loaded.clone_from(&live),
            Action::VerifyCertificate { certificate, .. } => {
                assert_eq!(of(&loaded).as_ref(), Some(certificate), "nginx does not have it:\n{plan}");
                seen = Some(certificate.clone());
            }
            Action::UseCertificate { id } => {
                assert_eq!(seen.as_ref(), Some(id), "it was not looked at:\n{plan}");
                used = Some(id.clone());
            }
            Action::SweepCertificates { keep } => {
                for id in used.iter().cloned().chain(of(&live)) {
                    assert!(keep.contains(&id), "{id} is swept:\n{plan}");
                }
            }
            _ => {}
        }
    }
}

/// What a run that is killed after these steps leaves.
fn after(world: &mut World, steps: &[crate::plan::Step]) {
    let mut candidate = None;
    for step in steps {
        let facts = &mut world.local.certificate;
        match &step.action {
            Action::OrderCertificate(_) | Action::InstallCertificate { .. } => {
                facts.next.as_mut().unwrap().stored = true;
            }
            Action::WriteFile { content, .. } => candidate = Some(content.0.clone()),
            Action::PublishNginxConf { .. } => world.local.nginx_live = candidate.take(),
            Action::ReloadNginx { fingerprint, .. } => world.state.nginx_loaded = Some(fingerprint.clone()),
            Action::UseCertificate { id } => {
                if facts.next.as_ref().is_some_and(|next| next.id == *id) {
                    facts.next = None;
                }
                facts.current = Some(id.clone());
                world.state.certificate = Some(id.clone());
            }
            _ => {}
        }
    }
    world.settled = false;
}

fn orders(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step.action, Action::OrderCertificate(_))).count()
}

/// The pairs that are recorded, in that order.
fn uses(plan: &Plan) -> Vec<&str> {
    let used = plan.steps.iter().filter_map(|step| match &step.action {
        Action::UseCertificate { id } => Some(id.as_str()),
        _ => None,
    });
    used.collect()
}

/// The pairs with which nginx.conf is written, in that order.
fn written(plan: &Plan) -> Vec<&str> {
    let written = plan.steps.iter().filter_map(|step| match &step.action {
        Action::WriteFile { content, .. } => certificate_in(&content.0),
        _ => None,
    });
    written.collect()
}

/// The site serves with a placeholder before the CA is asked.
#[test]
fn first_up() {
    insta::assert_snapshot!(fresh().plan());
}

#[test]
fn from_the_local_ca_to_acme() {
    let mut world = serving("{ mode: self-signed }", "local-0");
    world.site.tls = tls(ACME);
    world.local.certificate.next = Some(pair("acme-1", "the site file asks for one from the CA"));
    insta::assert_snapshot!(world.plan());
}

#[test]
fn from_acme_to_the_local_ca() {
    let mut world = serving(ACME, "acme-1");
    world.site.tls = tls("{ mode: self-signed }");
    world.local.certificate.next = Some(pair("local-1", "the site file asks for one from the local CA"));
    insta::assert_snapshot!(world.plan());
}

#[test]
fn from_acme_to_files() {
    let mut world = serving(ACME, "acme-1");
    world.site.tls = tls(FILES);
    world.local.certificate.next = Some(pair("files-1", "the certificate files are new"));
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_new_alias_is_ordered() {
    let mut world = serving(ACME, "acme-1");
    world.site.aliases.push("www.example.com".parse().unwrap());
    world.local.certificate.next = Some(pair("acme-2", "it is not for `www.example.com`"));
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_renewal_moves_nothing_else() {
    insta::assert_snapshot!(certificate_plan(&due()));
}

/// Settings that wait for `up` go on waiting.
#[test]
fn a_renewal_leaves_a_changed_site_file_alone() {
    let mut world = due();
    world.sizing.odoo.workers += 2;
    world.site.aliases.push("www.example.com".parse().unwrap());
    let steps = |world: &World| {
        let plan = certificate_plan(world);
        plan.steps.iter().skip(1).map(|step| step.action.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(steps(&world), steps(&due()));
}

#[test]
fn what_was_obtained_before_is_not_ordered_again() {
    let mut world = due();
    world.local.certificate.next.as_mut().unwrap().stored = true;
    insta::assert_snapshot!(certificate_plan(&world));
    let plan = world.with(up).unwrap();
    audit(&world, &plan);
    assert_eq!((orders(&plan), uses(&plan)), (0, vec!["acme-2"]), "{plan}");
}

#[test]
fn nothing_is_due() {
    let world = serving(ACME, "acme-1");
    assert!(certificate_plan(&world).is_empty());
    assert_eq!(world.plan(), "");
}

#[test]
fn who_has_to_wait_is_told() {
    let mut world = serving(ACME, "local-0");
    let words = "no certificate is ordered before 2026-02-01 00:00 UTC: the CA asks for it".to_owned();
    world.local.certificate.waits = Some(words.clone());
    for plan in [world.with(up).unwrap(), world.with(certificate_only).unwrap()] {
        assert!(plan.is_empty(), "{plan}");
        assert_eq!(plan.remarks, [words.as_str()]);
    }
}

#[test]
fn a_site_that_is_down_is_told_to_come_up() {
    let mut world = due();
    for name in ["acme-nginx-a", "acme-front"] {
        world.lose(name);
    }
    let refusal = world.with(certificate_only).unwrap_err();
    assert!(refusal.message.contains("the site is down"), "{refusal}");
    assert!(refusal.hints[0].contains("autoodoo up"), "{refusal:?}");
    world.local.certificate.next = None;
    assert!(certificate_plan(&world).is_empty(), "nothing is due, nothing is amiss");
}

/// A placeholder that had to be made anew, while the CA does not want to be asked, is what serves.
#[test]
fn a_placeholder_in_use_is_not_swept() {
    let mut world = serving(ACME, "acme-1");
    world.local.certificate.current = None;
    world.local.certificate.waits = Some("the CA asks for no attempt".to_owned());
    let plan = world.with(up).unwrap();
    audit(&world, &plan);
    assert_eq!(uses(&plan), ["local-p"], "{plan}");
}

/// An imported pair needs no placeholder before it.
#[test]
fn a_pair_that_is_there_already_serves_from_the_start() {
    let mut world = fresh();
    world.local.certificate.next = Some(Next { id: "imported-1".into(), why: "it is".into(), stored: true });
    let plan = world.with(up).unwrap();
    audit(&world, &plan);
    assert!(!plan.to_string().contains("issue certificate"), "{plan}");
    assert_eq!((written(&plan), uses(&plan)), (vec!["imported-1"], vec!["imported-1"]), "{plan}");
}

/// A name that the present pair is not for is what the order is about: it must not fail before.
#[test]
fn the_site_is_asked_by_what_it_shows_while_a_ca_is_waited_for() {
    for id in ["local-0", "acme-1"] {
        let mut world = serving(ACME, id);
        world.site.further.push(shop());
        world.local.certificate.next = Some(pair("acme-2", "it is not for `shop.example.com`"));
        let plan = world.with(up).unwrap();
        let trusts = plan.steps.iter().filter_map(|step| match &step.action {
            Action::ProbeSite { trust, .. } => Some(trust.clone()),
            _ => None,
        });
        assert!(trusts.eq([Trust::Stored(id.into()), Trust::Stored(id.into())]), "{plan}");
    }
}

/// Wherever `cert renew` is killed: the next run ends with the new pair, and nginx.conf never goes
/// back to the old one once the new one is in place.
#[test]
fn a_renewal_that_was_cut_off_goes_on() {
    let whole = certificate_plan(&due());
    for killed in 0..=whole.steps.len() {
        let mut world = due();
        after(&mut world, &whole.steps[..killed]);
        for plan in [certificate_plan(&world), world.with(up).unwrap()] {
            audit(&world, &plan);
            let ordered = killed > 0;
            assert_eq!(orders(&plan), usize::from(!ordered), "killed after {killed}:\n{plan}");
            let recorded = world.state.certificate.as_deref() == Some("acme-2");
            let expected: &[&str] = if recorded { &[] } else { &["acme-2"] };
            assert_eq!(uses(&plan), expected, "killed after {killed}:\n{plan}");
            let back = written(&plan).contains(&"acme-1");
            assert!(!back, "the old pair comes back, killed after {killed}:\n{plan}");
        }
    }
}

/// The same for the first order of a site that is up with a placeholder.
#[test]
fn a_first_order_that_was_cut_off_goes_on() {
    let waiting = || {
        let mut world = serving(ACME, "local-0");
        world.local.certificate.next = Some(pair("acme-1", "there is none yet"));
        world
    };
    let whole = waiting().with(up).unwrap();
    assert_eq!((orders(&whole), uses(&whole)), (1, vec!["acme-1"]), "{whole}");
    for killed in 0..whole.steps.len() {
        let mut world = waiting();
        after(&mut world, &whole.steps[..killed]);
        let plan = world.with(up).unwrap();
        audit(&world, &plan);
        assert_eq!(orders(&plan), usize::from(killed == 0), "killed after {killed}:\n{plan}");
        assert!(!written(&plan).contains(&"local-0"), "killed after {killed}:\n{plan}");
        let mut done = world;
        after(&mut done, &plan.steps);
        done.settled = true;
        assert_eq!(done.state.certificate.as_deref(), Some("acme-1"), "killed after {killed}:\n{plan}");
        assert_eq!(done.plan(), "", "killed after {killed}");
    }
}

/// What would bring back the old nginx.conf stands beside each step that could show that the new
/// pair does not serve.
#[test]
fn a_pair_that_does_not_serve_is_taken_back() {
    let world = due();
    let plan = certificate_plan(&world);
    let verify = plan.steps.iter().find(|step| matches!(step.action, Action::VerifyCertificate { .. }));
    let undo = &verify.unwrap().on_failure;
    let [Action::WriteFile { content, .. }, Action::PublishNginxConf { .. }, Action::ReloadNginx { .. }] =
        undo.as_slice()
    else {
        panic!("{undo:?}")
    };
    assert_eq!(Some(&content.0), world.local.nginx_live.as_ref());
    let reload = plan.steps.iter().find(|step| matches!(step.action, Action::ReloadNginx { .. })).unwrap();
    assert_eq!(&reload.on_failure, undo);
}
