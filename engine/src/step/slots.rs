//! A worker's warm instances, one per code, each holding the memory of the object that it ran last.
//!
//! An object is loaded by copying in the pages in which it differs from the instance's memory.
//! After a step the caller either accepts the memory as the object's next image or rejects it, and
//! the instance holds the image from before again. This module does not know why. The Merkle tree
//! of a memory is here too, so that a waiting object has none: pages that came in with an object
//! are hashed with those that its step changed, which are often the same.
//!
//! Invariant: between steps a slot's memory is, byte for byte, the image in `LoadedSlot::image`, or
//! the slot is not settled and never used again. Invariant: a page is written only while nobody
//! else holds it. Invariant: the tree is that of the image, except for the pages in
//! `LoadedSlot::unhashed`.

use std::collections::VecDeque;
use std::sync::Arc;

use object::hash::MemoryRoot;
use object::image::Image;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, Tree, page_count};

use crate::error::Result;
use crate::metrics::Loads;
use crate::step::catalog::Runnable;
use crate::substrate::{Slot, StepLimits};

/// Instances that a worker keeps.
const SLOTS_MAX: usize = 64;
/// The number of former images' pages that an instance keeps, to write new images into them.
const FORMER_MAX: usize = 8;

/// The instances in which a worker runs guests: one set for objects, and one for the guards of
/// their policies, which are asked while an object's step waits in the other.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) objects: Instances,
    pub(crate) guards: Instances,
}

/// Instances, of the codes used last: the one used last at the end.
#[derive(Default)]
pub(crate) struct Instances {
    loaded: Vec<(Arc<Runnable>, Box<LoadedSlot>)>,
    loads: Loads,
}

/// An instance that holds the memory of an image.
pub(crate) struct LoadedSlot {
    pub(crate) slot: Slot,
    /// The limits of the present step, or the last one.
    pub(crate) limits: StepLimits,
    image: Image,
    tree: Tree,
    unhashed: Vec<u32>,
    /// Pages that the host wrote since the last step ended.
    written: Vec<u32>,
    /// Pages of images before. Each is written into once nobody holds it any more.
    former: VecDeque<Arc<Page>>,
    /// True unless putting an image into the memory failed midway.
    settled: bool,
}

impl Instances {
    /// An instance of a code that holds `image`.
    pub(crate) fn load(
        &mut self,
        runnable: &Arc<Runnable>,
        image: &Image,
    ) -> Result<&mut LoadedSlot> {
        let held = self.loaded.iter().rposition(|(of, _)| Arc::ptr_eq(of, runnable));
        let held = held.map(|index| self.loaded.remove(index));
        let held = match held.filter(|(_, loaded)| loaded.fits(image)) {
            Some(held) => {
                self.loads.reused += 1;
                held
            }
            None => {
                self.loads.instantiated += 1;
                if self.loaded.len() >= SLOTS_MAX {
                    self.loaded.remove(0);
                }
                (Arc::clone(runnable), Box::new(LoadedSlot::new(runnable)?))
            }
        };
        self.loaded.push(held);
        let ((_, loaded), others) =
            self.loaded.split_last_mut().expect("the slot was just put there");
        loaded.switch_to(image)?;
        check_order(others, runnable);
        Ok(loaded)
    }

    /// Returns the counts of loads since the last call.
    pub(crate) fn take_loads(&mut self) -> Loads {
        std::mem::take(&mut self.loads)
    }
}

impl LoadedSlot {
    /// An instance that holds the base image.
    fn new(runnable: &Runnable) -> Result<LoadedSlot> {
        let slot = Slot::new(&runnable.code)?;
        let image = Image::new(Arc::clone(&runnable.base));
        let tree = runnable.tree.clone();
        let (unhashed, written, former) = Default::default();
        let limits = StepLimits::default();
        Ok(LoadedSlot { slot, limits, image, tree, unhashed, written, former, settled: true })
    }

    /// Returns whether it can hold `image`: memory does not shrink.
    fn fits(&self, image: &Image) -> bool {
        self.settled && self.slot.memory().len() as u64 <= image.bytes_count()
    }

