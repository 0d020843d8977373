//! A certificate authority, the DNS and the owner's DNS program, all in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use autoodoo::acme::{
    Ca, CaFailure, Challenge, ChallengeKind, DirectoryFacts, Endpoint, Issued, Order, RenewalInfo, Solver,
    Tools, Vault,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Certifies,
    Refuses,
    /// It wants to be left alone for an hour.
    Limits,
    /// It certifies another name.
    Errs,
    /// Nobody answers.
    IsGone,
}

/// Signs whatever it is shown an answer for.
#[derive(Clone)]
pub struct FakeCa {
    pub mood: Rc<Cell<Mood>>,
    /// Orders that came to a certificate.
    pub orders: Rc<RefCell<Vec<Order>>>,
    /// How often a certificate was asked for.
    pub asked: Rc<Cell<usize>>,
    pub window: Rc<RefCell<Option<RenewalInfo>>>,
    /// The machine's clock.
    pub now: Rc<Cell<Timestamp>>,
    /// How far the CA's own clock is ahead of it.
    pub ahead: Rc<Cell<SignedDuration>>,
    /// For how many days it certifies.
    pub days: Rc<Cell<i64>>,
    /// At which of its steps from now, the first of them 1, the program dies.
    pub dies_at: Rc<Cell<usize>>,
    /// Chains by the key that they are for: the CA keeps what it has certified.
    kept: Rc<RefCell<BTreeMap<String, String>>>,
    root: PathBuf,
}

impl FakeCa {
    pub fn new(root: &Path, now: Rc<Cell<Timestamp>>) -> FakeCa {
        FakeCa {
            mood: Rc::new(Cell::new(Mood::Certifies)),
            orders: Rc::default(),
            asked: Rc::default(),
            window: Rc::default(),
            now,
            ahead: Rc::new(Cell::new(SignedDuration::ZERO)),
            days: Rc::new(Cell::new(90)),
            dies_at: Rc::default(),
            kept: Rc::default(),
            root: root.to_owned(),
        }
    }

    fn clock(&self) -> Timestamp {
        self.now.get() + self.ahead.get()
    }

    fn certify(&self, order: &Order, key_pem: &Secret) -> String {
        let mut kept = self.kept.borrow_mut();
        let chain = kept.entry(key_pem.expose().to_owned()).or_insert_with(|| {
            self.orders.borrow_mut().push(order.clone());
            let other = vec!["other.example".to_owned()];
            self.sign(if self.mood.get() == Mood::Errs { &other } else { &order.names }, key_pem)
        });
        chain.clone()
    }

    fn sign(&self, names: &[String], key_pem: &Secret) -> String {
        let key = rcgen::KeyPair::from_pem(key_pem.expose()).unwrap();
        let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        let at = |moment: Timestamp| {
            let seconds = Duration::from_secs(moment.as_second().try_into().unwrap());
            rcgen::date_time_ymd(1970, 1, 1) + seconds
        };
        params.not_before = at(self.clock());
        params.not_after = at(self.clock() + SignedDuration::from_hours(24 * self.days.get()));
        params.self_signed(&key).unwrap().pem()
    }

    /// The CA looks where nginx would.
    fn sees(&self, challenge: &Challenge) {
        if let Challenge::Http01 { token, content, .. } = challenge {
            let file = self.root.join("generated/nginx/challenge").join(token);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), *content);
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "nginx has another user");
        }
    }

    /// One of the moments at which a program may be killed: nothing that follows happens.
    pub fn moment(&self) {
        let left = self.dies_at.get();
        self.dies_at.set(left.saturating_sub(1));
        if left == 1 {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }

    /// The key of the order in the vault, if that order is for the same.
    fn begun(&self, order: &Order, vault: &dyn Vault) -> Result<Option<Secret>> {
        let text = vault.load_order()?;
        let key = text.as_ref().and_then(|text| text.expose().strip_prefix(&head(order)));
        let Some(key) = key.map(Secret::new) else { return Ok(None) };
        let kept = self.kept.borrow().get(key.expose()).cloned();
        if kept.is_some() && kept == order.replaces {
            vault.forget_order()?;
            return Ok(None);
        }
        Ok(Some(key))
    }

    async fn validate<S: Solver>(&self, order: &Order, solver: &S) -> Result<()> {
        let challenges: Vec<Challenge> =
            order.names.iter().map(|name| challenge(order.challenge, name)).collect();
        let presented = solver.present(&challenges).await;
        self.moment();
        if presented.is_ok() {
            for challenge in &challenges {
                self.sees(challenge);
            }
        }
        solver.withdraw(&challenges).await?;
        self.moment();
        presented
    }
}

