//! Integration tests of the storage: public API only.
//!
//! - `author`: makes lineages out of the object crate's pure functions; no test.
//! - `append`: what is taken, and what is turned away.
//! - `backup`: backups while appends go on, whatever fails; restoring up to any moment.
//! - `capsule`: objects out of one store and into another.
//! - `check`: a check while others write, compact, and while the disk fails between its passes.
//! - `damage`: every changed byte of the log is found; what is not a database is not opened.
//! - `failure`: after the file system failed nothing is acknowledged.
//! - `fixture`: databases of every format that was ever written still open.
//! - `format`: the files against the chapters of `FORMAT.md` about them.
//! - `large`: an object of 2 GiB moves in bounded memory.
//! - `losses`: a repair says what the log has lost, and loses nothing that nobody accepted.
//! - `messages`: each is on its way until it is taken, once, whatever is lost meanwhile.
//! - `model`: random work compared with a model, through restarts, crashes and lost indexes.
//! - `names`: which text stands for which object, and which names cannot be.
//! - `outbox`: every output in order, until it is acknowledged, whatever is lost meanwhile.
//! - `reading`: opening for reading alone changes nothing; locks are shared and waited for.
//! - `reads`: a small question reads little, however long the log is; a check in parts.
//! - `recovery`: a torn end, at any byte, ends the log at the last whole group.
//! - `resources`: the host has no room for another file or for memory, and the store goes on.
//! - `retention`: what is kept reads as before, the rest goes, space returns; packs and their
//!   damage.
//! - `space`: what is written takes, what a full disk still does, what compaction gives back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod append;
mod author;
mod backup;
mod capsule;
mod check;
mod damage;
mod failure;
mod fixture;
mod format;
#[cfg(target_os = "linux")]
mod large;
mod losses;
mod messages;
mod model;
mod names;
mod outbox;
mod reading;
mod reads;
mod recovery;
mod resources;
mod retention;
mod space;
