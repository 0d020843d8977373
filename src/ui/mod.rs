//! The only thing that prints. It shows events and failures and decides nothing.
//!
//! Talk goes to standard error, data to standard output; with `--json` both are objects, one a
//! line, on standard output.

mod json;
mod plain;
pub mod prompt;
pub mod table;
mod terminal;
mod text;

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::time::Instant;

use clap::error::Error as CommandLineError;
use indicatif::ProgressDrawTarget;
use serde::Serialize;

use crate::backup::plan::BackupPlan;
use crate::event::{Event, Reporter};
use crate::failure::{Context, Failure, Kind, Result};
use crate::plan::Plan;
use plain::Plain;
use terminal::Terminal;
use text::Paint;

/// How to show things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A person watches: spinners and bars.
    Terminal,
    /// A log file or a pipe: lines only.
    Plain,
    /// A program reads.
    Json,
}

/// How much to show. Warnings and failures are always shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// No steps, no progress, no notes.
    Quiet,
    #[default]
    Normal,
    /// Each step with its cause.
    Verbose,
}

pub type Sink = Box<dyn Write>;

pub struct Ui {
    verbosity: Verbosity,
    inner: RefCell<Inner>,
}

struct Inner {
    view: View,
    paint: Paint,
    data: Sink,
    /// The reader of `data` has gone.
    closed: bool,
    talk: Sink,
}

enum View {
    Terminal(Terminal),
    Plain(Plain),
    Json,
}

impl Ui {
    /// `colour` is the caller's verdict on terminal, flags and `NO_COLOR`; it matters to a terminal
    /// only. Spinners and bars are drawn on standard error, whatever `talk` is.
    #[must_use]
    pub fn new(mode: Mode, verbosity: Verbosity, colour: bool, data: Sink, talk: Sink) -> Ui {
        Ui::drawing_on(ProgressDrawTarget::stderr(), mode, verbosity, colour, data, talk)
    }

    fn drawing_on(
        bars: ProgressDrawTarget,
        mode: Mode,
        verbosity: Verbosity,
        colour: bool,
        data: Sink,
        talk: Sink,
    ) -> Ui {
        let paint = Paint(colour && mode == Mode::Terminal);
        let view = match mode {
            Mode::Terminal => View::Terminal(Terminal::new(bars, paint, verbosity == Verbosity::Verbose)),
            Mode::Plain => View::Plain(Plain::default()),
            Mode::Json => View::Json,
        };
        Ui { verbosity, inner: RefCell::new(Inner { view, paint, data, closed: false, talk }) }
    }

    /// Writes what the user asked for, with a final newline. A reader that has gone (`| head`) is
    /// no failure; [`Ui::is_closed`] tells.
    pub fn data(&self, text: &str) -> Result<()> {
        self.inner.borrow_mut().data(text).context("cannot write to standard output")
    }

    /// Writes a part of what the user asked for as it is, which may be no text.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.inner.borrow_mut().bytes(bytes).context("cannot write to standard output")
    }

    /// Shows what a command found or made: words for people, one object for programs.
    pub fn result<T: Serialize + Display>(&self, value: &T) -> Result<()> {
        if self.is_json() {
            return self.data(&json::line(value));
        }
        self.data(&value.to_string())
    }

    /// Shows a plan that is not carried out. A program gets one object a step.
    pub fn plan(&self, plan: &Plan) -> Result<()> {
        if plan.is_empty() && !self.is_json() {
            return self.data("nothing to do");
        }
        self.planned(plan, plan.steps.iter().map(|step| (&step.action, step.cause.as_str())))
    }

    /// The same for a backup.
    pub fn backup_plan(&self, plan: &BackupPlan) -> Result<()> {
        self.planned(plan, plan.steps.iter().map(|step| (&step.action, step.cause.as_str())))
    }

    fn planned<'a, A: Serialize + Display + 'a>(
        &self,
        plan: &impl Display,
        mut steps: impl ExactSizeIterator<Item = (&'a A, &'a str)>,
    ) -> Result<()> {
        if !self.is_json() {
            return self.data(&plan.to_string());
        }
        let of = steps.len();
        (1..)
            .zip(&mut steps)
            .try_for_each(|(number, (action, cause))| self.data(&json::planned(number, of, action, cause)))
    }

    fn is_json(&self) -> bool {
        matches!(self.inner.borrow().view, View::Json)
    }

    /// Whether nobody reads the data any more, so that an endless command can end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.borrow().closed
    }

    /// Shows why the command failed: what, causes, evidence, and what to try.
    pub fn failure(&self, failure: &Failure) {
        let inner = &mut *self.inner.borrow_mut();
        match &mut inner.view {
            View::Json => inner.line(&json::failure(failure)),
            view => {
                if let View::Terminal(terminal) = view {
                    terminal.clear();
                }
                inner.line(&text::failure(failure, inner.paint));
            }
        }
    }
}

impl Reporter for Ui {
    fn report(&self, event: Event) {
        if is_shown(&event, self.verbosity) {
            self.inner.borrow_mut().show(&event);
        }
    }
}

fn is_shown(event: &Event, verbosity: Verbosity) -> bool {
    match event {
        Event::Warning { .. } | Event::StepFailed { .. } => true,
        Event::StepStarted { .. }
        | Event::Progress { .. }
        | Event::Waiting { .. }
        | Event::StepDone { .. }
        | Event::Note { .. } => verbosity != Verbosity::Quiet,
    }
}

impl Inner {
    fn show(&mut self, event: &Event) {
        let line = match &mut self.view {
            View::Terminal(terminal) => terminal.show(event),
            View::Plain(plain) => plain.line(event, Instant::now()),
            View::Json => Some(json::event(event)),
        };
        if let Some(line) = line {
            self.line(&line);
        }
    }

    /// One line about what happens. It may get lost: a broken terminal stops no operation.
    fn line(&mut self, line: &str) {
        let _ = match &self.view {
            View::Json => self.data(line),
            View::Terminal(terminal) => terminal.suspend(|| write_line(&mut self.talk, line)),
            View::Plain(_) => write_line(&mut self.talk, line),
        };
    }

    fn data(&mut self, text: &str) -> io::Result<()> {
        self.bytes(&line_of(text))
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = match &self.view {
            View::Terminal(terminal) => terminal.suspend(|| write(&mut self.data, bytes)),
            View::Plain(_) | View::Json => write(&mut self.data, bytes),
        };
        self.closed = matches!(&written, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        if self.closed { Ok(()) } else { written }
    }
}

/// Shows what the parser of the command line has to say, help and version included, and returns the
/// exit code for it.
pub fn command_line(data: &mut Sink, talk: &mut Sink, error: &CommandLineError) -> u8 {
    let sink = if error.use_stderr() { talk } else { data };
    // Nobody is left to be told that nobody listens.
    let _ = write_line(sink, &error.render().to_string());
    if error.use_stderr() { Kind::Usage.exit_code() } else { 0 }
}

fn write_line(sink: &mut Sink, text: &str) -> io::Result<()> {
    write(sink, &line_of(text))
}

fn line_of(text: &str) -> Vec<u8> {
    if text.ends_with('\n') { text.into() } else { format!("{text}\n").into_bytes() }
}

/// In one piece where the sink allows it, so that lines of two processes do not mix.
fn write(sink: &mut Sink, bytes: &[u8]) -> io::Result<()> {
    sink.write_all(bytes)?;
    sink.flush()
}

#[cfg(test)]
mod tests;
