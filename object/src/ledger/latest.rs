//! The latest entries of a map, up to a count, and how late those are of which there was no room.
//!
//! A full map drops its earliest entry, and the *floor* remembers the latest moment of any that was
//! dropped. So what is asked of a window is known unless the window reaches back to the floor.
//!
//! Invariant: an entry that was dropped is of the floor's moment or an earlier one.

use super::changes::{Advance, Change};
use super::tracked::{DAY, Window};
use super::trie::{Entry, Key, Trie};
use crate::codec::{Reader, Write};
use crate::error::Result;
use crate::hash::LedgerValue;
use crate::limits::{PAST_VALUES_MAX, SEQ_MAX};
use crate::time::Time;

/// The latest entries of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latest<E: Entry> {
    entries: Trie<E>,
    /// The latest moment of any entry that was dropped for want of room.
    floor: Option<Time>,
}

impl<E: Entry> Default for Latest<E> {
    fn default() -> Latest<E> {
        Latest { entries: Trie::default(), floor: None }
    }
}

impl<E: Change> Latest<E> {
    /// Bytes that it takes in memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    /// Returns whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.floor.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether every entry of a window is here.
    pub(super) fn knows(&self, window: Window, now: Time) -> bool {
        self.floor.is_none_or(|floor| !window.has(floor, now))
    }

    /// The entry of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&E> {
        self.entries.get(key)
    }

    /// Calls `each` with the entries of a window.
    pub(super) fn within(&self, window: Window, now: Time, mut each: impl FnMut(&E)) {
        self.entries.each(&mut |entry| {
            if window.has(entry.until(), now) {
                each(entry);
            }
        });
    }

    /// Puts an entry in the place of the one with its key; drops the earliest, if they are too
    /// many.
    pub(super) fn record(&mut self, entry: E) {
        self.entries.put(entry);
        if self.entries.len() > PAST_VALUES_MAX {
            let first = self.entries.first(|_| true).expect("a full map has entries").clone();
            self.entries.remove(first.key());
            self.floor = self.floor.max(Some(first.until()));
        }
        debug_assert!(self.entries.len() <= PAST_VALUES_MAX, "one more than there is room for");
    }

    /// Forgets what is a day old.
    pub(super) fn forget(&mut self, now: Time) {
        if let Some(edge) = now.checked_sub(DAY) {
            self.entries.forget(Time::from_millis(edge.as_millis() + 1));
        }
        self.floor = self.floor.filter(|floor| Window::Day.has(*floor, now));
    }

    /// Appends what the ledger's hash covers.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        self.entries.put_root(bytes);
        self.put_floor(bytes);
    }

    fn put_floor(&self, bytes: &mut Vec<u8>) {
        bytes.put_option(self.floor.map(|floor| floor.as_millis().to_le_bytes()));
    }

    /// Returns the changes since `base`, as bytes.
    pub(super) fn changes(&self, base: &Latest<E>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.entries.put_changes(&base.entries, &mut bytes);
        self.put_floor(&mut bytes);
        bytes
    }

    /// Reads the map that this one became, from exactly the bytes of its changes.
    pub(super) fn changed_by(&self, bytes: &[u8]) -> Result<Latest<E>> {
        let mut reader = Reader::new("changes of a ledger", bytes);
        let entries = self.entries.changed_by(PAST_VALUES_MAX, &mut reader)?;
        let floor = reader.option()?.map(|floor| Time::from_millis(u64::from_le_bytes(floor)));
        reader.end()?;
        Ok(Latest { entries, floor })
    }
}

/// An amount that a version added to the sum of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    /// The version's seq, highest byte first, and zeros.
    key: Key,
    time: Time,
    /// The amount, `i64::MAX` standing for more as well; 0 if it cannot be counted.
    pub(super) amount: u64,
}

impl Amount {
    pub(super) fn new(seq: u64, time: Time, amount: u64) -> Amount {
        let mut key = Key::default();
        key[..8].copy_from_slice(&seq.to_be_bytes());
        Amount { key, time, amount }
    }

    fn seq(&self) -> u64 {
        u64::from_be_bytes(*self.key.first_chunk().expect("a key is longer"))
    }
}

impl Entry for Amount {
    fn key(&self) -> &Key {
        &self.key
    }

    fn until(&self) -> Time {
        self.time
    }

    fn keys(&self) -> usize {
        1
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.seq()).put_time(self.time).put_u64(self.amount);
    }
}

impl Change for Amount {
    const ADVANCES: usize = 1;
    const BYTES_MIN: usize = 3;

    /// A version's amount stays what it is.
    fn advance(&self, _: &Amount) -> Option<Advance> {
        None
    }

    fn advanced(&self, _: &[u64]) -> Option<Amount> {
        None
    }

    fn put_new(&self, bytes: &mut Vec<u8>) {
        bytes.put_varint(self.seq()).put_varint(self.time.as_millis()).put_varint(self.amount);
    }

    fn read_new(reader: &mut Reader<'_>) -> Result<Amount> {
        let (seq, time, amount) = (reader.varint()?, reader.varint()?, reader.varint()?);
        if seq > SEQ_MAX || amount > i64::MAX as u64 {
            return Err(reader.fail(0, "a version's seq and an amount below 2^63", amount));
        }
        Ok(Amount::new(seq, Time::from_millis(time), amount))
    }
}

/// A value that an argument had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    value: LedgerValue,
    /// The time of the last version that had it.
    time: Time,
}

impl Seen {
    pub(super) fn new(value: LedgerValue, time: Time) -> Seen {
        Seen { value, time }
    }
}

impl Entry for Seen {
    fn key(&self) -> &Key {
        &self.value.0
    }

    fn until(&self) -> Time {
        self.time
    }

    fn keys(&self) -> usize {
        1
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.value.0).put_time(self.time);
    }
}

impl Change for Seen {
    const ADVANCES: usize = 1;
    const BYTES_MIN: usize = 33;

    fn advance(&self, old: &Seen) -> Option<Advance> {
        let later = self.time.as_millis().checked_sub(old.time.as_millis())?;
        Some([later].into_iter().collect())
    }

    fn advanced(&self, by: &[u64]) -> Option<Seen> {
        let time = Time::from_millis(self.time.as_millis().checked_add(by[0])?);
        Some(Seen { time, ..*self })
    }

    fn put_new(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.value.0).put_varint(self.time.as_millis());
    }

    fn read_new(reader: &mut Reader<'_>) -> Result<Seen> {
        let value = LedgerValue(reader.array()?);
        Ok(Seen { value, time: Time::from_millis(reader.varint()?) })
    }
}
