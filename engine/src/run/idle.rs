//! Idle workers, and their wait for work.
//!
//! ```text
//!              finds nothing                    still nothing
//!   busy --------------------------> searching ---------------> asleep
//!     ^                                |     ^                     |
//!     +--------------------------------+     +---------------------+
//!              finds something                 is woken
//! ```
//!
//! A searching worker need not be told of work, so a thread is woken only when no other worker
//! would come. This module does not know what work is, nor where workers look for it. `schedules`
//! plays it in many orders.
//!
//! Invariant: while there is work, some worker that may do it is not asleep; and none is asleep if
//! there was work for it when it fell asleep.

use std::sync::atomic::fence;

use super::sync::{AtomicU64, Condvar, Ordering, SleepLock};

const BUSY: u64 = 0;
const SEARCHING: u64 = 1;
const ASLEEP: u64 = 2;

/// The states of the workers.
#[derive(Debug)]
pub(crate) struct Idle(Vec<Worker>);

#[derive(Debug, Default)]
struct Worker {
    state: AtomicU64,
    lock: SleepLock<()>,
    woken: Condvar,
}

impl Worker {
    fn is(&self, state: u64) -> bool {
        self.state.load(Ordering::SeqCst) == state
    }

    /// Wakes the worker; whether it was asleep.
    fn wake(&self) -> bool {
        // A worker that has said that it is asleep and does not wait yet holds the lock.
        let held = self.lock.lock();
        let slept = self.is(ASLEEP);
        if slept {
            self.state.store(SEARCHING, Ordering::SeqCst);
            drop(held);
            self.woken.notify_all();
        }
        slept
    }
}

impl Idle {
    pub(crate) fn new(count: usize) -> Idle {
        Idle((0..count).map(|_| Worker::default()).collect())
    }

    /// Tells of new work, which all can see already: the worker at this place, or any other if that
    /// one is busy.
    pub(crate) fn tell(&self, place: usize) {
        // The work is there before it is looked who is asleep, as in `sleep` the other way round.
        fence(Ordering::SeqCst);
        match self.0[place].state.load(Ordering::SeqCst) {
            SEARCHING => {}
            ASLEEP if self.0[place].wake() => {}
            _ => self.tell_any(),
        }
    }

    /// Tells any worker of new work, which all can see already.
    pub(crate) fn tell_any(&self) {
        fence(Ordering::SeqCst);
        if !self.0.iter().any(|worker| worker.is(SEARCHING)) {
            self.0.iter().filter(|worker| worker.is(ASLEEP)).any(Worker::wake);
        }
    }

    /// The worker at this place has found nothing to do, and looks again.
    pub(crate) fn search(&self, place: usize) {
        self.0[place].state.store(SEARCHING, Ordering::SeqCst);
    }

    /// The worker at this place has found something; another one is woken if there `is_more`.
    pub(crate) fn begin(&self, place: usize, is_more: impl Fn() -> bool) {
        self.0[place].state.store(BUSY, Ordering::SeqCst);
        // A thread that told this worker of other work meanwhile may have believed it to be
        // searching.
        fence(Ordering::SeqCst);
        if is_more() {
            self.tell_any();
        }
    }

    /// Waits until the worker at this place is told of work, unless there `is_something`. It is
    /// searching afterwards.
    pub(crate) fn sleep(&self, place: usize, is_something: impl Fn() -> bool) {
        let worker = &self.0[place];
        let mut held = worker.lock.lock();
        debug_assert!(worker.is(SEARCHING), "a worker has searched before it sleeps");
        worker.state.store(ASLEEP, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_something() {
            worker.state.store(SEARCHING, Ordering::SeqCst);
        }
        while worker.is(ASLEEP) {
            worker.woken.wait(&mut held);
        }
    }

    /// Wakes all, to look for something that is for each of them.
    pub(crate) fn tell_all(&self) {
        fence(Ordering::SeqCst);
        for worker in &self.0 {
            worker.wake();
        }
    }
}
