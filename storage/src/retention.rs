//! Retention: how much of its history a database or an object keeps whole.
//!
//! It says what may go; compaction lets it go. It does not know records.

use object::codec::{Reader, Write};
use object::hash::ObjectId;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::log::record::Body;
use crate::store::{Inner, Store};

/// How many of an object's newest versions are kept whole. Of those before, the header stays, so
/// the lineage can still be verified; payloads and memories go when the store is compacted. The
/// newest version is always kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// All of them.
    #[default]
    All,
    /// This many.
    Versions(u64),
    /// Those that were the newest at some moment of the last so many milliseconds, as a compaction
    /// [counts](crate::Ages) them.
    Age(u64),
}

const ALL: u8 = 0;
const VERSIONS: u8 = 1;
const AGE: u8 = 2;

impl Retention {
    /// The rule as two numbers.
    pub(crate) fn to_parts(self) -> (u8, u64) {
        match self {
            Retention::All => (ALL, 0),
            Retention::Versions(count) => (VERSIONS, count),
            Retention::Age(milliseconds) => (AGE, milliseconds),
        }
    }

    /// The rule that the numbers are.
    pub(crate) fn from_parts(rule: u8, value: u64) -> Option<Retention> {
        match (rule, value) {
            (ALL, 0) => Some(Retention::All),
            (VERSIONS, count) => Some(Retention::Versions(count)),
            (AGE, milliseconds) => Some(Retention::Age(milliseconds)),
            _ => None,
        }
    }

    pub(crate) fn put(self, to: &mut Vec<u8>) {
        let (rule, value) = self.to_parts();
        to.put_u8(rule).put_u64(value);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Retention> {
        let (rule, value) = (reader.u8()?, reader.u64()?);
        let known = Retention::from_parts(rule, value);
        known.ok_or_else(|| reader.fail(9, "a rule of retention", rule).into())
    }
}

impl Store {
    /// Sets how much history is kept of an object, or of every object that has no rule of its own;
    /// waits until that is durable. Nothing goes before the store is compacted.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), and those of [`Store::append`].
    pub fn set_retention(&self, object: Option<ObjectId>, retention: Retention) -> Result<()> {
        self.inner().set_retention(object, retention)?;
        self.sync()
    }

    /// How much history is kept of an object, or of every object that has no rule of its own.
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
