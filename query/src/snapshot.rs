//! Snapshots: one version of one object, that stays the same while the object advances.
//!
//! Fields are read in place, at their Canonical ABI addresses in the version's pages, with no
//! decode step. It does not know where the pages came from.

use std::sync::Arc;

use object::Result;
use object::hash::{ObjectId, VersionHash};
use object::header::Header;
use object::image::Image;
use object::memory::{Memory, page_count};
use policy::definition::Definition;
use schema::{Scalar, Value};

/// One version of an object. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Version>);

/// The content that the clones of a snapshot share.
#[derive(Debug)]
pub struct Version {
    definition: Arc<Definition>,
    header: Arc<Header>,
    image: Image,
}

impl From<Arc<Version>> for Snapshot {
    fn from(version: Arc<Version>) -> Snapshot {
        Snapshot(version)
    }
}

impl From<Snapshot> for Arc<Version> {
    fn from(snapshot: Snapshot) -> Arc<Version> {
        snapshot.0
    }
}

impl Snapshot {
    /// Builds the snapshot of the version with this header and memory.
    pub fn new(
        definition: Arc<Definition>,
        header: impl Into<Arc<Header>>,
        image: Image,
    ) -> Snapshot {
        Snapshot(Arc::new(Version { definition, header: header.into(), image }))
    }

    /// Returns the object's id.
    pub fn id(&self) -> ObjectId {
        self.0.header.object_id()
    }

    /// Returns the version's header.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// Returns the version's hash.
    pub fn hash(&self) -> VersionHash {
        self.0.header.hash()
    }

    /// Returns the object's code, schema and policy in this version.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.0.definition
    }

    /// Returns the version's memory.
    pub fn image(&self) -> &Image {
        &self.0.image
    }

    /// Reads the scalar at `path`, such as `minutes` or `position.altitude`. Allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Unknown`](object::ErrorKind::Unknown) when the state has no such field,
    /// [`Value`](object::ErrorKind::Value) when it is of another type.
    pub fn get<T: Scalar>(&self, path: &str) -> Result<T> {
        let Version { definition, image, .. } = &*self.0;
        definition.schema.get(image, definition.code.state_address, path)
    }

    /// Reads the value at `path`, of any type.
    ///
    /// # Errors
    ///
    /// [`Unknown`](object::ErrorKind::Unknown) when the state has no such field,
    /// [`State`](object::ErrorKind::State) when a list there is shorter than the path says.
    pub fn value(&self, path: &str) -> Result<Value> {
        self.0.definition.schema.read(&self.0.image, self.0.definition.code.state_address, path)
    }

    /// Reads the whole state, a record.
    ///
    /// # Errors
    ///
    /// [`State`](object::ErrorKind::State) when the memory is not a state of the schema; that of an
    /// admitted version always is.
    pub fn state(&self) -> Result<Value> {
        self.0.definition.schema.read_state(&self.0.image, self.0.definition.code.state_address)
    }

    /// Returns the memory as one piece: its plain BLAKE3 hash is the header's memory root.
    pub fn memory_bytes(&self) -> Vec<u8> {
        let pages = 0..page_count(self.0.image.bytes_count());
        pages.flat_map(|index| *self.0.image.page(index)).collect()
    }
}
