//! The outcome of a run, and the comparisons that decide it.
//!
//! This module does not know the compared values.

use std::fmt::{Debug, Display};

/// The outcome of a run: success, or what did not hold.
pub type Outcome = Result<(), String>;

/// Requires that the found value is the expected one.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Outcome {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: expected {}, found {}", short(expected), short(found)))
}

/// Requires that something holds.
pub(crate) fn hold(what: impl Display, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(format!("it does not hold that {what}")) }
}

/// The value of a result that must be one.
pub(crate) fn must<T, E: Display>(what: impl Display, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let end = text.floor_char_boundary(600);
    if end < text.len() { format!("{}...", &text[..end]) } else { text }
}
