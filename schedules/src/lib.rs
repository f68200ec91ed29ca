//! Threads and locks whose order is drawn: code shared by threads is compiled a second time against
//! these, and a proof plays it in many schedules. Only tests use it.
//!
//! The locks have `parking_lot`'s API. Every access is in the order that all threads see: weaker
//! memory orders are not drawn. This crate does not know what is proved.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use shuttle::rand::Rng;
pub use shuttle::sync::atomic::{AtomicU64, Ordering};
pub use shuttle::thread;

/// Random schedules of each proof.
const SCHEDULES: usize = 10_000;
/// Schedules of each proof that change threads at few places, which finds rare failures.
const FEW_CHANGES: usize = 3_000;

/// Plays something in many schedules.
///
/// # Panics
///
/// When it does in one of them, or all threads wait there; how to play that one again is printed.
pub fn prove(play: fn()) {
    shuttle::check_random(play, SCHEDULES);
    shuttle::check_pct(play, FEW_CHANGES, 3);
}

/// A lock.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// The guard of a held lock.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

/// A condition that threads wait for.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

/// The outcome of a wait with a timeout.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the wait timed out.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl<T> Mutex<T> {
    /// A lock that keeps `value`.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// Waits until nobody holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        MutexGuard { mutex: self, held: Some(held) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("it is held")
    }
}

impl Condvar {
    /// Lets go of the lock until it is notified.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("it is held");
        let held = self.0.wait(held).unwrap_or_else(|poisoned| poisoned.into_inner());
        guard.held = Some(held);
    }

    /// Releases the lock for a time, which is over as soon as others have come in, or none has. A
    /// notification is not distinguished from that; whether there was one is drawn.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> WaitTimeoutResult {
        guard.held = None;
        thread::yield_now();
        *guard = guard.mutex.lock();
        WaitTimeoutResult(shuttle::rand::thread_rng().r#gen())
    }

    /// Notifies one that waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Notifies all that wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
