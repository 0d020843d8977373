//! One object a line, for programs. Field names are part of the public interface.

use std::fmt::Display;

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

#[derive(Serialize)]
struct PlannedLine<'a, A> {
    event: &'static str,
    number: usize,
    of: usize,
    /// The action in words.
    text: String,
    action: &'a A,
    cause: &'a str,
}

/// A step that is planned and not carried out.
pub(super) fn planned(number: usize, of: usize, action: &(impl Serialize + Display), cause: &str) -> String {
    line(&PlannedLine { event: "planned", number, of, text: action.to_string(), action, cause })
}

pub(super) fn line(value: &impl Serialize) -> String {
    // All types that come here hold texts, numbers and unit variants only: there is nothing JSON cannot say.
    serde_json::to_string(value).expect("events are plain JSON")
}
