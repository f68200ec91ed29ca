//! Dead letters that are sent on their way again, or dropped.
//!
//! This module does not know who delivers messages, nor why they could not be delivered.
//!
//! Invariant: a frame that takes a dead letter is appended only while that letter exists.

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::record::event::Event;
use crate::record::message::{Fate, MessageId, Taking};
use crate::rows::heads::Heads;
use crate::store::{Inner, Store};
use crate::write::push::Changes;

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
        if let Some(dead) = self.inner().find_dead(id)? {
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
        let gone = || {
            let place = format!("message {} of the frame at {}", id.number, id.position);
            Error::not_found("dead letter", place).of(id.to)
        };
        let look = || self.find_dead(id)?.ok_or_else(gone);
        // Another may have taken it since it was found in the index.
        let is_there = |heads: &Heads| heads.dead(id).is_none_or(|known| known.is_some());
        let (dead, heads) = self.look_up(look, |_, heads| is_there(heads))?;
        let changes = Changes { dead: Some(dead), ..Changes::default() };
        self.record_event(heads, Event::Taken(Taking { id, fate }), changes)
    }
}
