//! The commit path: one input, from the mailbox to a version that is on its way to the disk.
//!
//! A failure before the append leaves no trace but a refusal. The reply is released when the
//! version is in memory and durable, or, for a relaxed call, when it is in memory; an append waits
//! for the disk only when the log is far behind.
//!
//! The order of steps is that of `commit` and `decide`, with the numbers of ARCHITECTURE.md. This
//! module does not know threads or queues. It holds the only code that appends versions of existing
//! objects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use object::authentication::authenticate;
use object::commit::Commit;
use object::credential::Host;
use object::effects::{Admission, Effects, encode_globals};
use object::hash::{MemoryRoot, ObjectId, VersionHash};
use object::head::EncodedPayloads;
use object::header::Header;
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::refusal::{Refusal, Verdict};
use policy::definition::Definition;
use schema::{Value, decode_value};
use storage::{Append, Blob, Change, Fate, MessageId, NewCommit, Sending, Store, Taking};

use crate::answer::receipt::{Answered, Receipt};
use crate::answer::reply::{Early, Reply};
use crate::answer::ticket::Ticket;
use crate::commit::library::Library;
use crate::commit::shared::Shared;
use crate::commit::upgrade::{self, NewParts};
use crate::error::{Error, ErrorKind, Result};
use crate::head::live::Live;
use crate::head::refusal_quota::{RefusalCounts, RefusedParty};
use crate::metrics::{Count, Registry};
use crate::options::Options;
use crate::run::resident::Resident;
use crate::stack::DeepStack;
use crate::step::guard::GuardRunner;
use crate::step::runner::Runner;
use crate::step::step::{NewCode, StepResult, run};
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// An object on its turn: its resident, its runner, and its state.
pub(crate) struct Turn<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) runner: Runner<'a>,
    pub(crate) resident: &'a Resident,
    pub(crate) live: &'a mut Live,
    /// Letters, and wakes before them, that the turn has taken so far.
    pub(crate) steps: &'a mut usize,
}

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

/// Makes the next version of an object from an input, or puts its refusal on record. The reply gets
/// the answer; returns the verdict, if the input was refused.
///
/// # Errors
///
/// The host or the store failed, so that there is no verdict.
pub(crate) fn commit(turn: &mut Turn<'_>, asked: Asked<'_>) -> Result<Option<Verdict>> {
    let Turn { shared, runner, resident, live, .. } = turn;
    let Asked { input, message, .. } = asked;
    // 2 to 7: verify the credentials, run the step, validate its state, admit it.
    let admitted = measured(shared, runner, live, input).and_then(|step| {
        // Messages of a message's step are bounded by fuel, and must not stop their own delivery.
        let count = if message.is_some() { 0 } else { step.result.effects.messages.len() };
        shared.library.has_room_for(count, shared.options.messages_max)?;
        // 8: make the header.
        Ok(Admitted::new(&shared.library, live, input, step)?)
    });
    let mut admitted = match admitted {
        Ok(admitted) => admitted,
        Err(Stop::Refused(verdict)) => {
            return refuse(shared, runner.stack, live, asked, verdict.clone())
                .map(|()| Some(verdict));
        }
        Err(Stop::Failed(error)) => {
            return Err(fail(&shared.metrics, asked.reply, error.about(live.head.id)));
        }
    };
    // 8: append the frame to the open group of the log, which has the reply from then on.
    let receipt = admitted.receipt(live, input);
    let mut append = Append { changes: Vec::with_capacity(1), ..Append::default() };
    append.taken.extend(message.map(|id| Taking { id, fate: Fate::Delivered }));
    admitted.add_to(&mut append, live, input);
    let early = put(
        &shared.library.store,
        &shared.metrics,
        live.head.id,
        &append,
        asked.reply,
        Ok(receipt),
    );
    let early = early.inspect_err(|_| live.stale = true)?;
    // 9: publish the version to readers, and tell the receivers of its messages.
    admitted.publish(shared, runner.stack, resident, live, input);
    // 10: the log releases the reply when the group is durable; a relaxed one leaves now.
    early.send(Ok(()));
    Ok(None)
}

/// A step that was admitted.
pub(crate) struct AdmittedStep {
    pub(crate) result: StepResult,
    /// The root of the memory that it left.
    pub(crate) root: MemoryRoot,
    pub(crate) admission: Admission,
}

