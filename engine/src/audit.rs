//! Audits: decisions that are taken again, on records, on a capsule, or in memory before anything
//! is on record.
//!
//! They use the step and the rules of the commit path, and the result must agree with the record.
//! Nothing here makes a version; an imported capsule is verified first, and appended by the store.

pub(crate) mod capsule;
pub(crate) mod explain;
pub(crate) mod outlook;
pub(crate) mod part_source;
pub(crate) mod rehearsal;
pub(crate) mod replay;
pub(crate) mod verify;
