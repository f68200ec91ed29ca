//! Blame: finds the version that changed a field last, the newest in which it has another value
//! than before.
//!
//! It walks back from the head and reads the field again only behind a version that wrote a page
//! which the field was read from; other versions cost no more than their records, and no page
//! without the field is read. It continues through upgrades that kept the field, its type and its
//! value, and from a fork's first version to the original version, and reports the path that it
//! took and why it ends. It does not say who could have changed the field.

use std::collections::BTreeSet;
use std::sync::Arc;

use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::header::Kind;
use object::input::{Input, Request};
use policy::definition::Definition;
use schema::Value;
use storage::{Direction, Error, ErrorKind, Store, StoredCommit};

use crate::history::VersionEntry;

/// The version that gave a field its value, as far as the trail of versions reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The object of that version: the given one, or one that it is a fork of.
    pub object: ObjectId,
    /// The version.
    pub entry: VersionEntry,
    /// The reason why the trail ends with it.
    pub end: TrailEnd,
    /// The places where the trail crossed an upgrade or a fork that kept the value, newest first.
    pub kept: Vec<Kept>,
}

/// A reason why a trail ends with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrailEnd {
    /// The version before has another value at the path.
    Changed,
    /// The version is the object's first, which made the field.
    Created,
    /// The version is an upgrade, and the old code had no such field.
    NewField,
    /// The version is an upgrade, and the old code had the field with another type.
    OtherType,
    /// The version is a fork's first, and its original version is not in this database.
    ParentNotHere {
        /// The original object.
        object: ObjectId,
        /// The original version.
        seq: u64,
    },
    /// Retention dropped the versions before: the value is at least as old as this version.
    Dropped,
}

/// A version that took over the field with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// An upgrade.
    Upgrade {
        /// The object.
        object: ObjectId,
        /// The version that the upgrade made.
        seq: u64,
    },
    /// A fork's first version.
    Fork {
        /// The fork.
        object: ObjectId,
        /// The original object.
        of: ObjectId,
        /// The original version.
        seq: u64,
    },
}

/// A version, the field's value and type in it, and the pages that hold the value.
struct Found {
    stored: StoredCommit,
    value: Value,
    ty: String,
    pages: BTreeSet<u32>,
}

impl Found {
    /// Returns whether its parent certainly has the value, at the same place.
    fn is_as_before(&self) -> bool {
        let wrote_it = self.stored.page_indices().any(|index| self.pages.contains(&index));
        self.stored.is_whole() && self.stored.header().kind != Kind::Upgrade && !wrote_it
    }
}

/// Finds the version that gave the field at `path` its present value. `define` returns the
/// definition of objects with a code and a policy.
///
/// # Errors
///
/// [`Object`](ErrorKind::Object) when the state has no such field, those of the store, and those of
/// `define`.
pub fn blame<E: From<Error>>(
    store: &Store,
    define: impl Fn((CodeHash, PolicyHash)) -> Result<Arc<Definition>, E>,
    object: ObjectId,
    path: &str,
) -> Result<Blame, E> {
    let mut trail = Trail { store, define, path, object, kept: Vec::new() };
    let mut newest = trail.newest()?;
    loop {
        let (first, end) = trail.walk(newest)?;
        let (TrailEnd::Created, Some(parent)) = (end, trail.parent(&first)?) else {
            return trail.end(&first, end);
        };
        let (of, seq, stored) = match parent {
            Parent::Here { of, stored } => (of, stored.header().seq, stored),
            Parent::NotHere { of, seq } => {
                return trail.end(&first, TrailEnd::ParentNotHere { object: of, seq });
            }
        };
        trail.kept.push(Kept::Fork { object: trail.object, of, seq });
        trail.object = of;
        // A fork has the memory of its original version.
        newest = Found { stored: *stored, ..first };
    }
}

/// The original version of a fork.
enum Parent {
    Here { of: ObjectId, stored: Box<StoredCommit> },
    NotHere { of: ObjectId, seq: u64 },
}

struct Trail<'a, F> {
    store: &'a Store,
    define: F,
    path: &'a str,
    /// The object whose versions are walked.
    object: ObjectId,
    kept: Vec<Kept>,
}

/// The content of a version at the path.
enum Read {
    Found(Box<Found>),
    /// The version's code, or its state, has no such field.
    NoField,
    /// The version cannot be read any more.
    Dropped,
}

