//! Numbers and positions in as few bytes as they need: seven bits a byte, the lowest first.
//!
//! This module does not know their meaning.
//!
//! Invariant: every number has one encoding; the reader refuses all others.

use object::codec::{Reader, Write};

use crate::error::Result;
use crate::error::position::Position;

const MORE: u8 = 0x80;

/// Appends numbers and positions to an encoding.
pub(crate) trait PutVarint {
    /// Appends a number.
    fn put_varint(&mut self, value: u64);

    /// Appends a position: 0 for none, 1 for here, else the segment's number and one, then the
    /// offset.
    fn put_position(&mut self, position: Position) {
        match position {
            Position::NONE => self.put_varint(0),
            Position::HERE => self.put_varint(1),
            _ => {
                debug_assert_ne!(position.segment(), u32::MAX, "the number of a segment");
                self.put_varint(u64::from(position.segment()) + 1);
                self.put_varint(u64::from(position.offset()));
            }
        }
    }
}

impl PutVarint for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= u64::from(MORE) {
            self.put_u8(value as u8 | MORE);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }
}

/// Reads a number.
pub(crate) fn varint(reader: &mut Reader<'_>) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        let bits = u64::from(byte & !MORE);
        // The last byte is not zero, unless it is the only one, and has the bits that are left.
        if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
            return Err(reader.fail(1, "the shortest encoding of a number", byte).into());
        }
        value |= bits << shift;
        if byte & MORE == 0 {
            return Ok(value);
        }
    }
    Err(reader.fail(1, "at most 10 bytes of a number", "more").into())
}

/// Reads a position.
pub(crate) fn varint_position(reader: &mut Reader<'_>) -> Result<Position> {
    let segment = match varint(reader)? {
        0 => return Ok(Position::NONE),
        1 => return Ok(Position::HERE),
        more => more - 1,
    };
    let offset = varint(reader)?;
    match (u32::try_from(segment), u32::try_from(offset)) {
        (Ok(segment), Ok(offset)) if segment < u32::MAX => Ok(Position::new(segment, offset)),
        _ => Err(reader.fail(0, "a place in the log", format!("{segment}:{offset}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_encoding() {
        let powers = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, u64::MAX >> bit]);
        for value in powers.chain([0]) {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(varint(&mut reader).unwrap(), value);
            reader.end().unwrap();
        }
        for refused in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80]] {
            assert!(varint(&mut Reader::new("test", refused)).is_err(), "{refused:02x?}");
        }
    }

    #[test]
    fn positions_are_none_here_or_a_place() {
        let places = [Position::NONE, Position::HERE, Position::new(1, 96), Position::new(900, 0)];
        for position in places {
            let mut bytes = Vec::new();
            bytes.put_position(position);
            assert_eq!(varint_position(&mut Reader::new("test", &bytes)).unwrap(), position);
        }
    }
}
