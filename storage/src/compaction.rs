//! Compaction: full segments are replaced by packs, compressed, and without what retention lets go.
//!
//! Headers, notes and refusals stay, so every lineage can still be walked and verified; of the
//! versions before the first that is kept, the pages stay that later ones are read from. Positions
//! do not change, so readers and writers go on meanwhile. It does not know how packs are laid out.
//!
//! Invariant: a version that retention keeps reads the same before and after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use object::hash::ObjectId;

use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::Header;
use crate::log::record::{Body, Left, Record, VersionBytes, raw_records};
use crate::log::scan::{Next, Scan};
use crate::log::segment::Segment;
use crate::log::{Frame, Position, Tail};
use crate::retention::Retention;
use crate::row::Row;
use crate::store::{Inner, Store};

/// Objects for which it is remembered what is kept of them.
const KEEPS_MAX: usize = 10_000;
/// A pack is written anew when at least one part in so many of it goes.
const WORTHWHILE_PART: u64 = 8;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were replaced.
    pub segment_count: u64,
    /// Bytes of these before.
    pub bytes_before: u64,
    /// Bytes of the packs that replaced them.
    pub bytes_after: u64,
    /// Versions that were left with their headers.
    pub trimmed_count: u64,
}

/// What is kept of one object.
#[derive(Debug, Default)]
struct Keep {
    /// The first version that is kept whole.
    from: u64,
    /// What is needed of those before.
    sources: BTreeMap<u64, Left>,
}

/// Trims frames as retention says.
struct Trim<'a> {
    inner: &'a Inner,
    /// The rule of objects without one of their own.
    retention: Retention,
    /// Milliseconds since 1970.
    now: u64,
    keeps: HashMap<ObjectId, Arc<Keep>>,
    /// Frames with versions whose messages are on their way: they are kept whole.
    unread: BTreeSet<Position>,
    /// The first frame with outputs that an outbox has not acknowledged: from there on all is kept
    /// whole.
    unsent: Option<Position>,
    trimmed_count: u64,
}

impl Store {
    /// Lets go what retention does not keep at the time `now`, in milliseconds since 1970-01-01
    /// UTC, and compresses what is left, in all segments of the log that are full. Space returns to
    /// the disk segment by segment; it needs room for one. `progress` is told segments done and in
    /// all. The index has an [option](crate::Options::compact_index) of its own.
    ///
    /// # Errors
    ///
    /// [`Damaged`](ErrorKind::Damaged) when a segment is not whole: it is left as it is, with those
    /// behind it. Those of the file system.
    pub fn compact(&self, now: u64, progress: impl FnMut(u64, u64)) -> Result<Compacted> {
        // A full disk only keeps packs from being made.
        self.inner().heed(compact(self.inner(), now, progress))
    }
}

fn compact(inner: &Inner, now: u64, mut progress: impl FnMut(u64, u64)) -> Result<Compacted> {
    let _only = inner.compacting.lock();
    inner.log.health()?;
    let full = inner.log.durable().segment();
    let mut numbers = inner.log.segments().numbers()?;
    numbers.retain(|&number| number < full);
    let all = numbers.len() as u64;
    let (retention, keeps) = (inner.retention()?, HashMap::new());
    let (unread, unsent) = (inner.frames_with_messages(), inner.unsent());
    let mut trim = Trim { inner, retention, now, keeps, unread, unsent, trimmed_count: 0 };
    let mut compacted = Compacted::default();
    for (number, done) in numbers.into_iter().zip(1..) {
        trim.segment(number, &mut compacted)?;
        progress(done, all);
    }
    Ok(compacted)
}

