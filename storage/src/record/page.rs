//! The forms in which a version's record writes a page.
//!
//! This module does not know where the page's other records are.

use std::sync::Arc;

use crate::error::position::Position;
use crate::record::runs::Run;

/// A page that a version writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageChange {
    pub(crate) page: u32,
    pub(crate) written: Written,
}

/// The form of a written page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The page with all its bytes.
    Whole,
    /// The runs in which the page differs from the last record at `whole` that has it whole, or
    /// from the base image when that is [`Position::NONE`].
    Runs { whole: Position, runs: Arc<[Run]> },
}
