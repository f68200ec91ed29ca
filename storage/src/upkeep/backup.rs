//! Backups of a running store, each of the frames since the one before; and restoring, up to any
//! moment.
//!
//! ```text
//!   log:     frames that are durable ........ | frames written meanwhile
//!   backup:  frames it has | new ones ....... |
//!                          seam: compared     the durable end when the backup began
//! ```
//!
//! A backup is a directory with the marker and the log of the database, without an index: it is
//! read like any other database, and not written. This module does not know the content of frames.
//!
//! Invariant: a directory that has a marker has a beginning of the log, at least as long as the
//! last backup into it that succeeded.

pub(crate) mod contents;
pub(crate) mod copy;
mod passage;
pub(crate) mod restore;
pub(crate) mod staged;
pub(crate) mod states;
pub(crate) mod survey;
pub(crate) mod witness;

use std::path::Path;
use std::sync::Arc;

use crate::disk::directory::{Access, Directory, MARKER, is_of_marker};
use crate::disk::file::Disk;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Seal, damaged};
use crate::log::scan;
use crate::log::scan::{Next, Scan};
use crate::log::segment::{FIRST, Segments, Tail};
use crate::options::Options;
use crate::store::{Inner, Store};
use crate::upkeep::backup::contents::{Contents, count_on, ends_at};
use crate::upkeep::backup::copy::{Copied, LogCopy, Mended, Verify};
use crate::upkeep::backup::witness::Witness;
use crate::upkeep::progress::{GoesOn, Progress};
use crate::upkeep::repair::id_of_log;
use object::time::Time;

/// The options of a backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backup {
    /// The time of the backup, which the backup records, if there is one.
    pub time: Option<Time>,
    /// True to read and verify all that the backup has already, and not only a part of it
    /// ([`Options::verify_bytes`](crate::Options::verify_bytes)).
    pub verify_all: bool,
}

/// The content of a backup, and the work that brought it there.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The end of the backup: the durable end of the log when it began.
    pub end: Position,
    /// Bytes of log in the backup.
    pub bytes: u64,
    /// The bytes of it that the backup did not have before.
    pub new_bytes: u64,
    /// The bytes written: the new ones, those of a segment that they continue, which gets a new
    /// file so that a crash leaves the old one, and those of compacted segments.
    pub written_bytes: u64,
    /// The backup's content.
    pub contents: Contents,
    /// The versions that the backup had whole, and has with their headers alone from now on, since
    /// a compaction of the database dropped the rest.
    pub trimmed_count: u64,
    /// The bytes of its earlier content that were read and verified, beside its last segment.
    pub verified_bytes: u64,
    /// A time at or after which all of it was verified; none when unknown.
    pub verified: Option<Time>,
    /// The files of it that were damaged, cut or gone. They were copied again, so that the backup
    /// is whole; its disk should not be trusted.
    pub mended: Vec<Mended>,
}

impl Options {
    /// Returns whether the directory `path` is a backup. A backup is read, restored and brought up
    /// to date, and opened only for reading: if it were written to, no later backup could continue
    /// it.
    ///
    /// # Errors
    ///
    /// [`OtherDatabase`](ErrorKind::OtherDatabase) when its record of its end is of another
    /// database, and those of the file system.
    pub fn is_backup(&self, path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        witness::is_backup(&self.disk, path, Directory::id_in(&*self.disk, path)?)
    }
}

impl Store {
    /// Brings the backup in the directory `to` up to the present durable end, while appends
    /// continue; makes it when the directory is missing or empty. Calls `progress` with the bytes
    /// of log done, and the total.
    ///
    /// Only the part that the backup lacks is copied, in bounded memory, every frame verified. The
    /// backup has the database's content: what retention dropped there is dropped from it too, last
    /// of all. After a failure, a stop by `progress` ([`GoesOn`]), or a crash, an existing backup
    /// has its former content, and calling it again starts from there; or it has all new frames
    /// too. A new one cannot be opened ([`Unfinished`](ErrorKind::Unfinished)), and calling it
    /// again continues with what was copied.
    ///
    /// The backup is this database, with its id: [`Options::restore`](crate::Options::restore)
    /// explains the consequences. It is locked meanwhile, and must not be appended to between
    /// backups. A compaction waits for it.
    ///
    /// # Errors
    ///
    /// [`Damaged`](ErrorKind::Damaged) when the log is, and nothing damaged is in the backup;
    /// [`NotItsBackup`](ErrorKind::NotItsBackup) when the directory has another database or a
    /// diverged one, [`Occupied`](ErrorKind::Occupied) when it has other files,
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

