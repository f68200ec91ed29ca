//! Arguments of methods one by one: their kinds, where they are in a payload, and what a policy
//! may ask about those of past versions.
//!
//! This module does not know Cedar's crate, nor what a ledger remembers.

use std::collections::BTreeMap;
use std::ops::Range;

use object::codec::Reader;
use object::ledger::{Argument, Class, Keep, ReadArguments, TrackedArgument, Window};
use object::limits::{NAME_BYTES_MAX, PAST_ARGUMENTS_MAX, PAYLOAD_VALUES_MAX};
use schema::{Method, Param, Schema, Type, Value, scalar_bits, scalar_width, skip_value};

use crate::shape::attribute_name;

/// A figure of an argument of past versions, to rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The sum over a window.
    Sum(Window),
    /// The last value.
    Last,
    /// The number of different values in a window.
    Distinct(Window),
    /// True if a version of a window had the value that the step has.
    Same(Window),
    /// True if one of the same signer did.
    SameSigner(Window),
}

/// Makes the figure of a window.
type OfWindow = fn(Window) -> What;

/// The figures of an argument, by the attribute that leads to them.
const FIGURES: [(&str, OfWindow); 4] = [
    ("sum", What::Sum),
    ("distinct", What::Distinct),
    ("same", What::Same),
    ("same_signer", What::SameSigner),
];
/// The attribute of the last value.
const LAST: &str = "last";
/// The windows, by the attributes that lead to them.
const WINDOWS: [(&str, Window); 4] = [
    ("minute", Window::Minute),
    ("hour", Window::Hour),
    ("day", Window::Day),
    ("ever", Window::Ever),
];

/// The names behind `past` in a policy's text, with their places: an action and what follows it.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    /// At most [`NAMES_MAX`] of them, and at least one.
    pub(crate) names: Vec<(String, Range<usize>)>,
    /// True if `lineage` stands before `past`.
    pub(crate) is_of_lineage: bool,
}

/// Names of a mention: action, figure, argument and window.
pub(crate) const NAMES_MAX: usize = 4;

impl Mention {
    fn name(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(|(name, _)| name.as_str())
    }

    /// Returns what is asked about which argument, by the attributes that stand for it, if the
    /// names are those of a figure of an argument.
    pub(crate) fn asked(&self) -> Option<(&str, &str, What)> {
        let (action, what, argument) = (self.name(0)?, self.name(1)?, self.name(2)?);
        if what == LAST {
            return Some((action, argument, What::Last));
        }
        let (_, figure) = FIGURES.iter().find(|(name, _)| *name == what)?;
        let window = self.name(3)?;
        let (_, window) = WINDOWS.iter().find(|(name, _)| *name == window)?;
        Some((action, argument, figure(*window)))
    }

    /// Returns whether the name at a place is that of an argument's window, and no window of the
    /// versions themselves.
    pub(crate) fn has_window_at(&self, index: usize) -> bool {
        let is_figure = |what: &str| FIGURES.iter().any(|(name, _)| *name == what);
        index == NAMES_MAX - 1 && self.name(1).is_some_and(is_figure)
    }

    /// Returns the place of the first name that there is not, and the names that there are, for an
    /// object with this schema, whose past has the `own` actions beside its methods and these
    /// `figures` of each.
    pub(crate) fn misspelt(
        &self,
        schema: &Schema,
        own: &[&str],
        figures: &[&str],
    ) -> Option<(Range<usize>, String)> {
        let action = self.name(0).filter(|_| self.is_of_lineage)?;
        let method = schema.methods().iter().find(|it| attribute_name(&it.name) == action);
        if method.is_none() && !own.contains(&action) {
            let methods = schema.methods().iter().map(|method| attribute_name(&method.name));
            let all = quoted(methods.chain(own.iter().map(ToString::to_string)));
            return Some((
                self.place(0),
                format!("no action `{action}` has a past: {all} have one"),
            ));
        }
        let what = self.name(1)?;
        let of_arguments = FIGURES.iter().map(|(name, _)| *name).chain([LAST]);
        if !of_arguments.clone().any(|name| name == what) {
            let of_versions = quoted(figures.iter().map(ToString::to_string));
            let of_arguments = quoted(of_arguments.map(str::to_string));
            let message = format!(
                "the past of an action has no `{what}`: it has {of_versions} and, of its \
                 arguments, {of_arguments}"
            );
            return (!figures.contains(&what)).then(|| (self.place(1), message));
        }
        let params = method.map_or(&[][..], |method| &method.params[..]);
        let is_asked = |param: &&Param| {
            let class = class(param);
            class == Some(Class::Integer) || class.is_some() && what != "sum"
        };
        let known = params.iter().filter(is_asked).map(|param| attribute_name(&param.name));
        let argument = self.name(2).unwrap_or_default();
        if !known.clone().any(|name| name == argument) {
            let of = if what == "sum" { "integers" } else { "scalars" };
            let there = match known.clone().next() {
                None => "none".to_string(),
                Some(_) => quoted(known),
            };
            let message =
                format!("behind `{action}.{what}` stands an argument; `{action}` has {there}");
            let message = format!("{message}, as far as they are {of}");
            return Some((self.place(2), message));
        }
        let window = self.name(3).filter(|_| what != LAST);
        let is_window = WINDOWS.iter().any(|(name, _)| Some(*name) == window);
        (what != LAST && !is_window).then(|| {
            let windows = quoted(WINDOWS.iter().map(|(name, _)| name.to_string()));
            let path = format!("{action}.{what}.{argument}");
            (self.place(3), format!("behind `{path}` stands a window: {windows}"))
        })
    }

