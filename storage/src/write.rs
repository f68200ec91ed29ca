//! Writes: frames that are appended, each if the rows that it builds on are still unchanged.
//!
//! This module does not know who admits what is appended.

pub(crate) mod append;
pub(crate) mod dead_letter;
pub(crate) mod import;
pub(crate) mod moved;
mod names;
pub(crate) mod outbox;
mod push;
pub(crate) mod retention;
