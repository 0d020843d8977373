//! Lines for a log file or a pipe: no colour, no cursor, and no flood.

use std::time::{Duration, Instant};

use super::text::{self, Paint};
use crate::event::{Event, Unit};

/// Waits and long progress say no more than a line in this time.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Steps that took less say nothing about their end.
const WORTH_TELLING_MS: u64 = 1000;

#[derive(Debug, Default)]
pub(super) struct Plain {
    step: Option<Step>,
}

#[derive(Debug)]
struct Step {
    /// Such as `[3/12]`.
    place: String,
    begun: Instant,
    /// When the last line about a wait or about progress was written.
    told: Option<Instant>,
    /// When a transfer was first heard of, and how far it was then.
    from: Option<(Instant, u64)>,
}

impl Plain {
    /// The line to write for this event, if any.
    pub(super) fn line(&mut self, event: &Event, now: Instant) -> Option<String> {
        match event {
            Event::StepStarted { number, of, action, cause } => {
                let place = text::place(*number, *of);
                let line = if cause.is_empty() {
                    format!("{place} {action}")
                } else {
                    format!("{place} {action}: {cause}")
                };
                self.step = Some(Step { place, begun: now, told: None, from: None });
                Some(line)
            }
            Event::Progress { done, total, unit, note } => {
                let position = text::position(*done, *total, *unit);
                let comma = if note.is_empty() { "" } else { ", " };
                let pace = if *unit == Unit::Bytes { self.pace(now, *done, *total) } else { String::new() };
                self.now_and_then(now, Some(BETWEEN_LINES), &format!("{position}{pace}{comma}{note}"))
            }
            Event::Waiting { reason, seconds_at_most } => {
                self.now_and_then(now, None, &text::waiting(reason, *seconds_at_most))
            }
            Event::StepDone { number, of, milliseconds } => {
                self.step = None;
                (*milliseconds >= WORTH_TELLING_MS).then(|| {
                    format!("{} done after {}", text::place(*number, *of), text::duration(*milliseconds))
                })
            }
            Event::StepFailed { number, of } => {
                self.step = None;
                Some(format!("{} failed", text::place(*number, *of)))
            }
            Event::Note { text } => Some(text.clone()),
            Event::Warning { text } => Some(text::warning(text, Paint(false))),
        }
    }

    /// Rate and time left of a transfer, from what it did since it was first heard of.
    fn pace(&mut self, now: Instant, done: u64, total: Option<u64>) -> String {
        let Some(step) = &mut self.step else { return String::new() };
        let (since, first) = *step.from.get_or_insert((now, done));
        text::pace(done.saturating_sub(first), now - since, total.map(|total| total.saturating_sub(done)))
    }

    /// The text, unless the last such line is too recent. The first one of a step comes `patience`
    /// after the step's begin: at once for a wait, whose reason somebody may look for; late for
    /// progress, which is of no interest in a short step.
    fn now_and_then(&mut self, now: Instant, patience: Option<Duration>, text: &str) -> Option<String> {
        let step = self.step.as_mut()?;
        let due = match step.told {
            Some(told) => told + BETWEEN_LINES,
            None => step.begun + patience.unwrap_or_default(),
        };
        (now >= due).then(|| {
            step.told = Some(now);
            format!("{} {text}", step.place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Event {
        Event::StepStarted {
            number: 3,
            of: 12,
            action: "pull odoo:19".to_owned(),
            cause: "it is not here".to_owned(),
        }
    }

    fn waiting() -> Event {
        Event::Waiting { reason: "Odoo answers".to_owned(), seconds_at_most: 60 }
    }

    fn progress(done: u64) -> Event {
        Event::Progress { done, total: Some(40), unit: Unit::Items, note: "layers".to_owned() }
    }

    /// The lines written for these events, given with the second in which each happens.
    fn lines(events: &[(u64, Event)]) -> Vec<String> {
        let (begin, mut plain) = (Instant::now(), Plain::default());
        let at = |second: &u64| begin + Duration::from_secs(*second);
        events.iter().filter_map(|(second, event)| plain.line(event, at(second))).collect()
    }

    #[test]
    fn a_short_step_is_one_line() {
        let done = Event::StepDone { number: 3, of: 12, milliseconds: 200 };
        assert_eq!(
            lines(&[(0, started()), (0, progress(1)), (0, done)]),
            ["[3/12] pull odoo:19: it is not here"]
        );
    }

    #[test]
    fn long_progress_is_a_line_in_ten_seconds() {
        let events: Vec<_> = (0..=35).map(|second| (second, progress(second))).collect();
        let done = Event::StepDone { number: 3, of: 12, milliseconds: 35_000 };
        assert_eq!(
            lines(&[vec![(0, started())], events, vec![(35, done)]].concat()),
            [
                "[3/12] pull odoo:19: it is not here",
                "[3/12] 10 of 40, layers",
                "[3/12] 20 of 40, layers",
                "[3/12] 30 of 40, layers",
                "[3/12] done after 35.0 s",
            ]
        );
    }

    #[test]
    fn a_transfer_tells_its_rate_and_the_time_left() {
        const MIB: u64 = 1024 * 1024;
        let moved = |mib: u64| Event::Progress {
            done: mib * MIB,
            total: Some(100 * MIB),
            unit: Unit::Bytes,
            note: String::new(),
        };
        let events: Vec<_> = (0..=20).map(|second| (second, moved(second * 4))).collect();
        assert_eq!(
            lines(&[vec![(0, started())], events].concat())[1..],
            [
                "[3/12] 40.00 MiB of 100.00 MiB (40 %), 4.00 MiB/s, 15.0 s left",
                "[3/12] 80.00 MiB of 100.00 MiB (80 %), 4.00 MiB/s, 5.0 s left",
            ]
        );
    }

    #[test]
    fn a_wait_is_told_at_once_and_then_seldom() {
        let events: Vec<_> = (0..12).map(|second| (second, waiting())).collect();
        let failed = Event::StepFailed { number: 3, of: 12 };
        assert_eq!(
            lines(&[vec![(0, started())], events, vec![(12, failed)]].concat())[1..],
            [
                "[3/12] waiting: Odoo answers (at most 60 s)",
                "[3/12] waiting: Odoo answers (at most 60 s)",
                "[3/12] failed",
            ]
        );
    }

    #[test]
    fn notes_and_warnings_are_lines() {
        let note = Event::Note { text: "nothing to do".to_owned() };
        let warning = Event::Warning { text: "the disk is nearly full".to_owned() };
        assert_eq!(lines(&[(0, note), (0, warning)]), ["nothing to do", "warning: the disk is nearly full"]);
    }
}
