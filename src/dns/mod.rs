//! The DNS, asked as a CA asks it: never by this machine's own `/etc/hosts`, never with a search list.

mod authority;
mod hickory;

use std::net::IpAddr;
use std::time::Duration;

use crate::failure::Result;
use crate::name::Fqdn;
use crate::plan::preflight::NoAnswer;
use crate::plan::preflight::caa::CaaRecord;

pub use hickory::Hickory;

/// What is asked of the DNS.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Dns {
    /// Its A and AAAA records, aliases followed; never an empty list.
    async fn addresses(&self, name: &Fqdn) -> Result<Vec<IpAddr>, NoAnswer>;

    /// The relevant CAA record set: of the name itself, else of the nearest name above that has one
    /// (RFC 8659, section 3). Empty when there is none up to the root. `*.` counts for nothing here.
    async fn caa(&self, name: &Fqdn) -> Result<Vec<CaaRecord>, NoAnswer>;

    /// Waits until every authoritative server of the zone answers with `value` among the TXT records
    /// of `name` (such as `_acme-challenge.example.com`), aliases followed into whatever zone they
    /// lead. The failure after `deadline` names the servers that answer without it. Those that give no
    /// answer are waited for a minute, or until the deadline when nobody else has it; the sentence
    /// that comes back then is a warning.
    async fn txt_everywhere(&self, name: &str, value: &str, deadline: Duration) -> Result<Option<String>>;
}
