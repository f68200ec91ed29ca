//! Explains a decision: the rules that decided, and the values that Cedar saw for each path that
//! they read.
//!
//! Each value comes out of a context of its own, built by the decision's plan for that one value:
//! so a value that no policy may read does not hide the others.
//!
//! It does not decide.

use cedar_policy::EvalResult;
use schema::Value;

use super::context::Plan;
use super::reads::Reads;
use super::{Rules, Stated};
use crate::action::Action;
use crate::decision::{Decision, Refusal};
use crate::explain::{Reading, Rule};
use crate::facts::{Facts, Values};
use crate::shape::declares;

impl Rules {
    /// Returns the rules behind a decision on `facts` and `values`, with the values that they read;
    /// `text` is the policy's.
    pub(crate) fn explain(
        &self,
        text: &str,
        facts: &Facts<'_>,
        values: &Values<'_>,
        decision: &Decision,
    ) -> Vec<Rule> {
        let mut shapes = self.shapes.actions.iter();
        let shape = shapes.find(|shape| shape.name == facts.action);
        let (Some(shape), Some(action)) = (shape, self.actions.get(facts.action)) else {
            return Vec::new();
        };
        let applying = action.applying.iter().map(|&index| (&self.ids[index], &self.stated[index]));
        let concerned = applying.filter(|(id, rule)| concerns(decision, id, rule));
        let explained = concerned.map(|(id, rule)| Rule {
            id: id.clone(),
            text: text[rule.span.clone()].to_string(),
            permits: rule.permits,
            reads: self.readings(shape, rule, facts, values),
        });
        explained.collect()
    }

    /// Returns the values that a rule reads of a step, as far as its action has them.
    fn readings(
        &self,
        action: &Action,
        rule: &Stated,
        facts: &Facts<'_>,
        values: &Values<'_>,
    ) -> Vec<Reading> {
        let paths = rule.reads.paths().into_iter();
        let declared = paths.filter(|path| match path.split_first() {
            Some((&"before" | &"after", rest)) => declares(&self.shapes.state, rest),
            Some((&"input", rest)) => declares(&action.input, rest),
            _ => true,
        });
        let readings = declared.map(|path| {
            let plan = Plan::new(&self.shapes, action, &Reads::of(&path));
            Reading { path: path.join("."), value: read(&plan, &path, facts, values) }
        });
        readings.collect()
    }
}

/// Returns whether a rule that may apply is behind a decision.
fn concerns(decision: &Decision, id: &String, rule: &Stated) -> bool {
    let (rules, reason) = match decision {
        Decision::Permit { rules } => return rules.contains(id),
        Decision::Refuse { rules, reason } => (rules, reason),
    };
    match reason {
        Refusal::NotPermitted => rule.permits,
        Refusal::OutOfRange { path }
        | Refusal::TooLarge { path }
        | Refusal::Unknown { path }
        | Refusal::Mismatch { path } => {
            // A refusal names fields as WIT does.
            let path = path.replace('-', "_");
            let holds = |read: Vec<&str>| {
                let rest = path.strip_prefix(&read.join("."));
                let inside = |rest: &str| rest.is_empty() || rest.starts_with('.');
                read.is_empty() || rest.is_some_and(inside)
            };
            rule.reads.paths().into_iter().any(holds)
        }
        Refusal::Forbidden | Refusal::EvaluationError { .. } => rules.contains(id),
    }
}

/// Reads the value at a path in a context of the plan, if there is one.
fn read(
    plan: &Plan,
    path: &[&str],
    facts: &Facts<'_>,
    values: &Values<'_>,
) -> Result<Option<Value>, Refusal> {
    let context = plan.context(facts, values)?;
    let Some((first, rest)) = path.split_first() else {
        let names = context.clone().into_iter().map(|(name, _)| name);
        let found = names.filter_map(|name| Some((name.clone(), value(&context.get(&name)?))));
        return Ok(Some(Value::Record(found.collect())));
    };
    let mut found = context.get(first);
    for name in rest {
        found = match found {
            Some(EvalResult::Record(record)) => record.get(name).cloned(),
            _ => None,
        };
    }
    Ok(found.as_ref().map(value))
}

/// Converts a value of Cedar into one of ours.
fn value(found: &EvalResult) -> Value {
    match found {
        EvalResult::Bool(value) => Value::Bool(*value),
        EvalResult::Long(number) => Value::S64(*number),
        EvalResult::String(text) => Value::String(text.clone()),
        EvalResult::Set(items) => Value::List(items.iter().map(value).collect()),
        EvalResult::Record(fields) => {
            let fields = fields.iter().map(|(name, found)| (name.clone(), value(found)));
            Value::Record(fields.collect())
        }
        // Contexts have no others.
        other => Value::String(other.to_string()),
    }
}
