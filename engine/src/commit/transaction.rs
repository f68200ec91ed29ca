//! Committing a transaction that all of its objects have reached: their inputs together.
//!
//! This module does not know how an object reaches one: its mailbox does.
//!
//! Invariant: whatever the outcome of a transaction, its objects' turns are ended, and it is
//! answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use object::hash::ObjectId;
use object::input::Input;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Reply;
use crate::commit::commit::{Part, commit_all, fail};
use crate::commit::shared::Shared;
use crate::error::Result;
use crate::metrics::Count;
use crate::run::resident::Resident;
use crate::run::transaction::QueuedTransaction;
use crate::step::runner::Runner;
use crate::step::slots::Slots;

/// Makes an object whose turn stopped at a transaction wait for the others in it. The last one runs
/// it, and ends the turns of all.
pub(crate) fn arrive(shared: &Shared, runner: &mut Runner<'_>, transaction: &QueuedTransaction) {
    let Some(mut state) = transaction.arrive() else { return };
    let reply = state.take_reply();
    let present = state.inputs.iter().map(|(id, _)| shared.residents.scheduled(*id));
    let present: Vec<Arc<Resident>> = present.collect();
    let work = AssertUnwindSafe(|| match state.failed {
        Some(error) => drop(fail(&shared.metrics, reply, error)),
        None => run(shared, runner, state.inputs, &present, reply),
    });
    if catch_unwind(work).is_err() {
        tracing::error!("a transaction panicked");
        shared.metrics.count(Count::TransactionsFailed);
        *runner.slots = Slots::default();
        present.iter().for_each(|resident| *resident.live.lock() = None);
    }
    for resident in present {
        match resident.leave() {
            true => shared.post.queue.push(resident),
            false => shared.residents.make_room(&shared.metrics),
        }
    }
}

/// Runs the inputs, in their order, of the objects that are present.
fn run(
    shared: &Shared,
    runner: &mut Runner<'_>,
    inputs: Vec<(ObjectId, Input)>,
    present: &[Arc<Resident>],
    reply: Reply<Vec<Receipt>>,
) {
    let mut locked: Vec<_> = present.iter().map(|it| (it, it.live.lock())).collect();
    let parts = locked.iter_mut().zip(inputs).map(|((resident, live), (id, mut input))| {
        let live = shared.loaded(runner.stack, resident, live).map_err(|error| error.about(id))?;
        input.time = input.time.max(live.head.header.time);
        Ok(Part { resident, live, input })
    });
    match parts.collect::<Result<Vec<_>>>() {
        Ok(mut parts) => commit_all(shared, runner, &mut parts, reply),
        Err(error) => drop(fail(&shared.metrics, reply, error)),
    }
}
