//! When a certificate of an ACME CA is renewed. `now` and all that was remembered come in as values; the answer is a
//! moment and its reason in words.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Certificates that last no longer are renewed at half of their time, others at two thirds: what Let's Encrypt
/// advises for its 90-day and its 6-day ones, and what Certbot does since 4.0.
const SHORT_LIVED: SignedDuration = SignedDuration::from_hours(24 * 10);
/// So far before or after that share, in parts of the lifetime, so that not all sites come at once.
const JITTER: i128 = 3 * WHOLE / 100;
/// A share of the lifetime is counted in millionths.
const WHOLE: i128 = 1_000_000;
/// A window of the CA's choice is not waited for beyond this share: failures need time, too.
const LATEST: i128 = 5 * WHOLE / 6;

/// Pauses after failures begin with the first and are [`FACTOR`] times as long each time: at most four attempts in
/// the first hour, where Let's Encrypt allows five failures an hour for a name.
const FIRST_PAUSE: SignedDuration = MINUTE;
const FACTOR: i32 = 4;
/// No pause need be longer than this, even when hardly anything is left: Let's Encrypt forgives a failure each
/// 12 minutes.
const LEAST_CAP: SignedDuration = SignedDuration::from_mins(15);
/// A remembered attempt so far ahead of now was noted by a clock that went wrong.
const CLOCKS_DIFFER: SignedDuration = HOUR;
/// CAs count in weeks at most; who asks for a longer wait means something else.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24 * 8);

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// When the CA wants the renewal (ACME Renewal Information, RFC 9773, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
    /// The CA is asked for the window again from then on.
    pub check_again: Timestamp,
}

/// What is remembered of one certificate's renewal; forgotten when a new one is in place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attempts {
    /// Failures in a row.
    pub failures: u32,
    /// When the last attempt was.
    pub last: Option<Timestamp>,
    /// The CA asked for no attempt before this (`Retry-After`).
    pub not_before: Option<Timestamp>,
    pub window: Option<Window>,
}

/// What to do now. `why` fits after "renewing, because" and after "next renewal on …:".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    Renew { why: String },
    Wait { until: Timestamp, why: String },
}

/// A moment and its reason.
struct Due {
    at: Timestamp,
    why: String,
}

impl Lifetime {
    fn seconds(self) -> i128 {
        i128::from(self.not_after.as_second()) - i128::from(self.not_before.as_second())
    }

    /// The moment at which so many millionths are over.
    fn share(self, millionths: i128) -> Timestamp {
        between(self.not_before, self.not_after, millionths)
    }

    fn is_short(self) -> bool {
        self.not_after.duration_since(self.not_before) <= SHORT_LIVED
    }

    /// `90 days`, or `160 hours` where days do not fit.
    fn words(self) -> String {
        let hours = (self.seconds().max(0) + 1800) / 3600;
        if hours % 24 == 0 && hours > 24 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
    }
}

impl Window {
    /// What the CA answered at `now`. It is asked again after its `Retry-After`, though not within a minute and within
    /// a day at the latest; after six hours when it did not say (RFC 9773, section 4.3).
    #[must_use]
    pub fn told(start: Timestamp, end: Timestamp, retry_after: Option<Timestamp>, now: Timestamp) -> Window {
        let check_again = retry_after.unwrap_or(later(now, HOUR * 6));
        Window { start, end, check_again: check_again.clamp(later(now, MINUTE), later(now, DAY)) }
    }

    /// Empty, over before the certificate began, or later than its end: nothing to go by.
    fn makes_sense(&self, lifetime: Lifetime) -> bool {
        self.start < self.end && self.end > lifetime.not_before && self.start < lifetime.not_after
    }

    fn due(&self, lifetime: Lifetime, seed: &str) -> Due {
        let asked = format!("the CA asks for it between {} and {}", minute(self.start), minute(self.end));
        let chosen = between(self.start, self.end, fraction(seed));
        let latest = lifetime.share(LATEST);
        if chosen <= latest {
            Due { at: chosen, why: asked }
        } else {
            Due { at: latest, why: format!("{asked}, which would leave little time for a second attempt") }
        }
    }
}

