//! The machine we run on: files, the lock, the clock, randomness, ports, hooks and plain HTTP questions.

pub mod backup_secrets;
pub mod clock;
pub mod files;
pub mod hook;
pub mod journal;
pub mod lock;
pub mod machine;
pub mod ports;
pub mod probe;
pub mod random;
pub mod secrets;
pub mod signals;
pub mod site_dir;
pub mod ssh;
