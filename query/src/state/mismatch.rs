//! Mismatches between a type of a program and the type of a schema that it is to read.
//!
//! It does not know how the two are compared.

use std::fmt;

use object::{Error, ErrorKind};

/// A part of a state that does not exist, or is not of the type that the program reads.
#[derive(Debug)]
pub struct Mismatch {
    /// The path from the state's start, as far as it is known.
    path: String,
    difference: Difference,
}

#[derive(Debug)]
enum Difference {
    Type { expected: String, found: String },
    Unknown { known: Vec<String> },
}

impl Mismatch {
    #[doc(hidden)]
    pub fn new(expected: impl fmt::Display, found: impl fmt::Display) -> Mismatch {
        let (expected, found) = (expected.to_string(), found.to_string());
        Mismatch { path: String::new(), difference: Difference::Type { expected, found } }
    }

    pub(crate) fn unknown(name: &str, known: Vec<String>) -> Mismatch {
        Mismatch { path: name.to_string(), difference: Difference::Unknown { known } }
    }

    /// Extends the path by a part called `name` in front.
    pub(crate) fn within(mut self, name: impl fmt::Display) -> Mismatch {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }
}

impl From<Mismatch> for Error {
    fn from(Mismatch { path, difference }: Mismatch) -> Error {
        match difference {
            Difference::Type { expected, found } => ErrorKind::Value { path, expected, found },
            Difference::Unknown { known } => {
                ErrorKind::Unknown { what: "field", name: path, known }
            }
        }
        .into()
    }
}
