//! A command whose output is read part by part.

use std::collections::VecDeque;

use bytes::Bytes;

use super::MemoryEngine;
use crate::engine::{Exec, ExecOutput, ExecStream, Stream};
use crate::failure::Result;

/// Answers as the hook for commands says: to its start, and anew to everything written to it.
pub struct MemoryExec {
    engine: MemoryEngine,
    container: String,
    exec: Exec,
    ready: VecDeque<(Stream, Bytes)>,
    exit_code: i64,
}

impl MemoryExec {
    pub(super) fn start(engine: &MemoryEngine, container: &str, exec: Exec) -> Result<MemoryExec> {
        let answer = engine.run(container, &exec)?;
        let (engine, container) = (engine.clone(), container.to_owned());
        let mut running = MemoryExec { engine, container, exec, ready: VecDeque::new(), exit_code: 0 };
        running.take(answer);
        Ok(running)
    }

    fn take(&mut self, answer: ExecOutput) {
        self.exit_code = answer.exit_code;
        for (stream, text) in [(Stream::Stdout, answer.stdout), (Stream::Stderr, answer.stderr)] {
            if !text.is_empty() {
                self.ready.push_back((stream, text.into()));
            }
        }
    }
}

impl ExecStream for MemoryExec {
    async fn next(&mut self) -> Result<Option<(Stream, Bytes)>> {
        self.engine.look()?;
        Ok(self.ready.pop_front())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let answer = self.engine.run(&self.container, &self.exec.clone().stdin(bytes))?;
        self.take(answer);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        Ok(())
    }

    async fn exit_code(self) -> Result<i64> {
        Ok(self.exit_code)
    }
}
