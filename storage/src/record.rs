//! The records of a frame's body, and the log's notes beside each version and refusal: the places
//! of the records that it builds on.
//!
//! Their layout is described in `FORMAT.md`. A position in a record is never part of an object: the
//! same lineage has other positions in another log. This module does not know how records are
//! found.

pub(crate) mod event;
pub(crate) mod leaf;
pub(crate) mod link;
pub(crate) mod loss;
pub(crate) mod mark;
pub(crate) mod message;
pub(crate) mod name;
pub(crate) mod page;
pub(crate) mod place;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod version;

use object::codec::{Reader, Write};
use object::commit::Commit;
use object::hash::{
    BaseHash, CodeHash, HASH_BYTES, ObjectId, PolicyHash, RefusalHash, VersionHash,
};
use object::refusal::Refusal;

use crate::error::position::Position;
use crate::error::{Error, Result};
use crate::record::event::Event;
use crate::record::link::{Link, RefusalLink};
use crate::record::page::PageChange;
use crate::record::place::{PutPosition, position, position_in};
use crate::record::version::{LedgerPart, Left, Notes, Staged, VersionBytes, VersionRecord};

/// Bytes of a record before its content.
pub(crate) const HEAD_BYTES: usize = 5;

const CODE: u8 = 1;
const POLICY: u8 = 2;
const BASE: u8 = 3;
const VERSION: u8 = 4;
const REFUSAL: u8 = 5;
const STAGED_VERSION: u8 = 6;
const STAGED_REFUSAL: u8 = 7;
const ADOPTION: u8 = 8;

/// A record, as it stands in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A blob.
    Blob(BlobRecord<'a>),
    /// A version.
    Version(VersionBytes<'a>),
    /// A refusal: its notes, then the refusal.
    Refusal(Staged, &'a [u8]),
    /// The staged records of an object become the object.
    Adoption(Adoption),
    /// An event of the database, which is no part of an object.
    Event(Event<'a>),
}

/// The kind in a record's head, when the content is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadKind {
    /// A version whose content starts with its header.
    Version(Staged),
    Refusal,
    Adoption,
    Other,
}

/// Decodes the head of a record, and the number of content bytes.
pub(crate) fn head(bytes: [u8; HEAD_BYTES]) -> (HeadKind, u32) {
    let [tag, length @ ..] = bytes;
    let kind = match tag {
        VERSION => HeadKind::Version(Staged::No),
        STAGED_VERSION => HeadKind::Version(Staged::Yes),
        REFUSAL | STAGED_REFUSAL => HeadKind::Refusal,
        ADOPTION => HeadKind::Adoption,
        _ => HeadKind::Other,
    };
    (kind, u32::from_le_bytes(length))
}

/// A blob's bytes; they are hashed only when someone asks which blob it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobRecord<'a> {
    tag: u8,
    pub(crate) bytes: &'a [u8],
}

impl BlobRecord<'_> {
    pub(crate) fn hash(&self) -> BlobHash {
        match self.tag {
            CODE => BlobHash::Code(CodeHash::of(self.bytes)),
            POLICY => BlobHash::Policy(PolicyHash::of(self.bytes)),
            _ => BlobHash::Base(BaseHash::of(self.bytes)),
        }
    }
}

/// The hash of a blob, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobHash {
    /// A module.
    Code(CodeHash),
    /// A policy.
    Policy(PolicyHash),
    /// A base image.
    Base(BaseHash),
}

impl BlobHash {
    fn tag(self) -> u8 {
        match self {
            BlobHash::Code(_) => CODE,
            BlobHash::Policy(_) => POLICY,
            BlobHash::Base(_) => BASE,
        }
    }

    /// Returns the blob's key: its kind, then its hash.
    pub(crate) fn key(self) -> [u8; 1 + HASH_BYTES] {
        let mut key = [self.tag(); 1 + HASH_BYTES];
        key[1..].copy_from_slice(match &self {
            BlobHash::Code(hash) => &hash.0,
            BlobHash::Policy(hash) => &hash.0,
            BlobHash::Base(hash) => &hash.0,
        });
        key
    }
}

