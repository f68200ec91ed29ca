//! Lists of texts: in a state, and as arguments of methods.
//!
//! This module does not know where the room of a list is; the object sets it before each call, see
//! `anchor`.
//!
//! Invariant: an item that has bytes is at the address of that many bytes of UTF-8, which nothing
//! writes while it is borrowed; no item leaves its list. Where a list has items, its address is
//! that of room that no other list uses.

use core::cell::UnsafeCell;
use core::ops::Deref;
use core::{ptr, slice};

use crate::field::Field;
use crate::host::trap;

/// A text in a list, used as a `str`.
#[derive(Debug)]
#[repr(C)]
pub struct Str {
    address: *const u8,
    count: usize,
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        if self.count == 0 {
            return "";
        }
        // SAFETY: by the invariant of this file.
        unsafe { str::from_utf8_unchecked(slice::from_raw_parts(self.address, self.count)) }
    }
}

/// The room of a [`Texts`]: its items, and behind them their bytes.
#[doc(hidden)]
#[derive(Debug)]
#[repr(transparent)]
pub struct Room<const N: usize, const B: usize>(UnsafeCell<Inner<N, B>>);

#[derive(Debug)]
#[repr(C)]
struct Inner<const N: usize, const B: usize> {
    items: [Str; N],
    bytes: [[u8; B]; N],
}

impl<const N: usize, const B: usize> Room<N, B> {
    /// Returns room of zeros.
    #[expect(clippy::new_without_default, reason = "only the macro makes room")]
    pub const fn new() -> Room<N, B> {
        let items = [const { Str { address: ptr::null(), count: 0 } }; N];
        Room(UnsafeCell::new(Inner { items, bytes: [[0; B]; N] }))
    }
}

/// At most `N` texts of at most `B` bytes each in a state; in WIT, a `list<string>`.
///
/// If the texts are keys, as 64 hexadecimal digits each, a policy can read how many of them signed:
/// `context.approvals.<field>`.
#[derive(Debug)]
#[repr(C)]
pub struct Texts<const N: usize, const B: usize> {
    address: *mut Inner<N, B>,
    count: usize,
}

impl<const N: usize, const B: usize> Texts<N, B> {
    /// Replaces the content. Traps when there are more than `N` texts, or one is longer than `B`
    /// bytes.
    pub fn set(&mut self, content: &[Str]) {
        self.count = 0;
        content.iter().for_each(|text| self.push(text));
    }

    /// Appends a text. Traps when there are `N`, or it is longer than `B` bytes.
    pub fn push(&mut self, text: &str) {
        self.put(self.count, text);
        self.count += 1;
    }

    /// Replaces the text at `index`. Traps when there is none, or the new text is longer than `B`
    /// bytes.
    pub fn replace(&mut self, index: usize, text: &str) {
        if index >= self.count {
            trap();
        }
        self.put(index, text);
    }

    fn put(&mut self, index: usize, text: &str) {
        if index >= N || text.len() > B || self.address.is_null() {
            trap();
        }
        // SAFETY: the room has N items and B bytes for each, and the writes were just found to be
        // within. Nothing else is in that room, so that `text` is elsewhere.
        unsafe {
            let bytes: *mut u8 = (&raw mut (*self.address).bytes).cast::<u8>().add(index * B);
            ptr::copy_nonoverlapping(text.as_ptr(), bytes, text.len());
            let items: *mut Str = (&raw mut (*self.address).items).cast();
            items.add(index).write(Str { address: bytes, count: text.len() });
        }
    }

    /// Sets the address of the content's room.
    ///
    /// # Safety
    ///
    /// The room is this one's alone, and stays the same for as long as this has content.
    #[doc(hidden)]
    pub unsafe fn anchor(&mut self, room: &Room<N, B>) {
        self.address = room.0.get();
    }
}

impl<const N: usize, const B: usize> Field for Texts<N, B> {
    const INITIAL: Texts<N, B> = Texts { address: ptr::null_mut(), count: 0 };
}

impl<const N: usize, const B: usize> Deref for Texts<N, B> {
    type Target = [Str];

    fn deref(&self) -> &[Str] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: by the invariant of this file the items are at the address, and no code with a
        // `&mut self`, which writing takes, exists while the result lives.
        unsafe { slice::from_raw_parts(self.address.cast::<Str>(), self.count) }
    }
}

/// Returns the list that is an argument.
///
/// # Safety
///
/// The host wrote `count` items to the address, each the address and count of its UTF-8, and
/// nothing writes any of it during `'a`.
#[doc(hidden)]
pub unsafe fn list<'a>(address: *const u8, count: usize) -> &'a [Str] {
    // SAFETY: the caller promises it; room for arguments is aligned for every item.
    unsafe { slice::from_raw_parts(address.cast(), count) }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::vec::Vec;

    use super::*;

    fn content(texts: &[Str]) -> Vec<&str> {
        texts.iter().map(|text| &**text).collect()
    }

    #[test]
    fn texts_hold_what_was_put_up_to_their_capacity() {
        let (room, other) = (Room::<2, 4>::new(), Room::<2, 4>::new());
        let (mut texts, mut copy) = (Texts::<2, 4>::INITIAL, Texts::<2, 4>::INITIAL);
        assert!(texts.is_empty());
        // SAFETY: either room is used by nothing else.
        unsafe {
            texts.anchor(&room);
            copy.anchor(&other);
        }
        texts.push("ab");
        texts.push("Éow");
        assert_eq!(content(&texts), ["ab", "Éow"]);
        let full = catch_unwind(AssertUnwindSafe(|| texts.push("c")));
        let long = catch_unwind(AssertUnwindSafe(|| texts.replace(0, "abcde")));
        let absent = catch_unwind(AssertUnwindSafe(|| texts.replace(2, "c")));
        assert!(full.is_err() && long.is_err() && absent.is_err());
        assert_eq!(content(&texts), ["ab", "Éow"]);
        texts.replace(0, "");
        copy.set(&texts);
        // SAFETY: it is the same room.
        unsafe { copy.anchor(&other) };
        assert_eq!(content(&copy), ["", "Éow"], "what there is survives the next call");
        copy.set(&[]);
        assert!(copy.is_empty());
    }
}
