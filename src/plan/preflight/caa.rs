//! CAA records: which CAs may issue for a name (RFC 8659), for which account and by which challenge
//! (RFC 8657).

use super::{CaFacts, Finding, NameFacts, NoAnswer};
use crate::name::Fqdn;
use crate::site::acme::ChallengeKind;

/// One property of a CAA record set (RFC 8659, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// A CA that does not understand the tag must not issue.
    pub issuer_critical: bool,
    pub tag: String,
    pub value: String,
}

/// Tags of the registry of certification authority restriction properties that limit no CA or that
/// every CA understands.
const UNDERSTOOD: &[&str] =
    &["issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"];

/// Why one property does not let the CA issue. The later, the nearer it comes to letting it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    /// For nobody: `;`, or a value that cannot be read.
    Nobody,
    OtherCa(String),
    Method(String),
    Account(String),
}

/// The record that lets this CA, and this account alone, issue for the name and what lies below it.
#[must_use]
pub fn caa_advice(name: &Fqdn, identity: &str, account: Option<&str>) -> String {
    let account = account.map(|account| format!("; accounturi={account}")).unwrap_or_default();
    format!("{name}. CAA 0 issue \"{identity}{account}\"")
}

pub(super) fn finding(name: &NameFacts, challenge: ChallengeKind, ca: &CaFacts) -> Option<Finding> {
    match &name.caa {
        Ok(records) => forbidden(name, records, challenge, ca),
        Err(NoAnswer::ServerFailure(reason)) => Some(Finding::about(
            name,
            format!("the CAA records of {} cannot be read: {reason}", name.name),
            "a CA that cannot read them does not issue: look whether the zone's name servers answer \
             questions of type CAA",
        )),
        Err(NoAnswer::NoSuchName | NoAnswer::NoRecords) => None,
    }
}

fn forbidden(
    name: &NameFacts,
    records: &[CaaRecord],
    challenge: ChallengeKind,
    ca: &CaFacts,
) -> Option<Finding> {
    let unknown = |record: &&CaaRecord| {
        record.issuer_critical && !UNDERSTOOD.iter().any(|tag| record.tag.eq_ignore_ascii_case(tag))
    };
    if let Some(record) = records.iter().find(unknown) {
        return Some(Finding::about(
            name,
            format!("a CAA record of {} with the tag `{}` is marked critical", name.name, record.tag),
            "a CA that does not know the tag must not issue: correct the tag, or clear its critical flag",
        ));
    }
    // A CA that tells no identities cannot be told from another.
    let judge = |record: &CaaRecord| refusal(&record.value, challenge, ca);
    let refusals: Vec<_> = relevant(records, name.wildcard).map(judge).collect();
    if refusals.iter().any(Option::is_none) {
        return None;
    }
    refusals.into_iter().flatten().max().map(|refusal| explain(name, &refusal, challenge, ca))
}

/// For a wildcard `issuewild` counts where there is one, otherwise and for every other name `issue`
/// (RFC 8659, sections 4.2 and 4.3). None of them: no CA is kept out.
fn relevant(records: &[CaaRecord], wildcard: bool) -> impl Iterator<Item = &CaaRecord> {
    let has_wild = records.iter().any(|record| record.tag.eq_ignore_ascii_case("issuewild"));
    let tag = if wildcard && has_wild { "issuewild" } else { "issue" };
    records.iter().filter(move |record| record.tag.eq_ignore_ascii_case(tag))
}

/// `None`: the property lets the CA issue to this account by this challenge.
fn refusal(value: &str, challenge: ChallengeKind, ca: &CaFacts) -> Option<Refusal> {
    let Some((issuer, parameters)) = parse(value) else { return Some(Refusal::Nobody) };
    if issuer.is_empty() {
        return Some(Refusal::Nobody);
    }
    if ca.identities.is_empty() {
        return None;
    }
    if !ca.identities.iter().any(|identity| identity.eq_ignore_ascii_case(issuer)) {
        return Some(Refusal::OtherCa(issuer.to_owned()));
    }
    method_refusal(&parameters, challenge).or_else(|| account_refusal(&parameters, ca))
}

