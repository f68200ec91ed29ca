//! The bytes of a file, in pages that copies of it share until one of them is written.
//!
//! This module does not know what is durable.
//!
//! Invariant: bytes behind the length are zeros, so that a file which grows again has none of its
//! old bytes.

use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

type Page = Arc<[u8; PAGE_BYTES]>;

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// A page that is missing is zeros.
    pages: Vec<Option<Page>>,
    length: u64,
}

impl Content {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the pages that were written or allocated.
    pub(crate) fn bytes_held(&self) -> u64 {
        (self.pages.iter().flatten().count() * PAGE_BYTES) as u64
    }

    /// Bytes that a page more would be held for, where bytes from `from` to `to` are to be.
    pub(crate) fn bytes_to_hold(&self, from: u64, to: u64) -> u64 {
        let pages = (from / PAGE_BYTES as u64)..to.div_ceil(PAGE_BYTES as u64);
        let is_held = |index: u64| matches!(self.pages.get(index as usize), Some(Some(_)));
        (pages.filter(|index| !is_held(*index)).count() * PAGE_BYTES) as u64
    }

    /// Holds bytes up to `length`; those that were not there are zeros.
    pub(crate) fn allocate(&mut self, length: u64) {
        self.set_length(self.length.max(length));
        let zeros: Page = Arc::new([0; PAGE_BYTES]);
        let pages = self.pages.iter_mut().take(length.div_ceil(PAGE_BYTES as u64) as usize);
        for page in pages {
            page.get_or_insert_with(|| Arc::clone(&zeros));
        }
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Reads at `offset` and says how many bytes: fewer at the end of the file.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> usize {
        let count = self.length.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (index, start) = place(offset + done as u64);
            let part = (PAGE_BYTES - start).min(count - done);
            let to = &mut bytes[done..done + part];
            match self.pages.get(index) {
                Some(Some(page)) => to.copy_from_slice(&page[start..start + part]),
                _ => to.fill(0),
            }
            done += part;
        }
        count
    }

    /// Writes at `offset`; the file grows when it must.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.set_length(self.length.max(offset + bytes.len() as u64));
        let mut done = 0;
        while done < bytes.len() {
            let (index, start) = place(offset + done as u64);
            let part = (PAGE_BYTES - start).min(bytes.len() - done);
            let page = self.pages[index].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let to = &mut Arc::make_mut(page)[start..start + part];
            to.copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
    }

    /// Cuts the file off at `length`, or has it end there with zeros.
    pub(crate) fn set_length(&mut self, length: u64) {
        self.pages.resize(length.div_ceil(PAGE_BYTES as u64) as usize, None);
        if length < self.length {
            let (index, start) = place(length);
            if let Some(Some(page)) = self.pages.get_mut(index) {
                Arc::make_mut(page)[start..].fill(0);
            }
        }
        self.length = length;
    }
}

/// The page that an offset is in, and where in it.
fn place(offset: u64) -> (usize, usize) {
    ((offset / PAGE_BYTES as u64) as usize, (offset % PAGE_BYTES as u64) as usize)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::generate::source;

    #[test]
    fn a_content_does_what_a_vector_does() {
        let mut rng = source(7);
        let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
        for _ in 0..2000 {
            let offset = rng.random_range(0..20_000);
            match rng.random_range(0..3) {
                0 => {
                    content.set_length(offset as u64);
                    model.resize(offset, 0);
                }
                1 => {
                    let bytes = vec![rng.random::<u8>(); rng.random_range(1..6000)];
                    content.write(&bytes, offset as u64);
                    model.resize(model.len().max(offset + bytes.len()), 0);
                    model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                _ => {
                    let mut bytes = vec![9; rng.random_range(0..6000)];
                    let count = content.read(&mut bytes, offset as u64);
                    let expected = model.get(offset..).unwrap_or_default();
                    assert_eq!(&bytes[..count], &expected[..count]);
                    assert_eq!(count, bytes.len().min(expected.len()));
                }
            }
        }
        assert_eq!(content.bytes(), model);
        let mut copy = content.clone();
        copy.write(&[1; 9000], 0);
        assert_eq!(content.bytes(), model, "a copy is one of its own");
    }
}
