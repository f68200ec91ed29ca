//! The directory of a database: its marker, its lock, and the names of its files.
//!
//! ```text
//! fleet/
//!   continuant.db    the marker: that this is a database, of which format, and its id; locked
//!   index.redb       the index, a cache of the log
//!   log/             00000001.log, 00000002.log, ...: the truth
//! ```
//!
//! It does not know what is in the log or the index.
//!
//! Invariant: a file gets its name only when its first bytes are durable, so a crash while one is
//! made leaves at most a file that ends in `.tmp`, which nobody reads.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::codec::{Reader, Write as _};

use crate::error::{Error, ErrorKind, Result};

const MARKER: &str = "continuant.db";
const INDEX: &str = "index.redb";
const LOG: &str = "log";
const TEMPORARY: &str = ".tmp";

/// What the marker starts with.
const MAGIC: [u8; 12] = *b"CONTINUANTDB";
/// The format of databases that this program writes.
pub(crate) const FORMAT: u32 = 1;
const MARKER_BYTES: usize = 64;
const CONTEXT: &str = "continuant 1 database marker";

/// What tells the files of one database from those of another: 16 random bytes.
pub(crate) type DatabaseId = [u8; 16];

/// An open database directory. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    id: DatabaseId,
    marker: File,
}

impl Directory {
    /// Opens and locks the database in `path`; unless it must be `existing`, makes one in a
    /// directory that is missing or empty.
    pub(crate) fn open(path: &Path, existing: bool) -> Result<Directory> {
        let marker = path.join(MARKER);
        if !marker.exists() {
            if existing {
                return Err(Error::from(ErrorKind::NotADatabase).at(path));
            }
            create(path).map_err(|error| error.at(path))?;
        }
        open(path).map_err(|error| error.at(&marker))
    }

    /// The database's id.
    pub(crate) fn id(&self) -> DatabaseId {
        self.id
    }

    /// The directory of the log's segments.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The index's file.
    pub(crate) fn index(&self) -> PathBuf {
        self.path.join(INDEX)
    }

    /// Reads the marker again.
    pub(crate) fn check(&self) -> Result<()> {
        if decode(&read(&self.marker)?)? != self.id {
            return Err(Error::damaged(MARKER, 16, "the id that was opened", "another"));
        }
        Ok(())
    }

    /// Bytes of all files that the file system holds for the database.
    pub(crate) fn bytes_on_disk(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = 0;
        for folder in [self.path.clone(), self.log()] {
            for entry in fs::read_dir(&folder).map_err(|e| Error::io("list", e).at(&folder))? {
                let metadata = entry.and_then(|entry| entry.metadata());
                let metadata = metadata.map_err(|e| Error::io("list", e).at(&folder))?;
                bytes += if metadata.is_file() { metadata.blocks() * 512 } else { 0 };
            }
        }
        Ok(bytes)
    }
}

/// Makes the marker, unless someone else does so first.
fn create(path: &Path) -> Result<()> {
    create_directories(path)?;
    let marker = path.join(MARKER);
    let failed = |operation| move |error| Error::io(operation, error);
    for entry in fs::read_dir(path).map_err(failed("list"))? {
        let name = entry.map_err(failed("list"))?.file_name();
        if name == format!("{MARKER}{TEMPORARY}").as_str() {
            continue;
        }
        if marker.try_exists().map_err(failed("read"))? {
            return Ok(());
        }
        let found = name.to_string_lossy().into_owned();
        let problem = io::Error::other(format!("it has no {MARKER}, but {found}"));
        return Err(Error::from(ErrorKind::NotADatabase).because(problem));
    }
    let mut id = DatabaseId::default();
    let filled = getrandom::fill(&mut id);
    filled.map_err(|error| Error::io("random bytes", io::Error::other(error.to_string())))?;
    // Whoever holds the lock of the file that becomes the marker is the one that makes it.
    let made = OpenOptions::new().write(true).create(true).truncate(false).open(temporary(&marker));
    let mut made = made.map_err(failed("create"))?;
    lock(&made)?;
    if marker.try_exists().map_err(failed("read"))? {
        return Ok(());
    }
    made.set_len(0).map_err(failed("write"))?;
    made.write_all(&encode(id)).map_err(failed("write"))?;
    made.sync_all().map_err(failed("sync"))?;
    keep_file(&marker)
}

