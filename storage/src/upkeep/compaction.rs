//! Compaction: full segments are replaced by packs, compressed, and without the data that retention
//! drops.
//!
//! Headers, notes and refusals stay, so every lineage can still be walked and verified; of the
//! versions before the first kept one, those pages stay that later ones are read from. Positions do
//! not change, so readers and writers continue meanwhile. This module does not know how packs are
//! laid out.
//!
//! A pack is whole before its segment is removed, so there must be room for one; the segment's
//! space is given back at once. A segment for whose pack there is no room is tried again when
//! others have given back theirs.
//!
//! Invariant: a version that retention keeps reads the same before and after.
//! Invariant: dropped data is in no file of the database once its segment was replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object::effects::Effects;
use object::hash::ObjectId;
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, Header};
use crate::log::pack::writer::PackWriter;
use crate::log::scan::{Next, Scan};
use crate::log::segment::{Segment, Tail};
use crate::log::{file, frame};
use crate::read::memory::sources;
use crate::record::event::Event;
use crate::record::mark::OutboxPlace;
use crate::record::retention::Retention;
use crate::record::version::{Left, Staged, VersionBytes, VersionRecord};
use crate::record::{Body, Record, raw_records};
use crate::rows::row::Row;
use crate::store::{Inner, Store};
use crate::upkeep::progress::{GoesOn, Progress};

/// The number of objects whose kept versions are remembered.
const KEEPS_MAX: usize = 10_000;
/// The objects that are read at a time for the newest time on record.
const LIST_PAGE: usize = 4096;
/// The span before the newest time on record in which a wrong clock may have made versions.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The span before that week: if no time on record is in it, and some are before it, the clock
/// jumped.
const JUMP: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Bytes that it takes to close a segment beside its pack: the least of the next, with blocks of
/// the file system.
const CLOSE_BYTES: u64 = 16 << 10;
/// Groups of others that are committed while a segment is closed: the one that is under way when
/// the record that closes it is pushed, and the one that this record is in.
const CLOSE_GROUPS: u64 = 2;
/// A pack is rewritten when at least one part in this many of it can be dropped. The payloads of a
/// call with few arguments are about a twelfth of its record: what retention drops of these too is
/// to be worth it.
const WORTHWHILE_PART: u64 = 16;

/// The reference time for ages.
///
/// Dropped data does not come back, and a clock may be wrong: a clock that is ahead of everything
/// on record drops nothing that was kept when the last version was made, unless it is trusted. A
/// version that was made under a wrong clock is on record too; the [`ClockJump`] before it
/// shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ages {
    /// The newest time of a version on record that is not after this, the clock's; behind a
    /// [`ClockJump`] no version is old enough to drop.
    FromRecord(Time),
    /// This time, the clock's, whatever is on record.
    FromClock(Time),
}

impl From<Time> for Ages {
    fn from(now: Time) -> Ages {
        Ages::FromRecord(now)
    }
}

/// A gap in the times on record, as a clock leaves one that is suddenly far ahead: some versions
/// are older than three weeks before the newest one, and none is from the first two of these weeks.
/// The same is left by any two weeks without a version; a week with some later, there is no gap any
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockJump {
    /// The newest time on record that is not after the clock's.
    pub to: Time,
    /// The newest time that is at least a week older.
    pub from: Time,
}

/// The result of a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were replaced.
    pub segment_count: u64,
    /// The number of segments that were compacted before and stay, since little or nothing of them
    /// can be dropped.
    pub left_count: u64,
    /// Bytes that the file system held for all files of the database before.
    pub bytes_before: u64,
    /// The same afterwards: it includes the appends made meanwhile.
    pub bytes_after: u64,
    /// Bytes of frames in the open segment, which is not compacted.
    pub open_bytes: u64,
    /// Versions that were left with their headers.
    pub trimmed_count: u64,
    /// Versions that retention lets go, and that are kept because an outbox has not acknowledged
    /// their outputs, or their messages are on their way.
    pub held_count: u64,
    /// The reference time for ages, if any examined rule was an age: [`Time::MIN`] when everything
    /// on record is after the clock's time, or behind a jump, and nothing is old enough to drop.
    pub ages_from: Option<Time>,
    /// The jump of the times on record because of which nothing was dropped by age.
    pub jump: Option<ClockJump>,
}

