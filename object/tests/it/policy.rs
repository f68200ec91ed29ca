//! Policies: see each module.
//!
//! - `aircraft`: the flights' policy, decided on; its derived schema.
//! - `mapping`: what of each WIT type the rules see, and the bounds of it.
//! - `diagnostics`: what text is refused, with which words and where.
//! - `profile`: the deepest rules that pass, on small stacks; random text.
//! - `encoding`: bytes of a policy.
//! - `states`: what of a state in memory is shown to the rules.

mod aircraft;
mod diagnostics;
mod encoding;
mod mapping;
mod profile;
mod states;

use continuant_object::ErrorKind;
use continuant_object::hash::ObjectId;
use continuant_object::policy::{Decision, Facts, Policy, Principal, STACK_BYTES};
use continuant_object::schema::{Schema, Value};

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

fn decide(policy: &Policy, facts: &Facts<'_>) -> Decision {
    on_stack(STACK_BYTES, || policy.decide(facts))
}

/// The facts of a step in which nothing happens.
fn facts<'a>(action: &'a str, state: &'a Value) -> Facts<'a> {
    Facts {
        principal: Principal::Anonymous,
        action,
        object: OBJECT,
        before: state,
        after: state,
        input: &[],
        signers: &[],
        outputs: &[],
        wake: None,
        seq: 1,
        age: 0,
        fuel: 0,
        pages: 0,
        time: 0,
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

/// Breaks a line where it would be longer than this text's own may be.
pub(crate) fn wrap(line: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for (index, word) in line.split(' ').enumerate() {
        if column > 0 && column + word.len() > 80 {
            text += "\n   ";
            column = 3;
        }
        let blank = if index > 0 { " " } else { "" };
        text = text + blank + word;
        column += blank.len() + word.len();
    }
    text
}
