//! The index's rows as bytes, each with a check over its key and itself, since the index's own
//! pages are not verified on every read.
//!
//! ```text
//! flags | seq | links, head first: hash, position | time | time since created | wake?
//!       | position of ledger, of globals | refusal: hash, position, count? | name? | retention?
//!       | key of parts, or parts | check
//! ```
//!
//! The parts of objects are in a table of their own: many objects have the same. This module does
//! not know tables. These bytes are a cache and no format: a later version may lay rows out
//! differently and rebuild the index from the log.
//!
//! Invariant: `open` returns only what `close` wrote for the same key.

use object::codec::{Reader, Write};
use object::hash::{BaseHash, CodeHash, Context, ObjectId, PolicyHash, RefusalHash, VersionHash};
use object::lineage::{Spine, jump_seq};
use object::time::Time;

use crate::record::link::{Link, RefusalLink};
use crate::record::place::{PutPosition, position};
use crate::record::retention::Retention;
use crate::rows::row::Row;

/// Bytes of a value's check.
const CHECK_BYTES: usize = 8;

const HAS_WAKE: u8 = 1;
const IS_REFUSED: u8 = 2;
const IS_NAMED: u8 = 4;
const HAS_RETENTION: u8 = 8;
/// The parts are in the row itself.
const HAS_PARTS: u8 = 16;
const IS_UPGRADED: u8 = 32;
const IS_MOVED: u8 = 64;
const IS_DELETED: u8 = 128;

/// The hashes of an object's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    code: CodeHash,
    policy: PolicyHash,
    base: BaseHash,
}

/// The key of parts in their table.
pub(super) type PartsKey = [u8; 8];

/// The place of a row's parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum PartsAt {
    /// In the table, by this key.
    Key(PartsKey),
    /// Here: the table has others under their key.
    Row(Parts),
}

impl Parts {
    pub(super) fn of(row: &Row) -> Parts {
        Parts { code: row.code, policy: row.policy, base: row.base }
    }

    pub(super) fn put_into(self, row: &mut Row) {
        (row.code, row.policy, row.base) = (self.code, self.policy, self.base);
    }

