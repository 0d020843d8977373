//! The checks, by theme.

pub mod attachments;
pub mod backup;
pub mod bad_days;
pub mod by_hand;
pub mod certificates;
pub mod change;
pub mod compose;
pub mod data;
pub mod databases;
pub mod design;
pub mod elsewhere;
pub mod endings;
pub mod mail;
pub mod neighbours;
pub mod no_certificate;
pub mod proxy;
pub mod strain;
pub mod targets;
pub mod tools;
pub mod visit;
