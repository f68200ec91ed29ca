//! The runner of a thread: compiled code, its instances, and its deep stack.
//!
//! This module does not know what a step is.

use crate::stack::DeepStack;
use crate::step::catalog::Catalog;
use crate::step::guard::GuardRunner;
use crate::step::slots::Slots;

/// The means with which a thread runs steps.
pub(crate) struct Runner<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) slots: &'a mut Slots,
    pub(crate) stack: DeepStack,
}

impl<'a> Runner<'a> {
    /// Returns the same runner, for as long as it is not needed here.
    pub(crate) fn reborrow(&mut self) -> Runner<'_> {
        Runner { catalog: self.catalog, slots: self.slots, stack: self.stack }
    }

    /// Returns what asks the guards of policies.
    pub(crate) fn guards(self) -> GuardRunner<'a> {
        GuardRunner::new(self.catalog, &mut self.slots.guards, self.stack)
    }
}
