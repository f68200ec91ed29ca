//! Moving: an object that continues elsewhere ends here, on record, until it comes back.
//!
//! This module does not know the destination.
//!
//! Invariant: nothing is appended to an object while it is moved away.

use object::hash::ObjectId;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::record::Body;
use crate::rows::row::Row;
use crate::store::{Inner, Store};

impl Store {
    /// Ends an object here, as it continues elsewhere, or takes it back; waits until that is
    /// durable. Returns whether that was a change.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), and those of [`Store::append`].
    pub fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let is_new = self.inner().set_moved(id, moved)?;
        self.sync()?;
        Ok(is_new)
    }
}

impl Inner {
    fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let mut body = Body::default();
        body.moved(id, moved);
        let hash = blake3::hash(&body.0);
        self.log.wait_for_room()?;
        loop {
            let epoch = self.heads.lock().epoch();
            let before = self.require_row(id)?;
            let mut heads = self.heads.lock();
            // The row may have moved on, or to the index, meanwhile.
            if heads.epoch() != epoch {
                continue;
            }
            let before = heads.row(&id).cloned().unwrap_or(before);
            if before.moved == moved {
                return Ok(false);
            }
            self.push(&mut heads, &body, hash, Box::new(|_| {})).map_err(|(error, _)| error)?;
            heads.put(id, Row { moved, ..Row::clone(&before) }, Some(&before));
            return Ok(true);
        }
    }
}
