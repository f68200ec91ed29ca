//! What a run comes to, and the comparisons that decide it.
//!
//! It does not know what is compared.

use std::fmt::{Debug, Display};

/// What a run comes to: nothing to say, or what did not hold.
pub type Outcome = Result<(), String>;

/// That what was found is what was expected.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Outcome {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: expected {}, found {}", short(expected), short(found)))
}

/// That something holds.
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
