//! Reads of a version's memory and globals: from the version's record to the few others
//! that have them.
//!
//! Page by page, the table names the record that wrote it last; that record has it whole, or as
//! runs over one more record or the base image. This module does not know how a version is found,
//! nor how frames are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object::effects::decode_globals;
use object::hash::{BaseHash, GlobalsHash, ObjectId};
use object::image::{BaseImage, Image};
use object::memory::{Memory, Page};

use crate::error::position::Position;
use crate::error::{Error, Result};
use crate::log::frame::{Frame, Frames, damaged};
use crate::read::ledger;
use crate::read::ledger::Newest;
use crate::read::version::{StoredCommit, StoredPage, before, commits, last_commit, read_commit};
use crate::record::version::Left;
use crate::rows::pages::{PageTable, READS_MAX};
use crate::rows::row::Row;
use crate::store::Inner;

/// A page as it stands in a frame.
pub(crate) struct Found {
    index: u32,
    /// The version whose record has it.
    seq: u64,
    frame: Frame,
    page: StoredPage,
}

/// A version whose pages are being read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) id: ObjectId,
    pub(crate) stored: &'a StoredCommit,
}

/// A version's memory and globals, and the base image that its pages are over.
pub(crate) struct Whole {
    pub(crate) image: Image,
    pub(crate) globals: Vec<u64>,
    pub(crate) base: BaseHash,
}

/// The parts of earlier versions that a version needs.
struct Sources {
    kept_from: u64,
    left: BTreeMap<u64, Left>,
}

impl Sources {
    /// Returns the parts needed of version `seq`.
    fn of(&mut self, seq: u64) -> &mut Left {
        let kept_from = self.kept_from;
        self.left.entry(seq).or_insert_with(|| Left { kept_from, ..Left::default() })
    }
}

impl Inner {
    /// Returns the places of the pages of a row's newest version.
    pub(crate) fn page_table(&self, row: &Row) -> Result<PageTable> {
        Ok(table_of(&self.log, &read_commit(&self.log, row.head())?)?.0)
    }

    /// The memory and globals of a version of the object that has this row.
    pub(crate) fn memory(&self, id: ObjectId, row: &Row, stored: &StoredCommit) -> Result<Whole> {
        let (table, named) = table_of(&self.log, stored)?;
        self.memory_at(id, row, stored, &table, named)
    }

    /// Reads the memory and globals of a version with this page table and the base image that its
    /// record names.
    pub(crate) fn memory_at(
        &self,
        id: ObjectId,
        row: &Row,
        stored: &StoredCommit,
        table: &PageTable,
        named: Option<BaseHash>,
    ) -> Result<Whole> {
        let reading = Reading { id, stored };
        let hash = self.base_of(row, reading, named)?;
        let base = self.require_base(hash)?;
        let found = last_written(&self.log, reading, table.entries())?;
        let pages = self.bytes_of(reading, &base, found, |_| None)?;
        let globals = match with_globals(&self.log, reading)? {
            None => base.globals().to_vec(),
            Some((_, globals)) => globals,
        };
        let bytes = stored.header().memory_bytes;
        let image = Image::new(base).step(bytes, pages.into_iter().collect())?;
        Ok(Whole { image, globals, base: hash })
    }

    /// The base image that a version's memory is over, when this one is named with its page table.
    pub(crate) fn base_of(
        &self,
        row: &Row,
        reading: Reading<'_>,
        named: Option<BaseHash>,
    ) -> Result<BaseHash> {
        match named {
            Some(base) => Ok(base),
            // Where the code was changed later, no table before says more than the genesis does.
            None if row.upgraded => self.first_base(reading),
            None => Ok(row.base),
        }
    }

    /// The base image that the object's genesis names.
    fn first_base(&self, reading: Reading<'_>) -> Result<BaseHash> {
        let position = reading.stored.notes().genesis;
        let frame = reading.stored.frame_at(&self.log, position)?;
        for commit in commits(&frame) {
            let commit = commit?;
            let is_first = commit.header().seq == 0 && commit.is_of(reading.id);
            if let Some(base) = commit.begins_from().filter(|_| is_first) {
                return Ok(base);
            }
        }
        Err(damaged(position, format!("the genesis of {}", reading.id), "a frame without it"))
    }

