//! The frame: the unit of an append, written whole or not at all.
//!
//! Its layout is described in `FORMAT.md`. A frame names the one before it, so a stale or misplaced
//! one never passes for a new one, and its group, so recovery can distinguish a torn tail from
//! damage. This module does not know the content of bodies.
//!
//! Invariant: a header that passes its guard was written by this database, whatever guests put into
//! their pages: guard and check are keyed with the database's id.

use std::sync::Arc;

use arrayvec::ArrayVec;
use object::codec::{Reader, Write};

use crate::disk::directory::DatabaseId;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::file::file_name;

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 80;
/// Bytes of a frame's body.
pub(crate) const BODY_BYTES_MAX: u32 = (1 << 30) - (1 << 16);

const KEY_CONTEXT: &str = "continuant 2 log frame";

/// The link from a frame to the next: it covers the frame, and through it all frames before.
pub(crate) type Check = [u8; 32];

/// The header in front of a frame's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Bytes of the body.
    pub(crate) length: u32,
    /// The start of the frame's group: everything before it was durable when this was written.
    pub(crate) group: Position,
    /// The check of the frame before.
    pub(crate) previous: Check,
    /// The frame's own check.
    pub(crate) check: Check,
}

/// A frame, verified.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) position: Position,
    pub(crate) check: Check,
    /// The start of its group: everything before it was durable when it was written.
    pub(crate) group: Position,
    pub(crate) body: Arc<[u8]>,
}

/// A source of frames: a log that is being written, or one that is being recovered.
pub(crate) trait Frames {
    /// The frame at `position`, verified.
    fn frame(&self, position: Position) -> Result<Frame>;

    /// Reads the frame at `position` without verifying its body: the caller verifies what it takes
    /// by hash.
    fn glimpse(&self, position: Position) -> Result<Frame>;
}

/// Makes and verifies the frames of one database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    key: [u8; 32],
}

impl Seal {
    pub(crate) fn new(id: DatabaseId) -> Seal {
        Seal { key: blake3::derive_key(KEY_CONTEXT, &id) }
    }

    /// The check that the first frame of the log names as the one before it.
    pub(crate) fn first(&self) -> Check {
        *blake3::keyed_hash(&self.key, b"").as_bytes()
    }

    /// Returns the header of a frame whose body hashes to `body`.
    pub(crate) fn header(
        &self,
        length: u32,
        group: Position,
        previous: Check,
        body: blake3::Hash,
    ) -> Header {
        assert!(length <= BODY_BYTES_MAX, "a body is within its limit");
        let mut header = Header { length, group, previous, check: Check::default() };
        header.check = self.check(&header, body);
        header
    }

    fn check(&self, header: &Header, body: blake3::Hash) -> Check {
        let mut bytes = [0; 76];
        bytes[..44].copy_from_slice(&fields(header));
        bytes[44..].copy_from_slice(body.as_bytes());
        *blake3::keyed_hash(&self.key, &bytes).as_bytes()
    }

    /// Returns a keyed hash of the header's other fields: it distinguishes a header from other
    /// bytes before its length is trusted.
    fn guard(&self, header: &Header) -> u32 {
        let hash = blake3::keyed_hash(&self.key, &fields(header));
        u32::from_le_bytes(hash.as_bytes()[..4].try_into().expect("four bytes"))
    }

    /// The header's bytes.
    pub(crate) fn encode(&self, header: &Header) -> [u8; HEADER_BYTES] {
        let mut bytes = ArrayVec::<u8, HEADER_BYTES>::new();
        bytes.put_u32(header.length).put_u32(self.guard(header)).put_u64(header.group.0);
        bytes.put(&header.previous).put(&header.check);
        let bytes = bytes.into_inner().expect("the layout has HEADER_BYTES bytes");
        debug_assert_eq!(self.decode(&bytes), Some(*header), "what is written is read");
        bytes
    }

    /// The header that `bytes` are, if this database wrote them.
    pub(crate) fn decode(&self, bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let mut reader = Reader::new("frame header", bytes);
        let (length, guard) = (reader.u32().ok()?, reader.u32().ok()?);
        let group = Position(reader.u64().ok()?);
        let (previous, check) = (reader.array().ok()?, reader.array().ok()?);
        let header = Header { length, group, previous, check };
        (length <= BODY_BYTES_MAX && guard == self.guard(&header)).then_some(header)
    }

    /// Verifies a frame's body against its header; `place` is where the frame is.
    pub(crate) fn verify(&self, header: &Header, body: &[u8], place: Position) -> Result<()> {
        assert_eq!(body.len(), header.length as usize, "a body is read to its length");
        if self.check(header, blake3::hash(body)) != header.check {
            return Err(damaged(place, "the bytes of its check", "other bytes in the frame"));
        }
        Ok(())
    }
}

fn fields(header: &Header) -> [u8; 44] {
    let mut bytes = [0; 44];
    bytes[..4].copy_from_slice(&header.length.to_le_bytes());
    bytes[4..12].copy_from_slice(&header.group.0.to_le_bytes());
    bytes[12..].copy_from_slice(&header.previous);
    bytes
}

/// A record that does not decode is damage of its frame.
pub(crate) fn placed(error: Error, at: Position) -> Error {
    match error.kind() {
        ErrorKind::Object(cause) => damaged(at, "records of an object", cause),
        _ => error,
    }
}

/// Damage at a place of the log.
pub(crate) fn damaged(
    place: Position,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    let file = file_name(place.segment());
    Error::damaged(file, u64::from(place.offset()), expected, found)
}
