//! A decision explained: the rules behind it, in the policy's own text, and the values that each of
//! them reads of the step.
//!
//! An explanation is made after the decision, of the same facts; it does not decide, and is never
//! hashed.

use schema::Value;

use crate::decision::{Decision, Refusal};
use crate::facts::Principal;

/// A decision and the rules behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The asking principal.
    pub principal: Principal,
    /// The policy's decision.
    pub decision: Decision,
    /// The rules behind the decision, sorted by id. When none permits: each that permits something
    /// of this action. When a value is beyond what a policy may read: each rule that reads it.
    pub rules: Vec<Rule>,
    /// The actions of which rules may permit a step, in the order of the schema; given when no rule
    /// permits anything of this action.
    pub permitted: Option<Vec<String>>,
}

/// A rule of a policy that a decision hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The rule's id.
    pub id: String,
    /// The rule's text, from the policy.
    pub text: String,
    /// True for a `permit`, false for a `forbid`.
    pub permits: bool,
    /// The values that its conditions read of the step, by path, evaluated or not.
    pub reads: Vec<Reading>,
}

/// A value of the context that a rule reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The path as the rule writes it behind `context`: `before.free_at`.
    pub path: String,
    /// The value that rules see there: none for an absent option, and a refusal for a value that no
    /// policy may read. Integers are `s64`, lists in no order, bytes their digits.
    pub value: Result<Option<Value>, Refusal>,
}
