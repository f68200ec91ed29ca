//! States: finds the objects of a part of a log that have no state, because retention has dropped
//! the data of their newest version there.
//!
//! Only objects with a trimmed record are remembered, and doubtful ones are looked up in the log.
//! This module does not know the purpose.
//!
//! ```text
//!   versions:  0 .. trimmed .. | kept whole ..       all records say from where on
//!              ^ no state        ^ a state
//!                 ^ not trimmed, for an outbox had not given its outputs: its records are read
//! ```
//!
//! Invariant: an object that is not remembered has its state.

use std::collections::{BTreeMap, BTreeSet};

use object::hash::{ObjectId, VersionHash};
use object::header::Header;

use crate::error::pruned::{LISTED_MAX, PrunedObject};
use crate::error::{ErrorKind, Result};
use crate::log::frame::{Frame, placed};
use crate::log::segment::Segments;
use crate::read::memory::sources;
use crate::read::version::read_commit;
use crate::record::event::Event;
use crate::record::link::Link;
use crate::record::version::{Staged, VersionBytes};
use crate::record::{Record, records};

/// The objects with a trimmed record, as far as the log was read.
#[derive(Debug, Default)]
pub(crate) struct States(BTreeMap<ObjectId, Trimmed>);

/// An object with a trimmed record.
#[derive(Debug, Default)]
struct Trimmed {
    name: Option<String>,
    /// Versions from here on can be read.
    kept_from: u64,
    /// None while it is older than all that was trimmed.
    newest: Option<Newest>,
    /// The newest of an import that has not ended.
    staged: Option<Newest>,
}

/// The newest version of an object.
#[derive(Clone, Copy, Debug)]
struct Newest {
    seq: u64,
    link: Link,
    is_trimmed: bool,
}

impl States {
    /// Takes in a frame; returns the objects that may have gained or lost their state by it.
    pub(crate) fn take(&mut self, frame: &Frame) -> Result<Vec<ObjectId>> {
        let mut changed = Vec::new();
        for record in records(&frame.body) {
            let taken = match record? {
                Record::Version(version) => self.version(frame, version)?,
                Record::Adoption(adoption) => {
                    let adopted = self.0.get_mut(&adoption.object).map(|known| {
                        known.newest = known.staged.take().or(known.newest);
                    });
                    adopted.map(|()| adoption.object)
                }
                Record::Event(Event::Name(naming)) => {
                    if let Some(known) = self.0.get_mut(&naming.object) {
                        known.name = naming.is_bound.then(|| naming.name.to_string());
                    }
                    None
                }
                _ => None,
            };
            changed.extend(taken);
        }
        Ok(changed)
    }

    fn version(&mut self, frame: &Frame, version: VersionBytes<'_>) -> Result<Option<ObjectId>> {
        let kept_from = version.kept_from().map_err(|error| placed(error, frame.position))?;
        if kept_from.is_none() && self.0.is_empty() {
            return Ok(None);
        }
        let bytes = version.header_bytes();
        let header = Header::decode(bytes)?;
        let hash = VersionHash::of(bytes);
        let id = header.object_of(hash);
        if kept_from.is_none() && !self.0.contains_key(&id) {
            return Ok(None);
        }
        let link = Link { hash, position: frame.position };
        let newest = Newest { seq: header.seq, link, is_trimmed: kept_from.is_some() };
        let known = self.0.entry(id).or_default();
        known.kept_from = known.kept_from.max(kept_from.unwrap_or_default());
        match version.staged {
            Staged::Yes => known.staged = Some(newest),
            Staged::No => known.newest = Some(newest),
        }
        Ok(Some(id))
    }

    /// The objects that have no state.
    pub(crate) fn missing(&self, log: &Segments) -> Result<BTreeSet<ObjectId>> {
        let mut missing = BTreeSet::new();
        for (id, known) in &self.0 {
            if known.is_missing(*id, log)? {
                missing.insert(*id);
            }
        }
        Ok(missing)
    }

    /// Returns whether an object has no state.
    pub(crate) fn is_missing(&self, id: ObjectId, log: &Segments) -> Result<bool> {
        self.0.get(&id).map_or(Ok(false), |known| known.is_missing(id, log))
    }

    /// Some of the objects of these, to be named.
    pub(crate) fn named(&self, missing: &BTreeSet<ObjectId>) -> Vec<PrunedObject> {
        let of = |id: &ObjectId| {
            let known = self.0.get(id)?;
            let (name, seq) = (known.name.clone(), known.newest?.seq);
            Some(PrunedObject { id: *id, name, seq })
        };
        missing.iter().filter_map(of).take(LISTED_MAX).collect()
    }
}

impl Trimmed {
    fn is_missing(&self, id: ObjectId, log: &Segments) -> Result<bool> {
        let Some(newest) = self.newest.filter(|newest| newest.seq < self.kept_from) else {
            return Ok(false);
        };
        if newest.is_trimmed {
            return Ok(true);
        }
        let read = read_commit(log, newest.link).and_then(|stored| sources(log, id, &stored));
        match read {
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => Ok(true),
            Err(error) => Err(error.of(id)),
        }
    }
}