    /// Returns their key in the table, if no other parts are there already.
    pub(super) fn key(&self) -> PartsKey {
        static CONTEXT: Context = Context::new("continuant 2 index parts");
        let hash = CONTEXT.hasher().update(&self.encode()).finalize();
        *hash.as_bytes().first_chunk().expect("a hash is longer than a key")
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [self.code.0, self.policy.0, self.base.0].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Parts> {
        let mut reader = Reader::new("parts", bytes);
        let parts = Parts::read(&mut reader)?;
        reader.end().ok()?;
        Some(parts)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Parts> {
        Some(Parts {
            code: CodeHash(reader.array().ok()?),
            policy: PolicyHash(reader.array().ok()?),
            base: BaseHash(reader.array().ok()?),
        })
    }
}

/// A row's bytes.
pub(super) fn encode(id: ObjectId, row: &Row, parts: PartsAt) -> Vec<u8> {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(row.wake.is_some(), HAS_WAKE)
        | flag(row.refusal.is_some(), IS_REFUSED)
        | flag(row.name.is_some(), IS_NAMED)
        | flag(row.retention.is_some(), HAS_RETENTION)
        | flag(row.upgraded, IS_UPGRADED)
        | flag(row.moved, IS_MOVED)
        | flag(row.deleted, IS_DELETED)
        | flag(matches!(parts, PartsAt::Row(_)), HAS_PARTS);
    let mut bytes = Vec::with_capacity(192);
    bytes.put_u8(flags).put_varint(row.seq());
    for (_, link) in row.spine.links() {
        bytes.put(&link.hash.0).put_position(link.position);
    }
    let (time, created) = (row.time.as_millis(), row.created.as_millis());
    bytes.put_varint(time).put_varint(time.wrapping_sub(created));
    if let Some(wake) = row.wake {
        bytes.put_varint(wake.as_millis());
    }
    bytes.put_position(row.ledger).put_position(row.globals);
    assert_eq!(row.refusal.is_some(), row.refusal_count > 0, "the last refusal is one that counts");
    if let Some(RefusalLink { hash, position }) = &row.refusal {
        bytes.put(&hash.0).put_position(*position).put_varint(row.refusal_count);
    }
    if let Some(name) = &row.name {
        bytes.put_blob(name.as_bytes());
    }
    row.retention.iter().for_each(|retention| retention.put(&mut bytes));
    match parts {
        PartsAt::Key(key) => bytes.put(&key),
        PartsAt::Row(parts) => bytes.put(&parts.encode()),
    };
    let closed = close(&id.0, bytes);
    debug_assert!(is_read_back(id, &closed, row), "what is written is read");
    closed
}

/// Returns whether bytes are a row, but for its parts and pages.
fn is_read_back(id: ObjectId, closed: &[u8], row: &Row) -> bool {
    decode(id, closed).is_some_and(|(mut read, _)| {
        Parts::of(row).put_into(&mut read);
        read == row.indexed()
    })
}

/// An object's row but for its parts, and where these are.
pub(super) fn decode(id: ObjectId, value: &[u8]) -> Option<(Row, PartsAt)> {
    let mut reader = Reader::new("index row", open(&id.0, value)?);
    let flags = reader.u8().ok()?;
    let mut seq = reader.varint().ok()?;
    let mut links = Vec::new();
    loop {
        let hash = VersionHash(reader.array().ok()?);
        links.push((seq, Link { hash, position: position(&mut reader).ok()? }));
        if seq == 0 {
            break;
        }
        seq = jump_seq(seq);
    }
    let genesis = links.last()?.1.position;
    let time = reader.varint().ok()?;
    let created = time.wrapping_sub(reader.varint().ok()?);
    let wake = match flags & HAS_WAKE {
        0 => None,
        _ => Some(Time::from_millis(reader.varint().ok()?)),
    };
    let (ledger, globals) = (position(&mut reader).ok()?, position(&mut reader).ok()?);
    let (refusal, refusal_count) = match flags & IS_REFUSED {
        0 => (None, 0),
        _ => {
            let hash = RefusalHash(reader.array().ok()?);
            let position = position(&mut reader).ok()?;
            let count = reader.varint().ok().filter(|&count| count > 0)?;
            (Some(RefusalLink { hash, position }), count)
        }
    };
    let name = match flags & IS_NAMED {
        0 => None,
        _ => Some(reader.text(usize::MAX).ok()?.to_string()),
    };
    let retention = match flags & HAS_RETENTION {
        0 => None,
        _ => Some(Retention::read(&mut reader).ok()?),
    };
    let parts = match flags & HAS_PARTS {
        0 => PartsAt::Key(reader.array().ok()?),
        _ => PartsAt::Row(Parts::read(&mut reader)?),
    };
    reader.end().ok()?;
    let (code, policy, base) = Default::default();
    let row = Row {
        spine: Spine::from_links(links),
        time: Time::from_millis(time),
        created: Time::from_millis(created),
        wake,
        code,
        policy,
        base,
        upgraded: flags & IS_UPGRADED != 0,
        genesis,
        ledger,
        globals,
        refusal,
        refusal_count,
        name,
        moved: flags & IS_MOVED != 0,
        deleted: flags & IS_DELETED != 0,
        retention,
        pages: None,
        ledgers: None,
    };
    Some((row, parts))
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
    static CONTEXT: Context = Context::new("continuant 2 index row");
    let mut hasher = CONTEXT.hasher();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a hash is longer than a check")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::position::Position;
    use crate::rows::index::sample::row;

    /// Rows with and without everything that they may have or not have.
    fn rows() -> Vec<Row> {
        let mut rows: Vec<Row> = [0, 1, 2, 3, 1000, SEQ].map(row).into();
        rows.push(Row { wake: Some(Time::MIN), ..row(2) });
        rows.push(Row { wake: Some(Time::MAX), ledger: Position::new(3, 96), ..row(5) });
        rows.push(Row { globals: Position::new(u32::MAX - 1, u32::MAX), ..row(6) });
        let (hash, position) = (RefusalHash([9; 32]), Position::new(1, 96));
        let refusal = Some(RefusalLink { hash, position });
        rows.push(Row { refusal, refusal_count: 7, ..row(7) });
        rows.push(Row { name: Some("a name".to_string()), ..row(8) });
        rows.push(Row { retention: Some(Retention::Versions(5)), ..row(9) });
        rows.push(Row { upgraded: true, ..row(10) });
        rows.push(Row { deleted: true, ..row(12) });
        rows.push(Row { moved: true, wake: Some(Time::from_millis(3)), ..row(11) });
        rows
    }

    const SEQ: u64 = 1 << 40;
    const ID: ObjectId = ObjectId([7; 32]);

    #[test]
    fn rows_are_read_back_with_their_parts_in_the_row_or_elsewhere() {
        for row in rows() {
            let parts = Parts::of(&row);
            for at in [PartsAt::Key(parts.key()), PartsAt::Row(parts)] {
                let (mut found, found_at) = decode(ID, &encode(ID, &row, at)).expect("a row");
                match found_at {
                    PartsAt::Key(key) => assert_eq!(key, parts.key()),
                    PartsAt::Row(found) => assert_eq!(found, parts),
                }
                parts.put_into(&mut found);
                assert_eq!(found, row);
            }
        }
    }

    #[test]
    fn what_is_not_a_row_is_none() {
        for row in rows() {
            let value = encode(ID, &row, PartsAt::Row(Parts::of(&row)));
            assert!(decode(ObjectId([8; 32]), &value).is_none(), "of another object");
            for index in 0..value.len() {
                let mut other = value.clone();
                other[index] ^= 1;
                assert!(decode(ID, &other).is_none(), "byte {index} is another");
                // The check matches here, but not the content.
                let cut = close(&ID.0, value[..index].to_vec());
                assert!(decode(ID, &cut).is_none() || index == value.len() - CHECK_BYTES);
            }
        }
    }

    #[test]
    fn parts_are_read_back() {
        let parts = Parts::of(&row(0));
        assert_eq!(Parts::decode(&parts.encode()), Some(parts));
        assert_eq!(Parts::decode(&parts.encode()[1..]), None);
        assert_eq!(Parts::decode(&[&parts.encode()[..], &[0]].concat()), None);
    }
}
