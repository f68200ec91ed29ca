//! The evidence tree: a Merkle tree in the form of RFC 6962, with SHA-256, over all that a database
//! put on record.
//!
//! ```text
//!               root
//!              /    \
//!          node      leaf 4        the frontier of five leaves: the hash of the first four,
//!         /    \                   and that of leaf 4
//!      node    node
//!      /  \    /  \
//!     0    1  2    3
//! ```
//!
//! The lineage of an object says what happened to it; the tree says that nothing else did: who
//! knows a root and its size can have shown that an entry is below it, and that a later root only
//! added to it. A leaf is one entry, of a fixed length; `FORMAT.md` describes it. The hashes that a
//! root is of are served in tiles of 256, as C2SP's *tlog-tiles* lays them out. This module does
//! not know where leaves come from, nor where hashes are kept.
//!
//! Invariant: what is hashed of a leaf begins with another byte than what is hashed of a node.

mod lanes;

use std::fmt;

use arrayvec::ArrayVec;
use sha2::{Digest, Sha256};

use crate::codec::{Reader, Write};
use crate::error::Result;
use crate::hash::{HASH_BYTES, ObjectId, RefusalHash, VersionHash};
use crate::header::Kind;
use crate::refusal::Reason;

/// The text that every leaf begins with: no other structure does.
pub const LEAF_CONTEXT: &[u8; 26] = b"continuant 2 evidence leaf";
/// Bytes of a leaf.
pub const LEAF_BYTES: usize = LEAF_CONTEXT.len() + 2 + HASH_BYTES + 8 + HASH_BYTES;
/// The hashes of a whole tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Levels of the tree that one tile stands for.
pub const TILE_HEIGHT: u32 = 8;
/// The most hashes of a frontier.
const PEAKS_MAX: usize = 64;

/// The bytes before a leaf, and before the hashes below a node, when they are hashed.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The SHA-256 hash of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash(pub [u8; HASH_BYTES]);

impl TreeHash {
    /// The root of a tree without leaves.
    pub fn of_nothing() -> TreeHash {
        TreeHash(Sha256::digest([]).into())
    }

    /// Hashes the bytes of a leaf.
    pub fn of_leaf(leaf: &[u8]) -> TreeHash {
        TreeHash(Sha256::new().chain_update([LEAF]).chain_update(leaf).finalize().into())
    }

    /// Hashes the two hashes below a node.
    pub fn of_node(left: TreeHash, right: TreeHash) -> TreeHash {
        let both = pair([left, right]);
        TreeHash(Sha256::new().chain_update([NODE]).chain_update(both).finalize().into())
    }

    /// Hashes as many nodes as there are pairs of hashes, as [`of_node`](TreeHash::of_node) does.
    ///
    /// # Panics
    ///
    /// When the last hash has no neighbour.
    pub fn of_nodes(below: &[TreeHash]) -> Vec<TreeHash> {
        let (pairs, rest) = below.as_chunks::<2>();
        assert!(rest.is_empty(), "hashes are in pairs");
        hash_all(pairs, NODE, |both| pair(*both))
    }
}

fn pair([left, right]: [TreeHash; 2]) -> [u8; 2 * HASH_BYTES] {
    let mut bytes = [0; 2 * HASH_BYTES];
    bytes[..HASH_BYTES].copy_from_slice(&left.0);
    bytes[HASH_BYTES..].copy_from_slice(&right.0);
    bytes
}

/// Hashes the bytes of each item behind a prefix, in lanes where that is faster.
fn hash_all<T, const N: usize>(
    items: &[T],
    prefix: u8,
    bytes: impl Fn(&T) -> [u8; N],
) -> Vec<TreeHash> {
    let mut hashes = Vec::with_capacity(items.len());
    let mut rest = items;
    if let Some(level) = lanes::level() {
        let (chunks, few) = items.as_chunks::<{ lanes::LANES }>();
        for chunk in chunks {
            let messages = chunk.each_ref().map(|item| lanes::padded(prefix, bytes(item)));
            hashes.extend(lanes::hash(level, &messages).map(TreeHash));
        }
        rest = few;
    }
    let one = |item| Sha256::new().chain_update([prefix]).chain_update(bytes(item)).finalize();
    hashes.extend(rest.iter().map(|item| TreeHash(one(item).into())));
    hashes
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHash({self})")
    }
}

