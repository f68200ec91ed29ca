//! The public API of the crate, as a caller sees it.
//!
//! - `schema`: WIT text to types, layout against the WIT library's own, values as payloads, JSON
//!   and memory, and what is refused.

mod schema;
