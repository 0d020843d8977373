//! The order under way, as it lies in the vault.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Challenge, Order};
use crate::failure::{Context, Result};
use crate::secret::Secret;

/// So often, and so long, is an order gone on with that does not end. CAs have left orders in
/// `processing` for good; with the pauses between attempts this is some hours.
const MOST_RESUMED: u32 = 5;
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(3 * 24);

/// All that is needed to go on with an order after the program's death.
pub(super) struct Pending {
    pub(super) url: String,
    pub(super) wanted: Wanted,
    /// Of the certificate, PKCS#8 PEM. In the vault before the CA certifies it.
    pub(super) key: Secret,
    /// Answers that may be where the CA looks for them, and ones of earlier orders that could not be
    /// taken away. In the vault before they are put there.
    pub(super) presented: Vec<Challenge>,
    /// The CA may have been told that the answers are there.
    pub(super) told: bool,
    pub(super) begun: Timestamp,
    /// How often it was gone on with.
    pub(super) resumed: u32,
}

/// What an order must agree in to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    directory: String,
    /// The account's URL: an order belongs to one.
    account: String,
    /// Sorted.
    names: Vec<String>,
    profile: Option<String>,
    key_type: String,
}

impl Wanted {
    pub(super) fn new(order: &Order, account: &str) -> Wanted {
        let mut names = order.names.clone();
        names.sort();
        Wanted {
            directory: order.endpoint.directory.clone(),
            account: account.to_owned(),
            names,
            profile: order.profile.clone(),
            key_type: order.key_type.clone(),
        }
    }
}

/// The form in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    url: String,
    wanted: Wanted,
    key_pem: String,
    presented: Vec<Challenge>,
    told: bool,
    begun: Timestamp,
    resumed: u32,
}

/// The form in the file when there is no order, but something to take away.
#[derive(Serialize, Deserialize)]
struct LeftBehind {
    left_behind: Vec<Challenge>,
}

/// What to keep in mind after an order: `None` when nothing is left of it.
pub(super) fn remainder(left: &[Challenge]) -> Result<Option<Secret>> {
    if left.is_empty() {
        return Ok(None);
    }
    let left = LeftBehind { left_behind: left.to_vec() };
    serde_json::to_string(&left).map(Secret::new).map(Some).context("cannot write the answers down")
}

/// What was kept in mind after an order.
pub(super) fn left_behind(secret: &Secret) -> Vec<Challenge> {
    serde_json::from_str::<LeftBehind>(secret.expose()).map(|left| left.left_behind).unwrap_or_default()
}

/// What is to stay in the vault once the certificate of `order` is stored: answers that could not be
/// taken away, for the next [`Ca::obtain`](super::Ca::obtain). `None`: nothing.
///
/// # Errors
/// When the answers cannot be written as JSON, which does not happen.
pub fn after_storing(order: &Secret) -> Result<Option<Secret>> {
    match Pending::from_secret(order) {
        Some(pending) => remainder(&pending.presented),
        None => remainder(&left_behind(order)),
    }
}

impl Pending {
    pub(super) fn to_secret(&self) -> Result<Secret> {
        let stored = Stored {
            url: self.url.clone(),
            wanted: self.wanted.clone(),
            key_pem: self.key.expose().to_owned(),
            presented: self.presented.clone(),
            told: self.told,
            begun: self.begun,
            resumed: self.resumed,
        };
        serde_json::to_string(&stored).map(Secret::new).context("cannot write the order down")
    }

    /// `None`: not something that this version wrote.
    pub(super) fn from_secret(secret: &Secret) -> Option<Pending> {
        let stored: Stored = serde_json::from_str(secret.expose()).ok()?;
        let Stored { url, wanted, key_pem, presented, told, begun, resumed } = stored;
        Some(Pending { url, wanted, key: Secret::new(key_pem), presented, told, begun, resumed })
    }

    /// An order with a certificate is worth more tries than time: the CA keeps the certificate.
    pub(super) fn is_hopeless(&self, issued: bool, now: Timestamp) -> bool {
        let old = now.duration_since(self.begun).abs() > LONGEST_LIFE;
        self.resumed >= MOST_RESUMED || (old && !issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{ChallengeKind, Endpoint};

    fn order(names: &[&str]) -> Order {
        Order {
            endpoint: Endpoint { directory: "https://ca.example/dir".to_owned(), roots_pem: None },
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            email: None,
            agreed: true,
            challenge: ChallengeKind::Http01,
            profile: None,
            eab: None,
            key_type: "p256".to_owned(),
            replaces: None,
            fresh: false,
        }
    }

    fn pending() -> Pending {
        Pending {
            url: "https://ca.example/order/1".to_owned(),
            wanted: Wanted::new(&order(&["a.example"]), "https://ca.example/account/1"),
            key: Secret::new("k"),
            presented: vec![Challenge::Dns01 {
                name: "a.example".to_owned(),
                record: "_acme-challenge.a.example".to_owned(),
                value: "v".to_owned(),
            }],
            told: true,
            begun: "2026-01-31T10:00:00Z".parse().unwrap(),
            resumed: 2,
        }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let pending = pending();
        let back = Pending::from_secret(&pending.to_secret().unwrap()).unwrap();
        assert_eq!(back.to_secret().unwrap(), pending.to_secret().unwrap());
        assert_eq!((back.key, back.presented), (pending.key, pending.presented));
        assert!(Pending::from_secret(&Secret::new("{}")).is_none());
    }

    #[test]
    fn no_order_is_gone_on_with_for_ever() {
        let hopeless = |resumed, issued, now: &str| {
            Pending { resumed, ..pending() }.is_hopeless(issued, now.parse().unwrap())
        };
        assert!(!hopeless(4, false, "2026-02-03T09:00:00Z"));
        assert!(hopeless(5, false, "2026-01-31T11:00:00Z") && hopeless(5, true, "2026-01-31T11:00:00Z"));
        assert!(hopeless(0, false, "2026-02-03T11:00:00Z") && !hopeless(0, true, "2026-02-03T11:00:00Z"));
        assert!(hopeless(0, false, "2025-01-31T11:00:00Z"), "noted by another clock");
    }

    #[test]
    fn what_is_left_behind_outlives_the_order() {
        let text = after_storing(&pending().to_secret().unwrap()).unwrap().unwrap();
        assert_eq!(left_behind(&text), pending().presented);
        assert!(Pending::from_secret(&text).is_none() && !text.expose().contains("key"));
        assert_eq!(after_storing(&text).unwrap(), Some(text));
        let clean = Pending { presented: Vec::new(), ..pending() }.to_secret().unwrap();
        assert_eq!(after_storing(&clean).unwrap(), None);
    }

    #[test]
    fn an_order_for_other_things_is_another_one() {
        let this = Wanted::new(&order(&["a.example", "b.example"]), "one");
        assert_eq!(this, Wanted::new(&order(&["b.example", "a.example"]), "one"));
        assert_ne!(this, Wanted::new(&order(&["a.example"]), "one"));
        assert_ne!(this, Wanted::new(&order(&["a.example", "b.example"]), "two"));
        let rsa = Order { key_type: "rsa2048".to_owned(), ..order(&["a.example", "b.example"]) };
        assert_ne!(this, Wanted::new(&rsa, "one"));
    }
}
