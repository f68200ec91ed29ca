//! The survey of a log, and of the part of it to be restored: read before anything is copied.
//!
//! ```text
//!   |--- not later than asked for ---|--- later ---|           a time is a place: the first later
//!   |--- not later ---|- later -|- not later -|- later -|      it is none: the caller chooses
//! ```
//!
//! This module does not know how a log is copied, nor the use of its findings.
//!
//! Invariant: the wanted part is the beginning of the log up to one place, and nothing later than
//! requested is in it.

use std::collections::BTreeSet;

use object::hash::ObjectId;
use object::time::Time;

use crate::error::disorder::Disorder;
use crate::error::position::Position;
use crate::error::pruned::StatesPruned;
use crate::error::{ErrorKind, Result};
use crate::log::frame::{Frame, damaged};
use crate::log::scan::{Next, Scan};
use crate::log::segment::{Segments, Tail};
use crate::upkeep::backup::contents::Contents;
use crate::upkeep::backup::states::States;
use crate::upkeep::recovery;
use crate::upkeep::recovery::is_torn;

/// Up to where a database is restored. Every frame is restored whole or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Until {
    /// To the end.
    End,
    /// To the place where a frame starts, as [`Store::append`](crate::Store::append) returns it, or
    /// ends, as in [`Stats`](crate::Stats) and [`BackupReport`](crate::BackupReport).
    Position(Position),
    /// To the first later frame. A frame's time is the earliest that this host stamped on a version
    /// or a refusal in it; an import's times do not count, and a frame without a time belongs to
    /// the one before it. Under one clock that goes forwards the times ascend along the log, and
    /// the result is the database at that time.
    /// Where later frames stand before some that are not, because an object or a clock was ahead or
    /// went back, a time names no place: the error [`TimesOutOfOrder`](ErrorKind::TimesOutOfOrder)
    /// has the first and the last place that may be meant, for a restore to a position.
    Time(Time),
}

/// The end of a log by other evidence, and its content, if that is known.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) tail: Tail,
    pub(super) contents: Option<Contents>,
}

/// A part of the log from its start on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) contents: Contents,
    /// The time of the last frame that has one.
    pub(super) time: Option<Time>,
    /// Frames behind the known end.
    pub(super) beyond: u64,
    /// The last frame of the part.
    pub(super) tail: Tail,
}

/// The content of a log, and of the wanted part of it.
pub(super) struct Survey<'a> {
    log: &'a Segments,
    until: Until,
    known: Option<Known>,
    /// All that was read so far.
    pub(super) all: Part,
    /// The wanted part, once a later frame was read.
    is_wanted: Option<Part>,
    /// The end of the wanted part; none at the end of the log.
    pub(super) limit: Option<Position>,
    states: States,
    /// The time of the first frame that has one.
    pub(super) first: Option<Time>,
    /// The time of the first frame that is later than was asked for.
    later_time: Time,
    /// The last frame that is not later and stands behind one that is: its end, and its time.
    behind: Option<(Position, Time)>,
    /// True if nothing later was read behind that.
    is_in: bool,
    /// True if the log ends before the frame that it is known to have had last.
    pub(super) is_cut: bool,
}

impl<'a> Survey<'a> {
    /// Reads a log as far as it takes, or until `goes_on` returns that it should stop.
    pub(super) fn run(
        log: &'a Segments,
        until: Until,
        known: Option<Known>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Survey<'a>> {
        let tail = recovery::begin(log)?;
        let all = Part { contents: Contents::default(), time: None, beyond: 0, tail };
        let mut survey = Survey {
            log,
            until,
            known,
            all,
            is_wanted: None,
            limit: None,
            states: States::default(),
            first: None,
            later_time: Time::MIN,
            behind: None,
            is_in: false,
            is_cut: known.is_some(),
        };
        survey.compare()?;
        survey.read(goes_on)?;
        if let (Some((end, end_time)), Until::Time(until), Some(later)) =
            (survey.behind, until, survey.limit)
        {
            let later_time = survey.later_time;
            let disorder = Disorder { until, later, later_time, end, end_time };
            return Err(ErrorKind::TimesOutOfOrder(Box::new(disorder)).into());
        }
        Ok(survey)
    }

    /// Returns the wanted part.
    pub(super) fn wanted(&self) -> Part {
        self.is_wanted.unwrap_or(self.all)
    }

