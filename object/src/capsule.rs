//! The capsule: one object as one stream of bytes, that another host can verify and continue.
//!
//! A capsule is a head, then sections, the last one an end mark. Each section's check covers all
//! bytes before it: cutting, flipping, reordering or adding bytes anywhere is found at the section
//! where it happened. This module does no I/O: the storage crate moves the bytes, in bounded
//! memory.
//!
//! Most sections stand inside others, compressed together, because the records of one object are
//! much alike. The storage crate knows the compression.
//!
//! The sections' contents are verified by their own structures; the checks here only find damage
//! early and say where it is.

use crate::codec::Write;
use crate::error::{Error, Result};
use crate::hash::{Context, HASH_BYTES};

/// The first bytes of every capsule: the format's name and version.
pub const HEAD: [u8; 16] = *b"CONTINUANT-CAP\x02\x00";
/// The first bytes of a capsule of format 1, from before the first release.
pub const OLD_HEAD: [u8; 16] = *b"CONTINUANT-CAP\x01\x00";
/// Bytes before a section's body: its kind, then its length.
pub const SECTION_HEAD_BYTES: usize = 5;
/// Bytes after a section's body: its check.
pub const SECTION_CHECK_BYTES: usize = HASH_BYTES;
/// Bytes of one section's body.
pub const SECTION_BYTES_MAX: u32 = 1 << 30;
/// Bytes of all sections in one [`SectionKind::Packed`], with their heads.
pub const PACKED_BYTES_MAX: usize = 16 << 20;

static CHAIN_CONTEXT: Context = Context::new("continuant 2 capsule section");

/// The kind of content in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SectionKind {
    /// A module, as its author gave it.
    Code,
    /// A policy's encoding.
    Policy,
    /// A base image's encoding.
    Base,
    /// A [`Commit`](crate::commit::Commit).
    Commit,
    /// A [`Refusal`](crate::refusal::Refusal).
    Refusal,
    /// The end: the number of sections before it, as 8 bytes little endian.
    End,
    /// Sections of other kinds except the end, each with its head and without a check, compressed
    /// together: their total size as 4 bytes little endian, then an LZ4 block.
    Packed,
    /// The object's [`Secret`](crate::secret::Secret).
    Secret,
}

const KINDS: [SectionKind; 8] = [
    SectionKind::Code,
    SectionKind::Policy,
    SectionKind::Base,
    SectionKind::Commit,
    SectionKind::Refusal,
    SectionKind::End,
    SectionKind::Packed,
    SectionKind::Secret,
];

/// Returns the head of a section whose body has `length` bytes.
///
/// # Panics
///
/// When `length` is more than [`SECTION_BYTES_MAX`].
pub fn section_head(kind: SectionKind, length: usize) -> [u8; SECTION_HEAD_BYTES] {
    assert!(length <= SECTION_BYTES_MAX as usize, "a section is within its limit");
    let code = KINDS.iter().position(|&known| known == kind);
    let mut head = Vec::with_capacity(SECTION_HEAD_BYTES);
    head.put_u8(code.expect("every kind is in the list") as u8).put_u32(length as u32);
    head.try_into().expect("a section head has its length")
}

/// The state of a capsule being written or read: the check that the next section is chained to.
#[derive(Clone, Debug)]
pub struct Chain {
    last: [u8; HASH_BYTES],
    section_count: u64,
    offset: u64,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain::new()
    }
}

impl Chain {
    /// The chain behind [`HEAD`].
    pub fn new() -> Chain {
        let last = *CHAIN_CONTEXT.hasher().update(&HEAD).finalize().as_bytes();
        Chain { last, section_count: 0, offset: HEAD.len() as u64 }
    }

    /// Returns the offset in the capsule at which the next section starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Sections so far.
    pub fn section_count(&self) -> u64 {
        self.section_count
    }

    /// The bytes that stand before and after `body`.
    ///
    /// # Panics
    ///
    /// When `body` is longer than [`SECTION_BYTES_MAX`].
    pub fn section(
        &mut self,
        kind: SectionKind,
        body: &[u8],
    ) -> ([u8; SECTION_HEAD_BYTES], [u8; SECTION_CHECK_BYTES]) {
        let head = section_head(kind, body.len());
        (head, self.extend(&head, body))
    }

    fn extend(&mut self, head: &[u8; SECTION_HEAD_BYTES], body: &[u8]) -> [u8; HASH_BYTES] {
        let mut hasher = CHAIN_CONTEXT.hasher();
        hasher.update(&self.last).update(head).update(body);
        self.last = *hasher.finalize().as_bytes();
        self.section_count += 1;
        self.offset += (SECTION_HEAD_BYTES + body.len() + SECTION_CHECK_BYTES) as u64;
        self.last
    }

    /// The kind and the length of the body that `head` announces.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for an unknown kind or a length beyond the limit.
    pub fn announced(&self, head: &[u8; SECTION_HEAD_BYTES]) -> Result<(SectionKind, u32)> {
        let [code, length @ ..] = *head;
        let fail = |expected: &str, found: u64| {
            Err(Error::decode("capsule section", self.offset, expected, found))
        };
        let Some(&kind) = KINDS.get(usize::from(code)) else {
            return fail("a known kind", u64::from(code));
        };
        match u32::from_le_bytes(length) {
            length if length > SECTION_BYTES_MAX => {
                fail("a length within the limit", u64::from(length))
            }
            length => Ok((kind, length)),
        }
    }

    /// Takes a section as read.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) with the section's offset when its check does not
    /// hold, when the body has not the length announced, or when the end does not count the
    /// sections before it. The chain is of no further use then.
    pub fn verify(
        &mut self,
        head: &[u8; SECTION_HEAD_BYTES],
        body: &[u8],
        check: &[u8; SECTION_CHECK_BYTES],
    ) -> Result<()> {
        let (offset, before) = (self.offset, self.section_count);
        let (kind, length) = self.announced(head)?;
        if body.len() as u64 != u64::from(length) {
            let expected = format!("{length} bytes");
            return Err(Error::decode("capsule section", offset, expected, body.len()));
        }
        if self.extend(head, body) != *check {
            let found = "other bytes in the section or before it";
            return Err(Error::decode("capsule section", offset, "the bytes of its check", found));
        }
        if kind == SectionKind::End && body != before.to_le_bytes() {
            return Err(Error::decode("capsule end", offset, before, "another count"));
        }
        Ok(())
    }
}
