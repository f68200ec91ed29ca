//! The database that a command works on, and its objects by name.
//!
//! This module does not know the commands. Own cycles do not run by themselves while a command has
//! the database open: reading an object never changes it.
//!
//! Invariant: an opened database is closed in order, whatever the outcome of the work. Work that
//! succeeded is durable before, so a failure to close is a warning behind it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use continuant::object::limits::BATCH_INPUTS_MAX;
use continuant::storage::{self, AcceptedLoss, ID_DIGITS_MIN, RecordedLoss, Repaired, Resolved};
use continuant::{CodeHash, Database, Error, ErrorKind, ObjectId, Options};

use crate::failure::{Failure, Result};
use crate::{aside, progress, stop};

/// The database's directory by default.
const DEFAULT_DIRECTORY: &str = "continuant.db";
const DIRECTORY_VARIABLE: &str = "CONTINUANT_DB";
const CODE_CACHE_VARIABLE: &str = "CONTINUANT_CODE_CACHE";
/// The kind of the failure to close a database in which all is durable.
const UNCLEAN: &str = "unclean-close";
/// Objects that an ambiguous prefix is shown to fit.
const CANDIDATES_MAX: usize = 4;

/// The database of a command, and the way to open it.
#[derive(Debug)]
pub(crate) struct Target {
    given: Option<PathBuf>,
    lock_wait: Duration,
    /// True if requests to objects ahead of the clock are accepted.
    ahead: bool,
}

impl Target {
    /// Returns the target of a command. `given` is the directory on its command line, if any;
    /// `lock_wait` is how long to wait for another process that has the database open; `ahead`
    /// accepts requests to objects that are ahead of the clock.
    pub(crate) fn new(given: Option<PathBuf>, lock_wait: Duration, ahead: bool) -> Target {
        Target { given, lock_wait, ahead }
    }

    /// The directory that was given on the command line.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }

    /// The database's directory.
    pub(crate) fn directory(&self) -> PathBuf {
        let variable = || std::env::var_os(DIRECTORY_VARIABLE).filter(|value| !value.is_empty());
        let given = self.given.clone().or_else(|| variable().map(PathBuf::from));
        given.unwrap_or_else(|| DEFAULT_DIRECTORY.into())
    }

