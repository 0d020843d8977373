//! Configuration files as functions from values to text.

pub mod compose;
pub mod nginx_conf;
pub mod odoo_conf;
pub mod pg_hba;
