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

use std::collections::BTreeSet;

use object::Diagnostic;
use object::limits::POLICY_ATTRIBUTES_MAX;
use schema::{Field, Method, Schema, Type};

use crate::fact::{self, Placed};

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

/// An action that a policy decides on.
#[derive(Debug)]
pub(super) struct Action {
    /// The method's name, one of `OWN_ACTIONS`, of `IF_NAMED`, `MIGRATE`, or `READ`.
    pub(super) name: String,
    /// Attributes of `context.input`.
    pub(super) input: Vec<Attribute>,
    /// The facts in its context that other actions do not have.
    pub(super) facts: Vec<Placed>,
}

/// The action of an object's own cycle.
pub(super) const ADVANCE: &str = "advance";
/// The action of a change of the policy.
pub(super) const AMEND: &str = "amend";
/// The action of a direct write.
pub(super) const WRITE: &str = "write";
/// Actions that are no methods: the object's own cycle, a direct write, and a change of the policy.
pub(super) const OWN_ACTIONS: [&str; 3] = [ADVANCE, WRITE, AMEND];
/// The action of opening a session. It has `_`, which no method's name has, and no past.
pub(super) const OPEN_SESSION: &str = "open_session";
/// The action of a change of the code, on which the policy decides that is to go.
pub(super) const UPGRADE: &str = "upgrade";
/// The action for a changed code's migrated state, on which the new policy decides: rules not about
/// it treat it as a direct write. It has no past.
pub(super) const MIGRATE: &str = "migrate";
/// Actions that exist only in policies that name them, so that they do not concern any other
/// policy.
pub(super) const IF_NAMED: [&str; 2] = [OPEN_SESSION, UPGRADE];
/// Actions that only a rule that names them permits.
pub(super) const NAMED_ONLY: [&str; 3] = [AMEND, OPEN_SESSION, UPGRADE];
/// The action of a read, which makes no version.
pub(crate) const READ: &str = "read";

/// All of a schema that a policy sees.
#[derive(Debug)]
pub(super) struct Shapes {
    /// Attributes of `context.before` and `context.after`.
    pub(super) state: Vec<Attribute>,
    pub(super) actions: Vec<Action>,
    /// The other facts in every context.
    pub(super) facts: Vec<Placed>,
}

impl Shapes {
    /// Derives the shapes from a schema. The past has the actions whose attributes are named in
    /// `past`. Of the optional actions, those in `named` exist.
    ///
    /// # Errors
    ///
    /// The schema has more attributes than a validator should be asked to hold.
    pub(super) fn new(
        schema: &Schema,
        past: &BTreeSet<String>,
        named: &[&'static str],
    ) -> Result<Shapes, Diagnostic> {
        let state = attributes(schema.state().fields.iter().map(|field| (&field.name, &field.ty)));
        let state_count = count(&state);
        let mut total = 0;
        let mut actions = Vec::new();
        let own = OWN_ACTIONS.into_iter().chain([MIGRATE]).chain(named.iter().copied());
        let own = own.map(|name| (name, None));
        let methods = schema.methods().iter().map(|method| (method.name.as_str(), Some(method)));
        for (name, method) in methods.chain(own) {
            let params = method.map_or(&[][..], |method: &Method| &method.params);
            let input = attributes(params.iter().map(|param| (&param.name, &param.ty)));
            // The keeper's own actions do not count, because no schema has them.
            let is_own = name == MIGRATE || NAMED_ONLY.contains(&name);
            total += if is_own { 0 } else { 2 * state_count + count(&input) };
            if total > POLICY_ATTRIBUTES_MAX {
                let message = format!(
                    "the schema has more for a policy to see than {POLICY_ATTRIBUTES_MAX} \
                     attributes, the state counted twice for each method"
                );
                return Err(Diagnostic::whole(message));
            }
            let facts = if name == UPGRADE { fact::of_upgrade() } else { Vec::new() };
            actions.push(Action { name: name.to_string(), input, facts });
        }
        let facts = vec![fact::of_read()];
        actions.push(Action { name: READ.to_string(), input: Vec::new(), facts });
        let upgrade = named.contains(&UPGRADE).then_some(UPGRADE);
        let own: Vec<&str> = OWN_ACTIONS.into_iter().chain(upgrade).collect();
        Ok(Shapes { state, actions, facts: fact::all(schema, &own, past) })
    }
}

/// Cedar's name for something that has a name in WIT.
pub(super) fn attribute_name(name: &str) -> String {
    name.replace('-', "_")
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

/// Returns whether a type is a list that rules see as a set.
pub(super) fn is_set(ty: &Type) -> bool {
    matches!(ty, Type::List(_)) && matches!(shape(ty), Some(Shape::Set(_)))
}

fn count(attributes: &[Attribute]) -> usize {
    let inner = attributes.iter().map(|attribute| match &attribute.shape {
        Shape::Record(attributes) => 1 + count(attributes),
        _ => 1,
    });
    inner.sum()
}
