//! Places in a log.
//!
//! This module does not know what is at them.

/// The place of a frame in the log: its segment in the upper 32 bits, its offset in the lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Position(pub(crate) u64);

impl Position {
    /// Nowhere.
    pub(crate) const NONE: Position = Position(0);
    /// The place of the record's own frame, whose position is not known yet.
    pub(crate) const HERE: Position = Position(u64::MAX);

    pub(crate) fn new(segment: u32, offset: u32) -> Position {
        Position(u64::from(segment) << 32 | u64::from(offset))
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> u32 {
        self.0 as u32
    }

    /// The position, read in the frame at `frame`.
    pub(crate) fn within(self, frame: Position) -> Position {
        if self == Position::HERE { frame } else { self }
    }

    /// The position, as it is written in the frame at `frame`: the reverse of `within`.
    pub(crate) fn noted_in(self, frame: Position) -> Position {
        if self == frame { Position::HERE } else { self }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}
