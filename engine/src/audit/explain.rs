//! Explanations: why an input was admitted or refused, or would be: the deciding rules, and the
//! values that they read.
//!
//! A version on record is decided on again from its record. A refusal has no record of the step's
//! outcome, so its step is run again; so is the step of an input that is not submitted. Each is
//! decided on by the functions of the commit path, from the same facts, and the decision must agree
//! with the record.
//!
//! It changes nothing: it has slots of its own, and appends nothing.

use object::authentication::{authenticate, authenticate_refused};
use object::credential::{Host, Memo, PublicKey};
use object::effects::{Admission, Effects, Output};
use object::hash::ObjectId;
use object::head::Head;
use object::header::Header;
use object::image::Image;
use object::input::{Input, Request};
use object::message::Message;
use object::refusal::Verdict;
use object::time::Time;
use policy::Explanation as Decided;
use policy::admission::{self, Explained, ExplainedUpgrade, Laws, Step};
use policy::definition::Definition;
use query::{Payloads, VersionEntry};
use schema::Value;

use crate::audit::replay::differs;
use crate::commit::admitted::{AdmittedStep, result};
use crate::commit::commit::with_secrets;
use crate::commit::library::Library;
use crate::commit::shared::Shared;
use crate::commit::upgrade;
use crate::error::{Error, ErrorKind, Result, missing};
use crate::head::live::{Due, Live};
use crate::head::missed::{Cause, Missed};
use crate::stack::DeepStack;
use crate::step::guard::GuardRunner;
use crate::step::host_limit;
use crate::step::runner::Runner;
use crate::step::slots::Slots;
use crate::step::step::run;
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// The outcome of an input, real or previewed, and its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The object.
    pub object: ObjectId,
    /// The version that the input made or, refused, did not make.
    pub seq: u64,
    /// The input: the request, its time, and its credential.
    pub input: Input,
    /// The verdict: the recorded one, or the previewed one.
    pub verdict: Result<Admission, Verdict>,
    /// The policy's decision, the rules behind it, and the values that they read. None when a
    /// native rule refused before the policy was asked, and for a creation, which no policy
    /// governs.
    pub policy: Option<Decided>,
    /// The answer of the policy's guard. None when there is no guard, or the policy does not
    /// permit.
    pub guard: Option<Result<(), Verdict>>,
    /// For an upgrade, the new policy's decision on the migrated state. None when the old policy
    /// does not permit the upgrade.
    pub migration: Option<Migration>,
    /// The outcome of the step, admitted or not. None when it did not run to its end, or left no
    /// state.
    pub done: Option<Done>,
}

/// The new policy's decision on an upgrade's migrated state.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// The decision, its rules, and the values that they read.
    pub policy: Decided,
    /// The answer of its guard, as in an [`Explanation`].
    pub guard: Option<Result<(), Verdict>>,
}

/// The outcome of a step, admitted or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The method's result, when it has one.
    pub result: Option<Value>,
    /// The outputs, in the order of their emission.
    pub outputs: Vec<Output>,
    /// The messages, in the order in which they were sent.
    pub messages: Vec<Message>,
    /// The object's next wake.
    pub wake: Option<Time>,
    /// The fuel that it used.
    pub fuel: u64,
    /// Pages of memory that it changed.
    pub page_count: u32,
}

impl Explanation {
    /// Returns the explanation of a step that was refused before the policy had anything to decide.
    fn native(head: &Head, input: Input, verdict: Verdict) -> Explanation {
        let (object, seq) = (head.id, head.header.seq + 1);
        let (policy, guard, migration, done) = Default::default();
        Explanation { object, seq, input, verdict: Err(verdict), policy, guard, migration, done }
    }
}

/// The version with this seq.
pub(crate) fn version(
    library: &Library,
    memo: &Memo,
    stack: DeepStack,
    id: ObjectId,
    seq: u64,
) -> Result<Explanation> {
    let Some(version) = library.store.version(id, seq)? else {
        let newest = library.store.info(id)?.ok_or(ErrorKind::NoObject)?.seq;
        return Err(ErrorKind::NoVersion { asked: format!("seq {seq}"), newest }.into());
    };
    let entry = VersionEntry::decode(&version.commit)?;
    let header = entry.header;
    let payloads = entry.payloads.ok_or_else(|| missing("input", header.input))?;
    let Payloads { input, effects, admission } = payloads;
    let Header { fuel, page_count, .. } = header;
    let Some(before) = seq.checked_sub(1) else {
        let definition = library.definition(stack, (header.code, header.policy))?;
        let done = Some(done(&definition, &input.request, effects, None, fuel, page_count)?);
        return Ok(Explanation {
            object: id,
            seq,
            input,
            verdict: Ok(admission),
            policy: None,
            guard: None,
            migration: None,
            done,
        });
    };
    let before = library.store.head_at(id, before)?.ok_or(ErrorKind::NoObject)?;
    let head = &before.head;
    let definition = library.definition(stack, (head.header.code, head.header.policy))?;
    let refused = |verdict: Verdict| differs("admission", seq, verdict, "a version");
    let (tracked, host) = (definition.policy.tracked(), Host::verifier(memo));
    let signers = authenticate(head, tracked, &input, host).map_err(refused)?;
    let images = (&before.image, &version.image);
    let step = Step::on_record(&header, &input, &effects, images);
    let mut slots = Slots::default();
    let guards = &mut library.runner(&mut slots, stack).guards();
    let after = library.definition(stack, (header.code, header.policy))?;
    let laws = Laws { before: &definition, after: &after };
    let decided = explained(laws, head, &signers, step, guards)?.map_err(refused)?;
    let verdict = decided.verdict(signers);
    if verdict.as_ref() != Ok(&admission) {
        let rules = |it: &Admission| [&it.rules[..], &it.migrated].concat().join(", ");
        let expected = verdict.map_or_else(|verdict| verdict.to_string(), |it| rules(&it));
        return Err(differs("admission", seq, expected, rules(&admission)));
    }
    let wake = head.wake_during(&input.request);
    let done = Some(done(&definition, &input.request, effects, wake, fuel, page_count)?);
    let Decisions { policy, guard, migration } = decided;
    let policy = Some(policy);
    Ok(Explanation { object: id, seq, input, verdict, policy, guard, migration, done })
}

