//! What threads wait by in the parts that `schedules` plays in many orders: there it is another
//! module of this name that they see.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use parking_lot::{Condvar, Mutex};
