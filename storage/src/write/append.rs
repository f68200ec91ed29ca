//! Appending: changes of objects in one frame, if the heads that they follow still hold.
//!
//! The frame is built, with its notes of places, before any lock is taken; then, under the lock of
//! the heads, it is pushed if nothing that it builds on has changed. This module does not know
//! whether changes are admitted: the crate above decided that.
//!
//! Invariant: rows change exactly as the frame says, so recovery, which reads it, finds the same.

use std::borrow::Cow;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash, VersionHash};
use object::header::{HEADER_BYTES, Kind};
use object::image::Image;
use object::ledger::Ledger;
use object::memory::{Memory, Page};
use object::refusal::Refusal;
use object::secret::Secret;
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Pushed;
use crate::log::writer::Done;
use crate::record::event::Event;
use crate::record::message::{Fate, Sending, Taking};
use crate::record::version::Staged;
use crate::record::{BlobHash, Body, leaf, records};
use crate::rows::heads::Heads;
use crate::rows::pages::PageTable;
use crate::rows::row::{NewVersion, Row};
use crate::store::{Inner, Store};
use crate::write::push::{Changes, Drafted, LockedHeads};

/// A part that is stored once, by its hash, and shared by objects. Blobs that the store has already
/// are skipped.
#[derive(Clone, Copy, Debug)]
pub enum Blob<'a> {
    /// A module, as its author gave it.
    Code(&'a [u8]),
    /// A policy's encoding.
    Policy(&'a [u8]),
    /// A base image's encoding.
    Base(&'a [u8]),
}

impl<'a> Blob<'a> {
    /// The blob's hash and bytes.
    pub(crate) fn hashed(self) -> (BlobHash, &'a [u8]) {
        match self {
            Blob::Code(bytes) => (BlobHash::Code(CodeHash::of(bytes)), bytes),
            Blob::Policy(bytes) => (BlobHash::Policy(PolicyHash::of(bytes)), bytes),
            Blob::Base(bytes) => (BlobHash::Base(BaseHash::of(bytes)), bytes),
        }
    }
}

/// A version to append. The head that it must follow is `commit.header.parent`.
#[derive(Clone, Debug)]
pub struct NewCommit<'a> {
    /// The version with its payloads and changed pages.
    pub commit: Commit<'a>,
    /// The hash of its header.
    pub hash: VersionHash,
    /// The base image that the memory begins from: of a genesis or an upgrade, and of nothing else.
    pub base: Option<BaseHash>,
    /// The object's secret: of a genesis, and of nothing else.
    pub secret: Option<&'a Secret>,
    /// The ledger, when it is not the parent's.
    pub ledger: Option<&'a Arc<Ledger>>,
    /// The parent's memory, or the base image's before a genesis or an upgrade: only differences
    /// from it are written. Without it pages are written whole.
    pub before: Option<&'a Image>,
}

impl<'a> NewCommit<'a> {
    /// Returns a page's former content, as far as it is known.
    fn before(&self) -> impl Fn(u32) -> Option<&'a Page> {
        let before = self.before;
        move |index| Some(before?.page(index))
    }
}

