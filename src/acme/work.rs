//! One order on its way to a certificate (RFC 8555, section 7.1.6).

mod validation;

use std::time::Duration;

use instant_acme::{Account, Error, Identifier, NewOrder, OrderStatus};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::account::{self, Held};
use super::answer::{explain, is_about_content, is_account_gone, is_no_order, is_refused, problem_kind};
use super::directory::{self, certificate_id};
use super::http::Http;
use super::patience::{Patience, persist};
use super::pending::{Pending, Wanted, left_behind, remainder};
use super::{CaFailure, Challenge, ChallengeKind, DirectoryFacts, Issued, Order, Solver, Tools, certificate};
use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::name::nearest;

/// Between the first two looks at an order; later ones are further apart.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(3);
/// RFC 8555, section 7.5.1: a Retry-After tells how often to look, not when an answer comes. Some
/// CAs say a day there and are through within a minute.
const LONGEST_HINT: Duration = Duration::from_secs(30);

pub(super) struct Work<'a, S> {
    pub(super) order: &'a Order,
    pub(super) tools: Tools<'a, S>,
    pub(super) http: Http,
    pub(super) facts: DirectoryFacts,
    patience: Patience,
}

/// What became of the order in the vault.
enum Earlier {
    Issued(Issued),
    /// There is none any more, but these answers of it could not be taken away.
    Nothing(Vec<Challenge>),
}

/// Why an order went no further.
enum Stop {
    /// The CA is done with this order: it can never give a certificate.
    Invalid(CaFailure),
    /// The order may still do.
    Halt(CaFailure),
}

impl From<CaFailure> for Stop {
    fn from(failure: CaFailure) -> Self {
        Stop::Halt(failure)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Halt(failure.into())
    }
}

impl From<Stop> for CaFailure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Invalid(failure) | Stop::Halt(failure) => failure,
        }
    }
}

impl<'a, S: Solver> Work<'a, S> {
    /// Asks for the directory and judges the order by it.
    pub(super) async fn begin(
        order: &'a Order,
        tools: Tools<'a, S>,
        patience: Patience,
    ) -> Result<Self, CaFailure> {
        check_challenge(order)?;
        let http = Http::new(&order.endpoint)?;
        let asked =
            persist(tools.reporter, patience.answers, async || directory::ask(&http, &order.endpoint).await);
        let facts = asked.await.map_err(|error| directory::unreadable(&order.endpoint, &error))?.facts;
        let work = Work { order, tools, http, facts, patience };
        work.check_profile()?;
        Ok(work)
    }

    pub(super) async fn obtain(&self) -> Result<Issued, CaFailure> {
        let held = account::open(self).await?;
        let left = match self.resume(&held.account).await? {
            Earlier::Issued(issued) => return Ok(issued),
            Earlier::Nothing(left) => left,
        };
        let (mut order, mut pending) = self.start(held, left).await?;
        Ok(self.complete(&mut order, &mut pending).await?)
    }

    pub(super) fn directory(&self) -> &str {
        &self.order.endpoint.directory
    }

    /// The CA's host, for messages.
    pub(super) fn ca(&self) -> &str {
        let rest = self.directory().strip_prefix("https://").unwrap_or(self.directory());
        rest.split('/').next().unwrap_or(rest)
    }

    pub(super) async fn persist<T>(&self, ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
        persist(self.tools.reporter, self.patience.answers, ask).await
    }

    fn check_profile(&self) -> Result<()> {
        let Some(wanted) = &self.order.profile else { return Ok(()) };
        let known = &self.facts.profiles;
        if known.contains_key(wanted) {
            return Ok(());
        }
        let failure = Failure::usage(format!("{} has no certificate profile `{wanted}`", self.ca()));
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        Err(match nearest(wanted, names.iter().copied()) {
            _ if names.is_empty() => failure.hint("it has no profiles at all: leave the profile out"),
            Some(near) => failure.hint(format!("did you mean `{near}`? It has {}", names.join(", "))),
            None => failure.hint(format!("it has {}", names.join(", "))),
        })
    }