    /// The bytes of the pages that a version changed. A page that `held` has is as the version
    /// before left it.
    pub(crate) fn changed_pages(
        &self,
        id: ObjectId,
        base: &BaseImage,
        stored: &StoredCommit,
        held: impl Fn(u32) -> Option<Arc<Page>>,
    ) -> Result<BTreeMap<u32, Arc<Page>>> {
        let reading = Reading { id, stored };
        stored.require(stored.header().seq)?;
        let found = stored.pages().iter().map(|(index, page)| Found {
            index: *index,
            seq: stored.header().seq,
            frame: stored.frame().clone(),
            page: page.clone(),
        });
        self.bytes_of(reading, base, found.collect(), held)
    }

    pub(crate) fn bytes_of(
        &self,
        reading: Reading<'_>,
        base: &BaseImage,
        found: Vec<Found>,
        held: impl Fn(u32) -> Option<Arc<Page>>,
    ) -> Result<BTreeMap<u32, Arc<Page>>> {
        let mut pages = BTreeMap::new();
        let mut over: BTreeMap<Position, Vec<Found>> = BTreeMap::new();
        for found in found {
            // Runs have all changes since the whole page, so the records between do not matter.
            let held = held(found.index);
            let under = match (&found.page, &held) {
                (StoredPage::Whole(_), _) => None,
                (StoredPage::Runs { .. }, Some(held)) => Some(&**held),
                (StoredPage::Runs { whole: Position::NONE, .. }, None) => {
                    Some(base.page(found.index))
                }
                (StoredPage::Runs { whole, .. }, None) => {
                    over.entry(*whole).or_default().push(found);
                    continue;
                }
            };
            let page = found.page.read(&found.frame.body, under);
            pages.insert(found.index, Arc::new(page.expect("what is under runs is there")));
        }
        for (whole, mut found) in over {
            found.sort_unstable_by_key(|found| found.index);
            let frame = reading.stored.frame_at(&self.log, whole)?;
            let indices = found.iter().map(|found| found.index).collect();
            let under = reading.last_pages(&frame, &indices, StoredPage::is_whole)?;
            for (found, under) in found.into_iter().zip(under) {
                assert_eq!(found.index, under.index, "both are ascending by page");
                let under = under.page.read(&frame.body, None);
                let page = found.page.read(&found.frame.body, under.as_ref());
                pages.insert(found.index, Arc::new(page.expect("what is under runs is there")));
            }
        }
        Ok(pages)
    }
}

/// The page table of a version, and the base image that is named with it.
pub(crate) fn table_of(
    frames: &impl Frames,
    newest: &StoredCommit,
) -> Result<(PageTable, Option<BaseHash>)> {
    let mut newest_first = Vec::new();
    let seq = newest.header().seq;
    let mut at = newest.clone();
    for plain in 0..=READS_MAX {
        at.require(seq)?;
        newest_first.extend(at.changes().map(|change| (change, at.position())));
        if let Some(full) = &at.notes().table {
            let table = PageTable::assemble(full.clone(), newest_first, plain);
            return Ok((table, at.notes().base));
        }
        at = read_commit(frames, before(at.parent(), at.position())?)?;
    }
    Err(damaged(at.position(), "a page table every 64 versions", "none"))
}

/// Pages of a version, which are where its page table says, as the records have them that wrote
/// them last.
pub(crate) fn last_written(
    frames: &impl Frames,
    reading: Reading<'_>,
    places: impl IntoIterator<Item = (u32, Position)>,
) -> Result<Vec<Found>> {
    let mut wanted: BTreeMap<Position, BTreeSet<u32>> = BTreeMap::new();
    for (index, position) in places {
        wanted.entry(position).or_default().insert(index);
    }
    let mut found = Vec::new();
    for (position, indices) in wanted {
        let frame = reading.stored.frame_at(frames, position)?;
        found.extend(reading.last_pages(&frame, &indices, |_| true)?);
    }
    Ok(found)
}

