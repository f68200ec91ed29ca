//! The record of a version: its header and payloads, the changes of its pages, and notes of the
//! places of the records that it builds on.
//!
//! The layout is described in `FORMAT.md`. This module does not know how records are found, nor the
//! pages that runs change.
//!
//! Invariant: `decode` reads back the bytes that `encode_into` writes; it refuses pages and runs
//! that are out of order or beyond the memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use object::codec::{Reader, Write};
use object::commit::Commit;
use object::hash::{BaseHash, VersionHash};
use object::header::{HEADER_BYTES, Header, Kind};
use object::limits::PAGE_BYTES;
use object::memory::{Page, page_count};
use object::secret::{SECRET_ENCODED_MAX, Secret};

use crate::error::Result;
use crate::error::position::Position;
use crate::record::page::{PageChange, Written};
use crate::record::place::{PutPosition, position_in};
use crate::record::runs::Run;

const HAS_TABLE: u8 = 1;
const HAS_BASE: u8 = 2;
const HAS_LEDGER: u8 = 4;
const HAS_GLOBALS: u8 = 8;
const HAS_SECRET: u8 = 32;
/// The flag of a record without the data that retention dropped: the payloads, and pages that no
/// kept version needs.
const IS_TRIMMED: u8 = 16;

/// The staging of a record: `Yes` for one of an object that is being imported, and does not exist
/// yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    Yes,
    No,
}

/// The log's notes beside a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) parent: Position,
    pub(crate) jump: Position,
    pub(crate) genesis: Position,
    /// The last refusal before the version.
    pub(crate) refusal: Position,
    /// The version whose record has the last part of the ledger; none for an empty one.
    pub(crate) ledger: Position,
    /// The version that has the globals; none for those of the base image.
    pub(crate) globals: Position,
    /// The places of all pages that the object ever changed, except those of this version; absent
    /// when the versions before determine them.
    pub(crate) table: Option<Vec<(u32, Position)>>,
    /// The base image: in a genesis, in an upgrade, and behind one wherever there is a table.
    pub(crate) base: Option<BaseHash>,
    /// The object's secret: in a genesis.
    pub(crate) secret: Option<Box<Secret>>,
}

impl Notes {
    fn positions(&self) -> [Position; 6] {
        [self.parent, self.jump, self.genesis, self.refusal, self.ledger, self.globals]
    }

    fn of(positions: [Position; 6]) -> Notes {
        let [parent, jump, genesis, refusal, ledger, globals] = positions;
        let (table, base, secret) = Default::default();
        Notes { parent, jump, genesis, refusal, ledger, globals, table, base, secret }
    }

    /// Returns the notes of a record whose frame is at `frame`.
    pub(crate) fn settled(self, frame: Position) -> Notes {
        self.map(|position| position.within(frame))
    }

    fn map(self, each: impl Fn(Position) -> Position) -> Notes {
        let positions = self.positions().map(&each);
        let mut table = self.table;
        table.iter_mut().flatten().for_each(|entry| entry.1 = each(entry.1));
        Notes { table, base: self.base, secret: self.secret, ..Notes::of(positions) }
    }

    /// Returns whether the base image is present as it must be: where the memory of the version,
    /// whose record is in the frame at `frame`, begins from one, and else only where one may be
    /// named again.
    fn is_coherent(&self, kind: Kind, frame: Position) -> bool {
        let is_first = self.genesis == frame && self.parent == Position::NONE;
        match (&self.base, &self.table) {
            (Some(_), Some(table)) if kind == Kind::Upgrade => table.is_empty(),
            (Some(_), table) => is_first || table.is_some(),
            (None, _) => !is_first && kind != Kind::Upgrade,
        }
    }
}

/// A version's record as it stands in a body: not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionBytes<'a> {
    pub(crate) staged: Staged,
    pub(crate) content: &'a [u8],
}

