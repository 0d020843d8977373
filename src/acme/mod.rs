//! Certificates from a certificate authority that speaks ACME (RFC 8555).
//!
//! An order survives the death of the program: what is needed to go on with it lies in the
//! [`Vault`] before the CA is told anything that cannot be repeated, and the next [`Ca::obtain`]
//! for the same names goes on from where the CA says the order is.

mod account;
mod answer;
mod certificate;
mod directory;
mod http;
mod patience;
mod pending;
mod problem;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use account::account_url;
pub use patience::Patience;
pub use pending::after_storing;

use crate::event::Reporter;
use crate::failure::{Failure, Result};
use crate::secret::Secret;
pub use crate::site::acme::ChallengeKind;
use http::Http;
use work::Work;

/// Where a CA is, and whom to believe there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The directory's URL (RFC 8555, section 7.1.1), `https` only.
    pub directory: String,
    /// PEM of the authorities that certify the CA's own server; `None`: Mozilla's list.
    pub roots_pem: Option<String>,
}

/// What a CA says of itself (RFC 8555, section 7.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// URL of the terms that an account agrees to.
    pub terms_of_service: Option<String>,
    pub website: Option<String>,
    /// Domains that a CAA record may name to allow this CA (RFC 8659).
    pub caa_identities: Vec<String>,
    /// New accounts need an external account binding (RFC 8555, section 7.3.4).
    pub external_account_required: bool,
    /// Name and description of each certificate profile; empty when the CA has none.
    pub profiles: BTreeMap<String, String>,
    /// The CA suggests when to renew (RFC 9773).
    pub renewal_info: bool,
    /// The CA's clock, from the answer's Date header.
    pub date: Option<Timestamp>,
}

/// External account binding (RFC 8555, section 7.3.4): what the CA gave its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eab {
    pub kid: String,
    /// base64url, as CAs show it; padding is no matter.
    pub hmac_key: Secret,
}

/// The certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub endpoint: Endpoint,
    /// DNS names in lower case; `*.example.com` needs [`ChallengeKind::Dns01`].
    pub names: Vec<String>,
    /// Where the CA writes to. A change is told to the CA.
    pub email: Option<String>,
    /// The user agreed to the CA's terms. Needed only while an account is made.
    pub agreed: bool,
    pub challenge: ChallengeKind,
    pub profile: Option<String>,
    pub eab: Option<Eab>,
    /// What sort of key [`Tools::new_key`] makes, in any words: an order that was begun with
    /// another sort is not gone on with.
    pub key_type: String,
    /// PEM of the certificate that this one takes the place of (RFC 9773, section 5).
    pub replaces: Option<String>,
    /// Not to go on with an earlier order that has no certificate yet: a person's way out of one that
    /// hangs.
    pub fresh: bool,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The server's certificate first, then its issuers, as the CA sent it.
    pub chain_pem: String,
    pub key_pem: Secret,
}

/// When the CA would like a certificate to be renewed (RFC 9773, section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalInfo {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Ask again after this time.
    pub retry_after: Duration,
    /// A page that says why the window is where it is.
    pub explanation_url: Option<String>,
}

/// What the CA looks for to see that a name is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Challenge {
    /// `http://NAME/.well-known/acme-challenge/TOKEN` answers with `content` (section 8.3).
    Http01 { name: String, token: String, content: String },
    /// A TXT record `record` (without a final dot) holds `value` (section 8.4). `example.com` and
    /// `*.example.com` have the same record with different values: both must be there at once.
    Dns01 { name: String, record: String, value: String },
}

impl Challenge {
    /// The name to be proven, without `*.`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Challenge::Http01 { name, .. } | Challenge::Dns01 { name, .. } => name,
        }
    }
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct CaFailure {
    pub failure: Failure,
    /// Before this moment the CA does not want to be asked again.
    pub retry_after: Option<Timestamp>,
}

impl From<Failure> for CaFailure {
    fn from(failure: Failure) -> Self {
        CaFailure { failure, retry_after: None }
    }
}

impl From<CaFailure> for Failure {
    fn from(failure: CaFailure) -> Self {
        failure.failure
    }
}

/// Where credentials and the order under way lie. The texts hold private keys; what is in them is
/// this module's own affair. Each save replaces what was there in one step.
pub trait Vault {
    fn load_account(&self, directory: &str) -> Result<Option<Secret>>;
    fn save_account(&self, directory: &str, account: &Secret) -> Result<()>;
    fn load_order(&self) -> Result<Option<Secret>>;
    fn save_order(&self, order: &Secret) -> Result<()>;
    /// Nothing to forget is no failure. After [`Ca::obtain`] the caller does this, or saves what
    /// [`after_storing`] keeps, once it has stored the certificate and not before: until then the
    /// order can fetch it again.
    fn forget_order(&self) -> Result<()>;
}

/// Puts answers where the CA looks for them, and takes them away.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Solver {
    /// Returns when the CA can see all of them. Some may be there already, from an earlier run.
    async fn present(&self, challenges: &[Challenge]) -> Result<()>;
    /// Some may be gone already, or may never have been there: that is no failure.
    async fn withdraw(&self, challenges: &[Challenge]) -> Result<()>;
}

/// What [`Ca::obtain`] works with.
#[derive(Clone, Copy)]
pub struct Tools<'a, S> {
    pub vault: &'a dyn Vault,
    pub solver: &'a S,
    /// A new private key as PKCS#8 PEM.
    pub new_key: &'a dyn Fn() -> Result<Secret>,
    pub reporter: &'a dyn Reporter,
}

/// A certificate authority. Behind this trait, tests of commands put one of their own.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Ca {
    /// Asks once, for at most 30 s.
    async fn meet(&self, endpoint: &Endpoint) -> Result<DirectoryFacts, CaFailure>;

    /// `None` when the CA does not offer it, or the certificate does not name its issuer's key.
    /// Asks once, for at most 30 s a request.
    async fn renewal_info(
        &self,
        endpoint: &Endpoint,
        certificate_pem: &str,
    ) -> Result<Option<RenewalInfo>, CaFailure>;

    /// A certificate for all the names, from an order that was begun earlier where there is one.
    /// Answers to challenges are taken away again, unless the CA may still look for them or the
    /// program dies; then the next call does it.
    async fn obtain<S: Solver>(&self, order: &Order, tools: Tools<'_, S>) -> Result<Issued, CaFailure>;
}

/// Any CA on the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct AcmeCa {
    pub patience: Patience,
}

impl Ca for AcmeCa {
    async fn meet(&self, endpoint: &Endpoint) -> Result<DirectoryFacts, CaFailure> {
        let http = Http::new(endpoint)?;
        Ok(directory::fetch(&http, endpoint).await?.facts)
    }

    async fn renewal_info(
        &self,
        endpoint: &Endpoint,
        certificate_pem: &str,
    ) -> Result<Option<RenewalInfo>, CaFailure> {
        directory::renewal_info(&Http::new(endpoint)?, endpoint, certificate_pem).await
    }

    async fn obtain<S: Solver>(&self, order: &Order, tools: Tools<'_, S>) -> Result<Issued, CaFailure> {
        Work::begin(order, tools, self.patience).await?.obtain().await
    }
}
