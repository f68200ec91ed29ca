//! Who changed a field last: the newest version in which it has another value than before.
//!
//! It walks back from the head and reads the field in each version, so it costs what the versions
//! since the change cost. It does not say who could have changed it.

use std::sync::Arc;

use object::definition::Definition;
use object::hash::ObjectId;
use storage::{Direction, ErrorKind, Result, Store};

use crate::history::VersionEntry;
use crate::snapshot::Snapshot;

/// The version that gave the field at `path` the value that it has now: the genesis when it never
/// changed.
///
/// # Errors
///
/// [`Object`](ErrorKind::Object) when the state has no such field, and those of the store.
pub fn blame(
    store: &Store,
    definition: &Arc<Definition>,
    object: ObjectId,
    path: &str,
) -> Result<VersionEntry> {
    let place = definition.schema.resolve(path)?;
    let address = definition.code.state_address;
    let mut newer = None;
    for stored in store.versions(object, 0..u64::MAX, Direction::Backward)? {
        let stored = stored?;
        let seq = stored.header().seq;
        let version = store.version(object, seq)?.ok_or_else(|| no_object(object))?;
        let snapshot =
            Snapshot::new(Arc::clone(definition), stored.header().clone(), version.image);
        let value = place.read(snapshot.image(), address)?;
        match newer {
            Some((entry, newer)) if newer != value => return Ok(entry),
            _ => newer = Some((VersionEntry::decode(&stored)?, value)),
        }
    }
    newer.map(|(entry, _)| entry).ok_or_else(|| no_object(object))
}

fn no_object(object: ObjectId) -> storage::Error {
    ErrorKind::NotFound { what: "object", name: object.to_string() }.into()
}
