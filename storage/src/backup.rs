//! Backups of a store that goes on, each of what is new since the one before; and restoring, up to
//! any moment.
//!
//! ```text
//!   log:     frames that are durable ........ | what is written meanwhile
//!   backup:  frames it has | new ones ....... |
//!                          seam: compared     the durable end when the backup began
//! ```
//!
//! A backup is a directory with the marker and the log of the database, without an index: it opens
//! like any other. It does not know what frames hold.
//!
//! Invariant: a directory that has a marker has a beginning of the log, at least as long as the
//! last backup into it that succeeded.

mod copy;
mod passage;
pub(crate) mod restore;

use std::path::Path;
use std::sync::Arc;

use crate::backup::copy::{Copied, LogCopy};
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Seal, damaged};
use crate::log::scan::{Next, Scan};
use crate::log::segment::Segments;
use crate::log::{Position, Tail};
use crate::store::Store;

/// What a backup has, and what it took to bring it there.
#[derive(Clone, Copy, Debug)]
pub struct BackupReport {
    /// All before is in the backup: what was durable when it began.
    pub end: Position,
    /// Bytes of log in the backup.
    pub bytes: u64,
    /// Of these, bytes that it did not have before.
    pub new_bytes: u64,
    /// Bytes that were written: the new ones, those of a segment that they continue, which gets a
    /// new file so that a crash leaves the old one, and those of segments that were compacted.
    pub written_bytes: u64,
}

impl Store {
    /// Brings the backup in the directory `to` up to what is durable now, while appends go on;
    /// makes it when the directory is missing or empty. `progress` is told bytes of log done and in
    /// all.
    ///
    /// Only what the backup does not have is copied, in bounded memory, every frame verified. It
    /// has what the database has: what retention let go goes from it too, last of all. When it
    /// fails on the way, and after a crash, calling it again goes on; until then a backup that was
    /// there has what it had or more, and one that was not there cannot be opened.
    ///
    /// The backup is this database, with its id: [`Options::restore`](crate::Options::restore) says
    /// what follows from that. It is locked meanwhile, and must not be appended to between backups.
    /// A compaction waits for it.
    ///
    /// # Errors
    ///
    /// [`Damaged`](ErrorKind::Damaged) when the log is, and nothing of that is in the backup;
    /// [`NotItsBackup`](ErrorKind::NotItsBackup) when the directory has another database or one
    /// that went another way, [`Occupied`](ErrorKind::Occupied) when it has other files,
    /// [`Locked`](ErrorKind::Locked) when it is open, and those of the file system.
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport> {
        let inner = self.inner();
        // What a compaction lets go is not needed by the heads of its time, which are newer than
        // those of the backup: it waits.
        let _only = inner.compacting.lock();
        let (target, is_new) = target(&inner.directory, to.as_ref())?;
        let (segments, seal, end) = (inner.log.segments(), inner.log.seal(), inner.log.durable());
        let copied = LogCopy::new(segments, (&target, is_new), Some(end), &mut progress)
            .and_then(|copy| copy.run(&|tail| Err(missing(segments, seal, tail))));
        let (tail, copied) = copied.map_err(|error| error.at(inner.directory.path()))?;
        assert_eq!(tail.end, end, "a copy that succeeds ends where it should");
        if is_new {
            target.finish()?;
        }
        let Copied { bytes, new_bytes, written_bytes } = copied;
        Ok(BackupReport { end, bytes, new_bytes, written_bytes })
    }
}

/// The directory of a backup, locked, and whether it is no database yet.
fn target(source: &Directory, to: &Path) -> Result<(Directory, bool)> {
    let other = |found: &str| Error::from(ErrorKind::NotItsBackup { found: found.into() }).at(to);
    if to == source.path() {
        return Err(other("it is the database itself"));
    }
    let disk = source.disk();
    if !Directory::is_in(&**disk, to)? {
        return Ok((Directory::begin(Arc::clone(disk), to, source.id())?, true));
    }
    let target = Directory::open(Arc::clone(disk), to)?;
    match target.id() == source.id() {
        true => Ok((target, false)),
        false => Err(other("it is another database")),
    }
}

/// What is wrong with a log that ends at `tail`, before its durable end.
fn missing(segments: &Segments, seal: Seal, tail: Tail) -> Error {
    match Scan::new(segments, seal, tail).next() {
        Ok(Next::Broken(error)) | Err(error) => error,
        Ok(Next::Nothing) => damaged(tail.end, "a frame", "none"),
        Ok(Next::Frame(_)) => damaged(tail.end, "a frame that was durable", "another"),
    }
}
