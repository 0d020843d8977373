//! Errors as the user meets them: what went wrong, why, what to do, and which exit code says so.

use std::fmt;

/// What sort of failure this is. The sort decides the exit code and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that was tried did not work.
    Failed,
    /// The command line or the site file is wrong; nothing was changed.
    Usage,
    /// `--check`: there are changes to make.
    ChangesPending,
    /// No container engine could be reached.
    NoEngine,
    /// Another operation holds the site.
    Busy,
    /// A new container did not become healthy; what served before still serves.
    HealthGate,
    /// A verification found something wrong.
    Verification,
}

impl Kind {
    /// The documented process exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::ChangesPending => 3,
            Kind::NoEngine => 4,
            Kind::Busy => 5,
            Kind::HealthGate => 6,
            Kind::Verification => 7,
        }
    }

    /// The stable word for this kind in `--json` output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::ChangesPending => "changes-pending",
            Kind::NoEngine => "no-engine",
            Kind::Busy => "busy",
            Kind::HealthGate => "health-gate",
            Kind::Verification => "verification",
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    /// One sentence: what did not work. No trailing full stop.
    pub message: String,
    /// What lies beneath, outermost first.
    pub causes: Vec<String>,
    /// What the user can do, one sentence each.
    pub hints: Vec<String>,
    /// Lines of output that show it, such as a container's last log lines.
    pub evidence: Vec<String>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), evidence: Vec::new() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Failure::new(Kind::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, message)
    }

    /// Adds the error beneath and everything beneath that.
    #[must_use]
    pub fn because(mut self, error: impl std::error::Error) -> Self {
        self.causes.push(error.to_string());
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = inner.source();
        }
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Turns a library's error into a [`Failure`] with a sentence of ours in front.
pub trait Context<T> {
    /// `message` says what was being done, as in "cannot read the site file".
    fn context(self, message: impl Into<String>) -> Result<T>;
}

impl<T, E: std::error::Error> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| Failure::failed(message).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let table = [
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::ChangesPending, 3),
            (Kind::NoEngine, 4),
            (Kind::Busy, 5),
            (Kind::HealthGate, 6),
            (Kind::Verification, 7),
        ];
        for (kind, code) in table {
            assert_eq!(kind.exit_code(), code);
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let io = std::io::Error::other("disk full");
        let failure = Failure::failed("cannot write the file").because(io);
        assert_eq!(failure.to_string(), "cannot write the file: disk full");
    }
}
