//! Requests that callers build, and post.
//!
//! They are a call with its credentials, calls that are signed together, calls that are admitted
//! together, and upgrades of many objects. This folder does not know how an input is run.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod fleet;
pub(crate) mod transaction;
