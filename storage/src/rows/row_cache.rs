//! A cache of rows that were read from the index lately: waking an object asks for its row several
//! times in a row, to find it, to load it and to append to it.
//!
//! This module does not know the index. The cache is valid for one epoch of the heads: the index's
//! row of an object changes only when a flush begins a new one.
//!
//! Invariant: a row found under an epoch is the index's row of an object that the heads of that
//! epoch do not have.

use std::sync::Arc;

use object::hash::ObjectId;

use crate::rows::row::Row;

/// Rows that are kept: about 1 KiB each, and 16 bytes for each page if they know their pages.
const PLACES: usize = 256;

/// The rows, each in the one place where its object's may be.
#[derive(Debug)]
pub(crate) struct RowCache {
    epoch: u64,
    places: Vec<Option<(ObjectId, Arc<Row>)>>,
}

impl Default for RowCache {
    fn default() -> RowCache {
        RowCache { epoch: 0, places: vec![None; PLACES] }
    }
}

impl RowCache {
    /// The row of an object that was read in this epoch.
    pub(crate) fn find(&self, epoch: u64, id: ObjectId) -> Option<Arc<Row>> {
        let (cached, row) = self.places[place(id)].as_ref()?;
        (self.epoch == epoch && *cached == id).then(|| Arc::clone(row))
    }

    /// Takes in a row that was read when the heads, which did not have it, were of this epoch.
    pub(crate) fn put(&mut self, epoch: u64, id: ObjectId, row: Arc<Row>) {
        if self.epoch < epoch {
            *self = RowCache { epoch, ..RowCache::default() };
        }
        if self.epoch == epoch {
            self.places[place(id)] = Some((id, row));
        }
    }
}

fn place(id: ObjectId) -> usize {
    // An id is a hash.
    usize::from(id.0[0]) % PLACES
}
