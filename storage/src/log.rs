//! The log: the truth and the lineage. It is frames in segments, each chained to the one before,
//! written a group at a time by one thread: the committer, if there is one, or one that waits for
//! the disk.
//!
//! ```text
//!           push                 a thread takes the group        fdatasync
//!   body ----------> open group --------------------------> written ----------> durable
//! ```
//!
//! This module does not know the content of frames.
//!
//! Invariant: the durable part is a prefix of the log, and the callback of a frame is called once:
//! when the frame is durable, or when it never will be.
//! Invariant: after a failed write or sync nothing becomes durable any more; no sync is retried.

pub(crate) mod figures;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod pack;
pub(crate) mod scan;
#[cfg(test)]
mod schedules;
pub(crate) mod segment;
mod sync;
pub(crate) mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Mutex, rank};

use crate::log::figures::Figures;
use crate::log::frame::{Frame, Frames, damaged};
use crate::log::segment::{Segment, Segments, Tail};
use crate::log::writer::{Done, Sizes, Writer};

/// A frame that has its place in the log. Dropping it wakes the committer: do not drop it while
/// holding a contended lock.
pub(crate) struct Pushed<'a> {
    pub(crate) position: Position,
    end: Position,
    log: &'a Log,
}

impl Pushed<'_> {
    /// Waits until the frame is durable, as [`Log::commit`] does: without waking the committer, if
    /// it sleeps.
    pub(crate) fn commit(self) -> Result<Position> {
        let Pushed { position, end, log } = &self;
        log.writer.commit_until(&log.segments, *end).map(|()| *position)
    }
}

impl Drop for Pushed<'_> {
    fn drop(&mut self) {
        self.log.writer.wake();
    }
}

/// Frames of a group that is let gather: of fewer, all who make some may wait for this one.
pub(crate) const GATHER_FRAMES_MIN: usize = 4;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    segments: Arc<Segments>,
    writer: Arc<Writer>,
    writes: Writes,
    committer: Mutex<Committer, rank::Committer>,
}

/// The writer of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A committer, or who waits for the disk while that has nothing to do.
    Committer,
    /// The thread that waits for a frame.
    Caller,
    /// Nobody: it is read only.
    Nobody,
}

/// The writer of groups that no thread waits for.
#[derive(Debug, Default)]
enum Committer {
    Thread(JoinHandle<()>),
    /// Nobody before the log is closed.
    None,
    /// Nobody any more: the log is closed.
    #[default]
    Closed,
}

/// Bytes that are read with a frame's header: most frames are shorter.
const READ_AHEAD: usize = 2048;

impl Log {
    /// Continues the log at `tail`, the end that recovery found, with a thread of its own or
    /// without.
    pub(crate) fn start(
        segments: Segments,
        tail: Tail,
        sizes: Sizes,
        writes: Writes,
    ) -> Result<Log> {
        let segments = Arc::new(segments);
        let capacity = match segments.segment(tail.end.segment())? {
            Segment::Plain(_) => u64::from(sizes.segment_bytes),
            // Nothing is added to a pack: later segments may be gone.
            Segment::Packed(_) => 0,
        };
        let writer = Arc::new(Writer::new(segments.seal(), tail, capacity, sizes));
        let committer = match writes {
            Writes::Committer => Committer::Thread(start_committer(&writer, &segments)?),
            Writes::Caller | Writes::Nobody => Committer::None,
        };
        Ok(Log { segments, writer, writes, committer: Mutex::new(committer) })
    }

