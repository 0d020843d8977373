//! `fsck`: the live filestore against the rows that name its files.

use super::{Adapters, Context};
use crate::cli::FsckArgs;
use crate::failure::Result;

pub async fn cmd_fsck<A: Adapters>(_context: &Context<'_, A>, _args: &FsckArgs) -> Result<()> {
    todo!()
}
