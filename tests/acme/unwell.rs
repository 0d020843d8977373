//! Bad days: names that do not validate, a CA that is unwell, a program that dies.

use std::io::Write;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use autoodoo::acme::{AcmeCa, Ca, Eab, Endpoint, Order, Patience, account_url, after_storing};
use autoodoo::failure::{Failure, Kind};
use autoodoo::secret::Secret;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::challtestsrv::ChallTestSrv;
use crate::daemon::free_address;
use crate::fixture::{Machine, Solving, assert_serves, ca, order, short_patience};
use crate::pebble::{Options, Pebble};
use crate::proxy::{Alteration, Proxy, Reply};

/// Why there is no certificate. Nothing is left of the attempt.
async fn failure(machine: &Rc<Machine>, wanted: &Order) -> Failure {
    let failure = machine.obtain(wanted).await.unwrap_err().failure;
    assert!(machine.presented.borrow().is_empty(), "answers are left behind");
    failure
}

#[tokio::test]
async fn another_server_that_answers_is_guessed_at() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    machine.solving.set(Solving::Wrong);
    let failure = failure(&machine, &order(&pebble, &["a.example", "b.example"])).await;
    assert!(failure.message.starts_with("the CA could not validate `"), "{failure}");
    assert!(failure.causes[0].contains("(unauthorized)"), "{failure}");
    assert!(failure.hints[0].starts_with("another server seems to answer"), "{failure:?}");
    assert!(machine.order.borrow().is_none(), "an order that the CA is done with is kept");

    machine.solving.set(Solving::Well);
    let wanted = ["a.example", "b.example"];
    assert_serves(&machine.obtain(&order(&pebble, &wanted)).await.unwrap(), &pebble, &wanted);
}

#[tokio::test]
async fn a_closed_port_80_is_told_of() {
    let names = Rc::new(ChallTestSrv::leading_here());
    let pebble = Pebble::start(Options::new(free_address().port(), names.dns));
    let failure = failure(&Machine::new(&names), &order(&pebble, &["a.example"])).await;
    assert_eq!(failure.message, "the CA could not validate `a.example`");
    assert!(failure.causes[0].ends_with("(connection)"), "{failure}");
    assert!(failure.hints[0].contains("port 80"), "{failure:?}");
}

#[tokio::test]
async fn a_name_without_an_address_is_told_of() {
    let (names, pebble) = ca(|_| ());
    names.lead_to("");
    let failure = failure(&Machine::new(&names), &order(&pebble, &["a.example"])).await;
    assert_eq!(failure.message, "the CA could not validate `a.example`");
    assert!(failure.hints[0].contains("A (or AAAA) record"), "{failure:?}");
}

#[tokio::test]
async fn a_missing_txt_record_is_told_of() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    machine.solving.set(Solving::Idle);
    let mut wanted = order(&pebble, &["a.example"]);
    wanted.challenge = autoodoo::acme::ChallengeKind::Dns01;
    let failure = failure(&machine, &wanted).await;
    assert!(failure.hints[0].contains("TXT record"), "{failure:?}");
}

#[tokio::test]
async fn answers_that_cannot_be_shown_leave_the_order_for_the_next_attempt() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    machine.solving.set(Solving::Failing);
    let wanted = order(&pebble, &["a.example"]);
    assert_eq!(failure(&machine, &wanted).await.message, "the disk is full");

    machine.solving.set(Solving::Well);
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert_eq!(machine.notes(), ["an order that was begun earlier goes on"]);
}

#[tokio::test]
async fn a_validation_that_takes_too_long_is_gone_on_with() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    machine.patience.set(Patience { validation: Duration::ZERO, ..Patience::default() });
    let wanted = order(&pebble, &["a.example"]);
    let failure = machine.obtain(&wanted).await.unwrap_err().failure;
    let expected = format!("{} has not validated a.example within 0 s", pebble.address);
    assert_eq!(failure.message, expected);
    assert_eq!(machine.presented.borrow().len(), 1, "the CA may still look for it");

    machine.patience.set(Patience::default());
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert!(machine.presented.borrow().is_empty(), "answers are left behind");
}

/// The CA says that its orders are in this state, and to come back tomorrow.
fn hangs(status: &str, times: usize) -> Alteration {
    Alteration { path: "/my-order", times, fields: json!({ "status": status }), retry_after: Some("86400") }
}