/// The decisions of the policies on a step.
struct Decisions {
    policy: Decided,
    guard: Option<Result<(), Verdict>>,
    migration: Option<Migration>,
}

/// Explains the decisions of the policies on a step, both for an upgrade, or returns the verdict of
/// a native rule.
fn explained(
    laws: Laws<'_>,
    head: &Head,
    signers: &[PublicKey],
    step: Step<'_, Image, Image>,
    guards: &mut GuardRunner<'_>,
) -> Result<Result<Decisions, Verdict>> {
    if !matches!(step.input.request, Request::Upgrade { .. }) {
        let explained = admission::explain(laws.before, head, signers, step, guards);
        return decided(explained, |explained| (explained, None));
    }
    let explained = admission::explain_upgrade(laws, head, signers, step, guards);
    decided(explained, |ExplainedUpgrade { before, after }| (before, after))
}

/// Returns the explanation, unless a failure kept a guard from its answer.
fn decided<E>(
    explained: Result<E, Verdict>,
    parts: impl FnOnce(E) -> (Explained<Stop>, Option<Explained<Stop>>),
) -> Result<Result<Decisions, Verdict>> {
    let (before, after) = match explained {
        Ok(explained) => parts(explained),
        Err(verdict) => return Ok(Err(verdict)),
    };
    let word = |guard: Option<Result<(), Stop>>| match guard {
        Some(Err(Stop::Failed(error))) => Err(error),
        Some(Err(Stop::Refused(verdict))) => Ok(Some(Err(verdict))),
        Some(Ok(())) => Ok(Some(Ok(()))),
        None => Ok(None),
    };
    let migration = |after: Explained<Stop>| {
        Ok::<_, Error>(Migration { policy: after.policy, guard: word(after.guard)? })
    };
    let migration = after.map(migration).transpose()?;
    Ok(Ok(Decisions { policy: before.policy, guard: word(before.guard)?, migration }))
}

impl Decisions {
    /// Combines the decisions and the guards' answers.
    fn verdict(&self, signers: Vec<PublicKey>) -> Result<Admission, Verdict> {
        let word = |guard: &Option<Result<(), Verdict>>| guard.clone().unwrap_or(Ok(()));
        word(&self.guard)?;
        let admission = admission::verdict(signers, self.policy.decision.clone())?;
        let Some(Migration { policy, guard }) = &self.migration else { return Ok(admission) };
        word(guard)?;
        admission::migrated(admission, policy.decision.clone())
    }
}

/// The refusal of this number, from 1, oldest first.
pub(crate) fn refusal(
    library: &Library,
    memo: &Memo,
    stack: DeepStack,
    id: ObjectId,
    number: u64,
) -> Result<Explanation> {
    let mut refusals = library.store.refusals(id)?;
    let count = refusals.left();
    if !(1..=count).contains(&number) {
        return Err(ErrorKind::NoRefusal { asked: number, count }.into());
    }
    while refusals.left() > number {
        refusals.next().transpose()?.ok_or_else(|| missing("refusal", number))?;
    }
    let refusal = refusals.next().transpose()?.ok_or_else(|| missing("refusal", number))?;
    let before = library.store.head_at(id, refusal.seq.saturating_sub(1))?;
    let live = library.live(stack, before.ok_or(ErrorKind::NoObject)?)?;
    let input = Input::decode(&refusal.input)?;
    let (tracked, host) = (live.definition.policy.tracked(), Host::verifier(memo));
    let native = authenticate_refused(&live.head, tracked, &input, host, &refusal.verdict);
    if native.as_ref() == Err(&refusal.verdict) {
        return Ok(Explanation::native(&live.head, input, refusal.verdict));
    }
    let limits = host_limit::read(&refusal.verdict).unwrap_or_default();
    let mut slots = Slots::default();
    let explained = judge(library, library.runner(&mut slots, stack), &live, input, limits, host)?;
    match &explained.verdict {
        Err(verdict) if *verdict == refusal.verdict => Ok(explained),
        Err(verdict) => Err(differs("verdict", refusal.seq, verdict, &refusal.verdict)),
        Ok(_) => Err(differs("verdict", refusal.seq, "a permit", &refusal.verdict)),
    }
}

