//! How long the CA is waited for.

use std::time::Duration;

use instant_acme::Error;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::answer::{is_transient, problem_kind, refusal};
use crate::event::{Event, Reporter};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Limits to waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One request that meets 5xx answers, short waits or no connection is repeated for so long.
    pub answers: Duration,
    /// From telling the CA that the names can be checked until it has done so.
    pub validation: Duration,
    /// From asking for the certificate until it is there.
    pub issuance: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            answers: Duration::from_secs(90),
            validation: Duration::from_mins(3),
            issuance: Duration::from_mins(3),
        }
    }
}

/// Asks until there is an answer that asking again would not change. Pauses double from 0.25 s to
/// 15 s, and go beyond the time that the CA names (Retry-After); a longer wait than `limit` is left to
/// the caller. A rejected nonce needs no pause (RFC 8555, section 6.5), but a CA that rejects every
/// one is not to be stormed.
pub(super) async fn persist<T>(
    reporter: &dyn Reporter,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    let (mut pause, mut new_nonce_may_do) = (FIRST_PAUSE, true);
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let wait = asked_wait(&error, Timestamp::now()).saturating_add(pause);
        let left = deadline.saturating_duration_since(Instant::now()).checked_sub(wait);
        let Some(left) = left.filter(|_| is_transient(&error)) else { return Err(error) };
        if problem_kind(&error) == "badNonce" && std::mem::take(&mut new_nonce_may_do) {
            continue;
        }
        reporter.report(Event::Waiting {
            reason: format!("the CA gives no answer yet: {error}"),
            seconds_at_most: left.as_secs(),
        });
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What Retry-After asks for.
fn asked_wait(error: &Error, now: Timestamp) -> Duration {
    let until = refusal(error).and_then(|refusal| refusal.retry_after);
    until.and_then(|until| Duration::try_from(until.duration_since(now)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::acme::answer::{Refusal, Trouble};

    #[derive(Default)]
    struct Waits(RefCell<Vec<Event>>);

    impl Reporter for Waits {
        fn report(&self, event: Event) {
            self.0.borrow_mut().push(event);
        }
    }

    fn broken() -> Error {
        Trouble::Connection("connection refused".to_owned()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_an_answer_comes() {
        let (waits, asked, start) = (Waits::default(), Cell::new(0), Instant::now());
        let answer = persist(&waits, Duration::from_mins(1), async || {
            asked.set(asked.get() + 1);
            if asked.get() < 4 { Err(broken()) } else { Ok(asked.get()) }
        });
        assert_eq!(answer.await.unwrap(), 4);
        assert_eq!(start.elapsed().as_millis(), 250 + 500 + 1000);
        let first = Event::Waiting {
            reason: "the CA gives no answer yet: connection refused".to_owned(),
            seconds_at_most: 59,
        };
        assert_eq!((waits.0.borrow().len(), &waits.0.borrow()[0]), (3, &first));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds() {
        let start = Instant::now();
        let answer =
            persist(&Waits::default(), Duration::from_mins(1), async || Err::<(), _>(broken())).await;
        assert!(answer.is_err());
        assert!(start.elapsed() <= Duration::from_mins(1), "{:?}", start.elapsed());
    }

    fn busy(seconds: i64) -> Error {
        let retry_after = Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let kind = r#"{"type":"urn:ietf:params:acme:error:rateLimited"}"#;
        let problem = serde_json::from_str(kind).unwrap();
        Trouble::Refused(Refusal { status: 503, problem, retry_after: Some(retry_after) }).into()
    }

    /// Fails so often with it, and tells how long everything took.
    async fn after(failures: usize, error: impl Fn() -> Error) -> (Result<usize, Error>, Duration) {
        let (waits, asked, start) = (Waits::default(), Cell::new(0), Instant::now());
        let answer = persist(&waits, Duration::from_mins(1), async || {
            asked.set(asked.get() + 1);
            if asked.get() > failures { Ok(asked.get()) } else { Err(error()) }
        });
        (answer.await, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_that_the_ca_names_is_slept_out() {
        let (answer, took) = after(1, || busy(20)).await;
        assert!(answer.is_ok() && (19..=21).contains(&took.as_secs()), "{took:?}");
        let (answer, took) = after(1, || busy(3600)).await;
        assert!(answer.is_err() && took.is_zero(), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ca_that_rejects_every_nonce_is_not_stormed() {
        let bad = || {
            let kind = r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#;
            Error::Api(serde_json::from_str(kind).unwrap())
        };
        assert!(after(1, bad).await.1.is_zero());
        let (answer, took) = after(9, bad).await;
        assert!(answer.is_ok() && took.as_secs() > 30, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_change_is_asked_once() {
        let (waits, asked) = (Waits::default(), Cell::new(0));
        let answer = persist(&waits, Duration::from_mins(1), async || {
            asked.set(asked.get() + 1);
            Err::<(), _>(Error::Unsupported("it"))
        })
        .await;
        assert!(answer.is_err());
        assert_eq!(asked.get(), 1);
    }
}
