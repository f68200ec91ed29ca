//! Excerpts: the memory of a version, of which only the examined pages are read.
//!
//! Reading all of a large memory takes long; a field is in a page or two. This module does not know
//! which pages are needed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object::hash::ObjectId;
use object::image::BaseImage;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page};

use crate::error::Result;
use crate::read::memory::{Reading, last_written, table_of};
use crate::read::version::StoredCommit;
use crate::rows::pages::PageTable;
use crate::store::{Inner, Store};

/// The stand-in for a page that was not read yet.
static UNREAD: Page = [0; PAGE_BYTES];

/// The memory of a version, whose pages are read when they are examined.
#[derive(Debug)]
pub struct Excerpt<'s> {
    inner: &'s Inner,
    id: ObjectId,
    stored: &'s StoredCommit,
    table: PageTable,
    base: Arc<BaseImage>,
}

impl Store {
    /// Returns the memory of a version of `id`, of which nothing is read yet.
    ///
    /// # Errors
    ///
    /// [`Pruned`](crate::ErrorKind::Pruned), those of the file system, and damage.
    pub fn excerpt<'s>(&'s self, id: ObjectId, stored: &'s StoredCommit) -> Result<Excerpt<'s>> {
        let inner = self.inner();
        let read = || {
            let row = inner.require_row(id)?;
            stored.require(stored.header().seq)?;
            let (table, named) = table_of(&inner.log, stored)?;
            let base = inner.require_base(inner.base_of(&row, Reading { id, stored }, named)?)?;
            Ok(Excerpt { inner, id, stored, table, base })
        };
        read().map_err(|error: crate::error::Error| error.of(id))
    }
}

impl Excerpt<'_> {
    /// Returns the result of `look` on the memory, and the pages that it examined. Calls it again,
    /// with at least one page more, as long as it examines a missing one: the last result is of the
    /// real memory.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn look<T>(&self, look: impl Fn(&dyn Memory) -> T) -> Result<(T, BTreeSet<u32>)> {
        let mut known = BTreeMap::new();
        loop {
            let lacks = RefCell::default();
            let partial = Partial { of: self, known: &known, lacks: &lacks };
            let done = look(&partial);
            let lacks = lacks.into_inner();
            if lacks.is_empty() {
                return Ok((done, known.into_keys().collect()));
            }
            self.read(lacks, &mut known)?;
        }
    }

    /// Reads pages. Those that the object never changed are the base image's.
    fn read(
        &self,
        mut indices: BTreeSet<u32>,
        known: &mut BTreeMap<u32, Option<Arc<Page>>>,
    ) -> Result<()> {
        let reading = Reading { id: self.id, stored: self.stored };
        let entries = self.table.entries().into_iter();
        let entries = entries.filter(|(index, _)| indices.contains(index));
        let found = last_written(&self.inner.log, reading, entries)?;
        let pages = self.inner.bytes_of(reading, &self.base, found, |_| None)?;
        indices.retain(|index| !pages.contains_key(index));
        known.extend(pages.into_iter().map(|(index, page)| (index, Some(page))));
        known.extend(indices.into_iter().map(|index| (index, None)));
        Ok(())
    }
}

/// The known part of a memory, and a record of the missing pages that were examined.
struct Partial<'a> {
    of: &'a Excerpt<'a>,
    /// None for a page of the base image.
    known: &'a BTreeMap<u32, Option<Arc<Page>>>,
    lacks: &'a RefCell<BTreeSet<u32>>,
}

impl Memory for Partial<'_> {
    fn bytes_count(&self) -> u64 {
        self.of.stored.header().memory_bytes
    }

    fn page(&self, index: u32) -> &Page {
        match self.known.get(&index) {
            Some(Some(page)) => page,
            Some(None) => self.of.base.page(index),
            None => {
                self.lacks.borrow_mut().insert(index);
                &UNREAD
            }
        }
    }
}
