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
//! Invariant: entries ascend by key; the named floor is at most the floor.

use crate::codec::{Reader, Write};
use crate::credential::{EXPIRY_MAX, PublicKey};
use crate::error::Result;
use crate::limits::NONCES_MAX;
use crate::time::Time;

use super::past::Tracked;

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
    entries: Vec<Nonce>,
    /// The floor: an input of a key without an entry must expire after this; [`Time::MIN`] when
    /// nothing was dropped.
    floor: Time,
    /// The same, for a key that the policy names.
    named_floor: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonce {
    key: PublicKey,
    nonce: u64,
    /// The latest expiry of any admitted input of the key.
    moment: Time,
}

const NONCE_BYTES: usize = 48;

impl Nonces {
    /// Bytes that they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.entries[..])
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
            floor if Time::MIN < floor && used.expires <= floor => {
                Err(NonceProblem::Forgotten { floor })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a nonce is above the last known one of each of `keys`.
    fn follows(&self, keys: &[PublicKey], nonce: u64) -> Result<(), NonceProblem> {
        for key in keys {
            if let Ok(index) = self.find(key) {
                match nonce.cmp(&self.entries[index].nonce) {
                    std::cmp::Ordering::Greater => {}
                    std::cmp::Ordering::Equal => return Err(NonceProblem::Replayed),
                    std::cmp::Ordering::Less => return Err(NonceProblem::Reordered),
                }
            }
        }
        Ok(())
    }

    /// The moment after which an input of `keys` has to expire; [`Time::MIN`] when there is none.
    pub fn floor(&self, keys: &[PublicKey], tracked: &Tracked) -> Time {
        let of = |key: &PublicKey| match self.find(key) {
            Ok(_) => Time::MIN,
            Err(_) if tracked.names(key) => self.named_floor,
            Err(_) => self.floor,
        };
        keys.iter().map(of).max().unwrap_or_default()
    }

    /// Returns whether an admitted input of this key is remembered.
    pub fn knows(&self, key: &PublicKey) -> bool {
        self.find(key).is_ok()
    }

    /// The last nonce of a key that is remembered.
    pub fn last(&self, key: &PublicKey) -> Option<u64> {
        self.find(key).ok().map(|index| self.entries[index].nonce)
    }

    /// Returns whether any entry was dropped before its time.
    pub(super) fn has_floor(&self) -> bool {
        self.floor > Time::MIN
    }

    /// Records that `keys` used the nonce `used` at `time` and forgets long-expired entries. If too
    /// many remain, drops those that expire first, of keys that the policy does not name.
    pub fn record(&mut self, keys: &[PublicKey], used: Used, time: Time, tracked: &Tracked) {
        let follows = self.follows(keys, used.nonce);
        debug_assert!(follows.is_ok(), "only admitted nonces are recorded");
        self.entries.retain(|entry| entry.moment.saturating_add(EXPIRY_MAX) >= time);
        for &key in keys {
            match self.find(&key) {
                Ok(index) => {
                    let entry = &mut self.entries[index];
                    entry.nonce = used.nonce;
                    entry.moment = entry.moment.max(used.expires);
                }
                Err(index) => {
                    let entry = Nonce { key, nonce: used.nonce, moment: used.expires };
                    self.entries.insert(index, entry);
                }
            }
        }
        while self.entries.len() > NONCES_MAX {
            self.displace(keys, tracked);
        }
        for floor in [&mut self.floor, &mut self.named_floor] {
            // A floor below `time` excludes no unexpired input.
            *floor = if *floor < time { Time::MIN } else { *floor };
        }
        debug_assert!(self.check_invariants(), "the table holds together");
    }

    /// Drops the entry whose inputs expire first. The policy can hardly name as many keys as there
    /// is room for; if it does, the entry of a named key goes.
    fn displace(&mut self, keys: &[PublicKey], tracked: &Tracked) {
        let order = |(_, entry): &(usize, &Nonce)| {
            let (own, named) = (keys.contains(&entry.key), tracked.names(&entry.key));
            (own, named, entry.moment, entry.key)
        };
        let first = self.entries.iter().enumerate().min_by_key(order);
        let index = first.map(|(index, _)| index).expect("a table that is too long has entries");
        let Nonce { key, moment, .. } = self.entries.remove(index);
        self.floor = self.floor.max(moment);
        if tracked.names(&key) {
            self.named_floor = self.named_floor.max(moment);
        }
    }

    /// Notes that a new policy comes in: a key that it names may be one that the old policy did not
    /// name.
    pub(super) fn rename(&mut self) {
        self.named_floor = self.floor;
    }

    fn check_invariants(&self) -> bool {
        let Nonces { entries, floor, named_floor } = self;
        entries.is_sorted_by(|one, next| one.key < next.key)
            && entries.len() <= NONCES_MAX
            && named_floor <= floor
    }

    fn find(&self, key: &PublicKey) -> Result<usize, usize> {
        self.entries.binary_search_by_key(key, |entry| entry.key)
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.entries.len());
        for entry in &self.entries {
            bytes.put(&entry.key.0).put_u64(entry.nonce).put_time(entry.moment);
        }
        bytes.put_time(self.floor).put_time(self.named_floor);
    }

    pub(super) fn decode_from(reader: &mut Reader<'_>) -> Result<Nonces> {
        let count = reader.count(NONCES_MAX, NONCE_BYTES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key = PublicKey(reader.array()?);
            entries.push(Nonce { key, nonce: reader.u64()?, moment: reader.time()? });
        }
        if !entries.is_sorted_by(|one, next| one.key < next.key) {
            return Err(reader.fail(0, "ascending keys", "keys out of order"));
        }
        let (floor, named_floor) = (reader.time()?, reader.time()?);
        if named_floor > floor {
            let (most, found) = (floor.as_millis(), named_floor.as_millis());
            return Err(reader.fail(8, &format!("at most the floor, {most}"), found));
        }
        Ok(Nonces { entries, floor, named_floor })
    }
}
