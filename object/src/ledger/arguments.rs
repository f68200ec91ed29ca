//! The arguments of past versions, as far as a policy reads them: what they sum up to, the last
//! value, and which different values there were.
//!
//! Only what the policy names is kept, from the version that brings the policy in, or from an
//! earlier one if the policy before named it as well. Values are kept as hashes, up to a count; the
//! last one is kept as it is, unless it is long.
//!
//! Nothing is guessed: a figure that depends on more than is remembered is *unknown*, and a policy
//! that asks for it has to refuse.
//!
//! Invariant: marks ascend by action and argument, and each remembers something.

use std::sync::Arc;

use super::latest::{Amount, Latest, Seen};
use super::tracked::{Argument, Class, Keep, Tracked, TrackedArgument, Window};
use super::trie::Entry;
use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::hash::{LedgerLeaf, LedgerValue};
use crate::limits::{NAME_BYTES_MAX, PAST_ARGUMENTS_MAX, PAST_TEXT_BYTES_MAX};
use crate::time::Time;

/// The greatest sum, which stands for more as well.
const SUM_MAX: u64 = i64::MAX as u64;
/// A sum for ever that cannot be counted.
const UNKNOWN: u64 = u64::MAX;
/// The flags of the parts of a mark that changed.
const TOTAL: u8 = 1;
const AMOUNTS: u8 = 2;
const LAST: u8 = 4;
const VALUES: u8 = 8;
const SIGNED: u8 = 16;
/// Bytes that the changes of a mark have at least, and those of a new one.
const CHANGED_BYTES_MIN: usize = 2;
const NEW_BYTES_MIN: usize = 5;

/// The arguments of past versions, as far as the policy reads them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Arguments(Vec<Arc<ArgumentMark>>);

/// The record of one argument of the versions that one action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentMark {
    action: String,
    argument: String,
    class: Class,
    /// The sum of all amounts, at most `SUM_MAX`, or `UNKNOWN`.
    total: u64,
    /// The amounts of a day, other than 0.
    amounts: Latest<Amount>,
    last: Option<Last>,
    values: Latest<Seen>,
    /// The values, each with the key that asked.
    signed: Latest<Seen>,
    /// The hash of the mark.
    hash: LedgerLeaf,
}

/// The last value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// A number from 0 on; 1 for `true`.
    Number(u64),
    /// A negative number: -1 less this.
    Negative(u64),
    /// A text, in UTF-8, or bytes.
    Bytes(Box<[u8]>),
    /// A text, or bytes, longer than [`PAST_TEXT_BYTES_MAX`].
    TooLong,
}

impl Arguments {
    pub(super) const NONE: Arguments = Arguments(Vec::new());

