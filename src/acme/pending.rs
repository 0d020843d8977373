//! The order under way, as it lies in the vault.

use serde::{Deserialize, Serialize};

use super::{Challenge, Order};
use crate::failure::{Context, Result};
use crate::secret::Secret;

/// All that is needed to go on with an order after the program's death.
pub(super) struct Pending {
    pub(super) url: String,
    pub(super) wanted: Wanted,
    /// Of the certificate, PKCS#8 PEM. In the vault before the CA certifies it.
    pub(super) key: Secret,
    /// Answers that may be where the CA looks for them. In the vault before they are put there.
    pub(super) presented: Vec<Challenge>,
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
}

impl Pending {
    pub(super) fn to_secret(&self) -> Result<Secret> {
        let stored = Stored {
            url: self.url.clone(),
            wanted: self.wanted.clone(),
            key_pem: self.key.expose().to_owned(),
            presented: self.presented.clone(),
        };
        serde_json::to_string(&stored).map(Secret::new).context("cannot write the order down")
    }

    /// `None`: not something that this version wrote.
    pub(super) fn from_secret(secret: &Secret) -> Option<Pending> {
        let Stored { url, wanted, key_pem, presented } = serde_json::from_str(secret.expose()).ok()?;
        Some(Pending { url, wanted, key: Secret::new(key_pem), presented })
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
        }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let presented = vec![Challenge::Dns01 {
            name: "a.example".to_owned(),
            record: "_acme-challenge.a.example".to_owned(),
            value: "v".to_owned(),
        }];
        let wanted = Wanted::new(&order(&["a.example"]), "https://ca.example/account/1");
        let pending = Pending {
            url: "https://ca.example/order/1".to_owned(),
            wanted,
            key: Secret::new("k"),
            presented,
        };
        let back = Pending::from_secret(&pending.to_secret().unwrap()).unwrap();
        assert_eq!(back.to_secret().unwrap(), pending.to_secret().unwrap());
        assert_eq!((back.key, back.presented), (pending.key, pending.presented));
        assert!(Pending::from_secret(&Secret::new("{}")).is_none());
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
