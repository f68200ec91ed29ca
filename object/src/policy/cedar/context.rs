//! From the facts of a step to the context of a Cedar request.
//!
//! It does not know rules, only which attributes they read.
//!
//! Invariant: a context has exactly the attributes that the derived schema declares and the rules
//! read, each of the declared type; what cannot be so refuses, and the refusal names it.

use std::fmt::Write;

use cedar_policy::{Context, RestrictedExpression};

use super::reads::Reads;
use crate::limits::{POLICY_CONTEXT_BYTES_MAX, POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX};
use crate::policy::shape::{Attribute, Shape};
use crate::policy::{Facts, Refusal, Values};
use crate::schema::{Selection, Value};

/// How to build the context of one action.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) before: Option<Vec<Attribute>>,
    pub(super) after: Option<Vec<Attribute>>,
    pub(super) input: Option<Vec<Attribute>>,
    pub(super) signers: bool,
    pub(super) effects: Option<(bool, bool)>,
    pub(super) lineage: Option<(bool, bool)>,
    pub(super) cost: Option<(bool, bool)>,
    pub(super) time: bool,
}

impl Plan {
    pub(super) fn new(state: &[Attribute], input: &[Attribute], reads: &Reads) -> Plan {
        let record = |name: &str, attributes: &[Attribute]| {
            reads.attribute(name).map(|reads| prune(attributes, reads))
        };
        let pair = |name: &str, first: &str, second: &str| {
            let reads = reads.attribute(name)?;
            Some((reads.attribute(first).is_some(), reads.attribute(second).is_some()))
        };
        Plan {
            before: record("before", state),
            after: record("after", state),
            input: record("input", input),
            signers: reads.attribute("signers").is_some(),
            effects: pair("effects", "outputs", "wake"),
            lineage: pair("lineage", "seq", "age"),
            cost: pair("cost", "fuel", "pages"),
            time: reads.attribute("time").is_some(),
        }
    }

    /// What of the state before and after is read.
    pub(super) fn selections(&self) -> [Selection; 2] {
        [&self.before, &self.after].map(|read| select(read.as_deref().unwrap_or_default()))
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
        if self.signers {
            let set = |builder: &mut Builder| {
                builder.set(facts.signers, |builder, signer| builder.hex(&signer.0))
            };
            pairs.push(("signers".to_string(), builder.at("signers", set)?));
        }
        if let Some((outputs, wake)) = self.effects {
            let effects = builder.at("effects", |builder| builder.effects(facts, outputs, wake))?;
            pairs.push(("effects".to_string(), effects));
        }
        if let Some(read) = self.lineage {
            let values = [("seq", facts.seq), ("age", facts.age)];
            let record = builder.at("lineage", |builder| builder.numbers(values, read))?;
            pairs.push(("lineage".to_string(), record));
        }
        if let Some(read) = self.cost {
            let values = [("fuel", facts.fuel), ("pages", u64::from(facts.pages))];
            let record = builder.at("cost", |builder| builder.numbers(values, read))?;
            pairs.push(("cost".to_string(), record));
        }
        if self.time {
            let time = builder.at("time", |builder| builder.long(facts.time.into()))?;
            pairs.push(("time".to_string(), time));
        }
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
    /// Where the value being built stands, for a refusal.
    path: String,
    /// What has been built, in the measure of `POLICY_CONTEXT_BYTES_MAX`.
    bytes: usize,
}

type Built = Result<RestrictedExpression, Refusal>;

impl Builder {
    /// Builds what is at `name`.
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

    /// Takes `text_bytes` and a value's own from what a context may hold.
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

    fn effects(&mut self, facts: &Facts<'_>, outputs: bool, wake: bool) -> Built {
        let mut pairs = Vec::with_capacity(2);
        if outputs {
            let names = |builder: &mut Builder| {
                builder.set(facts.outputs, |builder, output| builder.text(&output.name))
            };
            pairs.push(("outputs".to_string(), self.at("outputs", names)?));
        }
        if let (true, Some(wake)) = (wake, facts.wake) {
            pairs.push(("wake".to_string(), self.at("wake", |builder| builder.long(wake.into()))?));
        }
        RestrictedExpression::new_record(pairs).map_err(|_| self.mismatch("record"))
    }

    /// A record of two numbers, each if it is read.
    fn numbers(&mut self, values: [(&str, u64); 2], read: (bool, bool)) -> Built {
        let mut pairs = Vec::with_capacity(2);
        for ((name, number), read) in values.into_iter().zip([read.0, read.1]) {
            if read {
                let built = self.at(name, |builder| builder.long(number.into()))?;
                pairs.push((name.to_string(), built));
            }
        }
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
