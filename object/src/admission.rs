//! Admission: decides whether a step becomes a version. It is one pure function of the head, the
//! input, the memory before and after, and the effects.
//!
//! Native rules come first and no policy can waive them: credentials, nonces, the wake, the schema.
//! Then the object's own policy decides; if the policy carries a guard, the guard must permit the
//! step as well. On an upgrade two policies decide, the old one and the new one. The engine, the
//! verifier and the command line all call these functions; none of them has rules of its own.
//!
//! It does not know how the step was run.

use crate::credential::{Credential, Host, PublicKey};
use crate::definition::Definition;
use crate::effects::{Admission, Effects};
use crate::error::ErrorKind;
use crate::hash::{PolicyHash, SessionId, VersionHash};
use crate::head::Head;
use crate::header::Header;
use crate::input::{Input, Request};
use crate::ledger::{NonceProblem, SessionProblem, Tracked, Used};
use crate::limits::EXPIRY_MS_MAX;
use crate::memory::Memory;
use crate::policy::guard::{Evidence, Guards};
use crate::policy::{Decision, Explanation, Facts, Principal, Raw, Refusal, Values};
use crate::refusal::{Reason, Verdict};
use crate::schema::{MIGRATE, Method, Type, Value, decode_args};

/// A step that ran and awaits a decision.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a, B: ?Sized, A: ?Sized> {
    /// The request and its credential.
    pub input: &'a Input,
    /// The memory before.
    pub before: &'a B,
    /// The memory after.
    pub after: &'a A,
    /// The step's result and all that it sends out.
    pub effects: &'a Effects,
    /// The fuel that it used.
    pub fuel: u64,
    /// The number of pages that the step changed.
    pub page_count: u32,
    /// The version of the instrumentation that it ran under.
    pub instrumentation: u32,
    /// The policy that decides on the next step: a new one after an amendment or an upgrade.
    pub policy: PolicyHash,
}

/// The definitions of an object before and after an upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Laws<'a> {
    /// Decides on the upgrade, of the state before.
    pub before: &'a Definition,
    /// Decides on the state that it leaves.
    pub after: &'a Definition,
}

impl<'a, B: ?Sized, A: ?Sized> Step<'a, B, A> {
    /// The step that made the version with this header, between the memories `before` and `after`.
    pub fn on_record(
        header: &Header,
        input: &'a Input,
        effects: &'a Effects,
        (before, after): (&'a B, &'a A),
    ) -> Step<'a, B, A> {
        Step {
            input,
            before,
            after,
            effects,
            fuel: header.fuel,
            page_count: header.page_count,
            instrumentation: header.instrumentation,
            policy: header.policy,
        }
    }
}

impl<'a, M: ?Sized> Step<'a, M, M> {
    /// An upgrade as the law before it decides on it, and as the law from then on does.
    fn halves(self) -> (Step<'a, M, M>, Step<'a, M, M>) {
        (Step { after: self.before, ..self }, Step { before: self.after, ..self })
    }
}

/// Verifies the credential, and that its holders may ask this now, of an object whose policy names
/// the keys in `tracked`. Returns the keys that signed, or that opened the session, ascending. With
/// one memo for many inputs, the signatures of a batch are verified once.
///
/// The one check that only the object's host can make, of a code in a session, comes last: so every
/// verifier reaches the same verdict except for that check.
///
/// # Errors
///
/// The verdict of the first native rule that refuses.
pub fn authenticate(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    let keys = signers_of(head, tracked, input, host)?;
    opening(head, tracked, input, &keys)?;
    Ok(keys)
}

/// Checks that `keys` can open a session, if the input asks for one.
fn opening(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    keys: &[PublicKey],
) -> Result<(), Verdict> {
    let Request::OpenSession { session, expires } = input.request else { return Ok(()) };
    expiry(expires, input.time)?;
    let is_named = keys.iter().any(|key| tracked.names(key));
    let admitted = head.ledger.sessions.admit(session, (keys.len(), is_named), input.time);
    admitted.map_err(|problem| match problem {
        SessionProblem::Open => Verdict::native(Reason::SessionOpen, session.to_string()),
        SessionProblem::Full => sessions_full(),
    })
}

