//! autoodoo: a production Odoo from the stock images, on Docker or Podman.

pub mod engine;
pub mod event;
pub mod failure;
pub mod name;
pub mod observed;
pub mod pins;
pub mod plan;
pub mod render;
pub mod secret;
pub mod site;
pub mod stack;
pub mod state;
