//! The field types of a state beside bytes and text.
//!
//! This module does not know the macro, which ensures that only these types stand in a state.
//!
//! Invariant: in memory, the initial value of every type here is zero bytes.

/// A type that a field of a state can have.
pub trait Field: Sized {
    /// The field's value in a new object.
    const INITIAL: Self;
}

macro_rules! fields {
    ($($ty:ty = $initial:expr),*) => {
        $(impl Field for $ty {
            const INITIAL: $ty = $initial;
        })*
    };
}

fields!(u8 = 0, u16 = 0, u32 = 0, u64 = 0, i8 = 0, i16 = 0, i32 = 0, i64 = 0);
fields!(f32 = 0.0, f64 = 0.0, bool = false, char = '\0');

impl<T: Field, const N: usize> Field for [T; N] {
    const INITIAL: [T; N] = [T::INITIAL; N];
}

/// An `Option` in a state: `Option` itself has a layout that only this compiler knows.
///
/// ```
/// use continuant_guest::Maybe;
///
/// let mut notice = Maybe::NONE;
/// notice.set(Some(5_u64));
/// assert_eq!(notice.get(), Some(5));
/// assert_eq!(Maybe::from(None::<u64>), Maybe::NONE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Maybe<T> {
    some: bool,
    /// Invariant: `INITIAL` when `some` is false.
    value: T,
}

impl<T: Field + Copy> Maybe<T> {
    /// The absent value.
    pub const NONE: Maybe<T> = Maybe { some: false, value: T::INITIAL };

    /// Returns the value, if there is one.
    pub const fn get(&self) -> Option<T> {
        if self.some { Some(self.value) } else { None }
    }

    /// Replaces the value.
    pub const fn set(&mut self, value: Option<T>) {
        *self = match value {
            Some(value) => Maybe { some: true, value },
            None => Maybe::NONE,
        };
    }

    /// Takes the value out, and leaves none.
    pub const fn take(&mut self) -> Option<T> {
        let taken = self.get();
        *self = Maybe::NONE;
        taken
    }

    /// Returns whether there is a value.
    pub const fn is_some(&self) -> bool {
        self.some
    }

    /// Returns whether there is no value.
    pub const fn is_none(&self) -> bool {
        !self.some
    }
}

impl<T: Field + Copy> Field for Maybe<T> {
    const INITIAL: Maybe<T> = Maybe::NONE;
}

impl<T: Field + Copy> Default for Maybe<T> {
    fn default() -> Maybe<T> {
        Maybe::NONE
    }
}

impl<T: Field + Copy> From<Option<T>> for Maybe<T> {
    fn from(value: Option<T>) -> Maybe<T> {
        let mut maybe = Maybe::NONE;
        maybe.set(value);
        maybe
    }
}

impl<T: Field + Copy> From<Maybe<T>> for Option<T> {
    fn from(maybe: Maybe<T>) -> Option<T> {
        maybe.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maybe_is_a_discriminant_and_then_the_payload() {
        assert_eq!((size_of::<Maybe<u64>>(), align_of::<Maybe<u64>>()), (16, 8));
        assert_eq!(core::mem::offset_of!(Maybe<u64>, value), 8);
        assert_eq!((size_of::<Maybe<u8>>(), size_of::<Maybe<char>>()), (2, 8));
    }

    #[test]
    fn a_maybe_gives_back_what_was_set() {
        let mut maybe = Maybe::<i16>::INITIAL;
        assert_eq!((maybe.get(), maybe.is_none()), (None, true));
        maybe.set(Some(-7));
        assert_eq!((maybe.is_some(), Option::from(maybe)), (true, Some(-7)));
        assert_eq!((maybe.take(), maybe.take()), (Some(-7), None));
        assert_eq!(maybe, Maybe::NONE, "nothing of the value is left");
    }
}
