//! Values in a running program: small, copied freely, with pointers to their bytes.
//!
//! An operation on a value of another type returns none: validated rules have no such operations,
//! and a program that meets one gives up.
//!
//! This module does not know operations, nor where in a state or payload a value was found.

use object::credential::PublicKey;
use object::effects::Output;
use object::hash::ObjectId;
use object::memory::Memory;
use object::message::Message;
use schema::Flags;

use super::load::{Pages, Scalar};

/// Pairs of items that are compared for one answer about two sets.
const PAIRS_MAX: usize = 16 << 10;
/// The limit, bytes of a text times those of a pattern, up to which the two are compared.
const LIKE_STEPS_MAX: usize = 64 << 10;

/// A value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Datum<'a> {
    /// An attribute that is optional and not there.
    Absent,
    Bool(bool),
    Long(i64),
    Text(Text<'a>),
    Entity(Entity<'a>),
    Set(Items<'a>),
}

/// A text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text<'a> {
    /// UTF-8.
    Plain(&'a [u8]),
    /// Bytes that stand for their lowercase hexadecimal digits.
    Hex(&'a [u8]),
    /// A single character.
    Char(char),
}

/// An entity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entity<'a> {
    pub(crate) ty: EntityType,
    pub(crate) id: Text<'a>,
}

/// The types of the derived schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntityType {
    Key,
    Anonymous,
    Object,
    Action,
}

/// The items of a set, in any order, each once or more often.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Items<'a> {
    /// Scalars, one behind the other.
    Scalars(&'a Scalar, &'a [u8]),
    /// Addresses and lengths of texts in a memory.
    Pointers(&'a dyn Memory, &'a [u8]),
    /// Texts in a payload, this many, each behind its length.
    Payload(usize, &'a [u8]),
    /// Names of the bits that are set.
    Flags(&'a Flags, u32),
    Keys(&'a [PublicKey]),
    /// The names of outputs.
    Outputs(&'a [Output]),
    /// The receivers of messages.
    Receivers(&'a [Message]),
    Literals(&'a [Literal]),
}

/// A value that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Literal {
    Bool(bool),
    Long(i64),
    Text(String),
    Entity(EntityType, String),
}

impl Literal {
    pub(super) fn datum(&self) -> Datum<'_> {
        match self {
            Literal::Bool(value) => Datum::Bool(*value),
            Literal::Long(value) => Datum::Long(*value),
            Literal::Text(text) => Datum::Text(Text::Plain(text.as_bytes())),
            Literal::Entity(ty, id) => {
                Datum::Entity(Entity { ty: *ty, id: Text::Plain(id.as_bytes()) })
            }
        }
    }
}

impl<'a> Datum<'a> {
    pub(super) fn bool(&self) -> Option<bool> {
        if let Datum::Bool(value) = self { Some(*value) } else { None }
    }

    pub(super) fn long(&self) -> Option<i64> {
        if let Datum::Long(value) = self { Some(*value) } else { None }
    }

    pub(super) fn text(&self) -> Option<Text<'a>> {
        if let Datum::Text(text) = self { Some(*text) } else { None }
    }

    pub(super) fn entity(&self) -> Option<Entity<'a>> {
        if let Datum::Entity(entity) = self { Some(*entity) } else { None }
    }

    pub(super) fn set(&self) -> Option<Items<'a>> {
        if let Datum::Set(items) = self { Some(*items) } else { None }
    }

    /// Returns whether this and a value of the same type are equal.
    pub(super) fn equals(self, other: Datum<'a>) -> Option<bool> {
        match (self, other) {
            (Datum::Bool(one), Datum::Bool(other)) => Some(one == other),
            (Datum::Long(one), Datum::Long(other)) => Some(one == other),
            (Datum::Text(one), Datum::Text(other)) => Some(one.equals(other)),
            (Datum::Entity(one), Datum::Entity(other)) => Some(one.equals(other)),
            (Datum::Set(one), Datum::Set(other)) => {
                Some(one.contains_all(other)? && other.contains_all(one)?)
            }
            _ => None,
        }
    }
}

impl<'a> Entity<'a> {
    pub(super) fn object(id: &'a ObjectId) -> Entity<'a> {
        Entity { ty: EntityType::Object, id: Text::Hex(&id.0) }
    }

    pub(super) fn equals(self, other: Entity<'_>) -> bool {
        self.ty == other.ty && self.id.equals(other.id)
    }
}

impl Text<'_> {
    pub(super) fn bytes_count(self) -> usize {
        match self {
            Text::Plain(bytes) => bytes.len(),
            Text::Hex(bytes) => 2 * bytes.len(),
            Text::Char(char) => char.len_utf8(),
        }
    }

    /// The byte at a place below `bytes_count`.
    fn byte(self, index: usize) -> u8 {
        debug_assert!(index < self.bytes_count(), "a byte is one of the text's");
        match self {
            Text::Plain(bytes) => bytes[index],
            Text::Hex(bytes) => {
                let byte = bytes[index / 2];
                let digit = if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
                b"0123456789abcdef"[usize::from(digit)]
            }
            Text::Char(char) => {
                let mut buffer = [0; 4];
                char.encode_utf8(&mut buffer);
                buffer[index]
            }
        }
    }

    fn equals(self, other: Text<'_>) -> bool {
        match (self, other) {
            (Text::Plain(one), Text::Plain(other)) | (Text::Hex(one), Text::Hex(other)) => {
                one == other
            }
            (Text::Char(one), Text::Char(other)) => one == other,
            _ => {
                let count = self.bytes_count();
                count == other.bytes_count()
                    && (0..count).all(|index| self.byte(index) == other.byte(index))
            }
        }
    }

    /// Returns whether the text matches a pattern. Both are whole characters, so bytes match as
    /// characters do.
    pub(super) fn is_like(self, pattern: &[Option<u8>]) -> Option<bool> {
        let count = self.bytes_count();
        if count.saturating_mul(pattern.len()) > LIKE_STEPS_MAX {
            return None;
        }
        // The last wildcard met, and the last place in the text at which a match of the rest was
        // tried.
        let mut retry: Option<(usize, usize)> = None;
        let (mut at, mut next) = (0, 0);
        while at < count {
            match pattern.get(next) {
                Some(None) => {
                    retry = Some((next, at));
                    next += 1;
                }
                Some(Some(byte)) if *byte == self.byte(at) => (at, next) = (at + 1, next + 1),
                _ => {
                    let Some((wildcard, from)) = retry else { return Some(false) };
                    retry = Some((wildcard, from + 1));
                    (at, next) = (from + 1, wildcard + 1);
                }
            }
        }
        Some(pattern[next..].iter().all(Option::is_none))
    }
}

impl<'a> Items<'a> {
    /// Items, however often each is there.
    pub(super) fn count(self) -> usize {
        match self {
            Items::Scalars(scalar, bytes) => bytes.len() / scalar.width(),
            Items::Pointers(_, pairs) => pairs.len() / 8,
            Items::Payload(count, _) => count,
            Items::Flags(_, bits) => bits.count_ones() as usize,
            Items::Keys(keys) => keys.len(),
            Items::Outputs(outputs) => outputs.len(),
            Items::Receivers(messages) => messages.len(),
            Items::Literals(literals) => literals.len(),
        }
    }

    /// The first item for which `wanted` answers, and its answer; an outer nothing when an item
    /// cannot be read, or `wanted` gives up.
    pub(super) fn find<T>(
        self,
        mut wanted: impl FnMut(Datum<'a>) -> Option<Option<T>>,
    ) -> Option<Option<T>> {
        let mut each = |items: &mut dyn Iterator<Item = Option<Datum<'a>>>| {
            for item in items {
                if let Some(found) = wanted(item?)? {
                    return Some(Some(found));
                }
            }
            Some(None)
        };
        let plain = |bytes| Some(Datum::Text(Text::Plain(bytes)));
        match self {
            Items::Scalars(scalar, bytes) => {
                debug_assert!(bytes.len().is_multiple_of(scalar.width()), "no item is cut");
                each(&mut bytes.chunks_exact(scalar.width()).map(|bytes| scalar.datum(bytes)))
            }
            Items::Pointers(memory, pairs) => {
                debug_assert!(pairs.len().is_multiple_of(8), "no pair is cut");
                let mut pages = Pages::new(memory);
                each(&mut pairs.chunks_exact(8).map(|pair| pages.behind(pair, 1).and_then(plain)))
            }
            Items::Payload(count, bytes) => {
                let mut left = bytes;
                each(&mut (0..count).map(|_| {
                    let (length, rest) = left.split_first_chunk()?;
                    let text;
                    (text, left) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                    plain(text)
                }))
            }
            Items::Flags(flags, bits) => {
                let named = flags.flags.iter().enumerate();
                let set = named.filter(|(index, _)| bits >> index & 1 == 1);
                each(&mut set.map(|(_, name)| plain(name.as_bytes())))
            }
            Items::Keys(keys) => {
                each(&mut keys.iter().map(|key| Some(Datum::Text(Text::Hex(&key.0)))))
            }
            Items::Outputs(outputs) => {
                each(&mut outputs.iter().map(|output| plain(output.name.as_bytes())))
            }
            Items::Receivers(messages) => {
                each(&mut messages.iter().map(|it| Some(Datum::Text(Text::Hex(&it.to.0)))))
            }
            Items::Literals(literals) => {
                each(&mut literals.iter().map(|literal| Some(literal.datum())))
            }
        }
    }

    pub(super) fn contains(self, wanted: Datum<'a>) -> Option<bool> {
        let found = self.find(|item| Some(item.equals(wanted)?.then_some(())))?;
        Some(found.is_some())
    }

    pub(super) fn contains_all(self, others: Items<'a>) -> Option<bool> {
        self.pairs(others)?;
        let missing = others.find(|other| Some((!self.contains(other)?).then_some(())))?;
        Some(missing.is_none())
    }

    pub(super) fn contains_any(self, others: Items<'a>) -> Option<bool> {
        self.pairs(others)?;
        let found = others.find(|other| Some(self.contains(other)?.then_some(())))?;
        Some(found.is_some())
    }

    /// Counts the items that are not among `others`.
    pub(super) fn count_missing(self, others: Items<'a>) -> Option<usize> {
        self.pairs(others)?;
        let mut count = 0;
        self.find(|item| {
            count += usize::from(!others.contains(item)?);
            Some(None::<()>)
        })?;
        debug_assert!(count <= self.count(), "an item is missing once");
        Some(count)
    }

    /// Gives up where a look at each pair would take long.
    fn pairs(self, others: Items<'a>) -> Option<()> {
        (self.count().saturating_mul(others.count()) <= PAIRS_MAX).then_some(())
    }
}
