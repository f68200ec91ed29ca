//! The report of a fuzzer's run: its finding, and its tries, as a run without a finding says little
//! unless much was admitted in it.
//!
//! This module does not know how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use object::credential::SigningKey;
use object::effects::Admission;
use object::hash::VersionHash;
use object::refusal::{Reason, Verdict};
use policy::{Policy, Refusal, Rule};
use schema::{Schema, Value};

/// Something that happens to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The event itself.
    pub what: What,
    /// The signers, as indices of the [`keys`](Report::keys); nobody signs a replay or a wait.
    pub signers: Vec<usize>,
}

/// The kinds of event.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A method is called.
    Call {
        /// The method.
        method: String,
        /// The method's arguments.
        arguments: Vec<Value>,
    },
    /// A field of the state is written.
    Write {
        /// The path to the field.
        field: String,
        /// The field's new value.
        value: Value,
    },
    /// An amendment to the present policy.
    Amend,
    /// The last input that was signed is submitted once more, as it was.
    Replay,
    /// This span of time passes, and the wakes that come due in it run.
    Wait(Duration),
}

/// A step that was run: of an input, or of the object's own cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The method, or `write`, `amend`, `advance`.
    pub action: String,
    /// The version that it made or, refused, did not make.
    pub seq: u64,
    /// The outcome.
    pub verdict: Result<Admission, Verdict>,
}

/// An event and the steps that it led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// The event.
    pub event: Event,
    /// The steps that ran, in order.
    pub steps: Vec<Step>,
}

/// An invariant that does not hold, and the least that was found to show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The invariant's name.
    pub invariant: String,
    /// The fault, in words.
    pub detail: String,
    /// The rule that states it, and the values that it read; none when no rule does.
    pub rule: Option<Rule>,
    /// The arguments that the object was created with.
    pub arguments: Vec<Value>,
    /// The events after it, up to where the invariant broke.
    pub events: Vec<Played>,
    /// The version that breaks it, when it is one version that does.
    pub version: Option<VersionHash>,
    /// The number of the sequence in which it was found, from 1.
    pub sequence: u64,
    /// The number of events when it was found, before it was shrunk.
    pub found_after: usize,
    /// True if the rule did not forbid the step, but could not be evaluated.
    pub is_unevaluable: bool,
}

/// The number of requests of one kind, and of the admitted ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Steps.
    pub tried: u64,
    /// The number of those that became versions.
    pub admitted: u64,
}

/// A rule of the object's policy, and how often a verdict was its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// True for a `permit`, false for a `forbid`.
    pub permits: bool,
    /// Steps that it permitted, or forbade.
    pub count: u64,
}

/// The finding of a run, and its tries.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed: the same one finds the same.
    pub seed: u64,
    /// The keys that signed.
    pub keys: Vec<SigningKey>,
    /// Objects that were created.
    pub sequences: u64,
    /// Creations that were refused, of drawn arguments.
    pub refused_creations: u64,
    /// The number of steps that ran, without creations and shrinking.
    pub steps: u64,
    /// Lineages that were verified and replayed as well.
    pub replays: u64,
    /// Steps that were refused, by reason: a trap is one.
    pub refusals: BTreeMap<Reason, u64>,
    /// Every action: the methods, `write`, `amend` and `advance`.
    pub actions: BTreeMap<String, Tries>,
    /// Each rule of the policy, by id.
    pub rules: BTreeMap<String, Verdicts>,
    /// The first invariant that was found not to hold.
    pub broken: Option<Broken>,
}

impl Report {
    pub(super) fn new(
        seed: u64,
        keys: Vec<SigningKey>,
        schema: &Schema,
        policy: &Policy,
    ) -> Report {
        let methods = schema.methods().iter().map(|method| method.name.as_str());
        let actions = methods.chain(["advance", "amend", "write"]);
        let actions = actions.map(|action| (action.to_string(), Tries::default()));
        let rules = policy.rules();
        let rules = rules.map(|(id, permits)| (id.to_string(), Verdicts { permits, count: 0 }));
        Report {
            seed,
            keys,
            sequences: 0,
            refused_creations: 0,
            steps: 0,
            replays: 0,
            refusals: BTreeMap::new(),
            actions: actions.collect(),
            rules: rules.collect(),
            broken: None,
        }
    }

    /// Steps that became versions.
    pub fn versions(&self) -> u64 {
        self.actions.values().map(|tries| tries.admitted).sum()
    }

    /// Counts a step.
    pub(super) fn count(&mut self, step: &Step) {
        self.steps += 1;
        if let Some(tries) = self.actions.get_mut(&step.action) {
            tries.tried += 1;
            tries.admitted += u64::from(step.verdict.is_ok());
        }
        let rules = match &step.verdict {
            Ok(admission) => &admission.rules,
            Err(verdict) => {
                *self.refusals.entry(verdict.reason).or_default() += 1;
                match verdict.reason {
                    Reason::Forbidden => &verdict.rules,
                    _ => return,
                }
            }
        };
        for rule in rules {
            if let Some(verdicts) = self.rules.get_mut(rule) {
                verdicts.count += 1;
            }
        }
    }
}

/// The break of an invariant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Break {
    pub(super) invariant: String,
    pub(super) detail: String,
    pub(super) rule: Option<Rule>,
    pub(super) is_unevaluable: bool,
    pub(super) version: Option<VersionHash>,
}

impl Break {
    /// Returns the break of an invariant that no rule states.
    pub(super) fn new(invariant: &str, detail: impl Into<String>) -> Break {
        let (invariant, detail) = (invariant.to_string(), detail.into());
        Break { invariant, detail, rule: None, is_unevaluable: false, version: None }
    }

    /// Returns the break by a rule that forbids a step, or could not be evaluated.
    pub(super) fn of_rule(rule: Option<Rule>, refusal: &Refusal) -> Break {
        let is_unevaluable = !matches!(refusal, Refusal::Forbidden);
        let detail = match refusal {
            Refusal::Forbidden => "it does not hold".to_string(),
            refusal => format!("it cannot be evaluated: {refusal}"),
        };
        let invariant = rule.as_ref().map_or("invariants", |rule| &rule.id).to_string();
        Break { invariant, detail, rule, is_unevaluable, version: None }
    }

    /// Returns whether another break is of the same invariant in the same way.
    pub(super) fn is_like(&self, other: &Break) -> bool {
        (&self.invariant, self.is_unevaluable) == (&other.invariant, other.is_unevaluable)
    }
}
