//! The writer's locks and conditions: the proof of its schedules has others.
//!
//! This module does not know who waits.

pub(crate) use crate::lock::Condvar;
use crate::lock::{self, rank};

pub(crate) type Mutex<T> = lock::Mutex<T, rank::Writer>;
pub(crate) type MutexGuard<'a, T> = lock::MutexGuard<'a, T, rank::Writer>;
