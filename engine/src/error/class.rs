//! The name of each kind of error, and the questions that callers ask of an error without a match.
//!
//! A kind is in at most one of these classes: refused, damaged, not found, an invalid argument. A
//! kind in none of them is a failure of the machine, a limit, or an invalid text.
//!
//! Invariant: a kind has one name, which does not change from one release to the next.

use crate::error::{Error, ErrorKind};

impl ErrorKind {
    /// Returns the kind's name, such as `no-object`; for an error of the store or of the object
    /// crate, that kind's, such as `locked`. A name does not change from one release to the next,
    /// and the command line prints it as `kind`.
    pub fn name(&self) -> &'static str {
        match self {
            ErrorKind::Object(error) => error.kind().name(),
            ErrorKind::Storage(error) => error.kind().name(),
            ErrorKind::Refused { .. } => "refused",
            ErrorKind::Module(_) => "module",
            ErrorKind::Guard(_) => "guard",
            ErrorKind::Missing { .. } => "missing",
            ErrorKind::NoObject => "no-object",
            ErrorKind::Moved => "moved",
            ErrorKind::Deleted { .. } => "deleted",
            ErrorKind::NoVersion { .. } => "no-version",
            ErrorKind::NoRefusal { .. } => "no-refusal",
            ErrorKind::Read(_) => "io",
            ErrorKind::Section { .. } => "capsule",
            ErrorKind::MailboxFull { .. } => "mailbox-full",
            ErrorKind::MessagesFull { .. } => "messages-full",
            ErrorKind::NotDue { .. } => "not-due",
            ErrorKind::Ahead { .. } => "ahead",
            ErrorKind::NotReadable { .. } => "not-readable",
            ErrorKind::LastPolicy => "last-policy",
            ErrorKind::NotDurable => "not-durable",
            ErrorKind::NotSigned { .. } => "not-signed",
            ErrorKind::TwoCredentials { .. } => "two-credentials",
            ErrorKind::Twice => "twice",
            ErrorKind::SessionNotHeld { .. } => "session",
            ErrorKind::Limit { .. } => "limit",
            ErrorKind::Replay { .. } => "replay",
            ErrorKind::Substrate(_) => "substrate",
            ErrorKind::CodeCache { .. } => "code-cache",
            ErrorKind::Panicked => "panicked",
            ErrorKind::Closed => "closed",
        }
    }
}

