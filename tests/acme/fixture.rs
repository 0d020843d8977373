//! A client of the CA that can be killed at any of its calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use autoodoo::acme::{
    AcmeCa, Ca, CaFailure, Challenge, ChallengeKind, Endpoint, Issued, Order, Patience, Solver, Tools, Vault,
};
use autoodoo::event::{Event, Reporter};
use autoodoo::failure::{Failure, Result};
use autoodoo::secret::Secret;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::challtestsrv::ChallTestSrv;
use crate::pebble::{Options, Pebble};

/// Blows at one of the calls that pass it.
#[derive(Default)]
pub struct Fuse {
    /// Half calls until it blows: at an even number before the call's effect, at an odd one after.
    left: Cell<Option<usize>>,
}

impl Fuse {
    fn around<T>(&self, effect: impl FnOnce() -> T) -> T {
        self.burn();
        let result = effect();
        self.burn();
        result
    }

    fn burn(&self) {
        match self.left.get() {
            Some(0) => panic!("killed, as the test wants"),
            Some(left) => self.left.set(Some(left - 1)),
            None => {}
        }
    }
}

/// How the solver goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solving {
    Well,
    /// Says that the answers are there.
    Idle,
    /// Puts something else there.
    Wrong,
    /// Says that it cannot.
    Failing,
    /// Puts the answers there and cannot take them away.
    Clinging,
}

/// One machine: what it keeps, and what it shows the CA.
pub struct Machine {
    pub names: Rc<ChallTestSrv>,
    pub accounts: RefCell<BTreeMap<String, Secret>>,
    pub order: RefCell<Option<Secret>>,
    pub presented: RefCell<Vec<Challenge>>,
    pub events: RefCell<Vec<Event>>,
    pub solving: Cell<Solving>,
    pub patience: Cell<Patience>,
    fuse: Fuse,
}

impl Machine {
    pub fn new(names: &Rc<ChallTestSrv>) -> Rc<Machine> {
        Rc::new(Machine {
            names: Rc::clone(names),
            accounts: RefCell::default(),
            order: RefCell::default(),
            presented: RefCell::default(),
            events: RefCell::default(),
            solving: Cell::new(Solving::Well),
            patience: Cell::default(),
            fuse: Fuse::default(),
        })
    }

    pub async fn obtain(&self, order: &Order) -> Result<Issued, CaFailure> {
        let new_key = || self.fuse.around(|| Ok(p256()));
        self.obtain_with_key(order, &new_key).await
    }

    pub async fn obtain_with_key(
        &self,
        order: &Order,
        new_key: &dyn Fn() -> Result<Secret>,
    ) -> Result<Issued, CaFailure> {
        let tools = Tools { vault: self, solver: self, new_key, reporter: self };
        AcmeCa { patience: self.patience.get() }.obtain(order, tools).await
    }

    /// Whether the program died before it was done.
    pub async fn obtain_until_killed(self: &Rc<Self>, order: &Order, half_calls: usize) -> bool {
        self.fuse.left.set(Some(half_calls));
        let (machine, order) = (Rc::clone(self), order.clone());
        let run = tokio::task::spawn_local(async move { machine.obtain(&order).await });
        let killed = run.await.is_err_and(|error| error.is_panic());
        self.fuse.left.set(None);
        killed
    }

    pub fn notes(&self) -> Vec<String> {
        let events = self.events.borrow();
        events
            .iter()
            .filter_map(|event| if let Event::Note { text } = event { Some(text.clone()) } else { None })
            .collect()
    }

    pub fn account(&self) -> String {
        self.accounts.borrow().values().next().expect("there is an account").expose().to_owned()
    }
}

pub fn p256() -> Secret {
    Secret::new(rcgen::KeyPair::generate().unwrap().serialize_pem())
}

impl Reporter for Machine {
    fn report(&self, event: Event) {
        self.fuse.around(|| self.events.borrow_mut().push(event));
    }
}

