//! Restoring: a new database out of a backup, up to a moment.
//!
//! The log is read before it is copied: how far it goes, whether that is as far as its witness
//! says, and what is in the part that is wanted. It does not know how bytes are copied.
//!
//! Invariant: the new directory is a database once all is in it, and not before; the old one is
//! not changed.

use std::path::Path;
use std::sync::Arc;

use crate::backup::contents::Contents;
use crate::backup::copy::{Copied, LogCopy};
use crate::backup::witness::Witness;
use crate::directory::{Access, Directory};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::log::frame::{Seal, damaged};
use crate::log::scan::{Next, Scan};
use crate::log::segment::{FIRST, Segments};
use crate::log::{Position, Tail};
use crate::options::Options;
use crate::recovery::{self, is_torn};

/// Up to where a database is restored. Every frame is restored whole or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Until {
    /// To the end.
    End,
    /// To the place where a frame starts, as [`Store::append`](crate::Store::append) gave it, or
    /// ends, as in [`Stats`](crate::Stats) and [`BackupReport`](crate::BackupReport).
    Position(Position),
    /// To the last frame that is not later, in milliseconds since 1970-01-01 UTC, and those behind
    /// it that have no time. A frame's time is the earliest that this host stamped on a version or
    /// a refusal in it; what an import brought does not count. Under one clock that goes forwards
    /// the times ascend along the log, and the result is what there was at that time. Where they do
    /// not, for an object or a clock was ahead, later frames before the last one come with it, so
    /// that nothing that is not later is hidden by them: [`RestoreReport::later`] says so.
    Time(u64),
}

/// What is restored, and what may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restoring {
    until: Until,
    allow_empty: bool,
    accept_end: Option<Position>,
}

impl From<Until> for Restoring {
    fn from(until: Until) -> Restoring {
        Restoring { until, allow_empty: false, accept_end: None }
    }
}

impl Restoring {
    /// Whether a database without an object may come of it. Default: no, that is an error.
    pub fn allow_empty(self, allow_empty: bool) -> Restoring {
        Restoring { allow_empty, ..self }
    }

    /// Takes a backup that was cut, if it ends here, as the error said: what was behind is lost.
    pub fn accept_end(self, end: Option<Position>) -> Restoring {
        Restoring { accept_end: end, ..self }
    }
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// All before is in the new database.
    pub end: Position,
    /// Bytes of log.
    pub bytes: u64,
    /// What is in it.
    pub contents: Contents,
    /// The time of its last frame that has one, in milliseconds since 1970-01-01 UTC.
    pub time: Option<u64>,
    /// Frames in it that are later than was asked for, for others behind them are not.
    pub later: u64,
    /// Frames of the source that are not in it, as far as they were read.
    pub left_out: u64,
    /// How it is known that the source was whole.
    pub witness: WitnessedBy,
}

/// How it is known that a log ends no earlier than it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WitnessedBy {
    /// A backup's own record of its end.
    Backup {
        /// The end.
        end: Position,
        /// When it was made, in milliseconds since 1970-01-01 UTC; 0 when that was not told.
        time: u64,
    },
    /// The index of a database, which covers the log up to a place.
    Index(Position),
    /// Nothing: it is a backup of a program that wrote no witness, and what may be missing at its
    /// end cannot be told.
    Nothing,
}

