//! The public API of the crate, on small stores, against a model of what was appended to them.
//!
//! - `blame`: the version that changed a field last.
//! - `diff`: the fields and pages that differ between two versions.
//! - `history`: versions and refusals, forwards and backwards, by time, place and number.
//! - `objects`: which objects there are, by name, code and age.
//! - `snapshot`: any version, by its seq and by its time.
//! - `shelf`: seeded objects and their model; `module`, a module that carries a schema.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod blame;
mod diff;
mod history;
#[expect(dead_code, reason = "the tests of the schema use all of it")]
#[path = "../../../schema/tests/it/module.rs"]
mod module;
mod objects;
mod shelf;
mod snapshot;
