//! The record: the append of a version or a refusal, with the reply to its input.
//!
//! This module does not know how an input is decided on. It holds the only code that appends
//! versions and refusals of existing objects.

use object::hash::ObjectId;
use object::input::{Input, Request};
use object::refusal::{Refusal, Verdict};
use storage::{Append, Change, Fate, MessageId, Store, Taking};

use crate::answer::receipt::{Answered, Receipt};
use crate::answer::reply::{Early, Reply};
use crate::commit::library::Library;
use crate::commit::upgrade::NewParts;
use crate::error::{Error, ErrorKind, Result};
use crate::head::live::Live;
use crate::head::refusal_quota::{RefusalCounts, RefusedParty};
use crate::metrics::{Count, Registry};
use crate::stack::DeepStack;

/// An input to an object, with the reply to its outcome.
pub(crate) struct Asked<'a, T = Receipt> {
    pub(crate) input: &'a Input,
    /// The message that the input is: it is on its way no more then.
    pub(crate) message: Option<MessageId>,
    /// The verdict that was given on it before: the same one is not put on record again.
    pub(crate) known: Option<&'a Verdict>,
    pub(crate) reply: Reply<T>,
}

impl<'a, T> Asked<'a, T> {
    /// An input that is no message, and was not decided on before.
    pub(crate) fn new(input: &'a Input, reply: Reply<T>) -> Asked<'a, T> {
        Asked { input, message: None, known: None, reply }
    }
}

/// Answers an input that got no verdict, and returns the error.
pub(crate) fn fail<T: Answered>(metrics: &Registry, reply: Reply<T>, error: Error) -> Error {
    metrics.count(T::FAILED);
    reply.send(Err(error.clone()));
    error
}

/// Appends the changes that `answer` reports, and leaves one half of the reply to the log; returns
/// the other half, to be sent once the change is in memory.
pub(crate) fn put<T: Answered>(
    store: &Store,
    metrics: &Registry,
    id: ObjectId,
    append: &Append<'_>,
    reply: Reply<T>,
    answer: Result<T>,
) -> Result<Early<T>> {
    let timer = answer.is_ok().then(|| metrics.commit(reply.posted()));
    let (early, late) = reply.on_record(answer);
    let done = move |durable: storage::Result<()>| {
        if let Some(timer) = timer.filter(|_| durable.is_ok()) {
            timer.stop();
        }
        late.send(durable.map_err(|error| Error::from(error).about(id)));
    };
    match store.append(append, done) {
        Ok(_) => Ok(early),
        Err(error) => {
            metrics.count(T::FAILED);
            let error = Error::from(error).about(id);
            early.send(Err(error.clone()));
            Err(error)
        }
    }
}

/// Puts a refusal on record, if the object may have more of them and the input is not too long. A
/// message that is refused is a dead letter in any case.
pub(crate) fn refuse<T: Answered>(
    library: &Library,
    metrics: &Registry,
    stack: DeepStack,
    live: &mut Live,
    Asked { input, message, known, reply }: Asked<'_, T>,
    verdict: Verdict,
) -> Result<()> {
    let id = live.head.id;
    if known == Some(&verdict) {
        reply.send(Err(Error::from(ErrorKind::Refused { verdict, recorded: true }).about(id)));
        return Ok(());
    }
    let (reason, rules) = (verdict.reason, &verdict.rules);
    let (name, detail) = (reason.name(), &verdict.detail);
    tracing::debug!(object = %id, reason = name, ?rules, detail, "refused");
    let dead = message.map(|_| Count::MessagesDead);
    let count = || {
        metrics.refusal(reason);
        T::REFUSED.into_iter().chain(dead).for_each(|count| metrics.count(count));
    };
    let refused =
        move |verdict, recorded| Error::from(ErrorKind::Refused { verdict, recorded }).about(id);
    let refusal = live.head.refusal(input, verdict.clone());
    let party = RefusedParty::of(&live.head, input, reason);
    let recorded = match has_room(library, live, &refusal, party) {
        Ok(recorded) => recorded,
        Err(error) => return Err(fail(metrics, reply, error.about(id))),
    };
    if !recorded && message.is_none() {
        count();
        reply.send(Err(refused(verdict, false)));
        return Ok(());
    }
    let parts = match recorded {
        true => NewParts::of_refused(library, stack, &input.request, reason),
        false => Ok(NewParts::default()),
    };
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => return Err(fail(metrics, reply, error.about(id))),
    };
    let has_code = parts.has_code();
    let mut append = Append { blobs: parts.blobs().collect(), ..Append::default() };
    append.changes.extend(recorded.then_some(Change::Refusal(&refusal)));
    append.taken.extend(message.map(|id| Taking { id, fate: Fate::Dead(verdict.to_string()) }));
    let early = put(&library.store, metrics, id, &append, reply, Err(refused(verdict, recorded)));
    let early = early.inspect_err(|_| live.stale = true)?;
    count();
    if let Request::Upgrade { code, .. } = input.request
        && has_code
    {
        library.offered.forget(code);
    }
    if recorded {
        live.head.record(&refusal);
        live.refusal_counts.iter_mut().for_each(|counts| counts.add(party));
    }
    early.send(Ok(()));
    Ok(())
}

/// Returns whether a refusal is to be put on record.
fn has_room(
    library: &Library,
    live: &mut Live,
    refusal: &Refusal,
    party: RefusedParty,
) -> Result<bool> {
    let is_long = refusal.input.len() as u64 > library.options.refusal_bytes_max;
    if live.head.refusal_count >= library.options.refusals_max || is_long {
        return Ok(false);
    }
    let counts = match &mut live.refusal_counts {
        Some(counts) => counts,
        none => none.insert(Box::new(RefusalCounts::read(&library.store, &live.head)?)),
    };
    Ok(counts.count(party) < library.options.refusals_each_max)
}
