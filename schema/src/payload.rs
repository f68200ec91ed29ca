//! Values as payload bytes: the form in which inputs carry them and in which they are hashed and
//! signed.
//!
//! This module does not know memory or JSON. The table of the encoding is in FORMAT.md.
//!
//! Invariant: the encoding is canonical. Decoding an encoded value yields the value, and encoding a
//! decoded value yields the bytes, for all bytes that decode at all.

use object::codec::{Reader, Write};
use object::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_VALUES_MAX};
use object::{ErrorKind, Result};

use crate::fault::{Fault, Result as FaultResult};
use crate::method::Param;
use crate::read::Lift;
use crate::scalar;
use crate::shape::{Cases, Shape, shape};
use crate::types::Type;
use crate::value::Value;

/// Encodes a method's arguments, one behind the other.
///
/// An integer of any type fits where its number does, and a string fits an enum.
///
/// # Errors
///
/// `Value` when the arguments are not of the parameters' types, `Limit` when they are too long.
pub fn encode_args(args: &[Value], params: &[Param]) -> Result<Vec<u8>> {
    validate_count(args, params)?;
    let mut bytes = Vec::new();
    let mut left = PAYLOAD_VALUES_MAX;
    for (arg, param) in args.iter().zip(params) {
        encode(&mut bytes, arg, &param.ty, &mut left)
            .map_err(|fault| fault.within(&param.name).within("input").in_value())?;
    }
    validate_length(&bytes)?;
    Ok(bytes)
}

/// Decodes a method's arguments.
///
/// # Errors
///
/// `Decode` when the bytes are not the canonical encoding of such arguments.
pub fn decode_args(bytes: &[u8], params: &[Param]) -> Result<Vec<Value>> {
    validate_length(bytes)?;
    let mut reader = Reader::new("arguments", bytes);
    let mut args = Vec::with_capacity(params.len());
    let mut left = PAYLOAD_VALUES_MAX;
    for param in params {
        args.push(decode(&mut reader, &param.ty, &mut left)?);
    }
    reader.end()?;
    Ok(args)
}

/// Encodes a value.
///
/// # Errors
///
/// `Value` when the value is not of the type, `Limit` when it is too long.
pub fn encode_value(value: &Value, ty: &Type) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(&mut bytes, value, ty, &mut { PAYLOAD_VALUES_MAX }).map_err(Fault::in_value)?;
    validate_length(&bytes)?;
    Ok(bytes)
}

/// Decodes a value.
///
/// # Errors
///
/// `Decode` when the bytes are not the canonical encoding of a value of the type.
pub fn decode_value(bytes: &[u8], ty: &Type) -> Result<Value> {
    validate_length(bytes)?;
    let mut reader = Reader::new("value", bytes);
    let value = decode(&mut reader, ty, &mut { PAYLOAD_VALUES_MAX })?;
    reader.end()?;
    Ok(value)
}

pub(crate) fn validate_count(args: &[Value], params: &[Param]) -> Result<()> {
    if args.len() == params.len() {
        return Ok(());
    }
    let names = params.iter().map(|param| param.name.as_str()).collect::<Vec<_>>();
    let expected = format!("{} arguments ({})", params.len(), names.join(", "));
    let (path, found) = ("input".to_string(), args.len().to_string());
    Err(ErrorKind::Value { path, expected, found }.into())
}

fn validate_length(bytes: &[u8]) -> Result<()> {
    let (max, found) = (PAYLOAD_BYTES_MAX as u64, bytes.len() as u64);
    if found <= max {
        return Ok(());
    }
    Err(ErrorKind::Limit { what: "payload bytes", max, found }.into())
}