/// Verifies the credential as [`authenticate`] does, up to the check of a session to open.
fn signers_of(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    let Some(credential) = timely(head, input)? else { return Ok(Vec::new()) };
    let other = |parent: &VersionHash| *parent != head.hash && *parent != VersionHash::NONE;
    if let Some(parent) = credential.parent.filter(other) {
        return Err(wrong_parent(head, parent));
    }
    if let Some(session) = credential.session() {
        return in_session(head, input, (credential, session), host);
    }
    let keys = credential
        .verify(head.id, &input.request, host.memo())
        .map_err(|error| Verdict::native(Reason::Credential, problem(&error)))?;
    let (nonce, expires) = (credential.nonce, credential.expires);
    let admitted = head.ledger.nonces.admit(&keys, Used { nonce, expires }, tracked);
    admitted.map_err(|problem| used(problem, credential))?;
    Ok(keys)
}

/// The credential of an input, if it has one and needs it and it has not expired; none, if it needs
/// none.
fn timely<'i>(head: &Head, input: &'i Input) -> Result<Option<&'i Credential>, Verdict> {
    if input.request.origin().is_some() && input.credential.is_some() {
        let detail = "a message of an object carries no credential";
        return Err(Verdict::native(Reason::Credential, detail));
    }
    if input.request == Request::Cycle {
        if input.credential.is_some() {
            let detail = "the object's own cycle carries no credential";
            return Err(Verdict::native(Reason::Credential, detail));
        }
        if head.header.wake.is_none_or(|wake| wake > input.time) {
            let detail = head.header.wake.map_or("no wake is set".to_string(), |wake| {
                format!("the next wake is at {wake}, the time is {}", input.time)
            });
            return Err(Verdict::native(Reason::NotDue, detail));
        }
    }
    let Some(credential) = &input.credential else {
        return match input.request {
            Request::OpenSession { .. } => Err(takes_a_signature(input)),
            _ => Ok(None),
        };
    };
    expiry(credential.expires, input.time)?;
    Ok(Some(credential))
}

/// Verifies an input in a session, and that the session is open: the keys that opened it.
fn in_session(
    head: &Head,
    input: &Input,
    (credential, session): (&Credential, SessionId),
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    if !matches!(input.request, Request::Call { .. } | Request::Write { .. }) {
        return Err(takes_a_signature(input));
    }
    let opened = head.ledger.sessions.get(session);
    let Some(open) = opened.filter(|open| open.expires() >= input.time) else {
        return Err(Verdict::native(Reason::NoSession, session.to_string()));
    };
    if credential.expires > open.expires() {
        let (expires, ends) = (credential.expires, open.expires());
        let detail = format!("it expires at {expires}, the session at {ends}");
        return Err(Verdict::native(Reason::ExpiresTooLate, detail));
    }
    open.admit(credential.nonce).map_err(|problem| used(problem, credential))?;
    match host.takes_code(credential, head.id, &input.request) {
        true => Ok(open.keys().to_vec()),
        false => Err(wrong_code()),
    }
}

/// Checks that `expires` is not before `time`, and is within the limit after it.
fn expiry(expires: u64, time: u64) -> Result<(), Verdict> {
    if expires < time {
        let detail = format!("it expired at {expires}, the time is {time}");
        return Err(Verdict::native(Reason::Expired, detail));
    }
    if expires - time > EXPIRY_MS_MAX {
        let detail = format!("it expires at {expires}, more than {EXPIRY_MS_MAX} ms after {time}");
        return Err(Verdict::native(Reason::ExpiresTooLate, detail));
    }
    Ok(())
}

/// Returns the verdict on a request that outlasts sessions, and comes in one, or unsigned.
fn takes_a_signature(input: &Input) -> Verdict {
    let detail = format!("{} takes a signature", input.request.action());
    Verdict::native(Reason::Credential, detail)
}

