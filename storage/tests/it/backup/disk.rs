//! A disk that watches the operations below one directory, and fails from some operation on.
//!
//! It holds no test.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use continuant_storage::disk::{Disk, DiskFile, LocalDisk};

/// The file system, watched below a directory.
#[derive(Clone, Debug)]
pub(crate) struct WatchedDisk {
    below: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

/// The record of a watched disk.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Operations that change something.
    pub(crate) changes: u64,
    /// The operation that fails first; all that follow fail as well, unless it fails once.
    pub(crate) fail_at: Option<u64>,
    pub(crate) once: bool,
    /// True if the failures are those of a full disk: only operations that need room fail.
    pub(crate) is_full: bool,
    /// Operations that failed.
    pub(crate) fired: u64,
    /// Reads that fail from now on.
    pub(crate) failing_reads: u64,
    /// Locks that are refused from now on, as if another process had them.
    pub(crate) refused_locks: u64,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// The most bytes that were read or written at once, anywhere.
    pub(crate) bytes_max: usize,
    /// Files with bytes that are not durable.
    dirty: BTreeSet<PathBuf>,
    /// Directories with names that are not durable.
    unnamed: BTreeSet<PathBuf>,
    /// Files that got their name too early.
    pub(crate) early: Vec<PathBuf>,
    meanwhile: Meanwhile,
}

/// Work of another process, to be done before an operation on a file, after some others on it.
#[derive(Default)]
struct Meanwhile(Option<(PathBuf, u32, Work)>);

type Work = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meanwhile").field("is_left", &self.0.is_some()).finish()
    }
}

impl WatchedDisk {
    pub(crate) fn new(below: &Path) -> WatchedDisk {
        WatchedDisk { below: below.to_path_buf(), seen: Arc::default() }
    }

    /// Reads or changes the record of the disk.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    /// Runs `work` with every operation from number `at` on failing; returns its result, and the
    /// count of failed operations.
    pub(crate) fn failing<T>(&self, at: u64, work: impl FnOnce() -> T) -> (T, u64) {
        self.seen(|seen| (seen.changes, seen.fired, seen.fail_at) = (0, 0, Some(at)));
        let done = work();
        self.seen(|seen| seen.fail_at = None);
        (done, self.seen(|seen| seen.fired))
    }

    /// Does `work` once, before the question number `at` for a file, from 0; to create it is one.
    pub(crate) fn meanwhile(&self, path: PathBuf, at: u32, work: impl FnOnce() + Send + 'static) {
        self.seen(|seen| seen.meanwhile.0 = Some((path, at, Box::new(work))));
    }

    /// Returns whether the work of another process is still to be done.
    pub(crate) fn is_left(&self) -> bool {
        self.seen(|seen| seen.meanwhile.0.is_some())
    }

    fn question(&self, path: &Path) {
        let due = self.seen(|seen| match &mut seen.meanwhile.0 {
            Some((of, left, _)) if of == path && *left > 0 => {
                *left -= 1;
                None
            }
            Some((of, ..)) if of == path => seen.meanwhile.0.take(),
            _ => None,
        });
        if let Some((.., work)) = due {
            work();
        }
    }

    /// An operation that changes something, and needs room for it; whether it is to fail.
    fn change(&self, path: &Path) -> io::Result<()> {
        self.operation(path, true)
    }

    fn operation(&self, path: &Path, needs_room: bool) -> io::Result<()> {
        self.seen(|seen| {
            if !path.starts_with(&self.below) || (seen.is_full && !needs_room) {
                return Ok(());
            }
            seen.changes += 1;
            if seen.fail_at.is_some_and(|at| seen.changes > at) && !(seen.once && seen.fired > 0) {
                seen.fired += 1;
                return Err(match seen.is_full {
                    true => io::ErrorKind::StorageFull.into(),
                    false => io::Error::other("injected"),
                });
            }
            Ok(())
        })
    }

    fn fail_read(&self, path: &Path) -> io::Result<()> {
        self.seen(|seen| match seen.failing_reads {
            1.. if path.starts_with(&self.below) => {
                seen.failing_reads -= 1;
                Err(io::Error::other("injected"))
            }
            _ => Ok(()),
        })
    }

    fn watched(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile { disk: self.clone(), path: path.to_path_buf(), file })
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.watched(path, LocalDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.question(path);
        self.change(path)?;
        Ok(self.watched(path, LocalDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(to, false)?;
        self.seen(|seen| {
            let parent = to.parent().unwrap().to_path_buf();
            // A name waits for the file's bytes, and for the names before it.
            if seen.dirty.contains(from) || !seen.unnamed.insert(parent) {
                seen.early.push(to.to_path_buf());
            }
        });
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(path, false)?;
        LocalDisk.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.operation(path, false)?;
        LocalDisk.remove_directory(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.question(path);
        LocalDisk.exists(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        LocalDisk.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change(path)?;
        LocalDisk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.operation(path, false)?;
        // No power is cut here: that it is done is all.
        self.seen(|seen| seen.unnamed.remove(path));
        Ok(())
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        LocalDisk.bytes_held(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    disk: WatchedDisk,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl WatchedFile {
    fn change(&self, bytes: usize) -> io::Result<()> {
        self.disk.change(&self.path)?;
        self.disk.seen(|seen| {
            seen.dirty.insert(self.path.clone());
            seen.bytes_max = seen.bytes_max.max(bytes);
        });
        Ok(())
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.fail_read(&self.path)?;
        let read = self.file.read_at(bytes, offset)?;
        self.disk.seen(|seen| {
            seen.bytes_max = seen.bytes_max.max(bytes.len());
            seen.read += read as u64;
        });
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let failed = self.change(bytes.len());
        // A write that fails may have done a part.
        let bytes = if failed.is_err() { &bytes[..bytes.len() / 2] } else { bytes };
        let written = self.file.write_at(bytes, offset);
        failed.and(written)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(0)?;
        self.file.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.change(0)?;
        self.file.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(&self.path)?;
        self.disk.seen(|seen| seen.dirty.remove(&self.path));
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let is_refused = self.path.starts_with(&self.disk.below)
            && self.disk.seen(|seen| {
                let is_refused = seen.refused_locks > 0;
                seen.refused_locks -= u64::from(is_refused);
                is_refused
            });
        if is_refused {
            return Ok(false);
        }
        self.file.try_lock()
    }

    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}
