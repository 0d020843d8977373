//! Ordering a certificate: what lies between the plan's step and the CA.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join, join_all};
use jiff::Timestamp;

use super::certificate::minute;
use super::site::Loaded;
use super::{Adapters, Context};
use crate::acme::{
    self, Ca, CaFailure, Challenge, ChallengeKind, DirectoryFacts, Eab, Endpoint, Tools, Vault, account_url,
    after_storing,
};
use crate::apply::certificate::{Issued, Orders};
use crate::dns::Dns;
use crate::event::{Event, Reporter};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::hook::{Change, HookCall, Hooks};
use crate::host::probe::{Get, Probe};
use crate::host::random::identifier;
use crate::host::site_dir::SiteDir;
use crate::name::Fqdn;
use crate::plan::certificate::CertificateOrder;
use crate::plan::preflight::{CaFacts, Facts, NameFacts, Port80, findings};
use crate::plan::renewal_memory::RenewalMemory;
use crate::plan::{Action, Plan};
use crate::secret::Secret;
use crate::site::acme::{Acme, CertificateName};
use crate::site::{self, Site};
use crate::stack::dirs;
use crate::stack::fingerprint::text_fingerprint;
use crate::tls::import::in_order;
use crate::tls::inspect::{check_pair, inspect, problems};
use crate::tls::keys::new_key;

/// Seconds for a question to a name's port 80, and for one run of the owner's DNS hook.
const QUESTION: Duration = Duration::from_secs(5);
const HOOK: Duration = Duration::from_mins(2);
/// How long the zone's servers may take to answer with a new record.
const PROPAGATION: Duration = Duration::from_mins(5);

/// Orders certificates for one site.
pub struct Clerk<'a, A> {
    pub adapters: &'a A,
    pub dir: &'a SiteDir,
    pub site: &'a Site,
    /// An order came to nothing.
    pub refused: Cell<bool>,
}

impl<A: Adapters> Orders for Clerk<'_, A> {
    fn obtain<'a>(
        &'a self,
        order: &'a CertificateOrder,
        reporter: &'a dyn Reporter,
    ) -> LocalBoxFuture<'a, Result<Issued>> {
        Box::pin(async move {
            match self.order(order, reporter).await {
                Ok(issued) => Ok(issued),
                Err(CaFailure { failure, retry_after }) => {
                    let now = self.adapters.clock().now();
                    let key = order_key(&order.acme, &order.names);
                    self.refused.set(true);
                    let said = failure.to_string().replace('\n', " ");
                    let memory = self.dir.renewal().after_failure(&key, said, retry_after, now);
                    if let Err(second) = self.dir.save_renewal(&memory) {
                        reporter.report(Event::Warning { text: second.to_string() });
                    }
                    let from = retry_after.filter(|from| *from > now);
                    let from = from.map_or_else(String::new, |from| format!(" from {} on", minute(from)));
                    let again = format!("`autoodoo cert issue` tries again{from}");
                    Err(failure.hint(format!("{}; {again}", self.present(order, now))))
                }
            }
        })
    }

    fn remember(&self, order: &CertificateOrder) -> Result<()> {
        let key = order_key(&order.acme, &order.names);
        self.dir.save_renewal(&RenewalMemory::after_success(&key, self.adapters.clock().now()))
    }

    fn settle(&self) -> Result<()> {
        // What a killed run left there; the CA looks for nothing any more.
        files::remove_files(&self.dir.root().join(dirs::CHALLENGE))?;
        Files { dir: self.dir }.end_order()
    }
}

