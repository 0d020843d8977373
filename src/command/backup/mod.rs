//! `backup`: create, list, verify, prune, read, set up, export.

mod access;
mod cold;
pub mod kit;
mod list;
mod manifests;
mod opened;
mod prune;
mod read;
mod setup;
pub mod standing;
mod verify;
mod whole;

use super::{Adapters, Context};
use crate::cli::{BackupArgs, BackupCommand};
use crate::failure::Result;

pub async fn cmd_backup<A: Adapters>(context: &Context<'_, A>, args: &BackupArgs) -> Result<()> {
    match &args.command {
        None => todo!(),
        Some(BackupCommand::Create(_)) => todo!(),
        Some(BackupCommand::List(args)) => list::cmd_list(context, args).await,
        Some(BackupCommand::Verify(args)) => verify::cmd_verify(context, args).await,
        Some(BackupCommand::Prune(args)) => prune::cmd_prune(context, args).await,
        Some(BackupCommand::Ls(args)) => read::cmd_ls(context, args).await,
        Some(BackupCommand::Cat(args)) => read::cmd_cat(context, args).await,
        Some(BackupCommand::Setup(args)) => setup::cmd_setup(context, args).await,
        Some(BackupCommand::Key(command)) => kit::cmd_key(context, command),
        Some(_) => todo!(),
    }
}