    /// Returns how long to wait for another process that has a database open.
    pub(crate) fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// Reads the database, which must be there, and changes nothing: neither the right to write nor
    /// room on the disk is needed, and others may read it too.
    pub(crate) fn reading<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.with_storage(storage::Options::new().read_only(true), work)
    }

    /// Works on the database, which must be there.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.with_storage(storage::Options::new().existing(true), work)
    }

    /// Works on the database, which is made if it is missing.
    pub(crate) fn with_new<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.with_storage(storage::Options::new(), work)
    }

    /// Returns the database's directory, if it is empty or missing: a command that makes a database
    /// there reports it.
    pub(crate) fn to_be_made(&self) -> Option<PathBuf> {
        let directory = self.directory();
        require_new(&directory).is_ok().then_some(directory)
    }

    /// Makes the index of the database, which must be there, anew; `accepting` a loss or not. A
    /// signal stops it while it only reads.
    pub(crate) fn repair(
        &self,
        accepting: Option<AcceptedLoss>,
    ) -> Result<Repaired, storage::Error> {
        let options = storage::Options::new().lock_wait(self.lock_wait);
        let mut under_way = None;
        let repaired = options.repair(self.directory(), accepting, |done, all| {
            // Only now: a signal ends it at once while it waits for another process.
            let begin = || (stop::orderly(), progress::bytes("repairing", all));
            let (_, bar) = under_way.get_or_insert_with(begin);
            progress::follow(bar)(done, all);
            progress::unless_asked()
        });
        if let Some((_, bar)) = &under_way {
            bar.finish_and_clear();
        }
        repaired
    }

    /// Adds to a failure to open the database what to do about it.
    pub(crate) fn explained(&self, failure: Failure) -> Failure {
        self.explain(failure, &self.directory())
    }

    /// Works on the database, opened with these storage options.
    pub(crate) fn with_storage<T>(
        &self,
        storage: storage::Options,
        work: impl FnOnce(&Database) -> Result<T>,
    ) -> Result<T> {
        let directory = self.directory();
        let options = || {
            // A command waits for all that it posts.
            let options = Options::new().cycles(false).mailbox_max(BATCH_INPUTS_MAX);
            let options = options.storage(storage.clone().lock_wait(self.lock_wait));
            if self.ahead { options.clock_ahead_max(Duration::MAX) } else { options }
        };
        let opened = open_cached(options, &directory).map_err(Failure::from);
        let db = opened.map_err(|failure| self.explain(failure, &directory))?;
        let done = work(&db);
        let Err(closing) = close(db) else { return done };
        match &done {
            Ok(_) if closing.kind() == "removed" => return Err(closing),
            // The work is durable: nobody is to ask for it again.
            Ok(_) => {
                let message = closing.message();
                aside::warn(
                    closing.kind(),
                    &format!("it is done, and durable; closing: {message}"),
                );
            }
            Err(failure) => {
                // The work's failure is mostly also the reason why closing failed.
                let is_same = [failure.kind(), "poisoned"].contains(&closing.kind());
                let is_told = closing.kind() == UNCLEAN
                    && ["full", "io", "poisoned"].contains(&failure.kind());
                if !is_same && !is_told {
                    aside::warn(closing.kind(), closing.message());
                }
            }
        }
        done
    }

    /// Adds a remedy to the failure to open a database.
    pub(crate) fn explain(&self, failure: Failure, directory: &Path) -> Failure {
        let place = directory.display();
        match failure.kind() {
            "no-database" => {
                let ways = match require_new(directory) {
                    Ok(()) => {
                        "`continuant init` makes one, and --db or CONTINUANT_DB names another \
                         directory"
                    }
                    Err(_) => "it is not empty: --db or CONTINUANT_DB names another directory",
                };
                Failure::missing("no-database", format!("{place} is not a database: {ways}"))
            }
            "backup" => {
                let way = "`continuant restore` makes a database from it, and the next `backup` \
                           into it mends it";
                Failure::new("backup", format!("{place} is a backup: {way}"))
            }
            "locked" => self.waited(failure),
            _ => failure,
        }
    }

    /// Adds to the failure that a directory is locked how long the command waited for it.
    pub(crate) fn waited(&self, failure: Failure) -> Failure {
        if failure.kind() != "locked" {
            return failure;
        }
        let waited = self.lock_wait.as_secs_f64();
        let ways = format!("waited {waited} s: --wait SPAN waits longer");
        Failure::new("locked", format!("{}; {ways}", failure.message()))
    }
}

/// Closes a database.
fn close(db: Database) -> Result<()> {
    let closing = progress::busy("closing");
    let closed = db.close();
    drop(closing);
    Ok(closed?)
}

/// Closes a database; that its index could not be written is a warning.
pub(crate) fn close_durably(db: Database) -> Result<()> {
    match close(db) {
        Err(failure) if failure.kind() == UNCLEAN => {
            aside::warn(failure.kind(), failure.message());
            Ok(())
        }
        closed => closed,
    }
}

/// Opens the database with the named code cache, or else with the user's own, if it can be used;
/// warns if a named one cannot be used.
fn open_cached(options: impl Fn() -> Options, directory: &Path) -> Result<Database, Error> {
    let named = std::env::var_os(CODE_CACHE_VARIABLE).map(PathBuf::from);
    if named.as_ref().is_some_and(|named| named.as_os_str().is_empty()) {
        return options().open(directory);
    }
    let is_named = named.is_some();
    let Some(cache) = named.or_else(own_code_cache) else { return options().open(directory) };
    match options().code_cache(cache).open(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::CodeCache { .. }) => {
            // Without one, modules are compiled each time, and that is all.
            if is_named {
                let other = format!("set {CODE_CACHE_VARIABLE} to another directory");
                let way = format!("{other}, or to nothing for no cache");
                let message = format!("{error}; modules are compiled without a cache: {way}");
                aside::warn("code-cache", &message);
            }
            options().open(directory)
        }
        opened => opened,
    }
}

