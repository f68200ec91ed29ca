//! Transactions on their way: inputs of several objects, which are worked through together once all
//! of the objects have come to them in their mail.
//!
//! ```text
//!   posted to all mailboxes at once --> each object's turn stops there --> the last one runs all
//! ```
//!
//! An object that has come to one waits, and so does its mail. Nobody waits in a circle: letters of
//! transactions are in the same order in all mailboxes, and the one that was posted first never
//! waits for a later one. No thread waits at all. It does not know how versions are made.
//!
//! Invariant: whatever becomes of a transaction, its objects' turns are ended, and it is answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use object::hash::ObjectId;
use object::input::Input;
use parking_lot::Mutex;

use crate::commit::{Part, commit_all, fail};
use crate::error::{Error, Result};
use crate::metrics::Count;
use crate::reply::{Receipt, Reply};
use crate::resident::Resident;
use crate::shared::Shared;
use crate::slots::Slots;
use crate::turn::loaded;

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Joint {
    count: usize,
    /// The objects that are let in though they are ahead of the clock.
    let_in: Vec<ObjectId>,
    meeting: Mutex<Meeting>,
}

#[derive(Debug, Default)]
struct Meeting {
    /// Each of another object, in the order in which they run.
    inputs: Vec<(ObjectId, Input)>,
    reply: Option<Reply<Vec<Receipt>>>,
    /// Those that have come to it.
    present: Vec<Arc<Resident>>,
    /// What keeps it from being run.
    failed: Option<Error>,
}

impl Joint {
    /// Inputs of different objects, at least one, in the order in which they run; some objects are
    /// let in though they are ahead of the clock.
    pub(crate) fn new(
        inputs: Vec<(ObjectId, Input)>,
        let_in: Vec<ObjectId>,
        reply: Reply<Vec<Receipt>>,
    ) -> Joint {
        let count = inputs.len();
        let meeting = Meeting { inputs, reply: Some(reply), ..Meeting::default() };
        Joint { count, let_in, meeting: Mutex::new(meeting) }
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

    /// Takes in that an object has come to it: what there is to do, when it was the last.
    fn arrive(&self, resident: Arc<Resident>) -> Option<Meeting> {
        let mut meeting = self.meeting.lock();
        meeting.present.push(resident);
        (meeting.present.len() == self.count).then(|| std::mem::take(&mut *meeting))
    }
}

/// Has an object whose turn stopped at a transaction wait for the others in it. The last one runs
/// it, and ends the turns of all.
pub(crate) fn meet(shared: &Shared, slots: &mut Slots, joint: &Joint, resident: Arc<Resident>) {
    let Some(Meeting { inputs, reply, present, failed }) = joint.arrive(resident) else { return };
    let reply = reply.expect("a transaction is run once");
    let work = AssertUnwindSafe(|| match failed {
        Some(error) => drop(fail(shared, reply, error)),
        None => run(shared, slots, inputs, &present, reply),
    });
    if catch_unwind(work).is_err() {
        tracing::error!("a transaction panicked");
        shared.metrics().count(Count::TransactionsFailed);
        *slots = Slots::default();
        present.iter().for_each(|resident| *resident.live.lock() = None);
    }
    for resident in present {
        if resident.leave(shared) {
            shared.schedule(resident);
        }
    }
}

fn run(
    shared: &Shared,
    slots: &mut Slots,
    inputs: Vec<(ObjectId, Input)>,
    present: &[Arc<Resident>],
    reply: Reply<Vec<Receipt>>,
) {
    let find = |id| present.iter().find(|resident| resident.id == id);
    let residents = inputs.iter().map(|(id, _)| find(*id).expect("all of them are present"));
    let mut held: Vec<_> = residents.map(|resident| (resident, resident.live.lock())).collect();
    let parts = held.iter_mut().zip(inputs).map(|((resident, live), (id, mut input))| {
        let live = loaded(shared, resident, live).map_err(|error| error.about(id))?;
        input.time = input.time.max(live.head.header.time);
        Ok(Part { resident, live, input })
    });
    match parts.collect::<Result<Vec<_>>>() {
        Ok(mut parts) => commit_all(shared, slots, &mut parts, reply),
        Err(error) => drop(fail(shared, reply, error)),
    }
}
