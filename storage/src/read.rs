//! Reads: versions, memories and lineages, and everything else that the log and the rows hold.
//!
//! It changes nothing.

pub(crate) mod adoption;
pub(crate) mod evidence;
pub(crate) mod excerpt;
pub(crate) mod export;
pub(crate) mod ledger;
pub(crate) mod lineage;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod name_history;
pub(crate) mod names;
pub(crate) mod one;
pub(crate) mod packed;
pub(crate) mod version;
