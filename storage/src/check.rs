//! The check of everything: every byte of the log read and verified, every record decoded and
//! linked to those it follows, and the index compared with what the log says.
//!
//! It reports and never stops at damage. It does not verify signatures, roots or admissions: that
//! is the verification of a lineage, which the crates above do.

mod aftermath;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use object::hash::{AdmissionHash, EffectsHash, GlobalsHash, InputHash, LedgerHash, ObjectId};
use object::header::Kind;

use crate::check::aftermath::Aftermath;
pub use crate::check::aftermath::LostVersions;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Reading;
use crate::log::frame::{damaged, placed};
use crate::log::record::{
    Adoption, BlobHash, Notes, Record, Staged, VersionBytes, VersionRecord, decode_refusal, records,
};
use crate::log::scan::{self, Next, Scan};
use crate::log::{Frame, Position, Tail, segment};
use crate::loss::RecordedLoss;
use crate::messages::{Dead, Fate, MessageId, Sent, Taking, validate_sending};
use crate::names::DoubtfulName;
use crate::outbox::{OutboxPlace, validate_mark};
use crate::pages::PageTable;
use crate::retention::Retention;
use crate::row::{NewVersion, Row};
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
    /// What the log lost earlier and somebody accepted, oldest first: it is no damage.
    pub losses: Vec<RecordedLoss>,
    /// The damage, in the order of the log, then of the index; the first 1,000.
    pub damage: Vec<Damage>,
    /// All damage, listed or not.
    pub damage_count: u64,
    /// Names that can be taken for another object's id, which is no damage: the first 1,000.
    pub doubtful_names: Vec<DoubtfulName>,
    /// What is lost with frames that are broken; the first 1,000 objects.
    pub lost: Vec<LostVersions>,
    /// All that is lost, listed or not.
    pub lost_count: u64,
    /// Findings that are not listed, for they may all follow from the broken frames.
    pub consequence_count: u64,
    /// The first failure of the file system among it.
    failure: Option<Error>,
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
        if error.is_of_resources() {
            // That is no damage, and what was not read is not known to be whole.
            self.failure.get_or_insert(error);
            return;
        }
        self.damage_count += 1;
        if error.is_of_file_system() {
            self.failure.get_or_insert_with(|| error.clone());
        }
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
    /// Those of the file system that keep it from walking on; damage is in the report, and so is
    /// what could not be read otherwise. After either the store is to be opened again.
    pub fn check(&self, mut progress: impl FnMut(u64, u64)) -> Result<Report> {
        let inner = self.inner();
        let mut report = inner.heed(self.walk(&mut progress))?;
        if !report.is_sound() {
            inner.heed(explain(inner, &mut report))?;
        }
        let failed = report.failure.clone().map_or(inner.index.health(), Err);
        if let Err(error) = &failed
            && error.is_of_resources()
        {
            return Err(error.clone());
        }
        // It is in the report, or came to nothing there.
        drop(inner.heed(failed));
        Ok(report)
    }

    fn walk(&self, progress: &mut impl FnMut(u64, u64)) -> Result<Report> {
        let inner = self.inner();
        inner.log.wait_durable(inner.log.tail().end)?;
        let heads = inner.heads.lock();
        let (end, unwritten) = (inner.log.tail(), heads.unwritten());
        let messages: BTreeMap<_, _> = heads.messages().collect();
        let unwritten_dead = heads.unwritten_dead(None, usize::MAX);
        let outboxes: Vec<_> = heads.outboxes().map(|(name, at)| (name.clone(), at)).collect();
        let losses = heads.losses().to_vec();
        let index = inner.index.reading()?;
        drop(heads);
        inner.log.wait_durable(end.end)?;
        let mut walk = Walk::new(inner);
        if let Err(error) = inner.directory.check() {
            walk.report.find(error);
        }
        walk.log(end, progress)?;
        walk.report.object_count = walk.objects.len() as u64;
        if inner.retention()? != walk.retention.unwrap_or_default() {
            walk.report.find(index_differs("the rule of retention".to_string()));
        }
        if messages != walk.messages {
            walk.report.find(index_differs("the messages on their way".to_string()));
        }
        if losses != walk.report.losses {
            walk.report.find(index_differs("the losses on record".to_string()));
        }
        if !walk.outboxes.iter().map(|(name, at)| (name.clone(), *at)).eq(outboxes) {
            walk.report.find(index_differs("the outboxes".to_string()));
        }
        let Walk { mut report, objects, blobs, dead, .. } = walk;
        match self.doubtful_names(FINDINGS_MAX) {
            Ok(names) => report.doubtful_names = names,
            Err(error) => report.find(error),
        }
        let known = index.dead_letters(None, usize::MAX).map(|mut known| {
            for (id, dead) in unwritten_dead {
                match dead {
                    Some(dead) => known.insert(id, dead),
                    None => known.remove(&id),
                };
            }
            known == dead
        });
        match known {
            Ok(true) => {}
            Ok(false) => report.find(index_differs("the dead letters".to_string())),
            Err(error) => report.find(error),
        }
        let objects = objects.into_iter().collect();
        Comparison { objects, blobs, unwritten, index }.run(&mut report);
        Ok(report)
    }
}

