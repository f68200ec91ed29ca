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
use storage::Append;

use crate::answer::receipt::Receipt;
use crate::answer::reply::Reply;
use crate::commit::admitted::Admitted;
use crate::commit::commit::measured;
use crate::commit::record::{Asked, fail, put, refuse};
use crate::commit::shared::Shared;
use crate::error::Result;
use crate::head::live::Live;
use crate::metrics::Count;
use crate::run::resident::Resident;
use crate::run::transaction::QueuedTransaction;
use crate::step::runner::Runner;
use crate::step::slots::Slots;
use crate::step::stop::Stop;

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
    assert_eq!(present.len(), inputs.len(), "an object has come for each input");
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

/// An input of a transaction, with its object.
struct Part<'a> {
    resident: &'a Resident,
    live: &'a mut Live,
    input: Input,
}

/// Makes the next versions of several objects, in one frame of the log, or of none of them: then
/// the first refusal is put on record, on the object that refused.
fn commit_all(
    shared: &Shared,
    runner: &mut Runner<'_>,
    parts: &mut [Part<'_>],
    reply: Reply<Vec<Receipt>>,
) {
    let Shared { library, credentials, metrics, .. } = shared;
    let mut admitted: Vec<Admitted> = Vec::with_capacity(parts.len());
    for Part { live, input, .. } in &mut *parts {
        let one = measured(library, credentials, metrics, runner, live, input)
            .and_then(|step| Ok(Admitted::new(library, live, input, step)?));
        match one {
            Ok(one) => admitted.push(one),
            Err(Stop::Refused(verdict)) => {
                // The refusing object's reply has the answer.
                let asked = Asked::new(input, reply);
                return drop(refuse(library, metrics, runner.stack, live, asked, verdict));
            }
            Err(Stop::Failed(error)) => {
                return drop(fail(metrics, reply, error.about(live.head.id)));
            }
        }
    }
    assert_eq!(admitted.len(), parts.len(), "every input is admitted, or none");
    let message_count = admitted.iter().map(Admitted::message_count).sum();
    if let Err(error) = library.has_room_for(message_count) {
        return drop(fail(metrics, reply, error));
    }
    let receipts = admitted.iter_mut().zip(&*parts);
    let receipts = receipts.map(|(admitted, part)| admitted.receipt(part.live, &part.input));
    let receipts = Ok(receipts.collect());
    let mut append = Append { changes: Vec::with_capacity(parts.len()), ..Append::default() };
    for (admitted, part) in admitted.iter().zip(&*parts) {
        admitted.add_to(&mut append, part.live, &part.input);
    }
    assert_eq!(append.changes.len(), parts.len(), "all of a transaction is in one append");
    let first = parts[0].live.head.id;
    let put = put(&library.store, metrics, first, &append, reply, receipts);
    drop(append);
    let Ok(early) = put else {
        return parts.iter_mut().for_each(|part| part.live.stale = true);
    };
    metrics.count(Count::TransactionsCommitted);
    for (admitted, part) in admitted.into_iter().zip(parts) {
        admitted.publish(shared, runner.stack, part.resident, part.live, &part.input);
    }
    early.send(Ok(()));
}
