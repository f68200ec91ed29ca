//! Builds the context of a Cedar request from the facts of a step.
//!
//! This module does not know rules, only the attributes that they read.
//!
//! Invariant: a context has the attributes that the derived schema declares and the rules read,
//! each of the declared type; a value that cannot be converted refuses, and the refusal names it.

use std::collections::BTreeSet;
use std::fmt::Write;

use cedar_policy::{Context, RestrictedExpression};
use object::credential::PublicKey;
use object::limits::{POLICY_CONTEXT_BYTES_MAX, POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX};
use schema::{Selection, Value};

use super::reads::Reads;
use crate::action::{Action, Shapes};
use crate::argument::{PastArgument, of_value};
use crate::decision::Refusal;
use crate::fact::{Count, Fact, FactValue, Placed, groups, single};
use crate::facts::{Facts, Values};
use crate::shape::{Attribute, Shape};

/// A plan by which the contexts of one action are built.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) before: Option<Vec<Attribute>>,
    pub(super) after: Option<Vec<Attribute>>,
    pub(super) input: Option<Vec<Attribute>>,
    pub(super) facts: Vec<Placed>,
}

impl Plan {
    pub(super) fn new(shapes: &Shapes, action: &Action, reads: &Reads) -> Plan {
        let record = |name: &str, attributes: &[Attribute]| {
            reads.attribute(name).map(|reads| prune(attributes, reads))
        };
        let mut facts = Vec::new();
        choose(&action.facts, 0, reads, &mut facts);
        choose(&shapes.facts, 0, reads, &mut facts);
        Plan {
            before: record("before", &shapes.state),
            after: record("after", &shapes.state),
            input: record("input", &action.input),
            facts,
        }
    }

    /// Returns the parts of the states before and after that are read.
    pub(super) fn selections(&self) -> [Selection; 2] {
        let read = [&self.before, &self.after];
        let mut read = read.map(|read| select(read.as_deref().unwrap_or_default()));
        for known in &self.facts {
            let (field, states) = match known.fact {
                Fact::Approvals { field, .. } => (field, &mut read[..1]),
                Fact::Count { field, what: Count::Before, .. } => (field, &mut read[..1]),
                Fact::Count { field, what: Count::After, .. } => (field, &mut read[1..]),
                Fact::Count { field, .. } => (field, &mut read[..]),
                _ => continue,
            };
            states.iter_mut().for_each(|state| state.0.push((field, None)));
        }
        read
    }

    /// The context of `facts` and `values`.
    pub(super) fn context(
        &self,
        facts: &Facts<'_>,
        values: &Values<'_>,
    ) -> Result<Context, Refusal> {
        let mut builder = Builder { path: String::new(), bytes: 0 };
        let mut pairs = Vec::with_capacity(8);
        for (name, plan, value) in
            [("before", &self.before, values.before), ("after", &self.after, values.after)]
        {
            if let Some(attributes) = plan {
                let Value::Record(fields) = value else { return Err(builder.mismatch(name)) };
                let record = builder.at(name, |builder| builder.record(attributes, fields))?;
                pairs.push((name.to_string(), record));
            }
        }
        if let Some(attributes) = &self.input {
            let record = builder.at("input", |builder| builder.record(attributes, values.input))?;
            pairs.push(("input".to_string(), record));
        }
        pairs.extend(builder.facts(&self.facts, 0, facts, values)?);
        // Names are distinct and values are literals, so that Cedar has nothing to object to.
        Context::from_pairs(pairs).map_err(|_| builder.mismatch("context"))
    }
}

/// The attributes that are read.
fn prune(attributes: &[Attribute], reads: &Reads) -> Vec<Attribute> {
    let read = attributes.iter().filter_map(|attribute| {
        let reads = reads.attribute(&attribute.name)?;
        let shape = match &attribute.shape {
            Shape::Record(inner) => Shape::Record(prune(inner, reads)),
            shape => shape.clone(),
        };
        Some(Attribute { shape, ..attribute.clone() })
    });
    read.collect()
}

/// Adds the facts that rules read, among those `depth` deep in the context, to `chosen`. If rules
/// read of a record only whether it has other attributes, one of its facts is added, so that the
/// record exists.
fn choose(known: &[Placed], depth: usize, reads: &Reads, chosen: &mut Vec<Placed>) {
    for (name, group) in groups(known, depth) {
        let Some(reads) = reads.attribute(name) else { continue };
        if single(group, depth).is_none() {
            let before = chosen.len();
            choose(group, depth + 1, reads, chosen);
            if chosen.len() > before {
                continue;
            }
        }
        chosen.push(group[0].clone());
    }
}

