//! Log lines of containers.

use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};

use super::lines::Lines;
use crate::engine::{LogQuery, Stream};

pub(super) fn options(query: &LogQuery) -> LogsOptions {
    // bollard sends 32 bits, which last until 2038; a later time then means "from 2038".
    let since = query.since.map_or(0, |time| i32::try_from(time.max(0)).unwrap_or(i32::MAX));
    let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(query.follow)
        .since(since)
        .tail(&tail)
        .timestamps(query.timestamps)
        .build()
}

/// Puts lines together that the engine delivers in parts.
#[derive(Default)]
pub(super) struct Log {
    stdout: Lines,
    stderr: Lines,
}

impl Log {
    pub(super) fn feed(&mut self, output: LogOutput, line: &mut dyn FnMut(Stream, &str)) {
        match output {
            LogOutput::StdErr { message } => {
                self.stderr.feed(&message, &mut |text| line(Stream::Stderr, text));
            }
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                self.stdout.feed(&message, &mut |text| line(Stream::Stdout, text));
            }
        }
    }

    pub(super) fn finish(mut self, line: &mut dyn FnMut(Stream, &str)) {
        self.stdout.finish(&mut |text| line(Stream::Stdout, text));
        self.stderr.finish(&mut |text| line(Stream::Stderr, text));
    }
}
