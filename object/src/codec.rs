//! Reading and writing the hand-laid little-endian encodings: bounds checked, no allocation from
//! a length that the bytes themselves do not back. The log's records are written with it too.
//!
//! Invariant: `Reader` never yields a slice longer than the remaining bytes, and says where it
//! failed.

use arrayvec::ArrayVec;

use crate::error::{Error, ErrorKind, Result};
use crate::time::Time;

/// The bit that says that another byte of a number follows.
const MORE: u8 = 0x80;

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

    /// Reads the code of the algorithm that made the bytes behind it, which must be `known`.
    ///
    /// # Errors
    ///
    /// [`UnknownAlgorithm`](ErrorKind::UnknownAlgorithm) for any other: the bytes are not damaged.
    pub fn algorithm(&mut self, known: u8) -> Result<()> {
        let (what, offset) = (self.what, self.offset as u64);
        let code = self.u8()?;
        if code != known {
            return Err(ErrorKind::UnknownAlgorithm { what, offset, known, code }.into());
        }
        Ok(())
    }

    /// Reads the version of an encoding, which must be `known`.
    pub fn version(&mut self, known: u8) -> Result<()> {
        match self.u8()? {
            version if version == known => Ok(()),
            other => Err(self.fail(1, &format!("version {known}"), other)),
        }
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

    /// A number in as few bytes as it needs: seven bits a byte, the lowest first.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & !MORE);
            // The last byte is not zero, unless it is the only one, and has the bits that are left.
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.fail(1, "the shortest encoding of a number", byte));
            }
            value |= bits << shift;
            if byte & MORE == 0 {
                return Ok(value);
            }
        }
        Err(self.fail(1, "at most 10 bytes of a number", "more"))
    }

    /// Returns whether something is there, as a byte says.
    pub fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.fail(1, "0 or 1", other)),
        }
    }

    /// The next `N` bytes, if they are there, as the byte before them says.
    pub fn option<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        self.flag()?.then(|| self.array()).transpose()
    }

    /// Reads `N` bytes, which must be zero.
    pub fn zeros<const N: usize>(&mut self) -> Result<()> {
        let bytes: [u8; N] = self.array()?;
        match bytes.iter().find(|&&byte| byte != 0) {
            Some(byte) => Err(self.fail(N, "zero", byte)),
            None => Ok(()),
        }
    }

    /// A count of things, each at least `each` bytes long, at most `max` of them.
    pub fn count(&mut self, max: usize, each: usize) -> Result<usize> {
        let start = self.offset;
        let count = self.varint()?;
        self.backed(start, count, (max, each))
    }

    /// A count in four bytes, little endian, as payloads have; else as [`count`](Reader::count).
    pub fn count_u32(&mut self, max: usize, each: usize) -> Result<usize> {
        let start = self.offset;
        let count = self.u32()?;
        self.backed(start, count.into(), (max, each))
    }

    /// A count that was read from `start` on, if it is not above the limit and the bytes back it.
    fn backed(&self, start: usize, count: u64, (max, each): (usize, usize)) -> Result<usize> {
        let back = self.offset - start;
        if count > max as u64 {
            return Err(self.fail(back, &format!("at most {max}"), count));
        }
        if count.saturating_mul(each as u64) > self.left() as u64 {
            let found = format!("{count} of at least {each} bytes in {} bytes", self.left());
            return Err(self.fail(back, "a count that the bytes back", found));
        }
        Ok(count as usize)
    }

    /// Bytes behind their length, at most `max` of them.
    pub fn blob(&mut self, max: usize) -> Result<&'a [u8]> {
        let count = self.count(max, 1)?;
        self.bytes(count)
    }

    /// UTF-8 text behind its length in bytes.
    pub fn text(&mut self, max: usize) -> Result<&'a str> {
        let count = self.count(max, 1)?;
        self.utf8(count)
    }

    /// UTF-8 text of the next `count` bytes.
    pub fn utf8(&mut self, count: usize) -> Result<&'a str> {
        let bytes = self.bytes(count)?;
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

    /// Appends a number in as few bytes as it needs: seven bits a byte, the lowest first.
    #[inline]
    fn put_varint(&mut self, mut value: u64) -> &mut Self {
        while value >= u64::from(MORE) {
            self.put_u8(value as u8 | MORE);
            value >>= 7;
        }
        self.put_u8(value as u8)
    }

    /// Appends bytes that may not be there, behind a byte that says whether they are.
    #[inline]
    fn put_option<const N: usize>(&mut self, bytes: Option<[u8; N]>) -> &mut Self {
        self.put_u8(u8::from(bytes.is_some()));
        self.put(bytes.as_ref().map_or(&[], |bytes| &bytes[..]))
    }

    /// Appends a count.
    #[inline]
    fn put_count(&mut self, count: usize) -> &mut Self {
        self.put_varint(count as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_encoding() {
        let powers = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, u64::MAX >> bit]);
        for value in powers.chain([0]) {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(reader.varint().expect("a number"), value);
            reader.end().expect("and no more");
        }
        for refused in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80]] {
            assert!(Reader::new("test", refused).varint().is_err(), "{refused:02x?}");
        }
    }

    #[test]
    fn every_option_has_one_encoding() {
        for value in [None, Some([0; 3]), Some([1, 2, 3])] {
            let mut bytes = Vec::new();
            bytes.put_option(value);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(reader.option().expect("an option"), value);
            reader.end().expect("and no more");
        }
        for refused in [&[2, 1, 2, 3][..], &[1, 1, 2], &[]] {
            assert!(Reader::new("test", refused).option::<3>().is_err(), "{refused:02x?}");
        }
    }
}
