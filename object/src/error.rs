//! The error of this crate: a kind that says what is wrong, and where it was found.
//!
//! It does not know files or objects' names; the crates above add that context to their own errors.
//!
//! Invariant: a message names the place, the expected and the found, in that order.

use std::fmt;

use crate::diagnostic::Diagnostic;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something in the bytes or text given was not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<ErrorKind>);

/// The kinds of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bytes that are not an encoding of `what`.
    Decode {
        /// The structure being decoded.
        what: &'static str,
        /// The place in the bytes, from their start.
        offset: u64,
        /// The content of a well-formed encoding there.
        expected: String,
        /// The content found there.
        found: String,
    },
    /// WIT text that is not a schema, with everything that is wrong in it.
    Schema(Vec<Diagnostic>),
    /// Cedar text that is not a policy of this object, with everything that is wrong in it.
    Policy(Vec<Diagnostic>),
    /// A caller's value that does not match the type it is for.
    Value {
        /// Path to the value, such as `input.departure`.
        path: String,
        /// The type or range.
        expected: String,
        /// The value or its type.
        found: String,
    },
    /// The bytes of memory are not a state of the schema.
    State {
        /// Path to the field, such as `state.operator`.
        path: String,
        /// The schema's demand.
        expected: String,
        /// The content of memory.
        found: String,
    },
    /// A path or name that the schema does not have.
    Unknown {
        /// The kind of the thing looked up, such as `field` or `method`.
        what: &'static str,
        /// The name given.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// A lineage, proof or image that does not verify.
    Mismatch {
        /// The part that was verified, such as `parent hash`.
        what: &'static str,
        /// The version concerned.
        seq: u64,
        /// The value that would verify.
        expected: String,
        /// The value given.
        found: String,
    },
    /// The salts of a version whose part of the object's secret is gone.
    Erased {
        /// The version.
        seq: u64,
        /// The first version whose salts there are.
        from: u64,
    },
    /// A key or signature that is malformed or weak.
    Credential(String),
    /// A signature, or a code of a session, that was made by an algorithm that is not known here: a
    /// newer program wrote it. Nothing behind it was read.
    UnknownAlgorithm {
        /// The structure that has it.
        what: &'static str,
        /// The place of the algorithm's code in the structure's bytes.
        offset: u64,
        /// The code that is known for this place.
        known: u8,
        /// The code found.
        code: u8,
    },
    /// More than a limit allows.
    Limit {
        /// The limit's name.
        what: &'static str,
        /// The most that is allowed.
        max: u64,
        /// The amount found.
        found: u64,
    },
}

impl Error {
    /// Returns the kind of failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// An error of kind [`Decode`](ErrorKind::Decode).
    pub fn decode(
        what: &'static str,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        let (expected, found) = (expected.to_string(), found.to_string());
        ErrorKind::Decode { what, offset, expected, found }.into()
    }

    /// An error of kind [`Mismatch`](ErrorKind::Mismatch).
    pub fn mismatch(
        what: &'static str,
        seq: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        let (expected, found) = (expected.to_string(), found.to_string());
        ErrorKind::Mismatch { what, seq, expected, found }.into()
    }
}

