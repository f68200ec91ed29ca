//! The locks of the store and of the engine, each with a rank: where debug assertions are on, a
//! thread that waits for a lock above one that it holds panics, and names both.
//!
//! ARCHITECTURE.md has all of them in one table. Without debug assertions they are `parking_lot`'s,
//! and ranks are nothing. It does not know what is locked.
//!
//! Invariant: a thread waits only for locks below all that it holds, so no threads wait in a
//! circle. Several of one rank may be held where the rank says in which order they are taken.

pub(crate) mod rank;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub use parking_lot::WaitTimeoutResult;

/// The place of a lock among all.
pub trait Rank {
    /// The place, from the top: a lock is waited for while only locks of lower numbers are held.
    const NUMBER: u8;
    /// The name of the locked thing.
    const NAME: &'static str;
    /// True if a thread may hold several locks of the rank. The definition of the rank names their
    /// order, which all threads keep to.
    const IS_SEVERAL: bool = false;
}

/// Defines ranks, each with its number and what it is of; `several` may be held of some.
#[doc(hidden)]
#[macro_export]
macro_rules! ranks {
    (@several) => {
        true
    };
    ($($(#[$doc:meta])* $rank:ident = $number:literal, $name:literal $(, $several:ident)?;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub(crate) struct $rank;

            impl $crate::lock::Rank for $rank {
                const NUMBER: u8 = $number;
                const NAME: &'static str = $name;
                $(const IS_SEVERAL: bool = $crate::ranks!(@$several);)?
            }
        )+
    };
}

/// A lock of a rank.
pub struct Mutex<T, R>(parking_lot::Mutex<T>, PhantomData<fn() -> R>);

/// The value of a [`Mutex`] that is held.
pub struct MutexGuard<'a, T, R: Rank> {
    guard: parking_lot::MutexGuard<'a, T>,
    _held: HeldRank<R>,
}

/// A lock of a rank that several threads hold at a time to read.
pub struct RwLock<T, R>(parking_lot::RwLock<T>, PhantomData<fn() -> R>);

/// The value of an [`RwLock`] that is held to read.
pub struct ReadGuard<'a, T, R: Rank> {
    guard: parking_lot::RwLockReadGuard<'a, T>,
    _held: HeldRank<R>,
}

/// The value of an [`RwLock`] that is held to write.
pub struct WriteGuard<'a, T, R: Rank> {
    guard: parking_lot::RwLockWriteGuard<'a, T>,
    _held: HeldRank<R>,
}

/// A condition that threads wait for; they let go of their [`Mutex`] meanwhile.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl<T, R: Rank> Mutex<T, R> {
    /// A lock that keeps `value`.
    pub fn new(value: T) -> Mutex<T, R> {
        Mutex(parking_lot::Mutex::new(value), PhantomData)
    }

    /// Waits until nobody holds it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T, R> {
        let _held = HeldRank::waiting();
        MutexGuard { guard: self.0.lock(), _held }
    }

    /// Takes the lock if nobody holds it. As it does not wait, it may be above others.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, R>> {
        let guard = self.0.try_lock()?;
        Some(MutexGuard { guard, _held: HeldRank::new() })
    }
}

impl<T, R: Rank> RwLock<T, R> {
    /// Waits until nobody holds it to write.
    #[inline]
    pub fn read(&self) -> ReadGuard<'_, T, R> {
        let _held = HeldRank::waiting();
        ReadGuard { guard: self.0.read(), _held }
    }

    /// Waits until nobody holds it.
    #[inline]
    pub fn write(&self) -> WriteGuard<'_, T, R> {
        let _held = HeldRank::waiting();
        WriteGuard { guard: self.0.write(), _held }
    }
}

impl Condvar {
    /// Returns a condition without waiters.
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// Lets go of the lock until it is notified.
    #[inline]
    pub fn wait<T, R: Rank>(&self, guard: &mut MutexGuard<'_, T, R>) {
        self.0.wait(&mut guard.guard);
    }

    /// Lets go of the lock until it is notified, or for so long.
    #[inline]
    pub fn wait_for<T, R: Rank>(
        &self,
        guard: &mut MutexGuard<'_, T, R>,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        self.0.wait_for(&mut guard.guard, timeout)
    }