/// The issuer's domain and its parameters (RFC 8659, section 4.2); `None` when the value does not
/// follow the grammar: then it lets nobody issue.
fn parse(value: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (issuer, rest) = value.split_once(';').unwrap_or((value, ""));
    let issuer = issuer.trim_matches([' ', '\t']);
    let domain_ok = issuer.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    let parameters = rest.split(';').map(|one| one.trim_matches([' ', '\t'])).filter(|one| !one.is_empty());
    let parameters: Option<Vec<_>> = parameters
        .map(|one| one.split_once('=').map(|(tag, value)| (tag.trim_end(), value.trim_start())))
        .collect();
    domain_ok.then_some((issuer, parameters?))
}

fn all<'a>(parameters: &[(&'a str, &'a str)], tag: &str) -> Vec<&'a str> {
    let same = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(tag);
    parameters.iter().filter(same).map(|(_, value)| *value).collect()
}

/// RFC 8657, section 4: the methods that may be used, separated by commas.
fn method_refusal(parameters: &[(&str, &str)], challenge: ChallengeKind) -> Option<Refusal> {
    let lists = all(parameters, "validationmethods");
    let allows = |list: &&str| list.split(',').any(|method| method.trim() == challenge.word());
    match lists.as_slice() {
        [] => None,
        [list] if allows(list) => None,
        lists => Some(Refusal::Method(lists.join(" and "))),
    }
}

/// RFC 8657, section 3: the one account that may ask. Two such parameters let nobody ask.
fn account_refusal(parameters: &[(&str, &str)], ca: &CaFacts) -> Option<Refusal> {
    match all(parameters, "accounturi").as_slice() {
        [] => None,
        [uri] if ca.account.as_deref() == Some(uri) => None,
        uris => Some(Refusal::Account(uris.join(" and "))),
    }
}