    /// Bytes that they take in memory beside their own.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.0[..]) + self.0.iter().map(|mark| mark.memory_bytes()).sum::<usize>()
    }

    /// An upper bound of the bytes that they have when they are written alone.
    pub(super) fn encoded_bytes_about(&self) -> usize {
        let mark = |mark: &Arc<ArgumentMark>| {
            let last = match &mark.last {
                Some(Last::Bytes(bytes)) => bytes.len(),
                _ => 0,
            };
            let entries = 28 * mark.amounts.len() + 42 * (mark.values.len() + mark.signed.len());
            64 + mark.action.len() + mark.argument.len() + last + entries
        };
        self.0.iter().map(mark).sum()
    }

    fn find(&self, place: (&str, &str)) -> Result<usize, usize> {
        self.0.binary_search_by(|mark| mark.place().cmp(&place))
    }

    /// The record of an argument; none when there is nothing to remember of it.
    pub(super) fn of(&self, action: &str, argument: &str) -> Option<&ArgumentMark> {
        self.find((action, argument)).ok().map(|index| &*self.0[index])
    }

    /// Returns whether all that is kept here is something that `tracked` asks for.
    pub(super) fn is_within(&self, tracked: &Tracked) -> bool {
        self.0.iter().all(|mark| mark.asked(tracked).is_some_and(|asked| mark.is_within(asked)))
    }

    /// Forgets whatever `tracked` does not ask for.
    pub(super) fn forget(&mut self, tracked: &Tracked) {
        let kept = self.0.drain(..).filter_map(|mark| {
            let asked = mark.asked(tracked)?;
            match mark.is_within(asked) {
                true => Some(mark),
                false => ArgumentMark::clone(&mark).only(asked).hashed(),
            }
        });
        self.0 = kept.collect();
    }

    /// Records the arguments of a version of `action`, at `time`.
    pub(super) fn record(
        &mut self,
        tracked: &Tracked,
        (action, arguments): (&str, &[u8]),
        (seq, time): (u64, Time),
        signer: Option<&PublicKey>,
    ) {
        for asked in tracked.arguments_of(action) {
            let Some(found) = tracked.read(asked, arguments) else { continue };
            let place = self.find(asked.place());
            let mut mark = match place {
                Ok(index) => ArgumentMark::clone(&self.0[index]),
                Err(_) => ArgumentMark::new(action, &asked.argument, asked.class),
            };
            mark.record(asked, &found, (seq, time), signer);
            match (place, mark.hashed()) {
                (Ok(index), Some(mark)) => self.0[index] = mark,
                (Ok(index), None) => drop(self.0.remove(index)),
                (Err(index), Some(mark)) => self.0.insert(index, mark),
                (Err(_), None) => {}
            }
        }
        debug_assert!(self.0.len() <= PAST_ARGUMENTS_MAX, "a policy asks for so many");
    }

    /// Appends what the ledger's hash covers: nothing when there are none.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        if !self.0.is_empty() {
            bytes.put_count(self.0.len());
            for mark in &self.0 {
                bytes.put(&mark.hash.0);
            }
        }
    }

    /// Appends the changes since `base`: nothing when there are none.
    pub(super) fn put_changes(&self, base: &Arguments, bytes: &mut Vec<u8>) {
        let now = |old: &ArgumentMark| {
            let now = self.of(&old.action, &old.argument);
            now.filter(|now| now.class == old.class)
        };
        let is_changed = |(_, old): &(usize, &Arc<ArgumentMark>)| {
            now(old).is_none_or(|now| now.hash != old.hash)
        };
        let changed = base.0.iter().enumerate().filter(is_changed);
        let changed: Vec<(usize, &Arc<ArgumentMark>)> = changed.collect();
        let was = |mark: &ArgumentMark| {
            let was = base.of(&mark.action, &mark.argument);
            was.is_some_and(|was| was.class == mark.class)
        };
        let new: Vec<&Arc<ArgumentMark>> = self.0.iter().filter(|mark| !was(mark)).collect();
        if changed.is_empty() && new.is_empty() {
            return;
        }
        bytes.put_count(changed.len());
        let mut next = 0;
        for (index, old) in changed {
            bytes.put_count(index - next);
            next = index + 1;
            let changes = now(old).map(|now| now.changes(old));
            bytes.put_blob(&changes.unwrap_or_default());
        }
        bytes.put_count(new.len());
        for mark in new {
            bytes.put_blob(mark.action.as_bytes()).put_blob(mark.argument.as_bytes());
            bytes.put_u8(mark.class.code());
            let empty = ArgumentMark::new(&mark.action, &mark.argument, mark.class);
            bytes.put_blob(&mark.changes(&empty));
        }
    }

    /// Reads the changes since these, which are all bytes that are left.
    pub(super) fn changed_by(&self, reader: &mut Reader<'_>) -> Result<Arguments> {
        if reader.left() == 0 {
            return Ok(self.clone());
        }
        let (mut kept, mut next) = (Vec::with_capacity(self.0.len()), 0);
        for _ in 0..reader.count(self.0.len(), CHANGED_BYTES_MIN)? {
            let index = reader.varint()?.saturating_add(next as u64);
            let found = usize::try_from(index).ok().filter(|index| *index < self.0.len());
            let index = found.ok_or_else(|| reader.fail(0, "an argument that is here", index))?;
            kept.extend_from_slice(&self.0[next..index]);
            next = index + 1;
            kept.extend(self.0[index].changed_by(reader)?);
        }
        kept.extend_from_slice(&self.0[next..]);
        let mut changed = Arguments(kept);
        let room = PAST_ARGUMENTS_MAX.saturating_sub(changed.0.len());
        for _ in 0..reader.count(room, NEW_BYTES_MIN)? {
            let action = reader.text(NAME_BYTES_MAX)?;
            let argument = reader.text(NAME_BYTES_MAX)?;
            let code = reader.u8()?;
            let class = Class::of_code(code).ok_or_else(|| reader.fail(1, "0 to 3", code))?;
            let mark = ArgumentMark::new(action, argument, class).changed_by(reader)?;
            let mark = mark.ok_or_else(|| reader.fail(0, "something of a new argument", 0))?;
            match changed.find(mark.place()) {
                Ok(_) => return Err(reader.fail(0, "a new argument", argument)),
                Err(index) => changed.0.insert(index, mark),
            }
        }
        Ok(changed)
    }
}

