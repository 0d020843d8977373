//! Showing the CA that the names are ours (RFC 8555, section 7.5).

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeHandle, ChallengeStatus, ChallengeType, Error,
    Identifier, OrderStatus, Problem,
};

use super::{Stop, Work};
use crate::acme::answer::{explain, is_transient};
use crate::acme::pending::Pending;
use crate::acme::problem::{self, clean};
use crate::acme::{CaFailure, Challenge, ChallengeKind, Solver};
use crate::failure::{Failure, Result};

/// An authorization whose challenge the CA did not take as ready, and why.
type Refused = (String, Error);

impl<S: Solver> Work<'_, S> {
    /// Puts all answers where the CA looks, tells it that they are there, and waits for its
    /// judgement of all names, which it makes side by side.
    pub(super) async fn validate(
        &self,
        order: &mut instant_acme::Order,
        pending: &mut Pending,
    ) -> Result<(), Stop> {
        let challenges = self.open_challenges(order).await?;
        if !challenges.is_empty() {
            pending.presented.retain(|known| !challenges.contains(known));
            pending.presented.extend_from_slice(&challenges);
            self.keep(pending)?;
            self.tools.solver.present(&challenges).await?;
            pending.told = true;
            self.keep(pending)?;
            self.declare_ready(order).await?;
        }
        let deed = format!("validated {}", self.order.names.join(", "));
        self.leave(order, OrderStatus::Pending, self.patience.validation, &deed).await?;
        match order.state().status {
            OrderStatus::Invalid => Err(Stop::Invalid(self.invalid(order).await?)),
            _ => Ok(()),
        }
    }

    /// What is to be shown: nothing for names that the CA validated before and still believes.
    async fn open_challenges(&self, order: &mut instant_acme::Order) -> Result<Vec<Challenge>, CaFailure> {
        let asked = order.state().authorizations.len();
        if asked > self.order.names.len() {
            let wanted = self.order.names.len();
            return Err(Failure::failed(format!("the CA asks about {asked} names of {wanted}")).into());
        }
        let found = self.persist(async || {
            let mut names = Unasked::new(&self.order.names);
            let mut found = Vec::new();
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let name = names.take(authorization.identifier().identifier);
                match name {
                    Ok(name) if authorization.status == AuthorizationStatus::Pending => {
                        found.push(answer(&mut authorization, name, self.order.challenge));
                    }
                    Ok(_) => {}
                    Err(foreign) => found.push(Err(foreign)),
                }
            }
            Ok(found)
        });
        let found = found.await.map_err(|error| self.no_authorizations(&error))?;
        Ok(found.into_iter().collect::<Result<_>>()?)
    }

    /// Tells the CA of all answers. One told twice, since the CA's first answer was lost, is refused
    /// when the CA is through with it: that is no failure.
    async fn declare_ready(&self, order: &mut instant_acme::Order) -> Result<(), CaFailure> {
        let told = self.persist(async || tell(order, self.order.challenge).await).await;
        let refused =
            told.map_err(|error| explain(&error, format!("cannot tell {} to validate", self.ca())))?;
        if refused.is_empty() {
            return Ok(());
        }
        self.look(order).await?;
        let waiting = self.persist(async || pending_urls(order).await).await;
        let waiting = waiting.map_err(|error| self.no_authorizations(&error))?;
        match refused.iter().find(|(url, _)| waiting.contains(url)) {
            Some((_, error)) => Err(explain(error, format!("{} does not validate the name", self.ca()))),
            None => Ok(()),
        }
    }

    /// Why the CA is done with the order, which was looked at just now.
    pub(super) async fn invalid(&self, order: &mut instant_acme::Order) -> Result<CaFailure, CaFailure> {
        let names = self.persist(async || broken_names(order).await).await;
        let names = names.map_err(|error| self.no_authorizations(&error))?;
        Ok(problem::invalid_order(&names, order.state().error.as_ref(), self.order.challenge).into())
    }

    fn no_authorizations(&self, error: &Error) -> CaFailure {
        explain(error, format!("cannot read what {} wants to be shown", self.ca()))
    }
}

/// The ordered names that the CA has not asked about yet, without `*.`: it asks about each once (RFC
/// 8555, section 7.1.3). What it asks about goes to the owner's DNS hook: no other name must.
struct Unasked<'a>(Vec<&'a str>);

