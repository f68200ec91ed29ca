//! Recovery: from the place that the index covers to the end of the log.
//!
//! A broken frame is the torn end of frames that were never acknowledged, and is cut off, unless a
//! frame behind it shows that it had become durable: then it is damage, and nothing is cut.
//!
//! This module does not know threads: it runs before anything else does.
//!
//! Invariant: every acknowledged append is found or reported; recovery syncs what it reads before
//! it counts, so that the index never covers frames that a later crash could undo.

use std::path::Path;
use std::sync::Arc;

use object::evidence::Leaf;
use object::hash::ObjectId;

use crate::disk::directory::{DatabaseId, Directory};
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, Frames, damaged};
use crate::log::scan::{Next, Scan};
use crate::log::segment::{Segment, Segments, Tail};
use crate::log::{file, scan, segment};
use crate::options::Options;
use crate::read::adoption::adopt;
use crate::record::event::Event;
use crate::record::link::Link;
use crate::record::message::{Dead, MessageId};
use crate::record::version::{Staged, VersionBytes};
use crate::record::{Adoption, Record, decode_refusal, leaf, records};
use crate::rows::evidence::{Evidence, Tree};
use crate::rows::heads::Heads;
use crate::rows::index::Index;
use crate::rows::projector::{Projector, Rows};
use crate::rows::row::Row;
use crate::upkeep::backup::staged;

/// The log and the rows behind the index, as they were found.
pub(crate) struct Recovered {
    pub(crate) segments: Segments,
    pub(crate) heads: Heads,
    pub(crate) evidence: Evidence,
    pub(crate) tail: Tail,
    /// Bytes of log that the index does not cover.
    pub(crate) tail_bytes: u64,
}

/// Reads the log behind `covered`, or all of it.
pub(crate) fn recover(
    directory: &Directory,
    index: &Index,
    covered: Option<Tail>,
    options: &Options,
) -> Result<Recovered> {
    let segments = match options.read_only {
        true => {
            // A backup has a witness of its end, whatever an index of it covers.
            let (segments, witness) = staged::readable(directory)?;
            if let Some(witness) = witness {
                validate_witnessed(&segments, witness.tail)?;
            }
            segments
        }
        false => {
            let segments =
                Segments::new(Arc::clone(directory.disk()), directory.log(), directory.id());
            segments.tidy()?;
            segments
        }
    };
    let from = match covered {
        Some(tail) => {
            validate_covered(&segments, tail)?;
            tail
        }
        None => begin(&segments)?,
    };
    if !options.read_only {
        settle(&segments, from)?;
    }
    let known = match covered {
        Some(_) => {
            let reading = index.reading()?;
            let (messages, outboxes) = (reading.messages()?, reading.outboxes()?);
            let heads = Heads::new(messages, outboxes, options.recent_rows_max);
            let tree = reading.tree()?;
            let heads = heads.behind(reading.losses()?, tree.frontier.size());
            Projected { heads, evidence: Evidence::new(tree) }
        }
        None => Projected::nothing(options),
    };
    let replayed = replay(&segments, index, options, known, from, &mut |_| true)?;
    let Replayed { projected: Projected { heads, evidence }, tail, tail_bytes, is_torn } = replayed;
    if is_torn && !options.read_only {
        cut(&segments, tail)?;
    }
    Ok(Recovered { segments, heads, evidence, tail, tail_bytes })
}

/// The rows and the evidence tree behind the index.
pub(crate) struct Projected {
    pub(crate) heads: Heads,
    pub(crate) evidence: Evidence,
}

impl Projected {
    /// Returns what there is at the start of a log.
    pub(crate) fn nothing(options: &Options) -> Projected {
        let heads = Heads::new(Default::default(), Default::default(), options.recent_rows_max);
        Projected { heads, evidence: Evidence::new(Tree::default()) }
    }