    /// The place of the name at an index, or of the last before it.
    pub(crate) fn place(&self, index: usize) -> Range<usize> {
        let last = self.names.len() - 1;
        self.names[index.min(last)].1.clone()
    }
}

/// Returns names in quotes, with commas between them.
fn quoted(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A figure of an argument of past versions, of an object with some schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PastArgument {
    /// The attributes of the action, the figure, the argument and the window.
    pub(crate) path: Vec<String>,
    /// The method.
    pub(crate) action: String,
    /// The argument's name in the schema.
    pub(crate) argument: String,
    pub(crate) class: Class,
    pub(crate) what: What,
}

impl PastArgument {
    /// Returns the figure that a mention is of, if the schema has such an argument.
    pub(crate) fn of(schema: &Schema, mention: &Mention) -> Option<PastArgument> {
        let (action, argument, what) = mention.asked()?;
        let named = |method: &&Method| attribute_name(&method.name) == action;
        let method = schema.methods().iter().find(named)?;
        let named = |param: &&Param| attribute_name(&param.name) == argument;
        let param = method.params.iter().find(named)?;
        let class = class(param)?;
        if matches!(what, What::Sum(_)) && class != Class::Integer {
            return None;
        }
        let count = if what == What::Last { 3 } else { NAMES_MAX };
        let path = mention.names[..count].iter().map(|(name, _)| name.clone()).collect();
        let (action, argument) = (method.name.clone(), param.name.clone());
        Some(PastArgument { path, action, argument, class, what })
    }

    /// Returns all figures of the arguments of a method.
    pub(crate) fn all(schema: &Schema, method: &Method) -> Vec<PastArgument> {
        let spell = |names: &[&str]| {
            let names = names.iter().map(|name| (attribute_name(name), 0..0)).collect();
            PastArgument::of(schema, &Mention { names, is_of_lineage: true })
        };
        let (action, mut all) = (method.name.as_str(), Vec::new());
        for param in &method.params {
            all.extend(spell(&[action, LAST, &param.name]));
            for (figure, _) in FIGURES {
                all.extend(
                    WINDOWS
                        .iter()
                        .filter_map(|(window, _)| spell(&[action, figure, &param.name, window])),
                );
            }
        }
        all
    }

    /// Returns the names that ask for it.
    pub(crate) fn mention(self) -> Mention {
        let names = self.path.into_iter().map(|name| (name, 0..0)).collect();
        Mention { names, is_of_lineage: true }
    }

    /// Returns whether the step's own arguments decide on it.
    pub(crate) fn is_same(&self) -> bool {
        matches!(self.what, What::Same(_) | What::SameSigner(_))
    }

    /// Returns whether parameters have one of the name and the kind of the argument.
    pub(crate) fn is_among(&self, params: &[Param]) -> bool {
        params.iter().any(|param| param.name == self.argument && class(param) == Some(self.class))
    }
}

/// Returns what a ledger has to remember for some figures.
pub(crate) fn tracked(figures: &[PastArgument]) -> Vec<TrackedArgument> {
    let mut tracked: BTreeMap<(&str, &str), TrackedArgument> = BTreeMap::new();
    for figure in figures {
        let place = (figure.action.as_str(), figure.argument.as_str());
        let it = tracked.entry(place).or_insert_with(|| TrackedArgument {
            action: figure.action.clone(),
            argument: figure.argument.clone(),
            class: figure.class,
            total: false,
            amounts: false,
            last: false,
            values: Keep::Nothing,
            signed: Keep::Nothing,
        });
        let keep = |window| if window == Window::Ever { Keep::Ever } else { Keep::Day };
        match figure.what {
            What::Sum(Window::Ever) => it.total = true,
            What::Sum(_) => it.amounts = true,
            What::Last => it.last = true,
            What::Distinct(window) | What::Same(window) => it.values = it.values.max(keep(window)),
            What::SameSigner(window) => it.signed = it.signed.max(keep(window)),
        }
    }
    debug_assert!(tracked.len() <= PAST_ARGUMENTS_MAX, "the profile allows no more");
    tracked.into_values().collect()
}

/// Returns the kind of a parameter's values; none when they are no scalars, or its name is longer
/// than a ledger keeps.
fn class(param: &Param) -> Option<Class> {
    let ty = match &param.ty {
        Type::Option(payload) => payload,
        ty => ty,
    };
    if param.name.len() > NAME_BYTES_MAX {
        return None;
    }
    match ty {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Some(Class::Integer),
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => Some(Class::Integer),
        Type::Bool => Some(Class::Bool),
        Type::String | Type::Char | Type::Enum(_) => Some(Class::Text),
        Type::List(item) if matches!(**item, Type::U8) => Some(Class::Bytes),
        _ => None,
    }
}

/// Returns an argument of a payload; none when it is optional and not there, or the bytes are no
/// arguments of these parameters.
pub(crate) fn read<'a>(
    params: &'a [Param],
    name: &str,
    arguments: &'a [u8],
) -> Option<Argument<'a>> {
    let mut reader = Reader::new("arguments", arguments);
    let mut left = PAYLOAD_VALUES_MAX;
    for param in params {
        let rest = reader.rest();
        skip_value(&mut reader, &param.ty, &mut left).ok()?;
        if param.name == name {
            class(param)?;
            return scalar(&param.ty, &rest[..rest.len() - reader.left()]);
        }
    }
    None
}

