//! Words, numbers and colours.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::HumanBytes;

use crate::event::Unit;
use crate::failure::Failure;

/// Colours text for a terminal, or leaves it as it is. Nothing is told by colour alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn good(self, text: &str) -> String {
        self.sgr("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.sgr("1;31", text)
    }

    pub(super) fn doubtful(self, text: &str) -> String {
        self.sgr("33", text)
    }

    /// ECMA-48, section 8.3.117: select graphic rendition.
    fn sgr(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The step's place, such as `[3/12]`.
pub(super) fn place(number: usize, of: usize) -> String {
    format!("[{number}/{of}]")
}

/// `0.2 s`, `2 min 5 s`, `1 h 2 min`.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `3.00 MiB of 12.00 MiB (25 %)`, `3 of 12`, or without what is not known.
pub(super) fn position(done: u64, total: Option<u64>, unit: Unit) -> String {
    let amount = |count: u64| match unit {
        Unit::Bytes => HumanBytes(count).to_string(),
        Unit::Items => count.to_string(),
    };
    match (total, unit) {
        (None, _) => amount(done),
        (Some(total), Unit::Bytes) if total > 0 => {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            format!("{} of {} ({percent} %)", amount(done), amount(total))
        }
        (Some(total), _) => format!("{} of {}", amount(done), amount(total)),
    }
}

/// `, 4.00 MiB/s, 15.0 s left`: what moved in this time, and what is left where that is known. Nothing
/// before there is anything to go by.
pub(super) fn pace(moved: u64, time: Duration, left: Option<u64>) -> String {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let Some(rate) = moved.saturating_mul(1000).checked_div(milliseconds).filter(|rate| *rate > 0) else {
        return String::new();
    };
    let left = left.map(|left| format!(", {} left", duration(left.saturating_mul(1000) / rate)));
    format!(", {}/s{}", HumanBytes(rate), left.unwrap_or_default())
}

pub(super) fn waiting(reason: &str, seconds_at_most: u64) -> String {
    format!("waiting: {reason} (at most {seconds_at_most} s)")
}

/// At most `columns` characters; what is cut away shows as `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

pub(super) fn warning(text: &str, paint: Paint) -> String {
    format!("{} {text}", paint.doubtful("warning:"))
}

/// The failure as lines: what, causes, evidence, hints. Further lines of a text are indented, so
/// that each entry stays recognisable.
pub(super) fn failure(failure: &Failure, paint: Paint) -> String {
    let mut lines = format!("{} {}", paint.bad("error:"), indented(&failure.message, "       "));
    // Writing to a String cannot fail.
    for cause in &failure.causes {
        let _ = write!(lines, "\n  cause: {}", indented(cause, "         "));
    }
    for line in &failure.evidence {
        let _ = write!(lines, "\n  | {}", line.trim_end());
    }
    for hint in &failure.hints {
        let _ = write!(lines, "\n  try: {}", indented(hint, "       "));
    }
    lines
}

fn indented(text: &str, indent: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (milliseconds, text) in [
            (0, "0.0 s"),
            (249, "0.2 s"),
            (59_999, "59.9 s"),
            (125_000, "2 min 5 s"),
            (3_725_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
    }

    #[test]
    fn positions() {
        const MIB: u64 = 1024 * 1024;
        let table = [
            (3 * MIB, Some(12 * MIB), Unit::Bytes, "3.00 MiB of 12.00 MiB (25 %)"),
            (13 * MIB, Some(12 * MIB), Unit::Bytes, "13.00 MiB of 12.00 MiB (100 %)"),
            (0, Some(0), Unit::Bytes, "0 B of 0 B"),
            (512, None, Unit::Bytes, "512 B"),
            (3, Some(12), Unit::Items, "3 of 12"),
            (3, None, Unit::Items, "3"),
        ];
        for (done, total, unit, text) in table {
            assert_eq!(position(done, total, unit), text);
        }
    }

    #[test]
    fn a_pace_needs_time_and_movement() {
        for (moved, seconds, left, text) in [
            (0, 5, Some(9), ""),
            (9, 0, Some(9), ""),
            (2048, 2, None, ", 1.00 KiB/s"),
            (2048, 2, Some(4096), ", 1.00 KiB/s, 4.0 s left"),
        ] {
            assert_eq!(pace(moved, Duration::from_secs(seconds), left), text);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größen", 5), "größ…");
    }
}
