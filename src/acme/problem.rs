//! The CA's own words for what is wrong (RFC 8555, section 6.7; RFC 7807), and what to do then.

use instant_acme::Problem;

use super::ChallengeKind;
use crate::failure::Failure;

const PREFIX: &str = "urn:ietf:params:acme:error:";
pub(super) const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// The problem's type without its prefix, such as `rateLimited`; empty when it has none.
pub(super) fn kind(problem: &Problem) -> &str {
    plain(problem.r#type.as_deref())
}

fn plain(kind: Option<&str>) -> &str {
    let kind = kind.unwrap_or_default();
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

/// Whether it is one of ACME's own (RFC 8555, section 6.7).
pub(super) fn is_acme(problem: &Problem) -> bool {
    problem.r#type.as_deref().is_some_and(|kind| kind.starts_with(PREFIX))
}

/// The problem in one line: its detail, its type, and what it says of single names.
pub(super) fn words(problem: &Problem) -> String {
    let whole = said(problem.detail.as_deref(), kind(problem));
    let parts = problem.subproblems.iter().map(|part| {
        let words = said(part.detail.as_deref(), plain(part.r#type.as_deref()));
        match &part.identifier {
            Some(identifier) => format!("`{}`: {words}", identifier.authorized(false)),
            None => words,
        }
    });
    std::iter::once(whole).chain(parts).collect::<Vec<_>>().join("; ")
}

/// What a CA says can be anything; so much of it goes to a terminal.
const LONGEST_WORDS: usize = 1000;

/// Text from the CA, safe for a terminal: no control characters, not too long.
pub(super) fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(LONGEST_WORDS).map(visible).collect();
    if text.chars().nth(LONGEST_WORDS).is_some() {
        shown.push('…');
    }
    shown
}

fn said(detail: Option<&str>, kind: &str) -> String {
    let detail = detail.map(|detail| clean(detail.trim_end_matches('.')));
    let kind = clean(kind);
    match (detail, kind.as_str()) {
        (Some(detail), "") => detail,
        (Some(detail), kind) => format!("{detail} ({kind})"),
        (None, "") => "the CA gives no reason".to_owned(),
        (None, _) => kind,
    }
}

/// Whether the site's configuration asks for something that this CA does not do.
pub(super) fn is_users_fault(kind: &str) -> bool {
    matches!(
        kind,
        "externalAccountRequired"
            | "invalidContact"
            | "unsupportedContact"
            | "rejectedIdentifier"
            | "unsupportedIdentifier"
            | "invalidProfile"
    )
}

/// What the user can do about a request that was refused.
pub(super) fn hint(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "rateLimited" => {
            "the CA counts certificates, orders and failed attempts for each domain, and new accounts for each \
             network address; its staging server, where it has one, is for trying things out"
        }
        "externalAccountRequired" => {
            "the CA serves its customers only: give the key id and the HMAC key that it shows you"
        }
        "invalidContact" | "unsupportedContact" => "give an e-mail address that the CA can write to",
        "rejectedIdentifier" | "unsupportedIdentifier" => "the CA does not certify this name",
        "invalidProfile" => "the CA's directory lists its certificate profiles",
        "userActionRequired" => {
            "read what the CA asks for, often new terms of service, and agree to it there"
        }
        "caa" => "a CAA record of the domain names another CA: add this one to it or remove it",
        "badSignatureAlgorithm" | "badPublicKey" => "the CA does not take this kind of key: choose another",
        _ => return None,
    })
}

/// Some CAs call it `connection` too when a name leads nowhere.
fn validation_kind(problem: &Problem) -> &str {
    let detail = problem.detail.as_deref().unwrap_or_default();
    match kind(problem) {
        "connection" if ["could not resolve", "no such host"].iter().any(|words| detail.contains(words)) => {
            "dns"
        }
        kind => kind,
    }
}

/// Let's Encrypt looks from several networks; its words when only others than the first fail.
fn elsewhere(problem: &Problem) -> Option<&'static str> {
    problem.detail.as_deref()?.contains("secondary validation").then_some(
        "the CA sees the name from one place and not from others: a firewall that lets some countries or \
         networks in only, or name servers that do not all answer alike",
    )
}

/// What the user can do about a name that the CA could not validate.
fn validation_hint(kind: &str, challenge: ChallengeKind) -> Option<&'static str> {
    use ChallengeKind::{Dns01, Http01};
    Some(match (kind, challenge) {
        ("connection", Http01) => {
            "the CA must reach port 80 of the name's addresses, IPv6 ones too, from outside: open it in the \
             firewall and forward it in the router"
        }
        ("dns", Http01) => {
            "the name needs an A (or AAAA) record that leads here, visible from outside; a new one may take \
             some minutes"
        }
        ("unauthorized" | "incorrectResponse" | "malformed", Http01) => {
            "another server seems to answer for the name: see where its A and AAAA records lead, and that no \
             proxy in front answers `/.well-known/acme-challenge/` itself"
        }
        ("connection" | "dns" | "unauthorized" | "incorrectResponse", Dns01) => {
            "the CA did not find the TXT record `_acme-challenge.NAME` with the right value: see that the hook \
             writes to the zone that the name's authoritative servers serve"
        }
        ("tls", _) => "the name redirects the CA to https with a broken certificate: answer on plain port 80",
        _ => return hint(kind),
    })
}

