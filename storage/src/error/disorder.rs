//! Frames of a log that are not in the order of their times.
//!
//! It does not know how they are found.

use std::fmt;

use crate::error::position::Position;

/// Frames that are later than a time, before some that are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disorder {
    /// The time that was asked for, in milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// Where the first frame starts that is later: up to it all are not.
    pub later: Position,
    /// The time of that frame.
    pub later_time: u64,
    /// Where the last frame ends that is not later, with those behind it that have no time.
    pub end: Position,
    /// The time of that frame.
    pub end_time: u64,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disorder { until, later, later_time, end, end_time } = self;
        write!(
            f,
            "the log is not in the order of its times, so {until} names no place in it: the first \
             frame that is later, of {later_time}, is at {later}, and the last that is not, of \
             {end_time}, ends at {end}: restore up to a place, one of these or between"
        )
    }
}
