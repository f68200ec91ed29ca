//! The definition of a durable object: formats, hashing, the Merkle memory, lineage, credentials
//! and proofs, as pure functions over bytes.
//!
//! This crate knows no schema, policy, file, thread, clock, random source or wasm engine, so that
//! the verdicts it gives are the same in the engine, in a fuzzer, on the command line and in a
//! browser.
//!
//! Invariant: the same bytes give the same answer on every host, and no input makes it panic.

pub mod ancestry;
pub mod authentication;
pub mod capsule;
pub mod codec;
pub mod commit;
pub mod credential;
mod diagnostic;
pub mod effects;
mod error;
pub mod evidence;
pub mod hash;
pub mod head;
pub mod header;
pub mod headers;
pub mod image;
pub mod input;
pub mod ledger;
pub mod limits;
pub mod lineage;
pub mod memory;
pub mod message;
pub mod refusal;
mod request;
pub mod secret;
pub mod time;

pub use diagnostic::{Diagnostic, Place, in_text, printable};
pub use error::{Error, ErrorKind, Result};
