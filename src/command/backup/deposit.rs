//! A drop directory gets the moment that is held, as one sealed export.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::copy::Copying;
use super::export::{Work, described};
use super::opened::{blocking, position, telling};
use super::{access, sealing};
use crate::archive::seal::Recipients;
use crate::capture::{Moment, Secrets, Subject, Suspects};
use crate::command::Adapters;
use crate::event::Unit;
use crate::failure::Result;
use crate::repository::Saved;
use crate::site::backup::Target;

impl<A: Adapters> Copying<'_, A> {
    /// It is sent once: a stream whose connection broke cannot go on, and what was cut is no export to
    /// the server.
    pub async fn deposit(
        &self,
        moment: &mut Moment<'_, A::Engine>,
        target: &Target,
        subject: &Subject,
    ) -> Result<Saved> {
        let secrets = self.loaded.dir.backup_secrets();
        let now = self.context.adapters.clock().now();
        let recipients = sealing::of_target(&secrets, &target.name, now)?;
        let place = self.context.adapters.drop_box(&target.place, &access::access(&secrets, target)?)?;
        let id = file_name(subject, &recipients);
        let work = Work {
            source: moment.source(Secrets::Included, Suspects::none()),
            subject: described(self.loaded, subject, &id),
            recipients,
            progress: Arc::clone(&self.progress),
        };
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(work.source.size(), Ordering::Relaxed);
        let name = id.clone();
        let job = blocking(move || {
            work.export(|export| export.read_by(|content| Ok(place.deposit(&name, content)?)))
        });
        let job = telling(self.context, || position(&self.progress), Unit::Bytes, job);
        let (written, length) = moment.serve_until(&self.progress.stop, job).await?;
        Ok(Saved { id, files: written.files, bytes: written.bytes, added: length })
    }
}

/// Sorts by time, and never the same twice.
fn file_name(subject: &Subject, recipients: &Recipients) -> String {
    format!("{}-{}{}", subject.site, subject.began.strftime("%Y%m%dT%H%M%SZ"), recipients.suffix())
}