/// The work of a compaction that ended early: the [`source`](std::error::Error::source) of its
/// [`Full`](ErrorKind::Full) or [`Stopped`](ErrorKind::Stopped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The finished work, which stays.
    pub done: Compacted,
    /// The bytes that must be free on the disk for the next segment, if they were missing; its own
    /// space is given back afterwards.
    pub room_needed: Option<u64>,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.room_needed {
            write!(
                f,
                "compacting the next segment needs {bytes} bytes of free space while it runs; "
            )?;
        }
        write!(f, "segments compacted before that: {}", self.done.segment_count)
    }
}

impl std::error::Error for Incomplete {}

/// The reason that a compaction ends early, with the bytes that were missing.
#[derive(Debug)]
struct Early {
    error: Error,
    room_needed: Option<u64>,
}

impl Early {
    fn stopped() -> Early {
        Early { error: ErrorKind::Stopped.into(), room_needed: None }
    }

    /// Returns the one of two that needs more room: with that much free the other goes on as well.
    fn or_more(self, other: Option<Early>) -> Early {
        match other {
            Some(other) if other.room_needed > self.room_needed => other,
            _ => self,
        }
    }
}

/// The segments that are compacted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    /// Full segments, when it is worthwhile.
    Full,
    /// All: the open one is closed, and packs are rewritten when anything of them can be dropped.
    All,
}

/// The kept versions of one object.
#[derive(Debug, Default)]
struct Keep {
    /// The first version that is kept whole.
    from: u64,
    /// The needed parts of earlier versions.
    sources: BTreeMap<u64, Left>,
}

/// Trims frames as retention says.
struct Trim<'a> {
    store: &'a Store,
    inner: &'a Inner,
    /// The rule of objects without one of their own.
    retention: Retention,
    ages: Ages,
    /// The reference time for ages, once it was determined.
    ages_from: Option<Time>,
    /// The jump before it.
    jump: Option<ClockJump>,
    keeps: HashMap<ObjectId, Arc<Keep>>,
    /// Frames with versions whose messages are on their way or dead letters: they are kept whole.
    unread: BTreeSet<Position>,
    /// The place of the outbox that has acknowledged least: outputs behind that are kept.
    unsent: Option<OutboxPlace>,
    extent: Extent,
    counts: Counts,
    /// False once `progress` asked for the end.
    goes_on: bool,
}

/// Versions of one segment.
#[derive(Clone, Copy, Default)]
struct Counts {
    trimmed: u64,
    held: u64,
}

impl Store {
    /// Drops the data that retention does not keep, with ages by `ages`, and compresses the rest,
    /// in all segments of the log that are full. Space returns to the disk segment by segment; it
    /// needs room for one that is compressed. Calls `progress` with the segments done, and the
    /// total; it may stop the compaction ([`GoesOn`]), which leaves the later segments unchanged.
    /// The index has an [option](crate::Options::compact_index) of its own.
    ///
    /// The open segment stays: [`Compacted::open_bytes`] is its size, and
    /// [`compact_all`](Store::compact_all) compacts it too.
    ///
    /// # Errors
    ///
    /// [`Full`](ErrorKind::Full) when there is no room for the pack of a segment, with an
    /// [`Incomplete`]: the segments that had room are compacted, the others are unchanged, and the
    /// store continues. [`Stopped`](ErrorKind::Stopped), with the same.
    /// [`Damaged`](ErrorKind::Damaged) when a segment is not whole: it is left unchanged, with
    /// those behind it. [`ReadOnly`](ErrorKind::ReadOnly). Those of the file system.
    pub fn compact<P: GoesOn>(
        &self,
        ages: impl Into<Ages>,
        mut progress: impl FnMut(u64, u64) -> P,
    ) -> Result<Compacted> {
        let mut progress = |done, all| progress(done, all).goes_on();
        self.compact_extent(Extent::Full, ages.into(), &mut progress)
    }

