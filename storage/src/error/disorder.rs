//! Disorder: frames of a log that are not in the order of their times.
//!
//! This module does not know how they are found.

use std::fmt;

use object::time::Time;

use crate::error::position::Position;

/// Frames that are later than a time, before some that are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disorder {
    /// The time that was asked for.
    pub until: Time,
    /// The start of the first later frame: all frames before it are not later.
    pub later: Position,
    /// The time of that frame.
    pub later_time: Time,
    /// The end of the last frame that is not later, including frames behind it without a time.
    pub end: Position,
    /// The time of that frame.
    pub end_time: Time,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disorder { until, later, later_time, end, end_time } = self;
        write!(
            f,
            "the log is not in the order of its times, so {until} names no place in it: the first \
             frame later than that, of {later_time}, starts at {later}, and the last that is not, \
             of {end_time}, ends at {end}: restore up to one of these places, or between"
        )
    }
}
