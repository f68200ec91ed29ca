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
use object::time::Time;
use storage::lock::Mutex;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Reply;
use crate::error::Error;
use crate::rank;

/// A transaction whose objects have not all reached it yet.
#[derive(Debug)]
pub(crate) struct QueuedTransaction {
    /// The objects whose inputs are accepted although they are ahead of the clock.
    accepted_ahead: Vec<ObjectId>,
    state: Mutex<TransactionState, rank::Transaction>,
}

/// The inputs of a transaction, and the number of its objects that have reached it.
#[derive(Debug, Default)]
pub(crate) struct TransactionState {
    /// Each of another object, in the order in which they run.
    pub(crate) inputs: Vec<(ObjectId, Input)>,
    reply: Option<Reply<Vec<Receipt>>>,
    /// The number of objects that have reached it.
    present: usize,
    /// The error that keeps it from being run.
    pub(crate) failed: Option<Error>,
}

impl TransactionState {
    /// Takes the reply to the transaction, once.
    pub(crate) fn take_reply(&mut self) -> Reply<Vec<Receipt>> {
        self.reply.take().expect("a transaction is run once")
    }
}

impl QueuedTransaction {
    /// Returns a transaction of inputs of different objects, at least one, in the order in which
    /// they run; inputs of the objects `accepted_ahead` are accepted although these are ahead of
    /// the clock.
    pub(crate) fn new(
        inputs: Vec<(ObjectId, Input)>,
        accepted_ahead: Vec<ObjectId>,
        reply: Reply<Vec<Receipt>>,
    ) -> QueuedTransaction {
        let state = TransactionState { inputs, reply: Some(reply), ..TransactionState::default() };
        QueuedTransaction { accepted_ahead, state: Mutex::new(state) }
    }

    /// Returns whether the input of this object is accepted although the object is ahead of the
    /// clock.
    pub(crate) fn accepts_ahead(&self, object: ObjectId) -> bool {
        self.accepted_ahead.contains(&object)
    }

    /// The objects, ascending, each with the time of its input.
    pub(crate) fn objects(&self) -> Vec<(ObjectId, Time)> {
        let inputs = &self.state.lock().inputs;
        let mut objects: Vec<_> = inputs.iter().map(|(id, input)| (*id, input.time)).collect();
        objects.sort_unstable();
        objects
    }

    /// Notes why it cannot be run. Its objects reach it all the same.
    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().failed.get_or_insert(error);
    }

    /// Notes that one of its objects has reached it; returns the work, when it was the last.
    pub(crate) fn arrive(&self) -> Option<TransactionState> {
        let mut state = self.state.lock();
        state.present += 1;
        (state.present == state.inputs.len()).then(|| std::mem::take(&mut *state))
    }
}
