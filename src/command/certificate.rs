//! Which certificate serves, and which one should: what planning is told about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::order::order_key;
use super::site::Loaded;
use super::{Adapters, Context};
use crate::failure::{Failure, Kind, Result};
use crate::host::files;
use crate::name::Fqdn;
use crate::plan::certificate::{CertificateFacts, Next, is_local, is_ordered};
use crate::plan::renewal::{Attempts, Decision, Lifetime, decide};
use crate::render::nginx_conf::names_in;
use crate::secret::Secret;
use crate::site::acme::{Acme, CertificateName};
use crate::site::key_kind::KeyKind;
use crate::site::{IMPORTED_CERTIFICATE, Tls};
use crate::stack::fingerprint::text_fingerprint;
use crate::stack::{dirs, files as paths};
use crate::tls::inspect::{self, check_pair, inspect, leaf_due, problems};
use crate::tls::trust::is_publicly_trusted;

/// Who asks for another certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A person who brings the site to what its file says.
    Up,
    /// A person who wants a new one, whatever the present one is.
    Issue,
    /// A schedule, which comes again: after a failure it waits.
    Schedule,
}

/// A stored pair.
#[derive(Debug)]
pub struct Stored {
    pub id: String,
    pub chain: String,
    pub facts: inspect::CertificateFacts,
    /// The names that it was ordered for.
    pub ordered: Vec<String>,
}

impl Stored {
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        Lifetime { not_before: self.facts.not_before, not_after: self.facts.not_after }
    }

    /// Why it is not one that the site file asks for by now, whatever its names and its time.
    fn other_origin(&self, acme: &Acme) -> Option<String> {
        if self.id.starts_with("imported-") {
            return None;
        }
        if !is_ordered(&self.id) {
            return Some(format!("the site file asks for one from {}", acme.directory.host()));
        }
        let of_kind = |key| self.is_from(&Acme { key, ..acme.clone() });
        match KeyKind::ALL.into_iter().find(|kind| of_kind(*kind)) {
            Some(kind) if kind == acme.key => None,
            Some(kind) => Some(format!("the site file asks for a key of the kind {}, not {kind}", acme.key)),
            None => Some("the site file asks for another CA or profile".to_owned()),
        }
    }

    /// It was ordered with these settings.
    fn is_from(&self, acme: &Acme) -> bool {
        self.id.starts_with(&format!("acme-{}-", origin(acme)))
    }

    /// Whole days; below zero once it has ended.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.facts.not_after.duration_since(now).as_hours().div_euclid(24)
    }
}

impl Loaded {
    pub fn certificate_facts<A: Adapters>(&self, context: &Context<'_, A>) -> Result<CertificateFacts> {
        let mut facts = match &self.site.tls {
            Tls::SelfSigned => self.own_certificate(context),
            Tls::Files { certificate, key } => {
                let chain = self.owners_file(certificate)?;
                let key = self.owners_key(&chain, key)?;
                self.users_certificate(context, &chain, &key)
            }
            Tls::Acme(acme) => self.ordered_certificate(context, acme),
        }?;
        if let (Asker::Issue, Tls::SelfSigned, None) = (self.asker, &self.site.tls, &facts.next) {
            facts.next = Some(Next {
                id: new_id(context, "local"),
                why: "it was asked for".to_owned(),
                stored: false,
            });
        }
        facts.fresh = self.asks_anew()?;
        facts.names = self.served_names()?;
        facts.ordered = self.certificate_names()?;
        Ok(facts)
    }

    /// The names that the certificate has to serve: `up` brings those of the site file; else nginx knows
    /// others only by the next `up`.
    fn served_names(&self) -> Result<Vec<Fqdn>> {
        let live = match self.asker {
            Asker::Up => None,
            Asker::Issue | Asker::Schedule => {
                files::read_text_optional(&self.dir.root().join(paths::NGINX_LIVE))?
            }
        };
        let live = live.as_deref().map(names_in).filter(|names| !names.is_empty());
        Ok(live.unwrap_or_else(|| self.site.names().cloned().collect()))
    }

    /// What a certificate by ACME is ordered for.
    pub fn certificate_names(&self) -> Result<Vec<CertificateName>> {
        match &self.site.tls {
            Tls::Acme(acme) if !acme.names.is_empty() => Ok(acme.names.clone()),
            _ => Ok(self.served_names()?.iter().map(CertificateName::from).collect()),
        }
    }

    /// A schedule renews what serves. What the site file asks for in its place is for a person to bring.
    fn waits_for_up(&self, asked: &str) -> Option<CertificateFacts> {
        let waits = Some(format!("{asked}: `autoodoo up` gets it"));
        let current = self.state.certificate.clone();
        (self.asker == Asker::Schedule).then(|| CertificateFacts {
            current,
            waits,
            ..CertificateFacts::default()
        })
    }

