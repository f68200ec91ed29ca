//! Module errors: the fault of a module that is no object's code, its place, the expected and the
//! found.
//!
//! This module does not know how a module is read; the other files of this folder fill it in.
//!
//! Invariant: a message names the place, the expected and the found, in that order.

use std::fmt;

use super::feature::Feature;

/// A module that cannot be an object's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleError(Box<Fields>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    kind: ModuleErrorKind,
    place: String,
    offset: Option<u64>,
    expected: String,
    found: String,
}

/// The subject of a [`ModuleError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleErrorKind {
    /// The bytes are not a WebAssembly module.
    Invalid,
    /// The module uses a feature of WebAssembly that objects may not.
    Feature,
    /// More of something than a limit allows.
    Limit,
    /// An import that the host does not offer, or not with that type.
    Import,
    /// An export that is missing, has the wrong type, or takes a reserved name.
    Export,
    /// The linear memory is missing, imported, or without a maximum.
    Memory,
    /// The schema section is missing, repeated or not text, or a reserved section is unknown.
    Section,
    /// The segments do not fit, or the start function traps.
    Start,
    /// A data segment lies where the module promised that memory is dead.
    Data,
}

impl ModuleError {
    pub(crate) fn new(
        kind: ModuleErrorKind,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ModuleError {
        let (place, expected, found) = (place.into(), expected.into(), found.into());
        ModuleError(Box::new(Fields { kind, place, offset: None, expected, found }))
    }

    pub(super) fn limit(what: &str, max: u64, found: u64) -> ModuleError {
        let expected = format!("at most {max}");
        ModuleError::new(ModuleErrorKind::Limit, what, expected, found.to_string())
    }

    /// The same, of a module that would be valid with `feature`.
    pub(super) fn for_want_of(mut self, feature: Feature) -> ModuleError {
        (self.0.kind, self.0.expected) = (ModuleErrorKind::Feature, feature.instead());
        self
    }

    pub(super) fn at(mut self, offset: u64) -> ModuleError {
        self.0.offset = Some(offset);
        self
    }

    /// Returns the subject of the error.
    pub fn kind(&self) -> ModuleErrorKind {
        self.0.kind
    }

    /// Returns the offset in the module's bytes, when one place is known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Returns the content of an acceptable module there.
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// Returns the content of this module there.
    pub fn found(&self) -> &str {
        &self.0.found
    }
}

impl From<wasmparser::Error> for ModuleError {
    fn from(error: wasmparser::Error) -> ModuleError {
        let found = error.message();
        let place = "module";
        let refused = match error.missing_wasm_feature() {
            Some(bits) => {
                let expected = Feature::of(bits).map_or_else(
                    || "WebAssembly of the Lime1 feature set".to_string(),
                    Feature::instead,
                );
                ModuleError::new(ModuleErrorKind::Feature, place, expected, found)
            }
            None => ModuleError::new(ModuleErrorKind::Invalid, place, "valid WebAssembly", found),
        };
        refused.at(error.offset())
    }
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { place, offset, expected, found, .. } = &*self.0;
        match offset {
            Some(offset) => write!(f, "{place} at byte {offset}: ")?,
            None => write!(f, "{place}: ")?,
        }
        write!(f, "expected {expected}, found {found}")
    }
}

impl std::error::Error for ModuleError {}
