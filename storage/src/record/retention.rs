//! Retention: how much of its history a database or an object keeps whole.
//!
//! A rule says what may be dropped; compaction drops it. This module does not know records.

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
    /// Keeps versions that were the newest at some moment within this many milliseconds before a
    /// compaction, as it [counts](crate::Ages) them.
    Age(u64),
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
            Retention::Age(milliseconds) => (AGE, milliseconds),
        }
    }

    /// The rule that the numbers are.
    pub(crate) fn from_parts(rule: u8, value: u64) -> Option<Retention> {
        match (rule, value) {
            (ALL, 0) => Some(Retention::All),
            (VERSIONS, count) => Some(Retention::Versions(count)),
            (AGE, milliseconds) => Some(Retention::Age(milliseconds)),
            _ => None,
        }
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