#[tokio::test]
async fn a_day_of_retry_after_does_not_end_an_order() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    let soon = Duration::from_secs(2);
    machine.patience.set(Patience { validation: soon, issuance: soon, ..Patience::default() });
    proxy.alter(Alteration { path: "/authZ", ..hangs("pending", 9) });
    proxy.alter(hangs("pending", 1));
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert!(proxy.asked("/my-order").len() >= 2);
}

#[tokio::test]
async fn an_order_that_hangs_is_given_up_after_some_attempts() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    machine.patience.set(Patience { issuance: Duration::ZERO, ..Patience::default() });
    proxy.alter(hangs("processing", usize::MAX));
    let orders = || proxy.asked("/order-plz").len();
    for attempt in 0..6 {
        let failure = machine.obtain(&wanted).await.unwrap_err();
        assert!(failure.failure.message.ends_with("has not issued the certificate within 0 s"));
        assert_eq!((failure.retry_after, orders()), (None, 1), "attempt {attempt}");
    }
    machine.obtain(&wanted).await.unwrap_err();
    assert_eq!(orders(), 2);
    machine.obtain(&Order { fresh: true, ..wanted.clone() }).await.unwrap_err();
    assert_eq!(orders(), 3, "a person's way out");

    proxy.let_through();
    machine.patience.set(Patience::default());
    machine.obtain(&wanted).await.unwrap();
    let issued = machine.obtain(&Order { fresh: true, ..wanted.clone() }).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
    assert_eq!(orders(), 3, "an order with a certificate is worth going on with");
}

#[tokio::test]
async fn a_key_that_the_ca_refuses_is_not_kept() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    proxy.reply(Reply::problem("/finalize-order", 400, "badPublicKey").times(1));
    let refused = failure(&machine, &wanted).await;
    assert!(refused.hints[0].contains("choose another"), "{refused:?}");
    assert!(machine.order.borrow().is_none());
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
}

#[tokio::test]
async fn an_order_that_fails_when_gone_on_with_says_why() {
    let (names, _pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    machine.solving.set(Solving::Failing);
    machine.obtain(&wanted).await.unwrap_err();
    machine.solving.set(Solving::Wrong);
    let failure = failure(&machine, &wanted).await;
    assert_eq!(failure.message, "the CA could not validate `a.example`");
    assert_eq!(proxy.asked("/order-plz").len(), 1, "another order would fail for the same reason");
}

#[tokio::test]
async fn what_could_not_be_taken_away_is_taken_away_later() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let wanted = order(&pebble, &["a.example", "b.example"]);
    machine.solving.set(Solving::Clinging);
    machine.obtain(&wanted).await.unwrap();
    assert_eq!(machine.presented.borrow().len(), 2);

    let kept = after_storing(machine.order.borrow().as_ref().unwrap()).unwrap();
    *machine.order.borrow_mut() = kept;
    machine.solving.set(Solving::Well);
    machine.obtain(&order(&pebble, &["c.example"])).await.unwrap();
    assert!(machine.presented.borrow().is_empty(), "answers are left behind");
    assert_eq!(after_storing(machine.order.borrow().as_ref().unwrap()).unwrap(), None);
}

/// Every call of the vault, the solver, the key's maker and the reporter is a place to die in, before
/// and after its effect.
#[tokio::test]
async fn killed_anywhere_the_next_run_finishes() {
    let (names, pebble) = ca(|options| options.nonces_rejected = 0);
    let wanted = order(&pebble, &["a.example", "b.example"]);
    LocalSet::new().run_until(walk(&names, &pebble, &wanted)).await;
}

/// Machines side by side, since most of it is waiting.
async fn walk(names: &Rc<ChallTestSrv>, pebble: &Pebble, wanted: &Order) {
    let (mut places, mut gone_on) = (0, 0);
    for wave in 0.. {
        let machines =
            (wave * 4..wave * 4 + 4).map(|half_calls| die_and_finish(names, pebble, wanted, half_calls));
        let ends = join_all(machines).await;
        places += ends.iter().flatten().count();
        gone_on += ends.iter().flatten().filter(|end| **end == Second::WentOn).count();
        if ends.contains(&None) {
            break;
        }
    }
    assert!(places > 20, "there were only {places} places to die in");
    assert!(gone_on > 8, "only {gone_on} orders were gone on with");
}

