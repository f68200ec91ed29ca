//! Letters in flight: their number, and the wait until it is zero.
//!
//! This module does not know what a letter is. `schedules` plays it in many orders.
//!
//! Invariant: the end of the last letter wakes every waiting thread.

use super::sync::{AtomicU64, Condvar, InFlightLock, Ordering};

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    under_way: AtomicU64,
    lock: InFlightLock<()>,
    changed: Condvar,
}

impl InFlight {
    /// Counts a letter.
    pub(crate) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a letter from the count.
    pub(crate) fn end(&self) {
        let before = self.under_way.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a letter ends once");
        if before == 1 {
            self.tell();
        }
    }

    /// Letters under way.
    pub(crate) fn count(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// Makes waiting threads look again.
    pub(crate) fn tell(&self) {
        // A thread that has looked and does not wait yet holds the lock.
        drop(self.lock.lock());
        self.changed.notify_all();
    }

    /// Waits until no letter is under way, or `breaks` off; whether none is.
    pub(crate) fn wait(&self, breaks: impl Fn() -> bool) -> bool {
        let mut lock = self.lock.lock();
        while self.count() > 0 {
            if breaks() {
                return false;
            }
            self.changed.wait(&mut lock);
        }
        true
    }
}