impl<A: Adapters> Clerk<'_, A> {
    /// What is left when an order failed.
    fn present(&self, order: &CertificateOrder, now: Timestamp) -> String {
        let Some(id) = &order.replaces else {
            return "the site is up with a certificate of its own, which browsers do not trust".to_owned();
        };
        let chain = files::read_text(&self.dir.root().join(dirs::TLS).join(id).join("fullchain.pem"));
        match chain.and_then(|chain| inspect(&chain)) {
            Ok(facts) if facts.not_after <= now => {
                format!("the present certificate was not touched, but ended on {}", minute(facts.not_after))
            }
            Ok(facts) => {
                format!(
                    "the present certificate was not touched and is good until {}",
                    minute(facts.not_after)
                )
            }
            Err(_) => "the present certificate was not touched".to_owned(),
        }
    }

    async fn order(&self, order: &CertificateOrder, reporter: &dyn Reporter) -> Result<Issued, CaFailure> {
        let endpoint = endpoint(self.dir, &order.acme)?;
        let ca = self.adapters.ca();
        // What cannot be looked at beforehand is the CA's to find.
        let facts = ca.meet(&endpoint).await.unwrap_or_default();
        if let Err(failure) = self.preflight(order, &facts, reporter).await {
            reporter.report(Event::Warning { text: format!("the names were not looked at: {failure}") });
        }
        let solver = Solver { clerk: self, order, reporter };
        let files = Files { dir: self.dir };
        let key = order.acme.key;
        let tools = Tools { vault: &files, solver: &solver, new_key: &|| new_key(key), reporter };
        let issued = ca.obtain(&self.wanted(order, endpoint)?, tools).await?;
        let chain_pem = in_order(&issued.chain_pem).unwrap_or(issued.chain_pem);
        let issued = acme::Issued { chain_pem, ..issued };
        if let Err(failure) = self.check(order, &issued) {
            // It would come again with the same order, unless this machine's clock is behind and is
            // put right.
            if !self.begins_later(&issued) {
                files.end_order()?;
            }
            return Err(failure.into());
        }
        Ok(Issued { chain_pem: issued.chain_pem, key_pem: issued.key_pem })
    }

    fn begins_later(&self, issued: &acme::Issued) -> bool {
        inspect(&issued.chain_pem).is_ok_and(|facts| facts.not_before > self.adapters.clock().now())
    }

    fn wanted(&self, order: &CertificateOrder, endpoint: Endpoint) -> Result<acme::Order> {
        let acme = &order.acme;
        let replaced = order.replaces.as_ref().map(|id| {
            files::read_text_optional(&self.dir.root().join(dirs::TLS).join(id).join("fullchain.pem"))
        });
        Ok(acme::Order {
            endpoint,
            names: order.names.iter().map(ToString::to_string).collect(),
            email: acme.email.as_ref().map(ToString::to_string),
            agreed: acme.agreed,
            challenge: acme.challenge.kind(),
            profile: acme.profile.as_ref().map(|profile| profile.as_str().to_owned()),
            eab: external_account(self.dir, acme)?,
            key_type: acme.key.word().to_owned(),
            replaces: replaced.transpose()?.flatten(),
            fresh: order.fresh,
        })
    }

    /// A pair that could not serve is not let in.
    fn check(&self, order: &CertificateOrder, issued: &acme::Issued) -> Result<()> {
        check_pair(&issued.chain_pem, &issued.key_pem)?;
        let faults = problems(&inspect(&issued.chain_pem)?, &order.serves, self.adapters.clock().now());
        if faults.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!("what the CA sent does not fit this site: {}", faults.join("; "))))
    }

    fn dns(&self, acme: &Acme) -> Result<A::Dns> {
        let servers: Vec<SocketAddr> = acme.resolvers.iter().map(|resolver| resolver.0).collect();
        self.adapters.dns(&servers)
    }

    /// Tells what will probably make the CA refuse. It is only told: a router or a CDN in between
    /// can look like a fault from here.
    async fn preflight(
        &self,
        order: &CertificateOrder,
        ca: &DirectoryFacts,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        let dns = self.dns(&order.acme)?;
        let token = Token::put(self.dir, &identifier(self.adapters.random()))?;
        let names = join_all(order.names.iter().map(|name| self.ask(name, order, &dns, &token))).await;
        let facts = Facts {
            names: names.into_iter().flatten().collect(),
            own: self.adapters.machine().addresses.clone(),
            listen: self.site.listen.clone(),
            challenge: order.acme.challenge.kind(),
            ca: CaFacts {
                identities: ca.caa_identities.clone(),
                account: account(self.dir, &order.acme),
                date: ca.date,
            },
            now: self.adapters.clock().now(),
        };
        for finding in findings(&facts) {
            reporter.report(Event::Warning { text: format!("{}; {}", finding.text, finding.hint) });
        }
        Ok(())
    }

    async fn ask(
        &self,
        name: &CertificateName,
        order: &CertificateOrder,
        dns: &A::Dns,
        token: &Token,
    ) -> Option<NameFacts> {
        let host: Fqdn = name.host().parse().ok()?;
        let (addresses, caa) = join(dns.addresses(&host), dns.caa(&host)).await;
        let port_80 = match (&addresses, order.acme.challenge.kind()) {
            (Ok(addresses), ChallengeKind::Http01) => {
                let questions = addresses.iter().map(|address| self.port_80(*address, &host, token));
                join_all(questions).await.into_iter().max_by_key(|answer| *answer == Port80::Reached)
            }
            _ => None,
        };
        Some(NameFacts { name: host, wildcard: name.is_wildcard(), addresses, caa, port_80 })
    }

    async fn port_80(&self, address: IpAddr, host: &Fqdn, token: &Token) -> Port80 {
        let request = Get {
            connect: SocketAddr::new(address, 80),
            tls: None,
            host: host.to_string(),
            path: format!("/.well-known/acme-challenge/{}", token.name),
            headers: Vec::new(),
            deadline: QUESTION,
        };
        match self.adapters.probe().get(&request).await {
            Ok(answer) if answer.body == token.name.as_bytes() => Port80::Reached,
            Ok(answer) => Port80::Other { status: answer.status },
            Err(error) => Port80::NoConnection(error.to_string()),
        }
    }
}

