//! The aftermath of broken frames: the lost versions. One fault of the log has many consequences,
//! since records that follow an unreadable frame do not follow those that were read.
//!
//! The log is read again, for the sequence numbers of versions alone, of as many objects at a time
//! as fit into the stated memory. This module does not know the cause of other findings: they may
//! follow from the broken frames, or not.
//!
//! Invariant: a version that is reported as lost is in no readable frame.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use object::hash::ObjectId;
use object::header::Header;

use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::Frame;
use crate::log::segment::Tail;
use crate::record::version::VersionBytes;
use crate::record::{Record, decode_refusal, records};
use crate::rows::index::Reading;
use crate::rows::info::ObjectInfo;
use crate::store::Inner;
use crate::upkeep::check::part::{Load, Part, Parts};
use crate::upkeep::check::pass;
use crate::upkeep::check::report::{FINDINGS_MAX, LostVersions, is_new};
use crate::upkeep::progress::Progress;

/// Rows of the index that are read at a time.
const LIST_PAGE: usize = 4096;
/// Bytes that the newest version of an object takes.
const NEWEST_BYTES: usize = 112;

/// The consequences of broken frames.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// A broken place each, in the order of the log; the first 1,000.
    pub(super) faults: Vec<Error>,
    pub(super) fault_count: u64,
    pub(super) lost: Lost,
    /// The number of times the log was read.
    pub(super) pass_count: u64,
}

/// The lost versions.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Lost versions by object and first version; the first 1,000.
    listed: BTreeMap<(ObjectId, u64), LostVersions>,
    pub(super) count: u64,
}

impl Lost {
    fn add(&mut self, lost: LostVersions) {
        assert!(lost.first <= lost.last, "some version is lost");
        self.count += 1;
        self.listed.insert((lost.object, lost.first), lost);
        if self.listed.len() > FINDINGS_MAX {
            self.listed.pop_last();
        }
    }

    fn take(&mut self, lost: Lost) {
        let count = self.count + lost.count;
        lost.listed.into_values().for_each(|lost| self.add(lost));
        self.count = count;
    }

    /// Returns the listed ones, with their names.
    pub(super) fn named(self, index: &Reading<'_>) -> Result<Vec<LostVersions>> {
        let named = |lost: LostVersions| {
            let name = match index.row(lost.object) {
                Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => None,
                row => row?.and_then(|row| row.name),
            };
            Ok(LostVersions { name, ..lost })
        };
        self.listed.into_values().map(named).collect()
    }
}

/// The newest versions of the objects of a part, as far as the log was read.
struct Newest {
    load: Load,
    of: HashMap<ObjectId, u64>,
    lost: Lost,
}

impl Aftermath {
    /// Reads the log up to `end`; the result is empty when no frame of it is broken.
    pub(super) fn read(
        inner: &Inner,
        index: &Reading<'_>,
        end: Tail,
        progress: Progress<'_>,
    ) -> Result<Aftermath> {
        let all = inner.log.segments().bytes_before(end.end)?;
        let (mut aftermath, mut parts, mut part) = (Aftermath::default(), Parts::new(), Part::ALL);
        loop {
            let (passed, left) = (aftermath.pass_count, parts.left(part));
            let mut newest = Newest::new(part, inner.options.check_bytes_max);
            aftermath.pass(inner, &mut newest, end, all, &mut |done| {
                let before = all.saturating_mul(passed).saturating_add(done);
                let behind = (all - done).saturating_add(all.saturating_mul(left));
                progress(before, before.saturating_add(behind))
            })?;
            aftermath.pass_count += 1;
            if aftermath.fault_count == 0 {
                return Ok(aftermath);
            }
            if !newest.load.is_full() {
                newest.compare(index)?;
                aftermath.lost.take(std::mem::take(&mut newest.lost));
            }
            match parts.next(&newest.load) {
                Some(next) => part = next,
                None => return Ok(aftermath),
            }
        }
    }

    fn pass(
        &mut self,
        inner: &Inner,
        newest: &mut Newest,
        end: Tail,
        all: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<()> {
        let is_first = self.pass_count == 0;
        newest.load.read = (0, all);
        pass::frames(inner, end, |found| {
            match found {
                Ok(frame) => newest.frame(&frame),
                Err(error) if error.is_of_resources() => return Err(error),
                Err(error) if is_first => self.fault(error),
                Err(error) if is_new(&error, self.faults.iter(), self.fault_count)? => {
                    self.fault(error);
                }
                Err(_) => {}
            }
            if !progress(newest.load.read.0) {
                return Err(ErrorKind::Stopped.into());
            }
            Ok(match newest.load.is_full() && !is_first {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        progress(all);
        Ok(())
    }

    fn fault(&mut self, error: Error) {
        self.fault_count += 1;
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(error);
        }
    }
}

impl Newest {
    fn new(part: Part, bytes_max: usize) -> Newest {
        let (of, lost) = Default::default();
        Newest { load: Load::new(part, bytes_max), of, lost }
    }

    fn frame(&mut self, frame: &Frame) {
        let (done, all) = self.load.read;
        self.load.read.0 = (done + frame.body.len() as u64).min(all);
        for record in records(&frame.body).map_while(Result::ok) {
            match record {
                Record::Version(version) => self.version(version),
                Record::Refusal(_, content) => {
                    // A record of an unread object shows that the object existed.
                    if let Ok((_, refusal)) = decode_refusal(content, frame.position)
                        && self.load.has(&refusal.object.0)
                        && !self.of.contains_key(&refusal.object)
                    {
                        self.learn(refusal.object, 0);
                    }
                }
                _ => {}
            }
        }
    }

    fn version(&mut self, version: VersionBytes<'_>) {
        let Ok(header) = Header::decode(version.header_bytes()) else { return };
        let id = header.object_id();
        if !self.load.has(&id.0) {
            return;
        }
        let newest = self.of.get(&id).copied();
        let expected = newest.map_or(0, |newest| newest + 1);
        if header.seq > expected {
            let (first, last) = (expected, header.seq - 1);
            self.lost.add(LostVersions { object: id, name: None, first, last });
        }
        self.learn(id, header.seq);
    }

    fn learn(&mut self, id: ObjectId, seq: u64) {
        let before = self.of.insert(id, seq).map_or(0, |_| NEWEST_BYTES);
        let of_one = if self.of.len() <= 1 { usize::MAX } else { 0 };
        if self.load.weigh(before, NEWEST_BYTES, of_one) {
            (self.of, self.lost) = Default::default();
        }
    }

    /// Looks in the index for versions newer than the log's, as far as the index can be read.
    fn compare(&mut self, index: &Reading<'_>) -> Result<()> {
        let mut last = self.load.part.before();
        loop {
            let rows: Vec<ObjectInfo> = match index.list(last, LIST_PAGE) {
                Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => return Ok(()),
                rows => rows?,
            };
            let Some(end) = rows.last() else { return Ok(()) };
            last = Some(end.id);
            for info in rows {
                if !self.load.has(&info.id.0) {
                    return Ok(());
                }
                let newest = self.of.get(&info.id).copied();
                if newest.is_none_or(|newest| newest < info.seq) {
                    let first = newest.map_or(0, |newest| newest + 1);
                    let (object, last) = (info.id, info.seq);
                    self.lost.add(LostVersions { object, name: None, first, last });
                }
            }
        }
    }
}
