//! What operations did, step by step, on disk before and after each step: a run that was cut off
//! is recognised by the record that is missing.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files;
use crate::failure::Result;

/// Bytes after which a new file is begun; the one before is kept, so that the two together stay
/// near twice this.
const LARGEST: u64 = 1024 * 1024;

/// The operation that replaces a certificate. It starts no container, so its end, good or bad, says
/// nothing of those that another one started.
pub const CERTIFICATE: &str = "cert";

/// The operation that backs the site up. A cold one starts again what it has stopped, which had proved
/// itself before.
pub const BACKUP: &str = "backup";

/// Operations after which containers are what they were before.
const APART: [&str; 2] = [CERTIFICATE, BACKUP];

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Failed,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Record {
    Begin { at: Timestamp, operation: String, steps: Vec<String> },
    StepBegin { at: Timestamp, number: usize },
    StepEnd { at: Timestamp, number: usize },
    End { at: Timestamp, outcome: Outcome },
}

/// The last operation, when it was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub operation: String,
    /// When it began.
    pub at: Timestamp,
    /// The step in which it was cut off; `None` between two steps.
    pub step: Option<String>,
}

/// `state/journal.jsonl`. Each record is on disk when the call returns. The caller holds the
/// site's lock while writing.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
}

impl Journal {
    pub(super) fn new(state_dir: PathBuf) -> Journal {
        Journal { dir: state_dir }
    }

    /// An operation begins; `steps` are its steps' texts in order.
    pub fn begin(&self, at: Timestamp, operation: &str, steps: Vec<String>) -> Result<()> {
        files::ensure_dir(&self.dir, 0o700)?;
        self.rotate()?;
        self.append(&Record::Begin { at, operation: operation.to_owned(), steps })
    }

    /// Steps are numbered from 1.
    pub fn step_begin(&self, at: Timestamp, number: usize) -> Result<()> {
        self.append(&Record::StepBegin { at, number })
    }

    pub fn step_end(&self, at: Timestamp, number: usize) -> Result<()> {
        self.append(&Record::StepEnd { at, number })
    }

    pub fn end(&self, at: Timestamp, outcome: Outcome) -> Result<()> {
        self.append(&Record::End { at, outcome })
    }

    /// `None` when the last operation came to its end, well or badly, or there was none.
    pub fn unfinished(&self) -> Result<Option<Unfinished>> {
        Ok(last_run(self.records()?))
    }

    /// Whether the last operation on containers came to a good end, or there was none. If not,
    /// nothing that it started has proved itself.
    pub fn is_settled(&self) -> Result<bool> {
        let (mut settled, mut counts) = (true, true);
        for record in records(&self.previous())?.into_iter().chain(records(&self.current())?) {
            match record {
                Record::Begin { operation, .. } => {
                    counts = !APART.contains(&operation.as_str());
                    settled &= !counts;
                }
                Record::End { outcome, .. } if counts => settled = outcome == Outcome::Done,
                Record::End { .. } | Record::StepBegin { .. } | Record::StepEnd { .. } => {}
            }
        }
        Ok(settled)
    }

    fn records(&self) -> Result<Vec<Record>> {
        let found = records(&self.current())?;
        if found.is_empty() {
            // Cut off between setting the full file aside and beginning the new one.
            return records(&self.previous());
        }
        Ok(found)
    }

    fn current(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    fn previous(&self) -> PathBuf {
        self.dir.join("journal.1.jsonl")
    }

    fn rotate(&self) -> Result<()> {
        let path = self.current();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LARGEST => std::fs::rename(&path, self.previous())
                .map_err(|error| files::io_failure("cannot set aside", &path, &error)),
            _ => Ok(()),
        }
    }

    fn append(&self, record: &Record) -> Result<()> {
        let path = self.current();
        append_line(&path, record).map_err(|error| files::io_failure("cannot write", &path, &error))
    }
}

/// What can be understood; lines that a crash tore are left out.
fn records(path: &Path) -> Result<Vec<Record>> {
    let bytes = files::read_optional(path)?.unwrap_or_default();
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn append_line(path: &Path, record: &Record) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if ends_torn(&mut file)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    file.sync_data()
}

