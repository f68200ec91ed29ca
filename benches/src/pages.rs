//! The pages that the population's versions write: a thousand, shared by all objects, and changed
//! as a whole or in one field.
//!
//! They look random, so that no layer below compresses them.

use std::sync::Arc;

use anyhow::Result;
use continuant::object::hash::MemoryRoot;
use continuant::object::image::Image;
use continuant::object::memory::{Memory, Page};

use crate::payloads::PAGE_INDEX;

/// Different pages: more than any cache nearby holds.
const COUNT_MAX: usize = 1024;

/// The change that a version makes to its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// All of it.
    Page,
    /// Changes its first eight bytes, as a counter does.
    Field,
}

/// Pages; an object's next version has the page of its number, modulo their count.
#[derive(Debug)]
pub(crate) struct Pages(Vec<Slot>);

/// A page with its root, and the memory in which it is the only changed one.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) page: Arc<Page>,
    pub(crate) root: MemoryRoot,
    pub(crate) image: Image,
}

impl Slot {
    /// The slot after `before` when the page changed.
    pub(crate) fn new(before: &Image, page: Page) -> Result<Slot> {
        let (root, page) = (MemoryRoot::of(&page), Arc::new(page));
        let changed = vec![(PAGE_INDEX, Arc::clone(&page))];
        let image = before.step(before.bytes_count(), changed)?;
        Ok(Slot { page, root, image })
    }
}

impl Pages {
    /// Returns pages for `object_count` objects, whose memory is still `image`.
    pub(crate) fn new(object_count: usize, image: &Image) -> Result<Pages> {
        let count = object_count.clamp(1, COUNT_MAX) as u64;
        Ok(Pages((0..count).map(|seed| Slot::new(image, random(seed))).collect::<Result<_>>()?))
    }

    pub(crate) fn of(&self, object: usize) -> &Slot {
        &self.0[object % self.0.len()]
    }

    /// Makes the pages of the next round.
    pub(crate) fn edit(&mut self, round: u64, edit: Edit) -> Result<()> {
        let count = self.0.len() as u64;
        for (seed, slot) in self.0.iter_mut().enumerate() {
            let page = match edit {
                Edit::Page => random(round * count + seed as u64),
                Edit::Field => field(&slot.page, Random::new(round).next()),
            };
            *slot = Slot::new(&slot.image, page)?;
        }
        Ok(())
    }
}

/// The page with its first field changed.
pub(crate) fn field(page: &Page, value: u64) -> Page {
    let mut page = *page;
    page[..8].copy_from_slice(&value.to_le_bytes());
    page
}

/// A page of numbers that look random.
pub(crate) fn random(seed: u64) -> Page {
    let mut page = [0; 4096];
    let mut state = Random::new(seed);
    for word in page.chunks_exact_mut(8) {
        word.copy_from_slice(&state.next().to_le_bytes());
    }
    page
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
