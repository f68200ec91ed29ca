//! The error of the engine: a kind that says what to do about it, and its subject.
//!
//! Invariant: a refusal is an error of its own kind, so that no caller mistakes it for a success or
//! for a failure of the machine.

mod class;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use object::hash::{ObjectId, SessionId};
use object::refusal::Verdict;
use object::time::Time;

use crate::clock::span;
use crate::instrument::ModuleError;
use crate::substrate::HostFailure;

/// The result of the engine's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of a request: its kind, and the object that it is about.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    object: Option<ObjectId>,
}

/// The kinds of failure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object's policy, or a native rule, refuses the input. Nothing changed.
    Refused {
        /// The verdict: the reason, and the rules behind it.
        verdict: Verdict,
        /// True if the refusal is on record; it is not when the object has too many or the input is
        /// too long.
        recorded: bool,
    },
    /// The module cannot be an object's code.
    Module(ModuleError),
    /// The module cannot be a policy's guard.
    Guard(ModuleError),
    /// A value, schema, policy, lineage or capsule is not as it must be.
    Object(object::Error),
    /// The store could not read or write, or found damage.
    Storage(storage::Error),
    /// A part that a version names is not in the store: check names the damage.
    Missing {
        /// The kind of the missing part.
        what: &'static str,
        /// The hash of the missing part.
        hash: String,
    },
    /// The database has no such object.
    NoObject,
    /// The object was moved away, and ended here: import a later capsule of it, or take it back
    /// with [`take_back`](crate::Database::take_back).
    Moved,
    /// The object was deleted: nothing follows, and nothing of it is put on record any more.
    Deleted {
        /// The time of its last version, the deletion.
        at: Time,
    },
    /// The object has no such version.
    NoVersion {
        /// The version asked for.
        asked: String,
        /// The newest version.
        newest: u64,
    },
    /// The object has no such refusal on record.
    NoRefusal {
        /// The refusal asked for, counted from 1, oldest first.
        asked: u64,
        /// The number of them.
        count: u64,
    },
    /// A capsule could not be read.
    Read(String),
    /// A capsule has its sections in another order than a lineage has.
    Section {
        /// The section that comes next in a capsule.
        expected: String,
        /// The section that is there.
        found: String,
    },
    /// Too many inputs wait for the object already: wait for some, then try again.
    MailboxFull {
        /// The most that may wait.
        max: usize,
    },
    /// Too many messages are on their way already: wait until some are delivered, then try again.
    MessagesFull {
        /// The most that may be on their way.
        max: usize,
    },
    /// The object has no wake that is due.
    NotDue {
        /// The object's next wake.
        wake: Option<Time>,
    },
    /// The object's time is ahead of this host's clock by more than is
    /// [tolerated](crate::Options::clock_ahead_max): no verdict about the input, which may be tried
    /// again when the clock is right, or [let in](crate::Call::even_if_ahead).
    Ahead {
        /// The lead.
        by: Duration,
        /// The tolerated lead.
        max: Duration,
    },
    /// The object's policy does not permit that the principal reads the field.
    NotReadable {
        /// The field of the state.
        field: String,
        /// The verdict: the reason, and the rules behind it.
        verdict: Verdict,
    },
    /// The policy permits no amendment: the object could never be given another.
    LastPolicy,
    /// The version is not durable yet: wait for its ticket first.
    NotDurable,
    /// A part of a signature was given for a call without one: sign it, or leave that part out.
    NotSigned {
        /// The part that was given.
        what: &'static str,
    },
    /// A call has two credentials: leave one of them out.
    TwoCredentials {
        /// The one beside the call's own signatures.
        other: &'static str,
    },
    /// A transaction has two inputs of the same object: an object takes one step in it.
    Twice,
    /// The input is in a session whose secret this database does not hold: hand it in with
    /// [`hold_session`](crate::Database::hold_session). Nothing is on record of the input, as it
    /// may be valid.
    SessionNotHeld {
        /// The session.
        session: SessionId,
    },
    /// More than an option allows.
    Limit {
        /// The option.
        what: &'static str,
        /// The most that it allows.
        max: u64,
        /// The amount requested.
        found: u64,
    },
    /// A replay does not agree with the record.
    Replay {
        /// The part that differs.
        what: &'static str,
        /// The version.
        seq: u64,
        /// The code's result.
        expected: String,
        /// The record.
        found: String,
    },
    /// The substrate failed: no verdict about the input, which may be tried again.
    Substrate(String),
    /// The directory for machine code cannot be used.
    CodeCache {
        /// The directory.
        directory: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A worker panicked over it, which is our bug. Nothing changed.
    Panicked,
    /// The database is closed.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Error {
        Error(Box::new(Inner { kind, object: None }))
    }

    /// The error, as one about `object`.
    pub(crate) fn about(mut self, object: ObjectId) -> Error {
        self.0.object.get_or_insert(object);
        self
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The object concerned, where there is one.
    pub fn object(&self) -> Option<ObjectId> {
        self.0.object
    }

    /// Returns a note on the record of a refusal; a creation's refusal is never on record.
    fn record(&self, is_recorded: bool) -> &'static str {
        match is_recorded || self.0.object.is_none() {
            true => "",
            false => UNRECORDED,
        }
    }

    /// Returns whether the message names the object already.
    fn names(&self, object: ObjectId) -> bool {
        matches!(&self.0.kind, ErrorKind::Storage(error) if error.object() == Some(object))
    }

    /// The verdict, when the input was refused.
    pub fn refusal(&self) -> Option<&Verdict> {
        match &self.0.kind {
            ErrorKind::Refused { verdict, .. } => Some(verdict),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error::new(kind)
    }
}

