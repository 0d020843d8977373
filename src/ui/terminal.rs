//! A person at a terminal: the running step moves, finished steps stay as a line each.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::{self, Paint};
use crate::event::{Event, Unit};

const TICK: Duration = Duration::from_millis(100);
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ";
/// The second line of a running step fits a terminal of 80 columns with its indent.
const DETAIL_COLUMNS: usize = 74;
/// What is left of it beside a bar with rate and remaining time.
const NOTE_COLUMNS: usize = 16;

pub(super) struct Terminal {
    screen: MultiProgress,
    paint: Paint,
    verbose: bool,
    running: Option<Running>,
}

struct Running {
    /// Such as `[3/12] create volume acme-db-1`.
    title: String,
    bar: ProgressBar,
    shape: Shape,
}

/// What the running step's second line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// No second line.
    Alone,
    /// A sentence.
    Detail,
    /// Position, with a bar where the total is known.
    Position { unit: Unit, total: bool },
}

impl Terminal {
    pub(super) fn new(target: ProgressDrawTarget, paint: Paint, verbose: bool) -> Self {
        Terminal { screen: MultiProgress::with_draw_target(target), paint, verbose, running: None }
    }

    /// Moves what is on the screen; returns the line that is to stay above it, if any.
    pub(super) fn show(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::StepStarted { number, of, action, cause } => {
                self.start(&text::place(*number, *of), action, cause);
                None
            }
            Event::Progress { done, total, unit, note } => {
                self.progress(*done, *total, *unit, note);
                None
            }
            Event::Waiting { reason, seconds_at_most } => {
                self.detail(&text::waiting(reason, *seconds_at_most));
                None
            }
            Event::StepDone { milliseconds, .. } => {
                let title = self.clear()?;
                Some(format!("{} {title} ({})", self.paint.good("✓"), text::duration(*milliseconds)))
            }
            Event::StepFailed { number, of } => {
                let title = self.clear().unwrap_or_else(|| text::place(*number, *of));
                Some(format!("{} {title}", self.paint.bad("✗")))
            }
            Event::Note { text } => Some(text.clone()),
            Event::Warning { text } => Some(text::warning(text, self.paint)),
        }
    }

    /// Writes something while nothing moves.
    pub(super) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.screen.suspend(write)
    }

    /// Takes the running step off the screen; returns its title.
    pub(super) fn clear(&mut self) -> Option<String> {
        let running = self.running.take()?;
        running.bar.finish_and_clear();
        self.screen.remove(&running.bar);
        Some(running.title)
    }

    #[cfg(test)]
    pub(super) fn force_draw(&self) {
        if let Some(running) = &self.running {
            running.bar.force_draw();
        }
    }

    fn start(&mut self, place: &str, action: &str, cause: &str) {
        self.clear();
        let mut title = format!("{place} {action}");
        if self.verbose && !cause.is_empty() {
            title = format!("{title}: {cause}");
        }
        let bar = ProgressBar::no_length().with_style(style(Shape::Alone)).with_message(title.clone());
        let bar = self.screen.add(bar);
        bar.enable_steady_tick(TICK);
        self.running = Some(Running { title, bar, shape: Shape::Alone });
    }

    fn progress(&mut self, done: u64, total: Option<u64>, unit: Unit, note: &str) {
        let Some(running) = &mut self.running else { return };
        running.take_shape(Shape::Position { unit, total: total.is_some() });
        match total {
            Some(total) => running.bar.set_length(total),
            None => running.bar.unset_length(),
        }
        running.bar.set_position(done);
        running.bar.set_prefix(text::cut(note, NOTE_COLUMNS));
    }

    fn detail(&mut self, detail: &str) {
        let Some(running) = &mut self.running else { return };
        running.take_shape(Shape::Detail);
        running.bar.set_prefix(text::cut(detail, DETAIL_COLUMNS));
    }
}

impl Running {
    fn take_shape(&mut self, shape: Shape) {
        if self.shape != shape {
            self.shape = shape;
            // A sentence would not fit beside a bar.
            self.bar.set_prefix("");
            self.bar.set_style(style(shape));
            // The rate is that of this transfer, not of what the step did before.
            self.bar.reset_eta();
        }
    }
}

fn style(shape: Shape) -> ProgressStyle {
    // `template` is checked by a test over every shape.
    ProgressStyle::with_template(&template(shape))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(SPINNER)
        .progress_chars("=> ")
}

fn template(shape: Shape) -> String {
    let second = match shape {
        Shape::Alone => return "{spinner} {wide_msg} {elapsed}".to_owned(),
        Shape::Detail => "{prefix}",
        Shape::Position { unit: Unit::Bytes, total: true } => {
            "[{bar:12}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left {prefix}"
        }
        Shape::Position { unit: Unit::Bytes, total: false } => {
            "{binary_bytes} {binary_bytes_per_sec} {prefix}"
        }
        Shape::Position { unit: Unit::Items, total: true } => "[{bar:24}] {pos}/{len} {prefix}",
        Shape::Position { unit: Unit::Items, total: false } => "{pos} {prefix}",
    };
    format!("{{spinner}} {{wide_msg}} {{elapsed}}\n    {second}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        let positions = [Unit::Bytes, Unit::Items]
            .into_iter()
            .flat_map(|unit| [true, false].map(|total| Shape::Position { unit, total }));
        for shape in positions.chain([Shape::Alone, Shape::Detail]) {
            ProgressStyle::with_template(&template(shape)).unwrap();
        }
    }
}
