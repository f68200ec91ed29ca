//! The directory of a database: its marker, its lock, and the names of its files.
//!
//! ```text
//! fleet/
//!   continuant.db    the marker: this is a database; its format and id; locked
//!   index.redb       the index, a cache of the log
//!   log/             00000001.log, 00000002.log, ...: the truth
//!   backup.witness   of a backup: its end and its content; nothing writes to one
//! ```
//!
//! This module does not know the content of the log or the index.
//!
//! The lock of the marker is shared by those that read. The directory itself is a gate before it: a
//! writer that waits for the lock holds the gate, which every reader has to pass, so that readers
//! that overlap do not keep the writer out.
//!
//! Invariant: a file gets its name only when its first bytes are durable, so a crash while one is
//! made leaves at most a file that ends in `.tmp`, which nobody reads unless a backup's witness
//! covers it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use object::codec::{Reader, Write};

use crate::disk::file::{Disk, DiskFile};
use crate::disk::nowhere::Nowhere;
use crate::error::{Error, ErrorKind, Result, marker_remedy};

/// The name of the marker, the file that makes a directory a database.
pub const MARKER: &str = "continuant.db";
const INDEX: &str = "index.redb";
const LOG: &str = "log";
const WITNESS: &str = "backup.witness";
const TEMPORARY: &str = ".tmp";
/// The name under which a lost marker is made again: not the marker's own temporary one, which says
/// that the database is unfinished.
const MENDED: &str = "continuant.db.mended";

/// The first bytes of a marker.
pub const MARKER_MAGIC: [u8; 12] = *b"CONTINUANTDB";
/// The format of databases that this program writes.
pub(crate) const FORMAT: u32 = 2;
const MARKER_BYTES: usize = 64;
const CONTEXT: &str = "continuant 2 database marker";

/// The pauses between two tries of a lock: the first one, and the least.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(16);
const LOCK_PAUSE_MIN: Duration = Duration::from_millis(1);
/// After each of these the pause gets shorter: the process that has waited longest tries most
/// often, and so likely is the next to get the lock, rather than a new one.
const LOCK_PATIENCE: Duration = Duration::from_millis(50);

/// The way to open a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// True if nothing is written, and others may read too.
    pub(crate) read_only: bool,
    /// The time to wait for another process to release the lock.
    pub(crate) lock_wait: Duration,
}

/// The id of a database, which its files carry: 16 random bytes.
pub(crate) type DatabaseId = [u8; 16];

/// An open database directory. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    id: DatabaseId,
    marker: Arc<dyn DiskFile>,
    /// The directory of the log, locked like the marker, which someone may remove or replace while
    /// the database is open; none where directories are not locked.
    _log: Option<Arc<dyn DiskFile>>,
}

impl Directory {
    /// Opens and locks the database in `path`.
    pub(crate) fn open_as(disk: Arc<dyn Disk>, path: &Path, access: Access) -> Result<Directory> {
        let marker = path.join(MARKER);
        if !exists(&*disk, &marker)? {
            let kind = match is_without_marker(&*disk, path)? {
                true => ErrorKind::MarkerLost { is_backup: has_witness(&*disk, path)? },
                false => unfinished(&*disk, path)?.unwrap_or(ErrorKind::NotADatabase),
            };
            return Err(Error::from(kind).at(path));
        }
        match open(Arc::clone(&disk), path, access).map_err(|error| error.at(&marker)) {
            Err(error) if has_log(&*disk, path)? => Err(beside_log(&*disk, path, error)?),
            opened => opened,
        }
    }

