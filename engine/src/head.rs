//! An object at its newest version: all that its next step needs, and its missed wakes and
//! refusals.
//!
//! This folder does not know whose turn it is, nor where versions are kept.

pub(crate) mod live;
pub(crate) mod missed;
pub(crate) mod refusal_quota;
