//! Copying a log into another directory, segment by segment, each frame verified on the way.
//!
//! What the other directory has already must be a beginning of the log: the last frame that it has
//! must be in the log, and so all before, for frames are chained. It does not know why a log is
//! copied, nor what it means when it ends before it should.
//!
//! Invariant: at any time the other directory has a beginning of the log, not shorter than before.
//! Invariant: a segment that retention took something from is there only once all is that was
//! appended before.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backup::passage::Passage;
use crate::directory::{Directory, keep_file, stage_file, sync_directory};
use crate::disk::DiskFile;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{self, Check, Header, Seal, damaged};
use crate::log::pack::{self, Pack};
use crate::log::scan::{self, Next, Scan};
use crate::log::segment::{self, FIRST, HEADER_BYTES, Segment, Segments};
use crate::log::{Position, Tail};

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
    /// Whether nobody opens the target before all is there.
    is_new: bool,
    /// What the target has.
    there: Segments,
    /// Where the copy ends; at the end of the log when it is not said.
    limit: Option<Position>,
    progress: Progress<'a>,
    bytes_count: u64,
    copied: Copied,
    /// Files that have no name yet.
    staged: Vec<File>,
    /// Segments that the target has in another form.
    outdated: Vec<u32>,
}

/// What a copy came to, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    /// Of log that the target has.
    pub(super) bytes: u64,
    /// Of log that it did not have before.
    pub(super) new_bytes: u64,
    /// That were written.
    pub(super) written_bytes: u64,
}

/// A segment's file.
#[derive(Clone, Copy)]
struct File {
    number: u32,
    is_pack: bool,
}

impl<'a> LogCopy<'a> {
    /// A copy of `source` up to `limit` into `target`, which has the same id.
    pub(super) fn new(
        source: &'a Segments,
        (target, is_new): (&'a Directory, bool),
        limit: Option<Position>,
        progress: Progress<'a>,
    ) -> Result<LogCopy<'a>> {
        let there = Segments::new(Arc::clone(target.disk()), target.log(), target.id());
        let end = limit.unwrap_or(Position::new(u32::MAX, 0));
        let mut bytes_count = u64::from(end.offset());
        for number in source.numbers()?.into_iter().filter(|&number| number < end.segment()) {
            bytes_count += source.bytes_count(number)?;
        }
        let (copied, staged, outdated) = Default::default();
        let seal = Seal::new(target.id());
        Ok(LogCopy {
            source,
            seal,
            target,
            is_new,
            there,
            limit,
            progress,
            bytes_count,
            copied,
            staged,
            outdated,
        })
    }

    /// Copies what the target does not have, unless the log is too `short`; gives its end.
    pub(super) fn run(mut self, short: Short<'_>) -> Result<(Tail, Copied)> {
        if self.source.header(FIRST)?.previous != self.seal.first() {
            return Err(damaged(scan::start(self.seal).end, "the first segment", "another"));
        }
        let (mut number, mut seam) = (FIRST, None);
        if let Some(&last) = self.there.numbers()?.last() {
            while number < last {
                self.compare(number)?;
                number += 1;
            }
            seam = Some(self.seam(last)?);
        }
        let tail = loop {
            let tail = self.segment(number, seam.take(), short)?;
            let is_end = self.limit.is_some_and(|limit| tail.end >= limit);
            if is_end || !self.goes_on(tail)? {
                break tail;
            }
            number += 1;
        };
        self.name()?;
        for number in std::mem::take(&mut self.outdated) {
            self.copy(number, &|_| Ok(()))?;
            self.name()?;
        }
        (self.progress)(self.bytes_count, self.bytes_count);
        Ok((tail, self.copied))
    }

    /// Compares a segment behind which the target has others.
    fn compare(&mut self, number: u32) -> Result<()> {
        let here = self.source.header(number)?;
        let there = self.of_target(self.there.header(number))?;
        let end = self.of_target(self.there.bytes_count(number))?;
        if here.previous != there.previous || !self.ends_at(number, end)? {
            return Err(self.other(format!("it has another {}", segment::file_name(number))));
        }
        if !self.is_alike(number)? {
            self.outdated.push(number);
        }
        self.count(end, 0);
        Ok(())
    }

