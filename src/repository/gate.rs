//! Whether an operation may go on, and what rustic is told of the one who watches.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::{Id, ProgressBars, ProgressType, RusticProgress};

use super::Progress;
use super::store::{StoreError, Trouble};
use crate::failure::{Failure, Kind, Result};

/// Why an operation comes to nothing.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Stopped,
    /// What is to be saved could not be read.
    Source(String),
    Store(StoreError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Stopped => Failure::failed("it was stopped; nothing was saved"),
            Fault::Source(message) => Failure::failed(message),
            Fault::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let failure = Failure::failed(error.message);
        match error.trouble {
            Trouble::Damaged => Failure { kind: Kind::Verification, ..failure },
            Trouble::Full => {
                failure.hint("make room there, or let old backups go at once: `autoodoo backup prune --now`")
            }
            Trouble::Connection => failure.hint("run it again when the place can be reached"),
            _ => failure,
        }
    }
}

/// One operation's way to the store. Once something went wrong it stays shut: rustic logs a source
/// that fails and goes on, and what it made after that must never count as a backup.
#[derive(Debug, Default)]
pub(super) struct Gate {
    progress: Arc<Progress>,
    fault: Mutex<Option<Fault>>,
    /// Index files written in this operation.
    indexes: Mutex<Vec<Id>>,
    /// Names of the packs written in this operation.
    packs: Mutex<HashSet<String>>,
}

impl Gate {
    pub(super) fn new(progress: &Arc<Progress>) -> Arc<Gate> {
        Arc::new(Gate { progress: Arc::clone(progress), ..Gate::default() })
    }

    /// Shuts it. The first fault is the one to tell: later ones follow from it.
    pub(super) fn shut(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    pub(super) fn open(&self) -> std::result::Result<(), Fault> {
        if self.progress.stop.load(Relaxed) {
            self.shut(Fault::Stopped);
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone().map_or(Ok(()), Err)
    }

    pub(super) fn passed(&self) -> Result<()> {
        Ok(self.open()?)
    }

    pub(super) fn wrote_index(&self, id: Id) {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    pub(super) fn wrote_pack(&self, name: String) {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    pub(super) fn packs(&self) -> HashSet<String> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn indexes(&self) -> Vec<Id> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Shows rustic's counting, one kind of it, in [`Progress`].
#[derive(Debug)]
pub(super) struct Bars {
    progress: Arc<Progress>,
    /// Only bytes count: a backup's. Else whatever is being counted at the moment.
    only_bytes: bool,
}

impl Bars {
    pub(super) fn bytes(progress: &Arc<Progress>) -> Bars {
        Bars { progress: Arc::clone(progress), only_bytes: true }
    }

    pub(super) fn everything(progress: &Arc<Progress>) -> Bars {
        Bars { progress: Arc::clone(progress), only_bytes: false }
    }
}

impl ProgressBars for Bars {
    fn progress(&self, kind: ProgressType, _prefix: &str) -> rustic_core::Progress {
        match kind {
            ProgressType::Bytes => {}
            ProgressType::Counter if !self.only_bytes => {}
            _ => return rustic_core::Progress::hidden(),
        }
        self.progress.done.store(0, Relaxed);
        self.progress.total.store(0, Relaxed);
        rustic_core::Progress::new(Bar(Arc::clone(&self.progress)))
    }
}

#[derive(Debug)]
struct Bar(Arc<Progress>);

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        self.0.total.store(length, Relaxed);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, by: u64) {
        self.0.done.fetch_add(by, Relaxed);
    }

    fn finish(&self) {}
}
