//! Scheduling: mail, run queues, workers and wakes.
//!
//! This folder does not know what a turn does: the workers get it when they start.

pub(crate) mod idle;
pub(crate) mod in_flight;
pub(crate) mod letter;
pub(crate) mod mailbox;
pub(crate) mod overdue;
pub(crate) mod pool;
pub(crate) mod residency;
pub(crate) mod resident;
pub(crate) mod residents;
#[cfg(test)]
mod schedules;
pub(crate) mod sync;
pub(crate) mod timer;
pub(crate) mod transaction;
