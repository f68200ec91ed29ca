//! The history of a name: which objects had it, from when to when, as the records about it say.
//!
//! This module does not know how a name comes to an object.
//!
//! Invariant: each step leads to an earlier frame, so a history ends however its records are
//! damaged.

use object::hash::ObjectId;
use object::time::Time;

use crate::error::Result;
use crate::error::position::Position;
use crate::log::frame::{Frames, damaged};
use crate::record::event::Event;
use crate::record::{Record, records};
use crate::store::{Inner, Store};

/// A moment in the history of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameMoment {
    /// The place in the log.
    pub position: Position,
    /// The time, as the host said.
    pub time: Time,
}

/// An object, and how long it had a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHolding {
    /// The object.
    pub object: ObjectId,
    /// The moment when it got the name.
    pub from: NameMoment,
    /// The moment when it had it no more; none while it has it.
    pub until: Option<NameMoment>,
}

/// The history of a name, newest first.
#[derive(Debug)]
pub struct NameHistory<'s> {
    inner: &'s Inner,
    name: String,
    /// The next frame that has records about the name.
    next: Position,
    /// Records of a frame that were not given yet, in their order.
    found: Vec<(ObjectId, bool, NameMoment)>,
    until: Option<NameMoment>,
}

impl Store {
    /// Returns the objects that had a name, newest first; none when no object ever had it.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn name_history(&self, name: &str) -> Result<NameHistory<'_>> {
        let row = self.inner().name_row(name)?;
        let next = row.map_or(Position::NONE, |row| row.at);
        let (found, until) = Default::default();
        Ok(NameHistory { inner: self.inner(), name: name.to_string(), next, found, until })
    }
}

impl NameHistory<'_> {
    fn step(&mut self) -> Result<Option<NameHolding>> {
        loop {
            while let Some((object, is_bound, moment)) = self.found.pop() {
                if is_bound {
                    let until = self.until.take();
                    return Ok(Some(NameHolding { object, from: moment, until }));
                }
                self.until = Some(moment);
            }
            if self.next == Position::NONE {
                return Ok(None);
            }
            let at = std::mem::replace(&mut self.next, Position::NONE);
            self.frame(at)?;
        }
    }

    /// Takes the records about the name from the frame at a position.
    fn frame(&mut self, at: Position) -> Result<()> {
        let frame = self.inner.log.frame(at)?;
        for record in records(&frame.body) {
            let Record::Event(Event::Name(naming)) = record? else { continue };
            if naming.name != self.name {
                continue;
            }
            if naming.before >= at {
                return Err(damaged(at, "an earlier record of the name", naming.before));
            }
            self.next = naming.before;
            let moment = NameMoment { position: at, time: naming.time };
            self.found.push((naming.object, naming.is_bound, moment));
        }
        match self.found.is_empty() {
            true => Err(damaged(at, format!("a record of the name {:?}", self.name), "none")),
            false => Ok(()),
        }
    }
}

impl Iterator for NameHistory<'_> {
    type Item = Result<NameHolding>;

    fn next(&mut self) -> Option<Result<NameHolding>> {
        let step = self.step();
        if step.is_err() {
            (self.next, self.found) = (Position::NONE, Vec::new());
        }
        step.transpose()
    }
}
