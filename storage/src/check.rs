//! The check of everything: every byte of the log read and verified, every record decoded and
//! linked to those it follows, and the index compared with what the log says.
//!
//! It reports and never stops at damage. It does not verify signatures, roots or admissions: that
//! is the verification of a lineage, which the crates above do.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::{
    AdmissionHash, EffectsHash, GlobalsHash, InputHash, NoncesHash, ObjectId, RefusalHash,
    VersionHash,
};
use object::header::HEADER_BYTES;

use crate::error::{Error, ErrorKind, Result};
use crate::index::Reading;
use crate::log::frame::damaged;
use crate::log::record::{CommitRecord, Record, decode_refusal, records};
use crate::log::scan::{self, Next, Scan};
use crate::log::{Frame, Position, Tail, segment};
use crate::row::Row;
use crate::store::{Inner, ObjectInfo, Store};

/// Findings that a report lists; it counts them all.
const FINDINGS_MAX: usize = 1000;
/// Rows of the index that are compared at a time.
const LIST_PAGE: usize = 4096;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Frames of the log.
    pub frame_count: u64,
    /// Objects.
    pub object_count: u64,
    /// Versions.
    pub version_count: u64,
    /// Refusals.
    pub refusal_count: u64,
    /// The damage, in the order of the log, then of the index; the first 1,000.
    pub damage: Vec<Damage>,
    /// All damage, listed or not.
    pub damage_count: u64,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Damage(Error);

impl Damage {
    /// The finding as an error that names file, offset, expected and found where it is of bytes.
    pub fn error(&self) -> &Error {
        &self.0
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Report {
    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    fn find(&mut self, error: Error) {
        self.damage_count += 1;
        if self.damage.len() < FINDINGS_MAX {
            self.damage.push(Damage(error));
        }
    }
}

impl Store {
    /// Walks the log and the index as they are now; `progress` is told bytes of the log done and in
    /// all.
    ///
    /// # Errors
    ///
    /// Those of the file system that keep it from walking on; damage is in the report.
    pub fn check(&self, mut progress: impl FnMut(u64, u64)) -> Result<Report> {
        let inner = self.inner();
        inner.log.wait_durable(inner.log.tail().end)?;
        let heads = inner.heads.lock();
        let (end, unwritten) = (inner.log.tail(), heads.unwritten());
        let index = inner.index.reading()?;
        drop(heads);
        inner.log.wait_durable(end.end)?;
        let mut walk = Walk { inner, report: Report::default(), objects: HashMap::new() };
        if let Err(error) = inner.directory.check() {
            walk.report.find(error);
        }
        walk.log(end, &mut progress)?;
        walk.index(&unwritten, &index);
        let staged = walk.objects.values().filter(|seen| seen.staged).count();
        walk.report.object_count = (walk.objects.len() - staged) as u64;
        Ok(walk.report)
    }
}

/// What the log says of an object so far.
#[derive(Clone, Debug)]
struct Seen {
    hash: VersionHash,
    seq: u64,
    position: Position,
    refusal: RefusalHash,
    refusal_position: Position,
    refusal_count: u64,
    wake: Option<u64>,
    name: Option<String>,
    /// Being imported: no object yet.
    staged: bool,
}

struct Walk<'a> {
    inner: &'a Inner,
    report: Report,
    objects: HashMap<ObjectId, Seen>,
}

impl Walk<'_> {
    fn log(&mut self, end: Tail, progress: &mut impl FnMut(u64, u64)) -> Result<()> {
        let (segments, seal) = (self.inner.log.segments(), self.inner.log.seal());
        match segments.previous(segment::FIRST) {
            Ok(previous) if previous == seal.first() => {}
            Ok(_) => {
                let place = Position::new(segment::FIRST, 32);
                self.report.find(damaged(place, "the start of the log", "another check"));
            }
            Err(error) => self.report.find(error),
        }
        let all = self.bytes_before(end.end)?;
        let mut scan = Scan::new(segments, seal, scan::start(seal));
        while scan.tail().end < end.end {
            let next = match scan.next()? {
                Next::Frame(frame) => Some(frame),
                Next::Broken(error) => {
                    self.report.find(error);
                    scan.resume()?.map(|(_, frame)| frame)
                }
                Next::Nothing => {
                    self.report.find(damaged(scan.tail().end, "a frame", "none"));
                    scan.resume()?.map(|(_, frame)| frame)
                }
            };
            let Some(frame) = next.filter(|frame| frame.position < end.end) else { break };
            self.report.frame_count += 1;
            self.report.bytes += frame.body.len() as u64;
            if let Err(error) = self.frame(&frame) {
                self.report.find(place(error, frame.position));
            }
            progress(self.report.bytes.min(all), all);
        }
        progress(all, all);
        Ok(())
    }

