//! What is remembered between two looks at a certificate from a CA, and of whom it holds.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::renewal::{Attempts, Lifetime, Window};

/// Two certificates are never obtained by a schedule within this time.
const LEAST_DISTANCE: SignedDuration = SignedDuration::from_hours(1);
/// Nor within this part of a certificate's lifetime.
const DISTANCE_PART: i32 = 20;

/// `state/renewal.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RenewalMemory {
    /// What was tried: a fingerprint of the CA, the account, the names and the profile. A CA's word to
    /// wait holds for these alone.
    order: String,
    attempts: Attempts,
    /// Why the last attempt failed, in one line; empty when it did not.
    failure: String,
    /// SHA-256 of the certificate to which the CA's window belongs.
    certificate: String,
    /// When a certificate was last obtained.
    obtained: Option<Timestamp>,
}

impl RenewalMemory {
    /// What holds for this order and this certificate.
    #[must_use]
    pub fn attempts(&self, order: &str, certificate: &str) -> Attempts {
        let attempts = if self.order == order { self.attempts } else { Attempts::default() };
        let window = self.attempts.window.filter(|_| self.certificate == certificate);
        Attempts { window, ..attempts }
    }

    /// Why the last attempt at this order failed, if it did.
    #[must_use]
    pub fn failure(&self, order: &str) -> Option<&str> {
        (self.order == order && !self.failure.is_empty()).then_some(&self.failure)
    }

    #[must_use]
    pub fn after_failure(
        self,
        order: &str,
        failure: String,
        retry_after: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let attempts = Attempts { window: self.attempts.window, ..self.attempts(order, "") };
        let attempts = attempts.after_failure(retry_after, now);
        RenewalMemory { order: order.to_owned(), attempts, failure, ..self }
    }

    #[must_use]
    pub fn after_success(order: &str, now: Timestamp) -> Self {
        RenewalMemory { order: order.to_owned(), obtained: Some(now), ..RenewalMemory::default() }
    }

    #[must_use]
    pub fn with_window(mut self, certificate: &str, window: Option<Window>) -> Self {
        self.attempts.window = window;
        certificate.clone_into(&mut self.certificate);
        self
    }

    /// Until when a schedule obtains no other, whatever speaks for one: a CA that adds a name of its own,
    /// or whose window is always past, must not be asked at every run.
    #[must_use]
    pub fn brake(&self, order: &str, lifetime: Lifetime, now: Timestamp) -> Option<Timestamp> {
        let obtained = self.obtained.filter(|at| self.order == order && *at <= now)?;
        let part = lifetime.not_after.duration_since(lifetime.not_before) / DISTANCE_PART;
        let until = obtained.checked_add(part.max(LEAST_DISTANCE)).ok()?;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + number * 3600).unwrap()
    }

    #[test]
    fn a_ca_s_word_holds_for_what_was_ordered() {
        let refused = || "port 80 is closed".to_owned();
        let memory = RenewalMemory::default().after_failure("le acme", refused(), Some(hour(9)), hour(0));
        assert_eq!(memory.failure("le acme"), Some("port 80 is closed"));
        assert_eq!(memory.failure("staging acme"), None);
        assert_eq!(memory.attempts("le acme", "").not_before, Some(hour(9)));
        assert_eq!(memory.attempts("staging acme", ""), Attempts::default());
        let again = memory.after_failure("le acme", refused(), None, hour(1));
        assert_eq!(again.attempts("le acme", "").failures, 2);
        assert_eq!(
            again
                .after_failure("staging acme", refused(), None, hour(2))
                .attempts("staging acme", "")
                .failures,
            1
        );
        assert_eq!(RenewalMemory::after_success("le acme", hour(3)).failure("le acme"), None);
    }

    #[test]
    fn a_window_holds_for_its_certificate() {
        let window = Window::told(hour(1), hour(2), None, hour(0));
        let memory = RenewalMemory::default().with_window("cert", Some(window));
        assert_eq!(memory.attempts("order", "cert").window, Some(window));
        assert_eq!(memory.attempts("order", "imported").window, None);
        let after = memory.after_failure("order", String::new(), None, hour(3));
        assert_eq!(after.attempts("order", "cert").window, Some(window));
    }

    #[test]
    fn a_schedule_waits_after_a_success() {
        let memory = RenewalMemory::after_success("order", hour(0));
        let days = |days: i64| Lifetime { not_before: hour(0), not_after: hour(24 * days) };
        assert_eq!(memory.brake("order", days(90), hour(1)), Some(hour(108)));
        assert_eq!(memory.brake("order", days(90), hour(108)), None);
        assert_eq!(
            memory.brake("order", Lifetime { not_before: hour(0), not_after: hour(1) }, hour(0)),
            Some(hour(1))
        );
        assert_eq!(memory.brake("another", days(90), hour(1)), None);
        // The clock was set back: what lies ahead was noted by a wrong one.
        assert_eq!(memory.brake("order", days(90), hour(-5)), None);
    }
}
