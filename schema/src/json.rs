//! Values as JSON, for people and for programs that have no schema at hand.
//!
//! It does not know text: `serde_json` reads and prints that. The table of the mapping is in
//! FORMAT.md.
//!
//! Invariant: reading what was written, with the same type, yields the same value.

use object::Result;
use serde_json::{Map, Number, Value as Json, json};

use crate::fault::{Fault, Result as FaultResult};
use crate::scalar;
use crate::types::{Record, Type};
use crate::value::Value;

impl Value {
    /// Reads the value of a type from its JSON form.
    ///
    /// # Errors
    ///
    /// `Value` when the JSON has no value of the type.
    pub fn from_json(json: &Json, ty: &Type) -> Result<Value> {
        read(json, ty).map_err(Fault::in_value)
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Bool(value) => json!(value),
            Value::U8(value) => json!(value),
            Value::U16(value) => json!(value),
            Value::U32(value) => json!(value),
            Value::U64(value) => json!(value),
            Value::S8(value) => json!(value),
            Value::S16(value) => json!(value),
            Value::S32(value) => json!(value),
            Value::S64(value) => json!(value),
            Value::F32(value) => float(shortest(*value)),
            Value::F64(value) => float(*value),
            Value::Char(value) => json!(value),
            Value::String(text) | Value::Enum(text) => json!(text),
            Value::List(items) | Value::Tuple(items) => {
                Json::Array(items.iter().map(Value::to_json).collect())
            }
            Value::Bytes(bytes) => {
                Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            Value::Option(None) => Json::Null,
            Value::Option(Some(value)) => match **value {
                Value::Option(_) => json!({ "some": value.to_json() }),
                _ => value.to_json(),
            },
            Value::Record(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.to_json()));
                Json::Object(fields.collect())
            }
            Value::Flags(flags) => json!(flags),
            Value::Variant(case, None) => json!(case),
            Value::Variant(case, payload) => tagged(case, payload),
            Value::Result(Ok(payload)) => tagged("ok", payload),
            Value::Result(Err(payload)) => tagged("err", payload),
        }
    }
}

fn tagged(case: &str, payload: &Option<Box<Value>>) -> Json {
    let payload = payload.as_ref().map_or(Json::Null, |value| value.to_json());
    Json::Object(Map::from_iter([(case.to_string(), payload)]))
}

/// JSON has no number for these three.
fn float(value: f64) -> Json {
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => json!("NaN"),
        None if value > 0.0 => json!("Infinity"),
        None => json!("-Infinity"),
    }
}

/// The `f64` with the fewest digits that is the same `f32`: 0.1 and not 0.10000000149011612.
fn shortest(value: f32) -> f64 {
    let shortest = value.to_string().parse::<f64>().unwrap_or(f64::NAN);
    if shortest as f32 == value { shortest } else { f64::from(value) }
}

/// Recurses as deep as the type nests.
fn read(json: &Json, ty: &Type) -> FaultResult<Value> {
    let fail = || Fault::new(ty, brief(json));
    Ok(match (ty, json) {
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::F32 | Type::F64, _) => read_float(json, ty).ok_or_else(fail)?,
        (Type::Char, Json::String(text)) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(value), None) => Value::Char(value),
                _ => return Err(fail()),
            }
        }
        (Type::String, Json::String(text)) => Value::String(text.clone()),
        (Type::Enum(ty), Json::String(case)) => match ty.cases.contains(case) {
            true => Value::Enum(case.clone()),
            false => return Err(scalar::unknown(&ty.cases, case.as_str())),
        },
        (Type::Flags(_), Json::Array(flags)) => read_flags(flags, ty)?,
        (Type::List(item), Json::String(text)) if matches!(**item, Type::U8) => {
            Value::Bytes(hex(text).ok_or_else(|| Fault::new("hexadecimal digits", brief(json)))?)
        }
        (Type::List(item), Json::Array(items)) if !matches!(**item, Type::U8) => {
            let items = items.iter().enumerate();
            let items = items.map(|(at, json)| read(json, item).map_err(|it| it.within(at)));
            Value::List(items.collect::<FaultResult<_>>()?)
        }
        (Type::Option(_), Json::Null) => Value::Option(None),
        (Type::Option(payload), _) => {
            let json = match **payload {
                Type::Option(_) => single(json).filter(|(key, _)| *key == "some"),
                _ => Some(("some", json)),
            };
            let (_, json) = json.ok_or_else(fail)?;
            Value::Option(Some(Box::new(read(json, payload)?)))
        }
        (Type::Record(record), Json::Object(fields)) => read_record(fields, record)?,
        (Type::Tuple(tuple), Json::Array(items)) if items.len() == tuple.items.len() => {
            let items = items.iter().zip(&tuple.items).enumerate();
            let items =
                items.map(|(at, (json, (ty, _)))| read(json, ty).map_err(|it| it.within(at)));
            Value::Tuple(items.collect::<FaultResult<_>>()?)
        }
        (Type::Variant(_) | Type::Result(_), _) => read_case(json, ty)?,
        _ => read_integer(json, ty).ok_or_else(fail)?,
    })
}

