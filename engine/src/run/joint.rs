//! Transactions on their way: inputs of several objects, which are run together once all of the
//! objects have reached them in their mail.
//!
//! ```text
//!   posted to all mailboxes at once --> each object's turn stops there --> the last one runs all
//! ```
//!
//! An object that has reached one waits, and so does its mail. There is no circular wait: letters
//! of transactions are in the same order in all mailboxes, and the first posted one never waits for
//! a later one. No thread waits at all. This module does not know how versions are made, nor where
//! its objects are: a waiting object stays scheduled, so the last one finds them all in memory.
//!
//! Invariant: a transaction is given out once, to the last object.

use object::hash::ObjectId;
use object::input::Input;
use storage::lock::Mutex;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Reply;
use crate::error::Error;
use crate::rank;

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Joint {
    /// The objects that are let in though they are ahead of the clock.
    let_in: Vec<ObjectId>,
    meeting: Mutex<Meeting, rank::Meeting>,
}

#[derive(Debug, Default)]
pub(crate) struct Meeting {
    /// Each of another object, in the order in which they run.
    pub(crate) inputs: Vec<(ObjectId, Input)>,
    reply: Option<Reply<Vec<Receipt>>>,
    /// The number of objects that have reached it.
    present: usize,
    /// The error that keeps it from being run.
    pub(crate) failed: Option<Error>,
}

impl Meeting {
    /// Takes the reply to the transaction, once.
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

    /// Returns whether this object of it is let in though it is ahead of the clock.
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

    /// Notes why it cannot be run. Its objects reach it all the same.
    pub(crate) fn fail(&self, error: Error) {
        self.meeting.lock().failed.get_or_insert(error);
    }

    /// Notes that one of its objects has reached it; returns the work, when it was the last.
    pub(crate) fn arrive(&self) -> Option<Meeting> {
        let mut meeting = self.meeting.lock();
        meeting.present += 1;
        (meeting.present == meeting.inputs.len()).then(|| std::mem::take(&mut *meeting))
    }
}
