//! The evidence tree of a database, as the log's records make it: its frontier in memory, the
//! hashes of whole subtrees on their way to the index.
//!
//! ```text
//!    push: leaves in the heads --take--> queue --fold, once durable--> tree, rows
//!                                                  |
//!                          seal: the end of a flush +--> tree and rows of that end --> index
//! ```
//!
//! Leaves are hashed here, behind the appends that made them: when somebody asks for the tree, or
//! the index is written. Only durable ones are, so the tree that is told is never one that a crash
//! undoes. The hashes of leaves are kept nowhere: the records say them.
//!
//! This module does not know records, nor how rows are stored.
//!
//! Invariant: the tree that goes to the index has exactly the leaves before the end that the index
//! covers then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use object::codec::{Reader, Write};
use object::evidence::{Frontier, Leaf, Subtree, TILE_WIDTH, TreeHash};
use object::hash::HASH_BYTES;

use crate::error::position::Position;

/// Leaves of a chunk: pushed ones must not be moved while the heads are locked.
const CHUNK: usize = 1024;

/// A leaf, with the frame that has its record.
pub(crate) type Placed = (Position, Leaf);

/// Leaves in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    chunks: Vec<Vec<Placed>>,
    count: usize,
    /// Leaves of the tree that came before these.
    before: u64,
}

impl Leaves {
    /// Returns no leaves, behind as many.
    pub(crate) fn behind(before: u64) -> Leaves {
        Leaves { before, ..Leaves::default() }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns how many leaves the tree has with these.
    pub(crate) fn end(&self) -> u64 {
        self.before + self.count as u64
    }

    /// Adds the next leaf.
    pub(crate) fn push(&mut self, frame: Position, leaf: Leaf) {
        let is_full = self.chunks.last().is_none_or(|last| last.len() == CHUNK);
        if is_full {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.last_mut().expect("a chunk was added");
        debug_assert!(
            last.last().is_none_or(|(before, _)| *before <= frame),
            "leaves are in order"
        );
        last.push((frame, leaf));
        self.count += 1;
    }
}

/// The place of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The frame that has its record.
    pub(crate) frame: Position,
    /// The number of the frame's leaves before.
    pub(crate) ordinal: u32,
}

impl Place {
    /// Returns the place of the leaf of a record in `frame` that comes behind the leaf here.
    pub(crate) fn next(self, frame: Position) -> Place {
        let ordinal = if frame == self.frame { self.ordinal + 1 } else { 0 };
        Place { frame, ordinal }
    }

    fn put(self, to: &mut Vec<u8>) {
        to.put_u64(self.frame.0).put_varint(u64::from(self.ordinal));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Place> {
        let frame = Position(reader.u64().ok()?);
        Some(Place { frame, ordinal: reader.varint().ok()?.try_into().ok()? })
    }
}

/// The level and the index of a whole subtree.
pub(crate) type SubtreeKey = (u8, u64);

/// A whole subtree, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubtreeRow {
    pub(crate) hash: TreeHash,
    /// The place of its first leaf: at level 1.
    pub(crate) first: Option<Place>,
}

impl SubtreeRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HASH_BYTES + 16);
        bytes.put(&self.hash.0);
        self.first.iter().for_each(|place| place.put(&mut bytes));
        bytes
    }

    pub(crate) fn decode(level: u8, bytes: &[u8]) -> Option<SubtreeRow> {
        let mut reader = Reader::new("subtree", bytes);
        let hash = TreeHash(reader.array().ok()?);
        let first = match level {
            1 => Some(Place::read(&mut reader)?),
            _ => None,
        };
        (reader.left() == 0).then_some(SubtreeRow { hash, first })
    }
}

/// Whole subtrees.
pub(crate) type SubtreeRows = BTreeMap<SubtreeKey, SubtreeRow>;

/// The tree, without its whole subtrees.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Tree {
    pub(crate) frontier: Frontier,
    /// The place of the first leaf behind the last whole subtree of level 1, if there is one.
    pub(crate) open: Option<Place>,
}

impl Tree {
    /// Returns how many leaves the last subtree of level 1 lacks: at least 1.
    pub(crate) fn room(&self) -> usize {
        (TILE_WIDTH - self.frontier.size() % TILE_WIDTH) as usize
    }

    /// Adds leaves, the first of them at `first`, that the last subtree of level 1 has room for;
    /// puts the subtrees that are whole then into `rows`.
    pub(crate) fn extend(&mut self, first: Place, leaves: &[TreeHash], rows: &mut SubtreeRows) {
        assert!(leaves.len() <= self.room(), "subtrees are made one after the other");
        let Tree { frontier, open } = self;
        open.get_or_insert(first);
        frontier.extend(leaves, |Subtree { level, index, hash }| {
            let first = open.take();
            debug_assert_eq!(first.is_some(), level == 1, "the smallest comes first");
            rows.insert((level, index), SubtreeRow { hash, first });
        });
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.frontier.size());
        for hash in self.frontier.peaks() {
            bytes.put(&hash.0);
        }
        self.open.iter().for_each(|place| place.put(&mut bytes));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Tree> {
        let mut reader = Reader::new("tree", bytes);
        let size = reader.u64().ok()?;
        let peaks: Option<Vec<TreeHash>> =
            (0..size.count_ones()).map(|_| reader.array().ok().map(TreeHash)).collect();
        let open = match size % TILE_WIDTH {
            0 => None,
            _ => Some(Place::read(&mut reader)?),
        };
        let frontier = Frontier::of(size, &peaks?)?;
        (reader.left() == 0).then_some(Tree { frontier, open })
    }
}

