//! Upkeep: what is done with a whole database. It is opened, recovered, repaired, checked,
//! compacted, backed up and restored.
//!
//! It does not know what objects mean.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod compaction;
pub(crate) mod open;
pub(crate) mod recovery;
pub(crate) mod repair;
