//! The overdue wakes of all objects: those that were due and made no version.
//!
//! The record of a missed wake is kept here while its object is out of memory. This module does not
//! know when a wake is tried again (`missed`), nor how it is run.
//!
//! Invariant: an entry is of the wake of the object's newest version, or of an earlier wake.

use std::collections::BTreeMap;

use object::hash::ObjectId;
use object::time::Time;
use storage::lock::Mutex;

use crate::head::missed::{Cause, Missed};
use crate::rank;

/// A wake that is due and has made no version, as [`Database::overdue`] gives it.
///
/// [`Database::overdue`]: crate::Database::overdue
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overdue {
    /// The object.
    pub object: ObjectId,
    /// The time at which it was due.
    pub wake: Time,
    /// The time of its next try, unless the object changes before, or someone asks for it.
    pub retry: Time,
    /// The cause for which it has made no version.
    pub cause: Cause,
}

/// The records of all objects' missed wakes.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<BTreeMap<ObjectId, Missed>, rank::Missed>);

impl Table {
    pub(crate) fn put(&self, id: ObjectId, missed: Missed) {
        self.0.lock().insert(id, missed);
    }

    pub(crate) fn remove(&self, id: ObjectId) {
        self.0.lock().remove(&id);
    }

    /// Returns the record of this wake of an object.
    pub(crate) fn find(&self, id: ObjectId, wake: Time) -> Option<Missed> {
        self.0.lock().get(&id).filter(|missed| missed.wake == wake).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// All of them, in the order of the objects' ids.
    pub(crate) fn all(&self) -> Vec<Overdue> {
        let all = self.0.lock();
        let overdue = all.iter().map(|(&object, missed)| {
            let Missed { wake, retry, cause, .. } = missed.clone();
            Overdue { object, wake, retry, cause }
        });
        overdue.collect()
    }
}
