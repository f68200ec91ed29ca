//! Direct writes: state fields set to given values, in place, without running the object's code.
//!
//! Only what has a fixed size can be written so: numbers, `bool`, `char`, enums, flags, and options,
//! records and tuples of those. It does not know whether the write is admitted.

use std::sync::Arc;

use crate::definition::Definition;
use crate::error::Result;
use crate::image::Image;
use crate::limits::PAGE_BYTES;
use crate::memory::{Memory, Page};
use crate::schema::{decode_value, store};

/// The pages of `image` that `fields`, paths with encoded values, change when they are written in
/// order; ascending by index, and without those that end up as they were.
///
/// # Errors
///
/// [`Unknown`](crate::ErrorKind::Unknown) for a path that the schema does not have,
/// [`State`](crate::ErrorKind::State) for one that leads out of the memory,
/// [`Value`](crate::ErrorKind::Value) for a value that has no fixed size, and those of
/// [`decode_value`].
pub fn apply(
    definition: &Definition,
    image: &Image,
    fields: &[(String, Vec<u8>)],
) -> Result<Vec<(u32, Arc<Page>)>> {
    let mut written = image.clone();
    for (path, value) in fields {
        let place = definition.schema.resolve(path)?;
        let value = decode_value(value, place.ty())?;
        let mut bytes = vec![0; place.ty().layout().size as usize];
        store(&value, place.ty(), &mut bytes)?;
        let address = place.address(&written, definition.code.state_address)?;
        written = write(&written, address, &bytes)?;
    }
    let changed = written.changed_pages().iter();
    let changed = changed.filter(|(index, page)| **page != *image.page(*index));
    Ok(changed.cloned().collect())
}

/// The image with `bytes` at `address`; the place they belong to is inside it.
fn write(image: &Image, address: u32, bytes: &[u8]) -> Result<Image> {
    let mut pages = Vec::new();
    let (mut at, mut rest) = (address as usize, bytes);
    while !rest.is_empty() {
        let (index, start) = (at / PAGE_BYTES, at % PAGE_BYTES);
        let (part, later) = rest.split_at(rest.len().min(PAGE_BYTES - start));
        let mut page = *image.page(index as u32);
        page[start..start + part.len()].copy_from_slice(part);
        pages.push((index as u32, Arc::new(page)));
        (at, rest) = (at + part.len(), later);
    }
    image.step(image.bytes_count(), pages)
}
