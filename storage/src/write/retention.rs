//! The rules of retention, set and read: of an object, and of those without one.
//!
//! This module does not know what a rule drops.

use object::hash::ObjectId;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::record::event::Event;
use crate::record::retention::Retention;
use crate::store::{Inner, Store};
use crate::write::push::{Changes, Drafted};

impl Store {
    /// Sets how much history is kept of an object, or of every object that has no rule of its own;
    /// waits until that is durable. Nothing is dropped before the store is compacted.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), and those of [`Store::append`].
    pub fn set_retention(&self, object: Option<ObjectId>, retention: Retention) -> Result<()> {
        self.inner().set_retention(object, retention)?;
        self.sync()
    }

    /// Returns how much history is kept of an object, or of every object that has no rule of its
    /// own.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), those of the file system, and damage.
    pub fn retention(&self, object: Option<ObjectId>) -> Result<Retention> {
        match object {
            Some(id) => {
                let own = self.inner().require_row(id)?.retention;
                own.map_or_else(|| self.inner().retention(), Ok)
            }
            None => self.inner().retention(),
        }
    }
}

impl Inner {
    /// The rule of objects without one of their own.
    pub(crate) fn retention(&self) -> Result<Retention> {
        let known = self.heads.lock().retention();
        match known {
            Some(retention) => Ok(retention),
            None => Ok(self.indexed(|index| index.retention())?.unwrap_or_default()),
        }
    }

    /// Puts the rule of objects without one of their own on record once more, at the start of a new
    /// segment of the log, and waits until that is durable.
    pub(crate) fn restate_retention(&self) -> Result<()> {
        let look = || Ok(self.indexed(|index| index.retention())?.unwrap_or_default());
        let (indexed, heads) = self.look_up(look, |_, _| true)?;
        let rule = heads.retention().unwrap_or(indexed);
        self.log.end_segment();
        // The index is not written now: the caller may have left room for no more than this frame.
        let (pushed, _) =
            self.push_event(heads, Event::Retention(None, rule), Changes::default())?;
        pushed.commit().map(drop)
    }

    fn set_retention(&self, object: Option<ObjectId>, retention: Retention) -> Result<()> {
        let retention = retention.kept();
        let look = || {
            let row = |id| self.require_row(id).map(|row| Drafted::new(id, row));
            let rows = object.map(row).transpose()?.into_iter().collect();
            Ok(Changes { rows, ..Changes::default() })
        };
        let (changes, heads) = self.look_up(look, Changes::hold)?;
        self.record_event(heads, Event::Retention(object, retention), changes)
    }
}
