//! Repositories behind a real `sshd`.