impl<E: From<Error>, F: Fn((CodeHash, PolicyHash)) -> Result<Arc<Definition>, E>> Trail<'_, F> {
    fn newest(&self) -> Result<Found, E> {
        let mut versions = self.store.versions(self.object, 0..u64::MAX, Direction::Backward)?;
        let stored = versions.next().ok_or_else(|| no_object(self.object))??;
        Ok(self.found(stored)??)
    }

    /// Reads a version at the path; the inner error says that it has no value there.
    fn found(&self, stored: StoredCommit) -> Result<storage::Result<Found>, E> {
        let definition = (self.define)((stored.header().code, stored.header().policy))?;
        let state = definition.code.state_address;
        let found = definition.schema.resolve(self.path).map_err(Error::from).and_then(|place| {
            let excerpt = self.store.excerpt(self.object, &stored)?;
            let (value, pages) = excerpt.look(|memory| place.read(memory, state))?;
            Ok((value?, place.ty().to_string(), pages))
        });
        Ok(found.map(|(value, ty, pages)| Found { stored, value, ty, pages }))
    }

    fn read(&self, stored: StoredCommit) -> Result<Read, E> {
        match self.found(stored)? {
            Ok(found) => Ok(Read::Found(Box::new(found))),
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => Ok(Read::Dropped),
            Err(error) if is_of_path(&error) => Ok(Read::NoField),
            Err(error) => Err(error.into()),
        }
    }

    /// Walks from a version of the object back to the one that gave the field its value, and
    /// returns that with the reason to end there.
    fn walk(&mut self, newest: Found) -> Result<(Found, TrailEnd), E> {
        let mut newer = newest;
        let before = 0..newer.stored.header().seq;
        for stored in self.store.versions(self.object, before, Direction::Backward)? {
            let stored = stored?;
            let (older, seq) = (stored.header().seq, newer.stored.header().seq);
            debug_assert_eq!(older + 1, seq, "a trail leaves no version out");
            if newer.is_as_before() {
                newer = Found { stored, ..newer };
                continue;
            }
            let is_upgrade = newer.stored.header().kind == Kind::Upgrade;
            if !newer.stored.is_whole() {
                return Ok((newer, TrailEnd::Dropped));
            }
            let older = match self.read(stored)? {
                Read::Dropped => return Ok((newer, TrailEnd::Dropped)),
                Read::NoField if is_upgrade => return Ok((newer, TrailEnd::NewField)),
                Read::NoField => return Ok((newer, TrailEnd::Changed)),
                Read::Found(older) => older,
            };
            match older.ty == newer.ty {
                false => return Ok((newer, TrailEnd::OtherType)),
                true if !older.value.is_same(&newer.value) => {
                    return Ok((newer, TrailEnd::Changed));
                }
                true => {}
            }
            if is_upgrade {
                let (object, seq) = (self.object, newer.stored.header().seq);
                self.kept.push(Kept::Upgrade { object, seq });
            }
            newer = *older;
        }
        Ok((newer, TrailEnd::Created))
    }

    /// Returns the original version, if `first` is a fork's first version.
    fn parent(&self, first: &Found) -> Result<Option<Parent>, E> {
        if first.stored.header().kind != Kind::Fork {
            return Ok(None);
        }
        let Some(payloads) = first.stored.payloads() else { return Ok(None) };
        let Request::Fork { of, .. } = Input::decode(payloads.input).map_err(Error::from)?.request
        else {
            return Ok(None);
        };
        let (id, seq) = (of.object_id(), of.seq);
        let is_here = self.store.info(id)?.is_some();
        let mut versions = match is_here {
            true => Some(self.store.versions(id, seq..seq + 1, Direction::Forward)?),
            false => None,
        };
        let stored = versions.as_mut().and_then(Iterator::next).transpose()?;
        let parent = match stored.filter(|stored| stored.hash() == of.hash()) {
            Some(stored) => Parent::Here { of: id, stored: Box::new(stored) },
            None => Parent::NotHere { of: id, seq },
        };
        Ok(Some(parent))
    }

    fn end(self, first: &Found, end: TrailEnd) -> Result<Blame, E> {
        let entry = VersionEntry::decode(&first.stored)?;
        Ok(Blame { object: self.object, entry, end, kept: self.kept })
    }
}

/// Returns whether an error says that a path does not exist: in a schema, or in a shorter list.
fn is_of_path(error: &Error) -> bool {
    use object::ErrorKind::{State, Unknown, Value};
    let ErrorKind::Object(error) = error.kind() else { return false };
    matches!(error.kind(), Unknown { .. } | State { .. } | Value { .. })
}

fn no_object(object: ObjectId) -> Error {
    ErrorKind::NotFound { what: "object", name: object.to_string() }.into()
}