/// What the run after the death did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    WentOn,
    BeganAnew,
}

/// `None` when the first run was done before it died.
async fn die_and_finish(
    names: &Rc<ChallTestSrv>,
    pebble: &Pebble,
    wanted: &Order,
    half_calls: usize,
) -> Option<Second> {
    let machine = Machine::new(names);
    if !machine.obtain_until_killed(wanted, half_calls).await {
        return None;
    }
    let kept = machine.order.borrow().is_some();
    machine.events.take();
    let issued = machine.obtain(wanted).await.unwrap_or_else(|failure| panic!("{half_calls}: {failure:?}"));
    assert_serves(&issued, pebble, &["a.example", "b.example"]);
    assert!(machine.presented.borrow().is_empty(), "{half_calls}: answers are left behind");
    let went_on = machine.notes().iter().any(|note| note == "an order that was begun earlier goes on");
    assert_eq!(went_on, kept, "{half_calls}");
    Some(if went_on { Second::WentOn } else { Second::BeganAnew })
}

async fn behind_a_proxy() -> (Rc<ChallTestSrv>, Pebble, Proxy, Order) {
    let (names, pebble) = ca(|options| options.nonces_rejected = 0);
    let proxy = Proxy::start(&pebble).await;
    let mut order = order(&pebble, &["a.example"]);
    order.endpoint.directory.clone_from(&proxy.directory);
    (names, pebble, proxy, order)
}

#[tokio::test]
async fn a_ca_that_stumbles_is_asked_again() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    for path in ["/dir", "/nonce-plz", "/sign-me-up", "/order-plz", "/authZ", "/finalize-order", "/certZ"] {
        proxy.reply(Reply { body: "<html>".to_owned(), ..Reply::problem(path, 502, "") }.times(1));
    }
    let issued = Machine::new(&names).obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
    let agent = format!("autoodoo/{}", env!("CARGO_PKG_VERSION"));
    assert!(proxy.asked("/").iter().all(|asked| asked.user_agent.starts_with(&agent)));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    for path in ["/sign-me-up", "/order-plz", "/chalZ", "/finalize-order"] {
        proxy.reply(Reply { lost: true, ..Reply::problem(path, 500, "serverInternal") }.times(1));
    }
    let machine = Machine::new(&names);
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
    // Both answers are about one account.
    let keys: Vec<Value> =
        proxy.asked("/sign-me-up").into_iter().map(|asked| asked.header["jwk"].clone()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].is_object(), "{keys:?}");
    let url = account_url(&Secret::new(machine.account())).unwrap();
    assert!(url.contains("/my-account/"), "{url}");
}

#[tokio::test]
async fn an_external_account_is_asked_for_once() {
    let (kid, key) = ("kid-1".to_owned(), "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");
    let (names, _pebble, proxy, mut wanted) = behind_a_proxy().await;
    wanted.eab = Some(Eab { kid, hmac_key: Secret::new(key) });
    proxy.reply(Reply { lost: true, ..Reply::problem("/sign-me-up", 500, "serverInternal") });
    let failure = failure(&Machine::new(&names), &wanted).await;
    assert!(failure.hints.iter().any(|hint| hint.contains("where a key id serves once")), "{failure:?}");
    assert_eq!(proxy.asked("/sign-me-up").len(), 1);
}

#[tokio::test]
async fn a_ca_that_wants_the_address_at_once_gets_it() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    proxy.reply(Reply::problem("/sign-me-up", 400, "invalidContact").times(1));
    assert_serves(&Machine::new(&names).obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    let told = proxy.asked("/sign-me-up").pop().unwrap().payload.unwrap();
    assert_eq!(told["contact"], json!(["mailto:owner@example.com"]));
}

