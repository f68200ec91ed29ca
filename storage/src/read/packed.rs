//! Sections of a capsule that are compressed together.
//!
//! Records of one object are much alike: most of a page equals the version before. This module does
//! not know the content of sections, nor where a capsule is read from or written to.
//!
//! Invariant: an announced size is within its limit before any byte is allocated.

use std::ops::Range;

use object::capsule::{Chain, PACKED_BYTES_MAX, SECTION_HEAD_BYTES, SectionKind, section_head};

use crate::error::{Error, Result};

/// Bytes of sections that are enough to compress together.
const ENOUGH_BYTES: usize = 1 << 20;
/// The most bytes that one byte of an LZ4 block can expand to.
const GROWTH_MAX: usize = 255;
/// The bytes before the block: the total size of the sections.
const LENGTH_BYTES: usize = 4;

/// Sections that were compressed together, read one after the other.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    bytes: Vec<u8>,
    at: usize,
    /// The offset of the packed section in the capsule.
    offset: u64,
}

impl Unpacked {
    /// Takes in the body of a packed section at `offset` of the capsule; those before it were read.
    pub(crate) fn open(&mut self, body: &[u8], offset: u64) -> Result<()> {
        let fail = |expected: &str, found: String| Error::capsule(offset, expected, found);
        let cut = || fail("the length of packed sections", format!("{} bytes", body.len()));
        let (length, block) = body.split_first_chunk::<LENGTH_BYTES>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > PACKED_BYTES_MAX.min(block.len().saturating_mul(GROWTH_MAX)) {
            return Err(fail("a length of packed sections", length.to_string()));
        }
        let bytes = lz4_flex::block::decompress(block, length);
        let bytes = bytes.ok().filter(|bytes| bytes.len() == length);
        self.bytes = bytes.ok_or_else(|| fail("an LZ4 block of its length", "another".into()))?;
        (self.at, self.offset) = (0, offset);
        Ok(())
    }

    /// The kind of the next section, and where its body is among [`bytes`](Unpacked::bytes).
    pub(crate) fn next(&mut self) -> Result<Option<(SectionKind, Range<usize>)>> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let cut = || Error::capsule(offset, "a packed section", "the end of those packed with it");
        let head = rest.first_chunk::<SECTION_HEAD_BYTES>().ok_or_else(cut)?;
        let (kind, length) = Chain::new()
            .announced(head)
            .map_err(|error| Error::capsule(offset, "the head of a packed section", error))?;
        if matches!(kind, SectionKind::End | SectionKind::Packed) {
            return Err(Error::capsule(
                offset,
                "a section that may be packed",
                format!("{kind:?}"),
            ));
        }
        let start = self.at + SECTION_HEAD_BYTES;
        let end = start.saturating_add(length as usize);
        if end > self.bytes.len() {
            return Err(cut());
        }
        self.at = end;
        Ok(Some((kind, start..end)))
    }

    /// The bytes of the sections.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sections that wait to be compressed together.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    bytes: Vec<u8>,
}

impl Packing {
    /// Returns whether a section whose body has `length` bytes can be packed, with others or alone.
    pub(crate) fn takes(length: usize) -> bool {
        SECTION_HEAD_BYTES + length <= PACKED_BYTES_MAX
    }

    /// Returns whether there is room for such a section now.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.bytes.len() + SECTION_HEAD_BYTES + length <= PACKED_BYTES_MAX
    }

    /// Adds a section, for which there is room.
    pub(crate) fn add(&mut self, kind: SectionKind, body: &[u8]) {
        assert!(self.has_room(body.len()), "sections are packed within their limit");
        self.bytes.extend_from_slice(&section_head(kind, body.len()));
        self.bytes.extend_from_slice(body);
    }

    /// Returns whether there is enough to compress.
    pub(crate) fn is_enough(&self) -> bool {
        self.bytes.len() >= ENOUGH_BYTES
    }

    /// The body of the packed section that they make; none when there are none.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        let block = lz4_flex::block::compress(&self.bytes);
        debug_assert_eq!(
            lz4_flex::block::decompress(&block, self.bytes.len()).ok().as_ref(),
            Some(&self.bytes),
            "what is compressed is read back"
        );
        let length = u32::try_from(self.bytes.len()).expect("it is within its limit");
        self.bytes.clear();
        let mut body = Vec::with_capacity(LENGTH_BYTES + block.len());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&block);
        Some(body)
    }
}
