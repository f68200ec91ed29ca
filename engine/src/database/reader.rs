//! What a principal may read: objects' states, field by field, as their own policies permit.
//!
//! For services that hand on what they hold. Who the principal is, is for the embedder to know: it
//! is vouched for, not proved. It does not know how a policy decides.
//!
//! Invariant: nothing of a state leaves a [`ReadableSnapshot`] but fields whose read is permitted.

use std::fmt;
use std::sync::Arc;

use object::hash::ObjectId;
use object::header::Header;
use object::ledger::Past;
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
    shared: &'a Arc<Shared>,
    principal: Principal,
}

/// A version of an object as one principal may read it, at the time at which it was taken.
#[derive(Clone)]
pub struct ReadableSnapshot {
    principal: Principal,
    time: u64,
    version: Snapshot,
    newest: Snapshot,
    created: u64,
    past: Past,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, principal: Principal) -> Reader<'a> {
        Reader { shared, principal }
    }

    /// The newest version, durable or not, as [`Database::snapshot`] has it.
    ///
    /// # Errors
    ///
    /// Those of [`Database::snapshot`]. That the principal may read nothing is none.
    pub fn snapshot(&self, id: ObjectId) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(newest.clone(), newest)
    }

    /// The version with this seq. Its policy has no say, that of the newest version has: what was
    /// amended since holds for the past too. The state that it decides on is the one that is read.
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`]. That the principal may read nothing is none.
    pub fn at(&self, id: ObjectId, seq: u64) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(read::at(self.shared, id, seq)?, newest)
    }

    /// The newest version that is not later than `time`, in milliseconds since 1970-01-01 UTC, as
    /// [`Reader::at`] has it.
    ///
    /// # Errors
    ///
    /// Those of [`Database::as_of`]. That the principal may read nothing is none.
    pub fn as_of(&self, id: ObjectId, time: u64) -> Result<ReadableSnapshot> {
        let newest = read::snapshot(self.shared, id)?;
        self.readable(read::as_of(self.shared, id, time)?, newest)
    }

    fn readable(&self, version: Snapshot, newest: Snapshot) -> Result<ReadableSnapshot> {
        let id = newest.id();
        let past = read::past(self.shared, &newest)?;
        let created = read::info(self.shared, id)?.created;
        // By the host's clock, also when the object is ahead of it: to be so opens nothing.
        let (principal, time) = (self.principal, self.shared.clock().now());
        Ok(ReadableSnapshot { principal, time, version, newest, created, past })
    }
}

impl ReadableSnapshot {
    /// The object.
    pub fn id(&self) -> ObjectId {
        self.version.id()
    }

    /// The version's header: what the lineage says of it, which no policy hides.
    pub fn header(&self) -> &Header {
        self.version.header()
    }

    /// The names of the fields that may be read, in the order of the schema.
    ///
    /// # Errors
    ///
    /// What kept the engine from a decision.
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

    /// The scalar at `path`, such as `minutes` or `position.altitude`.
    ///
    /// # Errors
    ///
    /// [`NotReadable`](ErrorKind::NotReadable) when the policy does not permit it, and those of
    /// [`Snapshot::get`].
    pub fn get<T: Scalar>(&self, path: &str) -> Result<T> {
        self.permit(path)?;
        Ok(self.version.get(path)?)
    }

    /// The value at `path`, of whatever type.
    ///
    /// # Errors
    ///
    /// Those of [`ReadableSnapshot::get`], and of [`Snapshot::value`].
    pub fn value(&self, path: &str) -> Result<Value> {
        self.permit(path)?;
        Ok(self.version.value(path)?)
    }

    /// The fields that may be read, as a record of just these.
    ///
    /// # Errors
    ///
    /// What kept the engine from a decision.
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
    /// Without what is in the state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadableSnapshot { principal, time, .. } = self;
        f.debug_struct("ReadableSnapshot")
            .field("principal", principal)
            .field("time", time)
            .field("version", &self.version.hash())
            .finish_non_exhaustive()
    }
}
