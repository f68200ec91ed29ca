//! The records of a frame's body, and what the log notes beside each version and refusal: where
//! the records are that it builds on.
//!
//! Their layout is described in `FORMAT.md`. A position in a record is never part of an object:
//! the same lineage has other positions in another log. It does not know how records are found.

use object::codec::{Reader, Write};
use object::commit::Commit;
use object::hash::{BaseHash, CodeHash, HASH_BYTES, ObjectId, PolicyHash, RefusalHash};
use object::refusal::Refusal;

use crate::error::Result;
use crate::log::Position;

/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// Bytes of an encoded table of nonces.
const NONCES_BYTES_MAX: usize = 64 << 10;
/// Bytes of a record before its content.
const HEAD_BYTES: usize = 5;

const CODE: u8 = 1;
const POLICY: u8 = 2;
const BASE: u8 = 3;
const COMMIT: u8 = 4;
const REFUSAL: u8 = 5;
const NAME: u8 = 6;
const STAGED_COMMIT: u8 = 7;
const STAGED_REFUSAL: u8 = 8;
const ADOPTION: u8 = 9;

/// A record, as it stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A blob.
    Blob(BlobRecord<'a>),
    /// A version: its notes, then the commit.
    Commit(Staged, &'a [u8]),
    /// A refusal: its notes, then the refusal.
    Refusal(Staged, &'a [u8]),
    /// A name and the object that it is bound to.
    Name(ObjectId, &'a str),
    /// What was staged of an object is the object.
    Adoption(Adoption),
}

/// Whether a record is of an object that is being imported, and is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    Yes,
    No,
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

/// What names a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BlobHash {
    Code(CodeHash),
    Policy(PolicyHash),
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

    /// The blob's key: what it is, then its hash.
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
    /// The newest version.
    pub(crate) head: Position,
    /// The last refusal, [`Position::NONE`] when there is none.
    pub(crate) refusal: Position,
    pub(crate) refusal_hash: RefusalHash,
    pub(crate) refusal_count: u64,
}

/// What the log notes beside a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) parent: Position,
    pub(crate) jump: Position,
    pub(crate) genesis: Position,
    /// The last refusal before the version.
    pub(crate) refusal: Position,
    /// The version that has the nonces; none for an empty table.
    pub(crate) nonces: Position,
    /// The version that has the globals; none for those of the base image.
    pub(crate) globals: Position,
    /// Where the pages are that the object ever changed, except those of this version; absent when
    /// that follows from the versions before.
    pub(crate) table: Option<Vec<(u32, Position)>>,
    /// The base image; in a genesis only.
    pub(crate) base: Option<BaseHash>,
}

/// A version's record: the notes, the nonces when they are here, and the commit's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRecord<'a> {
    pub(crate) notes: Notes,
    pub(crate) nonces: Option<&'a [u8]>,
    pub(crate) commit: &'a [u8],
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
        self.record(hash.tag(), |to| {
            to.put(bytes);
        });
    }

    pub(crate) fn name(&mut self, object: ObjectId, name: &str) {
        self.record(NAME, |to| {
            to.put(&object.0).put(name.as_bytes());
        });
    }

    pub(crate) fn staged_commit(&mut self, record: &CommitRecord<'_>) {
        self.record(STAGED_COMMIT, |to| {
            record.notes.encode_into(to, record.nonces);
            to.put(record.commit);
        });
    }

    /// A version's record whose commit is encoded in place.
    pub(crate) fn new_commit(&mut self, notes: &Notes, nonces: Option<&[u8]>, commit: &Commit<'_>) {
        self.record(COMMIT, |to| {
            notes.encode_into(to, nonces);
            commit.encode_into(to);
        });
    }

    pub(crate) fn refusal(&mut self, staged: Staged, previous: Position, refusal: &Refusal) {
        let tag = match staged {
            Staged::Yes => STAGED_REFUSAL,
            Staged::No => REFUSAL,
        };
        self.record(tag, |to| {
            to.put_u64(previous.0).put(&refusal.encode());
        });
    }

    pub(crate) fn adoption(&mut self, adoption: Adoption) {
        self.record(ADOPTION, |to| {
            to.put(&adoption.object.0).put_u64(adoption.head.0).put_u64(adoption.refusal.0);
            to.put(&adoption.refusal_hash.0).put_u64(adoption.refusal_count);
        });
    }
}

