//! `backup`: create, list, verify, prune, read, set up, export.

mod access;
mod cold;
mod list;
mod manifests;
mod opened;
mod prune;
mod read;
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
        Some(_) => todo!(),
    }
}
