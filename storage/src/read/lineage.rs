//! Reads of many versions: a range of them either way, the refusals behind a range, and both in
//! lineage order, with the pages or without.
//!
//! The log links records backwards. Reading forwards goes back over a stretch of versions first,
//! noting their places, so it takes the memory of one stretch, and of the places of the refusals
//! between two versions, however long the history is. An iterator reads the lineage as of the
//! moment when it was made.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use object::hash::ObjectId;
use object::header::Kind;
use object::image::BaseImage;
use object::memory::Page;
use object::refusal::Refusal;
use object::time::Time;

use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::damaged;
use crate::read::version::{CompleteCommit, StoredCommit, before, read_commit, read_refusal};
use crate::record::link::{Link, RefusalLink};
use crate::rows::row::Row;
use crate::store::{Inner, Store};

/// Versions in a stretch that is read forwards.
const STRETCH: u64 = 256;
/// The number of pages that are kept while a lineage is read: the next version has only their
/// changes.
pub(crate) const PAGES_HELD_MAX: usize = 4096;

/// The direction of an iterator over versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// An entry of a lineage.
#[derive(Clone, Debug)]
pub enum LineageEntry {
    /// A version.
    Commit(CompleteCommit),
    /// A version of which retention kept the header, and maybe the payloads, but not the pages.
    Header(StoredCommit),
    /// A refusal behind the version before.
    Refusal(Refusal),
}

/// An entry of a lineage without its pages.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all entries are versions")]
pub enum RecordEntry {
    /// A version.
    Version(StoredCommit),
    /// A refusal behind the version before, and its place among all of the object, from 1.
    Refusal(u64, Refusal),
}

impl Store {
    /// Returns an object's first version.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), those of the file system, and damage.
    pub fn genesis(&self, id: ObjectId) -> Result<StoredCommit> {
        let first = self.versions(id, 0..1, Direction::Forward)?.next();
        first.ok_or_else(|| Error::not_found("genesis of object", id))?
    }

    /// Returns the existing versions whose sequence numbers are in `range`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), those of the file system, and damage; each item
    /// may fail by itself as well, and is then the last.
    pub fn versions(
        &self,
        id: ObjectId,
        range: Range<u64>,
        direction: Direction,
    ) -> Result<Versions<'_>> {
        let row = self.inner().require_row(id)?;
        Ok(Versions::new(self.inner(), id, row, range, direction))
    }

    /// The seq of the newest version that is not later than `time`, in O(log n) steps; none when
    /// the first version is later.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn seq_as_of(&self, id: ObjectId, time: Time) -> Result<Option<u64>> {
        let row = self.inner().require_row(id)?;
        let found = self.inner().hop_as_of(&row, time).map_err(|error| error.of(id))?;
        Ok(found.map(|(_, hop)| hop.seq))
    }

    /// The refusals on record, newest first.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn refusals(&self, id: ObjectId) -> Result<Refusals<'_>> {
        self.refusals_behind(id, 0..u64::MAX)
    }

    /// Returns the refusals that stand behind the versions whose sequence numbers are in `range`,
    /// newest first.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn refusals_behind(&self, id: ObjectId, range: Range<u64>) -> Result<Refusals<'_>> {
        let (row, inner) = (self.inner().require_row(id)?, self.inner());
        let (next, left) = match range.end > row.seq() {
            true => (row.refusal, row.refusal_count),
            false => {
                let stored = inner.locate(&row, range.end).map_err(|error| error.of(id))?;
                let stored = stored.expect("the newest version is not below it");
                (stored.refusal(), stored.header().refusal_count)
            }
        };
        let is_empty = range.is_empty() || range.start > row.seq();
        let next = next.filter(|_| !is_empty);
        // One behind a version would have been the next.
        let seq_min = if range.start == 0 { 0 } else { range.start + 1 };
        Ok(Refusals { inner, next, left, seq_min })
    }

    /// Returns the versions whose sequence numbers are in `range`, each with the refusals behind
    /// it, in lineage order.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn records(&self, id: ObjectId, range: Range<u64>) -> Result<Records<'_>> {
        let row = self.inner().require_row(id)?;
        Ok(Records::new(self.inner(), id, row, range))
    }

    /// Versions and refusals in lineage order, from the genesis.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn lineage(&self, id: ObjectId) -> Result<Lineage<'_>> {
        let row = self.inner().require_row(id)?;
        Ok(Lineage::new(self.inner(), id, row))
    }
}

/// An iterator over versions.
#[derive(Debug)]
pub struct Versions<'a> {
    inner: &'a Inner,
    id: ObjectId,
    row: Arc<Row>,
    /// Seqs still to be given.
    range: Range<u64>,
    direction: Direction,
    /// Forwards: the versions that come next, the last of them first.
    stretch: Vec<Link>,
    /// Backwards: the version that comes next.
    next: Option<Link>,
}

