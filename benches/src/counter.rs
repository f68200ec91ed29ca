//! The object of the engine's figures: the counter of the guest examples, with the policy that the
//! README gives it.
//!
//! This module does not know the figures.

use anyhow::Result;
use continuant::{Code, Database, ObjectId, Pending, args};

/// The counter's module.
pub const WASM: &[u8] = include_bytes!("../../guest/objects/counter.wasm");
/// The counter's policy.
pub const POLICY: &str = include_str!("../../guest/examples/counter/policy.cedar");

/// A new counter.
pub(crate) fn create(db: &Database) -> Result<ObjectId> {
    Ok(db.create(Code::wasm(WASM)?.policy(POLICY))?)
}

/// Adds 1 to a counter, without waiting.
pub(crate) fn increment(db: &Database, id: ObjectId) -> continuant::Result<Pending> {
    db.call(id, "increment", args![1u64]).submit()
}

/// Adds 1 to a counter `count` times without waiting for each, until the last is durable.
pub(crate) fn increments(db: &Database, id: ObjectId, count: usize) -> Result<()> {
    let mut last = None;
    for _ in 0..count {
        last = Some(increment(db, id)?);
    }
    if let Some(last) = last {
        last.wait()?;
    }
    Ok(())
}
