//! Reads: versions, memories and lineages, and what else the log and the rows say.
//!
//! It changes nothing.

pub(crate) mod adoption;
pub(crate) mod excerpt;
pub(crate) mod export;
pub(crate) mod lineage;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod one;
pub(crate) mod packed;
pub(crate) mod version;
