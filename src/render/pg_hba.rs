//! pg_hba.conf: who may connect, and how it is proven.

/// Only the Unix socket exists (the container has no network). The superuser is whoever already is
/// `postgres` inside the container; everybody else proves a password.
pub const PG_HBA: &str = "\
# Written by autoodoo; changes are overwritten.
# TYPE  DATABASE  USER      METHOD
local   all       postgres  peer
local   all       all       scram-sha-256
";