    /// Adds a frame to the open group and says where it will be. It never waits for the disk.
    ///
    /// When this fails, `done` was given back.
    pub(crate) fn push(
        &self,
        body: &[u8],
        hash: blake3::Hash,
        done: Done,
    ) -> Result<Pushed<'_>, (Error, Done)> {
        if self.writes == Writes::Nobody {
            return Err((ErrorKind::ReadOnly.into(), done));
        }
        debug_assert_eq!(hash, blake3::hash(body), "the hash of the body");
        let Tail { last, end, .. } = self.writer.push(body, hash, done)?;
        assert!(last < end, "a frame ends behind its start");
        Ok(Pushed { position: last, end, log: self })
    }

    /// Waits until the frame is written, if it is not yet, and reads it.
    fn read(&self, position: Position, verify: Verify) -> Result<Frame> {
        self.writer.wait_written(self.segments_to_write(), position)?;
        read(&self.segments, position, verify).inspect_err(|error| {
            // Bytes that the disk cannot read now may be gone: nothing more is acknowledged.
            if error.is_of_file_system() {
                self.writer.poison(error);
            }
        })
    }

    /// Has the next frame that is pushed start a segment.
    pub(crate) fn end_segment(&self) {
        self.writer.end_segment();
    }

    /// Waits until there is room in the open group.
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        self.writer.wait_for_room(self.segments_to_write())
    }

    /// Returns the segments, if the waiting thread has to write groups itself.
    fn segments_to_write(&self) -> Option<&Segments> {
        (self.writes != Writes::Committer).then_some(&*self.segments)
    }

    /// Returns the end of all pushed frames.
    pub(crate) fn tail(&self) -> Tail {
        self.writer.tail()
    }

    /// Waits until all before `end` is durable.
    pub(crate) fn wait_durable(&self, end: Position) -> Result<()> {
        self.writer.wait_durable(self.segments_to_write(), end)
    }

    /// Waits until all that was pushed is durable; writes it on this thread when the committer has
    /// nothing to do.
    pub(crate) fn commit(&self) -> Result<()> {
        self.writer.commit_until(&self.segments, self.writer.tail().end)
    }

    /// All before is durable.
    pub(crate) fn durable(&self) -> Position {
        self.writer.durable()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.writer.figures()
    }

    /// Bytes of the largest group since the log was opened.
    pub(crate) fn group_bytes_largest(&self) -> u64 {
        self.writer.group_bytes_largest()
    }

    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Asserts what always holds of what is not written yet.
    pub(crate) fn check_invariants(&self) {
        self.writer.check_invariants();
    }

    /// Stops everything: nothing is acknowledged any more.
    pub(crate) fn poison(&self, error: &Error) {
        self.writer.poison(error);
    }

    /// The error that the log is poisoned with or closed by.
    pub(crate) fn health(&self) -> Result<()> {
        self.writer.health()
    }

    /// Writes the rest, cuts the unused part of the last segment off, and stops.
    pub(crate) fn close(&self) -> Result<()> {
        self.writer.close();
        match std::mem::take(&mut *self.committer.lock()) {
            Committer::Closed => return Ok(()),
            Committer::None => self.writer.run(&self.segments),
            Committer::Thread(thread) => {
                thread.join().map_err(|_| Error::io("the committer's thread", panicked()))?;
            }
        }
        match self.writer.health() {
            Err(error) if *error.kind() != ErrorKind::Closed => Err(error),
            _ if self.writes == Writes::Nobody => Ok(()),
            _ => {
                let end = self.writer.tail().end;
                self.segments.truncate(end.segment(), u64::from(end.offset()))
            }
        }
    }
}

fn start_committer(writer: &Arc<Writer>, segments: &Arc<Segments>) -> Result<JoinHandle<()>> {
    let (writer, segments) = (Arc::clone(writer), Arc::clone(segments));
    std::thread::Builder::new()
        .name("continuant-log".to_string())
        .spawn(move || writer.run(&segments))
        .map_err(|error| Error::io("start the committer's thread", error))
}

impl Frames for Log {
    fn frame(&self, position: Position) -> Result<Frame> {
        self.read(position, Verify::Yes)
    }

    fn glimpse(&self, position: Position) -> Result<Frame> {
        self.read(position, Verify::No)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the log");
        }
    }
}

/// Segments that nobody writes.
impl Frames for Segments {
    fn frame(&self, position: Position) -> Result<Frame> {
        read(self, position, Verify::Yes)
    }

    fn glimpse(&self, position: Position) -> Result<Frame> {
        read(self, position, Verify::No)
    }
}

fn panicked() -> std::io::Error {
    std::io::Error::other("it panicked")
}

/// The verification of a body: against its check, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verify {
    Yes,
    No,
}

fn read(segments: &Segments, position: Position, verify: Verify) -> Result<Frame> {
    let (segment, offset) = (position.segment(), u64::from(position.offset()));
    let file = match segments.segment(segment)? {
        Segment::Plain(file) => file,
        Segment::Packed(pack) => {
            let found = pack.frame(position.offset())?;
            let missing = || damaged(position, "a frame", "the end of the segment");
            return Ok(found.ok_or_else(missing)?.1);
        }
    };
    let mut bytes = [0; READ_AHEAD];
    let found = segments.read(&*file, segment, offset, &mut bytes)?;
    let header = bytes[..found].first_chunk().and_then(|header| segments.seal().decode(header));
    let header = header.ok_or_else(|| damaged(position, "a frame header", "other bytes"))?;
    let (start, length) = (frame::HEADER_BYTES, header.length as usize);
    if length > found - start {
        // Room is made for no more than the file has.
        let all = file.length().map_err(|error| Error::io("read", error))?;
        let left = all.saturating_sub(offset + start as u64);
        if left < length as u64 {
            return Err(damaged(position, format!("a frame of {length} bytes"), left));
        }
    }
    let mut body: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    let to = Arc::get_mut(&mut body).expect("a new body is not shared");
    let ahead = length.min(found - start);
    to[..ahead].copy_from_slice(&bytes[start..start + ahead]);
    let rest_at = offset + (start + ahead) as u64;
    let rest = segments.read(&*file, segment, rest_at, &mut to[ahead..])?;
    if ahead + rest < length {
        return Err(damaged(position, format!("a frame of {length} bytes"), ahead + rest));
    }
    if verify == Verify::Yes {
        segments.seal().verify(&header, &body, position)?;
    }
    Ok(Frame { position, check: header.check, group: header.group, body })
}