impl<'a> Unasked<'a> {
    fn new(names: &'a [String]) -> Self {
        Unasked(names.iter().map(|name| name.strip_prefix("*.").unwrap_or(name)).collect())
    }

    /// The name as it was ordered.
    fn take(&mut self, identifier: &Identifier) -> Result<&'a str> {
        let place = match identifier {
            Identifier::Dns(asked) => self.0.iter().position(|name| name.eq_ignore_ascii_case(asked)),
            _ => None,
        };
        let place = place.ok_or_else(|| {
            let identifier = clean(&identifier.clone().authorized(false).to_string());
            Failure::failed(format!("the CA asks about `{identifier}`, which was not ordered"))
        })?;
        Ok(self.0.swap_remove(place))
    }
}

/// What the CA looks for.
fn answer<'a>(
    authorization: &'a mut AuthorizationHandle<'a>,
    name: &str,
    kind: ChallengeKind,
) -> Result<Challenge> {
    let none = format!("the CA offers no {} challenge for `{name}`", kind.word());
    let challenge = authorization.challenge(acme_type(kind)).ok_or_else(|| Failure::failed(none))?;
    if !is_token(&challenge.token) {
        return Err(Failure::failed(format!("the CA's challenge for `{name}` has a token that is none")));
    }
    Ok(shown(&challenge, name.to_owned(), kind))
}

/// RFC 8555, section 8.3: base64url. It becomes the name of a file: a dot or a slash must not pass.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn shown(challenge: &ChallengeHandle<'_>, name: String, kind: ChallengeKind) -> Challenge {
    let authorization = challenge.key_authorization();
    match kind {
        ChallengeKind::Http01 => Challenge::Http01 {
            name,
            token: challenge.token.clone(),
            content: authorization.as_str().to_owned(),
        },
        ChallengeKind::Dns01 => Challenge::Dns01 {
            record: format!("_acme-challenge.{name}"),
            name,
            value: authorization.dns_value(),
        },
    }
}

fn acme_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    }
}

async fn tell(order: &mut instant_acme::Order, kind: ChallengeKind) -> Result<Vec<Refused>, Error> {
    let mut refused = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let url = authorization.url().to_owned();
        let open = authorization.status == AuthorizationStatus::Pending;
        let Some(mut challenge) = authorization.challenge(acme_type(kind)).filter(|_| open) else { continue };
        if challenge.status != ChallengeStatus::Pending {
            continue;
        }
        match challenge.set_ready().await {
            Ok(()) => {}
            Err(error) if is_transient(&error) => return Err(error),
            Err(error) => refused.push((url, error)),
        }
    }
    Ok(refused)
}

async fn pending_urls(order: &mut instant_acme::Order) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending {
            found.push(authorization.url().to_owned());
        }
    }
    Ok(found)
}

/// Names that are not validated, with the CA's reason where it gives one.
async fn broken_names(order: &mut instant_acme::Order) -> Result<Vec<(String, Problem)>, Error> {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let name = authorization.identifier().to_string();
        let reason = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
        if let (AuthorizationStatus::Invalid, Some(reason)) = (authorization.status, reason) {
            found.push((name, reason));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_asks_about_each_ordered_name_once_and_about_no_other() {
        let names = ["a.example", "*.a.example", "b.example"].map(str::to_owned);
        let mut unasked = Unasked::new(&names);
        let mut take = |name: &str| unasked.take(&Identifier::Dns(name.to_owned())).ok();
        assert_eq!(
            (take("A.example"), take("a.example"), take("a.example")),
            (Some("a.example"), Some("a.example"), None)
        );
        for foreign in ["*.b.example", "c.b.example", "../b.example", ""] {
            assert_eq!(take(foreign), None, "{foreign}");
        }
        assert_eq!(take("b.example"), Some("b.example"));
        let failure = unasked.take(&Identifier::Dns("x\u{1b}[2J\n".to_owned())).unwrap_err();
        assert_eq!(failure.message, "the CA asks about `x\u{fffd}[2J\u{fffd}`, which was not ordered");
    }

    #[test]
    fn a_token_is_fit_to_be_the_name_of_a_file() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA_"));
        for text in ["", "..", "../nginx.conf", "a/b", "a b", "a.b", "a\0"] {
            assert!(!is_token(text), "{text:?}");
        }
    }
}
