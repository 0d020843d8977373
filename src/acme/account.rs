//! The account with a CA (RFC 8555, section 7.3): made once, kept, used again.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, Key, NewAccount};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::answer::{explain, is_account_gone, is_doubtful, is_refused, problem_kind};
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

/// The form in the vault before the CA is asked for the account: a key that is asked with again leads
/// to the same account (RFC 8555, section 7.3.1), whatever became of the first answer.
#[derive(Serialize, Deserialize)]
struct Begun {
    /// PKCS#8, base64url.
    key: String,
}

/// The account's URL, as a CAA record's `accounturi` names it (RFC 8657, section 3). `account` is what
/// a [`Vault`](super::Vault) keeps; `None` while the CA has not made the account.
#[must_use]
pub fn account_url(account: &Secret) -> Option<String> {
    /// The library's form.
    #[derive(Deserialize)]
    struct Url {
        credentials: Id,
    }
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_str::<Url>(account.expose()).ok().map(|url| url.credentials.id)
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
        return register(work, None).await;
    };
    if let Ok(begun) = serde_json::from_str::<Begun>(text.expose()) {
        return register(work, Some(begun)).await;
    }
    let Ok(stored) = serde_json::from_str::<Stored>(text.expose()) else {
        note(work, "the stored ACME account cannot be read: a new one is made");
        return register(work, None).await;
    };
    if stored.eab_kid.as_ref() != work.order.eab.as_ref().map(|eab| &eab.kid) {
        note(work, "the ACME account is bound to another external account: a new one is made");
        return register(work, None).await;
    }
    let account = restore(work, &text)
        .await
        .map_err(|error| explain(&error, format!("cannot use the stored ACME account with {}", work.ca())))?;
    match update_email(work, &account, stored).await {
        Ok(()) => Ok(Held { account, fresh: false }),
        Err(error) if is_account_gone(&error) => replace(work).await,
        Err(error) => Err(no_email(work, &error)),
    }
}

/// Tells the CA the address if it does not know it yet.
async fn update_email<S: Solver>(work: &Work<'_, S>, account: &Account, stored: Stored) -> Result<(), Error> {
    if stored.email == work.order.email {
        return Ok(());
    }
    tell_email(work, account).await?;
    let email = work.order.email.clone();
    save(work, &Stored { email, ..stored }).map_err(own)
}

fn no_email<S: Solver>(work: &Work<'_, S>, error: &Error) -> CaFailure {
    explain(error, format!("cannot tell {} the e-mail address", work.ca()))
}

/// A new account with a new key, in place of one that the CA no longer has.
pub(super) async fn replace<S: Solver>(work: &Work<'_, S>) -> Result<Held, CaFailure> {
    note(work, &format!("{} no longer knows the ACME account: a new one is made", work.ca()));
    register(work, None).await
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

async fn register<S: Solver>(work: &Work<'_, S>, begun: Option<Begun>) -> Result<Held, CaFailure> {
    check_terms(work)?;
    check_customer(work)?;
    if work.order.eab.is_some() {
        return make_at_once(work).await;
    }
    match make(work, begun).await {
        Ok((account, stored)) => {
            update_email(work, &account, stored).await.map_err(|error| no_email(work, &error))?;
            Ok(Held { account, fresh: true })
        }
        // There are CAs that want the address in the same request.
        Err(error) if is_refused(&error) && work.order.email.is_some() => make_at_once(work).await,
        Err(error) => Err(no_account(work, &error)),
    }
}

/// Makes the account of a key that is in the vault, asking as often as need be.
async fn make<S: Solver>(work: &Work<'_, S>, begun: Option<Begun>) -> Result<(Account, Stored), Error> {
    let begun = begun.map_or_else(|| begin(work).map_err(own), Ok)?;
    let (account, credentials) = work
        .persist(async || {
            let builder = Account::builder_with_http(Box::new(work.http.clone()));
            builder.create_from_key(key_pair(&begun)?, work.directory().to_owned()).await
        })
        .await?;
    let stored = Stored { credentials, email: None, eab_kid: None };
    save(work, &stored).map_err(own)?;
    Ok((account, stored))
}

fn begin<S: Solver>(work: &Work<'_, S>) -> Result<Begun> {
    let (_, key) = Key::generate_pkcs8().context("cannot make the ACME account's key")?;
    let begun = Begun { key: BASE64_URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()) };
    let text = serde_json::to_string(&begun).context("cannot write the ACME account's key down")?;
    work.tools.vault.save_account(work.directory(), &Secret::new(text))?;
    Ok(begun)
}

fn key_pair(begun: &Begun) -> Result<(Key, PrivateKeyDer<'static>), Error> {
    let unreadable = || Error::Str("the stored ACME account's key cannot be read");
    let der = BASE64_URL_SAFE_NO_PAD.decode(&begun.key).map_err(|_| unreadable())?;
    let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(der.as_slice()))?;
    Ok((key, PrivateKeyDer::Pkcs8(der.into())))
}

/// How often a rejected nonce is answered with another, beyond what the library does by itself.
const MORE_NONCES: usize = 10;
const NEXT_NONCE: Duration = Duration::from_millis(250);

/// All in one request, which is what the library has for external accounts: it makes the key itself. Not
/// asked again when the answer is lost, since each time makes another account, and some bindings
/// serve once.
async fn make_at_once<S: Solver>(work: &Work<'_, S>) -> Result<Held, CaFailure> {
    let eab = work.order.eab.as_ref().map(external_key).transpose()?;
    let contact = contact(work.order.email.as_deref());
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let create = async || {
        let builder = Account::builder_with_http(Box::new(work.http.clone()));
        builder.create(&new, work.directory().to_owned(), eab.as_ref()).await
    };
    let mut made = create().await;
    for _ in 0..MORE_NONCES {
        // Nothing was made then (RFC 8555, section 6.5).
        if !made.as_ref().is_err_and(|error| problem_kind(error) == "badNonce") {
            break;
        }
        sleep(NEXT_NONCE).await;
        made = create().await;
    }
    let (account, credentials) = made.map_err(|error| no_account(work, &error))?;
    let (email, eab_kid) = (work.order.email.clone(), work.order.eab.as_ref().map(|eab| eab.kid.clone()));
    save(work, &Stored { credentials, email, eab_kid })?;
    Ok(Held { account, fresh: true })
}

fn no_account<S: Solver>(work: &Work<'_, S>, error: &Error) -> CaFailure {
    let mut told = explain(error, format!("cannot make an account with {}", work.ca()));
    if work.order.eab.is_some() && is_doubtful(error) {
        let hint = "the CA may have made it all the same: where a key id serves once, ask the CA for another";
        told.failure = told.failure.hint(hint);
    }
    told
}

fn own(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}

fn check_customer<S: Solver>(work: &Work<'_, S>) -> Result<()> {
    if !work.facts.external_account_required || work.order.eab.is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} serves its customers only", work.ca()))
        .hint("give the key id and the HMAC key for external account binding that the CA shows you"))
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
    fn the_account_has_a_url_once_the_ca_has_made_it() {
        let url = |text: &str| account_url(&Secret::new(text));
        let made = r#"{"credentials":{"id":"https://ca.example/account/1","key_pkcs8":"x"},"email":null}"#;
        assert_eq!(url(made).as_deref(), Some("https://ca.example/account/1"));
        assert_eq!((url(r#"{"key":"x"}"#), url("{")), (None, None));
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