/// The end of an import: the object whose staged records are its lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adoption {
    pub(crate) object: ObjectId,
    /// The newest version, and its seq.
    pub(crate) seq: u64,
    pub(crate) head: Link,
    pub(crate) refusal_count: u64,
    /// The last refusal, if there is one.
    pub(crate) refusal: Option<RefusalLink>,
}

/// Appends records to a body.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    fn record(&mut self, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.put_u8(tag).put_u32(0);
        content(&mut self.0);
        let length = self.0.len() - start - HEAD_BYTES;
        // A body that is too long is refused as a whole before it is written.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0[start + 1..start + HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    pub(crate) fn blob(&mut self, hash: BlobHash, bytes: &[u8]) {
        debug_assert_eq!(BlobRecord { tag: hash.tag(), bytes }.hash(), hash, "the blob's hash");
        self.record(hash.tag(), |to| {
            to.put(bytes);
        });
    }

    /// A version's record; `changes` says how its pages are written.
    pub(crate) fn version(
        &mut self,
        staged: Staged,
        notes: &Notes,
        ledger: Option<&LedgerPart<Vec<u8>>>,
        commit: &Commit<'_>,
        changes: &[PageChange],
    ) {
        self.record(version_tag(staged), |to| {
            version::encode_into(to, notes, ledger, commit, changes)
        });
    }

    /// Appends a version's trimmed record.
    pub(crate) fn trimmed(
        &mut self,
        staged: Staged,
        record: &VersionRecord<'_>,
        left: &Left,
    ) -> Result<()> {
        let mut content = Vec::new();
        record.encode_trimmed(left, &mut content)?;
        self.record(version_tag(staged), |to| to.extend_from_slice(&content));
        Ok(())
    }

    /// Appends a record unchanged.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        debug_assert_eq!(records(bytes).count(), 1, "a record is added whole");
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn refusal(&mut self, staged: Staged, notes: RefusalNotes, refusal: &Refusal) {
        let tag = match staged {
            Staged::Yes => STAGED_REFUSAL,
            Staged::No => REFUSAL,
        };
        self.record(tag, |to| {
            to.put_position(notes.previous).put_varint(notes.number);
            to.put(&refusal.encode());
        });
    }

    pub(crate) fn event(&mut self, event: &Event<'_>) {
        let start = self.0.len();
        self.record(event.tag(), |to| event.put(to));
        let mut read = records(&self.0[start..]).map(Result::ok);
        debug_assert_eq!(read.next(), Some(Some(Record::Event(event.clone()))), "as it is written");
    }

    pub(crate) fn adoption(&mut self, adoption: Adoption) {
        assert_ne!(adoption.head.position, Position::NONE, "an object has a newest version");
        let is_refused = adoption.refusal.is_some();
        assert_eq!(is_refused, adoption.refusal_count > 0, "the last refusal is one that counts");
        self.record(ADOPTION, |to| {
            to.put(&adoption.object.0).put_varint(adoption.seq);
            to.put(&adoption.head.hash.0).put_position(adoption.head.position);
            to.put_varint(adoption.refusal_count);
            if let Some(link) = adoption.refusal {
                to.put(&link.hash.0).put_position(link.position);
            }
        });
    }
}

fn version_tag(staged: Staged) -> u8 {
    match staged {
        Staged::Yes => STAGED_VERSION,
        Staged::No => VERSION,
    }
}

/// The notes beside a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalNotes {
    /// The place of the refusal before.
    pub(crate) previous: Position,
    /// The number of the object's refusals before.
    pub(crate) number: u64,
}

/// Reads a refusal's record: the notes, and the refusal.
pub(crate) fn decode_refusal(content: &[u8], frame: Position) -> Result<(RefusalNotes, Refusal)> {
    let mut reader = Reader::new("refusal record", content);
    let (previous, number) = (position_in(&mut reader, frame)?, reader.varint()?);
    let notes = RefusalNotes { previous, number };
    Ok((notes, Refusal::decode(reader.bytes(reader.left())?)?))
}

/// The records of a body, in order.
pub(crate) fn records(body: &[u8]) -> impl Iterator<Item = Result<Record<'_>>> {
    let mut reader = Reader::new("frame body", body);
    let mut failed = false;
    std::iter::from_fn(move || {
        if reader.left() == 0 || failed {
            return None;
        }
        let record = record(&mut reader);
        failed = record.is_err();
        Some(record)
    })
}

