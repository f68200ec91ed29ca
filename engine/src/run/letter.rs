//! Letters: the contents of an object's mailbox, with the replies to them.
//!
//! This module does not know how a letter is processed.

use std::sync::Arc;

use object::hash::ObjectId;
use object::input::Input;
use object::time::Time;

use crate::answer::reply::Reply;
use crate::error::Error;
use crate::run::mailbox::Mail;
use crate::run::transaction::QueuedTransaction;

/// An input that waits for its object.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most letters are inputs")]
pub(crate) enum Letter {
    /// Someone asks for a version.
    Input {
        /// The input, stamped with the time of its posting.
        input: Input,
        reply: Reply,
        /// True if it is let in though the object is ahead of the clock.
        even_if_ahead: bool,
    },
    /// Wakes that are due by this time are to run.
    Wake { time: Time },
    /// Someone asks for the object's own cycle, if it is due by this time.
    Cycle { time: Time, reply: Reply },
    /// A transaction has an input of this time for the object, which waits there for the others.
    Transaction { time: Time, transaction: Arc<QueuedTransaction> },
    /// Messages of other objects are on their way to the object.
    Mail { time: Time },
}

impl Letter {
    /// The time by which wakes that are due run before it.
    pub(crate) fn wakes_by(&self) -> Option<Time> {
        match self {
            Letter::Input { input, .. } => Some(input.time),
            Letter::Wake { time } | Letter::Transaction { time, .. } | Letter::Mail { time } => {
                Some(*time)
            }
            Letter::Cycle { .. } => None,
        }
    }

    /// Returns whether an object that is ahead of the clock accepts it.
    pub(crate) fn accepts_ahead(&self, object: ObjectId) -> bool {
        match self {
            Letter::Input { even_if_ahead, .. } => *even_if_ahead,
            Letter::Transaction { transaction, .. } => transaction.accepts_ahead(object),
            Letter::Wake { .. } | Letter::Cycle { .. } | Letter::Mail { .. } => false,
        }
    }

    /// Answers it with an error.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Letter::Input { reply, .. } | Letter::Cycle { reply, .. } => reply.send(Err(error)),
            Letter::Wake { .. } | Letter::Mail { .. } => Reply::none().send(Err(error)),
            Letter::Transaction { transaction, .. } => transaction.fail(error),
        }
    }
}

impl Mail for Letter {
    /// Returns whether the store has its content anyway.
    fn is_own(&self) -> bool {
        matches!(self, Letter::Wake { .. } | Letter::Mail { .. })
    }

    fn is_word_of_mail(&self) -> bool {
        matches!(self, Letter::Mail { .. })
    }
}