fn encode(bytes: &mut Vec<u8>, value: &Value, ty: &Type, left: &mut u64) -> FaultResult<()> {
    *left = left.checked_sub(1).ok_or_else(too_many)?;
    match shape(value, ty)? {
        Shape::Scalar(bits, width) => {
            bytes.put(&bits.to_le_bytes()[..width as usize]);
        }
        Shape::Bytes(content) => {
            bytes.put_u32(length(content.len())?).put(content);
        }
        Shape::List(items, ty) => {
            bytes.put_u32(length(items.len())?);
            for (index, item) in items.iter().enumerate() {
                encode(bytes, item, ty, left).map_err(|fault| fault.within(index))?;
            }
        }
        Shape::Record(fields, values) => {
            for (field, (name, value)) in fields.iter().zip(values) {
                encode(bytes, value, &field.ty, left).map_err(|fault| fault.within(name))?;
            }
        }
        Shape::Tuple(items, values) => {
            for (index, ((ty, _), value)) in items.iter().zip(values).enumerate() {
                encode(bytes, value, ty, left).map_err(|fault| fault.within(index))?;
            }
        }
        Shape::Case(chosen) => {
            let tag_bytes = Cases::of(ty).map_or(0, |cases| cases.tag_bytes);
            bytes.put(&chosen.tag.to_le_bytes()[..tag_bytes as usize]);
            if let Some((payload, ty)) = chosen.payload {
                encode(bytes, payload, ty, left).map_err(|fault| fault.within(chosen.name))?;
            }
        }
    }
    Ok(())
}

fn too_many() -> Fault {
    Fault::new(format_args!("at most {PAYLOAD_VALUES_MAX} values"), "more")
}

fn length(count: usize) -> FaultResult<u32> {
    let fits = u32::try_from(count).ok().filter(|_| count <= PAYLOAD_BYTES_MAX);
    fits.ok_or_else(|| Fault::new(format_args!("a length of at most {PAYLOAD_BYTES_MAX}"), count))
}

/// Reads past a value of a payload, in which `left` more values may be met.
///
/// # Errors
///
/// As of [`decode_value`].
pub fn skip_value(reader: &mut Reader<'_>, ty: &Type, left: &mut u64) -> Result<()> {
    decode(reader, ty, left)
}

/// Recurses as deep as the type nests.
fn decode<T: Lift>(reader: &mut Reader<'_>, ty: &Type, left: &mut u64) -> Result<T> {
    *left = left.checked_sub(1).ok_or_else(|| refuse(reader, 0, too_many()))?;
    if let Some(width) = scalar::width(ty) {
        let bits = bits(reader, width)?;
        let refuse = |fault| refuse(reader, width, fault);
        scalar::validate(bits, ty).map_err(refuse)?;
        if scalar::canonical(bits, ty) != bits {
            return Err(refuse(Fault::new("the canonical NaN", format_args!("{bits:#x}"))));
        }
        return Ok(T::of(|| scalar::decode(bits, ty).expect("validated above")));
    }
    Ok(match ty {
        Type::String => {
            let count = reader.count_u32(PAYLOAD_BYTES_MAX, 1)?;
            let text = reader.utf8(count)?;
            T::of(|| Value::String(text.to_string()))
        }
        Type::List(item) if matches!(**item, Type::U8) => {
            let count = reader.count_u32(PAYLOAD_BYTES_MAX, 1)?;
            let bytes = reader.bytes(count)?;
            T::of(|| Value::Bytes(bytes.to_vec()))
        }
        Type::List(item) => {
            // Every value is at least a byte long.
            let count = reader.count_u32(PAYLOAD_BYTES_MAX, 1)?;
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(decode::<T>(reader, item, left)?);
            }
            T::group(items, Value::List)
        }
        Type::Record(record) => {
            let fields = record.fields.iter().map(|field| decode::<T>(reader, &field.ty, left));
            T::group(fields.collect::<Result<_>>()?, |values| {
                let names = record.fields.iter().map(|field| field.name.clone());
                Value::Record(names.zip(values).collect())
            })
        }
        Type::Tuple(tuple) => {
            let items = tuple.items.iter().map(|(ty, _)| decode::<T>(reader, ty, left));
            T::group(items.collect::<Result<_>>()?, Value::Tuple)
        }
        ty => {
            let cases = Cases::of(ty).expect("every other type is handled above");
            let tag = bits(reader, cases.tag_bytes)? as u32;
            let case = cases.case(tag).map_err(|fault| refuse(reader, cases.tag_bytes, fault))?;
            let payload = case.1.map(|ty| decode::<T>(reader, ty, left)).transpose()?;
            T::group(payload.into_iter().collect(), |mut parts| cases.value(tag, parts.pop()))
        }
    })
}

fn bits(reader: &mut Reader<'_>, width: u32) -> Result<u64> {
    reader.bytes(width as usize).map(scalar::from_bytes)
}

/// The `width` bytes just read are at fault.
fn refuse(reader: &Reader<'_>, width: u32, fault: Fault) -> object::Error {
    let (expected, found) = fault.into_parts();
    reader.fail(width as usize, &expected, found)
}
