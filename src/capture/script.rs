//! For tests: a command whose output is known beforehand.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::engine::{ExecStream, Stream};
use crate::failure::Result;

pub(super) type Output = (Stream, &'static [u8]);

pub(super) struct Script {
    parts: VecDeque<Output>,
    exit_code: i64,
    pub written: String,
}

impl Script {
    pub(super) fn new(parts: &[Output], exit_code: i64) -> Script {
        Script { parts: parts.iter().copied().collect(), exit_code, written: String::new() }
    }
}

impl ExecStream for Script {
    async fn next(&mut self) -> Result<Option<(Stream, Bytes)>> {
        Ok(self.parts.pop_front().map(|(stream, bytes)| (stream, Bytes::from_static(bytes))))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        Ok(())
    }

    async fn exit_code(self) -> Result<i64> {
        Ok(self.exit_code)
    }
}