    fn switch_to(&mut self, image: &Image) -> Result<()> {
        self.settled = false;
        if !self.image.is_same(image) {
            self.slot.grow_to(image.bytes_count())?;
            let (memory, first) = (self.slot.memory_mut(), self.unhashed.len());
            differing(self.image.changed_pages(), image.changed_pages(), |index| {
                copy_in(memory, image, index);
                self.unhashed.push(index);
            });
            self.image = image.clone();
            self.check_invariants(&self.unhashed[first..]);
            self.bound_unhashed();
        }
        self.settled = true;
        Ok(())
    }

    /// Writes `bytes` at `address` for the step to find, if there is room for them.
    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Option<()> {
        let start = address as usize;
        let end = start.checked_add(bytes.len())?;
        self.slot.memory_mut().get_mut(start..end)?.copy_from_slice(bytes);
        self.written.extend((start / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(|at| at as u32));
        Some(())
    }

    /// The pages in which the memory differs from the image now, ascending. Pages wholly in the
    /// dead stack are zeroed first.
    pub(crate) fn changed(&mut self) -> Vec<(u32, Arc<Page>)> {
        let dead = self.slot.code().about().stack_top as usize / PAGE_BYTES;
        let dirty = self.dirty();
        let memory = self.slot.memory_mut();
        let mut changed = Vec::new();
        for index in dirty {
            let start = index as usize * PAGE_BYTES;
            let bytes = &mut memory[start..start + PAGE_BYTES];
            if (index as usize) < dead {
                bytes.fill(0);
            }
            let page: &Page = (&*bytes).try_into().expect("a page is sliced to its length");
            if !self.image.holds(index, page) {
                changed.push((index, renewed(&mut self.former, page)));
            }
        }
        self.written.extend(changed.iter().map(|(index, _)| *index));
        changed
    }

    fn dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.written);
        self.slot.dirty_pages(&mut dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// The bits of the mutable globals.
    pub(crate) fn globals(&mut self) -> Vec<u64> {
        let mut globals = Vec::new();
        self.slot.globals(&mut globals);
        globals
    }

    /// Accepts the memory as that of `image`, which [`LoadedSlot::changed`] made.
    pub(crate) fn accept(&mut self, image: &Image) {
        debug_assert_eq!(self.slot.memory().len() as u64, image.bytes_count());
        let before = self.image.changed_pages();
        self.unhashed.extend(&self.written);
        let first = self.unhashed.len() - self.written.len();
        for index in self.written.drain(..).take(FORMER_MAX) {
            if let Ok(at) = before.binary_search_by_key(&index, |(index, _)| *index) {
                self.former.push_back(Arc::clone(&before[at].1));
            }
        }
        let excess = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..excess);
        self.image = image.clone();
        self.check_invariants(&self.unhashed[first..]);
        self.bound_unhashed();
    }

    /// Removes duplicates from the named pages when there are more names than pages.
    fn bound_unhashed(&mut self) {
        if self.unhashed.len() > page_count(self.image.bytes_count()) as usize {
            self.unhashed.sort_unstable();
            self.unhashed.dedup();
        }
    }

    /// Takes the memory of `image`, which a step made without the code.
    pub(crate) fn hold(&mut self, image: &Image) -> Result<()> {
        self.switch_to(image)
    }

    /// Asserts, in debug builds, what holds between steps, of the pages that were `touched` since
    /// that was asserted last, and of one that was not.
    fn check_invariants(&self, touched: &[u32]) {
        if !cfg!(debug_assertions) {
            return;
        }
        let memory = self.slot.memory();
        assert_eq!(
            memory.len() as u64,
            self.image.bytes_count(),
            "the memory has its image's size"
        );
        assert!(self.written.is_empty(), "nothing is written between steps");
        assert!(self.former.len() <= FORMER_MAX, "few former pages are kept");
        let page_count = page_count(self.image.bytes_count());
        let other = self.unhashed.len() as u32 * 31 % page_count.max(1);
        for &index in touched.iter().chain((page_count > 0).then_some(&other)) {
            let start = index as usize * PAGE_BYTES;
            let is_held = memory[start..start + PAGE_BYTES] == *self.image.page(index);
            assert!(is_held, "page {index} of the memory is the image's");
        }
    }