/// Whether a crash left half a line: the next record must not continue it.
fn ends_torn(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

fn last_run(records: Vec<Record>) -> Option<Unfinished> {
    let mut run = None;
    let mut texts = Vec::new();
    for record in records {
        match (record, &mut run) {
            (Record::Begin { at, operation, steps }, _) => {
                texts = steps;
                run = Some(Unfinished { operation, at, step: None });
            }
            (Record::StepBegin { number, .. }, Some(run)) => {
                run.step = number.checked_sub(1).and_then(|index| texts.get(index).cloned());
            }
            (Record::StepEnd { .. }, Some(run)) => run.step = None,
            (Record::End { .. }, _) => run = None,
            (Record::StepBegin { .. } | Record::StepEnd { .. }, None) => {}
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    fn steps() -> Vec<String> {
        vec!["create volume acme-db-1".to_owned(), "start acme-postgres".to_owned()]
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path().join("state"));
        (dir, journal)
    }

    fn cut_off(journal: &Journal, step: Option<&str>) -> bool {
        journal.unfinished().unwrap().is_some_and(|run| run.step.as_deref() == step)
    }

    #[test]
    fn a_run_is_unfinished_until_it_ends() {
        let (_dir, journal) = journal();
        assert_eq!(journal.unfinished().unwrap(), None);
        journal.begin(at(0), "up", steps()).unwrap();
        assert!(cut_off(&journal, None));
        journal.step_begin(at(1), 1).unwrap();
        assert!(cut_off(&journal, Some("create volume acme-db-1")));
        journal.step_end(at(2), 1).unwrap();
        assert!(cut_off(&journal, None));
        journal.step_begin(at(3), 2).unwrap();
        assert_eq!(
            journal.unfinished().unwrap(),
            Some(Unfinished {
                operation: "up".to_owned(),
                at: at(0),
                step: Some("start acme-postgres".to_owned())
            })
        );
        journal.end(at(4), Outcome::Failed).unwrap();
        assert_eq!(journal.unfinished().unwrap(), None);
    }

    #[test]
    fn certificates_and_backups_settle_nothing_and_unsettle_nothing() {
        for apart in APART {
            let (_dir, journal) = journal();
            let run = |operation, outcome| {
                journal.begin(at(0), operation, steps()).unwrap();
                journal.end(at(1), outcome).unwrap();
                journal.is_settled().unwrap()
            };
            assert!(run(apart, Outcome::Failed), "nothing was started");
            assert!(!run("up", Outcome::Failed));
            assert!(!run(apart, Outcome::Done));
            std::fs::rename(journal.current(), journal.previous()).unwrap();
            assert!(!run(apart, Outcome::Done), "what was set aside counts");
            assert!(run("up", Outcome::Done) && run(apart, Outcome::Failed));
            journal.begin(at(2), apart, steps()).unwrap();
            assert!(journal.is_settled().unwrap(), "cut off, it unsettles nothing either");
            journal.begin(at(3), "up", steps()).unwrap();
            assert!(!journal.is_settled().unwrap());
        }
    }

    #[test]
    fn a_torn_line_is_left_out_and_not_continued() {
        let (_dir, journal) = journal();
        journal.begin(at(0), "up", steps()).unwrap();
        let mut file = OpenOptions::new().append(true).open(journal.current()).unwrap();
        file.write_all(br#"{"record":"end","at":"20"#).unwrap();
        assert!(cut_off(&journal, None));
        journal.begin(at(5), "down", Vec::new()).unwrap();
        assert_eq!(journal.unfinished().unwrap().unwrap().operation, "down");
        journal.end(at(6), Outcome::Done).unwrap();
        assert_eq!(journal.unfinished().unwrap(), None);
    }

    #[test]
    fn a_full_file_is_set_aside() {
        let (_dir, journal) = journal();
        let long = vec!["x".repeat(usize::try_from(LARGEST).unwrap())];
        journal.begin(at(0), "up", long).unwrap();
        journal.step_begin(at(1), 1).unwrap();
        std::fs::rename(journal.current(), journal.previous()).unwrap();
        assert!(journal.unfinished().unwrap().is_some(), "the cut-off run is in the file set aside");
        std::fs::rename(journal.previous(), journal.current()).unwrap();

        journal.begin(at(2), "down", Vec::new()).unwrap();
        assert_eq!(journal.unfinished().unwrap().unwrap().operation, "down");
        assert!(std::fs::metadata(journal.current()).unwrap().len() < 1000);
        assert!(std::fs::metadata(journal.previous()).unwrap().len() > LARGEST);
    }

    #[test]
    fn records_are_one_json_object_a_line() {
        let (_dir, journal) = journal();
        journal.begin(at(0), "up", vec!["wait".to_owned()]).unwrap();
        journal.step_begin(at(1), 1).unwrap();
        journal.step_end(at(2), 1).unwrap();
        journal.end(at(3), Outcome::Done).unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(journal.current()).unwrap(), @r#"
        {"record":"begin","at":"2026-02-02T02:40:00Z","operation":"up","steps":["wait"]}
        {"record":"step-begin","at":"2026-02-02T02:40:01Z","number":1}
        {"record":"step-end","at":"2026-02-02T02:40:02Z","number":1}
        {"record":"end","at":"2026-02-02T02:40:03Z","outcome":"done"}
        "#);
    }
}
