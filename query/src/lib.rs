//! Asks about objects and their history: which there are, any version, what changed between two,
//! who changed a field last, and what was refused.
//!
//! It reads what the storage crate keeps and the object crate explains. It does not run objects,
//! and it holds nothing open: a snapshot keeps only the pages of its own version alive.
//!
//! Invariant: nothing here changes a database.

mod blame;
mod diff;
mod history;
mod objects;
mod snapshot;
pub mod state;

pub use blame::{Blame, Kept, TrailEnd, blame};
pub use diff::{Diff, FieldChange, diff};
pub use history::{Entry, History, Payloads, RefusalEntry, VersionEntry};
pub use objects::Objects;
pub use snapshot::{Snapshot, Version};