/// The verdict on a nonce.
fn used(problem: NonceProblem, credential: &Credential) -> Verdict {
    let Credential { nonce, expires, .. } = credential;
    let (reason, detail) = match problem {
        NonceProblem::Replayed => (Reason::Replayed, format!("nonce {nonce}")),
        NonceProblem::Reordered => (Reason::Reordered, format!("nonce {nonce}")),
        NonceProblem::Forgotten { floor } => {
            let many = "many keys signed lately, and what is to follow theirs has to expire";
            (Reason::NoncesFull, format!("it expires at {expires}: {many} after {floor}"))
        }
    };
    Verdict::native(reason, detail)
}

/// The verdict on an input that is to follow another version.
fn wrong_parent(head: &Head, parent: VersionHash) -> Verdict {
    let detail = format!("it follows {parent}, the head is {}", head.hash);
    Verdict::native(Reason::WrongParent, detail)
}

/// The verdict on a session that there is no room for.
fn sessions_full() -> Verdict {
    Verdict::native(Reason::SessionsFull, "")
}

/// The verdict on the code of an input in a session: the host's alone.
fn wrong_code() -> Verdict {
    Verdict::native(Reason::SessionCode, "the code is not of the session's secret")
}

/// Returns the native verdict on an input that was refused with `given`: that of [`authenticate`]
/// or, if that is another one, `given` itself where only the host could give it or an older rule
/// gave it.
///
/// # Errors
///
/// The verdict.
pub fn authenticate_refused(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
    given: &Verdict,
) -> Result<Vec<PublicKey>, Verdict> {
    if is_of_no_parent(head, input, given) {
        return Err(given.clone());
    }
    let signers = signers_of(head, tracked, input, host)?;
    // The check for room comes before any check of a session to open.
    if given.reason == Reason::NoncesFull && is_of_less_room(head, input, &signers, given) {
        return Err(given.clone());
    }
    opening(head, tracked, input, &signers)?;
    match is_of_its_host(input, given) || is_of_less_room(head, input, &signers, given) {
        true => Err(given.clone()),
        false => Ok(signers),
    }
}

/// Returns whether `given` is the host's word that the code of an input in a session was wrong.
fn is_of_its_host(input: &Input, given: &Verdict) -> bool {
    let session = input.credential.as_ref().and_then(Credential::session);
    session.is_some() && *given == wrong_code()
}

/// Returns whether `given` is the verdict on an input whose parent was the hash that encodes
/// "none": such an input's bytes on record name no parent, but hosts refused it for a wrong one.
fn is_of_no_parent(head: &Head, input: &Input, given: &Verdict) -> bool {
    let credential = timely(head, input).ok().flatten();
    let asks_for_none = credential.is_some_and(|credential| credential.parent.is_none());
    asks_for_none && *given == wrong_parent(head, VersionHash::NONE)
}

/// Returns whether `given` is the verdict for want of room for the nonces of `signers`, or for a
/// session of theirs, by the older rule under which all keys had the same room.
fn is_of_less_room(head: &Head, input: &Input, signers: &[PublicKey], given: &Verdict) -> bool {
    let ledger = &head.ledger;
    let Some(credential) = &input.credential else { return false };
    if credential.session().is_some() {
        return false;
    }
    let nonces_full = || Verdict::native(Reason::NoncesFull, format!("nonce {}", credential.nonce));
    match (given.reason, &input.request) {
        (Reason::NoncesFull, _) => {
            ledger.nonces.was_full(signers, input.time) && *given == nonces_full()
        }
        (Reason::SessionsFull, Request::OpenSession { session, .. }) => {
            let admitted = ledger.sessions.admit(*session, (signers.len(), false), input.time);
            admitted == Err(SessionProblem::Full) && *given == sessions_full()
        }
        _ => false,
    }
}

/// Returns a credential's fault, without the words that the reason has already.
fn problem(error: &crate::Error) -> String {
    match error.kind() {
        ErrorKind::Credential(problem) => problem.clone(),
        _ => error.to_string(),
    }
}

