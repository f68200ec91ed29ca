//! The changes of messages in a generation of rows.
//!
//! This module does not know how they are sent, nor who takes them.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::message::{Dead, Fate, MessageId, Sent};

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

    pub(crate) fn send(&mut self, id: MessageId, sent: Sent) {
        self.changed.insert(id, Some(sent));
    }

    pub(crate) fn take(&mut self, id: MessageId, sent: Sent, fate: &Fate) {
        // One that came in the same generation never was anywhere else.
        if self.changed.remove(&id).is_none() || self.again.contains(&id) {
            self.changed.insert(id, None);
        }
        if let Fate::Dead(why) = fate {
            self.dead.insert(id, Some(Dead { sent, why: why.clone() }));
        }
    }

    /// Ends a dead letter; it is on its way again if `again` has its message.
    pub(crate) fn let_go(&mut self, id: MessageId, again: Option<Sent>) {
        self.dead.insert(id, None);
        if let Some(sent) = again {
            self.changed.insert(id, Some(sent));
            self.again.insert(id);
        }
    }
}
