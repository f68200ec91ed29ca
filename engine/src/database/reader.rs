//! Reads by a principal: objects' states, field by field, as their own policies permit.
//!
//! They are for services that pass on what they hold. The embedder knows the principal and vouches
//! for it; there is no proof. This module does not know how a policy decides.
//!
//! Invariant: nothing of a state leaves a [`ReadableSnapshot`] but fields whose read is permitted.

use std::fmt;

use object::hash::ObjectId;
use object::header::Header;
use object::ledger::Past;
use object::time::Time;
use policy::Principal;
use policy::reading::Read;
use query::Snapshot;
use schema::{Scalar, Value};

#[cfg(doc)]
use crate::Database;
use crate::commit::shared::Shared;
use crate::database::read;
use crate::error::{Error, ErrorKind, Result};
use crate::stack::{DeepStack, on_thread};

/// A database as one principal may read it; [`Database::reader`] gives one.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    shared: &'a Shared,
    principal: Principal,
}

/// A version of an object as one principal may read it, at the time at which it was taken.
#[derive(Clone)]
pub struct ReadableSnapshot {
    principal: Principal,
    time: Time,
    version: Snapshot,
    newest: Snapshot,
    created: Time,
    past: Past,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: &'a Shared, principal: Principal) -> Reader<'a> {
        Reader { shared, principal }
    }

    /// Returns the newest version, durable or not, as [`Database::snapshot`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Database::snapshot`]. It is no error if the principal may read nothing.
    pub fn snapshot(&self, id: ObjectId) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(newest.clone(), newest)
    }

    /// Returns the version with this sequence number. The newest version's policy decides, not the
    /// version's own: later amendments hold for the past too. It decides on the state that is read.
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`]. It is no error if the principal may read nothing.
    pub fn at(&self, id: ObjectId, seq: u64) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(read::at(self.shared, id, seq)?, newest)
    }

    /// Returns the newest version that is not later than `time`, as [`Reader::at`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Database::as_of`]. It is no error if the principal may read nothing.
    pub fn as_of(&self, id: ObjectId, time: Time) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(read::as_of(self.shared, id, time)?, newest)
    }

    fn readable(&self, version: Snapshot, newest: Snapshot) -> Result<ReadableSnapshot> {
        let id = newest.id();
        let past = read::past(self.shared, &newest)?;
        let created = read::info(self.shared, id)?.created;
        // The host's clock counts, also when the object is ahead of it: being ahead opens nothing.
        let (principal, time) = (self.principal, self.shared.options.clock.now());
        Ok(ReadableSnapshot { principal, time, version, newest, created, past })
    }
}

impl ReadableSnapshot {
    /// The object.
    pub fn id(&self) -> ObjectId {
        self.version.id()
    }

    /// Returns the version's header, which no policy hides.
    pub fn header(&self) -> &Header {
        self.version.header()
    }

    /// Returns the names of the fields that may be read, in the order of the schema.
    ///
    /// # Errors
    ///
    /// Failures that kept the engine from a decision.
    pub fn fields(&self) -> Result<Vec<&str>> {
        let fields = self.version.definition().schema.state().fields.iter();
        let mut readable = Vec::new();
        for field in fields {
            match self.permit(&field.name) {
                Ok(()) => readable.push(field.name.as_str()),
                Err(error) if matches!(error.kind(), ErrorKind::NotReadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(readable)
    }

    /// Reads the scalar at `path`, such as `minutes` or `position.altitude`.
    ///
    /// # Errors
    ///
    /// [`NotReadable`](ErrorKind::NotReadable) when the policy does not permit it, and those of
    /// [`Snapshot::get`].
    pub fn get<T: Scalar>(&self, path: &str) -> Result<T> {
        self.permit(path)?;
        Ok(self.version.get(path)?)
    }

    /// Reads the value at `path`, of any type.
    ///
    /// # Errors
    ///
    /// Those of [`ReadableSnapshot::get`], and of [`Snapshot::value`].
    pub fn value(&self, path: &str) -> Result<Value> {
        self.permit(path)?;
        Ok(self.version.value(path)?)
    }

    /// Returns the fields that may be read, as a record of just these.
    ///
    /// # Errors
    ///
    /// Failures that kept the engine from a decision.
    pub fn state(&self) -> Result<Value> {
        let fields = self.fields()?.into_iter();
        let read = |name: &str| Ok((name.to_string(), self.version.value(name)?));
        Ok(Value::Record(fields.map(read).collect::<Result<_>>()?))
    }

    /// Asks the policy about the field that a path begins with.
    fn permit(&self, path: &str) -> Result<()> {
        // By its name in the schema: a path may be written in other ways.
        let field = self.version.definition().schema.field(path)?.name.as_str();
        let definition = self.newest.definition();
        let read = Read {
            principal: self.principal,
            field,
            time: self.time,
            seq: self.version.header().seq,
            memory: self.version.image(),
            newest: self.newest.header(),
            created: self.created,
            past: &self.past,
        };
        let permitted = match read.decide(definition) {
            Some(permitted) => permitted,
            None => on_thread(|_: DeepStack| read.decide_by_cedar(definition))??,
        };
        permitted.map_err(|verdict| {
            let kind = ErrorKind::NotReadable { field: field.to_string(), verdict };
            Error::from(kind).about(self.id())
        })
    }
}

impl fmt::Debug for ReadableSnapshot {
    /// Prints the snapshot without its state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadableSnapshot { principal, time, .. } = self;
        f.debug_struct("ReadableSnapshot")
            .field("principal", principal)
            .field("time", time)
            .field("version", &self.version.hash())
            .finish_non_exhaustive()
    }
}
