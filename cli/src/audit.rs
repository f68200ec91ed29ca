//! Verification of many objects at once, on several threads.
//!
//! It holds the finding of each object in memory: for millions of objects callers pass some at a
//! time.
//!
//! This module does not know what verification is: the engine does.
//!
//! Invariant: the findings are in the order of the ids, whichever thread had them first.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use continuant::{Database, Error, ObjectId, Replay, Verified};
use indicatif::ProgressBar;

use crate::failure::is_stopped;
use crate::{progress, stop};

/// The finding of one object's verification.
pub(crate) type Finding = (ObjectId, Result<Verified, Error>);

/// Returns the default number of threads that verify.
pub(crate) fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Verifies every object of `ids`, or fewer, each wholly, when the process is asked to end; with
/// [`Replay::Yes`] by running every step again.
pub(crate) fn audit(
    db: &Database,
    ids: &[ObjectId],
    replay: Replay,
    thread_count: usize,
    bar: &ProgressBar,
) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed))
            && stop::asked().is_none()
        {
            let finding = db.verify_with(id, replay, |_, _| progress::unless_asked());
            if finding.as_ref().is_err_and(is_stopped) {
                break;
            }
            found.push((id, finding));
            bar.inc(1);
        }
        found
    };
    let mut findings: Vec<Finding> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|found| found.expect("verifying does not panic")).collect()
    });
    findings.sort_by_key(|(id, _)| *id);
    findings
}
