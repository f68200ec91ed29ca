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

/// Reads a position in a record of the frame at `frame`, which the record does not spell out.
pub(crate) fn position_in(reader: &mut Reader<'_>, frame: Position) -> Result<Position> {
    match read(reader)? {
        own if own == frame => Err(reader.fail(0, "1 for the record's own frame", own).into()),
        position => Ok(position.within(frame)),
    }
}

/// Reads a position that is never the one of the reader's own frame.
pub(crate) fn position(reader: &mut Reader<'_>) -> Result<Position> {
    match read(reader)? {
        Position::HERE => Err(reader.fail(0, "the place of another frame", 1).into()),
        position => Ok(position),
    }
}

fn read(reader: &mut Reader<'_>) -> Result<Position> {
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
        let places = [Position::NONE, Position::new(1, 96), Position::new(900, 0)];
        let frame = Position::new(1, 176);
        for place in places {
            let mut bytes = Vec::new();
            bytes.put_position(place);
            let reader = || Reader::new("test", &bytes);
            assert_eq!(position(&mut reader()).expect("a position"), place);
            assert_eq!(position_in(&mut reader(), frame).expect("a position"), place);
        }
    }

    #[test]
    fn a_frame_has_one_encoding_in_its_own_records_and_another_elsewhere() {
        let frame = Position::new(1, 176);
        let (mut here, mut spelled) = (Vec::new(), Vec::new());
        here.put_position(Position::HERE);
        spelled.put_position(frame);
        let read = |bytes: &[u8]| position_in(&mut Reader::new("test", bytes), frame);
        assert_eq!(read(&here).expect("a position"), frame);
        let error = read(&spelled).expect_err("it is spelled out").to_string();
        assert!(error.contains("expected 1 for the record's own frame, found 1:176"), "{error}");
        position(&mut Reader::new("test", &here)).expect_err("there is no own frame");
    }
}