    fn bytes_before(&self, end: Position) -> Result<u64> {
        let segments = self.inner.log.segments();
        let mut bytes = u64::from(end.offset());
        for number in segments.numbers()?.into_iter().filter(|&number| number < end.segment()) {
            bytes += segments.bytes_count(number)?;
        }
        Ok(bytes)
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        for record in records(&frame.body) {
            match record? {
                Record::Blob(..) => {}
                Record::Commit(content) => self.commit(frame, content, false)?,
                Record::StagedCommit(content) => self.commit(frame, content, true)?,
                Record::Refusal(content) | Record::StagedRefusal(content) => {
                    self.refusal(frame, content)?;
                }
                Record::Name(id, name) => {
                    self.seen(frame, id, "a named object")?.name = Some(name.to_string());
                }
                Record::Adoption(adoption) => {
                    let seen = self.seen(frame, adoption.object, "an imported object")?;
                    let expected = (seen.position, seen.refusal_position, seen.refusal_count);
                    let found = (adoption.head, adoption.refusal, adoption.refusal_count);
                    seen.staged = false;
                    if expected != found {
                        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
                        return Err(damaged(frame.position, expected, found));
                    }
                }
            }
        }
        Ok(())
    }

    fn seen(&mut self, frame: &Frame, id: ObjectId, expected: &str) -> Result<&mut Seen> {
        let seen = self.objects.get_mut(&id);
        seen.ok_or_else(|| damaged(frame.position, expected, format!("{id}, which is none")))
    }

    fn commit(&mut self, frame: &Frame, content: &[u8], staged: bool) -> Result<()> {
        let record = CommitRecord::decode(content, frame.position)?;
        let commit = Commit::decode(record.commit)?;
        let header = &commit.header;
        let hash = VersionHash::of(&record.commit[..HEADER_BYTES]);
        let (seq, wake, position) = (header.seq, header.wake, frame.position);
        validate_payloads(&commit, record.nonces, position)?;
        self.report.version_count += 1;
        if seq == 0 {
            let (refusal, refusal_position, refusal_count, name) = Default::default();
            let seen = Seen {
                hash,
                seq,
                position,
                refusal,
                refusal_position,
                refusal_count,
                wake,
                name,
                staged,
            };
            // An import that failed may have left staged records; a later one stages them anew.
            let before = self.objects.insert(hash.into(), seen);
            return match before.is_none_or(|before| before.staged) {
                true => Ok(()),
                false => Err(damaged(position, "a new object", ObjectId::from(hash))),
            };
        }
        let seen = self.seen(frame, header.object, "a version of an object")?;
        let expected = (seen.hash, seen.seq + 1, seen.refusal, seen.position);
        let found = (header.parent, seq, header.refusals, record.notes.parent);
        (seen.hash, seen.seq, seen.position, seen.wake) = (hash, seq, position, wake);
        match expected == found {
            true => Ok(()),
            false => Err(damaged(position, format!("{expected:?}"), format!("{found:?}"))),
        }
    }

