//! Positions in records, in as few bytes as they need.
//!
//! This module does not know what is at them.
//!
//! Invariant: every position has one encoding; the reader refuses all others.

use object::codec::{Reader, Write};

use crate::error::Result;
use crate::error::position::Position;

/// Appends positions to an encoding.
pub(crate) trait PutPosition: Write {
    /// Appends a position: 0 for none, 1 for here, else the segment's number and one, then the
    /// offset.
    fn put_position(&mut self, position: Position) -> &mut Self {
        match position {
            Position::NONE => self.put_varint(0),
            Position::HERE => self.put_varint(1),
            _ => {
                debug_assert_ne!(position.segment(), u32::MAX, "the number of a segment");
                self.put_varint(u64::from(position.segment()) + 1);
                self.put_varint(u64::from(position.offset()))
            }
        }
    }
}

impl<W: Write> PutPosition for W {}

/// Reads a position.
pub(crate) fn position(reader: &mut Reader<'_>) -> Result<Position> {
    let segment = match reader.varint()? {
        0 => return Ok(Position::NONE),
        1 => return Ok(Position::HERE),
        more => more - 1,
    };
    let offset = reader.varint()?;
    match (u32::try_from(segment), u32::try_from(offset)) {
        (Ok(segment), Ok(offset)) if segment < u32::MAX => Ok(Position::new(segment, offset)),
        _ => Err(reader.fail(0, "a place in the log", format!("{segment}:{offset}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_none_here_or_a_place() {
        let places = [Position::NONE, Position::HERE, Position::new(1, 96), Position::new(900, 0)];
        for place in places {
            let mut bytes = Vec::new();
            bytes.put_position(place);
            assert_eq!(position(&mut Reader::new("test", &bytes)).expect("a position"), place);
        }
    }
}
