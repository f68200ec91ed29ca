//! The facts beside the states and the arguments in a decision's context: path, type and value.
//!
//! This module does not know rules, nor how the deciding side represents a value.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object::credential::PublicKey;
use object::effects::Output;
use object::ledger::{Argument, Class, DAY, HOUR, Last, MINUTE};
use object::message::Message;
use object::time::Time;
use schema::{Schema, Type};

use crate::argument::{PastArgument, What};
use crate::facts::Facts;
use crate::shape::{attribute_name, is_set};

/// A fact of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Signers,
    Credential,
    SenderCode,
    SenderPolicy,
    SenderFirstPolicy,
    Outputs,
    Receivers,
    Wake,
    Seq,
    Age,
    Fuel,
    Pages,
    Time,
    Instrumentation,
    Code,
    Policy,
    /// The field that is read.
    Field,
    UpgradeCode,
    UpgradePolicy,
    /// The number of signers that stand in a field of the state before, a list of texts. Holds the
    /// field's index and its offset in memory.
    Approvals {
        field: usize,
        offset: u32,
    },
    /// A count of a field's items, a list that rules see as a set. Holds the field's index and its
    /// offset in memory.
    Count {
        field: usize,
        offset: u32,
        what: Count,
    },
    /// A figure of the versions that an action made.
    Past(String, Past),
    /// A figure of an argument of the versions that an action made.
    Argument(Arc<PastArgument>),
}

/// The items of a list that are counted, in the states before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// The items before, repetitions included.
    Before,
    /// The items after, repetitions included.
    After,
    /// The items after that are not before.
    Added,
    /// The items before that are not after.
    Removed,
}

const COUNTS: [(&str, Count); 4] = [
    ("before", Count::Before),
    ("after", Count::After),
    ("added", Count::Added),
    ("removed", Count::Removed),
];

/// A figure of the versions that an action made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    Count,
    Seq,
    Time,
    /// The number of versions within this span before the step.
    Within(Duration),
    /// The number of distinct signers within this span before the step.
    SignersWithin(Duration),
}

pub(super) const PAST: [(&str, Past); 9] = [
    ("count", Past::Count),
    ("seq", Past::Seq),
    ("time", Past::Time),
    ("minute", Past::Within(MINUTE)),
    ("minute_signers", Past::SignersWithin(MINUTE)),
    ("hour", Past::Within(HOUR)),
    ("hour_signers", Past::SignersWithin(HOUR)),
    ("day", Past::Within(DAY)),
    ("day_signers", Past::SignersWithin(DAY)),
];

/// A fact, and the attributes that lead to it from the context.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) path: Vec<String>,
    pub(super) fact: Fact,
}

/// Returns whether an attribute needs an action's versions one by one.
pub(super) fn is_window(name: &str) -> bool {
    let is_windowed = |past: Past| matches!(past, Past::Within(_) | Past::SignersWithin(_));
    PAST.iter().any(|&(known, past)| known == name && is_windowed(past))
}

impl Past {
    pub(super) fn is_optional(self) -> bool {
        matches!(self, Past::Seq | Past::Time)
    }
}