impl Error {
    /// Returns whether the answer is no: a policy, or a rule that every object has, refuses the
    /// input or the read. Nothing is wrong with the database, and the same request would be refused
    /// again as long as nothing else changes. [`refusal`](Error::refusal) says why an input was
    /// refused.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind(), ErrorKind::Refused { .. } | ErrorKind::NotReadable { .. })
    }

    /// Returns whether bytes of the database, of a backup or of a capsule differ from those that
    /// were written, do not verify, or are gone. [`check`](crate::Database::check) reports the
    /// extent.
    pub fn is_damaged(&self) -> bool {
        match self.kind() {
            ErrorKind::Missing { .. } | ErrorKind::Section { .. } | ErrorKind::Replay { .. } => {
                true
            }
            ErrorKind::Object(error) => error.kind().is_damaged(),
            ErrorKind::Storage(error) => error.kind().is_damaged(),
            _ => false,
        }
    }

    /// Returns whether the requested thing is not there: a database, an object, a version, a
    /// refusal, an outbox, a message.
    pub fn is_not_found(&self) -> bool {
        match self.kind() {
            ErrorKind::NoObject | ErrorKind::NoVersion { .. } | ErrorKind::NoRefusal { .. } => true,
            ErrorKind::Storage(error) => error.kind().is_not_found(),
            _ => false,
        }
    }

    /// Returns whether an argument is wrong, so that the same request never works: a method or a
    /// field that the schema does not have, a value of another type, a name that no object can
    /// have, an object that is in a transaction twice, a credential too many or too few. A module,
    /// schema or policy that is not taken has a kind of its own.
    pub fn is_invalid_argument(&self) -> bool {
        match self.kind() {
            ErrorKind::Twice | ErrorKind::NotSigned { .. } | ErrorKind::TwoCredentials { .. } => {
                true
            }
            ErrorKind::Object(error) => error.kind().is_invalid_argument(),
            ErrorKind::Storage(error) => error.kind().is_invalid_argument(),
            _ => false,
        }
    }

    /// Returns whether the same request may succeed a little later, and has had no effect so far,
    /// so that repeating it does nothing twice. That is true where too much mail waits already,
    /// where the object is ahead of the clock or its wake is still to come, where the substrate,
    /// the process or the host had no room, where another process has the database, where the
    /// object changed during an import, and where a version is not durable yet.
    ///
    /// It is not true of a disk that failed, as the outcome of the input is then unknown: open the
    /// database again, and read the object.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::MailboxFull { .. }
            | ErrorKind::MessagesFull { .. }
            | ErrorKind::NotDue { wake: Some(_) }
            | ErrorKind::Ahead { .. }
            | ErrorKind::NotDurable
            | ErrorKind::Substrate(_) => true,
            ErrorKind::Storage(error) => matches!(
                error.kind(),
                storage::ErrorKind::NoResources { .. }
                    | storage::ErrorKind::Locked
                    | storage::ErrorKind::Conflict { .. }
            ),
            _ => false,
        }
    }

    /// Returns whether another process has the database open.
    pub fn is_locked(&self) -> bool {
        self.is_of_storage(&storage::ErrorKind::Locked)
    }

    /// Returns whether the disk of the database, or the quota on it, is full: free some room and
    /// open the database again. A mailbox that is full is [retryable](Error::is_retryable).
    pub fn is_full(&self) -> bool {
        self.is_of_storage(&storage::ErrorKind::Full)
    }

    fn is_of_storage(&self, kind: &storage::ErrorKind) -> bool {
        matches!(self.kind(), ErrorKind::Storage(error) if error.kind() == kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;
    use std::path::PathBuf;

    use object::hash::SessionId;
    use object::refusal::{Reason, Verdict};
    use object::time::Time;

    use super::*;
    use crate::instrument::{ModuleError, ModuleErrorKind};

    fn text() -> String {
        String::new()
    }

    fn verdict() -> Verdict {
        Verdict { reason: Reason::NotPermitted, rules: Vec::new(), detail: text() }
    }

    fn module() -> ModuleError {
        ModuleError::new(ModuleErrorKind::Invalid, "x", "y", "z")
    }

    fn storage(kind: storage::ErrorKind) -> ErrorKind {
        ErrorKind::Storage(kind.into())
    }

    /// Every kind, its name, and its classes: `r` refused, `d` damaged, `n` not found, `i` an
    /// invalid argument, `t` may be tried again, `l` locked, `f` full.
    fn table() -> Vec<(ErrorKind, &'static str, &'static str)> {
        use ErrorKind as Kind;
        use storage::ErrorKind as Stored;
        let value = || object::ErrorKind::Value { path: text(), expected: text(), found: text() };
        let conflict = Stored::Conflict { expected: text(), found: text() };
        let session = SessionId([1; 32]);
        vec![
            (Kind::Refused { verdict: verdict(), recorded: true }, "refused", "r"),
            (Kind::Module(module()), "module", ""),
            (Kind::Guard(module()), "guard", ""),
            (Kind::Missing { what: "code", hash: text() }, "missing", "d"),
            (Kind::NoObject, "no-object", "n"),
            (Kind::Moved, "moved", ""),
            (Kind::Deleted { at: Time::MIN }, "deleted", ""),
            (Kind::NoVersion { asked: text(), newest: 1 }, "no-version", "n"),
            (Kind::NoRefusal { asked: 1, count: 0 }, "no-refusal", "n"),
            (Kind::Read(text()), "io", ""),
            (Kind::Section { expected: text(), found: text() }, "capsule", "d"),
            (Kind::MailboxFull { max: 1 }, "mailbox-full", "t"),
            (Kind::MessagesFull { max: 1 }, "messages-full", "t"),
            (Kind::NotDue { wake: None }, "not-due", ""),
            (
                Kind::Ahead { by: std::time::Duration::MAX, max: std::time::Duration::ZERO },
                "ahead",
                "t",
            ),
            (Kind::NotReadable { field: text(), verdict: verdict() }, "not-readable", "r"),
            (Kind::LastPolicy, "last-policy", ""),
            (Kind::NotDurable, "not-durable", "t"),
            (Kind::NotSigned { what: "nonce" }, "not-signed", "i"),
            (Kind::TwoCredentials { other: "session" }, "two-credentials", "i"),
            (Kind::Twice, "twice", "i"),
            (Kind::SessionNotHeld { session }, "session", ""),
            (Kind::Limit { what: "x", max: 1, found: 2 }, "limit", ""),
            (Kind::Replay { what: "root", seq: 1, expected: text(), found: text() }, "replay", "d"),
            (Kind::Substrate(text()), "substrate", "t"),
            (Kind::CodeCache { directory: PathBuf::new(), problem: text() }, "code-cache", ""),
            (Kind::Panicked, "panicked", ""),
            (Kind::Closed, "closed", ""),
            (Kind::NotDue { wake: Some(object::time::Time::MIN) }, "not-due", "t"),
            (Kind::Object(value().into()), "value", "i"),
            (Kind::Object(object::ErrorKind::Credential(text()).into()), "credential", "d"),
            (storage(Stored::Object(value().into())), "value", "i"),
            (storage(Stored::MarkerLost { is_backup: true }), "no-marker", "d"),
            (storage(Stored::NotADatabase), "no-database", "n"),
            (storage(Stored::Name { found: text() }), "name", "i"),
            (storage(Stored::Locked), "locked", "tl"),
            (storage(Stored::Full), "full", "f"),
            (storage(Stored::NoResources { operation: "open" }), "no-resources", "t"),
            (storage(conflict), "conflict", "t"),
            (storage(Stored::Io { operation: "write" }), "io", ""),
            (storage(Stored::Poisoned), "poisoned", ""),
        ]
    }

    #[test]
    fn every_kind_has_its_name_and_says_what_to_do() {
        let table = table();
        for (kind, name, holds) in &table {
            let error = Error::from(kind.clone());
            assert_eq!(kind.name(), *name);
            assert_eq!(error.is_refused(), holds.contains('r'), "{name}");
            assert_eq!(error.is_damaged(), holds.contains('d'), "{name}");
            assert_eq!(error.is_not_found(), holds.contains('n'), "{name}");
            assert_eq!(error.is_invalid_argument(), holds.contains('i'), "{name}");
            assert_eq!(error.is_retryable(), holds.contains('t'), "{name}");
            assert_eq!(error.is_locked(), holds.contains('l'), "{name}");
            assert_eq!(error.is_full(), holds.contains('f'), "{name}");
        }
        let kinds: HashSet<_> = table.iter().map(|(kind, ..)| discriminant(kind)).collect();
        assert_eq!(kinds.len(), 30, "each kind is in the table; a new one comes to it");
    }
}