/// Makes a directory and those above it, durably.
fn create_directories(path: &Path) -> Result<()> {
    let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty());
    let missing: Vec<&Path> = missing.take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path).map_err(|error| Error::io("create directory", error))?;
    missing.into_iter().rev().try_for_each(|made| sync_directory(parent(made)))
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn lock(file: &File) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(ErrorKind::Locked.into()),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", error)),
    }
}

fn open(path: &Path) -> Result<Directory> {
    let marker = OpenOptions::new().read(true).write(true).open(path.join(MARKER));
    let marker = marker.map_err(|error| Error::io("open", error))?;
    lock(&marker)?;
    let id = decode(&read(&marker)?)?;
    let log = path.join(LOG);
    if !log.exists() {
        fs::create_dir(&log).map_err(|error| Error::io("create directory", error))?;
    }
    // A crash may have come between a name and its sync, now or when it was made.
    sync_directory(path)?;
    sync_directory(&log)?;
    Ok(Directory { path: path.to_path_buf(), id, marker })
}

fn read(marker: &File) -> Result<Vec<u8>> {
    let length = marker.metadata().map_err(|error| Error::io("read", error))?.len();
    let mut bytes = vec![0; length.min(MARKER_BYTES as u64 + 1) as usize];
    marker.read_exact_at(&mut bytes, 0).map_err(|error| Error::io("read", error))?;
    Ok(bytes)
}

fn encode(id: DatabaseId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MARKER_BYTES);
    bytes.put(&MAGIC).put_u32(FORMAT).put(&id);
    let check = blake3::derive_key(CONTEXT, &bytes);
    bytes.put(&check);
    assert_eq!(bytes.len(), MARKER_BYTES, "the marker has its length");
    bytes
}

fn decode(bytes: &[u8]) -> Result<DatabaseId> {
    if !bytes.starts_with(&MAGIC) {
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
    reader.bytes(MAGIC.len())?;
    let format = reader.u32()?;
    // A newer format may have another check; its number is believed.
    if format > FORMAT {
        return Err(ErrorKind::NewerFormat { found: format, supported: FORMAT }.into());
    }
    if *check != blake3::derive_key(CONTEXT, head) {
        return Err(damaged(0, "the bytes of its check", &"other bytes"));
    }
    Ok(reader.array()?)
}

/// Makes a file that has its name only once what `fill` writes is durable.
pub(crate) fn create_file(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<File> {
    let temporary = temporary(path);
    let mut made = OpenOptions::new();
    made.read(true).write(true).create(true).truncate(true);
    let mut file = made.open(&temporary).map_err(|error| Error::io("create", error).at(path))?;
    let filled = fill(&mut file).map_err(|error| Error::io("write", error).at(path));
    let synced = |()| file.sync_all().map_err(|error| Error::io("sync", error).at(path));
    if let Err(error) = filled.and_then(synced).and_then(|()| keep_file(path)) {
        // On a full disk it would hold the space that is missing.
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    Ok(file)
}

/// Gives a durable file at the temporary name of `path` its name.
pub(crate) fn keep_file(path: &Path) -> Result<()> {
    fs::rename(temporary(path), path).map_err(|error| Error::io("rename", error).at(path))?;
    sync_directory(parent(path))
}

/// The name that a file has while it is made.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TEMPORARY);
    name.into()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::io("sync directory", error).at(path))
}

/// Drops what the kernel has cached of a file, so that what is read next is what the disk has:
/// after a failed sync the two can differ.
pub(crate) fn drop_cache(file: &File) {
    // Advice: where it is not taken, nothing is lost but the precaution.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}
