//! autoodoo: a production Odoo from the stock images, on Docker or Podman.
//!
//! Four kinds of module, and a test (`tests/architecture.rs`) that holds the walls between them:
//! the pure core (`site`, `stack`, `render`, `plan` and the values around them), adapters (`acme`,
//! `archive`, `dns`, `engine`, `filestore`, `host`, `repository`, `tls`), commands (`command`, `apply`,
//! `capture`) and the `ui`, which alone prints.

pub mod acme;
pub mod apply;
pub mod archive;
pub mod backup;
pub mod capture;
pub mod cli;
pub mod command;
pub mod digest;
pub mod dns;
pub mod engine;
pub mod event;
pub mod failure;
pub mod filestore;
pub mod host;
pub mod name;
pub mod observed;
pub mod pins;
pub mod plan;
pub mod render;
pub mod repository;
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
use ui::{Mode, Sink, Ui, Verbosity};

/// Where output goes, and who reads it.
pub struct Output {
    pub data: Sink,
    pub talk: Sink,
    /// A person watches standard error.
    pub terminal: bool,
    /// `NO_COLOR` is not set.
    pub colour: bool,
}

/// Runs one command line and returns the process exit code. In-process tests enter here.
pub async fn run<A: Adapters>(
    args: impl IntoIterator<Item = OsString>,
    adapters: &A,
    mut output: Output,
) -> u8 {
    let cli = match Cli::try_parse_from(cli::with_separator(args)) {
        Ok(cli) => cli,
        Err(error) => return ui::command_line(&mut output.data, &mut output.talk, &error),
    };
    let ui = ui(&cli, output);
    let context = Context { adapters, cli: &cli, ui: &ui };
    match command::dispatch(&context).await {
        Ok(code) => code,
        Err(failure) => {
            ui.failure(&failure);
            failure.kind.exit_code()
        }
    }
}

fn ui(cli: &Cli, output: Output) -> Ui {
    let mode = match (cli.global.json, output.terminal) {
        (true, _) => Mode::Json,
        (false, true) => Mode::Terminal,
        (false, false) => Mode::Plain,
    };
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Normal,
    };
    Ui::new(mode, verbosity, output.colour, output.data, output.talk)
}
