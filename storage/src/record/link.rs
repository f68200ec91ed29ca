//! Links: versions and refusals by their hashes, with their places.
//!
//! This module does not know what is read there.

use object::hash::{RefusalHash, VersionHash};

use crate::error::position::Position;

/// A version and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) hash: VersionHash,
    pub(crate) position: Position,
}

/// A refusal's name and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RefusalLink {
    pub(crate) hash: RefusalHash,
    pub(crate) position: Position,
}
