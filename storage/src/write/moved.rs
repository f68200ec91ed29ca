//! Moving: an object that continues elsewhere ends here, on record, until it comes back.
//!
//! This module does not know the destination.
//!
//! Invariant: nothing is appended to an object while it is moved away.

use object::hash::ObjectId;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::record::event::Event;
use crate::store::{Inner, Store};
use crate::write::push::{Changes, Drafted};

impl Store {
    /// Ends an object here, as it continues elsewhere, or takes it back; waits until that is
    /// durable. Returns whether that was a change.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`Deleted`](ErrorKind::Deleted) for an object that
    /// continues nowhere, and those of [`Store::append`].
    pub fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let is_new = self.inner().set_moved(id, moved)?;
        self.sync()?;
        Ok(is_new)
    }
}

impl Inner {
    fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let look = || Ok(Drafted::new(id, self.require_row(id)?));
        let (drafted, heads) = self.look_up(look, Drafted::holds)?;
        if drafted.after.moved == moved {
            return Ok(false);
        }
        drafted.after.require_living(id)?;
        self.record_event(heads, Event::Moved(id, moved), Changes::of_row(drafted))?;
        Ok(true)
    }
}