/// Decides whether a step of `signers`, as [`authenticate`] gave them, becomes the next version;
/// `guards` runs the policy's guard, which is asked once the policy permits.
///
/// Call it on a thread with [`STACK_BYTES`](crate::policy::STACK_BYTES) of stack.
///
/// # Errors
///
/// The verdict that refuses, or the failure that kept the guard from one.
pub fn admit<B: Memory + ?Sized, A: Memory + ?Sized, G: Guards<B, A>>(
    definition: &Definition,
    head: &Head,
    signers: Vec<PublicKey>,
    step: Step<'_, B, A>,
    guards: &mut G,
) -> Result<Admission, G::Stop> {
    let action = step.input.request.action();
    let (facts, decision) = judge(definition, head, &signers, (action, &step))?;
    ask(definition, &facts, &decision, &step, guards).transpose()?;
    Ok(verdict(signers, decision)?)
}

/// Decides whether an upgrade of `signers`, as [`authenticate`] gave them, becomes the next
/// version: both policies must permit it. The old one decides on the action `upgrade`, with the old
/// state as before and after; the new one on the action `migrate`, with the new state as both.
///
/// Call it on a thread with [`STACK_BYTES`](crate::policy::STACK_BYTES) of stack.
///
/// # Errors
///
/// The first verdict that refuses, or the failure that kept a guard from one.
pub fn admit_upgrade<M: Memory + ?Sized, G: Guards<M, M>>(
    laws: Laws<'_>,
    head: &Head,
    signers: Vec<PublicKey>,
    step: Step<'_, M, M>,
    guards: &mut G,
) -> Result<Admission, G::Stop> {
    let (left, entered) = step.halves();
    let admission = admit(laws.before, head, signers, left, guards)?;
    let judged = (MIGRATE, &entered);
    let (facts, decision) = judge(laws.after, head, &admission.signers, judged)?;
    ask(laws.after, &facts, &decision, &entered, guards).transpose()?;
    Ok(migrated(admission, decision)?)
}

/// Adds the new policy's decision to the admission of an upgrade by the old policy.
///
/// # Errors
///
/// The new policy's verdict, when it refuses.
pub fn migrated(admission: Admission, decision: Decision) -> Result<Admission, Verdict> {
    match verdict(Vec::new(), decision) {
        Ok(Admission { rules, .. }) => Ok(Admission { migrated: rules, ..admission }),
        Err(Verdict { reason, rules, detail }) => {
            let colon = if detail.is_empty() { "" } else { ": " };
            Err(Verdict::new(reason, rules, format!("by the new policy{colon}{detail}")))
        }
    }
}

/// Checks that the code of `laws.after` migrates states of `laws.before`, and returns the type that
/// it takes.
///
/// # Errors
///
/// The verdict, which names the differences.
pub fn require_migration(laws: Laws<'_>) -> Result<&Type, Verdict> {
    let taken = laws.after.schema.require_migration(&laws.before.schema);
    taken.map_err(|error| Verdict::native(Reason::Migration, error.to_string()))
}

/// A decision that is explained.
#[derive(Debug)]
pub struct Explained<S> {
    /// The policy's decision and its explanation; [`verdict`] converts the decision into the result
    /// of [`admit`], unless the guard refuses.
    pub policy: Explanation,
    /// The guard's answer: none, when the policy carries no guard or does not permit.
    pub guard: Option<Result<(), S>>,
}

/// Decides as [`admit`] does, and returns the rules behind the decision with the values they read.
///
/// Call it on a thread with [`STACK_BYTES`](crate::policy::STACK_BYTES) of stack.
///
/// # Errors
///
/// The verdict of a native rule, when one refuses: the policy was not asked.
pub fn explain<B: Memory + ?Sized, A: Memory + ?Sized, G: Guards<B, A>>(
    definition: &Definition,
    head: &Head,
    signers: &[PublicKey],
    step: Step<'_, B, A>,
    guards: &mut G,
) -> Result<Explained<G::Stop>, Verdict> {
    explain_as(definition, head, signers, (step.input.request.action(), step), guards)
}

/// The decisions of both laws on an upgrade, explained.
#[derive(Debug)]
pub struct ExplainedUpgrade<S> {
    /// The explanation by the old policy.
    pub before: Explained<S>,
    /// The explanation by the new policy: none, when the old one does not permit.
    pub after: Option<Explained<S>>,
}

