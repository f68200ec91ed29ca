//! Scans of the log from a place on, frame by frame, also for frames behind a broken one.
//!
//! This module does not know the content of bodies, nor what a broken frame means: recovery treats
//! it as a torn end that was not yet durable, or as damage; a check reports it and continues.

use std::sync::Arc;

use crate::disk::file::DiskFile;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, Frames, HEADER_BYTES, Header, Seal, damaged};
use crate::log::pack::Pack;
use crate::log::segment::{Segment, Segments, Tail};
use crate::log::{file, segment};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// The next item of a scan.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame, whole and in its place.
    Frame(Frame),
    /// No frame: the log may end here, or bytes were lost.
    Nothing,
    /// Bytes that are not the frame that belongs here.
    Broken(Error),
}

/// Reads frames in order.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    segments: &'a Segments,
    tail: Tail,
    /// The header of the last returned frame.
    header: Option<Header>,
    buffer: Buffer,
}

/// Bytes of a segment that were read ahead.
#[derive(Debug, Default)]
struct Buffer {
    segment: u32,
    offset: u64,
    bytes: Vec<u8>,
}

impl<'a> Scan<'a> {
    /// Reads on behind `tail`.
    pub(crate) fn new(segments: &'a Segments, tail: Tail) -> Scan<'a> {
        Scan { segments, tail, header: None, buffer: Buffer::default() }
    }

    /// Returns the end of the frames that were read.
    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// The header of the frame that was given last.
    ///
    /// # Panics
    ///
    /// When none was.
    pub(crate) fn header(&self) -> &Header {
        self.header.as_ref().expect("a frame was given")
    }

    /// Reads on behind a frame.
    fn pass(&mut self, header: Header, place: Position) {
        assert!(place >= self.tail.end, "a scan goes forward");
        self.tail = Tail::behind(&header, place);
        self.header = Some(header);
    }

    /// Returns the next frame. A scan stays at a broken one: the next call returns the same.
    ///
    /// # Errors
    ///
    /// Those of the file system only.
    pub(crate) fn next(&mut self) -> Result<Next> {
        loop {
            if let Some(next) = self.next_here()? {
                return Ok(next);
            }
            if let Some(end) = self.enter_next_segment()? {
                return Ok(end);
            }
        }
    }

    /// Returns the next item in the segment; `None` at its end.
    fn next_here(&mut self) -> Result<Option<Next>> {
        let place = self.tail.end;
        let (segment, offset) = (place.segment(), u64::from(place.offset()));
        // The segment that is being read is known to exist.
        if self.buffer.segment != segment && !self.segments.exists(segment)? {
            return Ok(Some(Next::Broken(damaged(place, "a segment of the log", "no file"))));
        }
        let file = match self.segments.segment(segment)? {
            Segment::Plain(file) => file,
            Segment::Packed(pack) => return self.next_packed(&pack),
        };
        self.buffer.fill(self.segments, segment, &*file, offset, HEADER_BYTES)?;
        let found = self.buffer.at(offset);
        let Some(bytes) = found.first_chunk::<HEADER_BYTES>() else {
            let empty = found.iter().all(|&byte| byte == 0);
            return Ok((!empty).then(|| broken(place, "a cut header")));
        };
        if *bytes == [0; HEADER_BYTES] {
            return Ok(None);
        }
        let Some(header) = self.segments.seal().decode(bytes) else {
            return Ok(Some(broken(place, "other bytes")));
        };
        if header.previous != self.tail.check {
            let (expected, found) = ("the frame that follows", "one that follows another");
            return Ok(Some(Next::Broken(damaged(place, expected, found))));
        }
        let length = header.length as usize;
        self.buffer.fill(self.segments, segment, &*file, offset, HEADER_BYTES + length)?;
        let Some(body) = self.buffer.at(offset).get(HEADER_BYTES..HEADER_BYTES + length) else {
            return Ok(Some(broken(place, "a cut frame")));
        };
        if let Err(error) = self.segments.seal().verify(&header, body, place) {
            return Ok(Some(Next::Broken(error)));
        }
        let (check, group, body) = (header.check, header.group, Arc::from(body));
        let frame = Frame { position: place, check, group, body };
        self.pass(header, place);
        Ok(Some(Next::Frame(frame)))
    }

    /// Returns the next item in a packed segment; `None` at its end. The frame's own check links it
    /// to the next; the pack's checks have verified its bytes.
    fn next_packed(&mut self, pack: &Pack) -> Result<Option<Next>> {
        let place = self.tail.end;
        let (header, frame) = match pack.frame(place.offset()) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => return Err(error),
            Err(error) => return Ok(Some(Next::Broken(error))),
        };
        if header.previous != self.tail.check {
            let (expected, found) = ("the frame that follows", "one that follows another");
            return Ok(Some(Next::Broken(damaged(place, expected, found))));
        }
        self.pass(header, place);
        Ok(Some(Next::Frame(frame)))
    }

