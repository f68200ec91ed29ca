//! The error of this crate: a kind that says what is wrong or what to do, and where.
//!
//! This module does not know how callers recover; they decide by the kind.
//!
//! Invariant: a message names the place, the expected and the found.

mod class;
pub(crate) mod disorder;
pub(crate) mod loss;
pub(crate) mod position;
pub(crate) mod pruned;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object::hash::ObjectId;
use object::time::Time;
use rustix::io::Errno;

use crate::error::disorder::Disorder;
use crate::error::loss::{LossToken, Lost};
use crate::error::position::Position;
use crate::error::pruned::StatesPruned;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the store: its kind, and the place.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    path: Option<PathBuf>,
    object: Option<ObjectId>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file system failed to do `operation`.
    Io {
        /// The operation, such as `write`.
        operation: &'static str,
    },
    /// The device or the quota is full; free space and reopen. Until then the database can be
    /// [opened for reading](crate::Options::read_only), backed up and exported to another disk.
    Full,
    /// This process, or the host, has no resources for `operation`: too many files are open, or
    /// there is no memory. The disk did not fail: a store that only reads continues, and may be
    /// tried again.
    NoResources {
        /// The operation, such as `open`.
        operation: &'static str,
    },
    /// The target of a capsule, a backup or a restore has no room, or refused the data: the
    /// database is unchanged.
    Target {
        /// The operation, such as `write the capsule`.
        operation: &'static str,
    },
    /// The work was stopped in order, as its callback of progress said.
    Stopped,
    /// Another process has the database open, or waits to write to it. The error's
    /// [`source`](std::error::Error::source) is a [`LockHolder`](crate::disk::LockHolder) where the
    /// system reports which.
    Locked,
    /// The database's files were moved, removed, or others put in their place, while it was open:
    /// what was written may be gone.
    Removed,
    /// The database was opened for reading alone.
    ReadOnly,
    /// An earlier write or sync failed: nothing is acknowledged any more until the store is
    /// reopened.
    Poisoned,
    /// The store was closed.
    Closed,
    /// All that was appended is durable, but the store was not closed cleanly: the index, which is
    /// a cache, was not written, or the unused end of the log not cut off. The next opening reads
    /// the log instead. The error's [`source`](std::error::Error::source) is the cause.
    UncleanClose,
    /// The directory is not a database, or there is none where one is asked for.
    NotADatabase,
    /// The directory is a backup, which is read, restored and brought up to date, and not written
    /// to: nothing would continue it any more.
    IsBackup,
    /// The directory has an unfinished backup, restore or creation of a database: repeat the
    /// operation to continue it.
    Unfinished {
        /// True if it is an unfinished backup.
        is_backup: bool,
    },
    /// The directory has something in it; name one that is missing or empty.
    Occupied,
    /// The directory is no earlier backup of this database; back up into one that is missing or
    /// empty.
    NotItsBackup {
        /// The sign of it.
        found: String,
    },
    /// The database, backup or capsule is of a format from before the first release, which nothing
    /// reads any more.
    OldFormat {
        /// The format that it is of.
        found: u32,
    },
    /// The database was written by a newer version of this program.
    NewerFormat {
        /// The format of the database.
        found: u32,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// Bytes at rest differ from those that were written.
    Damaged {
        /// The file's name in the database's directory.
        file: String,
        /// The offset in the file.
        offset: u64,
        /// The expected bytes.
        expected: String,
        /// The found bytes.
        found: String,
    },
    /// The index cannot be used: check with repair, or rebuild it from the log.
    IndexDamaged(String),
    /// The log ends before the place up to which the index knows that it was durable: its end, or
    /// all of it, is missing or older than the index.
    LogBehind {
        /// The end of the log that the index covered, when it was written or later.
        covered: Position,
        /// The place where the log's frames are missing.
        missing: Position,
    },
    /// A repair would lose acknowledged changes; nothing was changed.
    Lost(Box<Lost>),
    /// The directory has a log and no marker: check with repair makes it again, or, of a backup,
    /// the next backup into it.
    MarkerLost {
        /// True if it is a backup.
        is_backup: bool,
    },
    /// A file is whole, and of another database.
    OtherDatabase {
        /// The file's name in the database's directory.
        file: String,
    },
    /// A backup ends before the end that it had.
    BackupCut {
        /// The place where its frames end.
        found: Position,
        /// The place where they ended when the backup was made.
        expected: Position,
    },
    /// A backup has frames behind its recorded end, as when an older record of its end was put
    /// back: nothing confirms that these are all.
    BackupBeyond {
        /// The end of the part to be restored.
        found: Position,
        /// The end that is on record.
        recorded: Position,
    },
    /// The order of the log is not that of its times, so a time names no place in it: later frames
    /// stand before some that are not later, as after a clock that went back, or was ahead.
    TimesOutOfOrder(Box<Disorder>),
    /// No frame of the log starts or ends at the place.
    NotABoundary {
        /// The place.
        found: Position,
        /// The last place before where one does.
        before: Position,
        /// The first place behind, if the log is that long.
        behind: Option<Position>,
    },
    /// Retention has dropped the state that objects had then.
    StatesPruned(Box<StatesPruned>),
    /// Nothing would be restored: no object existed so early.
    NothingThen {
        /// The time of the first change, if there is one.
        first: Option<Time>,
    },
    /// The object's head or its refusals are not the ones that the append follows.
    Conflict {
        /// The head that the append follows.
        expected: String,
        /// The present head.
        found: String,
    },
    /// The object was moved away: it ended here until it comes back.
    Moved,
    /// The object was deleted: nothing follows.
    Deleted {
        /// The time of its last version, the deletion.
        at: Time,
    },
    /// The object is here already, and the capsule has no more of it.
    HereAlready {
        /// The newest version here.
        seq: u64,
        /// The newest version in the capsule.
        found: u64,
        /// True if the object was moved away.
        moved: bool,
    },
    /// The object's lineage here and that in the capsule differ.
    Diverged {
        /// The first version that is not the same, or that refusals behind are not.
        seq: u64,
        /// The lineage here.
        here: String,
        /// The lineage in the capsule.
        there: String,
    },
    /// Retention dropped the data of the version; its header is still there.
    Pruned {
        /// The version.
        seq: u64,
        /// The first version that was kept.
        kept_from: u64,
    },
    /// The newest version of an object cannot be read: retention dropped its data when there were
    /// newer ones, which are missing here.
    NoState {
        /// The version's number.
        seq: u64,
        /// The first version that was kept.
        kept_from: u64,
    },
    /// There is no such thing.
    NotFound {
        /// The kind of the thing looked up, such as `object`.
        what: &'static str,
        /// The name or hash.
        name: String,
    },
    /// The name is bound already, or the object has another one.
    NameTaken {
        /// The name.
        name: String,
        /// The object that has it.
        object: ObjectId,
    },
    /// A name that no object can have.
    Name {
        /// The name.
        found: String,
    },
    /// A name that is an id, or the beginning of another object's id: it would be read as that.
    NameIsId {
        /// The name.
        name: String,
        /// The object whose id begins with it, if there is one.
        other: Option<ObjectId>,
    },
    /// A frame would be larger than the format allows.
    TooLarge {
        /// Bytes that were to be written.
        found: u64,
        /// The most that a frame holds.
        max: u64,
    },
    /// A capsule that is cut, changed, or not a capsule.
    Capsule {
        /// The offset in the capsule.
        offset: u64,
        /// The expected content.
        expected: String,
        /// The found content.
        found: String,
    },
    /// Bytes of an object that do not decode or verify.
    Object(object::Error),
}

