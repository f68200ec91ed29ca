//! The part of a schema that a policy sees: the mapping of WIT types to Cedar types.
//!
//! | WIT | Cedar |
//! |---|---|
//! | `bool` | `Bool` |
//! | integers | `Long`, which is an `s64`: a greater `u64` refuses |
//! | `string`, `char`, `enum` | `String` |
//! | `list<u8>` | `String` of lowercase hexadecimal digits |
//! | `list` of `bool`, integer, `string`, `char` or `enum` | `Set`: neither order nor repetition |
//! | `flags` | `Set<String>` |
//! | `record` | record |
//! | `option<T>`, as a field or a parameter | an optional attribute of what `T` is |
//! | floats, `tuple`, `variant`, `result`, other `list`s and `option`s | left out |
//!
//! A name's `-` is `_` in Cedar; WIT has no `_`, so no two names become one. The names of methods,
//! enum cases and flags are texts, and stay unchanged.
//!
//! This module does not know Cedar's crate, nor any policy.

use schema::{Field, Type};

/// The Cedar type of a value.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Bool,
    Long,
    Text,
    Hex,
    Set(Box<Shape>),
    Record(Vec<Attribute>),
}

/// A field of a record, or a parameter of a method.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    /// Cedar's name.
    pub(super) name: String,
    /// WIT's name.
    pub(super) field: String,
    /// Place among the fields, those left out included.
    pub(super) index: usize,
    pub(super) optional: bool,
    pub(super) shape: Shape,
}

/// Cedar's name for something that has a name in WIT.
pub(super) fn attribute_name(name: &str) -> String {
    name.replace('-', "_")
}

pub(super) fn attributes<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Type)>,
) -> Vec<Attribute> {
    let mut found = Vec::new();
    for (index, (field, ty)) in fields.enumerate() {
        let (optional, ty) = match ty {
            Type::Option(payload) => (true, &**payload),
            ty => (false, ty),
        };
        if let Some(shape) = shape(ty) {
            let name = attribute_name(field);
            found.push(Attribute { name, field: field.clone(), index, optional, shape });
        }
    }
    found
}

fn shape(ty: &Type) -> Option<Shape> {
    let fields = |fields: &[Field]| attributes(fields.iter().map(|field| (&field.name, &field.ty)));
    match ty {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Some(Shape::Long),
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => Some(Shape::Long),
        Type::Bool => Some(Shape::Bool),
        Type::String | Type::Char | Type::Enum(_) => Some(Shape::Text),
        Type::Flags(_) => Some(Shape::Set(Box::new(Shape::Text))),
        Type::Record(record) => Some(Shape::Record(fields(&record.fields))),
        Type::List(item) if matches!(**item, Type::U8) => Some(Shape::Hex),
        Type::List(item) => match (&**item, shape(item)) {
            (Type::Flags(_), _) => None,
            (_, Some(scalar @ (Shape::Bool | Shape::Long | Shape::Text))) => {
                Some(Shape::Set(Box::new(scalar)))
            }
            _ => None,
        },
        Type::F32 | Type::F64 | Type::Option(_) => None,
        Type::Tuple(_) | Type::Variant(_) | Type::Result(_) => None,
    }
}

/// Returns whether a record declares the attribute at a path.
pub(super) fn declares(attributes: &[Attribute], path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let found = attributes.iter().find(|attribute| attribute.name == *first);
    match found.map(|attribute| &attribute.shape) {
        Some(Shape::Record(inner)) => declares(inner, rest),
        Some(_) => rest.is_empty(),
        None => false,
    }
}

/// Returns whether a type is a list that rules see as a set.
pub(super) fn is_set(ty: &Type) -> bool {
    matches!(ty, Type::List(_)) && matches!(shape(ty), Some(Shape::Set(_)))
}

/// Returns how many attributes there are, those of records included.
pub(super) fn count(attributes: &[Attribute]) -> usize {
    let inner = attributes.iter().map(|attribute| match &attribute.shape {
        Shape::Record(attributes) => 1 + count(attributes),
        _ => 1,
    });
    inner.sum()
}
