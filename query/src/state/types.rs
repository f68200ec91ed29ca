//! The types of Rust that states are read as, but for those that a program makes.
//!
//! It does not know where a value is.
//!
//! Invariant: a type that is found has the layout that is read; every value of an admitted state
//! has a value of Rust.

use std::borrow::Cow;
use std::convert::identity;

use object::schema::{Scalar, Type};

use super::at::At;
use super::list::List;
use super::mismatch::Mismatch;
use super::{Field, Result};

macro_rules! scalars {
    ($($ty:ident, $width:literal, $bits:ident, $canonical:expr;)*) => {$(
        impl Field for $ty {
            type Read<'a> = $ty;
            type Places = ();

            fn places(ty: &Type) -> Result<(), Mismatch> {
                match <$ty as Scalar>::is(ty) {
                    true => Ok(()),
                    false => Err(Mismatch::new(stringify!($ty), ty)),
                }
            }

            #[inline]
            fn read<'a>(at: At<'a>, (): ()) -> $ty {
                let bits = $bits::from_le_bytes(at.bytes::<$width>());
                <$ty as Scalar>::from_bits($canonical(bits).into())
            }

            fn own(read: $ty) -> $ty {
                read
            }
        }
    )*};
}

scalars! {
    bool, 1, u8, identity;
    u8, 1, u8, identity;
    u16, 2, u16, identity;
    u32, 4, u32, identity;
    u64, 8, u64, identity;
    i8, 1, u8, identity;
    i16, 2, u16, identity;
    i32, 4, u32, identity;
    i64, 8, u64, identity;
    f32, 4, u32, canonical_32;
    f64, 8, u64, canonical_64;
    char, 4, u32, identity;
}

/// The bits of a float, or of the one NaN that there is in a state.
fn canonical_32(bits: u32) -> u32 {
    if f32::from_bits(bits).is_nan() { 0x7fc0_0000 } else { bits }
}

fn canonical_64(bits: u64) -> u64 {
    if f64::from_bits(bits).is_nan() { 0x7ff8_0000_0000_0000 } else { bits }
}

impl Field for String {
    type Read<'a> = Cow<'a, str>;
    type Places = ();

    fn places(ty: &Type) -> Result<(), Mismatch> {
        match ty {
            Type::String => Ok(()),
            _ => Err(Mismatch::new("string", ty)),
        }
    }

    fn read<'a>(at: At<'a>, (): ()) -> Cow<'a, str> {
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
    type Places = (u32, T::Places);

    fn places(ty: &Type) -> Result<(u32, T::Places), Mismatch> {
        match ty {
            Type::List(item) => {
                let places = T::places(item).map_err(|mismatch| mismatch.within("items"))?;
                Ok((item.layout().size, places))
            }
            _ => Err(Mismatch::new("a list", ty)),
        }
    }

    fn read<'a>(at: At<'a>, (stride, places): (u32, T::Places)) -> List<'a, T> {
        let (start, count) = at.pointer(stride);
        List::new(start, count, stride, places)
    }

    fn own(read: List<'_, T>) -> Vec<T> {
        read.iter().map(T::own).collect()
    }
}

impl<T: Field> Field for Option<T> {
    type Read<'a> = Option<T::Read<'a>>;
    /// With the payload's offset.
    type Places = (u32, T::Places);

    fn places(ty: &Type) -> Result<(u32, T::Places), Mismatch> {
        match ty {
            Type::Option(payload) => {
                let places = T::places(payload).map_err(|mismatch| mismatch.within("some"))?;
                // The discriminant is a byte, and the payload's alignment a multiple of it.
                Ok((payload.layout().align, places))
            }
            _ => Err(Mismatch::new("an option", ty)),
        }
    }

    #[inline]
    fn read<'a>(at: At<'a>, (offset, places): (u32, T::Places)) -> Option<T::Read<'a>> {
        let [tag] = at.bytes();
        (tag != 0).then(|| T::read(at.forward(offset), places))
    }

    fn own(read: Option<T::Read<'_>>) -> Option<T> {
        read.map(T::own)
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    type Read<'a> = [T::Read<'a>; N];
    type Places = [(u32, T::Places); N];

    fn places(ty: &Type) -> Result<[(u32, T::Places); N], Mismatch> {
        let items = match ty {
            Type::Tuple(tuple) if tuple.items.len() == N => &tuple.items,
            _ => return Err(Mismatch::new(format_args!("a tuple of {N}"), ty)),
        };
        let mut places = [None; N];
        for (index, ((item, offset), places)) in items.iter().zip(&mut places).enumerate() {
            let of_item = T::places(item).map_err(|mismatch| mismatch.within(index))?;
            *places = Some((*offset, of_item));
        }
        Ok(places.map(|places| places.expect("there are N items")))
    }

    #[inline]
    fn read<'a>(at: At<'a>, places: [(u32, T::Places); N]) -> [T::Read<'a>; N] {
        places.map(|(offset, places)| T::read(at.forward(offset), places))
    }

    fn own(read: [T::Read<'_>; N]) -> [T; N] {
        read.map(T::own)
    }
}