impl Error {
    /// Returns the kind of failure.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns whether another error is of the same kind, at the same place.
    pub(crate) fn is_same(&self, other: &Error) -> bool {
        self.kind() == other.kind() && self.path() == other.path()
    }

    /// Returns whether the file system failed: after that nothing is acknowledged.
    pub(crate) fn is_of_file_system(&self) -> bool {
        matches!(self.kind(), ErrorKind::Io { .. } | ErrorKind::Full)
    }

    /// Returns whether too many files are open, here or on the host: with fewer the operation can
    /// be tried again.
    pub(crate) fn is_of_open_files(&self) -> bool {
        let source = self.0.source.as_ref().and_then(|it| it.downcast_ref::<io::Error>());
        let errno = source.and_then(io::Error::raw_os_error).map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE))
    }

    /// Returns whether a file has other bytes than it should, and the file system did not fail.
    pub(crate) fn is_of_bytes(&self) -> bool {
        matches!(self.kind(), ErrorKind::Damaged { .. } | ErrorKind::OtherDatabase { .. })
    }

    /// Returns whether a file is of another format.
    pub(crate) fn is_of_format(&self) -> bool {
        matches!(self.kind(), ErrorKind::OldFormat { .. } | ErrorKind::NewerFormat { .. })
    }

    /// Returns whether the host, or a limit of this process, had no resources: no disk failed.
    pub(crate) fn is_of_resources(&self) -> bool {
        matches!(self.kind(), ErrorKind::NoResources { .. })
    }

    /// The file or directory concerned, where one is known.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The object concerned, where one is known.
    pub fn object(&self) -> Option<ObjectId> {
        self.0.object
    }

    pub(crate) fn at(mut self, path: impl Into<PathBuf>) -> Error {
        self.0.path.get_or_insert(path.into());
        self
    }

    pub(crate) fn of(mut self, object: ObjectId) -> Error {
        self.0.object.get_or_insert(object);
        self
    }

    pub(crate) fn because(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn io(operation: &'static str, source: io::Error) -> Error {
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)) {
            return Error::from(ErrorKind::NoResources { operation }).because(source);
        }
        let kind = if is_full(&source) { ErrorKind::Full } else { ErrorKind::Io { operation } };
        Error::from(kind).because(source)
    }

    /// The same, of work that writes elsewhere and only reads the database: a disk that is full is
    /// the other one.
    pub(crate) fn of_target(mut self) -> Error {
        if *self.kind() == ErrorKind::Full {
            self.0.kind = ErrorKind::Target { operation: "write" };
        }
        self
    }

    pub(crate) fn damaged(
        file: impl fmt::Display,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        let (file, expected, found) = (file.to_string(), expected.to_string(), found.to_string());
        ErrorKind::Damaged { file, offset, expected, found }.into()
    }

    /// Validates the format that `file` says at `offset` that it has. Format 1 is from before the
    /// first release.
    pub(crate) fn validate_format(
        file: impl fmt::Display,
        offset: u64,
        (found, supported): (u32, u32),
    ) -> Result<()> {
        match found {
            _ if found == supported => Ok(()),
            1 => Err(ErrorKind::OldFormat { found }.into()),
            _ if found > supported => Err(ErrorKind::NewerFormat { found, supported }.into()),
            _ => Err(Error::damaged(file, offset, format!("format {supported}"), found)),
        }
    }

    pub(crate) fn capsule(
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        let (expected, found) = (expected.to_string(), found.to_string());
        ErrorKind::Capsule { offset, expected, found }.into()
    }

    pub(crate) fn conflict(expected: impl fmt::Display, found: impl fmt::Display) -> Error {
        let (expected, found) = (expected.to_string(), found.to_string());
        ErrorKind::Conflict { expected, found }.into()
    }

    pub(crate) fn not_found(what: &'static str, name: impl fmt::Display) -> Error {
        ErrorKind::NotFound { what, name: name.to_string() }.into()
    }
}