/// The same attributes, as fields of the state.
fn select(attributes: &[Attribute]) -> Selection {
    let wanted = attributes.iter().map(|attribute| {
        let inner = match &attribute.shape {
            Shape::Record(inner) => Some(select(inner)),
            _ => None,
        };
        (attribute.index, inner)
    });
    Selection(wanted.collect())
}

struct Builder {
    /// The path of the value being built, for a refusal.
    path: String,
    /// The size built so far, in the measure of `POLICY_CONTEXT_BYTES_MAX`.
    bytes: usize,
}

type Built = Result<RestrictedExpression, Refusal>;

impl Builder {
    /// Builds the value at `name`.
    fn at(&mut self, name: &str, build: impl FnOnce(&mut Builder) -> Built) -> Built {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let built = build(self)?;
        self.path.truncate(outer);
        Ok(built)
    }

    fn mismatch(&self, name: &str) -> Refusal {
        let dot = if self.path.is_empty() { "" } else { "." };
        Refusal::Mismatch { path: format!("{}{dot}{name}", self.path) }
    }

    fn too_large(&self) -> Refusal {
        Refusal::TooLarge { path: self.path.clone() }
    }

    /// Takes `text_bytes`, and a value's own size, from the context's budget.
    fn spend(&mut self, text_bytes: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(text_bytes).saturating_add(16);
        match self.bytes <= POLICY_CONTEXT_BYTES_MAX && text_bytes <= POLICY_TEXT_BYTES_MAX {
            true => Ok(()),
            false => Err(self.too_large()),
        }
    }

    fn record(&mut self, attributes: &[Attribute], fields: &[(String, Value)]) -> Built {
        let mut pairs = Vec::with_capacity(attributes.len());
        self.spend(0)?;
        for attribute in attributes {
            let value = match fields.get(attribute.index) {
                Some((name, value)) if *name == attribute.field => value,
                _ => return Err(self.mismatch(&attribute.field)),
            };
            let value = match (attribute.optional, value) {
                (false, value) => value,
                (true, Value::Option(Some(value))) => value,
                (true, Value::Option(None)) => continue,
                (true, _) => return Err(self.mismatch(&attribute.field)),
            };
            let shape = &attribute.shape;
            let built = self.at(&attribute.field, |builder| builder.value(shape, value))?;
            pairs.push((attribute.name.clone(), built));
        }
        RestrictedExpression::new_record(pairs).map_err(|_| self.mismatch("record"))
    }

    fn value(&mut self, shape: &Shape, value: &Value) -> Built {
        match (shape, value) {
            (Shape::Bool, Value::Bool(value)) => {
                self.spend(0)?;
                Ok(RestrictedExpression::new_bool(*value))
            }
            (Shape::Long, value) => match value.integer() {
                Some(number) => self.long(number),
                None => Err(Refusal::Mismatch { path: self.path.clone() }),
            },
            (Shape::Text, Value::String(text) | Value::Enum(text)) => self.text(text),
            (Shape::Text, Value::Char(char)) => self.text(char.encode_utf8(&mut [0; 4])),
            (Shape::Hex, Value::Bytes(bytes)) => self.hex(bytes),
            (Shape::Set(shape), Value::List(items)) => {
                self.set(items, |builder, item| builder.value(shape, item))
            }
            (Shape::Set(_), Value::Flags(flags)) => {
                self.set(flags, |builder, flag| builder.text(flag))
            }
            (Shape::Record(attributes), Value::Record(fields)) => self.record(attributes, fields),
            _ => Err(Refusal::Mismatch { path: self.path.clone() }),
        }
    }

    fn long(&mut self, number: i128) -> Built {
        self.spend(0)?;
        match i64::try_from(number) {
            Ok(number) => Ok(RestrictedExpression::new_long(number)),
            Err(_) => Err(Refusal::OutOfRange { path: self.path.clone() }),
        }
    }

    fn text(&mut self, text: &str) -> Built {
        self.spend(text.len())?;
        Ok(RestrictedExpression::new_string(text.to_string()))
    }

    fn set<T>(&mut self, items: &[T], build: impl Fn(&mut Builder, &T) -> Built) -> Built {
        if items.len() > POLICY_SET_ITEMS_MAX {
            return Err(self.too_large());
        }
        self.spend(0)?;
        let items: Result<Vec<_>, _> = items.iter().map(|item| build(self, item)).collect();
        Ok(RestrictedExpression::new_set(items?))
    }

    fn hex(&mut self, bytes: &[u8]) -> Built {
        self.spend(bytes.len().saturating_mul(2))?;
        Ok(RestrictedExpression::new_string(hex(bytes)))
    }

