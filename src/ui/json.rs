//! One object a line, for programs. Field names are part of the public interface.

use serde::Serialize;

use crate::event::Event;
use crate::failure::Failure;

#[derive(Serialize)]
struct FailureLine<'a> {
    event: &'static str,
    kind: &'static str,
    exit_code: u8,
    message: &'a str,
    causes: &'a [String],
    evidence: &'a [String],
    hints: &'a [String],
}

pub(super) fn event(event: &Event) -> String {
    line(event)
}

pub(super) fn failure(failure: &Failure) -> String {
    line(&FailureLine {
        event: "failure",
        kind: failure.kind.word(),
        exit_code: failure.kind.exit_code(),
        message: &failure.message,
        causes: &failure.causes,
        evidence: &failure.evidence,
        hints: &failure.hints,
    })
}

fn line(value: &impl Serialize) -> String {
    // Both types hold texts, numbers and unit variants only: there is nothing JSON cannot say.
    serde_json::to_string(value).expect("events are plain JSON")
}
