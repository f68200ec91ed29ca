//! The nonces that keep an input from being admitted twice.
//!
//! There is room for the last nonces of `NONCES_MAX` keys, and anybody can make keys. So no key is
//! turned away for want of room: a full table drops the entry whose inputs expire first, and the
//! *floor* remembers the latest expiry of any dropped entry's inputs. A key without an entry may
//! have had one: an input that it signs is admitted only if it expires after the floor, so no
//! admitted input of a dropped key can be admitted again. An attacker that fills the table only
//! makes others sign with later expiries.
//!
//! Keys that the policy names keep their entries. An input of a named key without an entry has to
//! expire only after the *named floor*: the floor at the time the policy came in, because a key
//! that the older policy did not name may have been dropped until then.
//!
//! This module knows no signatures (the given keys are verified) and no policies (the names are
//! given).
//!
//! Invariant: the named floor is at most the floor.

use crate::codec::{Reader, Write};
use crate::credential::{EXPIRY_MAX, PublicKey};
use crate::error::Result;
use crate::limits::NONCES_MAX;
use crate::time::Time;

use super::changes::{Advance, Change};
use super::tracked::Tracked;
use super::trie::{Entry, Key, Trie};

/// The flag of floors of which there is one.
const HAS_FLOOR: u8 = 1;
/// The flag of floors of which there is a named one.
const HAS_NAMED_FLOOR: u8 = 2;

/// The reasons for which a nonce is not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceProblem {
    /// The very nonce that the key used last.
    Replayed,
    /// Below one that the key used.
    Reordered,
    /// The key may have signed an input with as late an expiry, and have been forgotten.
    Forgotten {
        /// The floor: the input must expire after this moment.
        floor: Time,
    },
}

/// The nonce of an input, and its expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The nonce.
    pub nonce: u64,
    /// The last moment at which it may be admitted.
    pub expires: Time,
}

/// The last nonce of each key that signed an admitted input, until seven days after the last of its
/// inputs has expired, or until the room is needed.
///
/// So nothing is ever admitted twice. An input that was signed before the last one, and was not
/// admitted, can still follow it once the entry is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Nonces {
    entries: Trie<Nonce>,
    /// The floor: an input of a key without an entry must expire after this, if an entry was
    /// dropped.
    floor: Option<Time>,
    /// The same, for a key that the policy names.
    named_floor: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonce {
    key: PublicKey,
    nonce: u64,
    /// The latest expiry of any admitted input of the key.
    moment: Time,
}

impl Entry for Nonce {
    fn key(&self) -> &Key {
        &self.key.0
    }

    fn until(&self) -> Time {
        self.moment
    }

    fn keys(&self) -> usize {
        1
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.key.0).put_u64(self.nonce).put_time(self.moment);
    }
}

impl Nonces {
    /// Bytes that they take in memory beside their own.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Checks that `keys` may use the nonce `used`, under a policy whose named keys are in
    /// `tracked`.
    ///
    /// # Errors
    ///
    /// The problem of the first key that may not.
    pub fn admit(
        &self,
        keys: &[PublicKey],
        used: Used,
        tracked: &Tracked,
    ) -> Result<(), NonceProblem> {
        self.follows(keys, used.nonce)?;
        match self.floor(keys, tracked) {
            Some(floor) if used.expires <= floor => Err(NonceProblem::Forgotten { floor }),
            _ => Ok(()),
        }
    }

