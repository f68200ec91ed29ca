//! Losses: durable parts that a log no longer has, found by a comparison with the index.
//!
//! This module does not know how logs are compared, nor who accepts a loss.
//!
//! Invariant: a token identifies one loss of one log, so that nobody accepts another with it.

use std::fmt;

use object::codec::{Reader, Write};
use object::hash::{Context, ObjectId};

use crate::error::position::Position;

/// Bytes of a loss on record.
const RECORD_BYTES: usize = 89;
/// Objects that a comparison lists; it counts them all.
pub(crate) const OBJECTS_LISTED_MAX: usize = 1000;

/// The durable part that a log no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The place where the log once ended: everything before was durable.
    pub expected: Position,
    /// The check of the last frame before.
    pub(crate) check: [u8; 32],
    /// The place where the remaining frames end.
    pub found: Position,
    /// The number of objects that lost versions or refusals.
    pub object_count: u64,
    /// The number of these objects of which nothing is left.
    pub gone_count: u64,
    /// Versions that are gone.
    pub version_count: u64,
    /// Refusals that are gone.
    pub refusal_count: u64,
    /// True if the counts are complete: the index could be read, and the log is a beginning of the
    /// one that the index was written from. Otherwise they are lower bounds.
    pub is_counted: bool,
}

/// An object that lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostObject {
    /// The object.
    pub id: ObjectId,
    /// The object's name.
    pub name: Option<String>,
    /// The newest version that is left; none when nothing is.
    pub kept: Option<u64>,
    /// The newest version before the loss.
    pub newest: u64,
    /// Refusals that are gone.
    pub refusal_count: u64,
}

/// The loss that a repair would accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The loss.
    pub loss: Loss,
    /// The token that accepts exactly this loss.
    pub token: LossToken,
    /// The objects that it concerns, in the order of their ids; the first 1,000.
    pub objects: Vec<LostObject>,
}

/// Names a loss: given back with it, the loss that was seen is accepted, and no larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossToken(pub(super) [u8; 8]);

impl Loss {
    /// Returns whether this is the loss of the frames behind this end of a log, whose last frame
    /// has the check.
    pub(crate) fn is_behind(&self, end: Position, check: [u8; 32]) -> bool {
        (self.expected, self.check) == (end, check)
    }

    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        to.put_u64(self.expected.0).put(&self.check).put_u64(self.found.0);
        to.put_u64(self.object_count).put_u64(self.gone_count);
        to.put_u64(self.version_count).put_u64(self.refusal_count);
        to.put_u8(u8::from(self.is_counted));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> object::Result<Loss> {
        let (expected, check) = (Position(reader.u64()?), reader.array()?);
        let found = Position(reader.u64()?);
        let (object_count, gone_count) = (reader.u64()?, reader.u64()?);
        let (version_count, refusal_count) = (reader.u64()?, reader.u64()?);
        let is_counted = reader.flag()?;
        Ok(Loss {
            expected,
            check,
            found,
            object_count,
            gone_count,
            version_count,
            refusal_count,
            is_counted,
        })
    }
}

impl Lost {
    pub(crate) fn new(loss: Loss, found: [u8; 32], objects: Vec<LostObject>) -> Lost {
        static CONTEXT: Context = Context::new("continuant 2 loss token");
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        loss.put(&mut bytes);
        let hash = CONTEXT.hasher().update(&bytes).update(&found).finalize();
        let token = LossToken(*hash.as_bytes().first_chunk().expect("a hash is longer"));
        Lost { loss, token, objects }
    }
}

impl fmt::Display for LossToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Loss {
    /// Says how much is gone, and from where on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss { object_count, gone_count, version_count, refusal_count, .. } = self;
        let least = if self.is_counted { "" } else { "at least " };
        write!(
            f,
            "{least}{version_count} versions and {refusal_count} refusals of {object_count} \
             objects, {gone_count} of them wholly: the log once ended at {}, and now ends at {}",
            self.expected, self.found
        )
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { loss, token, .. } = self;
        write!(
            f,
            "the log has lost durable records: {loss}; nothing was changed. Put its files back or \
             restore a backup; `check --repair --accept-loss {token}` goes on without"
        )
    }
}
