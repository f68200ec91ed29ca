//! The past that a policy reads, and a ledger therefore remembers: actions, the arguments of their
//! versions, and the keys that the policy's text names.
//!
//! This module does not know how a policy says so, nor how arguments are encoded: what derives a
//! [`Tracked`] from a policy gives it a reader of arguments.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Write;
use crate::credential::PublicKey;
use crate::hash::LedgerValue;
use crate::limits::{PAST_ACTIONS_MAX, PAST_ARGUMENTS_MAX};
use crate::time::Time;

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);
/// A day: versions are remembered for as long, one by one.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of the past that a figure of an argument is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Less than a minute ago.
    Minute,
    /// Less than an hour ago.
    Hour,
    /// Less than a day ago.
    Day,
    /// Since the policy asks for it.
    Ever,
}

impl Window {
    /// Returns whether a version of the moment `at` is in the window before `now`.
    pub fn has(self, at: Time, now: Time) -> bool {
        let span = match self {
            Window::Minute => MINUTE,
            Window::Hour => HOUR,
            Window::Day => DAY,
            Window::Ever => return true,
        };
        at.saturating_add(span) > now
    }
}

/// The kind of an argument: arguments of one kind are compared, whatever their types are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// An integer of any width.
    Integer,
    /// A `bool`.
    Bool,
    /// A text, a character, or the name of an enum's case.
    Text,
    /// Bytes.
    Bytes,
}

impl Class {
    /// The classes in the order of their codes.
    const ALL: [Class; 4] = [Class::Integer, Class::Bool, Class::Text, Class::Bytes];

    /// The class of a code, if there is one.
    pub(super) fn of_code(code: u8) -> Option<Class> {
        Class::ALL.get(usize::from(code)).copied()
    }

    /// The code that stands for the class.
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

/// An argument of a call or a message that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// An integer.
    Integer(i128),
    /// A `bool`.
    Bool(bool),
    /// A character.
    Char(char),
    /// A text, or the name of an enum's case.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl Argument<'_> {
    /// The kind of the argument.
    pub fn class(&self) -> Class {
        match self {
            Argument::Integer(_) => Class::Integer,
            Argument::Bool(_) => Class::Bool,
            Argument::Char(_) | Argument::Text(_) => Class::Text,
            Argument::Bytes(_) => Class::Bytes,
        }
    }

    /// Calls `take` with the bytes that stand for the value: a character is a text.
    pub(super) fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Argument::Integer(number) => take(&number.to_le_bytes()),
            Argument::Bool(value) => take(&[u8::from(*value)]),
            Argument::Char(letter) => take(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            Argument::Text(text) => take(text.as_bytes()),
            Argument::Bytes(bytes) => take(bytes),
        }
    }

    /// Returns what tells the value from all others, or, with a `signer`, the value of a version
    /// that this key asked for.
    pub fn value_hash(&self, signer: Option<&PublicKey>) -> LedgerValue {
        let content = self.with_bytes(blake3::hash);
        let mut bytes = arrayvec::ArrayVec::<u8, 65>::new();
        bytes.put_u8(self.class().code());
        if let Some(signer) = signer {
            bytes.put(&signer.0);
        }
        bytes.put(content.as_bytes());
        LedgerValue::of(&bytes)
    }
}

/// A reader of the arguments of methods.
pub trait ReadArguments: fmt::Debug + Send + Sync {
    /// Returns the argument `name` of a call of `method`; none when it is optional and not there.
    ///
    /// The arguments of an admitted version are of the method's parameters. Of other bytes it
    /// returns any argument that is in them, or none.
    fn read<'a>(&'a self, method: &str, name: &str, arguments: &'a [u8]) -> Option<Argument<'a>>;
}

/// The time for which values are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Keep {
    /// Not at all.
    #[default]
    Nothing,
    /// For a day.
    Day,
    /// For as long as the policy asks for them.
    Ever,
}

/// The figures that a policy reads of an argument of the versions that an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedArgument {
    /// The action: a method.
    pub action: String,
    /// The argument's name.
    pub argument: String,
    /// The argument's kind.
    pub class: Class,
    /// True if the sum for ever is kept.
    pub total: bool,
    /// True if the amounts of a day are kept one by one.
    pub amounts: bool,
    /// True if the last value is kept.
    pub last: bool,
    /// The time for which the different values are kept.
    pub values: Keep,
    /// The time for which they are kept together with the key that asked.
    pub signed: Keep,
}

/// The part of the past that a policy reads, and the keys that its text names.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    actions: BTreeSet<String>,
    /// True if recent versions are kept one by one.
    pub(super) recent: bool,
    keys: BTreeSet<PublicKey>,
    /// The arguments, ascending by action and name.
    arguments: Vec<TrackedArgument>,
    reader: Option<Arc<dyn ReadArguments>>,
}