impl<'a> Versions<'a> {
    fn new(
        inner: &'a Inner,
        id: ObjectId,
        row: Arc<Row>,
        range: Range<u64>,
        direction: Direction,
    ) -> Versions<'a> {
        let range = range.start..range.end.min(row.seq() + 1);
        let (stretch, next) = Default::default();
        Versions { inner, id, row, range, direction, stretch, next }
    }

    fn forward(&mut self) -> Result<StoredCommit> {
        if self.stretch.is_empty() {
            let last = (self.range.start + STRETCH).min(self.range.end) - 1;
            let mut stored = self.located(last)?;
            self.stretch.push(link(&stored));
            for _ in self.range.start..last {
                let parent = before(stored.parent(), stored.position())?;
                stored = read_commit(&self.inner.log, parent)?;
                self.stretch.push(link(&stored));
            }
        }
        self.range.start += 1;
        read_commit(&self.inner.log, self.stretch.pop().expect("a stretch has versions"))
    }

    fn backward(&mut self) -> Result<StoredCommit> {
        self.range.end -= 1;
        let stored = match self.next {
            Some(link) => read_commit(&self.inner.log, link)?,
            None => self.located(self.range.end)?,
        };
        self.next = stored.parent();
        Ok(stored)
    }

    fn located(&self, seq: u64) -> Result<StoredCommit> {
        let found = self.inner.locate(&self.row, seq)?;
        Ok(found.expect("the range ends at the newest version"))
    }
}

impl Iterator for Versions<'_> {
    type Item = Result<StoredCommit>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let next = match self.direction {
            Direction::Forward => self.forward(),
            Direction::Backward => self.backward(),
        };
        if next.is_err() {
            self.range = 0..0;
        }
        Some(next)
    }
}

/// An iterator over the refusals of an object, newest first.
#[derive(Debug)]
pub struct Refusals<'a> {
    inner: &'a Inner,
    next: Option<RefusalLink>,
    left: u64,
    /// The least sequence number of the requested refusals; earlier ones stand before all of them.
    seq_min: u64,
}

impl Refusals<'_> {
    /// Returns how many are still to come: the number of the next one among all, from 1, oldest
    /// first.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Iterator for Refusals<'_> {
    type Item = Result<Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = self.next.take()?;
        let Some(left) = self.left.checked_sub(1) else {
            let (expected, found) = ("no refusal before the first", "one");
            return Some(Err(damaged(link.position, expected, found)));
        };
        self.left = left;
        let stored = match read_refusal(&self.inner.log, link) {
            Ok(stored) if stored.refusal.seq < self.seq_min => return None,
            stored => stored,
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return Some(Err(error)),
        };
        self.next = stored.previous();
        if self.next.is_none() && self.left > 0 {
            let expected = format!("{} refusals before the first", self.left);
            return Some(Err(damaged(link.position, &expected, "none")));
        }
        Some(Ok(stored.refusal))
    }
}

/// An iterator over versions and refusals in lineage order, without pages.
#[derive(Debug)]
pub struct Records<'a> {
    inner: &'a Inner,
    row: Arc<Row>,
    versions: Versions<'a>,
    started: bool,
    /// The version behind the refusals that come next.
    next: Option<StoredCommit>,
    /// The refusals that come next, the last of them first.
    refusals: Vec<RefusalLink>,
    /// The place among all refusals of the one that comes next, from 1.
    number: u64,
}

impl<'a> Records<'a> {
    fn new(inner: &'a Inner, id: ObjectId, row: Arc<Row>, range: Range<u64>) -> Records<'a> {
        let versions = Versions::new(inner, id, Arc::clone(&row), range, Direction::Forward);
        let (next, refusals) = Default::default();
        Records { inner, row, versions, started: false, next, refusals, number: 0 }
    }

    /// The last refusal before the version behind `seq`, or of all when there is none.
    fn last_refusal(&self, seq: u64) -> Result<Option<RefusalLink>> {
        match &self.next {
            Some(next) => Ok(next.refusal()),
            None if seq >= self.row.seq() => Ok(self.row.refusal),
            // The range ends here, the lineage does not.
            None => Ok(self.versions.located(seq + 1)?.refusal()),
        }
    }

    /// Returns a version, after noting the refusals and the version that come behind it.
    fn pass(&mut self, stored: StoredCommit) -> Result<StoredCommit> {
        self.next = self.versions.next().transpose()?;
        let header = stored.header();
        self.number = header.refusal_count.saturating_add(1);
        let mut last = self.last_refusal(header.seq)?;
        while let Some(link) = last.filter(|link| Some(link.hash) != header.refusals) {
            let read = read_refusal(&self.inner.log, link)?;
            self.refusals.push(link);
            last = read.previous();
        }
        Ok(stored)
    }

    fn entry(&mut self) -> Result<Option<RecordEntry>> {
        if let Some(link) = self.refusals.pop() {
            let read = read_refusal(&self.inner.log, link)?;
            let number = self.number;
            self.number = number.saturating_add(1);
            return Ok(Some(RecordEntry::Refusal(number, read.refusal)));
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = self.versions.next().transpose()?;
        }
        let Some(stored) = self.next.take() else { return Ok(None) };
        self.pass(stored).map(|stored| Some(RecordEntry::Version(stored)))
    }

    /// Ends the iteration.
    fn end(&mut self) {
        self.refusals.clear();
        self.next = None;
        self.versions.range = 0..0;
    }
}

impl Iterator for Records<'_> {
    type Item = Result<RecordEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry();
        if entry.is_err() {
            self.end();
        }
        entry.transpose()
    }
}