/// Names that were not validated, each with the CA's words, and what the CA said of the whole order.
pub(super) fn invalid_order(
    names: &[(String, Problem)],
    order: Option<&Problem>,
    challenge: ChallengeKind,
) -> Failure {
    let mut failure = Failure::failed(match names {
        [] => "the CA refused the order".to_owned(),
        [(name, _)] => format!("the CA could not validate `{name}`"),
        names => {
            let list: Vec<String> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("the CA could not validate {}", list.join(", "))
        }
    });
    failure.causes = match names {
        [] => vec![order.map_or_else(|| "it gives no reason".to_owned(), words)],
        [(_, problem)] => vec![words(problem)],
        names => names.iter().map(|(name, problem)| format!("`{name}`: {}", words(problem))).collect(),
    };
    let problems = names.iter().map(|(_, problem)| problem).chain(order);
    for hint in problems.flat_map(|problem| {
        [elsewhere(problem), validation_hint(validation_kind(problem), challenge)].into_iter().flatten()
    }) {
        if !failure.hints.iter().any(|known| known == hint) {
            failure = failure.hint(hint);
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        serde_json::from_str(&format!(r#"{{"type":"{PREFIX}{kind}","detail":"{detail}"}}"#)).unwrap()
    }

    #[test]
    fn subproblems_are_told_by_name() {
        let text = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some were rejected.","subproblems":[
            {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"not here",
             "identifier":{"type":"dns","value":"a.example"}}]}"#;
        let problem = serde_json::from_str(text).unwrap();
        assert_eq!(
            words(&problem),
            "Some were rejected (malformed); `a.example`: not here (rejectedIdentifier)"
        );
        assert_eq!(words(&serde_json::from_str("{}").unwrap()), "the CA gives no reason");
    }

    #[test]
    fn one_name_that_failed_is_the_message() {
        let names = [("a.example".to_owned(), problem("connection", "Connection refused"))];
        let failure = invalid_order(&names, None, ChallengeKind::Http01);
        assert_eq!(
            failure.to_string(),
            "the CA could not validate `a.example`: Connection refused (connection)"
        );
        assert!(failure.hints[0].contains("port 80"), "{:?}", failure.hints);
    }

    #[test]
    fn several_names_have_a_cause_each_and_a_hint_once() {
        let names = ["a.example", "b.example", "c.example"].map(str::to_owned);
        let kinds = ["dns", "dns", "caa"];
        let names: Vec<_> =
            names.into_iter().zip(kinds).map(|(name, kind)| (name, problem(kind, "no"))).collect();
        let failure = invalid_order(&names, Some(&problem("dns", "no")), ChallengeKind::Http01);
        assert_eq!(failure.message, "the CA could not validate `a.example`, `b.example`, `c.example`");
        assert_eq!(failure.causes[2], "`c.example`: no (caa)");
        assert_eq!(failure.hints.len(), 2, "{:?}", failure.hints);
    }

    #[test]
    fn the_hint_follows_the_challenge() {
        let names = [("a.example".to_owned(), problem("unauthorized", "wrong"))];
        let hint = |kind| invalid_order(&names, None, kind).hints.remove(0);
        assert!(hint(ChallengeKind::Http01).contains("another server"));
        assert!(hint(ChallengeKind::Dns01).contains("TXT record"));
    }

    #[test]
    fn a_name_that_leads_nowhere_is_no_matter_of_port_80() {
        let details = [("Connection refused", "port 80"), ("could not resolve URL", "A (or AAAA) record")];
        for (detail, expected) in details {
            let names = [("a.example".to_owned(), problem("connection", detail))];
            let failure = invalid_order(&names, None, ChallengeKind::Http01);
            assert!(failure.hints[0].contains(expected), "{failure:?}");
        }
    }

    #[test]
    fn a_name_seen_from_one_place_only_is_told_of_first() {
        let names = [("a.example".to_owned(), problem("connection", "During secondary validation: Timeout"))];
        let hints = invalid_order(&names, None, ChallengeKind::Http01).hints;
        assert!(hints[0].contains("from one place and not from others") && hints.len() == 2, "{hints:?}");
    }

    #[test]
    fn what_the_ca_says_cannot_upset_a_terminal() {
        let said = words(&problem("x\\u001b", &format!("\\u001b[2Jno\\n{}", "a".repeat(5000))));
        assert!(said.starts_with("\u{fffd}[2Jno\u{fffd}aaa") && said.ends_with("a… (x\u{fffd})"), "{said}");
        assert!(said.chars().count() < 1100 && !said.contains(char::is_control));
    }

    #[test]
    fn an_order_refused_without_names_says_why() {
        let failure = invalid_order(&[], Some(&problem("badCSR", "key too short")), ChallengeKind::Http01);
        assert_eq!(failure.to_string(), "the CA refused the order: key too short (badCSR)");
    }
}
