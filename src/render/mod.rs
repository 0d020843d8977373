//! From values to text: every file that the program writes for others to read.

pub mod compose;
pub mod libpq;
pub mod nginx_conf;
pub mod odoo_conf;
pub mod pg_hba;
pub mod postgresql_conf;
pub mod site_file;
