//! Dead letters that are sent on their way again, or dropped.
//!
//! This module does not know who delivers messages, nor why they could not be delivered.
//!
//! Invariant: a frame that takes a dead letter is appended only while that letter exists.

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::record::Body;
use crate::record::message::{Fate, MessageId, Taking};
use crate::store::{Inner, Store};

impl Store {
    /// Sends a dead letter on its way again: the same message, from the same place, to the same
    /// receiver. Returns before that is durable; a crash leaves it dead or on its way, never both.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no such dead letter,
    /// [`Pruned`](ErrorKind::Pruned) when retention dropped its content; those of the file system,
    /// and damage.
    pub fn retry_dead_letter(&self, id: MessageId) -> Result<()> {
        if let Some(dead) = self.inner().find_dead(id)?.0 {
            let stored = self.inner().sender(id, dead.sent)?;
            stored.payloads().ok_or_else(|| stored.pruned(stored.header().seq))?;
        }
        self.inner().let_go(id, Fate::Again)
    }

    /// Drops a dead letter, for good; that stays on record in the log. Returns before it is
    /// durable.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no such dead letter; those of the file
    /// system.
    pub fn drop_dead_letter(&self, id: MessageId) -> Result<()> {
        self.inner().let_go(id, Fate::Dropped)
    }
}

impl Inner {
    /// Takes a dead letter, for `fate`, in a frame of its own.
    fn let_go(&self, id: MessageId, fate: Fate) -> Result<()> {
        let taking = Taking { id, fate };
        let mut body = Body::default();
        body.taken(&taking);
        let hash = blake3::hash(&body.0);
        let gone = || {
            let place = format!("message {} of the frame at {}", id.number, id.position);
            Error::not_found("dead letter", place).of(id.to)
        };
        loop {
            self.log.wait_for_room()?;
            let (found, epoch) = self.find_dead(id)?;
            let dead = found.ok_or_else(gone)?;
            let mut heads = self.heads.lock();
            if heads.epoch() != epoch {
                continue;
            }
            // Another may have taken it since it was found in the index.
            if heads.dead(id).is_some_and(|known| known.is_none()) {
                return Err(gone());
            }
            let pushed = self.push(&mut heads, &body, hash, Box::new(|_| {}));
            let pushed = pushed.map_err(|(error, _)| error)?;
            heads.let_go(&taking, dead.sent);
            drop(heads);
            drop(pushed);
            return Ok(());
        }
    }
}