impl PartialEq for Tracked {
    /// Compares what is read, however arguments are encoded.
    fn eq(&self, other: &Tracked) -> bool {
        (&self.actions, self.recent, &self.keys) == (&other.actions, other.recent, &other.keys)
            && self.arguments == other.arguments
    }
}

impl Eq for Tracked {}

impl Tracked {
    /// Tracks nothing.
    pub const NONE: &Tracked = &Tracked {
        actions: BTreeSet::new(),
        recent: false,
        keys: BTreeSet::new(),
        arguments: Vec::new(),
        reader: None,
    };

    /// Tracks these actions, at most [`PAST_ACTIONS_MAX`]: their counts and, with `recent`, their
    /// last versions one by one.
    pub fn new(actions: impl IntoIterator<Item = String>, recent: bool) -> Tracked {
        let actions = actions.into_iter().take(PAST_ACTIONS_MAX).collect();
        Tracked { actions, recent, ..Tracked::default() }
    }

    /// Adds the keys that the policy's text names.
    pub fn naming(self, keys: impl IntoIterator<Item = PublicKey>) -> Tracked {
        Tracked { keys: keys.into_iter().collect(), ..self }
    }

    /// Adds arguments of tracked actions, at most [`PAST_ARGUMENTS_MAX`] and each once, that
    /// `reader` reads.
    pub fn reading(
        self,
        arguments: impl IntoIterator<Item = TrackedArgument>,
        reader: Arc<dyn ReadArguments>,
    ) -> Tracked {
        let mut arguments: Vec<TrackedArgument> = arguments.into_iter().collect();
        arguments.retain(|it| self.has(&it.action));
        arguments.sort_by(|one, other| one.place().cmp(&other.place()));
        arguments.dedup_by(|one, other| one.place() == other.place());
        arguments.truncate(PAST_ARGUMENTS_MAX);
        let reader = (!arguments.is_empty()).then_some(reader);
        Tracked { arguments, reader, ..self }
    }

    /// Returns whether the policy's text names a key.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// Returns whether the policy reads something of the past.
    pub fn reads_past(&self) -> bool {
        !self.actions.is_empty()
    }

    pub(super) fn has(&self, action: &str) -> bool {
        self.actions.contains(action)
    }

    /// The arguments that are read of an action's versions, ascending by name.
    pub(super) fn arguments_of(&self, action: &str) -> &[TrackedArgument] {
        let start = self.arguments.partition_point(|it| it.action.as_str() < action);
        let rest = &self.arguments[start..];
        &rest[..rest.partition_point(|it| it.action == action)]
    }

    /// Returns the figures that are read of an argument, if any are.
    pub(super) fn argument(&self, action: &str, name: &str) -> Option<&TrackedArgument> {
        self.arguments_of(action).iter().find(|it| it.argument == name)
    }

    /// Returns an argument of a call, if it is there.
    pub(super) fn read<'a>(
        &'a self,
        tracked: &TrackedArgument,
        arguments: &'a [u8],
    ) -> Option<Argument<'a>> {
        let reader = self.reader.as_ref()?;
        let found = reader.read(&tracked.action, &tracked.argument, arguments)?;
        debug_assert_eq!(found.class(), tracked.class, "a reader knows the kinds of arguments");
        (found.class() == tracked.class).then_some(found)
    }
}

impl TrackedArgument {
    /// Returns the names that arguments are ordered by.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.action, &self.argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_at_its_far_end() {
        let now = Time::from_millis(1 << 40);
        for (window, span) in [(Window::Minute, MINUTE), (Window::Hour, HOUR), (Window::Day, DAY)] {
            let far = now.saturating_sub(span);
            assert!(!window.has(far, now), "{window:?}");
            assert!(window.has(far.saturating_add(Duration::from_millis(1)), now), "{window:?}");
            // A host's clock may be behind the newest version: what is later is in the window.
            assert!(window.has(now.saturating_add(span), now), "{window:?}");
        }
        assert!(Window::Ever.has(Time::MIN, now));
    }

    #[test]
    fn values_are_told_apart_by_their_kind_and_signer() {
        let signers = [None, Some(PublicKey([1; 32])), Some(PublicKey([2; 32]))];
        let values = [
            Argument::Integer(1),
            Argument::Integer(-1),
            Argument::Bool(true),
            Argument::Text("\u{1}"),
            Argument::Bytes(&[1]),
        ];
        let all = values
            .iter()
            .flat_map(|value| signers.iter().map(|signer| value.value_hash(signer.as_ref())));
        let all: Vec<LedgerValue> = all.collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(Argument::Char('a').value_hash(None), Argument::Text("a").value_hash(None));
    }
}
