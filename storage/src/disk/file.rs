//! The traits of a disk: files, by their paths, and their bytes.
//!
//! They do not know the content of files, and decide nothing.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::holder::LockHolder;

/// The place of a store's files.
///
/// A name that was made, changed or removed is durable after [`Disk::sync_directory`] of its
/// directory; bytes and length of a file after [`DiskFile::sync`].
pub trait Disk: Debug + Send + Sync {
    /// Opens an existing file, for reading and writing.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file, for reading alone: it needs neither the right to write nor a
    /// writable disk. A disk that makes no difference opens it as [`Disk::open`] does.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    /// Opens a directory so that it can be locked. A disk may have no locks of directories: readers
    /// that overlap may then keep a writer out for as long as they come.
    ///
    /// # Errors
    ///
    /// Those of the file system; that directories are not locked.
    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::Error::other(format!("{} is not locked", path.display())))
    }

    /// Opens a file, which is made if it is missing; existing bytes stay.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name; replaces the file that has it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; processes that have it open can still use it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory that is empty. A disk may leave it.
    ///
    /// # Errors
    ///
    /// Those of the file system; that the directory is not empty.
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        Err(io::Error::other(format!("{} is left", path.display())))
    }

    /// Returns whether there is a file or directory of this name.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Returns the names of the files and directories in a directory, in no order.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a directory, unless it is there.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Returns a path that is the same for every link to the file; for a missing file, one built
    /// from its existing parent directory.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    /// Returns the bytes that the disk holds for a file: fewer than its length where it has holes.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), and those of the file system.
    fn bytes_held(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. Reads and writes of several threads do not disturb each other.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at `offset` and returns the number of bytes: 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset` and returns the number of bytes: at least one.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Returns the file's length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file off at `length`, or extends it to there with zeros.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes the disk reserve `length` bytes for the file; new bytes are zeros.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes everything written durable, with the length.
    ///
    /// # Errors
    ///
    /// Those of the file system. After one, everything written since the last sync may be lost,
    /// even if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Locks the file for this process, until the file is dropped; returns `false` when another has
    /// it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn try_lock(&self) -> io::Result<bool>;

    /// Locks the file against exclusive locks, until it is dropped; returns `false` when another
    /// process has an exclusive one. A disk that makes no difference locks it exclusively.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn try_lock_shared(&self) -> io::Result<bool> {
        self.try_lock()
    }

    /// Returns a process that has the file's lock now, where the system reports it.
    fn lock_holder(&self) -> Option<LockHolder> {
        None
    }

    /// Advises the system to drop its cache of the file, so that the next read is from the disk.
    fn drop_cache(&self);
}

impl dyn DiskFile + '_ {
    /// Reads until `bytes` are full or the file ends.
    pub(crate) fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes`.
    pub(crate) fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
