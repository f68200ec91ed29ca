//! The walk: folds the log's records for a part of the objects in one pass.
//!
//! The first pass also examines entries that do not belong to one object. This module does not know
//! the index.
//!
//! Invariant: the findings do not depend on how objects are divided.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use object::hash::{AdmissionHash, EffectsHash, GlobalsHash, HASH_BYTES, InputHash, ObjectId};
use object::header::{Header, Kind};
use object::secret::Secret;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, damaged, placed};
use crate::log::segment;
use crate::log::segment::Tail;
use crate::read::messages::validate_sending;
use crate::read::version::{read_secret, validate_secret};
use crate::record::event::Event;
use crate::record::link::Link;
use crate::record::loss::RecordedLoss;
use crate::record::mark::{OutboxMark, OutboxPlace};
use crate::record::message::{Dead, MessageId, Sent};
use crate::record::name::{NameRow, Naming};
use crate::record::page::PageChange;
use crate::record::retention::Retention;
use crate::record::version::{Notes, Staged, VersionBytes, VersionRecord};
use crate::record::{Adoption, BlobHash, Record, decode_refusal, leaf, records};
use crate::rows::pages::PageTable;
use crate::rows::projector::{Projector, Rows, Tables};
use crate::rows::row::{NewVersion, Row};
use crate::store::Inner;
use crate::upkeep::check::evidence::Leaves;
use crate::upkeep::check::part::{Load, Part};
use crate::upkeep::check::pass;
use crate::upkeep::check::report::Report;
use crate::upkeep::progress::Progress;
use crate::write::outbox::validate_mark;

/// The bytes that a row takes beside its own: its place in a map, the id there and in other maps,
/// the first kept version, the secret, and the overhead of allocations.
const ROW_BYTES: usize = 640;
/// Bytes that the place of a blob takes.
const BLOB_BYTES: usize = 160;
/// The bytes that a message takes in memory, with the note of its receiver.
const MESSAGE_BYTES: usize = 200;
/// The bytes that the row of a name takes beside the name.
const NAME_ROW_BYTES: usize = 160;

/// The log's state so far.
pub(super) struct Walk<'a> {
    inner: &'a Inner,
    /// True if entries that do not belong to one object are examined, too.
    is_first: bool,
    pub(super) load: Load,
    /// The totals, and the findings that do not belong to one object.
    pub(super) report: Report,
    /// The rule of objects without one of their own.
    pub(super) retention: Option<Retention>,
    /// The places of the outboxes.
    pub(super) outboxes: BTreeMap<String, OutboxPlace>,
    /// The frame that is read.
    at: Position,
    /// The evidence tree, in the first pass, as long as every leaf could be read.
    pub(super) leaves: Option<Leaves<'a>>,
    pub(super) kept: Kept,
}

/// The log's state of the objects of a part.
#[derive(Default)]
pub(super) struct Kept {
    /// The rows in the order of ids, so that the index is read in the same order each time.
    pub(super) objects: BTreeMap<ObjectId, Row>,
    /// Objects that are being imported.
    staged: BTreeMap<ObjectId, Row>,
    /// The first version that is kept whole, where earlier ones were trimmed.
    pub(super) kept_from: BTreeMap<ObjectId, u64>,
    /// The secrets of objects, from the version on whose salts were needed last.
    secrets: HashMap<ObjectId, Secret>,
    /// The places of each blob: more than one when two appends had it at the same time.
    pub(super) blobs: HashMap<BlobHash, Vec<Position>>,
    /// The messages on their way, and those that came to nothing.
    pub(super) messages: BTreeMap<MessageId, Sent>,
    pub(super) dead: BTreeMap<MessageId, Dead>,
    /// The rows of names, each with the last frame before its own that is about the name.
    pub(super) names: BTreeMap<String, (NameRow, Position)>,
    mail: Mail,
    /// The findings about these objects.
    pub(super) found: Report,
}

impl Kept {
    /// Bytes that are of one object: all when there is only one thing.
    fn of_one(&self) -> usize {
        let rows = self.objects.len() + self.staged.len();
        let names = self.names.len();
        match rows + names + self.blobs.len() + self.messages.len() + self.dead.len() {
            0 | 1 => usize::MAX,
            _ => self.mail.most.map_or(0, |(_, bytes)| bytes),
        }
    }
}

