//! Transactions on their way: inputs of several objects, which are worked through together once all
//! of the objects have come to them in their mail.
//!
//! ```text
//!   posted to all mailboxes at once --> each object's turn stops there --> the last one runs all
//! ```
//!
//! An object that has come to one waits, and so does its mail. Nobody waits in a circle: letters of
//! transactions are in the same order in all mailboxes, and the one that was posted first never
//! waits for a later one. No thread waits at all. It does not know how versions are made, nor where
//! its objects are: one that waits stays scheduled, so whoever comes last finds them all in memory.
//!
//! Invariant: a transaction is given out once, to whoever comes last.

use object::hash::ObjectId;
use object::input::Input;
use parking_lot::Mutex;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Reply;
use crate::error::Error;

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Joint {
    /// The objects that are let in though they are ahead of the clock.
    let_in: Vec<ObjectId>,
    meeting: Mutex<Meeting>,
}

#[derive(Debug, Default)]
pub(crate) struct Meeting {
    /// Each of another object, in the order in which they run.
    pub(crate) inputs: Vec<(ObjectId, Input)>,
    reply: Option<Reply<Vec<Receipt>>>,
    /// How many have come to it.
    present: usize,
    /// What keeps it from being run.
    pub(crate) failed: Option<Error>,
}

impl Meeting {
    /// Who is answered, once.
    pub(crate) fn take_reply(&mut self) -> Reply<Vec<Receipt>> {
        self.reply.take().expect("a transaction is run once")
    }
}

impl Joint {
    /// Inputs of different objects, at least one, in the order in which they run; some objects are
    /// let in though they are ahead of the clock.
    pub(crate) fn new(
        inputs: Vec<(ObjectId, Input)>,
        let_in: Vec<ObjectId>,
        reply: Reply<Vec<Receipt>>,
    ) -> Joint {
        let meeting = Meeting { inputs, reply: Some(reply), ..Meeting::default() };
        Joint { let_in, meeting: Mutex::new(meeting) }
    }

    /// Whether this one of its objects is let in though it is ahead of the clock.
    pub(crate) fn lets_in(&self, object: ObjectId) -> bool {
        self.let_in.contains(&object)
    }

    /// The objects, ascending, each with the time of its input.
    pub(crate) fn objects(&self) -> Vec<(ObjectId, u64)> {
        let inputs = &self.meeting.lock().inputs;
        let mut objects: Vec<_> = inputs.iter().map(|(id, input)| (*id, input.time)).collect();
        objects.sort_unstable();
        objects
    }

    /// Takes in why it cannot be run. Its objects come to it all the same.
    pub(crate) fn fail(&self, error: Error) {
        self.meeting.lock().failed.get_or_insert(error);
    }

    /// Takes in that one of its objects has come to it: what there is to do, when it was the last.
    pub(crate) fn arrive(&self) -> Option<Meeting> {
        let mut meeting = self.meeting.lock();
        meeting.present += 1;
        (meeting.present == meeting.inputs.len()).then(|| std::mem::take(&mut *meeting))
    }
}
