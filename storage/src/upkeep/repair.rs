//! Repair: the marker and the index are rebuilt from the log, once the log was compared with the
//! old index.
//!
//! ```text
//!   old index: covers |-------------------------| 3:512
//!   log:              |----------------| 3:96           less: a loss, which somebody accepts
//!   new index:        |----------------|----| 3:273     the loss is in the log's next frame
//! ```
//!
//! The old index is removed last. A repair that is cut short leaves it, and a log that has the same
//! loss on record, so that the loss need not be accepted again. One that is stopped in order stops
//! while it reads, before anything is decided.
//!
//! This module does not know the content of rows, except each object's newest version.
//!
//! Invariant: nothing of the log is cut off, and no index that knows of it is removed, unless the
//! loss was accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::hash::ObjectId;
use object::time::Time;

use crate::disk::directory::{DatabaseId, Directory, keep_file, temporary};
use crate::disk::file::Disk;
use crate::error::loss::{Loss, LossToken, Lost, LostObject, OBJECTS_LISTED_MAX};
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::Frames;
use crate::log::segment::{Segments, Tail};
use crate::log::writer::Sizes;
use crate::log::{GATHER_FRAMES_MIN, Log, Writes, file, scan};
use crate::options::Options;
use crate::record::event::Event;
use crate::record::link::Link;
use crate::record::loss::RecordedLoss;
use crate::record::{Body, Record, records};
use crate::rows::index::{Covered, Index, Reading};
use crate::rows::row::Row;
use crate::store::Inner;
use crate::upkeep::progress::{GoesOn, Progress};
use crate::upkeep::recovery;
use crate::upkeep::recovery::{Projected, Replayed};

/// Rows that are compared at a time.
const LIST_PAGE: usize = 4096;

/// A loss that somebody saw and accepts.
#[derive(Clone, Copy, Debug)]
pub struct AcceptedLoss {
    /// The token that came with it.
    pub token: LossToken,
    /// The time of acceptance, which stays on record.
    pub time: Time,
}

/// The result of a repair.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// True if the marker was missing or damaged, and was made again.
    pub marker_made: bool,
    /// The result of comparing the log with the old index.
    pub compared: Compared,
    /// The loss that was to be accepted, when an earlier repair did that.
    pub accepted_before: Option<RecordedLoss>,
}

/// The result of comparing a log with the old index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compared {
    /// The log has all that the index knew to be durable, up to this place.
    Whole(Position),
    /// The log had more; that was accepted and is on record.
    Lost(RecordedLoss),
    /// There was no index, or it covered nothing: it is unknown whether the log lost its end.
    NoIndex,
    /// The index could not be read, with the reason: it is unknown whether the log lost its end.
    Unreadable(String),
}

impl Options {
    /// Rebuilds the index of the database in `path` from the log; keeps the old one when the log
    /// cannot be read from its start.
    ///
    /// # Errors
    ///
    /// [`NotADatabase`](crate::ErrorKind::NotADatabase), [`Locked`](crate::ErrorKind::Locked),
    /// damage of the log, and those of the file system.
    pub fn rebuild_index(self, path: impl AsRef<Path>) -> Result<()> {
        self.repair(path, None, |_, _| {}).map(drop)
    }

    /// Rebuilds the index of the database in `path` from the log, and the marker if it is missing,
    /// once the log was compared with the old index: that knows up to where the log was durable. A
    /// log that has less is a loss, which is `accepted` or an error that names it; an accepted loss
    /// stays on record in the log ([`Store::losses`](crate::Store::losses)).
    ///
    /// Calls `progress` with the bytes of log read, and the total; it may stop the repair
    /// ([`GoesOn`]) while that reads and compares: the log and the index are then as they were.
    ///
    /// # Errors
    ///
    /// [`Lost`](crate::ErrorKind::Lost) when the log has less than it had, and that was not
    /// accepted: nothing is changed then. [`IsBackup`](crate::ErrorKind::IsBackup): a backup is
    /// mended by the next one into it. [`Stopped`](crate::ErrorKind::Stopped) by `progress`.
    /// [`NotADatabase`](crate::ErrorKind::NotADatabase), [`Locked`](crate::ErrorKind::Locked),
    /// damage before the end of the log, and those of the file system.
    pub fn repair<P: GoesOn>(
        self,
        path: impl AsRef<Path>,
        accepted: Option<AcceptedLoss>,
        mut progress: impl FnMut(u64, u64) -> P,
    ) -> Result<Repaired> {
        if self.read_only {
            return Err(ErrorKind::ReadOnly.into());
        }
        repair(&self, path.as_ref(), accepted, &mut |done, all| progress(done, all).goes_on())
    }
}