/// Verifies the credentials, runs the step under limits, and admits it. Changes only the slot,
/// which then holds the memory of the new version or, after an error, that of the head.
pub(crate) fn decide(
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
    limits: StepLimits,
    host: Host<'_>,
) -> Result<AdmittedStep, Stop> {
    let Runner { catalog, slots, stack } = runner;
    // 2: verify the credentials: signatures, expiry, nonce, parent.
    let tracked = live.definition.policy.tracked();
    let signers = authenticate(&live.head, tracked, input, host).map_err(Stop::Refused)?;
    // 3 to 5: load the object into a slot, run the step under fuel, collect its outcome.
    let (loaded, result) = run(&mut slots.objects, catalog, *stack, live.subject(limits), input)?;
    // 6 and 7: validate the state, and admit it: native rules, the object's policy, its guard.
    let guards = &mut GuardRunner::new(catalog, &mut slots.guards, *stack);
    match result.admit(&live.definition, &live.head, signers, input, &live.image, guards) {
        Ok(admission) => {
            // Without the code the slot still holds the image from before.
            match input.request.runs_code() {
                true => loaded.accept(&result.image),
                false => loaded.hold(&result.image)?,
            }
            Ok(AdmittedStep { result, root: loaded.root(), admission })
        }
        Err(stop) => {
            loaded.reject();
            Err(stop)
        }
    }
}

/// [Decides](with_secrets) on an input that is to be committed: counts, times and traces it.
fn measured(
    shared: &Shared,
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
) -> Result<AdmittedStep, Stop> {
    let (object, request) = (live.head.id, &input.request);
    let (kind, action) = (request.kind().name(), request.action());
    let seq = live.head.header.seq + 1;
    let _step = tracing::debug_span!("step", %object, seq, kind, action).entered();
    let started = Instant::now();
    let done = with_secrets(shared, runner, live, input);
    shared.metrics.loads(runner.slots.objects.take_loads());
    if let Ok(AdmittedStep { result, .. }) = &done {
        shared.metrics.step(started.elapsed());
        tracing::debug!(fuel = result.fuel, pages = result.changed.len(), "admitted");
    }
    done
}

/// [Decides](decide) on an input as a database does, which holds the secrets of sessions: without
/// the secret of the input's session there is no verdict.
pub(crate) fn with_secrets(
    shared: &Shared,
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
) -> Result<AdmittedStep, Stop> {
    let key = shared.sessions.key(input)?;
    upgrade::prepare(&shared.library, runner.stack, &input.request)?;
    let host = Host::holding(&shared.memo, key.as_ref());
    decide(runner, live, input, shared.options.step_limits, host)
}

/// A version that was admitted, and all of its parts for the log.
struct Admitted {
    result: StepResult,
    header: Arc<Header>,
    hash: VersionHash,
    ledger: Arc<Ledger>,
    payloads: EncodedPayloads,
    /// The ledger, if it changed.
    new_ledger: Option<Vec<u8>>,
    new_globals: Option<Vec<u8>>,
    new_parts: NewParts,
    rules: Vec<String>,
}

impl Admitted {
    fn new(library: &Library, live: &Live, input: &Input, step: AdmittedStep) -> Result<Admitted> {
        let AdmittedStep { result, root, admission } = step;
        let (outcome, head) = (live.outcome(&result, root), &live.head);
        let payloads = EncodedPayloads::encode(input, &result.effects, &admission);
        let (header, ledger) = head.successor_with(input, &outcome, &admission, &payloads);
        let new_code = result.new_code.as_ref();
        let globals =
            new_code.map_or(&live.globals[..], |new_code| new_code.image.base().globals());
        Ok(Admitted {
            payloads,
            new_ledger: (!Arc::ptr_eq(&ledger, &live.head.ledger)).then(|| ledger.encode()),
            new_globals: (result.globals != globals).then(|| encode_globals(&result.globals)),
            new_parts: NewParts::of(library, &result.definition, new_code)?,
            rules: admission.rules.into_iter().chain(admission.migrated).collect(),
            result,
            hash: header.hash(),
            header: header.into(),
            ledger,
        })
    }

