//! An object's linear memory: pages, images, and the Merkle tree that keeps its root.
//!
//! The root of a memory is the plain BLAKE3 hash of the whole image, so `b3sum` of a dumped image
//! gives it. The tree keeps one chaining value per 4096-byte page and one per inner node, so a
//! step costs the hashes of the pages it changed and of the nodes above them.
//!
//! This module does not know where pages come from, nor what the bytes mean.
//!
//! Rules of BLAKE3's tree that hold here: a chaining value depends on its position in the image;
//! only the subtree at the right edge may be short; an image of one page has no chaining value
//! that its root could be derived from, so that root is hashed from the page itself.

use std::fmt;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::hash::MemoryRoot;
use crate::limits::PAGE_BYTES;

/// The bytes of one page.
pub type Page = [u8; PAGE_BYTES];

/// A page of zeros: every byte of a memory is zero until it is written.
pub const ZERO_PAGE: Page = [0; PAGE_BYTES];

/// A memory image that is read page by page, wherever its pages are.
pub trait Memory {
    /// The image's length: a multiple of [`PAGE_BYTES`].
    fn bytes_count(&self) -> u64;

    /// The page at `index`.
    ///
    /// # Panics
    ///
    /// May panic when `index` is not below `bytes_count() / PAGE_BYTES`.
    fn page(&self, index: u32) -> &Page;
}

impl<M: Memory + ?Sized> Memory for &M {
    fn bytes_count(&self) -> u64 {
        (**self).bytes_count()
    }

    fn page(&self, index: u32) -> &Page {
        (**self).page(index)
    }
}

impl fmt::Debug for dyn Memory + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.bytes_count())
    }
}

/// A flat image. Bytes after the last whole page are not part of it.
impl Memory for [u8] {
    fn bytes_count(&self) -> u64 {
        (self.len() - self.len() % PAGE_BYTES) as u64
    }

    fn page(&self, index: u32) -> &Page {
        let start = index as usize * PAGE_BYTES;
        self[start..start + PAGE_BYTES].try_into().expect("a page is sliced to its length")
    }
}

/// Returns the number of pages of an image of `bytes_count` bytes.
///
/// # Panics
///
/// When `bytes_count` is not a multiple of [`PAGE_BYTES`] or has 2^32 pages or more.
pub fn page_count(bytes_count: u64) -> u32 {
    assert_eq!(bytes_count % PAGE_BYTES as u64, 0, "an image is whole pages");
    u32::try_from(bytes_count / PAGE_BYTES as u64).expect("an image is below 16 TiB")
}

/// A BLAKE3 chaining value: not a hash, so of another type than every hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ChainingValue([u8; 32]);

/// The Merkle tree of one image.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `levels[0]` has a chaining value per page; each level above has one per pair below, an odd
    /// last one moving up unchanged. The top level has at most two.
    ///
    /// Invariant: `levels[k + 1].len() == levels[k].len().div_ceil(2)`.
    levels: Vec<Vec<ChainingValue>>,
    root: MemoryRoot,
}

impl Tree {
    /// The tree of a whole image.
    pub fn of(memory: &(impl Memory + ?Sized)) -> Tree {
        let mut tree = Tree { levels: vec![Vec::new()], root: MemoryRoot::of(b"") };
        tree.update(memory, &[]);
        tree
    }

    /// The plain BLAKE3 hash of the image.
    pub fn root(&self) -> MemoryRoot {
        self.root
    }

    /// The image's length in pages.
    pub fn page_count(&self) -> u32 {
        self.levels[0].len() as u32
    }

    /// Takes in the pages of `memory` named in `dirty` and those by which the image grew.
    ///
    /// `dirty` is in ascending order; pages that did not change may be in it.
    ///
    /// # Panics
    ///
    /// When the image shrank, or `dirty` is out of order or beyond the image.
    pub fn update(&mut self, memory: &(impl Memory + ?Sized), dirty: &[u32]) {
        let (before, after) = (self.page_count(), page_count(memory.bytes_count()));
        assert!(before <= after, "a memory never shrinks");
        assert!(dirty.is_sorted(), "dirty pages come in ascending order");
        assert!(dirty.last().is_none_or(|&last| last < after), "dirty pages are in the image");
        let old = dirty.iter().copied().filter(|&index| index < before);
        let mut changed: Vec<u32> = old.chain(before..after).collect();
        changed.dedup();
        self.levels[0].resize(after as usize, ChainingValue([0; 32]));
        for &index in &changed {
            self.levels[0][index as usize] = chaining_value(index, memory.page(index));
        }
        self.lift(changed);
        self.root = match after {
            0 => MemoryRoot::of(b""),
            1 => MemoryRoot::of(memory.page(0)),
            _ => {
                let top = self.levels.last().expect("a tree has a level");
                let root = merge_subtrees_root(&top[0].0, &top[1].0, Mode::Hash);
                MemoryRoot(*root.as_bytes())
            }
        };
        self.check_invariants();
    }

    /// Recomputes the nodes above `changed` nodes of the lowest level.
    fn lift(&mut self, mut changed: Vec<u32>) {
        let mut level = 0;
        while self.levels[level].len() > 2 {
            if self.levels.len() == level + 1 {
                self.levels.push(Vec::new());
            }
            let (below, above) = self.levels.split_at_mut(level + 1);
            let (below, above) = (&below[level], &mut above[0]);
            let (old, new) = (above.len() as u32, below.len().div_ceil(2));
            above.resize(new, ChainingValue([0; 32]));
            changed.iter_mut().for_each(|index| *index /= 2);
            changed.retain(|&index| index < old);
            changed.extend(old..new as u32);
            changed.dedup();
            for &parent in &changed {
                let left = parent as usize * 2;
                above[parent as usize] = match below.get(left + 1) {
                    Some(right) => {
                        ChainingValue(merge_subtrees_non_root(&below[left].0, &right.0, Mode::Hash))
                    }
                    None => below[left],
                };
            }
            level += 1;
        }
        assert_eq!(self.levels.len(), level + 1, "a tree has no level above its top");
    }

    fn check_invariants(&self) {
        for pair in self.levels.windows(2) {
            debug_assert_eq!(pair[1].len(), pair[0].len().div_ceil(2));
        }
        debug_assert!(self.levels.last().is_some_and(|top| top.len() <= 2));
    }
}

fn chaining_value(index: u32, page: &Page) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(u64::from(index) * PAGE_BYTES as u64);
    hasher.update(page);
    ChainingValue(hasher.finalize_non_root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_root_is_the_plain_hash_of_the_image_whatever_changed() {
        for seed in 0..40 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut image = vec![0_u8; rng.random_range(0..4) * PAGE_BYTES];
            let mut tree = Tree::of(&image[..]);
            for _ in 0..30 {
                assert_eq!(tree.root(), MemoryRoot::of(&image), "seed {seed}");
                image.resize(image.len() + rng.random_range(0..3) * PAGE_BYTES, 0);
                let count = page_count(image.len() as u64);
                let mut dirty: Vec<u32> = (0..count).filter(|_| rng.random_bool(0.2)).collect();
                for &index in &dirty {
                    image[index as usize * PAGE_BYTES + 17] = rng.random();
                }
                dirty.dedup();
                tree.update(&image[..], &dirty);
            }
        }
    }
}
