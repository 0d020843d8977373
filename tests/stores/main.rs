//! Places for repositories against real servers, which a test starts for itself.

mod backup_server;
mod contract;
#[path = "../support/daemon.rs"]
mod daemon;
mod sftp;
mod sshd;