/// An entry of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// A version that was made here.
    Version {
        /// The object.
        object: ObjectId,
        /// The version's seq.
        seq: u64,
        /// The version's kind.
        kind: Kind,
        /// The version's hash.
        hash: VersionHash,
    },
    /// A refusal that was put on record here.
    Refusal {
        /// The object.
        object: ObjectId,
        /// The number of the object's refusals before.
        number: u64,
        /// The reason.
        reason: Reason,
        /// The refusal's hash.
        hash: RefusalHash,
    },
    /// The newest version of an object that was imported: its hash covers those before.
    AdoptedVersion {
        /// The object.
        object: ObjectId,
        /// The version's seq.
        seq: u64,
        /// The version's hash.
        hash: VersionHash,
    },
    /// The last refusal of an object that was imported: its hash covers those before.
    AdoptedRefusal {
        /// The object.
        object: ObjectId,
        /// The number of the object's refusals before.
        number: u64,
        /// The refusal's hash.
        hash: RefusalHash,
    },
    /// An accepted loss of the end of the log.
    Loss {
        /// The position where the log had ended.
        end: u64,
        /// The check of the last frame before that.
        check: [u8; HASH_BYTES],
    },
}

impl Leaf {
    /// Returns the leaf's bytes.
    pub fn encode(&self) -> [u8; LEAF_BYTES] {
        let none = ObjectId::default();
        let (entry, kind, object, number, hash) = match *self {
            Leaf::Version { object, seq, kind, hash } => (1, kind.code(), object, seq, hash.0),
            Leaf::Refusal { object, number, reason, hash } => {
                (2, reason.code(), object, number, hash.0)
            }
            Leaf::AdoptedVersion { object, seq, hash } => (3, 0, object, seq, hash.0),
            Leaf::AdoptedRefusal { object, number, hash } => (4, 0, object, number, hash.0),
            Leaf::Loss { end, check } => (5, 0, none, end, check),
        };
        let mut bytes = ArrayVec::<u8, LEAF_BYTES>::new();
        bytes.put(LEAF_CONTEXT).put_u8(entry).put_u8(kind);
        bytes.put(&object.0).put_u64(number).put(&hash);
        bytes.into_inner().expect("a leaf has its length")
    }

    /// Reads a leaf from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Leaf::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Leaf> {
        let mut reader = Reader::new("leaf", bytes);
        if reader.bytes(LEAF_CONTEXT.len())? != LEAF_CONTEXT {
            return Err(reader.fail(LEAF_CONTEXT.len(), "the text of a leaf", "another"));
        }
        let (entry, kind) = (reader.u8()?, reader.u8()?);
        let (object, number, hash) = (ObjectId(reader.array()?), reader.u64()?, reader.array()?);
        let unknown = |what, found| reader.fail(1 + 2 * HASH_BYTES + 8, what, found);
        let leaf = match (entry, kind) {
            (1, kind) => {
                let kind = Kind::from_code(kind).ok_or_else(|| unknown("a known kind", kind))?;
                Leaf::Version { object, seq: number, kind, hash: VersionHash(hash) }
            }
            (2, code) => {
                let known = Reason::from_code(code);
                let reason = known.ok_or_else(|| unknown("a known reason", code))?;
                Leaf::Refusal { object, number, reason, hash: RefusalHash(hash) }
            }
            (3, 0) => Leaf::AdoptedVersion { object, seq: number, hash: VersionHash(hash) },
            (4, 0) => Leaf::AdoptedRefusal { object, number, hash: RefusalHash(hash) },
            (5, 0) if object == ObjectId::default() => Leaf::Loss { end: number, check: hash },
            (3..=5, _) => {
                let what = "zeros where the entry has no kind, or no object";
                return Err(unknown(what, kind));
            }
            (entry, _) => return Err(unknown("a known entry before", entry)),
        };
        reader.end()?;
        Ok(leaf)
    }

    /// Returns the leaf's hash in the tree.
    pub fn hash(&self) -> TreeHash {
        TreeHash::of_leaf(&self.encode())
    }

    /// Returns the hashes of leaves, as [`hash`](Leaf::hash) does.
    pub fn hash_all<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Vec<TreeHash> {
        let leaves: Vec<&Leaf> = leaves.into_iter().collect();
        hash_all(&leaves, LEAF, |leaf| leaf.encode())
    }
}

