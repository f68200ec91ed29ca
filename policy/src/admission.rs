//! Admission: decides whether a step becomes a version. It is one pure function of the head, the
//! input, the memory before and after, and the effects.
//!
//! Native rules come first and no policy can waive them: credentials, nonces, the wake, the schema.
//! Then the object's own policy decides; if the policy carries a guard, the guard must permit the
//! step as well. On an upgrade two policies decide, the old one and the new one. The engine, the
//! verifier and the command line all call these functions; none of them has rules of its own.
//!
//! It does not know how the step was run.

#[cfg(doc)]
use object::authentication::authenticate;
use object::credential::{Credential, PublicKey};
use object::effects::{Admission, Effects};
use object::hash::PolicyHash;
use object::head::Head;
use object::header::Header;
use object::input::{Input, Request};
use object::memory::Memory;
use object::refusal::{Reason, Verdict};
use schema::{MIGRATE, Method, Type, Value, decode_args};

use crate::decision::{Decision, Refusal};
use crate::definition::Definition;
use crate::explain::Explanation;
use crate::facts::{Facts, Principal, Values};
use crate::guard::{Evidence, Guards};
use crate::program::Raw;

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

/// Decides whether a step of `signers`, as [`authenticate`] gave them, becomes the next version;
/// `guards` runs the policy's guard, which is asked once the policy permits.
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
    debug_assert!(admission.migrated.is_empty(), "the new policy decides once");
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
    let (schema, state) = (&definition.schema, definition.code.state_address);
    Some(match Evidence::of(schema, state, facts, &step.input.request) {
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
        age_ms: step.input.time.as_millis().saturating_sub(head.created.as_millis()),
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
fn invalid(error: object::Error) -> Verdict {
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
) -> object::Result<Decision> {
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
/// # Errors
///
/// [`State`](object::ErrorKind::State) when the memories have no valid states, and those of
/// [`arguments`].
pub fn decide_by_cedar<B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    facts: &Facts<'_>,
    step: &Step<'_, B, A>,
) -> object::Result<Decision> {
    with_values(definition, facts.action, step, |values| definition.policy.decide(facts, values))
}

/// Shows the states before and after a step, as far as rules on `action` read them, and its
/// arguments.
fn with_values<T, B: Memory + ?Sized, A: Memory + ?Sized>(
    definition: &Definition,
    action: &str,
    step: &Step<'_, B, A>,
    see: impl FnOnce(&Values<'_>) -> T,
) -> object::Result<T> {
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
/// [`Unknown`](object::ErrorKind::Unknown) for a method that the schema does not have, and those of
/// [`decode_args`].
pub fn arguments(
    definition: &Definition,
    request: &Request,
) -> object::Result<Vec<(String, Value)>> {
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
        Refusal::Unknown { path } => (Reason::Evaluation, format!("{path} is not known")),
        Refusal::Mismatch { path } => (Reason::Evaluation, format!("{path} is of another type")),
    }
}