/// Bytes of a mark and of the counts that an [`Arc`] has beside it.
const MARK_OWN_BYTES: usize = size_of::<ArgumentMark>() + 2 * size_of::<usize>();

impl ArgumentMark {
    /// Returns the mark of an argument that no version had yet.
    fn new(action: &str, argument: &str, class: Class) -> ArgumentMark {
        ArgumentMark {
            action: action.to_string(),
            argument: argument.to_string(),
            class,
            total: 0,
            amounts: Latest::default(),
            last: None,
            values: Latest::default(),
            signed: Latest::default(),
            hash: LedgerLeaf::default(),
        }
    }

    fn place(&self) -> (&str, &str) {
        (&self.action, &self.argument)
    }

    fn memory_bytes(&self) -> usize {
        let last = match &self.last {
            Some(Last::Bytes(bytes)) => bytes.len(),
            _ => 0,
        };
        let entries = self.amounts.memory_bytes() + self.values.memory_bytes();
        let text = self.action.len() + self.argument.len() + last;
        MARK_OWN_BYTES + text + entries + self.signed.memory_bytes()
    }

    /// Returns the part of `tracked` about the argument, if it is still of the same kind.
    fn asked<'t>(&self, tracked: &'t Tracked) -> Option<&'t TrackedArgument> {
        let asked = tracked.argument(&self.action, &self.argument)?;
        (asked.class == self.class).then_some(asked)
    }

    fn is_within(&self, asked: &TrackedArgument) -> bool {
        (asked.total || self.total == 0)
            && (asked.amounts || self.amounts.is_empty())
            && (asked.last || self.last.is_none())
            && (asked.values > Keep::Nothing || self.values.is_empty())
            && (asked.signed > Keep::Nothing || self.signed.is_empty())
    }

    /// The mark without what is not asked for.
    fn only(mut self, asked: &TrackedArgument) -> ArgumentMark {
        if !asked.total {
            self.total = 0;
        }
        if !asked.amounts {
            self.amounts = Latest::default();
        }
        self.last = self.last.filter(|_| asked.last);
        if asked.values == Keep::Nothing {
            self.values = Latest::default();
        }
        if asked.signed == Keep::Nothing {
            self.signed = Latest::default();
        }
        self
    }

    /// Takes in the argument of a version.
    fn record(
        &mut self,
        asked: &TrackedArgument,
        found: &Argument<'_>,
        (seq, time): (u64, Time),
        signer: Option<&PublicKey>,
    ) {
        debug_assert_eq!(found.class(), self.class, "an argument has one class");
        if let Argument::Integer(number) = *found {
            // A sum does not go down: a negative number cannot be counted, and is not passed over.
            let amount = (number >= 0).then(|| u64::try_from(number).unwrap_or(SUM_MAX));
            let amount = amount.map(|amount| amount.min(SUM_MAX));
            if asked.total {
                self.total = amount.map_or(UNKNOWN, |amount| added(self.total, amount));
            }
            if asked.amounts {
                self.amounts.forget(time);
                if amount != Some(0) {
                    self.amounts.record(Amount::new(seq, time, amount.unwrap_or(0)));
                }
            }
        }
        if asked.last {
            self.last = Some(Last::of(found));
        }
        let by = signer.filter(|_| asked.signed > Keep::Nothing);
        let values = (asked.values > Keep::Nothing).then(|| found.value_hash(None));
        let signed = by.map(|signer| found.value_hash(Some(signer)));
        for (seen, keep, value) in
            [(&mut self.values, asked.values, values), (&mut self.signed, asked.signed, signed)]
        {
            if keep == Keep::Day {
                seen.forget(time);
            }
            if let Some(value) = value {
                seen.record(Seen::new(value, time));
            }
        }
    }

    /// Returns the mark with its hash; none when it has nothing to remember.
    fn hashed(mut self) -> Option<Arc<ArgumentMark>> {
        let is_empty = self.total == 0
            && self.amounts.is_empty()
            && self.last.is_none()
            && self.values.is_empty()
            && self.signed.is_empty();
        if is_empty {
            return None;
        }
        let mut bytes = Vec::with_capacity(192);
        bytes.put_blob(self.action.as_bytes()).put_blob(self.argument.as_bytes());
        bytes.put_u8(self.class.code()).put_u64(self.total);
        self.amounts.put_root(&mut bytes);
        Last::put(self.last.as_ref(), &mut bytes);
        self.values.put_root(&mut bytes);
        self.signed.put_root(&mut bytes);
        self.hash = LedgerLeaf::of(&bytes);
        Some(Arc::new(self))
    }

    /// Returns the parts that are not as they were in an earlier mark of the same argument.
    fn changes(&self, old: &ArgumentMark) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let flag = |is_changed: bool, flag: u8| if is_changed { flag } else { 0 };
        let changed = flag(self.total != old.total, TOTAL)
            | flag(self.amounts != old.amounts, AMOUNTS)
            | flag(self.last != old.last, LAST)
            | flag(self.values != old.values, VALUES)
            | flag(self.signed != old.signed, SIGNED);
        bytes.put_u8(changed);
        if changed & TOTAL != 0 {
            bytes.put_varint(self.total);
        }
        if changed & AMOUNTS != 0 {
            bytes.put_blob(&self.amounts.changes(&old.amounts));
        }
        if changed & LAST != 0 {
            Last::put(self.last.as_ref(), &mut bytes);
        }
        if changed & VALUES != 0 {
            bytes.put_blob(&self.values.changes(&old.values));
        }
        if changed & SIGNED != 0 {
            bytes.put_blob(&self.signed.changes(&old.signed));
        }
        bytes
    }

    /// Reads the mark that this one became; none when it went.
    fn changed_by(&self, outer: &mut Reader<'_>) -> Result<Option<Arc<ArgumentMark>>> {
        let bytes = outer.blob(usize::MAX)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new("changes of a ledger", bytes);
        let flags = reader.u8()?;
        if flags & !(TOTAL | AMOUNTS | LAST | VALUES | SIGNED) != 0 {
            return Err(reader.fail(1, "flags of an argument", flags));
        }
        let mut changed = self.clone();
        if flags & TOTAL != 0 {
            changed.total = reader.varint()?;
            if changed.total > SUM_MAX && changed.total != UNKNOWN {
                return Err(reader.fail(0, "a sum below 2^63", changed.total));
            }
        }
        if flags & AMOUNTS != 0 {
            changed.amounts = self.amounts.changed_by(reader.blob(usize::MAX)?)?;
        }
        if flags & LAST != 0 {
            changed.last = Last::read(self.class, &mut reader)?;
        }
        if flags & VALUES != 0 {
            changed.values = self.values.changed_by(reader.blob(usize::MAX)?)?;
        }
        if flags & SIGNED != 0 {
            changed.signed = self.signed.changed_by(reader.blob(usize::MAX)?)?;
        }
        let sums = changed.total != 0 || !changed.amounts.is_empty();
        if sums && self.class != Class::Integer {
            return Err(reader.fail(0, "sums of integers", "one of something else"));
        }
        reader.end()?;
        let mark = changed.hashed();
        mark.map(Some).ok_or_else(|| outer.fail(0, "something to remember", "nothing"))
    }

    /// Returns the sum of the argument over the versions of a window before `now`, each adding what
    /// it had: exact below `i64::MAX`, which stands for more as well. None when it is unknown:
    /// a number of the window was negative, or there were more numbers than are remembered.
    pub fn sum(&self, window: Window, now: Time) -> Option<u64> {
        if window == Window::Ever {
            return (self.total != UNKNOWN).then_some(self.total);
        }
        let mut sum = self.amounts.knows(window, now).then_some(0);
        self.amounts.within(window, now, |entry| {
            let counted = sum.filter(|_| entry.amount > 0);
            sum = counted.map(|sum| added(sum, entry.amount));
        });
        sum
    }

    /// The last value, if a version had the argument.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Returns how many different values the versions of a window before `now` had. None when it
    /// is unknown: there were more than are remembered.
    pub fn distinct(&self, window: Window, now: Time) -> Option<u64> {
        let mut count = 0;
        self.values.within(window, now, |_| count += 1);
        self.values.knows(window, now).then_some(count)
    }

    /// Returns whether a version of a window before `now` had this value or, if the hash is of a
    /// signer as well, had it and that key. None when it is unknown.
    pub fn has(
        &self,
        value: &LedgerValue,
        is_signed: bool,
        window: Window,
        now: Time,
    ) -> Option<bool> {
        let seen = if is_signed { &self.signed } else { &self.values };
        let is_seen = |seen: &Seen| window.has(seen.until(), now);
        match seen.get(&value.0) {
            Some(seen) => Some(is_seen(seen)),
            None => seen.knows(window, now).then_some(false),
        }
    }
}