/// Puts the broken frames of the log in place of all that follows from them.
fn explain(inner: &Inner, report: &mut Report) -> Result<()> {
    let end = inner.log.tail();
    inner.log.wait_durable(end.end)?;
    let aftermath = Aftermath::read(inner, &inner.index.reading()?, end)?;
    let Aftermath { faults, lost, lost_count, .. } = aftermath;
    if faults.is_empty() {
        return Ok(());
    }
    let apart = report.damage.iter().filter(|damage| Aftermath::is_apart(&damage.0));
    let found: Vec<Damage> = apart.cloned().chain(faults.into_iter().map(Damage)).collect();
    let count = found.len() as u64;
    report.consequence_count = report.damage_count.saturating_sub(count);
    report.damage_count = count;
    report.damage = found.into_iter().take(FINDINGS_MAX).collect();
    (report.lost, report.lost_count) = (lost, lost_count);
    Ok(())
}

/// What the log says so far.
struct Walk<'a> {
    inner: &'a Inner,
    report: Report,
    objects: HashMap<ObjectId, Row>,
    /// Objects that are being imported.
    staged: HashMap<ObjectId, Row>,
    /// Where each blob is: more than once when two appends had it at the same time.
    blobs: HashMap<BlobHash, Vec<Position>>,
    /// The rule of objects without one of their own.
    retention: Option<Retention>,
    /// The first version that is kept whole, where earlier ones were trimmed.
    kept_from: HashMap<ObjectId, u64>,
    /// The messages on their way, and those that came to nothing.
    messages: BTreeMap<MessageId, Sent>,
    dead: BTreeMap<MessageId, Dead>,
    /// Where the outboxes are.
    outboxes: BTreeMap<String, OutboxPlace>,
    /// Messages of the frame so far.
    message_count: u32,
}

