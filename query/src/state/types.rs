//! The Rust types that states are read as, except those that a program derives.
//!
//! This module does not know where a value is.
//!
//! Invariant: a type that passes the check has the layout that is read; every value of an admitted
//! state has a value in Rust.

use std::borrow::Cow;

use schema::{Layout, Scalar, Type};

use super::at::At;
use super::list::List;
use super::mismatch::Mismatch;
use super::{Field, Result, layout};

macro_rules! scalars {
    ($($ty:ident, $width:literal, $bits:ident;)*) => {$(
        impl Field for $ty {
            type Read<'a> = $ty;

            const LAYOUT: Layout = layout::scalar($width);

            fn check(ty: &Type) -> Result<(), Mismatch> {
                match <$ty as Scalar>::is(ty) {
                    true => Ok(()),
                    false => Err(Mismatch::new(stringify!($ty), ty)),
                }
            }

            #[inline]
            fn read<'a>(at: At<'a>) -> $ty {
                let bits = $bits::from_le_bytes(at.bytes::<$width>());
                <$ty as Scalar>::from_bits(bits.into())
            }

            fn own(read: $ty) -> $ty {
                read
            }
        }
    )*};
}

scalars! {
    bool, 1, u8;
    u8, 1, u8;
    u16, 2, u16;
    u32, 4, u32;
    u64, 8, u64;
    i8, 1, u8;
    i16, 2, u16;
    i32, 4, u32;
    i64, 8, u64;
    f32, 4, u32;
    f64, 8, u64;
    char, 4, u32;
}

/// A string or list: its address, then its length.
const POINTER_PAIR: Layout = Layout { size: 8, align: 4 };

impl Field for String {
    type Read<'a> = Cow<'a, str>;

    const LAYOUT: Layout = POINTER_PAIR;

    fn check(ty: &Type) -> Result<(), Mismatch> {
        match ty {
            Type::String => Ok(()),
            _ => Err(Mismatch::new("string", ty)),
        }
    }

    fn read<'a>(at: At<'a>) -> Cow<'a, str> {
        const VALID: &str = "the text of an admitted state is UTF-8";
        let (start, count) = at.pointer(1);
        match start.slice(count) {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes).expect(VALID)),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).expect(VALID)),
        }
    }

    fn own(read: Cow<'_, str>) -> String {
        read.into_owned()
    }
}

impl<T: Field> Field for Vec<T> {
    type Read<'a> = List<'a, T>;

    const LAYOUT: Layout = POINTER_PAIR;

    fn check(ty: &Type) -> Result<(), Mismatch> {
        match ty {
            Type::List(item) => T::check(item).map_err(|mismatch| mismatch.within("items")),
            _ => Err(Mismatch::new("a list", ty)),
        }
    }

    fn read<'a>(at: At<'a>) -> List<'a, T> {
        let (start, count) = at.pointer(T::LAYOUT.size);
        List::new(start, count)
    }

    fn own(read: List<'_, T>) -> Vec<T> {
        read.iter().map(T::own).collect()
    }
}

impl<T: Field> Field for Option<T> {
    type Read<'a> = Option<T::Read<'a>>;

    const LAYOUT: Layout = layout::option(T::LAYOUT);

    fn check(ty: &Type) -> Result<(), Mismatch> {
        match ty {
            Type::Option(payload) => T::check(payload).map_err(|mismatch| mismatch.within("some")),
            _ => Err(Mismatch::new("an option", ty)),
        }
    }

    #[inline]
    fn read<'a>(at: At<'a>) -> Option<T::Read<'a>> {
        let [tag] = at.bytes();
        (tag != 0).then(|| T::read(at.forward(T::LAYOUT.align)))
    }

    fn own(read: Option<T::Read<'_>>) -> Option<T> {
        read.map(T::own)
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    type Read<'a> = [T::Read<'a>; N];

    const LAYOUT: Layout = layout::sequence([T::LAYOUT; N]).1;

    fn check(ty: &Type) -> Result<(), Mismatch> {
        let items = match ty {
            Type::Tuple(tuple) if tuple.items.len() == N => &tuple.items,
            _ => return Err(Mismatch::new(format_args!("a tuple of {N}"), ty)),
        };
        let mut items = items.iter().enumerate();
        items.try_for_each(|(index, (item, _))| {
            T::check(item).map_err(|mismatch| mismatch.within(index))
        })
    }

    #[inline]
    fn read<'a>(at: At<'a>) -> [T::Read<'a>; N] {
        std::array::from_fn(|index| T::read(at.forward(index as u32 * T::LAYOUT.size)))
    }

    fn own(read: [T::Read<'_>; N]) -> [T; N] {
        read.map(T::own)
    }
}
