//! autoodoo: a production Odoo from the stock images, on Docker or Podman.
//!
//! Four kinds of module, and a test (`tests/architecture.rs`) that holds the walls between them:
//! the pure core (`site`, `stack`, `render`, `plan` and the values around them), adapters (`engine`,
//! `host`, `tls`), commands (`command`, `apply`) and the `ui`, which alone prints.

pub mod apply;
pub mod cli;
pub mod command;
pub mod digest;
pub mod engine;
pub mod event;
pub mod failure;
pub mod host;
pub mod name;
pub mod observed;
pub mod pins;
pub mod plan;
pub mod render;
pub mod secret;
pub mod site;
pub mod stack;
pub mod state;
pub mod tls;
pub mod ui;

use std::ffi::OsString;

use clap::Parser;

use cli::Cli;
use command::{Adapters, Context};
use ui::{Sinks, Ui};

/// Runs one command line and returns the process exit code. In-process tests enter here.
pub async fn run<A: Adapters>(
    args: impl IntoIterator<Item = OsString>,
    adapters: &A,
    sinks: Sinks,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return Ui::usage(sinks, &error.render().to_string(), error.exit_code()),
    };
    let ui = Ui::new(sinks, cli.global.json, cli.global.quiet, cli.global.verbose);
    let context = Context { adapters, cli: &cli, ui: &ui };
    match command::dispatch(&context).await {
        Ok(code) => code,
        Err(failure) => {
            ui.failure(&failure);
            failure.kind.exit_code()
        }
    }
}
