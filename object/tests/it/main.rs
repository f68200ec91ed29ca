//! The public API of the crate, as a caller sees it.
//!
//! - `policy`: rules against what is known of a step, what of a schema they see, the profile and
//!   the stack that it promises to suffice.
//! - `schema`: WIT text to types, layout against the WIT library's own, values as payloads, JSON
//!   and memory, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod policy;
mod schema;
