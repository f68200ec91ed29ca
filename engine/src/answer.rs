//! What is answered to whoever asked, and when.
//!
//! It does not know what was asked, nor how it is done.

pub(crate) mod inline;
pub(crate) mod receipt;
pub(crate) mod reply;
pub(crate) mod ticket;