    /// Opens the database in `path` and locks its marker and its log. When the marker is lost or
    /// damaged, the id is the one that the log says, and the fault is returned too.
    pub(crate) fn open_by_log(
        disk: Arc<dyn Disk>,
        path: &Path,
        access: Access,
        id: impl FnOnce(PathBuf) -> Result<Option<DatabaseId>>,
    ) -> Result<(Directory, Option<Error>)> {
        assert!(access.read_only, "a directory whose marker is lost is only read");
        let fault = match Directory::open_as(Arc::clone(&disk), path, access) {
            Err(error) if is_of_marker(&error) => error,
            opened => return opened.map(|directory| (directory, None)),
        };
        let marker: Arc<dyn DiskFile> = match disk.open_to_read(&path.join(MARKER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Arc::new(Nowhere::default()),
            opened => {
                let marker = opened.map_err(|error| Error::io("open", error).at(path))?;
                lock(&*marker, Some((&*disk, path)), access)?;
                marker
            }
        };
        let log = lock_log(&*disk, path, access)?;
        let Some(id) = id(path.join(LOG))? else { return Err(fault) };
        Ok((Directory { disk, path: path.to_path_buf(), id, marker, _log: log }, Some(fault)))
    }

    /// Opens and locks the database in `path`; makes one in a directory that is missing or empty,
    /// with this id or a random one, and calls `begin` to make its log.
    pub(crate) fn open_or_create(
        disk: Arc<dyn Disk>,
        path: &Path,
        id: Option<DatabaseId>,
        access: Access,
        begin: &dyn Fn(&Path, DatabaseId) -> Result<()>,
    ) -> Result<Directory> {
        let marker = path.join(MARKER);
        if !exists(&*disk, &marker)? && !is_without_marker(&*disk, path)? {
            Directory::require_no_backup(&*disk, path)?;
            create(&*disk, path, id, access, begin).map_err(|error| error.at(path))?;
        }
        Directory::open_as(disk, path, access)
    }

    /// Makes the marker of the database in `path` anew if that is lost or damaged, with the id that
    /// its log says; returns the fault, unless another process mended it meanwhile.
    pub(crate) fn mend(
        disk: &Arc<dyn Disk>,
        path: &Path,
        access: Access,
        id: impl FnOnce(PathBuf) -> Result<Option<DatabaseId>>,
    ) -> Result<Option<Error>> {
        let fault = match Directory::open_as(Arc::clone(disk), path, access) {
            Err(error) if is_of_marker(&error) => error,
            opened => return opened.map(|_| None),
        };
        let id = id(path.join(LOG))?.ok_or_else(|| {
            Error::damaged(LOG, 0, "a segment that names its database", "none").at(path)
        })?;
        let made = write_mended(&**disk, path, id, access).map_err(|error| error.at(path))?;
        Ok(made.then_some(fault))
    }

    /// Returns whether there is a log in `path` whose marker is gone.
    pub(crate) fn is_without_marker(disk: &dyn Disk, path: &Path) -> Result<bool> {
        is_without_marker(disk, path).map_err(|error| error.at(path))
    }

    /// Returns whether there is a database in `path`.
    pub(crate) fn is_in(disk: &dyn Disk, path: &Path) -> Result<bool> {
        exists(disk, &path.join(MARKER)).map_err(|error| error.at(path))
    }

    /// Returns the id of the database in `path`; none when there is no marker that tells it. The
    /// database is not locked.
    pub(crate) fn id_in(disk: &dyn Disk, path: &Path) -> Result<Option<DatabaseId>> {
        let failed = |error: Error| error.at(path);
        if !exists(disk, &path.join(MARKER)).map_err(failed)? {
            return Ok(None);
        }
        let marker = disk.open_to_read(&path.join(MARKER));
        let marker = marker.map_err(|error| failed(Error::io("open", error)))?;
        Ok(decode(&read(&*marker).map_err(failed)?).ok())
    }

    /// Checks that a database can be created in a directory: it is missing or empty, or has an
    /// unfinished one.
    pub(crate) fn require_free(disk: &dyn Disk, path: &Path) -> Result<()> {
        require_free(disk, path).map_err(|error| error.at(path))
    }

    /// Checks that a directory has no unfinished backup: only a backup can continue one.
    pub(crate) fn require_no_backup(disk: &dyn Disk, path: &Path) -> Result<()> {
        match unfinished(disk, path)? {
            Some(kind @ ErrorKind::Unfinished { is_backup: true }) => {
                Err(Error::from(kind).at(path))
            }
            _ => Ok(()),
        }
    }

    /// Begins the database `id` in a directory that is missing or empty, or has an unfinished one:
    /// as a backup, which continues an unfinished backup, or else not over one. Without a marker
    /// nobody opens it before [`Directory::finish`].
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        path: &Path,
        id: DatabaseId,
        access: Access,
        as_backup: bool,
    ) -> Result<Directory> {
        let was_there = exists(&*disk, path)?;
        let begun = begin(Arc::clone(&disk), path, id, access, as_backup).inspect_err(|_| {
            // If nothing is in it.
            if !was_there {
                drop(disk.remove_directory(path));
            }
        });
        begun.map_err(|error| error.at(path))
    }

