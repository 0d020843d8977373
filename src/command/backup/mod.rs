//! `backup`: create, list, verify, prune, read, set up, export.

use super::{Adapters, Context};
use crate::cli::{BackupArgs, BackupCommand};
use crate::failure::Result;

pub async fn cmd_backup<A: Adapters>(_context: &Context<'_, A>, args: &BackupArgs) -> Result<()> {
    match &args.command {
        None => todo!(),
        Some(BackupCommand::Create(_)) => todo!(),
        Some(_) => todo!(),
    }
}