    /// Adds its changes of the object to an append.
    fn add_to<'a>(&'a self, append: &mut Append<'a>, live: &'a Live, input: &'a Input) {
        let commit = Commit {
            header: Header::clone(&self.header),
            input: &self.payloads.input,
            effects: &self.payloads.effects,
            admission: &self.payloads.admission,
            globals: self.new_globals.as_deref(),
            pages: self.result.pages().collect(),
        };
        let (hash, ledger) = (self.hash, self.new_ledger.as_deref());
        let (base, before) = match &self.result.new_code {
            Some(NewCode { runnable, image }) => (Some(runnable.base_hash), Some(image)),
            None => (None, Some(&live.image)),
        };
        let change = NewCommit { commit, hash, base, ledger, before };
        append.blobs.extend(self.new_parts.blobs());
        append.changes.push(Change::Commit(change));
        if let Request::Amend { policy } = &input.request {
            append.blobs.push(Blob::Policy(policy));
        }
        append.sent.extend(sending(self.hash, &self.result.effects));
    }

    fn receipt(&mut self, live: &Live, input: &Input) -> Receipt {
        let rules = std::mem::take(&mut self.rules);
        receipt(&live.definition, self.hash, &self.header, input, &self.result, rules)
    }

    /// Makes it the object's newest version, now that it is in the log.
    fn publish(
        self,
        shared: &Shared,
        stack: DeepStack,
        resident: &Resident,
        live: &mut Live,
        input: &Input,
    ) {
        let (armed, receivers) = (live.armed(), receivers(&self.result.effects));
        shared.metrics.version(self.header.kind, self.result.effects.messages.len());
        if live.missed.is_some() {
            shared.library.overdue.remove(live.head.id);
        }
        if self.new_parts.has_code() {
            shared.library.offered.forget(self.header.code);
        }
        live.advance_to(self.hash, self.header, self.ledger, self.result);
        if matches!(input.request, Request::Amend { .. }) {
            // Objects that were given the same policy have one between them.
            live.definition = shared.library.catalog.share(stack, Arc::clone(&live.definition));
        }
        shared.residents.publish(resident, live);
        if live.head.header.wake != armed {
            shared.post.timer.change(live.head.id, armed, live.head.header.wake);
        }
        shared.post.post_mail(receivers);
    }
}

/// Returns the messages of a version, as they go on their way, if there are any.
pub(crate) fn sending(version: VersionHash, effects: &Effects) -> Option<Sending> {
    let receivers: Vec<ObjectId> = effects.messages.iter().map(|message| message.to).collect();
    (!receivers.is_empty()).then_some(Sending { version, receivers })
}

/// Returns the receivers of messages, each once.
pub(crate) fn receivers(effects: &Effects) -> BTreeSet<ObjectId> {
    effects.messages.iter().map(|message| message.to).collect()
}

/// An input of a transaction, with its object.
pub(crate) struct Part<'a> {
    pub(crate) resident: &'a Resident,
    pub(crate) live: &'a mut Live,
    pub(crate) input: Input,
}