    fn read(&mut self, goes_on: &mut dyn FnMut() -> bool) -> Result<()> {
        let mut scan = Scan::new(self.log, self.all.tail);
        let mut start = self.all.tail.end;
        let broken = loop {
            match scan.next()? {
                Next::Frame(_) if !goes_on() => return Err(ErrorKind::Stopped.into()),
                Next::Frame(frame) => {
                    if let Until::Position(place) = self.until
                        && frame.position >= place
                    {
                        return self.end_at(place, start, Some(frame.position));
                    }
                    start = frame.position;
                    self.frame(&frame, scan.tail())?;
                }
                Next::Nothing => break None,
                Next::Broken(error) => break Some(error),
            }
        };
        match self.until {
            // Frames behind the place do not matter.
            Until::Position(place) if [self.all.tail.end, scan.tail().end].contains(&place) => {
                self.end_at(place, start, Some(place))
            }
            Until::Position(place) => {
                is_torn(self.log, &mut scan, broken)?;
                self.end_at(place, start, None)
            }
            Until::End | Until::Time(_) => is_torn(self.log, &mut scan, broken).map(drop),
        }
    }

    /// Ends at a place, where a frame must start or end: the last one before started at `start`,
    /// and `next` starts next.
    fn end_at(&mut self, place: Position, start: Position, next: Option<Position>) -> Result<()> {
        self.is_cut = false;
        self.limit = Some(place);
        let end = self.all.tail.end;
        let (before, behind) = match end {
            _ if end == place || next == Some(place) => return Ok(()),
            _ if end > place => (start, Some(end)),
            _ => (end, next),
        };
        Err(ErrorKind::NotABoundary { found: place, before, behind }.into())
    }

    /// Takes in a frame, behind which is `tail`.
    fn frame(&mut self, frame: &Frame, tail: Tail) -> Result<()> {
        let before = self.all;
        let time = self.all.contents.add(frame)?;
        self.all.tail = tail;
        self.all.beyond += u64::from(self.known.is_some() && !self.is_cut);
        self.all.time = time.or(before.time);
        self.first = self.first.or(time);
        let is_later = match (time, self.until) {
            (Some(time), Until::Time(until)) => Some(time > until),
            _ => None,
        };
        match (is_later, self.is_wanted, time) {
            (Some(true), None, Some(time)) => {
                self.is_wanted = Some(before);
                self.limit = Some(frame.position);
                self.later_time = time;
            }
            (Some(true), Some(_), _) => self.is_in = false,
            (Some(false), Some(_), Some(time)) => {
                self.behind = Some((tail.end, time));
                self.is_in = true;
            }
            (None, Some(_), _) if self.is_in => {
                self.behind = self.behind.map(|(_, time)| (tail.end, time));
            }
            _ => {}
        }
        if self.is_wanted.is_none() {
            self.states.take(frame)?;
        }
        self.compare()
    }

    /// Checks that the log is the one whose last frame is known, once that is reached.
    fn compare(&mut self) -> Result<()> {
        let tail = self.all.tail;
        let known = self.known.filter(|known| known.tail.last == tail.last);
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

    /// Returns the states at the end of the wanted part that retention has dropped, if any; if
    /// `asked`, also the place where all objects have theirs.
    pub(super) fn pruned(&mut self, asked: bool) -> Result<Option<StatesPruned>> {
        let missing = self.states.missing(self.log)?;
        if missing.is_empty() {
            return Ok(None);
        }
        let (count, objects) = (missing.len() as u64, self.states.named(&missing));
        // A broken frame behind does not matter: then there is no such place.
        let earliest = if asked { self.earliest(missing).ok().flatten() } else { None };
        Ok(Some(StatesPruned { count, objects, earliest }))
    }

    /// Returns the first place behind the wanted part where no object is without a state, of which
    /// some are `missing`, and the time of the last frame before it.
    fn earliest(
        &mut self,
        mut missing: BTreeSet<ObjectId>,
    ) -> Result<Option<(Position, Option<Time>)>> {
        let mut scan = Scan::new(self.log, self.wanted().tail);
        let mut newest = self.wanted().time;
        while let Next::Frame(frame) = scan.next()? {
            newest = Contents::default().add(&frame)?.or(newest);
            for id in self.states.take(&frame)? {
                match self.states.is_missing(id, self.log)? {
                    true => missing.insert(id),
                    false => missing.remove(&id),
                };
            }
            if missing.is_empty() {
                return Ok(Some((scan.tail().end, newest)));
            }
        }
        Ok(None)
    }
}
