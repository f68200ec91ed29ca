//! Default nonces: the microseconds since 1970, or one more than the last.
//!
//! The last is the last that was issued here, and the last that the object remembers of the key or
//! of the session: an object may have been on a host whose clock was ahead, a clock may have gone
//! back, and a caller may choose any nonce. The nonces that a key has used bind that key alone.
//!
//! This module does not know the inputs, nor where the last ones are kept.
//!
//! Invariant: the last nonces are always locked in the order of their addresses, so that there is
//! no deadlock.

use std::collections::HashMap;

use object::credential::PublicKey;
use object::hash::{ObjectId, SessionId};
use storage::lock::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::rank;

/// The nonces above the clock's that are remembered with their owners, of the objects of one shard.
const ABOVE_MAX: usize = 4096;

/// The owner of ascending nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Key(PublicKey),
    Session(SessionId),
}

/// The last nonces that were issued for some objects.
#[derive(Debug, Default)]
pub(crate) struct IssuedNonces {
    /// The last nonce by the clock.
    last: u64,
    /// The nonces above it, which an object's memory of a key required.
    above: HashMap<(ObjectId, Whose), u64>,
}

impl IssuedNonces {
    /// A nonce by the clock, above the last one.
    fn by_clock(&mut self) -> u64 {
        self.last = Clock::microseconds().max(self.last + 1);
        self.last
    }

    /// A nonce of these for the object, above `by_clock` and `used`, the last one that it remembers
    /// of them.
    fn above(&mut self, object: ObjectId, whose: &[Whose], by_clock: u64, used: u64) -> u64 {
        let issued = whose.iter().filter_map(|&of| self.above.get(&(object, of)));
        let last = issued.copied().max().unwrap_or(0).max(used);
        if last < by_clock {
            return by_clock;
        }
        if self.above.len() + whose.len() > ABOVE_MAX {
            self.above.retain(|_, nonce| *nonce > by_clock);
        }
        if self.above.len() + whose.len() > ABOVE_MAX {
            // Calls that were issued for and are still on their way may be refused as replayed.
            self.above.clear();
        }
        // There is no nonce above the greatest: the object refuses it then.
        let nonce = last.saturating_add(1);
        self.above.extend(whose.iter().map(|&of| ((object, of), nonce)));
        debug_assert!(nonce > used || nonce == u64::MAX, "a nonce is above those that were used");
        nonce
    }
}

/// The last issued nonces, locked. Hold them until the inputs are posted: nonces come in the order
/// of the mail.
#[derive(Debug)]
pub(crate) struct Nonces<'a>(Vec<(usize, MutexGuard<'a, IssuedNonces, rank::Nonces>)>);

impl<'a> Nonces<'a> {
    /// Locks them.
    pub(crate) fn lock(
        last: impl Iterator<Item = &'a Mutex<IssuedNonces, rank::Nonces>>,
    ) -> Nonces<'a> {
        let mut last: Vec<&Mutex<IssuedNonces, rank::Nonces>> = last.collect();
        last.sort_unstable_by_key(|last| address(last));
        last.dedup_by_key(|last| address(last));
        Nonces(last.into_iter().map(|last| (address(last), last.lock())).collect())
    }

    /// A nonce of these for the object, above those `last` issued, which are among those locked,
    /// and above `used`, the last one that the object remembers of them.
    pub(crate) fn next(
        &mut self,
        last: &Mutex<IssuedNonces, rank::Nonces>,
        object: ObjectId,
        whose: &[Whose],
        used: u64,
    ) -> u64 {
        let index = self.0.binary_search_by_key(&address(last), |held| held.0);
        let issued = &mut *self.0[index.expect("it was locked before")].1;
        let by_clock = issued.by_clock();
        issued.above(object, whose, by_clock, used)
    }
}

fn address(last: &Mutex<IssuedNonces, rank::Nonces>) -> usize {
    std::ptr::from_ref(last).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_above_the_clock_the_last_drawn_and_what_the_object_remembers() {
        let mut issued = IssuedNonces::default();
        let (object, other) = (ObjectId([1; 32]), ObjectId([2; 32]));
        let [one, two] = [1, 2].map(|byte| Whose::Key(PublicKey([byte; 32])));
        let by_clock = issued.by_clock();
        assert!(issued.by_clock() > by_clock && by_clock > 1 << 50, "microseconds since 1970");
        assert_eq!(issued.above(object, &[one], 100, 0), 100);
        assert_eq!(issued.above(object, &[one], 100, 100), 101);
        assert_eq!(issued.above(object, &[one], 100, 100), 102, "the first is on its way");
        assert_eq!(issued.above(object, &[two], 100, 7), 100, "another key");
        assert_eq!(issued.above(other, &[one], 100, 0), 100, "another object");
        assert_eq!(issued.above(object, &[two, one], 100, 7), 103, "of both");
        assert_eq!(issued.above(object, &[two], 100, 7), 104);
        assert_eq!(issued.above(object, &[one], 200, 103), 200, "the clock has caught up");
        assert_eq!(issued.above(object, &[one], 200, u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_remembered_of_nonces_above_the_clock_is_bounded() {
        let mut issued = IssuedNonces::default();
        let whose = [Whose::Session(SessionId([3; 32]))];
        for number in 0..3 * ABOVE_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            assert_eq!(issued.above(ObjectId(id), &whose, 10, 50), 51);
            assert!(issued.above.len() <= ABOVE_MAX);
        }
    }
}