/// The tree at the end that the index is to cover, and the whole subtrees that it does not have
/// yet.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) tree: Tree,
    pub(crate) rows: SubtreeRows,
}

/// The tree of an open database.
#[derive(Debug)]
pub(crate) struct Evidence {
    tree: Tree,
    /// Leaves that are not in the tree yet.
    queue: VecDeque<Placed>,
    /// The leaf that was added last.
    last: Place,
    /// Subtrees that became whole since the tree was sealed.
    rows: SubtreeRows,
    /// The end that the index is to cover, until the tree has all leaves before.
    seal: Option<Position>,
    /// The tree at that end, until the index has it.
    sealed: Option<Arc<Sealed>>,
}

impl Evidence {
    /// Continues the tree that the index has.
    pub(crate) fn new(tree: Tree) -> Evidence {
        let (queue, rows, seal, sealed) = Default::default();
        let last = Place { frame: Position::NONE, ordinal: 0 };
        Evidence { tree, queue, last, rows, seal, sealed }
    }

    /// The tree, as far as leaves were added.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes in the leaves that were pushed since.
    pub(crate) fn take(&mut self, leaves: Leaves) {
        let taken = self.tree.frontier.size() + self.queue.len() as u64;
        assert_eq!(leaves.before, taken, "no leaf is left out");
        self.queue.extend(leaves.chunks.into_iter().flatten());
    }

    /// Notes that the index is to cover the log up to `end`, of which all leaves were taken in.
    ///
    /// # Panics
    ///
    /// When an earlier tree is still being written.
    pub(crate) fn seal(&mut self, end: Position) {
        assert!(self.seal.is_none() && self.sealed.is_none(), "trees are written one at a time");
        assert!(self.queue.back().is_none_or(|(frame, _)| *frame < end), "these are all leaves");
        self.seal = Some(end);
    }

    /// Adds the leaves of frames before `end`, which are durable, to the tree.
    pub(crate) fn fold(&mut self, end: Position) {
        if let Some(seal) = self.seal.filter(|seal| *seal <= end) {
            self.add_before(seal);
            self.close();
        }
        self.add_before(end);
    }

    fn add_before(&mut self, end: Position) {
        let mut left = self.queue.partition_point(|(frame, _)| *frame < end);
        while left > 0 {
            let count = left.min(self.tree.room());
            let leaves: Vec<Placed> = self.queue.drain(..count).collect();
            let first = self.last.next(leaves[0].0);
            let rest = leaves[1..].iter();
            self.last = rest.fold(first, |last, (frame, _)| last.next(*frame));
            let hashes = Leaf::hash_all(leaves.iter().map(|(_, leaf)| leaf));
            self.tree.extend(first, &hashes, &mut self.rows);
            left -= count;
        }
    }

    fn close(&mut self) {
        let (tree, rows) = (self.tree.clone(), std::mem::take(&mut self.rows));
        (self.seal, self.sealed) = (None, Some(Arc::new(Sealed { tree, rows })));
    }

    /// Returns the tree at the end that was sealed, which is durable.
    pub(crate) fn sealed(&mut self) -> Arc<Sealed> {
        if let Some(end) = self.seal {
            self.fold(end);
        }
        Arc::clone(self.sealed.as_ref().expect("it was sealed"))
    }

    /// The sealed tree is in the index.
    pub(crate) fn end_flush(&mut self) {
        assert!(self.sealed.is_some(), "a tree was being written");
        self.sealed = None;
    }

    /// Returns a whole subtree that the index may not have.
    pub(crate) fn row(&self, key: SubtreeKey) -> Option<SubtreeRow> {
        let sealed = || self.sealed.as_ref().and_then(|sealed| sealed.rows.get(&key));
        self.rows.get(&key).or_else(sealed).copied()
    }

    /// Returns the whole subtrees that the index may not have.
    pub(crate) fn rows(&self) -> SubtreeRows {
        let sealed = self.sealed.iter().flat_map(|sealed| &sealed.rows);
        sealed.chain(&self.rows).map(|(key, row)| (*key, *row)).collect()
    }

    /// Asserts what always holds.
    pub(crate) fn check_invariants(&self) {
        let Tree { frontier, open } = &self.tree;
        assert_eq!(open.is_some(), frontier.size() % TILE_WIDTH > 0, "an open subtree has a place");
        assert!(self.seal.is_none() || self.sealed.is_none(), "a tree is sealed once");
        let is_in_order = self.queue.iter().is_sorted_by_key(|(frame, _)| *frame);
        assert!(is_in_order, "leaves are in the order of the log");
        let is_whole =
            |(level, index): &SubtreeKey| (index + 1) << (8 * u32::from(*level)) <= frontier.size();
        assert!(self.rows.keys().all(is_whole), "a subtree that is whole has all its leaves");
    }
}
