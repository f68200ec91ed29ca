//! What waits for an object in its mailbox, and who is answered.
//!
//! It does not know how a letter is worked through.

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
        /// Its time is when it was posted.
        input: Input,
        reply: Reply,
        /// Whether it is let in though the object is ahead of the clock.
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

    /// Whether an object that is ahead of the clock takes it.
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
    /// Whether it is about what the store has anyway.
    fn is_own(&self) -> bool {
        matches!(self, Letter::Wake { .. } | Letter::Mail { .. })
    }

    fn is_word_of_mail(&self) -> bool {
        matches!(self, Letter::Mail { .. })
    }
}
