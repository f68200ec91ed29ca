//! What calls are signed with besides keys: nonces, and the secrets of sessions.
//!
//! It does not know objects, nor what is signed.

pub(crate) mod nonces;
pub(crate) mod session;