    /// Turns an unfinished database into a complete one.
    pub(crate) fn finish(&self) -> Result<()> {
        keep_file(&*self.disk, &self.path.join(MARKER))
    }

    /// Removes an unfinished database, with the directory unless that `was_there`. Files that
    /// cannot be removed are left, and can be begun again.
    pub(crate) fn undo(&self, was_there: bool) {
        let (disk, log) = (&*self.disk, self.log());
        for name in disk.list(&log).unwrap_or_default() {
            drop(disk.remove(&log.join(name)));
        }
        // While there is a log, the marker under its temporary name says that it is unfinished.
        let undone = disk.remove_directory(&log);
        let undone = undone.and_then(|()| disk.remove(&temporary(&self.path.join(MARKER))));
        if undone.is_ok() && !was_there {
            drop(disk.remove_directory(&self.path));
        }
    }

    /// Removes a file of the directory, durably, if it is there.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        if !exists(&*self.disk, path)? {
            return Ok(());
        }
        self.disk.remove(path).map_err(|error| Error::io("remove", error).at(path))?;
        sync_directory(&*self.disk, parent(path))
    }

    /// Returns the disk of the files.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The database's id.
    pub(crate) fn id(&self) -> DatabaseId {
        self.id
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the log's segments.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The name of a backup's record of its end.
    pub(crate) const WITNESS: &str = WITNESS;

    /// The file of that record.
    pub(crate) fn witness(&self) -> PathBuf {
        self.path.join(WITNESS)
    }

    /// The index's file.
    pub(crate) fn index(&self) -> PathBuf {
        self.path.join(INDEX)
    }

    /// Reads the marker again.
    pub(crate) fn check(&self) -> Result<()> {
        if decode(&read(&*self.marker)?).map_err(magic_changed)? != self.id {
            return Err(Error::damaged(MARKER, 16, "the id that was opened", "another"));
        }
        Ok(())
    }

    /// Returns whether the directory has no marker of this database any more, as far as the disk
    /// tells.
    pub(crate) fn is_gone(&self) -> bool {
        Directory::id_in(&*self.disk, &self.path).is_ok_and(|id| id != Some(self.id))
    }

    /// Bytes of all files that the disk holds for the database.
    pub(crate) fn bytes_on_disk(&self) -> Result<u64> {
        bytes_on_disk(&*self.disk, &self.path)
    }
}

/// Returns whether a file at this path within the directory of a database would be one of the
/// database's own: it would be in the log's folder, or have a name that the database has use for.
/// Other files may be there.
pub fn is_of_database(within: &Path) -> bool {
    let first = within.components().next().and_then(|name| name.as_os_str().to_str());
    // A file system may not tell capitals from small letters.
    let Some(first) = first.map(str::to_ascii_lowercase) else { return false };
    let is_name = |name: &&str| {
        // Files that are made or replaced have longer names for a while.
        first.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    first == LOG || [MARKER, INDEX, WITNESS].iter().any(is_name)
}

/// Bytes of all files that the disk holds for the database in `path`.
pub(crate) fn bytes_on_disk(disk: &dyn Disk, path: &Path) -> Result<u64> {
    let log = path.join(LOG);
    let mut bytes = 0;
    for folder in [path, &log] {
        let names = disk.list(folder).map_err(|e| Error::io("list", e).at(folder))?;
        for path in names.into_iter().map(|name| folder.join(name)) {
            bytes += match disk.bytes_held(&path) {
                Ok(held) if path != log => held,
                Ok(_) => 0,
                // A file that was on its way is gone, or has its name now and is counted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(Error::io("read", error).at(path)),
            };
        }
    }
    Ok(bytes)
}

/// Returns whether a directory has a log whose marker is gone: an unfinished database has its
/// marker under the temporary name.
fn is_without_marker(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let is_lost = has_log(disk, path)? && !exists(disk, &temporary(&path.join(MARKER)))?;
    // Another process may just have renamed the marker.
    Ok(is_lost && !exists(disk, &path.join(MARKER))?)
}

/// Returns whether a directory has a log with files.
fn has_log(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let log = path.join(LOG);
    Ok(exists(disk, &log)? && disk.list(&log).is_ok_and(|names| !names.is_empty()))
}

/// Returns whether a directory has the witness of a backup: a crash may have come before the first
/// one had its name.
fn has_witness(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let witness = path.join(WITNESS);
    Ok(exists(disk, &witness)? || exists(disk, &temporary(&witness))?)
}

/// Returns whether an error is that a marker is lost or damaged.
pub(crate) fn is_of_marker(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::MarkerLost { .. } => true,
        ErrorKind::Damaged { file, .. } => file == MARKER,
        _ => false,
    }
}