    /// Continues in the next segment; returns the item in its place when none follows.
    ///
    /// A segment has its name only once its header is durable, so an unreadable header is an error;
    /// one that follows another frame shows that the end of this segment was lost.
    fn enter_next_segment(&mut self) -> Result<Option<Next>> {
        let number = self.tail.end.segment() + 1;
        if !self.segments.exists(number)? {
            return Ok(Some(Next::Nothing));
        }
        if self.segments.header(number)?.previous != self.tail.check {
            let (expected, found) = ("the last frames of the segment", "none");
            return Ok(Some(Next::Broken(damaged(self.tail.end, expected, found))));
        }
        self.tail.end = Position::new(number, file::HEADER_BYTES as u32);
        Ok(None)
    }

    /// Returns the first whole frame behind the place where reading stopped, in any segment;
    /// reading continues behind it. Returns `None` when there is none in the log.
    pub(crate) fn resume(&mut self) -> Result<Option<Frame>> {
        self.resume_over(Err)
    }

    /// Resumes as [`resume`](Scan::resume) does; passes over a segment that cannot be opened if
    /// `pass_over` returns so for the error.
    pub(crate) fn resume_over(
        &mut self,
        mut pass_over: impl FnMut(Error) -> Result<()>,
    ) -> Result<Option<Frame>> {
        let (first, behind_here) = (self.tail.end.segment(), u64::from(self.tail.end.offset()) + 1);
        for number in self.segments.numbers()?.into_iter().filter(|&number| number >= first) {
            let mut at = if number == first { behind_here } else { file::HEADER_BYTES as u64 };
            let file = match self.segments.segment(number) {
                Ok(Segment::Plain(file)) => file,
                Err(error) => {
                    pass_over(error)?;
                    continue;
                }
                Ok(Segment::Packed(pack)) => {
                    let Some((header, frame)) = pack.first_from(at as u32) else { continue };
                    self.pass(header, frame.position);
                    return Ok(Some(frame));
                }
            };
            let end = self.segments.length(&*file, number)?;
            while at + HEADER_BYTES as u64 <= end {
                if let Some(frame) = self.find(number, &*file, &mut at)? {
                    return Ok(Some(frame));
                }
            }
        }
        Ok(None)
    }

    /// Looks for a frame from `at` on, in the part of the segment that is read at once; moves `at`
    /// behind the examined bytes.
    fn find(&mut self, number: u32, file: &dyn DiskFile, at: &mut u64) -> Result<Option<Frame>> {
        self.buffer.fill(self.segments, number, file, *at, READ_BYTES)?;
        let bytes = self.buffer.at(*at);
        let mut skipped = 0;
        while let Some(window) = bytes[skipped..].first_chunk::<HEADER_BYTES>() {
            // Unused space is zeros, and there may be a lot of it: no header starts with 16 zeros.
            if *window == [0; HEADER_BYTES] {
                skipped += HEADER_BYTES - 16;
                continue;
            }
            if let Some(header) = self.segments.seal().decode(window) {
                let position = Position::new(number, (*at + skipped as u64) as u32);
                if let Ok(frame) = self.segments.frame(position) {
                    self.pass(header, position);
                    return Ok(Some(frame));
                }
            }
            skipped += 1;
        }
        *at += skipped as u64;
        // The rest of the segment is shorter than a header.
        if skipped == 0 {
            *at += HEADER_BYTES as u64;
        }
        Ok(None)
    }
}

fn broken(place: Position, found: &str) -> Next {
    Next::Broken(damaged(place, "a frame", found))
}

impl Buffer {
    /// Makes sure that `count` bytes at `offset` are here, or as many as the segment has.
    fn fill(
        &mut self,
        segments: &Segments,
        segment: u32,
        file: &dyn DiskFile,
        offset: u64,
        count: usize,
    ) -> Result<()> {
        let here = self.segment == segment && offset >= self.offset;
        if here && offset + count as u64 <= self.offset + self.bytes.len() as u64 {
            return Ok(());
        }
        let left = segments.length(file, segment)?.saturating_sub(offset);
        self.bytes.resize((count.max(READ_BYTES) as u64).min(left) as usize, 0);
        let read = segments.read(file, segment, offset, &mut self.bytes)?;
        self.bytes.truncate(read);
        (self.segment, self.offset) = (segment, offset);
        Ok(())
    }

    /// Returns the buffered bytes from `offset` on.
    fn at(&self, offset: u64) -> &[u8] {
        self.bytes.get((offset - self.offset) as usize..).unwrap_or_default()
    }
}

/// Returns the end of the log before the frame at `place`, read from that frame's header alone:
/// none when there is no frame.
///
/// # Errors
///
/// Those of the file system, and damage of a pack.
pub(crate) fn before(segments: &Segments, place: Position) -> Result<Option<Tail>> {
    let (number, offset) = (place.segment(), place.offset());
    if number < segment::FIRST || !segments.exists(number)? {
        return Ok(None);
    }
    let header = match segments.segment(number)? {
        Segment::Packed(pack) => pack.frame(offset)?.map(|(header, _)| header),
        Segment::Plain(file) => {
            let mut bytes = [0; HEADER_BYTES];
            let read = segments.read(&*file, number, u64::from(offset), &mut bytes)?;
            if read < HEADER_BYTES { None } else { segments.seal().decode(&bytes) }
        }
    };
    let tail = |header: Header| Tail { end: place, last: Position::NONE, check: header.previous };
    Ok(header.map(tail))
}

/// Returns the start of a database's log.
pub(crate) fn start(seal: Seal) -> Tail {
    Tail::of_segment(segment::FIRST, seal.first())
}
