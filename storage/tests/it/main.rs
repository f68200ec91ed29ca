//! Integration tests of the storage: public API only.
//!
//! - `author`: makes lineages out of the object crate's pure functions; no test.
//! - `append`: accepted and refused ones.
//! - `backup`: backups during appends, with failures; restores to any moment.
//! - `capsule`: objects that move out of one store and into another.
//! - `check`: a check while others write, compact, and while the disk fails between its passes.
//! - `damage`: every changed byte of the log is found; only databases are opened.
//! - `deletion`: objects whose newest version is a deletion, after which nothing follows.
//! - `evidence`: the tree over all that was put on record, whatever happens to the files.
//! - `failure`: after a failure of the file system nothing is acknowledged.
//! - `fixture`: databases of every format that was ever written still open.
//! - `format`: the files against the chapters of `FORMAT.md` about them.
//! - `large`: an object of 2 GiB moves in bounded memory.
//! - `ledgers`: what versions cost, and read, of ledgers that remember much.
//! - `losses`: a repair reports the log's losses, and drops nothing without acceptance.
//! - `messages`: each is on its way until it is taken once, whatever files are lost.
//! - `model`: random work compared with a model, through restarts, crashes and lost indexes.
//! - `names`: texts that stand for objects, and texts that cannot be names.
//! - `outbox`: every output in order until it is acknowledged, whatever files are lost.
//! - `reading`: opening for reading alone changes nothing; locks are shared and waited for.
//! - `reads`: small questions read little of a long log; checks in parts.
//! - `recovery`: a torn end, at any byte, ends the log at the last whole group.
//! - `resources`: a host without room for a file or for memory, and a store that continues.
//! - `retention`: kept versions read as before, space returns; packs and their damage.
//! - `space`: room for writes, full disks, and room that compaction returns.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod append;
mod author;
mod backup;
mod capsule;
mod check;
mod damage;
mod deletion;
mod evidence;
mod failure;
mod fixture;
mod format;
#[cfg(target_os = "linux")]
mod large;
mod ledgers;
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