/// Returns the fault of a marker that does not begin as one, in a directory that has a log.
fn magic_changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotADatabase => Error::damaged(MARKER, 0, "a marker", "other bytes"),
        _ => error,
    }
}

/// Returns the failure to open a directory that has a log: a damaged marker with its remedy.
fn beside_log(disk: &dyn Disk, path: &Path, error: Error) -> Result<Error> {
    let error = magic_changed(error).at(path.join(MARKER));
    if !is_of_marker(&error) {
        return Ok(error);
    }
    Ok(error.because(io::Error::other(marker_remedy(has_witness(disk, path)?))))
}

/// Returns the error for an unfinished database without a marker in a directory, if there is one.
fn unfinished(disk: &dyn Disk, path: &Path) -> Result<Option<ErrorKind>> {
    let is_begun = exists(disk, &temporary(&path.join(MARKER)))?;
    let is_backup = has_witness(disk, path)?;
    // Another process may just have renamed the marker.
    let is_unfinished = is_begun && !exists(disk, &path.join(MARKER))?;
    Ok(is_unfinished.then_some(ErrorKind::Unfinished { is_backup }))
}

/// Makes the marker, once there is a log, unless someone else does so first.
fn create(
    disk: &dyn Disk,
    path: &Path,
    id: Option<DatabaseId>,
    access: Access,
    begin: &dyn Fn(&Path, DatabaseId) -> Result<()>,
) -> Result<()> {
    create_directories(disk, path)?;
    let (marker, log) = (path.join(MARKER), path.join(LOG));
    let names = disk.list(path).map_err(|error| Error::io("list", error))?;
    let begun = temporary(Path::new(MARKER));
    let was_begun = names.contains(&begun);
    for name in names {
        if name == begun || is_of_system(&name) || (was_begun && name == Path::new(LOG)) {
            continue;
        }
        if exists(disk, &marker)? {
            return Ok(());
        }
        let problem = io::Error::other(format!("it has no {MARKER}, but {}", name.display()));
        return Err(Error::from(ErrorKind::NotADatabase).because(problem));
    }
    let id = match id {
        Some(id) => id,
        None => random()?,
    };
    let made = write_marker(disk, path, id, access, false)?;
    let Some(_lock) = made else { return Ok(()) };
    sync_directory(disk, path)?;
    disk.create_directory(&log).map_err(|error| Error::io("create directory", error))?;
    sync_directory(disk, path)?;
    begin(&log, id)?;
    keep_file(disk, &marker)
}

fn random() -> Result<DatabaseId> {
    let mut id = DatabaseId::default();
    let filled = getrandom::fill(&mut id);
    filled.map_err(|error| Error::io("random bytes", io::Error::other(error.to_string())))?;
    Ok(id)
}

