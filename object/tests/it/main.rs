//! The public API of the crate, as a caller sees it.
//!
//! - `arguments`: what ledgers remember of arguments, against a model.
//! - `codecs`: every encoding there and back, flipped, cut and extended; the committed hashes.
//! - `evidence`: the tree, against a definition that is written down twice and published roots.
//! - `image`: the changes that a step may make to an image.
//! - `ledger`: ledgers and their changes, against a model.
//! - `lineage`: proofs of ancestry, honest and forged.
//! - `memory`: the root of large and growing memories.
//! - `secret`: the salts of versions, and what of a secret is left from a version on.
//! - `samples`: seeded structures; `source`, where they come from; `wrap`, their lines.
//!
//! Whole lineages and their heads are tested in `continuant-policy`, which can make them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

// As the crates above call it, whose tests share files with these.
extern crate continuant_object as object;

mod arguments;
mod codecs;
mod evidence;
mod image;
mod ledger;
mod lineage;
mod memory;
mod samples;
mod secret;
mod source;
mod wrap;
