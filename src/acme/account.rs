//! The account with a CA (RFC 8555, section 7.3): made once, kept, used again.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};

use super::answer::{explain, is_account_gone};
use super::work::Work;
use super::{CaFailure, Eab, Solver};
use crate::event::Event;
use crate::failure::{Context, Failure, Result};
use crate::secret::Secret;

/// The form in the vault.
#[derive(Serialize, Deserialize)]
struct Stored {
    credentials: AccountCredentials,
    email: Option<String>,
    /// Which external account it is bound to.
    eab_kid: Option<String>,
}

/// An account to order with.
pub(super) struct Held {
    pub(super) account: Account,
    /// Made just now: when the CA does not know it, it is no use to make another.
    pub(super) fresh: bool,
}

/// The account in the vault, or a new one.
pub(super) async fn open<S: Solver>(work: &Work<'_, S>) -> Result<Held, CaFailure> {
    let Some(text) = work.tools.vault.load_account(work.directory())? else {
        return register(work).await;
    };
    let Ok(stored) = serde_json::from_str::<Stored>(text.expose()) else {
        note(work, "the stored ACME account cannot be read: a new one is made");
        return register(work).await;
    };
    if stored.eab_kid.as_ref() != work.order.eab.as_ref().map(|eab| &eab.kid) {
        note(work, "the ACME account is bound to another external account: a new one is made");
        return register(work).await;
    }
    let account = restore(work, &text)
        .await
        .map_err(|error| explain(&error, format!("cannot use the stored ACME account with {}", work.ca())))?;
    if stored.email == work.order.email {
        return Ok(Held { account, fresh: false });
    }
    match tell_email(work, &account).await {
        Ok(()) => {
            let email = work.order.email.clone();
            save(work, &Stored { email, ..stored })?;
            Ok(Held { account, fresh: false })
        }
        Err(error) if is_account_gone(&error) => replace(work).await,
        Err(error) => Err(explain(&error, format!("cannot tell {} the new e-mail address", work.ca()))),
    }
}

/// A new account with a new key, in place of one that the CA no longer has.
pub(super) async fn replace<S: Solver>(work: &Work<'_, S>) -> Result<Held, CaFailure> {
    note(work, &format!("{} no longer knows the ACME account: a new one is made", work.ca()));
    register(work).await
}

/// Asks the CA, by a request to the account itself that changes nothing.
pub(super) async fn is_gone<S: Solver>(work: &Work<'_, S>, account: &Account) -> Result<bool, CaFailure> {
    match tell_email(work, account).await {
        Ok(()) => Ok(false),
        Err(error) if is_account_gone(&error) => Ok(true),
        Err(error) => Err(explain(&error, format!("cannot look at the ACME account with {}", work.ca()))),
    }
}

async fn restore<S: Solver>(work: &Work<'_, S>, text: &Secret) -> Result<Account, Error> {
    work.persist(async || {
        let stored: Stored = serde_json::from_str(text.expose())?;
        Account::builder_with_http(Box::new(work.http.clone())).from_credentials(stored.credentials).await
    })
    .await
}

async fn tell_email<S: Solver>(work: &Work<'_, S>, account: &Account) -> Result<(), Error> {
    let contact = contact(work.order.email.as_deref());
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    work.persist(async || account.update_contacts(&contact).await).await
}

/// Dying between the CA's answer and the vault leaves an account behind that nobody uses; the
/// library makes the key and the account in one go.
async fn register<S: Solver>(work: &Work<'_, S>) -> Result<Held, CaFailure> {
    check_terms(work)?;
    let eab = work.order.eab.as_ref().map(external_key).transpose()?;
    if work.facts.external_account_required && eab.is_none() {
        return Err(Failure::usage(format!("{} serves its customers only", work.ca()))
            .hint("give the key id and the HMAC key for external account binding that the CA shows you")
            .into());
    }
    let contact = contact(work.order.email.as_deref());
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let made = work
        .persist(async || {
            let builder = Account::builder_with_http(Box::new(work.http.clone()));
            builder.create(&new, work.directory().to_owned(), eab.as_ref()).await
        })
        .await;
    let (account, credentials) =
        made.map_err(|error| explain(&error, format!("cannot make an account with {}", work.ca())))?;
    let (email, eab_kid) = (work.order.email.clone(), work.order.eab.as_ref().map(|eab| eab.kid.clone()));
    save(work, &Stored { credentials, email, eab_kid })?;
    Ok(Held { account, fresh: true })
}

fn check_terms<S: Solver>(work: &Work<'_, S>) -> Result<()> {
    match &work.facts.terms_of_service {
        Some(terms) if !work.order.agreed => {
            Err(Failure::usage(format!("the terms of service of {} are not agreed to", work.ca()))
                .hint(format!("read {terms} and agree")))
        }
        _ => Ok(()),
    }
}

fn save<S: Solver>(work: &Work<'_, S>, stored: &Stored) -> Result<()> {
    let text = serde_json::to_string(stored).context("cannot write the ACME account down")?;
    work.tools.vault.save_account(work.directory(), &Secret::new(text))
}

fn contact(email: Option<&str>) -> Option<String> {
    email.map(|email| format!("mailto:{email}"))
}

fn external_key(eab: &Eab) -> Result<ExternalAccountKey> {
    // Some CAs show it with padding, some in base64's first alphabet.
    let text = eab.hmac_key.expose().trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let key = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        Failure::usage("the HMAC key for external account binding is not base64url")
            .hint("copy it as the CA shows it, whole and without quotes")
    })?;
    Ok(ExternalAccountKey::new(eab.kid.clone(), &key))
}

fn note<S: Solver>(work: &Work<'_, S>, text: &str) {
    work.tools.reporter.report(Event::Note { text: text.to_owned() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<ExternalAccountKey> {
        external_key(&Eab { kid: "kid-1".to_owned(), hmac_key: Secret::new(text) })
    }

    #[test]
    fn an_external_key_may_be_padded_and_in_either_alphabet() {
        for text in
            ["zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", "-_-_", "+/+/", "YQ==\n"]
        {
            assert!(key(text).is_ok(), "{text}");
        }
        assert_eq!(
            key("\"quoted\"").err().unwrap().message,
            "the HMAC key for external account binding is not base64url"
        );
    }
}
