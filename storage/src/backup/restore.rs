//! Restoring: a new database out of a backup, up to a moment.
//!
//! It does not know how bytes are copied.
//!
//! Invariant: the new directory is a database once all is in it, and not before; the old one is
//! not changed.

use std::path::Path;
use std::sync::Arc;

use object::header::Header;
use object::input::Input;

use crate::backup::copy::{Copied, LogCopy};
use crate::directory::{Access, Directory};
use crate::error::{Error, Result};
use crate::log::frame::Seal;
use crate::log::record::{Record, decode_refusal, records};
use crate::log::scan::{self, Next, Scan};
use crate::log::segment::{FIRST, Segments};
use crate::log::{Frame, Position, Tail};
use crate::options::Options;
use crate::recovery::is_torn;

/// Up to where a database is restored. Every frame is restored whole or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Until {
    /// To the end.
    End,
    /// To the place where a frame starts, as [`Store::append`](crate::Store::append) gave it, or
    /// ends, as in [`Stats`](crate::Stats) and [`BackupReport`](crate::BackupReport).
    Position(Position),
    /// To before the first frame that has a version or a refusal with a later time, in milliseconds
    /// since 1970-01-01 UTC. Times are those that hosts stamped. Under one clock that goes forwards
    /// they ascend along the log, and the result is what there was at that time. When a clock was
    /// set back, or an import brought an object from a host whose clock was ahead, frames behind
    /// the first later one are not restored, though their times may be earlier.
    Time(u64),
}

/// What was restored.
#[derive(Clone, Copy, Debug)]
pub struct RestoreReport {
    /// All before is in the new database.
    pub end: Position,
    /// Bytes of log.
    pub bytes: u64,
}

/// Makes a database in `to` out of the one in `from`.
pub(crate) fn restore(
    options: &Options,
    from: &Path,
    to: &Path,
    until: Until,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RestoreReport> {
    let disk = &options.disk;
    // It is only read, also where it could be written.
    let access = Access { read_only: true, ..options.access() };
    let source = Directory::open_as(Arc::clone(disk), from, access)?;
    let segments = Segments::new(Arc::clone(disk), source.log(), source.id()).read_only(true);
    let seal = Seal::new(source.id());
    let of_source = |error: Error| error.at(from);
    let limit = match until {
        Until::End => None,
        Until::Position(position) => Some(position),
        Until::Time(time) => first_later(&segments, seal, time).map_err(of_source)?,
    };
    let target = Directory::begin(Arc::clone(disk), to, source.id())?;
    // What an earlier attempt left may have been cut elsewhere.
    Segments::new(Arc::clone(disk), target.log(), target.id()).remove_from(FIRST)?;
    let copied = LogCopy::new(&segments, (&target, true), limit, progress)
        .and_then(|copy| copy.run(&|tail| end(&segments, seal, tail, limit)));
    let (tail, Copied { bytes, .. }) = copied.map_err(of_source)?;
    target.finish()?;
    Ok(RestoreReport { end: tail.end, bytes })
}

/// The first frame that has a later time.
fn first_later(segments: &Segments, seal: Seal, time: u64) -> Result<Option<Position>> {
    let mut scan = Scan::new(segments, seal, scan::start(seal));
    // What is broken is met again by the copy.
    while let Next::Frame(frame) = scan.next()? {
        if is_later(&frame, time)? {
            return Ok(Some(frame.position));
        }
    }
    Ok(None)
}

fn is_later(frame: &Frame, time: u64) -> Result<bool> {
    for record in records(&frame.body) {
        let found = match record? {
            Record::Version(version) => Header::decode(version.header_bytes(frame.position)?)?.time,
            Record::Refusal(_, content) => {
                let (_, refusal) = decode_refusal(content, frame.position)?;
                Input::decode(&refusal.input)?.time
            }
            Record::Blob(_)
            | Record::Name(..)
            | Record::Adoption(_)
            | Record::Retention(..)
            | Record::Sent(_)
            | Record::Taken(_)
            | Record::Outbox(_)
            | Record::Moved(..) => {
                continue;
            }
        };
        if found > time {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Decides about a log whose frames end at `tail`, and not at the limit: a torn end is left out, as
/// it is when a database is opened.
fn end(segments: &Segments, seal: Seal, tail: Tail, limit: Option<Position>) -> Result<()> {
    let mut scan = Scan::new(segments, seal, tail);
    match scan.next()? {
        // The limit is in it.
        Next::Frame(_) => {}
        Next::Nothing => drop(is_torn(segments, &mut scan, None)?),
        Next::Broken(error) => drop(is_torn(segments, &mut scan, Some(error))?),
    }
    let frame = |limit| format!("{limit}; the last before it ends at {}", tail.end);
    limit.map_or(Ok(()), |limit| Err(Error::not_found("frame that ends at", frame(limit))))
}
