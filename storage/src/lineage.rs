//! Reads of many versions: a range of them either way, the refusals, and both in lineage order.
//!
//! The log links records backwards. Reading forwards goes back over a stretch of versions first,
//! noting where they are, so it takes the memory of one stretch, and of the places of the refusals
//! between two versions, however long the history is. What is read is as of the moment when the
//! iterator was made.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use object::hash::ObjectId;
use object::header::Kind;
use object::image::BaseImage;
use object::memory::Page;
use object::refusal::Refusal;

use crate::error::{Error, ErrorKind, Result};
use crate::row::{Link, Row};
use crate::store::{Inner, Store};
use crate::stored::{CompleteCommit, RefusalLink, StoredCommit, read_commit, read_refusal};

/// Versions in a stretch that is read forwards.
const STRETCH: u64 = 256;
/// Pages that are kept while a lineage is read: the next version has only what changed of them.
pub(crate) const PAGES_HELD_MAX: usize = 4096;

/// Which way an iterator over versions goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// One entry of a lineage.
#[derive(Clone, Debug)]
pub enum LineageEntry {
    /// A version.
    Commit(CompleteCommit),
    /// A version of which retention left the header, and maybe the payloads, but not the pages.
    Header(StoredCommit),
    /// A refusal behind the version before.
    Refusal(Refusal),
}

impl Store {
    /// An object's first version.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), those of the file system, and damage.
    pub fn genesis(&self, id: ObjectId) -> Result<StoredCommit> {
        let first = self.versions(id, 0..1, Direction::Forward)?.next();
        first.ok_or_else(|| Error::not_found("genesis of object", id))?
    }

    /// The versions whose seqs are in `range`, as far as there are.
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

    /// The refusals on record, newest first.
    ///
    /// # Errors
    ///
    /// As of [`Store::versions`].
    pub fn refusals(&self, id: ObjectId) -> Result<Refusals<'_>> {
        let row = self.inner().require_row(id)?;
        Ok(Refusals { inner: self.inner(), next: row.last_refusal(), left: row.refusal_count })
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
                stored = read_commit(&self.inner.log, stored.parent())?;
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
        self.next = Some(stored.parent());
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
}

impl Refusals<'_> {
    /// How many are still to come: the place of the next one among all, from 1, oldest first.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Iterator for Refusals<'_> {
    type Item = Result<Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = self.next.take()?;
        self.left = self.left.saturating_sub(1);
        Some(read_refusal(&self.inner.log, link).map(|stored| {
            self.next = stored.previous();
            stored.refusal
        }))
    }
}

/// An iterator over versions and refusals in lineage order.
#[derive(Debug)]
pub struct Lineage<'a> {
    inner: &'a Inner,
    row: Arc<Row>,
    versions: Versions<'a>,
    started: bool,
    /// The version behind the refusals that come next.
    next: Option<StoredCommit>,
    /// The refusals that come next, the last of them first.
    refusals: Vec<RefusalLink>,
    base: Option<Arc<BaseImage>>,
    /// Pages as the version before left them.
    pages: HashMap<u32, Arc<Page>>,
}

impl<'a> Lineage<'a> {
    /// The lineage as `row` has it.
    pub(crate) fn new(inner: &'a Inner, id: ObjectId, row: Arc<Row>) -> Lineage<'a> {
        let all = 0..u64::MAX;
        let versions = Versions::new(inner, id, Arc::clone(&row), all, Direction::Forward);
        let (next, refusals, base, pages) = Default::default();
        Lineage { inner, row, versions, started: false, next, refusals, base, pages }
    }

    /// The version with its pages.
    fn complete(&mut self, stored: StoredCommit) -> Result<CompleteCommit> {
        if let Some(hash) = stored.begins_from() {
            self.base = Some(self.inner.require_base(hash)?);
        }
        if stored.header().kind == Kind::Upgrade {
            self.pages.clear();
        }
        let base = Arc::clone(self.base.as_ref().expect("a lineage begins from a base image"));
        let held = |index: u32| self.pages.get(&index).cloned();
        let pages = self.inner.changed_pages(self.versions.id, &base, &stored, held)?;
        if self.pages.len() + pages.len() > PAGES_HELD_MAX {
            self.pages.clear();
        }
        let some = pages.iter().take(PAGES_HELD_MAX);
        self.pages.extend(some.map(|(index, page)| (*index, Arc::clone(page))));
        Ok(CompleteCommit { stored, pages: pages.into_iter().collect() })
    }

    /// Gives a version, after noting the refusals and the version that come behind it.
    fn pass(&mut self, stored: StoredCommit) -> Result<StoredCommit> {
        self.next = self.versions.next().transpose()?;
        let mut last = match &self.next {
            Some(next) => next.refusal(),
            None => self.row.last_refusal(),
        };
        while let Some(link) = last.filter(|link| link.hash != stored.header().refusals) {
            let read = read_refusal(&self.inner.log, link)?;
            self.refusals.push(link);
            last = read.previous();
        }
        Ok(stored)
    }

    fn entry(&mut self) -> Result<Option<LineageEntry>> {
        if let Some(link) = self.refusals.pop() {
            let read = read_refusal(&self.inner.log, link)?;
            return Ok(Some(LineageEntry::Refusal(read.refusal)));
        }
        if !std::mem::replace(&mut self.started, true) {
            self.next = self.versions.next().transpose()?;
        }
        let Some(stored) = self.next.take() else { return Ok(None) };
        let stored = self.pass(stored)?;
        match self.complete(stored.clone()) {
            Ok(complete) => Ok(Some(LineageEntry::Commit(complete))),
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => {
                // What the version changed of them is not known.
                self.pages.clear();
                Ok(Some(LineageEntry::Header(stored)))
            }
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Lineage<'_> {
    type Item = Result<LineageEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry();
        if entry.is_err() {
            self.refusals.clear();
            self.versions.range = 0..0;
        }
        entry.transpose()
    }
}

fn link(stored: &StoredCommit) -> Link {
    Link { hash: stored.hash(), position: stored.position() }
}
