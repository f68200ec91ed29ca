//! Reading and writing the hand-laid little-endian encodings: bounds checked, no allocation from
//! a length that the bytes themselves do not back. The log's records are written with it too.
//!
//! Invariant: `Reader` never yields a slice longer than the remaining bytes, and says where it
//! failed.

use arrayvec::ArrayVec;

use crate::error::{Error, Result};
use crate::time::Time;

/// Reads an encoding of `what` from its start to its end.
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader at the start of `bytes`; its errors name `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, bytes, offset: 0 }
    }

    /// A failure at the byte before `back`.
    pub fn fail(&self, back: usize, expected: &str, found: impl std::fmt::Display) -> Error {
        let offset = self.offset.saturating_sub(back) as u64;
        Error::decode(self.what, offset, expected, found)
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let left = self.left();
        if count > left {
            let found = format!("{left} bytes");
            return Err(self.fail(0, &format!("{count} bytes"), found));
        }
        let start = self.offset;
        self.offset += count;
        Ok(&self.bytes[start..self.offset])
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("the reader yields as many bytes as it was asked for"))
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// The next two bytes, little endian.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes, little endian.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes, little endian.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes, as a time.
    pub fn time(&mut self) -> Result<Time> {
        self.u64().map(Time::from_millis)
    }

    /// A count of things, each at least `each` bytes long, at most `max` of them.
    pub fn count(&mut self, max: usize, each: usize) -> Result<usize> {
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
    pub fn blob(&mut self, max: usize) -> Result<&'a [u8]> {
        let count = self.count(max, 1)?;
        self.bytes(count)
    }

    /// UTF-8 text behind its length in bytes.
    pub fn text(&mut self, max: usize) -> Result<&'a str> {
        let bytes = self.blob(max)?;
        std::str::from_utf8(bytes)
            .map_err(|error| self.fail(bytes.len() - error.valid_up_to(), "UTF-8", "other bytes"))
    }

    /// Ends the encoding: nothing may be left.
    pub fn end(self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.fail(0, "the end", format!("{left} more bytes"))),
        }
    }
}

/// Appends to an encoding.
pub trait Write {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]) -> &mut Self;

    /// Appends a byte.
    #[inline]
    fn put_u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    /// Appends two bytes, little endian.
    #[inline]
    fn put_u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Appends four bytes, little endian.
    #[inline]
    fn put_u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Appends eight bytes, little endian.
    #[inline]
    fn put_u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Appends a time, in eight bytes.
    #[inline]
    fn put_time(&mut self, time: Time) -> &mut Self {
        self.put_u64(time.as_millis())
    }

    /// Appends a count as a `u32`; encoded counts are bounded far below `u32::MAX`.
    #[inline]
    fn put_count(&mut self, count: usize) -> &mut Self {
        self.put_u32(u32::try_from(count).expect("what is encoded is within the limits"))
    }

    /// Appends bytes behind their length.
    #[inline]
    fn put_blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.put_count(bytes.len()).put(bytes)
    }
}

impl Write for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// An encoding of a known length.
///
/// # Panics
///
/// When more is put than there is room for.
impl<const N: usize> Write for ArrayVec<u8, N> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.try_extend_from_slice(bytes).expect("what is encoded has the length of its layout");
        self
    }
}

/// Counts an encoding's bytes.
#[derive(Default)]
pub(crate) struct Length(pub(crate) usize);

impl Write for Length {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0 += bytes.len();
        self
    }
}
