//! Policies: see each module.
//!
//! - `aircraft`: the flights' policy, decided on; its derived schema.
//! - `mapping`: the Cedar form of each WIT type, and its bounds.
//! - `diagnostics`: refused texts, with the words and the place.
//! - `profile`: the deepest rules that pass, on small stacks; random text.
//! - `encoding`: bytes of a policy.
//! - `lints`: valid policies that are refused all the same.
//! - `figures`: past arguments, as far as policies ask for them.
//! - `guards`: when a guard is asked, and all that it may read.
//! - `compiled`: compiled rules beside Cedar.
//! - `counts`: counts of lists.
//! - `states`: the parts of a state in memory that rules see.
//! - `templates`: the guide's policies.

mod aircraft;
mod compiled;
mod counts;
mod diagnostics;
mod encoding;
mod figures;
mod guards;
mod lints;
mod mapping;
mod profile;
mod states;
mod templates;

use continuant_policy::{Decision, Facts, Law, Policy, Principal, Raw, STACK_BYTES, Values};
use object::ErrorKind;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::ledger::Past;
use object::time::Time;
use schema::{Schema, Type, Value, encode_args, encode_value};

use crate::generate::Arena;
use crate::wrap::wrap;

const OBJECT: ObjectId = ObjectId([7; 32]);
const ANYONE: &str = "@id(\"anyone\") permit(principal, action, resource);\n";

/// Runs `body` on a thread of `bytes` of stack, and passes its panics on.
pub(crate) fn on_stack<T: Send>(bytes: usize, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, body);
        match thread.unwrap().join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn parse(text: &str, schema: &Schema) -> Result<Policy, String> {
    on_stack(STACK_BYTES, || Policy::parse(text, schema)).map_err(|error| match error.kind() {
        ErrorKind::Policy(findings) => {
            findings.iter().map(|finding| wrap(&finding.to_string()) + "\n").collect::<String>()
        }
        _ => panic!("not about the policy: {error}"),
    })
}

/// Returns a policy as it is on record: it may have rules that are refused in a new one.
fn on_record(text: &str, schema: &Schema) -> Policy {
    on_stack(STACK_BYTES, || Policy::decode(&Law::from(text).encode(), schema)).unwrap()
}

/// Returns Cedar's decision. The compiled rules, on the same states in memory, decide the same if
/// they decide.
fn decide(policy: &Policy, schema: &Schema, facts: &Facts<'_>, values: &Values<'_>) -> Decision {
    let decision = on_stack(STACK_BYTES, || policy.decide(facts, values));
    if let Some(compiled) = decide_compiled(policy, schema, facts, values) {
        assert_eq!(compiled, decision);
    }
    decision
}

/// Returns the compiled rules' decision, if the values are of the schema and they decide.
fn decide_compiled(
    policy: &Policy,
    schema: &Schema,
    facts: &Facts<'_>,
    values: &Values<'_>,
) -> Option<Decision> {
    let ty = Type::Record(schema.state().clone().into());
    let [before, after] = [values.before, values.after].map(|state| {
        encode_value(state, &ty).ok()?;
        let mut arena = Arena::new(0);
        assert_eq!(arena.place_state(state.clone(), schema.state()), 0);
        Some(arena.image)
    });
    let params = schema.method(facts.action).map(|method| &method.params[..]).unwrap_or_default();
    let arguments: Vec<Value> = values.input.iter().map(|(_, value)| value.clone()).collect();
    let arguments = encode_args(&arguments, params).ok()?;
    let (before, after) = (before?, after?);
    let raw = Raw { before: &&before[..], after: &&after[..], state: 0, arguments: &arguments };
    policy.decide_raw(facts, &raw).map(Decision::from)
}

/// A step of no arguments that changes nothing.
fn values(state: &Value) -> Values<'_> {
    Values { before: state, after: state, input: &[] }
}

/// The facts of a step in which nothing happens.
fn facts(action: &str) -> Facts<'_> {
    Facts {
        principal: Principal::Anonymous,
        action,
        field: None,
        object: OBJECT,
        signers: &[],
        credential: "none",
        sender: None,
        outputs: &[],
        messages: &[],
        wake: None,
        seq: 1,
        age_ms: 0,
        fuel: 0,
        pages: 0,
        time: Time::MIN,
        past: Past::NONE,
        instrumentation: 1,
        code: CodeHash([0; 32]),
        policy: PolicyHash([0; 32]),
        upgrade: None,
    }
}

fn record(fields: &[(&str, Value)]) -> Value {
    Value::Record(fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
}

/// A decision in a line.
fn print(decision: &Decision) -> String {
    wrap(&match decision {
        Decision::Permit { rules } => format!("permit by {}", rules.join(" ")),
        Decision::Refuse { rules, reason } => format!("refuse by [{}]: {reason}", rules.join(" ")),
    })
}
