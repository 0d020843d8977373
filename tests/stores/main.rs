//! Places for repositories against real servers, which a test starts for itself.

#[path = "../support/backup_account.rs"]
mod backup_account;
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
#[path = "../support/s3_server.rs"]
mod s3_server;
mod sftp;
#[path = "../support/sshd.rs"]
mod sshd;
