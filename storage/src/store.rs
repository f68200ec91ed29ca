//! API skeleton, bodies to follow.
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::*;
use object::head::Head;
use object::header::Header;
use object::image::{BaseImage, Image};
use object::refusal::Refusal;

use crate::{Error, Result};

/// Where a record is in the log: its segment and the offset in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Position(pub(crate) u64);

/// What is stored once, by its hash, and shared by objects. What the store has already is skipped.
#[derive(Clone, Copy, Debug)]
pub enum Blob<'a> {
    /// A module, as its author gave it.
    Code(&'a [u8]),
    /// A policy's encoding.
    Policy(&'a [u8]),
    /// A base image's encoding.
    Base(&'a [u8]),
}

/// A version to append. The head that it must follow is `commit.header.parent`.
#[derive(Clone, Debug)]
pub struct NewCommit<'a> {
    /// The version with its payloads and changed pages.
    pub commit: Commit<'a>,
    /// The base image that the object's pages differ from: in a genesis, and nowhere else.
    pub base: Option<BaseHash>,
    /// The encoded nonces, when they are not the parent's.
    pub nonces: Option<&'a [u8]>,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// A new version.
    Commit(NewCommit<'a>),
    /// A refusal on record; it must follow the head (`parent`) and the last refusal (`previous`).
    Refusal(&'a Refusal),
}

/// What is appended as one frame: all of it or nothing. Changes of one object are in lineage order.
#[derive(Clone, Debug, Default)]
pub struct Append<'a> {
    /// Blobs that the changes need.
    pub blobs: Vec<Blob<'a>>,
    /// The changes, of any number of objects.
    pub changes: Vec<Change<'a>>,
    /// Names to bind, each to an object that has none.
    pub names: Vec<(&'a str, ObjectId)>,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {}
impl Options {
    /// The defaults.
    pub fn new() -> Options {
        todo!()
    }
    /// Fail with NotADatabase when there is none yet (default false: created).
    pub fn existing(self, existing: bool) -> Options {
        todo!()
    }
    /// Bytes of a log segment (default 64 MiB).
    pub fn segment_bytes(self, bytes: u32) -> Options {
        todo!()
    }
    /// Bytes of cache of the index (default 64 MiB).
    pub fn index_cache_bytes(self, bytes: usize) -> Options {
        todo!()
    }
    /// Bytes of a group above which appends wait (default 32 MiB).
    pub fn group_bytes_max(self, bytes: usize) -> Options {
        todo!()
    }
    /// Rows after which the index is written (default 65,536).
    pub fn dirty_rows_max(self, rows: usize) -> Options {
        todo!()
    }
    /// Opens the store in `path`.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        todo!()
    }
}

/// An object as its next step needs it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The head: header, hash, nonces, refusals, spine.
    pub head: Head,
    /// The memory.
    pub image: Image,
    /// The mutable globals.
    pub globals: Vec<u64>,
    /// The base image's hash.
    pub base: BaseHash,
    /// The object's name.
    pub name: Option<String>,
}

/// A commit as read: its bytes, verified.
#[derive(Clone, Debug)]
pub struct StoredCommit {}
impl StoredCommit {
    /// The version's header.
    pub fn header(&self) -> &Header {
        todo!()
    }
    /// The version's hash.
    pub fn hash(&self) -> VersionHash {
        todo!()
    }
    /// The commit, borrowed from the bytes.
    pub fn commit(&self) -> Commit<'_> {
        todo!()
    }
    /// The commit's bytes.
    pub fn bytes(&self) -> &[u8] {
        todo!()
    }
}

/// One version with its memory and globals.
#[derive(Clone, Debug)]
pub struct Version {
    /// The commit that made it.
    pub commit: StoredCommit,
    /// The memory after it.
    pub image: Image,
    /// The mutable globals after it.
    pub globals: Vec<u64>,
}

/// Which way an iterator over versions goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// An object as a list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// The object.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// The newest version's seq.
    pub seq: u64,
    /// The newest version's hash.
    pub hash: VersionHash,
    /// The newest version's time.
    pub time: u64,
    /// The genesis' time.
    pub created: u64,
    /// The next wake.
    pub wake: Option<u64>,
    /// Refusals on record.
    pub refusal_count: u64,
    /// The code.
    pub code: CodeHash,
    /// The policy.
    pub policy: PolicyHash,
    /// The base image.
    pub base: BaseHash,
}

