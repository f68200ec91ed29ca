//! Schemas: see each module.
//!
//! - `generate`: seeded random schemas and values, and a memory to put them in.
//! - `canonical_abi`: layout and flattening against `wit-parser` as the oracle.
//! - `diagnostics`: refused schema texts, with the words.
//! - `values`: payloads and JSON, there and back, mutated, and their committed hashes.
//! - `memory`: states, results and paths in linear memory, honest and hostile.

mod canonical_abi;
mod diagnostics;
pub(crate) mod generate;
mod memory;
mod values;