    /// Makes a backup as [`Store::backup`] does, with options. Existing content is verified in
    /// parts, one after the other from backup to backup, and compared with the recorded end; a
    /// damaged part is copied again, and reported in [`BackupReport::mended`].
    ///
    /// # Errors
    ///
    /// Those of [`Store::backup`], and [`BackupCut`](ErrorKind::BackupCut) when the backup has lost
    /// frames that the database does not have either.
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
        // A compaction drops data that the heads of its time do not need. The backup's heads are
        // older and may need it, so the compaction waits.
        let _only = inner.compacting.lock();
        let Target { directory: target, is_new, fault } = Target::open(inner, to)?;
        let (segments, end) = (inner.log.segments(), inner.log.durable());
        if !is_new {
            staged::settle(&target)?;
        }
        let (before, problem) = if is_new { (None, None) } else { witness_of(&target)? };
        let known = before.unwrap_or_else(|| Witness::of_nothing(segments.seal()));
        let verify = match how.verify_all {
            true => Verify { from: FIRST, bytes: u64::MAX },
            false => Verify { from: known.next, bytes: inner.options.verify_bytes },
        };
        let of_source = |error: Error| error.at(inner.directory.path());
        let short = |tail| Err(missing(segments, tail));
        let copy = LogCopy::new(segments, &target, is_new, Some(end), progress);
        let mut copy = copy.map_err(of_source)?.verifying(verify, before.map(|it| it.tail));
        let tail = copy.extend(&short).map_err(of_source)?;
        assert_eq!(tail.end, end, "a copy that succeeds ends where it should");
        let (tail, contents) = count(segments, before, end).map_err(of_source)?;
        let covering = Witness { time: how.time, tail, contents, ..known };
        // The verification counts only once all damage that it found is mended.
        let mut copied = copy.keep((!is_new).then_some(&covering), &short).map_err(of_source)?;
        copied.mended.extend(fault.into_iter().chain(problem));
        let begun = if verify.from == FIRST { how.time } else { known.begun };
        let verified = if copied.verify_next.is_none() { begun } else { known.verified };
        let next = copied.verify_next.unwrap_or(FIRST);
        Witness { next, begun, verified, ..covering }.write(&target)?;
        if is_new {
            target.finish()?;
        }
        let Copied { bytes, new_bytes, written_bytes, verified_bytes, .. } = copied;
        let Copied { trimmed_count, mended, .. } = copied;
        let report = BackupReport {
            end,
            bytes,
            new_bytes,
            written_bytes,
            contents,
            trimmed_count,
            verified_bytes,
            verified,
            mended,
        };
        Ok(report)
    }
}

/// Returns the witness of a backup, or the fault of a damaged one.
fn witness_of(target: &Directory) -> Result<(Option<Witness>, Option<Mended>)> {
    match Witness::read(target) {
        Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => {
            let file = Directory::WITNESS.to_string();
            Ok((None, Some(Mended { file, problem: error })))
        }
        read => read.map(|witness| (witness, None)),
    }
}

/// Counts the content of a log up to `end`, continuing from an earlier witness; returns also the
/// last frame.
fn count(segments: &Segments, before: Option<Witness>, end: Position) -> Result<(Tail, Contents)> {
    let (mut tail, mut contents) = (scan::start(segments.seal()), Contents::default());
    let is_in_log = |tail| match ends_at(segments, tail) {
        // A witness that is not of this log says nothing about it.
        Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => Ok(false),
        found => found,
    };
    if let Some(before) = before.filter(|before| before.tail.last != Position::NONE)
        && is_in_log(before.tail)?
    {
        (tail, contents) = (before.tail, before.contents);
    }
    count_on(segments, tail, contents, end)
}

/// The directory of a backup, locked.
struct Target {
    directory: Directory,
    /// True if it is no database yet.
    is_new: bool,
    /// The fault of its marker, which was made again.
    fault: Option<Mended>,
}

impl Target {
    fn open(inner: &Inner, to: &Path) -> Result<Target> {
        let source = &inner.directory;
        let other =
            |found: &str| Error::from(ErrorKind::NotItsBackup { found: found.into() }).at(to);
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
        let access = Access { read_only: false, ..inner.options.access() };
        if !Directory::is_in(&**disk, to)? && !is_without_marker(disk, to)? {
            match Directory::begin(Arc::clone(disk), to, source.id(), access, true) {
                // Another backup into it was waited for.
                Err(error)
                    if *error.kind() == ErrorKind::Locked && Directory::is_in(&**disk, to)? => {}
                begun => {
                    let directory = begun?;
                    // From now on it differs from an unfinished restore.
                    Witness::of_nothing(Seal::new(source.id())).write(&directory)?;
                    return Ok(Target { directory, is_new: true, fault: None });
                }
            }
        }
        let open = || Directory::open_as(Arc::clone(disk), to, access);
        let (directory, fault) = match open() {
            Err(fault) if is_of_marker(&fault) && witness::is_backup(disk, to, None)? => {
                let id = |log| match id_of_log(disk, log)? {
                    Some(id) if id != source.id() => Err(other("it is another database")),
                    id => Ok(id),
                };
                Directory::mend(disk, to, access, id)?;
                (open()?, Some(Mended { file: MARKER.to_string(), problem: fault }))
            }
            opened => (opened?, None),
        };
        match directory.id() == source.id() {
            true => Ok(Target { directory, is_new: false, fault }),
            false => Err(other("it is another database")),
        }
    }
}

/// Returns whether a directory has a backup whose marker is gone.
fn is_without_marker(disk: &Arc<dyn Disk>, to: &Path) -> Result<bool> {
    Ok(Directory::is_without_marker(&**disk, to)? && witness::is_backup(disk, to, None)?)
}

/// Returns the fault of a log that ends at `tail`, before its durable end.
fn missing(segments: &Segments, tail: Tail) -> Error {
    match Scan::new(segments, tail).next() {
        Ok(Next::Broken(error)) | Err(error) => error,
        Ok(Next::Nothing) => damaged(tail.end, "a frame", "none"),
        Ok(Next::Frame(_)) => damaged(tail.end, "a frame that was durable", "another"),
    }
}
