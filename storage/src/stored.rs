//! Versions and refusals as they are read from frames: verified bytes, with what the log notes
//! beside them.
//!
//! It does not know rows, nor which version is the newest.
//!
//! Invariant: a `StoredCommit` decodes, and its header has the hash by which it was found.

use std::ops::Range;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::{ObjectId, RefusalHash, VersionHash};
use object::header::{HEADER_BYTES, Header};
use object::refusal::Refusal;

use crate::error::Result;
use crate::log::frame::damaged;
use crate::log::record::{CommitRecord, Notes, Record, decode_refusal, records};
use crate::log::{Frame, Frames, Position};
use crate::row::Link;

/// A commit as read: its bytes, verified.
#[derive(Clone, Debug)]
pub struct StoredCommit {
    frame: Frame,
    /// The commit's bytes in the frame's body.
    bytes: Range<usize>,
    /// The encoded nonces in the body, when the record has them.
    nonces: Option<Range<usize>>,
    notes: Arc<Notes>,
    header: Header,
    hash: VersionHash,
}

impl StoredCommit {
    /// The version's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The version's hash.
    pub fn hash(&self) -> VersionHash {
        self.hash
    }

    /// The commit, borrowed from the bytes.
    pub fn commit(&self) -> Commit<'_> {
        Commit::decode(self.bytes()).expect("it was decoded when it was read")
    }

    /// The commit's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.frame.body[self.bytes.clone()]
    }

    /// Whether it is a version of `object`.
    pub(crate) fn is_of(&self, object: ObjectId) -> bool {
        match self.header.seq {
            0 => ObjectId::from(self.hash) == object,
            _ => self.header.object == object,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.frame.position
    }

    /// The frame at `position`: the version's own is in hand, any other is read.
    pub(crate) fn frame_at(&self, frames: &impl Frames, position: Position) -> Result<Frame> {
        match position == self.frame.position {
            true => Ok(self.frame.clone()),
            false => frames.frame(position),
        }
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(crate) fn nonces(&self) -> Option<&[u8]> {
        self.nonces.clone().map(|range| &self.frame.body[range])
    }

    /// The last refusal before the version, if there is one.
    pub(crate) fn refusal(&self) -> Option<RefusalLink> {
        let link = RefusalLink { hash: self.header.refusals, position: self.notes.refusal };
        (link.hash != RefusalHash::NONE).then_some(link)
    }

    /// The version before; meaningless in a genesis.
    pub(crate) fn parent(&self) -> Link {
        Link { hash: self.header.parent, position: self.notes.parent }
    }

    /// The version that the jump leads to; meaningless in a genesis.
    pub(crate) fn jump(&self) -> Link {
        Link { hash: self.header.jump, position: self.notes.jump }
    }

    fn read(frame: &Frame, content: &[u8]) -> Result<StoredCommit> {
        let record = CommitRecord::decode(content, frame.position)?;
        let commit = Commit::decode(record.commit)?;
        let place = |bytes: &[u8]| {
            let start = bytes.as_ptr().addr() - frame.body.as_ptr().addr();
            start..start + bytes.len()
        };
        Ok(StoredCommit {
            frame: frame.clone(),
            bytes: place(record.commit),
            nonces: record.nonces.map(place),
            notes: Arc::new(record.notes),
            hash: VersionHash::of(&record.commit[..HEADER_BYTES]),
            header: commit.header,
        })
    }
}

/// The versions in a frame, in order.
pub(crate) fn commits(frame: &Frame) -> impl Iterator<Item = Result<StoredCommit>> {
    records(&frame.body).filter_map(|record| match record {
        Ok(Record::Commit(_, content)) => Some(StoredCommit::read(frame, content)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The version that `link` names.
pub(crate) fn read_commit(frames: &impl Frames, link: Link) -> Result<StoredCommit> {
    let frame = frames.frame(link.position)?;
    for record in records(&frame.body) {
        let Record::Commit(_, content) = record? else { continue };
        // A frame may hold many: only the one that is asked for is decoded whole.
        let header = CommitRecord::decode(content, frame.position)?.commit.get(..HEADER_BYTES);
        if header.is_some_and(|header| VersionHash::of(header) == link.hash) {
            return StoredCommit::read(&frame, content);
        }
    }
    Err(damaged(link.position, format!("version {}", link.hash), "a frame without it"))
}

/// The last version in a frame that is of `object`, not after `seq`, and `fits`.
pub(crate) fn last_commit(
    frame: &Frame,
    object: ObjectId,
    seq: u64,
    fits: impl Fn(&StoredCommit) -> bool,
) -> Result<StoredCommit> {
    let mut last = None;
    for commit in commits(frame) {
        let commit = commit?;
        if commit.is_of(object) && commit.header.seq <= seq && fits(&commit) {
            last = Some(commit);
        }
    }
    last.ok_or_else(|| damaged(frame.position, format!("a version of {object}"), "none"))
}

/// A refusal and the position of the one before it.
pub(crate) struct StoredRefusal {
    previous: Position,
    pub(crate) refusal: Refusal,
}

/// A refusal's name and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusalLink {
    pub(crate) hash: RefusalHash,
    pub(crate) position: Position,
}

impl StoredRefusal {
    /// The refusal before this one, if there is one.
    pub(crate) fn previous(&self) -> Option<RefusalLink> {
        let link = RefusalLink { hash: self.refusal.previous, position: self.previous };
        (link.hash != RefusalHash::NONE).then_some(link)
    }
}

/// The refusal that `link` names.
pub(crate) fn read_refusal(frames: &impl Frames, link: RefusalLink) -> Result<StoredRefusal> {
    let frame = frames.frame(link.position)?;
    for record in records(&frame.body) {
        let Record::Refusal(_, content) = record? else { continue };
        let (previous, refusal) = decode_refusal(content, link.position)?;
        if refusal.hash() == link.hash {
            return Ok(StoredRefusal { previous, refusal });
        }
    }
    Err(damaged(link.position, format!("refusal {}", link.hash), "a frame without it"))
}
