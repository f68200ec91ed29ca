//! The progress of work on a whole database, which its caller sees and may stop.
//!
//! This module does not know the work.

use std::ops::ControlFlow;

/// The result of a progress callback: nothing, or whether the work continues.
pub trait GoesOn {
    /// Returns whether the work continues; else it stops in order.
    fn goes_on(self) -> bool;
}

impl GoesOn for () {
    fn goes_on(self) -> bool {
        true
    }
}

impl GoesOn for ControlFlow<()> {
    fn goes_on(self) -> bool {
        self.is_continue()
    }
}

/// A progress callback, which is called with the part that is done, and the total. Returns whether
/// the work continues.
pub(super) type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;