/// Writes the marker of the database in `path` under its temporary name and locks it, unless it has
/// its name already.
fn write_marker(
    disk: &dyn Disk,
    path: &Path,
    id: DatabaseId,
    access: Access,
    as_backup: bool,
) -> Result<Option<Arc<dyn DiskFile>>> {
    let marker = &path.join(MARKER);
    // The process that holds the lock of the temporary file makes the marker.
    let made = disk.create(&temporary(marker)).map_err(|error| Error::io("create", error))?;
    lock(&*made, None, access)?;
    if exists(disk, marker)? {
        return Ok(None);
    }
    // Only now: a process that had the lock before may have begun a backup, and was killed.
    if !as_backup {
        Directory::require_no_backup(disk, path)?;
    }
    let written = made.set_length(0).and_then(|()| made.write_all_at(&encode(id), 0));
    let written = written.map_err(|error| Error::io("write", error));
    let synced = |()| made.sync().map_err(|error| Error::io("sync", error));
    if let Err(error) = written.and_then(synced) {
        // An empty file says nothing about the directory.
        drop(disk.remove(&temporary(marker)));
        return Err(error);
    }
    Ok(Some(made))
}

/// Writes the marker of the database in `path` in place of a lost or damaged one, unless another
/// process does so first; returns whether it did.
///
/// Two locks are held until the marker has its name. That of the damaged one keeps out those who
/// read the log without a marker. That of the new one keeps out another process that mends it: its
/// marker would replace one that is locked by then, and a second writer would lock the other.
fn write_mended(disk: &dyn Disk, path: &Path, id: DatabaseId, access: Access) -> Result<bool> {
    let (marker, mended) = (path.join(MARKER), path.join(MENDED));
    let _damaged = match disk.open(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => {
            let damaged = opened.map_err(|error| Error::io("open", error))?;
            lock(&*damaged, Some((disk, path)), access)?;
            Some(damaged)
        }
    };
    let made = disk.create(&temporary(&mended)).map_err(|error| Error::io("create", error))?;
    lock(&*made, None, access)?;
    // Only now: the process that had a lock before has made the marker.
    if Directory::id_in(disk, path)?.is_some() {
        // Unless it was renamed while this process waited for it.
        return match disk.remove(&temporary(&mended)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", error))
            }
            _ => Ok(false),
        };
    }
    let written = made.set_length(0).and_then(|()| made.write_all_at(&encode(id), 0));
    let written = written.map_err(|error| Error::io("write", error));
    let synced = |()| made.sync().map_err(|error| Error::io("sync", error));
    let renamed = |()| {
        let renamed = disk.rename(&temporary(&mended), &marker);
        renamed.map_err(|error| Error::io("rename", error))
    };
    if let Err(error) = written.and_then(synced).and_then(renamed) {
        // On a full disk it would hold the space that is missing.
        drop(disk.remove(&temporary(&mended)));
        return Err(error);
    }
    sync_directory(disk, path)?;
    Ok(true)
}

fn begin(
    disk: Arc<dyn Disk>,
    path: &Path,
    id: DatabaseId,
    access: Access,
    as_backup: bool,
) -> Result<Directory> {
    create_directories(&*disk, path)?;
    require_free(&*disk, path)?;
    let marker = write_marker(&*disk, path, id, access, as_backup)?;
    let marker = marker.ok_or(ErrorKind::Locked)?;
    sync_directory(&*disk, path)?;
    let log = path.join(LOG);
    if let Err(error) = disk.create_directory(&log) {
        if !exists(&*disk, &log)? {
            drop(disk.remove(&temporary(&path.join(MARKER))));
        }
        return Err(Error::io("create directory", error));
    }
    sync_directory(&*disk, path)?;
    // An earlier attempt may have crashed between a name and its sync.
    sync_directory(&*disk, &log)?;
    let log = lock_log(&*disk, path, access)?;
    Ok(Directory { disk, path: path.to_path_buf(), id, marker, _log: log })
}

/// Checks that a directory is missing or empty, or has an unfinished database.
fn require_free(disk: &dyn Disk, path: &Path) -> Result<()> {
    let names = match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(|error| Error::io("list", error))?,
    };
    let (marker, witness) = (temporary(Path::new(MARKER)), PathBuf::from(WITNESS));
    let known = [&marker, &PathBuf::from(LOG), &witness, &temporary(&witness)];
    let names: Vec<_> = names.into_iter().filter(|name| !is_of_system(name)).collect();
    let was_begun = names.contains(&marker) && names.iter().all(|name| known.contains(&name));
    if !names.is_empty() && !was_begun {
        return Err(ErrorKind::Occupied.into());
    }
    Ok(())
}

