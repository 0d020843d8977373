//! autoodoo: a production Odoo from the stock images, on Docker or Podman.

pub mod command;
pub mod engine;
pub mod event;
pub mod failure;
pub mod name;
pub mod observed;
pub mod render;
pub mod secret;
pub mod site;
pub mod stack;
pub mod ui;