/// Repairs the database in `path`.
fn repair(
    options: &Options,
    path: &Path,
    accepted: Option<AcceptedLoss>,
    progress: Progress<'_>,
) -> Result<Repaired> {
    let disk = &options.disk;
    let access = options.access();
    let require_no_backup = || match options.is_backup(path)? {
        true => Err(Error::from(ErrorKind::IsBackup).at(path)),
        false => Ok(()),
    };
    require_no_backup()?;
    let marker_made = Directory::mend(disk, path, access, |log| id_of_log(disk, log))?.is_some();
    let directory = Directory::open_as(Arc::clone(disk), path, access)?;
    // A backup may have been made before it was locked.
    require_no_backup()?;
    let new = temporary(&directory.index());
    remove(&**disk, &new)?;
    let made = make(options, &directory, &new, accepted, progress);
    if made.is_err() {
        // It would only take space.
        drop(disk.remove(&new));
    }
    let compared = made?;
    keep_file(&**disk, &directory.index())?;
    drop(directory);
    let store = options.clone().existing(true).open(path)?;
    let accepted_before = match (&compared, accepted) {
        (Compared::Lost(_), _) | (_, None) => None,
        (_, Some(accepted)) => recorded(store.inner(), accepted.token),
    };
    store.close()?;
    Ok(Repaired { marker_made, compared, accepted_before })
}

/// Returns the loss on record that has this token, as far as the log can be read.
fn recorded(inner: &Inner, token: LossToken) -> Option<RecordedLoss> {
    let losses = inner.heads.lock().losses().to_vec();
    losses.into_iter().find(|known| {
        // The log ended before the frame that records the loss.
        let tail = scan::before(inner.log.segments(), known.position).ok().flatten();
        tail.is_some_and(|tail| Lost::new(known.loss, tail.check, Vec::new()).token == token)
    })
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| Error::io("remove", error).at(path)),
    }
}