    /// Notifies one that waits.
    #[inline]
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Notifies all that wait.
    #[inline]
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A record that this thread holds a lock of a rank.
struct HeldRank<R: Rank>(PhantomData<fn() -> R>);

#[cfg(debug_assertions)]
thread_local! {
    /// The ranks of the locks that the thread holds, in the order in which it took them.
    static HELD: std::cell::RefCell<Vec<(u8, &'static str)>> = const {
        std::cell::RefCell::new(Vec::new())
    };
}

impl<R: Rank> HeldRank<R> {
    /// A lock that the thread is about to wait for, which must be below all that it holds.
    #[inline]
    fn waiting() -> HeldRank<R> {
        #[cfg(debug_assertions)]
        HELD.with_borrow(|held| {
            let lowest = held.iter().max_by_key(|(number, _)| number);
            let above = lowest.filter(|(number, _)| match R::IS_SEVERAL {
                true => *number > R::NUMBER,
                false => *number >= R::NUMBER,
            });
            if let Some((number, name)) = above {
                let (wanted, of) = (R::NUMBER, R::NAME);
                panic!("the lock of {of} ({wanted}) is waited for under that of {name} ({number})");
            }
        });
        HeldRank::new()
    }

    /// A lock that the thread has.
    #[inline]
    fn new() -> HeldRank<R> {
        #[cfg(debug_assertions)]
        HELD.with_borrow_mut(|held| held.push((R::NUMBER, R::NAME)));
        HeldRank(PhantomData)
    }
}

#[cfg(debug_assertions)]
impl<R: Rank> Drop for HeldRank<R> {
    fn drop(&mut self) {
        // A thread that ends has nothing left to be out of order with.
        let _ended = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            let last = held.iter().rposition(|(number, _)| *number == R::NUMBER);
            held.remove(last.expect("a lock that is let go of is held by the thread"));
        });
    }
}

impl<T: Default, R: Rank> Default for Mutex<T, R> {
    fn default() -> Mutex<T, R> {
        Mutex::new(T::default())
    }
}

impl<T: Default, R: Rank> Default for RwLock<T, R> {
    fn default() -> RwLock<T, R> {
        RwLock(parking_lot::RwLock::default(), PhantomData)
    }
}

impl<T: fmt::Debug, R> fmt::Debug for Mutex<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug, R> fmt::Debug for RwLock<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug, R: Rank> fmt::Debug for MutexGuard<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

impl<T, R: Rank> Deref for MutexGuard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, R: Rank> DerefMut for MutexGuard<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T, R: Rank> Deref for ReadGuard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, R: Rank> Deref for WriteGuard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, R: Rank> DerefMut for WriteGuard<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    crate::ranks! {
        Upper = 1, "the upper one";
        Lower = 2, "the lower one";
        Equal = 3, "one of several", several;
    }

    /// Returns the message of the panic that ends `work`.
    fn panicked(work: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it panics");
        *panic.downcast::<String>().expect("a formatted message")
    }

    #[test]
    fn a_lock_above_one_that_is_held_is_not_waited_for() {
        let (upper, lower) = (Mutex::<u8, Upper>::default(), RwLock::<u8, Lower>::default());
        let held = lower.read();
        let expected =
            "the lock of the upper one (1) is waited for under that of the lower one (2)";
        assert_eq!(panicked(|| drop(upper.lock())), expected);
        assert!(upper.try_lock().is_some(), "that does not wait");
        drop(held);
        let upper_held = upper.lock();
        drop(lower.write());
        assert!(
            panicked(|| drop(Mutex::<u8, Upper>::default().lock())).contains("the upper one (1) ")
        );
        drop(upper_held);
        drop(lower.read());
        drop(upper.lock());
    }

    #[test]
    fn a_lock_that_was_tried_counts_until_it_is_let_go_of_in_any_order() {
        let (upper, lower) = (Mutex::<u8, Upper>::default(), Mutex::<u8, Lower>::default());
        let first = upper.lock();
        let second = lower.try_lock().expect("nobody holds it");
        drop(first);
        assert!(panicked(|| drop(upper.lock())).contains("under that of the lower one (2)"));
        drop(second);
        drop(upper.lock());
    }

    #[test]
    fn several_of_a_rank_are_held_only_where_it_says_so() {
        let several: [Mutex<u8, Equal>; 2] = Default::default();
        let held = several.each_ref().map(Mutex::lock);
        let lower = Mutex::<u8, Lower>::default();
        assert!(panicked(|| drop(lower.lock())).ends_with("under that of one of several (3)"));
        drop(held);
    }
}
