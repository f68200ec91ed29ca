//! A fault in a value and its path: found deep inside, named from the outside.
//!
//! This module does not know whether the value came from a caller, a payload or memory; its callers
//! do.
//!
//! Invariant: nothing is allocated, and no path is built, unless something is wrong.

use std::fmt;

use object::{Error, ErrorKind};

use crate::value::Value;

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// A value that does not match its type.
#[derive(Debug)]
pub(crate) struct Fault(Box<Found>);

#[derive(Debug)]
struct Found {
    /// Innermost first.
    path: Vec<String>,
    expected: String,
    found: String,
}

impl Fault {
    pub(crate) fn new(expected: impl fmt::Display, found: impl fmt::Display) -> Fault {
        let (expected, found) = (expected.to_string(), found.to_string());
        Fault(Box::new(Found { path: Vec::new(), expected, found }))
    }

    /// A value of another type.
    pub(crate) fn mismatch(expected: impl fmt::Display, found: &Value) -> Fault {
        Fault::new(expected, found.brief())
    }

    /// The same, seen from the value around it.
    pub(crate) fn within(mut self, part: impl fmt::Display) -> Fault {
        self.0.path.push(part.to_string());
        self
    }

    /// Converts the fault into an error about a caller's value.
    pub(crate) fn in_value(self) -> Error {
        let (path, expected, found) = self.take("itself");
        ErrorKind::Value { path, expected, found }.into()
    }

    /// Converts the fault into an error about the content of memory.
    pub(crate) fn in_memory(self) -> Error {
        let (path, expected, found) = self.take("value");
        ErrorKind::State { path, expected, found }.into()
    }

    /// Returns the expected and the found, without the path.
    pub(crate) fn into_parts(self) -> (String, String) {
        (self.0.expected, self.0.found)
    }

    /// `whole` is the path to the value that is not a part of another.
    fn take(self, whole: &str) -> (String, String, String) {
        let Found { mut path, expected, found } = *self.0;
        path.reverse();
        let path = if path.is_empty() { whole.to_string() } else { path.join(".") };
        (path, expected, found)
    }
}