/// Returns the id that all segments of a log agree on.
pub(crate) fn id_of_log(disk: &Arc<dyn Disk>, log: PathBuf) -> Result<Option<DatabaseId>> {
    let segments = Segments::new(Arc::clone(disk), log, DatabaseId::default());
    let mut found = None;
    for number in segments.numbers()? {
        match (segments.id_in(number)?, found) {
            (Some(id), None) => found = Some(id),
            (Some(id), Some(other)) if id != other => {
                let file = file::file_name(number);
                return Err(ErrorKind::OtherDatabase { file }.into());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Makes the new index in the file `new`, and records an accepted loss in the log.
fn make(
    options: &Options,
    directory: &Directory,
    new: &Path,
    accepted: Option<AcceptedLoss>,
    progress: Progress<'_>,
) -> Result<Compared> {
    let old = Old::open(options, directory)?;
    let segments = || Segments::new(Arc::clone(&options.disk), directory.log(), directory.id());
    let log = segments();
    log.tidy()?;
    let index = Index::open(&options.disk, new, options.index_cache_bytes, &|_| Ok(()))?.0;
    let replayed = read(options, &log, &index, &old, progress)?;
    let Replayed { mut projected, tail, is_torn, .. } = replayed;
    projected.flush(&index, tail)?;
    let heads = projected.heads;
    let (old_index, covered) = match old {
        Old::Known(index, covered) => (index, covered),
        Old::Unknown(compared) => {
            if is_torn {
                recovery::cut(&log, tail)?;
            }
            return Ok(compared);
        }
    };
    let old = old_index.as_ref();
    let went_elsewhere = covered.end <= tail.end;
    let comparison = Comparison { log: &log, covered, went_elsewhere, old, new: &index };
    if comparison.is_whole(tail)? {
        if is_torn {
            recovery::cut(&log, tail)?;
        }
        return Ok(Compared::Whole(covered.end));
    }
    // A repair was cut short after it had recorded an accepted loss.
    if let Some(known) =
        heads.losses().iter().find(|known| known.loss.is_behind(covered.end, covered.check))
    {
        return Ok(Compared::Lost(*known));
    }
    let lost = comparison.lost(tail, progress)?;
    let Some(accepted) = accepted.filter(|accepted| accepted.token == lost.token) else {
        return Err(Error::from(ErrorKind::Lost(Box::new(lost))).at(directory.path()));
    };
    if log.numbers()?.is_empty() {
        recovery::begin_log(options, &directory.log(), directory.id())?;
    }
    recovery::cut(&log, tail)?;
    drop(log);
    let loss = RecordedLoss { loss: lost.loss, time: accepted.time, position: Position::NONE };
    let position = record(options, segments(), tail, &loss)?;
    Ok(Compared::Lost(RecordedLoss { position, ..loss }))
}

/// Reads the whole log. A missing log is read as an empty one, when the index shows that it
/// existed.
fn read(
    options: &Options,
    log: &Segments,
    index: &Index,
    old: &Old,
    progress: Progress<'_>,
) -> Result<Replayed> {
    let projected = Projected::nothing(options);
    let is_known = matches!(old, Old::Known(_, covered) if covered.last != Position::NONE);
    if log.numbers()?.is_empty() && is_known {
        let tail = scan::start(log.seal());
        return Ok(Replayed { projected, tail, tail_bytes: 0, is_torn: false });
    }
    let from = recovery::begin(log)?;
    recovery::settle(log, from)?;
    let (mut done, all) = (0, log.bytes_before(Position::new(u32::MAX, 0))?);
    recovery::replay(log, index, options, projected, from, &mut |bytes| {
        done = all.min(done + bytes);
        progress(done, all)
    })
}

/// Adds the frame that records a loss to the log; returns its place.
fn record(
    options: &Options,
    segments: Segments,
    tail: Tail,
    loss: &RecordedLoss,
) -> Result<Position> {
    let sizes = Sizes {
        segment_bytes: options.segment_bytes,
        group_bytes_max: options.group_bytes_max,
        gather_frames_min: GATHER_FRAMES_MIN,
    };
    let log = Log::start(segments, tail, sizes, Writes::Caller)?;
    let mut body = Body::default();
    body.event(&Event::Loss(*loss));
    let pushed = log.push(&body.0, blake3::hash(&body.0), Box::new(drop));
    let position = pushed.map_err(|(error, _)| error)?.commit()?;
    log.close()?;
    Ok(position)
}

/// The index before the repair.
enum Old {
    /// The end of the log that the index covers; and its rows, if they have this layout.
    Known(Option<Index>, Tail),
    /// The index says nothing about the log.
    Unknown(Compared),
}

impl Old {
    fn open(options: &Options, directory: &Directory) -> Result<Old> {
        let path = directory.index();
        let exists = options.disk.exists(&path);
        if !exists.map_err(|error| Error::io("read", error).at(&path))? {
            return Ok(Old::Unknown(Compared::NoIndex));
        }
        let opened = Index::open_as_it_is(&options.disk, &path, options.index_cache_bytes);
        Ok(match opened {
            Ok((_, Covered::Nothing)) => Old::Unknown(Compared::NoIndex),
            Ok((index, Covered::Until(tail))) => Old::Known(Some(index), tail),
            Ok((_, Covered::OtherLayout(Some(tail)))) => Old::Known(None, tail),
            Ok((_, Covered::OtherLayout(None))) => {
                Old::Unknown(Compared::Unreadable("it is of another layout".to_string()))
            }
            Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => {
                Old::Unknown(Compared::Unreadable(error.to_string()))
            }
            Err(error) => return Err(error),
        })
    }
}

/// The old index beside the log, and the new one made from it.
struct Comparison<'a> {
    log: &'a Segments,
    covered: Tail,
    /// True if the log continues differently behind the covered end: a log that is not whole
    /// diverged.
    went_elsewhere: bool,
    /// None when its rows cannot be read.
    old: Option<&'a Index>,
    new: &'a Index,
}

impl Comparison<'_> {
    /// Returns whether a log that ends at `tail` has the last frame that the old index covers, and
    /// so all before, since frames are chained.
    fn is_whole(&self, tail: Tail) -> Result<bool> {
        Ok(self.covered.last == Position::NONE
            || (self.covered.end <= tail.end
                && self.check_at(self.covered.last)? == Some(self.covered.check)))
    }

    fn check_at(&self, place: Position) -> Result<Option<[u8; 32]>> {
        match self.log.frame(place) {
            Ok(frame) => Ok(Some(frame.check)),
            Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what the old index has and the log has not.
    fn lost(&self, tail: Tail, progress: Progress<'_>) -> Result<Lost> {
        let mut loss = Loss {
            expected: self.covered.end,
            check: self.covered.check,
            found: tail.end,
            object_count: 0,
            gone_count: 0,
            version_count: 0,
            refusal_count: 0,
            is_counted: !self.went_elsewhere,
        };
        let mut objects = Vec::new();
        if !self.count(&mut loss, &mut objects, progress)? {
            loss.is_counted = false;
        }
        Ok(Lost::new(loss, tail.check, objects))
    }

    /// Counts object by object; whether all of the old index could be read.
    fn count(
        &self,
        loss: &mut Loss,
        objects: &mut Vec<LostObject>,
        progress: Progress<'_>,
    ) -> Result<bool> {
        let Some(Ok(old)) = self.old.map(Index::reading) else { return Ok(false) };
        let new = self.new.reading()?;
        let all = self.log.bytes_before(Position::new(u32::MAX, 0))?;
        let mut last = None;
        loop {
            if !progress(all, all) {
                return Err(ErrorKind::Stopped.into());
            }
            let Ok(rows) = old.list(last, LIST_PAGE) else { return Ok(false) };
            let Some(end) = rows.last() else { return Ok(true) };
            last = Some(end.id);
            for info in rows {
                let Ok(Some(was)) = old.row(info.id) else { return Ok(false) };
                let Some(lost) = self.object(&new, info.id, &was)? else { continue };
                loss.object_count += 1;
                loss.gone_count += u64::from(lost.kept.is_none());
                let left = lost.kept.map_or(0, |kept| kept + 1);
                loss.version_count += (lost.newest + 1).saturating_sub(left);
                loss.refusal_count += lost.refusal_count;
                if objects.len() < OBJECTS_LISTED_MAX {
                    objects.push(lost);
                }
            }
        }
    }

    /// Returns the lost part of an object, if any.
    fn object(&self, new: &Reading<'_>, id: ObjectId, was: &Row) -> Result<Option<LostObject>> {
        let is_prefix = !self.went_elsewhere;
        let is = new.row(id)?;
        let kept = is.as_ref().map(Row::seq);
        let refusals_left = is.as_ref().map_or(0, |row| row.refusal_count);
        let refusal_count = was.refusal_count.saturating_sub(refusals_left);
        let (name, newest) = (was.name.clone(), was.seq());
        let lost = |kept| Some(LostObject { id, name, kept, newest, refusal_count });
        Ok(match kept {
            None => lost(None),
            Some(seq) if seq < newest || refusal_count > 0 => lost(kept),
            Some(_) if is_prefix || self.has(was.head())? => None,
            // The log has other versions in their place; how many is not known.
            Some(_) => lost(Some(newest.saturating_sub(1))),
        })
    }

    /// Returns whether the log has a version where a row says.
    fn has(&self, link: Link) -> Result<bool> {
        let frame = match self.log.frame(link.position) {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(records(&frame.body).map_while(Result::ok).any(|record| match record {
            Record::Version(version) => {
                let decoded = version.decode(frame.position);
                decoded.is_ok_and(|version| version.hash == link.hash)
            }
            _ => false,
        }))
    }
}
