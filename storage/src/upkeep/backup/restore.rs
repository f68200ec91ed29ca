//! Restoring: a new database from a backup, up to a moment.
//!
//! The log is read before it is copied: where it ends, whether that agrees with its witness, the
//! content of the requested part, and whether objects have their states there. This module does not
//! know how bytes are copied.
//!
//! Invariant: the new directory becomes a database once everything is in it, and not before; the
//! old one is not changed.
//! Invariant: nothing is made before it is decided that the restore is possible, and after a
//! failure everything is removed.

use std::path::Path;
use std::sync::Arc;

use crate::disk::directory::{Access, Directory};
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::scan::{Next, Scan};
use crate::log::segment::{FIRST, Segments, Tail};
use crate::options::Options;
use crate::rows::index::Index;
use crate::upkeep::backup::contents::Contents;
use crate::upkeep::backup::copy::{Copied, LogCopy};
use crate::upkeep::backup::staged;
use crate::upkeep::backup::survey::{Known, Part, Survey, Until};
use crate::upkeep::backup::witness::Witness;
use crate::upkeep::progress::{GoesOn, Progress};
use crate::upkeep::recovery::is_torn;
use crate::upkeep::repair::id_of_log;
use object::time::Time;

/// The request of a restore: the part, and the permitted gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restoring {
    until: Until,
    allow_empty: bool,
    allow_pruned: bool,
    accept_end: Option<Position>,
}

impl From<Until> for Restoring {
    fn from(until: Until) -> Restoring {
        Restoring { until, allow_empty: false, allow_pruned: false, accept_end: None }
    }
}

impl Restoring {
    /// Sets whether the result may be a database without objects. Default: no, that is an error.
    pub fn allow_empty(self, allow_empty: bool) -> Restoring {
        Restoring { allow_empty, ..self }
    }

    /// Sets whether objects may come without a state, with their lineage alone, where retention has
    /// dropped their states as of then. Default: no, that is an error.
    pub fn allow_pruned(self, allow_pruned: bool) -> Restoring {
        Restoring { allow_pruned, ..self }
    }

    /// Accepts a backup that was cut, if it ends here, as the error said: the frames behind are
    /// lost. Or one that has frames behind its recorded end, up to here: nothing confirms the
    /// frames between.
    pub fn accept_end(self, end: Option<Position>) -> Restoring {
        Restoring { accept_end: end, ..self }
    }
}

/// The result of a restore.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// All before is in the new database.
    pub end: Position,
    /// Bytes of log.
    pub bytes: u64,
    /// The content of the new database.
    pub contents: Contents,
    /// The time of its last frame that has one.
    pub time: Option<Time>,
    /// The number of its frames behind the witnessed end.
    pub beyond: u64,
    /// Frames of the source that are not in it, as far as they were read.
    pub left_out: u64,
    /// Objects without a state as of then, for retention has dropped it.
    pub pruned: u64,
    /// The evidence that the source was whole.
    pub witness: WitnessedBy,
    /// The fault of the source's marker, if that is lost or damaged: the id is the one that the log
    /// says.
    pub marker: Option<Error>,
}

/// The evidence that a log does not end too early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WitnessedBy {
    /// A backup's own record of its end.
    Backup {
        /// The end.
        end: Position,
        /// The time of its making, if that is recorded.
        time: Option<Time>,
    },
    /// The index of a database, which covers the log up to a place.
    Index(Position),
    /// No evidence: the backup has lost its record, and frames may be missing at its end without a
    /// trace.
    Nothing,
}

impl Options {
    /// Makes a new database in `to`, which must be missing or empty, from the one in `from`: a
    /// backup, or any that is closed; `from` is not changed. Calls `progress` with the bytes of log
    /// done, and the total: none are done while the log is read first. It may stop the restore
    /// ([`GoesOn`](crate::GoesOn)). Every frame is verified. After a failure, or a stop, everything
    /// is removed; a crash leaves no database, and the directory can be restored to again. A
    /// damaged log can be restored up to a place before the damage.
    ///
    /// The result is the same database, with the same id, as of an earlier moment: its objects are
    /// the same objects. Continue only one of the two, or their lineages fork.
    ///
    /// # Errors
    ///
    /// [`NothingThen`](crate::ErrorKind::NothingThen) when there was no object at that moment,
    /// unless that is allowed; [`BackupCut`](crate::ErrorKind::BackupCut) when the log ends before
    /// its recorded end, and [`BackupBeyond`](crate::ErrorKind::BackupBeyond) when it continues
    /// behind that, unless that end is accepted; [`StatesPruned`](crate::ErrorKind::StatesPruned)
    /// when retention has dropped states of that moment, unless objects may come without;
    /// [`TimesOutOfOrder`](crate::ErrorKind::TimesOutOfOrder) when a time names no place in it;
    /// [`NotABoundary`](crate::ErrorKind::NotABoundary) when no frame starts or ends at the
    /// position, [`Occupied`](crate::ErrorKind::Occupied) when something is in `to`,
    /// [`Target`](crate::ErrorKind::Target) when there is no room for it,
    /// [`Stopped`](crate::ErrorKind::Stopped) by `progress`, and those of [`Options::open`] for
    /// `from`. Nothing is made then.
    pub fn restore<P: GoesOn>(
        self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        what: impl Into<Restoring>,
        mut progress: impl FnMut(u64, u64) -> P,
    ) -> Result<RestoreReport> {
        let mut follow = |done, all| progress(done, all).goes_on();
        restore(&self, from.as_ref(), to.as_ref(), what.into(), &mut follow)
    }
}

