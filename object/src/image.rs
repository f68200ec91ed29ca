//! Memory images that share their common pages: the base image of a code, and the pages in which
//! one version of one object differs from it.
//!
//! An `Image` is immutable and cheap to clone, so a reader's version stays the same while the
//! object advances. It does not know how its pages were stored.

use std::sync::Arc;

use crate::codec::{Reader, Write};
use crate::effects::{GLOBALS_ENCODED_MAX, decode_globals, encode_globals};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::BaseHash;
use crate::limits::{GLOBALS_MAX, MEMORY_BYTES_MAX, PAGE_BYTES};
use crate::memory::{Memory, Page, ZERO_PAGE, page_count};

const BASE_VERSION: u8 = 2;

/// The memory and globals of a freshly instantiated module, which all objects of a code share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseImage {
    bytes_count: u64,
    globals: Vec<u64>,
    /// The pages that are not all zero, ascending by index.
    pages: Vec<(u32, Arc<Page>)>,
}

impl BaseImage {
    /// The base image of a flat `memory` and the bits of the mutable globals.
    ///
    /// # Errors
    ///
    /// [`Limit`](ErrorKind::Limit) when there is more than an object may have.
    pub fn new(memory: &[u8], globals: Vec<u64>) -> Result<BaseImage> {
        limit("memory bytes", memory.len() as u64, MEMORY_BYTES_MAX)?;
        limit("globals", globals.len() as u64, GLOBALS_MAX as u64)?;
        let bytes_count = memory.bytes_count();
        let all = (0..page_count(bytes_count)).map(|index| (index, memory.page(index)));
        let pages = all.filter(|(_, page)| **page != ZERO_PAGE);
        let pages = pages.map(|(index, page)| (index, Arc::new(*page))).collect();
        Ok(BaseImage { bytes_count, globals, pages })
    }

    /// The bits of the mutable globals, in the order of the module's global section.
    pub fn globals(&self) -> &[u64] {
        &self.globals
    }

    /// The image's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.pages.len() * (PAGE_BYTES + 4));
        bytes.put_u8(BASE_VERSION).put_u64(self.bytes_count);
        bytes.put_blob(&encode_globals(&self.globals));
        bytes.put_count(self.pages.len());
        for (index, page) in &self.pages {
            bytes.put_u32(*index).put(&page[..]);
        }
        bytes
    }

    /// Reads a base image from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for any bytes that [`BaseImage::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<BaseImage> {
        let mut reader = Reader::new("base image", bytes);
        reader.version(BASE_VERSION)?;
        let bytes_count = reader.u64()?;
        if bytes_count > MEMORY_BYTES_MAX || bytes_count % PAGE_BYTES as u64 != 0 {
            return Err(reader.fail(8, "a memory of whole pages within the limit", bytes_count));
        }
        let globals = decode_globals(reader.blob(GLOBALS_ENCODED_MAX)?)?;
        let pages = decode_pages(&mut reader, page_count(bytes_count))?;
        if pages.iter().any(|(_, page)| **page == ZERO_PAGE) {
            return Err(reader.fail(0, "pages that are not all zero", "a page of zeros"));
        }
        reader.end()?;
        let pages = pages.into_iter().map(|(index, page)| (index, Arc::new(*page))).collect();
        Ok(BaseImage { bytes_count, globals, pages })
    }

    /// The hash of the image's bytes.
    pub fn hash(&self) -> BaseHash {
        BaseHash::of(&self.encode())
    }
}

impl Memory for BaseImage {
    fn bytes_count(&self) -> u64 {
        self.bytes_count
    }

    fn page(&self, index: u32) -> &Page {
        find(&self.pages, index).unwrap_or(&ZERO_PAGE)
    }
}

/// The memory of one version of an object.
#[derive(Clone, Debug)]
pub struct Image {
    base: Arc<BaseImage>,
    bytes_count: u64,
    /// The pages that the object ever changed, ascending by index.
    pages: Arc<Vec<(u32, Arc<Page>)>>,
}

impl Image {
    /// The image of an object that has changed nothing yet.
    pub fn new(base: Arc<BaseImage>) -> Image {
        let bytes_count = base.bytes_count;
        Image { base, bytes_count, pages: Arc::default() }
    }

