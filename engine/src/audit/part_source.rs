//! Libraries: sources of the parts of objects that a lineage names, a store, a capsule, or none.
//!
//! This module does not know what is verified.

use std::sync::Arc;

use object::hash::{CodeHash, PolicyHash};
use object::image::BaseImage;
use policy::definition::Definition;

use crate::error::Result;
use crate::step::catalog::Runnable;

/// A source of the parts of an object that an upgrade names, or begins from.
pub(crate) trait PartSource {
    /// Returns the definition of objects of this code and policy.
    fn definition(&self, hashes: (CodeHash, PolicyHash)) -> Result<Arc<Definition>>;

    /// The base image of a code that the version begins from.
    fn base(&self, code: CodeHash) -> Result<Arc<BaseImage>>;

    /// The code of a definition, compiled.
    fn runnable(&self, definition: &Definition) -> Result<Arc<Runnable>>;
}