    /// Compacts as [`compact`](Store::compact) does, and everything: the open segment is closed
    /// first, if anything is in it, and packs are rewritten when anything of them can be dropped.
    /// Dropped data is then in no file of the database, except what [`Compacted::held_count`]
    /// counts, and what was appended meanwhile.
    ///
    /// # Errors
    ///
    /// As of [`compact`](Store::compact).
    pub fn compact_all<P: GoesOn>(
        &self,
        ages: impl Into<Ages>,
        mut progress: impl FnMut(u64, u64) -> P,
    ) -> Result<Compacted> {
        let mut progress = |done, all| progress(done, all).goes_on();
        self.compact_extent(Extent::All, ages.into(), &mut progress)
    }

    fn compact_extent(
        &self,
        extent: Extent,
        ages: Ages,
        progress: Progress<'_>,
    ) -> Result<Compacted> {
        let (store, inner) = (self, self.inner());
        if inner.options.read_only {
            return Err(ErrorKind::ReadOnly.into());
        }
        let _only = inner.compacting.lock();
        inner.log.health()?;
        let (retention, keeps, counts) = (inner.retention()?, HashMap::new(), Counts::default());
        let (unread, unsent) = (BTreeSet::new(), inner.unsent());
        let (ages_from, jump) = Default::default();
        let trim = Trim {
            store,
            inner,
            retention,
            ages,
            ages_from,
            jump,
            keeps,
            unread,
            unsent,
            extent,
            counts,
            goes_on: true,
        };
        let bytes_before = inner.heed(inner.directory.bytes_on_disk())?;
        let mut compacted = Compacted { bytes_before, ..Compacted::default() };
        let early = trim.run(&mut compacted, progress)?;
        compacted.open_bytes = inner.open_bytes();
        compacted.bytes_after = inner.heed(inner.directory.bytes_on_disk())?;
        match early {
            None => Ok(compacted),
            Some(Early { error, room_needed }) => {
                Err(error.because(Incomplete { done: compacted, room_needed }))
            }
        }
    }

    /// The newest time of a version that is not after `now`, or the first found one that is not
    /// before `enough`.
    fn newest_time(&self, now: Time, enough: Time) -> Result<Option<Time>> {
        let (mut newest, mut last) = (None, None);
        loop {
            let page = self.list(last, LIST_PAGE)?;
            for info in &page {
                let time = match () {
                    () if info.time <= now => Some(info.time),
                    () if info.created > now => None,
                    () => self.time_before(info.id, now)?,
                };
                assert!(time.is_none_or(|time| time <= now), "a time is not after the asked one");
                newest = newest.max(time);
                if newest >= Some(enough) {
                    return Ok(newest);
                }
            }
            match page.last() {
                Some(info) => last = Some(info.id),
                None => return Ok(newest),
            }
        }
    }

    /// Returns the jump before the newest time on record, if there is one.
    fn jump_to(&self, newest: Time) -> Result<Option<ClockJump>> {
        let Some(last) = newest.checked_sub(WEEK) else { return Ok(None) };
        let first = last.saturating_sub(JUMP);
        let before = self.newest_time(last, first)?;
        Ok(before.filter(|&before| before < first).map(|from| ClockJump { to: newest, from }))
    }

    /// The time of the newest version of an object, which is ahead, that is not after `now`.
    fn time_before(&self, id: ObjectId, now: Time) -> Result<Option<Time>> {
        let row = self.inner().require_row(id)?;
        let found = self.inner().hop_as_of(&row, now).map_err(|error| error.of(id))?;
        Ok(found.map(|(_, hop)| hop.time))
    }
}

impl Inner {
    /// Bytes of frames in the open segment.
    fn open_bytes(&self) -> u64 {
        u64::from(self.log.tail().end.offset()) - file::HEADER_BYTES as u64
    }

    /// Returns whether the open segment has anything beside the record that closing one puts at the
    /// start of the next: the rule of retention, repeated.
    fn is_worth_closing(&self) -> bool {
        let mut body = Body::default();
        body.event(&Event::Retention(None, Retention::All));
        self.open_bytes() > (frame::HEADER_BYTES + body.0.len()) as u64
    }
}