    /// The key in use while an import was cut off between the key's file and the certificate's: the
    /// pair that serves goes on as long as the import was not repeated.
    fn owners_key(&self, chain: &str, path: &Path) -> Result<Secret> {
        let key = Secret::new(self.owners_file(path)?);
        if check_pair(chain, &key).is_ok() {
            return Ok(key);
        }
        let previous = files::read_text_optional(&previous(&self.dir.root().join(path)))?.map(Secret::new);
        let serves = |previous: &Secret| self.state.certificate == Some(owners_id(chain, previous));
        Ok(previous.filter(serves).unwrap_or(key))
    }

    fn owners_file(&self, path: &Path) -> Result<String> {
        let file = self.dir.root().join(path);
        match files::read_text_optional(&file)? {
            Some(text) => Ok(text),
            None if self.site.tls.is_imported() => {
                Err(Failure::usage("there is no certificate yet: `tls:` in autoodoo.yaml names no files")
                    .hint("`autoodoo cert import CERTIFICATE KEY` brings one in"))
            }
            None => files::read_text(&file),
        }
    }

    /// The next directory is named by date and chance, both decided here and not while applying.
    fn own_certificate<A: Adapters>(&self, context: &Context<'_, A>) -> Result<CertificateFacts> {
        let now = context.adapters.clock().now();
        let next = |why: String| Some(Next { id: new_id(context, "local"), why, stored: false });
        let Some(current) = self.certificate_in_use()? else {
            return Ok(CertificateFacts { next: next(self.absence()), ..CertificateFacts::default() });
        };
        let names = self.served_names()?;
        let due = if !is_local(&current.id) {
            let asked = "the site file asks for one from the local CA".to_owned();
            if let Some(facts) = self.waits_for_up(&asked) {
                return Ok(facts);
            }
            Some(asked)
        } else if !self.is_from_local_ca(&current.facts)? {
            Some("the site's local CA did not sign the present one".to_owned())
        } else {
            leaf_due(&current.facts, &names, now)
        };
        Ok(CertificateFacts {
            current: Some(current.id),
            next: due.and_then(next),
            ..CertificateFacts::default()
        })
    }

    fn is_from_local_ca(&self, leaf: &inspect::CertificateFacts) -> Result<bool> {
        match files::read_text_optional(&self.dir.ca_certificate())? {
            Some(ca) => Ok(leaf.is_from(&inspect(&ca)?)),
            None => Ok(false),
        }
    }

    /// The pair in use; `None` when it could not serve: see [`Loaded::broken_certificate`].
    pub fn certificate_in_use(&self) -> Result<Option<Stored>> {
        self.state.certificate.as_ref().map_or(Ok(None), |id| self.stored_certificate(id))
    }

    /// The pair in this directory; `None` when a web server could not use it.
    fn stored_certificate(&self, id: &str) -> Result<Option<Stored>> {
        let Some((chain, key)) = self.pair(id)? else { return Ok(None) };
        if check_pair(&chain, &key).is_err() {
            return Ok(None);
        }
        let facts = inspect(&chain)?;
        let directory = self.dir.root().join(dirs::TLS).join(id);
        let ordered = files::read_text_optional(&directory.join("names"))?;
        let ordered =
            ordered.map_or_else(|| facts.names.clone(), |text| text.lines().map(str::to_owned).collect());
        Ok(Some(Stored { id: id.to_owned(), chain, facts, ordered }))
    }

