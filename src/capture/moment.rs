//! The moment itself: from its beginning to its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Client;
use super::configuration;
use super::entries::{Database, Reading, Shared};
use super::held::Held;
use super::overwritten::overwritten;
use super::pass::Trouble;
use super::serve::{Request, Server};
use super::stream::Proven;
use super::subject::{Secrets, Subject, Suspects};
use crate::backup::manifest::{FORMAT, Manifest};
use crate::engine::Engine;
use crate::event::Reporter;
use crate::failure::{Failure, Result};
use crate::filestore::Farms;
use crate::repository::source::Source;

/// How often it is looked whether the run is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How many looks lie between two questions whether the sessions are still there.
const PING: u32 = 20;
/// How long what nobody reads any more may take to end.
const PARTING: Duration = Duration::from_secs(30);
/// Bytes. Roles and their settings.
const LARGEST_GLOBALS: usize = 16 << 20;

/// A site at one moment. Files that are deleted from now on stay readable, and every dump shows what
/// was committed then. What it holds goes with it.
pub struct Moment<'a, E: Engine> {
    server: Server<'a, E>,
    requests: UnboundedReceiver<Request>,
    shared: Arc<Shared>,
    /// Last: links go when nobody reads them any more.
    farms: Farms,
}

/// What was learnt from the beginning to the end.
#[derive(Debug)]
pub struct Facts {
    /// What the last target that was read to its end says of the moment.
    pub manifest: Option<Manifest>,
    /// How long Odoo's collector was held off, by database.
    pub locks: BTreeMap<String, Duration>,
    /// What went wrong while targets read, in that order.
    pub faults: Vec<Failure>,
}

impl<'a, E: Engine> Moment<'a, E> {
    /// Takes hold of every database, one after the other. PostgreSQL runs; the caller has the site's
    /// lock. Fails when a database does not exist, cannot be reached or is locked for long, and when
    /// its attachments cannot be linked; then nothing is left behind.
    pub async fn begin(
        engine: &'a E,
        subject: &'a Subject,
        reporter: &dyn Reporter,
    ) -> Result<Moment<'a, E>> {
        let mut configuration = configuration::read(&subject.root, &subject.named)?;
        configuration.left_out.extend(overwritten(engine, subject).await);
        let farms = Farms::begin(&subject.volume)?;
        let mut held = Vec::new();
        for database in &subject.databases {
            held.push(Held::begin(engine, &subject.client, database, &farms, reporter).await?);
        }
        let globals = match globals(engine, &subject.client).await {
            Ok(globals) => Some(globals),
            Err(failure) if subject.client.is_superuser() => return Err(failure),
            // A role of somebody else's server may not read its roles.
            Err(failure) => {
                configuration.left_out.push(format!("roles and their settings: {failure}"));
                None
            }
        };
        let (requests, receiver) = unbounded_channel();
        let shared = Shared {
            requests,
            trouble: Trouble::default(),
            root: subject.root.clone(),
            manifest: manifest(subject, &held, configuration.left_out.clone()),
            configuration,
            globals,
            databases: held.iter().map(database).collect(),
            logs: subject.logs.iter().map(|log| log.container.clone()).collect(),
            sealed: Mutex::new(None),
        };
        let server = Server {
            engine,
            subject,
            held,
            trouble: shared.trouble.clone(),
            faults: RefCell::default(),
            next: Cell::new(1),
        };
        Ok(Moment { server, requests: receiver, shared: Arc::new(shared), farms })
    }

    /// Everything, to be read on other threads while [`serve_until`](Self::serve_until) runs on this.
    #[must_use]
    pub fn source(&self, secrets: Secrets, suspects: Suspects) -> Arc<dyn Source> {
        Arc::new(Reading { shared: self.shared.clone(), secrets, suspects: Arc::new(suspects) })
    }

    /// Answers readers until `job`, which reads, has ended. Once `stop` is set, nothing can be read any
    /// more from this moment, and the job fails soon.
    pub async fn serve_until<T>(&mut self, stop: &AtomicBool, job: impl Future<Output = T>) -> T {
        let Moment { server, requests, .. } = self;
        let server = &*server;
        let (mut job, mut answers) = (pin!(job), FuturesUnordered::new());
        let mut watching = pin!(watch(server, stop));
        let outcome = loop {
            tokio::select! {
                outcome = &mut job => break outcome,
                Some(request) = requests.recv() => answers.push(server.answer(request)),
                Some(()) = answers.next() => {}
                () = &mut watching => {}
            }
        };
        // Readers have gone: what still runs for them is being ended.
        let _ = timeout(PARTING, async { while answers.next().await.is_some() {} }).await;
        outcome
    }

    /// What the last target that was read to its end says of the moment.
    #[must_use]
    pub fn manifest(&self) -> Option<Manifest> {
        self.shared.sealed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets everything go. Fails with the reason when the moment was lost before its end, or stopped.
    pub async fn end(self) -> Result<Facts> {
        let Moment { server, requests, shared, farms } = self;
        drop(requests);
        let locks = server.held.iter().map(|held| (held.name.clone(), held.lock)).collect();
        let lost = server.trouble.error();
        let mut faults = server.faults.take();
        for held in server.held {
            held.release().await;
        }
        farms.clear()?;
        if let Some(lost) = lost {
            let is_known = faults.iter().position(|fault| fault.to_string() == lost.to_string());
            return Err(
                is_known.map_or_else(|| Failure::failed(lost.to_string()), |at| faults.swap_remove(at))
            );
        }
        let manifest = shared.sealed.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Facts { manifest, locks, faults })
    }
}

/// Never ends. Looks whether the run is to stop and whether the snapshots are still there.
async fn watch<E: Engine>(server: &Server<'_, E>, stop: &AtomicBool) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_u32.. {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            server.trouble.set("the backup was stopped");
        } else if number.is_multiple_of(PING) {
            server.find_trouble().await;
        }
    }
}

fn database<S>(held: &Held<S>) -> Database {
    Database {
        name: held.name.clone(),
        farm: held.farm.clone(),
        findings: held.findings.clone(),
        size: held.size,
    }
}

fn manifest<S>(subject: &Subject, held: &[Held<S>], left_out: Vec<String>) -> Manifest {
    Manifest {
        format: FORMAT,
        autoodoo: env!("CARGO_PKG_VERSION").to_owned(),
        site: subject.site.clone(),
        site_id: subject.site_id.clone(),
        kind: subject.kind,
        began: subject.began,
        images: subject.images.clone(),
        odoo_release: subject.odoo_release,
        postgres_version: held.first().map(|held| held.server_version.clone()).unwrap_or_default(),
        databases: Vec::new(),
        bytes: 0,
        files: 0,
        left_out,
    }
}

/// Roles, their settings and tablespaces, as SQL without passwords.
async fn globals<E: Engine>(engine: &E, client: &Client) -> Result<Bytes> {
    let exec = client.exec("pg_dumpall", "postgres", &["--globals-only", "--no-role-passwords"]);
    let what = "pg_dumpall of roles".to_owned();
    let mut proven = Proven::start(engine, &client.container, exec, what, b"--").await?;
    let mut text = BytesMut::new();
    while let Some(chunk) = proven.next().await? {
        text.extend_from_slice(&chunk);
        if text.len() > LARGEST_GLOBALS {
            return Err(Failure::failed("the roles and their settings are more than 16 MiB of SQL"));
        }
    }
    Ok(text.freeze())
}
