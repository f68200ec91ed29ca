//! Copying a log into another directory, segment by segment, each frame verified on the way.
//!
//! What the other directory has already must be the beginning of the log: it is compared at the
//! seam, where it ends, and what follows is chained to that. It does not know why a log is copied,
//! nor what it means when it ends before it should.
//!
//! Invariant: a segment has its name in the other directory only once its bytes are verified and
//! durable, and those before it are there; so at any time that directory has a beginning of the
//! log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backup::passage::Passage;
use crate::directory::{Directory, copy_file};
use crate::disk::DiskFile;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{self, Seal, damaged};
use crate::log::scan;
use crate::log::segment::{self, FIRST, HEADER_BYTES, Segments};
use crate::log::{Position, Tail};

/// Bytes that are copied at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// What is told of a copy that goes on: bytes done, and in all.
pub(super) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What decides about a log that ends before the limit, or has other bytes than frames there: it is
/// told the end of the frames.
pub(super) type Short<'a> = &'a dyn Fn(Tail) -> Result<()>;

/// A log and where it is copied to.
pub(super) struct LogCopy<'a> {
    source: &'a Segments,
    seal: Seal,
    target: &'a Directory,
    /// What the target has.
    there: Segments,
    /// Where the copy ends; at the end of the log when it is not said.
    limit: Option<Position>,
    progress: Progress<'a>,
    bytes_count: u64,
    /// Bytes of the source, and of the target.
    buffer: Vec<u8>,
    other: Vec<u8>,
    copied: Copied,
}

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    /// Bytes that the target has.
    pub(super) bytes: u64,
    /// Of these, bytes that it did not have before.
    pub(super) new_bytes: u64,
    /// Bytes that were written.
    pub(super) written_bytes: u64,
}

