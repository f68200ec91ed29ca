//! One step: an input run by an object's code, and its policy's guard asked, in warm instances.
//!
//! It does not know what becomes of a step, nor where objects are.

pub(crate) mod catalog;
pub(crate) mod guard;
pub(crate) mod host_limit;
pub(crate) mod runner;
pub(crate) mod slots;
pub(crate) mod step;
pub(crate) mod stop;