    /// Goes on with the order in the vault, if it can be gone on with; else the vault has none
    /// afterwards.
    async fn resume(&self, account: &Account) -> Result<Earlier, CaFailure> {
        let Some(text) = self.tools.vault.load_order()? else { return Ok(Earlier::Nothing(Vec::new())) };
        let Some(mut pending) = Pending::from_secret(&text) else {
            let left = left_behind(&text);
            if left.is_empty() {
                self.note("the stored order cannot be read: a new one is made");
            }
            return self.drop_order(&left).await;
        };
        let Some(mut order) = self.usable(account, &mut pending).await? else {
            return self.drop_order(&pending.presented).await;
        };
        self.note("an order that was begun earlier goes on");
        let was_over = order.state().status == OrderStatus::Invalid;
        match self.complete(&mut order, &mut pending).await {
            // Whoever stored it died before forgetting the order.
            Ok(issued) if self.is_replaced(&issued) => self.drop_order(&pending.presented).await,
            Ok(issued) => Ok(Earlier::Issued(issued)),
            // The CA may have looked for the answers while nobody kept them there. An order that
            // fails before our eyes is told of: another one would fail for the same reason.
            Err(Stop::Invalid(_)) if was_over => {
                self.note("the earlier order came to nothing: a new one is made");
                Ok(Earlier::Nothing(pending.presented))
            }
            Err(stop) => Err(stop.into()),
        }
    }

    /// The order at the CA, if it is what is wanted now and there is still hope for it. One that is
    /// gone on with is counted: no order is gone on with for ever.
    async fn usable(
        &self,
        account: &Account,
        pending: &mut Pending,
    ) -> Result<Option<instant_acme::Order>, CaFailure> {
        if pending.wanted != Wanted::new(self.order, account.id()) {
            return Ok(None);
        }
        let Some(mut order) = self.find(account, &pending.url).await? else { return Ok(None) };
        let issued = order.state().status == OrderStatus::Valid;
        if pending.is_hopeless(issued, Timestamp::now()) || (self.order.fresh && !issued) {
            self.note("the earlier order is given up: a new one is made");
            return Ok(None);
        }
        pending.resumed += 1;
        self.keep(pending)?;
        Ok(Some(order))
    }

    /// Takes its answers away and forgets the order.
    async fn drop_order(&self, presented: &[Challenge]) -> Result<Earlier, CaFailure> {
        let left = self.withdraw(presented).await;
        self.forget(&left)?;
        Ok(Earlier::Nothing(left))
    }

    /// What could not be taken away is kept in mind beyond the order.
    fn forget(&self, left: &[Challenge]) -> Result<()> {
        match remainder(left)? {
            Some(text) => self.tools.vault.save_order(&text),
            None => self.tools.vault.forget_order(),
        }
    }

    /// The certificate is the one that a new one is wanted in place of.
    fn is_replaced(&self, issued: &Issued) -> bool {
        let replaced = self.order.replaces.as_deref();
        replaced.is_some_and(|replaced| certificate::have_same_leaf(&issued.chain_pem, replaced))
    }

    /// `None` when the CA does not know the order (any more), or this account may not see it.
    async fn find(&self, account: &Account, url: &str) -> Result<Option<instant_acme::Order>, CaFailure> {
        match self.persist(async || account.order(url.to_owned()).await).await {
            Ok(order) => Ok(Some(order)),
            Err(error) if is_no_order(&error) => Ok(None),
            Err(error) => Err(explain(&error, format!("cannot look at the order at {}", self.ca()))),
        }
    }

