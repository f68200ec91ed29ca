//! Objects as entries of lists.
//!
//! This module does not know where rows are kept.

use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash, VersionHash};
use object::time::Time;

use crate::rows::row::Row;

/// An object as a list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// The object.
    pub id: ObjectId,
    /// The object's name.
    pub name: Option<String>,
    /// The newest version's seq.
    pub seq: u64,
    /// The newest version's hash.
    pub hash: VersionHash,
    /// The newest version's time.
    pub time: Time,
    /// The genesis' time.
    pub created: Time,
    /// The next wake.
    pub wake: Option<Time>,
    /// True if the object was moved away: until it comes back it can only be read.
    pub moved: bool,
    /// The time of the deletion, if the object was deleted: it can only be read.
    pub deleted: Option<Time>,
    /// Refusals on record.
    pub refusal_count: u64,
    /// The code.
    pub code: CodeHash,
    /// The policy.
    pub policy: PolicyHash,
    /// The base image.
    pub base: BaseHash,
}

impl ObjectInfo {
    pub(crate) fn new(id: ObjectId, row: &Row) -> ObjectInfo {
        ObjectInfo {
            id,
            name: row.name.clone(),
            seq: row.seq(),
            hash: row.head().hash,
            time: row.time,
            created: row.created,
            wake: row.wake,
            moved: row.moved,
            deleted: row.deleted_at(),
            refusal_count: row.refusal_count,
            code: row.code,
            policy: row.policy,
            base: row.base,
        }
    }
}