/// A part of the tree that has all of its leaves, and is one hash of a tile: `TILE_WIDTH` to the
/// power of its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// The level of the tile that has its hash; at level 0 there are the leaves.
    pub level: u8,
    /// The number of those of the level before it.
    pub index: u64,
    /// The hash at its top.
    pub hash: TreeHash,
}

/// A tree, by its size and its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: TreeHash,
}

/// The right edge of a tree, to which leaves are added: its size, and the hash of each largest part
/// that has all its leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    /// The largest first: one for each bit of the size that is set.
    peaks: ArrayVec<TreeHash, PEAKS_MAX>,
}

impl Frontier {
    /// Returns the frontier of `size` leaves with these hashes, the largest part first; none when
    /// there are not as many as the size has bits.
    pub fn of(size: u64, peaks: &[TreeHash]) -> Option<Frontier> {
        let is_whole = peaks.len() as u32 == size.count_ones();
        is_whole.then(|| Frontier { size, peaks: peaks.iter().copied().collect() })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, the largest part first.
    pub fn peaks(&self) -> &[TreeHash] {
        &self.peaks
    }

    /// Returns the size and the root of the tree.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> TreeHash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| TreeHash::of_node(left, right)).unwrap_or(TreeHash::of_nothing())
    }

    /// Adds a leaf by its hash; calls `whole` with each part above level 0 that has all of its
    /// leaves then, the smallest first.
    ///
    /// # Panics
    ///
    /// When there are more leaves than can be counted.
    pub fn push(&mut self, leaf: TreeHash, mut whole: impl FnMut(Subtree)) {
        self.add(leaf, 0, &mut whole);
    }

    /// Adds leaves by their hashes, as [`push`](Frontier::push) does one after the other.
    pub fn extend(&mut self, leaves: &[TreeHash], mut whole: impl FnMut(Subtree)) {
        let before = self.size.next_multiple_of(TILE_WIDTH) - self.size;
        let (first, rest) = leaves.split_at(leaves.len().min(before as usize));
        first.iter().for_each(|leaf| self.add(*leaf, 0, &mut whole));
        let (tiles, last) = rest.as_chunks::<{ TILE_WIDTH as usize }>();
        for tile in tiles {
            let mut hashes = TreeHash::of_nodes(tile);
            while hashes.len() > 1 {
                hashes = TreeHash::of_nodes(&hashes);
            }
            self.add(hashes[0], TILE_HEIGHT, &mut whole);
        }
        last.iter().for_each(|leaf| self.add(*leaf, 0, &mut whole));
    }

    /// Adds a part of 2^`height` leaves by its hash.
    fn add(&mut self, part: TreeHash, height: u32, whole: &mut impl FnMut(Subtree)) {
        let added = 1 << height;
        assert!(self.size < u64::MAX - added, "leaves can be counted");
        debug_assert_eq!(self.size % added, 0, "a part begins where its like ends");
        let (mut hash, mut height) = (part, height);
        loop {
            if height > 0 && height % TILE_HEIGHT == 0 {
                let level = (height / TILE_HEIGHT) as u8;
                whole(Subtree { level, index: self.size >> height, hash });
            }
            if self.size >> height & 1 == 0 {
                break;
            }
            let left = self.peaks.pop().expect("there is a hash for each bit");
            hash = TreeHash::of_node(left, hash);
            height += 1;
        }
        self.peaks.push(hash);
        self.size += added;
        debug_assert_eq!(self.peaks.len() as u32, self.size.count_ones(), "a hash for each bit");
    }
}

/// Returns the root of the tree over leaves with these hashes; over the hashes of a whole tile, the
/// one hash that the tile above has of it.
pub fn root_of(hashes: &[TreeHash]) -> TreeHash {
    let mut frontier = Frontier::default();
    frontier.extend(hashes, |_| {});
    frontier.root()
}
