//! Residency: the memory that residents take, and the order in which they leave it.
//!
//! They stand in a ring, as the pages of an operating system do (the clock of Corbató, "A paging
//! experiment with the Multics system", 1968): a hand goes round, takes out objects that nobody
//! asked for since it came by last, and leaves the others in for a round. This module does not know
//! what an object is.
//!
//! Invariant: `bytes` is the sum of the last reported sizes of the residents in the ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::lock::Mutex;

use crate::rank;
use crate::run::resident::{Cooled, Resident};

/// Residents that the hand passes at a time, so that nobody waits for a whole round.
const PASSED_MAX: usize = 64;
/// Residents that a check of the ring compares with the last.
const CHECKED_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Residency {
    max: u64,
    bytes: AtomicU64,
    ring: Mutex<VecDeque<Arc<Resident>>, rank::Ring>,
}

impl Residency {
    /// Returns a residency with room for about `max` bytes of idle objects.
    pub(crate) fn new(max: u64) -> Residency {
        Residency { max, bytes: AtomicU64::new(0), ring: Mutex::default() }
    }

    /// Returns the size of all residents.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes in a resident that was just loaded.
    pub(crate) fn enter(&self, resident: Arc<Resident>) {
        let mut ring = self.ring.lock();
        ring.push_back(resident);
        check_invariants(&ring);
    }

    /// Takes in that a resident weighs another number of bytes than before.
    pub(crate) fn weigh(&self, before: u64, after: u64) {
        // The sum wraps as unsigned numbers do, so a loss is added like a gain.
        let sum = self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        debug_assert!(sum >= before, "what a resident weighed is part of the sum");
        debug_assert!(sum - before <= u64::MAX - after, "the sum is that of memory");
    }

    /// Takes out idle residents that were not asked for lately, while all together are too large.
    /// One call does not pass many: the rest is left to the next call.
    pub(crate) fn make_room(&self, mut gone: impl FnMut(&Arc<Resident>)) {
        if self.bytes() <= self.max {
            return;
        }
        // The thread that holds the ring makes room already.
        let Some(mut ring) = self.ring.try_lock() else { return };
        // Lately used objects are skipped at first.
        for _ in 0..(2 * ring.len()).min(PASSED_MAX) {
            if self.bytes() <= self.max {
                return;
            }
            let Some(resident) = ring.pop_front() else { return };
            match resident.cool() {
                Cooled::Gone { bytes } => {
                    self.weigh(bytes, 0);
                    gone(&resident);
                }
                Cooled::Stays => ring.push_back(resident),
            }
            check_invariants(&ring);
        }
    }
}

/// Asserts, in debug builds, what holds whenever nobody has the ring's lock, at its ends: a whole
/// round would be long.
fn check_invariants(ring: &VecDeque<Arc<Resident>>) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some(last) = ring.back() {
        let others = ring.iter().rev().skip(1).take(CHECKED_MAX);
        let is_twice = others.into_iter().any(|other| Arc::ptr_eq(other, last));
        assert!(!is_twice, "a resident stands in the ring once");
    }
}