impl Trim<'_> {
    /// Compacts the selected segments, in turn. Returns the reason if it ended early.
    fn run(mut self, compacted: &mut Compacted, progress: Progress<'_>) -> Result<Option<Early>> {
        let early = self.selected(compacted, progress);
        (compacted.ages_from, compacted.jump) = (self.ages_from, self.jump);
        early
    }

    fn selected(
        &mut self,
        compacted: &mut Compacted,
        progress: Progress<'_>,
    ) -> Result<Option<Early>> {
        let mut done = 0;
        let left = self.full_from(0)?;
        let early = self.segments(&left, compacted, &mut done, progress)?;
        if self.extent == Extent::Full || !self.inner.is_worth_closing() {
            return Ok(early);
        }
        if !self.goes_on {
            return Ok(Some(Early::stopped()));
        }
        // Only now: there may be room for a new segment.
        let open = self.inner.log.tail().end.segment();
        if let Some(failed) = self.close(open)? {
            return Ok(Some(failed.or_more(early)));
        }
        let left = self.full_from(open)?;
        let failed = self.segments(&left, compacted, &mut done, progress)?;
        Ok(match failed {
            Some(failed) => Some(failed.or_more(early)),
            None => early,
        })
    }

    /// Returns the segments from `number` on that accept no more frames, ascending. The messages in
    /// them are known from then on: later ones are in none of them.
    fn full_from(&mut self, number: u32) -> Result<Vec<u32>> {
        let log = &self.inner.log;
        // A segment takes nothing more once the next one is durable.
        log.wait_durable(log.tail().end)?;
        let full = log.durable().segment();
        self.unread = self.inner.heed(self.inner.frames_with_messages())?;
        let numbers = self.inner.heed(log.segments().numbers())?;
        Ok(numbers.into_iter().filter(|found| (number..full).contains(found)).collect())
    }

    /// Compacts segments; retries those without room as long as others make some. Returns the
    /// cause of an early end: the failure of the first segment without room, or the request to
    /// stop.
    fn segments(
        &mut self,
        numbers: &[u32],
        compacted: &mut Compacted,
        done: &mut u64,
        progress: Progress<'_>,
    ) -> Result<Option<Early>> {
        let all = *done + numbers.len() as u64;
        let mut left = numbers.to_vec();
        loop {
            let (mut failed, mut failure, before) = (Vec::new(), None, compacted.segment_count);
            for number in left {
                if !self.goes_on {
                    return Ok(Some(Early::stopped()));
                }
                match self.segment(number, compacted) {
                    Ok(()) => {
                        *done += 1;
                        self.goes_on = progress(*done, all);
                    }
                    Err(error) if *error.kind() == ErrorKind::Full => {
                        failed.push(number);
                        failure.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            if failed.is_empty() || compacted.segment_count == before {
                let Some((error, number)) = failure.zip(failed.first()) else { return Ok(None) };
                let room_needed = Some(self.measure(*number)?);
                return Ok(Some(Early { error, room_needed }));
            }
            left = failed;
        }
    }

    fn segment(&mut self, number: u32, compacted: &mut Compacted) -> Result<()> {
        let segments = self.inner.log.segments();
        self.counts = Counts::default();
        if let Segment::Packed(_) = self.inner.heed(segments.segment(number))? {
            let (mut bytes, mut left) = (0, 0);
            self.walk(number, |_, frame, trimmed| {
                bytes += frame.body.len() as u64;
                left += trimmed.as_ref().map_or(frame.body.len(), Vec::len) as u64;
                Ok(())
            })?;
            let is_worthwhile = match self.extent {
                Extent::Full => (bytes - left) * WORTHWHILE_PART >= bytes.max(1),
                Extent::All => left < bytes,
            };
            if !is_worthwhile {
                compacted.left_count += 1;
                compacted.held_count += self.counts.held;
                return Ok(());
            }
        }
        self.counts = Counts::default();
        let staged = segments.stage_pack(number, |pack| {
            self.fill(number, pack)?;
            // Wait for durability first: a crash must not roll back to a version that needs a page
            // dropped here.
            self.inner.log.wait_durable(self.inner.log.tail().end)
        });
        match staged {
            // A full disk only keeps the pack from being made.
            Err(error) if *error.kind() == ErrorKind::Full => return Err(error),
            staged => self.inner.heed(staged)?,
        }
        let kept = segments.keep_pack(number);
        // After this failure it is unknown which of the two files a crash would leave.
        kept.inspect_err(|error| self.inner.log.poison(error)).map_err(|error| {
            match error.kind() {
                ErrorKind::Full => Error::from(ErrorKind::Poisoned).because(error),
                _ => error,
            }
        })?;
        compacted.segment_count += 1;
        compacted.trimmed_count += self.counts.trimmed;
        compacted.held_count += self.counts.held;
        Ok(())
    }

    /// Adds the kept frames and records of a segment to a pack.
    fn fill(&mut self, number: u32, pack: &mut PackWriter<'_>) -> Result<()> {
        self.walk(number, |header, frame, trimmed| {
            let body = trimmed.as_deref().unwrap_or(&frame.body);
            let added = pack.add(frame.position.offset(), header, body);
            added.map_err(|error| Error::io("write", error))
        })
    }

    /// Bytes that the pack of a segment takes.
    fn measure(&mut self, number: u32) -> Result<u64> {
        let segments = self.inner.log.segments();
        let measured = segments.measure_pack(number, |pack| self.fill(number, pack));
        self.inner.heed(measured)
    }

    /// Closes the open segment, if there is room for the next, for a pack, and for what others
    /// commit meanwhile, which are groups as large as the largest so far; returns the missing room
    /// otherwise. A log without room for a new segment, or for a group, accepts no more appends.
    /// The new segment takes as much as there is, up to a step of its growth, but not the room of
    /// the pack.
    fn close(&mut self, open: u32) -> Result<Option<Early>> {
        let (inner, log) = (self.inner, &self.inner.log);
        log.wait_durable(log.tail().end)?;
        let beside = CLOSE_BYTES + CLOSE_GROUPS * log.group_bytes_largest();
        let close = |bytes| {
            let segments = log.segments();
            let closed = segments.keeping_room(bytes, beside, || inner.restate_retention());
            inner.heed(closed)
        };
        // No pack is twice as large as its segment.
        if close(2 * inner.open_bytes())?.is_some() {
            return Ok(None);
        }
        let bytes = self.measure(open)?;
        if close(bytes)?.is_some() {
            return Ok(None);
        }
        let error = Error::from(ErrorKind::Full).at(inner.directory.log());
        Ok(Some(Early { error, room_needed: Some(bytes + beside) }))
    }

    /// Goes through the frames of a segment, each with its header and, when something of it is
    /// dropped, the rest of its body.
    fn walk(
        &mut self,
        number: u32,
        mut each: impl FnMut(&Header, &Frame, Option<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        let segments = self.inner.log.segments();
        let start = Tail::of_segment(number, segments.header(number)?.previous);
        let mut scan = Scan::new(segments, start);
        loop {
            let frame = match scan.next()? {
                Next::Frame(frame) if frame.position.segment() == number => frame,
                Next::Frame(_) | Next::Nothing => return Ok(()),
                Next::Broken(error) => return Err(error),
            };
            let trimmed = self.frame(&frame)?;
            each(scan.header(), &frame, trimmed)?;
        }
    }

    /// Returns the rest of a frame's body, when something of it is dropped.
    fn frame(&mut self, frame: &Frame) -> Result<Option<Vec<u8>>> {
        let mut body = Body::default();
        let is_unsent = self.is_unsent(frame)?;
        for record in raw_records(&frame.body) {
            let (bytes, record) = record?;
            match record {
                Record::Version(version) => {
                    self.version(frame, is_unsent, bytes, version, &mut body)?;
                }
                _ => body.raw(bytes),
            }
        }
        Ok((body.0.len() < frame.body.len()).then_some(body.0))
    }

    /// Returns whether the frame may have outputs that an outbox has not acknowledged.
    fn is_unsent(&self, frame: &Frame) -> Result<bool> {
        let Some(first) = self.unsent.filter(|first| frame.position >= first.position) else {
            return Ok(false);
        };
        if frame.position > first.position {
            return Ok(true);
        }
        // Outputs are counted by frame, so all of one frame stay until the last is acknowledged.
        let mut count = 0;
        for record in raw_records(&frame.body) {
            if let (_, Record::Version(version)) = record? {
                let staged = version.staged;
                count += output_count(staged, &version.decode(frame.position)?)?;
            }
        }
        Ok(count > first.count as usize)
    }

    fn version(
        &mut self,
        frame: &Frame,
        is_unsent: bool,
        bytes: &[u8],
        version: VersionBytes<'_>,
        body: &mut Body,
    ) -> Result<()> {
        let record = version.decode(frame.position)?;
        let seq = record.header.seq;
        let id = record.header.object_of(record.hash);
        let keep = self.keep(id)?;
        if seq >= keep.from {
            body.raw(bytes);
            return Ok(());
        }
        let is_sent = !is_unsent || output_count(version.staged, &record)? == 0;
        if !is_sent || self.unread.contains(&frame.position) {
            self.counts.held += u64::from(record.payloads.is_some());
            body.raw(bytes);
            return Ok(());
        }
        let nothing = Left { kept_from: keep.from, ..Left::default() };
        let left = keep.sources.get(&seq).unwrap_or(&nothing);
        self.counts.trimmed += u64::from(record.payloads.is_some());
        body.trimmed(version.staged, &record, left)
    }

    /// Returns the reference time for ages.
    fn ages_from(&mut self) -> Result<Time> {
        if let Some(from) = self.ages_from {
            return Ok(from);
        }
        let from = match self.ages {
            Ages::FromClock(now) => now,
            Ages::FromRecord(now) => {
                // A version that a crash would undo is no evidence of the time.
                self.inner.log.wait_durable(self.inner.log.tail().end)?;
                let newest = self.store.newest_time(now, now)?.unwrap_or_default();
                self.jump = self.store.jump_to(newest)?;
                if self.jump.is_some() { Time::MIN } else { newest }
            }
        };
        Ok(*self.ages_from.insert(from))
    }

    /// Returns the kept versions of an object; for anything that is no object, or none yet, all.
    fn keep(&mut self, id: ObjectId) -> Result<Arc<Keep>> {
        if let Some(keep) = self.keeps.get(&id) {
            return Ok(Arc::clone(keep));
        }
        let keep = match self.inner.row(id)? {
            Some(row) => {
                let retention = row.retention.unwrap_or(self.retention);
                let from = match retention {
                    Retention::Age(_) => self.ages_from()?,
                    Retention::All | Retention::Versions(_) => Time::MIN,
                };
                self.inner.keep(id, &row, retention, from)
            }
            None => Ok(Keep::default()),
        };
        let keep = Arc::new(keep.map_err(|error| error.of(id))?);
        if self.keeps.len() >= KEEPS_MAX {
            self.keeps.clear();
        }
        self.keeps.insert(id, Arc::clone(&keep));
        assert!(self.keeps.len() <= KEEPS_MAX, "few objects are remembered");
        Ok(keep)
    }
}

/// Returns the outputs of a version that an outbox gives.
fn output_count(staged: Staged, record: &VersionRecord<'_>) -> Result<usize> {
    match record.payloads.filter(|_| staged == Staged::No) {
        Some(payloads) => Ok(Effects::decode(payloads.effects)?.outputs.len()),
        None => Ok(0),
    }
}

impl Inner {
    fn keep(&self, id: ObjectId, row: &Row, retention: Retention, ages_from: Time) -> Result<Keep> {
        let mut from = match retention {
            Retention::All => 0,
            Retention::Versions(count) => (row.seq() + 1).saturating_sub(count.max(1)),
            Retention::Age(span) => {
                let oldest = match ages_from.checked_sub(span) {
                    Some(time) => self.locate_as_of(row, time)?,
                    None => None,
                };
                oldest.map_or(0, |stored| stored.header().seq)
            }
        };
        while from > 0 {
            let Some(first) = self.locate(row, from)? else { break };
            match sources(&self.log, id, &first) {
                Ok(sources) => {
                    assert!(from <= row.seq(), "the newest version is kept");
                    return Ok(Keep { from, sources });
                }
                Err(error) => match *error.kind() {
                    // Data that an earlier, stricter rule dropped is gone.
                    ErrorKind::Pruned { kept_from, .. } if kept_from > from => from = kept_from,
                    _ => return Err(error),
                },
            }
        }
        Ok(Keep::default())
    }
}
