//! Who wants to run when: the next wakes of all objects.
//!
//! An entry may be out of date (the object changed its mind since); the worker that takes the wake
//! compares it with the head and drops it. So nothing is ever removed from the middle. It does not
//! know how a wake runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use object::hash::ObjectId;
use parking_lot::{Condvar, Mutex};

/// The longest that the timer's thread sleeps: a system clock may be set while it does.
const SLEEP_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Timer {
    wakes: Mutex<Wakes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wakes {
    heap: BinaryHeap<Reverse<(u64, ObjectId)>>,
    closed: bool,
}

impl Timer {
    pub(crate) fn insert(&self, at: u64, object: ObjectId) {
        let mut wakes = self.wakes.lock();
        let first = wakes.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        wakes.heap.push(Reverse((at, object)));
        if first {
            self.changed.notify_one();
        }
    }

    /// Takes the first wake that is due at `now`.
    pub(crate) fn take_due(&self, now: u64) -> Option<(u64, ObjectId)> {
        let mut wakes = self.wakes.lock();
        let Reverse((at, _)) = *wakes.heap.peek()?;
        if at > now {
            return None;
        }
        wakes.heap.pop().map(|Reverse(wake)| wake)
    }

    /// Sleeps until a wake may be due by `now()`; `false` when the timer was closed.
    pub(crate) fn wait(&self, now: impl Fn() -> u64) -> bool {
        let mut wakes = self.wakes.lock();
        while !wakes.closed {
            let sleep = match wakes.heap.peek() {
                Some(Reverse((at, _))) => match at.saturating_sub(now()) {
                    0 => return true,
                    milliseconds => Duration::from_millis(milliseconds).min(SLEEP_MAX),
                },
                None => SLEEP_MAX,
            };
            self.changed.wait_for(&mut wakes, sleep);
        }
        false
    }

    pub(crate) fn close(&self) {
        self.wakes.lock().closed = true;
        self.changed.notify_all();
    }
}
