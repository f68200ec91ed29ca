//! Copying a log into another directory, segment by segment, each frame verified on the way.
//!
//! The other directory's content must be a beginning of the log: its last frame must be in the log,
//! and so all before, since frames are chained. This module does not know why a log is copied, nor
//! what it means when it ends too early.
//!
//! Invariant: at any time the other directory has a beginning of the log, not shorter than before.
//! Invariant: a segment that retention trimmed is not there before all later appends of that time
//! are.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::directory::{Directory, stage_file, sync_directory, temporary};
use crate::disk::file::DiskFile;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Check, Frame, damaged};
use crate::log::pack::Pack;
use crate::log::pack::writer::PackWriter;
use crate::log::scan::{Next, Scan};
use crate::log::segment::{FIRST, Segment, Segments, Tail};
use crate::log::{file, frame, pack, scan, segment};
use crate::record::{Record, records};
use crate::upkeep::backup::passage::Passage;
use crate::upkeep::backup::staged;
use crate::upkeep::backup::staged::File;
use crate::upkeep::backup::witness::Witness;
use crate::upkeep::progress::Progress;

/// Called when the frames end before the limit, with that end: `Ok` accepts a torn tail, `Err`
/// reports damage.
pub(super) type Short<'a> = &'a dyn Fn(Tail) -> Result<()>;

/// A log and where it is copied to.
pub(super) struct LogCopy<'a> {
    source: &'a Segments,
    target: &'a Directory,
    /// True if nobody opens the target before everything is there.
    is_new: bool,
    /// The target's segments.
    there: Segments,
    /// The end of the copy; the end of the log when none is given.
    limit: Option<Position>,
    progress: Progress<'a>,
    /// The highest number of bytes reported to progress.
    reported: u64,
    bytes_count: u64,
    copied: Copied,
    /// Files that have no name yet.
    staged: VecDeque<File>,
    /// Segments that the target has in another form.
    outdated: Vec<u32>,
    verify: Verify,
    /// The recorded end of the target, if there is a record.
    witness: Option<Tail>,
}

/// The segments of the target to verify, apart from the last, which always is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verify {
    /// The first of them.
    pub(super) from: u32,
    /// The number of bytes after which no other segment is started.
    pub(super) bytes: u64,
}

/// A file of a backup that was not as it was written, and was copied again.
#[derive(Clone, Debug)]
pub struct Mended {
    /// The file's name in the backup's directory.
    pub file: String,
    /// The fault.
    pub problem: Error,
}

/// The result of a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Copied {
    /// Bytes of log that the target has.
    pub(super) bytes: u64,
    /// Bytes of log that it did not have before.
    pub(super) new_bytes: u64,
    /// Bytes that were written.
    pub(super) written_bytes: u64,
    /// The bytes of existing content that were read and verified.
    pub(super) verified_bytes: u64,
    /// The segment to verify next; none when the last was reached.
    pub(super) verify_next: Option<u32>,
    /// Versions that the target had whole, and has with their headers alone now.
    pub(super) trimmed_count: u64,
    /// Files that were not as they were written.
    pub(super) mended: Vec<Mended>,
}

impl std::fmt::Display for Mended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} was copied again: {}", self.file, self.problem)
    }
}

