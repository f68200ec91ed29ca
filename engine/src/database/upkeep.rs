//! Upkeep of a database in use: the check and the evidence of what it has, the amount of history
//! that is kept, compaction, backups.
//!
//! This module passes requests on to the store, and holds no rule.

use std::path::Path;

use object::evidence::TreeHead;
use object::hash::ObjectId;
use storage::{Ages, Backup, BackupReport, Compacted, GoesOn, RecordedLoss, Retention};

use super::Database;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Returns the size and the root of the evidence tree: a Merkle tree in the form of RFC 6962
    /// over every version and every refusal that is durable, in the order in which they were put on
    /// record.
    ///
    /// *Blocks* while it hashes what was put on record since it was asked for last, or since the
    /// index was written.
    pub fn evidence(&self) -> TreeHead {
        self.shared.library.store.evidence()
    }

    /// Walks the whole store and reports all damage; calls `progress` with the bytes done, and the
    /// total; it may stop the check ([`GoesOn`](storage::GoesOn)).
    ///
    /// *Blocks* while it reads the whole database.
    ///
    /// # Errors
    ///
    /// Those that keep it from walking on; damage is in the report.
    pub fn check<P: storage::GoesOn>(
        &self,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<storage::Report> {
        self.shared.library.store.sync()?;
        Ok(self.shared.library.store.check(progress)?)
    }

    /// Returns how much history is kept of an object, or of every object that has no rule of its
    /// own.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn retention(&self, object: Option<ObjectId>) -> Result<Retention> {
        object.map(|id| self.info(id)).transpose()?;
        Ok(self.shared.library.store.retention(object)?)
    }

    /// Sets how much history is kept of an object, or of every object that has no rule of its own.
    /// Nothing is dropped before the next [`Database::compact`].
    ///
    /// *Blocks* until the rule is durable.
    ///
    /// # Errors
    ///
    /// As of [`Database::retention`].
    pub fn set_retention(&self, object: Option<ObjectId>, retention: Retention) -> Result<()> {
        object.map(|id| self.info(id)).transpose()?;
        Ok(self.shared.library.store.set_retention(object, retention)?)
    }

    /// Drops the history that retention does not keep, and compresses the rest, while readers and
    /// writers continue; calls `progress` with the segments of the log done, and the total; it may
    /// stop the compaction ([`GoesOn`]), which leaves the later segments unchanged. Of dropped
    /// versions the headers stay: their lineages still verify, but they can no longer be read nor
    /// exported. The open segment of the log stays.
    ///
    /// *Blocks* until the segments are written anew.
    ///
    /// Dropped history does not come back, and a clock may be wrong: ages are counted from the
    /// newest time on record that is not after the clock's, and nothing is dropped by age when that
    /// time is behind a [`ClockJump`](crate::ClockJump). [`Database::compact_by_clock`] counts from
    /// the clock's time.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use continuant::{Database, Retention};
    /// # fn monthly(db: &Database) -> continuant::Result<()> {
    /// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// db.set_retention(None, Retention::Age(30 * DAY))?;
    /// let compacted = db.compact(|_, _| {})?;
    /// println!("{} bytes on disk, {} before", compacted.bytes_after, compacted.bytes_before);
    /// # Ok(())
    /// # }
    /// ```
    pub fn compact<P: GoesOn>(&self, progress: impl FnMut(u64, u64) -> P) -> Result<Compacted> {
        Ok(self.shared.library.store.compact(self.shared.options.clock.now(), progress)?)
    }

    /// Compacts as [`compact`](Database::compact) does, and everything: the open segment of the log
    /// is closed first, and segments that were compacted before are rewritten when anything of them
    /// can be dropped.
    ///
    /// *Blocks* until the segments are written anew.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn compact_all<P: GoesOn>(&self, progress: impl FnMut(u64, u64) -> P) -> Result<Compacted> {
        Ok(self.shared.library.store.compact_all(self.shared.options.clock.now(), progress)?)
    }

    /// [Compacts](Database::compact) with ages counted from the clock's time, also when nothing on
    /// record is as new.
    ///
    /// *Blocks* until the segments are written anew.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn compact_by_clock<P: GoesOn>(
        &self,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<Compacted> {
        Ok(self.shared.library.store.compact(Ages::FromClock(self.now()), progress)?)
    }

    /// [Compacts everything](Database::compact_all) with ages counted from the clock's time, also
    /// when nothing on record is as new.
    ///
    /// *Blocks* until the segments are written anew.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn compact_all_by_clock<P: GoesOn>(
        &self,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<Compacted> {
        Ok(self.shared.library.store.compact_all(Ages::FromClock(self.now()), progress)?)
    }

    /// Returns the losses of the log that were accepted when the database was repaired, oldest
    /// first.
    pub fn losses(&self) -> Vec<RecordedLoss> {
        self.shared.library.store.losses()
    }

    /// Brings the backup in the directory `to` up to the present durable end, while readers and
    /// writers continue; copies only what it lacks. Calls `progress` with the bytes done, and the
    /// total; it may stop the backup ([`GoesOn`]). Damaged files of the backup are copied again,
    /// and the report names them.
    ///
    /// *Blocks* until the backup is written and durable.
    ///
    /// # Errors
    ///
    /// Those of [`Store::backup_as`](storage::Store::backup_as).
    pub fn backup<P: GoesOn>(
        &self,
        to: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<BackupReport> {
        self.backup_as(to, false, progress)
    }

    /// Does as [`Database::backup`], and verifies all that the backup has already: an ordinary
    /// backup verifies a part of it, continuing where the one before ended.
    ///
    /// *Blocks* until the backup is written and durable.
    ///
    /// # Errors
    ///
    /// As of [`Database::backup`].
    pub fn backup_verifying<P: GoesOn>(
        &self,
        to: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<BackupReport> {
        self.backup_as(to, true, progress)
    }

    fn backup_as<P: GoesOn>(
        &self,
        to: impl AsRef<Path>,
        verify_all: bool,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<BackupReport> {
        let how = Backup { time: Some(self.shared.options.clock.now()), verify_all };
        Ok(self.shared.library.store.backup_as(to, how, progress)?)
    }
}
