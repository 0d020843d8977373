//! `backup`: create, list, verify, prune, read, set up, export.

mod access;
mod cold;
mod copy;
mod create;
pub(super) mod desk;
mod export;
pub mod kit;
mod line;
mod list;
mod manifests;
pub(super) mod opened;
mod prune;
mod read;
mod sealing;
mod setup;
pub mod standing;
mod summary;
mod verify;
mod whole;

use super::{Adapters, Context};
use crate::cli::{BackupArgs, BackupCommand};
use crate::failure::{Failure, Result};

pub async fn cmd_backup<A: Adapters>(context: &Context<'_, A>, args: &BackupArgs) -> Result<()> {
    match &args.command {
        None => create::cmd_create(context, &args.create).await,
        Some(BackupCommand::Create(args)) => create::cmd_create(context, args).await,
        Some(BackupCommand::List(args)) => list::cmd_list(context, args).await,
        Some(BackupCommand::Verify(args)) => verify::cmd_verify(context, args).await,
        Some(BackupCommand::Prune(args)) => prune::cmd_prune(context, args).await,
        Some(BackupCommand::Ls(args)) => read::cmd_ls(context, args).await,
        Some(BackupCommand::Cat(args)) => read::cmd_cat(context, args).await,
        Some(BackupCommand::Setup(args)) => setup::cmd_setup(context, args).await,
        Some(BackupCommand::Key(command)) => kit::cmd_key(context, command),
        Some(BackupCommand::Probe(_)) => Err(Failure::failed("`backup probe` is not built yet")),
        Some(BackupCommand::Export(args)) => export::cmd_export(context, args).await,
    }
}
