//! Accepted losses, as they stay on record.
//!
//! This module does not know who accepts a loss.

use object::codec::{Reader, Write};
use object::time::Time;

use crate::error::Result;
use crate::error::loss::Loss;
use crate::error::position::Position;

/// An accepted loss, as recorded in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedLoss {
    /// The loss.
    pub loss: Loss,
    /// The time of acceptance.
    pub time: Time,
    /// The frame that records it.
    pub position: Position,
}

impl RecordedLoss {
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.put_time(self.time);
        self.loss.put(to);
        let read = RecordedLoss::read(Reader::new("loss", &to[start..]));
        let is_same = |read: RecordedLoss| (read.loss, read.time) == (self.loss, self.time);
        assert!(read.is_ok_and(is_same), "what is written is read");
    }

    /// Reads a record; where it is, its frame knows.
    pub(crate) fn read(mut reader: Reader<'_>) -> Result<RecordedLoss> {
        let loss = RecordedLoss::read_next(&mut reader, Position::NONE)?;
        reader.end()?;
        Ok(loss)
    }

    fn read_next(reader: &mut Reader<'_>, position: Position) -> Result<RecordedLoss> {
        let time = reader.time()?;
        Ok(RecordedLoss { loss: Loss::read(reader)?, time, position })
    }

    /// Puts the record with the place of its frame.
    pub(crate) fn put_placed(&self, to: &mut Vec<u8>) {
        to.put_u64(self.position.0);
        self.put(to);
    }

    /// Reads records with their places, to the end.
    pub(crate) fn read_placed(bytes: &[u8]) -> Option<Vec<RecordedLoss>> {
        let (mut reader, mut losses) = (Reader::new("losses", bytes), Vec::new());
        while reader.left() > 0 {
            let position = Position(reader.u64().ok()?);
            losses.push(RecordedLoss::read_next(&mut reader, position).ok()?);
        }
        Some(losses)
    }
}