/// Makes the next versions of several objects, in one frame of the log, or of none of them: then
/// the first refusal is put on record, on the object that refused.
pub(crate) fn commit_all(
    shared: &Shared,
    runner: &mut Runner<'_>,
    parts: &mut [Part<'_>],
    reply: Reply<Vec<Receipt>>,
) {
    let mut admitted: Vec<Admitted> = Vec::with_capacity(parts.len());
    for Part { live, input, .. } in &mut *parts {
        let one = measured(shared, runner, live, input).and_then(|step| {
            Admitted::new(&shared.library, live, input, step).map_err(Stop::Failed)
        });
        match one {
            Ok(one) => admitted.push(one),
            Err(Stop::Refused(verdict)) => {
                // The refusing object's reply has the answer.
                return drop(refuse(shared, runner.stack, live, Asked::new(input, reply), verdict));
            }
            Err(Stop::Failed(error)) => {
                return drop(fail(&shared.metrics, reply, error.about(live.head.id)));
            }
        }
    }
    let message_count = admitted.iter().map(|one| one.result.effects.messages.len()).sum();
    if let Err(error) = shared.library.has_room_for(message_count, shared.options.messages_max) {
        return drop(fail(&shared.metrics, reply, error));
    }
    let receipts = admitted.iter_mut().zip(&*parts);
    let receipts = receipts.map(|(admitted, part)| admitted.receipt(part.live, &part.input));
    let receipts = Ok(receipts.collect());
    let mut append = Append { changes: Vec::with_capacity(parts.len()), ..Append::default() };
    for (admitted, part) in admitted.iter().zip(&*parts) {
        admitted.add_to(&mut append, part.live, &part.input);
    }
    let first = parts[0].live.head.id;
    let put = put(&shared.library.store, &shared.metrics, first, &append, reply, receipts);
    drop(append);
    let Ok(early) = put else {
        return parts.iter_mut().for_each(|part| part.live.stale = true);
    };
    shared.metrics.count(Count::TransactionsCommitted);
    for (admitted, part) in admitted.into_iter().zip(parts) {
        admitted.publish(shared, runner.stack, part.resident, part.live, &part.input);
    }
    early.send(Ok(()));
}

/// Answers an input that got no verdict, and returns the error.
pub(crate) fn fail<T: Answered>(metrics: &Registry, reply: Reply<T>, error: Error) -> Error {
    metrics.count(T::FAILED);
    reply.send(Err(error.clone()));
    error
}

/// Appends the changes that `answer` reports, and leaves one half of the reply to the log; returns
/// the other half, to be sent once the change is in memory.
fn put<T: Answered>(
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
fn refuse<T: Answered>(
    shared: &Shared,
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
        shared.metrics.refusal(reason);
        T::REFUSED.into_iter().chain(dead).for_each(|count| shared.metrics.count(count));
    };
    let refused =
        move |verdict, recorded| Error::from(ErrorKind::Refused { verdict, recorded }).about(id);
    let refusal = live.head.refusal(input, verdict.clone());
    let party = RefusedParty::of(&live.head, input, reason);
    let recorded = match has_room(&shared.library.store, &shared.options, live, &refusal, party) {
        Ok(recorded) => recorded,
        Err(error) => return Err(fail(&shared.metrics, reply, error.about(id))),
    };
    if !recorded && message.is_none() {
        count();
        reply.send(Err(refused(verdict, false)));
        return Ok(());
    }
    let parts = match recorded {
        true => NewParts::of_refused(&shared.library, stack, &input.request, reason),
        false => Ok(NewParts::default()),
    };
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => return Err(fail(&shared.metrics, reply, error.about(id))),
    };
    let has_code = parts.has_code();
    let mut append = Append { blobs: parts.blobs().collect(), ..Append::default() };
    append.changes.extend(recorded.then_some(Change::Refusal(&refusal)));
    append.taken.extend(message.map(|id| Taking { id, fate: Fate::Dead(verdict.to_string()) }));
    let early = put(
        &shared.library.store,
        &shared.metrics,
        id,
        &append,
        reply,
        Err(refused(verdict, recorded)),
    );
    let early = early.inspect_err(|_| live.stale = true)?;
    count();
    if let Request::Upgrade { code, .. } = input.request
        && has_code
    {
        shared.library.offered.forget(code);
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
    store: &Store,
    options: &Options,
    live: &mut Live,
    refusal: &Refusal,
    party: RefusedParty,
) -> Result<bool> {
    let is_long = refusal.input.len() as u64 > options.refusal_bytes_max;
    if live.head.refusal_count >= options.refusals_max || is_long {
        return Ok(false);
    }
    let counts = match &mut live.refusal_counts {
        Some(counts) => counts,
        none => none.insert(Box::new(RefusalCounts::read(store, &live.head)?)),
    };
    Ok(counts.count(party) < options.refusals_each_max)
}

/// Returns the caller's receipt.
pub(crate) fn receipt(
    definition: &Definition,
    version: VersionHash,
    header: &Header,
    input: &Input,
    step: &StepResult,
    rules: Vec<String>,
) -> Receipt {
    let result = result(definition, &input.request, &step.effects);
    let result = result.expect("the step encoded it with the same type");
    Receipt {
        object: header.object_id(),
        version,
        header: header.clone(),
        result,
        rules,
        ticket: Ticket::DURABLE,
        messages: step.effects.messages.clone(),
        outputs: step.effects.outputs.clone(),
    }
}

/// The result of the method that a request calls, if it has one.
pub(crate) fn result(
    definition: &Definition,
    request: &Request,
    effects: &Effects,
) -> object::Result<Option<Value>> {
    let Some((method, _)) = request.called() else { return Ok(None) };
    let ty = definition.schema.method(method).and_then(|method| method.result.as_ref());
    ty.map(|ty| decode_value(&effects.result, ty)).transpose()
}