/// Returns the folder of the user's caches.
fn own_code_cache() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("continuant").join("code"))
}

/// Prints on stderr the accepted losses of the database, so that they are not missed. A failure to
/// print is ignored, as nobody could be told.
pub(crate) fn mention_losses(db: &Database) {
    for loss in db.losses() {
        let line = loss_line(&loss);
        drop(writeln!(std::io::stderr().lock(), "note: this database has lost {line}"));
    }
}

/// A loss on record, in words.
pub(crate) fn loss_line(recorded: &RecordedLoss) -> String {
    format!("{}: {}", recorded.time, recorded.loss)
}

/// Checks that a directory is free for a new database: missing or empty, but for what a new file
/// system has.
pub(crate) fn require_new(directory: &Path) -> Result<()> {
    let is_of_system = |file: &std::io::Result<std::fs::DirEntry>| {
        file.as_ref().is_ok_and(|file| file.file_name() == "lost+found")
    };
    if std::fs::read_dir(directory).map_or(true, |mut files| files.all(|file| is_of_system(&file)))
    {
        return Ok(());
    }
    let message = "is not empty: name a new directory with --db";
    Err(Failure::new("exists", format!("{} {message}", directory.display())))
}

/// Finds the object with that id; else the one of that name, or the only one whose id begins so.
pub(crate) fn find(db: &Database, name: &str) -> Result<ObjectId> {
    match db.resolve(name)? {
        Resolved::Object(id) => Ok(id),
        Resolved::Nothing => Err(no_object(name)),
        Resolved::Doubtful { named, beginning } => Err(doubtful(name, named, &beginning)),
    }
}

/// Finds the code with this hash, or the only one here whose hash begins so.
pub(crate) fn find_code(db: &Database, digits: &str) -> Result<CodeHash> {
    if let Ok(code) = digits.parse() {
        return Ok(code);
    }
    let is_prefix = (1..64).contains(&digits.len());
    if !is_prefix || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let expected = "expected the hexadecimal digits of a code's hash, or the first of them";
        return Err(Failure::usage(format!("{expected}, found {digits:?}")));
    }
    let fitting = db.codes(digits, CANDIDATES_MAX + 1)?;
    assert!(fitting.len() <= CANDIDATES_MAX + 1, "no more are found than were asked for");
    match fitting[..] {
        [] => {
            let ways = "`continuant list --json` and `continuant show` print the hashes";
            Err(Failure::missing("no-code", format!("no object has the code {digits:?}: {ways}")))
        }
        [code] => Ok(code),
        _ => {
            let shown = fitting.iter().take(CANDIDATES_MAX);
            let shown = shown.map(|code| code.to_string()[..16].to_string());
            let shown = shown.collect::<Vec<_>>().join(", ");
            let message = format!("{digits:?} begins the hash of several codes, {shown}");
            Err(Failure::usage(format!("{message}: give more digits")))
        }
    }
}

fn no_object(name: &str) -> Failure {
    let is_short = name.len() < ID_DIGITS_MIN && name.bytes().all(|it| it.is_ascii_hexdigit());
    let ways = "`continuant list` shows all names and ids";
    let few = if is_short { ", and the beginning of an id has at least four digits" } else { "" };
    Failure::missing("no-object", format!("no object {name:?}{few}: {ways}"))
}

fn doubtful(text: &str, named: Option<ObjectId>, beginning: &[ObjectId]) -> Failure {
    let shown = beginning.iter().take(CANDIDATES_MAX).map(ObjectId::to_string);
    let more = if beginning.len() > CANDIDATES_MAX { " and more" } else { "" };
    let shown = shown.collect::<Vec<_>>().join(", ");
    Failure::usage(match named {
        Some(id) => format!(
            "{text:?} is the name of {id} and also begins the id of {shown}{more}: give a whole id"
        ),
        None => {
            format!("{text:?} begins the id of several objects, {shown}{more}: give more digits")
        }
    })
}

/// Returns the first digits of an id, enough to distinguish objects by hand.
pub(crate) fn short(id: &ObjectId) -> String {
    const DIGITS: usize = 16;
    id.to_string()[..DIGITS].to_string()
}
