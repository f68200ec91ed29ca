//! How much memory the objects take that are in memory, and which of them leave it first.
//!
//! They stand in a ring, as the pages of an operating system do (the clock of Corbató, "A paging
//! experiment with the Multics system", 1968): a hand goes round, takes out objects that nobody
//! asked for since it came by last, and lets the others be for a round. It does not know what an
//! object is.
//!
//! Invariant: `bytes` is the sum of what the residents in the ring were last said to weigh.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::run::resident::{Cooled, Resident};

/// Residents that the hand passes at a time, so that nobody waits for a whole round.
const PASSED_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Residency {
    max: u64,
    bytes: AtomicU64,
    ring: Mutex<VecDeque<Arc<Resident>>>,
}

impl Residency {
    /// Room for about so many bytes of idle objects.
    pub(crate) fn new(max: u64) -> Residency {
        Residency { max, bytes: AtomicU64::new(0), ring: Mutex::default() }
    }

    /// What the residents weigh.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes in a resident that was just loaded.
    pub(crate) fn enter(&self, resident: Arc<Resident>) {
        self.ring.lock().push_back(resident);
    }

    /// Takes in that a resident weighs another number of bytes than before.
    pub(crate) fn weigh(&self, before: u64, after: u64) {
        // The sum wraps as unsigned numbers do, so a loss is added like a gain.
        self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Takes out residents that are idle and were not asked for lately, while they weigh too much
    /// together. One call does not pass many: what is too much then is the next call's.
    pub(crate) fn make_room(&self, mut gone: impl FnMut(&Arc<Resident>)) {
        if self.bytes() <= self.max {
            return;
        }
        // Whoever holds the ring makes room already.
        let Some(mut ring) = self.ring.try_lock() else { return };
        // Those that were asked for lately are let be at first.
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
        }
    }
}