/// Bytes that the messages and dead letters of each receiver take.
#[derive(Default)]
struct Mail {
    of: HashMap<ObjectId, usize>,
    /// The receiver that has most, or had.
    most: Option<(ObjectId, usize)>,
}

impl Mail {
    fn weigh(&mut self, to: ObjectId, before: usize, after: usize) {
        let bytes = self.of.entry(to).or_default();
        assert!(*bytes >= before, "what is let go was weighed");
        *bytes = *bytes - before + after;
        if self.most.is_none_or(|(most, of_most)| most == to || *bytes > of_most) {
            self.most = Some((to, *bytes));
        }
        if *bytes == 0 {
            self.of.remove(&to);
        }
    }
}

impl<'a> Walk<'a> {
    /// The first pass, which compares the evidence tree.
    pub(super) fn new(inner: &'a Inner, leaves: Leaves<'a>) -> Walk<'a> {
        Walk { is_first: true, leaves: Some(leaves), ..Walk::again(inner, Part::ALL) }
    }

    /// Starts another pass, over objects alone.
    pub(super) fn again(inner: &'a Inner, part: Part) -> Walk<'a> {
        let load = Load::new(part, inner.options.check_bytes_max);
        let (is_first, at) = (false, Position::NONE);
        let (report, retention, outboxes, leaves, kept) = Default::default();
        Walk { inner, is_first, load, report, retention, outboxes, at, leaves, kept }
    }

    pub(super) fn log(&mut self, end: Tail, progress: Progress<'_>) -> Result<()> {
        self.start();
        let inner = self.inner;
        let all = inner.log.segments().bytes_before(end.end)?;
        self.load.read = (0, all);
        pass::frames(inner, end, |found| {
            match found {
                Ok(frame) => self.frame(&frame, all),
                Err(error) => {
                    self.leaves = None;
                    self.find(error);
                }
            }
            if !progress(self.load.read.0, all) {
                return Err(ErrorKind::Stopped.into());
            }
            // A part that is too large is restarted, except for entries that are examined once.
            Ok(match self.load.is_full() && !self.is_first {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        progress(all, all);
        Ok(())
    }

    fn start(&mut self) {
        let segments = self.inner.log.segments();
        match segments.header(segment::FIRST) {
            Ok(header) if header.previous == segments.seal().first() => {}
            Ok(_) => {
                let place = Position::new(segment::FIRST, 32);
                self.find(damaged(place, "the start of the log", "another check"));
            }
            Err(error) => self.find(error),
        }
    }

    /// Reports a finding that does not belong to one object. A later pass finds the same as the
    /// first, and more only if something failed or changed since.
    fn find(&mut self, error: Error) {
        self.report.find(error);
    }

    fn frame(&mut self, frame: &Frame, all: u64) {
        self.report.frame_count += 1;
        self.report.bytes += frame.body.len() as u64;
        self.load.read.0 = self.report.bytes.min(all);
        self.at = frame.position;
        let mut projector = Projector::new(self.at);
        for record in records(&frame.body) {
            let record = record.and_then(|record| self.add_leaves(&record).map(|()| record));
            if record.is_err() {
                self.leaves = None;
            }
            let checked = record.and_then(|record| self.record(&mut projector, record));
            if let Err(error) = checked {
                self.find(placed(error, self.at));
            }
        }
    }

    /// Adds the leaves of a record to the evidence tree, while that is known.
    fn add_leaves(&mut self, record: &Record<'_>) -> Result<()> {
        let Some(leaves) = &mut self.leaves else { return Ok(()) };
        for leaf in leaf::of_record(record, self.at)? {
            leaves.push(self.at, leaf);
        }
        Ok(())
    }

    /// Takes in a record. An error belongs to no object: findings about one are noted with it.
    fn record(&mut self, projector: &mut Projector, record: Record<'_>) -> Result<()> {
        match record {
            Record::Blob(blob) => {
                let hash = blob.hash();
                if self.load.has(&hash.key()[1..]) {
                    self.kept.blobs.entry(hash).or_default().push(self.at);
                    self.weigh(0, BLOB_BYTES);
                }
            }
            Record::Version(version) => self.version(version)?,
            Record::Refusal(staged, content) => self.refusal(staged, content)?,
            Record::Adoption(adoption) if self.has(adoption.object) => {
                let adopted = self.adopt(&adoption);
                self.note(adopted);
            }
            Record::Adoption(_) => {}
            Record::Event(event) => {
                let valid = self.validate(&event);
                if let Event::Name(naming) = &event {
                    self.naming(naming);
                }
                projector.apply(event, self)?;
                valid?;
            }
        }
        Ok(())
    }

    /// Checks what an event says of the records in its frame; no pass but the first has to.
    fn validate(&self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Sent(sending) if self.is_first => {
                validate_sending(&self.inner.log, self.at, sending)
            }
            _ => Ok(()),
        }
    }

    /// Checks that an object gets a name that nobody has, or loses one that it has, and that the
    /// record leads to the one before it.
    fn naming(&mut self, naming: &Naming<'_>) {
        let (at, is_bound, name) = (self.at, naming.is_bound, &*naming.name);
        if self.load.has(&name_key(name)) {
            let known = self.kept.names.get(name).copied();
            let holder = known.and_then(|(row, _)| row.holder);
            let before = match known {
                Some((row, before)) if row.at == at => before,
                known => known.map_or(Position::NONE, |(row, _)| row.at),
            };
            let expected = ((!is_bound).then_some(naming.object), naming.before);
            if expected != (holder, before) {
                let (expected, found) = (format!("{:?}", (holder, before)), format!("{naming:?}"));
                self.note(Err(damaged(at, format!("a name as it was, {expected}"), found)));
            }
            let after = NAME_ROW_BYTES + name.len();
            let row = (naming.row(at), before);
            let replaced = self.kept.names.insert(name.to_string(), row);
            self.weigh(replaced.map_or(0, |_| after), after);
        }
        if self.has(naming.object)
            && let Some(row) = self.kept.objects.get(&naming.object)
        {
            let expected = (!is_bound).then_some(name);
            if row.name.as_deref() != expected {
                let expected = format!("an object with the name {expected:?}");
                let found = format!("{:?}", row.name);
                self.note(Err(damaged(at, expected, found).of(naming.object)));
            }
        }
    }

    /// Returns whether entries of an object are kept in this pass.
    fn has(&self, id: ObjectId) -> bool {
        self.load.has(&id.0)
    }

    /// Notes a finding about an object of the part.
    fn note(&mut self, found: Result<()>) {
        if let Err(error) = found {
            self.kept.found.find(placed(error, self.at));
        }
    }

    /// Notes how much is kept where there was something else; lets all go when it is too much.
    fn weigh(&mut self, before: usize, after: usize) {
        if self.load.weigh(before, after, self.kept.of_one()) {
            self.kept = Kept::default();
        }
    }

    /// Notes the same of messages and dead letters of a receiver.
    fn weigh_mail(&mut self, to: ObjectId, before: usize, after: usize) {
        self.kept.mail.weigh(to, before, after);
        self.weigh(before, after);
    }

    fn rows(&mut self, staged: Staged) -> &mut BTreeMap<ObjectId, Row> {
        match staged {
            Staged::Yes => &mut self.kept.staged,
            Staged::No => &mut self.kept.objects,
        }
    }

    fn row(&mut self, staged: Staged, id: ObjectId) -> Result<&mut Row> {
        let at = self.at;
        let row = self.rows(staged).get_mut(&id);
        row.ok_or_else(|| damaged(at, "a record of an object", format!("one of {id}")))
    }

    fn put_row(&mut self, staged: Staged, id: ObjectId, row: Row) {
        let after = row_bytes(&row);
        let before = self.rows(staged).insert(id, row);
        self.weigh(before.as_ref().map_or(0, row_bytes), after);
    }

    fn take_staged(&mut self, id: ObjectId) -> Option<Row> {
        let row = self.kept.staged.remove(&id);
        self.weigh(row.as_ref().map_or(0, row_bytes), 0);
        row
    }

    /// Returns whether the row that a record follows exists. It does not when the record was staged
    /// behind a missing one: by an import that failed, because the object had continued here.
    /// Staged records may continue the object's present row, when it comes back. Whether all
    /// records were staged is checked at their adoption.
    fn is_followed(&mut self, staged: Staged, id: ObjectId, fits: impl Fn(&Row) -> bool) -> bool {
        if staged == Staged::Yes && !self.kept.staged.get(&id).is_some_and(&fits) {
            self.take_staged(id);
            let here = self.kept.objects.get(&id).filter(|row| fits(row)).cloned();
            let Some(here) = here else { return false };
            self.put_row(Staged::Yes, id, here);
        }
        // The new row may have been too much.
        !self.load.is_full()
    }

    fn version(&mut self, version: VersionBytes<'_>) -> Result<()> {
        if !self.is_first {
            // Other objects' versions need not be decoded again, and the first pass has reported a
            // record without a header.
            let header = Header::decode(version.header_bytes());
            if !header.is_ok_and(|header| self.has(header.object_id())) {
                return Ok(());
            }
        }
        let record = version.decode(self.at)?;
        validate_globals(&record, self.at)?;
        let changes = record.changes()?;
        self.report.version_count += 1;
        if self.has(record.header.object_id()) {
            let followed = self.follow(version.staged, &record, &changes);
            self.note(followed);
        }
        Ok(())
    }

    /// Takes in the next version of an object.
    fn follow(
        &mut self,
        staged: Staged,
        record: &VersionRecord<'_>,
        changes: &[PageChange],
    ) -> Result<()> {
        let at = self.at;
        let (header, hash, id) = (&record.header, record.hash, record.header.object_id());
        // Before trimming, the record had the parts that its notes name.
        let has = |is_here, noted| is_here || (record.kept_from.is_some() && noted == at);
        let ledger = has(record.ledger.is_some(), record.notes.ledger);
        let globals = has(record.globals.is_some(), record.notes.globals);
        let is_upgrade = header.kind == Kind::Upgrade;
        let base = record.notes.base.filter(|_| is_upgrade || header.seq == 0);
        let secret = record.notes.secret.as_deref();
        let version = NewVersion { header, hash, changes, base, secret, ledger, globals };
        let pages_are_known = header.seq >= self.kept_from(id, record);
        let (mut row, expected) = if header.seq == 0 {
            // An import that failed leaves staged records; a later one stages them anew.
            if staged == Staged::No && self.kept.objects.contains_key(&id) {
                return Err(damaged(at, "a new object", id));
            }
            Row::begin(&version)
        } else {
            let found = (header.parent, header.seq, header.refusals, header.refusal_count);
            let end = |row: &Row| {
                (Some(row.head().hash), row.seq() + 1, row.refusal_hash(), row.refusal_count)
            };
            if !self.is_followed(staged, id, |row| end(row) == found) {
                return Ok(());
            }
            let row = self.row(staged, id)?;
            let expected = end(row);
            if expected != found {
                let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
                return Err(damaged(at, expected, found));
            }
            row.require_open(at)?;
            let mut row = row.clone();
            let none = PageTable::default();
            let pages = if is_upgrade { &none } else { row.known_pages() };
            if pages_are_known && !pages.is_followed_by(changes) {
                let expected = "runs over the pages as they were written last";
                return Err(damaged(at, expected, "others"));
            }
            let notes = row.extend(&version);
            (row, notes)
        };
        let part = take_ledger(&mut row, record, pages_are_known, at);
        row.settle(at);
        let payloads = self.validate_payloads(record, row.first());
        self.note(payloads);
        // A table behind an upgrade names the base image, and when there is one is not ours to say.
        let is_named = row.upgraded && record.notes.table.is_some();
        let expected = Notes { base: base.or(is_named.then_some(row.base)), ..expected };
        self.put_row(staged, id, row);
        compare_notes(expected, &record.notes, pages_are_known, at)?;
        part
    }

    /// Checks that the payloads of a version, of the object with this genesis, are those that its
    /// header names; and in the genesis, that the secret is the object's.
    fn validate_payloads(&mut self, record: &VersionRecord<'_>, genesis: Link) -> Result<()> {
        let (header, at) = (&record.header, self.at);
        if let Some(secret) = record.notes.secret.as_deref() {
            validate_secret(secret, header, at)?;
            self.kept.secrets.insert(header.object_id(), secret.clone());
        }
        let Some(payloads) = record.payloads else { return Ok(()) };
        let Some(secret) = self.secret(header.object_id(), header.seq, genesis)? else {
            return Ok(());
        };
        let salts = secret.version_salts();
        let holds = InputHash::of(salts.input, payloads.input) == header.input
            && EffectsHash::of(salts.effects, payloads.effects) == header.effects
            && AdmissionHash::of(salts.admission, payloads.admission) == header.admission;
        if holds { Ok(()) } else { Err(damaged(at, "the payloads of the header", "others")) }
    }

    /// Returns the secret of an object from version `seq` on; none where the genesis has another,
    /// which was found there.
    fn secret(&mut self, id: ObjectId, seq: u64, genesis: Link) -> Result<Option<&Secret>> {
        let Some(known) = self.kept.secrets.get_mut(&id) else { return Ok(None) };
        if known.from() > seq {
            // An import that failed left records of later versions.
            *known = read_secret(&self.inner.log, genesis)?;
        }
        *known = known.since(seq)?;
        Ok(Some(known))
    }

    /// Returns the first version of an object that is kept whole, as far as a record of it shows.
    fn kept_from(&mut self, id: ObjectId, record: &VersionRecord<'_>) -> u64 {
        if let Some(from) = record.kept_from {
            let known = self.kept.kept_from.entry(id).or_default();
            *known = from.max(*known);
        }
        self.kept.kept_from.get(&id).copied().unwrap_or_default()
    }

    fn refusal(&mut self, staged: Staged, content: &[u8]) -> Result<()> {
        let at = self.at;
        let (notes, refusal) = decode_refusal(content, at)?;
        self.report.refusal_count += 1;
        let id = refusal.object;
        if !self.has(id) {
            return Ok(());
        }
        let fits =
            |row: &Row| (row.head().hash, row.refusal_hash()) == (refusal.parent, refusal.previous);
        if !self.is_followed(staged, id, fits) {
            return Ok(());
        }
        let row = match self.row(staged, id) {
            Ok(row) => row,
            Err(error) => {
                self.note(Err(error));
                return Ok(());
            }
        };
        let expected = (row.head().hash, row.refusal_hash(), row.refusal_notes());
        let found = (refusal.parent, refusal.previous, notes);
        let (seq, count, genesis) = (row.seq() + 1, row.refusal_count, row.first());
        if let Err(error) = row.require_open(at) {
            self.note(Err(error));
            return Ok(());
        }
        row.refuse(&refusal, at);
        if expected != found {
            let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
            self.note(Err(damaged(at, expected, found)));
        }
        let salt = self.secret(id, seq, genesis).map(|it| it.map(|it| it.refusal_salt(count)));
        let verified = salt.and_then(|salt| Ok(salt.map_or(Ok(()), |it| refusal.verify(it))?));
        self.note(verified);
        Ok(())
    }

    fn adopt(&mut self, adoption: &Adoption) -> Result<()> {
        let at = self.at;
        let id = adoption.object;
        let staged = self.take_staged(id);
        let row = staged.ok_or_else(|| damaged(at, "staged records of the object", id))?;
        let row = row.adopted(self.kept.objects.get(&id));
        let expected = (row.seq(), row.head(), row.refusal, row.refusal_count);
        let Adoption { seq, head, refusal, refusal_count, .. } = *adoption;
        let found = (seq, head, refusal, refusal_count);
        self.put_row(Staged::No, id, row);
        match expected == found {
            true => Ok(()),
            false => Err(damaged(at, format!("{expected:?}"), format!("{found:?}"))),
        }
    }
}

impl Rows for Walk<'_> {
    type Tables = Self;

    fn tables(&mut self) -> &mut Self {
        self
    }

    fn change(&mut self, id: ObjectId, change: impl FnOnce(&mut Row)) -> Result<()> {
        if !self.has(id) {
            return Ok(());
        }
        match self.row(Staged::No, id) {
            Ok(row) => {
                let before = row_bytes(row);
                change(row);
                let after = row_bytes(row);
                self.weigh(before, after);
            }
            Err(error) => self.note(Err(error)),
        }
        Ok(())
    }

    fn take_dead(&mut self, id: MessageId) -> Result<Option<Dead>> {
        if !self.has(id.to) {
            return Ok(None);
        }
        let dead = self.kept.dead.remove(&id);
        match &dead {
            Some(dead) => self.weigh_mail(id.to, MESSAGE_BYTES + dead.why.len(), 0),
            None => self.note(Err(damaged(self.at, "a dead letter", "none"))),
        }
        Ok(dead)
    }
}

impl Tables for Walk<'_> {
    /// Does nothing: the walk has put it when it checked the record.
    fn put_name(&mut self, _: &str, _: NameRow) {}

    fn put_retention(&mut self, rule: Retention) {
        self.retention = Some(rule);
    }

    fn send(&mut self, id: MessageId, sent: Sent) {
        if self.has(id.to) {
            self.kept.messages.insert(id, sent);
            self.weigh_mail(id.to, 0, MESSAGE_BYTES);
        }
    }

    fn take(&mut self, id: MessageId) -> Option<Sent> {
        if !self.has(id.to) {
            return None;
        }
        let sent = self.kept.messages.remove(&id);
        match sent {
            Some(_) => self.weigh_mail(id.to, MESSAGE_BYTES, 0),
            None => self.note(Err(damaged(self.at, "a message on its way", "none"))),
        }
        sent
    }

    fn put_dead(&mut self, id: MessageId, dead: Dead) {
        let bytes = MESSAGE_BYTES + dead.why.len();
        self.kept.dead.insert(id, dead);
        self.weigh_mail(id.to, 0, bytes);
    }

    fn mark(&mut self, mark: OutboxMark) {
        if let Err(error) = validate_mark(&mark, self.at) {
            return self.find(error);
        }
        match mark.place {
            Some(place) => self.outboxes.insert(mark.name, place),
            None => self.outboxes.remove(&mark.name),
        };
    }

    fn put_loss(&mut self, loss: RecordedLoss) {
        self.report.losses.push(loss);
    }
}

/// Returns the hash by which names are divided into parts.
pub(super) fn name_key(name: &str) -> [u8; HASH_BYTES] {
    *blake3::hash(name.as_bytes()).as_bytes()
}

fn row_bytes(row: &Row) -> usize {
    ROW_BYTES + row.memory_bytes()
}

/// Checks that the notes beside a version lead to the right places. The writer chooses when a
/// record has a table, so a table is compared only where there is one, and where all pages are
/// known.
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

/// Takes in the part of the ledger that a record has: the ledger must be the one that the header
/// names. The writer chooses which earlier one a part is over; that may be gone where retention
/// lets the version go, so only where all is known must it be there.
fn take_ledger(
    row: &mut Row,
    record: &VersionRecord<'_>,
    is_known: bool,
    at: Position,
) -> Result<()> {
    let Some(part) = &record.ledger else { return Ok(()) };
    let ledgers = row.ledgers.get_or_insert_default();
    match ledgers.read(record.header.seq, part, at).transpose()? {
        Some(ledger) if ledger.hash() == record.header.ledger => Ok(()),
        Some(_) => Err(damaged(at, "the ledger of the header", "another")),
        None if is_known => Err(damaged(at, "changes of a ledger that is on record", "of another")),
        None => Ok(()),
    }
}

/// Checks that the globals are those that the header names.
fn validate_globals(record: &VersionRecord<'_>, at: Position) -> Result<()> {
    let named = record.header.globals;
    match record.globals.is_none_or(|globals| GlobalsHash::of(globals) == named) {
        true => Ok(()),
        false => Err(damaged(at, "the globals of the header", "others")),
    }
}
