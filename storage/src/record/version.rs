//! The record of a version: its header and payloads, the changes of its pages, and notes of the
//! places of the records that it builds on.
//!
//! Two layouts are read, the second is written; both are described in `FORMAT.md`. This module does
//! not know how records are found, nor the pages that runs change.
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

use crate::error::Result;
use crate::error::position::Position;
use crate::record::page::{PageChange, Written};
use crate::record::runs::Run;
use crate::record::varint::{PutVarint, varint, varint_position};

/// Bytes of an encoded ledger in the first layout, when it was of nonces alone.
const LEDGER_BYTES_MAX: usize = 64 << 10;

const HAS_TABLE: u8 = 1;
const HAS_BASE: u8 = 2;
const HAS_LEDGER: u8 = 4;
const HAS_GLOBALS: u8 = 8;
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

/// The layout of a version's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// With the commit as in a capsule. Read, and written no more.
    First,
    /// With pages as their changes.
    Second,
}

/// The log's notes beside a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) parent: Position,
    pub(crate) jump: Position,
    pub(crate) genesis: Position,
    /// The last refusal before the version.
    pub(crate) refusal: Position,
    /// The version that has the ledger; none for an empty one.
    pub(crate) ledger: Position,
    /// The version that has the globals; none for those of the base image.
    pub(crate) globals: Position,
    /// The places of all pages that the object ever changed, except those of this version; absent
    /// when the versions before determine them.
    pub(crate) table: Option<Vec<(u32, Position)>>,
    /// The base image: in a genesis, in an upgrade, and behind one wherever there is a table.
    pub(crate) base: Option<BaseHash>,
}

impl Notes {
    fn positions(&self) -> [Position; 6] {
        [self.parent, self.jump, self.genesis, self.refusal, self.ledger, self.globals]
    }

    fn of(positions: [Position; 6]) -> Notes {
        let [parent, jump, genesis, refusal, ledger, globals] = positions;
        Notes { parent, jump, genesis, refusal, ledger, globals, table: None, base: None }
    }

    /// Returns the notes of a record whose frame is at `frame`.
    pub(crate) fn settled(self, frame: Position) -> Notes {
        let settled = self.positions().map(|position| position.within(frame));
        let mut table = self.table;
        table.iter_mut().flatten().for_each(|entry| entry.1 = entry.1.within(frame));
        Notes { table, base: self.base, ..Notes::of(settled) }
    }

    /// Returns whether the base image is present as it must be: where the memory of the version,
    /// whose record is in the frame at `frame`, begins from one, and else only where one may be
    /// named again.
    fn is_coherent(&self, kind: Kind, layout: Layout, frame: Position) -> bool {
        let is_first = self.genesis == frame && self.parent == Position::NONE;
        match (&self.base, &self.table) {
            (Some(_), Some(table)) if kind == Kind::Upgrade => table.is_empty(),
            (Some(_), table) => is_first || (layout == Layout::Second && table.is_some()),
            (None, _) => !is_first && kind != Kind::Upgrade,
        }
    }
}

/// A version's record as it stands in a body: not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionBytes<'a> {
    pub(crate) staged: Staged,
    pub(crate) layout: Layout,
    pub(crate) content: &'a [u8],
}

/// A version's record.
#[derive(Clone, Debug)]
pub(crate) struct VersionRecord<'a> {
    pub(crate) header: Header,
    pub(crate) hash: VersionHash,
    pub(crate) notes: Notes,
    /// The encoded ledger, when it is here.
    pub(crate) ledger: Option<&'a [u8]>,
    /// The payloads, unless the record was trimmed.
    pub(crate) payloads: Option<PayloadBytes<'a>>,
    /// The first version that was kept whole, in a trimmed record: memories from there on can be
    /// read.
    pub(crate) kept_from: Option<u64>,
    /// The encoded globals, when they are here.
    pub(crate) globals: Option<&'a [u8]>,
    pages: Pages<'a>,
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

