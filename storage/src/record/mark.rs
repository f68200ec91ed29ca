//! Places of outboxes, as records and the index store them.
//!
//! This module does not know the outputs.
//!
//! Invariant: `read` and `decode` read back the bytes that `put` and `encode` write.

use object::codec::{Reader, Write};

use crate::error::Result;
use crate::error::position::Position;
use crate::record::name::is_name;

/// A place among the outputs of a log: behind a count of the outputs of a frame, which may be
/// 0, and behind all outputs of the frames before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxPlace {
    pub(crate) position: Position,
    pub(crate) count: u32,
}

impl OutboxPlace {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.position.0).put_u32(self.count);
        debug_assert_eq!(OutboxPlace::decode(&bytes), Some(self), "what is written is read");
        bytes
    }

    /// Returns the position of the frame. When the place is behind none of its outputs, the frame
    /// lies behind the place.
    pub fn position(self) -> Position {
        self.position
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<OutboxPlace> {
        let (position, count) = bytes.split_first_chunk()?;
        let position = Position(u64::from_le_bytes(*position));
        Some(OutboxPlace { position, count: u32::from_le_bytes(count.try_into().ok()?) })
    }
}

/// The place of an outbox; none when it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutboxMark {
    pub(crate) name: String,
    pub(crate) place: Option<OutboxPlace>,
}

impl OutboxMark {
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        debug_assert!(is_name(&self.name), "an outbox has a name");
        to.put_u8(u8::from(self.place.is_some()));
        let place = self.place.unwrap_or_default();
        to.put(&place.encode()).put(self.name.as_bytes());
    }

    pub(crate) fn read(mut reader: Reader<'_>) -> Result<OutboxMark> {
        let flag = reader.u8()?;
        let place = OutboxPlace::decode(reader.bytes(12)?).unwrap_or_default();
        let place = match flag {
            0 if place == OutboxPlace::default() => None,
            1 => Some(place),
            _ => return Err(reader.fail(13, "1, or 0 and no place", flag).into()),
        };
        let name = str::from_utf8(reader.bytes(reader.left())?).ok().filter(|name| is_name(name));
        let name = name.ok_or_else(|| reader.fail(0, "a name", "other bytes"))?.to_string();
        Ok(OutboxMark { name, place })
    }
}