/// The records that a version's memory, globals and ledger are read from: of each version that
/// has some, which.
pub(crate) fn sources(
    frames: &impl Frames,
    id: ObjectId,
    stored: &StoredCommit,
) -> Result<BTreeMap<u64, Left>> {
    let reading = Reading { id, stored };
    let kept_from = stored.header().seq;
    let mut sources = Sources { kept_from, left: BTreeMap::new() };
    let mut over: BTreeMap<Position, BTreeSet<u32>> = BTreeMap::new();
    let (table, _) = table_of(frames, stored)?;
    for found in last_written(frames, reading, table.entries())? {
        sources.of(found.seq).pages.insert(found.index);
        if let StoredPage::Runs { whole, .. } = found.page
            && whole != Position::NONE
        {
            over.entry(whole).or_default().insert(found.index);
        }
    }
    for (position, indices) in over {
        let frame = stored.frame_at(frames, position)?;
        for found in reading.last_pages(&frame, &indices, StoredPage::is_whole)? {
            sources.of(found.seq).pages.insert(found.index);
        }
    }
    if let Some((commit, _)) = with_globals(frames, reading)? {
        sources.of(commit.header().seq).globals = true;
    }
    for part in ledger::parts(frames, id, Newest::Stored(stored), stored.notes().ledger)? {
        sources.of(part.header().seq).ledger = true;
    }
    Ok(sources.left)
}

/// Returns the version whose record has the globals, and the globals; none for those of the base
/// image.
fn with_globals(
    frames: &impl Frames,
    reading: Reading<'_>,
) -> Result<Option<(StoredCommit, Vec<u64>)>> {
    let Reading { id, stored } = reading;
    let position = stored.notes().globals;
    let has = |commit: &StoredCommit| commit.globals().is_some();
    let Some(commit) = last_with(frames, id, stored, position, has)? else { return Ok(None) };
    let bytes = commit.globals().expect("it was just looked for");
    if GlobalsHash::of(bytes) != stored.header().globals {
        return Err(damaged(position, "the globals of the version", "others"));
    }
    let globals = decode_globals(bytes)?;
    Ok(Some((commit, globals)))
}

/// Returns the last version up to `stored`, in the frame at `position`, for which `has` is true.
fn last_with(
    frames: &impl Frames,
    id: ObjectId,
    stored: &StoredCommit,
    position: Position,
    has: impl Fn(&StoredCommit) -> bool,
) -> Result<Option<StoredCommit>> {
    if position == Position::NONE {
        return Ok(None);
    }
    let frame = stored.frame_at(frames, position)?;
    last_commit(&frame, id, stored.header().seq, has).map(Some)
}

impl Reading<'_> {
    /// The pages of `indices` as the last versions in `frame` that have them, and fit, have them,
    /// ascending.
    fn last_pages(
        self,
        frame: &Frame,
        indices: &BTreeSet<u32>,
        fits: impl Fn(&StoredPage) -> bool,
    ) -> Result<Vec<Found>> {
        let mut last = BTreeMap::new();
        for commit in commits(frame) {
            let commit = commit?;
            let seq = commit.header().seq;
            if !commit.is_of(self.id) || seq > self.stored.header().seq {
                continue;
            }
            commit.require(self.stored.header().seq)?;
            for (index, page) in commit.pages() {
                if indices.contains(index) && fits(page) {
                    last.insert(*index, (seq, page.clone()));
                }
            }
        }
        if last.len() < indices.len() {
            return Err(self.missing(frame.position, indices.len(), last.len()));
        }
        let found = |(index, (seq, page))| Found { index, seq, frame: frame.clone(), page };
        Ok(last.into_iter().map(found).collect())
    }

    fn missing(self, at: Position, expected: usize, found: usize) -> Error {
        let expected = format!("{expected} pages of {}", self.id);
        damaged(at, expected, format!("{found} of them"))
    }
}