    /// Checks that a nonce is above the last known one of each of `keys`.
    fn follows(&self, keys: &[PublicKey], nonce: u64) -> Result<(), NonceProblem> {
        for entry in keys.iter().filter_map(|key| self.find(key)) {
            match nonce.cmp(&entry.nonce) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal => return Err(NonceProblem::Replayed),
                std::cmp::Ordering::Less => return Err(NonceProblem::Reordered),
            }
        }
        Ok(())
    }

    /// Returns the moment after which an input of `keys` has to expire, if there is one.
    pub fn floor(&self, keys: &[PublicKey], tracked: &Tracked) -> Option<Time> {
        let of = |key: &PublicKey| match self.find(key) {
            Some(_) => None,
            None if tracked.names(key) => self.named_floor,
            None => self.floor,
        };
        keys.iter().filter_map(of).max()
    }

    /// Returns whether an admitted input of this key is remembered.
    pub fn knows(&self, key: &PublicKey) -> bool {
        self.find(key).is_some()
    }

    /// The last nonce of a key that is remembered.
    pub fn last(&self, key: &PublicKey) -> Option<u64> {
        self.find(key).map(|entry| entry.nonce)
    }

    /// Returns whether any entry was dropped before its time.
    pub(super) fn has_floor(&self) -> bool {
        self.floor.is_some()
    }

    /// Records that `keys` used the nonce `used` at `time` and forgets long-expired entries. If too
    /// many remain, drops those that expire first, of keys that the policy does not name.
    pub fn record(&mut self, keys: &[PublicKey], used: Used, time: Time, tracked: &Tracked) {
        let follows = self.follows(keys, used.nonce);
        debug_assert!(follows.is_ok(), "only admitted nonces are recorded");
        self.entries.forget(time.saturating_sub(EXPIRY_MAX));
        for &key in keys {
            let before = self.find(&key).map_or(Time::MIN, |entry| entry.moment);
            let moment = before.max(used.expires);
            self.entries.put(Nonce { key, nonce: used.nonce, moment });
        }
        while self.entries.len() > NONCES_MAX {
            self.displace(keys, tracked);
        }
        for floor in [&mut self.floor, &mut self.named_floor] {
            // A floor below `time` excludes no unexpired input.
            *floor = floor.filter(|floor| *floor >= time);
        }
        debug_assert!(self.named_floor <= self.floor, "the named floor is at most the floor");
    }

    /// Drops the entry whose inputs expire first. The policy can hardly name as many keys as there
    /// is room for; if it does, the entry of a named key goes.
    fn displace(&mut self, keys: &[PublicKey], tracked: &Tracked) {
        let of = |own, named| {
            let fits = |entry: &Nonce| {
                keys.contains(&entry.key) == own && tracked.names(&entry.key) == named
            };
            self.entries.first(fits).copied()
        };
        let order = [(false, false), (false, true), (true, false), (true, true)];
        let first = order.into_iter().find_map(|(own, named)| of(own, named));
        let Nonce { key, moment, .. } = first.expect("a table that is too long has entries");
        self.entries.remove(&key.0);
        self.floor = self.floor.max(Some(moment));
        if tracked.names(&key) {
            self.named_floor = self.named_floor.max(Some(moment));
        }
    }

    /// Notes that a new policy comes in: a key that it names may be one that the old policy did not
    /// name.
    pub(super) fn rename(&mut self) {
        self.named_floor = self.floor;
    }

    fn find(&self, key: &PublicKey) -> Option<&Nonce> {
        self.entries.get(&key.0)
    }

    /// Appends what the ledger's hash covers.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        self.entries.put_root(bytes);
        self.put_floors(bytes);
    }

    fn put_floors(&self, bytes: &mut Vec<u8>) {
        let has = |floor: Option<Time>, flag| if floor.is_some() { flag } else { 0 };
        bytes.put_u8(has(self.floor, HAS_FLOOR) | has(self.named_floor, HAS_NAMED_FLOOR));
        for floor in [self.floor, self.named_floor].into_iter().flatten() {
            bytes.put_time(floor);
        }
    }

    /// Appends the changes since `base`.
    pub(super) fn put_changes(&self, base: &Nonces, bytes: &mut Vec<u8>) {
        self.entries.put_changes(&base.entries, bytes);
        self.put_floors(bytes);
    }

    /// Reads the changes since these.
    pub(super) fn changed_by(&self, reader: &mut Reader<'_>) -> Result<Nonces> {
        let entries = self.entries.changed_by(NONCES_MAX, reader)?;
        let flags = reader.u8()?;
        if flags > HAS_FLOOR | HAS_NAMED_FLOOR || flags == HAS_NAMED_FLOOR {
            return Err(reader.fail(1, "flags of floors", flags));
        }
        let mut floor = |flag| (flags & flag != 0).then(|| reader.time()).transpose();
        let (floor, named_floor) = (floor(HAS_FLOOR)?, floor(HAS_NAMED_FLOOR)?);
        if named_floor > floor {
            let found = named_floor.map_or(0, Time::as_millis);
            return Err(reader.fail(8, "a named floor that is at most the floor", found));
        }
        Ok(Nonces { entries, floor, named_floor })
    }
}

impl Change for Nonce {
    const ADVANCES: usize = 2;
    const BYTES_MIN: usize = 34;

    fn advance(&self, old: &Nonce) -> Option<Advance> {
        let later = self.moment.as_millis().checked_sub(old.moment.as_millis())?;
        Some([self.nonce.checked_sub(old.nonce)?, later].into_iter().collect())
    }

    fn advanced(&self, by: &[u64]) -> Option<Nonce> {
        let moment = Time::from_millis(self.moment.as_millis().checked_add(by[1])?);
        Some(Nonce { nonce: self.nonce.checked_add(by[0])?, moment, ..*self })
    }

    fn put_new(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.key.0).put_varint(self.nonce).put_varint(self.moment.as_millis());
    }

    fn read_new(reader: &mut Reader<'_>) -> Result<Nonce> {
        let key = PublicKey(reader.array()?);
        let (nonce, moment) = (reader.varint()?, reader.varint()?);
        Ok(Nonce { key, nonce, moment: Time::from_millis(moment) })
    }
}
