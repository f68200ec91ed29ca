//! Outboxes: the outputs of objects, for programs that pass them to the outside world, in the order
//! of the log, each from its last acknowledged place.
//!
//! ```text
//!   log:  ... version | version, 2 outputs | version | version, 1 output | ...
//!                                 ^ acknowledged            ^ given        ^ durable
//! ```
//!
//! An output is in the log with its version, so an outbox is only a place in the log: nothing is
//! written for it when outputs are made. It gives outputs once they are durable, and again after a
//! crash if they were not acknowledged: at least once, each time with the same token. Outputs of
//! imported versions were given elsewhere. Compaction keeps the outputs that an outbox has not
//! acknowledged.
//!
//! Where no outputs are made for long, an outbox notes how far it looked, once it has given and
//! acknowledged all before: repeated requests do not read the same log again, and a log without
//! outputs holds no compaction back.
//!
//! This module does not know where outputs go.
//!
//! Invariant: an outbox gives every output of a version behind its place, in the order of the log.

use std::collections::VecDeque;

use object::effects::{Effects, Output};
use object::hash::{ObjectId, VersionHash};
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, damaged};
use crate::log::scan::{Next, Scan};
use crate::log::segment::Tail;
use crate::log::{scan, segment};
use crate::record::event::Event;
use crate::record::mark::{OutboxMark, OutboxPlace};
use crate::record::name::{NAME_BYTES_MAX, is_name};
use crate::record::version::Staged;
use crate::record::{Record, records};
use crate::rows::heads::Heads;
use crate::store::{Inner, Store};
use crate::write::push::Changes;

/// Bytes of the log without an output that an outbox reads again rather than take note of them: to
/// ask often, where little happens, writes nothing.
const LOOKED_BYTES: u64 = 1 << 20;

/// An output on its way into the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The object that put it out.
    pub object: ObjectId,
    /// The version that did.
    pub version: VersionHash,
    /// The version's number.
    pub seq: u64,
    /// The version's time.
    pub time: Time,
    /// The output's index among those of the version.
    pub index: u32,
    /// The output's name and content.
    pub output: Output,
    /// The place to acknowledge once this output, and all before it, are processed.
    pub place: OutboxPlace,
}

impl Outgoing {
    /// Returns a token that identifies the output, and is the same each time that it is given: for
    /// programs that must not process it twice.
    pub fn token(&self) -> String {
        format!("{}-{}", self.version, self.index)
    }
}

/// A reader of the outputs of a store, in order: an iterator over those that are durable and not
/// acknowledged. Two readers of one name do not know each other.
///
/// The iterator has no end: after none it may have another output later. An error ends it: a new
/// reader of the name tries again. If there is none and all given ones are acknowledged, it notes
/// how far it looked, when that was far.
#[derive(Debug)]
pub struct Outbox<'a> {
    inner: &'a Inner,
    name: String,
    /// All up to here was given, or is ready.
    tail: Option<Tail>,
    /// The place when it was opened.
    from: OutboxPlace,
    ready: VecDeque<Outgoing>,
    /// The output that was given last.
    given: OutboxPlace,
    /// The last frame that was read, with the count of its outputs.
    looked: OutboxPlace,
    /// Bytes of frames without outputs that were read since the place was noted.
    looked_bytes: u64,
    /// True once a read failed.
    is_over: bool,
}

/// The progress of an outbox, and the data kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxStatus {
    /// The outbox's name.
    pub name: String,
    /// Up to where it acknowledged.
    pub place: OutboxPlace,
    /// Outputs that it has not acknowledged.
    pub behind_count: u64,
    /// The bytes of frames with such outputs: compaction keeps their versions.
    pub held_bytes: u64,
    /// The time of the version whose output it acknowledged last; none when it acknowledged
    /// nothing, or that version was dropped or is far behind.
    pub acknowledged: Option<Time>,
}

