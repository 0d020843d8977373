//! The checks, by theme.

pub mod attachments;
pub mod bad_days;
pub mod by_hand;
pub mod change;
pub mod compose;
pub mod data;
pub mod design;
pub mod endings;
pub mod proxy;
pub mod tools;
pub mod visit;
