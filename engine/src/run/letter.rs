//! Letters: the contents of an object's mailbox, with the replies to them.
//!
//! This module does not know how a letter is processed.

use std::sync::Arc;

use object::hash::ObjectId;
use object::input::Input;

use crate::answer::reply::Reply;
use crate::error::Error;
use crate::run::joint::Joint;
use crate::run::mailbox::Mail;

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
    Wake { time: u64 },
    /// Someone asks for the object's own cycle, if it is due by this time.
    Advance { time: u64, reply: Reply },
    /// A transaction has an input of this time for the object, which waits there for the others.
    Join { time: u64, joint: Arc<Joint> },
    /// Messages of other objects are on their way to the object.
    Mail { time: u64 },
}

impl Letter {
    /// The time by which wakes that are due run before it.
    pub(crate) fn wakes_by(&self) -> Option<u64> {
        match self {
            Letter::Input { input, .. } => Some(input.time),
            Letter::Wake { time } | Letter::Join { time, .. } | Letter::Mail { time } => {
                Some(*time)
            }
            Letter::Advance { .. } => None,
        }
    }

    /// Returns whether an object that is ahead of the clock accepts it.
    pub(crate) fn is_let_in(&self, object: ObjectId) -> bool {
        match self {
            Letter::Input { even_if_ahead, .. } => *even_if_ahead,
            Letter::Join { joint, .. } => joint.lets_in(object),
            Letter::Wake { .. } | Letter::Advance { .. } | Letter::Mail { .. } => false,
        }
    }

    /// Answers it with an error.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Letter::Input { reply, .. } | Letter::Advance { reply, .. } => reply.send(Err(error)),
            Letter::Wake { .. } | Letter::Mail { .. } => Reply::none().send(Err(error)),
            Letter::Join { joint, .. } => joint.fail(error),
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
