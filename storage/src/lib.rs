//! The store of durable objects: the log, which is the truth and the lineage; the index over it;
//! reads of any version; capsules; and a check of everything.
//!
//! This crate knows no wasm, no policy and no clock: the crate above has admitted everything that
//! is appended.
//!
//! Invariant: an append whose callback reported success is there after any crash, and every byte
//! that is served was verified against a check or a hash.

pub mod disk;
mod error;
#[doc(hidden)]
pub mod lock;
mod log;
mod options;
mod read;
mod record;
mod rows;
mod store;
mod upkeep;
mod write;

pub use disk::directory::{MARKER, MARKER_MAGIC, is_of_database};
pub use error::disorder::Disorder;
pub use error::loss::{Loss, LossToken, Lost, LostObject};
pub use error::position::Position;
pub use error::pruned::{PrunedObject, StatesPruned};
pub use error::{Error, ErrorKind, Result};
pub use log::figures::Figures;
pub use options::Options;
pub use read::excerpt::Excerpt;
pub use read::export::CapsuleWriter;
pub use read::lineage::{
    Direction, Lineage, LineageEntry, RecordEntry, Records, Refusals, Versions,
};
pub use read::messages::{DeadLetter, SentMessage};
pub use read::name_history::{NameHistory, NameHolding, NameMoment};
pub use read::names::{DoubtfulName, ID_DIGITS_MIN, Resolved, require_name};
pub use read::one::{ObjectState, Version};
pub use read::version::{CompleteCommit, StoredCommit};
pub use record::BlobHash;
pub use record::loss::RecordedLoss;
pub use record::mark::OutboxPlace;
pub use record::message::{Fate, MessageId, Sending, Taking};
pub use record::retention::Retention;
pub use record::version::PayloadBytes;
pub use rows::info::ObjectInfo;
pub use store::{Stats, Store};
pub use upkeep::backup::contents::Contents;
pub use upkeep::backup::copy::Mended;
pub use upkeep::backup::restore::{RestoreReport, Restoring, WitnessedBy};
pub use upkeep::backup::survey::Until;
pub use upkeep::backup::{Backup, BackupReport};
pub use upkeep::check::report::{Damage, LostVersions, Report};
pub use upkeep::compaction::{Ages, ClockJump, Compacted, Incomplete};
pub use upkeep::progress::GoesOn;
pub use upkeep::repair::{AcceptedLoss, Compared, Repaired};
pub use write::append::{Append, Blob, Change, NewCommit};
pub use write::import::{CapsuleReader, Seal};
pub use write::outbox::{Outbox, OutboxStatus, Outgoing};
