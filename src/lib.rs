//! autoodoo: a production Odoo from the stock images, on Docker or Podman.

pub mod digest;
pub mod engine;
pub mod event;
pub mod failure;
pub mod host;
pub mod name;
pub mod observed;
pub mod secret;
pub mod site;
pub mod stack;
pub mod state;
pub mod tls;
pub mod ui;
