//! The commit path: one input, from the mailbox to a version that is on its way to the disk.
//!
//! Anything that fails before the append leaves no trace but a refusal. The reply is released when
//! the version is in memory and durable, or, if the caller asked for that, when it is in memory; an
//! append waits for the disk only when the log is far behind.
//!
//! It does not know threads or queues. It holds the only code that appends versions.

use std::sync::Arc;

use object::admission::{admit, authenticate};
use object::commit::Commit;
use object::credential::{Memo, PublicKey};
use object::definition::Definition;
use object::effects::{Admission, Effects, encode_globals};
use object::hash::ObjectId;
use object::header::Header;
use object::input::{Input, Request};
use object::refusal::{Refusal, Verdict};
use object::schema::{Value, decode_value};
use storage::{Append, Blob, Change, NewCommit, Store};

use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::Asker;
use crate::refusers::{Refuser, Refusers};
use crate::reply::{Early, Receipt, Reply};
use crate::resident::{Live, Resident};
use crate::shared::Shared;
use crate::slots::Slots;
use crate::step::{Ran, Stop, run};
use crate::ticket::Ticket;

/// Makes the next version of an object of `input`, or puts its refusal on record. The reply has the
/// answer; what is given is whether it is a verdict.
///
/// # Errors
///
/// The host or the store failed, so that there is no verdict.
pub(crate) fn commit(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    input: Input,
    reply: Reply,
) -> Result<()> {
    match step(shared.catalog(), slots, live, &input, shared.memo()) {
        Ok((ran, admission)) => append(shared, resident, live, &input, ran, admission, reply),
        Err(Stop::Refused(verdict)) => refuse(shared, live, &input, verdict, reply),
        Err(Stop::Failed(error)) => {
            let error = error.about(live.head.id);
            reply.send(Err(error.clone()));
            Err(error)
        }
    }
}

/// Verifies who asks, runs the step, and has it admitted. Changes nothing but the slot, which
/// holds the memory of the version to be or, after an error, that of the head.
pub(crate) fn step(
    catalog: &Catalog,
    slots: &mut Slots,
    live: &Live,
    input: &Input,
    memo: &Memo,
) -> Result<(Ran, Admission), Stop> {
    let signers: Vec<PublicKey> = authenticate(&live.head, input, memo).map_err(Stop::Refused)?;
    let hash = live.definition.code.hash;
    let loaded = slots.objects.load(hash, &live.code, &live.image)?;
    let ran = run(loaded, &live.definition, &live.image, &live.globals, input)?;
    let guards = &mut Asker::new(catalog, &mut slots.guards);
    match admit(&live.definition, &live.head, signers, ran.of(input, &live.image), guards) {
        Ok(admission) => {
            // Without the code the slot is left alone: it still holds the image from before.
            if input.request.runs_code() {
                loaded.accept(&ran.image);
            }
            Ok((ran, admission))
        }
        Err(stop) => {
            loaded.reject()?;
            Err(stop)
        }
    }
}

/// Appends the version to the log and publishes it to readers.
fn append(
    shared: &Shared,
    resident: &Resident,
    live: &mut Live,
    input: &Input,
    ran: Ran,
    admission: Admission,
    reply: Reply,
) -> Result<()> {
    live.tree.update(&ran.image, &ran.changed);
    let (header, ledger) = live.head.successor(input, &ran.outcome(&live.tree), &admission);
    let new_ledger = (!Arc::ptr_eq(&ledger, &live.head.ledger)).then(|| ledger.encode());
    let globals = (ran.globals != live.globals).then(|| encode_globals(&ran.globals));
    let commit = Commit {
        header: header.clone(),
        input: &input.encode(),
        effects: &ran.effects.encode(),
        admission: &admission.encode(),
        globals: globals.as_deref(),
        pages: ran.pages().collect(),
    };
    let change =
        NewCommit { commit, base: None, ledger: new_ledger.as_deref(), before: Some(&live.image) };
    let policy = match &input.request {
        Request::Amend { policy } => Some(Blob::Policy(policy)),
        _ => None,
    };
    let blobs = policy.into_iter().collect();
    let append = Append { blobs, changes: vec![Change::Commit(change)], ..Append::default() };
    let receipt = receipt(&live.definition, &header, input, &ran, admission.rules);
    let early = put(shared.store(), live.head.id, &append, reply, Ok(receipt));
    let early = early.inspect_err(|_| live.stale = true)?;
    let armed = live.armed();
    live.advance(header, ledger, ran);
    if matches!(input.request, Request::Amend { .. }) {
        // Objects that were given the same policy have one between them.
        live.definition = shared.catalog().share(Arc::clone(&live.definition));
    }
    resident.publish(live);
    if live.head.header.wake != armed {
        shared.timer().change(live.head.id, armed, live.head.header.wake);
    }
    early.send(Ok(()));
    Ok(())
}

