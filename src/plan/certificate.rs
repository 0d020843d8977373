//! The certificate: from one that serves to another that serves, or back.
//!
//! Whatever its origin, a pair is stored beside the present one, tested by nginx, put in place by a
//! reload and then asked for at every published address. One that is not served is taken back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use super::{Action, Hidden, Plan};
use crate::name::Fqdn;
use crate::render::nginx_conf::{certificate_in, with_certificate};
use crate::site::acme::{Acme, CertificateName};
use crate::site::{Site, Tls};
use crate::stack::files;
use crate::stack::fingerprint::text_fingerprint;

/// Seconds within which a reloaded nginx shows its certificate.
const SHOWN: u32 = 10;

/// The certificates that a site has, as far as planning cares. Each is named by its directory under
/// `secrets/tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The usable pair that serves, or did when the site was last up.
    pub current: Option<String>,
    /// The one that should serve in its place.
    pub next: Option<Next>,
    /// The local CA's, for a site that waits for its first certificate by ACME.
    pub placeholder: String,
    /// The names that it is to serve: those of the site file, or those that nginx answers to now.
    pub names: Vec<Fqdn>,
    /// What the next one is ordered for.
    pub ordered: Vec<CertificateName>,
    /// A person asks anew: see [`CertificateOrder::fresh`].
    pub fresh: bool,
    /// Why a needed one cannot be ordered yet.
    pub waits: Option<String>,
    /// Those among them that browsers believe without being told to.
    pub trusted: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next {
    pub id: String,
    /// Why it is wanted.
    pub why: String,
    /// An earlier run has stored it already.
    pub stored: bool,
}

impl CertificateFacts {
    /// The pair with which the site serves until the plan comes to ordering one. `live` is the one
    /// that nginx.conf names: an ordered one that an earlier run has put in place stays there.
    #[must_use]
    pub fn first(&self, tls: &Tls, live: Option<&str>) -> &str {
        let ordered = matches!(tls, Tls::Acme(_));
        match (&self.current, &self.next) {
            (current, Some(next)) if next.stored && (current.is_none() || live == Some(&next.id)) => &next.id,
            (_, Some(next)) if !ordered => &next.id,
            (Some(current), _) => current,
            (None, _) => &self.placeholder,
        }
    }
}

/// One of the site's own CA.
#[must_use]
pub fn is_local(id: &str) -> bool {
    id.starts_with("local-")
}

/// One that a CA certified by ACME.
#[must_use]
pub fn is_ordered(id: &str) -> bool {
    id.starts_with("acme-")
}

/// What is ordered from a CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateOrder {
    pub id: String,
    pub acme: Acme,
    pub names: Vec<CertificateName>,
    /// The site's names, all of which it must cover.
    pub serves: Vec<Fqdn>,
    /// An order under way that has come to nothing yet is not gone on with: a person asked anew.
    pub fresh: bool,
    /// The one that it renews.
    pub replaces: Option<String>,
    /// Where the CA's questions should arrive.
    pub http: SocketAddr,
}

/// How the next pair comes into its directory; `None` when it is there.
pub(super) fn obtain(site: &Site, facts: &CertificateFacts) -> Option<(Action, String)> {
    let next = facts.next.as_ref().filter(|next| !next.stored)?;
    let id = next.id.clone();
    let action = match &site.tls {
        Tls::SelfSigned => Action::IssueCertificate { id, names: facts.names.clone() },
        Tls::Files { certificate, key } => {
            Action::InstallCertificate { id, certificate: certificate.clone(), key: key.clone() }
        }
        Tls::Acme(acme) => Action::OrderCertificate(Box::new(CertificateOrder {
            id,
            acme: Acme::clone(acme),
            names: facts.ordered.clone(),
            serves: facts.names.clone(),
            fresh: facts.fresh,
            replaces: facts.current.clone().filter(|current| !is_local(current)),
            http: SocketAddr::new(reachable(site.listen.address), site.listen.http.get()),
        })),
    };
    Some((action, next.why.clone()))
}

/// Where nginx is, and what it has.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    /// Where the site is published.
    pub address: SocketAddr,
    /// The names that nginx answers to.
    pub names: &'a [Fqdn],
    /// The running container.
    pub nginx: &'a str,
    /// The text of nginx.conf in place.
    pub text: &'a str,
}