fn explain(name: &NameFacts, refusal: &Refusal, challenge: ChallengeKind, ca: &CaFacts) -> Finding {
    let whose = &name.name;
    let advice = ca.identities.first().map(|identity| caa_advice(whose, identity, None));
    let allow = match advice {
        Some(advice) => format!("add a record that lets this CA issue, such as `{advice}`"),
        None => "add a record that lets this CA issue".to_owned(),
    };
    let (text, hint) = match refusal {
        Refusal::Nobody => (format!("the CAA records of {whose} let no CA issue certificates"), allow),
        Refusal::OtherCa(other) => {
            (format!("the CAA records of {whose} let only {other} issue certificates"), allow)
        }
        Refusal::Method(methods) => (
            format!(
                "the CAA record of {whose} does not let this CA use the challenge {}, only `{methods}`",
                challenge.word()
            ),
            "change `validationmethods` in the record, or the challenge in autoodoo.yaml".to_owned(),
        ),
        Refusal::Account(account) => (
            format!("the CAA record of {whose} lets only the account {account} ask this CA"),
            match &ca.account {
                Some(ours) => format!("put this site's account into the record: {ours}"),
                None => "this site has no account there yet: take `accounturi` out of the record, and put \
                         the new account in once there is one (`autoodoo cert show` tells it)"
                    .to_owned(),
            },
        ),
    };
    Finding::about(name, text, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://ca.example/acct/7";

    fn ca() -> CaFacts {
        CaFacts { identities: vec!["letsencrypt.org".to_owned()], account: Some(OURS.to_owned()), date: None }
    }

    fn record(line: &str) -> CaaRecord {
        let (tag, value) = line.split_once(' ').unwrap();
        let (issuer_critical, tag) = match tag.strip_prefix('!') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        CaaRecord { issuer_critical, tag: tag.to_owned(), value: value.to_owned() }
    }

    fn judge(records: &[&str], wildcard: bool, challenge: ChallengeKind, ca: &CaFacts) -> Option<Finding> {
        let name = NameFacts {
            name: "example.com".parse().unwrap(),
            wildcard,
            addresses: Ok(Vec::new()),
            caa: Ok(records.iter().map(|line| record(line)).collect()),
            port_80: None,
        };
        finding(&name, challenge, ca)
    }

    #[test]
    fn records_that_let_the_ca_issue() {
        let table: &[(&[&str], bool)] = &[
            (&[], false),
            (&[], true),
            (&["issue letsencrypt.org"], false),
            (&["issue letsencrypt.org"], true),
            (&["ISSUE LetsEncrypt.org"], false),
            (&["issue  letsencrypt.org ; "], false),
            (&["issue ca.example.net", "issue letsencrypt.org"], false),
            (&["issue ;", "issue letsencrypt.org"], false),
            (&["issue ;", "issuewild letsencrypt.org"], true),
            // Only wildcards are kept out.
            (&["issuewild ;"], false),
            // No property limits who issues.
            (&["iodef mailto:owner@example.com"], false),
            (&["!iodef mailto:owner@example.com"], false),
            (&["tbs unknown"], false),
            (&["issue letsencrypt.org; validationmethods=dns-01,http-01"], false),
            (&["issue letsencrypt.org; accounturi=https://ca.example/acct/7"], false),
            (&["issue letsencrypt.org; cansignhttpexchanges=yes"], false),
        ];
        for (records, wildcard) in table {
            assert_eq!(judge(records, *wildcard, ChallengeKind::Http01, &ca()), None, "{records:?}");
        }
    }

    #[test]
    fn records_that_keep_it_out() {
        let table: &[(&[&str], bool, &str)] = &[
            (&["issue ;"], false, "the CAA records of example.com let no CA issue certificates"),
            (&["issue "], false, "the CAA records of example.com let no CA issue certificates"),
            (&["issue %%%"], false, "the CAA records of example.com let no CA issue certificates"),
            (
                &["issue letsencrypt.org; novalue"],
                false,
                "the CAA records of example.com let no CA issue certificates",
            ),
            (
                &["issue ;", "issue ca.example.net"],
                false,
                "the CAA records of example.com let only ca.example.net issue certificates",
            ),
            (
                &["issue letsencrypt.org", "issuewild ;"],
                true,
                "the CAA records of example.com let no CA issue certificates",
            ),
            (
                &["issue letsencrypt.org; validationmethods=dns-01"],
                false,
                "the CAA record of example.com does not let this CA use the challenge http-01, only `dns-01`",
            ),
            (
                &["issue letsencrypt.org; accounturi=https://ca.example/acct/8"],
                false,
                "the CAA record of example.com lets only the account https://ca.example/acct/8 ask this CA",
            ),
            (
                &["!tbs unknown", "issue letsencrypt.org"],
                false,
                "a CAA record of example.com with the tag `tbs` is marked critical",
            ),
        ];
        for (records, wildcard, text) in table {
            let found = judge(records, *wildcard, ChallengeKind::Http01, &ca()).expect(text);
            assert_eq!(found.text, *text);
        }
    }

    #[test]
    fn the_hint_is_a_record_to_add() {
        let found = judge(&["issue ;"], false, ChallengeKind::Dns01, &ca()).unwrap();
        assert_eq!(
            found.hint,
            "add a record that lets this CA issue, such as `example.com. CAA 0 issue \"letsencrypt.org\"`"
        );
    }

    #[test]
    fn a_bound_account_is_told_before_the_first_order() {
        let new = CaFacts { account: None, ..ca() };
        let records = ["issue letsencrypt.org; accounturi=https://ca.example/acct/8"];
        let found = judge(&records, false, ChallengeKind::Http01, &new).unwrap();
        assert!(found.hint.starts_with("this site has no account there yet"), "{found:?}");
    }

    #[test]
    fn a_ca_without_identities_is_judged_by_what_holds_for_all() {
        let nameless = CaFacts::default();
        assert_eq!(judge(&["issue ca.example.net"], false, ChallengeKind::Http01, &nameless), None);
        assert!(judge(&["issue ;"], false, ChallengeKind::Http01, &nameless).is_some());
    }

    #[test]
    fn advice_is_a_line_of_a_zone_file() {
        let name: Fqdn = "example.com".parse().unwrap();
        assert_eq!(
            caa_advice(&name, "letsencrypt.org", None),
            "example.com. CAA 0 issue \"letsencrypt.org\""
        );
        assert_eq!(
            caa_advice(&name, "letsencrypt.org", Some(OURS)),
            "example.com. CAA 0 issue \"letsencrypt.org; accounturi=https://ca.example/acct/7\""
        );
    }
}