#[tokio::test]
async fn a_ca_that_asks_about_other_names_learns_nothing() {
    let (names, _pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    let identifier = json!({ "type": "dns", "value": "other.example" });
    proxy.alter(Alteration {
        path: "/authZ",
        times: usize::MAX,
        fields: json!({ "identifier": identifier }),
        retry_after: None,
    });
    let foreign = failure(&machine, &wanted).await;
    assert_eq!(foreign.message, "the CA asks about `other.example`, which was not ordered");

    proxy.let_through();
    *machine.order.borrow_mut() = None;
    let urls: Vec<String> = (0..9).map(|number| format!("https://ca.example/authZ/{number}")).collect();
    let fields = json!({ "authorizations": urls });
    proxy.alter(Alteration { path: "/order-plz", times: 1, fields, retry_after: None });
    assert_eq!(failure(&machine, &wanted).await.message, "the CA asks about 9 names of 1");
}

#[tokio::test]
async fn a_certificate_that_could_not_be_fetched_is_fetched_later() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    machine.patience.set(short_patience());
    proxy.reply(Reply::problem("/certZ", 500, "serverInternal"));
    let failure = failure(&machine, &wanted).await;
    assert!(failure.message.starts_with("cannot fetch the certificate from"), "{failure}");

    proxy.let_through();
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert_eq!(proxy.asked("/order-plz").len(), 1);
}

#[tokio::test]
async fn who_names_a_time_is_not_asked_before() {
    let (names, _pebble, proxy, wanted) = behind_a_proxy().await;
    let before = Timestamp::now();
    for (status, kind) in [(429, "rateLimited"), (503, "serverInternal")] {
        proxy.let_through();
        let asked = proxy.asked("/order-plz").len();
        proxy.reply(Reply { retry_after: Some("3600"), ..Reply::problem("/order-plz", status, kind) });
        let failure = Machine::new(&names).obtain(&wanted).await.unwrap_err();
        let wait = failure.retry_after.unwrap().duration_since(before).as_secs();
        assert!((3600..3660).contains(&wait), "{wait}");
        let message = format!(": says the test ({kind})");
        assert!(failure.failure.to_string().ends_with(&message), "{}", failure.failure);
        assert_eq!(proxy.asked("/order-plz").len(), asked + 1);
    }
}