/// The same nginx.conf with another pair: tested, put in place, and asked for.
pub(super) fn switch(plan: &mut Plan, served: &Served<'_>, text: String, next: &Next) {
    let fingerprint = text_fingerprint(&text);
    let cause = "the certificate changes";
    plan.push(candidate(text), cause);
    let try_out = Action::TestInNginx { container: served.nginx.to_owned() };
    plan.push(try_out, "a wrong one must not reach the proxy");
    plan.push(Action::PublishNginxConf { fingerprint: fingerprint.clone() }, "it passed its test");
    let reload = Action::ReloadNginx { container: served.nginx.to_owned(), fingerprint };
    plan.push_guarded(reload, cause, back_to(served));
    verify(plan, served.address, served.names, &next.id, back_to(served));
    plan.push(Action::UseCertificate { id: next.id.clone() }, "it is the one that is served");
}

/// The replacement of the certificate alone: nothing else of the site moves, whatever its file says
/// by now.
#[must_use = "a plan does nothing until it is applied"]
pub fn replace(site: &Site, served: &Served<'_>, facts: &CertificateFacts) -> Plan {
    let mut plan = Plan::default();
    let Some(next) = &facts.next else { return plan };
    if let Some((action, cause)) = obtain(site, facts) {
        plan.push(action, cause);
    }
    if certificate_in(served.text) == Some(&next.id) {
        // An earlier run was cut off after it had put it in place.
        let fingerprint = text_fingerprint(served.text);
        let reload = Action::ReloadNginx { container: served.nginx.to_owned(), fingerprint };
        plan.push_guarded(reload, "the certificate changed", back_to_current(served, facts));
        verify(&mut plan, served.address, served.names, &next.id, back_to_current(served, facts));
        plan.push(Action::UseCertificate { id: next.id.clone() }, "it is the one that is served");
    } else {
        switch(&mut plan, served, with_certificate(served.text, &next.id), next);
    }
    sweep(&mut plan, facts, None);
    plan
}

/// The one that was in use stays, for a look back. `first` served before the next one.
pub(super) fn sweep(plan: &mut Plan, facts: &CertificateFacts, first: Option<&str>) {
    let next = facts.next.as_ref().map(|next| next.id.as_str());
    let kept: BTreeSet<&str> = facts.current.as_deref().into_iter().chain(next).chain(first).collect();
    let keep = kept.into_iter().map(str::to_owned).collect();
    plan.push(Action::SweepCertificates { keep }, "older ones serve no longer");
}

pub(super) fn verify(plan: &mut Plan, address: SocketAddr, names: &[Fqdn], id: &str, undo: Vec<Action>) {
    let action = Action::VerifyCertificate {
        address,
        names: names.to_vec(),
        certificate: id.to_owned(),
        seconds: SHOWN,
    };
    plan.push_guarded(action, "success is what a browser is shown", undo);
}

/// What brings back the pair that was in use, where nginx.conf names its successor already.
pub(super) fn back_to_current(served: &Served<'_>, facts: &CertificateFacts) -> Vec<Action> {
    let Some(current) = &facts.current else { return Vec::new() };
    let text = with_certificate(served.text, current);
    back_to(&Served { text: &text, ..*served })
}

/// What brings the present nginx.conf back.
pub(super) fn back_to(served: &Served<'_>) -> Vec<Action> {
    let fingerprint = text_fingerprint(served.text);
    vec![
        candidate(served.text.to_owned()),
        Action::PublishNginxConf { fingerprint: fingerprint.clone() },
        Action::ReloadNginx { container: served.nginx.to_owned(), fingerprint },
    ]
}

fn candidate(text: String) -> Action {
    Action::WriteFile { path: PathBuf::from(files::NGINX_CANDIDATE), content: Hidden(text) }
}

/// Where the site file publishes the site for https.
#[must_use]
pub fn https_address(site: &Site) -> SocketAddr {
    SocketAddr::new(reachable(site.listen.address), site.listen.https.get())
}

/// The address to ask when the site is published on `listen`.
#[must_use]
pub fn reachable(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}
