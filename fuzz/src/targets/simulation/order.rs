//! The order of changes, and the check that a crash left a beginning of it.
//!
//! The changes of one turn are a unit: nobody saw the order within it. This module does not know
//! the content of a version.
//!
//! Invariant: units are in the order of the log.

use super::model::Mark;
use crate::outcome::{Outcome, hold};

/// The change of one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) object: usize,
    pub(super) before: Mark,
    pub(super) after: Mark,
}

/// The changes since all was known to be durable.
#[derive(Debug, Default)]
pub(super) struct Order {
    units: Vec<Vec<Change>>,
    /// The number of durable units.
    durable: usize,
}

/// The part of a unit that exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum There {
    All,
    Part,
    Nothing,
}

impl Order {
    pub(super) fn push(&mut self, unit: Vec<Change>) {
        if !unit.is_empty() {
            self.units.push(unit);
        }
    }

    /// All that was seen is durable.
    pub(super) fn settle(&mut self) {
        self.durable = self.units.len();
    }

    /// Requires that the `found` marks of the objects are a beginning of the order, with all of it
    /// that is durable; `open` says that there may be more changes than were seen. The next order
    /// starts there.
    pub(super) fn check(&mut self, seen: &[Mark], found: &[Mark], open: bool) -> Outcome {
        let Order { units, durable } = std::mem::take(self);
        let mut last = There::All;
        for (index, unit) in units.iter().enumerate() {
            let there = there(unit, found);
            let about = || format!("unit {index} of {}, {there:?}: {unit:?}", units.len());
            let is_kept = index >= durable || there == There::All;
            hold(format!("what was durable is there: {}", about()), is_kept)?;
            // Behind a unit with missing changes there must be nothing.
            let follows = last == There::All || there == There::Nothing;
            hold(format!("what is there is a beginning: {}", about()), follows)?;
            last = there;
        }
        for (index, (seen, found)) in seen.iter().zip(found).enumerate() {
            let is_less = found.seq <= seen.seq && found.refusals <= seen.refusals;
            let is_more = found.seq >= seen.seq && found.refusals >= seen.refusals;
            let holds = match last {
                There::All => is_more && (open || is_less),
                // An unseen change may have come before a missing one.
                _ => is_less || (open && is_more),
            };
            let about = || format!("object {index}: seen {seen:?}, found {found:?}, {last:?}");
            hold(format!("there is no more and no less: {}", about()), holds)?;
            let is_same = found.seq != seen.seq || found.hash == seen.hash;
            hold(format!("a version stays what it was: {}", about()), is_same)?;
        }
        Ok(())
    }
}

fn there(unit: &[Change], found: &[Mark]) -> There {
    let each = unit.iter().map(|Change { object, before, after }| {
        let found = found[*object];
        let is_all = found.seq >= after.seq && found.refusals >= after.refusals;
        let is_nothing = found.seq <= before.seq && found.refusals <= before.refusals;
        match (is_all, is_nothing) {
            (true, _) => There::All,
            (false, true) => There::Nothing,
            (false, false) => There::Part,
        }
    });
    let (mut least, mut most) = (There::Nothing, There::All);
    for there in each {
        least = least.min(there);
        most = most.max(there);
    }
    if least == most { least } else { There::Part }
}
