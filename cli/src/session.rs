//! The database that a command works on, and the objects in it by name.
//!
//! It does not know what commands do. Own cycles do not run by themselves while a command has the
//! database open: looking at an object never changes it.
//!
//! Invariant: a database that was opened is closed in order, whatever became of the work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use continuant::object::limits::BATCH_INPUTS_MAX;
use continuant::{Database, Error, ErrorKind, ObjectId, Options, storage};

use crate::failure::{Failure, Result};

/// Where the database is when nobody says.
const DEFAULT_DIRECTORY: &str = "continuant.db";
const DIRECTORY_VARIABLE: &str = "CONTINUANT_DB";
const CODE_CACHE_VARIABLE: &str = "CONTINUANT_CODE_CACHE";
/// Objects that an ambiguous prefix is shown to fit.
const CANDIDATES_MAX: usize = 4;

/// Which database.
#[derive(Debug)]
pub(crate) struct Session {
    given: Option<PathBuf>,
    lock_wait: Duration,
}

impl Session {
    /// The database in the directory that was given, if any was, and how long another process that
    /// has it open is waited for.
    pub(crate) fn new(given: Option<PathBuf>, lock_wait: Duration) -> Session {
        Session { given, lock_wait }
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

    /// How long another process that has a database open is waited for.
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

    /// The database's directory, if there is nothing in it yet: what makes one there says so.
    pub(crate) fn to_be_made(&self) -> Option<PathBuf> {
        let directory = self.directory();
        require_new(&directory).is_ok().then_some(directory)
    }

    /// Makes the index of the database, which must be there, anew.
    pub(crate) fn repair(&self) -> Result<()> {
        let directory = self.directory();
        let options = storage::Options::new().lock_wait(self.lock_wait);
        let repaired = options.rebuild_index(&directory).map_err(Failure::from);
        repaired.map_err(|failure| self.explain(failure, &directory))
    }

    /// Works on the database, as its storage is to be opened.
    pub(crate) fn with_storage<T>(
        &self,
        storage: storage::Options,
        work: impl FnOnce(&Database) -> Result<T>,
    ) -> Result<T> {
        let directory = self.directory();
        let options = || {
            // A command waits for all that it posts.
            let options = Options::new().cycles(false).mailbox_max(BATCH_INPUTS_MAX);
            options.storage(storage.clone().lock_wait(self.lock_wait))
        };
        let opened = open_cached(options, &directory).map_err(Failure::from);
        let db = opened.map_err(|failure| self.explain(failure, &directory))?;
        let done = work(&db)?;
        db.close().map_err(|error| Failure::from(error).after_the_work())?;
        Ok(done)
    }

    /// What to do about a database that could not be opened.
    pub(crate) fn explain(&self, failure: Failure, directory: &Path) -> Failure {
        let place = directory.display();
        match failure.kind() {
            "no-database" => {
                let ways = "`continuant init` makes one, --db or CONTINUANT_DB name another";
                Failure::missing("no-database", format!("{place} is not a database: {ways}"))
            }
            "locked" => {
                let waited = self.lock_wait.as_secs_f64();
                let ways = format!("waited {waited} s: --wait SPAN waits longer");
                Failure::new("locked", format!("{}; {ways}", failure.message()))
            }
            _ => failure,
        }
    }
}

/// Opens the database with the code cache that was named, or else with the user's own, if there is
/// one that can be used.
fn open_cached(options: impl Fn() -> Options, directory: &Path) -> Result<Database, Error> {
    match std::env::var_os(CODE_CACHE_VARIABLE) {
        Some(named) if named.is_empty() => return options().open(directory),
        Some(named) => return options().code_cache(named).open(directory),
        None => {}
    }
    let Some(own) = own_code_cache() else { return options().open(directory) };
    match options().code_cache(own).open(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::CodeCache { .. }) => {
            // Without one, the module is compiled each time, and that is all.
            options().open(directory)
        }
        opened => opened,
    }
}

/// Where a user's programs keep what can be made again.
fn own_code_cache() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("continuant").join("code"))
}

/// That a directory is free for a new database: missing or empty.
pub(crate) fn require_new(directory: &Path) -> Result<()> {
    if std::fs::read_dir(directory).map_or(true, |mut files| files.next().is_none()) {
        return Ok(());
    }
    let message = "is not empty: name a new directory with --db";
    Err(Failure::new("exists", format!("{} {message}", directory.display())))
}

/// The object of that name, or with that id, or the only one whose id starts so.
pub(crate) fn find(db: &Database, name: &str) -> Result<ObjectId> {
    if let Some(id) = db.find(name)? {
        return Ok(id);
    }
    if let Ok(id) = name.parse() {
        db.info(id)?;
        return Ok(id);
    }
    let fitting = starting_with(db, &name.to_ascii_lowercase())?;
    match fitting[..] {
        [] => Err(no_object(name)),
        [id] => Ok(id),
        _ => Err(ambiguous(name, &fitting)),
    }
}

/// The objects whose ids start with these digits, a few at most.
fn starting_with(db: &Database, digits: &str) -> Result<Vec<ObjectId>> {
    let mut fitting = Vec::new();
    // The ids that start so come right after the last that is below them all.
    let Ok(ObjectId(mut last)) = format!("{digits:0<64}").parse() else { return Ok(fitting) };
    if digits.is_empty() {
        return Ok(fitting);
    }
    let borrow = |byte: &mut u8| {
        *byte = byte.wrapping_sub(1);
        *byte < u8::MAX
    };
    let after = last.iter_mut().rev().any(borrow).then_some(ObjectId(last));
    for info in db.objects().after(after) {
        let id = info?.id;
        if !id.to_string().starts_with(digits) || fitting.len() > CANDIDATES_MAX {
            break;
        }
        fitting.push(id);
    }
    Ok(fitting)
}

fn no_object(name: &str) -> Failure {
    let ways = "`continuant list` shows the names and ids that there are";
    Failure::missing("no-object", format!("no object {name:?}: {ways}"))
}

fn ambiguous(name: &str, fitting: &[ObjectId]) -> Failure {
    let shown = fitting.iter().take(CANDIDATES_MAX).map(short).collect::<Vec<_>>();
    let more = if fitting.len() > shown.len() { " and more" } else { "" };
    let shown = shown.join(", ");
    Failure::usage(format!("{name:?} fits several objects, {shown}{more}: give more digits"))
}

/// The first digits of an id, enough to tell it from any other by hand.
pub(crate) fn short(id: &ObjectId) -> String {
    const DIGITS: usize = 16;
    id.to_string()[..DIGITS].to_string()
}
