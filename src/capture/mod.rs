//! One consistent moment of a running site, offered as a [`Source`](crate::repository::source::Source)
//! to repositories and exports.
//!
//! For each database: session A holds Odoo's attachment collector off (`LOCK TABLE ir_attachment IN
//! ROW EXCLUSIVE MODE`), session B exports a snapshot, which A adopts to list the attachments; the files
//! are hard linked; A ends; B stays, without a lock on any table, until everything has been read, so
//! that every dump is of that moment.
//!
//! Repositories read on threads of their own; the engine is asked on the program's one thread. Dumps
//! and logs pass from here to there in chunks, through channels that hold a few of them.
//!
//! ```text
//! let mut moment = Moment::begin(&engine, &subject, reporter).await?;
//! let source = moment.source(Secrets::Included, Suspects::none());
//! let job = tokio::task::spawn_blocking(move || repository.back_up(source, …));
//! let saved = moment.serve_until(&progress.stop, job).await;
//! let facts = moment.end().await?;
//! ```

mod attachments;
mod client;
mod configuration;
mod entries;
mod held;
mod moment;
mod overwritten;
mod pass;
mod pipe;
#[cfg(test)]
mod script;
mod serve;
mod session;
mod sql;
mod stream;
mod subject;
mod sweep;
pub mod weight;

pub use attachments::examine;
pub use client::Client;
pub use moment::{Facts, Moment};
pub use subject::{Log, Secrets, Subject, Suspects};
pub use sweep::sweep;