/// What an order must agree in to be gone on with.
fn head(order: &Order) -> String {
    let Order { endpoint, names, profile, key_type, .. } = order;
    format!("{} {} {profile:?} {key_type}\n", endpoint.directory, names.join(","))
}

/// The credentials at the CA.
pub const ACCOUNT: &str = "the account's private key";

impl Ca for FakeCa {
    async fn meet(&self, _: &Endpoint) -> Result<DirectoryFacts, CaFailure> {
        if self.mood.get() == Mood::IsGone {
            return Err(Failure::failed("the CA does not answer").into());
        }
        Ok(DirectoryFacts {
            terms_of_service: Some("https://ca.example/terms".to_owned()),
            caa_identities: vec!["ca.example".to_owned()],
            date: Some(self.clock()),
            ..DirectoryFacts::default()
        })
    }

    async fn renewal_info(&self, _: &Endpoint, _: &str) -> Result<Option<RenewalInfo>, CaFailure> {
        Ok(self.window.borrow().clone())
    }

    async fn obtain<S: Solver>(&self, order: &Order, tools: Tools<'_, S>) -> Result<Issued, CaFailure> {
        self.asked.set(self.asked.get() + 1);
        self.meet(&order.endpoint).await?;
        self.moment();
        if tools.vault.load_account(&order.endpoint.directory)?.is_none() {
            tools.vault.save_account(&order.endpoint.directory, &Secret::new(ACCOUNT))?;
            self.moment();
        }
        if self.mood.get() == Mood::Limits {
            return Err(CaFailure {
                failure: Failure::failed("the CA wants to be asked later"),
                retry_after: Some(self.clock() + SignedDuration::from_hours(1)),
            });
        }
        let key_pem = if let Some(key) = self.begun(order, tools.vault)? {
            key
        } else {
            let key = (tools.new_key)()?;
            tools.vault.save_order(&Secret::new(head(order) + key.expose()))?;
            key
        };
        self.moment();
        self.validate(order, tools.solver).await?;
        if self.mood.get() == Mood::Refuses {
            tools.vault.forget_order()?;
            return Err(Failure::failed("the CA could not reach odoo.example.com").into());
        }
        let chain_pem = self.certify(order, &key_pem);
        self.moment();
        Ok(Issued { chain_pem, key_pem })
    }
}

fn challenge(kind: ChallengeKind, wanted: &str) -> Challenge {
    let name = wanted.trim_start_matches("*.").to_owned();
    match kind {
        ChallengeKind::Http01 => Challenge::Http01 {
            token: format!("token-{}", name.replace('.', "-")),
            content: "answer".to_owned(),
            name,
        },
        ChallengeKind::Dns01 => {
            let value = format!("value-{}", wanted.len());
            Challenge::Dns01 { record: format!("_acme-challenge.{name}"), value, name }
        }
    }
}

/// Every name leads to this machine. Writes down what is waited for, where the hooks do.
pub struct FakeDns(pub FakeHooks);

impl Dns for FakeDns {
    async fn addresses(&self, _: &Fqdn) -> std::result::Result<Vec<IpAddr>, NoAnswer> {
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    }

    async fn caa(&self, _: &Fqdn) -> std::result::Result<Vec<CaaRecord>, NoAnswer> {
        Ok(Vec::new())
    }

    async fn txt_everywhere(&self, name: &str, value: &str, _: Duration) -> Result<Option<String>> {
        self.0.0.borrow_mut().push(format!("wait {name} {value}"));
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