/// What a CA's word to wait holds for.
#[must_use]
pub fn order_key(acme: &Acme, names: &[CertificateName]) -> String {
    let account = acme.external_account.as_ref().map_or("", |account| account.as_str());
    let profile = acme.profile.as_ref().map_or("", |profile| profile.as_str());
    let names: Vec<&str> = names.iter().map(CertificateName::as_str).collect();
    text_fingerprint(&format!("{} {account} {profile} {}", acme.directory, names.join(" ")))
}

/// The URL of our account with the CA, once there is one.
#[must_use]
pub fn account(dir: &SiteDir, acme: &Acme) -> Option<String> {
    account_url(&Files { dir }.load_account(acme.directory.as_str()).ok()??)
}

/// Refuses a plan that orders a certificate and lacks what that takes: files of the owner's, and his
/// agreement to the CA's terms. Nothing has been changed then. Where nothing is ordered, the CA need
/// not answer.
pub async fn ready<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded, plan: &Plan) -> Result<()> {
    let order = plan.steps.iter().find_map(|step| match &step.action {
        Action::OrderCertificate(order) => Some(order),
        _ => None,
    });
    let Some(CertificateOrder { acme, .. }) = order.map(AsRef::as_ref) else { return Ok(()) };
    if let site::acme::Challenge::Dns01 { hook } = &acme.challenge {
        context.adapters.hooks().check(&loaded.dir.root().join(hook))?;
    }
    external_account(&loaded.dir, acme)?;
    let endpoint = endpoint(&loaded.dir, acme)?;
    if acme.agreed {
        return Ok(());
    }
    let facts = context.adapters.ca().meet(&endpoint).await?;
    let Some(terms) = facts.terms_of_service else { return Ok(()) };
    Err(Failure::usage(format!("the CA {} wants its terms agreed to: {terms}", acme.directory.host()))
        .hint("read them, and write `agree_tos: true` under `tls.acme` in autoodoo.yaml"))
}

fn external_account(dir: &SiteDir, acme: &Acme) -> Result<Option<Eab>> {
    let Some(kid) = &acme.external_account else { return Ok(None) };
    let file = dir.eab_key();
    let text = files::read_text_optional(&file)?.ok_or_else(|| {
        Failure::usage(format!("the CA's HMAC key for the account `{}` is not there", kid.as_str()))
            .hint(format!("write it into {} and give that mode 0600", file.display()))
    })?;
    Ok(Some(Eab { kid: kid.as_str().to_owned(), hmac_key: Secret::new(text.trim().to_owned()) }))
}

pub fn endpoint(dir: &SiteDir, acme: &Acme) -> Result<Endpoint> {
    let roots_pem = acme.root.as_ref().map(|path| files::read_text(&dir.root().join(path))).transpose()?;
    Ok(Endpoint { directory: acme.directory.to_string(), roots_pem })
}

/// A file where a CA would look for an answer; gone again at the end.
struct Token {
    name: String,
    path: PathBuf,
}

