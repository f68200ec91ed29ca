//! The one error of the command line: a kind for programs, a sentence for people, an exit code.
//!
//! It does not print. It holds the one table of which of the engine's errors ends in which code.
//!
//! Invariant: a message is one line and says what was expected, or what to do.

use std::fmt;
use std::io;
use std::path::Path;

use continuant::{Error, ErrorKind, object, storage};

/// The result of everything here that can fail.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit code of arguments that are not as they must be.
pub(crate) const USAGE: u8 = 2;
const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const DAMAGED: u8 = 4;
const MISSING: u8 = 5;
const BROKEN: u8 = 6;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    exit_code: u8,
    message: String,
}

/// The kind of the failure to print, because whoever read has stopped.
const CLOSED_PIPE: &str = "closed-pipe";

impl Failure {
    /// Something that failed for a reason of its own.
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure { kind, exit_code: FAILED, message: message.into() }
    }

    /// Arguments that are not as they must be.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { kind: "usage", exit_code: USAGE, message: message.into() }
    }

    /// An object, version or database that is not there.
    pub(crate) fn missing(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure { kind, exit_code: MISSING, message: message.into() }
    }

    /// An input that would be refused.
    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure { kind: "refused", exit_code: REFUSED, message: message.into() }
    }

    /// An invariant that does not hold.
    pub(crate) fn broken(message: impl Into<String>) -> Failure {
        Failure { kind: "broken", exit_code: BROKEN, message: message.into() }
    }

    /// Something at rest that is damaged or does not verify.
    pub(crate) fn damaged(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure { kind, exit_code: DAMAGED, message: message.into() }
    }

    /// A file that could not be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new("io", format!("{doing} {}: {error}", path.display()))
    }

    /// Output that could not be printed.
    pub(crate) fn print(error: &io::Error) -> Failure {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        Failure::new(if closed { CLOSED_PIPE } else { "io" }, format!("writing output: {error}"))
    }

    /// The failure, with a word on what it is about in front.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Damage, when it is of something that the caller brought and that was never at rest here.
    pub(crate) fn not_ours(mut self) -> Failure {
        if self.exit_code == DAMAGED {
            self.exit_code = FAILED;
        }
        self
    }

    /// The same, when the work was done and durable before: nobody is to do it again.
    pub(crate) fn after_the_work(mut self) -> Failure {
        let message = &self.message;
        self.message = format!("what was to be done is done, but not all closed: {message}");
        self
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.kind == CLOSED_PIPE
    }

    /// What kind of failure it is, as JSON has it.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// What went wrong and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (kind, exit_code) = match error.kind() {
            ErrorKind::Refused { .. } => ("refused", REFUSED),
            ErrorKind::NotReadable { .. } => ("not-readable", REFUSED),
            ErrorKind::Module(_) => ("module", FAILED),
            ErrorKind::Guard(_) => ("guard", FAILED),
            ErrorKind::Object(error) => of_object(error.kind()),
            ErrorKind::Storage(error) => of_storage(error.kind()),
            ErrorKind::Missing { .. } => ("missing", DAMAGED),
            ErrorKind::NoObject => ("no-object", MISSING),
            ErrorKind::NoVersion { .. } => ("no-version", MISSING),
            ErrorKind::NoRefusal { .. } => ("no-refusal", MISSING),
            ErrorKind::Read(_) => ("io", FAILED),
            ErrorKind::Section { .. } => ("capsule", DAMAGED),
            ErrorKind::MailboxFull { .. } => ("mailbox-full", FAILED),
            ErrorKind::MessagesFull { .. } => ("messages-full", FAILED),
            ErrorKind::NotDue { .. } => ("not-due", FAILED),
            ErrorKind::NotDurable => ("not-durable", FAILED),
            ErrorKind::LastPolicy => ("last-policy", FAILED),
            ErrorKind::Limit { .. } => ("limit", FAILED),
            ErrorKind::Twice => ("twice", USAGE),
            ErrorKind::SessionNotHeld { .. } => ("session", FAILED),
            ErrorKind::Replay { .. } => ("replay", DAMAGED),
            ErrorKind::CodeCache { .. } => ("code-cache", FAILED),
            ErrorKind::Closed => ("closed", FAILED),
            _ => ("substrate", FAILED),
        };
        // Libraries' words may run over several lines.
        let lines = error.to_string();
        let message = lines.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Failure { kind, exit_code, message }
    }
}

impl From<object::Error> for Failure {
    fn from(error: object::Error) -> Failure {
        Error::from(error).into()
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Failure {
        Error::from(error).into()
    }
}

fn of_object(kind: &object::ErrorKind) -> (&'static str, u8) {
    match kind {
        object::ErrorKind::Decode { .. } => ("damaged", DAMAGED),
        object::ErrorKind::State { .. } => ("state", DAMAGED),
        object::ErrorKind::Mismatch { .. } => ("mismatch", DAMAGED),
        object::ErrorKind::Credential(_) => ("credential", DAMAGED),
        object::ErrorKind::Schema(_) => ("schema", FAILED),
        object::ErrorKind::Policy(_) => ("policy", FAILED),
        object::ErrorKind::Value { .. } => ("value", USAGE),
        object::ErrorKind::Unknown { .. } => ("unknown", USAGE),
        _ => ("limit", FAILED),
    }
}

fn of_storage(kind: &storage::ErrorKind) -> (&'static str, u8) {
    match kind {
        storage::ErrorKind::Io { .. } => ("io", FAILED),
        storage::ErrorKind::Full => ("full", FAILED),
        storage::ErrorKind::Locked => ("locked", FAILED),
        storage::ErrorKind::ReadOnly => ("read-only", FAILED),
        storage::ErrorKind::Poisoned => ("poisoned", FAILED),
        storage::ErrorKind::NotADatabase => ("no-database", MISSING),
        storage::ErrorKind::NewerFormat { .. } => ("newer-format", FAILED),
        storage::ErrorKind::Damaged { .. } | storage::ErrorKind::IndexDamaged(_) => {
            ("damaged", DAMAGED)
        }
        storage::ErrorKind::Conflict { .. } => ("conflict", FAILED),
        storage::ErrorKind::Occupied => ("exists", FAILED),
        storage::ErrorKind::NotItsBackup { .. } => ("not-its-backup", FAILED),
        storage::ErrorKind::Pruned { .. } => ("pruned", MISSING),
        storage::ErrorKind::NotFound { .. } => ("not-found", MISSING),
        storage::ErrorKind::NameTaken { .. } => ("name-taken", FAILED),
        storage::ErrorKind::Capsule { .. } => ("capsule", DAMAGED),
        storage::ErrorKind::Object(error) => of_object(error.kind()),
        _ => ("storage", FAILED),
    }
}
