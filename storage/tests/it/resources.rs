//! A host without room for one more open file or for memory: the request fails and says so, and the
//! store continues.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use continuant_storage::disk::{Disk, DiskFile, LocalDisk};
use continuant_storage::{ErrorKind, Store};
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, small};

/// "Too many open files", as the system numbers it.
const EMFILE: i32 = 24;
/// "Out of memory".
const ENOMEM: i32 = 12;

/// The file system, with a limit of open files.
#[derive(Clone, Debug, Default)]
struct TightDisk(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    open_max: AtomicUsize,
    /// Reads that fail for want of memory before one does not.
    reads_without_memory: AtomicUsize,
}

#[derive(Debug)]
struct TightFile(Arc<dyn DiskFile>, Arc<Counts>);

impl TightDisk {
    fn new(open_max: usize) -> TightDisk {
        let disk = TightDisk::default();
        disk.allow(open_max);
        disk
    }

    fn allow(&self, open_max: usize) {
        self.0.open_max.store(open_max, Ordering::Relaxed);
    }

    fn open_count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    fn room(&self) -> io::Result<()> {
        match self.open_count() < self.0.open_max.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(EMFILE)),
        }
    }

    fn keep(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Arc::new(TightFile(file, Arc::clone(&self.0)))
    }
}

impl Drop for TightFile {
    fn drop(&mut self) {
        self.1.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Disk for TightDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.room()?;
        Ok(self.keep(LocalDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.room()?;
        Ok(self.keep(LocalDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        LocalDisk.exists(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.room()?;
        LocalDisk.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.room()?;
        LocalDisk.sync_directory(path)
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        LocalDisk.bytes_held(path)
    }
}

impl DiskFile for TightFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let counts = &self.1.reads_without_memory;
        let left =
            counts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(io::Error::from_raw_os_error(ENOMEM)),
            Err(_) => self.0.read_at(bytes, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }

    fn drop_cache(&self) {
        self.0.drop_cache();
    }
}

/// A store of many segments, on this disk.
fn written(path: &Path, disk: &TightDisk) -> (Store, Author) {
    let store = small().disk(Arc::new(disk.clone())).open(path).unwrap();
    let (mut author, genesis) = Author::new(3);
    append(&store, &[genesis], &[]).unwrap();
    while store.stats().unwrap().segment_count < 20 {
        append(&store, &[author.step()], &[]).unwrap();
    }
    (store, author)
}

#[test]
fn a_store_reads_and_writes_with_few_open_files() {
    let directory = TempDir::new().unwrap();
    // The marker, the index, the newest segment, another, and one that is made.
    let disk = TightDisk::new(5);
    let (store, mut author) = written(&directory.path().join("db"), &disk);
    let id = author.head.id;
    for seq in 0..author.head.header.seq {
        assert_eq!(store.version(id, seq).unwrap().unwrap().commit.header().seq, seq);
    }
    assert_eq!(
        store.lineage(id).unwrap().map(Result::unwrap).count() as u64,
        author.head.header.seq + 1
    );
    assert_sound(&store);
    append(&store, &[author.step()], &[]).unwrap();
    store.close().unwrap();
}

/// A read that could not open a file ended the store.
#[test]
fn a_read_without_room_for_a_file_or_memory_fails_and_the_store_goes_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = TightDisk::new(usize::MAX);
    let (store, author) = written(&path, &disk);
    store.close().unwrap();
    drop(store);
    let store = small().disk(Arc::new(disk.clone())).open(&path).unwrap();
    let id = author.head.id;
    disk.allow(disk.open_count());
    let looks: [(&str, &dyn Fn() -> Option<continuant_storage::Error>); 4] = [
        ("a version", &|| store.version(id, 0).err()),
        ("a lineage", &|| store.lineage(id).unwrap().find_map(Result::err)),
        ("a check", &|| store.check(|_, _| {}).err()),
        ("the figures", &|| store.stats().err()),
    ];
    for (what, look) in looks {
        let error = look().unwrap_or_else(|| panic!("{what} needs another file"));
        assert!(matches!(error.kind(), ErrorKind::NoResources { .. }), "{what}: {error}");
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
    let mut other = Author::new(7);
    append(&store, &[other.1], &[]).expect("it goes on");
    append(&store, &[other.0.step()], &[]).expect("it goes on");
    disk.allow(usize::MAX);
    assert!(store.version(id, 0).unwrap().is_some());
    assert_sound(&store);

    disk.0.reads_without_memory.store(1, Ordering::Relaxed);
    let error = store.version(id, 1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoResources { .. }), "{error}");
    assert!(store.version(id, 1).unwrap().is_some());
    append(&store, &[other.0.step()], &[]).expect("it goes on");
    store.close().unwrap();
}

/// redb takes no failed read back, so the read is tried again.
#[test]
fn the_index_is_read_although_there_was_no_memory_for_it_at_first() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = TightDisk::new(usize::MAX);
    let (store, author) = written(&path, &disk);
    store.close().unwrap();
    drop(store);
    let options = small().disk(Arc::new(disk.clone())).index_cache_bytes(0);
    let store = options.open(&path).unwrap();
    disk.0.reads_without_memory.store(3, Ordering::Relaxed);
    assert!(store.info(author.head.id).unwrap().is_some());
    assert_eq!(
        disk.0.reads_without_memory.load(Ordering::Relaxed),
        0,
        "the reads were of the index"
    );
    append(&store, &[Author::new(7).1], &[]).expect("it goes on");
    store.close().unwrap();
}
