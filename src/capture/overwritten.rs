//! Log lines that an engine does not have any more when their turn comes: it keeps so much of each
//! container's, and then overwrites the oldest.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use jiff::{SignedDuration, Timestamp};

use super::subject::{Log, Subject};
use crate::engine::{Engine, LogQuery};
use crate::failure::{Context, Result};

/// A container has written its first line so long after its start.
const FIRST_LINE: SignedDuration = SignedDuration::from_mins(1);

/// A sentence for each log that lacks lines written since the last backup. It can be told only of a
/// container that has run since before that: its log began earlier.
pub(super) async fn overwritten<E: Engine>(engine: &E, subject: &Subject) -> Vec<String> {
    let since = subject.logs_since.and_then(|second| Timestamp::from_second(second).ok());
    let Some(since) = since else { return Vec::new() };
    let mut sentences = Vec::new();
    for Log { container, begun } in &subject.logs {
        let began_before = begun.is_some_and(|begun| since.duration_since(begun) > FIRST_LINE);
        // A log that cannot be read fails the backup when its turn comes.
        if began_before && let Ok(oldest) = oldest_line(engine, container).await {
            sentences.extend(gap(container, since, oldest.unwrap_or(subject.began)));
        }
    }
    sentences
}

/// When the oldest line that there is was written; `None` where there is none.
async fn oldest_line<E: Engine>(engine: &E, container: &str) -> Result<Option<Timestamp>> {
    let first = RefCell::new(None);
    let mut line = |_, text: &str| {
        first.borrow_mut().get_or_insert_with(|| text.to_owned());
    };
    let query = LogQuery { timestamps: true, ..LogQuery::default() };
    let mut reading = pin!(engine.logs(container, &query, &mut line));
    // Lines come oldest first: the others need not.
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Pending if first.borrow().is_none() => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
        ended @ Poll::Ready(_) => ended,
    })
    .await?;
    let first = first.borrow();
    let time = first.as_ref().and_then(|line| line.split(' ').next());
    time.map(|time| time.parse().context(format!("the log of {container} does not begin with a time")))
        .transpose()
}

fn gap(container: &str, since: Timestamp, oldest: Timestamp) -> Option<String> {
    let minute = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    (oldest > since).then(|| {
        let (from, to) = (minute(since), minute(oldest));
        format!("logs of {container} from {from} to {to} were overwritten before they were backed up")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_begins_after_the_last_backup_has_a_gap() {
        let hour = |hour: u8| format!("2026-01-31T{hour:02}:00:00Z").parse::<Timestamp>().unwrap();
        assert_eq!(gap("acme-odoo-a", hour(2), hour(2)), None);
        assert_eq!(
            gap("acme-odoo-a", hour(2), hour(9)).unwrap(),
            "logs of acme-odoo-a from 2026-01-31 02:00 UTC to 2026-01-31 09:00 UTC were overwritten before they \
             were backed up"
        );
    }
}