/// Decides as [`admit_upgrade`] does, and explains by the rules of both policies.
///
/// Call it on a thread with [`STACK_BYTES`](crate::policy::STACK_BYTES) of stack.
///
/// # Errors
///
/// As of [`explain`].
pub fn explain_upgrade<M: Memory + ?Sized, G: Guards<M, M>>(
    laws: Laws<'_>,
    head: &Head,
    signers: &[PublicKey],
    step: Step<'_, M, M>,
    guards: &mut G,
) -> Result<ExplainedUpgrade<G::Stop>, Verdict> {
    let (left, entered) = step.halves();
    let before = explain(laws.before, head, signers, left, guards)?;
    let permits = matches!(before.policy.decision, Decision::Permit { .. });
    if !permits || matches!(before.guard, Some(Err(_))) {
        return Ok(ExplainedUpgrade { before, after: None });
    }
    let after = explain_as(laws.after, head, signers, (MIGRATE, entered), guards)?;
    Ok(ExplainedUpgrade { before, after: Some(after) })
}

fn explain_as<B: Memory + ?Sized, A: Memory + ?Sized, G: Guards<B, A>>(
    definition: &Definition,
    head: &Head,
    signers: &[PublicKey],
    (action, step): (&str, Step<'_, B, A>),
    guards: &mut G,
) -> Result<Explained<G::Stop>, Verdict> {
    let (facts, decision) = judge(definition, head, signers, (action, &step))?;
    let guard = ask(definition, &facts, &decision, &step, guards);
    let explain = |values: &Values<'_>| definition.policy.explain(&facts, values, decision);
    let policy = with_values(definition, facts.action, &step, explain).map_err(invalid)?;
    Ok(Explained { policy, guard })
}

/// Asks the policy's guard, if there is one, about a step that the policy permits.
fn ask<B: ?Sized, A: ?Sized, G: Guards<B, A>>(
    definition: &Definition,
    facts: &Facts<'_>,
    decision: &Decision,
    step: &Step<'_, B, A>,
    guards: &mut G,
) -> Option<Result<(), G::Stop>> {
    let guard = definition.policy.guard()?;
    if let Decision::Refuse { .. } = decision {
        return None;
    }
    Some(match Evidence::of(definition, facts, &step.input.request) {
        Ok(evidence) => guards.ask(guard, evidence, step.before, step.after),
        Err(error) => Err(invalid(error).into()),
    })
}

/// Returns the facts of a step that no native rule refuses, decided on as `action`, and the
/// policy's decision.
fn judge<'a, B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    head: &'a Head,
    signers: &'a [PublicKey],
    (action, step): (&'a str, &Step<'a, B, A>),
) -> Result<(Facts<'a>, Decision), Verdict> {
    let (schema, address) = (&definition.schema, definition.code.state_address);
    schema.validate_state(step.after, address).map_err(invalid)?;
    let principal = match (&step.input.request, signers.first()) {
        (Request::Cycle, _) => Principal::Object(head.id),
        (Request::Message { origin, .. }, _) => Principal::Object(origin.sender),
        (_, Some(key)) => Principal::Key(key.0),
        (_, None) => Principal::Anonymous,
    };
    let upgrade = match step.input.request {
        Request::Upgrade { code, policy } if action != MIGRATE => Some((code, policy)),
        _ => None,
    };
    let facts = Facts {
        principal,
        action,
        field: None,
        object: head.id,
        signers,
        credential: step.input.credential.as_ref().map_or("none", Credential::kind),
        sender: step.input.request.origin(),
        outputs: &step.effects.outputs,
        messages: &step.effects.messages,
        wake: step.effects.wake.apply(head.wake_during(&step.input.request)),
        seq: head.header.seq + 1,
        age: step.input.time.saturating_sub(head.created),
        fuel: step.fuel,
        pages: step.page_count,
        time: step.input.time,
        past: &head.ledger.past,
        instrumentation: step.instrumentation,
        code: definition.code.hash,
        policy: step.policy,
        upgrade,
    };
    let decision = decide(definition, &facts, step).map_err(invalid)?;
    Ok((facts, decision))
}

