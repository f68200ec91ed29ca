//! The building blocks of the macro's code: the memory of an object, and the room for a call's
//! arguments and results. Not for use by hand.
//!
//! This module does not know an object's fields or methods.
//!
//! Invariant: an object's state record is at an address that is a multiple of 4096; its salt and
//! its buffers come behind it, so that a small object is one page.

use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::{ptr, slice};

pub use crate::bytes::Buffer;
use crate::host::trap;
pub use crate::texts::{Room, list as texts};

/// Bytes of the salt of an object's memory.
const SALT_BYTES: usize = 32;

/// An object: its state record, its salt behind it, and its buffers behind that.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Object<S, B> {
    state: UnsafeCell<S>,
    /// A salt that the host writes when the object is made, so that no root of the memory can be
    /// guessed.
    salt: UnsafeCell<[u8; SALT_BYTES]>,
    behind: UnsafeCell<B>,
}

// SAFETY: a module with threads or shared memory is not accepted as an object.
#[cfg(target_arch = "wasm32")]
unsafe impl<S, B> Sync for Object<S, B> {}

impl<S, B> Object<S, B> {
    /// Returns an object in its initial state.
    pub const fn new(state: S, behind: B) -> Object<S, B> {
        let salt = UnsafeCell::new([0; SALT_BYTES]);
        Object { state: UnsafeCell::new(state), salt, behind: UnsafeCell::new(behind) }
    }

    /// Returns how far behind the start of an object its salt is, as the module's section says it.
    pub const fn salt() -> [u8; 4] {
        (offset_of!(Object<S, B>, salt) as u32).to_le_bytes()
    }

    /// Runs a call of the host.
    ///
    /// # Safety
    ///
    /// Nothing else may be running on the object: only exports that a host calls may enter it.
    pub unsafe fn enter<R>(&self, run: impl FnOnce(&mut S, &mut B) -> R) -> R {
        // SAFETY: the caller promises that there are no other references into either.
        unsafe { run(&mut *self.state.get(), &mut *self.behind.get()) }
    }
}

/// Room for the strings and lists of a call's arguments: `N` bytes together.
///
/// Invariant: between calls, all of it is zero.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Arguments<const N: usize> {
    room: [u8; N],
    used: usize,
}

impl<const N: usize> Arguments<N> {
    /// Returns unused room.
    #[expect(clippy::new_without_default, reason = "only the macro makes room")]
    pub const fn new() -> Arguments<N> {
        Arguments { room: [0; N], used: 0 }
    }

    /// Returns the address of `bytes` bytes, a multiple of 8. Traps when there is no room.
    pub fn allocate(&mut self, bytes: usize) -> *mut u8 {
        let start = (self.used + 7) & !7;
        if start > N || bytes > N - start {
            trap();
        }
        self.used = start + bytes;
        self.room.as_mut_ptr().wrapping_add(start)
    }

    /// Zeroes the used part, so that no argument stays in the object's memory unless the object
    /// kept it.
    pub fn clear(&mut self) {
        // SAFETY: the used part is within the room.
        unsafe { ptr::write_bytes(self.room.as_mut_ptr(), 0, self.used) };
        self.used = 0;
    }
}

/// Room for a result that does not fit a core value.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Results<const N: usize>([u8; N]);

impl<const N: usize> Results<N> {
    /// Returns room of zeros.
    #[expect(clippy::new_without_default, reason = "only the macro makes room")]
    pub const fn new() -> Results<N> {
        Results([0; N])
    }

    /// Stores a result, and returns its address.
    pub fn put<T>(&mut self, result: T) -> *const T {
        const {
            assert!(size_of::<T>() <= N && align_of::<T>() <= 8, "the macro makes enough room");
        }
        let room: *mut T = self.0.as_mut_ptr().cast();
        // SAFETY: it was just asserted that a `T` fits.
        unsafe { room.write(result) };
        room
    }
}

/// A string or list as a result.
#[derive(Debug)]
#[repr(C)]
pub struct Slice {
    address: *const u8,
    count: usize,
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        Slice { address: bytes.as_ptr(), count: bytes.len() }
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Slice {
        Slice::from(text.as_bytes())
    }
}

/// Returns the list that is an argument.
///
/// # Safety
///
/// The host wrote `count` bytes to the address, and nothing writes them during `'a`.
pub unsafe fn list<'a>(address: *const u8, count: usize) -> &'a [u8] {
    // SAFETY: the caller promises it.
    unsafe { slice::from_raw_parts(address, count) }
}

/// Returns the string that is an argument.
///
/// # Safety
///
/// As for [`list`]; and the bytes are UTF-8.
pub unsafe fn string<'a>(address: *const u8, count: usize) -> &'a str {
    // SAFETY: the caller promises it.
    unsafe { str::from_utf8_unchecked(list(address, count)) }
}

/// Returns the bytes of a text, `N` of them.
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    match text.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => panic!("the text has as many bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn arguments_are_aligned_apart_and_zeroed() {
        let mut arguments = Arguments::<16>::new();
        let base = arguments.room.as_ptr() as usize;
        assert_eq!(base % 8, 0);
        assert_eq!(arguments.allocate(3) as usize, base);
        assert_eq!(arguments.allocate(8) as usize, base + 8);
        assert_eq!(arguments.allocate(0) as usize, base + 16);
        let trapped = catch_unwind(AssertUnwindSafe(|| arguments.allocate(1)));
        assert!(trapped.is_err());
        arguments.room.fill(7);
        arguments.used = 9;
        arguments.clear();
        assert_eq!((arguments.used, &arguments.room[..9]), (0, &[0; 9][..]));
        assert_eq!(arguments.room[9..], [7; 7], "what was not used is not touched");
    }

    #[test]
    fn a_result_is_where_it_is_said_to_be() {
        let mut results = Results::<16>::new();
        let address = results.put((5_u64, 6_u32));
        // SAFETY: it was just put there.
        assert_eq!(unsafe { address.read() }, (5, 6));
    }

    #[test]
    fn an_object_is_a_page_with_the_record_in_front() {
        let object = Object::new(1_u32, Buffer::<32>::new());
        assert_eq!((align_of_val(&object), size_of_val(&object)), (4096, 4096));
        // SAFETY: nothing else runs on it.
        let address = unsafe { object.enter(|state, _| ptr::from_ref(state) as usize) };
        assert_eq!(address, ptr::from_ref(&object) as usize);
    }

    #[test]
    fn a_texts_bytes_are_counted_at_compile_time() {
        const TEXT: &str = "schema";
        assert_eq!(bytes::<{ TEXT.len() }>(TEXT), *b"schema");
    }
}