/// A version's record.
#[derive(Clone, Debug)]
pub(crate) struct VersionRecord<'a> {
    pub(crate) header: Header,
    pub(crate) hash: VersionHash,
    pub(crate) notes: Notes,
    /// The part of the ledger that is here.
    pub(crate) ledger: Option<LedgerPart<&'a [u8]>>,
    /// The payloads, unless the record was trimmed.
    pub(crate) payloads: Option<PayloadBytes<'a>>,
    /// The first version that was kept whole, in a trimmed record: memories from there on can be
    /// read.
    pub(crate) kept_from: Option<u64>,
    /// The encoded globals, when they are here.
    pub(crate) globals: Option<&'a [u8]>,
    /// The pages, decoded when they are asked for.
    pages: &'a [u8],
    /// The place of the record's frame.
    frame: Position,
}

/// The part of a version's ledger that its record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerPart<B> {
    /// The earlier version since whose ledger these are the changes, and where its record is; none
    /// when they are those since the empty ledger.
    pub(crate) over: Option<(u64, Position)>,
    pub(crate) changes: B,
}

impl<B: AsRef<[u8]>> LedgerPart<B> {
    /// Appends the part, which is of version `seq`.
    fn put(&self, seq: u64, to: &mut Vec<u8>) {
        match self.over {
            None => to.put_varint(0),
            Some((over, position)) => {
                assert!(over < seq, "a part is over an earlier version's");
                to.put_varint(seq - over).put_position(position)
            }
        };
        to.put_blob(self.changes.as_ref());
    }
}

impl<'a> LedgerPart<&'a [u8]> {
    /// Reads the part of version `seq`, whose frame is at `frame`.
    fn read(seq: u64, frame: Position, reader: &mut Reader<'a>) -> Result<LedgerPart<&'a [u8]>> {
        let over = match reader.varint()? {
            0 => None,
            back if back > seq => {
                let expected = format!("at most {seq} versions back");
                return Err(reader.fail(0, &expected, back).into());
            }
            back => Some((seq - back, position_in(reader, frame)?)),
        };
        Ok(LedgerPart { over, changes: reader.blob(usize::MAX)? })
    }
}

/// The payloads that a version's header names, without its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadBytes<'a> {
    /// The input's bytes.
    pub input: &'a [u8],
    /// The effects' bytes.
    pub effects: &'a [u8],
    /// The admission's bytes.
    pub admission: &'a [u8],
}

/// The remaining parts of a version's record when it is trimmed, besides header and notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// The first version that is kept whole.
    pub(crate) kept_from: u64,
    pub(crate) pages: BTreeSet<u32>,
    pub(crate) ledger: bool,
    pub(crate) globals: bool,
}

/// A page in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PageRecord<'a> {
    /// The page's bytes.
    Whole(&'a Page),
    /// The place of the record that has it whole, and the runs over that, each from its start.
    Runs { whole: Position, runs: Vec<(u16, &'a [u8])> },
}

impl PageRecord<'_> {
    /// The page's change, without bytes.
    pub(crate) fn change(&self, page: u32) -> PageChange {
        let written = match self {
            PageRecord::Whole(_) => Written::Whole,
            PageRecord::Runs { whole, runs } => {
                let run =
                    |&(start, bytes): &(u16, &[u8])| Run { start, length: bytes.len() as u16 };
                let runs: Arc<[Run]> = runs.iter().map(run).collect();
                Written::Runs { whole: *whole, runs }
            }
        };
        PageChange { page, written }
    }
}

/// Appends a version's record: `changes` says how its pages are written.
pub(crate) fn encode_into(
    to: &mut Vec<u8>,
    notes: &Notes,
    ledger: Option<&LedgerPart<Vec<u8>>>,
    commit: &Commit<'_>,
    changes: &[PageChange],
) {
    assert_eq!(commit.pages.len(), changes.len(), "every page is written in some way");
    let start = to.len();
    let flags = flag(ledger.is_some(), HAS_LEDGER) | flag(commit.globals.is_some(), HAS_GLOBALS);
    put_head(to, &commit.header.encode(), notes, flags, None);
    ledger.iter().for_each(|part| part.put(commit.header.seq, to));
    let payloads = [Some(commit.input), Some(commit.effects), Some(commit.admission)];
    for payload in payloads.into_iter().chain([commit.globals]).flatten() {
        to.put_blob(payload);
    }
    to.put_count(changes.len());
    let mut next = 0;
    for ((index, page), change) in commit.pages.iter().zip(changes) {
        assert_eq!(*index, change.page, "changes are those of the pages");
        assert!(*index >= next, "pages ascend");
        to.put_varint(u64::from(index - next));
        next = index + 1;
        put_page(to, page, &change.written);
    }
    debug_assert!(is_read_back(&to[start..], &commit.header, notes), "what is written is read");
}

/// Returns whether bytes are a record with this header and these notes, read in any frame.
fn is_read_back(content: &[u8], header: &Header, notes: &Notes) -> bool {
    // No frame is there, so no note can name it.
    let frame = Position::new(u32::MAX - 1, u32::MAX);
    let bytes = VersionBytes { staged: Staged::No, content };
    let is_same = |record: &VersionRecord<'_>| {
        record.header == *header && record.notes == notes.clone().settled(frame)
    };
    bytes.decode(frame).is_ok_and(|record| is_same(&record) && record.pages().is_ok())
}

