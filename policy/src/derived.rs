//! The Cedar schema, derived from a WIT schema, that policies are validated against: as text for
//! people, and as JSON for Cedar, which reads JSON much sooner.
//!
//! It does not know Cedar's crate, nor any policy.

use std::fmt::Write;

use object::ledger::Class;
use serde_json::{Map, Value as Json, json};

use crate::action::{ADVANCE, AMEND, DELETE, MIGRATE, OPEN_SESSION, READ, Shapes, UPGRADE, WRITE};
use crate::argument::What;
use crate::fact::{self, Fact, Placed};
use crate::shape::{Attribute, Shape};

/// Words that Cedar has for itself. Attributes may have these names, in quotes.
const RESERVED: [&str; 10] =
    ["else", "external", "false", "has", "if", "in", "is", "like", "then", "true"];
const ENTITIES: [&str; 3] = ["Key", "Anonymous", "Object"];

/// A type of Cedar's.
enum Ty<'a> {
    /// `Bool`, `Long`, `String`, or a type that has a name here.
    Named(String),
    Set(Box<Ty<'a>>),
    Record(Vec<(&'a str, bool, Ty<'a>)>),
}

/// The schema's parts, in the order in which they are printed.
pub(super) struct Derived<'a> {
    types: Vec<(String, Ty<'a>)>,
    /// The name, who may ask, and the context.
    actions: Vec<(&'a str, &'static [&'static str], Ty<'a>)>,
}

impl<'a> Derived<'a> {
    /// Derives the whole schema.
    pub(super) fn whole(shapes: &'a Shapes) -> Derived<'a> {
        Derived::of_actions(shapes, |_| true, true)
    }

    /// Derives as much of the schema as rules with this text have to be validated against. That is
    /// the actions that the text names; if a rule covers all actions, also the others, but an
    /// amendment, a migration and a read that no rule is about validate as a direct write does.
    /// Where no rule tells principals apart, one type of principal stands for all.
    pub(super) fn for_text(shapes: &'a Shapes, text: &str) -> Derived<'a> {
        let any_action = is_about_any_action(text);
        let is_in = |name: &str| match name {
            _ if text.contains(name) => true,
            AMEND | MIGRATE => false,
            // A name may be written with escapes.
            READ => text.contains("field") || text.contains('\\'),
            _ => any_action,
        };
        Derived::of_actions(shapes, is_in, tells_principals_apart(text))
    }

    fn of_actions(
        shapes: &'a Shapes,
        is_in: impl Fn(&str) -> bool,
        all_principals: bool,
    ) -> Derived<'a> {
        let mut types = vec![("State".to_string(), record(&shapes.state))];
        if shapes.facts.iter().any(|placed| matches!(placed.fact, Fact::Past(..))) {
            let past = fact::PAST.iter().map(|&(name, past)| (name, past.is_optional(), long()));
            types.push(("Past".to_string(), Ty::Record(past.collect())));
        }
        let own = shapes.actions.iter().map(|action| &action.facts);
        for (name, group) in own.chain([&shapes.facts]).flat_map(|facts| fact::groups(facts, 0)) {
            if fact::single(group, 0).is_none() {
                types.push((type_name(name), facts(group, 1)));
            }
        }
        let actions = shapes.actions.iter().filter(|action| is_in(&action.name));
        let actions = actions.map(|action| {
            let principals = match action.name.as_str() {
                ADVANCE => &ENTITIES[2..],
                OPEN_SESSION => &ENTITIES[..1],
                // Objects ask for methods, in messages.
                WRITE | AMEND | UPGRADE | DELETE | MIGRATE => &ENTITIES[..2],
                _ => &ENTITIES[..],
            };
            let principals = if all_principals { principals } else { &principals[..1] };
            let state = || Ty::Named("State".to_string());
            let mut context = vec![("before", false, state()), ("after", false, state())];
            context.push(("input", false, record(&action.input)));
            let own = fact::groups(&action.facts, 0);
            context.extend(own.chain(fact::groups(&shapes.facts, 0)).map(|(name, group)| {
                let fact = fact::single(group, 0);
                (name, false, fact.map_or_else(|| Ty::Named(type_name(name)), Ty::of))
            }));
            (action.name.as_str(), principals, Ty::Record(context))
        });
        Derived { types, actions: actions.collect() }
    }

    /// The schema in Cedar's language.
    pub(super) fn print(&self) -> String {
        let mut text = String::new();
        // `write!` to a string cannot fail.
        for name in ENTITIES {
            let _ = writeln!(text, "entity {name};");
        }
        text.push('\n');
        for (name, ty) in &self.types {
            let _ = write!(text, "type {name} = ");
            ty.print(&mut text, 0);
            text.push_str(";\n");
        }
        for (name, principals, context) in &self.actions {
            let principals = principals.join(", ");
            // The names of WIT need no escapes.
            let _ = write!(
                text,
                "\naction \"{name}\" appliesTo {{\n  principal: [{principals}],\n  resource: \
                 Object,\n  context: ",
            );
            context.print(&mut text, 1);
            text.push_str(",\n};\n");
        }
        text
    }

    /// The schema in Cedar's JSON.
    pub(super) fn json(&self) -> Json {
        let entities = ENTITIES.iter().map(|name| (name.to_string(), json!({})));
        let types = self.types.iter().map(|(name, ty)| (name.clone(), ty.json()));
        let actions = self.actions.iter().map(|(name, principals, context)| {
            let applies = json!({
                "principalTypes": principals,
                "resourceTypes": ["Object"],
                "context": context.json(),
            });
            (name.to_string(), json!({ "appliesTo": applies }))
        });
        json!({ "": {
            "commonTypes": types.collect::<Map<_, _>>(),
            "entityTypes": entities.collect::<Map<_, _>>(),
            "actions": actions.collect::<Map<_, _>>(),
        } })
    }
}

/// Returns whether a rule with this text may have a scope that names no action: `action,`.
fn is_about_any_action(text: &str) -> bool {
    let mut found = text.match_indices("action");
    found.any(|(at, word)| text[at + word.len()..].trim_start().starts_with([',', '/']))
}

/// Returns whether rules with this text may say more of a principal than that there is one:
/// anything but the start of a scope, `(principal,`.
fn tells_principals_apart(text: &str) -> bool {
    text.match_indices("principal").any(|(at, word)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.trim_end().ends_with('(') || !after.trim_start().starts_with(',')
    })
}

impl<'a> Ty<'a> {
    fn of(fact: &Fact) -> Ty<'a> {
        match fact {
            Fact::Signers | Fact::Outputs | Fact::Receivers => {
                Ty::Set(Box::new(Ty::Named("String".to_string())))
            }
            Fact::Code
            | Fact::Policy
            | Fact::Credential
            | Fact::Field
            | Fact::UpgradeCode
            | Fact::UpgradePolicy
            | Fact::SenderCode
            | Fact::SenderPolicy
            | Fact::SenderFirstPolicy => Ty::Named("String".to_string()),
            Fact::Argument(it) => match (it.what, it.class) {
                (What::Same(_) | What::SameSigner(_), _) | (What::Last, Class::Bool) => {
                    Ty::Named("Bool".to_string())
                }
                (What::Last, Class::Text | Class::Bytes) => Ty::Named("String".to_string()),
                _ => long(),
            },
            _ => long(),
        }
    }

    fn print(&self, text: &mut String, depth: usize) {
        match self {
            Ty::Named(name) => text.push_str(name),
            Ty::Set(item) => {
                text.push_str("Set<");
                item.print(text, depth);
                text.push('>');
            }
            Ty::Record(attributes) if attributes.is_empty() => text.push_str("{}"),
            Ty::Record(attributes) => {
                text.push_str("{\n");
                for (name, optional, ty) in attributes {
                    let mark = if *optional { "?" } else { "" };
                    let quote = if RESERVED.contains(name) { "\"" } else { "" };
                    let _ = write!(text, "{:1$}{quote}{name}{quote}{mark}: ", "", 2 * depth + 2);
                    ty.print(text, depth + 1);
                    text.push_str(",\n");
                }
                let _ = write!(text, "{:1$}}}", "", 2 * depth);
            }
        }
    }

    fn json(&self) -> Json {
        match self {
            Ty::Named(name) if name == "Bool" => json!({ "type": "Boolean" }),
            Ty::Named(name) => json!({ "type": name }),
            Ty::Set(item) => json!({ "type": "Set", "element": item.json() }),
            Ty::Record(attributes) => {
                let attributes = attributes.iter().map(|(name, optional, ty)| {
                    let mut json = ty.json();
                    json["required"] = json!(!optional);
                    (name.to_string(), json)
                });
                json!({ "type": "Record", "attributes": attributes.collect::<Map<_, _>>() })
            }
        }
    }
}