#[tokio::test]
async fn a_refused_order_keeps_a_good_account() {
    let (names, _pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    machine.obtain(&wanted).await.unwrap();
    let account = machine.account();
    *machine.order.borrow_mut() = None;

    proxy.reply(Reply::problem("/order-plz", 403, "unauthorized"));
    let failure = failure(&machine, &wanted).await;
    assert!(failure.message.starts_with("cannot order a certificate from"), "{failure}");
    assert_eq!(machine.account(), account);
}

#[tokio::test]
async fn a_deactivated_account_is_replaced() {
    let (names, pebble, proxy, wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    machine.obtain(&wanted).await.unwrap();
    let account = machine.account();
    *machine.order.borrow_mut() = None;

    for path in ["/order-plz", "/my-account"] {
        proxy.reply(Reply::problem(path, 403, "unauthorized").times(1));
    }
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert_ne!(machine.account(), account);
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_named() {
    let (names, pebble, proxy, mut wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    let first = machine.obtain(&wanted).await.unwrap();
    wanted.replaces = Some(first.chain_pem.clone());
    let orders = |proxy: &Proxy| -> Vec<Option<String>> {
        let asked = proxy.asked("/order-plz").into_iter().skip(1);
        asked.map(|asked| Some(asked.payload.unwrap().get("replaces")?.as_str()?.to_owned())).collect()
    };
    // The order in the vault is the replaced one's own.
    assert_ne!(machine.obtain(&wanted).await.unwrap().chain_pem, first.chain_pem);
    assert_eq!(orders(&proxy), [None], "the CA does not know of renewal information");

    *machine.order.borrow_mut() = None;
    proxy.add_to_directory(json!({ "renewalInfo": proxy.directory.replace("/dir", "/ari") }));
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    let id = Some(renewal_id(&first.chain_pem));
    assert_eq!(orders(&proxy), [None, id.clone()]);

    *machine.order.borrow_mut() = None;
    proxy.reply(Reply::problem("/order-plz", 409, "alreadyReplaced").times(1));
    assert_serves(&machine.obtain(&wanted).await.unwrap(), &pebble, &["a.example"]);
    assert_eq!(orders(&proxy), [None, id.clone(), id, None]);
}

/// RFC 9773, section 4.1, by what the `openssl` program says of the certificate.
fn renewal_id(pem: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-ext", "authorityKeyIdentifier"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let said = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    let hex = |text: &str| -> Vec<u8> {
        let digits: String = text.trim().trim_start_matches("keyid:").replace(':', "");
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    };
    let mut serial = hex(said.lines().find_map(|line| line.strip_prefix("serial=")).unwrap());
    // DER numbers are signed.
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    let key = hex(said.lines().last().unwrap());
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(key), BASE64_URL_SAFE_NO_PAD.encode(serial))
}

#[tokio::test]
async fn the_ca_says_when_to_renew() {
    let (names, _pebble, proxy, wanted) = behind_a_proxy().await;
    let issued = Machine::new(&names).obtain(&wanted).await.unwrap();
    let ask = async |pem: &str| AcmeCa::default().renewal_info(&wanted.endpoint, pem).await.unwrap();
    assert_eq!(ask(&issued.chain_pem).await, None);

    proxy.add_to_directory(json!({ "renewalInfo": proxy.directory.replace("/dir", "/ari") }));
    let window = json!({ "start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00Z" });
    let body = json!({ "suggestedWindow": window, "explanationURL": "https://ca.example/why" }).to_string();
    let said = Reply { retry_after: Some("21600"), body, ..Reply::problem("/ari/", 200, "") };
    proxy.reply(said);
    let info = ask(&issued.chain_pem).await.unwrap();
    assert_eq!(proxy.asked("/ari/").pop().unwrap().path, format!("/ari/{}", renewal_id(&issued.chain_pem)));
    assert_eq!(info.start, "2026-01-02T04:00:00Z".parse().unwrap());
    assert_eq!(info.explanation_url.as_deref(), Some("https://ca.example/why"));
    assert!((21590..=21600).contains(&info.retry_after.as_secs()), "{:?}", info.retry_after);
    assert_eq!(ask("no certificate").await, None);
}

#[tokio::test]
async fn a_profile_is_asked_for_only_where_it_is_known() {
    let (names, _pebble, proxy, mut wanted) = behind_a_proxy().await;
    let machine = Machine::new(&names);
    wanted.profile = Some("shortlive".to_owned());
    let none = failure(&machine, &wanted).await;
    assert_eq!(none.hints, ["it has no profiles at all: leave the profile out"]);

    proxy.add_to_directory(
        json!({ "meta": { "profiles": { "classic": "as ever", "shortlived": "six days" } } }),
    );
    let near = failure(&machine, &wanted).await;
    assert_eq!(
        (near.kind, near.hints),
        (Kind::Usage, vec!["did you mean `shortlived`? It has classic, shortlived".to_owned()])
    );

    wanted.profile = Some("shortlived".to_owned());
    machine.obtain(&wanted).await.unwrap();
    assert_eq!(proxy.asked("/order-plz")[0].payload.as_ref().unwrap()["profile"], "shortlived");
}

#[tokio::test]
async fn a_ca_that_cannot_be_reached_or_believed() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    machine.patience.set(short_patience());
    let mut wanted = order(&pebble, &["a.example"]);
    let stranger = rcgen::CertificateParams::default();
    let stranger = stranger.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    wanted.endpoint.roots_pem = Some(stranger);
    let unbelieved = failure(&machine, &wanted).await;
    assert!(unbelieved.hints[0].starts_with("for a CA of your own"), "{unbelieved:?}");

    let directory = format!("https://{}/dir", free_address());
    wanted.endpoint = Endpoint { directory: directory.clone(), roots_pem: None };
    let unreached = failure(&machine, &wanted).await;
    assert_eq!(unreached.message, format!("cannot read the CA's directory `{directory}`"));
    assert!(unreached.hints[0].contains("must reach the CA"), "{unreached:?}");
    assert!(!machine.events.borrow().is_empty(), "it was asked again, and that was told");
}

#[tokio::test]
async fn what_cannot_be_read_in_the_vault_is_made_anew() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let wanted = order(&pebble, &["a.example"]);
    machine.accounts.borrow_mut().insert(pebble.directory.clone(), Secret::new("{"));
    *machine.order.borrow_mut() = Some(Secret::new("{"));
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
    assert_eq!(
        machine.notes(),
        [
            "the stored ACME account cannot be read: a new one is made",
            "the stored order cannot be read: a new one is made"
        ]
    );
}
