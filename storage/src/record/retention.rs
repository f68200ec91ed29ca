//! Retention: how much of its history a database or an object keeps whole.
//!
//! A rule says what may be dropped; compaction drops it. This module does not know records.

use std::time::Duration;

use object::codec::{Reader, Write};

use crate::error::Result;

/// A rule of how many of an object's newest versions are kept whole. Of older ones the header
/// stays, so the lineage can still be verified; payloads and memories go when the store is
/// compacted. The newest version is always kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// All of them.
    #[default]
    All,
    /// Keeps this many versions.
    Versions(u64),
    /// Keeps versions that were the newest at some moment within this span before a compaction, as
    /// it [counts](crate::Ages) them. The span is kept in whole milliseconds.
    Age(Duration),
}

const ALL: u8 = 0;
const VERSIONS: u8 = 1;
const AGE: u8 = 2;

impl Retention {
    /// The rule as two numbers.
    pub(crate) fn to_parts(self) -> (u8, u64) {
        match self {
            Retention::All => (ALL, 0),
            Retention::Versions(count) => (VERSIONS, count),
            Retention::Age(span) => (AGE, u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The rule that the numbers are.
    pub(crate) fn from_parts(rule: u8, value: u64) -> Option<Retention> {
        match (rule, value) {
            (ALL, 0) => Some(Retention::All),
            (VERSIONS, count) => Some(Retention::Versions(count)),
            (AGE, milliseconds) => Some(Retention::Age(Duration::from_millis(milliseconds))),
            _ => None,
        }
    }

    /// Returns the rule as it is kept, with an age in whole milliseconds.
    pub(crate) fn kept(self) -> Retention {
        let (rule, value) = self.to_parts();
        Retention::from_parts(rule, value).expect("the parts are of a rule")
    }

    pub(crate) fn put(self, to: &mut Vec<u8>) {
        let (rule, value) = self.to_parts();
        debug_assert_eq!(Retention::from_parts(rule, value), Some(self), "what is written is read");
        to.put_u8(rule).put_u64(value);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Retention> {
        let (rule, value) = (reader.u8()?, reader.u64()?);
        let known = Retention::from_parts(rule, value);
        known.ok_or_else(|| reader.fail(9, "a rule of retention", rule).into())
    }
}
