//! The ACME adapter against a real CA (`pebble`, strict, rejecting good nonces).

#[path = "../support/certificate.rs"]
mod certificate;
#[path = "../support/challtestsrv.rs"]
mod challtestsrv;
#[path = "../support/daemon.rs"]
mod daemon;
mod fixture;
#[path = "../support/pebble.rs"]
mod pebble;
#[path = "../support/proxy.rs"]
mod proxy;
mod unwell;

use std::process::Command;

use autoodoo::acme::{AcmeCa, Ca, ChallengeKind, Eab};
use autoodoo::failure::Kind;
use autoodoo::secret::Secret;
use fixture::{Machine, assert_serves, ca, order};

#[tokio::test]
async fn several_names_by_http() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let wanted = ["a.example", "b.example", "c.example"];
    let issued = machine.obtain(&order(&pebble, &wanted)).await.unwrap();
    assert_serves(&issued, &pebble, &wanted);
    assert!(machine.presented.borrow().is_empty(), "answers are left behind");
    assert_eq!(machine.notes(), [""; 0]);

    // Until the caller forgets the order, it gives the same certificate.
    let again = machine.obtain(&order(&pebble, &wanted)).await.unwrap();
    assert_eq!(again, issued);
    // An order for other names is another order.
    let other = machine.obtain(&order(&pebble, &["a.example"])).await.unwrap();
    assert_ne!(other.key_pem, issued.key_pem);
    assert_serves(&other, &pebble, &["a.example"]);
}

#[tokio::test]
async fn a_wildcard_by_dns() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let mut wanted = order(&pebble, &["a.example", "*.a.example"]);
    let refusal = machine.obtain(&wanted).await.unwrap_err().failure;
    assert_eq!(
        (refusal.kind, refusal.message.as_str()),
        (Kind::Usage, "`*.a.example` cannot be proven by http-01")
    );

    wanted.challenge = ChallengeKind::Dns01;
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example", "crm.a.example"]);
    assert!(machine.presented.borrow().is_empty(), "answers are left behind");
}

#[tokio::test]
async fn every_second_nonce_is_rejected() {
    let (names, pebble) = ca(|options| options.nonces_rejected = 50);
    let machine = Machine::new(&names);
    for name in ["a.example", "b.example"] {
        let issued = machine.obtain(&order(&pebble, &[name])).await.unwrap();
        assert_serves(&issued, &pebble, &[name]);
    }
}

#[tokio::test]
async fn keys_of_other_kinds() {
    let (names, pebble) = ca(|options| options.authorizations_reused = 100);
    let machine = Machine::new(&names);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    let rsa = Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output().unwrap();
    for (kind, pem) in [("p384", p384), ("rsa2048", String::from_utf8(rsa.stdout).unwrap())] {
        let mut wanted = order(&pebble, &["a.example"]);
        kind.clone_into(&mut wanted.key_type);
        let key = Secret::new(pem);
        let issued = machine.obtain_with_key(&wanted, &|| Ok(key.clone())).await.unwrap();
        assert_serves(&issued, &pebble, &["a.example"]);
        assert_eq!(issued.key_pem, key);
    }
}

#[tokio::test]
async fn the_account_is_kept_and_told_of_a_new_email() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let mut wanted = order(&pebble, &["a.example"]);
    machine.obtain(&wanted).await.unwrap();
    let first = machine.account();
    wanted.names = vec!["b.example".to_owned()];
    machine.obtain(&wanted).await.unwrap();
    assert_eq!(machine.account(), first);

    wanted.email = Some("other@example.com".to_owned());
    machine.obtain(&wanted).await.unwrap();
    assert_eq!(machine.account(), first.replace("owner@", "other@"));
}

#[tokio::test]
async fn an_account_that_the_ca_has_lost_is_made_anew() {
    let (names, mut pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let mut wanted = order(&pebble, &["a.example"]);
    machine.obtain(&wanted).await.unwrap();
    let before = machine.account();

    // The order in the vault is lost with it.
    pebble.restart();
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
    assert_ne!(machine.account(), before);
    let ca = pebble.address;
    assert_eq!(machine.notes(), [format!("{ca} no longer knows the ACME account: a new one is made")]);

    // The same when the e-mail address is what it is told first.
    pebble.restart();
    wanted.email = None;
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
}

#[tokio::test]
async fn an_account_needs_agreement_to_the_terms() {
    let (names, pebble) = ca(|_| ());
    let machine = Machine::new(&names);
    let mut wanted = order(&pebble, &["a.example"]);
    let facts = AcmeCa::default().meet(&wanted.endpoint).await.unwrap();
    let terms = facts.terms_of_service.unwrap();
    assert!(facts.date.is_some() && !facts.external_account_required && !facts.renewal_info);

    wanted.agreed = false;
    let failure = machine.obtain(&wanted).await.unwrap_err().failure;
    assert_eq!((failure.kind, failure.hints), (Kind::Usage, vec![format!("read {terms} and agree")]));
    assert!(machine.accounts.borrow().is_empty());
}

#[tokio::test]
async fn an_external_account_is_bound() {
    let (kid, key) = ("kid-1".to_owned(), "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");
    let (names, pebble) = ca(|options| options.eab = Some((kid.clone(), key.to_owned())));
    let machine = Machine::new(&names);
    let mut wanted = order(&pebble, &["a.example"]);
    assert!(AcmeCa::default().meet(&wanted.endpoint).await.unwrap().external_account_required);
    let failure = machine.obtain(&wanted).await.unwrap_err().failure;
    assert_eq!(
        (failure.kind, failure.message),
        (Kind::Usage, format!("{} serves its customers only", pebble.address))
    );

    wanted.eab =
        Some(Eab { kid: kid.clone(), hmac_key: Secret::new("d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkhISE") });
    let failure = machine.obtain(&wanted).await.unwrap_err().failure;
    assert_eq!(failure.message, format!("cannot make an account with {}", pebble.address));

    wanted.eab = Some(Eab { kid, hmac_key: Secret::new(key) });
    let issued = machine.obtain(&wanted).await.unwrap();
    assert_serves(&issued, &pebble, &["a.example"]);
}
