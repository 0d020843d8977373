//! The certificate: from one that serves to another that serves, or back.
//!
//! Whatever its origin, a pair is stored beside the present one, tested by nginx, put in place by a
//! reload and then asked for at every published address. One that is not served is taken back.

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
use crate::stack::spec::ContainerSpec;

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
    /// Why a needed one cannot be ordered yet.
    pub waits: Option<String>,
    /// Browsers believe the one that will serve without being told to.
    pub trusted: bool,
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
    /// The pair with which the site serves until the plan comes to ordering one.
    #[must_use]
    pub fn first(&self, tls: &Tls) -> &str {
        match (tls, &self.current, &self.next) {
            (Tls::Acme(_), Some(current), _) | (_, Some(current), None) => current,
            (Tls::Acme(_), None, _) | (_, None, None) => &self.placeholder,
            (_, _, Some(next)) => &next.id,
        }
    }

    /// Browsers believe [`Self::first`]: one that the CA certified, and no placeholder.
    #[must_use]
    pub fn first_is_trusted(&self, tls: &Tls) -> bool {
        self.trusted && (!matches!(tls, Tls::Acme(_)) || !is_local(self.first(tls)))
    }
}

/// One of the site's own CA.
#[must_use]
pub fn is_local(id: &str) -> bool {
    id.starts_with("local-")
}

/// What is ordered from a CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateOrder {
    pub id: String,
    pub acme: Acme,
    pub names: Vec<CertificateName>,
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
        Tls::SelfSigned => Action::IssueCertificate { id, names: site.names().cloned().collect() },
        Tls::Files { certificate, key } => {
            Action::InstallCertificate { id, certificate: certificate.clone(), key: key.clone() }
        }
        Tls::Acme(acme) => Action::OrderCertificate(Box::new(CertificateOrder {
            id,
            acme: Acme::clone(acme),
            names: site.certificate_names(),
            replaces: facts.current.clone().filter(|current| !is_local(current)),
            http: SocketAddr::new(reachable(site.listen.address), site.listen.http.get()),
        })),
    };
    Some((action, next.why.clone()))
}

/// Where nginx is, and what it has.
pub struct Served<'a> {
    pub site: &'a Site,
    /// The running container.
    pub nginx: String,
    /// The text of nginx.conf in place.
    pub text: &'a str,
    /// The container in which nginx.conf is tested.
    pub helper: ContainerSpec,
}

/// The same nginx.conf with another pair: tested, put in place, and asked for.
pub(super) fn switch(plan: &mut Plan, served: &Served<'_>, text: String, next: &Next) {
    let fingerprint = text_fingerprint(&text);
    let cause = "the certificate changes";
    plan.push(candidate(text), cause);
    plan.push(
        Action::TestNginxConf { helper: Box::new(served.helper.clone()) },
        "a wrong one must not reach the proxy",
    );
    plan.push(Action::PublishNginxConf { fingerprint: fingerprint.clone() }, "it passed its test");
    let reload = Action::ReloadNginx { container: served.nginx.clone(), fingerprint };
    plan.push_guarded(reload, cause, back_to(served));
    verify(plan, served.site, &next.id, back_to(served));
    plan.push(Action::UseCertificate { id: next.id.clone() }, "it is the one that is served");
}

/// The replacement of the certificate alone: nothing else of the site moves, whatever its file says
/// by now.
#[must_use = "a plan does nothing until it is applied"]
pub fn replace(served: &Served<'_>, facts: &CertificateFacts) -> Plan {
    let mut plan = Plan::default();
    let Some(next) = &facts.next else { return plan };
    if let Some((action, cause)) = obtain(served.site, facts) {
        plan.push(action, cause);
    }
    if certificate_in(served.text) == Some(&next.id) {
        // An earlier run was cut off after it had put it in place.
        let fingerprint = text_fingerprint(served.text);
        let reload = Action::ReloadNginx { container: served.nginx.clone(), fingerprint };
        plan.push(reload, "the certificate changed");
        verify(&mut plan, served.site, &next.id, Vec::new());
        plan.push(Action::UseCertificate { id: next.id.clone() }, "it is the one that is served");
    } else {
        switch(&mut plan, served, with_certificate(served.text, &next.id), next);
    }
    sweep(&mut plan, facts);
    plan
}

/// The one that was in use stays, for a look back.
pub(super) fn sweep(plan: &mut Plan, facts: &CertificateFacts) {
    let next = facts.next.iter().map(|next| next.id.clone());
    let keep = facts.current.iter().cloned().chain(next).collect();
    plan.push(Action::SweepCertificates { keep }, "older ones serve no longer");
}

pub(super) fn verify(plan: &mut Plan, site: &Site, id: &str, undo: Vec<Action>) {
    let action = Action::VerifyCertificate {
        address: SocketAddr::new(reachable(site.listen.address), site.listen.https.get()),
        names: site.names().cloned().collect::<Vec<Fqdn>>(),
        certificate: id.to_owned(),
        seconds: SHOWN,
    };
    plan.push_guarded(action, "success is what a browser is shown", undo);
}

/// What brings the present nginx.conf back.
pub(super) fn back_to(served: &Served<'_>) -> Vec<Action> {
    let fingerprint = text_fingerprint(served.text);
    vec![
        candidate(served.text.to_owned()),
        Action::PublishNginxConf { fingerprint: fingerprint.clone() },
        Action::ReloadNginx { container: served.nginx.clone(), fingerprint },
    ]
}

fn candidate(text: String) -> Action {
    Action::WriteFile { path: PathBuf::from(files::NGINX_CANDIDATE), content: Hidden(text) }
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