    /// Writes the index up to `tail`, the end of the frames that were read.
    pub(crate) fn flush(&mut self, index: &Index, tail: Tail) -> Result<()> {
        let (generation, _) = self.heads.begin_flush();
        self.evidence.take(self.heads.take_leaves());
        self.evidence.seal(tail.end);
        index.write(&generation, tail, Some(&self.evidence.sealed()))?;
        self.heads.end_flush();
        self.evidence.end_flush();
        Ok(())
    }
}

/// The rows behind a place of the log, as they were read to its end.
pub(crate) struct Replayed {
    pub(crate) projected: Projected,
    pub(crate) tail: Tail,
    /// Bytes of log that the index does not cover.
    pub(crate) tail_bytes: u64,
    /// True if there is something behind the tail, to be cut off.
    pub(crate) is_torn: bool,
}

/// Reads the log from a place on to its end, until `goes_on` returns that it should stop: called
/// with the bytes of each frame. The log is not changed.
pub(crate) fn replay(
    segments: &Segments,
    index: &Index,
    options: &Options,
    projected: Projected,
    from: Tail,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Replayed> {
    let at = from.end;
    let mut replay = Replay { segments, index, options, projected, at };
    let (tail, tail_bytes, is_torn) = replay.run(from, goes_on)?;
    Ok(Replayed { projected: replay.projected, tail, tail_bytes, is_torn })
}

/// Cuts off everything behind the end of the log.
pub(crate) fn cut(segments: &Segments, tail: Tail) -> Result<()> {
    let number = tail.end.segment();
    tracing::warn!(segment = number, offset = tail.end.offset(), "a torn end is cut off");
    segments.remove_from(number + 1)?;
    segments.truncate(number, u64::from(tail.end.offset()))
}

/// Makes the first segment of a new log.
pub(crate) fn begin_log(options: &Options, log: &Path, id: DatabaseId) -> Result<()> {
    let segments = Segments::new(Arc::clone(&options.disk), log.to_path_buf(), id);
    // Leftovers of an earlier beginning belong to nobody.
    segments.remove_from(segment::FIRST)?;
    let (needed, room) = (file::HEADER_BYTES as u64, u64::from(options.segment_bytes));
    segments.create_with_room(segment::FIRST, needed, room, segments.seal().first()).map(drop)
}

/// Checks that the log of a database has what an index that is otherwise unreadable says it has.
pub(crate) fn validate_index(directory: &Directory, covered: Tail) -> Result<()> {
    let (segments, _) = staged::readable(directory)?;
    validate_covered(&segments, covered)
}

/// Checks that the log of a backup still reaches its recorded end.
fn validate_witnessed(segments: &Segments, recorded: Tail) -> Result<()> {
    let Err(error) = validate_covered(segments, recorded) else { return Ok(()) };
    if !matches!(error.kind(), ErrorKind::LogBehind { .. } | ErrorKind::Damaged { .. }) {
        return Err(error);
    }
    let mut scan = Scan::new(segments, begin(segments)?);
    let mut found = scan.tail().end;
    let broken = loop {
        match scan.next()? {
            Next::Frame(_) => found = scan.tail().end,
            Next::Nothing => break None,
            Next::Broken(error) => break Some(error),
        }
    };
    is_torn(segments, &mut scan, broken)?;
    let expected = recorded.end;
    match found < expected {
        true => Err(ErrorKind::BackupCut { found, expected }.into()),
        false => Err(error),
    }
}

/// Checks that the log still has what is on record as its end: by the index, or by the witness.
pub(crate) fn validate_covered(segments: &Segments, covered: Tail) -> Result<()> {
    if covered.last == Position::NONE {
        return match segments.header(segment::FIRST)?.previous == segments.seal().first() {
            true => Ok(()),
            false => Err(damaged(scan::start(segments.seal()).end, "the first segment", "another")),
        };
    }
    let missing = |missing| ErrorKind::LogBehind { covered: covered.end, missing }.into();
    if !segments.exists(covered.last.segment())? {
        return Err(missing(Position::new(covered.last.segment(), 0)));
    }
    if segments.is_empty_at(covered.last)? {
        return Err(missing(covered.last));
    }
    let last = segments.frame(covered.last)?;
    if last.check != covered.check {
        return Err(damaged(covered.last, "the frame on record as the last", "another"));
    }
    Ok(())
}

/// The start of the log: a database has its first segment before it has its marker.
pub(crate) fn begin(segments: &Segments) -> Result<Tail> {
    let start = scan::start(segments.seal());
    if segments.header(segment::FIRST)?.previous != segments.seal().first() {
        return Err(damaged(start.end, "the first segment", "another"));
    }
    Ok(start)
}

/// Makes the frames to be read durable, and makes reads come from the disk rather than from the
/// kernel's cache: after a failed sync the two can differ.
pub(crate) fn settle(segments: &Segments, from: Tail) -> Result<()> {
    let first = from.end.segment();
    for number in segments.numbers()?.into_iter().filter(|&number| number >= first) {
        // A pack has its name only once it is durable.
        if let Segment::Plain(_) = segments.segment(number)? {
            segments.sync(number)?;
        }
    }
    segments.drop_caches(first)
}

struct Replay<'a> {
    segments: &'a Segments,
    index: &'a Index,
    options: &'a Options,
    projected: Projected,
    /// The frame that is read.
    at: Position,
}