/// The records of a body, in order, each with its bytes.
pub(crate) fn raw_records(body: &[u8]) -> impl Iterator<Item = Result<(&[u8], Record<'_>)>> {
    let mut at = 0;
    records(body).map(move |record| {
        let record = record?;
        let head = &body[at + 1..at + HEAD_BYTES];
        let length = u32::from_le_bytes(head.try_into().expect("four bytes")) as usize;
        let bytes = &body[at..at + HEAD_BYTES + length];
        at += bytes.len();
        Ok((bytes, record))
    })
}

/// Reads the content of an adoption, whose frame has no staged record.
fn adoption(mut fields: Reader<'_>) -> Result<Adoption> {
    let place = |fields: &mut Reader<'_>| match position(fields)? {
        Position::NONE => Err(Error::from(fields.fail(0, "the place of a record", "none"))),
        place => Ok(place),
    };
    let (object, seq) = (ObjectId(fields.array()?), fields.varint()?);
    let head = Link { hash: VersionHash(fields.array()?), position: place(&mut fields)? };
    let refusal_count = fields.varint()?;
    let refusal = match refusal_count {
        0 => None,
        _ => {
            Some(RefusalLink { hash: RefusalHash(fields.array()?), position: place(&mut fields)? })
        }
    };
    fields.end()?;
    Ok(Adoption { object, seq, head, refusal_count, refusal })
}

fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>> {
    let tag = reader.u8()?;
    let length = reader.count_u32(u32::MAX as usize, 1)?;
    let content = reader.bytes(length)?;
    let fields = Reader::new("record", content);
    Ok(match tag {
        CODE | POLICY | BASE => Record::Blob(BlobRecord { tag, bytes: content }),
        VERSION => Record::Version(VersionBytes { staged: Staged::No, content }),
        STAGED_VERSION => Record::Version(VersionBytes { staged: Staged::Yes, content }),
        REFUSAL => Record::Refusal(Staged::No, content),
        STAGED_REFUSAL => Record::Refusal(Staged::Yes, content),
        ADOPTION => Record::Adoption(adoption(fields)?),
        other => match Event::read(other, fields)? {
            Some(event) => Record::Event(event),
            None => {
                let fault = reader.fail(content.len() + HEAD_BYTES, "a known record", other);
                return Err(fault.into());
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Adoption> {
        let mut body = Body::default();
        body.record(ADOPTION, |to| to.extend_from_slice(content));
        match records(&body.0).next().expect("a record")? {
            Record::Adoption(adoption) => Ok(adoption),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_adoption_has_the_last_refusal_exactly_when_one_counts() {
        let object = ObjectId([1; 32]);
        let head = Link { hash: VersionHash([2; 32]), position: Position::new(2, 96) };
        let refusal = RefusalLink { hash: RefusalHash([0; 32]), position: Position::new(3, 96) };
        for (refusal_count, refusal) in [(0, None), (1, Some(refusal)), (300, Some(refusal))] {
            let adoption = Adoption { object, seq: 300, head, refusal_count, refusal };
            let mut body = Body::default();
            body.adoption(adoption);
            let content = &body.0[HEAD_BYTES..];
            assert_eq!(read(content).expect("an adoption"), adoption);
            for end in 0..content.len() {
                read(&content[..end]).expect_err("it is cut");
            }
            read(&[content, &[0]].concat()).expect_err("it is longer");
        }
    }

    #[test]
    fn an_adoption_names_frames_before_its_own() {
        let content = |head: Position, refusal: Position| {
            let mut content = Vec::new();
            content.put(&[1; 32]).put_varint(7).put(&[2; 32]).put_position(head).put_varint(1);
            content.put(&[2; 32]).put_position(refusal);
            content
        };
        let there = Position::new(1, 96);
        read(&content(there, there)).expect("an adoption");
        for wrong in [Position::NONE, Position::HERE] {
            read(&content(wrong, there)).expect_err("no version is there");
            read(&content(there, wrong)).expect_err("no refusal is there");
        }
    }
}
