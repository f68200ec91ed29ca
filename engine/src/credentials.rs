//! The credentials of calls besides keys: nonces, and the secrets of sessions.
//!
//! This folder does not know objects, nor what is signed.

pub(crate) mod nonces;
pub(crate) mod session;