impl Replay<'_> {
    fn run(
        &mut self,
        from: Tail,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(Tail, u64, bool)> {
        let mut scan = Scan::new(self.segments, from);
        let mut tail_bytes = 0;
        let broken = loop {
            match scan.next()? {
                Next::Frame(frame) => {
                    self.frame(&frame)?;
                    let bytes_count = frame.body.len() as u64;
                    tail_bytes += bytes_count;
                    if !goes_on(bytes_count) {
                        return Err(ErrorKind::Stopped.into());
                    }
                    if self.projected.heads.recent_count() > self.options.recent_rows_max {
                        self.projected.flush(self.index, scan.tail())?;
                        tail_bytes = 0;
                    }
                }
                Next::Nothing => break None,
                Next::Broken(error) => break Some(error),
            }
        };
        let tail = scan.tail();
        Ok((tail, tail_bytes, is_torn(self.segments, &mut scan, broken)?))
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.at = frame.position;
        let mut projector = Projector::new(self.at);
        for record in records(&frame.body) {
            match record? {
                Record::Blob(blob) => self.projected.heads.put_blob(blob.hash(), self.at),
                Record::Version(version) if version.staged == Staged::No => {
                    self.version(version)?;
                }
                Record::Refusal(Staged::No, content) => self.refusal(content)?,
                Record::Adoption(adoption) => self.adopt(&adoption)?,
                Record::Event(event) => {
                    if let Event::Loss(loss) = &event {
                        self.leaf(leaf::of_loss(loss));
                    }
                    projector.apply(event, self)?;
                }
                // Staged records are read when an adoption names the last of them.
                Record::Version(_) | Record::Refusal(Staged::Yes, _) => {}
            }
        }
        Ok(())
    }

    fn version(&mut self, version: VersionBytes<'_>) -> Result<()> {
        let at = self.at;
        let record = version.decode(at)?;
        let (hash, header) = (record.hash, record.header);
        self.leaf(leaf::of_version(&header, hash));
        let (Some(object), Some(parent)) = (header.object, header.parent) else {
            let base = record.notes.base;
            let base = base.ok_or_else(|| damaged(at, "a base image in a genesis", "none"))?;
            let row = Row::of_genesis(&header, hash, at, &record.notes, base);
            self.projected.heads.put(ObjectId::from(hash), row, None);
            return Ok(());
        };
        let row = self.row(object)?;
        row.require_open(at).map_err(|error| error.of(object))?;
        if (row.head().hash, row.seq() + 1) != (parent, header.seq) {
            let expected = format!("version {} after {}", row.seq() + 1, row.head().hash);
            let found = format!("version {} after {parent}", header.seq);
            return Err(damaged(at, expected, found).of(object));
        }
        row.follow(&header, Link { hash, position: at }, &record.notes);
        Ok(())
    }

    fn adopt(&mut self, adoption: &Adoption) -> Result<()> {
        let id = adoption.object;
        let row = adopt(self.segments, adoption)?;
        leaf::of_adoption(adoption).into_iter().for_each(|leaf| self.leaf(leaf));
        let heads = &mut self.projected.heads;
        let before = match heads.row(&id) {
            Some(before) => Some(Row::clone(before)),
            None => self.index.reading()?.row(id)?,
        };
        heads.put(id, row.adopted(before.as_ref()), before.as_ref());
        Ok(())
    }

    fn refusal(&mut self, content: &[u8]) -> Result<()> {
        let at = self.at;
        let (notes, refusal) = decode_refusal(content, at)?;
        let row = self.row(refusal.object)?;
        row.require_open(at).map_err(|error| error.of(refusal.object))?;
        let expected = row.refusal_notes();
        if notes != expected {
            let (expected, found) = (format!("{expected:?}"), format!("{notes:?}"));
            return Err(damaged(at, expected, found).of(refusal.object));
        }
        row.refuse(&refusal, at);
        self.leaf(leaf::of_refusal(&refusal, notes.number));
        Ok(())
    }

    /// Adds the next leaf of the evidence tree.
    fn leaf(&mut self, leaf: Leaf) {
        self.projected.heads.push_leaf(self.at, leaf);
    }

    /// The row of an object, to be changed.
    fn row(&mut self, id: ObjectId) -> Result<&mut Row> {
        if self.projected.heads.row(&id).is_none() {
            let row = self.index.reading()?.row(id)?.ok_or_else(|| {
                let expected = format!("an object {id} before its records");
                damaged(self.at, expected, "none in the index")
            })?;
            self.projected.heads.load(id, row);
        }
        Ok(self.projected.heads.row_mut(&id).expect("it is in memory now"))
    }
}

