//! The rows of objects: what an append and a read need to know of the newest version, kept in
//! memory for what was touched since the index was written, and in the index for the rest.
//!
//! ```text
//!            put             begin_flush             end_flush
//!   index -------> recent -------------> flushing -----------> index
//! ```
//!
//! It does not know how rows are stored, nor frames.
//!
//! Invariant: a row in `recent` is newer than one in `flushing`, and that newer than the index's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use object::hash::ObjectId;

use crate::log::Position;
use crate::log::record::BlobHash;
use crate::retention::Retention;
use crate::row::Row;

/// A row that the index does not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) row: Arc<Row>,
    /// The wake in the index's row, which is older.
    pub(crate) indexed_wake: Option<u64>,
}

/// What is to be written to the index, or is known before it is.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    pub(crate) rows: HashMap<ObjectId, Entry>,
    pub(crate) names: HashMap<String, ObjectId>,
    pub(crate) blobs: HashMap<BlobHash, Position>,
    pub(crate) retention: Option<Retention>,
}

/// Pages of an object whose places are kept in memory with its row.
const PAGES_KEPT_MAX: usize = 256;

/// Rows in memory.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    recent: Generation,
    flushing: Option<Arc<Generation>>,
    /// Counts the generations: what was found missing in memory under one may be there in the next.
    epoch: u64,
}

impl Heads {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the index has everything, once what is being written is.
    pub(crate) fn is_written(&self) -> bool {
        let Generation { rows, names, blobs, retention } = &self.recent;
        rows.is_empty() && names.is_empty() && blobs.is_empty() && retention.is_none()
    }

    /// Rows in the generation that is next to be written.
    pub(crate) fn recent_count(&self) -> usize {
        self.recent.rows.len()
    }

    /// The row of an object, when it is in memory.
    pub(crate) fn row(&self, id: &ObjectId) -> Option<&Arc<Row>> {
        let flushing = || self.flushing.as_ref()?.rows.get(id);
        self.recent.rows.get(id).or_else(flushing).map(|entry| &entry.row)
    }

    pub(crate) fn name(&self, name: &str) -> Option<ObjectId> {
        let flushing = || self.flushing.as_ref()?.names.get(name);
        self.recent.names.get(name).or_else(flushing).copied()
    }

    pub(crate) fn blob(&self, hash: &BlobHash) -> Option<Position> {
        let flushing = || self.flushing.as_ref()?.blobs.get(hash);
        self.recent.blobs.get(hash).or_else(flushing).copied()
    }

    /// Puts a changed row; `before` is the one that it follows.
    pub(crate) fn put(&mut self, id: ObjectId, mut row: Row, before: Option<&Row>) {
        // The pages of a large memory are rather read again than kept.
        row.pages = row.pages.filter(|pages| pages.count() <= PAGES_KEPT_MAX);
        let recent = self.recent.rows.get(&id);
        let indexed_wake = match recent {
            Some(entry) => entry.indexed_wake,
            None => before.and_then(|before| before.wake),
        };
        self.recent.rows.insert(id, Entry { row: Arc::new(row), indexed_wake });
    }

    /// Takes in a row as the index has it.
    pub(crate) fn load(&mut self, id: ObjectId, row: Row) {
        let indexed_wake = row.wake;
        self.recent.rows.insert(id, Entry { row: Arc::new(row), indexed_wake });
    }

    /// The row of an object in the generation that is next to be written, to be changed.
    pub(crate) fn row_mut(&mut self, id: &ObjectId) -> Option<&mut Row> {
        self.recent.rows.get_mut(id).map(|entry| Arc::make_mut(&mut entry.row))
    }

    pub(crate) fn put_name(&mut self, name: &str, id: ObjectId) {
        self.recent.names.insert(name.to_string(), id);
    }

    /// The rule of objects without one of their own, when the index may not have it.
    pub(crate) fn retention(&self) -> Option<Retention> {
        let flushing = || self.flushing.as_ref()?.retention;
        self.recent.retention.or_else(flushing)
    }

    pub(crate) fn put_retention(&mut self, retention: Retention) {
        self.recent.retention = Some(retention);
    }

    pub(crate) fn put_blob(&mut self, hash: BlobHash, position: Position) {
        self.recent.blobs.insert(hash, position);
    }

    /// Starts writing what is recent to the index.
    ///
    /// # Panics
    ///
    /// When an earlier generation is still being written.
    pub(crate) fn begin_flush(&mut self) -> Arc<Generation> {
        assert!(self.flushing.is_none(), "generations are written one at a time");
        let generation = Arc::new(std::mem::take(&mut self.recent));
        self.flushing = Some(Arc::clone(&generation));
        self.epoch += 1;
        generation
    }

    /// The generation that was being written is in the index.
    pub(crate) fn end_flush(&mut self) {
        assert!(self.flushing.take().is_some(), "a generation was being written");
        self.epoch += 1;
    }

    /// All rows in memory that the index may not have yet.
    pub(crate) fn unwritten(&self) -> HashMap<ObjectId, Arc<Row>> {
        self.rows().map(|(id, entry)| (*id, Arc::clone(&entry.row))).collect()
    }

    /// The first `limit` of those rows behind `after`, in the order of their ids.
    pub(crate) fn unwritten_after(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> BTreeMap<ObjectId, Arc<Row>> {
        let mut first = BTreeMap::new();
        for (id, entry) in self.rows().filter(|(id, _)| after.is_none_or(|after| **id > after)) {
            // A row that is met twice is the newer one the second time.
            first.insert(*id, Arc::clone(&entry.row));
            if first.len() > limit {
                first.pop_last();
            }
        }
        first
    }

    /// The rows in memory, older ones first.
    fn rows(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        let older = self.flushing.iter().flat_map(|flushing| flushing.rows.iter());
        older.chain(self.recent.rows.iter())
    }
}
