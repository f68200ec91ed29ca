//! Upkeep: operations on a whole database. It is opened, recovered, repaired, checked, compacted,
//! backed up and restored.
//!
//! This module does not know what objects mean.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod compaction;
pub(crate) mod open;
pub(crate) mod progress;
pub(crate) mod recovery;
pub(crate) mod repair;