impl Rows for Replay<'_> {
    type Tables = Heads;

    fn tables(&mut self) -> &mut Heads {
        &mut self.projected.heads
    }

    fn change(&mut self, id: ObjectId, change: impl FnOnce(&mut Row)) -> Result<()> {
        change(self.row(id)?);
        Ok(())
    }

    fn take_dead(&mut self, id: MessageId) -> Result<Option<Dead>> {
        let known = match self.projected.heads.dead(id) {
            Some(known) => known,
            None => self.index.reading()?.dead_letter(id)?,
        };
        let dead = known.ok_or_else(|| damaged(self.at, "a dead letter", "none"))?;
        self.projected.heads.take_dead(id);
        Ok(Some(dead))
    }
}

/// Returns whether the part behind the last frame that was read, `broken` or missing, is the torn
/// end of the log; damage is an error.
pub(crate) fn is_torn(
    segments: &Segments,
    scan: &mut Scan<'_>,
    broken: Option<Error>,
) -> Result<bool> {
    let tail = scan.tail();
    let number = tail.end.segment();
    let later = segments.numbers()?.last().is_some_and(|&last| last > number);
    if later && !segments.exists(number + 1)? {
        let missing = Position::new(number + 1, 0);
        return Err(damaged(missing, "a segment of the log", "no file, but later ones"));
    }
    let mut torn = broken.is_some() || later;
    let mut behind = scan.resume()?;
    while let Some(frame) = behind {
        if frame.group > tail.end {
            let lost = format!("none, but frames from {} on, written later", frame.position);
            return Err(broken.unwrap_or_else(|| damaged(tail.end, "a frame", lost)));
        }
        torn = true;
        behind = match scan.next()? {
            Next::Frame(frame) => Some(frame),
            Next::Nothing | Next::Broken(_) => scan.resume()?,
        };
    }
    Ok(torn)
}
