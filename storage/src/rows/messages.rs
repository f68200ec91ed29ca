//! The changes of messages in a generation of rows.
//!
//! This module does not know how they are sent, nor who takes them.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::message::{Dead, MessageId, Sent};

/// The changes of messages in a generation of rows.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Messages that came on their way, or went.
    pub(crate) changed: BTreeMap<MessageId, Option<Sent>>,
    /// Dead letters that came, or went.
    pub(crate) dead: BTreeMap<MessageId, Option<Dead>>,
    /// Messages that came on their way again: the index may still have rows from their first time.
    again: BTreeSet<MessageId>,
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.dead.is_empty()
    }

    /// Notes a message that is on its way; again, when it was a dead letter.
    pub(crate) fn send(&mut self, id: MessageId, sent: Sent) {
        self.changed.insert(id, Some(sent));
        if self.dead.contains_key(&id) {
            self.again.insert(id);
        }
    }

    /// Notes a message that is on its way no more.
    pub(crate) fn take(&mut self, id: MessageId) {
        // One that came in the same generation never was anywhere else.
        if self.changed.remove(&id).is_none() || self.again.contains(&id) {
            self.changed.insert(id, None);
        }
    }

    pub(crate) fn put_dead(&mut self, id: MessageId, dead: Dead) {
        self.dead.insert(id, Some(dead));
    }

    /// Notes a dead letter that is none any more.
    pub(crate) fn take_dead(&mut self, id: MessageId) {
        self.dead.insert(id, None);
    }
}
