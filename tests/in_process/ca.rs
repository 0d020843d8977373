//! A certificate authority, the DNS and the owner's DNS program, all in memory.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use autoodoo::acme::{
    Ca, CaFailure, Challenge, ChallengeKind, DirectoryFacts, Endpoint, Issued, Order, RenewalInfo, Solver,
    Tools,
};
use autoodoo::dns::Dns;
use autoodoo::failure::{Failure, Result};
use autoodoo::host::hook::{Change, HookCall, Hooks};
use autoodoo::name::Fqdn;
use autoodoo::plan::preflight::NoAnswer;
use autoodoo::plan::preflight::caa::CaaRecord;
use autoodoo::secret::Secret;
use jiff::{SignedDuration, Timestamp};

/// What the CA does with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    Certifies,
    Refuses,
    /// It wants to be left alone for an hour.
    Limits,
    /// It certifies another name.
    Errs,
}

/// Signs whatever it is shown an answer for.
#[derive(Clone)]
pub struct FakeCa {
    pub mood: Rc<RefCell<Mood>>,
    /// Orders that came to an answer.
    pub orders: Rc<RefCell<Vec<Order>>>,
    pub window: Rc<RefCell<Option<RenewalInfo>>>,
    pub now: Rc<Cell<Timestamp>>,
    pub days: Rc<Cell<i64>>,
    root: PathBuf,
}

impl FakeCa {
    pub fn new(root: &Path, now: Rc<Cell<Timestamp>>) -> FakeCa {
        FakeCa {
            mood: Rc::new(RefCell::new(Mood::Certifies)),
            orders: Rc::default(),
            window: Rc::default(),
            now,
            days: Rc::new(Cell::new(90)),
            root: root.to_owned(),
        }
    }

    fn sign(&self, names: &[String], key_pem: &Secret) -> String {
        let key = rcgen::KeyPair::from_pem(key_pem.expose()).unwrap();
        let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        let at = |moment: Timestamp| {
            let seconds = Duration::from_secs(moment.as_second().try_into().unwrap());
            rcgen::date_time_ymd(1970, 1, 1) + seconds
        };
        params.not_before = at(self.now.get());
        params.not_after = at(self.now.get() + SignedDuration::from_hours(24 * self.days.get()));
        params.self_signed(&key).unwrap().pem()
    }

    /// The CA looks where nginx would.
    fn sees(&self, challenge: &Challenge) {
        if let Challenge::Http01 { token, content, .. } = challenge {
            let file = self.root.join("generated/nginx/challenge").join(token);
            assert_eq!(std::fs::read_to_string(file).unwrap(), *content);
        }
    }
}

impl Ca for FakeCa {
    async fn meet(&self, _: &Endpoint) -> Result<DirectoryFacts, CaFailure> {
        Ok(DirectoryFacts {
            terms_of_service: Some("https://ca.example/terms".to_owned()),
            caa_identities: vec!["ca.example".to_owned()],
            date: Some(self.now.get()),
            ..DirectoryFacts::default()
        })
    }

    async fn renewal_info(&self, _: &Endpoint, _: &str) -> Result<Option<RenewalInfo>, CaFailure> {
        Ok(self.window.borrow().clone())
    }

    async fn obtain<S: Solver>(&self, order: &Order, tools: Tools<'_, S>) -> Result<Issued, CaFailure> {
        let key_pem = (tools.new_key)()?;
        let account = "account".to_owned();
        tools.vault.save_account(&order.endpoint.directory, &Secret::new(account))?;
        tools.vault.save_order(&Secret::new("pending"))?;
        let challenges: Vec<Challenge> =
            order.names.iter().map(|name| challenge(order.challenge, name)).collect();
        tools.solver.present(&challenges).await?;
        for challenge in &challenges {
            self.sees(challenge);
        }
        tools.solver.withdraw(&challenges).await?;
        let mood = self.mood.borrow().clone();
        match mood {
            Mood::Refuses => Err(Failure::failed("the CA could not reach odoo.example.com").into()),
            Mood::Limits => Err(CaFailure {
                failure: Failure::failed("the CA wants to be asked later"),
                retry_after: Some(self.now.get() + SignedDuration::from_hours(1)),
            }),
            Mood::Certifies | Mood::Errs => {
                let names =
                    if mood == Mood::Errs { vec!["other.example".to_owned()] } else { order.names.clone() };
                self.orders.borrow_mut().push(order.clone());
                Ok(Issued { chain_pem: self.sign(&names, &key_pem), key_pem })
            }
        }
    }
}

fn challenge(kind: ChallengeKind, name: &str) -> Challenge {
    let name = name.trim_start_matches("*.").to_owned();
    match kind {
        ChallengeKind::Http01 => Challenge::Http01 {
            token: format!("token-{}", name.replace('.', "-")),
            content: "answer".to_owned(),
            name,
        },
        ChallengeKind::Dns01 => {
            Challenge::Dns01 { record: format!("_acme-challenge.{name}"), value: "value".to_owned(), name }
        }
    }
}

/// Every name leads to this machine.
pub struct FakeDns;

impl Dns for FakeDns {
    async fn addresses(&self, _: &Fqdn) -> std::result::Result<Vec<IpAddr>, NoAnswer> {
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    }

    async fn caa(&self, _: &Fqdn) -> std::result::Result<Vec<CaaRecord>, NoAnswer> {
        Ok(Vec::new())
    }

    async fn txt_everywhere(&self, _: &str, _: &str, _: Duration) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Writes down how it was called.
#[derive(Clone, Default)]
pub struct FakeHooks(pub Rc<RefCell<Vec<String>>>);

impl Hooks for FakeHooks {
    fn check(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn run(&self, call: &HookCall) -> Result<()> {
        let word = match call.change {
            Change::Present => "present",
            Change::Cleanup => "cleanup",
        };
        self.0.borrow_mut().push(format!("{word} {} {}", call.name, call.value));
        Ok(())
    }
}