    /// Returns the values of the facts that are `depth` deep in the context, by name.
    fn facts(
        &mut self,
        known: &[Placed],
        depth: usize,
        facts: &Facts<'_>,
        values: &Values<'_>,
    ) -> Result<Vec<(String, RestrictedExpression)>, Refusal> {
        let mut pairs = Vec::new();
        for (name, group) in groups(known, depth) {
            let value = match single(group, depth) {
                Some(fact) => match fact.value(facts) {
                    Some(FactValue::Absent) => continue,
                    Some(value) => self.at(name, |builder| builder.fact(value))?,
                    None => self.at(name, |builder| match fact {
                        Fact::Argument(figure) => builder.seen(figure, facts, values),
                        fact => builder.counted(fact, facts, values),
                    })?,
                },
                None => self.at(name, |builder| {
                    let inner = builder.facts(group, depth + 1, facts, values)?;
                    builder.whole(inner)
                })?,
            };
            pairs.push((name.to_string(), value));
        }
        Ok(pairs)
    }

    fn fact(&mut self, value: FactValue<'_>) -> Built {
        match value {
            FactValue::Number(number) => self.long(number.into()),
            FactValue::Keys(keys) => self.set(keys, |builder, key| builder.hex(&key.0)),
            FactValue::Names(outputs) => {
                self.set(outputs, |builder, output| builder.text(&output.name))
            }
            FactValue::Receivers(messages) => {
                self.set(messages, |builder, message| builder.hex(&message.to.0))
            }
            FactValue::Hash(hash) => self.hex(hash),
            FactValue::Text(text) => self.text(text),
            FactValue::Bool(value) => {
                self.spend(0)?;
                Ok(RestrictedExpression::new_bool(value))
            }
            FactValue::Negative(number) => self.long(-1 - i128::from(number)),
            FactValue::Bytes(bytes) => self.hex(bytes),
            FactValue::Unknown => Err(Refusal::Unknown { path: self.path.clone() }),
            FactValue::TooLong => Err(self.too_large()),
            FactValue::Absent => Err(Refusal::Mismatch { path: self.path.clone() }),
        }
    }

    /// Returns whether the past has what the step's own argument is.
    fn seen(&mut self, figure: &PastArgument, facts: &Facts<'_>, values: &Values<'_>) -> Built {
        let argument = values.input.iter().find(|(name, _)| *name == figure.argument);
        let present = argument.and_then(|(_, value)| of_value(value));
        self.fact(figure.is_seen(present, facts))
    }

    /// A fact that is counted of lists in the states.
    fn counted(&mut self, fact: &Fact, facts: &Facts<'_>, values: &Values<'_>) -> Built {
        let count = match fact {
            Fact::Approvals { field, .. } => {
                let keys = self.list("before", values.before, *field)?;
                let approves =
                    |signer: &&PublicKey| keys.contains(&Value::String(signer.to_string()));
                facts.signers.iter().filter(approves).count()
            }
            Fact::Count { field, what, .. } => {
                let before = self.list("before", values.before, *field);
                let after = self.list("after", values.after, *field);
                match what {
                    Count::Before => before?.len(),
                    Count::After => after?.len(),
                    Count::Added => self.missing(after?, before?)?,
                    Count::Removed => self.missing(before?, after?)?,
                }
            }
            _ => return Err(self.mismatch("counts")),
        };
        self.long(count as i128)
    }

    /// A field of a state that is a list.
    fn list<'v>(&self, name: &str, state: &'v Value, field: usize) -> Result<&'v [Value], Refusal> {
        let Value::Record(fields) = state else { return Err(self.mismatch(name)) };
        let Some((_, Value::List(items))) = fields.get(field) else {
            return Err(self.mismatch(name));
        };
        match items.len() <= POLICY_SET_ITEMS_MAX {
            true => Ok(items),
            false => Err(self.too_large()),
        }
    }

    /// Counts the items that are not among `others`.
    fn missing(&mut self, items: &[Value], others: &[Value]) -> Result<usize, Refusal> {
        let others = others.iter().map(|item| self.key(item));
        let others = others.collect::<Result<BTreeSet<_>, Refusal>>()?;
        let items = items.iter().map(|item| self.key(item));
        let items = items.collect::<Result<Vec<_>, Refusal>>()?;
        Ok(items.iter().filter(|item| !others.contains(item)).count())
    }

    /// Returns a key that distinguishes an item of a list from others of its type.
    fn key<'v>(&mut self, item: &'v Value) -> Result<(i128, &'v str), Refusal> {
        match item {
            Value::Bool(value) => Ok((i128::from(*value), "")),
            Value::Char(char) => Ok((i128::from(u32::from(*char)), "")),
            Value::String(text) | Value::Enum(text) => {
                self.spend(text.len())?;
                Ok((0, text))
            }
            item => match item.integer() {
                Some(number) => Ok((number, "")),
                None => Err(self.mismatch("item")),
            },
        }
    }

    fn whole(&self, pairs: Vec<(String, RestrictedExpression)>) -> Built {
        RestrictedExpression::new_record(pairs).map_err(|_| self.mismatch("record"))
    }
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
