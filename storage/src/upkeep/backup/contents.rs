//! The content of a part of a log, in figures: counted as its frames are read.
//!
//! This module does not know the purpose of the counts.

use std::sync::Arc;

use object::header::{HEADER_BYTES, Header};
use object::input::Input;
use object::time::Time;

use crate::disk::file::DiskFile;
use crate::error::Result;
use crate::error::position::Position;
use crate::log::frame;
use crate::log::frame::{Frame, Frames, damaged, placed};
use crate::log::scan;
use crate::log::segment::{Segment, Segments, Tail};
use crate::record::version::Staged;
use crate::record::{HEAD_BYTES, HeadKind, Record, decode_refusal, head, records};

/// Bytes that are read at a time.
const WINDOW_BYTES: usize = 64 << 10;

/// The content of a part of a log. Versions and refusals of imports count as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Frames.
    pub frame_count: u64,
    /// Creations and imports of objects: one that comes back counts again.
    pub object_count: u64,
    /// Versions.
    pub version_count: u64,
    /// Refusals.
    pub refusal_count: u64,
}

impl Contents {
    /// Counts a frame; returns its time, if it has one.
    pub(crate) fn add(&mut self, frame: &Frame) -> Result<Option<Time>> {
        self.frame_count += 1;
        self.records(frame).map_err(|error| placed(error, frame.position))
    }

    /// Returns a frame's time, the earliest that this host stamped in it: an import has the times
    /// of another host.
    fn records(&mut self, frame: &Frame) -> Result<Option<Time>> {
        let mut earliest = None;
        let mut at = |time: Time| earliest = Some(earliest.map_or(time, |other| time.min(other)));
        for record in records(&frame.body) {
            match record? {
                Record::Version(version) => {
                    self.version_count += 1;
                    let header = Header::decode(version.header_bytes())?;
                    if version.staged == Staged::No {
                        self.object_count += u64::from(header.seq == 0);
                        at(header.time);
                    }
                }
                Record::Refusal(staged, content) => {
                    self.refusal_count += 1;
                    let (_, refusal) = decode_refusal(content, frame.position)?;
                    if staged == Staged::No {
                        at(Input::decode(&refusal.input)?.time);
                    }
                }
                Record::Adoption(_) => self.object_count += 1,
                Record::Blob(_) | Record::Event(_) => {}
            }
        }
        Ok(earliest)
    }
}

/// Counts the content of a log behind `tail` up to `end`, which is verified already: of unpacked
/// records it reads only the heads.
pub(crate) fn count_on(
    segments: &Segments,
    mut tail: Tail,
    mut contents: Contents,
    end: Position,
) -> Result<(Tail, Contents)> {
    while tail.end < end {
        let number = tail.end.segment();
        let stop = match end.segment() == number {
            true => u64::from(end.offset()),
            false => segments.bytes_count(number)?,
        };
        if u64::from(tail.end.offset()) >= stop {
            let start = Tail::of_segment(number + 1, tail.check);
            tail.end = start.end;
            continue;
        }
        match segments.segment(number)? {
            Segment::Plain(file) => {
                let mut plain = Plain { segments, file, number, window: Vec::new(), at: 0 };
                while u64::from(tail.end.offset()) < stop {
                    tail = plain.frame(tail, &mut contents)?;
                }
            }
            Segment::Packed(pack) => {
                let found = pack.frame(tail.end.offset())?;
                let (header, frame) =
                    found.ok_or_else(|| damaged(tail.end, "a frame", "the end of the pack"))?;
                contents.add(&frame)?;
                tail = Tail::behind(&header, tail.end);
            }
        }
    }
    Ok((tail, contents))
}

/// Returns whether the last frame before an end is the one that it names.
///
/// # Errors
///
/// Damage of that frame, if there is none at its place too.
pub(crate) fn ends_at(segments: &Segments, tail: Tail) -> Result<bool> {
    let Tail { end, last, check } = tail;
    if last == Position::NONE {
        return Ok(tail == scan::start(segments.seal()));
    }
    let frame = segments.frame(last)?;
    let length = match segments.segment(last.segment())? {
        Segment::Plain(_) => frame.body.len() as u64,
        // The frame may have had more records.
        Segment::Packed(pack) => match pack.frame(last.offset())? {
            Some((header, _)) => u64::from(header.length),
            None => return Ok(false),
        },
    };
    if (frame.position, frame.check) != (last, check) {
        return Ok(false);
    }
    if end.0.checked_sub(last.0) == Some(frame::HEADER_BYTES as u64 + length) {
        return Ok(true);
    }
    // Or the start of a later segment, which has no frame yet.
    let is_start = end == Tail::of_segment(end.segment(), check).end;
    let is_later = is_start && end.segment() > last.segment();
    Ok(is_later && segments.header(end.segment())?.previous == check)
}

/// A segment that is not packed, read in windows.
struct Plain<'a> {
    segments: &'a Segments,
    file: Arc<dyn DiskFile>,
    number: u32,
    window: Vec<u8>,
    /// The start of the window.
    at: u64,
}

impl Plain<'_> {
    /// Counts the frame behind `tail`, and returns its end.
    fn frame(&mut self, tail: Tail, contents: &mut Contents) -> Result<Tail> {
        let start = u64::from(tail.end.offset());
        let missing = || damaged(tail.end, "a frame header", "other bytes");
        let bytes = self.bytes(start, frame::HEADER_BYTES)?;
        let header = bytes.first_chunk().copied();
        let header = header.and_then(|header| self.segments.seal().decode(&header));
        let header = header.ok_or_else(missing)?;
        let behind = Tail::behind(&header, tail.end);
        let (mut at, end) = (start + frame::HEADER_BYTES as u64, u64::from(behind.end.offset()));
        contents.frame_count += 1;
        while at < end {
            at = self.record(at, tail.end, end, contents)?;
        }
        Ok(behind)
    }

    /// Counts a record of the frame at `frame`, which ends at `end`; returns the end of the record.
    fn record(
        &mut self,
        at: u64,
        frame: Position,
        end: u64,
        contents: &mut Contents,
    ) -> Result<u64> {
        let cut = || damaged(frame, "whole records", "a cut one");
        let (kind, length) = head(*self.bytes(at, HEAD_BYTES)?.first_chunk().ok_or_else(cut)?);
        let next = at + HEAD_BYTES as u64 + u64::from(length);
        if next > end {
            return Err(cut());
        }
        match kind {
            HeadKind::Version(staged) => {
                let count = HEADER_BYTES.min(length as usize);
                let header = Header::decode(self.bytes(at + HEAD_BYTES as u64, count)?);
                let is_genesis = header.map_err(|error| placed(error.into(), frame))?.seq == 0;
                contents.version_count += 1;
                contents.object_count += u64::from(is_genesis && staged == Staged::No);
            }
            HeadKind::Refusal => contents.refusal_count += 1,
            HeadKind::Adoption => contents.object_count += 1,
            HeadKind::Other => {}
        }
        Ok(next)
    }

    /// The bytes at an offset, fewer at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8]> {
        let is_here =
            offset >= self.at && offset + count as u64 <= self.at + self.window.len() as u64;
        if !is_here {
            self.window.resize(count.max(WINDOW_BYTES), 0);
            let read = self.segments.read(&*self.file, self.number, offset, &mut self.window)?;
            self.window.truncate(read);
            self.at = offset;
        }
        let here = &self.window[(offset - self.at) as usize..];
        Ok(&here[..here.len().min(count)])
    }
}