fn long<'a>() -> Ty<'a> {
    Ty::Named("Long".to_string())
}

fn record(attributes: &[Attribute]) -> Ty<'_> {
    let attributes = attributes.iter();
    let declared = attributes.map(|it| (it.name.as_str(), it.optional, of_shape(&it.shape)));
    Ty::Record(declared.collect())
}

fn of_shape(shape: &Shape) -> Ty<'_> {
    match shape {
        Shape::Bool => Ty::Named("Bool".to_string()),
        Shape::Long => long(),
        Shape::Text | Shape::Hex => Ty::Named("String".to_string()),
        Shape::Set(item) => Ty::Set(Box::new(of_shape(item))),
        Shape::Record(attributes) => record(attributes),
    }
}

/// Returns the record type of the facts that are `depth` deep in the context.
fn facts(known: &[Placed], depth: usize) -> Ty<'_> {
    let declared = fact::groups(known, depth).map(|(name, group)| {
        let is_past = |placed: &Placed| matches!(placed.fact, Fact::Past(..));
        let of_past = group.iter().all(is_past) && group[0].path.len() == depth + 2;
        match fact::single(group, depth) {
            Some(fact) => (name, fact.is_optional(), Ty::of(fact)),
            None if of_past => (name, false, Ty::Named("Past".to_string())),
            None => (name, false, facts(group, depth + 1)),
        }
    });
    Ty::Record(declared.collect())
}

/// The name of the type of a record of facts.
fn type_name(attribute: &str) -> String {
    let (first, rest) = attribute.split_at(1);
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_those_that_are_named_unless_a_rule_is_about_all() {
        let rule = |scope: &str| format!("permit(principal, {scope}, resource);");
        for text in [r#"action == Action::"a""#, r#"action in [Action::"a", Action::"b"]"#] {
            assert!(!is_about_any_action(&rule(text)));
        }
        for text in ["action", "action ", "action\n", "action // all of them\n"] {
            assert!(is_about_any_action(&rule(text)), "{text}");
        }
    }

    #[test]
    fn principals_are_told_apart_by_whatever_is_not_the_start_of_a_scope() {
        let of = |condition: &str| format!("forbid( principal , action, resource) {condition};");
        assert!(!tells_principals_apart(&of("when { context.time > 5 }")));
        for text in [
            of("when { principal == resource }"),
            of("when { [principal, resource].contains(resource) }"),
            of("unless { context.principal }"),
            of("// the principal"),
            "permit(principal is Key, action, resource);".to_string(),
            "permit(principal == Key::\"a\", action, resource);".to_string(),
        ] {
            assert!(tells_principals_apart(&text), "{text}");
        }
    }
}
