//! Inline work: a caller that waits for a database without workers does the work meanwhile.
//!
//! ```text
//!   wait --> is it there? --no--> a turn of the object that is next --> is it there? ...
//!                                 none is: make the log durable, which sends what waits for that
//! ```
//!
//! This module does not know what the caller waits for, what a turn does, nor what a database is.
//!
//! Invariant: once no object is on the run queue and the log is durable or has failed, every input
//! posted before is answered, or is about to be by the thread that runs it.

use std::sync::Weak;

use crate::error::Result;

/// The work of a database, done on the thread that waits for it.
pub(crate) trait Inline: Send + Sync {
    /// Posts the wakes that are due by the system's clock.
    fn run_due(&self);

    /// Gives the next object its turn; returns whether there was one.
    fn work(&self) -> bool;

    /// Makes the log durable.
    fn sync(&self) -> Result<()>;
}

/// Does a database's work on the thread that waits for it; nothing, when the database has workers.
#[derive(Clone, Default)]
pub(crate) struct InlineWork(Option<Weak<dyn Inline>>);

impl std::fmt::Debug for InlineWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.as_ref().map_or(0, Weak::strong_count);
        f.debug_tuple("InlineWork").field(&count).finish()
    }
}

impl InlineWork {
    /// Returns the helper of a database without workers.
    pub(crate) fn of(database: Weak<dyn Inline>) -> InlineWork {
        InlineWork(Some(database))
    }

    /// Works until it `is_there`, or nothing is left to do.
    pub(crate) fn work_until(&self, is_there: impl Fn() -> bool) {
        let Some(database) = self.0.as_ref().and_then(Weak::upgrade) else { return };
        if is_there() {
            return;
        }
        database.run_due();
        while database.work() {
            if is_there() {
                return;
            }
        }
        if let Err(error) = database.sync() {
            // The log itself answers the threads that wait for it.
            tracing::debug!(%error, "a group of the log");
        }
    }
}
