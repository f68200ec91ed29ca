//! The locks and conditions of the modules that `schedules` plays in many orders: there they see
//! another module of this name.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use parking_lot::{Condvar, Mutex};