/// Reads a value of a type that has a class from its bytes.
fn scalar<'a>(ty: &'a Type, bytes: &'a [u8]) -> Option<Argument<'a>> {
    let bits = || scalar_width(ty).map(|_| scalar_bits(bytes));
    Some(match ty {
        Type::Option(payload) => match bytes.split_first()? {
            (1, rest) => return scalar(payload, rest),
            _ => return None,
        },
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Argument::Integer(bits()?.into()),
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => {
            let unused = 64 - 8 * scalar_width(ty)?;
            Argument::Integer(((bits()? << unused).cast_signed() >> unused).into())
        }
        Type::Bool => Argument::Bool(bits()? == 1),
        Type::Char => Argument::Char(char::from_u32(u32::try_from(bits()?).ok()?)?),
        Type::Enum(names) => Argument::Text(names.cases.get(usize::try_from(bits()?).ok()?)?),
        Type::String => Argument::Text(std::str::from_utf8(bytes.get(4..)?).ok()?),
        Type::List(_) => Argument::Bytes(bytes.get(4..)?),
        _ => return None,
    })
}

/// Returns a value as an argument; none when it is optional and not there, or no scalar.
pub(crate) fn of_value(value: &Value) -> Option<Argument<'_>> {
    Some(match value {
        Value::Option(payload) => return payload.as_ref().and_then(|it| of_value(it)),
        Value::Bool(value) => Argument::Bool(*value),
        Value::Char(letter) => Argument::Char(*letter),
        Value::String(text) | Value::Enum(text) => Argument::Text(text),
        Value::Bytes(bytes) => Argument::Bytes(bytes),
        value => Argument::Integer(value.integer()?),
    })
}

/// The parameters of the methods whose past arguments a policy asks about.
#[derive(Debug)]
pub(crate) struct Methods(BTreeMap<String, Vec<Param>>);

impl Methods {
    pub(crate) fn of(schema: &Schema, figures: &[PastArgument]) -> Methods {
        let methods = figures.iter().filter_map(|figure| schema.method(&figure.action));
        Methods(methods.map(|method| (method.name.clone(), method.params.clone())).collect())
    }
}

impl ReadArguments for Methods {
    fn read<'a>(&'a self, method: &str, name: &str, arguments: &'a [u8]) -> Option<Argument<'a>> {
        read(self.0.get(method)?, name, arguments)
    }
}
