//! The public API of the crate, as a caller sees it.
//!
//! - `canonical_abi`: layout and flattening against `wit-parser` as the oracle.
//! - `code`: the facts read out of modules, whole and damaged.
//! - `diagnostics`: schema texts that are refused, with their errors.
//! - `values`: payloads and JSON, there and back, mutated, and their committed hashes.
//! - `memory`: states, results and paths in linear memory, honest and hostile.
//! - `write`: direct writes.
//! - `generate`: seeded random schemas and values, and a memory to put them in; `module`, a module
//!   that carries a schema.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

// As the crate above calls it, whose tests share files with these.
extern crate continuant_schema as schema;

mod canonical_abi;
mod code;
mod diagnostics;
mod generate;
mod memory;
mod module;
#[path = "../../../object/tests/it/source.rs"]
mod source;
mod values;
#[path = "../../../object/tests/it/wrap.rs"]
mod wrap;
mod write;