    /// A new order, in the vault before anything is done with it. `left` are answers of earlier ones.
    async fn start(
        &self,
        held: Held,
        left: Vec<Challenge>,
    ) -> Result<(instant_acme::Order, Pending), CaFailure> {
        let mut account = held.account;
        let mut placed = self.place(&account).await;
        let doubtful = placed.as_ref().is_err_and(is_account_gone) && !held.fresh;
        if doubtful && account::is_gone(self, &account).await? {
            account = account::replace(self).await?.account;
            placed = self.place(&account).await;
        }
        let order = placed
            .map_err(|error| explain(&error, format!("cannot order a certificate from {}", self.ca())))?;
        let pending = Pending {
            url: order.url().to_owned(),
            wanted: Wanted::new(self.order, account.id()),
            key: (self.tools.new_key)()?,
            presented: left,
            told: false,
            begun: Timestamp::now(),
            resumed: 0,
        };
        self.keep(&pending)?;
        Ok((order, pending))
    }

    /// `replaces` is a courtesy (RFC 9773, section 5): a CA that will not have it, such as one that
    /// did not issue the certificate, is asked without.
    async fn place(&self, account: &Account) -> Result<instant_acme::Order, Error> {
        let names: Vec<Identifier> = self.order.names.iter().cloned().map(Identifier::Dns).collect();
        let new = || match &self.order.profile {
            Some(profile) => NewOrder::new(&names).profile(profile),
            None => NewOrder::new(&names),
        };
        let replaces = self.order.replaces.as_deref().filter(|_| self.facts.renewal_info);
        if let Some(id) = replaces.and_then(certificate_id) {
            let placed = self.persist(async || account.new_order(&new().replaces(id.clone())).await).await;
            match placed {
                Err(error) if is_about_content(&error) => {}
                settled => return settled,
            }
        }
        self.persist(async || account.new_order(&new()).await).await
    }

    /// From wherever the order is to the certificate. An order that the CA is done with is forgotten.
    /// Answers are gone afterwards, but where the CA may still look for them: taking them away then
    /// would make the order fail that is to be gone on with.
    async fn complete(&self, order: &mut instant_acme::Order, pending: &mut Pending) -> Result<Issued, Stop> {
        let outcome = self.walk(order, pending).await;
        let halted = matches!(outcome, Err(Stop::Halt(_)));
        let looked_for = halted && pending.told && order.state().status == OrderStatus::Pending;
        if !looked_for && !pending.presented.is_empty() {
            pending.presented = self.withdraw(&pending.presented).await;
            self.keep(pending)?;
        }
        if let Err(Stop::Invalid(_)) = outcome {
            self.forget(&pending.presented)?;
        }
        outcome
    }

    async fn walk(&self, order: &mut instant_acme::Order, pending: &mut Pending) -> Result<Issued, Stop> {
        if order.state().status == OrderStatus::Pending {
            self.validate(order, pending).await?;
        }
        if order.state().status == OrderStatus::Ready {
            self.finalize(order, pending).await?;
        }
        self.leave(order, OrderStatus::Processing, self.patience.issuance, "issued the certificate").await?;
        if order.state().status != OrderStatus::Valid {
            return Err(Stop::Invalid(self.invalid(order).await?));
        }
        let chain_pem = self.download(order).await?;
        // One that does not fit is not asked for anew at once: each order costs a certificate.
        certificate::check(&chain_pem, &pending.key, &self.order.names)?;
        Ok(Issued { chain_pem, key_pem: pending.key.clone() })
    }

    /// Asks for the certificate. The CA may have heard an earlier request whose answer was lost: then
    /// it refuses this one, and the order is further on than we thought.
    async fn finalize(&self, order: &mut instant_acme::Order, pending: &Pending) -> Result<(), Stop> {
        let request = certificate::request(&pending.key, &self.order.names)?;
        let Err(error) = self.persist(async || order.finalize_csr(&request).await).await else {
            return Ok(());
        };
        if is_refused(&error) {
            self.look(order).await?;
            if order.state().status != OrderStatus::Ready {
                return Ok(());
            }
        }
        let failure = explain(&error, format!("{} does not issue the certificate", self.ca()));
        // The key is the order's own: with another one, it is another order.
        let hopeless = matches!(problem_kind(&error), "badCSR" | "badPublicKey");
        Err(if hopeless { Stop::Invalid(failure) } else { Stop::Halt(failure) })
    }