impl Trim<'_> {
    fn segment(&mut self, number: u32, compacted: &mut Compacted) -> Result<()> {
        let segments = self.inner.log.segments();
        if let Segment::Packed(_) = segments.segment(number)? {
            let (mut bytes, mut left) = (0, 0);
            self.walk(number, |_, frame, trimmed| {
                bytes += frame.body.len() as u64;
                left += trimmed.as_ref().map_or(frame.body.len(), Vec::len) as u64;
                Ok(())
            })?;
            if (bytes - left) * WORTHWHILE_PART < bytes.max(1) {
                return Ok(());
            }
        }
        let before = segments.bytes_held(number)?;
        self.trimmed_count = 0;
        let after = segments.replace(number, |pack| {
            self.walk(number, |header, frame, trimmed| {
                let body = trimmed.as_deref().unwrap_or(&frame.body);
                let added = pack.add(frame.position.offset(), header, body);
                added.map_err(|error| Error::io("write", error))
            })?;
            // What goes is not needed by versions that a crash must not take back then.
            self.inner.log.wait_durable(self.inner.log.tail().end)
        })?;
        compacted.segment_count += 1;
        compacted.bytes_before += before;
        compacted.bytes_after += after;
        compacted.trimmed_count += self.trimmed_count;
        Ok(())
    }

    /// Goes through the frames of a segment, each with its header and, when something of it goes,
    /// what is left of its body.
    fn walk(
        &mut self,
        number: u32,
        mut each: impl FnMut(&Header, &Frame, Option<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        let (segments, seal) = (self.inner.log.segments(), self.inner.log.seal());
        let start = Tail::of_segment(number, segments.header(number)?.previous);
        let mut scan = Scan::new(segments, seal, start);
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

    /// What is left of a frame's body, when something of it goes.
    fn frame(&mut self, frame: &Frame) -> Result<Option<Vec<u8>>> {
        let mut body = Body::default();
        for record in raw_records(&frame.body) {
            let (bytes, record) = record?;
            match record {
                Record::Version(version) => self.version(frame, bytes, version, &mut body)?,
                _ => body.raw(bytes),
            }
        }
        Ok((body.0.len() < frame.body.len()).then_some(body.0))
    }

    fn version(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        version: VersionBytes<'_>,
        body: &mut Body,
    ) -> Result<()> {
        let record = version.decode(frame.position)?;
        let seq = record.header.seq;
        let id = if seq == 0 { record.hash.into() } else { record.header.object };
        let keep = self.keep(id)?;
        let is_unsent = self.unsent.is_some_and(|first| frame.position >= first);
        if seq >= keep.from || is_unsent || self.unread.contains(&frame.position) {
            body.raw(bytes);
            return Ok(());
        }
        let nothing = Left { kept_from: keep.from, ..Left::default() };
        let left = keep.sources.get(&seq).unwrap_or(&nothing);
        self.trimmed_count += u64::from(record.payloads.is_some());
        body.trimmed(version.staged, &record, left)
    }

    /// What is kept of an object; of what is no object, or none yet, all.
    fn keep(&mut self, id: ObjectId) -> Result<Arc<Keep>> {
        if let Some(keep) = self.keeps.get(&id) {
            return Ok(Arc::clone(keep));
        }
        let keep = match self.inner.row(id)? {
            Some(row) => {
                self.inner.keep(id, &row, row.retention.unwrap_or(self.retention), self.now)
            }
            None => Ok(Keep::default()),
        };
        let keep = Arc::new(keep.map_err(|error| error.of(id))?);
        if self.keeps.len() >= KEEPS_MAX {
            self.keeps.clear();
        }
        self.keeps.insert(id, Arc::clone(&keep));
        Ok(keep)
    }
}

impl Inner {
    fn keep(&self, id: ObjectId, row: &Row, retention: Retention, now: u64) -> Result<Keep> {
        let mut from = match retention {
            Retention::All => 0,
            Retention::Versions(count) => (row.seq() + 1).saturating_sub(count.max(1)),
            Retention::Age(milliseconds) => {
                let oldest = self.locate_as_of(row, now.saturating_sub(milliseconds))?;
                oldest.map_or(0, |stored| stored.header().seq)
            }
        };
        while from > 0 {
            let Some(first) = self.locate(row, from)? else { break };
            match self.sources(id, &first) {
                Ok(sources) => return Ok(Keep { from, sources }),
                Err(error) => match *error.kind() {
                    // What an earlier, stricter rule let go is gone.
                    ErrorKind::Pruned { kept_from, .. } if kept_from > from => from = kept_from,
                    _ => return Err(error),
                },
            }
        }
        Ok(Keep::default())
    }
}
