//! The DNS adapter and the hooks with real servers: pebble-challtestsrv and BIND, started here on
//! loopback. Route 53 is a program of ours in the place of `aws`: there is no account to test with.

mod adapter;
#[path = "../support/bind.rs"]
mod bind;
#[path = "../support/challtestsrv.rs"]
mod challtestsrv;
#[path = "../support/daemon.rs"]
mod daemon;
mod hooks;