impl Token {
    fn put(dir: &SiteDir, name: &str) -> Result<Token> {
        let path = answer_file(dir, name)?;
        files::write_atomic(&path, name.as_bytes(), 0o644)?;
        Ok(Token { name: name.to_owned(), path })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // What stays is a file with a random name and nothing in it that anybody could use.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where nginx finds the answer. A token is what RFC 8555, section 8.1, allows and nothing else: it
/// comes from outside and becomes the name of a file.
fn answer_file(dir: &SiteDir, token: &str) -> Result<PathBuf> {
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if token.is_empty() || token.len() > 200 || !token.chars().all(is_base64url) {
        return Err(Failure::failed("the CA sent a token that cannot be the name of a file"));
    }
    let directory = dir.root().join(dirs::CHALLENGE);
    files::ensure_dir(&directory, 0o755)?;
    Ok(directory.join(token))
}

/// Puts answers where the CA looks for them.
struct Solver<'a, A> {
    clerk: &'a Clerk<'a, A>,
    order: &'a CertificateOrder,
    reporter: &'a dyn Reporter,
}

impl<A: Adapters> acme::Solver for Solver<'_, A> {
    async fn present(&self, challenges: &[Challenge]) -> Result<()> {
        for challenge in challenges {
            self.change(challenge, Change::Present).await?;
        }
        for challenge in challenges {
            if let Challenge::Dns01 { record, value, .. } = challenge {
                let reason = format!("every name server of {record} answers with the new record");
                let seconds_at_most = PROPAGATION.as_secs();
                self.reporter.report(Event::Waiting { reason, seconds_at_most });
                let dns = self.clerk.dns(&self.order.acme)?;
                if let Some(text) = dns.txt_everywhere(record, value, PROPAGATION).await? {
                    self.reporter.report(Event::Warning { text });
                }
            }
        }
        Ok(())
    }

    async fn withdraw(&self, challenges: &[Challenge]) -> Result<()> {
        // One that cannot be taken away must not keep the others.
        let mut outcome = Ok(());
        for challenge in challenges {
            outcome = outcome.and(self.change(challenge, Change::Cleanup).await);
        }
        outcome
    }
}

impl<A: Adapters> Solver<'_, A> {
    async fn change(&self, challenge: &Challenge, change: Change) -> Result<()> {
        match (challenge, change) {
            (Challenge::Http01 { token, content, .. }, Change::Present) => {
                files::write_atomic(&answer_file(self.clerk.dir, token)?, content.as_bytes(), 0o644)
            }
            (Challenge::Http01 { token, .. }, Change::Cleanup) => {
                files::remove(&answer_file(self.clerk.dir, token)?)
            }
            (Challenge::Dns01 { record, value, .. }, change) => self.run_hook(change, record, value).await,
        }
    }

    async fn run_hook(&self, change: Change, record: &str, value: &str) -> Result<()> {
        let site::acme::Challenge::Dns01 { hook } = &self.order.acme.challenge else {
            let text = format!(
                "an earlier order left the TXT record {record} = {value} in the DNS, and no `dns_hook` takes it away"
            );
            self.reporter.report(Event::Warning { text });
            return Ok(());
        };
        let call = HookCall {
            program: self.clerk.dir.root().join(hook),
            site_dir: self.clerk.dir.root().to_owned(),
            change,
            name: record.to_owned(),
            value: value.to_owned(),
            deadline: HOOK,
        };
        self.clerk.adapters.hooks().run(&call).await
    }
}

/// Keys and the order under way, in `secrets/acme`.
struct Files<'a> {
    dir: &'a SiteDir,
}

impl Files<'_> {
    fn account(&self, directory: &str) -> PathBuf {
        self.dir.acme_dir().join(format!("account-{}.json", text_fingerprint(directory)))
    }

    fn pending(&self) -> PathBuf {
        self.dir.acme_dir().join("order.json")
    }

    fn load(path: &Path) -> Result<Option<Secret>> {
        Ok(files::read_text_optional(path)?.map(Secret::new))
    }

    fn save(&self, path: &Path, text: &Secret) -> Result<()> {
        files::ensure_dir(&self.dir.acme_dir(), 0o700)?;
        files::write_atomic(path, text.expose().as_bytes(), 0o600)
    }
}

impl Files<'_> {
    /// Keeps of the order what is still to be taken away somewhere, and forgets the rest.
    fn end_order(&self) -> Result<()> {
        let left = self.load_order()?.map(|order| after_storing(&order)).transpose()?.flatten();
        match left {
            Some(left) => self.save_order(&left),
            None => self.forget_order(),
        }
    }
}

impl Vault for Files<'_> {
    fn load_account(&self, directory: &str) -> Result<Option<Secret>> {
        Files::load(&self.account(directory))
    }

    fn save_account(&self, directory: &str, account: &Secret) -> Result<()> {
        self.save(&self.account(directory), account)
    }

    fn load_order(&self) -> Result<Option<Secret>> {
        Files::load(&self.pending())
    }

    fn save_order(&self, order: &Secret) -> Result<()> {
        self.save(&self.pending(), order)
    }

    fn forget_order(&self) -> Result<()> {
        files::remove(&self.pending())
    }
}