    /// The base that the image differs from.
    pub fn base(&self) -> &Arc<BaseImage> {
        &self.base
    }

    /// The pages that the object ever changed, ascending by index.
    pub fn changed_pages(&self) -> &[(u32, Arc<Page>)] {
        &self.pages
    }

    /// Returns whether this and `other` are the same version's image, without comparing bytes; two
    /// separate images with equal bytes may count as different.
    pub fn is_same(&self, other: &Image) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
            && Arc::ptr_eq(&self.pages, &other.pages)
            && self.bytes_count == other.bytes_count
    }

    /// Returns whether the page at `index` has these bytes; beyond the image there are zeros.
    pub fn holds(&self, index: u32, page: &Page) -> bool {
        self.page(index) == page
    }

    /// The image after a step that left `bytes_count` bytes and `changed` pages, ascending.
    ///
    /// # Errors
    ///
    /// [`Limit`](ErrorKind::Limit) when the memory is beyond its limit or shrank, or when a page is
    /// beyond the memory or out of order: an untrusted record may say so.
    pub fn step(&self, bytes_count: u64, changed: Vec<(u32, Arc<Page>)>) -> Result<Image> {
        limit("memory bytes", bytes_count, MEMORY_BYTES_MAX)?;
        limit("bytes beyond whole pages", bytes_count % PAGE_BYTES as u64, 0)?;
        limit("bytes that a memory shrank by", self.bytes_count.saturating_sub(bytes_count), 0)?;
        let ordered = changed.is_sorted_by(|one, next| one.0 < next.0);
        limit("pages out of order", u64::from(!ordered), 0)?;
        if let Some((last, _)) = changed.last() {
            // Counts pages from one, so that an empty memory has none.
            let count = u64::from(page_count(bytes_count));
            limit("pages", u64::from(*last) + 1, count)?;
        }
        let mut pages = Vec::with_capacity(self.pages.len() + changed.len());
        let mut kept = self.pages.iter().peekable();
        for (index, page) in changed {
            while let Some(old) = kept.next_if(|old| old.0 < index) {
                pages.push(old.clone());
            }
            kept.next_if(|old| old.0 == index);
            pages.push((index, page));
        }
        pages.extend(kept.cloned());
        debug_assert!(pages.is_sorted_by(|one, next| one.0 < next.0), "each page is there once");
        Ok(Image { base: Arc::clone(&self.base), bytes_count, pages: Arc::new(pages) })
    }
}

impl Memory for Image {
    #[inline]
    fn bytes_count(&self) -> u64 {
        self.bytes_count
    }

    #[inline]
    fn page(&self, index: u32) -> &Page {
        match find(&self.pages, index) {
            Some(page) => page,
            // Beyond the base, memory that grew and was never written is zero.
            None => self.base.page(index),
        }
    }
}

#[inline]
fn find(pages: &[(u32, Arc<Page>)], index: u32) -> Option<&Page> {
    let at = pages.binary_search_by_key(&index, |(index, _)| *index).ok()?;
    Some(&pages[at].1)
}

/// Reads a list of pages with their indices, ascending and below `count`.
pub(crate) fn decode_pages<'a>(
    reader: &mut Reader<'a>,
    count: u32,
) -> Result<Vec<(u32, &'a Page)>> {
    let listed = reader.count(count as usize, 4 + PAGE_BYTES)?;
    let mut pages: Vec<(u32, &Page)> = Vec::with_capacity(listed);
    for _ in 0..listed {
        let index = reader.u32()?;
        if index >= count || pages.last().is_some_and(|last| last.0 >= index) {
            return Err(reader.fail(4, &format!("ascending pages below {count}"), index));
        }
        let page = reader.bytes(PAGE_BYTES)?;
        pages.push((index, page.try_into().expect("a page is read to its length")));
    }
    Ok(pages)
}

fn limit(what: &'static str, found: u64, max: u64) -> Result<(), Error> {
    if found > max { Err(ErrorKind::Limit { what, max, found }.into()) } else { Ok(()) }
}