/// The pages of a record, decoded when they are asked for.
#[derive(Clone, Debug)]
enum Pages<'a> {
    First(Vec<(u32, &'a Page)>),
    Second { bytes: &'a [u8], frame: Position },
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

/// Appends a version's record in the second layout: `changes` says how its pages are written.
pub(crate) fn encode_into(
    to: &mut Vec<u8>,
    notes: &Notes,
    ledger: Option<&[u8]>,
    commit: &Commit<'_>,
    changes: &[PageChange],
) {
    assert_eq!(commit.pages.len(), changes.len(), "every page is written in some way");
    let start = to.len();
    let flags = flag(ledger.is_some(), HAS_LEDGER) | flag(commit.globals.is_some(), HAS_GLOBALS);
    put_head(to, &commit.header.encode(), notes, flags, None);
    let payloads = [ledger, Some(commit.input), Some(commit.effects), Some(commit.admission)];
    for payload in payloads.into_iter().chain([commit.globals]).flatten() {
        put_blob(to, payload);
    }
    to.put_varint(changes.len() as u64);
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
    let (frame, layout) = (Position::new(1, 96), Layout::Second);
    let bytes = VersionBytes { staged: Staged::No, layout, content };
    let is_same = |record: &VersionRecord<'_>| {
        record.header == *header && record.notes == notes.clone().settled(frame)
    };
    bytes.decode(frame).is_ok_and(|record| is_same(&record) && record.pages().is_ok())
}

fn flag(is: bool, flag: u8) -> u8 {
    if is { flag } else { 0 }
}

fn put_blob(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_varint(bytes.len() as u64);
    to.put(bytes);
}

/// Appends the header, the flags and the notes.
fn put_head(
    to: &mut Vec<u8>,
    header: &[u8; HEADER_BYTES],
    notes: &Notes,
    flags: u8,
    kept_from: Option<u64>,
) {
    let noted = flag(notes.table.is_some(), HAS_TABLE) | flag(notes.base.is_some(), HAS_BASE);
    to.put(header).put_u8(flags | noted | flag(kept_from.is_some(), IS_TRIMMED));
    kept_from.into_iter().for_each(|seq| to.put_varint(seq));
    notes.positions().into_iter().for_each(|position| to.put_position(position));
    if let Some(table) = &notes.table {
        to.put_varint(table.len() as u64);
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
}

fn put_page(to: &mut Vec<u8>, page: &Page, written: &Written) {
    match written {
        Written::Whole => {
            to.put_varint(0);
            to.put(page);
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
    to.put_varint(1 + runs.len() as u64);
    to.put_position(whole);
    let mut end = 0;
    for (start, bytes) in runs {
        assert!(u64::from(start) >= end, "runs ascend");
        to.put_varint(u64::from(start) - end);
        put_blob(to, bytes);
        end = u64::from(start) + bytes.len() as u64;
    }
}

impl<'a> VersionBytes<'a> {
    /// The header's bytes, found without decoding the record; fewer when it is cut.
    pub(crate) fn header_bytes(&self, frame: Position) -> Result<&'a [u8]> {
        let bytes = match self.layout {
            Layout::First => first(self.content, frame)?.2,
            Layout::Second => self.content,
        };
        Ok(bytes.get(..HEADER_BYTES).unwrap_or(bytes))
    }

    /// Returns the first version that was kept whole, in a trimmed record.
    pub(crate) fn kept_from(&self) -> Result<Option<u64>> {
        if self.layout == Layout::First {
            return Ok(None);
        }
        let mut reader = Reader::new("version record", self.content);
        reader.bytes(HEADER_BYTES)?;
        match reader.u8()? & IS_TRIMMED {
            0 => Ok(None),
            _ => Ok(Some(varint(&mut reader)?)),
        }
    }

    /// Returns the place of the version before, and of the version that the jump names.
    pub(crate) fn parent_and_jump(&self, frame: Position) -> Result<(Position, Position)> {
        if self.layout == Layout::First {
            let notes = first(self.content, frame)?.0;
            return Ok((notes.parent, notes.jump));
        }
        let mut reader = Reader::new("version record", self.content);
        reader.bytes(HEADER_BYTES)?;
        if reader.u8()? & IS_TRIMMED != 0 {
            varint(&mut reader)?;
        }
        let parent = varint_position(&mut reader)?.within(frame);
        Ok((parent, varint_position(&mut reader)?.within(frame)))
    }

    /// Reads the record, which stands in the frame at `frame`.
    pub(crate) fn decode(&self, frame: Position) -> Result<VersionRecord<'a>> {
        let record = match self.layout {
            Layout::First => decode_first(self.content, frame)?,
            Layout::Second => decode_second(self.content, frame)?,
        };
        if !record.notes.is_coherent(record.header.kind, self.layout, frame) {
            let expected = "a base image where the memory begins, or beside a table";
            return Err(Reader::new("version record", self.content)
                .fail(0, expected, "another")
                .into());
        }
        Ok(record)
    }
}

impl VersionRecord<'_> {
    /// Appends the record with only the parts in `left`.
    pub(crate) fn encode_trimmed(&self, left: &Left, to: &mut Vec<u8>) -> Result<()> {
        assert!(self.header.seq < left.kept_from, "what is kept is not trimmed");
        let ledger = self.ledger.filter(|_| left.ledger);
        let globals = self.globals.filter(|_| left.globals);
        let flags = flag(ledger.is_some(), HAS_LEDGER) | flag(globals.is_some(), HAS_GLOBALS);
        put_head(to, &self.header.encode(), &self.notes, flags, Some(left.kept_from));
        ledger.into_iter().chain(globals).for_each(|bytes| put_blob(to, bytes));
        let mut pages = self.pages()?;
        pages.retain(|(index, _)| left.pages.contains(index));
        to.put_varint(pages.len() as u64);
        let mut next = 0;
        for (index, page) in pages {
            assert!(index >= next, "pages ascend");
            to.put_varint(u64::from(index - next));
            next = index + 1;
            match page {
                PageRecord::Whole(page) => put_page(to, page, &Written::Whole),
                PageRecord::Runs { whole, runs } => put_runs(to, whole, runs.into_iter()),
            }
        }
        Ok(())
    }
}

fn decode_second(content: &[u8], frame: Position) -> Result<VersionRecord<'_>> {
    let mut reader = Reader::new("version record", content);
    let header = reader.bytes(HEADER_BYTES)?;
    let (hash, header) = (VersionHash::of(header), Header::decode(header)?);
    let flags = reader.u8()?;
    if flags > (HAS_TABLE | HAS_BASE | HAS_LEDGER | HAS_GLOBALS | IS_TRIMMED) {
        return Err(reader.fail(1, "flags below 32", flags).into());
    }
    let kept_from = match flags & IS_TRIMMED {
        0 => None,
        _ => Some(varint(&mut reader)?),
    };
    let mut positions = [Position::NONE; 6];
    for position in &mut positions {
        *position = varint_position(&mut reader)?.within(frame);
    }
    let mut notes = Notes::of(positions);
    if flags & HAS_TABLE != 0 {
        let count = count(&mut reader, 2)?;
        let (mut table, mut next) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let page = ascending(&mut reader, &mut next, u64::from(u32::MAX))?;
            table.push((page, varint_position(&mut reader)?.within(frame)));
        }
        notes.table = Some(table);
    }
    if flags & HAS_BASE != 0 {
        notes.base = Some(BaseHash(reader.array()?));
    }
    let mut blob = |is_here: bool| -> Result<Option<&[u8]>> {
        if !is_here {
            return Ok(None);
        }
        let length = count(&mut reader, 1)?;
        Ok(Some(reader.bytes(length)?))
    };
    let ledger = blob(flags & HAS_LEDGER != 0)?;
    let payloads = match kept_from {
        Some(_) => None,
        None => {
            let mut payload = || blob(true).map(Option::unwrap_or_default);
            Some(PayloadBytes { input: payload()?, effects: payload()?, admission: payload()? })
        }
    };
    let globals = blob(flags & HAS_GLOBALS != 0)?;
    let pages = Pages::Second { bytes: reader.bytes(reader.left())?, frame };
    Ok(VersionRecord { header, hash, notes, ledger, payloads, kept_from, globals, pages })
}