    fn pair(&self, id: &str) -> Result<Option<(String, Secret)>> {
        let directory = self.dir.root().join(dirs::TLS).join(id);
        // What is no text is no certificate either: a torn file must not stop every command.
        let text = |name: &str| {
            let bytes = files::read_optional(&directory.join(name))?;
            Ok::<_, Failure>(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        Ok(text("fullchain.pem")?.zip(text("privkey.pem")?.map(Secret::new)))
    }

    /// Why the pair in use would not serve another time: nginx goes on with what it has read, until
    /// it is started again.
    pub fn broken_certificate(&self) -> Result<Option<Failure>> {
        let Some(id) = &self.state.certificate else { return Ok(None) };
        let what = format!("the certificate in use, {}/{id}, cannot serve another time", dirs::TLS);
        let cause = match self.pair(id)? {
            None => "fullchain.pem or privkey.pem is missing".to_owned(),
            Some((chain, key)) => match check_pair(&chain, &key) {
                Ok(()) => return Ok(None),
                Err(failure) => failure.to_string(),
            },
        };
        let mut failure = Failure::new(Kind::Verification, what);
        failure.causes.push(cause);
        Ok(Some(failure))
    }

    /// Why a certificate is wanted where there is none that could serve.
    fn absence(&self) -> String {
        let words = if self.state.certificate.is_some() {
            "the one in use lacks a file, or its key is another's"
        } else {
            "there is none yet"
        };
        words.to_owned()
    }

    /// Refuses files that a browser would refuse, before anything is changed.
    fn users_certificate<A: Adapters>(
        &self,
        context: &Context<'_, A>,
        chain: &str,
        key: &Secret,
    ) -> Result<CertificateFacts> {
        let id = owners_id(chain, key);
        let current = self.certificate_in_use()?.map(|stored| stored.id);
        if current.as_ref().is_some_and(|current| !current.starts_with("files-"))
            && let Some(facts) = self.waits_for_up("the site file names a certificate of your own")
        {
            return Ok(facts);
        }
        let names = self.served_names()?;
        let now = context.adapters.clock().now();
        let trusted =
            if is_publicly_trusted(chain, &names, now)? { [id.clone()].into() } else { BTreeSet::new() };
        let facts = inspect(chain)?;
        if let Some(name) = names.iter().find(|name| !facts.covers(name)) {
            return Err(does_not_fit(format!("the certificate is not for `{name}`")));
        }
        if current.as_ref() == Some(&id) {
            // It was found good when it was installed; that it has ended since must not keep the
            // site down.
            return Ok(CertificateFacts { current, trusted, ..CertificateFacts::default() });
        }
        check_pair(chain, key).map_err(|failure| {
            failure.hint("where an import was cut off, `autoodoo cert import CERTIFICATE KEY` again puts both in place")
        })?;
        let faults = problems(&facts, &names, now);
        if !faults.is_empty() {
            return Err(does_not_fit(format!(
                "the certificate does not fit this site: {}",
                faults.join("; ")
            )));
        }
        let next = Next { id, why: "the certificate files are new".to_owned(), stored: false };
        Ok(CertificateFacts { current, next: Some(next), trusted, ..CertificateFacts::default() })
    }

    fn ordered_certificate<A: Adapters>(
        &self,
        context: &Context<'_, A>,
        acme: &Acme,
    ) -> Result<CertificateFacts> {
        let now = context.adapters.clock().now();
        let current = self.certificate_in_use()?;
        // The first order of this site is anybody's to repeat.
        let foreign = current.as_ref().filter(|stored| !is_local(&stored.id));
        if let Some(asked) = foreign.and_then(|stored| stored.other_origin(acme))
            && let Some(facts) = self.waits_for_up(&asked)
        {
            return Ok(facts);
        }
        let mut facts = CertificateFacts {
            current: current.as_ref().map(|stored| stored.id.clone()),
            placeholder: new_id(context, "local"),
            ..CertificateFacts::default()
        };
        if let Some(stored) = current.as_ref()
            && self.is_believed(stored, acme, now)?
        {
            facts.trusted.insert(stored.id.clone());
        }
        let (why, until) = match self.renewal(current.as_ref(), acme, self.asker, now)? {
            Decision::Renew { why } => (why, None),
            Decision::Wait { until, why, .. } => (why, Some(until)),
        };
        let wanted = self.certificate_names()?;
        let fits =
            |stored: &Stored| self.misfit(stored, acme, &wanted).is_none() && stored.facts.not_after > now;
        if let Some(stored) = self.obtained_before()?.filter(fits) {
            if self.is_believed(&stored, acme, now)? {
                facts.trusted.insert(stored.id.clone());
            }
            facts.next = Some(Next { id: stored.id, why: "it was obtained before".to_owned(), stored: true });
        } else if let Some(until) = until {
            // A site that needs another and has to wait for it should be told so.
            let needed = self.asker == Asker::Issue || !current.as_ref().is_some_and(fits);
            facts.waits =
                needed.then(|| format!("no certificate is ordered before {}: {why}", minute(until)));
        } else {
            let id = new_id(context, &format!("acme-{}", origin(acme)));
            if acme.is_publicly_trusted() {
                facts.trusted.insert(id.clone());
            }
            facts.next = Some(Next { id, why, stored: false });
        }
        Ok(facts)
    }

    /// One from somewhere else, such as a company's CA or an earlier one in the site file, is judged
    /// by itself: browsers that were told to insist on HTTPS would let nobody past a wrong one.
    fn is_believed(&self, stored: &Stored, acme: &Acme, now: Timestamp) -> Result<bool> {
        if stored.is_from(acme) {
            return Ok(acme.is_publicly_trusted());
        }
        is_publicly_trusted(&stored.chain, &self.served_names()?, now)
    }

    /// A person wants a new one, and no run was cut off that would have to be finished first.
    fn asks_anew(&self) -> Result<bool> {
        Ok(self.asker == Asker::Issue && self.dir.journal().unfinished()?.is_none())
    }

    /// A pair that an earlier run obtained and did not come to use. A person who asks anew has seen
    /// what came of it.
    fn obtained_before(&self) -> Result<Option<Stored>> {
        if self.asks_anew()? {
            return Ok(None);
        }
        let stored = self.state.stored_certificate.as_ref().filter(|id| !is_local(id));
        stored.map_or(Ok(None), |id| self.stored_certificate(id))
    }

    /// When the certificate by ACME is renewed.
    pub fn renewal(
        &self,
        current: Option<&Stored>,
        acme: &Acme,
        asker: Asker,
        now: Timestamp,
    ) -> Result<Decision> {
        // Without a certificate nothing is left of its time.
        let lifetime = current.map_or(Lifetime { not_before: now, not_after: now }, Stored::lifetime);
        let seed = current.map_or("", |stored| stored.facts.fingerprint.as_str());
        let wanted = self.certificate_names()?;
        let (memory, key) = (self.dir.renewal(), order_key(acme, &wanted));
        let mut attempts = memory.attempts(&key, seed);
        if asker != Asker::Schedule {
            // A person has changed something since the last attempt, or would like to see it fail.
            attempts = Attempts { failures: 0, last: None, ..attempts };
        }
        let changed = match (asker, current) {
            (_, None) => Some(self.absence()),
            (Asker::Issue, Some(_)) => Some("it was asked for".to_owned()),
            (_, Some(stored)) => self.misfit(stored, acme, &wanted),
        };
        let decision = decide(lifetime, changed, &attempts, seed, now);
        let brake = memory.brake(&key, lifetime, now).filter(|_| asker == Asker::Schedule);
        Ok(match (decision, brake) {
            (Decision::Renew { .. }, Some(until)) => {
                Decision::Wait { until, why: "one was obtained not long ago".to_owned(), due: false }
            }
            (decision, _) => decision,
        })
    }

    /// Why the certificate is not what is wanted.
    fn misfit(&self, stored: &Stored, acme: &Acme, wanted: &[CertificateName]) -> Option<String> {
        if let Some(asked) = stored.other_origin(acme) {
            return Some(asked);
        }
        // What was ordered: a CA may add a name of its own.
        let has: BTreeSet<&str> = stored.ordered.iter().map(String::as_str).collect();
        let wants: BTreeSet<&str> = wanted.iter().map(CertificateName::as_str).collect();
        if stored.id.starts_with("imported-") {
            let lacks = |name: &&Fqdn| !stored.facts.covers(name);
            return self.site.names().find(lacks).map(|name| format!("it is not for `{name}`"));
        }
        if let Some(name) = wants.difference(&has).next() {
            return Some(format!("it is not for `{name}`"));
        }
        let surplus = has.difference(&wants).next();
        surplus.map(|name| format!("it is for `{name}`, which the site file no longer asks for"))
    }
}

impl Tls {
    /// The owner's certificate comes by `cert import`.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        matches!(self, Tls::Files { certificate, .. } if certificate.as_os_str() == IMPORTED_CERTIFICATE)
    }
}

/// Where `cert import` keeps what a file held before.
#[must_use]
pub fn previous(path: &Path) -> PathBuf {
    let mut kept = path.as_os_str().to_owned();
    kept.push(".previous");
    PathBuf::from(kept)
}

/// The owner's pair is named by what is in it.
fn owners_id(chain: &str, key: &Secret) -> String {
    format!("files-{}", text_fingerprint(&format!("{chain}{}", key.expose())))
}

fn does_not_fit(message: String) -> Failure {
    Failure::usage(message)
        .hint("give a certificate for all names of the site under `tls:`, or use `mode: self-signed`")
}

/// What a certificate was ordered with: another CA, profile or kind of key is another certificate.
fn origin(acme: &Acme) -> String {
    let profile = acme.profile.as_ref().map_or("", |profile| profile.as_str());
    text_fingerprint(&format!("{} {profile} {}", acme.directory, acme.key.word()))[..8].to_owned()
}

fn new_id<A: Adapters>(context: &Context<'_, A>, kind: &str) -> String {
    let mut chance = [0; 3];
    context.adapters.random().bytes(&mut chance);
    let [a, b, c] = chance;
    let date = context.adapters.clock().now().strftime("%Y%m%d");
    format!("{kind}-{date}-{a:02x}{b:02x}{c:02x}")
}

pub(super) fn minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