impl ErrorKind {
    /// Returns the kind's name, such as `unknown`. It does not change from one release to the next,
    /// and is what the command line prints as `kind`.
    pub fn name(&self) -> &'static str {
        match self {
            ErrorKind::Decode { .. } => "damaged",
            ErrorKind::Schema(_) => "schema",
            ErrorKind::Policy(_) => "policy",
            ErrorKind::Value { .. } => "value",
            ErrorKind::State { .. } => "state",
            ErrorKind::Unknown { .. } => "unknown",
            ErrorKind::Mismatch { .. } => "mismatch",
            ErrorKind::Erased { .. } => "erased",
            ErrorKind::Credential(_) => "credential",
            ErrorKind::UnknownAlgorithm { .. } => "unknown-algorithm",
            ErrorKind::Limit { .. } => "limit",
        }
    }

    /// Returns whether the read bytes are not the written ones, or do not verify.
    pub fn is_damaged(&self) -> bool {
        matches!(
            self,
            ErrorKind::Decode { .. }
                | ErrorKind::State { .. }
                | ErrorKind::Mismatch { .. }
                | ErrorKind::Credential(_)
        )
    }

    /// Returns whether an argument is wrong: a value of another type, or a name that the schema
    /// does not have.
    pub fn is_invalid_argument(&self) -> bool {
        matches!(self, ErrorKind::Value { .. } | ErrorKind::Unknown { .. })
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            ErrorKind::Decode { what, offset, expected, found } => {
                write!(f, "{what}: at offset {offset} expected {expected}, found {found}")
            }
            ErrorKind::Schema(findings) => list(f, "schema", findings),
            ErrorKind::Policy(findings) => list(f, "policy", findings),
            ErrorKind::Value { path, expected, found } => {
                write!(f, "value {path}: expected {expected}, found {found}")
            }
            ErrorKind::State { path, expected, found } => {
                write!(f, "{path} in memory: expected {expected}, found {found}")
            }
            ErrorKind::Unknown { what, name, known } => {
                let known = if known.is_empty() { "none" } else { &known.join(", ") };
                write!(f, "no {what} {name:?}; there is {known}")
            }
            ErrorKind::Mismatch { what, seq, expected, found } => {
                write!(f, "{what} of version {seq}: expected {expected}, found {found}")
            }
            ErrorKind::Erased { seq, from } => {
                write!(f, "the salts of version {seq} are gone; there are those from {from} on")
            }
            ErrorKind::Credential(problem) => write!(f, "credential: {problem}"),
            ErrorKind::UnknownAlgorithm { what, offset, known, code } => write!(
                f,
                "{what}: at offset {offset} expected the algorithm {known}, found {code}, which a \
                 newer program may know"
            ),
            ErrorKind::Limit { what, max, found } => {
                write!(f, "{what}: at most {max}, found {found}")
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, findings: &[Diagnostic]) -> fmt::Result {
    write!(f, "{what}: ")?;
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            f.write_str("; ")?;
        }
        write!(f, "{finding}")?;
    }
    Ok(())
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, damaged, invalid argument.
    type Row = (ErrorKind, &'static str, bool, bool);

    fn table() -> [Row; 11] {
        let (what, offset, seq, max, found) = ("x", 0, 0, 0, 0);
        let (path, expected) = (String::new, String::new);
        let text = String::new;
        let known = Vec::new();
        [
            (
                ErrorKind::Decode { what, offset, expected: expected(), found: text() },
                "damaged",
                true,
                false,
            ),
            (ErrorKind::Schema(Vec::new()), "schema", false, false),
            (ErrorKind::Policy(Vec::new()), "policy", false, false),
            (
                ErrorKind::Value { path: path(), expected: expected(), found: text() },
                "value",
                false,
                true,
            ),
            (
                ErrorKind::State { path: path(), expected: expected(), found: text() },
                "state",
                true,
                false,
            ),
            (ErrorKind::Unknown { what, name: text(), known }, "unknown", false, true),
            (
                ErrorKind::Mismatch { what, seq, expected: expected(), found: text() },
                "mismatch",
                true,
                false,
            ),
            (ErrorKind::Erased { seq, from: 1 }, "erased", false, false),
            (ErrorKind::Credential(text()), "credential", true, false),
            (
                ErrorKind::UnknownAlgorithm { what, offset, known: 1, code: 2 },
                "unknown-algorithm",
                false,
                false,
            ),
            (ErrorKind::Limit { what, max, found }, "limit", false, false),
        ]
    }

    #[test]
    fn every_kind_has_its_name_and_class() {
        let table = table();
        for (kind, name, is_damaged, is_invalid_argument) in &table {
            assert_eq!(kind.name(), *name);
            assert_eq!(kind.is_damaged(), *is_damaged, "{name}");
            assert_eq!(kind.is_invalid_argument(), *is_invalid_argument, "{name}");
        }
        let kinds: std::collections::HashSet<_> =
            table.iter().map(|(kind, ..)| std::mem::discriminant(kind)).collect();
        assert_eq!(kinds.len(), table.len(), "each kind is in the table once");
    }
}
