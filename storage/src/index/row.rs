//! The index's rows as bytes: archives that are read in place, each with a check over its key and
//! itself, since the index's own pages are not verified on every read.
//!
//! It does not know tables. These bytes are a cache and no format: a later version may lay rows out
//! otherwise and rebuild the index from the log.
//!
//! Invariant: what `open` gives was written by `close` for the same key.

use object::hash::{BaseHash, CodeHash, Context, ObjectId, PolicyHash, RefusalHash, VersionHash};
use object::lineage::{Spine, jump_seq};
use rkyv::rancor::Error as ArchiveError;
use rkyv::{Archive, Serialize};

use crate::log::Position;
use crate::retention::Retention;
use crate::row::{Link, Row};
use crate::store::ObjectInfo;

/// Bytes of a value's check.
const CHECK_BYTES: usize = 16;

/// An object's row, without where its pages are: its newest version's record says that.
#[derive(Archive, Serialize)]
pub(crate) struct IndexRow {
    /// The newest version's seq; those of the other links follow from it.
    seq: u64,
    links: Vec<([u8; 32], u64)>,
    time: u64,
    created: u64,
    wake: Option<u64>,
    code: [u8; 32],
    policy: [u8; 32],
    base: [u8; 32],
    genesis: u64,
    ledger: u64,
    globals: u64,
    refusal: [u8; 32],
    refusal_position: u64,
    refusal_count: u64,
    name: Option<String>,
    retention: Option<(u8, u64)>,
}

/// A row's bytes.
pub(crate) fn encode(id: ObjectId, row: &Row) -> Vec<u8> {
    let links = row.spine.links().iter();
    let archived = IndexRow {
        seq: row.seq(),
        links: links.map(|(_, link)| (link.hash.0, link.position.0)).collect(),
        time: row.time,
        created: row.created,
        wake: row.wake,
        code: row.code.0,
        policy: row.policy.0,
        base: row.base.0,
        genesis: row.genesis.0,
        ledger: row.ledger.0,
        globals: row.globals.0,
        refusal: row.refusal.0,
        refusal_position: row.refusal_position.0,
        refusal_count: row.refusal_count,
        name: row.name.clone(),
        retention: row.retention.map(Retention::to_parts),
    };
    let bytes = rkyv::to_bytes::<ArchiveError>(&archived).expect("a row has nothing to fail on");
    close(&id.0, bytes.to_vec())
}

/// An object's row.
pub(crate) fn decode(id: ObjectId, value: &[u8]) -> Option<Row> {
    let row = access(id, value)?;
    let mut seq = row.seq.to_native();
    let mut links = Vec::with_capacity(row.links.len());
    for link in row.links.iter() {
        let position = Position(link.1.to_native());
        links.push((seq, Link { hash: VersionHash(link.0), position }));
        seq = jump_seq(seq);
    }
    let retention = match row.retention.as_ref() {
        Some(parts) => Some(Retention::from_parts(parts.0, parts.1.to_native())?),
        None => None,
    };
    let ends = links.last().is_some_and(|last| last.0 == 0);
    let name = row.name.as_ref().map(|name| name.as_str().to_string());
    ends.then(|| Row {
        spine: Spine::from_links(links),
        time: row.time.to_native(),
        created: row.created.to_native(),
        wake: row.wake.as_ref().map(|wake| wake.to_native()),
        code: CodeHash(row.code),
        policy: PolicyHash(row.policy),
        base: BaseHash(row.base),
        genesis: Position(row.genesis.to_native()),
        ledger: Position(row.ledger.to_native()),
        globals: Position(row.globals.to_native()),
        refusal: RefusalHash(row.refusal),
        refusal_position: Position(row.refusal_position.to_native()),
        refusal_count: row.refusal_count.to_native(),
        name,
        retention,
        pages: None,
    })
}

/// What a list shows of an object, read in place.
pub(crate) fn info(id: ObjectId, value: &[u8]) -> Option<ObjectInfo> {
    let row = access(id, value)?;
    Some(ObjectInfo {
        id,
        name: row.name.as_ref().map(|name| name.as_str().to_string()),
        seq: row.seq.to_native(),
        hash: VersionHash(row.links.first()?.0),
        time: row.time.to_native(),
        created: row.created.to_native(),
        wake: row.wake.as_ref().map(|wake| wake.to_native()),
        refusal_count: row.refusal_count.to_native(),
        code: CodeHash(row.code),
        policy: PolicyHash(row.policy),
        base: BaseHash(row.base),
    })
}

fn access(id: ObjectId, value: &[u8]) -> Option<&ArchivedIndexRow> {
    let bytes = open(&id.0, value)?;
    rkyv::access::<ArchivedIndexRow, ArchiveError>(bytes).ok()
}

/// Puts the check behind a value.
pub(crate) fn close(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let check = check(key, &value);
    value.extend_from_slice(&check);
    value
}

/// The value before its check, if that holds.
pub(crate) fn open<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, found) = value.split_at_checked(value.len().checked_sub(CHECK_BYTES)?)?;
    (found == check(key, value)).then_some(value)
}

fn check(key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    static CONTEXT: Context = Context::new("continuant 1 index row");
    let mut hasher = CONTEXT.hasher();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a hash is longer than a check")
}
