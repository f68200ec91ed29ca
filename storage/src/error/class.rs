//! The name of each kind of error, and the few classes of kinds that callers treat alike.
//!
//! Invariant: a kind has one name, which does not change from one release to the next.

use crate::error::ErrorKind;

impl ErrorKind {
    /// Returns the kind's name, such as `locked`; for an error of the object crate, that kind's. It
    /// does not change from one release to the next, and the command line prints it as `kind`.
    pub fn name(&self) -> &'static str {
        match self {
            ErrorKind::Io { .. } => "io",
            ErrorKind::Full => "full",
            ErrorKind::NoResources { .. } => "no-resources",
            ErrorKind::Target { .. } => "target",
            ErrorKind::Stopped => "stopped",
            ErrorKind::Locked => "locked",
            ErrorKind::Removed => "removed",
            ErrorKind::ReadOnly => "read-only",
            ErrorKind::Poisoned => "poisoned",
            ErrorKind::Closed => "closed",
            ErrorKind::UncleanClose => "unclean-close",
            ErrorKind::NotADatabase => "no-database",
            ErrorKind::IsBackup => "backup",
            ErrorKind::Unfinished { .. } => "unfinished",
            ErrorKind::Occupied => "exists",
            ErrorKind::NotItsBackup { .. } => "not-its-backup",
            ErrorKind::OldFormat { .. } => "old-format",
            ErrorKind::NewerFormat { .. } => "newer-format",
            ErrorKind::Damaged { .. } => "damaged",
            ErrorKind::IndexDamaged(_) => "damaged",
            ErrorKind::LogBehind { .. } => "log-behind",
            ErrorKind::Lost(_) => "lost",
            ErrorKind::MarkerLost { .. } => "no-marker",
            ErrorKind::OtherDatabase { .. } => "other-database",
            ErrorKind::BackupCut { .. } => "backup-cut",
            ErrorKind::BackupBeyond { .. } => "backup-beyond",
            ErrorKind::TimesOutOfOrder(_) => "times-out-of-order",
            ErrorKind::NotABoundary { .. } => "no-boundary",
            ErrorKind::StatesPruned(_) => "no-state",
            ErrorKind::NothingThen { .. } => "nothing",
            ErrorKind::Conflict { .. } => "conflict",
            ErrorKind::Moved => "moved",
            ErrorKind::Deleted { .. } => "deleted",
            ErrorKind::HereAlready { .. } => "here-already",
            ErrorKind::Diverged { .. } => "diverged",
            ErrorKind::Pruned { .. } => "pruned",
            ErrorKind::NoState { .. } => "no-state",
            ErrorKind::NotFound { .. } => "not-found",
            ErrorKind::NameTaken { .. } => "name-taken",
            ErrorKind::Name { .. } => "name",
            ErrorKind::NameIsId { .. } => "name-is-id",
            ErrorKind::TooLarge { .. } => "limit",
            ErrorKind::Capsule { .. } => "capsule",
            ErrorKind::Object(error) => error.kind().name(),
        }
    }

    /// Returns whether bytes at rest, in a backup or in a capsule differ from those that were
    /// written, do not verify, or are gone.
    pub fn is_damaged(&self) -> bool {
        match self {
            ErrorKind::Damaged { .. }
            | ErrorKind::IndexDamaged(_)
            | ErrorKind::LogBehind { .. }
            | ErrorKind::Lost(_)
            | ErrorKind::MarkerLost { .. }
            | ErrorKind::Removed
            | ErrorKind::OtherDatabase { .. }
            | ErrorKind::BackupCut { .. }
            | ErrorKind::BackupBeyond { .. }
            | ErrorKind::StatesPruned(_)
            | ErrorKind::NoState { .. }
            | ErrorKind::Capsule { .. } => true,
            ErrorKind::Object(error) => error.kind().is_damaged(),
            _ => false,
        }
    }

    /// Returns whether the requested thing is not there: a database, a version that retention
    /// dropped, an outbox, a place in the log.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            ErrorKind::NotADatabase
                | ErrorKind::Unfinished { .. }
                | ErrorKind::NotABoundary { .. }
                | ErrorKind::NothingThen { .. }
                | ErrorKind::Pruned { .. }
                | ErrorKind::NotFound { .. }
        )
    }

    /// Returns whether an argument is wrong: a name that no object can have, a value of another
    /// type, or a name that the schema does not have.
    pub fn is_invalid_argument(&self) -> bool {
        match self {
            ErrorKind::Name { .. } => true,
            ErrorKind::Object(error) => error.kind().is_invalid_argument(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::ErrorKind as Kind;
    use super::*;
    use crate::error::disorder::Disorder;
    use crate::error::loss::{Loss, LossToken, Lost};
    use crate::error::position::Position;
    use crate::error::pruned::StatesPruned;
    use object::hash::ObjectId;
    use object::time::Time;

    /// Classes: `d` damaged, `n` not found, `i` an invalid argument.
    fn table() -> Vec<(ErrorKind, &'static str, &'static str)> {
        let (text, place, object) = (String::new, Position(0), ObjectId([0; 32]));
        let (token, objects) = (LossToken([0; 8]), Vec::new());
        let loss = Loss {
            expected: place,
            check: [0; 32],
            found: place,
            object_count: 0,
            gone_count: 0,
            version_count: 0,
            refusal_count: 0,
            is_counted: true,
        };
        let lost = Lost { loss, token, objects };
        let (later, later_time, end, end_time) = (place, Time::MIN, place, Time::MIN);
        let disorder = Disorder { until: Time::MIN, later, later_time, end, end_time };
        let pruned = StatesPruned { count: 0, objects: Vec::new(), earliest: None };
        let value = || object::ErrorKind::Value { path: text(), expected: text(), found: text() };
        let credential = object::ErrorKind::Credential(text());
        let schema = object::ErrorKind::Schema(Vec::new());
        let damaged = Kind::Damaged { file: text(), offset: 0, expected: text(), found: text() };
        vec![
            (Kind::Io { operation: "read" }, "io", ""),
            (Kind::Full, "full", ""),
            (Kind::NoResources { operation: "open" }, "no-resources", ""),
            (Kind::Target { operation: "write" }, "target", ""),
            (Kind::Stopped, "stopped", ""),
            (Kind::Locked, "locked", ""),
            (Kind::Removed, "removed", "d"),
            (Kind::ReadOnly, "read-only", ""),
            (Kind::Poisoned, "poisoned", ""),
            (Kind::Closed, "closed", ""),
            (Kind::UncleanClose, "unclean-close", ""),
            (Kind::NotADatabase, "no-database", "n"),
            (Kind::IsBackup, "backup", ""),
            (Kind::Unfinished { is_backup: true }, "unfinished", "n"),
            (Kind::Occupied, "exists", ""),
            (Kind::NotItsBackup { found: text() }, "not-its-backup", ""),
            (Kind::OldFormat { found: 1 }, "old-format", ""),
            (Kind::NewerFormat { found: 3, supported: 2 }, "newer-format", ""),
            (damaged, "damaged", "d"),
            (Kind::IndexDamaged(text()), "damaged", "d"),
            (Kind::LogBehind { covered: place, missing: place }, "log-behind", "d"),
            (Kind::Lost(Box::new(lost)), "lost", "d"),
            (Kind::MarkerLost { is_backup: true }, "no-marker", "d"),
            (Kind::OtherDatabase { file: text() }, "other-database", "d"),
            (Kind::BackupCut { found: place, expected: place }, "backup-cut", "d"),
            (Kind::BackupBeyond { found: place, recorded: place }, "backup-beyond", "d"),
            (Kind::TimesOutOfOrder(Box::new(disorder)), "times-out-of-order", ""),
            (Kind::NotABoundary { found: place, before: place, behind: None }, "no-boundary", "n"),
            (Kind::StatesPruned(Box::new(pruned)), "no-state", "d"),
            (Kind::NothingThen { first: None }, "nothing", "n"),
            (Kind::Conflict { expected: text(), found: text() }, "conflict", ""),
            (Kind::Moved, "moved", ""),
            (Kind::Deleted { at: Time::MIN }, "deleted", ""),
            (Kind::HereAlready { seq: 1, found: 1, moved: false }, "here-already", ""),
            (Kind::Diverged { seq: 1, here: text(), there: text() }, "diverged", ""),
            (Kind::Pruned { seq: 0, kept_from: 1 }, "pruned", "n"),
            (Kind::NoState { seq: 0, kept_from: 1 }, "no-state", "d"),
            (Kind::NotFound { what: "outbox", name: text() }, "not-found", "n"),
            (Kind::NameTaken { name: text(), object }, "name-taken", ""),
            (Kind::Name { found: text() }, "name", "i"),
            (Kind::NameIsId { name: text(), other: None }, "name-is-id", ""),
            (Kind::TooLarge { found: 2, max: 1 }, "limit", ""),
            (Kind::Capsule { offset: 0, expected: text(), found: text() }, "capsule", "d"),
            (Kind::Object(value().into()), "value", "i"),
            (Kind::Object(credential.into()), "credential", "d"),
            (Kind::Object(schema.into()), "schema", ""),
        ]
    }

    #[test]
    fn every_kind_has_its_name_and_class() {
        let table = table();
        for (kind, name, class) in &table {
            assert_eq!(kind.name(), *name);
            assert_eq!(kind.is_damaged(), *class == "d", "{name}");
            assert_eq!(kind.is_not_found(), *class == "n", "{name}");
            assert_eq!(kind.is_invalid_argument(), *class == "i", "{name}");
        }
        let kinds: HashSet<_> = table.iter().map(|(kind, ..)| discriminant(kind)).collect();
        assert_eq!(kinds.len(), 44, "each kind is in the table; a new one comes to it");
    }
}
