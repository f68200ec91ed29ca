//! The arguments of a message, as payload bytes.
//!
//! This module does not know the receiver's schema: the sender must put arguments that match the
//! parameters, and the receiver refuses others.
//!
//! Invariant: no byte is put beyond the room.

use crate::host::trap;

/// Arguments, one behind the other, in room for `N` bytes.
///
/// ```
/// use continuant_guest::Payload;
///
/// let mut arguments = Payload::<32>::new();
/// arguments.put(250u64).put(true).put("rent");
/// assert_eq!(arguments.as_bytes().len(), 8 + 1 + 4 + 4);
/// ```
#[derive(Debug)]
pub struct Payload<const N: usize> {
    bytes: [u8; N],
    count: usize,
}

impl<const N: usize> Payload<N> {
    /// Returns an empty list of arguments.
    pub const fn new() -> Payload<N> {
        Payload { bytes: [0; N], count: 0 }
    }

    /// Puts one more argument.
    ///
    /// # Panics
    ///
    /// When there is no room for it.
    pub fn put(&mut self, argument: impl Put) -> &mut Payload<N> {
        argument.put(|bytes| {
            let room = self.bytes.get_mut(self.count..).and_then(|it| it.get_mut(..bytes.len()));
            match room {
                Some(room) => room.copy_from_slice(bytes),
                None => trap(),
            }
            self.count += bytes.len();
        });
        self
    }

    /// Returns the bytes, to be sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }
}

impl<const N: usize> Default for Payload<N> {
    fn default() -> Payload<N> {
        Payload::new()
    }
}

/// A type that an argument of a message can have: a scalar of WIT, `&str` for `string`, `&[u8]` for
/// `list<u8>`.
pub trait Put {
    /// Passes the argument's bytes to `sink`, piece by piece.
    fn put(self, sink: impl FnMut(&[u8]));
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Put for $number {
            fn put(self, mut sink: impl FnMut(&[u8])) {
                sink(&self.to_le_bytes());
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Put for f32 {
    fn put(self, mut sink: impl FnMut(&[u8])) {
        let canonical = if self.is_nan() { 0x7FC0_0000 } else { self.to_bits() };
        sink(&canonical.to_le_bytes());
    }
}

impl Put for f64 {
    fn put(self, mut sink: impl FnMut(&[u8])) {
        let canonical = if self.is_nan() { 0x7FF8_0000_0000_0000 } else { self.to_bits() };
        sink(&canonical.to_le_bytes());
    }
}

impl Put for bool {
    fn put(self, mut sink: impl FnMut(&[u8])) {
        sink(&[self as u8]);
    }
}

impl Put for char {
    fn put(self, mut sink: impl FnMut(&[u8])) {
        sink(&u32::from(self).to_le_bytes());
    }
}

impl Put for &str {
    fn put(self, sink: impl FnMut(&[u8])) {
        self.as_bytes().put(sink);
    }
}

impl Put for &[u8] {
    fn put(self, mut sink: impl FnMut(&[u8])) {
        sink(&(self.len() as u32).to_le_bytes());
        sink(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_payloads() {
        let mut payload = Payload::<64>::new();
        payload.put(0x0102_0304u32).put(-1i8).put('a').put(f64::NAN).put("no").put(&[7u8][..]);
        let expected = [
            &[4, 3, 2, 1, 0xFF, b'a', 0, 0, 0][..],
            &[0, 0, 0, 0, 0, 0, 0xF8, 0x7F],
            &[2, 0, 0, 0, b'n', b'o', 1, 0, 0, 0, 7],
        ];
        assert_eq!(payload.as_bytes(), expected.concat());
        assert!(Payload::<0>::new().as_bytes().is_empty());
    }

    #[test]
    fn there_is_no_more_than_the_room() {
        let put = |count| {
            let mut payload = Payload::<7>::new();
            for _ in 0..count {
                payload.put(1u32);
            }
        };
        put(1);
        assert!(std::panic::catch_unwind(|| put(2)).is_err());
    }
}
