//! How a site stands with its certificate: what `cert renew`, `cert show` and `status` say of it.

use jiff::Timestamp;

use super::certificate::{Asker, Stored, minute};
use super::order::order_key;
use super::site::Loaded;
use crate::failure::Result;
use crate::plan::certificate::is_local;
use crate::plan::renewal::{Decision, Lifetime};
use crate::site::Tls;

#[derive(Debug)]
pub struct Standing {
    /// What a schedule would do now; `None` where no CA is asked.
    pub decision: Option<Decision>,
    /// Why the last attempt at the next certificate failed.
    pub failure: Option<String>,
    /// The CA has not asked for a pause, so that a person's attempt would be made at once.
    pub may_issue: bool,
    pub fault: Option<Fault>,
}

/// What somebody has to see to, the worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Browsers show an error in place of the site.
    Ended { at: Timestamp },
    /// The site waits for its first certificate from this CA with one of its own.
    Placeholder { ca: String },
    /// Attempts at the next one failed, and less than a third of its time is left.
    Overdue { why: String },
}

impl Loaded {
    pub fn standing(&self, stored: &Stored, now: Timestamp) -> Result<Standing> {
        let (decision, failure, may_issue) = self.scheduled(stored, now)?;
        let fault = if stored.facts.not_after <= now {
            Some(Fault::Ended { at: stored.facts.not_after })
        } else {
            match (&self.site.tls, &decision) {
                (Tls::Acme(acme), _) if is_local(&stored.id) => {
                    Some(Fault::Placeholder { ca: acme.directory.host().to_owned() })
                }
                (_, Some(Decision::Wait { why, due: true, .. })) if is_late(stored.lifetime(), now) => {
                    Some(Fault::Overdue { why: why.clone() })
                }
                _ => None,
            }
        };
        Ok(Standing { decision, failure, may_issue, fault })
    }

    /// What a schedule does, with the cause of the last failure where it waits for that; that cause;
    /// whether a person need not wait.
    fn scheduled(&self, stored: &Stored, now: Timestamp) -> Result<(Option<Decision>, Option<String>, bool)> {
        let Tls::Acme(acme) = &self.site.tls else { return Ok((None, None, true)) };
        let mut decision = self.renewal(Some(stored), acme, Asker::Schedule, now)?;
        let may_issue =
            matches!(self.renewal(Some(stored), acme, Asker::Issue, now)?, Decision::Renew { .. });
        let key = order_key(acme, &self.certificate_names()?);
        let failure = self.dir.renewal().failure(&key).map(str::to_owned);
        if let (Decision::Wait { why, due: true, .. }, Some(failure)) = (&mut decision, &failure) {
            *why = format!("{why}: {failure}");
        }
        Ok((Some(decision), failure, may_issue))
    }
}

impl Fault {
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Fault::Ended { at } => format!("the certificate ended on {}", minute(*at)),
            Fault::Placeholder { ca } => format!(
                "browsers do not trust the certificate: it is the site's own, until {ca} has certified the names"
            ),
            Fault::Overdue { why } => format!("the certificate should have been renewed by now: {why}"),
        }
    }
}

fn is_late(lifetime: Lifetime, now: Timestamp) -> bool {
    let whole = lifetime.not_after.duration_since(lifetime.not_before);
    lifetime.not_after.duration_since(now) < whole / 3
}
