//! Diffs: the fields of the state, and the pages of the memory, that differ between two versions of
//! an object.
//!
//! It compares values, so a list that moved in memory without changing is not a change of a field.
//! Fields are the same when they have the same name, also across an upgrade.

use object::hash::ObjectId;
use object::memory::{Memory, page_count};
use object::{ErrorKind, Result};
use schema::Value;

use crate::snapshot::Snapshot;

/// The differences between two versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// The object.
    pub object: ObjectId,
    /// The fields whose values differ, in the order of the first version's schema, then those that
    /// only the second version has. Records are compared field by field.
    pub fields: Vec<FieldChange>,
    /// The indices of the memory's pages whose bytes differ, ascending.
    pub pages: Vec<u32>,
}

/// One field's change.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Path to the field.
    pub path: String,
    /// The value in the first version; none when its code has no such field.
    pub before: Option<Value>,
    /// The value in the second version; none when its code has no such field.
    pub after: Option<Value>,
}

/// Returns the differences between `before` and `after`, two versions of one object.
///
/// # Errors
///
/// [`Mismatch`](ErrorKind::Mismatch) when they are of different objects, and those of
/// [`Snapshot::state`].
pub fn diff(before: &Snapshot, after: &Snapshot) -> Result<Diff> {
    if before.id() != after.id() {
        return Err(ErrorKind::Mismatch {
            what: "object",
            seq: after.header().seq,
            expected: before.id().to_string(),
            found: after.id().to_string(),
        }
        .into());
    }
    let mut fields = Vec::new();
    compare(String::new(), Some(before.state()?), Some(after.state()?), &mut fields);
    Ok(Diff { object: before.id(), fields, pages: pages(before, after) })
}

fn compare(
    path: String,
    before: Option<Value>,
    after: Option<Value>,
    changes: &mut Vec<FieldChange>,
) {
    match (before, after) {
        (Some(Value::Record(before)), Some(Value::Record(mut after))) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, before) in before {
                let same = after.iter().position(|(other, _)| *other == name);
                let after = same.map(|index| after.remove(index).1);
                compare(format!("{path}{dot}{name}"), Some(before), after, changes);
            }
            for (name, after) in after {
                compare(format!("{path}{dot}{name}"), None, Some(after), changes);
            }
        }
        (Some(before), Some(after)) if before.is_same(&after) => {}
        (None, None) => {}
        (before, after) => changes.push(FieldChange { path, before, after }),
    }
}

fn pages(before: &Snapshot, after: &Snapshot) -> Vec<u32> {
    let (before, after) = (before.image(), after.image());
    let shared = page_count(before.bytes_count().min(after.bytes_count()));
    let longer = page_count(before.bytes_count().max(after.bytes_count()));
    let differs = |index: &u32| *index >= shared || before.page(*index) != after.page(*index);
    (0..longer).filter(differs).collect()
}
