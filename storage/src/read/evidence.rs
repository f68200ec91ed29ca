//! Reads of the evidence tree: its size and root, and its hashes in tiles.
//!
//! The hashes of leaves are made again of their records. This module does not know how the tree
//! comes about.

use object::evidence::{TILE_HEIGHT, TILE_WIDTH, TreeHash, TreeHead, root_of};

use crate::error::{Error, Result};
use crate::lock::{MutexGuard, rank};
use crate::log::frame::damaged;
use crate::log::scan;
use crate::log::scan::{Next, Scan};
use crate::record::{leaf, records};
use crate::rows::evidence::{Evidence, Place, SubtreeKey, SubtreeRow};
use crate::store::{Inner, Store};

impl Store {
    /// Returns the size and the root of the evidence tree: a Merkle tree over every version and
    /// every refusal that is durable, in the order of the log. It hashes what was appended since it
    /// was asked for last, or the index was written.
    pub fn evidence(&self) -> TreeHead {
        self.inner().settled_evidence().tree().frontier.head()
    }

    /// Returns the number of leaves that the evidence tree will have when all appends so far are
    /// durable, without hashing anything.
    pub fn leaf_count(&self) -> u64 {
        self.inner().heads.lock().leaf_count()
    }

    /// Returns the first `width` hashes of a tile of the evidence tree, which has up to 256: those
    /// of leaves at level 0, and above it those of whole tiles of the level below. A tile of level
    /// 0 is made of the records in the log.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when the tree has no such hashes; those of the file
    /// system, and damage.
    pub fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<TreeHash>> {
        let inner = self.inner();
        let evidence = inner.settled_evidence();
        let size = evidence.tree().frontier.size();
        let whole = level_size(size, level);
        let first = index.checked_mul(TILE_WIDTH);
        let end = first.and_then(|first| first.checked_add(u64::from(width)));
        let is_tile = (1..=TILE_WIDTH).contains(&u64::from(width));
        let (Some(first), Some(end)) = (first, end.filter(|end| is_tile && *end <= whole)) else {
            let tile = format!("{level}/{index} of {width} hashes, in a tree of {size} leaves");
            return Err(Error::not_found("tile of the evidence tree", tile));
        };
        if level > 0 {
            drop(evidence);
            let rows = (first..end).map(|index| inner.subtree((level, index)));
            return rows.map(|row| Ok(row?.hash)).collect();
        }
        let open = evidence.tree().open;
        drop(evidence);
        let row = match index < level_size(size, 1) {
            true => Some(inner.subtree((1, index))?),
            false => None,
        };
        let place = row.map_or(open, |row| row.first);
        let place = place.expect("a subtree with a leaf has a place");
        let hashes = inner.heed(inner.leaf_hashes(place, usize::from(width)))?;
        match row.filter(|_| hashes.len() as u64 == TILE_WIDTH) {
            Some(row) if row.hash != root_of(&hashes) => {
                Err(damaged(place.frame, format!("leaves below {}", row.hash), "others"))
            }
            _ => Ok(hashes),
        }
    }
}

/// Returns the number of hashes that a tree of `size` leaves has at a level.
fn level_size(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

impl Inner {
    /// The evidence tree, locked, once all durable leaves are in it.
    pub(crate) fn settled_evidence(&self) -> MutexGuard<'_, Evidence, rank::Evidence> {
        let mut evidence = self.evidence.lock();
        let mut heads = self.heads.lock();
        let (leaves, durable) = (heads.take_leaves(), self.log.durable());
        drop(heads);
        evidence.take(leaves);
        evidence.fold(durable);
        evidence
    }

    /// A whole subtree of the evidence tree.
    fn subtree(&self, key: SubtreeKey) -> Result<SubtreeRow> {
        let known = self.evidence.lock().row(key);
        match known {
            Some(row) => Ok(row),
            None => self.indexed(|index| index.required_subtree(key)),
        }
    }

    /// Returns the hashes of as many leaves, from the one at `place` on.
    fn leaf_hashes(&self, place: Place, count: usize) -> Result<Vec<TreeHash>> {
        let segments = self.log.segments();
        let missing = || damaged(place.frame, "a frame with a leaf", "none");
        let before = scan::before(segments, place.frame)?.ok_or_else(missing)?;
        let (mut scan, mut skipped) = (Scan::new(segments, before), place.ordinal);
        let mut hashes = Vec::with_capacity(count);
        loop {
            let frame = match scan.next()? {
                Next::Frame(frame) => frame,
                Next::Broken(error) => return Err(error),
                Next::Nothing => return Err(missing()),
            };
            for record in records(&frame.body) {
                for leaf in leaf::of_record(&record?, frame.position)? {
                    if skipped > 0 {
                        skipped -= 1;
                        continue;
                    }
                    hashes.push(leaf.hash());
                    if hashes.len() == count {
                        return Ok(hashes);
                    }
                }
            }
        }
    }
}
