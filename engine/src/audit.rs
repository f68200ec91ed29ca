//! What is decided again: on record, in a capsule, or in memory before anything is on record.
//!
//! By the step and the rules of the commit path, whose word must be what is on record. Nothing here
//! makes a version; what comes in with a capsule is verified first, and appended by the store.

pub(crate) mod capsule;
pub(crate) mod explain;
pub(crate) mod library;
pub(crate) mod outlook;
pub(crate) mod rehearsal;
pub(crate) mod replay;
pub(crate) mod verify;
