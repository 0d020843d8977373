//! `export`: the same stack in another tool's words.

use super::site::load;
use super::up::with_situation;
use super::{Adapters, Context};
use crate::cli::{ExportArgs, ExportFormat};
use crate::failure::{Context as _, Result};
use crate::plan::up::target;
use crate::render::compose::compose;

pub async fn cmd_export<A: Adapters>(context: &Context<'_, A>, args: &ExportArgs) -> Result<()> {
    let ExportFormat::Compose = args.format;
    let loaded = load(context)?;
    let engine = loaded.engine(context).await?;
    let observed = loaded.observe(&engine).await?;
    let stack = with_situation(context, &loaded, &observed, 0, target)?;
    let text = compose(&stack, loaded.dir.root()).context("cannot write the Compose file")?;
    context.ui.data(&text)
}
