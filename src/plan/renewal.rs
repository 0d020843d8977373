//! When a certificate of an ACME CA is renewed. `now` and all that was remembered come in as
//! values; the answer is a moment and its reason in words.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Certificates that last no longer are renewed at half of their time, others at two thirds: what
/// Let's Encrypt advises for its 90-day and its 6-day ones, and what Certbot does since 4.0.
const SHORT_LIVED: SignedDuration = SignedDuration::from_hours(24 * 10);
/// So far before or after that share, in parts of the lifetime, so that not all sites come at once.
const JITTER: i128 = 3 * WHOLE / 100;
/// Shares are counted in parts of which two thirds, five sixths and hundredths are whole numbers.
const WHOLE: i128 = 600_000;
/// A window of the CA's choice is not waited for beyond this share: failures need time, too.
const LATEST: i128 = 5 * WHOLE / 6;

/// Pauses after failures begin with the first and are [`FACTOR`] times as long each time: at most
/// four attempts in the first hour, where Let's Encrypt allows five failures an hour for a name.
const FIRST_PAUSE: SignedDuration = MINUTE;
const FACTOR: i32 = 4;
/// No pause need be longer than this, even when hardly anything is left: Let's Encrypt forgives a
/// failure each 12 minutes.
const LEAST_CAP: SignedDuration = SignedDuration::from_mins(15);
/// After the certificate's end, and without one, nothing is left to take a share of. By the number of
/// failures: hourly for some two days, then more and more rarely. Let's Encrypt pauses a name after
/// 1152 failures, of which it forgives one a day, and only a person can end that.
const WITHOUT_CERTIFICATE: [(u32, SignedDuration); 3] =
    [(60, HOUR), (200, SignedDuration::from_hours(6)), (u32::MAX, DAY)];
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

