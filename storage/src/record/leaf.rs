//! The leaves of the evidence tree, by record: what is a leaf follows from the log alone.
//!
//! This module does not know the tree.
//!
//! Invariant: the leaves that an append makes are those of the records that it writes.

use arrayvec::ArrayVec;
use object::evidence::Leaf;
use object::hash::VersionHash;
use object::header::Header;
use object::refusal::Refusal;

use crate::error::Result;
use crate::error::position::Position;
use crate::record::event::Event;
use crate::record::loss::RecordedLoss;
use crate::record::version::Staged;
use crate::record::{Adoption, Record, decode_refusal};

/// The leaves of one record.
pub(crate) type Leaves = ArrayVec<Leaf, 2>;

/// Returns the leaf of a version with this header and hash.
pub(crate) fn of_version(header: &Header, hash: VersionHash) -> Leaf {
    let object = header.object.unwrap_or(hash.into());
    Leaf::Version { object, seq: header.seq, kind: header.kind, hash }
}

/// Returns the leaf of a refusal that comes behind `number` others of its object.
pub(crate) fn of_refusal(refusal: &Refusal, number: u64) -> Leaf {
    let (object, reason) = (refusal.object, refusal.verdict.reason);
    Leaf::Refusal { object, number, reason, hash: refusal.hash() }
}

/// Returns the leaves of an adoption: the newest version, and the last refusal if there is one.
pub(crate) fn of_adoption(adoption: &Adoption) -> Leaves {
    let Adoption { object, seq, head, refusal_count, refusal } = *adoption;
    let version = Leaf::AdoptedVersion { object, seq, hash: head.hash };
    let refusal = refusal.map(|link| {
        let number = refusal_count.saturating_sub(1);
        Leaf::AdoptedRefusal { object, number, hash: link.hash }
    });
    [version].into_iter().chain(refusal).collect()
}

/// Returns the leaf of an accepted loss.
pub(crate) fn of_loss(loss: &RecordedLoss) -> Leaf {
    Leaf::Loss { end: loss.loss.expected.0, check: loss.loss.check }
}

/// Returns the leaves of a record in the frame at `frame`. What is staged has none until it is
/// adopted.
pub(crate) fn of_record(record: &Record<'_>, frame: Position) -> Result<Leaves> {
    Ok(match record {
        Record::Version(version) if version.staged == Staged::No => {
            let header = version.header_bytes();
            let leaf = of_version(&Header::decode(header)?, VersionHash::of(header));
            Leaves::from_iter([leaf])
        }
        Record::Refusal(Staged::No, content) => {
            let (notes, refusal) = decode_refusal(content, frame)?;
            Leaves::from_iter([of_refusal(&refusal, notes.number)])
        }
        Record::Adoption(adoption) => of_adoption(adoption),
        Record::Event(Event::Loss(loss)) => Leaves::from_iter([of_loss(loss)]),
        Record::Version(_) | Record::Refusal(..) | Record::Blob(_) | Record::Event(_) => {
            Leaves::new()
        }
    })
}
