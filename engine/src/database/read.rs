//! Reads of versions, for the database and for its readers.
//!
//! This module does not know the reader.

use std::sync::Arc;

use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::ledger::Past;
use object::time::Time;
use policy::definition::Definition;
use query::Snapshot;
use storage::ObjectInfo;

use crate::commit::shared::Shared;
use crate::error::{Error, ErrorKind, Result};

/// The newest version, durable or not.
pub(crate) fn snapshot(shared: &Shared, id: ObjectId) -> Result<Snapshot> {
    if let Some(newest) = shared.residents.newest(id) {
        return Ok(newest);
    }
    let stored = shared.library.store.head(id)?;
    let stored = stored.ok_or_else(|| Error::from(ErrorKind::NoObject).about(id))?;
    let header = stored.head.header;
    let definition = definition(shared, (header.code, header.policy))?;
    Ok(Snapshot::new(definition, header, stored.image))
}

/// The version with this seq.
pub(crate) fn at(shared: &Shared, id: ObjectId, seq: u64) -> Result<Snapshot> {
    let found = shared.library.store.version(id, seq)?;
    version(shared, id, found, || format!("seq {seq}"))
}

/// The newest version that is not later than `time`.
pub(crate) fn as_of(shared: &Shared, id: ObjectId, time: Time) -> Result<Snapshot> {
    let found = shared.library.store.as_of(id, time)?;
    version(shared, id, found, || format!("time {time}"))
}

/// Returns a found version, or the error that there is none.
fn version(
    shared: &Shared,
    id: ObjectId,
    found: Option<storage::Version>,
    asked: impl Fn() -> String,
) -> Result<Snapshot> {
    let Some(version) = found else {
        let info = info(shared, id)?;
        let kind = ErrorKind::NoVersion { asked: asked(), newest: info.seq };
        return Err(Error::from(kind).about(id));
    };
    let header = version.commit.header().clone();
    let definition = definition(shared, (header.code, header.policy))?;
    Ok(Snapshot::new(definition, header, version.image))
}

/// Returns the past in the ledger of a version; empty, when its policy reads none of it.
pub(crate) fn past(shared: &Shared, snapshot: &Snapshot) -> Result<Past> {
    if !snapshot.definition().policy.tracked().reads_past() {
        return Ok(Past::default());
    }
    let (store, id) = (&shared.library.store, snapshot.id());
    let version = store.version(id, snapshot.header().seq)?;
    let version = version.ok_or_else(|| Error::from(ErrorKind::NoObject).about(id))?;
    Ok(store.ledger(id, &version)?.past.clone())
}

/// Returns the object's definition, without its memory.
pub(crate) fn definition_of(shared: &Shared, id: ObjectId) -> Result<Arc<Definition>> {
    if let Some(newest) = shared.residents.newest(id) {
        return Ok(Arc::clone(newest.definition()));
    }
    let info = info(shared, id)?;
    definition(shared, (info.code, info.policy))
}

/// The definition of a code and a policy. It is not called on a worker, which would wait for
/// itself.
pub(crate) fn definition(
    shared: &Shared,
    hashes: (CodeHash, PolicyHash),
) -> Result<Arc<Definition>> {
    if let Some(known) = shared.library.catalog.known(hashes) {
        return Ok(known);
    }
    let of_worker = Arc::clone(&shared.library);
    shared.post.queue.on_worker(move |_, stack| of_worker.definition(stack, hashes))?
}

/// Returns the facts about an object that need no look at its state.
pub(crate) fn info(shared: &Shared, id: ObjectId) -> Result<ObjectInfo> {
    let info = shared.library.store.info(id)?;
    info.ok_or_else(|| Error::from(ErrorKind::NoObject).about(id))
}
