//! A worker's warm instances, one per code, each holding the memory of the object that it ran last.
//!
//! An object is loaded by copying in the pages in which it differs from what the instance holds.
//! After a step the caller either accepts the memory as the object's next image or rejects it, and
//! the instance holds the image from before again. It does not know why.
//!
//! Invariant: between steps a slot's memory is, byte for byte, the image that `Loaded::image` says.

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

#[derive(Default)]
pub(crate) struct Slots {
    loaded: HashMap<CodeHash, Loaded>,
    /// Codes, the one used last at the end.
    order: Vec<CodeHash>,
}

/// An instance that holds the memory of an image.
pub(crate) struct Loaded {
    pub(crate) slot: Slot,
    image: Image,
    /// Pages that the host wrote since the last step ended.
    written: Vec<u32>,
}

impl Slots {
    /// An instance of `code` that holds `image`.
    pub(crate) fn load(
        &mut self,
        hash: CodeHash,
        code: &Arc<Code>,
        image: &Image,
    ) -> Result<&mut Loaded> {
        self.order.retain(|used| *used != hash);
        self.order.push(hash);
        if !self.loaded.contains_key(&hash) {
            if self.loaded.len() == SLOTS_MAX {
                self.loaded.remove(&self.order.remove(0));
            }
            self.loaded.insert(hash, Loaded::new(code, image)?);
        }
        let loaded = self.loaded.get_mut(&hash).expect("the slot was just made sure of");
        loaded.switch_to(image)?;
        Ok(loaded)
    }
}

impl Loaded {
    fn new(code: &Arc<Code>, image: &Image) -> Result<Loaded> {
        let slot = Slot::new(code)?;
        let image = Image::new(Arc::clone(image.base()));
        Ok(Loaded { slot, image, written: Vec::new() })
    }

    fn switch_to(&mut self, image: &Image) -> Result<()> {
        if self.image.is_same(image) {
            return Ok(());
        }
        if self.slot.memory().len() as u64 > image.bytes_count() {
            *self = Loaded::new(&Arc::clone(self.slot.code()), image)?;
        }
        self.slot.grow_to(image.bytes_count())?;
        let memory = self.slot.memory_mut();
        for (index, _) in self.image.changed_pages() {
            copy_in(memory, image, *index);
        }
        for (index, _) in image.changed_pages() {
            copy_in(memory, image, *index);
        }
        self.image = image.clone();
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

    /// Takes the memory as that of `image`, which [`Loaded::changed`] made.
    pub(crate) fn accept(&mut self, image: &Image) {
        debug_assert_eq!(self.slot.memory().len() as u64, image.bytes_count());
        self.written.clear();
        self.image = image.clone();
    }

    /// Puts the memory back to what it was before the step.
    pub(crate) fn reject(&mut self) -> Result<()> {
        if self.slot.memory().len() as u64 > self.image.bytes_count() {
            let image = self.image.clone();
            *self = Loaded::new(&Arc::clone(self.slot.code()), &image)?;
            return self.switch_to(&image);
        }
        let dirty = self.dirty();
        let memory = self.slot.memory_mut();
        dirty.into_iter().for_each(|index| copy_in(memory, &self.image, index));
        Ok(())
    }
}

/// Copies a page of `image` to its place; one beyond the image is zero there.
fn copy_in(memory: &mut [u8], image: &Image, index: u32) {
    let start = index as usize * PAGE_BYTES;
    memory[start..start + PAGE_BYTES].copy_from_slice(image.page(index));
}