/// Returns the outcome of `input` as if it were the object's next one: the wakes that are due run
/// before it. `even_if_ahead` admits it although the object is ahead of the clock.
pub(crate) fn dry_run(
    shared: &Shared,
    stack: DeepStack,
    id: ObjectId,
    mut input: Input,
    even_if_ahead: bool,
) -> Result<Explanation> {
    let stored = shared.library.store.head(id)?.ok_or(ErrorKind::NoObject)?;
    if let Some(at) = stored.head.deleted() {
        return Err(ErrorKind::Deleted { at }.into());
    }
    let mut live = shared.library.live(stack, stored)?;
    let mut slots = Slots::default();
    let mut runner = shared.library.runner(&mut slots, stack);
    if let Some(by) = shared.ahead(live.head.header.time) {
        if !even_if_ahead {
            return Err(shared.is_ahead(by));
        }
        live.accept_ahead();
    }
    while let Some(Due { wake: due, at }) = live.due(input.time) {
        let time = shared.options.clock.wake_time(at, input.time).max(live.head.header.time);
        wake(shared, &mut runner, &mut live, due, time)?;
    }
    input.time = input.time.max(live.head.header.time);
    let key = shared.credentials.sessions.key(&input)?;
    let host = Host::holding(&shared.credentials.memo, key.as_ref());
    judge(&shared.library, runner, &live, input, shared.options.step_limits, host)
}

/// Runs the object's own cycle on the state in memory.
fn wake(
    shared: &Shared,
    runner: &mut Runner<'_>,
    live: &mut Live,
    due: Time,
    time: Time,
) -> Result<()> {
    let input = Input { request: Request::Cycle, time, credential: None };
    match with_secrets(&shared.library, &shared.credentials, runner, live, &input) {
        Ok(AdmittedStep { result, root, admission }) => {
            let outcome = live.outcome(&result, root);
            let (header, ledger) = live.head.successor(&input, &outcome, &admission);
            live.advance(header, ledger, result);
            Ok(())
        }
        Err(Stop::Refused(verdict)) => {
            let now = shared.options.clock.now().max(time);
            live.miss(Missed::again(live.missed(due), due, time, now, Cause::Refused(verdict)));
            Ok(())
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Runs `input` on the head as the commit path does, under limits, and returns the deciding rules.
fn judge(
    library: &Library,
    runner: Runner<'_>,
    live: &Live,
    input: Input,
    limits: StepLimits,
    host: Host<'_>,
) -> Result<Explanation> {
    let (head, definition) = (&live.head, &live.definition);
    let signers = match authenticate(head, definition.policy.tracked(), &input, host) {
        Ok(signers) => signers,
        Err(verdict) => return Ok(Explanation::native(head, input, verdict)),
    };
    let Runner { catalog, slots, stack } = runner;
    upgrade::prepare(library, stack, &input.request)?;
    let result = run(&mut slots.objects, catalog, stack, live.subject(limits), &input);
    let (loaded, result) = match result {
        Ok(result) => result,
        Err(Stop::Refused(verdict)) => return Ok(Explanation::native(head, input, verdict)),
        Err(Stop::Failed(error)) => return Err(error),
    };
    let guards = &mut GuardRunner::new(catalog, &mut slots.guards, stack);
    let step = result.of(&input, &live.image);
    let laws = Laws { before: definition, after: &result.definition };
    let decided = explained(laws, head, &signers, step, guards);
    loaded.reject();
    let decided = match decided? {
        Ok(decided) => decided,
        Err(verdict) => return Ok(Explanation::native(head, input, verdict)),
    };
    let verdict = decided.verdict(signers);
    let (wake, page_count) = (head.wake_during(&input.request), result.changed.len() as u32);
    let done =
        Some(done(definition, &input.request, result.effects, wake, result.fuel, page_count)?);
    let (object, seq) = (head.id, head.header.seq + 1);
    let Decisions { policy, guard, migration } = decided;
    let policy = Some(policy);
    Ok(Explanation { object, seq, input, verdict, policy, guard, migration, done })
}

/// Returns the outcome of a step that found the next wake at `wake`.
fn done(
    definition: &Definition,
    request: &Request,
    effects: Effects,
    wake: Option<Time>,
    fuel: u64,
    page_count: u32,
) -> Result<Done> {
    let result = result(definition, request, &effects).map_err(Error::from)?;
    let wake = effects.wake.apply(wake);
    let Effects { outputs, messages, .. } = effects;
    Ok(Done { result, outputs, messages, wake, fuel, page_count })
}