impl<'a> LogCopy<'a> {
    /// A copy of `source` up to `limit` into `target`, which has the same id.
    pub(super) fn new(
        source: &'a Segments,
        target: &'a Directory,
        is_new: bool,
        limit: Option<Position>,
        progress: Progress<'a>,
    ) -> Result<LogCopy<'a>> {
        let there = Segments::new(Arc::clone(target.disk()), target.log(), target.id());
        let bytes_count = source.bytes_before(limit.unwrap_or(Position::new(u32::MAX, 0)))?;
        let (copied, staged, outdated) = Default::default();
        let verify = Verify { from: FIRST, bytes: 0 };
        Ok(LogCopy {
            source,
            target,
            is_new,
            there,
            limit,
            progress,
            reported: 0,
            bytes_count,
            copied,
            staged,
            outdated,
            verify,
            witness: None,
        })
    }

    /// Makes the copy verify this much of the target's content, and that it reaches its recorded
    /// end.
    pub(super) fn verifying(mut self, verify: Verify, witness: Option<Tail>) -> LogCopy<'a> {
        (self.verify, self.witness) = (verify, witness);
        self
    }

    /// Copies frames that the target lacks, unless the log is too `short`; returns its end. The
    /// target has them once [`LogCopy::keep`] gives the copied files their names.
    pub(super) fn extend(&mut self, short: Short<'_>) -> Result<Tail> {
        let seal = self.source.seal();
        if self.source.header(FIRST)?.previous != seal.first() {
            return Err(damaged(scan::start(seal).end, "the first segment", "another"));
        }
        self.there.tidy()?;
        let (mut number, mut seam) = (FIRST, None);
        if let Some(last) = self.last_there()? {
            if self.limit.is_some_and(|limit| last > limit.segment()) {
                return Err(self.other(format!("it continues in {}", file::file_name(last))));
            }
            while number < last {
                self.compare(number)?;
                number += 1;
            }
            // Frames are chained: when the last one is in the log, so are all before, even if their
            // bytes are damaged.
            let tail = self.seam(last, short)?;
            self.witness(tail)?;
            seam = Some(tail);
        } else {
            self.nothing_there(scan::start(seal))?;
        }
        let tail = loop {
            let tail = self.segment(number, seam.take(), short)?;
            let is_end = self.limit.is_some_and(|limit| tail.end >= limit);
            if is_end || !self.goes_on(tail)? {
                break tail;
            }
            number += 1;
        };
        Ok(tail)
    }

    /// Gives copied files their names, all at once for readers of the target if there is a witness
    /// that covers them; then copies again the segments that the target has in another form, or
    /// damaged.
    pub(super) fn keep(mut self, witness: Option<&Witness>, short: Short<'_>) -> Result<Copied> {
        self.name(witness)?;
        for number in std::mem::take(&mut self.outdated) {
            self.copy(number, short)?;
            self.name(witness)?;
        }
        // All is there: it is too late to stop.
        let _goes_on = (self.progress)(self.bytes_count, self.bytes_count);
        Ok(std::mem::take(&mut self.copied))
    }

    /// The last segment that the target has with a header; those behind it are copied again.
    fn last_there(&mut self) -> Result<Option<u32>> {
        let mut numbers = self.there.numbers()?;
        let mut damaged = None;
        while let Some(&last) = numbers.last() {
            match self.of_target(self.there.header(last)) {
                Err(error) if error.is_of_bytes() => {
                    self.mend(last, error.clone());
                    damaged = Some(error);
                    numbers.pop();
                }
                header => return header.map(|_| Some(last)),
            }
        }
        // Nothing shows that the target is of this log.
        damaged.map_or(Ok(None), Err)
    }

    fn mend(&mut self, number: u32, problem: Error) {
        self.copied.mended.push(Mended { file: file::file_name(number), problem });
    }

    /// Compares a segment behind which the target has others.
    fn compare(&mut self, number: u32) -> Result<()> {
        let compared = self.compared(number);
        let (end, problem) = match self.of_target(compared) {
            Ok(end) => (end, None),
            Err(error) if error.is_of_bytes() => (0, Some(error)),
            Err(error) => return Err(error),
        };
        if let Some(problem) = problem {
            self.mend(number, problem);
            self.outdated.push(number);
        } else if !self.is_alike(number)? {
            self.outdated.push(number);
        }
        self.count(end, 0)
    }

    /// Compares a segment, and verifies it when it is its turn; returns its end.
    fn compared(&mut self, number: u32) -> Result<u64> {
        let (here, there) = (self.source.header(number)?, self.there.header(number)?);
        let end = self.there.bytes_count(number)?;
        if here.previous != there.previous || !self.ends_at(number, end)? {
            let place = Position::new(number, 0);
            return Err(damaged(place, "the segment of the database", "another"));
        }
        let Verify { from, bytes } = self.verify;
        if number >= from && self.copied.verified_bytes < bytes {
            self.copied.verified_bytes += end;
            self.verify(number)?;
        } else if number >= from && self.copied.verify_next.is_none() {
            self.copied.verify_next = Some(number);
        }
        Ok(end)
    }

    /// Reads all of a segment that the target has.
    fn verify(&self, number: u32) -> Result<()> {
        let file = match self.there.segment(number)? {
            Segment::Plain(file) => file,
            Segment::Packed(pack) => return pack.pass(|_, _| Ok(())).map(drop),
        };
        let previous = self.there.header(number)?.previous;
        let mut passage = Passage::new(self.source.seal(), Tail::of_segment(number, previous));
        passage.read(&self.there, &*file, u64::MAX, |_, _| Ok(()))?;
        let tail = passage.tail();
        let is_whole = u64::from(tail.end.offset()) == self.there.length(&*file, number)?
            && self.source.header(number + 1)?.previous == tail.check;
        match is_whole {
            true => Ok(()),
            false => Err(damaged(tail.end, "the bytes of its check", "other bytes in a frame")),
        }
    }

    /// Checks that the target reaches its recorded end; frames that it has lost are copied again,
    /// if they are still here.
    fn witness(&mut self, tail: Tail) -> Result<()> {
        let Some(witness) = self.witness.filter(|witness| witness.end > tail.end) else {
            return Ok(());
        };
        let cut = ErrorKind::BackupCut { found: tail.end, expected: witness.end };
        let cut = Error::from(cut).at(self.target.path());
        if self.limit.is_some_and(|limit| limit < witness.end) {
            return Err(cut);
        }
        self.mend(tail.end.segment(), cut);
        Ok(())
    }

    /// Checks that the target, which has no segment, reaches its recorded end. Where no frame was
    /// before that end, the first segment is copied again all the same.
    fn nothing_there(&mut self, start: Tail) -> Result<()> {
        self.witness(start)?;
        if self.witness.is_some_and(|witness| witness.end == start.end) {
            self.mend(start.end.segment(), damaged(start.end, "the first segment", "none"));
        }
        Ok(())
    }

    /// Compares the last segment that the target has; returns the end of its frames.
    fn seam(&mut self, number: u32, short: Short<'_>) -> Result<Tail> {
        let previous = self.of_target(self.there.header(number))?.previous;
        let mut passage = Passage::new(self.source.seal(), Tail::of_segment(number, previous));
        let tail = match self.of_target(self.there.segment(number))? {
            Segment::Plain(file) => {
                passage.read(&self.there, &*file, u64::MAX, |_, _| Ok(()))?;
                passage.tail()
            }
            Segment::Packed(_) => self.end_of_pack(number, passage.tail())?,
        };
        let is_in_log = match tail.last {
            _ if self.limit.is_some_and(|limit| tail.end > limit) => false,
            Position::NONE => {
                self.source.exists(number)? && self.source.header(number)?.previous == previous
            }
            last => self.check_at(last)? == Some(tail.check),
        };
        match is_in_log {
            true => Ok(tail),
            false => Err(self.differs(number, short)),
        }
    }

    /// The end of the frames of the pack that the target has last: a backup was cut short behind
    /// it. One that is damaged is copied again.
    fn end_of_pack(&mut self, number: u32, start: Tail) -> Result<Tail> {
        let mut scan = Scan::new(&self.there, start);
        let broken = loop {
            match scan.next()? {
                Next::Frame(_) => {}
                Next::Nothing => break None,
                Next::Broken(error) => break Some(error),
            }
        };
        let tail = scan.tail();
        if let Some(problem) = broken {
            let problem = problem.at(self.target.path());
            self.mend(number, problem);
        }
        Ok(tail)
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
                self.source.seal().decode(&bytes)
            }
            Segment::Packed(pack) => match pack.frame(place.offset()) {
                Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => return Err(error),
                found => found.ok().flatten().map(|(header, _)| header),
            },
        };
        Ok(header.map(|header| header.check))
    }

    /// Copies a segment unless the target has it, with frames up to `seam` at least when that is in
    /// it; returns its end.
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
        if self.is_new {
            self.name(None)?;
        }
        let end = u64::from(tail.end.offset());
        self.count(end, end - there.min(end))?;
        Ok(tail)
    }

    fn count(&mut self, bytes: u64, new_bytes: u64) -> Result<()> {
        self.copied.bytes += bytes;
        self.copied.new_bytes += new_bytes;
        self.report(self.copied.bytes)
    }

    /// Reports the progress, and stops when that is requested. The progress never decreases: bytes
    /// behind the last frame are read but not counted, and some are read twice.
    fn report(&mut self, bytes: u64) -> Result<()> {
        let all = self.bytes_count;
        self.reported = self.reported.max(bytes.min(all));
        go_on(self.progress, self.reported, all)
    }

    /// Copies a segment, up to the end of the copy, and returns its end.
    fn copy(&mut self, number: u32, short: Short<'_>) -> Result<Tail> {
        match self.source.segment(number)? {
            Segment::Plain(file) => self.plain(number, &*file, short),
            Segment::Packed(pack) => {
                self.copied.trimmed_count += self.trimmed_count(number)?;
                if !self.source.exists(number + 1)? || self.limit_in(number).is_some() {
                    return self.cut(number, &pack, short);
                }
                self.packed(number, &pack)?;
                let check = self.source.header(number + 1)?.previous;
                let end = Position::new(number, pack.end());
                Ok(Tail { end, last: Position::NONE, check })
            }
        }
    }

    /// Returns how many versions of a segment the target has whole and the source with their
    /// headers alone: what retention takes from the target when it gets the pack. Of a segment that
    /// is damaged there, those before the damage count.
    fn trimmed_count(&mut self, number: u32) -> Result<u64> {
        if !self.there.exists(number)? {
            return Ok(0);
        }
        let start = Tail::of_segment(number, self.source.header(number)?.previous);
        let mut report = || go_on(self.progress, self.reported, self.bytes_count);
        let behind = Position::new(number + 1, 0);
        let (had, until) = whole_count(&self.there, start, behind, &mut report)?;
        if had == 0 {
            return Ok(0);
        }
        let (left, _) = whole_count(self.source, start, until, &mut report)?;
        Ok(had.saturating_sub(left))
    }

    fn plain(&mut self, number: u32, file: &dyn DiskFile, short: Short<'_>) -> Result<Tail> {
        let name = File { number, is_pack: false };
        let (path, mut tail) = (name.path(self.target), None);
        self.stage(name, |copy, to| {
            let (passed, read) = copy.read(number, file, short, |bytes, at| {
                let written = to.write_all_at(bytes, at);
                written.map_err(|error| Error::io("write", error).at(&path))
            })?;
            let end = u64::from(passed.end.offset());
            if read > end {
                let cut = to.set_length(end);
                cut.map_err(|error| Error::io("truncate", error).at(&path))?;
            }
            tail = Some(passed);
            Ok(end)
        })?;
        Ok(tail.expect("what is staged was read"))
    }

    /// Reads a segment that is not packed, up to the end of the copy, and returns the end of its
    /// frames, and of the bytes passed to `to`.
    fn read(
        &mut self,
        number: u32,
        file: &dyn DiskFile,
        short: Short<'_>,
        mut to: impl FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<(Tail, u64)> {
        let previous = self.source.header(number)?.previous;
        let limit = self.limit_in(number).unwrap_or(u64::MAX);
        let before = self.copied.bytes;
        let mut passage = Passage::new(self.source.seal(), Tail::of_segment(number, previous));
        let source = self.source;
        let read = passage.read(source, file, limit, |bytes, at| {
            self.report(before + at)?;
            to(bytes, at)
        })?;
        let tail = passage.tail();
        if u64::from(tail.end.offset()) != limit && !self.goes_on(tail)? {
            short(tail)?;
        }
        Ok((tail, read))
    }

    /// Verifies a segment from which the target's differs: if it is intact, the target is at fault.
    fn differs(&mut self, number: u32, short: Short<'_>) -> Error {
        let verified = self.source.exists(number).and_then(|exists| {
            if !exists {
                return Ok(());
            }
            match self.source.segment(number)? {
                Segment::Plain(file) => self.read(number, &*file, short, |_, _| Ok(())).map(drop),
                Segment::Packed(pack) => pack.pass(|_, _| Ok(())).map(drop),
            }
        });
        let other = || self.other(format!("it has another {}", file::file_name(number)));
        verified.err().unwrap_or_else(other)
    }

    fn packed(&mut self, number: u32, pack: &Pack) -> Result<()> {
        let file = File { number, is_pack: true };
        let path = file.path(self.target);
        let before = self.copied.bytes;
        let made = self.stage(file, |copy, to| {
            pack.pass(|bytes, at| {
                copy.report(before + at)?;
                let written = to.write_all_at(bytes, at);
                written.map_err(|error| Error::io("write", error).at(&path))
            })
        })?;
        match self.of_target(Pack::open(made, number, self.target.id()))?.is_same(pack) {
            true => Ok(()),
            false => Err(Error::damaged(pack::file_name(number), 0, "a pack", "another")),
        }
    }

    /// Copies a pack up to the limit. Behind it is a new segment, for nothing is added to a pack.
    fn cut(&mut self, number: u32, pack: &Pack, short: Short<'_>) -> Result<Tail> {
        let limit = self.limit_in(number).unwrap_or(u64::from(pack.end()));
        let mut tail = Tail::of_segment(number, pack.previous());
        let mut scan = Scan::new(self.source, tail);
        let (file, id, before) =
            (File { number, is_pack: true }, self.target.id(), self.copied.bytes);
        let failed = |error| Error::io("write", error).at(file.path(self.target));
        let made = self.stage(file, |copy, to| {
            let mut to = PackWriter::begin(to, number, id, pack.previous()).map_err(failed)?;
            while u64::from(tail.end.offset()) < limit {
                copy.report(before + u64::from(tail.end.offset()))?;
                let frame = match scan.next()? {
                    Next::Frame(frame) if frame.position == tail.end => frame,
                    Next::Broken(error) => return Err(error),
                    Next::Frame(_) | Next::Nothing => break,
                };
                let added = to.add(frame.position.offset(), scan.header(), &frame.body);
                added.map_err(failed)?;
                tail = scan.tail();
            }
            if u64::from(tail.end.offset()) != limit {
                short(tail)?;
            }
            to.finish().map_err(failed)
        })?;
        self.of_target(Pack::open(made, number, id))?;
        let next = File { number: number + 1, is_pack: false };
        let header = segment::encode(id, number + 1, tail.check);
        self.stage(next, |copy, to| {
            let written = to.write_all_at(&header, 0);
            written.map_err(|error| Error::io("write", error).at(next.path(copy.target)))?;
            Ok(header.len() as u64)
        })?;
        Ok(tail)
    }

    /// Makes a durable file of a segment, which gets its name later.
    fn stage(
        &mut self,
        file: File,
        fill: impl FnOnce(&mut Self, &dyn DiskFile) -> Result<u64>,
    ) -> Result<Arc<dyn DiskFile>> {
        let (disk, path) = (self.target.disk(), file.path(self.target));
        let mut bytes = 0;
        let made = stage_file(&**disk, &path, |to| {
            bytes = fill(self, to)?;
            Ok(())
        })?;
        // Nobody reads it soon, so it is in nobody's way.
        made.drop_cache();
        self.copied.written_bytes += bytes;
        self.staged.push_back(file);
        Ok(made)
    }

    /// Gives staged files their names, each in place of the target's file: all at once for readers,
    /// by the witness that covers them, or in order without one.
    fn name(&mut self, witness: Option<&Witness>) -> Result<()> {
        let Some(witness) = witness else {
            while let Some(&file) = self.staged.front() {
                file.keep(self.target)?;
                self.staged.pop_front();
            }
            return Ok(());
        };
        if self.staged.is_empty() {
            return Ok(());
        }
        sync_directory(&**self.target.disk(), &self.target.log())?;
        self.staged.clear();
        staged::commit(self.target, witness)
    }

    /// Returns whether the log continues in the next segment behind `tail`.
    fn goes_on(&self, tail: Tail) -> Result<bool> {
        let next = tail.end.segment() + 1;
        Ok(self.source.exists(next)? && self.source.header(next)?.previous == tail.check)
    }

    /// Returns whether the part of a segment to be copied has no frame at or behind `offset`.
    fn ends_at(&self, number: u32, offset: u64) -> Result<bool> {
        if let Some(limit) = self.limit_in(number) {
            return Ok(offset >= limit);
        }
        match self.source.segment(number)? {
            Segment::Plain(file) => {
                let mut bytes = [0; frame::HEADER_BYTES];
                let read = self.source.read(&*file, number, offset, &mut bytes)?;
                Ok(bytes[..read].iter().all(|&byte| byte == 0))
            }
            Segment::Packed(pack) => Ok(offset == u64::from(pack.end())),
        }
    }

    /// Returns whether the target has a segment in the same form as the source.
    fn is_alike(&self, number: u32) -> Result<bool> {
        let there = self.of_target(self.there.segment(number))?;
        Ok(match (self.source.segment(number)?, there) {
            (Segment::Plain(_), Segment::Plain(_)) => true,
            (Segment::Packed(here), Segment::Packed(there)) => here.is_same(&there),
            _ => false,
        })
    }

    /// Returns the offset at which the copy ends, if that is in this segment.
    fn limit_in(&self, number: u32) -> Option<u64> {
        let limit = self.limit.filter(|limit| limit.segment() == number)?;
        Some(u64::from(limit.offset()))
    }

    /// Names the target as the place of an error.
    fn of_target<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.at(self.target.path()))
    }

    /// Returns the error that the target is no beginning of the log.
    fn other(&self, found: String) -> Error {
        Error::from(ErrorKind::NotItsBackup { found }).at(self.target.path())
    }
}

