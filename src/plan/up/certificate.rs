//! The part of the plan that keeps the certificate.

use super::{Planner, Situation, choose, guards};
use crate::failure::{Failure, Result};
use crate::plan::certificate::{self, Next, Served, back_to, obtain, switch};
use crate::plan::{Action, Plan};
use crate::render::nginx_conf::nginx_conf;
use crate::site::Tls;
use crate::stack;
use crate::stack::spec::Role;

/// The plan of `cert`: another certificate, and nothing else of the site moves.
pub fn certificate_only(situation: &Situation<'_>) -> Result<Plan> {
    guards(situation)?;
    let planner = Planner::new(situation)?;
    let facts = &situation.local.certificate;
    let mut plan = Plan::default();
    plan.remarks.extend(facts.waits.clone());
    if facts.next.is_none() {
        return Ok(plan);
    }
    let nginx = planner.running(Role::Nginx).next().map(|found| found.name.clone());
    let (Some(nginx), Some(text)) = (nginx, situation.local.nginx_live.as_deref()) else {
        return Err(Failure::failed("the site is down, so nothing could serve another certificate")
            .hint("`autoodoo up` starts it and gets the certificate that it needs"));
    };
    let remarks = std::mem::take(&mut plan.remarks);
    plan = certificate::replace(&planner.served(nginx, text), facts);
    plan.remarks = remarks;
    Ok(plan)
}

impl Planner<'_> {
    /// Stores the pair with which nginx will serve first.
    pub(super) fn certificate(&mut self) {
        let facts = &self.situation.local.certificate;
        if !matches!(self.site().tls, Tls::Acme(_)) {
            if let Some((action, cause)) = obtain(self.site(), facts) {
                self.plan.push(action, cause);
            }
        } else if facts.first(&self.site().tls) == facts.placeholder {
            let id = facts.placeholder.clone();
            let issue = Action::IssueCertificate { id, names: self.site().names().cloned().collect() };
            self.plan.push(issue, "it serves until the CA has certified the names");
        }
    }

    /// Asks for a pair that nginx did not serve before. `reloaded` is the nginx that served another
    /// until now, and can go back to it.
    pub(super) fn shown_certificate(&mut self, reloaded: Option<String>) {
        let id = self.stack.nginx_conf.certificate.clone();
        if self.situation.state.certificate.as_deref() == Some(&id) {
            return;
        }
        let text = self.situation.local.nginx_live.as_deref().filter(|text| *text != self.nginx_text);
        let undo = match (reloaded, text) {
            (Some(nginx), Some(text)) => {
                let mut undo = back_to(&self.served(nginx, text));
                undo.extend(self.without_new_odoos());
                undo
            }
            _ => Vec::new(),
        };
        certificate::verify(&mut self.plan, self.situation.inputs.site, &id, undo);
        self.plan.push(Action::UseCertificate { id }, "it is the one that is served");
    }

    fn served<'s>(&'s self, nginx: String, text: &'s str) -> Served<'s> {
        let helper = self.with_pinned_image(&self.stack.nginx_test);
        Served { site: self.situation.inputs.site, nginx, text, helper }
    }

    /// Last of all, since the CA may take its time or refuse: the site serves already.
    pub(super) fn ordered_certificate(&mut self) -> Result<()> {
        let facts = &self.situation.local.certificate;
        self.plan.remarks.extend(facts.waits.clone());
        let later = facts.next.as_ref().filter(|next| next.id != facts.first(&self.site().tls));
        if let (Tls::Acme(_), Some(next)) = (&self.site().tls, later) {
            if let Some((action, cause)) = obtain(self.site(), facts) {
                self.plan.push(action, cause);
            }
            let text = self.text_with(next)?;
            let mut plan = std::mem::take(&mut self.plan);
            let nginx = self.stack.nginx.name.clone();
            switch(&mut plan, &self.served(nginx, &self.nginx_text), text, next);
            self.plan = plan;
        }
        if !self.plan.is_empty() {
            certificate::sweep(&mut self.plan, facts);
        }
        Ok(())
    }

    /// nginx.conf as it is once the ordered pair serves.
    fn text_with(&self, next: &Next) -> Result<String> {
        let mut choice = choose(self.situation)?;
        choice.certificate.clone_from(&next.id);
        choice.certificate_trusted = self.situation.local.certificate.trusted;
        Ok(nginx_conf(&stack::stack(&self.situation.inputs, &choice).nginx_conf))
    }
}
