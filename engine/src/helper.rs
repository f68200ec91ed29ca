//! Whoever waits for a database that has no workers: it works meanwhile.
//!
//! ```text
//!   wait --> is it there? --no--> a turn of the object that is next --> is it there? ...
//!                                 none is: make the log durable, which sends what waits for that
//! ```
//!
//! It does not know what is waited for, nor what a turn does.
//!
//! Invariant: once no object is on the run queue and the log is durable or has failed, what was
//! posted before is answered, or is about to be by the thread that has it in hand.

use std::sync::Weak;

use crate::shared::Shared;

/// Does a database's work on the thread that waits for it; nothing, when the database has workers.
#[derive(Clone, Default)]
pub(crate) struct Helper(Weak<Shared>);

impl std::fmt::Debug for Helper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Helper").field(&self.0.strong_count()).finish()
    }
}

impl Helper {
    /// For a database without workers.
    pub(crate) fn of(shared: &Weak<Shared>) -> Helper {
        Helper(Weak::clone(shared))
    }

    /// Works until it `is_there`, or nothing is left to do.
    pub(crate) fn work_until(&self, is_there: impl Fn() -> bool) {
        let Some(shared) = self.0.upgrade() else { return };
        if is_there() {
            return;
        }
        shared.run_due();
        while shared.work(0).is_some() {
            if is_there() {
                return;
            }
        }
        if let Err(error) = shared.store().sync() {
            // Whoever waits for the log is told so by the log itself.
            tracing::debug!(%error, "a group of the log");
        }
    }
}
