//! Nonces for whoever gives none: the microseconds since 1970, or one more than the last.
//!
//! It does not know what they are drawn for, nor where the last ones are kept.
//!
//! Invariant: the last nonces are locked in the order of their addresses, whoever locks them, so
//! that nobody waits in a circle.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

/// The last nonces that were drawn, locked. Whoever draws the next ones keeps them so until the
/// inputs are posted: nonces come in the order of the mail.
#[derive(Debug)]
pub(crate) struct Nonces<'a>(Vec<(usize, MutexGuard<'a, u64>)>);

impl<'a> Nonces<'a> {
    /// Locks them.
    pub(crate) fn lock(last: impl Iterator<Item = &'a Mutex<u64>>) -> Nonces<'a> {
        let mut last: Vec<&Mutex<u64>> = last.collect();
        last.sort_unstable_by_key(|last| address(last));
        last.dedup_by_key(|last| address(last));
        Nonces(last.into_iter().map(|last| (address(last), last.lock())).collect())
    }

    /// A nonce above `last`, which is among those locked, and which it becomes.
    pub(crate) fn next(&mut self, last: &Mutex<u64>) -> u64 {
        let index = self.0.binary_search_by_key(&address(last), |held| held.0);
        let last = &mut *self.0[index.expect("it was locked before")].1;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        *last = now.max(*last + 1);
        *last
    }
}

fn address(last: &Mutex<u64>) -> usize {
    std::ptr::from_ref(last).addr()
}
