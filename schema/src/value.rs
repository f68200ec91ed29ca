//! A value of any type of a schema, outside any memory.
//!
//! A value does not know its type: functions that read or write one are given its type too.

/// A value.
///
/// Two values are equal as their parts are; floats compare as floats do, so a NaN equals nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A `bool`.
    Bool(bool),
    /// A `u8`.
    U8(u8),
    /// A `u16`.
    U16(u16),
    /// A `u32`.
    U32(u32),
    /// A `u64`.
    U64(u64),
    /// An `s8`.
    S8(i8),
    /// An `s16`.
    S16(i16),
    /// An `s32`.
    S32(i32),
    /// An `s64`.
    S64(i64),
    /// An `f32`.
    F32(f32),
    /// An `f64`.
    F64(f64),
    /// A `char`.
    Char(char),
    /// A `string`.
    String(String),
    /// A `list<T>`, except `list<u8>`.
    List(Vec<Value>),
    /// A `list<u8>`.
    Bytes(Vec<u8>),
    /// An `option<T>`.
    Option(Option<Box<Value>>),
    /// A record: names and values, in the record's order.
    Record(Vec<(String, Value)>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A case of an enum.
    Enum(String),
    /// The flags that are set, in the type's order.
    Flags(Vec<String>),
    /// A case of a variant, and its payload.
    Variant(String, Option<Box<Value>>),
    /// A `result<T, E>`, with its payload.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
}

impl Value {
    /// Returns whether two values are the same in every bit. Differs from equality for floats: a
    /// NaN is the same as itself, and the two zeros are not the same.
    pub fn is_same(&self, other: &Value) -> bool {
        let payload = |one: &Option<Box<Value>>, other: &Option<Box<Value>>| match (one, other) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        match (self, other) {
            (Value::F32(one), Value::F32(other)) => one.to_bits() == other.to_bits(),
            (Value::F64(one), Value::F64(other)) => one.to_bits() == other.to_bits(),
            (Value::List(one), Value::List(other)) | (Value::Tuple(one), Value::Tuple(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, it)| one.is_same(it))
            }
            (Value::Record(one), Value::Record(other)) => {
                let same = |((name, one), (of, it)): (&(String, Value), &(String, Value))| {
                    name == of && one.is_same(it)
                };
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            (Value::Option(one), Value::Option(other))
            | (Value::Result(Ok(one)), Value::Result(Ok(other)))
            | (Value::Result(Err(one)), Value::Result(Err(other))) => payload(one, other),
            (Value::Variant(case, one), Value::Variant(of, other)) => {
                case == of && payload(one, other)
            }
            (one, other) => one == other,
        }
    }

    /// The field of that name, of a record.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Record(fields) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The number, of any integer.
    pub fn integer(&self) -> Option<i128> {
        Some(match self {
            Value::U8(value) => i128::from(*value),
            Value::U16(value) => i128::from(*value),
            Value::U32(value) => i128::from(*value),
            Value::U64(value) => i128::from(*value),
            Value::S8(value) => i128::from(*value),
            Value::S16(value) => i128::from(*value),
            Value::S32(value) => i128::from(*value),
            Value::S64(value) => i128::from(*value),
            _ => return None,
        })
    }

    /// Describes the value in a few words, for a message.
    pub(crate) fn brief(&self) -> String {
        const CHARS_MAX: usize = 40;
        match self {
            Value::Bool(value) => value.to_string(),
            Value::F32(value) => value.to_string(),
            Value::F64(value) => value.to_string(),
            Value::Char(value) => format!("{value:?}"),
            Value::String(text) => {
                let start = text.chars().take(CHARS_MAX).collect::<String>();
                format!("{start:?}{}", if start.len() < text.len() { "..." } else { "" })
            }
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Option(None) => "none".to_string(),
            Value::Option(Some(_)) => "some".to_string(),
            Value::Record(fields) => format!("a record of {} fields", fields.len()),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::Enum(case) | Value::Variant(case, _) => {
                format!("case {}", case.chars().take(CHARS_MAX).collect::<String>())
            }
            Value::Flags(flags) => format!("{} flags", flags.len()),
            Value::Result(Ok(_)) => "ok".to_string(),
            Value::Result(Err(_)) => "err".to_string(),
            integer => integer.integer().map_or(String::new(), |number| number.to_string()),
        }
    }
}

macro_rules! from {
    ($($ty:ty => $make:expr;)*) => {$(
        impl From<$ty> for Value {
            fn from(value: $ty) -> Value {
                $make(value)
            }
        }
    )*};
}

from! {
    bool => Value::Bool;
    u8 => Value::U8;
    u16 => Value::U16;
    u32 => Value::U32;
    u64 => Value::U64;
    i8 => Value::S8;
    i16 => Value::S16;
    i32 => Value::S32;
    i64 => Value::S64;
    f32 => Value::F32;
    f64 => Value::F64;
    char => Value::Char;
    String => Value::String;
    &str => |text: &str| Value::String(text.to_string());
    Vec<u8> => Value::Bytes;
    &[u8] => |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    Vec<Value> => Value::List;
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        Value::Option(value.map(|value| Box::new(value.into())))
    }
}
