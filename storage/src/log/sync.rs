//! The writer's locks and conditions: the proof of its schedules has others.
//!
//! This module does not know who waits.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
