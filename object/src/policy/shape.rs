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

use std::collections::BTreeSet;
use std::fmt::Write;

use super::fact::{self, Fact, Placed};
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
    /// The method's name, one of `OWN_ACTIONS`, or `OPEN_SESSION`.
    pub(super) name: String,
    /// Attributes of `context.input`.
    pub(super) input: Vec<Attribute>,
}

/// The action of an object's own cycle.
const ADVANCE: &str = "advance";
/// The action of a change of the policy.
pub(super) const AMEND: &str = "amend";
/// Actions that are no methods: the object's own cycle, a direct write, and a change of the policy.
pub(super) const OWN_ACTIONS: [&str; 3] = [ADVANCE, "write", AMEND];
/// The action of opening a session: one only of policies that name it, so that it is no matter to
/// whoever does not. It has `_`, which no method's name has, and no past.
pub(super) const OPEN_SESSION: &str = "open_session";
/// Actions that only a rule that names them permits.
pub(super) const NAMED_ONLY: [&str; 2] = [AMEND, OPEN_SESSION];

/// Words that Cedar has for itself. Attributes may have these names, in quotes.
const RESERVED: [&str; 10] =
    ["else", "external", "false", "has", "if", "in", "is", "like", "then", "true"];

/// All of a schema that a policy sees.
#[derive(Debug)]
pub(super) struct Shapes {
    /// Attributes of `context.before` and `context.after`.
    pub(super) state: Vec<Attribute>,
    pub(super) actions: Vec<Action>,
    /// What else is in every context.
    pub(super) facts: Vec<Placed>,
}

impl Shapes {
    /// Works them out; of the past, what is known of actions whose attributes are named `past`.
    /// That sessions are opened is an action if `opens_sessions`.
    ///
    /// # Errors
    ///
    /// The schema has more attributes than a validator should be asked to hold.
    pub(super) fn new(
        schema: &Schema,
        past: &BTreeSet<String>,
        opens_sessions: bool,
    ) -> Result<Shapes, Diagnostic> {
        let state = attributes(schema.state().fields.iter().map(|field| (&field.name, &field.ty)));
        let state_count = count(&state);
        let mut total = 0;
        let mut actions = Vec::new();
        let opening = opens_sessions.then_some(OPEN_SESSION);
        let own = OWN_ACTIONS.into_iter().chain(opening).map(|name| (name, None));
        let methods = schema.methods().iter().map(|method| (method.name.as_str(), Some(method)));
        for (name, method) in methods.chain(own) {
            let params = method.map_or(&[][..], |method: &Method| &method.params);
            let input = attributes(params.iter().map(|param| (&param.name, &param.ty)));
            // Not for the policy's own change and for sessions, which are no part of the schema.
            let is_own = NAMED_ONLY.contains(&name);
            total += if is_own { 0 } else { 2 * state_count + count(&input) };
            if total > POLICY_ATTRIBUTES_MAX {
                let message = format!(
                    "the schema has more for a policy to see than {POLICY_ATTRIBUTES_MAX} \
                     attributes, the state counted twice for each method"
                );
                return Err(Diagnostic::whole(message));
            }
            actions.push(Action { name: name.to_string(), input });
        }
        Ok(Shapes { state, actions, facts: fact::all(schema, past) })
    }

    /// The Cedar schema, as text.
    pub(super) fn print(&self) -> String {
        let mut text =
            String::from("entity Key;\nentity Anonymous;\nentity Object;\n\ntype State = ");
        print_record(&mut text, &self.state, 0);
        text.push_str(";\n");
        if self.facts.iter().any(|placed| matches!(placed.fact, Fact::Past(..))) {
            text.push_str("type Past = {\n");
            for (name, past) in fact::PAST {
                let mark = if past.is_optional() { "?" } else { "" };
                let _ = writeln!(text, "  {name}{mark}: Long,");
            }
            text.push_str("};\n");
        }
        for (name, group) in fact::groups(&self.facts, 0) {
            if fact::single(group, 0).is_none() {
                let _ = write!(text, "type {} = ", type_name(name));
                print_facts(&mut text, group, 1);
                text.push_str(";\n");
            }
        }
        for action in &self.actions {
            let principals = match action.name.as_str() {
                ADVANCE => "[Object]",
                OPEN_SESSION => "[Key]",
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
            text.push_str(",\n");
            for (name, group) in fact::groups(&self.facts, 0) {
                let ty = fact::single(group, 0).map(|fact| fact.ty().to_string());
                let _ = writeln!(text, "    {name}: {},", ty.unwrap_or_else(|| type_name(name)));
            }
            text.push_str("  },\n};\n");
        }
        text
    }
}

/// Cedar's name for something that has a name in WIT.
pub(super) fn attribute_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The name of the type of a record of facts.
fn type_name(attribute: &str) -> String {
    let (first, rest) = attribute.split_at(1);
    first.to_uppercase() + rest
}

fn attributes<'a>(fields: impl Iterator<Item = (&'a String, &'a Type)>) -> Vec<Attribute> {
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
        print_name(text, &attribute.name, mark, depth + 1);
        print_shape(text, &attribute.shape, depth + 1);
        text.push_str(",\n");
    }
    let _ = write!(text, "{:1$}}}", "", 2 * depth);
}

/// Prints a record of facts, which stand so deep in the context.
fn print_facts(text: &mut String, facts: &[Placed], depth: usize) {
    text.push_str("{\n");
    for (name, group) in fact::groups(facts, depth) {
        let fact = fact::single(group, depth);
        let mark = if fact.is_some_and(Fact::is_optional) { "?" } else { "" };
        print_name(text, name, mark, depth);
        match fact {
            Some(fact) => text.push_str(fact.ty()),
            None if matches!(group[0].fact, Fact::Past(..)) && group[0].path.len() == depth + 2 => {
                text.push_str("Past");
            }
            None => print_facts(text, group, depth + 1),
        }
        text.push_str(",\n");
    }
    let _ = write!(text, "{:1$}}}", "", 2 * (depth - 1));
}

/// Prints the name of an attribute, in a record that is so deep.
fn print_name(text: &mut String, name: &str, mark: &str, depth: usize) {
    let quote = if RESERVED.contains(&name) { "\"" } else { "" };
    let _ = write!(text, "{:1$}{quote}{name}{quote}{mark}: ", "", 2 * depth);
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
