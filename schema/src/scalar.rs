//! Values of a fixed width as bits: the same in payloads, in memory and as core values.
//!
//! It does not know where the bits are kept.
//!
//! Invariant: `decode` accepts exactly the bits that `validate` accepts, and `encode` of the
//! decoded value yields the same bits, except that a NaN becomes the canonical one.

use std::fmt;

use crate::fault::{Fault, Result};
use crate::layout;
use crate::types::Type;
use crate::value::Value;

const CANONICAL_NAN_32: u32 = 0x7fc0_0000;
const CANONICAL_NAN_64: u64 = 0x7ff8_0000_0000_0000;

/// Bytes of a scalar, enum or flags type; `None` for every other type.
#[inline]
pub fn width(ty: &Type) -> Option<u32> {
    Some(match ty {
        Type::Bool | Type::U8 | Type::S8 => 1,
        Type::U16 | Type::S16 => 2,
        Type::U32 | Type::S32 | Type::F32 | Type::Char => 4,
        Type::U64 | Type::S64 | Type::F64 => 8,
        Type::Enum(ty) => layout::discriminant_bytes(ty.cases.len()),
        Type::Flags(ty) => layout::flags_bytes(ty.flags.len()),
        _ => return None,
    })
}

/// The bits in as many bytes as a type is wide.
///
/// # Panics
///
/// When there are not 1, 2, 4 or 8.
#[inline]
pub fn from_bytes(bytes: &[u8]) -> u64 {
    match *bytes {
        [byte] => u64::from(byte),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => u64::from_le_bytes(bytes.try_into().expect("widths are 1, 2, 4 and 8")),
    }
}

/// Returns the bits of a value of a type that has a width, signed numbers extended to 64 bits.
///
/// An integer of any type is accepted where its number fits, an `f32` for an `f64`, and a string
/// for an enum that has such a case.
pub(crate) fn encode(value: &Value, ty: &Type) -> Result<u64> {
    Ok(match (ty, value) {
        (Type::Bool, Value::Bool(value)) => u64::from(*value),
        (Type::U8, _) => u64::from(integer::<u8>(value, ty)?),
        (Type::U16, _) => u64::from(integer::<u16>(value, ty)?),
        (Type::U32, _) => u64::from(integer::<u32>(value, ty)?),
        (Type::U64, _) => integer(value, ty)?,
        (Type::S8, _) => i64::from(integer::<i8>(value, ty)?) as u64,
        (Type::S16, _) => i64::from(integer::<i16>(value, ty)?) as u64,
        (Type::S32, _) => i64::from(integer::<i32>(value, ty)?) as u64,
        (Type::S64, _) => integer::<i64>(value, ty)? as u64,
        (Type::F32, Value::F32(value)) => canonical(u64::from(value.to_bits()), ty),
        (Type::F64, Value::F64(value)) => canonical(value.to_bits(), ty),
        (Type::F64, Value::F32(value)) => canonical(f64::from(*value).to_bits(), ty),
        (Type::Char, Value::Char(value)) => u64::from(u32::from(*value)),
        (Type::Enum(ty), Value::Enum(case) | Value::String(case)) => {
            let index = ty.cases.iter().position(|name| name == case);
            index.ok_or_else(|| unknown(&ty.cases, case))? as u64
        }
        (Type::Flags(ty), Value::Flags(set)) => {
            let mut bits = 0u64;
            for flag in set {
                let index = ty.flags.iter().position(|name| name == flag);
                bits |= 1 << index.ok_or_else(|| unknown(&ty.flags, flag))?;
            }
            bits
        }
        _ => return Err(Fault::mismatch(ty, value)),
    })
}

/// Checks that the bits, extended with zeros, are a value of a type that has a width.
pub(crate) fn validate(bits: u64, ty: &Type) -> Result<()> {
    let (valid, expected): (bool, &dyn fmt::Display) = match ty {
        Type::Bool => (bits <= 1, &"0 or 1"),
        Type::Char => (character(bits).is_some(), &"a Unicode scalar value"),
        Type::Enum(ty) => {
            let count = ty.cases.len();
            return if bits < count as u64 { Ok(()) } else { Err(discriminant(bits, count)) };
        }
        Type::Flags(ty) => (bits >> ty.flags.len() == 0, &"no bit beyond the flags"),
        _ => return Ok(()),
    };
    if valid { Ok(()) } else { Err(Fault::new(expected, format_args!("{bits:#x}"))) }
}

/// The value of valid bits, extended with zeros, of a type that has a width.
pub(crate) fn decode(bits: u64, ty: &Type) -> Result<Value> {
    validate(bits, ty)?;
    let bits = canonical(bits, ty);
    Ok(match ty {
        Type::Bool => Value::Bool(bits == 1),
        Type::U8 => Value::U8(bits as u8),
        Type::U16 => Value::U16(bits as u16),
        Type::U32 => Value::U32(bits as u32),
        Type::U64 => Value::U64(bits),
        Type::S8 => Value::S8(bits as i8),
        Type::S16 => Value::S16(bits as i16),
        Type::S32 => Value::S32(bits as i32),
        Type::S64 => Value::S64(bits as i64),
        Type::F32 => Value::F32(f32::from_bits(bits as u32)),
        Type::F64 => Value::F64(f64::from_bits(bits)),
        Type::Char => Value::Char(character(bits).expect("validated above")),
        Type::Enum(ty) => Value::Enum(ty.cases[bits as usize].clone()),
        Type::Flags(ty) => {
            let set = ty.flags.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            Value::Flags(set.map(|(_, name)| name.clone()).collect())
        }
        _ => unreachable!("only a type that has a width is asked for"),
    })
}

/// Returns the same bits, or those of the canonical NaN.
pub(crate) fn canonical(bits: u64, ty: &Type) -> u64 {
    match ty {
        Type::F32 if f32::from_bits(bits as u32).is_nan() => u64::from(CANONICAL_NAN_32),
        Type::F64 if f64::from_bits(bits).is_nan() => CANONICAL_NAN_64,
        _ => bits,
    }
}

/// A discriminant that is not one of `count`.
pub(crate) fn discriminant(bits: u64, count: usize) -> Fault {
    Fault::new(format_args!("a discriminant below {count}"), bits)
}

/// A name that is not one of some.
pub(crate) fn unknown(names: &[String], found: &str) -> Fault {
    Fault::new(format_args!("one of {}", names.join(", ")), Value::from(found).brief())
}

fn character(bits: u64) -> Option<char> {
    u32::try_from(bits).ok().and_then(char::from_u32)
}

fn integer<T: TryFrom<i128>>(value: &Value, ty: &Type) -> Result<T> {
    let number = value.integer().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| Fault::mismatch(ty, value))
}
