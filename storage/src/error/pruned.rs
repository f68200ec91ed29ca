//! States that retention has dropped, as of a requested moment.
//!
//! This module does not know how they are found.

use std::fmt;

use object::hash::ObjectId;
use object::time::Time;

use crate::error::position::Position;

/// Objects that an error names.
pub(crate) const LISTED_MAX: usize = 8;

/// The objects whose states retention has dropped, as of some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatesPruned {
    /// Objects that have no state as of then.
    pub count: u64,
    /// Some of them.
    pub objects: Vec<PrunedObject>,
    /// The first place behind the moment up to which all objects have their state, and the time of
    /// the last frame before it; none when there is none, or the log cannot be read so far.
    pub earliest: Option<(Position, Option<Time>)>,
}

/// An object that has no state as of some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedObject {
    /// The object.
    pub id: ObjectId,
    /// The object's name, where it is known.
    pub name: Option<String>,
    /// The number of its newest version at that moment.
    pub seq: u64,
}

impl fmt::Display for StatesPruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.count == 1 { "object has" } else { "objects have" };
        write!(f, "retention has dropped the state that {} {verb} at that time: ", self.count)?;
        for (index, object) in self.objects.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            match &object.name {
                Some(name) => write!(f, "{comma}{name:?}")?,
                None => write!(f, "{comma}{}", object.id)?,
            }
            write!(f, " at version {}", object.seq)?;
        }
        if self.count > self.objects.len() as u64 {
            f.write_str(" and more")?;
        }
        match self.earliest {
            Some((place, _)) => write!(f, "; from {place} on, all objects have their state"),
            None => f.write_str("; at no later place do all objects have their state"),
        }
    }
}