/// Returns whether a name is that of the directory that a new file system has.
fn is_of_system(name: &Path) -> bool {
    name == Path::new("lost+found")
}

/// Makes a directory and those above it, durably: also where they are there already, for an opening
/// that was cut short may have made them.
fn create_directories(disk: &dyn Disk, path: &Path) -> Result<()> {
    let named = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    let named: Vec<&Path> = named.filter(|path| path.parent().is_some()).collect();
    for path in named.into_iter().rev() {
        if !exists(disk, path)? {
            let made = disk.create_directory(path);
            made.map_err(|error| Error::io("create directory", error))?;
        }
        match disk.sync_directory(parent(path)) {
            // A file that may not be read was not made here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => {
                synced.map_err(|error| Error::io("sync directory", error).at(parent(path)))?
            }
        }
    }
    Ok(())
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The directory that is the gate before a lock.
type Gate<'a> = Option<(&'a dyn Disk, &'a Path)>;

/// Locks a file, and waits for it as long as `access` says. A writer that waits keeps the gate
/// closed to readers that come after it.
fn lock(file: &dyn DiskFile, gate: Gate<'_>, access: Access) -> Result<()> {
    let began = Instant::now();
    let mut closed = None;
    loop {
        let waiting = if access.read_only { closed_by_another(gate) } else { None };
        let tried = match (access.read_only, &waiting) {
            (true, Some(_)) => Ok(false),
            (true, None) => file.try_lock_shared(),
            (false, _) => file.try_lock(),
        };
        if tried.map_err(|error| Error::io("lock", error))? {
            return Ok(());
        }
        let waited = began.elapsed();
        let left = access.lock_wait.saturating_sub(waited);
        if left.is_zero() {
            let locked = Error::from(ErrorKind::Locked);
            return Err(match waiting.as_deref().unwrap_or(file).lock_holder() {
                Some(holder) => locked.because(holder),
                None => locked,
            });
        }
        if !access.read_only && closed.is_none() {
            closed = opened(gate).filter(|gate| gate.try_lock().is_ok_and(|locked| locked));
        }
        let pause = LOCK_PAUSE_MAX.div_f64(1.0 + waited.div_duration_f64(LOCK_PATIENCE));
        thread::park_timeout(pause.max(LOCK_PAUSE_MIN).min(left));
    }
}

/// Locks the directory of the log of the database in `path`; returns none where it is missing, and
/// where directories are not locked.
fn lock_log(disk: &dyn Disk, path: &Path, access: Access) -> Result<Option<Arc<dyn DiskFile>>> {
    let Ok(log) = disk.open_directory(&path.join(LOG)) else { return Ok(None) };
    match lock(&*log, None, access) {
        Err(error) if *error.kind() == ErrorKind::Locked => Err(error),
        locked => Ok(locked.is_ok().then_some(log)),
    }
}

/// Returns a gate that a waiting writer keeps closed. Where directories are not locked there is
/// none.
fn closed_by_another(gate: Gate<'_>) -> Option<Arc<dyn DiskFile>> {
    opened(gate).filter(|gate| gate.try_lock_shared().is_ok_and(|locked| !locked))
}

fn opened(gate: Gate<'_>) -> Option<Arc<dyn DiskFile>> {
    gate.and_then(|(disk, path)| disk.open_directory(path).ok())
}

fn open(disk: Arc<dyn Disk>, path: &Path, access: Access) -> Result<Directory> {
    let marker = path.join(MARKER);
    let opened = if access.read_only { disk.open_to_read(&marker) } else { disk.open(&marker) };
    let marker = opened.map_err(|error| Error::io("open", error))?;
    lock(&*marker, Some((&*disk, path)), access)?;
    let id = decode(&read(&*marker)?)?;
    if !access.read_only {
        let log = path.join(LOG);
        disk.create_directory(&log).map_err(|error| Error::io("create directory", error))?;
        // A crash may have come between a name and its sync, now or when it was made.
        sync_directory(&*disk, path)?;
        sync_directory(&*disk, &log)?;
    }
    let log = lock_log(&*disk, path, access)?;
    Ok(Directory { disk, path: path.to_path_buf(), id, marker, _log: log })
}