    /// Compares the last segment that the target has; gives the end of its frames.
    fn seam(&mut self, number: u32) -> Result<Tail> {
        let previous = self.of_target(self.there.header(number))?.previous;
        let mut passage = Passage::new(self.seal, start(number, previous));
        if let Segment::Plain(file) = self.of_target(self.there.segment(number))? {
            passage.read(&self.there, &*file, u64::MAX, |_, _| Ok(()))?;
        }
        let tail = passage.tail();
        let is_in_log = match tail.last {
            _ if self.limit.is_some_and(|limit| tail.end > limit) => false,
            Position::NONE => {
                self.source.exists(number)? && self.source.header(number)?.previous == previous
            }
            last => self.check_at(last)? == Some(tail.check),
        };
        match is_in_log {
            true => Ok(tail),
            false => Err(self.other(format!("it has another {}", segment::file_name(number)))),
        }
    }

    /// The check of the frame that the log has at a place.
    fn check_at(&self, place: Position) -> Result<Option<Check>> {
        if !self.source.exists(place.segment())? {
            return Ok(None);
        }
        let header = match self.source.segment(place.segment())? {
            Segment::Plain(file) => {
                let mut bytes = [0; frame::HEADER_BYTES];
                let offset = u64::from(place.offset());
                self.source.read(&*file, place.segment(), offset, &mut bytes)?;
                self.seal.decode(&bytes)
            }
            Segment::Packed(pack) => match pack.frame(place.offset()) {
                Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => return Err(error),
                found => found.ok().flatten().map(|(header, _)| header),
            },
        };
        Ok(header.map(|header| header.check))
    }

    /// Copies a segment unless the target has it, with frames up to `seam` at least when that is in
    /// it; gives its end.
    fn segment(&mut self, number: u32, seam: Option<Tail>, short: Short<'_>) -> Result<Tail> {
        let there = seam.map_or(0, |seam| u64::from(seam.end.offset()));
        let tail = match seam {
            Some(seam)
                if self.there.bytes_count(number)? == there
                    && self.ends_at(number, there)?
                    && self.is_alike(number)? =>
            {
                seam
            }
            _ => self.copy(number, short)?,
        };
        let end = u64::from(tail.end.offset());
        self.count(end, end - there.min(end));
        Ok(tail)
    }

    fn count(&mut self, bytes: u64, new_bytes: u64) {
        self.copied.bytes += bytes;
        self.copied.new_bytes += new_bytes;
        (self.progress)(self.copied.bytes.min(self.bytes_count), self.bytes_count);
    }

    /// Copies a segment, as far as it is to be copied, and gives its end.
    fn copy(&mut self, number: u32, short: Short<'_>) -> Result<Tail> {
        match self.source.segment(number)? {
            Segment::Plain(file) => self.plain(number, &*file, short),
            Segment::Packed(pack) => {
                self.packed(number, &pack)?;
                match self.source.exists(number + 1)? && self.limit_in(number).is_none() {
                    true => {
                        let check = self.source.header(number + 1)?.previous;
                        let end = Position::new(number, pack.end());
                        Ok(Tail { end, last: Position::NONE, check })
                    }
                    false => self.cut(number, &pack, short),
                }
            }
        }
    }

    fn plain(&mut self, number: u32, file: &dyn DiskFile, short: Short<'_>) -> Result<Tail> {
        let previous = self.source.header(number)?.previous;
        let limit = self.limit_in(number).unwrap_or(u64::MAX);
        let path = self.path(File { number, is_pack: false });
        let failed = |operation| {
            let path = path.clone();
            move |error| Error::io(operation, error).at(path)
        };
        let mut passage = Passage::new(self.seal, start(number, previous));
        self.stage(File { number, is_pack: false }, |copy, to| {
            let (done, all) = (copy.copied.bytes, copy.bytes_count);
            let read = passage.read(copy.source, file, limit, |bytes, at| {
                (copy.progress)((done + at).min(all), all);
                to.write_all_at(bytes, at).map_err(failed("write"))
            })?;
            let tail = passage.tail();
            let end = u64::from(tail.end.offset());
            if end != limit && !copy.goes_on(tail)? {
                short(tail)?;
            }
            if read > end {
                to.set_length(end).map_err(failed("truncate"))?;
            }
            Ok(end)
        })?;
        Ok(passage.tail())
    }

    fn packed(&mut self, number: u32, pack: &Pack) -> Result<()> {
        let file = File { number, is_pack: true };
        let (path, id) = (self.path(file), self.target.id());
        self.stage(file, |_, to| {
            let bytes = pack.pass(|bytes, at| {
                let written = to.write_all_at(bytes, at);
                written.map_err(|error| Error::io("write", error).at(&path))
            })?;
            Ok(bytes)
        })?;
        todo!()
    }
}
