//! Names that objects and outboxes can have, and the records that objects get and lose them by.
//!
//! ```text
//!   row of a name --> Naming, in the last frame about it --> Namings, in the frame before --> ...
//! ```
//!
//! This module does not know who may have which name.
//!
//! Invariant: `read` reads back the bytes that `put` writes.

use std::borrow::Cow;

use object::codec::{Reader, Write};
use object::hash::ObjectId;
use object::time::Time;

use crate::error::Result;
use crate::error::position::Position;
use crate::record::place::{PutPosition, position};

/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Returns whether an object can have this name: 1 to 256 bytes, without control characters.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The record that an object gets a name, or loses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming<'a> {
    /// The object.
    pub(crate) object: ObjectId,
    /// True if the object has the name from here on, false if it has it no more.
    pub(crate) is_bound: bool,
    /// The time, as the host says.
    pub(crate) time: Time,
    /// The last frame before this one that has a record about the name.
    pub(crate) before: Position,
    /// The name.
    pub(crate) name: Cow<'a, str>,
}

/// The row of a name: all that is known of it without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameRow {
    /// The object that has the name; none when it was freed.
    pub(crate) holder: Option<ObjectId>,
    /// The last frame that has a record about it.
    pub(crate) at: Position,
}

impl<'a> Naming<'a> {
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        to.put(&self.object.0).put_u8(u8::from(self.is_bound)).put_u64(self.time.as_millis());
        to.put_position(self.before).put(self.name.as_bytes());
    }

    pub(crate) fn read(mut fields: Reader<'a>) -> Result<Naming<'a>> {
        let object = ObjectId(fields.array()?);
        let is_bound = fields.flag()?;
        let time = Time::from_millis(fields.u64()?);
        let before = position(&mut fields)?;
        let name = fields.bytes(fields.left())?;
        let name = str::from_utf8(name).ok().filter(|name| is_name(name));
        let name = name.ok_or_else(|| fields.fail(0, "a name", "other bytes"))?;
        Ok(Naming { object, is_bound, time, before, name: Cow::Borrowed(name) })
    }

    /// The row of the name behind the record, which is in the frame at this position.
    pub(crate) fn row(&self, at: Position) -> NameRow {
        NameRow { holder: self.is_bound.then_some(self.object), at }
    }
}

impl NameRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.at.0).put_option(self.holder.map(|id| id.0));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<NameRow> {
        let mut reader = Reader::new("row of a name", bytes);
        let at = Position(reader.u64().ok()?);
        let holder = reader.option().ok()?.map(ObjectId);
        reader.end().ok()?;
        Some(NameRow { holder, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_names_are_read_back() {
        for holder in [None, Some(ObjectId([7; 32]))] {
            let row = NameRow { holder, at: Position::new(3, 96) };
            assert_eq!(NameRow::decode(&row.encode()), Some(row));
            assert_eq!(NameRow::decode(&row.encode()[1..]), None);
        }
    }
}