impl<'a> Walk<'a> {
    fn new(inner: &'a Inner) -> Walk<'a> {
        let (report, objects, staged, blobs, retention, kept_from) = Default::default();
        let (messages, dead, outboxes, message_count) = Default::default();
        Walk {
            inner,
            report,
            objects,
            staged,
            blobs,
            retention,
            kept_from,
            messages,
            dead,
            outboxes,
            message_count,
        }
    }

    fn log(&mut self, end: Tail, progress: &mut impl FnMut(u64, u64)) -> Result<()> {
        let (segments, seal) = (self.inner.log.segments(), self.inner.log.seal());
        match segments.header(segment::FIRST) {
            Ok(header) if header.previous == seal.first() => {}
            Ok(_) => {
                let place = Position::new(segment::FIRST, 32);
                self.report.find(damaged(place, "the start of the log", "another check"));
            }
            Err(error) => self.report.find(error),
        }
        let all = self.bytes_before(end.end)?;
        let mut scan = Scan::new(segments, seal, scan::start(seal));
        while scan.tail().end < end.end {
            let broken = match scan.next() {
                Ok(Next::Frame(frame)) => Ok(frame),
                // The last segment may have no frame yet, but old bytes in a file that is used
                // again.
                Ok(Next::Nothing | Next::Broken(_)) if scan.tail().end == end.end => break,
                Ok(Next::Broken(error)) | Err(error) => Err(error),
                Ok(Next::Nothing) => Err(damaged(scan.tail().end, "a frame", "none")),
            };
            let next = match broken {
                Ok(frame) => Some(frame),
                Err(error) => {
                    self.report.find(error);
                    scan.resume()?
                }
            };
            let Some(frame) = next.filter(|frame| frame.position < end.end) else { break };
            self.report.frame_count += 1;
            self.report.bytes += frame.body.len() as u64;
            self.message_count = 0;
            for record in records(&frame.body) {
                let checked = record.and_then(|record| self.record(&frame, record));
                if let Err(error) = checked {
                    self.report.find(placed(error, frame.position));
                }
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

    fn record(&mut self, frame: &Frame, record: Record<'_>) -> Result<()> {
        match record {
            Record::Blob(blob) => {
                self.blobs.entry(blob.hash()).or_default().push(frame.position);
                Ok(())
            }
            Record::Version(version) => self.version(frame, version),
            Record::Refusal(staged, content) => self.refusal(frame, staged, content),
            Record::Name(id, name) => {
                self.row(frame, Staged::No, id)?.name = Some(name.to_string());
                Ok(())
            }
            Record::Adoption(adoption) => self.adopt(frame, &adoption),
            Record::Retention(None, retention) => {
                self.retention = Some(retention);
                Ok(())
            }
            Record::Retention(Some(id), retention) => {
                self.row(frame, Staged::No, id)?.retention = Some(retention);
                Ok(())
            }
            Record::Sent(sending) => {
                let sent = sending.messages(frame.position, &mut self.message_count);
                self.messages.extend(sent);
                validate_sending(&self.inner.log, frame.position, &sending)
            }
            Record::Taken(taking) => self.taken(frame, taking),
            Record::Moved(id, moved) => {
                self.row(frame, Staged::No, id)?.moved = moved;
                Ok(())
            }
            Record::Outbox(mark) => {
                validate_mark(&mark, frame.position)?;
                match mark.place {
                    Some(place) => self.outboxes.insert(mark.name, place),
                    None => self.outboxes.remove(&mark.name),
                };
                Ok(())
            }
            Record::Loss(loss) => {
                let position = frame.position;
                self.report.losses.push(RecordedLoss { position, ..loss });
                Ok(())
            }
        }
    }

    fn taken(&mut self, frame: &Frame, Taking { id, fate }: Taking) -> Result<()> {
        let none = |what| damaged(frame.position, what, "none");
        match fate {
            Fate::Delivered | Fate::Dead(_) => {
                let sent = self.messages.remove(&id);
                let sent = sent.ok_or_else(|| none("a message on its way"))?;
                if let Fate::Dead(why) = fate {
                    self.dead.insert(id, Dead { sent, why });
                }
            }
            Fate::Again | Fate::Dropped => {
                let dead = self.dead.remove(&id).ok_or_else(|| none("a dead letter"))?;
                if fate == Fate::Again {
                    self.messages.insert(id, dead.sent);
                }
            }
        }
        Ok(())
    }

    fn rows(&mut self, staged: Staged) -> &mut HashMap<ObjectId, Row> {
        match staged {
            Staged::Yes => &mut self.staged,
            Staged::No => &mut self.objects,
        }
    }

    fn row(&mut self, frame: &Frame, staged: Staged, id: ObjectId) -> Result<&mut Row> {
        let row = self.rows(staged).get_mut(&id);
        row.ok_or_else(|| damaged(frame.position, "a record of an object", format!("one of {id}")))
    }

    /// The row that a record is about; none when it was staged behind what is not there: by an
    /// import that failed, since the object had gone on here. What is staged may go on where the
    /// object is, when it comes back. That what is adopted was staged whole, its adoption tells.
    fn row_before(
        &mut self,
        frame: &Frame,
        staged: Staged,
        id: ObjectId,
        fits: impl Fn(&Row) -> bool,
    ) -> Result<Option<&mut Row>> {
        if staged == Staged::Yes && !self.staged.get(&id).is_some_and(&fits) {
            self.staged.remove(&id);
            let here = self.objects.get(&id).filter(|row| fits(row)).cloned();
            let Some(here) = here else { return Ok(None) };
            self.staged.insert(id, here);
        }
        self.row(frame, staged, id).map(Some)
    }

    fn version(&mut self, frame: &Frame, version: VersionBytes<'_>) -> Result<()> {
        let staged = version.staged;
        let record = version.decode(frame.position)?;
        validate_payloads(&record, frame.position)?;
        let (header, hash, changes) = (&record.header, record.hash, record.changes()?);
        self.report.version_count += 1;
        // What was trimmed had what its notes say that it had.
        let has =
            |is_here, noted| is_here || (record.kept_from.is_some() && noted == frame.position);
        let ledger = has(record.ledger.is_some(), record.notes.ledger);
        let globals = has(record.globals.is_some(), record.notes.globals);
        let is_upgrade = header.kind == Kind::Upgrade;
        let base = record.notes.base.filter(|_| is_upgrade || header.seq == 0);
        let version = NewVersion { header, hash, changes: &changes, base, ledger, globals };
        let id = if header.seq == 0 { hash.into() } else { header.object };
        let kept_from = self.kept_from.entry(id).or_default();
        *kept_from = record.kept_from.unwrap_or_default().max(*kept_from);
        let pages_are_known = header.seq >= *kept_from;
        let (mut row, expected) = if header.seq == 0 {
            // An import that failed leaves staged records; a later one stages them anew.
            if staged == Staged::No && self.objects.contains_key(&ObjectId::from(hash)) {
                return Err(damaged(frame.position, "a new object", ObjectId::from(hash)));
            }
            Row::begin(&version)
        } else {
            let found = (header.parent, header.seq, header.refusals, header.refusal_count);
            let fits = |row: &Row| {
                (row.head().hash, row.seq() + 1, row.refusal, row.refusal_count) == found
            };
            let Some(row) = self.row_before(frame, staged, header.object, fits)? else {
                return Ok(());
            };
            let expected = (row.head().hash, row.seq() + 1, row.refusal, row.refusal_count);
            if expected != found {
                let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
                return Err(damaged(frame.position, expected, found));
            }
            let mut row = row.clone();
            let none = PageTable::default();
            let pages = if is_upgrade { &none } else { row.known_pages() };
            if pages_are_known && !pages.is_followed_by(&changes) {
                let expected = "runs over the pages as they were written last";
                return Err(damaged(frame.position, expected, "others"));
            }
            let notes = row.extend(&version);
            (row, notes)
        };
        row.settle(frame.position);
        // A table behind an upgrade names the base image, and when there is one is not ours to say.
        let is_named = row.upgraded && record.notes.table.is_some();
        let expected = Notes { base: base.or(is_named.then_some(row.base)), ..expected };
        self.rows(staged).insert(id, row);
        compare_notes(expected, &record.notes, pages_are_known, frame.position)
    }

    fn refusal(&mut self, frame: &Frame, staged: Staged, content: &[u8]) -> Result<()> {
        let (previous, refusal) = decode_refusal(content, frame.position)?;
        self.report.refusal_count += 1;
        let fits = |row: &Row| (row.head().hash, row.refusal) == (refusal.parent, refusal.previous);
        let Some(row) = self.row_before(frame, staged, refusal.object, fits)? else {
            return Ok(());
        };
        let expected = (row.head().hash, row.refusal, row.refusal_position);
        let found = (refusal.parent, refusal.previous, previous);
        row.refuse(&refusal, frame.position);
        match expected == found {
            true => Ok(()),
            false => Err(damaged(frame.position, format!("{expected:?}"), format!("{found:?}"))),
        }
    }

    fn adopt(&mut self, frame: &Frame, adoption: &Adoption) -> Result<()> {
        let staged = self.staged.remove(&adoption.object);
        let mut row = staged.ok_or_else(|| {
            damaged(frame.position, "staged records of the object", adoption.object)
        })?;
        row.moved = false;
        if let Some(before) = self.objects.get(&adoption.object) {
            row.stay(before);
        }
        let expected = (row.head().position, row.refusal_position, row.refusal, row.refusal_count);
        let found =
            (adoption.head, adoption.refusal, adoption.refusal_hash, adoption.refusal_count);
        self.objects.insert(adoption.object, row);
        match expected == found {
            true => Ok(()),
            false => Err(damaged(frame.position, format!("{expected:?}"), format!("{found:?}"))),
        }
    }
}

/// That the notes beside a version lead to where things are. When a record has a table is the
/// writer's choice, so a table is compared only where there is one, and where all pages are known.
fn compare_notes(
    expected: Notes,
    found: &Notes,
    pages_are_known: bool,
    at: Position,
) -> Result<()> {
    let (mut expected, mut found) = (expected.settled(at), found.clone());
    if expected.table.is_none() || found.table.is_none() || !pages_are_known {
        (expected.table, found.table) = (None, None);
    }
    match expected == found {
        true => Ok(()),
        false => Err(damaged(at, format!("{expected:?}"), format!("{found:?}"))),
    }
}

/// The rows in memory and in the index, beside what the log says.
struct Comparison<'a> {
    /// In their order, so that the index is read in the same order each time.
    objects: BTreeMap<ObjectId, Row>,
    blobs: HashMap<BlobHash, Vec<Position>>,
    unwritten: HashMap<ObjectId, Arc<Row>>,
    index: Reading<'a>,
}

impl Comparison<'_> {
    fn run(&self, report: &mut Report) {
        for (id, logged) in &self.objects {
            let row = match self.unwritten.get(id) {
                Some(row) => Ok(Some(Row::clone(row))),
                None => self.index.row(*id),
            };
            match row {
                Ok(Some(row))
                    if Row { pages: None, ..row.clone() }
                        == Row { pages: None, ..logged.clone() } => {}
                Ok(_) => report.find(index_differs(format!("the row of {id}"))),
                Err(error) => report.find(error),
            }
        }
        for compared in [self.rows(report), self.names(report), self.blobs(report)] {
            if let Err(error) = compared {
                report.find(error);
            }
        }
    }

    /// Walks the index's rows: each is of an object, and has its wake.
    fn rows(&self, report: &mut Report) -> Result<()> {
        let wakes: HashSet<_> = self.index.wakes_until(u64::MAX)?.into_iter().collect();
        let (mut last, mut wake_count) = (None, 0);
        loop {
            let rows: Vec<ObjectInfo> = self.index.list(last, LIST_PAGE)?;
            let Some(end) = rows.last() else { break };
            last = Some(end.id);
            for row in rows {
                if !self.objects.contains_key(&row.id) {
                    report.find(index_differs(format!("a row of {}, no object", row.id)));
                }
                if let Some(wake) = row.wake.filter(|_| !row.moved) {
                    wake_count += 1;
                    if !wakes.contains(&(wake, row.id)) {
                        report.find(index_differs(format!("no wake of {}", row.id)));
                    }
                }
            }
        }
        if wake_count != wakes.len() {
            report.find(index_differs(format!("{} wakes, not {wake_count}", wakes.len())));
        }
        Ok(())
    }

    fn names(&self, report: &mut Report) -> Result<()> {
        let names: BTreeMap<String, ObjectId> = self.index.names()?.into_iter().collect();
        for (name, id) in &names {
            let logged = self.objects.get(id).and_then(|row| row.name.as_ref());
            if logged != Some(name) {
                report.find(index_differs(format!("the name {name:?}")));
            }
        }
        for (id, row) in self.objects.iter().filter(|(id, _)| !self.unwritten.contains_key(id)) {
            if let Some(name) = row.name.as_ref().filter(|name| names.get(*name) != Some(id)) {
                report.find(index_differs(format!("no name {name:?}")));
            }
        }
        Ok(())
    }

    fn blobs(&self, report: &mut Report) -> Result<()> {
        let indexed: HashMap<Vec<u8>, Position> = self.index.blobs()?.into_iter().collect();
        let mut known = 0;
        for (hash, positions) in &self.blobs {
            let Some(position) = indexed.get(&hash.key()[..]) else { continue };
            known += 1;
            if !positions.contains(position) {
                report.find(index_differs(format!("the place of {hash:?}")));
            }
        }
        if known != indexed.len() {
            report.find(index_differs(format!("{} blobs, not {known}", indexed.len())));
        }
        // Every object that the index has needs its blobs there.
        let rows = self.objects.iter().filter(|(id, _)| !self.unwritten.contains_key(id));
        let needed = rows.flat_map(|(_, row)| {
            [BlobHash::Code(row.code), BlobHash::Policy(row.policy), BlobHash::Base(row.base)]
        });
        for hash in needed.collect::<HashSet<_>>() {
            if !indexed.contains_key(&hash.key()[..]) {
                report.find(index_differs(format!("no place of {hash:?}")));
            }
        }
        Ok(())
    }
}

/// That a commit's payloads are those that its header names.
fn validate_payloads(record: &VersionRecord<'_>, at: Position) -> Result<()> {
    let header = &record.header;
    let holds =
        record.payloads.is_none_or(|payloads| {
            InputHash::of(payloads.input) == header.input
                && EffectsHash::of(payloads.effects) == header.effects
                && AdmissionHash::of(payloads.admission) == header.admission
        }) && record.globals.is_none_or(|globals| GlobalsHash::of(globals) == header.globals)
            && record.ledger.is_none_or(|ledger| LedgerHash::of(ledger) == header.ledger);
    if holds { Ok(()) } else { Err(damaged(at, "the payloads of the header", "others")) }
}

fn index_differs(found: String) -> Error {
    ErrorKind::IndexDamaged(format!("it does not match the log: {found}")).into()
}