/// Iterator over versions: `Item = Result<StoredCommit>`.
#[derive(Debug)]
pub struct Versions {}
impl Iterator for Versions {
    type Item = Result<StoredCommit>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
/// Iterator over refusals, newest first: `Item = Result<Refusal>`.
#[derive(Debug)]
pub struct Refusals {}
impl Iterator for Refusals {
    type Item = Result<Refusal>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
/// Iterator over commits and refusals in lineage order.
#[derive(Debug)]
pub struct Lineage {}
impl Iterator for Lineage {
    type Item = Result<LineageEntry>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
/// One entry of a lineage.
#[derive(Clone, Debug)]
pub enum LineageEntry {
    /// A version.
    Commit(StoredCommit),
    /// A refusal behind the version before.
    Refusal(Refusal),
}

/// The last check of a capsule: equal seals, equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal(pub(crate) [u8; 32]);

/// Figures.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Bytes of all files.
    pub bytes_on_disk: u64,
    /// Segments of the log.
    pub segment_count: u64,
    /// All before is durable.
    pub durable: Position,
    /// Groups written since open.
    pub group_count: u64,
    /// Frames written since open.
    pub frame_count: u64,
    /// Frames in the largest group.
    pub group_frames_max: u64,
}

/// The store: Send + Sync; share it in an Arc.
#[derive(Debug)]
pub struct Store {}

#[expect(unused, reason = "skeleton")]
impl Store {
    /// Opens or creates with the default options.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        todo!()
    }
    /// Appends one frame if the heads still hold; `done` is called on the committer thread when
    /// the frame is durable (or will never be). When this returns an error, `done` is not called.
    pub fn append(
        &self,
        append: &Append<'_>,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) -> Result<Position> {
        todo!()
    }
    /// Waits until all that was appended is durable.
    pub fn sync(&self) -> Result<()> {
        todo!()
    }
    /// Everything needed to continue an object.
    pub fn head(&self, id: ObjectId) -> Result<Option<Loaded>> {
        todo!()
    }
    /// The row of an object.
    pub fn info(&self, id: ObjectId) -> Result<Option<ObjectInfo>> {
        todo!()
    }
    /// A version by seq.
    pub fn version(&self, id: ObjectId, seq: u64) -> Result<Option<Version>> {
        todo!()
    }
    /// The newest version not later than `time` (ms).
    pub fn as_of(&self, id: ObjectId, time: u64) -> Result<Option<Version>> {
        todo!()
    }
    /// The versions of `range` of seqs.
    pub fn versions(
        &self,
        id: ObjectId,
        range: Range<u64>,
        direction: Direction,
    ) -> Result<Versions> {
        todo!()
    }
    /// The refusals, newest first.
    pub fn refusals(&self, id: ObjectId) -> Result<Refusals> {
        todo!()
    }
    /// Commits and refusals in lineage order, from the genesis.
    pub fn lineage(&self, id: ObjectId) -> Result<Lineage> {
        todo!()
    }
    /// A module.
    pub fn code(&self, hash: CodeHash) -> Result<Option<Vec<u8>>> {
        todo!()
    }
    /// A policy's encoding.
    pub fn policy(&self, hash: PolicyHash) -> Result<Option<Vec<u8>>> {
        todo!()
    }
    /// A base image, cached.
    pub fn base(&self, hash: BaseHash) -> Result<Option<Arc<BaseImage>>> {
        todo!()
    }
    /// Objects in id order.
    pub fn list(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectInfo>> {
        todo!()
    }
    /// The object of a name.
    pub fn find(&self, name: &str) -> Result<Option<ObjectId>> {
        todo!()
    }
    /// Objects whose next wake is at or before `time`, by (time, id) (u64::MAX: all).
    pub fn wakes_until(&self, time: u64) -> Result<Vec<(u64, ObjectId)>> {
        todo!()
    }
    /// Writes an object as a capsule; `progress(done, all)` in sections.
    pub fn export(
        &self,
        id: ObjectId,
        to: &mut impl Write,
        progress: impl FnMut(u64, u64),
    ) -> Result<()> {
        todo!()
    }
    /// Appends a capsule that was verified up to `head` in a first pass whose seal was `seal`.
    pub fn import(&self, from: impl Read, head: &Head, seal: Seal) -> Result<ObjectId> {
        todo!()
    }
    /// Writes the index now.
    pub fn checkpoint(&self) -> Result<()> {
        todo!()
    }
    /// Figures.
    pub fn stats(&self) -> Result<Stats> {
        todo!()
    }
    /// Writes everything and closes.
    pub fn close(&self) -> Result<()> {
        todo!()
    }
}
// Also: storage::{CapsuleReader (new(Read) -> Result, next() -> Result<Option<(SectionKind, &[u8])>>, seal() -> Option<Seal>)},
// storage::{check(path, progress) -> Result<Report>, rebuild_index(path)}, store.check(progress).
