//! The file system as a disk.
//!
//! This module does not know the content of files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::file::{Disk, DiskFile};
use crate::disk::holder::{self, LockHolder};

/// The open files that are reserved for the rest of the process: its standard streams, the marker,
/// the index, new files, and those of the embedder.
const OTHERS_FILES: u64 = 48;

/// Returns how many files this process may keep open without using them: half of its limit after
/// the reserved ones, and at most `most`.
pub(crate) fn kept_files_max(most: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS_FILES) / 2);
    usize::try_from(left).unwrap_or(usize::MAX).clamp(2, most)
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(LocalFile(file)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LocalFile(File::open(path)?)))
    }

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LocalFile(File::open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Arc::new(LocalFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match (fs::canonicalize(path), path.parent(), path.file_name()) {
            (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                let parent = if parent == Path::new("") { Path::new(".") } else { parent };
                Ok(self.resolve(parent)?.join(name))
            }
            (resolved, ..) => resolved,
        }
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.blocks() * 512)
    }
}

#[derive(Debug)]
struct LocalFile(File);

impl Drop for LocalFile {
    fn drop(&mut self) {
        // For a lock that it may have, closing is not enough: a child that some thread is just
        // starting has the file, and with it the lock, until it runs its program.
        let _ = self.0.unlock();
    }
}

impl DiskFile for LocalFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        allocate(&self.0, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        is_locked(self.0.try_lock())
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        is_locked(self.0.try_lock_shared())
    }

    fn lock_holder(&self) -> Option<LockHolder> {
        holder::of(&self.0)
    }

    fn drop_cache(&self) {
        // Advice: where it is not taken, nothing is lost but the precaution.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}

fn is_locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // Without reservation, a later write finds out whether there is room.
            Err(rustix::io::Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    lengthen(file, bytes)
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    lengthen(file, bytes)
}

fn lengthen(file: &File, bytes: u64) -> io::Result<()> {
    match file.metadata()?.len() < bytes {
        true => file.set_len(bytes),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_file_though_a_child_that_starts_has_that_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create_new(&path).unwrap();
        let of_child = file.try_clone().unwrap();
        let locked = LocalFile(file);
        assert!(locked.try_lock().unwrap());
        let other = LocalDisk.open(&path).unwrap();
        assert!(!other.try_lock().unwrap());
        drop(locked);
        assert!(other.try_lock().unwrap());
        drop(of_child);
        // A file that never had the lock takes it from nobody.
        drop(LocalDisk.open(&path).unwrap());
        assert!(!LocalDisk.open(&path).unwrap().try_lock().unwrap());
    }

    #[test]
    fn readers_share_a_lock_that_keeps_writers_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        File::create_new(&path).unwrap();
        let one = LocalDisk.open_to_read(&path).unwrap();
        let other = LocalDisk.open_to_read(&path).unwrap();
        assert!(one.try_lock_shared().unwrap() && other.try_lock_shared().unwrap());
        let writer = LocalDisk.open(&path).unwrap();
        assert!(!writer.try_lock().unwrap());
        assert_eq!(writer.lock_holder().map(|holder| holder.pid), Some(std::process::id()));
        drop((one, other));
        assert!(writer.try_lock().unwrap());
        assert!(!LocalDisk.open_to_read(&path).unwrap().try_lock_shared().unwrap());
        assert!(LocalDisk.open_to_read(&path).unwrap().write_at(&[1], 0).is_err());
    }
}
