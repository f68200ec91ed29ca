//! Who changed a field last: the newest version in which it has another value than before.
//!
//! It walks back from the head and reads the field again only behind a version that wrote a page
//! which the field was read from, so other versions cost no more than their records. It goes back
//! to the last upgrade at most, which makes every field anew. It does not say who could have
//! changed it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use object::definition::Definition;
use object::hash::ObjectId;
use object::header::Kind;
use object::image::Image;
use object::memory::{Memory, Page};
use object::schema::Value;
use storage::{Direction, ErrorKind, Result, Store, StoredCommit};

use crate::history::VersionEntry;

/// A version, the field's value in it, and the pages that hold the value.
struct Found {
    stored: StoredCommit,
    value: Value,
    pages: BTreeSet<u32>,
}

impl Found {
    /// Whether the version wrote what the value was read from. If not, its parent has the value.
    fn wrote_it(&self) -> bool {
        self.stored.page_indices().any(|index| self.pages.contains(&index))
    }
}

/// An image that notes the pages that are read.
struct Noting<'a> {
    image: &'a Image,
    pages: RefCell<BTreeSet<u32>>,
}

impl Memory for Noting<'_> {
    fn bytes_count(&self) -> u64 {
        self.image.bytes_count()
    }

    fn page(&self, index: u32) -> &Page {
        self.pages.borrow_mut().insert(index);
        self.image.page(index)
    }
}

/// The version that gave the field at `path` the value that it has now: the genesis when it never
/// changed, or the upgrade since which it did not.
///
/// # Errors
///
/// [`Object`](ErrorKind::Object) when the state has no such field, and those of the store.
pub fn blame(
    store: &Store,
    definition: &Arc<Definition>,
    object: ObjectId,
    path: &str,
) -> Result<VersionEntry> {
    let place = definition.schema.resolve(path)?;
    let mut newer: Option<Found> = None;
    for stored in store.versions(object, 0..u64::MAX, Direction::Backward)? {
        let stored = stored?;
        let is_upgrade = stored.header().kind == Kind::Upgrade;
        if let Some(found) = newer.take_if(|found| !found.wrote_it()) {
            newer = Some(Found { stored, ..found });
            if is_upgrade {
                break;
            }
            continue;
        }
        let seq = stored.header().seq;
        let version = store.version(object, seq)?.ok_or_else(|| no_object(object))?;
        let memory = Noting { image: &version.image, pages: RefCell::default() };
        let value = place.read(&memory, definition.code.state_address)?;
        if let Some(newer) = newer.take_if(|newer| newer.value != value) {
            return VersionEntry::decode(&newer.stored);
        }
        newer = Some(Found { stored, value, pages: memory.pages.into_inner() });
        if is_upgrade {
            break;
        }
    }
    let first = newer.ok_or_else(|| no_object(object))?;
    VersionEntry::decode(&first.stored)
}

fn no_object(object: ObjectId) -> storage::Error {
    ErrorKind::NotFound { what: "object", name: object.to_string() }.into()
}