/// An iterator over versions, with their pages, and refusals in lineage order.
#[derive(Debug)]
pub struct Lineage<'a> {
    records: Records<'a>,
    base: Option<Arc<BaseImage>>,
    /// Pages as the version before left them.
    pages: HashMap<u32, Arc<Page>>,
}

impl<'a> Lineage<'a> {
    /// Returns the lineage up to `row`.
    pub(crate) fn new(inner: &'a Inner, id: ObjectId, row: Arc<Row>) -> Lineage<'a> {
        let records = Records::new(inner, id, row, 0..u64::MAX);
        let (base, pages) = Default::default();
        Lineage { records, base, pages }
    }

    /// The version with its pages.
    fn complete(&mut self, stored: StoredCommit) -> Result<CompleteCommit> {
        let (inner, id) = (self.records.inner, self.records.versions.id);
        if let Some(hash) = stored.begins_from() {
            self.base = Some(inner.require_base(hash)?);
        }
        if stored.header().kind == Kind::Upgrade {
            self.pages.clear();
        }
        let base = Arc::clone(self.base.as_ref().expect("a lineage begins from a base image"));
        let held = |index: u32| self.pages.get(&index).cloned();
        let pages = inner.changed_pages(id, &base, &stored, held)?;
        if self.pages.len() + pages.len() > PAGES_HELD_MAX {
            self.pages.clear();
        }
        let some = pages.iter().take(PAGES_HELD_MAX);
        self.pages.extend(some.map(|(index, page)| (*index, Arc::clone(page))));
        Ok(CompleteCommit { stored, pages: pages.into_iter().collect() })
    }

    fn entry(&mut self, record: RecordEntry) -> Result<LineageEntry> {
        let stored = match record {
            RecordEntry::Version(stored) => stored,
            RecordEntry::Refusal(_, refusal) => return Ok(LineageEntry::Refusal(refusal)),
        };
        match self.complete(stored.clone()) {
            Ok(complete) => Ok(LineageEntry::Commit(complete)),
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => {
                // The pages' changes by the version are unknown.
                self.pages.clear();
                Ok(LineageEntry::Header(stored))
            }
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Lineage<'_> {
    type Item = Result<LineageEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.records.next()?.and_then(|record| self.entry(record));
        if entry.is_err() {
            self.records.end();
        }
        Some(entry)
    }
}

fn link(stored: &StoredCommit) -> Link {
    Link { hash: stored.hash(), position: stored.position() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::options::Options;

    /// Regressions: a chain of more refusals than its object counts stopped a debug build, and with
    /// one of fewer, a refusal was looked for without end.
    #[test]
    fn more_or_fewer_refusals_than_are_counted_are_damage() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-2");
        let store = Options::new().read_only(true).open(fixture).expect("it opens");
        let objects = store.list(None, 10).expect("they are listed");
        let object = objects.iter().find(|info| info.refusal_count > 0).expect("one was refused");
        let count = object.refusal_count;
        for counted in 0..count + 3 {
            let mut refusals = store.refusals(object.id).expect("it is there");
            assert_eq!(refusals.left(), count);
            refusals.left = counted;
            let given: Vec<Result<Refusal>> = refusals.collect();
            let whole = given.iter().filter(|refusal| refusal.is_ok()).count() as u64;
            let expected = if counted > count { count - 1 } else { counted };
            assert_eq!((whole, given.len() as u64), (expected, count.min(counted + 1)));
            assert_eq!(given.last().is_some_and(Result::is_err), counted != count);
            if let Some(Err(error)) = given.last() {
                assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
            }
        }
    }
}