impl From<ModuleError> for Error {
    fn from(error: ModuleError) -> Error {
        Error::new(ErrorKind::Module(error))
    }
}

impl From<HostFailure> for Error {
    fn from(failure: HostFailure) -> Error {
        Error::new(ErrorKind::Substrate(failure.to_string()))
    }
}

impl From<object::Error> for Error {
    fn from(error: object::Error) -> Error {
        Error::new(ErrorKind::Object(error))
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        let kind = match error.kind() {
            storage::ErrorKind::Moved => ErrorKind::Moved,
            storage::ErrorKind::Deleted { at } => ErrorKind::Deleted { at: *at },
            _ => return Error::new(ErrorKind::Storage(error)),
        };
        Error(Box::new(Inner { kind, object: error.object() }))
    }
}

const UNRECORDED: &str = " (not put on record: the object has too many refusals, or the input is \
                          too long)";
const LAST_POLICY: &str = "no rule of the policy names `amend` or `upgrade`, so that neither the \
                           policy nor the code could ever be changed again: add such a rule, or \
                           confirm that the policy is for good";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = self.0.object.filter(|object| !self.names(*object)) {
            write!(f, "object {object}: ")?;
        }
        match &self.0.kind {
            ErrorKind::Refused { verdict, recorded } => {
                write!(f, "refused{}: {verdict}", self.record(*recorded))
            }
            kind => kind.write(f),
        }
    }
}

fn ahead(by: Duration, max: Duration) -> String {
    let (by, max) = (span(by), span(max));
    format!(
        "its time is {by} ahead of this host's clock, and at most {max} is tolerated: set the \
         clock if it is wrong, or accept the request all the same"
    )
}

