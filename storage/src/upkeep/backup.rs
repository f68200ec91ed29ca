//! Backups of a store that goes on, each of what is new since the one before; and restoring, up to
//! any moment.
//!
//! ```text
//!   log:     frames that are durable ........ | what is written meanwhile
//!   backup:  frames it has | new ones ....... |
//!                          seam: compared     the durable end when the backup began
//! ```
//!
//! A backup is a directory with the marker and the log of the database, without an index: it is
//! read like any other, and not written. It does not know what frames hold.
//!
//! Invariant: a directory that has a marker has a beginning of the log, at least as long as the
//! last backup into it that succeeded.

pub(crate) mod contents;
pub(crate) mod copy;
mod passage;
pub(crate) mod restore;
pub(crate) mod states;
pub(crate) mod survey;
pub(crate) mod witness;

use std::path::Path;
use std::sync::Arc;

use crate::disk::directory::Directory;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frames, Seal, damaged};
use crate::log::scan;
use crate::log::scan::{Next, Scan};
use crate::log::segment::{FIRST, Segments, Tail};
use crate::options::Options;
use crate::store::Store;
use crate::upkeep::backup::contents::{Contents, count_on};
use crate::upkeep::backup::copy::{Copied, GoesOn, LogCopy, Mended, Progress, Verify};
use crate::upkeep::backup::witness::Witness;

/// How a backup is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backup {
    /// When, in milliseconds since 1970-01-01 UTC: the backup says so. 0 when that is not to be
    /// told.
    pub time: u64,
    /// Whether all that the backup has already is read and verified, and not only a part of it
    /// ([`Options::verify_bytes`](crate::Options::verify_bytes)).
    pub verify_all: bool,
}

/// What a backup has, and what it took to bring it there.
#[derive(Clone, Debug)]
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
    /// What is in it.
    pub contents: Contents,
    /// Bytes of what it had before that were read and verified, beside its last segment.
    pub verified_bytes: u64,
    /// All of it was verified at this time or later, in milliseconds since 1970-01-01 UTC; 0 when
    /// that was not told.
    pub verified: u64,
    /// Files of it that were not as they were written: damaged, cut or gone. They were copied
    /// again, so that the backup is whole; its disk should not be trusted.
    pub mended: Vec<Mended>,
}

impl Options {
    /// Whether what is in the directory `path` is a backup: it is read, restored and brought up to
    /// date, and opened for reading alone, for if it was written to no backup would continue it any
    /// more. One that an earlier program wrote to, so that its index knows of more than the backup
    /// had, is a database.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn is_backup(&self, path: impl AsRef<Path>) -> Result<bool> {
        witness::is_backup(&self.disk, path.as_ref())
    }
}

impl Store {
    /// Brings the backup in the directory `to` up to what is durable now, while appends go on;
    /// makes it when the directory is missing or empty. `progress` is told bytes of log done and in
    /// all.
    ///
    /// Only what the backup does not have is copied, in bounded memory, every frame verified. It
    /// has what the database has: what retention let go goes from it too, last of all. When it
    /// fails on the way, and after a crash, calling it again goes on; until then a backup that was
    /// there has what it had or more, and one that was not there cannot be opened:
    /// [`Unfinished`](ErrorKind::Unfinished). `progress` may stop it ([`GoesOn`]): then a backup
    /// that was there is as it was, or has all that is new and not yet gone from it is what
    /// retention let go; and what is copied of a new one stays to be gone on with.
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
    /// [`Locked`](ErrorKind::Locked) when it is open, [`Stopped`](ErrorKind::Stopped) by
    /// `progress`, [`Target`](ErrorKind::Target) when its disk is full, and those of the file
    /// system.
    pub fn backup<P: GoesOn>(
        &self,
        to: impl AsRef<Path>,
        progress: impl FnMut(u64, u64) -> P,
    ) -> Result<BackupReport> {
        self.backup_as(to, Backup::default(), progress)
    }

    /// As [`Store::backup`], made in some way. What the backup has already is verified in parts,
    /// one after the other from backup to backup, and the end that it had on record; what is not as
    /// it was written is copied again, and [`BackupReport::mended`] says so.
    ///
    /// # Errors
    ///
    /// Those of [`Store::backup`], and [`BackupCut`](ErrorKind::BackupCut) when the backup has lost
    /// what the database does not have either.
    pub fn backup_as<P: GoesOn>(
        &self,
        to: impl AsRef<Path>,
        how: Backup,
        mut progress: impl FnMut(u64, u64) -> P,
    ) -> Result<BackupReport> {
        let made = self.back_up(to.as_ref(), how, &mut |done, all| progress(done, all).goes_on());
        made.map_err(Error::of_target)
    }