impl FromStr for Position {
    type Err = Error;

    /// Reads the form that [`Display`](std::fmt::Display) writes.
    fn from_str(text: &str) -> Result<Position> {
        let numbers = text.split_once(':');
        let position = numbers.and_then(|(segment, offset)| {
            Some(Position::new(segment.parse().ok()?, offset.parse().ok()?))
        });
        let position = position.filter(|position| position.to_string() == text);
        position.ok_or_else(|| Error::not_found("place in a log", text))
    }
}

impl FromStr for LossToken {
    type Err = Error;

    /// Reads the form that [`Display`](std::fmt::Display) writes.
    fn from_str(text: &str) -> Result<LossToken> {
        let number = u64::from_str_radix(text, 16).ok();
        let token = number.map(|number| LossToken(number.to_be_bytes()));
        let token = token.filter(|token| token.to_string() == text);
        token.ok_or_else(|| Error::not_found("loss with the token", text))
    }
}

/// Returns whether a disk, or the quota on it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error(Box::new(Inner { kind, path: None, object: None, source: None }))
    }
}

impl From<object::Error> for Error {
    fn from(error: object::Error) -> Error {
        ErrorKind::Object(error.clone()).into()
    }
}

/// Returns how a marker that is lost or damaged is made again.
pub(crate) fn marker_remedy(is_backup: bool) -> &'static str {
    match is_backup {
        true => "`backup` into it makes it again, and `restore` does without",
        false => "`check --repair` makes it again",
    }
}

const MOVED: &str = "it was moved to another database and takes no more inputs here: import a \
                     later capsule of it, or take it back";

