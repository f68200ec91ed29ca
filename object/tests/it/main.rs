//! The public API of the crate, as a caller sees it.
//!
//! - `admission`: each native reason, and everything that a signature binds.
//! - `batch`: inputs that are signed together.
//! - `code`: the facts read from modules, whole and damaged.
//! - `codecs`: every encoding there and back, flipped, cut and extended; the committed hashes.
//! - `fixtures`: the committed capsules of every version of the format.
//! - `format`: every table of FORMAT.md against the code.
//! - `image`: steps' changes to an image.
//! - `lineage`: proofs of ancestry, honest and forged.
//! - `memory`: the root of large and growing memories.
//! - `policy`: rules against the facts of a step, the part of a schema that they see, the profile
//!   and the stack that it promises to suffice.
//! - `schema`: WIT text to types, layout against the WIT library's own, values as payloads, JSON
//!   and memory, and refused text.
//! - `sessions`: opening them, inputs in them, and the verdicts of everyone but the host.
//! - `verify`: whole lineages, honest and tampered with in every part.
//! - `write`: direct writes.
//! - `samples` and `workshop`: seeded structures, and lineages made by the pure functions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod admission;
mod batch;
mod code;
mod codecs;
mod fixtures;
mod format;
mod image;
mod lineage;
mod memory;
mod messages;
mod policy;
mod samples;
mod schema;
mod sessions;
mod verify;
mod workshop;
mod write;