fn flag(is: bool, flag: u8) -> u8 {
    if is { flag } else { 0 }
}

/// Appends the header, the flags and the notes.
fn put_head(
    to: &mut Vec<u8>,
    header: &[u8; HEADER_BYTES],
    notes: &Notes,
    flags: u8,
    kept_from: Option<u64>,
) {
    let noted = flag(notes.table.is_some(), HAS_TABLE)
        | flag(notes.base.is_some(), HAS_BASE)
        | flag(notes.secret.is_some(), HAS_SECRET);
    to.put(header).put_u8(flags | noted | flag(kept_from.is_some(), IS_TRIMMED));
    if let Some(seq) = kept_from {
        to.put_varint(seq);
    }
    for position in notes.positions() {
        to.put_position(position);
    }
    if let Some(table) = &notes.table {
        to.put_count(table.len());
        let mut next = 0;
        for (page, position) in table {
            assert!(*page >= next, "the pages of a table ascend");
            to.put_varint(u64::from(page - next));
            to.put_position(*position);
            next = page + 1;
        }
    }
    if let Some(base) = &notes.base {
        to.put(&base.0);
    }
    if let Some(secret) = &notes.secret {
        to.put_blob(&secret.encode());
    }
}

fn put_page(to: &mut Vec<u8>, page: &Page, written: &Written) {
    match written {
        Written::Whole => {
            to.put_varint(0).put(page);
        }
        Written::Runs { whole, runs } => {
            put_runs(to, *whole, runs.iter().map(|run| (run.start, run.of(page))));
        }
    }
}

fn put_runs<'p>(
    to: &mut Vec<u8>,
    whole: Position,
    runs: impl ExactSizeIterator<Item = (u16, &'p [u8])>,
) {
    to.put_varint(1 + runs.len() as u64).put_position(whole);
    let mut end = 0;
    for (start, bytes) in runs {
        assert!(u64::from(start) >= end, "runs ascend");
        to.put_varint(u64::from(start) - end).put_blob(bytes);
        end = u64::from(start) + bytes.len() as u64;
    }
}

