//! The evidence tree of the model: leaves laid out by hand, and roots as RFC 6962 defines them.
//!
//! It shares no code with the crates that it is compared with, except the decoding of commits.

use std::collections::BTreeMap;

use object::commit::Commit;
use object::evidence::TreeHead;
use object::hash::{ObjectId, RefusalHash};
use object::header::Header;
use rand::RngExt;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use storage::Store;

use crate::generate::lineage::Made;
use crate::outcome::{Outcome, equal, hold, must};

type Hash = [u8; 32];

/// The leaves of a store, in the order of appending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves {
    hashes: Vec<Hash>,
    /// The refusals of each object so far.
    refusals: BTreeMap<ObjectId, u64>,
}

fn leaf(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest([]).into(),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            let both = [root(left), root(right)].concat();
            Sha256::new().chain_update([1]).chain_update(both).finalize().into()
        }
    }
}

impl Leaves {
    fn push(&mut self, entry: u8, kind: u8, object: ObjectId, number: u64, hash: Hash) {
        let head = [&b"continuant 2 evidence leaf"[..], &[entry, kind]].concat();
        self.hashes.push(leaf(&[&head[..], &object.0, &number.to_le_bytes(), &hash].concat()));
    }

    /// Adds the leaf of a record that was appended.
    pub(crate) fn add(&mut self, made: &Made) {
        match made {
            Made::Version { bytes, .. } => {
                let header = Commit::decode(bytes).expect("it was encoded").header;
                let (id, hash) = (header.object_id(), header.hash().0);
                self.push(1, header.kind.code(), id, header.seq, hash);
            }
            Made::Refusal(refusal) => {
                let count = self.refusals.entry(refusal.object).or_default();
                let number = *count;
                *count += 1;
                let code = refusal.verdict.reason.code();
                self.push(2, code, refusal.object, number, refusal.hash().0);
            }
        }
    }

    /// Adds the leaves of an object that was imported: its newest version, and its refusals by
    /// their hashes.
    pub(crate) fn adopt(&mut self, newest: &Header, refusals: &[RefusalHash]) {
        let id = newest.object_id();
        self.push(3, 0, id, newest.seq, newest.hash().0);
        if let Some(last) = refusals.last() {
            self.push(4, 0, id, refusals.len() as u64 - 1, last.0);
        }
        self.refusals.insert(id, refusals.len() as u64);
    }

    /// Adds the leaf of a loss, whose record has these bytes.
    pub(crate) fn lose(&mut self, record: &[u8]) {
        let end = u64::from_le_bytes(record[8..16].try_into().expect("eight bytes"));
        let check = record[16..48].try_into().expect("a check");
        self.push(5, 0, ObjectId::default(), end, check);
    }

    /// Compares the tree of a store that has all of them.
    pub(crate) fn compare(&self, store: &Store) -> Outcome {
        let TreeHead { size, root: found } = store.evidence();
        let expected = (self.hashes.len() as u64, root(&self.hashes));
        equal("the evidence tree", &expected, &(size, found.0))
    }

    /// Compares a tile, or a part of one.
    pub(crate) fn compare_tile(&self, store: &Store, rng: &mut StdRng) -> Outcome {
        if self.hashes.is_empty() {
            return hold("there is no tile", store.tile(0, 0, 1).is_err());
        }
        let index = rng.random_range(0..self.hashes.len().div_ceil(256));
        let tile = self.hashes.chunks(256).nth(index).expect("there is one");
        let width = rng.random_range(1..=tile.len());
        let found = must("a tile", store.tile(0, index as u64, width as u16))?;
        let found: Vec<Hash> = found.into_iter().map(|hash| hash.0).collect();
        equal("the hashes of leaves", &&tile[..width], &&found[..])?;
        let more = store.tile(0, index as u64, tile.len() as u16 + 1);
        hold("there are no more", more.is_err())
    }

    /// Returns whether a store has all of them; it must have the first ones.
    pub(crate) fn are_served(&self, store: &Store) -> Result<bool, String> {
        let TreeHead { size, root: found } = store.evidence();
        let first = self.hashes.get(..size as usize);
        let first = first.ok_or_else(|| format!("a tree of {size} leaves, too many"))?;
        equal("the root of the first leaves", &root(first), &found.0)?;
        Ok(first.len() == self.hashes.len())
    }
}