impl Attempts {
    /// What to remember after an attempt that failed at `now`.
    #[must_use]
    pub fn after_failure(self, retry_after: Option<Timestamp>, now: Timestamp) -> Attempts {
        Attempts {
            failures: self.failures.saturating_add(1),
            last: Some(now),
            not_before: retry_after,
            window: self.window,
        }
    }

    /// Whether the CA should be asked for its window now. A moment more than a day ahead was noted by another clock.
    #[must_use]
    pub fn window_is_stale(&self, now: Timestamp) -> bool {
        self.window.is_none_or(|window| window.check_again <= now || window.check_again > later(now, DAY))
    }

    /// Until when no attempt is made, whatever else speaks for one.
    fn pause(&self, lifetime: Lifetime, now: Timestamp) -> Option<Due> {
        if self.last.is_some_and(|last| last > later(now, CLOCKS_DIFFER)) {
            return None;
        }
        let own = self
            .last
            .map(|last| Due { at: later(last, self.pause_length(lifetime, now)), why: self.words() });
        let asked = self.not_before.filter(|until| *until <= later(now, LONGEST_WAIT));
        let asked =
            asked.map(|at| Due { at, why: format!("the CA asks for no attempt before {}", minute(at)) });
        own.into_iter().chain(asked).max_by_key(|due| due.at)
    }

    /// Between one minute and one day; never more than a tenth of what is left of the certificate or
    /// [`LEAST_CAP`], whichever is longer.
    fn pause_length(&self, lifetime: Lifetime, now: Timestamp) -> SignedDuration {
        let cap = (lifetime.not_after.duration_since(now) / 10).clamp(LEAST_CAP, DAY);
        let mut pause = FIRST_PAUSE;
        for _ in 1..self.failures {
            pause = pause.saturating_mul(FACTOR).min(cap);
            if pause == cap {
                break;
            }
        }
        pause
    }

    fn words(&self) -> String {
        match self.failures {
            0 => "an attempt was made less than a minute ago".to_owned(),
            1 => "the last attempt failed".to_owned(),
            count => format!("the last {count} attempts failed"),
        }
    }
}

/// Whether to renew now. `changed` says why the certificate no longer fits the site, if it does not; `seed` chooses
/// the moment, the same each time for the same certificate (its fingerprint).
#[must_use]
pub fn decide(
    lifetime: Lifetime,
    changed: Option<String>,
    attempts: &Attempts,
    seed: &str,
    now: Timestamp,
) -> Decision {
    let due = due(lifetime, changed, attempts.window, seed, now);
    match attempts.pause(lifetime, now).filter(|pause| pause.at > now && pause.at > due.at) {
        Some(Due { at, why }) => Decision::Wait { until: at, why },
        None if due.at <= now => Decision::Renew { why: due.why },
        None => Decision::Wait { until: due.at, why: due.why },
    }
}

fn due(
    lifetime: Lifetime,
    changed: Option<String>,
    window: Option<Window>,
    seed: &str,
    now: Timestamp,
) -> Due {
    if let Some(why) = changed {
        return Due { at: now, why };
    }
    if lifetime.not_after <= now {
        return Due { at: now, why: format!("it expired on {}", minute(lifetime.not_after)) };
    }
    match window.filter(|window| window.makes_sense(lifetime)) {
        Some(window) => window.due(lifetime, seed),
        None => by_share(lifetime, seed),
    }
}

fn by_share(lifetime: Lifetime, seed: &str) -> Due {
    let (share, words) =
        if lifetime.is_short() { (WHOLE / 2, "half") } else { (2 * WHOLE / 3, "two thirds") };
    let jitter = fraction(seed) * 2 * JITTER / WHOLE - JITTER;
    Due { at: lifetime.share(share + jitter), why: format!("{words} of its {}", lifetime.words()) }
}

/// A number from 0 up to [`WHOLE`], evenly spread over seeds.
fn fraction(seed: &str) -> i128 {
    let digest = Sha256::digest(seed.as_bytes());
    let number = digest.iter().take(4).fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    i128::from(number) * WHOLE / (1 << 32)
}

/// So many millionths of the way from `start` to `end`.
fn between(start: Timestamp, end: Timestamp, millionths: i128) -> Timestamp {
    let (from, to) = (i128::from(start.as_second()), i128::from(end.as_second()));
    let second = from + (to - from) * millionths / WHOLE;
    // Between two moments there is a moment.
    i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(start)
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
