//! What of a schema a policy sees: the mapping of WIT types to Cedar types.
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
//! A name's `-` is `_` in Cedar; WIT has no `_`, so that no two names become one. The names of
//! methods, enum cases and flags are texts, and stay as they are.
//!
//! It does not know Cedar's crate, nor any policy.

use std::fmt::Write;

use crate::error::Diagnostic;
use crate::limits::POLICY_ATTRIBUTES_MAX;
use crate::schema::{Field, Method, Schema, Type};

/// What a value becomes.
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

/// What is governed.
#[derive(Debug)]
pub(super) struct Action {
    /// The method's name, or one of `OWN` and `WRITE`.
    pub(super) name: String,
    /// Attributes of `context.input`.
    pub(super) input: Vec<Attribute>,
}

/// The action of an object's own cycle.
pub(super) const ADVANCE: &str = "advance";
/// The action of a direct write.
pub(super) const WRITE: &str = "write";

/// Words that Cedar has for itself. Attributes may have these names, in quotes.
const RESERVED: [&str; 10] =
    ["else", "external", "false", "has", "if", "in", "is", "like", "then", "true"];

/// All of a schema that a policy sees.
#[derive(Debug)]
pub(super) struct Shapes {
    /// Attributes of `context.before` and `context.after`.
    pub(super) state: Vec<Attribute>,
    pub(super) actions: Vec<Action>,
}

impl Shapes {
    /// Works them out.
    ///
    /// # Errors
    ///
    /// The schema has more attributes than a validator should be asked to hold.
    pub(super) fn new(schema: &Schema) -> Result<Shapes, Diagnostic> {
        let state = attributes(schema.state().fields.iter().map(|field| (&field.name, &field.ty)));
        let state_count = count(&state);
        let mut total = 0;
        let mut actions = Vec::new();
        let own = [ADVANCE, WRITE].map(|name| (name, None));
        let methods = schema.methods().iter().map(|method| (method.name.as_str(), Some(method)));
        for (name, method) in methods.chain(own) {
            let params = method.map_or(&[][..], |method: &Method| &method.params);
            let input = attributes(params.iter().map(|param| (&param.name, &param.ty)));
            total += 2 * state_count + count(&input);
            if total > POLICY_ATTRIBUTES_MAX {
                let message = format!(
                    "the schema has more for a policy to see than {POLICY_ATTRIBUTES_MAX} \
                     attributes, the state counted twice for each method"
                );
                return Err(Diagnostic::whole(message));
            }
            actions.push(Action { name: name.to_string(), input });
        }
        Ok(Shapes { state, actions })
    }

    /// The Cedar schema, as text.
    pub(super) fn print(&self) -> String {
        let mut text =
            String::from("entity Key;\nentity Anonymous;\nentity Object;\n\ntype State = ");
        print_record(&mut text, &self.state, 0);
        text.push_str(";\n");
        text.push_str("type Effects = {\n  outputs: Set<String>,\n  wake?: Long,\n};\n");
        text.push_str("type Lineage = {\n  seq: Long,\n  age: Long,\n};\n");
        text.push_str("type Cost = {\n  fuel: Long,\n  pages: Long,\n};\n");
        for action in &self.actions {
            let principals = match action.name.as_str() {
                ADVANCE => "[Object]",
                _ => "[Key, Anonymous, Object]",
            };
            // The names of WIT need no escapes; `write!` to a string cannot fail.
            let _ = write!(
                text,
                "\naction \"{}\" appliesTo {{\n  principal: {principals},\n  resource: Object,\n  \
                 context: {{\n    before: State,\n    after: State,\n    input: ",
                action.name
            );
            print_record(&mut text, &action.input, 2);
            text.push_str(",\n    signers: Set<String>,\n    effects: Effects,\n");
            text.push_str("    lineage: Lineage,\n    cost: Cost,\n    time: Long,\n  },\n};\n");
        }
        text
    }
}

fn attributes<'a>(fields: impl Iterator<Item = (&'a String, &'a Type)>) -> Vec<Attribute> {
    let mut found = Vec::new();
    for (index, (field, ty)) in fields.enumerate() {
        let (optional, ty) = match ty {
            Type::Option(payload) => (true, &**payload),
            ty => (false, ty),
        };
        if let Some(shape) = shape(ty) {
            let name = field.replace('-', "_");
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

fn count(attributes: &[Attribute]) -> usize {
    let inner = attributes.iter().map(|attribute| match &attribute.shape {
        Shape::Record(attributes) => 1 + count(attributes),
        _ => 1,
    });
    inner.sum()
}

fn print_record(text: &mut String, attributes: &[Attribute], depth: usize) {
    if attributes.is_empty() {
        text.push_str("{}");
        return;
    }
    text.push_str("{\n");
    for attribute in attributes {
        let mark = if attribute.optional { "?" } else { "" };
        let quote = if RESERVED.contains(&attribute.name.as_str()) { "\"" } else { "" };
        let _ = write!(text, "{:1$}{quote}{2}{quote}{mark}: ", "", 2 * depth + 2, attribute.name);
        print_shape(text, &attribute.shape, depth + 1);
        text.push_str(",\n");
    }
    let _ = write!(text, "{:1$}}}", "", 2 * depth);
}

fn print_shape(text: &mut String, shape: &Shape, depth: usize) {
    match shape {
        Shape::Bool => text.push_str("Bool"),
        Shape::Long => text.push_str("Long"),
        Shape::Text | Shape::Hex => text.push_str("String"),
        Shape::Set(item) => {
            text.push_str("Set<");
            print_shape(text, item, depth);
            text.push('>');
        }
        Shape::Record(attributes) => print_record(text, attributes, depth),
    }
}
