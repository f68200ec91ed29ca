//! A file whose changes stay in memory: over one that is only read, or over nothing.
//!
//! A library that writes while it reads, as the index's does, can thus work on a file that must not
//! be written. This module does not know the content of the file.
//!
//! Invariant: nothing changes the file below.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::file::DiskFile;
use crate::lock::{Mutex, rank};

const BLOCK_BYTES: usize = 4096;

/// A file in memory, over one that is only read.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Option<Arc<dyn DiskFile>>,
    changed: Mutex<Changed, rank::Overlay>,
}

#[derive(Debug)]
struct Changed {
    length: u64,
    /// The end of the part that reads still take from the file below.
    below_bytes: u64,
    /// Blocks that were written, by their number.
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl Overlay {
    /// A file that has the bytes of the one below, or none.
    pub(crate) fn over(below: Option<Arc<dyn DiskFile>>) -> io::Result<Overlay> {
        let length = below.as_ref().map_or(Ok(0), |below| below.length())?;
        let changed = Changed { length, below_bytes: length, blocks: BTreeMap::new() };
        Ok(Overlay { below, changed: Mutex::new(changed) })
    }

    /// Reads bytes of one block that is not in memory.
    fn read_below(&self, bytes: &mut [u8], offset: u64, below_bytes: u64) -> io::Result<()> {
        bytes.fill(0);
        let count = below_bytes.saturating_sub(offset).min(bytes.len() as u64) as usize;
        match &self.below {
            Some(below) if count > 0 => below.read_up_to(&mut bytes[..count], offset).map(drop),
            _ => Ok(()),
        }
    }
}

/// The part of a block that is at `offset`, up to `count` bytes: block, start and bytes.
fn part(offset: u64, count: usize) -> (u64, usize, usize) {
    let (block, start) = (offset / BLOCK_BYTES as u64, (offset % BLOCK_BYTES as u64) as usize);
    (block, start, count.min(BLOCK_BYTES - start))
}

impl DiskFile for Overlay {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let changed = self.changed.lock();
        let left = changed.length.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let (block, start, count) = part(offset, left);
        let to = &mut bytes[..count];
        match changed.blocks.get(&block) {
            Some(block) => to.copy_from_slice(&block[start..start + count]),
            None => {
                let below_bytes = changed.below_bytes;
                drop(changed);
                self.read_below(to, offset, below_bytes)?;
            }
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut changed = self.changed.lock();
        let (number, start, count) = part(offset, bytes.len());
        if !changed.blocks.contains_key(&number) {
            let mut block = Box::new([0; BLOCK_BYTES]);
            let at = number * BLOCK_BYTES as u64;
            self.read_below(&mut block[..], at, changed.below_bytes)?;
            changed.blocks.insert(number, block);
        }
        let block = changed.blocks.get_mut(&number).expect("it was put there");
        block[start..start + count].copy_from_slice(&bytes[..count]);
        changed.length = changed.length.max(offset + count as u64);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.changed.lock().length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut changed = self.changed.lock();
        if length < changed.length {
            changed.below_bytes = changed.below_bytes.min(length);
            let (number, start, _) = part(length, 0);
            changed.blocks.retain(|&block, _| block <= number);
            if let Some(block) = changed.blocks.get_mut(&number) {
                block[start..].fill(0);
            }
        }
        changed.length = length;
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let longer = length.max(self.length()?);
        self.set_length(longer)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn drop_cache(&self) {}
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::file::Disk;
    use crate::disk::local::LocalDisk;

    /// Numbers that look drawn.
    fn next(state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn an_overlay_does_what_a_vector_does_and_leaves_the_file_below_as_it_was() {
        let directory = tempfile::tempdir().expect("there is room for it");
        let path = directory.path().join("below");
        let before: Vec<u8> = (0..20_000_u32).map(|index| (index % 251) as u8).collect();
        fs::write(&path, &before).expect("it is written");
        let below = LocalDisk.open_to_read(&path).expect("it is there");
        let overlay = Overlay::over(Some(below)).expect("it has a length");
        let file: &dyn DiskFile = &overlay;
        let (mut model, mut state) = (before.clone(), 7);
        for round in 0..2_000 {
            let (offset, count) = (next(&mut state) % 30_000, next(&mut state) as usize % 9_000);
            match next(&mut state) % 8 {
                0 => {
                    model.resize(offset as usize, 0);
                    file.set_length(offset).expect("memory");
                }
                1..4 => {
                    let bytes = vec![round as u8; count.max(1)];
                    let end = offset as usize + bytes.len();
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].copy_from_slice(&bytes);
                    file.write_all_at(&bytes, offset).expect("memory");
                }
                _ => {
                    let mut found = vec![1; count];
                    let read = file.read_up_to(&mut found, offset).expect("memory");
                    let start = model.len().min(offset as usize);
                    let end = model.len().min(offset as usize + count);
                    assert_eq!(found[..read], model[start..end], "round {round}");
                }
            }
            assert_eq!(file.length().expect("memory"), model.len() as u64);
        }
        assert_eq!(fs::read(&path).expect("it is there"), before);
    }
}
