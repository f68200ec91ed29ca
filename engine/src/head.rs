//! An object at its newest version: what its next step needs, and what is remembered beside it.
//!
//! It does not know whose turn it is, nor where versions are kept.

pub(crate) mod live;
pub(crate) mod missed;
pub(crate) mod refusal_quota;
