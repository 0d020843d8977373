//! Certificates: made by the site's own local CA, or looked at wherever they come from.

pub mod import;
pub mod inspect;
pub mod keys;
pub mod local_ca;
#[cfg(test)]
mod openssl;
pub mod trust;
