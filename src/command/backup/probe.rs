//! `backup probe`: whether an intruder on this server could destroy what a target holds.

use std::fmt;

use serde::Serialize;

use super::access;
use super::opened::{blocking, chosen};
use crate::cli::ProbeArgs;
use crate::command::site::{Loaded, load};
use crate::command::{Adapters, Context};
use crate::failure::{Failure, Kind, Result};
use crate::repository::store::sftp::{Finding, SftpStore, prove_append_only};
use crate::site::backup::{Place, Target};

/// How safe a target is from this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
enum Verdict {
    /// Everything that could do harm was tried and refused.
    Proven { tried: Vec<&'static str> },
    /// Some of it was possible.
    Open { possible: Vec<&'static str> },
    /// It lies on this server.
    Here,
    /// The place has its own ways of keeping files, which nobody can try without doing harm.
    Unknown,
    /// It could not be tried.
    Failed { why: String },
}

#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    target: String,
    place: String,
    result: Verdict,
}

pub async fn cmd_probe<A: Adapters>(context: &Context<'_, A>, args: &ProbeArgs) -> Result<()> {
    let loaded = load(context)?;
    let names: Vec<String> = args.target.iter().cloned().collect();
    let mut verdicts = Vec::new();
    for target in chosen(&loaded, &names)? {
        let verdict = match probe(&loaded, &target).await {
            Ok(verdict) => verdict,
            Err(failure) => Verdict::Failed { why: failure.to_string() },
        };
        verdicts.push((target.name.to_string(), verdict.clone()));
        let (target, place) = (target.name.to_string(), target.place.to_string());
        context.ui.result(&Report { event: "probed", target, place, result: verdict })?;
    }
    judge(&verdicts)
}

async fn probe(loaded: &Loaded, target: &Target) -> Result<Verdict> {
    if let Place::Local { .. } = target.place {
        return Ok(Verdict::Here);
    }
    let access = access::access(&loaded.dir.backup_secrets(), target)?;
    let Some(store) = SftpStore::at(&target.place, &access) else { return Ok(Verdict::Unknown) };
    blocking(move || Ok(weigh(&prove_append_only(&store)?))).await
}

fn weigh(findings: &[Finding]) -> Verdict {
    let grave = || findings.iter().filter(|finding| finding.grave);
    let possible: Vec<&str> =
        grave().filter(|finding| !finding.refused).map(|finding| finding.attempt).collect();
    if possible.is_empty() {
        Verdict::Proven { tried: grave().map(|finding| finding.attempt).collect() }
    } else {
        Verdict::Open { possible }
    }
}

/// A backup on this server is no fault beside one that is out of its reach.
fn judge(verdicts: &[(String, Verdict)]) -> Result<()> {
    let named = |wanted: fn(&Verdict) -> bool| {
        let names = verdicts.iter().filter(|(_, verdict)| wanted(verdict)).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let failed = named(|verdict| matches!(verdict, Verdict::Failed { .. }));
    let open = named(|verdict| matches!(verdict, Verdict::Open { .. }));
    let is_proven = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Proven { .. }));
    if !open.is_empty() {
        return Err(Failure::new(
            Kind::Verification,
            format!("this server can harm what target {open} holds"),
        )
        .hint("`scripts/backup-server` prepares an account there that can only add files")
        .hint("what was added stays; backups are pruned by a job of that server"));
    }
    if !failed.is_empty() {
        return Err(Failure::failed(format!("target {failed} could not be tried; nothing is proven")));
    }
    if is_proven {
        return Ok(());
    }
    Err(Failure::new(Kind::Verification, "no target is proven to be out of this server's reach")
        .hint("have one behind ssh with an account that can only add files: `scripts/backup-server`")
        .hint("of S3 with object lock, or of a REST server that only appends, its own console tells"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.target, self.place)?;
        match &self.result {
            Verdict::Proven { tried } => write!(f, "this server cannot {}", tried.join(", ")),
            Verdict::Open { possible } => write!(f, "THIS SERVER CAN {}", possible.join(", ")),
            Verdict::Here => write!(f, "it lies on this server, and goes with it"),
            Verdict::Unknown => write!(f, "nobody can try it from here without doing harm"),
            Verdict::Failed { why } => write!(f, "could not be tried: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(refused: bool, grave: bool) -> Finding {
        Finding { attempt: if grave { "remove a file" } else { "make a directory" }, refused, grave }
    }

    #[test]
    fn what_does_no_harm_proves_nothing() {
        assert_eq!(
            weigh(&[finding(true, true), finding(false, false)]),
            Verdict::Proven { tried: vec!["remove a file"] }
        );
        assert_eq!(weigh(&[finding(false, true)]), Verdict::Open { possible: vec!["remove a file"] });
    }

    #[test]
    fn one_target_out_of_reach_is_enough_and_one_in_reach_too_many() {
        let proven = || Verdict::Proven { tried: Vec::new() };
        let open = || Verdict::Open { possible: vec!["remove a file"] };
        let failed = || Verdict::Failed { why: "no route".to_owned() };
        for (verdicts, kind) in [
            (vec![proven(), Verdict::Here], None),
            (vec![proven(), Verdict::Unknown], None),
            (vec![proven(), open()], Some(Kind::Verification)),
            (vec![Verdict::Here], Some(Kind::Verification)),
            (vec![Verdict::Unknown], Some(Kind::Verification)),
            (vec![proven(), failed()], Some(Kind::Failed)),
            (vec![open(), failed()], Some(Kind::Verification)),
        ] {
            let named: Vec<_> = verdicts.into_iter().map(|verdict| ("x".to_owned(), verdict)).collect();
            assert_eq!(judge(&named).err().map(|failure| failure.kind), kind, "{named:?}");
        }
    }
}
