//! What people see and answer. Nothing is decided here.

pub mod prompt;