    fn back_up(&self, to: &Path, how: Backup, progress: Progress<'_>) -> Result<BackupReport> {
        let inner = self.inner();
        // What a compaction lets go is not needed by the heads of its time, which are newer than
        // those of the backup: it waits.
        let _only = inner.compacting.lock();
        let (target, is_new) = target(&inner.directory, to)?;
        let (segments, seal, end) = (inner.log.segments(), inner.log.seal(), inner.log.durable());
        let (before, problem) = if is_new { (None, None) } else { witness_of(&target)? };
        let known = before.unwrap_or_else(|| Witness::of_nothing(seal));
        let verify = match how.verify_all {
            true => Verify { from: FIRST, bytes: u64::MAX },
            false => Verify { from: known.next, bytes: inner.options.verify_bytes },
        };
        let of_source = |error: Error| error.at(inner.directory.path());
        let short = |tail| Err(missing(segments, seal, tail));
        let copy = LogCopy::new(segments, (&target, is_new), Some(end), progress);
        let mut copy = copy.map_err(of_source)?.verifying(verify, before.map(|it| it.tail));
        let tail = copy.extend(&short).map_err(of_source)?;
        assert_eq!(tail.end, end, "a copy that succeeds ends where it should");
        let (tail, contents) = count((segments, seal), before, end).map_err(of_source)?;
        let covering = Witness { time: how.time, tail, contents, ..known };
        if !is_new && !copy.is_done() {
            // What was verified counts once all that was found to be wrong is mended.
            covering.write(&target)?;
        }
        let mut copied = copy.renew(&short).map_err(of_source)?;
        copied.mended.extend(problem);
        let begun = if verify.from == FIRST { how.time } else { known.begun };
        let verified = if copied.verify_next.is_none() { begun } else { known.verified };
        let next = copied.verify_next.unwrap_or(FIRST);
        Witness { next, begun, verified, ..covering }.write(&target)?;
        if is_new {
            target.finish()?;
        }
        let Copied { bytes, new_bytes, written_bytes, verified_bytes, mended, .. } = copied;
        let report = BackupReport {
            end,
            bytes,
            new_bytes,
            written_bytes,
            contents,
            verified_bytes,
            verified,
            mended,
        };
        Ok(report)
    }
}

/// The witness that a backup has; what is wrong with one that says nothing.
fn witness_of(target: &Directory) -> Result<(Option<Witness>, Option<Mended>)> {
    match Witness::read(target) {
        Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => {
            let file = Directory::WITNESS.to_string();
            Ok((None, Some(Mended { file, problem: error })))
        }
        read => read.map(|witness| (witness, None)),
    }
}

/// What a log has up to `end`, going on from what an earlier witness counted; and the last frame.
fn count(
    (segments, seal): (&Segments, Seal),
    before: Option<Witness>,
    end: Position,
) -> Result<(Tail, Contents)> {
    let (mut tail, mut contents) = (scan::start(seal), Contents::default());
    if let Some(before) = before.filter(|before| before.tail.last != Position::NONE)
        && (segments, seal).frame(before.tail.last)?.check == before.tail.check
    {
        (tail, contents) = (before.tail, before.contents);
    }
    count_on((segments, seal), (tail, contents), end)
}

/// The directory of a backup, locked, and whether it is no database yet.
fn target(source: &Directory, to: &Path) -> Result<(Directory, bool)> {
    let other = |found: &str| Error::from(ErrorKind::NotItsBackup { found: found.into() }).at(to);
    let disk = source.disk();
    let resolved =
        |path: &Path| disk.resolve(path).map_err(|error| Error::io("resolve", error).at(path));
    let (own, place) = (resolved(source.path())?, resolved(to)?);
    if place == own {
        return Err(other("it is the database itself"));
    }
    if place.starts_with(&own) {
        return Err(other("it is in the directory of the database"));
    }
    if !Directory::is_in(&**disk, to)? {
        let target = Directory::begin(Arc::clone(disk), to, source.id())?;
        // From now on it is told from what a restore leaves half made.
        Witness::of_nothing(Seal::new(source.id())).write(&target)?;
        return Ok((target, true));
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
