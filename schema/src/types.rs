//! The types of a schema: the part of WIT that a package may use, with computed offsets in memory.
//!
//! It does not know text, values or memory.
//!
//! Invariant: a type nests at most `TYPE_DEPTH_MAX` deep and has at most `TYPE_PARTS_MAX` parts; no
//! aggregate is empty, so every type is at least a byte wide. Only this crate makes aggregates.

use std::fmt;
use std::sync::Arc;

use crate::layout::{self, Layout};

/// A type of WIT.
///
/// Cloning is cheap: types with names are shared.
#[derive(Clone)]
pub enum Type {
    /// `bool`
    Bool,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `s8`
    S8,
    /// `s16`
    S16,
    /// `s32`
    S32,
    /// `s64`
    S64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`: a Unicode scalar value.
    Char,
    /// `string`: UTF-8 text.
    String,
    /// `list<T>`
    List(Arc<Type>),
    /// `option<T>`
    Option(Arc<Type>),
    /// `record`
    Record(Arc<Record>),
    /// `tuple<...>`
    Tuple(Arc<Tuple>),
    /// `enum`
    Enum(Arc<Enum>),
    /// `flags`
    Flags(Arc<Flags>),
    /// `variant`
    Variant(Arc<Variant>),
    /// `result<T, E>`
    Result(Arc<ResultType>),
}

/// Named fields, one behind the other.
#[derive(Debug, Clone)]
pub struct Record {
    /// The record's name.
    pub name: String,
    /// Fields in the order of the text, which is the order in memory.
    pub fields: Vec<Field>,
    layout: Layout,
}

/// A field of a record.
#[derive(Debug, Clone)]
pub struct Field {
    /// Kebab-case name.
    pub name: String,
    /// The field's type.
    pub ty: Type,
    /// Bytes from the record's start.
    pub offset: u32,
}

/// Values without names, one behind the other.
#[derive(Debug, Clone)]
pub struct Tuple {
    /// Each item's type, and its offset in bytes from the tuple's start.
    pub items: Vec<(Type, u32)>,
    layout: Layout,
}

/// An enum: one of its named cases.
#[derive(Debug, Clone)]
pub struct Enum {
    /// The enum's name.
    pub name: String,
    /// The names, in the order of their discriminants.
    pub cases: Vec<String>,
}

/// Any of at most 32 names.
#[derive(Debug, Clone)]
pub struct Flags {
    /// The name of the flags as a whole.
    pub name: String,
    /// The names, from the least significant bit on.
    pub flags: Vec<String>,
}

/// A variant: one of its named cases, each with its payload.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The variant's name.
    pub name: String,
    /// The cases, in the order of their discriminants.
    pub cases: Vec<Case>,
    payload_offset: u32,
    layout: Layout,
}

/// A case of a variant.
#[derive(Debug, Clone)]
pub struct Case {
    /// Kebab-case name.
    pub name: String,
    /// The type of the case's payload.
    pub payload: Option<Type>,
}

/// Success or failure, each with its payload.
#[derive(Debug, Clone)]
pub struct ResultType {
    /// The type of a success.
    pub ok: Option<Type>,
    /// The type of a failure.
    pub err: Option<Type>,
    payload_offset: u32,
    layout: Layout,
}

impl Type {
    /// Size and alignment in memory.
    #[inline]
    pub fn layout(&self) -> Layout {
        match self {
            Type::Bool | Type::U8 | Type::S8 => Layout::scalar(1),
            Type::U16 | Type::S16 => Layout::scalar(2),
            Type::U32 | Type::S32 | Type::F32 | Type::Char => Layout::scalar(4),
            Type::U64 | Type::S64 | Type::F64 => Layout::scalar(8),
            Type::String | Type::List(_) => Layout::POINTER_PAIR,
            Type::Option(payload) => option(payload).1,
            Type::Record(record) => record.layout,
            Type::Tuple(tuple) => tuple.layout,
            Type::Enum(ty) => Layout::scalar(layout::discriminant_bytes(ty.cases.len())),
            Type::Flags(ty) => Layout::scalar(layout::flags_bytes(ty.flags.len())),
            Type::Variant(variant) => variant.layout,
            Type::Result(result) => result.layout,
        }
    }

    /// Returns whether every pattern of bits is a value: true for the integers and floats.
    pub(crate) fn any_bits(&self) -> bool {
        matches!(
            self,
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::S8 | Type::S16 | Type::S32
        ) || matches!(self, Type::S64 | Type::F32 | Type::F64)
    }
}

/// The offset of an option's payload, and the option's layout.
pub fn option(payload: &Type) -> (u32, Layout) {
    layout::tagged(1, std::iter::once(payload.layout()))
}

impl Record {
    pub(crate) fn new(name: String, fields: Vec<(String, Type)>) -> Record {
        let (offsets, layout) = layout::sequence(fields.iter().map(|(_, ty)| ty.layout()));
        let fields = fields.into_iter().zip(offsets);
        let fields = fields.map(|((name, ty), offset)| Field { name, ty, offset }).collect();
        Record { name, fields, layout }
    }

    /// Size and alignment in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Tuple {
    pub(crate) fn new(items: Vec<Type>) -> Tuple {
        let (offsets, layout) = layout::sequence(items.iter().map(Type::layout));
        Tuple { items: items.into_iter().zip(offsets).collect(), layout }
    }
}

impl Variant {
    pub(crate) fn new(name: String, cases: Vec<Case>) -> Variant {
        let payloads = cases.iter().filter_map(|case| case.payload.as_ref()).map(Type::layout);
        let tag = layout::discriminant_bytes(cases.len());
        let (payload_offset, layout) = layout::tagged(tag, payloads);
        Variant { name, cases, payload_offset, layout }
    }

    /// Returns the offset of a payload, in bytes from the variant's start.
    pub fn payload_offset(&self) -> u32 {
        self.payload_offset
    }
}

impl ResultType {
    pub(crate) fn new(ok: Option<Type>, err: Option<Type>) -> ResultType {
        let payloads = ok.iter().chain(&err).map(Type::layout);
        let (payload_offset, layout) = layout::tagged(1, payloads);
        ResultType { ok, err, payload_offset, layout }
    }

    /// Returns the offset of a payload, in bytes from the result's start.
    pub fn payload_offset(&self) -> u32 {
        self.payload_offset
    }
}

impl fmt::Display for Type {
    /// Prints the type as WIT spells it; a type with a name as its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::List(item) => return write!(f, "list<{item}>"),
            Type::Option(payload) => return write!(f, "option<{payload}>"),
            Type::Record(record) => &record.name,
            Type::Enum(ty) => &ty.name,
            Type::Flags(ty) => &ty.name,
            Type::Variant(variant) => &variant.name,
            Type::Tuple(tuple) => {
                let items = tuple.items.iter().map(|(item, _)| item.to_string());
                return write!(f, "tuple<{}>", items.collect::<Vec<_>>().join(", "));
            }
            Type::Result(result) => match (&result.ok, &result.err) {
                (None, None) => "result",
                (Some(ok), None) => return write!(f, "result<{ok}>"),
                (None, Some(err)) => return write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => return write!(f, "result<{ok}, {err}>"),
            },
        })
    }
}

impl fmt::Debug for Type {
    /// Prints as `Display` does: a type shown with all its parts may be exponentially long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