impl Vault for Machine {
    fn load_account(&self, directory: &str) -> Result<Option<Secret>> {
        self.fuse.around(|| Ok(self.accounts.borrow().get(directory).cloned()))
    }

    fn save_account(&self, directory: &str, account: &Secret) -> Result<()> {
        self.fuse.around(|| {
            self.accounts.borrow_mut().insert(directory.to_owned(), account.clone());
            Ok(())
        })
    }

    fn load_order(&self) -> Result<Option<Secret>> {
        self.fuse.around(|| Ok(self.order.borrow().clone()))
    }

    fn save_order(&self, order: &Secret) -> Result<()> {
        self.fuse.around(|| {
            *self.order.borrow_mut() = Some(order.clone());
            Ok(())
        })
    }

    fn forget_order(&self) -> Result<()> {
        self.fuse.around(|| {
            *self.order.borrow_mut() = None;
            Ok(())
        })
    }
}

impl Solver for Machine {
    async fn present(&self, challenges: &[Challenge]) -> Result<()> {
        self.fuse.around(|| match self.solving.get() {
            Solving::Failing => Err(Failure::failed("the disk is full")),
            Solving::Idle => Ok(()),
            how => {
                for challenge in challenges {
                    self.show(challenge, how);
                }
                Ok(())
            }
        })
    }

    async fn withdraw(&self, challenges: &[Challenge]) -> Result<()> {
        self.fuse.around(|| {
            if self.solving.get() == Solving::Clinging {
                return Err(Failure::failed("the DNS is away"));
            }
            for challenge in challenges {
                self.hide(challenge);
            }
            Ok(())
        })
    }
}

impl Machine {
    fn show(&self, challenge: &Challenge, how: Solving) {
        match challenge {
            Challenge::Http01 { token, .. } if how == Solving::Wrong => {
                self.names.answer_http(token, "wrong");
            }
            Challenge::Http01 { token, content, .. } => self.names.answer_http(token, content),
            Challenge::Dns01 { record, value, .. } => self.names.txt(record, value),
        }
        self.presented.borrow_mut().push(challenge.clone());
    }

    fn hide(&self, challenge: &Challenge) {
        match challenge {
            Challenge::Http01 { token, .. } => self.names.forget_http(token),
            Challenge::Dns01 { record, .. } => self.names.clear_txt(record),
        }
        self.presented.borrow_mut().retain(|known| known != challenge);
    }
}

/// A CA whose DNS leads every name to the answers that its machines show.
pub fn ca(adjust: impl FnOnce(&mut Options)) -> (Rc<ChallTestSrv>, Pebble) {
    let names = ChallTestSrv::leading_here();
    let mut options = Options::new(names.http_port, names.dns);
    adjust(&mut options);
    (Rc::new(names), Pebble::start(options))
}

pub fn order(pebble: &Pebble, names: &[&str]) -> Order {
    Order {
        endpoint: Endpoint {
            directory: pebble.directory.clone(),
            roots_pem: Some(pebble.server_root.clone()),
        },
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        email: Some("owner@example.com".to_owned()),
        agreed: true,
        challenge: ChallengeKind::Http01,
        profile: None,
        eab: None,
        key_type: "p256".to_owned(),
        replaces: None,
        fresh: false,
    }
}

/// A client that knows the CA's root takes the certificate for each of `names`, and the key is its
/// own.
#[track_caller]
pub fn assert_serves(issued: &Issued, pebble: &Pebble, names: &[&str]) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
        .map(std::result::Result::unwrap)
        .collect();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pebble.issuing_root().as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    for name in names {
        let name = ServerName::try_from((*name).to_owned()).unwrap();
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).unwrap();
    }
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(issued.key_pem.expose().as_bytes()).unwrap();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap().keys_match().unwrap();
}

pub fn short_patience() -> Patience {
    Patience { answers: Duration::from_secs(2), ..Patience::default() }
}