fn read_integer(json: &Json, ty: &Type) -> Option<Value> {
    let number = match (json, ty) {
        (Json::Number(number), _) => {
            number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))?
        }
        // JSON as written by programs may have large numbers as texts.
        (Json::String(text), Type::U64 | Type::S64) => digits(text)?,
        _ => return None,
    };
    Some(match ty {
        Type::U8 => Value::U8(number.try_into().ok()?),
        Type::U16 => Value::U16(number.try_into().ok()?),
        Type::U32 => Value::U32(number.try_into().ok()?),
        Type::U64 => Value::U64(number.try_into().ok()?),
        Type::S8 => Value::S8(number.try_into().ok()?),
        Type::S16 => Value::S16(number.try_into().ok()?),
        Type::S32 => Value::S32(number.try_into().ok()?),
        Type::S64 => Value::S64(number.try_into().ok()?),
        _ => return None,
    })
}

/// The number that a text of digits is, when it is written as this number is.
fn digits(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn read_float(json: &Json, ty: &Type) -> Option<Value> {
    let number = match json {
        Json::Number(number) => number.as_f64()?,
        Json::String(text) => match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return None,
        },
        _ => return None,
    };
    match ty {
        Type::F64 => Some(Value::F64(number)),
        // A number too large for the type is no infinity.
        _ => {
            let narrow = number as f32;
            (narrow.is_finite() == number.is_finite()).then_some(Value::F32(narrow))
        }
    }
}

/// Reads flags into the type's order; each may occur at most once.
fn read_flags(names: &[Json], ty: &Type) -> FaultResult<Value> {
    let mut set = Vec::new();
    for (at, json) in names.iter().enumerate() {
        let name = json.as_str().filter(|name| !set.iter().any(|other| other == name));
        let name = name.ok_or_else(|| Fault::new("a flag, once", brief(json)).within(at))?;
        set.push(name.to_string());
    }
    scalar::encode(&Value::Flags(set), ty).and_then(|bits| scalar::decode(bits, ty))
}

/// Fields in any order; an option that is missing is none.
fn read_record(fields: &Map<String, Json>, record: &Record) -> FaultResult<Value> {
    if let Some(name) = fields.keys().find(|name| record.field(name).is_none()) {
        let names = record.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        return Err(scalar::unknown(&names, name.as_str()));
    }
    let mut values = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        let value = match (fields.get(&field.name), &field.ty) {
            (Some(json), ty) => read(json, ty),
            (None, Type::Option(_)) => Ok(Value::Option(None)),
            (None, ty) => Err(Fault::new(ty, "nothing")),
        };
        let value = value.map_err(|fault| fault.within(&field.name))?;
        values.push((field.name.clone(), value));
    }
    Ok(Value::Record(values))
}

/// `"case"`, or `{"case": payload}`; `{"ok": null}` where success carries nothing.
fn read_case(json: &Json, ty: &Type) -> FaultResult<Value> {
    let fail = || Fault::new(format_args!("a case of {ty}"), brief(json));
    let (name, payload) = match (ty, json) {
        (Type::Variant(_), Json::String(name)) => (name.as_str(), None),
        _ => single(json).map(|(name, payload)| (name, Some(payload))).ok_or_else(fail)?,
    };
    let payload_type = match ty {
        Type::Variant(variant) => {
            let case = variant.cases.iter().find(|case| case.name == name);
            case.ok_or_else(fail)?.payload.as_ref()
        }
        Type::Result(result) if name == "ok" => result.ok.as_ref(),
        Type::Result(result) if name == "err" => result.err.as_ref(),
        _ => return Err(fail()),
    };
    let value = match (payload_type, payload) {
        (Some(ty), Some(json)) => {
            Some(Box::new(read(json, ty).map_err(|fault| fault.within(name))?))
        }
        (None, None) => None,
        (None, Some(Json::Null)) if matches!(ty, Type::Result(_)) => None,
        _ => return Err(fail()),
    };
    Ok(match (ty, name) {
        (Type::Variant(_), _) => Value::Variant(name.to_string(), value),
        (_, "ok") => Value::Result(Ok(value)),
        _ => Value::Result(Err(value)),
    })
}

/// The one entry of an object.
fn single(json: &Json) -> Option<(&str, &Json)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(key, value)| (key.as_str(), value))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// Describes a JSON value in a few words, for a message.
fn brief(json: &Json) -> String {
    match json {
        Json::Null => "null".to_string(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => Value::String(text.clone()).brief(),
        Json::Array(items) => format!("an array of {}", items.len()),
        Json::Object(fields) => format!("an object of {} fields", fields.len()),
    }
}