/// Appends what `answer` tells of, and leaves one half of the reply to the log; the other is to be
/// sent once the change is in memory.
fn put(
    store: &Store,
    id: ObjectId,
    append: &Append<'_>,
    reply: Reply,
    answer: Result<Receipt>,
) -> Result<Early> {
    let (early, late) = reply.on_record(answer);
    let done = move |durable: storage::Result<()>| {
        late.send(durable.map_err(|error| Error::from(error).about(id)));
    };
    match store.append(append, done) {
        Ok(_) => Ok(early),
        Err(error) => {
            let error = Error::from(error).about(id);
            early.send(Err(error.clone()));
            Err(error)
        }
    }
}

/// Puts a refusal on record, if the object may have more of them and the input is not too long.
fn refuse(
    shared: &Shared,
    live: &mut Live,
    input: &Input,
    verdict: Verdict,
    reply: Reply,
) -> Result<()> {
    let id = live.head.id;
    let refused =
        move |verdict, recorded| Error::from(ErrorKind::Refused { verdict, recorded }).about(id);
    let refusal = live.head.refusal(input, verdict.clone());
    let refuser = Refuser::of(&live.head, input, verdict.reason);
    match has_room(shared, live, &refusal, refuser) {
        Ok(true) => {}
        Ok(false) => {
            reply.send(Err(refused(verdict, false)));
            return Ok(());
        }
        Err(error) => {
            let error = error.about(id);
            reply.send(Err(error.clone()));
            return Err(error);
        }
    }
    let append = Append { changes: vec![Change::Refusal(&refusal)], ..Append::default() };
    let early = put(shared.store(), id, &append, reply, Err(refused(verdict, true)));
    let early = early.inspect_err(|_| live.stale = true)?;
    live.head.record(&refusal);
    live.refusers.iter_mut().for_each(|refusers| refusers.add(refuser));
    early.send(Ok(()));
    Ok(())
}

/// Whether a refusal is to be put on record.
fn has_room(shared: &Shared, live: &mut Live, refusal: &Refusal, refuser: Refuser) -> Result<bool> {
    let options = shared.options();
    let is_long = refusal.input.len() as u64 > options.refusal_bytes_max;
    if live.head.refusal_count >= options.refusals_max || is_long {
        return Ok(false);
    }
    let refusers = match &mut live.refusers {
        Some(refusers) => refusers,
        none => none.insert(Refusers::read(shared.store(), &live.head)?),
    };
    Ok(refusers.count(refuser) < options.refusals_each_max)
}

/// What the caller is told.
pub(crate) fn receipt(
    definition: &Definition,
    header: &Header,
    input: &Input,
    ran: &Ran,
    rules: Vec<String>,
) -> Receipt {
    let result = result(definition, &input.request, &ran.effects);
    let result = result.expect("the step encoded it with the same type");
    Receipt {
        object: header.object_id(),
        version: header.hash(),
        header: header.clone(),
        result,
        rules,
        ticket: Ticket::DURABLE,
        outputs: ran.effects.outputs.clone(),
    }
}

/// The result of the method that a request calls, if it has one.
pub(crate) fn result(
    definition: &Definition,
    request: &Request,
    effects: &Effects,
) -> object::Result<Option<Value>> {
    let Request::Call { method, .. } = request else { return Ok(None) };
    let ty = definition.schema.method(method).and_then(|method| method.result.as_ref());
    ty.map(|ty| decode_value(&effects.result, ty)).transpose()
}
