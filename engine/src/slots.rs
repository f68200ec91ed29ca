//! A worker's warm instances, one per code, each holding the memory of the object that it ran last.
//!
//! An object is loaded by copying in the pages in which it differs from what the instance holds.
//! After a step the caller either accepts the memory as the object's next image or rejects it, and
//! the instance holds the image from before again. It does not know why.
//!
//! Invariant: between steps a slot's memory is, byte for byte, the image that `Loaded::image` says,
//! or the slot is not settled and never used again.

use std::collections::HashMap;
use std::sync::Arc;

use object::hash::CodeHash;
use object::image::Image;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page};

use crate::error::Result;
use crate::substrate::{Code, Slot};

/// Instances that a worker keeps.
const SLOTS_MAX: usize = 64;

/// What a worker runs guests in: one set for objects, and one for the guards of their policies,
/// which are asked while an object's step waits in the other.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) objects: Instances,
    pub(crate) guards: Instances,
}

/// Instances, of the codes used last.
#[derive(Default)]
pub(crate) struct Instances {
    loaded: HashMap<CodeHash, Loaded>,
    /// Codes, the one used last at the end.
    order: Vec<CodeHash>,
    loads: Loads,
}

/// How objects were put into instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loads {
    /// Into one that was made for it.
    pub(crate) instantiated: u64,
    /// Into one that there was.
    pub(crate) reused: u64,
}

/// An instance that holds the memory of an image.
pub(crate) struct Loaded {
    pub(crate) slot: Slot,
    image: Image,
    /// Pages that the host wrote since the last step ended.
    written: Vec<u32>,
    /// Whether putting an image into the memory did not fail midway.
    settled: bool,
}

impl Instances {
    /// An instance of `code` that holds `image`.
    pub(crate) fn load(
        &mut self,
        hash: CodeHash,
        code: &Arc<Code>,
        image: &Image,
    ) -> Result<&mut Loaded> {
        self.order.retain(|used| *used != hash);
        if self.loaded.get(&hash).is_some_and(|loaded| loaded.fits(image)) {
            self.loads.reused += 1;
        } else {
            self.loads.instantiated += 1;
            self.loaded.remove(&hash);
            while self.loaded.len() >= SLOTS_MAX && !self.order.is_empty() {
                self.loaded.remove(&self.order.remove(0));
            }
            self.loaded.insert(hash, Loaded::new(code, image)?);
        }
        self.order.push(hash);
        let loaded = self.loaded.get_mut(&hash).expect("the slot was just made sure of");
        loaded.switch_to(image)?;
        Ok(loaded)
    }

    /// How objects were put into these since this was asked last.
    pub(crate) fn take_loads(&mut self) -> Loads {
        std::mem::take(&mut self.loads)
    }
}

impl Loaded {
    /// An instance that holds the image from which `image` differs.
    fn new(code: &Arc<Code>, image: &Image) -> Result<Loaded> {
        let slot = Slot::new(code)?;
        let image = Image::new(Arc::clone(image.base()));
        Ok(Loaded { slot, image, written: Vec::new(), settled: true })
    }

    /// Whether it can hold `image`: memory does not shrink.
    fn fits(&self, image: &Image) -> bool {
        self.settled && self.slot.memory().len() as u64 <= image.bytes_count()
    }

    fn switch_to(&mut self, image: &Image) -> Result<()> {
        self.settled = false;
        if self.slot.memory().len() as u64 > image.bytes_count() {
            *self = Loaded::new(&Arc::clone(self.slot.code()), image)?;
            self.settled = false;
        }
        if !self.image.is_same(image) {
            self.slot.grow_to(image.bytes_count())?;
            let memory = self.slot.memory_mut();
            differing(self.image.changed_pages(), image.changed_pages(), |index| {
                copy_in(memory, image, index);
            });
            self.image = image.clone();
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
                changed.push((index, Arc::new(*page)));
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

    /// Takes the memory as that of `image`, which [`Loaded::changed`] made.
    pub(crate) fn accept(&mut self, image: &Image) {
        debug_assert_eq!(self.slot.memory().len() as u64, image.bytes_count());
        self.written.clear();
        self.image = image.clone();
    }

    /// Puts the memory back to what it was before the step.
    pub(crate) fn reject(&mut self) -> Result<()> {
        self.settled = false;
        if self.slot.memory().len() as u64 > self.image.bytes_count() {
            return self.switch_to(&self.image.clone());
        }
        let dirty = self.dirty();
        let memory = self.slot.memory_mut();
        dirty.into_iter().for_each(|index| copy_in(memory, &self.image, index));
        self.settled = true;
        Ok(())
    }
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
