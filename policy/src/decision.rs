//! A policy's decision on a step, with its rules and the reason of a refusal.

use std::fmt;

/// A verdict on a step, with the ids of the rules behind it, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The step is admitted.
    Permit {
        /// Every `permit` that is satisfied.
        rules: Vec<String>,
    },
    /// The step is refused.
    Refuse {
        /// Every `forbid` that is satisfied or, when evaluation failed, every rule that failed.
        rules: Vec<String>,
        /// The cause of the refusal.
        reason: Refusal,
    },
}

/// The causes for which a step is refused.
///
/// A path is that of a value in the context, fields under their names in WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A rule forbids it.
    Forbidden,
    /// No rule permits it.
    NotPermitted,
    /// Rules could not be evaluated; those that could do not count.
    EvaluationError {
        /// The first of them.
        rule: String,
        /// Cedar's words for its problem. They may change with Cedar's version.
        message: String,
    },
    /// A number that a rule reads is above the greatest `s64`.
    OutOfRange {
        /// The number.
        path: String,
    },
    /// A value that a rule reads is beyond what [`limits`](object::limits) lets a policy read.
    TooLarge {
        /// The value.
        path: String,
    },
    /// A rule reads of the past what is not known: more happened than is remembered, or a sum has a
    /// negative number in it.
    Unknown {
        /// The figure.
        path: String,
    },
    /// The facts are not of this policy's schema: there is no such action, or a value is of
    /// another type.
    Mismatch {
        /// `action`, or the value.
        path: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Forbidden => f.write_str("a rule forbids it"),
            Refusal::NotPermitted => f.write_str("no rule permits it"),
            Refusal::EvaluationError { rule, message } => {
                write!(f, "rule {rule} could not be evaluated: {message}")
            }
            Refusal::OutOfRange { path } => {
                write!(f, "{path} is above what a policy can count to")
            }
            Refusal::TooLarge { path } => write!(f, "{path} is larger than a policy may read"),
            Refusal::Unknown { path } => {
                write!(f, "{path} is not known: it is of more than is remembered or counted")
            }
            Refusal::Mismatch { path } => write!(f, "{path} is not of the policy's schema"),
        }
    }
}