/// Makes a database in `to` out of the one in `from`.
pub(crate) fn restore(
    options: &Options,
    from: &Path,
    to: &Path,
    what: Restoring,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RestoreReport> {
    let disk = &options.disk;
    // It is only read, also where it could be written.
    let access = Access { read_only: true, ..options.access() };
    let source = Directory::open_as(Arc::clone(disk), from, access)?;
    let segments = Segments::new(Arc::clone(disk), source.log(), source.id()).read_only(true);
    let seal = Seal::new(source.id());
    let of_source = |error: Error| error.at(from);
    Directory::require_free(&**disk, to)?;
    let resolved =
        |path: &Path| disk.resolve(path).map_err(|error| Error::io("resolve", error).at(path));
    if resolved(to)?.starts_with(resolved(from)?) {
        return Err(Error::from(ErrorKind::Occupied).at(to));
    }
    let (witness, known) = witness(options, &source)?;
    let surveyed = Survey::run(&segments, seal, (what.until, known)).map_err(of_source)?;
    let Survey { wanted, end, first, .. } = surveyed;
    if let Some(known) = known.filter(|_| surveyed.is_cut && what.accept_end != Some(end)) {
        let expected = known.tail.end;
        return Err(of_source(ErrorKind::BackupCut { found: end, expected }.into()));
    }
    if wanted.contents.object_count == 0 && !what.allow_empty {
        return Err(of_source(ErrorKind::NothingThen { first }.into()));
    }
    let target = Directory::begin(Arc::clone(disk), to, source.id())?;
    // What an earlier attempt left may have been cut elsewhere.
    Segments::new(Arc::clone(disk), target.log(), target.id()).remove_from(FIRST)?;
    let limit = wanted.limit;
    let copied = LogCopy::new(&segments, (&target, true), limit, progress)
        .and_then(|copy| copy.run(&|tail| is_end(&segments, seal, tail, limit)));
    let (tail, Copied { bytes, .. }) = copied.map_err(of_source)?;
    target.finish()?;
    Ok(RestoreReport {
        end: tail.end,
        bytes,
        contents: wanted.contents,
        time: wanted.time,
        later: wanted.later,
        left_out: surveyed.all.contents.frame_count - wanted.contents.frame_count,
        witness,
    })
}

/// The end of a log as something else knows it, and what there was, if that is known.
#[derive(Clone, Copy)]
struct Known {
    tail: Tail,
    contents: Option<Contents>,
}

fn witness(options: &Options, source: &Directory) -> Result<(WitnessedBy, Option<Known>)> {
    if let Some(witness) = Witness::read(source)? {
        let Witness { time, tail, contents, .. } = witness;
        let known = Known { tail, contents: Some(contents) };
        return Ok((WitnessedBy::Backup { end: tail.end, time }, Some(known)));
    }
    Ok(match Index::covered_in(&options.disk, &source.index())? {
        Some(tail) => (WitnessedBy::Index(tail.end), Some(Known { tail, contents: None })),
        None => (WitnessedBy::Nothing, None),
    })
}

/// A part of the log from its start on.
#[derive(Clone, Copy, Default)]
struct Part {
    contents: Contents,
    /// The time of the last frame that has one.
    time: Option<u64>,
    /// Frames that are later than was asked for.
    later: u64,
    /// Where it ends; none at the end of the log.
    limit: Option<Position>,
}

/// What there is in a log, and in the part of it that is wanted.
struct Survey {
    until: Until,
    /// All that was read so far.
    all: Part,
    wanted: Part,
    /// Whether what was read last is wanted.
    is_in: bool,
    /// The time of the first frame that has one.
    first: Option<u64>,
    /// The end of what was read.
    end: Position,
    /// Whether the log ends before the frame that it is known to have had last.
    is_cut: bool,
}

impl Survey {
    fn run(
        segments: &Segments,
        seal: Seal,
        (until, known): (Until, Option<Known>),
    ) -> Result<Survey> {
        let (all, wanted, start) =
            (Part::default(), Part::default(), recovery::begin(segments, seal)?);
        let (first, is_in, is_cut, end) = (None, true, known.is_some(), start.end);
        let mut survey = Survey { until, all, wanted, is_in, first, end, is_cut };
        let mut scan = Scan::new(segments, seal, start);
        survey.compare(start, known)?;
        let broken = loop {
            match scan.next()? {
                Next::Frame(frame) => {
                    if matches!(until, Until::Position(position) if frame.position >= position) {
                        break None;
                    }
                    let before = survey.all;
                    let time = survey.all.contents.add(&frame)?;
                    survey.pass(before, (frame.position, time));
                    survey.end = scan.tail().end;
                    survey.compare(scan.tail(), known)?;
                }
                Next::Nothing => break Some(None),
                Next::Broken(error) => break Some(Some(error)),
            }
        };
        match (broken, until) {
            // What is behind the place is nobody's concern; what is before, the copy's.
            (_, Until::Position(_)) => survey.is_cut = false,
            (Some(broken), _) => drop(is_torn(segments, &mut scan, broken)?),
            (None, _) => {}
        }
        if survey.is_in {
            survey.wanted = survey.all;
        }
        if let Until::Position(position) = until {
            survey.wanted.limit = Some(position);
        }
        Ok(survey)
    }

    /// Takes in a frame, behind what was `before`.
    fn pass(&mut self, before: Part, (position, time): (Position, Option<u64>)) {
        let Some(time) = time else { return };
        self.first.get_or_insert(time);
        self.all.time = Some(time);
        let is_later = matches!(self.until, Until::Time(until) if time > until);
        self.all.later += u64::from(is_later);
        if is_later && self.is_in {
            self.wanted = Part { limit: Some(position), ..before };
        }
        self.is_in = !is_later;
    }

    /// That the log is the one whose last frame is known, once that is reached.
    fn compare(&mut self, tail: Tail, known: Option<Known>) -> Result<()> {
        let known = known.filter(|known| known.tail.last == tail.last);
        let Some(known) = known else { return Ok(()) };
        self.is_cut = false;
        let expected = "the frames that it had when its end was recorded";
        if known.tail.check != tail.check {
            return Err(damaged(tail.last, expected, "another last one"));
        }
        match known.contents {
            Some(contents) if contents != self.all.contents => {
                let (contents, found) = (format!("{contents:?}"), self.all.contents);
                Err(damaged(tail.end, contents, format!("{found:?}")))
            }
            _ => Ok(()),
        }
    }
}

/// Decides about a log whose frames end at `tail`, and not at the limit: a torn end is left out, as
/// it is when a database is opened.
fn is_end(segments: &Segments, seal: Seal, tail: Tail, limit: Option<Position>) -> Result<()> {
    let mut scan = Scan::new(segments, seal, tail);
    match scan.next()? {
        // The limit is in it.
        Next::Frame(_) => {}
        Next::Nothing => drop(is_torn(segments, &mut scan, None)?),
        Next::Broken(error) => drop(is_torn(segments, &mut scan, Some(error))?),
    }
    let frame = |limit| format!("{limit}; the last before it ends at {}", tail.end);
    limit.map_or(Ok(()), |limit| Err(Error::not_found("frame that ends at", frame(limit))))
}
