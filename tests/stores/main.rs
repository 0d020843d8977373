//! Places for repositories against real servers, which a test starts for itself.

mod backup_server;
#[path = "../support/certificate.rs"]
mod certificate;
mod contract;
#[path = "../support/daemon.rs"]
mod daemon;
mod fault;
mod repository;
mod rest;
mod s3;
mod sftp;
mod sshd;
