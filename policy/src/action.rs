//! The actions that a policy decides on, and the attributes and facts of each, derived from a
//! schema.
//!
//! This module does not know Cedar's crate, nor any policy.

use std::collections::BTreeSet;
use std::ops::Range;

use object::Diagnostic;
use object::limits::POLICY_ATTRIBUTES_MAX;
use schema::{Method, Schema};

use crate::argument::{Mention, PastArgument};
use crate::fact::{self, Placed};
use crate::shape::{Attribute, attributes, count};

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
/// The action of the deletion of the object. It has no past: nothing follows it.
pub(super) const DELETE: &str = "delete";
/// Actions that exist only in policies that name them, so that they do not concern any other
/// policy.
pub(super) const IF_NAMED: [&str; 3] = [OPEN_SESSION, UPGRADE, DELETE];
/// Actions that only a rule that names them permits.
pub(super) const NAMED_ONLY: [&str; 4] = [AMEND, OPEN_SESSION, UPGRADE, DELETE];
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
    /// The names behind `past` in the policy's text.
    pub(super) mentions: Vec<Mention>,
    /// The figures of arguments that the facts have, each once and in order.
    pub(super) figures: Vec<PastArgument>,
}

/// The names in a policy's text of things that exist only for policies that name them.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// The attributes of the actions whose past there is.
    pub(super) past: BTreeSet<String>,
    /// The names behind `past`, among them those of arguments.
    pub(super) mentions: Vec<Mention>,
    /// The optional actions.
    pub(super) actions: Vec<&'static str>,
}

impl Shapes {
    /// Derives the shapes from a schema, with what a policy's text names.
    ///
    /// # Errors
    ///
    /// The schema has more attributes than a validator should be asked to hold.
    pub(super) fn new(schema: &Schema, named: Named) -> Result<Shapes, Diagnostic> {
        let Named { past, mentions, actions: named } = named;
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
                    "the schema gives a policy more than {POLICY_ATTRIBUTES_MAX} attributes to \
                     read, with the state counted twice for each method"
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
        let figures = mentions.iter().filter_map(|mention| PastArgument::of(schema, mention));
        let figures: BTreeSet<PastArgument> = figures.collect();
        let figures: Vec<PastArgument> = figures.into_iter().collect();
        let facts = fact::all(schema, &own, &past, &figures);
        Ok(Shapes { state, actions, facts, mentions, figures })
    }

    /// Returns the names of the past, with their places in the text, that an object with this
    /// schema does not have, each with the ones that it has.
    pub(super) fn misspelt(&self, schema: &Schema) -> impl Iterator<Item = (Range<usize>, String)> {
        let own = OWN_ACTIONS.into_iter().chain([UPGRADE]);
        let (own, figures): (Vec<&str>, Vec<&str>) =
            (own.collect(), fact::PAST.map(|(name, _)| name).into());
        let found = self.mentions.iter().map(move |it| it.misspelt(schema, &own, &figures));
        found.flatten()
    }
}
