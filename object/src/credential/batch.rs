//! Batches: signatures over the root of a Merkle tree of inputs, each of which carries the path
//! from itself to the root, so that anyone who holds one of them can verify it alone.
//!
//! A leaf binds what a signature over an input alone binds. A node without a neighbour is carried
//! up unchanged; the number of leaves, signed beside the root, says where that happens. This module
//! does not know the inputs' objects, nor who verifies.
//!
//! Invariant: no two batches have the same signed bytes.

use super::{Credential, Proof, Signature, SigningKey, batch_signed_bytes, put_signature};
use crate::codec::{Reader, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{BatchRoot, LeafHash, ObjectId};
use crate::limits::BATCH_INPUTS_MAX;
use crate::request::Request;

/// An input's place in its batch: the path from its leaf to the root.
///
/// Invariant: the index is below the count, which is within the limit, and the path has a hash for
/// each neighbour on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    index: u32,
    count: u32,
    path: Vec<BatchRoot>,
}

impl Place {
    /// Returns the place of leaf `index` of `count`, whose neighbours on the way up are `path`;
    /// none when no batch has such a leaf, or the path has the wrong length.
    pub fn new(index: u32, count: u32, path: Vec<BatchRoot>) -> Option<Place> {
        let is_leaf = index < count && count as usize <= BATCH_INPUTS_MAX;
        let fits = is_leaf && neighbours(index, count).count() == path.len();
        fits.then_some(Place { index, count, path })
    }

    /// Returns the index of the input's leaf, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns the number of inputs in the batch.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The hashes of the neighbours on the way up.
    pub fn path(&self) -> &[BatchRoot] {
        &self.path
    }

    /// The root that the path leads to from `leaf`.
    pub fn root(&self, leaf: LeafHash) -> BatchRoot {
        let steps = neighbours(self.index, self.count).zip(&self.path);
        steps.fold(leaf.into(), |root, (before, neighbour)| match before {
            true => join(neighbour, &root),
            false => join(&root, neighbour),
        })
    }

    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put_u32(self.index).put_u32(self.count).put_count(self.path.len());
        for hash in &self.path {
            bytes.put(&hash.0);
        }
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Place> {
        let (index, count) = (reader.u32()?, reader.u32()?);
        let steps = reader.count(BATCH_INPUTS_MAX.ilog2() as usize, 32)?;
        let path = (0..steps).map(|_| reader.array().map(BatchRoot)).collect::<Result<_>>()?;
        Place::new(index, count, path).ok_or_else(|| {
            let found = format!("input {index} of {count}, {steps} steps below the root");
            reader.fail(12 + 32 * steps, "a place in a batch", found)
        })
    }
}

/// Iterates over the neighbours on the way up from a leaf: true if the neighbour stands before.
fn neighbours(index: u32, count: u32) -> impl Iterator<Item = bool> {
    let (mut at, mut width) = (index, count);
    std::iter::from_fn(move || {
        while width > 1 {
            let (before, last) = (at % 2 == 1, at + 1 == width);
            (at, width) = (at / 2, width.div_ceil(2));
            if before || !last {
                return Some(before);
            }
        }
        None
    })
}

/// The node over two.
fn join(one: &BatchRoot, other: &BatchRoot) -> BatchRoot {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&one.0);
    both[32..].copy_from_slice(&other.0);
    BatchRoot::of(&both)
}

/// Inputs that are signed together.
///
/// ```
/// use continuant_object::credential::{Batch, Credential, Memo, SigningKey};
/// use continuant_object::{hash::ObjectId, input::Request, time::Time};
///
/// let key = SigningKey::from_secret(&[1; 32]);
/// let ring = Request::Call { method: "ring".to_string(), arguments: vec![] };
/// let (one, other) = (ObjectId([1; 32]), ObjectId([2; 32]));
/// let expires = Time::from_millis(1_700_000_000_000);
/// let mut batch = Batch::new();
/// batch.push(one, &ring, Credential::new(1, expires));
/// batch.push(other, &ring, Credential::new(1, expires));
/// let credentials = batch.sign(&[&key])?;
/// assert_eq!(credentials[1].verify(other, &ring, &Memo::default())?, [key.public()]);
/// # Ok::<(), continuant_object::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    leaves: Vec<LeafHash>,
    credentials: Vec<Credential>,
}

impl Batch {
    /// A batch without inputs.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds `request` to `object`, with the nonce, the expiry and the parent of `credential`.
    pub fn push(&mut self, object: ObjectId, request: &Request, credential: Credential) {
        self.leaves.push(credential.leaf(object, request));
        self.credentials.push(credential);
    }

    /// Signs all of them with each of `keys`: the credentials, in the order of the inputs.
    ///
    /// # Errors
    ///
    /// [`Limit`](ErrorKind::Limit) when there are more inputs than a batch may have.
    pub fn sign(self, keys: &[&SigningKey]) -> Result<Vec<Credential>> {
        let Batch { leaves, mut credentials } = self;
        if leaves.len() > BATCH_INPUTS_MAX {
            let (max, found) = (BATCH_INPUTS_MAX as u64, leaves.len() as u64);
            return Err(Error::from(ErrorKind::Limit { what: "inputs of a batch", max, found }));
        }
        let count = leaves.len() as u32;
        let Some((root, paths)) = tree(&leaves) else { return Ok(credentials) };
        let bytes = batch_signed_bytes(root, count);
        let mut signatures: Vec<Signature> = Vec::with_capacity(keys.len());
        keys.iter().for_each(|key| put_signature(&mut signatures, key.over(&bytes)));
        for ((index, path), credential) in (0..).zip(paths).zip(&mut credentials) {
            let place = Place { index, count, path };
            credential.proof = Proof::Batch(place, signatures.clone());
        }
        Ok(credentials)
    }
}

/// The root over leaves, if there are any, and the path from each of them to it.
fn tree(leaves: &[LeafHash]) -> Option<(BatchRoot, Vec<Vec<BatchRoot>>)> {
    let mut paths = vec![Vec::new(); leaves.len()];
    let mut level: Vec<BatchRoot> = leaves.iter().map(|leaf| (*leaf).into()).collect();
    for height in 0.. {
        for (index, path) in paths.iter_mut().enumerate() {
            path.extend(level.get((index >> height) ^ 1));
        }
        if level.len() < 2 {
            break;
        }
        let pairs = level.chunks(2).map(|pair| match pair {
            [one, other] => join(one, other),
            alone => alone[0],
        });
        level = pairs.collect();
    }
    Some((*level.first()?, paths))
}
