//! What callers build, and post.
//!
//! A call with its credentials, calls that are signed together, calls that are admitted together,
//! and upgrades of many objects. It does not know how an input is run.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod fleet;
pub(crate) mod transaction;