impl<'a> VersionBytes<'a> {
    /// The header's bytes, found without decoding the record; fewer when it is cut.
    pub(crate) fn header_bytes(&self) -> &'a [u8] {
        self.content.get(..HEADER_BYTES).unwrap_or(self.content)
    }

    /// Returns a reader behind the flags and, in a trimmed record, the first version that was kept
    /// whole.
    fn behind_flags(&self) -> Result<(Reader<'a>, u8, Option<u64>)> {
        let mut reader = Reader::new("version record", self.content);
        reader.bytes(HEADER_BYTES)?;
        let flags = reader.u8()?;
        if flags > (HAS_TABLE | HAS_BASE | HAS_LEDGER | HAS_GLOBALS | IS_TRIMMED | HAS_SECRET) {
            return Err(reader.fail(1, "flags below 64", flags).into());
        }
        let is_trimmed = flags & IS_TRIMMED != 0;
        let kept_from = is_trimmed.then(|| reader.varint()).transpose()?;
        Ok((reader, flags, kept_from))
    }

    /// Returns the first version that was kept whole, in a trimmed record.
    pub(crate) fn kept_from(&self) -> Result<Option<u64>> {
        Ok(self.behind_flags()?.2)
    }

    /// Returns the place of the version before, and of the version that the jump names.
    pub(crate) fn parent_and_jump(&self, frame: Position) -> Result<(Position, Position)> {
        let mut reader = self.behind_flags()?.0;
        Ok((position_in(&mut reader, frame)?, position_in(&mut reader, frame)?))
    }

    /// Reads the record, which stands in the frame at `frame`.
    pub(crate) fn decode(&self, frame: Position) -> Result<VersionRecord<'a>> {
        let header = self.header_bytes();
        let (hash, header) = (VersionHash::of(header), Header::decode(header)?);
        let (mut reader, flags, kept_from) = self.behind_flags()?;
        let notes = decode_notes(&mut reader, flags, frame)?;
        if !notes.is_coherent(header.kind, frame) {
            let expected = "a base image where the memory begins, or beside a table";
            return Err(reader.fail(0, expected, "another").into());
        }
        if notes.secret.is_some() != (header.seq == 0) {
            let expected = "a secret in a genesis and nowhere else";
            return Err(reader.fail(0, expected, "another").into());
        }
        let ledger = match flags & HAS_LEDGER {
            0 => None,
            _ => Some(LedgerPart::read(header.seq, frame, &mut reader)?),
        };
        let mut blob = |is_here: bool| -> Result<Option<&[u8]>> {
            Ok(is_here.then(|| reader.blob(usize::MAX)).transpose()?)
        };
        let payloads = match kept_from {
            Some(_) => None,
            None => {
                let mut payload = || blob(true).map(Option::unwrap_or_default);
                Some(PayloadBytes { input: payload()?, effects: payload()?, admission: payload()? })
            }
        };
        let globals = blob(flags & HAS_GLOBALS != 0)?;
        let pages = reader.rest();
        Ok(VersionRecord {
            header,
            hash,
            notes,
            ledger,
            payloads,
            kept_from,
            globals,
            pages,
            frame,
        })
    }
}

/// Reads the notes of a record with these flags, whose frame is at `frame`.
fn decode_notes(reader: &mut Reader<'_>, flags: u8, frame: Position) -> Result<Notes> {
    let mut positions = [Position::NONE; 6];
    for place in &mut positions {
        *place = position_in(reader, frame)?;
    }
    let mut notes = Notes::of(positions);
    if flags & HAS_TABLE != 0 {
        let count = reader.count(usize::MAX, 2)?;
        let (mut table, mut next) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let page = ascending(reader, &mut next, u64::from(u32::MAX))?;
            table.push((page, position_in(reader, frame)?));
        }
        notes.table = Some(table);
    }
    if flags & HAS_BASE != 0 {
        notes.base = Some(BaseHash(reader.array()?));
    }
    if flags & HAS_SECRET != 0 {
        notes.secret = Some(Box::new(Secret::decode(reader.blob(SECRET_ENCODED_MAX)?)?));
    }
    Ok(notes)
}