/// Makes a database in `to` out of the one in `from`.
fn restore(
    options: &Options,
    from: &Path,
    to: &Path,
    what: Restoring,
    progress: Progress<'_>,
) -> Result<RestoreReport> {
    let disk = &options.disk;
    // It is only read, also where it could be written.
    let access = Access { read_only: true, ..options.access() };
    let id = |log| id_of_log(disk, log);
    let (source, marker) = Directory::open_by_log(Arc::clone(disk), from, access, id)?;
    let (segments, witness) = staged::readable(&source)?;
    let of_source = |error: Error| error.at(from);
    Directory::require_free(&**disk, to)?;
    Directory::require_no_backup(&**disk, to)?;
    let resolved =
        |path: &Path| disk.resolve(path).map_err(|error| Error::io("resolve", error).at(path));
    if resolved(to)?.starts_with(resolved(from)?) {
        let within = std::io::Error::other("it is in the directory that is to be restored");
        return Err(Error::from(ErrorKind::Occupied).at(to).because(within));
    }
    let (witness, known) = known(options, &source, witness)?;
    let all = segments.bytes_before(Position::new(u32::MAX, 0)).map_err(of_source)?;
    let goes_on = &mut || progress(0, all);
    let survey = Survey::run(&segments, what.until, known, goes_on).map_err(of_source)?;
    let found = decide(survey, what, witness, known).map_err(of_source)?;
    let Found { wanted, limit, left_out, pruned } = found;
    let was_there = disk.exists(to).map_err(|error| Error::io("read", error).at(to))?;
    let mut copy = || {
        let alone = Access::default();
        let target = Directory::begin(Arc::clone(disk), to, source.id(), alone, false)?;
        // The leftovers of an earlier attempt may end elsewhere.
        let there = Segments::new(Arc::clone(disk), target.log(), target.id());
        let copied = there
            .remove_from(FIRST)
            .and_then(|()| LogCopy::new(&segments, &target, true, limit, progress))
            .and_then(|mut copy| {
                let short = |tail| is_end(&segments, tail, limit);
                Ok((copy.extend(&short)?, copy.keep(None, &short)?))
            });
        let copied = copied.map_err(of_source).inspect_err(|_| target.undo(was_there))?;
        target.finish()?;
        Ok(copied)
    };
    let (tail, Copied { bytes, .. }) = copy().map_err(Error::of_target)?;
    Ok(RestoreReport {
        end: tail.end,
        bytes,
        contents: wanted.contents,
        time: wanted.time,
        beyond: wanted.beyond,
        left_out,
        pruned,
        witness,
        marker,
    })
}

/// The decided part to restore.
struct Found {
    wanted: Part,
    limit: Option<Position>,
    left_out: u64,
    pruned: u64,
}

/// Decides whether the requested part of a log can be restored.
fn decide(
    mut survey: Survey<'_>,
    what: Restoring,
    witness: WitnessedBy,
    known: Option<Known>,
) -> Result<Found> {
    let (wanted, end) = (survey.wanted(), survey.all.tail.end);
    if let Some(known) = known.filter(|_| survey.is_cut && what.accept_end != Some(end)) {
        let expected = known.tail.end;
        return Err(ErrorKind::BackupCut { found: end, expected }.into());
    }
    let found = wanted.tail.end;
    if let WitnessedBy::Backup { end: recorded, .. } = witness
        && wanted.beyond > 0
        && what.accept_end != Some(found)
    {
        return Err(ErrorKind::BackupBeyond { found, recorded }.into());
    }
    if wanted.contents.object_count == 0 && !what.allow_empty {
        return Err(ErrorKind::NothingThen { first: survey.first }.into());
    }
    // At the end of the log the source has the same states.
    let is_strict = survey.limit.is_some() && !what.allow_pruned;
    let pruned = survey.pruned(is_strict)?;
    let count = pruned.as_ref().map_or(0, |pruned| pruned.count);
    if let Some(pruned) = pruned.filter(|_| is_strict) {
        return Err(ErrorKind::StatesPruned(Box::new(pruned)).into());
    }
    let left_out = survey.all.contents.frame_count - wanted.contents.frame_count;
    Ok(Found { wanted, limit: survey.limit, left_out, pruned: count })
}

/// Returns the known end of the log to be restored, and what confirms it.
fn known(
    options: &Options,
    source: &Directory,
    witness: Option<Witness>,
) -> Result<(WitnessedBy, Option<Known>)> {
    if let Some(Witness { time, tail, contents, .. }) = witness {
        let known = Known { tail, contents: Some(contents) };
        return Ok((WitnessedBy::Backup { end: tail.end, time }, Some(known)));
    }
    Ok(match Index::covered_in(&options.disk, &source.index())? {
        Some(tail) => (WitnessedBy::Index(tail.end), Some(Known { tail, contents: None })),
        None => (WitnessedBy::Nothing, None),
    })
}

/// Decides about a log whose frames end at `tail`, and not at the limit: a torn end is left out, as
/// when a database is opened.
fn is_end(segments: &Segments, tail: Tail, limit: Option<Position>) -> Result<()> {
    let mut scan = Scan::new(segments, tail);
    match scan.next()? {
        // The limit is in it.
        Next::Frame(_) => {}
        Next::Nothing => drop(is_torn(segments, &mut scan, None)?),
        Next::Broken(error) => drop(is_torn(segments, &mut scan, Some(error))?),
    }
    let frame = |limit| format!("{limit}; the last before it ends at {}", tail.end);
    limit.map_or(Ok(()), |limit| Err(Error::not_found("frame that ends at", frame(limit))))
}
