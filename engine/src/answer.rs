//! Answers: what a caller gets for an input, and when.
//!
//! This folder does not know the inputs, nor how they are run.

pub(crate) mod inline;
pub(crate) mod receipt;
pub(crate) mod reply;
pub(crate) mod ticket;