    async fn download(&self, order: &mut instant_acme::Order) -> Result<String, CaFailure> {
        let downloaded = self.persist(async || order.certificate().await).await;
        let explained = |error: &Error| {
            explain(error, format!("cannot fetch the certificate from {}; it is kept there", self.ca()))
        };
        downloaded
            .map_err(|error| explained(&error))?
            .ok_or_else(|| explained(&Error::Str("the order is not valid any more")))
    }

    /// Looks at the order until its status is not `status` any more, which is when the CA has done
    /// the `deed`.
    async fn leave(
        &self,
        order: &mut instant_acme::Order,
        status: OrderStatus,
        limit: Duration,
        deed: &str,
    ) -> Result<(), CaFailure> {
        let deadline = Instant::now() + limit;
        let (mut pause, mut hint) = (FIRST_LOOK, None);
        while order.state().status == status {
            let now = Instant::now();
            if now >= deadline {
                return Err(self.late(deed, limit));
            }
            self.wait(deed, deadline - now);
            sleep_until(deadline.min(now + until_next_look(pause, hint))).await;
            pause = pause.mul_f32(1.6).min(LONGEST_LOOK);
            self.look(order).await?;
            hint = self.http.pause();
        }
        Ok(())
    }

    async fn look(&self, order: &mut instant_acme::Order) -> Result<(), CaFailure> {
        let looked = self.persist(async || order.refresh().await.map(|_| ())).await;
        looked.map_err(|error| explain(&error, format!("cannot look at the order at {}", self.ca())))
    }

    /// Those that could not be taken away. They do no harm, for the CA forgets what it looked for; but
    /// they would pile up.
    async fn withdraw(&self, challenges: &[Challenge]) -> Vec<Challenge> {
        let mut left = Vec::new();
        for challenge in challenges {
            if let Err(failure) = self.tools.solver.withdraw(std::slice::from_ref(challenge)).await {
                let name = challenge.name();
                let text = format!("an answer to the CA's challenge for {name} is left behind: {failure}");
                self.tools.reporter.report(Event::Warning { text });
                left.push(challenge.clone());
            }
        }
        left
    }

    fn keep(&self, pending: &Pending) -> Result<()> {
        self.tools.vault.save_order(&pending.to_secret()?)
    }

    fn wait(&self, deed: &str, limit: Duration) {
        let reason = format!("{} has not {deed} yet", self.ca());
        self.tools.reporter.report(Event::Waiting { reason, seconds_at_most: limit.as_secs() });
    }

    fn late(&self, deed: &str, limit: Duration) -> CaFailure {
        let message = format!("{} has not {deed} within {} s", self.ca(), limit.as_secs());
        Failure::failed(message).hint("the order is kept: the next attempt goes on with it").into()
    }

    fn note(&self, text: &str) {
        self.tools.reporter.report(Event::Note { text: text.to_owned() });
    }
}

/// `hint` is what the CA asked for at the last look.
fn until_next_look(pause: Duration, hint: Option<Duration>) -> Duration {
    hint.map_or(pause, |hint| hint.min(LONGEST_HINT).max(pause))
}

/// RFC 8555, section 8.3: HTTP-01 is not for wildcards at the CAs there are.
fn check_challenge(order: &Order) -> Result<()> {
    let wildcard = order.names.iter().find(|name| name.starts_with("*."));
    match wildcard {
        Some(name) if order.challenge == ChallengeKind::Http01 => {
            Err(Failure::usage(format!("`{name}` cannot be proven by http-01"))
                .hint("names with `*` need the challenge dns-01"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_may_slow_looks_down_but_neither_stop_nor_hasten_them() {
        let pause = Duration::from_secs(2);
        let table = [(None, 2), (Some(0), 2), (Some(5), 5), (Some(86_400), 30)];
        for (hint, expected) in table {
            let wait = until_next_look(pause, hint.map(Duration::from_secs));
            assert_eq!(wait, Duration::from_secs(expected), "{hint:?}");
        }
    }
}