    fn refusal(&mut self, frame: &Frame, content: &[u8]) -> Result<()> {
        let (previous, refusal) = decode_refusal(content, frame.position)?;
        self.report.refusal_count += 1;
        let seen = self.seen(frame, refusal.object, "a refusal of an object")?;
        let expected = (seen.hash, seen.refusal, seen.refusal_position);
        let found = (refusal.parent, refusal.previous, previous);
        (seen.refusal, seen.refusal_position) = (refusal.hash(), frame.position);
        seen.refusal_count += 1;
        match expected == found {
            true => Ok(()),
            false => Err(damaged(frame.position, format!("{expected:?}"), format!("{found:?}"))),
        }
    }

    /// Compares the rows in memory and in the index with what the log says.
    fn index(&mut self, unwritten: &HashMap<ObjectId, Arc<Row>>, index: &Reading) {
        let objects = std::mem::take(&mut self.objects);
        for (id, seen) in objects.iter().filter(|(_, seen)| !seen.staged) {
            let row = match unwritten.get(id) {
                Some(row) => Ok(Some(Row::clone(row))),
                None => index.row(*id),
            };
            match row {
                Ok(Some(row)) => {
                    let same = (row.head().hash, row.head().position, row.wake)
                        == (seen.hash, seen.position, seen.wake)
                        && (row.refusal, row.refusal_position, row.refusal_count)
                            == (seen.refusal, seen.refusal_position, seen.refusal_count)
                        && row.name == seen.name;
                    if !same {
                        self.report.find(index_differs(format!("the row of {id}")));
                    }
                }
                Ok(None) => self.report.find(index_differs(format!("no row of {id}"))),
                Err(error) => self.report.find(error),
            }
            if let (Some(name), false) = (&seen.name, unwritten.contains_key(id))
                && index.name(name).ok().flatten() != Some(*id)
            {
                self.report.find(index_differs(format!("the name {name:?}")));
            }
        }
        if let Err(error) = self.rows(&objects, index) {
            self.report.find(error);
        }
        self.objects = objects;
    }

    /// Walks the index's own rows: each is of an object, and has its wake.
    fn rows(&mut self, objects: &HashMap<ObjectId, Seen>, index: &Reading) -> Result<()> {
        let wakes: HashSet<_> = index.wakes_until(u64::MAX)?.into_iter().collect();
        let (mut last, mut wake_count) = (None, 0);
        loop {
            let rows: Vec<ObjectInfo> = index.list(last, LIST_PAGE)?;
            let Some(end) = rows.last() else { break };
            last = Some(end.id);
            for row in rows {
                if objects.get(&row.id).is_none_or(|seen| seen.staged) {
                    self.report.find(index_differs(format!("a row of {}, no object", row.id)));
                }
                if let Some(wake) = row.wake {
                    wake_count += 1;
                    if !wakes.contains(&(wake, row.id)) {
                        self.report.find(index_differs(format!("no wake of {}", row.id)));
                    }
                }
            }
        }
        if wake_count != wakes.len() {
            self.report.find(index_differs(format!("{} wakes, not {wake_count}", wakes.len())));
        }
        Ok(())
    }
}

/// That a commit's payloads are those that its header names.
fn validate_payloads(commit: &Commit<'_>, nonces: Option<&[u8]>, at: Position) -> Result<()> {
    let header = &commit.header;
    let holds = InputHash::of(commit.input) == header.input
        && EffectsHash::of(commit.effects) == header.effects
        && AdmissionHash::of(commit.admission) == header.admission
        && commit.globals.is_none_or(|globals| GlobalsHash::of(globals) == header.globals)
        && nonces.is_none_or(|nonces| NoncesHash::of(nonces) == header.nonces);
    if holds { Ok(()) } else { Err(damaged(at, "the payloads of the header", "others")) }
}

fn index_differs(found: String) -> Error {
    ErrorKind::IndexDamaged(format!("it does not match the log: {found}")).into()
}

/// A record that does not decode is damage of its frame.
fn place(error: Error, at: Position) -> Error {
    match error.kind() {
        ErrorKind::Object(cause) => damaged(at, "records of an object", cause),
        _ => error,
    }
}
