//! The part of the plan that keeps the certificate.

use std::net::SocketAddr;

use super::{Planner, Situation, choose};
use crate::failure::{Failure, Result};
use crate::name::Port;
use crate::observed::{Container, Labelled, Observed, RunState};
use crate::plan::certificate::{
    self, Next, Served, back_to, back_to_current, https_address, obtain, reachable, switch,
};
use crate::plan::{Action, Plan, guard};
use crate::render::nginx_conf::nginx_conf;
use crate::site::Tls;
use crate::stack;
use crate::stack::spec::Role;

/// The plan of `cert`: another certificate, and nothing else of the site moves. What runs decides,
/// and not the site file, which may have been edited since.
pub fn certificate_only(situation: &Situation<'_>) -> Result<Plan> {
    let (inputs, facts) = (&situation.inputs, &situation.local.certificate);
    guard::nothing_foreign(inputs.site, inputs.owner, situation.observed)?;
    let mut plan = Plan::default();
    if facts.next.is_some() {
        let (nginx, text) = running_nginx(situation)?;
        let address = published(situation.observed).unwrap_or_else(|| https_address(inputs.site));
        let served = Served { address, names: &facts.names, nginx, text };
        plan = certificate::replace(inputs.site, &served, facts);
    }
    plan.remarks.extend(facts.waits.clone());
    Ok(plan)
}

/// The one nginx that serves, and its configuration.
fn running_nginx<'a>(situation: &Situation<'a>) -> Result<(&'a str, &'a str)> {
    let observed: &'a Observed = situation.observed;
    let runs = |found: &&Container| found.role() == Some(Role::Nginx) && found.state == RunState::Running;
    let mut running = observed.containers.iter().filter(runs).map(|found| found.name.as_str());
    match (running.next(), running.next(), situation.local.nginx_live.as_deref()) {
        (Some(nginx), None, Some(text)) => Ok((nginx, text)),
        (Some(_), Some(_), _) => {
            Err(Failure::failed("the last `autoodoo up` was cut off while it replaced nginx")
                .hint("`autoodoo up` finishes that; then the certificate can follow"))
        }
        _ => Err(Failure::failed("the site is down, so nothing could serve another certificate")
            .hint("`autoodoo up` starts it and gets the certificate that it needs")),
    }
}

/// Where the site is published for https now.
fn published(observed: &Observed) -> Option<SocketAddr> {
    let front = observed.containers.iter().find(|found| found.role() == Some(Role::Front))?;
    let https = front.ports.iter().find(|port| port.container_port == Port::HTTPS)?;
    Some(SocketAddr::new(reachable(https.host), https.host_port.get()))
}

impl Planner<'_> {
    /// Stores the pair with which nginx will serve first.
    pub(super) fn certificate(&mut self) {
        let facts = &self.situation.local.certificate;
        if !matches!(self.site().tls, Tls::Acme(_)) {
            if let Some((action, cause)) = obtain(self.site(), facts) {
                self.plan.push(action, cause);
            }
        } else if self.first_certificate() == facts.placeholder {
            let id = facts.placeholder.clone();
            let issue = Action::IssueCertificate { id, names: facts.names.clone() };
            self.plan.push(issue, "it serves until the CA has certified the names");
        }
    }

    /// Asks for a pair that nginx did not serve before. `reloaded` is the nginx that served another
    /// until now, and can go back to it.
    pub(super) fn shown_certificate(&mut self, reloaded: Option<&str>) {
        let id = self.first_certificate().to_owned();
        if self.situation.state.certificate.as_deref() == Some(&id) {
            return;
        }
        let undo = match (reloaded, self.situation.local.nginx_live.as_deref()) {
            (Some(nginx), Some(text)) if *text == self.nginx_text => {
                back_to_current(&self.served(nginx, text), &self.situation.local.certificate)
            }
            (Some(nginx), Some(text)) => {
                let mut undo = back_to(&self.served(nginx, text));
                undo.extend(self.without_new_odoos());
                undo
            }
            _ => Vec::new(),
        };
        let (address, names) = (https_address(self.site()), &self.situation.local.certificate.names);
        certificate::verify(&mut self.plan, address, names, &id, undo);
        self.plan.push(Action::UseCertificate { id }, "it is the one that is served");
    }

    fn first_certificate(&self) -> &str {
        &self.stack.nginx_conf.certificate
    }

    fn served<'s>(&'s self, nginx: &'s str, text: &'s str) -> Served<'s> {
        let names = &self.situation.local.certificate.names;
        Served { address: https_address(self.site()), names, nginx, text }
    }

    /// Last of all, since the CA may take its time or refuse: the site serves already.
    pub(super) fn ordered_certificate(&mut self) -> Result<()> {
        let facts = &self.situation.local.certificate;
        self.plan.remarks.extend(facts.waits.clone());
        let first = self.first_certificate().to_owned();
        let next = facts.next.as_ref().filter(|next| next.id != first);
        if let (Tls::Acme(_), Some(next)) = (&self.site().tls, next) {
            if let Some((action, cause)) = obtain(self.site(), facts) {
                self.plan.push(action, cause);
            }
            let text = self.text_with(next)?;
            let mut plan = std::mem::take(&mut self.plan);
            let nginx = self.stack.nginx.name.clone();
            switch(&mut plan, &self.served(&nginx, &self.nginx_text), text, next);
            self.plan = plan;
        }
        if !self.plan.is_empty() {
            certificate::sweep(&mut self.plan, facts, Some(&first));
        }
        Ok(())
    }

    /// nginx.conf as it is once the ordered pair serves.
    fn text_with(&self, next: &Next) -> Result<String> {
        let mut choice = choose(self.situation)?;
        choice.certificate.clone_from(&next.id);
        choice.certificate_trusted = self.situation.local.certificate.trusted.contains(&next.id);
        Ok(nginx_conf(&stack::stack(&self.situation.inputs, &choice).nginx_conf))
    }
}