fn read(marker: &dyn DiskFile) -> Result<Vec<u8>> {
    let mut bytes = vec![0; MARKER_BYTES + 1];
    let found = marker.read_up_to(&mut bytes, 0).map_err(|error| Error::io("read", error))?;
    bytes.truncate(found);
    Ok(bytes)
}

fn encode(id: DatabaseId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MARKER_BYTES);
    bytes.put(&MARKER_MAGIC).put_u32(FORMAT).put(&id);
    let check = blake3::derive_key(CONTEXT, &bytes);
    bytes.put(&check);
    assert_eq!(bytes.len(), MARKER_BYTES, "the marker has its length");
    assert!(decode(&bytes).is_ok_and(|read| read == id), "a marker that is written is read");
    bytes
}

fn decode(bytes: &[u8]) -> Result<DatabaseId> {
    if !bytes.starts_with(&MARKER_MAGIC) {
        return Err(ErrorKind::NotADatabase.into());
    }
    let damaged = |offset, expected: &str, found: &dyn std::fmt::Display| {
        Error::damaged(MARKER, offset, expected, found)
    };
    if bytes.len() < MARKER_BYTES {
        return Err(damaged(0, "64 bytes", &bytes.len()));
    }
    let (head, check) = bytes.split_at(MARKER_BYTES - blake3::OUT_LEN);
    let mut reader = Reader::new("database marker", head);
    reader.bytes(MARKER_MAGIC.len())?;
    let format = reader.u32()?;
    // Another format may have another check; its number is believed.
    Error::validate_format(MARKER, 12, (format, FORMAT))?;
    if *check != blake3::derive_key(CONTEXT, head) {
        return Err(damaged(0, "the bytes of its check", &"other bytes"));
    }
    Ok(reader.array()?)
}

/// Makes a file that gets its name only once the bytes that `fill` writes are durable. `fill` may
/// use a file that is at its temporary name already.
pub(crate) fn create_file(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> Result<Arc<dyn DiskFile>> {
    let fill = |file: &dyn DiskFile| fill(file).map_err(|e| Error::io("write", e).at(path));
    let file = fill_staged(disk, path, fill)?;
    keep_file(disk, path).inspect_err(|_| drop(disk.remove(&temporary(path))))?;
    Ok(file)
}

/// Makes a durable file that has its temporary name until it is kept.
pub(crate) fn stage_file(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> Result<()>,
) -> Result<Arc<dyn DiskFile>> {
    fill_staged(disk, path, |file| {
        file.set_length(0).map_err(|error| Error::io("create", error).at(path))?;
        fill(file)
    })
}

fn fill_staged(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&dyn DiskFile) -> Result<()>,
) -> Result<Arc<dyn DiskFile>> {
    let temporary = temporary(path);
    let made = disk.create(&temporary);
    let file = made.map_err(|error| Error::io("create", error).at(path))?;
    let synced = |()| file.sync().map_err(|error| Error::io("sync", error).at(path));
    if let Err(error) = fill(&*file).and_then(synced) {
        // On a full disk it would hold the space that is missing.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    Ok(file)
}

/// Gives a durable file at the temporary name of `path` its name.
pub(crate) fn keep_file(disk: &dyn Disk, path: &Path) -> Result<()> {
    let renamed = disk.rename(&temporary(path), path);
    renamed.map_err(|error| Error::io("rename", error).at(path))?;
    sync_directory(disk, parent(path))
}

/// The name that a file has while it is made.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TEMPORARY);
    name.into()
}

/// Removes the temporary files that a crash left in a directory.
pub(crate) fn remove_temporary(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let names = disk.list(directory).map_err(|error| Error::io("list", error).at(directory))?;
    for name in names {
        let path = directory.join(name);
        if path.as_os_str().as_encoded_bytes().ends_with(TEMPORARY.as_bytes()) {
            disk.remove(&path).map_err(|error| Error::io("remove", error).at(&path))?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<()> {
    disk.sync_directory(path).map_err(|error| Error::io("sync directory", error).at(path))
}

fn exists(disk: &dyn Disk, path: &Path) -> Result<bool> {
    disk.exists(path).map_err(|error| Error::io("read", error).at(path))
}
