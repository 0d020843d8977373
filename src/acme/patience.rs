//! How long the CA is waited for.

use std::time::Duration;

use instant_acme::Error;
use tokio::time::{Instant, sleep};

use super::answer::{is_transient, problem_kind};
use crate::event::{Event, Reporter};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Limits to waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One request that meets 5xx answers or no connection is repeated for so long.
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
/// 15 s; a rejected nonce needs none (RFC 8555, section 6.5).
pub(super) async fn persist<T>(
    reporter: &dyn Reporter,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let next = Instant::now() + pause;
        if !is_transient(&error) || next > deadline {
            return Err(error);
        }
        if problem_kind(&error) == "badNonce" {
            continue;
        }
        reporter.report(Event::Waiting {
            reason: format!("the CA gives no answer yet: {error}"),
            seconds_at_most: (deadline - next).as_secs(),
        });
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::acme::answer::Trouble;

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