/// Returns a sum to which an amount is added: `SUM_MAX` stands for more as well, and what is
/// unknown stays so.
fn added(sum: u64, amount: u64) -> u64 {
    debug_assert!(amount <= SUM_MAX, "an amount is below 2^63");
    match sum {
        UNKNOWN => UNKNOWN,
        sum => (sum + amount).min(SUM_MAX),
    }
}

impl Last {
    fn of(found: &Argument<'_>) -> Last {
        match *found {
            Argument::Integer(number) => match u64::try_from(number) {
                Ok(number) => Last::Number(number),
                Err(_) => Last::Negative(u64::try_from(-1 - number).unwrap_or(u64::MAX)),
            },
            Argument::Bool(value) => Last::Number(value.into()),
            found => found.with_bytes(|bytes| match bytes.len() {
                ..=PAST_TEXT_BYTES_MAX => Last::Bytes(bytes.into()),
                _ => Last::TooLong,
            }),
        }
    }

    /// Appends the last value, or that there is none.
    fn put(last: Option<&Last>, bytes: &mut Vec<u8>) {
        match last {
            None => bytes.put_u8(0),
            Some(Last::Number(number)) => bytes.put_u8(1).put_varint(*number),
            Some(Last::Negative(number)) => bytes.put_u8(2).put_varint(*number),
            Some(Last::Bytes(content)) => bytes.put_u8(3).put_blob(content),
            Some(Last::TooLong) => bytes.put_u8(4),
        };
    }

    fn read(class: Class, reader: &mut Reader<'_>) -> Result<Option<Last>> {
        let is_long = matches!(class, Class::Text | Class::Bytes);
        Ok(Some(match (reader.u8()?, class) {
            (0, _) => return Ok(None),
            (1, Class::Bool) => Last::Number(reader.flag()?.into()),
            (1, Class::Integer) => Last::Number(reader.varint()?),
            (2, Class::Integer) => match reader.varint()? {
                number if number <= i64::MAX as u64 => Last::Negative(number),
                number => return Err(reader.fail(0, "a number from -2^63 on", number)),
            },
            (3, Class::Text) => Last::Bytes(reader.text(PAST_TEXT_BYTES_MAX)?.as_bytes().into()),
            (3, Class::Bytes) => Last::Bytes(reader.blob(PAST_TEXT_BYTES_MAX)?.into()),
            (4, _) if is_long => Last::TooLong,
            (code, _) => return Err(reader.fail(1, "a last value of its kind", code)),
        }))
    }
}