/// Returns the verdict on a step whose state or arguments are invalid.
fn invalid(error: crate::Error) -> Verdict {
    Verdict::native(Reason::State, error.to_string())
}

/// Converts the policy's decision on a step of `signers` into its record.
///
/// # Errors
///
/// The verdict, when the decision is to refuse.
pub fn verdict(signers: Vec<PublicKey>, decision: Decision) -> Result<Admission, Verdict> {
    match decision {
        Decision::Permit { rules } => Ok(Admission { signers, rules, migrated: Vec::new() }),
        Decision::Refuse { rules, reason } => {
            let (reason, detail) = recorded(reason);
            Err(Verdict::new(reason, rules, detail))
        }
    }
}

/// Takes the policy's decision: by the compiled rules where they can, else by Cedar.
fn decide<B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    facts: &Facts<'_>,
    step: &Step<'_, B, A>,
) -> crate::Result<Decision> {
    let arguments = match &step.input.request {
        Request::Create { arguments, .. } => &arguments[..],
        request => request.called().map_or(&[][..], |(_, arguments)| arguments),
    };
    let state = definition.code.state_address;
    let raw = Raw { before: &step.before, after: &step.after, state, arguments };
    match definition.policy.decide_raw(facts, &raw) {
        Some(ruling) => Ok(ruling.into()),
        None => decide_by_cedar(definition, facts, step),
    }
}

/// Takes Cedar's decision on a step: the reference for the compiled rules.
///
/// Call it on a thread with [`STACK_BYTES`](crate::policy::STACK_BYTES) of stack.
///
/// # Errors
///
/// [`State`](ErrorKind::State) when the memories have no valid states, and those of [`arguments`].
pub fn decide_by_cedar<B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    facts: &Facts<'_>,
    step: &Step<'_, B, A>,
) -> crate::Result<Decision> {
    with_values(definition, facts.action, step, |values| definition.policy.decide(facts, values))
}

/// Shows the states before and after a step, as far as rules on `action` read them, and its
/// arguments.
fn with_values<T, B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    action: &str,
    step: &Step<'_, B, A>,
    see: impl FnOnce(&Values<'_>) -> T,
) -> crate::Result<T> {
    let (schema, address) = (&definition.schema, definition.code.state_address);
    let states = (step.before, step.after);
    let (before, after) = definition.policy.read_states(schema, action, states, address)?;
    let input = arguments(definition, &step.input.request)?;
    Ok(see(&Values { before: &before, after: &after, input: &input }))
}

/// Decodes the arguments of a request, by name.
///
/// # Errors
///
/// [`Unknown`](crate::ErrorKind::Unknown) for a method that the schema does not have, and those of
/// [`decode_args`].
pub fn arguments(
    definition: &Definition,
    request: &Request,
) -> crate::Result<Vec<(String, Value)>> {
    let named = |method: &Method, bytes: &[u8]| {
        let values = decode_args(bytes, &method.params)?;
        let names = method.params.iter().map(|param| param.name.clone());
        Ok(names.zip(values).collect())
    };
    match request {
        Request::Create { arguments, .. } => match definition.schema.create() {
            Some(create) => named(create, arguments),
            None => decode_args(arguments, &[]).map(|_| Vec::new()),
        },
        request => request.called().map_or(Ok(Vec::new()), |(method, arguments)| {
            named(definition.schema.require_method(method)?, arguments)
        }),
    }
}

/// The reason on record, and a detail that does not depend on the policy library's words.
fn recorded(refusal: Refusal) -> (Reason, String) {
    match refusal {
        Refusal::Forbidden => (Reason::Forbidden, String::new()),
        Refusal::NotPermitted => (Reason::NotPermitted, String::new()),
        Refusal::EvaluationError { rule, .. } => {
            (Reason::Evaluation, format!("{rule} could not be evaluated"))
        }
        Refusal::OutOfRange { path } => (Reason::Evaluation, format!("{path} is above 2^63 - 1")),
        Refusal::TooLarge { path } => (Reason::Evaluation, format!("{path} is too large")),
        Refusal::Mismatch { path } => (Reason::Evaluation, format!("{path} is of another type")),
    }
}
