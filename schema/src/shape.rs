//! A value seen through its type: encoders and stores of values walk this.
//!
//! This module does not know bytes, offsets in memory, or destinations.
//!
//! Invariant: a shape is only given for a value that matches its type, one level deep.

use crate::fault::{Fault, Result};
use crate::scalar;
use crate::types::{Field, Type};
use crate::value::Value;

/// One level of a value, by its type.
pub(crate) enum Shape<'a> {
    /// Bits, and how many bytes of them count.
    Scalar(u64, u32),
    /// A string's or a byte list's bytes.
    Bytes(&'a [u8]),
    /// A list's items, all of one type.
    List(&'a [Value], &'a Type),
    /// A record's fields, each with its value.
    Record(&'a [Field], &'a [(String, Value)]),
    /// A tuple's items, each with its type and offset.
    Tuple(&'a [(Type, u32)], &'a [Value]),
    /// The case of an option, variant or result.
    Case(Chosen<'a>),
}

/// A case that was chosen.
pub(crate) struct Chosen<'a> {
    pub(crate) name: &'a str,
    /// The discriminant.
    pub(crate) tag: u32,
    /// The case's payload and its type.
    pub(crate) payload: Option<(&'a Value, &'a Type)>,
}

/// Matches a value with its type.
pub(crate) fn shape<'a>(value: &'a Value, ty: &'a Type) -> Result<Shape<'a>> {
    if let Some(width) = scalar::width(ty) {
        return Ok(Shape::Scalar(scalar::encode(value, ty)?, width));
    }
    Ok(match (ty, value) {
        (Type::String, Value::String(text)) => Shape::Bytes(text.as_bytes()),
        (Type::List(item), Value::Bytes(bytes)) if matches!(**item, Type::U8) => {
            Shape::Bytes(bytes)
        }
        (Type::List(item), Value::List(items)) if !matches!(**item, Type::U8) => {
            Shape::List(items, item)
        }
        (Type::List(item), Value::List(_)) if matches!(**item, Type::U8) => {
            return Err(Fault::new("the bytes of a list<u8>", "a list of values"));
        }
        (Type::Record(record), Value::Record(values)) => {
            validate_names(&record.fields, values)?;
            Shape::Record(&record.fields, values)
        }
        (Type::Tuple(tuple), Value::Tuple(values)) => {
            if tuple.items.len() != values.len() {
                return Err(Fault::mismatch(ty, value));
            }
            Shape::Tuple(&tuple.items, values)
        }
        _ => Shape::Case(choose(value, ty)?),
    })
}

fn validate_names(fields: &[Field], values: &[(String, Value)]) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        let found = values.get(index).map(|(name, _)| name.as_str());
        if found != Some(&field.name) {
            let expected = format_args!("field {} at position {index}", field.name);
            return Err(Fault::new(expected, found.unwrap_or("the end")));
        }
    }
    match values.get(fields.len()) {
        Some((name, _)) => Err(Fault::new("no more fields", name)),
        None => Ok(()),
    }
}

fn choose<'a>(value: &'a Value, ty: &'a Type) -> Result<Chosen<'a>> {
    let (name, tag, payload, payload_type) = match (ty, value) {
        (Type::Option(ty), Value::Option(Some(payload))) => {
            ("some", 1, Some(&**payload), Some(&**ty))
        }
        (Type::Option(_), Value::Option(None)) => ("none", 0, None, None),
        (Type::Result(ty), Value::Result(Ok(payload))) => {
            ("ok", 0, payload.as_deref(), ty.ok.as_ref())
        }
        (Type::Result(ty), Value::Result(Err(payload))) => {
            ("err", 1, payload.as_deref(), ty.err.as_ref())
        }
        (Type::Variant(ty), Value::Variant(name, payload)) => {
            let tag = ty.cases.iter().position(|case| case.name == *name);
            let tag =
                tag.ok_or_else(|| Fault::mismatch(format_args!("a case of {}", ty.name), value))?;
            (name.as_str(), tag as u32, payload.as_deref(), ty.cases[tag].payload.as_ref())
        }
        _ => return Err(Fault::mismatch(ty, value)),
    };
    let payload = match (payload, payload_type) {
        (Some(payload), Some(ty)) => Some((payload, ty)),
        (None, None) => None,
        (Some(payload), None) => {
            return Err(Fault::mismatch("nothing", payload).within(name));
        }
        (None, Some(ty)) => return Err(Fault::new(ty, "nothing").within(name)),
    };
    Ok(Chosen { name, tag, payload })
}

/// A type that has cases: an option, variant or result.
pub(crate) struct Cases<'a> {
    ty: &'a Type,
    /// Bytes of the discriminant.
    pub(crate) tag_bytes: u32,
    /// The offset of a payload in memory, from the value's start.
    pub(crate) payload_offset: u32,
    count: usize,
}

impl<'a> Cases<'a> {
    /// `None` for a type without cases.
    pub(crate) fn of(ty: &'a Type) -> Option<Cases<'a>> {
        let (tag_bytes, payload_offset, count) = match ty {
            Type::Option(payload) => (1, crate::types::option(payload).0, 2),
            Type::Result(result) => (1, result.payload_offset(), 2),
            Type::Variant(variant) => {
                let count = variant.cases.len();
                (crate::layout::discriminant_bytes(count), variant.payload_offset(), count)
            }
            _ => return None,
        };
        Some(Cases { ty, tag_bytes, payload_offset, count })
    }

    /// Returns the name of a case, and the type of its payload.
    pub(crate) fn case(&self, tag: u32) -> Result<(&'a str, Option<&'a Type>)> {
        if tag as usize >= self.count {
            return Err(scalar::discriminant(u64::from(tag), self.count));
        }
        Ok(match (self.ty, tag) {
            (Type::Option(_), 0) => ("none", None),
            (Type::Option(ty), _) => ("some", Some(&**ty)),
            (Type::Result(ty), 0) => ("ok", ty.ok.as_ref()),
            (Type::Result(ty), _) => ("err", ty.err.as_ref()),
            (Type::Variant(ty), _) => {
                let case = &ty.cases[tag as usize];
                (&case.name, case.payload.as_ref())
            }
            _ => unreachable!("only types with cases are made into cases"),
        })
    }

    /// Builds the value of an existing case with its payload.
    pub(crate) fn value(&self, tag: u32, payload: Option<Value>) -> Value {
        let payload = payload.map(Box::new);
        match (self.ty, tag) {
            (Type::Option(_), _) => Value::Option(payload),
            (Type::Result(_), 0) => Value::Result(Ok(payload)),
            (Type::Result(_), _) => Value::Result(Err(payload)),
            (Type::Variant(ty), _) => Value::Variant(ty.cases[tag as usize].name.clone(), payload),
            _ => unreachable!("only types with cases are made into cases"),
        }
    }
}