impl ErrorKind {
    /// Prints a failure of a call that may be made otherwise, or later.
    fn write_call(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::MailboxFull { max } => {
                let remedy = "wait for some of them, then try again";
                write!(f, "{max} inputs wait for it already, the most that may: {remedy}")
            }
            ErrorKind::MessagesFull { max } => {
                let full = format!("{max} messages between objects are on their way already");
                write!(f, "{full}, the most that may be: try again a little later")
            }
            ErrorKind::NotDue { wake: Some(wake) } => write!(f, "its next wake is at {wake}"),
            ErrorKind::NotDue { wake: None } => f.write_str("no wake is set"),
            ErrorKind::Ahead { by, max } => f.write_str(&ahead(*by, *max)),
            ErrorKind::NotReadable { field, verdict } => {
                write!(f, "the field {field} may not be read: {verdict}")
            }
            ErrorKind::LastPolicy => f.write_str(LAST_POLICY),
            ErrorKind::NotDurable => {
                f.write_str("the version is not durable yet: wait for its ticket first")
            }
            ErrorKind::NotSigned { what } => {
                write!(f, "only a signed call has a {what}: sign the call, or leave the {what} out")
            }
            ErrorKind::TwoCredentials { other } => {
                let both = format!("the call has signatures of its own and is in a {other} too");
                write!(f, "{both}: leave one of the two out")
            }
            ErrorKind::Twice => {
                f.write_str("the transaction has two inputs for it: an object takes one")
            }
            ErrorKind::SessionNotHeld { session } => {
                let secret = format!("the secret of session {session}");
                write!(
                    f,
                    "the database does not have {secret}: hand it over again (`hold_session`)"
                )
            }
            _ => Ok(()),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Refused { verdict, .. } => {
                write!(f, "refused: {verdict}")
            }
            ErrorKind::Module(error) => write!(f, "module: {error}"),
            ErrorKind::Guard(error) => write!(f, "guard: {error}"),
            ErrorKind::Object(error) => write!(f, "{error}"),
            ErrorKind::Storage(error) => write!(f, "{error}"),
            ErrorKind::Missing { what, hash } => {
                write!(f, "the {what} {hash} is not in the store")
            }
            ErrorKind::NoObject => f.write_str("there is no such object in this database"),
            ErrorKind::Moved => write!(f, "{}", storage::ErrorKind::Moved),
            ErrorKind::Deleted { at } => {
                write!(f, "{}", storage::ErrorKind::Deleted { at: *at })
            }
            ErrorKind::NoVersion { asked, newest } => {
                write!(f, "no version of {asked}; the object's versions are 0 to {newest}")
            }
            ErrorKind::NoRefusal { asked, count: 0 } => {
                write!(f, "no refusal {asked}: none is on record")
            }
            ErrorKind::NoRefusal { asked, count } => {
                write!(f, "no refusal {asked}; the object's refusals are 1 to {count}")
            }
            ErrorKind::Read(problem) => write!(f, "reading the capsule: {problem}"),
            ErrorKind::Section { expected, found } => {
                write!(f, "capsule: expected section {expected}, found {found}")
            }
            ErrorKind::MailboxFull { .. }
            | ErrorKind::MessagesFull { .. }
            | ErrorKind::NotDue { .. }
            | ErrorKind::Ahead { .. }
            | ErrorKind::NotReadable { .. }
            | ErrorKind::LastPolicy
            | ErrorKind::NotDurable
            | ErrorKind::NotSigned { .. }
            | ErrorKind::TwoCredentials { .. }
            | ErrorKind::Twice
            | ErrorKind::SessionNotHeld { .. } => self.write_call(f),
            ErrorKind::Limit { what, max, found } => {
                write!(f, "{what}: at most {max}, found {found}")
            }
            ErrorKind::Replay { what, seq, expected, found } => {
                write!(f, "replay of version {seq}: {what} expected {expected}, found {found}")
            }
            ErrorKind::Substrate(problem) => write!(f, "substrate: {problem}"),
            ErrorKind::CodeCache { directory, problem } => {
                write!(f, "code cache {}: {problem}", directory.display())
            }
            ErrorKind::Panicked => {
                let whether = "the object's history says whether it was committed";
                write!(f, "a worker panicked on this input ({whether}): please report this bug")
            }
            ErrorKind::Closed => f.write_str("the database is closed"),
        }
    }
}

/// A part that a header names and the store does not have.
pub(crate) fn missing(what: &'static str, hash: impl fmt::Display) -> Error {
    ErrorKind::Missing { what, hash: hash.to_string() }.into()
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Module(error) | ErrorKind::Guard(error) => Some(error),
            ErrorKind::Object(error) => Some(error),
            ErrorKind::Storage(error) => Some(error),
            _ => None,
        }
    }
}
