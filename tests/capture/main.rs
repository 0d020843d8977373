//! Captures of a real PostgreSQL with attachments beside it, while somebody writes, removes, kills and
//! drops. `AUTOODOO_TEST_ENGINE=docker|podman` says which engine, `AUTOODOO_TEST_POSTGRES` with which
//! images (17 and 15 of the project's own otherwise), `AUTOODOO_TEST_PREFIX` how what is made is called
//! (`cap` otherwise). It is removed at the end, also when a check fails. Run with `--nocapture` to see what was measured.

mod bench;
mod checks;
mod reader;
mod site;

use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Instant;

use bench::Bench;

#[test]
fn a_moment_of_a_living_server() {
    let images = std::env::var("AUTOODOO_TEST_POSTGRES")
        .unwrap_or("localhost/autoodoo/postgres:17 localhost/autoodoo/postgres:15".into());
    for image in images.split_whitespace() {
        on(image, async |bench| {
            let only = std::env::var("AUTOODOO_TEST_ONLY").unwrap_or_default();
            macro_rules! run {
                ($($check:ident),* $(,)?) => {$(
                    if stringify!($check).contains(&only) {
                        let began = Instant::now();
                        println!("{image}: {} …", stringify!($check));
                        checks::$check(bench).await;
                        println!("{image}: {} {:.1} s", stringify!($check), began.elapsed().as_secs_f32());
                    }
                )*};
            }
            run!(
                everything_is_of_one_moment,
                the_collector_at_the_same_time,
                a_database_without_attachments,
                damage_on_the_disk_is_told,
                a_killed_dump,
                a_lost_session,
                a_dropped_database,
                a_stop,
                a_reader_that_gives_up,
                a_killed_run_is_swept,
                a_migration_meanwhile,
                an_examination_beside_a_sweep,
                many_files,
            );
        });
    }
}

/// The run that `a_killed_run_is_swept` kills.
#[test]
#[ignore = "a part of another test"]
fn a_run_to_be_killed() {
    runtime().block_on(checks::run_until_killed());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs checks on a server of this image, and cleans up whatever happens.
fn on(image: &str, body: impl AsyncFnOnce(&Bench)) {
    runtime().block_on(async {
        let bench = Bench::start(image).await;
        let outcome = AssertUnwindSafe(body(&bench)).catch_unwind().await;
        bench.clean().await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
}