impl VersionRecord<'_> {
    /// Appends the record with only the parts in `left`.
    pub(crate) fn encode_trimmed(&self, left: &Left, to: &mut Vec<u8>) -> Result<()> {
        assert!(self.header.seq < left.kept_from, "what is kept is not trimmed");
        let ledger = self.ledger.filter(|_| left.ledger);
        let globals = self.globals.filter(|_| left.globals);
        let flags = flag(ledger.is_some(), HAS_LEDGER) | flag(globals.is_some(), HAS_GLOBALS);
        let notes = self.notes.clone().map(|position| position.noted_in(self.frame));
        put_head(to, &self.header.encode(), &notes, flags, Some(left.kept_from));
        if let Some(LedgerPart { over, changes }) = ledger {
            let over = over.map(|(seq, position)| (seq, position.noted_in(self.frame)));
            LedgerPart { over, changes }.put(self.header.seq, to);
        }
        if let Some(globals) = globals {
            to.put_blob(globals);
        }
        let mut pages = self.pages()?;
        pages.retain(|(index, _)| left.pages.contains(index));
        to.put_count(pages.len());
        let mut next = 0;
        for (index, page) in pages {
            assert!(index >= next, "pages ascend");
            to.put_varint(u64::from(index - next));
            next = index + 1;
            match page {
                PageRecord::Whole(page) => put_page(to, page, &Written::Whole),
                PageRecord::Runs { whole, runs } => {
                    put_runs(to, whole.noted_in(self.frame), runs.into_iter());
                }
            }
        }
        Ok(())
    }
}

impl<'a> VersionRecord<'a> {
    /// The pages, ascending.
    pub(crate) fn pages(&self) -> Result<Vec<(u32, PageRecord<'a>)>> {
        let mut reader = Reader::new("pages of a version record", self.pages);
        let listed = reader.count(usize::MAX, 2)?;
        let (all, is_trimmed) = (self.header.page_count as usize, self.kept_from.is_some());
        if listed > all || (listed < all && !is_trimmed) {
            let expected = format!("{} pages, as the header says", self.header.page_count);
            return Err(reader.fail(0, &expected, listed).into());
        }
        let end = u64::from(page_count(self.header.memory_bytes));
        let (mut pages, mut next) = (Vec::with_capacity(listed), 0);
        for _ in 0..listed {
            let index = ascending(&mut reader, &mut next, end)?;
            pages.push((index, page(&mut reader, self.frame)?));
        }
        reader.end()?;
        Ok(pages)
    }

    /// Returns how the pages are written.
    pub(crate) fn changes(&self) -> Result<Vec<PageChange>> {
        let pages = self.pages()?;
        Ok(pages.iter().map(|(index, page)| page.change(*index)).collect())
    }
}

fn page<'a>(reader: &mut Reader<'a>, frame: Position) -> Result<PageRecord<'a>> {
    let form = reader.varint()?;
    if form == 0 {
        let page = reader.bytes(PAGE_BYTES)?;
        return Ok(PageRecord::Whole(page.try_into().expect("it was read to its length")));
    }
    let whole = position_in(reader, frame)?;
    let count = form - 1;
    if count > PAGE_BYTES as u64 / 2 {
        return Err(reader.fail(0, "runs of one page", count).into());
    }
    let (mut runs, mut end) = (Vec::with_capacity(count as usize), 0);
    for index in 0..count {
        let (gap, length) = (reader.varint()?, reader.varint()?);
        let start = gap.saturating_add(end);
        end = start.saturating_add(length);
        if length == 0 || end > PAGE_BYTES as u64 || (index > 0 && gap == 0) {
            let found = format!("{length} bytes from {start} on");
            return Err(reader.fail(0, "runs of one page, apart and ascending", found).into());
        }
        runs.push((start as u16, reader.bytes(length as usize)?));
    }
    Ok(PageRecord::Runs { whole, runs })
}

/// A number, below `end`, as how far it is from the least that it can be.
fn ascending(reader: &mut Reader<'_>, next: &mut u64, end: u64) -> Result<u32> {
    let value = next.saturating_add(reader.varint()?);
    let found = u32::try_from(value).ok().filter(|_| value < end);
    *next = value.saturating_add(1);
    found.ok_or_else(|| reader.fail(0, &format!("ascending pages below {end}"), value).into())
}