impl Drop for LogCopy<'_> {
    fn drop(&mut self) {
        // After a failure these would only take space.
        for file in &self.staged {
            let _ = self.target.disk().remove(&temporary(&file.path(self.target)));
        }
    }
}

/// Reports the progress, and stops when that is requested.
fn go_on(progress: Progress<'_>, bytes: u64, all: u64) -> Result<()> {
    match progress(bytes, all) {
        true => Ok(()),
        false => Err(ErrorKind::Stopped.into()),
    }
}

/// Counts the versions of a segment that have their payloads, in frames that begin before `until`;
/// returns the count, and the end of the last frame that was read. Those before damage count.
fn whole_count(
    segments: &Segments,
    start: Tail,
    until: Position,
    report: &mut dyn FnMut() -> Result<()>,
) -> Result<(u64, Position)> {
    let whole = |frame: &Frame| -> Result<u64> {
        let mut count = 0;
        for record in records(&frame.body) {
            if let Record::Version(version) = record? {
                count += u64::from(version.decode(frame.position)?.payloads.is_some());
            }
        }
        Ok(count)
    };
    let mut scan = Scan::new(segments, start);
    let (mut count, mut end) = (0, start.end);
    loop {
        let more = match scan.next() {
            Ok(Next::Frame(frame)) if frame.position < until => whole(&frame),
            Err(error) => Err(error),
            _ => return Ok((count, end)),
        };
        match more {
            Ok(more) => count += more,
            Err(error) if error.is_of_bytes() => return Ok((count, end)),
            Err(error) => return Err(error),
        }
        end = scan.tail().end;
        report()?;
    }
}
