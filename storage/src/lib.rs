//! Keeps durable objects: the log, which is the truth and the lineage; the index over it; reads of
//! any version; capsules; and a check of everything.
//!
//! It knows no wasm, no policy and no clock: what it appends was admitted by the crate above.
//!
//! Invariant: what an append's callback was told is durable is there after any crash, and every
//! byte that is served was verified against a check or a hash.

mod append;
mod backup;
mod capsule;
mod check;
mod compaction;
mod directory;
pub mod disk;
mod error;
mod excerpt;
mod heads;
mod index;
mod lineage;
mod log;
mod loss;
mod memory;
mod messages;
mod moved;
mod names;
mod options;
mod outbox;
mod packed;
mod pages;
mod read;
mod recovery;
mod repair;
mod retention;
mod row;
mod runs;
mod seen;
mod store;
mod stored;

pub use append::{Append, Blob, Change, NewCommit};
pub use backup::contents::Contents;
pub use backup::restore::{RestoreReport, Restoring, Until, WitnessedBy};
pub use backup::states::{PrunedObject, StatesPruned};
pub use backup::survey::Disorder;
pub use backup::{Backup, BackupReport, GoesOn, Mended};
pub use capsule::{CapsuleReader, CapsuleWriter, Seal};
pub use check::{Damage, LostVersions, Report};
pub use compaction::{Ages, Compacted, RoomNeeded};
pub use error::{Error, ErrorKind, Result};
pub use excerpt::Excerpt;
pub use lineage::{Direction, Lineage, LineageEntry, RecordEntry, Records, Refusals, Versions};
pub use log::record::BlobHash;
pub use log::{Figures, Payloads, Position};
pub use loss::{Loss, LossToken, Lost, LostObject, RecordedLoss};
pub use messages::{DeadLetter, Fate, MessageId, Sending, SentMessage, Taking};
pub use names::{DoubtfulName, ID_DIGITS_MIN, Resolved, require_name};
pub use options::Options;
pub use outbox::{Outbox, OutboxPlace, OutboxStatus, Outgoing};
pub use read::{Loaded, Version};
pub use repair::{AcceptedLoss, Compared, Repaired};
pub use retention::Retention;
pub use store::{ObjectInfo, Stats, Store};
pub use stored::{CompleteCommit, StoredCommit};