impl Notes {
    fn encode_into(&self, to: &mut Vec<u8>, nonces: Option<&[u8]>) {
        for position in self.positions() {
            to.put_u64(position.0);
        }
        match &self.table {
            None => {
                to.put_u8(0);
            }
            Some(table) => {
                to.put_u8(1).put_count(table.len());
                for (page, position) in table {
                    to.put_u32(*page).put_u64(position.0);
                }
            }
        }
        match &self.base {
            None => to.put_u8(0),
            Some(base) => to.put_u8(1).put(&base.0),
        };
        match nonces {
            None => to.put_u8(0),
            Some(nonces) => to.put_u8(1).put_blob(nonces),
        };
    }

    /// The notes of a record whose frame is at `frame`.
    pub(crate) fn settled(mut self, frame: Position) -> Notes {
        let places = [
            &mut self.parent,
            &mut self.jump,
            &mut self.genesis,
            &mut self.refusal,
            &mut self.nonces,
            &mut self.globals,
        ];
        places.into_iter().for_each(|place| *place = place.within(frame));
        for (_, place) in self.table.iter_mut().flatten() {
            *place = place.within(frame);
        }
        self
    }

    fn positions(&self) -> [Position; 6] {
        [self.parent, self.jump, self.genesis, self.refusal, self.nonces, self.globals]
    }
}

impl<'a> CommitRecord<'a> {
    /// Reads a version's record that stands in the frame at `frame`.
    pub(crate) fn decode(content: &'a [u8], frame: Position) -> Result<CommitRecord<'a>> {
        let mut reader = Reader::new("version record", content);
        let mut position = || Ok::<_, object::Error>(Position(reader.u64()?).within(frame));
        let (parent, jump, genesis) = (position()?, position()?, position()?);
        let (refusal, nonces, globals) = (position()?, position()?, position()?);
        let table = match reader.u8()? {
            0 => None,
            1 => {
                let count = reader.count(u32::MAX as usize, 12)?;
                let mut table: Vec<(u32, Position)> = Vec::with_capacity(count);
                for _ in 0..count {
                    let page = reader.u32()?;
                    if table.last().is_some_and(|last| last.0 >= page) {
                        return Err(reader.fail(4, "ascending pages", page).into());
                    }
                    table.push((page, Position(reader.u64()?).within(frame)));
                }
                Some(table)
            }
            other => return Err(reader.fail(1, "0 or 1", other).into()),
        };
        let base = match reader.u8()? {
            0 => None,
            1 => Some(BaseHash(reader.array()?)),
            other => return Err(reader.fail(1, "0 or 1", other).into()),
        };
        let own = match reader.u8()? {
            0 => None,
            1 => Some(reader.blob(NONCES_BYTES_MAX)?),
            other => return Err(reader.fail(1, "0 or 1", other).into()),
        };
        if base.is_some() != (genesis == frame && parent == Position::NONE) {
            return Err(reader
                .fail(0, "a base image in a genesis, and only there", "another")
                .into());
        }
        let notes = Notes { parent, jump, genesis, refusal, nonces, globals, table, base };
        Ok(CommitRecord { notes, nonces: own, commit: reader.bytes(reader.left())? })
    }
}

/// A refusal's record: the position of the one before, and the refusal.
pub(crate) fn decode_refusal(content: &[u8], frame: Position) -> Result<(Position, Refusal)> {
    let mut reader = Reader::new("refusal record", content);
    let previous = Position(reader.u64()?).within(frame);
    Ok((previous, Refusal::decode(reader.bytes(reader.left())?)?))
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

fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>> {
    let tag = reader.u8()?;
    let content = reader.blob(u32::MAX as usize)?;
    let mut fields = Reader::new("record", content);
    Ok(match tag {
        CODE | POLICY | BASE => Record::Blob(BlobRecord { tag, bytes: content }),
        COMMIT => Record::Commit(Staged::No, content),
        REFUSAL => Record::Refusal(Staged::No, content),
        STAGED_COMMIT => Record::Commit(Staged::Yes, content),
        STAGED_REFUSAL => Record::Refusal(Staged::Yes, content),
        NAME => {
            let object = ObjectId(fields.array()?);
            let name = fields.bytes(fields.left())?;
            let name = str::from_utf8(name).ok().filter(|name| is_name(name));
            Record::Name(object, name.ok_or_else(|| fields.fail(0, "a name", "other bytes"))?)
        }
        ADOPTION => {
            let object = ObjectId(fields.array()?);
            let (head, refusal) = (Position(fields.u64()?), Position(fields.u64()?));
            let refusal_hash = RefusalHash(fields.array()?);
            let refusal_count = fields.u64()?;
            let adoption = Adoption { object, head, refusal, refusal_hash, refusal_count };
            fields.end()?;
            Record::Adoption(adoption)
        }
        other => {
            return Err(reader.fail(content.len() + HEAD_BYTES, "a known record", other).into());
        }
    })
}

/// Whether an object can have this name: 1 to 256 bytes, without control characters.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