impl<'a> LogCopy<'a> {
    /// A copy of `source` up to `limit` into `target`, which has the same id.
    pub(super) fn new(
        source: &'a Segments,
        target: &'a Directory,
        limit: Option<Position>,
        progress: Progress<'a>,
    ) -> Result<LogCopy<'a>> {
        let there = Segments::new(Arc::clone(target.disk()), target.log(), target.id());
        let end = limit.unwrap_or(Position::new(u32::MAX, 0));
        let mut bytes_count = u64::from(end.offset());
        for number in source.numbers()?.into_iter().filter(|&number| number < end.segment()) {
            bytes_count += source.bytes_count(number)?;
        }
        let seal = Seal::new(target.id());
        let (buffer, other) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let copied = Copied::default();
        Ok(LogCopy {
            source,
            seal,
            target,
            there,
            limit,
            progress,
            bytes_count,
            buffer,
            other,
            copied,
        })
    }

    /// Copies what the target does not have, unless the log is too `short`; gives its end.
    pub(super) fn run(&mut self, short: Short<'_>) -> Result<(Tail, Copied)> {
        let last_there = self.there.numbers()?.last().copied();
        let limit = self.limit.map_or(u32::MAX, Position::segment);
        if let Some(last) = last_there.filter(|last| *last > limit) {
            return Err(self.other(format!("it goes on in {}", segment::file_name(last))));
        }
        if self.source.header(FIRST)?.previous != self.seal.first() {
            return Err(damaged(scan::start(self.seal).end, "the first segment", "another"));
        }
        let mut number = FIRST;
        while last_there.is_some_and(|last| number < last) {
            self.skip(number)?;
            number += 1;
        }
        loop {
            let tail = self.segment(number, short)?;
            if self.limit == Some(tail.end) || !self.goes_on(tail)? {
                return Ok((tail, self.copied));
            }
            number += 1;
        }
    }

    /// Goes past a segment behind which the target has others.
    fn skip(&mut self, number: u32) -> Result<()> {
        let (here, there) =
            (self.source.header(number)?, self.of_target(self.there.header(number))?);
        let bytes = self.of_target(self.there.bytes_count(number))?;
        if here != there || !self.ends_at(number, bytes)? {
            return Err(self.other(format!("{} differs", segment::file_name(number))));
        }
        self.copied.bytes += bytes;
        (self.progress)(self.copied.bytes, self.bytes_count);
        Ok(())
    }

    /// Copies a segment, unless the target has all of it, and gives its end.
    fn segment(&mut self, number: u32, short: Short<'_>) -> Result<Tail> {
        let there = match self.there.exists(number)? {
            true => self.of_target(self.there.bytes_count(number))?,
            false => 0,
        };
        let (tail, is_written) = if there > 0 && self.ends_at(number, there)? {
            (self.pass(number, there, None, short)?, false)
        } else {
            let (disk, path) = (self.target.disk(), self.path(number));
            let mut tail = None;
            let made = copy_file(&**disk, &path, |file| {
                tail = Some(self.pass(number, there, Some(file), short)?);
                Ok(())
            });
            // Nobody reads it soon, so it is in nobody's way.
            made?.drop_cache();
            (tail.expect("what was made was filled"), true)
        };
        let bytes = u64::from(tail.end.offset());
        self.copied.bytes += bytes;
        self.copied.new_bytes += bytes - there;
        self.copied.written_bytes += if is_written { bytes } else { 0 };
        Ok(tail)
    }

    /// Reads and verifies a segment, compares it with the first `there` bytes of it, which the
    /// target has, and writes it `to` a file.
    fn pass(
        &mut self,
        number: u32,
        there: u64,
        to: Option<&dyn DiskFile>,
        short: Short<'_>,
    ) -> Result<Tail> {
        let limit = self.limit_in(number).unwrap_or(u64::MAX);
        let (end, last) = (Position::new(number, HEADER_BYTES as u32), Position::NONE);
        let check = self.source.header(number)?.previous;
        let mut passage = Passage::new(self.seal, Tail { end, last, check });
        let (mut at, mut follows, mut differs) = (0, true, None);
        while follows && at < limit {
            let count = (limit - at).min(BUFFER_BYTES as u64) as usize;
            let read = self.source.read(number, at, &mut self.buffer[..count])?;
            let frames = HEADER_BYTES.saturating_sub(at as usize).min(read);
            follows = passage.take(&self.buffer[frames..read]);
            differs = differs.or(self.difference(number, at, read, there)?);
            if let Some(file) = to {
                let written = file.write_all_at(&self.buffer[..read], at);
                written.map_err(|error| Error::io("write", error).at(self.path(number)))?;
            }
            at += read as u64;
            (self.progress)((self.copied.bytes + at).min(self.bytes_count), self.bytes_count);
            follows &= read == count;
        }
        let tail = passage.tail();
        let end = u64::from(tail.end.offset());
        if end != limit && !self.goes_on(tail)? {
            short(tail)?;
        }
        if let Some(offset) = differs.or((there > end).then_some(end)) {
            let file = segment::file_name(number);
            return Err(self.other(format!("{file} differs from offset {offset} on")));
        }
        if let Some(file) = to.filter(|_| at > end) {
            let cut = file.set_length(end);
            cut.map_err(|error| Error::io("truncate", error).at(self.path(number)))?;
        }
        Ok(tail)
    }

    /// Where the bytes of a segment at `at`, which were just read, first differ from those of the
    /// first `there` that the target has.
    fn difference(&mut self, number: u32, at: u64, read: usize, there: u64) -> Result<Option<u64>> {
        let count = there.saturating_sub(at).min(read as u64) as usize;
        if count == 0 {
            return Ok(None);
        }
        let found = self.there.read(number, at, &mut self.other[..count])?;
        let pairs = self.buffer[..count].iter().zip(&self.other[..found]);
        let same = pairs.take_while(|(one, other)| one == other).count();
        Ok((same < count).then_some(at + same as u64))
    }

    /// Whether the log goes on in the next segment behind `tail`.
    fn goes_on(&self, tail: Tail) -> Result<bool> {
        let next = tail.end.segment() + 1;
        Ok(self.source.exists(next)? && self.source.header(next)?.previous == tail.check)
    }

    /// Whether what is copied of a segment has no frame at or behind `offset`.
    fn ends_at(&self, number: u32, offset: u64) -> Result<bool> {
        if let Some(limit) = self.limit_in(number) {
            return Ok(offset >= limit);
        }
        let mut bytes = [0; frame::HEADER_BYTES];
        let read = self.source.read(number, offset, &mut bytes)?;
        Ok(bytes[..read].iter().all(|&byte| byte == 0))
    }

    /// Where the copy ends, if that is in this segment.
    fn limit_in(&self, number: u32) -> Option<u64> {
        let limit = self.limit.filter(|limit| limit.segment() == number)?;
        Some(u64::from(limit.offset()))
    }

    /// The file of a segment in the target.
    fn path(&self, number: u32) -> PathBuf {
        self.target.path().join(segment::file_name(number))
    }

    /// What the target is at fault for.
    fn of_target<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.at(self.target.path()))
    }

    /// That the target is no beginning of the log.
    fn other(&self, found: String) -> Error {
        Error::from(ErrorKind::NotItsBackup { found }).at(self.target.path())
    }
}