/// A change of one object.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all changes are commits")]
pub enum Change<'a> {
    /// A new version.
    Commit(NewCommit<'a>),
    /// A refusal on record; it must follow the head (`parent`) and the last refusal (`previous`).
    Refusal(&'a Refusal),
}

/// The content of one frame, appended whole or not at all. Changes of one object are in lineage
/// order.
#[derive(Clone, Debug, Default)]
pub struct Append<'a> {
    /// Blobs that the changes need.
    pub blobs: Vec<Blob<'a>>,
    /// The changes, of any number of objects.
    pub changes: Vec<Change<'a>>,
    /// Names to bind, each to an object that has none: 1 to 256 bytes without control characters.
    pub names: Vec<(&'a str, ObjectId)>,
    /// The messages of the changes, which are on their way then.
    pub sent: Vec<Sending>,
    /// Messages that are on their way no more.
    pub taken: Vec<Taking>,
}

/// Bytes that a record seldom needs more of.
const RECORD_BYTES: usize = HEADER_BYTES + 256;

/// A frame being built, with its changes of the rows.
struct Draft<'s, 'a> {
    inner: &'s Inner,
    body: Body,
    changes: Changes<'a>,
}

impl Store {
    /// Appends one frame if the heads still hold. Returns as soon as the frame has its place, which
    /// reads see at once, unless the log is far behind. `done` is called when the frame is durable,
    /// on the log's thread or one that waits for the disk, as in [`commit`](Store::commit) and
    /// [`sync`](Store::sync). It is called exactly once, also with the error that this returns, and
    /// must neither call the store nor wait for such a thread: it would wait for itself.
    ///
    /// Payloads are stored unverified: the caller guarantees that the header names them, that the
    /// hash is its own, and that a secret is the object's.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) when a head has changed, or a message is not on its way,
    /// [`NameTaken`](ErrorKind::NameTaken), [`Name`](ErrorKind::Name),
    /// [`NameIsId`](ErrorKind::NameIsId), [`Moved`](ErrorKind::Moved),
    /// [`Deleted`](ErrorKind::Deleted), [`TooLarge`](ErrorKind::TooLarge),
    /// [`Poisoned`](ErrorKind::Poisoned) and [`Closed`](ErrorKind::Closed).
    ///
    /// # Panics
    ///
    /// When the append has neither changes nor messages that are taken, takes one with another
    /// outcome than delivered or dead, or has a base image with a version that is neither a genesis
    /// nor an upgrade.
    pub fn append(
        &self,
        append: &Append<'_>,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) -> Result<Position> {
        let (pushed, recent_count) = self.push(append, Box::new(done))?;
        let position = pushed.position;
        drop(pushed);
        self.inner().catch_up(recent_count);
        Ok(position)
    }

    /// Appends one frame, as [`append`](Store::append) does, and waits until it is durable. While
    /// the log's own thread has nothing to do, this one writes and syncs, and calls the callbacks
    /// of everything that becomes durable with it: the fastest way to one durable commit.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Store::append).
    ///
    /// # Panics
    ///
    /// As of [`append`](Store::append).
    pub fn commit(&self, append: &Append<'_>) -> Result<Position> {
        let (pushed, recent_count) = self.push(append, Box::new(drop))?;
        let position = pushed.commit()?;
        self.inner().catch_up(recent_count);
        Ok(position)
    }

    /// Pushes the frame of an append; counts the rows that wait for the index then.
    fn push(&self, append: &Append<'_>, done: Done) -> Result<(Pushed<'_>, usize)> {
        let is_something = !append.changes.is_empty() || !append.taken.is_empty();
        assert!(is_something, "an append changes something");
        let ends = |it: &Taking| matches!(it.fate, Fate::Delivered | Fate::Dead(_));
        assert!(append.taken.iter().all(ends), "an append takes messages that are on their way");
        let draft = || {
            let mut draft = Draft::new(self.inner(), append.changes.len());
            draft.fill(append)?;
            let hash = blake3::hash(&draft.body.0);
            Ok((draft, hash))
        };
        let drafted = self.inner().look_up(draft, |(draft, _), heads| draft.holds(heads));
        let pushed = match drafted {
            Ok(((draft, hash), heads)) => draft.push(heads, hash, done),
            Err(error) => Err((error, done)),
        };
        pushed.map_err(|(error, done)| {
            done(Err(error.clone()));
            error
        })
    }
}

impl<'s, 'a> Draft<'s, 'a> {
    /// Returns a draft of `change_count` changes.
    fn new(inner: &'s Inner, change_count: usize) -> Draft<'s, 'a> {
        let body = Body(Vec::with_capacity(change_count * RECORD_BYTES));
        let rows = Vec::with_capacity(change_count);
        let leaves = Vec::with_capacity(change_count);
        Draft { inner, body, changes: Changes { rows, leaves, ..Changes::default() } }
    }

    fn fill(&mut self, append: &'a Append<'_>) -> Result<()> {
        for blob in &append.blobs {
            self.blob(*blob)?;
        }
        for change in &append.changes {
            match change {
                Change::Commit(new) => self.commit(new)?,
                Change::Refusal(refusal) => self.refusal(refusal)?,
            }
        }
        for (name, id) in &append.names {
            self.name(name, *id)?;
        }
        for sending in append.sent.iter().filter(|sending| !sending.receivers.is_empty()) {
            self.event(Event::Sent(sending.clone()));
        }
        for taking in &append.taken {
            self.event(Event::Taken(taking.cut()));
        }
        debug_assert_eq!(
            records(&self.body.0).count(),
            self.changes.blobs.len() + append.changes.len() + self.changes.events.len(),
            "each change is a record"
        );
        Ok(())
    }

    fn event(&mut self, event: Event<'a>) {
        self.body.event(&event);
        self.changes.events.push(event);
    }

    fn blob(&mut self, blob: Blob<'_>) -> Result<()> {
        let (hash, bytes) = blob.hashed();
        if self.inner.blob_position(hash)?.is_none() {
            self.body.blob(hash, bytes);
            self.changes.blobs.push(hash);
        }
        Ok(())
    }

    fn commit(&mut self, new: &NewCommit<'_>) -> Result<()> {
        let header = &new.commit.header;
        let (Some(object), Some(parent)) = (header.object, header.parent) else {
            return self.genesis(new);
        };
        let hash = new.hash;
        debug_assert_eq!(hash, header.hash(), "the hash of the header");
        let inner = self.inner;
        let row = self.row(object)?;
        let jump = Some(row.next_jump().hash);
        let refusals = (row.refusal_hash(), row.refusal_count);
        let expected = (row.head().hash, row.seq() + 1, jump, refusals);
        let refusals = (header.refusals, header.refusal_count);
        if expected != (parent, header.seq, header.jump, refusals) {
            return Err(conflict(row, header.seq, parent).of(object));
        }
        let none = PageTable::default();
        let pages = match (header.kind, new.base) {
            (Kind::Upgrade, None) => {
                return Err(Error::not_found("base image of upgrade", hash));
            }
            (Kind::Upgrade, Some(_)) => &none,
            _ => row.known_pages(),
        };
        let changes = pages.plan(&new.commit.pages, new.before());
        let ledger = new.ledger.map(|ledger| inner.write_ledger(object, row, header, ledger));
        let ledger = ledger.transpose()?;
        let parts = (new.base, None);
        let version = NewVersion::new(&new.commit, hash, parts, &changes, ledger.is_some());
        let notes = row.extend(&version);
        let name = row.deleted.then(|| row.name.clone()).flatten();
        self.body.version(Staged::No, &notes, ledger.as_ref(), &new.commit, &changes);
        self.changes.leaves.push(leaf::of_version(header, hash));
        match name {
            Some(name) => self.free_name(object, name, header.time),
            None => Ok(()),
        }
    }

    fn genesis(&mut self, new: &NewCommit<'_>) -> Result<()> {
        let header = &new.commit.header;
        let hash = new.hash;
        debug_assert_eq!(hash, header.hash(), "the hash of the header");
        let id = ObjectId::from(hash);
        let drafted = self.changes.rows.iter().any(|drafted| drafted.id == id);
        if drafted || self.inner.row(id)?.is_some() {
            return Err(Error::conflict("no such object", "one that exists").of(id));
        }
        new.base.ok_or_else(|| Error::not_found("base image of genesis", hash))?;
        new.secret.ok_or_else(|| Error::not_found("secret of genesis", hash))?;
        let changes = PageTable::default().plan(&new.commit.pages, new.before());
        debug_assert!(new.ledger.is_none(), "the ledger of a genesis is empty");
        let parts = (new.base, new.secret);
        let version = NewVersion::new(&new.commit, hash, parts, &changes, false);
        let (after, notes) = Row::begin(&version);
        self.body.version(Staged::No, &notes, None, &new.commit, &changes);
        self.changes.leaves.push(leaf::of_version(header, hash));
        self.changes.rows.push(Drafted { id, before: None, after });
        Ok(())
    }

    fn refusal(&mut self, refusal: &Refusal) -> Result<()> {
        let row = self.row(refusal.object)?;
        let expected = (row.head().hash, row.seq() + 1, row.refusal_hash());
        if expected != (refusal.parent, refusal.seq, refusal.previous) {
            return Err(conflict(row, refusal.seq, refusal.parent).of(refusal.object));
        }
        let notes = row.refusal_notes();
        row.refuse(refusal, Position::HERE);
        self.body.refusal(Staged::No, notes, refusal);
        self.changes.leaves.push(leaf::of_refusal(refusal, notes.number));
        Ok(())
    }

    /// Frees the name of an object that is deleted.
    fn free_name(&mut self, id: ObjectId, name: String, time: Time) -> Result<()> {
        let event = self.changes.naming(self.inner, (id, false), Cow::Owned(name), time)?;
        self.event(event);
        Ok(())
    }

    fn name(&mut self, name: &'a str, id: ObjectId) -> Result<()> {
        let inner = self.inner;
        self.changes.require_free(inner, name, id)?;
        let row = self.row(id)?;
        let (is_named, time) = (row.name.is_some(), row.time);
        if is_named || self.is_named(id) {
            return Err(ErrorKind::NameTaken { name: name.to_string(), object: id }.into());
        }
        let event = self.changes.naming(inner, (id, true), Cow::Borrowed(name), time)?;
        self.event(event);
        Ok(())
    }

    /// Returns whether the draft gives an object a name.
    fn is_named(&self, id: ObjectId) -> bool {
        let is_of = |event: &Event<'_>| match event {
            Event::Name(naming) => naming.object == id,
            _ => false,
        };
        self.changes.events.iter().any(is_of)
    }

    /// The row of an object as the changes so far leave it.
    fn row(&mut self, id: ObjectId) -> Result<&mut Row> {
        let rows = &mut self.changes.rows;
        let index = match rows.iter().position(|drafted| drafted.id == id) {
            Some(index) => index,
            None => {
                let found = self.inner.row(id)?;
                let none = || Error::conflict("an object", "none").of(id);
                let mut drafted = Drafted::new(id, found.ok_or_else(none)?);
                if drafted.after.pages.is_none() {
                    drafted.after.pages = Some(self.inner.page_table(&drafted.after)?);
                }
                rows.push(drafted);
                rows.len() - 1
            }
        };
        let row = &mut rows[index].after;
        if row.moved {
            return Err(Error::from(ErrorKind::Moved).of(id));
        }
        row.require_living(id)?;
        Ok(row)
    }

    /// Returns whether everything that the draft builds on is unchanged, but for the messages that
    /// it takes.
    fn holds(&self, heads: &Heads) -> bool {
        self.changes.hold(heads)
    }

    /// Pushes the frame, if its messages are on their way, and counts the rows that wait for the
    /// index then. Unlocks the heads; with an error it returns `done`.
    fn push(
        self,
        mut heads: LockedHeads<'_>,
        hash: blake3::Hash,
        done: Done,
    ) -> Result<(Pushed<'s>, usize), (Error, Done)> {
        let mut taken = self.changes.events.iter().filter_map(|event| match event {
            Event::Taken(taking) => Some(taking.id),
            _ => None,
        });
        if let Some(id) = taken.find(|id| !heads.is_on_its_way(*id)) {
            return Err((Error::conflict("a message on its way", "none").of(id.to), done));
        }
        let pushed = self.inner.push(&mut heads, &self.body, hash, self.changes, done)?;
        Ok((pushed, heads.recent_count()))
    }
}

fn conflict(row: &Row, seq: u64, parent: impl std::fmt::Display) -> Error {
    let expected = format!("version {} after {}", row.seq() + 1, row.head().hash);
    Error::conflict(expected, format!("version {seq} after {parent}"))
}
