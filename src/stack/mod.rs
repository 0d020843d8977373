//! From a [`Site`](crate::site::Site) to the volumes, networks, containers and files it needs.

pub mod spec;
