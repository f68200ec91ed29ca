//! An address in the memory of a version, with the page that it is on.
//!
//! This module does not know types.

use std::borrow::Cow;
use std::fmt;

use object::image::Image;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page};

use crate::snapshot::Snapshot;

/// An address in a version's memory.
#[derive(Clone, Copy)]
pub struct At<'a> {
    image: &'a Image,
    address: u32,
    /// A page near the address, most often its own.
    page: &'a Page,
    page_index: u32,
}

impl<'a> At<'a> {
    /// Returns the address of a version's state.
    pub(crate) fn state(snapshot: &'a Snapshot) -> At<'a> {
        At::new(snapshot.image(), snapshot.definition().code.state_address)
    }

    fn new(image: &'a Image, address: u32) -> At<'a> {
        let page_index = address / PAGE_BYTES as u32;
        At { image, address, page: image.page(page_index), page_index }
    }

    /// Returns the address `bytes` further on.
    #[doc(hidden)]
    pub fn forward(self, bytes: u32) -> At<'a> {
        At { address: self.address + bytes, ..self }
    }

    /// Reads the number of `N` bytes here, at a multiple of its width.
    #[doc(hidden)]
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        let index = self.address / PAGE_BYTES as u32;
        let page = if index == self.page_index { self.page } else { self.image.page(index) };
        let offset = self.address as usize % PAGE_BYTES;
        page[offset..offset + N].try_into().expect("a slice of N bytes")
    }

    /// Reads the address and the count of the string or list here, whose items have `stride` bytes
    /// each.
    ///
    /// # Panics
    ///
    /// When it is outside of memory; that of an admitted version never is.
    pub(crate) fn pointer(self, stride: u32) -> (At<'a>, u32) {
        let start = u32::from_le_bytes(self.bytes());
        let count = u32::from_le_bytes(self.forward(4).bytes());
        let end = u64::from(start) + u64::from(count) * u64::from(stride);
        assert!(end <= self.image.bytes_count(), "an admitted state is within its memory");
        (At::new(self.image, start), count)
    }

    /// Returns the `count` bytes from here on: borrowed when they are on one page.
    pub(crate) fn slice(self, count: u32) -> Cow<'a, [u8]> {
        let (mut offset, mut left) = (self.address as usize % PAGE_BYTES, count as usize);
        let mut index = self.address / PAGE_BYTES as u32;
        if offset + left <= PAGE_BYTES {
            let page = if index == self.page_index { self.page } else { self.image.page(index) };
            return Cow::Borrowed(&page[offset..offset + left]);
        }
        let mut bytes = Vec::with_capacity(left);
        while left > 0 {
            let piece = left.min(PAGE_BYTES - offset);
            bytes.extend_from_slice(&self.image.page(index)[offset..offset + piece]);
            (offset, left, index) = (0, left - piece, index + 1);
        }
        Cow::Owned(bytes)
    }
}

impl fmt::Debug for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "At({})", self.address)
    }
}