impl Store {
    /// Returns the existing outbox of this name, at its last acknowledged place.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound); those of the file system, and damage.
    pub fn outbox(&self, name: &str) -> Result<Outbox<'_>> {
        let from = self.inner().heads.lock().outbox(name);
        let from = from.ok_or_else(|| Error::not_found("outbox", name))?;
        let (name, ready) = (name.to_string(), VecDeque::new());
        let (inner, tail, given, looked) = (self.inner(), None, from, from);
        let (looked_bytes, is_over) = (0, false);
        Ok(Outbox { inner, name, tail, from, ready, given, looked, looked_bytes, is_over })
    }

    /// Makes the outbox of this name, unless there is one, and returns it as
    /// [`outbox`](Store::outbox) does. A new one starts with the oldest remaining output, and waits
    /// for a running compaction.
    ///
    /// # Errors
    ///
    /// [`Name`](ErrorKind::Name), those of [`outbox`](Store::outbox) and of [`Store::append`].
    pub fn create_outbox(&self, name: &str) -> Result<Outbox<'_>> {
        if self.inner().heads.lock().outbox(name).is_none() {
            // A running compaction does not know of the new outbox.
            let _none = self.inner().compacting.lock();
            let start = Some(Some(OutboxPlace::default()));
            self.inner().mark(name, |known| known.map_or(start, |_| None))?;
        }
        self.outbox(name)
    }

    /// Returns the progress of each outbox and the data kept for it, by name. It reads the log from
    /// the place of the one that is farthest behind.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn outbox_status(&self) -> Result<Vec<OutboxStatus>> {
        let inner = self.inner();
        inner.heed(inner.outbox_status())
    }

    /// Returns the names of all outboxes, ascending.
    pub fn outboxes(&self) -> Vec<String> {
        self.inner().heads.lock().outboxes().map(|(name, _)| name.clone()).collect()
    }

    /// Removes an outbox, so that nothing is kept for it any more; returns whether there was one.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn remove_outbox(&self, name: &str) -> Result<bool> {
        self.inner().mark(name, |known| known.map(|_| None))
    }
}

impl Outbox<'_> {
    /// Notes how far the outbox looked. That only saves work: if it cannot be written, the next
    /// request to the store reports why.
    fn take_note(&mut self) {
        if self.looked_bytes < LOOKED_BYTES {
            return;
        }
        let (given, looked) = (self.given, self.looked);
        let noted = self.inner.mark(&self.name, |known| {
            let is_all_done = known.is_some_and(|known| known >= given && known < looked);
            is_all_done.then_some(Some(looked))
        });
        if noted.unwrap_or(false) {
            self.looked_bytes = 0;
        }
    }

    /// Acknowledges an output, and all before it. A crash may undo that, and they are given again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when the outbox was removed; those of the file system.
    pub fn acknowledge(&self, place: OutboxPlace) -> Result<()> {
        let mut is_there = false;
        self.inner.mark(&self.name, |known| {
            is_there = known.is_some();
            known.filter(|known| *known < place).map(|_| Some(place))
        })?;
        match is_there {
            true => Ok(()),
            false => Err(Error::not_found("outbox", &self.name)),
        }
    }

    /// Reads on to the next frame that has outputs.
    fn read(&mut self) -> Result<()> {
        let durable = self.inner.log.durable();
        let segments = self.inner.log.segments();
        let tail = match self.tail {
            Some(tail) => tail,
            None => match scan::before(segments, self.from.position)? {
                Some(tail) => tail,
                None => {
                    let number = self.from.position.segment().max(segment::FIRST);
                    Tail::of_segment(number, segments.header(number)?.previous)
                }
            },
        };
        // Made anew: bytes that were read ahead may have been overwritten since.
        let mut scan = Scan::new(segments, tail);
        while self.ready.is_empty() && scan.tail().end < durable {
            let frame = match scan.next()? {
                Next::Frame(frame) => frame,
                Next::Broken(error) => return Err(error),
                // The last segment may have no frame yet.
                Next::Nothing => break,
            };
            if frame.position >= self.from.position {
                let (ready, count) = self.outputs(&frame)?;
                self.ready.extend(ready);
                self.looked = OutboxPlace { position: frame.position, count };
                self.looked_bytes += scan.tail().end.0 - frame.position.0;
            }
            self.tail = Some(scan.tail());
        }
        Ok(())
    }

    /// The outputs of a frame that were not acknowledged, and the count of all of them.
    fn outputs(&self, frame: &Frame) -> Result<(Vec<Outgoing>, u32)> {
        let mut outputs = outputs(frame)?;
        let count = outputs.last().map_or(0, |outgoing| outgoing.place.count);
        outputs.retain(|outgoing| outgoing.place > self.from);
        Ok((outputs, count))
    }
}

