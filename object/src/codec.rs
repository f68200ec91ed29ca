//! Reading and writing the hand-laid little-endian encodings: bounds checked, no allocation from
//! a length that the bytes themselves do not back.
//!
//! Invariant: `Reader` never yields a slice longer than what is left, and says where it failed.

use crate::error::{Error, Result};

/// Reads an encoding of `what` from its start to its end.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, bytes, offset: 0 }
    }

    /// A failure at the byte before `back`.
    pub(crate) fn fail(&self, back: usize, expected: &str, found: impl std::fmt::Display) -> Error {
        Error::decode(self.what, self.offset.saturating_sub(back), expected, found)
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let left = self.left();
        if count > left {
            let found = format!("{left} bytes");
            return Err(self.fail(0, &format!("{count} bytes"), found));
        }
        let start = self.offset;
        self.offset += count;
        Ok(&self.bytes[start..self.offset])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("the reader yields as many bytes as it was asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things, each at least `each` bytes long, at most `max` of them.
    pub(crate) fn count(&mut self, max: usize, each: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count > max {
            return Err(self.fail(4, &format!("at most {max}"), count));
        }
        if count.saturating_mul(each) > self.left() {
            let found = format!("{count} of at least {each} bytes in {} bytes", self.left());
            return Err(self.fail(4, "a count that the bytes back", found));
        }
        Ok(count)
    }

    /// Bytes behind their length, at most `max` of them.
    pub(crate) fn blob(&mut self, max: usize) -> Result<&'a [u8]> {
        let count = self.count(max, 1)?;
        self.bytes(count)
    }

    /// UTF-8 text behind its length in bytes.
    pub(crate) fn text(&mut self, max: usize) -> Result<&'a str> {
        let bytes = self.blob(max)?;
        std::str::from_utf8(bytes)
            .map_err(|error| self.fail(bytes.len() - error.valid_up_to(), "UTF-8", "other bytes"))
    }

    /// Ends the encoding: nothing may be left.
    pub(crate) fn end(self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.fail(0, "the end", format!("{left} more bytes"))),
        }
    }
}

/// Appends to an encoding.
pub(crate) trait Write {
    fn put(&mut self, bytes: &[u8]) -> &mut Self;

    fn put_u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    fn put_u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn put_u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn put_u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// A count; what is counted is bounded far below `u32::MAX` before it is encoded.
    fn put_count(&mut self, count: usize) -> &mut Self {
        self.put_u32(u32::try_from(count).expect("what is encoded is within the limits"))
    }

    fn put_blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.put_count(bytes.len()).put(bytes)
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}