impl ErrorKind {
    /// Prints a failure that keeps a store from doing anything.
    fn fmt_failed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Io { operation } => write!(f, "{operation} failed"),
            ErrorKind::NoResources { operation } => {
                let remedy = "raise the limit (`ulimit -n`, `ulimit -v`) or close other files";
                write!(f, "{operation}: too many open files, or no memory: {remedy}")
            }
            ErrorKind::Full => {
                let read = "until then it can be read, exported and backed up to another disk";
                let ways = "compaction frees what neither retention nor an outbox keeps";
                write!(f, "no space left: free some and reopen the database ({ways}; {read})")
            }
            ErrorKind::Target { operation } => write!(f, "{operation} failed"),
            ErrorKind::Stopped => f.write_str("stopped in order, as requested"),
            ErrorKind::Locked => {
                f.write_str("another process has the database open, or waits to write to it")
            }
            ErrorKind::Removed => f.write_str(
                "the database is no longer at its path: it was moved, removed or replaced while \
                 it was open",
            ),
            ErrorKind::ReadOnly => {
                f.write_str("the database was opened for reading: open it for writing to change it")
            }
            ErrorKind::Poisoned => {
                f.write_str("an earlier write failed: reopen the database to go on")
            }
            ErrorKind::Closed => f.write_str("the database was closed"),
            ErrorKind::UncleanClose => f.write_str(
                "all is durable, but the index, which the next opening makes up from the log, \
                 could not be written",
            ),
            _ => Ok(()),
        }
    }

    fn fmt_format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::OldFormat { found } => write!(
                f,
                "written in format {found}, before the first release, which nothing reads any \
                 more: make it anew"
            ),
            ErrorKind::NewerFormat { found, supported } => {
                write!(f, "format {found} is newer than {supported}, the newest known here")
            }
            _ => Ok(()),
        }
    }

    /// Prints a failure about a backup, or about a restore from one.
    fn fmt_backup(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::IsBackup => f.write_str("it is a backup: restore a database from it"),
            ErrorKind::Occupied => {
                f.write_str("the directory is not empty: name one that is missing or empty")
            }
            ErrorKind::Unfinished { is_backup: true } => {
                f.write_str("it is an unfinished backup: back up into it again")
            }
            ErrorKind::Unfinished { is_backup: false } => f.write_str(
                "not a database yet: its creation or its restore was cut short; run that again",
            ),
            ErrorKind::NotItsBackup { found } => {
                let remedy = "back up into a directory that is missing or empty";
                write!(f, "not an earlier backup of this database ({found}): {remedy}")
            }
            ErrorKind::BackupCut { found, expected } => {
                write!(f, "the backup was cut: it ends at {found}, and once ended at {expected}")
            }
            ErrorKind::BackupBeyond { found, recorded } => write!(
                f,
                "the backup continues to {found}, behind its recorded end, {recorded}: nothing \
                 confirms the frames behind the recorded end"
            ),
            ErrorKind::TimesOutOfOrder(disorder) => write!(f, "{disorder}"),
            ErrorKind::NotABoundary { found, before, behind } => {
                write!(f, "no frame starts or ends at {found}, but at {before}")?;
                behind.map_or(Ok(()), |behind| write!(f, " and, behind it, at {behind}"))
            }
            ErrorKind::StatesPruned(pruned) => write!(f, "{pruned}"),
            ErrorKind::NothingThen { first: Some(first) } => {
                write!(f, "nothing to restore: the backup's first change is of {first}")
            }
            ErrorKind::NothingThen { first: None } => f.write_str("the backup has no object"),
            _ => Ok(()),
        }
    }

    /// Prints a failure about something missing or changed.
    fn fmt_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Damaged { file, offset, expected, found } => {
                write!(
                    f,
                    "{file} is damaged at offset {offset}: expected {expected}, found {found}"
                )
            }
            ErrorKind::IndexDamaged(problem) => {
                write!(f, "the index is damaged ({problem}): run check --repair to rebuild it")
            }
            ErrorKind::LogBehind { covered, missing } => {
                let remedy = "put the missing files of the log back, or restore a backup; `check \
                              --repair` says what would be lost without them";
                write!(
                    f,
                    "the log is older than its index, or was cut: it has nothing at {missing}, and \
                     the index covers it up to {covered}: {remedy}"
                )
            }
            ErrorKind::Lost(lost) => write!(f, "{lost}"),
            ErrorKind::MarkerLost { is_backup } => {
                let remedy = marker_remedy(*is_backup);
                write!(f, "the marker file is missing beside the log: {remedy}")
            }
            ErrorKind::OtherDatabase { file } => {
                write!(f, "{file} is a file of another database: put back the file of this one")
            }
            ErrorKind::NoState { seq, kept_from } => write!(
                f,
                "retention dropped the state of its newest version here, {seq}: it kept versions \
                 from {kept_from} on, and this database does not have those; restore to a later \
                 time, or import a capsule of a later version"
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Io { .. }
            | ErrorKind::NoResources { .. }
            | ErrorKind::Full
            | ErrorKind::Target { .. }
            | ErrorKind::Stopped
            | ErrorKind::Locked
            | ErrorKind::Removed
            | ErrorKind::ReadOnly
            | ErrorKind::Poisoned
            | ErrorKind::Closed
            | ErrorKind::UncleanClose => self.fmt_failed(f),
            ErrorKind::NotADatabase => f.write_str("not a database"),
            ErrorKind::Occupied
            | ErrorKind::IsBackup
            | ErrorKind::Unfinished { .. }
            | ErrorKind::NotItsBackup { .. }
            | ErrorKind::BackupCut { .. }
            | ErrorKind::BackupBeyond { .. }
            | ErrorKind::TimesOutOfOrder(_)
            | ErrorKind::NotABoundary { .. }
            | ErrorKind::StatesPruned(_)
            | ErrorKind::NothingThen { .. } => self.fmt_backup(f),
            ErrorKind::OldFormat { .. } | ErrorKind::NewerFormat { .. } => self.fmt_format(f),
            ErrorKind::Damaged { .. }
            | ErrorKind::IndexDamaged(_)
            | ErrorKind::LogBehind { .. }
            | ErrorKind::Lost(_)
            | ErrorKind::MarkerLost { .. }
            | ErrorKind::NoState { .. }
            | ErrorKind::OtherDatabase { .. } => self.fmt_missing(f),
            ErrorKind::Conflict { expected, found } => {
                write!(f, "the head moved: expected {expected}, found {found}")
            }
            ErrorKind::Moved => f.write_str(MOVED),
            ErrorKind::Deleted { at } => {
                write!(f, "the object was deleted at {at}: it can only be read")
            }
            ErrorKind::HereAlready { seq, found, moved } => here_already(f, *seq, *found, *moved),
            ErrorKind::Diverged { seq, here, there } => write!(
                f,
                "the object's history here and the capsule's differ from version {seq} on: here \
                 {here}, in the capsule {there}"
            ),
            ErrorKind::Pruned { seq, kept_from } => {
                write!(
                    f,
                    "version {seq} was dropped by retention: only {kept_from} and later are kept"
                )
            }
            ErrorKind::NotFound { what, name } => write!(f, "no {what} {name}"),
            ErrorKind::NameTaken { name, object } => {
                write!(f, "the name {name:?} is taken by {object}")
            }
            ErrorKind::Name { found } => {
                let rule = "1 to 256 bytes without control characters";
                write!(f, "no object can have the name {found:?}: a name is {rule}")
            }
            ErrorKind::NameIsId { name, other } => name_is_id(f, name, *other),
            ErrorKind::TooLarge { found, max } => {
                write!(f, "a frame of {found} bytes is larger than {max}")
            }
            ErrorKind::Capsule { offset, expected, found } => {
                write!(f, "capsule: at offset {offset} expected {expected}, found {found}")
            }
            ErrorKind::Object(error) => error.fmt(f),
        }
    }
}

fn name_is_id(f: &mut fmt::Formatter<'_>, name: &str, other: Option<ObjectId>) -> fmt::Result {
    let remedy = "choose one with a character that is not a hexadecimal digit";
    match other {
        Some(id) => write!(f, "no object can have the name {name:?}, which begins {id}: {remedy}"),
        None => write!(f, "no object can have the name {name:?}, which is an id: {remedy}"),
    }
}

fn here_already(f: &mut fmt::Formatter<'_>, seq: u64, found: u64, moved: bool) -> fmt::Result {
    match found < seq {
        true => write!(f, "the object is here already, newer: version {seq}, not {found}")?,
        false => write!(f, "the object is here already, with all that the capsule has of it")?,
    }
    match (moved, found < seq) {
        (false, _) => Ok(()),
        (true, true) => write!(
            f,
            "; it was moved away from here as version {seq}: import a later capsule of it, or take \
             it back if it continues nowhere else"
        ),
        (true, false) => write!(
            f,
            "; it was moved away from here as this version {seq}, and may have left in this \
             capsule or come back unchanged: take it back if it continues nowhere else"
        ),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(object) = &self.0.object {
            write!(f, "object {object}: ")?;
        }
        self.0.kind.fmt(f)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
