//! Continuant: a database of durable objects.
//!
//! An object is code + memory + schema + policy + lineage. Its WebAssembly memory persists as
//! versioned, Merkle-linked pages; it runs on its own cycle; every change to it is admitted by the
//! policy that it carries and recorded in its lineage; and anyone who holds it can verify it,
//! replay it, and continue it elsewhere.
//!
//! This crate runs objects and is the one that an embedder adds. Start with [`Database`].
//!
//! Invariant: nothing changes an object but a commit that its policy admitted.

mod call;
mod capsule;
mod catalog;
mod clock;
mod commit;
mod create;
mod database;
mod error;
pub mod instrument;
mod options;
mod pool;
mod replay;
mod reply;
mod resident;
mod shared;
mod slots;
mod step;
mod substrate;
mod ticket;
mod timer;
mod turn;

pub use call::{Call, Code};
pub use capsule::verify_capsule;
pub use clock::Clock;
pub use database::Database;
pub use error::{Error, ErrorKind, Result};
pub use options::Options;
pub use replay::{Replay, Verified};
pub use reply::{Answer, Pending, Receipt};
pub use ticket::{Durability, Ticket};

pub use object::credential::{PublicKey, SigningKey};
pub use object::effects::Output;
pub use object::hash::{ObjectId, VersionHash};
pub use object::header::{Header, Kind};
pub use object::refusal::{Reason, Verdict};
pub use object::schema::Value;
pub use query::{
    Diff, Entry, FieldChange, History, Payloads, RefusalEntry, Snapshot, VersionEntry,
};
pub use storage::{ObjectInfo, Stats};
pub use {object, query, storage};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
