//! The timer: the next wakes of all objects.
//!
//! A caller that changes an object's wake names the old one, so an object has one entry, and
//! another while messages to it are late or held. An entry may still be out of date (the object
//! advanced while its wake was on its way); the worker that takes the wake compares it with the
//! head and drops it. This module does not know how a wake runs.

use std::collections::BTreeSet;
use std::time::Duration;

use object::hash::ObjectId;
use object::time::Time;
use storage::lock::{Condvar, Mutex};

use crate::rank;

/// The longest that the timer's thread sleeps: a system clock may be set while it does.
const SLEEP_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Timer {
    wakes: Mutex<Wakes, rank::Wakes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wakes {
    entries: BTreeSet<(Time, ObjectId)>,
    closed: bool,
}

impl Wakes {
    /// Asserts, in debug builds, that a changed entry is there, and that a taken one was the first
    /// and due.
    fn check_invariants(&self, changed: Option<(Time, ObjectId)>, taken: Option<(Time, Time)>) {
        if !cfg!(debug_assertions) {
            return;
        }
        if let Some(entry) = changed {
            assert!(self.entries.contains(&entry), "an object wakes when it was said to");
        }
        if let Some((at, now)) = taken {
            assert!(at <= now, "a wake is taken when it is due");
            assert!(self.first().is_none_or(|first| first >= at), "wakes are taken in their order");
        }
    }

    fn first(&self) -> Option<Time> {
        self.entries.first().map(|(at, _)| *at)
    }
}

impl Timer {
    /// Returns a timer with these wakes, at most one of each object.
    pub(crate) fn new(wakes: Vec<(Time, ObjectId)>) -> Timer {
        let wakes = Wakes { entries: wakes.into_iter().collect(), closed: false };
        Timer { wakes: Mutex::new(wakes), changed: Condvar::new() }
    }

    /// Moves the wake of `object` from `old`, which may have no entry, to `new`.
    pub(crate) fn change(&self, object: ObjectId, old: Option<Time>, new: Option<Time>) {
        let mut wakes = self.wakes.lock();
        if let Some(old) = old {
            wakes.entries.remove(&(old, object));
        }
        let Some(new) = new else { return };
        let is_first = wakes.first().is_none_or(|first| new < first);
        wakes.entries.insert((new, object));
        if is_first {
            self.changed.notify_one();
        }
        wakes.check_invariants(Some((new, object)), None);
    }

    /// Takes the first wake that is due at `now`.
    pub(crate) fn take_due(&self, now: Time) -> Option<(Time, ObjectId)> {
        let mut wakes = self.wakes.lock();
        if wakes.first()? > now {
            return None;
        }
        let taken = wakes.entries.pop_first();
        wakes.check_invariants(None, taken.map(|(at, _)| (at, now)));
        taken
    }

    /// Returns the objects whose wakes are due at `now`, in the order of wakes.
    pub(crate) fn due(&self, now: Time) -> Vec<ObjectId> {
        let wakes = self.wakes.lock();
        let due = wakes.entries.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, object)| *object).collect()
    }

    /// Returns the number of objects that have a wake here.
    pub(crate) fn len(&self) -> usize {
        self.wakes.lock().entries.len()
    }

    /// Returns the time of the first wake.
    pub(crate) fn first(&self) -> Option<Time> {
        self.wakes.lock().first()
    }

    /// Sleeps until a wake may be due by `now()`; `false` when the timer was closed.
    pub(crate) fn wait(&self, now: impl Fn() -> Time) -> bool {
        let mut wakes = self.wakes.lock();
        while !wakes.closed {
            let sleep = match wakes.first() {
                Some(at) => match at.saturating_duration_since(now()) {
                    Duration::ZERO => return true,
                    left => left.min(SLEEP_MAX),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_changes_its_wake_again_and_again_has_one_entry() {
        let timer = Timer::default();
        let (id, at) = (ObjectId([7; 32]), Time::from_millis);
        let mut wake = None;
        for next in 0..1000 {
            timer.change(id, wake, Some(at(next)));
            wake = Some(at(next));
        }
        assert_eq!(timer.wakes.lock().entries.len(), 1);
        assert_eq!((timer.due(at(998)), timer.due(at(999))), (vec![], vec![id]));
        assert_eq!(timer.take_due(at(998)), None);
        assert_eq!(timer.take_due(at(999)), Some((at(999), id)));
        timer.change(id, wake, Some(at(5)));
        timer.change(id, Some(at(5)), None);
        assert_eq!(timer.first(), None);
    }
}
