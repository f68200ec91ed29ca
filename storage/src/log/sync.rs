//! What the writer waits by: the proof of its schedules has another.
//!
//! It does not know who waits.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
