//! Steps: an object's code runs an input, and its policy's guard is asked, in warm instances.
//!
//! This folder does not know what becomes of a step, nor where objects are.

pub(crate) mod catalog;
pub(crate) mod guard;
pub(crate) mod host_limit;
pub(crate) mod runner;
pub(crate) mod slots;
pub(crate) mod step;
pub(crate) mod stop;