    /// The root of the memory that it holds.
    pub(crate) fn root(&mut self) -> MemoryRoot {
        self.unhashed.sort_unstable();
        self.unhashed.dedup();
        self.tree.update(&self.image, &self.unhashed);
        self.unhashed.clear();
        self.tree.root()
    }

    /// Restores the memory from before the step. One that grew cannot be restored: such an instance
    /// is not used again.
    pub(crate) fn reject(&mut self) {
        self.settled = false;
        if self.slot.memory().len() as u64 > self.image.bytes_count() {
            return;
        }
        let dirty = self.dirty();
        let memory = self.slot.memory_mut();
        dirty.iter().for_each(|&index| copy_in(memory, &self.image, index));
        self.settled = true;
        self.check_invariants(&dirty);
    }
}

/// Asserts, in debug builds, that of each code there is one instance.
fn check_order(others: &[(Arc<Runnable>, Box<LoadedSlot>)], last: &Arc<Runnable>) {
    if cfg!(debug_assertions) {
        assert!(others.len() < SLOTS_MAX, "a worker keeps few instances");
        let is_twice = others.iter().any(|(other, _)| Arc::ptr_eq(other, last));
        assert!(!is_twice, "a code has one instance");
    }
}

/// A page with these bytes, which takes the place of a former one that nobody else holds.
fn renewed(former: &mut VecDeque<Arc<Page>>, bytes: &Page) -> Arc<Page> {
    let free = former.iter_mut().position(|page| Arc::get_mut(page).is_some());
    let Some(mut page) = free.and_then(|at| former.remove(at)) else { return Arc::new(*bytes) };
    Arc::get_mut(&mut page).expect("nobody else holds it").copy_from_slice(bytes);
    page
}

/// Copies a page of `image` to its place; one beyond the image is zero there.
fn copy_in(memory: &mut [u8], image: &Image, index: u32) {
    let start = index as usize * PAGE_BYTES;
    memory[start..start + PAGE_BYTES].copy_from_slice(image.page(index));
}

/// Names the pages in which two images may differ, ascending: those that only one of them changed,
/// and those that they do not share.
fn differing(one: &[(u32, Arc<Page>)], other: &[(u32, Arc<Page>)], mut each: impl FnMut(u32)) {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let index = match (one.peek(), other.peek()) {
            (Some((left, _)), Some((right, _))) => *left.min(right),
            (Some((index, _)), None) | (None, Some((index, _))) => *index,
            (None, None) => return,
        };
        let left = one.next_if(|(at, _)| *at == index);
        let right = other.next_if(|(at, _)| *at == index);
        match (left, right) {
            (Some((_, left)), Some((_, right))) if Arc::ptr_eq(left, right) => {}
            _ => each(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_page_that_a_reader_holds_is_not_written_into() {
        let held = Arc::new([1; PAGE_BYTES]);
        let mut former = VecDeque::from([Arc::clone(&held), Arc::new([2; PAGE_BYTES])]);
        let free = Arc::as_ptr(&former[1]);
        let page = renewed(&mut former, &[3; PAGE_BYTES]);
        assert_eq!((Arc::as_ptr(&page), *page, former.len()), (free, [3; PAGE_BYTES], 1));
        let another = renewed(&mut former, &[4; PAGE_BYTES]);
        assert_eq!((*another, *page, *held), ([4; PAGE_BYTES], [3; PAGE_BYTES], [1; PAGE_BYTES]));
        drop(held);
        assert_eq!(*renewed(&mut former, &[5; PAGE_BYTES]), [5; PAGE_BYTES]);
        assert!(former.is_empty());
    }

    #[test]
    fn pages_that_two_images_share_are_not_copied() {
        let page = |byte: u8| Arc::new([byte; PAGE_BYTES]);
        let shared = page(1);
        let one = [(0, page(1)), (3, Arc::clone(&shared)), (5, page(2)), (9, page(4))];
        let other = [(3, shared), (4, page(3)), (5, page(2))];
        let mut named = Vec::new();
        differing(&one, &other, |index| named.push(index));
        assert_eq!(named, [0, 4, 5, 9]);
        named.clear();
        differing(&[], &other, |index| named.push(index));
        assert_eq!(named, [3, 4, 5]);
    }
}
