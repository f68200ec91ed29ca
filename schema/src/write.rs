//! Direct writes: set state fields to given values, in place, without running the object's code.
//!
//! Only values of fixed size can be written: numbers, `bool`, `char`, enums, flags, and options,
//! records, tuples, variants and results of those. This module does not know whether the write is
//! admitted.

use std::collections::BTreeMap;
use std::sync::Arc;

use object::Result;
use object::image::Image;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page};

use crate::payload::decode_value;
use crate::schema::Schema;
use crate::store::store;

/// Returns the pages of `image`, whose state record is at the address `state`, that change when
/// `fields`, paths with encoded values, are written in order; ascending by index, without pages
/// that end up unchanged.
///
/// # Errors
///
/// [`Unknown`](object::ErrorKind::Unknown) for a path that the schema does not have,
/// [`State`](object::ErrorKind::State) for one that leads out of the memory,
/// [`Value`](object::ErrorKind::Value) for a value that has no fixed size, and those of
/// [`decode_value`].
pub fn apply(
    schema: &Schema,
    state: u32,
    image: &Image,
    fields: &[(String, Vec<u8>)],
) -> Result<Vec<(u32, Arc<Page>)>> {
    let mut written = Overlay { below: image, pages: BTreeMap::new() };
    for (path, value) in fields {
        let place = schema.resolve(path)?;
        let value = decode_value(value, place.ty())?;
        let mut bytes = vec![0; place.ty().layout().size as usize];
        store(&value, place.ty(), &mut bytes)?;
        let address = place.address(&written, state)?;
        written.write(address, &bytes);
    }
    let changed = written.pages.into_iter();
    Ok(changed.filter(|(index, page)| !image.holds(*index, page)).collect())
}

/// An image with some pages written over.
struct Overlay<'a> {
    below: &'a Image,
    pages: BTreeMap<u32, Arc<Page>>,
}

impl Overlay<'_> {
    /// Writes `bytes` at `address`; the place that they belong to is inside the image.
    fn write(&mut self, address: u32, bytes: &[u8]) {
        let end = u64::from(address) + bytes.len() as u64;
        debug_assert!(end <= self.below.bytes_count(), "a resolved place is in the memory");
        let (mut at, mut rest) = (address as usize, bytes);
        while !rest.is_empty() {
            let (index, start) = ((at / PAGE_BYTES) as u32, at % PAGE_BYTES);
            let (part, later) = rest.split_at(rest.len().min(PAGE_BYTES - start));
            let page = self.pages.entry(index).or_insert_with(|| Arc::new(*self.below.page(index)));
            Arc::make_mut(page)[start..start + part.len()].copy_from_slice(part);
            (at, rest) = (at + part.len(), later);
        }
    }
}

impl Memory for Overlay<'_> {
    fn bytes_count(&self) -> u64 {
        self.below.bytes_count()
    }

    fn page(&self, index: u32) -> &Page {
        match self.pages.get(&index) {
            Some(page) => page,
            None => self.below.page(index),
        }
    }
}
