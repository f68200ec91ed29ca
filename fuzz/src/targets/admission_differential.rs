//! Compiled rules against Cedar: on any states, arguments and facts, a program decides as Cedar's
//! authorizer does, by the same rules.
//!
//! Where a program leaves the decision to Cedar, there is nothing to compare; the tally counts
//! both. Figures of past arguments are what a model says. No rule of which the policy says that it
//! can never hold is behind a decision.

mod figures;

use std::sync::Arc;

use policy::{Decision, Facts, Law, Policy, Principal, Raw, Refusal, Values};
use rand::rngs::StdRng;
use schema::{Param, Schema, Type, Value, encode_args};

use crate::generate::decision::{self, Cast, Visible};
use crate::generate::placed::{Placed, STATE};
use crate::generate::source;
use crate::outcome::{Outcome, equal, must};
use crate::tally::Tally;

/// Steps that are decided by one policy.
const STEPS: usize = 200;
/// Policies for one schema.
const POLICIES: usize = 4;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    let text = decision::schema(&mut rng);
    let Ok(schema) = Schema::parse(&text) else {
        // A method of more parameters than a call has.
        tally.add("schemas refused", 1);
        return Ok(());
    };
    let (visible, cast) = (Visible::new(&schema), Cast::new(&mut rng, &schema)?);
    let state = Type::Record(Arc::new(schema.state().clone()));
    let mut of_figures = Counts::default();
    for _ in 0..POLICIES {
        figures::run(&mut rng, &cast, &mut of_figures)?;
    }
    tally.add("figures of the past compared", of_figures.permits);
    tally.add("unknown figures refused", of_figures.refusals);
    for _ in 0..POLICIES {
        let rules = visible.rules(&mut rng, &cast);
        // As it is on record: rules that can never hold are compared too.
        let Ok(policy) = Policy::decode(&Law::from(&rules).encode(), &schema) else {
            // A comparison that strict validation finds to be of two types.
            tally.add("policies refused", 1);
            continue;
        };
        let dead: Vec<&str> = policy.dead().collect();
        tally.add("rules that can never hold", dead.len() as u64);
        let mut counts = Counts::default();
        let mut before = Placed::draw(&mut rng, &state);
        for _ in 0..STEPS {
            let after = Placed::draw(&mut rng, &state);
            let action = visible.action(&mut rng);
            let facts = cast.facts(&mut rng, action);
            let params = schema.method(action).map(|method| &method.params[..]);
            let input = arguments(&mut rng, params.unwrap_or_default());
            let list: Vec<Value> = input.iter().map(|(_, value)| value.clone()).collect();
            let bytes = encode_args(&list, params.unwrap_or_default());
            let bytes = must("encoding arguments", bytes)?;
            let raw = Raw {
                before: &&before.image[..],
                after: &&after.image[..],
                state: STATE,
                arguments: &bytes,
            };
            let values = Values { before: &before.value, after: &after.value, input: &input };
            let ruling = policy.decide_raw(&facts, &raw);
            let expected =
                (!dead.is_empty() || ruling.is_some()).then(|| policy.decide(&facts, &values));
            let held = expected.iter().flat_map(satisfied).find(|rule| dead.contains(rule));
            if let Some(rule) = held.filter(|_| may_ask(&facts)) {
                return Err(format!("{rule}, which can never hold, did, by {rules} of {text}"));
            }
            if let (Some(ruling), Some(expected)) = (ruling, expected) {
                let found = Decision::from(ruling);
                let about = || format!("by {rules} on {facts:?} {values:?} of {text}");
                equal("the decision", &expected, &found)
                    .map_err(|difference| format!("{difference}, {}", about()))?;
                counts.add(&found);
            } else {
                counts.left += 1;
            }
            before = after;
        }
        tally.add("permits compared", counts.permits);
        tally.add("refusals compared", counts.refusals);
        tally.add("left to Cedar", counts.left);
    }
    Ok(())
}

/// Returns whether the principal of a step can ask for its action: a rule on others never holds.
fn may_ask(facts: &Facts<'_>) -> bool {
    match (facts.action, &facts.principal) {
        ("advance", principal) => matches!(principal, Principal::Object(_)),
        ("open_session", principal) => matches!(principal, Principal::Key(_)),
        ("write" | "amend" | "upgrade" | "migrate", Principal::Object(_)) => false,
        _ => true,
    }
}

/// The rules behind a decision that were satisfied: those behind an error were not.
fn satisfied(decision: &Decision) -> impl Iterator<Item = &str> {
    let rules = match decision {
        Decision::Permit { rules } => &rules[..],
        Decision::Refuse { rules, reason: Refusal::Forbidden } => &rules[..],
        Decision::Refuse { .. } => &[],
    };
    rules.iter().map(String::as_str)
}

#[derive(Default)]
struct Counts {
    permits: u64,
    refusals: u64,
    left: u64,
}

impl Counts {
    fn add(&mut self, decision: &Decision) {
        match decision {
            Decision::Permit { .. } => self.permits += 1,
            Decision::Refuse { .. } => self.refusals += 1,
        }
    }
}

fn arguments(rng: &mut StdRng, params: &[Param]) -> Vec<(String, Value)> {
    params.iter().map(|param| (param.name.clone(), decision::value(rng, &param.ty))).collect()
}