impl<'a> VersionRecord<'a> {
    /// The pages, ascending.
    pub(crate) fn pages(&self) -> Result<Vec<(u32, PageRecord<'a>)>> {
        let (bytes, frame) = match &self.pages {
            Pages::First(pages) => {
                let whole = |&(index, page): &(u32, &'a Page)| (index, PageRecord::Whole(page));
                return Ok(pages.iter().map(whole).collect());
            }
            Pages::Second { bytes, frame } => (bytes, *frame),
        };
        let mut reader = Reader::new("pages of a version record", bytes);
        let listed = count(&mut reader, 2)?;
        let (all, is_trimmed) = (self.header.page_count as usize, self.kept_from.is_some());
        if listed > all || (listed < all && !is_trimmed) {
            let expected = format!("{} pages, as the header says", self.header.page_count);
            return Err(reader.fail(0, &expected, listed).into());
        }
        let end = u64::from(page_count(self.header.memory_bytes));
        let (mut pages, mut next) = (Vec::with_capacity(listed), 0);
        for _ in 0..listed {
            let index = ascending(&mut reader, &mut next, end)?;
            pages.push((index, page(&mut reader, frame)?));
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
    let form = varint(reader)?;
    if form == 0 {
        let page = reader.bytes(PAGE_BYTES)?;
        return Ok(PageRecord::Whole(page.try_into().expect("it was read to its length")));
    }
    let whole = varint_position(reader)?.within(frame);
    let count = form - 1;
    if count > PAGE_BYTES as u64 / 2 {
        return Err(reader.fail(0, "runs of one page", count).into());
    }
    let (mut runs, mut end) = (Vec::with_capacity(count as usize), 0);
    for index in 0..count {
        let (gap, length) = (varint(reader)?, varint(reader)?);
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

/// A count of things that are each at least `each` bytes long.
fn count(reader: &mut Reader<'_>, each: u64) -> Result<usize> {
    let count = varint(reader)?;
    if count.saturating_mul(each) > reader.left() as u64 {
        return Err(reader.fail(0, "a count that the bytes back", count).into());
    }
    Ok(count as usize)
}

/// A number, below `end`, as how far it is from the least that it can be.
fn ascending(reader: &mut Reader<'_>, next: &mut u64, end: u64) -> Result<u32> {
    let value = next.saturating_add(varint(reader)?);
    let found = u32::try_from(value).ok().filter(|_| value < end);
    *next = value.saturating_add(1);
    found.ok_or_else(|| reader.fail(0, &format!("ascending pages below {end}"), value).into())
}

/// The notes, the ledger and the commit of a record in the first layout.
type First<'a> = (Notes, Option<&'a [u8]>, &'a [u8]);

fn first(content: &[u8], frame: Position) -> Result<First<'_>> {
    let mut reader = Reader::new("version record", content);
    let mut positions = [Position::NONE; 6];
    for position in &mut positions {
        *position = Position(reader.u64()?).within(frame);
    }
    let mut notes = Notes::of(positions);
    if bool(&mut reader)? {
        let count = reader.count(u32::MAX as usize, 12)?;
        let mut table: Vec<(u32, Position)> = Vec::with_capacity(count);
        for _ in 0..count {
            let page = reader.u32()?;
            if table.last().is_some_and(|last| last.0 >= page) {
                return Err(reader.fail(4, "ascending pages", page).into());
            }
            table.push((page, Position(reader.u64()?).within(frame)));
        }
        notes.table = Some(table);
    }
    if bool(&mut reader)? {
        notes.base = Some(BaseHash(reader.array()?));
    }
    let ledger = match bool(&mut reader)? {
        true => Some(reader.blob(LEDGER_BYTES_MAX)?),
        false => None,
    };
    Ok((notes, ledger, reader.bytes(reader.left())?))
}

fn bool(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(reader.fail(1, "0 or 1", other).into()),
    }
}

fn decode_first(content: &[u8], frame: Position) -> Result<VersionRecord<'_>> {
    let (notes, ledger, bytes) = first(content, frame)?;
    let Commit { header, input, effects, admission, globals, pages } = Commit::decode(bytes)?;
    let hash = VersionHash::of(&bytes[..HEADER_BYTES]);
    let (pages, kept_from) = (Pages::First(pages), None);
    let payloads = Some(PayloadBytes { input, effects, admission });
    Ok(VersionRecord { header, hash, notes, ledger, payloads, kept_from, globals, pages })
}
