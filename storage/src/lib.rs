//! Keeps durable objects: the log, which is the truth and the lineage; the index over it; reads of
//! any version; capsules; and a check of everything.
//!
//! It knows no wasm, no policy and no clock: what it appends was admitted by the crate above, and
//! it holds bytes to the hashes that name them.
//!
//! Invariant: what an append's callback was told is durable is there after any crash, and every
//! byte that is served was verified against a check or a hash.

mod error;
mod store;

pub use error::{Error, ErrorKind, Result};
pub use store::{
    Append, Blob, Change, Direction, Lineage, LineageEntry, Loaded, NewCommit, ObjectInfo, Options,
    Position, Refusals, Seal, Stats, Store, StoredCommit, Version, Versions,
};

/// temporary
pub struct CapsuleReader<R>(R);
impl<R: std::io::Read> CapsuleReader<R> {
    pub fn new(_: R) -> Result<Self> {
        todo!()
    }
    pub fn next(&mut self) -> Result<Option<(object::capsule::SectionKind, &[u8])>> {
        todo!()
    }
    pub fn seal(&self) -> Option<Seal> {
        todo!()
    }
}
/// temporary
pub struct Report;
impl Store {
    pub fn check(&self, _: impl FnMut(u64, u64)) -> Result<Report> {
        todo!()
    }
}
impl Default for Options {
    fn default() -> Self {
        todo!()
    }
}
