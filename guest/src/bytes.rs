//! Bytes and text in a state: the record has an address and a count, the content is behind the
//! record.
//!
//! This module does not know where a buffer is; the object sets it before each call, see `anchor`.
//!
//! Invariant: where the count is not zero, the address is that of a buffer that nothing else uses,
//! and the first `count` bytes of it are the content; in a `Text` they are UTF-8.

use core::cell::UnsafeCell;
use core::ops::Deref;
use core::{ptr, slice};

use crate::field::Field;
use crate::host::trap;

/// The buffer of a [`Bytes`] or [`Text`].
#[doc(hidden)]
#[derive(Debug)]
#[repr(transparent)]
pub struct Buffer<const N: usize>(UnsafeCell<[u8; N]>);

impl<const N: usize> Buffer<N> {
    /// Returns a buffer of zeros.
    #[expect(clippy::new_without_default, reason = "only the macro makes buffers")]
    pub const fn new() -> Buffer<N> {
        Buffer(UnsafeCell::new([0; N]))
    }
}

/// At most `N` bytes in a state; in WIT, a `list<u8>`.
#[derive(Debug)]
#[repr(C)]
pub struct Bytes<const N: usize> {
    address: *mut u8,
    count: usize,
}

impl<const N: usize> Bytes<N> {
    /// Replaces the content. Traps when there are more than `N` bytes.
    pub fn set(&mut self, content: &[u8]) {
        if content.len() > N || self.address.is_null() {
            trap();
        }
        // SAFETY: the buffer has N bytes, and the content was just found to fit. `content` may lie
        // in the same buffer, as `copy` allows.
        unsafe { ptr::copy(content.as_ptr(), self.address, content.len()) };
        self.count = content.len();
    }

    /// Removes the content.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Sets the address of the content's buffer.
    ///
    /// # Safety
    ///
    /// The buffer is this one's alone, and stays the same for as long as this has content.
    #[doc(hidden)]
    pub unsafe fn anchor(&mut self, buffer: &Buffer<N>) {
        self.address = buffer.0.get().cast();
    }
}

impl<const N: usize> Field for Bytes<N> {
    const INITIAL: Bytes<N> = Bytes { address: ptr::null_mut(), count: 0 };
}

impl<const N: usize> Deref for Bytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: by the invariant of this file the bytes are at the address, and no code with a
        // `&mut self`, which writing takes, exists while the result lives.
        unsafe { slice::from_raw_parts(self.address, self.count) }
    }
}

/// Text of at most `N` bytes in a state; in WIT, a `string`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Text<const N: usize>(Bytes<N>);

impl<const N: usize> Text<N> {
    /// Replaces the content. Traps when it is longer than `N` bytes.
    pub fn set(&mut self, content: &str) {
        self.0.set(content.as_bytes());
    }

    /// Removes the content.
    pub const fn clear(&mut self) {
        self.0.clear();
    }

    /// Sets the address of the content's buffer.
    ///
    /// # Safety
    ///
    /// As for [`Bytes::anchor`].
    #[doc(hidden)]
    pub unsafe fn anchor(&mut self, buffer: &Buffer<N>) {
        // SAFETY: the caller promises it.
        unsafe { self.0.anchor(buffer) };
    }
}

impl<const N: usize> Field for Text<N> {
    const INITIAL: Text<N> = Text(Bytes::INITIAL);
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        // SAFETY: by the invariant of this file; only `set` writes it, from a `str`.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn bytes_hold_what_was_set_up_to_their_capacity() {
        let buffer = Buffer::<4>::new();
        let mut bytes = Bytes::<4>::INITIAL;
        assert_eq!(&*bytes, b"");
        // SAFETY: the buffer is used by nothing else.
        unsafe { bytes.anchor(&buffer) };
        bytes.set(b"abcd");
        assert_eq!(&*bytes, b"abcd");
        let trapped = catch_unwind(AssertUnwindSafe(|| bytes.set(b"abcde")));
        assert!(trapped.is_err());
        assert_eq!(&*bytes, b"abcd");
        bytes.set(b"x");
        // SAFETY: it is the same buffer.
        unsafe { bytes.anchor(&buffer) };
        assert_eq!(&*bytes, b"x", "what there is survives the next call");
        bytes.clear();
        assert!(bytes.is_empty());
    }

    #[test]
    fn text_holds_text() {
        let buffer = Buffer::<8>::new();
        let mut text = Text::<8>::INITIAL;
        // SAFETY: the buffer is used by nothing else.
        unsafe { text.anchor(&buffer) };
        text.set("Éowyn");
        assert_eq!((&*text, text.len()), ("Éowyn", 6));
        text.clear();
        assert_eq!(&*text, "");
    }
}
