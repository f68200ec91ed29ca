//! What is lost with broken frames: one fault of the log has many consequences, for what follows a
//! frame that cannot be read does not follow what was read.
//!
//! The log is read once more, for the seqs of versions alone. It does not know how other findings
//! came about: they may follow from the broken frames, or not.
//!
//! Invariant: a version that is called lost is in no frame that can be read.

use std::collections::HashMap;

use object::hash::ObjectId;
use object::header::Header;

use crate::error::{Error, ErrorKind, Result};
use crate::index::Reading;
use crate::log::frame::damaged;
use crate::log::record::{Record, VersionBytes, decode_refusal, records};
use crate::log::scan::{self, Next, Scan};
use crate::log::{Frame, Position, Tail};
use crate::store::{Inner, ObjectInfo};

/// Objects that are listed; all are counted.
const LISTED_MAX: usize = 1000;
/// Rows of the index that are read at a time.
const LIST_PAGE: usize = 4096;

/// Versions of an object that were in frames that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVersions {
    /// The object.
    pub object: ObjectId,
    /// Its name, if the index has it.
    pub name: Option<String>,
    /// The first version that is lost.
    pub first: u64,
    /// The last version of these, at least as far as the index knows.
    pub last: u64,
}

/// What broken frames come to.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// A broken place each.
    pub(super) faults: Vec<Error>,
    /// In the order of the log, then of the index; the first 1,000.
    pub(super) lost: Vec<LostVersions>,
    pub(super) lost_count: u64,
    /// The newest version that was read of each object.
    newest: HashMap<ObjectId, u64>,
}

impl Aftermath {
    /// Reads the log up to `end`; all is empty when no frame of it is broken.
    pub(super) fn read(inner: &Inner, index: &Reading<'_>, end: Tail) -> Result<Aftermath> {
        let mut aftermath = Aftermath::default();
        aftermath.log(inner, end)?;
        if !aftermath.faults.is_empty() {
            aftermath.compare(index)?;
        }
        Ok(aftermath)
    }

    fn log(&mut self, inner: &Inner, end: Tail) -> Result<()> {
        let (segments, seal) = (inner.log.segments(), inner.log.seal());
        let mut scan = Scan::new(segments, seal, scan::start(seal));
        while scan.tail().end < end.end {
            let fault = match scan.next() {
                Ok(Next::Frame(frame)) => {
                    self.frame(&frame);
                    continue;
                }
                Ok(Next::Nothing | Next::Broken(_)) if scan.tail().end == end.end => break,
                Ok(Next::Broken(error)) | Err(error) => error,
                Ok(Next::Nothing) => damaged(scan.tail().end, "a frame", "none"),
            };
            self.faults.push(fault);
            match scan.resume()?.filter(|frame| frame.position < end.end) {
                Some(frame) => self.frame(&frame),
                None => break,
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) {
        for record in records(&frame.body).map_while(Result::ok) {
            match record {
                Record::Version(version) => self.version(frame.position, version),
                Record::Refusal(_, content) => {
                    // One of an object that was not read shows that there was one.
                    if let Ok((_, refusal)) = decode_refusal(content, frame.position) {
                        self.newest.entry(refusal.object).or_default();
                    }
                }
                _ => {}
            }
        }
    }

    fn version(&mut self, at: Position, version: VersionBytes<'_>) {
        let header = version.header_bytes(at).ok().and_then(|bytes| Header::decode(bytes).ok());
        let Some(header) = header else { return };
        let id = if header.seq == 0 { header.hash().into() } else { header.object };
        let newest = self.newest.insert(id, header.seq);
        let expected = newest.map_or(0, |newest| newest + 1);
        if header.seq > expected {
            self.lose(LostVersions {
                object: id,
                name: None,
                first: expected,
                last: header.seq - 1,
            });
        }
    }

    fn lose(&mut self, lost: LostVersions) {
        self.lost_count += 1;
        if self.lost.len() < LISTED_MAX {
            self.lost.push(lost);
        }
    }

    /// Looks in the index for what is newer than what was read, and for names.
    fn compare(&mut self, index: &Reading<'_>) -> Result<()> {
        let mut last = None;
        loop {
            let rows: Vec<ObjectInfo> = index.list(last, LIST_PAGE)?;
            let Some(end) = rows.last() else { return Ok(()) };
            last = Some(end.id);
            for info in rows {
                for lost in self.lost.iter_mut().filter(|lost| lost.object == info.id) {
                    lost.name.clone_from(&info.name);
                }
                let newest = self.newest.get(&info.id).copied();
                if newest.is_none_or(|newest| newest < info.seq) {
                    self.lose(LostVersions {
                        object: info.id,
                        name: info.name,
                        first: newest.map_or(0, |newest| newest + 1),
                        last: info.seq,
                    });
                }
            }
        }
    }

    /// Whether a finding is of something else than the records of the log and the index.
    pub(super) fn is_apart(error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Damaged { file, .. } => !file.starts_with("log/"),
            ErrorKind::IndexDamaged(_) => false,
            _ => true,
        }
    }
}

impl std::fmt::Display for LostVersions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LostVersions { object, name, first, last } = self;
        match first == last {
            true => write!(f, "version {first} of {object}")?,
            false => write!(f, "versions {first} to {last} of {object}")?,
        }
        name.as_ref().map_or(Ok(()), |name| write!(f, " ({name:?})"))
    }
}
