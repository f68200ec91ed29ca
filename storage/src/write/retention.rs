//! The rules of retention, set and read: of an object, and of those without one.
//!
//! This module does not know what a rule drops.

use object::hash::ObjectId;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::record::Body;
use crate::record::retention::Retention;
use crate::store::{Inner, Store};

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
        self.log.wait_for_room()?;
        loop {
            let epoch = self.heads.lock().epoch();
            let indexed = self.indexed(|index| index.retention())?.unwrap_or_default();
            let mut heads = self.heads.lock();
            // The rule may have moved to the index meanwhile.
            if heads.epoch() != epoch {
                continue;
            }
            let rule = heads.retention().unwrap_or(indexed);
            let mut body = Body::default();
            body.retention(None, rule);
            let hash = blake3::hash(&body.0);
            self.log.end_segment();
            let pushed = self.push(&mut heads, &body, hash, Box::new(|_| {}));
            let pushed = pushed.map_err(|(error, _)| error)?;
            heads.put_retention(rule);
            drop(heads);
            return pushed.commit().map(drop);
        }
    }

    fn set_retention(&self, object: Option<ObjectId>, retention: Retention) -> Result<()> {
        let mut body = Body::default();
        body.retention(object, retention);
        let hash = blake3::hash(&body.0);
        self.log.wait_for_room()?;
        loop {
            let epoch = self.heads.lock().epoch();
            let before = object.map(|id| self.require_row(id)).transpose()?;
            let mut heads = self.heads.lock();
            // The row may have moved on, or to the index, meanwhile.
            if heads.epoch() != epoch {
                continue;
            }
            let newest = object.and_then(|id| heads.row(&id).cloned()).or(before);
            self.push(&mut heads, &body, hash, Box::new(|_| {})).map_err(|(error, _)| error)?;
            match object.zip(newest) {
                Some((id, before)) => {
                    let mut row = (*before).clone();
                    row.retention = Some(retention);
                    heads.put(id, row, Some(&before));
                }
                None => heads.put_retention(retention),
            }
            return Ok(());
        }
    }
}