impl Iterator for Outbox<'_> {
    type Item = Result<Outgoing>;

    fn next(&mut self) -> Option<Result<Outgoing>> {
        if self.is_over {
            return None;
        }
        if self.ready.is_empty()
            && let Err(error) = self.read()
        {
            self.is_over = true;
            return Some(Err(error));
        }
        let next = self.ready.pop_front();
        match &next {
            Some(outgoing) => self.given = outgoing.place,
            None => self.take_note(),
        }
        next.map(Ok)
    }
}

/// The outputs of a frame.
fn outputs(frame: &Frame) -> Result<Vec<Outgoing>> {
    let (mut outputs, mut count) = (Vec::new(), 0);
    for record in records(&frame.body) {
        let Record::Version(version) = record? else { continue };
        if version.staged == Staged::Yes {
            continue;
        }
        let record = version.decode(frame.position)?;
        let Some(payloads) = record.payloads else { continue };
        let (header, version) = (&record.header, record.hash);
        let object = header.object_of(version);
        let (seq, time) = (header.seq, header.time);
        let effects = Effects::decode(payloads.effects)?;
        for (output, index) in effects.outputs.into_iter().zip(0..) {
            count += 1;
            let place = OutboxPlace { position: frame.position, count };
            outputs.push(Outgoing { object, version, seq, time, index, output, place });
        }
    }
    Ok(outputs)
}

impl Inner {
    fn outbox_status(&self) -> Result<Vec<OutboxStatus>> {
        let known = self.heads.lock();
        let status = |(name, place): (&String, OutboxPlace)| {
            let (behind_count, held_bytes, acknowledged) = Default::default();
            OutboxStatus { name: name.clone(), place, behind_count, held_bytes, acknowledged }
        };
        let mut outboxes: Vec<OutboxStatus> = known.outboxes().map(status).collect();
        drop(known);
        let Some(first) = outboxes.iter().map(|outbox| outbox.place).min() else {
            return Ok(outboxes);
        };
        let (segments, durable) = (self.log.segments(), self.log.durable());
        let number = first.position.segment().max(segment::FIRST);
        let start = Tail::of_segment(number, segments.header(number)?.previous);
        let mut scan = Scan::new(segments, start);
        while scan.tail().end < durable {
            let frame = match scan.next()? {
                Next::Frame(frame) => frame,
                Next::Broken(error) => return Err(error),
                Next::Nothing => break,
            };
            let outputs = outputs(&frame)?;
            for outbox in &mut outboxes {
                let (done, behind): (Vec<_>, Vec<_>) =
                    outputs.iter().partition(|output| output.place <= outbox.place);
                let last = done.last().map(|output| output.time);
                outbox.acknowledged = last.or(outbox.acknowledged);
                outbox.behind_count += behind.len() as u64;
                let is_held = u64::from(!behind.is_empty());
                outbox.held_bytes += is_held * frame.body.len() as u64;
            }
        }
        Ok(outboxes)
    }

    /// Notes where an outbox is from now on, if `next` says so of where it was; whether it did.
    fn mark(
        &self,
        name: &str,
        next: impl FnOnce(Option<OutboxPlace>) -> Option<Option<OutboxPlace>>,
    ) -> Result<bool> {
        if !is_name(name) {
            let found = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(ErrorKind::Name { found }.into());
        }
        self.log.wait_for_room()?;
        let heads = self.heads.lock();
        let Some(place) = next(heads.outbox(name)) else { return Ok(false) };
        let mark = OutboxMark { name: name.to_string(), place };
        self.record_event(heads, Event::Outbox(mark), Changes::default())?;
        Ok(true)
    }

    /// Returns the place of the outbox that has acknowledged least.
    pub(crate) fn unsent(&self) -> Option<OutboxPlace> {
        let heads: &Heads = &self.heads.lock();
        heads.outboxes().map(|(_, place)| place).min()
    }
}

/// Checks that the place of an outbox is before the mark's own frame, which is `at`.
pub(crate) fn validate_mark(mark: &OutboxMark, at: Position) -> Result<()> {
    match mark.place.is_none_or(|place| place.position < at) {
        true => Ok(()),
        false => Err(damaged(at, "an outbox at a place before", "one behind")),
    }
}
