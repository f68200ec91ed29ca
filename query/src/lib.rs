//! Queries over objects and their history: the objects of a database, any version, the differences
//! between two, the version that changed a field last, and the refusals.
//!
//! This crate reads what the storage crate keeps, by the definitions of the object crate. It does
//! not run objects, and it holds nothing open: a snapshot keeps only the pages of its own version
//! alive.
//!
//! Invariant: nothing here changes a database.

mod blame;
mod dead_letters;
mod diff;
mod history;
mod objects;
mod snapshot;
pub mod state;

pub use blame::{Blame, Kept, TrailEnd, blame};
pub use dead_letters::DeadLetters;
pub use diff::{Diff, FieldChange, diff};
pub use history::{Entry, EntryPlace, History, Payloads, RefusalEntry, VersionEntry};
pub use objects::Objects;
pub use snapshot::{Snapshot, Version};
