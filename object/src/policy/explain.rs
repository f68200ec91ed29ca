//! A decision explained: the rules that it hangs on, as their text has them, and the values that
//! each of them reads of the step.
//!
//! It is made after the decision, of the same facts; it does not decide, and is never hashed.

use super::{Decision, Facts, Policy, Principal, Refusal, Values};
use crate::schema::Value;

/// A decision and what it hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Who asked.
    pub principal: Principal,
    /// What the policy says.
    pub decision: Decision,
    /// The rules that say so; when none permits, each that permits something of this action and,
    /// when a value is beyond what a policy may read, each that reads it. Sorted by id.
    pub rules: Vec<Rule>,
    /// When no rule permits anything of the action: the actions that rules do permit something of,
    /// in the order of the schema.
    pub permitted: Option<Vec<String>>,
}

/// A rule of a policy that a decision hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// Its text, as the policy has it.
    pub text: String,
    /// Whether it is a `permit`, not a `forbid`.
    pub permits: bool,
    /// What its conditions read of the step, by path, whether or not it came to that.
    pub reads: Vec<Reading>,
}

/// A value of the context that a rule reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Where it is, as the rule says it behind `context`: `before.free_at`.
    pub path: String,
    /// What rules see there: none, when it is optional and not there, and a refusal for what no
    /// policy may read. Integers are `s64`, lists in no order, bytes their digits.
    pub value: Result<Option<Value>, Refusal>,
}

impl Policy {
    /// What `decision` hangs on, which was taken on `facts` and `values`.
    ///
    /// Call it on a thread with [`STACK_BYTES`](super::STACK_BYTES) of stack.
    pub(crate) fn explain(
        &self,
        facts: &Facts<'_>,
        values: &Values<'_>,
        decision: Decision,
    ) -> Explanation {
        let rules = self.rules.explain(&self.text, facts, values, &decision);
        let is_silent = matches!(&decision, Decision::Refuse { reason: Refusal::NotPermitted, .. });
        let permitted =
            (is_silent && rules.is_empty()).then(|| self.permitted().map(str::to_string).collect());
        Explanation { principal: facts.principal, decision, rules, permitted }
    }
}
