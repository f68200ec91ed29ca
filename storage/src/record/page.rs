//! How a version's record writes a page.
//!
//! It does not know where the others of the page are.

use std::sync::Arc;

use crate::error::position::Position;
use crate::record::runs::Run;

/// A page that a version writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageChange {
    pub(crate) page: u32,
    pub(crate) written: Written,
}

/// How a page is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// With all its bytes.
    Whole,
    /// As the runs in which it differs from what the last record at `whole` that has it whole says,
    /// or from the base image when that is [`Position::NONE`].
    Runs { whole: Position, runs: Arc<[Run]> },
}
