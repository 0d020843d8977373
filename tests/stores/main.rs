//! Places for repositories against real servers, which a test starts for itself.

mod sftp;
