//! The public API of the crate, as a caller sees it, and of whole lineages, which can be made here.
//!
//! - `admission`: each native reason, and the binding of signatures.
//! - `batch`: inputs that are signed together.
//! - `definition`: modules and policies that fit each other, and that do not.
//! - `fixtures`: the committed capsules of every version of the format.
//! - `format`: every table of FORMAT.md against the code.
//! - `messages`: messages between objects.
//! - `policy`: rules on the facts of a step, the part of a schema that they see, the profile, and
//!   the stack that suffices for it.
//! - `sessions`: their opening, their inputs, and the facts that others than the host can verify.
//! - `verify`: whole lineages, honest and tampered with in every part.
//! - `workshop`: lineages made by the pure functions; seeded structures, schemas and modules are
//!   those of the tests of the crates below.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod admission;
mod batch;
mod definition;
mod fixtures;
mod format;
#[expect(dead_code, reason = "the tests of the schema use all of it")]
#[path = "../../../schema/tests/it/generate.rs"]
mod generate;
mod messages;
#[path = "../../../schema/tests/it/module.rs"]
mod module;
mod policy;
#[expect(dead_code, reason = "the tests of the formats use all of it")]
#[path = "../../../object/tests/it/samples.rs"]
mod samples;
mod sessions;
#[path = "../../../object/tests/it/source.rs"]
mod source;
mod verify;
mod workshop;
#[path = "../../../object/tests/it/wrap.rs"]
mod wrap;