/// A fact's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum FactValue<'a> {
    Absent,
    Number(u64),
    Keys(&'a [PublicKey]),
    Names(&'a [Output]),
    Receivers(&'a [Message]),
    Hash(&'a [u8; 32]),
    Text(&'a str),
    Bool(bool),
    /// A negative number: -1 less this.
    Negative(u64),
    /// Bytes that stand for their digits.
    Bytes(&'a [u8]),
    /// The past does not say: more happened than is remembered, or what cannot be counted.
    Unknown,
    /// A text, or bytes, longer than is remembered.
    TooLong,
}

impl FactValue<'_> {
    fn of_time(time: Time) -> Self {
        FactValue::Number(time.as_millis())
    }
}

/// The facts that do not depend on a schema, by the attributes that lead to them, in the order in
/// which all are known.
pub(super) const PLAIN: [(&str, Fact); 16] = [
    ("signers", Fact::Signers),
    ("credential", Fact::Credential),
    ("sender.code", Fact::SenderCode),
    ("sender.policy", Fact::SenderPolicy),
    ("sender.first_policy", Fact::SenderFirstPolicy),
    ("effects.outputs", Fact::Outputs),
    ("effects.receivers", Fact::Receivers),
    ("effects.wake", Fact::Wake),
    ("lineage.seq", Fact::Seq),
    ("lineage.age", Fact::Age),
    ("cost.fuel", Fact::Fuel),
    ("cost.pages", Fact::Pages),
    ("time", Fact::Time),
    ("substrate.instrumentation", Fact::Instrumentation),
    ("code", Fact::Code),
    ("policy", Fact::Policy),
];

/// The facts that only an upgrade has, as the plain ones.
pub(super) const OF_UPGRADE: [(&str, Fact); 2] =
    [("upgrade.code", Fact::UpgradeCode), ("upgrade.policy", Fact::UpgradePolicy)];

/// Returns the facts that policies of objects with this schema may read. The past has the methods
/// and the `own` actions whose attributes are named in `past`, and these `figures` of arguments.
pub(super) fn all(
    schema: &Schema,
    own: &[&str],
    past: &BTreeSet<String>,
    figures: &[PastArgument],
) -> Vec<Placed> {
    let mut all = Vec::new();
    for (path, fact) in PLAIN {
        all.push(Placed::at(path.split('.'), fact.clone()));
        // Facts of one record stand together.
        match fact {
            Fact::Credential => all.extend(approvals(schema).chain(counts(schema))),
            Fact::Age => all.extend(of_the_past(schema, own, past, figures)),
            _ => {}
        }
    }
    all
}

fn approvals(schema: &Schema) -> impl Iterator<Item = Placed> {
    let fields = schema.state().fields.iter().enumerate();
    let texts = fields
        .filter(|(_, it)| matches!(&it.ty, Type::List(item) if matches!(**item, Type::String)));
    texts.map(|(field, it)| {
        let fact = Fact::Approvals { field, offset: it.offset };
        Placed::at(["approvals", &attribute_name(&it.name)], fact)
    })
}

fn counts(schema: &Schema) -> impl Iterator<Item = Placed> {
    let fields = schema.state().fields.iter().enumerate();
    let sets = fields.filter(|(_, it)| is_set(&it.ty));
    sets.flat_map(|(field, it)| {
        COUNTS.map(|(attribute, what)| {
            let fact = Fact::Count { field, offset: it.offset, what };
            Placed::at(["counts", &attribute_name(&it.name), attribute], fact)
        })
    })
}

fn of_the_past(
    schema: &Schema,
    own: &[&str],
    past: &BTreeSet<String>,
    figures: &[PastArgument],
) -> Vec<Placed> {
    let methods = schema.methods().iter().map(|method| method.name.as_str());
    let named =
        methods.chain(own.iter().copied()).filter(|action| past.contains(&attribute_name(action)));
    let facts = named.flat_map(|action| {
        let fact = |past| Fact::Past(action.to_string(), past);
        let versions = PAST.map(|(what, past)| {
            Placed::at(["lineage", "past", &attribute_name(action), what], fact(past))
        });
        // Figures of one argument stand together.
        let arguments = figures.iter().filter(move |it| it.action == action).map(|it| {
            let path = ["lineage", "past"].into_iter().chain(it.path.iter().map(String::as_str));
            Placed::at(path, Fact::Argument(Arc::new(it.clone())))
        });
        versions.into_iter().chain(arguments)
    });
    facts.collect()
}

/// The fact that only a read has.
pub(super) fn of_read() -> Placed {
    Placed::at(["field"], Fact::Field)
}

/// The facts that only an upgrade has.
pub(super) fn of_upgrade() -> Vec<Placed> {
    OF_UPGRADE.map(|(path, fact)| Placed::at(path.split('.'), fact)).into()
}

impl Placed {
    fn at<'p>(path: impl IntoIterator<Item = &'p str>, fact: Fact) -> Placed {
        Placed { path: path.into_iter().map(str::to_string).collect(), fact }
    }
}

impl Fact {
    pub(super) fn is_optional(&self) -> bool {
        match self {
            Fact::Wake | Fact::SenderCode | Fact::SenderPolicy | Fact::SenderFirstPolicy => true,
            Fact::Past(_, past) => past.is_optional(),
            Fact::Argument(it) => it.what == What::Last,
            _ => false,
        }
    }

    /// Returns the fact's value; none for facts that need the states, or the step's arguments.
    pub(super) fn value<'a>(&self, facts: &'a Facts<'a>) -> Option<FactValue<'a>> {
        Some(match self {
            Fact::Signers => FactValue::Keys(facts.signers),
            Fact::Credential => FactValue::Text(facts.credential),
            Fact::SenderCode => {
                facts.sender.map_or(FactValue::Absent, |sender| FactValue::Hash(&sender.code.0))
            }
            Fact::SenderPolicy => {
                facts.sender.map_or(FactValue::Absent, |sender| FactValue::Hash(&sender.policy.0))
            }
            Fact::SenderFirstPolicy => {
                let first = facts.sender.and_then(|sender| sender.first_policy.as_ref());
                first.map_or(FactValue::Absent, |policy| FactValue::Hash(&policy.0))
            }
            Fact::Outputs => FactValue::Names(facts.outputs),
            Fact::Receivers => FactValue::Receivers(facts.messages),
            Fact::Wake => facts.wake.map_or(FactValue::Absent, FactValue::of_time),
            Fact::Seq => FactValue::Number(facts.seq),
            Fact::Age => FactValue::Number(facts.age_ms),
            Fact::Fuel => FactValue::Number(facts.fuel),
            Fact::Pages => FactValue::Number(facts.pages.into()),
            Fact::Time => FactValue::of_time(facts.time),
            Fact::Instrumentation => FactValue::Number(facts.instrumentation.into()),
            Fact::Code => FactValue::Hash(&facts.code.0),
            Fact::Policy => FactValue::Hash(&facts.policy.0),
            Fact::Field => facts.field.map_or(FactValue::Absent, FactValue::Text),
            Fact::UpgradeCode => facts
                .upgrade
                .as_ref()
                .map_or(FactValue::Absent, |(code, _)| FactValue::Hash(&code.0)),
            Fact::UpgradePolicy => facts
                .upgrade
                .as_ref()
                .map_or(FactValue::Absent, |(_, policy)| FactValue::Hash(&policy.0)),
            Fact::Approvals { .. } | Fact::Count { .. } => return None,
            Fact::Argument(it) => return it.figure(facts),
            Fact::Past(action, what) => match (facts.past.of(action), what) {
                (Some(mark), what) => FactValue::Number(match what {
                    Past::Count => mark.count(),
                    Past::Seq => mark.seq(),
                    Past::Time => mark.time().as_millis(),
                    Past::Within(window) => mark.count_within(facts.time, *window),
                    Past::SignersWithin(window) => mark.signers_within(facts.time, *window),
                }),
                (None, Past::Seq | Past::Time) => FactValue::Absent,
                (None, _) => FactValue::Number(0),
            },
        })
    }
}

impl PastArgument {
    /// Returns the figure's value; none where the step's arguments decide on it.
    fn figure<'a>(&self, facts: &'a Facts<'a>) -> Option<FactValue<'a>> {
        let mark = facts.past.argument(&self.action, &self.argument);
        let figure = match self.what {
            What::Sum(window) => mark.map_or(Some(0), |mark| mark.sum(window, facts.time)),
            What::Distinct(window) => {
                mark.map_or(Some(0), |mark| mark.distinct(window, facts.time))
            }
            What::Last => {
                let last = mark.and_then(|mark| mark.last());
                return Some(last.map_or(FactValue::Absent, |last| last_value(last, self.class)));
            }
            What::Same(_) | What::SameSigner(_) => return None,
        };
        Some(figure.map_or(FactValue::Unknown, FactValue::Number))
    }

    /// Returns whether the past has a version with the value that the step has, and where that is
    /// asked, of the signer that the step has.
    pub(super) fn is_seen<'a>(
        &self,
        present: Option<Argument<'_>>,
        facts: &Facts<'_>,
    ) -> FactValue<'a> {
        debug_assert!(self.is_same(), "other figures need no look at the step's arguments");
        let (window, signer) = match self.what {
            What::SameSigner(window) => (window, Some(facts.signers.first())),
            What::Same(window) => (window, None),
            _ => return FactValue::Unknown,
        };
        let present = present.filter(|present| present.class() == self.class);
        let mark = facts.past.argument(&self.action, &self.argument);
        let (Some(present), Some(mark)) = (present, mark) else { return FactValue::Bool(false) };
        let signer = match signer {
            // Nobody signed both.
            Some(None) => return FactValue::Bool(false),
            signer => signer.flatten(),
        };
        let is_signed = signer.is_some();
        let is_seen = mark.has(&present.value_hash(signer), is_signed, window, facts.time);
        is_seen.map_or(FactValue::Unknown, FactValue::Bool)
    }
}

/// The value that a version of a past had last, of a kind.
fn last_value(last: &Last, class: Class) -> FactValue<'_> {
    match (last, class) {
        (Last::Number(number), Class::Bool) => FactValue::Bool(*number == 1),
        (Last::Number(number), _) => FactValue::Number(*number),
        (Last::Negative(number), _) => FactValue::Negative(*number),
        (Last::Bytes(bytes), Class::Bytes) => FactValue::Bytes(bytes),
        // A ledger's texts are UTF-8.
        (Last::Bytes(bytes), _) => {
            std::str::from_utf8(bytes).map_or(FactValue::Unknown, FactValue::Text)
        }
        (Last::TooLong, _) => FactValue::TooLong,
    }
}

/// Groups facts by the name that they have `depth` deep: a fact that stands there alone, or the
/// facts of a record there, in the order of `known`.
pub(super) fn groups(known: &[Placed], depth: usize) -> impl Iterator<Item = (&str, &[Placed])> {
    known
        .chunk_by(move |one, next| one.path[..=depth] == next.path[..=depth])
        .map(move |chunk| (chunk[0].path[depth].as_str(), chunk))
}

/// The fact, when a group is no record.
pub(super) fn single(group: &[Placed], depth: usize) -> Option<&Fact> {
    match group {
        [Placed { path, fact }] if path.len() == depth + 1 => Some(fact),
        _ => None,
    }
}
