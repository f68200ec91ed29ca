//! The locks and conditions of the modules that `schedules` plays in many orders: there they see
//! another module of this name.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use storage::lock::Condvar;
use storage::lock::Mutex;

use crate::rank;

pub(crate) type MailLock<T> = Mutex<T, rank::Mail>;
pub(crate) type InFlightLock<T> = Mutex<T, rank::InFlight>;
pub(crate) type SleepLock<T> = Mutex<T, rank::Sleep>;