/// What to do now. `why` is a phrase that stands after a colon, such as `two thirds of its 90 days`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    Renew {
        why: String,
    },
    /// `due`: it is time, and only a pause after an attempt keeps it.
    Wait {
        until: Timestamp,
        why: String,
        due: bool,
    },
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

    /// The moment at which so many parts of it are over.
    fn share(self, parts: i128) -> Timestamp {
        between(self.not_before, self.not_after, parts)
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
    /// What the CA answered at `now`. It is asked again after its `Retry-After`, though not within
    /// a minute and within a day at the latest; after six hours when it did not say (RFC 9773,
    /// section 4.3).
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
    /// What to remember after an attempt that failed at `now`. What the CA asked for earlier holds
    /// until it asks again.
    #[must_use]
    pub fn after_failure(self, retry_after: Option<Timestamp>, now: Timestamp) -> Attempts {
        Attempts {
            failures: self.failures.saturating_add(1),
            last: Some(now),
            not_before: retry_after.or(self.not_before),
            window: self.window,
        }
    }

    /// Whether the CA should be asked for its window now. A moment more than a day ahead was noted
    /// by another clock.
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

    /// Between one minute and one day; never more than a tenth of what is left of the certificate
    /// or [`LEAST_CAP`], whichever is longer, as long as there is something left.
    fn pause_length(&self, lifetime: Lifetime, now: Timestamp) -> SignedDuration {
        let cap = if lifetime.not_after <= now {
            let step = WITHOUT_CERTIFICATE.iter().find(|(failures, _)| self.failures <= *failures);
            step.map_or(DAY, |(_, cap)| *cap)
        } else {
            (lifetime.not_after.duration_since(now) / 10).clamp(LEAST_CAP, DAY)
        };
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

/// Whether to renew now. `changed` says why the certificate no longer fits the site, if it does
/// not; `seed` chooses the moment, the same each time for the same certificate (its fingerprint).
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
        Some(Due { at, why }) => Decision::Wait { until: at, why, due: due.at <= now },
        None if due.at <= now => Decision::Renew { why: due.why },
        None => Decision::Wait { until: due.at, why: due.why, due: false },
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

/// So many parts of the way from `start` to `end`.
fn between(start: Timestamp, end: Timestamp, parts: i128) -> Timestamp {
    let (from, to) = (i128::from(start.as_second()), i128::from(end.as_second()));
    let second = from + (to - from) * parts / WHOLE;
    // Between two moments there is a moment.
    i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(start)
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Valid from 2026-01-01 for so many hours.
    fn hours(number: i64) -> Lifetime {
        let not_before = at("2026-01-01T00:00:00Z");
        Lifetime { not_before, not_after: later(not_before, SignedDuration::from_hours(number)) }
    }

    fn days(number: i64) -> Lifetime {
        hours(number * 24)
    }

    fn window(start: &str, end: &str) -> Attempts {
        let window = Window { start: at(start), end: at(end), check_again: at(end) };
        Attempts { window: Some(window), ..Attempts::default() }
    }

    fn ask(lifetime: Lifetime, attempts: &Attempts, now: &str) -> Decision {
        decide(lifetime, None, attempts, "seed", at(now))
    }

    fn waits(decision: Decision) -> (Timestamp, String) {
        match decision {
            Decision::Wait { until, why, .. } => (until, why),
            Decision::Renew { why } => panic!("renewed: {why}"),
        }
    }

    fn renews(decision: Decision) -> String {
        match decision {
            Decision::Renew { why } => why,
            Decision::Wait { until, why, .. } => panic!("waits until {until}: {why}"),
        }
    }

    #[test]
    fn common_lifetimes() {
        let table = [
            (hours(6 * 24), "2026-01-03T20:32:49Z half of its 6 days"),
            (hours(160), "2026-01-04T04:09:48Z half of its 160 hours"),
            (days(47), "2026-01-31T04:57:08Z two thirds of its 47 days"),
            (days(90), "2026-02-27T20:12:24Z two thirds of its 90 days"),
            (days(200), "2026-05-09T12:54:14Z two thirds of its 200 days"),
            (days(397), "2026-09-13T03:32:03Z two thirds of its 397 days"),
        ];
        for (lifetime, expected) in table {
            let (until, why) = waits(ask(lifetime, &Attempts::default(), "2026-01-01T00:00:00Z"));
            assert_eq!(format!("{until} {why}"), expected);
        }
    }

    #[test]
    fn what_is_due_is_renewed_and_says_why() {
        let none = Attempts::default();
        let ninety = days(90);
        assert_eq!(renews(ask(ninety, &none, "2026-03-05T00:00:00Z")), "two thirds of its 90 days");
        assert_eq!(renews(ask(ninety, &none, "2026-04-01T00:00:00Z")), "it expired on 2026-04-01 00:00 UTC");
        let changed =
            decide(ninety, Some("it is not for `b.example`".to_owned()), &none, "", ninety.not_before);
        assert_eq!(renews(changed), "it is not for `b.example`");
    }

    #[test]
    fn the_window_of_the_ca_comes_first() {
        let asked = window("2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z");
        let (until, why) = waits(ask(days(90), &asked, "2026-01-31T00:00:00Z"));
        assert_eq!(why, "the CA asks for it between 2026-02-01 00:00 UTC and 2026-02-03 00:00 UTC");
        assert!(at("2026-02-01T00:00:00Z") <= until && until < at("2026-02-03T00:00:00Z"), "{until}");
        assert_eq!(renews(ask(days(90), &asked, "2026-02-03T00:00:00Z")), why);
        // Wholly in the past: the CA wants it now, as after a revocation (RFC 9773, section 4.2).
        assert_eq!(renews(ask(days(90), &asked, "2026-02-20T00:00:00Z")), why);
    }

    #[test]
    fn a_window_that_leaves_no_time_is_not_waited_for() {
        let asked = window("2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z");
        let (until, why) = waits(ask(days(90), &asked, "2026-01-31T00:00:00Z"));
        assert_eq!(until, at("2026-03-17T00:00:00Z"), "five sixths of 90 days");
        assert!(why.ends_with("which would leave little time for a second attempt"), "{why}");
    }

    #[test]
    fn a_window_without_sense_is_ignored() {
        let table = [
            ("2026-02-03T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"),
            ("2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"),
        ];
        for (start, end) in table {
            let (_, why) = waits(ask(days(90), &window(start, end), "2026-01-31T00:00:00Z"));
            assert_eq!(why, "two thirds of its 90 days", "{start} {end}");
        }
    }

    #[test]
    fn moments_are_spread_over_the_window_and_the_jitter() {
        let asked = window("2026-02-01T00:00:00Z", "2026-02-11T00:00:00Z");
        let mut tenths = [0; 10];
        let mut least = Timestamp::MAX;
        let mut most = Timestamp::MIN;
        for number in 0..1000 {
            let moment = |attempts: &Attempts| {
                waits(decide(days(100), None, attempts, &number.to_string(), at("2026-01-01T00:00:00Z"))).0
            };
            let into = moment(&asked).duration_since(at("2026-02-01T00:00:00Z")).as_hours() / 24;
            tenths[usize::try_from(into).unwrap()] += 1;
            let own = moment(&Attempts::default());
            (least, most) = (least.min(own), most.max(own));
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
        // 66.7 days, three more or less.
        assert!(least >= at("2026-03-05T15:59:00Z") && least < at("2026-03-06T00:00:00Z"), "{least}");
        assert!(most > at("2026-03-11T08:00:00Z") && most <= at("2026-03-11T16:00:00Z"), "{most}");
    }

    #[test]
    fn pauses_grow_up_to_a_tenth_of_what_is_left_or_a_day() {
        let now = at("2026-03-10T00:00:00Z");
        let pause = |failures, lifetime: Lifetime| {
            Attempts { failures, ..Attempts::default() }.pause_length(lifetime, now).as_secs() / 60
        };
        let ninety: Vec<_> = (0..9).map(|failures| pause(failures, days(90))).collect();
        assert_eq!(ninety, [1, 1, 4, 16, 64, 256, 1024, 1440, 1440]);
        let nearly_over = days(69);
        let short: Vec<_> = (1..6).map(|failures| pause(failures, nearly_over)).collect();
        assert_eq!(short, [1, 4, 16, 64, 144], "24 hours are left");
        let expired: Vec<_> = [1, 3, 4, 60, 61, 200, 201].map(|failures| pause(failures, days(30))).into();
        assert_eq!(expired, [1, 16, 60, 60, 360, 360, 1440]);
        assert_eq!(pause(u32::MAX, days(90)), 1440);
    }

    #[test]
    fn failures_and_the_ca_hold_it_back() {
        let ninety = days(90);
        let once = Attempts::default().after_failure(None, at("2026-03-10T00:00:00Z"));
        let (until, why) = waits(ask(ninety, &once, "2026-03-10T00:00:30Z"));
        assert_eq!((until, why.as_str()), (at("2026-03-10T00:01:00Z"), "the last attempt failed"));
        let asked = once.after_failure(Some(at("2026-03-12T00:00:00Z")), at("2026-03-10T00:01:00Z"));
        assert_eq!((asked.failures, asked.last), (2, Some(at("2026-03-10T00:01:00Z"))));
        let (until, why) = waits(ask(ninety, &asked, "2026-03-11T00:00:00Z"));
        assert_eq!(until, at("2026-03-12T00:00:00Z"));
        assert_eq!(why, "the CA asks for no attempt before 2026-03-12 00:00 UTC");
        // Even a certificate that has expired gets no answer sooner.
        assert_eq!(waits(ask(days(30), &asked, "2026-03-11T00:00:00Z")).0, until);
        renews(ask(ninety, &asked, "2026-03-12T00:00:00Z"));
        let forced = asked.after_failure(None, at("2026-03-11T00:00:00Z"));
        assert_eq!(waits(ask(ninety, &forced, "2026-03-11T12:00:00Z")).0, until, "it still holds");
    }

    #[test]
    fn what_a_wrong_clock_noted_stops_nothing() {
        let ninety = days(90);
        let ahead =
            Attempts::default().after_failure(Some(at("2027-03-11T00:00:00Z")), at("2027-03-10T00:00:00Z"));
        renews(ask(ninety, &ahead, "2026-03-10T00:00:00Z"));
        let only_asked = Attempts { last: None, ..ahead };
        renews(ask(ninety, &only_asked, "2026-03-10T00:00:00Z"));
        // A few minutes ahead are a clock that was set right.
        let a_little = Attempts::default().after_failure(None, at("2026-03-10T00:05:00Z"));
        waits(ask(ninety, &a_little, "2026-03-10T00:00:00Z"));
        // A clock that is behind: the certificate is not valid yet, and another would not be
        // either.
        let (_, why) = waits(ask(ninety, &Attempts::default(), "2025-12-30T00:00:00Z"));
        assert_eq!(why, "two thirds of its 90 days");
    }

    /// Asked each hour, or not before the hour after the moment that was told; the CA never
    /// answers. The attempts, as hours since the certificate began.
    fn hourly(lifetime: Lifetime, seed: &str, minute: i64) -> Vec<i64> {
        let (mut attempts, mut made, mut hour) = (Attempts::default(), Vec::new(), 0);
        let since = |moment: Timestamp| moment.duration_since(lifetime.not_before);
        while hour < since(lifetime.not_after).as_hours() {
            let now = later(lifetime.not_before, SignedDuration::from_mins(hour * 60 + minute));
            hour = match decide(lifetime, None, &attempts, seed, now) {
                Decision::Renew { .. } => {
                    made.push(hour);
                    attempts = attempts.after_failure(None, now);
                    hour + 1
                }
                Decision::Wait { until, .. } => hour + (until.duration_since(now).as_mins() / 60).max(1),
            };
        }
        made
    }

    #[test]
    fn every_lifetime_has_many_attempts_in_time() {
        for number in 1..=400 {
            let made = hourly(days(number), &number.to_string(), number % 60);
            let total = number * 24;
            let (earliest, latest) = if number <= 10 { (47, 55) } else { (63, 71) };
            let first = made[0];
            assert!(first * 100 >= total * earliest - 100, "{number} days: {first} of {total} hours");
            // The next whole hour after the moment.
            assert!(first * 100 <= total * latest + 100, "{number} days: {first} of {total} hours");
            assert!(
                made.iter().filter(|hour| **hour * 10 < total * 9).count() >= 4,
                "{number} days: {made:?}"
            );
        }
    }

    /// What a CA counts that forgives one failure a day: at its most within two years of failing.
    #[test]
    fn a_name_that_always_fails_is_not_paused_by_the_ca() {
        let never =
            Lifetime { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2026-01-01T00:00:00Z") };
        let (mut attempts, mut made, mut most) = (Attempts::default(), 0, 0);
        for hour in 0..2 * 365 * 24 {
            let now = later(never.not_after, SignedDuration::from_hours(hour));
            if let Decision::Renew { .. } = decide(never, None, &attempts, "seed", now) {
                made += 1;
                attempts = attempts.after_failure(None, now);
            }
            most = most.max(made - hour / 24);
        }
        assert!(made > 700, "{made}: it is not forgotten either");
        assert!(most < 300, "{most}");
    }

    #[test]
    fn no_two_attempts_within_a_minute() {
        let lifetime = days(6);
        let mut attempts = Attempts::default();
        let mut now = later(lifetime.not_after, -MINUTE * 60);
        let mut made: Vec<Timestamp> = Vec::new();
        while now < later(lifetime.not_after, HOUR) {
            if let Decision::Renew { .. } = decide(lifetime, None, &attempts, "seed", now) {
                made.push(now);
                attempts = attempts.after_failure(None, now);
            }
            now = later(now, SignedDuration::from_secs(7));
        }
        assert!(made.len() > 5, "{made:?}");
        assert!(made.windows(2).all(|pair| pair[1].duration_since(pair[0]) >= MINUTE), "{made:?}");
    }

    #[test]
    fn the_window_is_asked_again_within_a_day() {
        let now = at("2026-03-10T00:00:00Z");
        let told = |retry_after: Option<&str>| {
            let window = Window::told(now, now, retry_after.map(at), now);
            window.check_again.duration_since(now).as_mins()
        };
        assert_eq!(told(None), 360);
        assert_eq!(told(Some("2026-03-10T02:00:00Z")), 120);
        assert_eq!(told(Some("2026-03-09T02:00:00Z")), 1);
        assert_eq!(told(Some("2026-04-09T02:00:00Z")), 1440);
        assert!(Attempts::default().window_is_stale(now));
        let known = |again: &str| {
            let window = Window { start: now, end: now, check_again: at(again) };
            Attempts { window: Some(window), ..Attempts::default() }.window_is_stale(now)
        };
        assert!(known("2026-03-10T00:00:00Z") && !known("2026-03-10T00:00:01Z"));
        assert!(known("2026-03-12T00:00:00Z"), "noted by another clock");
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let attempts = window("2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z")
            .after_failure(Some(at("2026-02-02T00:00:00Z")), at("2026-02-01T12:00:00Z"));
        let text = serde_json::to_string(&attempts).unwrap();
        assert_eq!(serde_json::from_str::<Attempts>(&text).unwrap(), attempts);
        assert_eq!(serde_json::from_str::<Attempts>("{}").unwrap(), Attempts::default());
    }

    #[test]
    fn the_ends_of_time_upset_nothing() {
        let always = Lifetime { not_before: Timestamp::MIN, not_after: Timestamp::MAX };
        let never = Lifetime { not_before: Timestamp::MAX, not_after: Timestamp::MIN };
        let failed = Attempts::default().after_failure(Some(Timestamp::MAX), Timestamp::MAX);
        for now in [Timestamp::MIN, at("2026-03-10T00:00:00Z"), Timestamp::MAX] {
            renews(decide(never, None, &Attempts::default(), "seed", now));
            let _ = decide(always, None, &failed, "seed", now);
        }
    }
}
