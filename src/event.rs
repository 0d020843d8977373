//! What happens while a command works, as data. The ui shows it; logic never prints.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Bytes,
    /// Counted things, such as Odoo modules.
    Items,
}

/// One event. In `--json` mode each becomes one line on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step of a plan begins. Steps are numbered from 1.
    StepStarted {
        number: usize,
        of: usize,
        action: String,
        cause: String,
    },
    /// The current step's position; `total` when it is known. `note` says what is waited for.
    Progress {
        done: u64,
        total: Option<u64>,
        unit: Unit,
        note: String,
    },
    /// The current step waits for something: why, and how long at most.
    Waiting {
        reason: String,
        seconds_at_most: u64,
    },
    StepDone {
        number: usize,
        of: usize,
        milliseconds: u64,
    },
    StepFailed {
        number: usize,
        of: usize,
    },
    /// Something worth knowing.
    Note {
        text: String,
    },
    /// Something that should be looked at.
    Warning {
        text: String,
    },
}

/// Receives events. Implementations must not fail: a broken terminal does not stop an operation.
pub trait Reporter {
    fn report(&self, event: Event);

    fn note(&self, text: impl Into<String>)
    where
        Self: Sized,
    {
        self.report(Event::Note { text: text.into() });
    }

    fn warning(&self, text: impl Into<String>)
    where
        Self: Sized,
    {
        self.report(Event::Warning { text: text.into() });
    }
}
