//! Places of fields: a path is resolved once, and can be read any number of times.
//!
//! A place does not know the memory it is read from: any version of any object of the schema.
//!
//! Invariant: reading a scalar allocates nothing, neither through a place nor by a path.

use object::memory::Memory;
use object::{ErrorKind, Result};

use crate::fault::{Fault, Result as FaultResult};
use crate::read::{Walk, bits, read_value};
use crate::scalar;
use crate::types::{Field, Record, Type};
use crate::value::Value;

/// A field of a state, or a part of one.
#[derive(Debug, Clone)]
pub struct Place {
    path: String,
    /// The lists on the way, outermost first.
    hops: Vec<Hop>,
    /// Bytes from the state's start, or from the last hop's item.
    offset: u32,
    ty: Type,
}

/// A step of a path from a list to one of its items.
#[derive(Debug, Clone)]
struct Hop {
    /// The list's offset, as for a place.
    offset: u32,
    index: u32,
    item: Type,
}

/// A type of Rust that a scalar of a schema is read as.
pub trait Scalar: Copy + sealed::Sealed {
    /// Returns whether fields of the type are read as this Rust type.
    fn is(ty: &Type) -> bool;

    /// The value of valid bits, extended with zeros: any NaN is read as the canonical one.
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! scalars {
    ($($ty:ty, $kind:ident, $bits:ident => $from:expr;)*) => {$(
        impl sealed::Sealed for $ty {}

        impl Scalar for $ty {
            fn is(ty: &Type) -> bool {
                matches!(ty, Type::$kind)
            }

            fn from_bits($bits: u64) -> $ty {
                $from
            }
        }
    )*};
}

scalars! {
    bool, Bool, bits => bits == 1;
    u8, U8, bits => bits as u8;
    u16, U16, bits => bits as u16;
    u32, U32, bits => bits as u32;
    u64, U64, bits => bits;
    i8, S8, bits => bits as i8;
    i16, S16, bits => bits as i16;
    i32, S32, bits => bits as i32;
    i64, S64, bits => bits as i64;
    f32, F32, bits => f32::from_bits(scalar::canonical(bits, &Type::F32) as u32);
    f64, F64, bits => f64::from_bits(scalar::canonical(bits, &Type::F64));
    char, Char, bits => {
        u32::try_from(bits).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
}

impl Place {
    /// The path, as it was given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the type of the value at the place.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Returns the address in a memory whose state record is at `state`.
    ///
    /// # Errors
    ///
    /// `State` when the address is outside of memory, or a list on the path has no such item.
    pub fn address(&self, memory: &(impl Memory + ?Sized), state: u32) -> Result<u32> {
        self.find(memory, state).map_err(|fault| self.fail(fault))
    }

    /// Reads the value at the place.
    ///
    /// # Errors
    ///
    /// `State` when memory does not hold such a value.
    pub fn read(&self, memory: &(impl Memory + ?Sized), state: u32) -> Result<Value> {
        read_value(memory, self.address(memory, state)?, &self.ty)
    }

    /// Reads a scalar at the place.
    ///
    /// # Errors
    ///
    /// `Value` when the place is not of that type, `State` when memory does not hold such a value.
    pub fn get<T: Scalar>(&self, memory: &(impl Memory + ?Sized), state: u32) -> Result<T> {
        validate_type::<T>(&self.path, &self.ty)?;
        let scalar = self.find(memory, state).and_then(|address| scalar(memory, address, &self.ty));
        scalar.map_err(|fault| self.fail(fault))
    }

    fn fail(&self, fault: Fault) -> object::Error {
        in_state(fault, &self.path)
    }

    fn find(&self, memory: &(impl Memory + ?Sized), state: u32) -> FaultResult<u32> {
        let mut walk = Walk::new(memory);
        let mut base = state;
        for Hop { offset, index, item } in &self.hops {
            base = enter(&mut walk, base, *offset, *index, item)?;
        }
        locate(&walk, base, self.offset, &self.ty)
    }
}

/// Reads the scalar at a path of the state record at `address`.
pub(crate) fn get<T: Scalar>(
    memory: &(impl Memory + ?Sized),
    address: u32,
    state: &Record,
    path: &str,
) -> Result<T> {
    let mut walk = Walk::new(memory);
    let mut base = address;
    let (offset, ty) = trace(state, path, |offset, index, item| {
        base =
            enter(&mut walk, base, offset, index, item).map_err(|fault| in_state(fault, path))?;
        Ok(())
    })?;
    validate_type::<T>(path, ty)?;
    let scalar = locate(&walk, base, offset, ty).and_then(|address| scalar(memory, address, ty));
    scalar.map_err(|fault| in_state(fault, path))
}

fn validate_type<T: Scalar>(path: &str, ty: &Type) -> Result<()> {
    match T::is(ty) {
        true => Ok(()),
        false => Err(Fault::new(std::any::type_name::<T>(), ty).within(path).in_value()),
    }
}

fn in_state(fault: Fault, path: &str) -> object::Error {
    fault.within(path).within("state").in_memory()
}

/// The scalar at a validated address.
fn scalar<T: Scalar>(memory: &(impl Memory + ?Sized), address: u32, ty: &Type) -> FaultResult<T> {
    let bits = bits(memory, address, ty.layout().size);
    scalar::validate(bits, ty)?;
    Ok(T::from_bits(bits))
}

/// The address of an item of the list that is `offset` behind `base`.
fn enter(
    walk: &mut Walk<'_, impl Memory + ?Sized>,
    base: u32,
    offset: u32,
    index: u32,
    item: &Type,
) -> FaultResult<u32> {
    let at = locate(walk, base, offset, &Type::String)?;
    let (start, count) = walk.pointer(at, item)?;
    if index >= count {
        return Err(Fault::new(format_args!("more than {index} items"), count));
    }
    add(start, index * item.layout().size)
}

/// The address of a value that is `offset` behind `base`.
fn locate(
    walk: &Walk<'_, impl Memory + ?Sized>,
    base: u32,
    offset: u32,
    ty: &Type,
) -> FaultResult<u32> {
    let address = add(base, offset)?;
    walk.validate_range(address, 1, ty)?;
    Ok(address)
}

#[inline]
fn add(base: u32, offset: u32) -> FaultResult<u32> {
    let sum = base.checked_add(offset);
    sum.ok_or_else(|| Fault::new("an address", format_args!("{base} + {offset}")))
}

/// Finds a path in the state record, to be read again and again.
pub(crate) fn resolve(state: &Record, path: &str) -> Result<Place> {
    let mut hops = Vec::new();
    let (offset, ty) = trace(state, path, |offset, index, item| {
        hops.push(Hop { offset, index, item: item.clone() });
        Ok(())
    })?;
    Ok(Place { path: path.to_string(), hops, offset, ty: ty.clone() })
}

/// Follows a path from the state record: names of fields, with `-` or `_`, and indices of tuples'
/// and lists' items, separated by dots. Returns the type at its end and the offset from the state's
/// start, or from the item of the last list on the path. Calls `enter` with each list's offset, the
/// index and the item's type.
fn trace<'a>(
    state: &'a Record,
    path: &str,
    mut enter: impl FnMut(u32, u32, &'a Type) -> Result<()>,
) -> Result<(u32, &'a Type)> {
    let mut segments = path.split('.');
    let field = field(state, segments.next().unwrap_or_default())?;
    let (mut offset, mut ty) = (field.offset, &field.ty);
    for segment in segments {
        match ty {
            Type::Record(record) => {
                let field = self::field(record, segment)?;
                let end = field.offset + field.ty.layout().size;
                debug_assert!(end <= record.layout().size, "a field is inside of its record");
                (offset, ty) = (offset + field.offset, &field.ty);
            }
            Type::Tuple(tuple) => {
                let item = index(segment).and_then(|index| tuple.items.get(index as usize));
                let known = || (0..tuple.items.len()).map(|index| index.to_string()).collect();
                let (item, start) = item.ok_or_else(|| unknown("item", segment, known()))?;
                (offset, ty) = (offset + start, item);
            }
            Type::List(item) => {
                let known = || vec!["an index".to_string()];
                let index = index(segment).ok_or_else(|| unknown("item", segment, known()))?;
                enter(offset, index, item)?;
                (offset, ty) = (0, item);
            }
            whole => {
                return Err(unknown("field", segment, vec![format!("only {whole} as a whole")]));
            }
        }
    }
    Ok((offset, ty))
}

/// The index that a part of a path is, in digits as numbers are written: each place has one path.
pub(super) fn index(segment: &str) -> Option<u32> {
    let is_plain = segment == "0" || segment.starts_with(|first| matches!(first, '1'..='9'));
    segment.parse().ok().filter(|_| is_plain)
}

/// The field of the state record that a path begins with.
pub(crate) fn first<'a>(state: &'a Record, path: &str) -> Result<&'a Field> {
    field(state, path.split('.').next().unwrap_or_default())
}

fn field<'a>(record: &'a Record, name: &str) -> Result<&'a Field> {
    let same = |field: &&Field| {
        let dashed = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        field.name.bytes().eq(dashed)
    };
    record.fields.iter().find(same).ok_or_else(|| {
        let known = record.fields.iter().map(|field| field.name.clone()).collect();
        unknown("field", name, known)
    })
}

fn unknown(what: &'static str, name: &str, known: Vec<String>) -> object::Error {
    ErrorKind::Unknown { what, name: name.chars().take(80).collect(), known }.into()
}
