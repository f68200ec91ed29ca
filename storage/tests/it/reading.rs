//! Opening for reading alone: it works on a read-only file system, changes nothing, takes no
//! change, shares the database with other readers, and waits for its lock on request.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use continuant_storage::disk::{Disk, DiskFile, LocalDisk, LockHolder};
use continuant_storage::{CapsuleReader, ErrorKind, Options, Result, Retention, Store};
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, copy, small};

/// The file system, read-only below one directory; a lock is refused the given number of times.
#[derive(Clone, Debug)]
struct StillDisk {
    below: PathBuf,
    refusals: Arc<AtomicU64>,
}

impl StillDisk {
    fn new(below: &Path) -> Arc<StillDisk> {
        StillDisk::locked(below, 0)
    }

    fn locked(below: &Path, refusals: u64) -> Arc<StillDisk> {
        Arc::new(StillDisk { below: below.into(), refusals: Arc::new(refusals.into()) })
    }

    fn change(&self, path: &Path) -> io::Result<()> {
        match path.starts_with(&self.below) {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }
}

impl Disk for StillDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.change(path)?;
        LocalDisk.open(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = LocalDisk.open_to_read(path)?;
        Ok(Arc::new(StillFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.change(path)?;
        LocalDisk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(to)?;
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path)?;
        LocalDisk.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
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
        self.change(path)?;
        LocalDisk.sync_directory(path)
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        LocalDisk.bytes_held(path)
    }
}

/// A file that cannot be changed.
#[derive(Debug)]
struct StillFile {
    disk: StillDisk,
    file: Arc<dyn DiskFile>,
}

fn still<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl DiskFile for StillFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        still()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        still()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        still()
    }

    fn sync(&self) -> io::Result<()> {
        still()
    }

    fn try_lock(&self) -> io::Result<bool> {
        still()
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        let left = self.disk.refusals.load(Ordering::Relaxed);
        if left > 0 {
            self.disk.refusals.store(left - 1, Ordering::Relaxed);
            return Ok(false);
        }
        self.file.try_lock_shared()
    }

    fn lock_holder(&self) -> Option<LockHolder> {
        self.file.lock_holder()
    }

    fn drop_cache(&self) {}
}

fn to_read(path: &Path) -> Result<Store> {
    small().read_only(true).disk(StillDisk::new(path)).open(path)
}

/// Returns all files of a directory, with their content.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// Objects in packs, full segments and an open one, with a rule, names and an outbox.
fn lived(store: &Store) -> Vec<Author> {
    let mut authors = Vec::new();
    for seed in 0..3 {
        let (mut author, genesis) = Author::upgrading(seed);
        append(store, &[genesis], &[(&format!("object {seed}"), author.head.id)]).unwrap();
        for round in 0..60 {
            append(store, &[author.next(), author.next()], &[]).unwrap();
            if round == 30 {
                store.compact(Time::MIN, |_, _| {}).unwrap();
                store.checkpoint().unwrap();
            }
        }
        authors.push(author);
    }
    store.set_retention(Some(authors[0].head.id), Retention::Versions(30)).unwrap();
    drop(store.create_outbox("mail").unwrap());
    store.sync().unwrap();
    authors
}

/// Everything is read of a database that cannot be written, and nothing of it changes.
fn reads_all(path: &Path, authors: &[Author], about: &str) {
    let before = files(path);
    let store = to_read(path).unwrap_or_else(|error| panic!("{about}: {error}"));
    for (author, number) in authors.iter().zip(0..) {
        let id = author.head.id;
        assert_eq!(store.head(id).unwrap().unwrap().head, author.head, "{about}");
        assert_eq!(store.find(&format!("object {number}")).unwrap(), Some(id), "{about}");
        let versions = store.lineage(id).unwrap().map(std::result::Result::unwrap).count();
        assert!(versions > 100, "{about}");
        assert!(store.version(id, author.head.header.seq).unwrap().is_some(), "{about}");
        let mut capsule = Vec::new();
        store.export(id, &mut capsule, |_, _| {}).unwrap();
        let mut reader = CapsuleReader::new(&capsule[..]).unwrap();
        while reader.next().unwrap().is_some() {}
    }
    assert_eq!(store.outboxes(), ["mail"], "{about}");
    assert!(store.outbox("mail").unwrap().next().transpose().unwrap().is_some(), "{about}");
    assert!(store.outbox_status().unwrap()[0].behind_count > 0, "{about}");
    assert_sound(&store);
    let elsewhere = TempDir::new().unwrap();
    store.backup(elsewhere.path().join("backup"), |_, _| {}).unwrap();
    let restored = elsewhere.path().join("restored");
    small().disk(StillDisk::new(path)).restore(path, &restored, until_end(), |_, _| {}).unwrap();
    store.sync().unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(store);
    for copied in [elsewhere.path().join("backup"), restored] {
        let store = small().read_only(true).open(copied).unwrap();
        assert_sound(&store);
        assert_eq!(store.list(None, 10).unwrap().len(), authors.len(), "{about}");
    }
    assert!(files(path) == before, "{about}: nothing was changed");
}

fn until_end() -> continuant_storage::Until {
    continuant_storage::Until::End
}

#[test]
fn all_is_read_of_what_cannot_be_written_and_nothing_changes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let authors = lived(&store);
    let (crashed, torn) = (directory.path().join("crashed"), directory.path().join("torn"));
    copy(&path, &crashed);
    copy(&path, &torn);
    store.backup(directory.path().join("backup"), |_, _| {}).unwrap();
    store.close().unwrap();
    drop(store);
    reads_all(&path, &authors, "closed");
    reads_all(&crashed, &authors, "a process was killed");
    reads_all(&directory.path().join("backup"), &authors, "a backup, which has no index");
    std::fs::remove_file(crashed.join("index.redb")).unwrap();
    reads_all(&crashed, &authors, "the index is lost");
    // A group that was cut: more than a header, less than its frame.
    let last = files(&torn.join("log")).into_keys().next_back().unwrap();
    let whole = std::fs::read(&last).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let frame = whole[200..].to_vec();
    let mut cut = whole[..end].to_vec();
    cut.extend(&frame[..frame.len().min(150)]);
    std::fs::write(&last, cut).unwrap();
    reads_all(&torn, &authors, "the end is torn");
}

#[test]
fn what_is_opened_for_reading_takes_no_change() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let mut authors = lived(&store);
    let other = small().open(directory.path().join("other")).unwrap();
    let (stranger, genesis) = Author::new(77);
    append(&other, &[genesis], &[]).unwrap();
    let mut capsule = Vec::new();
    other.export(stranger.head.id, &mut capsule, |_, _| {}).unwrap();
    let mut reader = CapsuleReader::new(&capsule[..]).unwrap();
    while reader.next().unwrap().is_some() {}
    let seal = reader.seal().unwrap();
    drop(store);
    let before = files(&path);
    let store = to_read(&path).unwrap();
    let first = store.outbox("mail").unwrap().next().transpose().unwrap().unwrap().place;
    let refused: Vec<(&str, Result<()>)> = vec![
        ("append", append(&store, &[authors[0].next()], &[])),
        ("begin", append(&store, &[Author::new(9).1], &[])),
        ("retain", store.set_retention(None, Retention::Versions(1))),
        ("make an outbox", store.create_outbox("others").map(drop)),
        ("acknowledge", store.outbox("mail").unwrap().acknowledge(first)),
        ("remove an outbox", store.remove_outbox("mail").map(drop)),
        ("compact", store.compact(Time::MIN, |_, _| {}).map(drop)),
        ("compact all", store.compact_all(Time::MIN, |_, _| {}).map(drop)),
        ("import", store.import(&capsule[..], &stranger.head, seal).map(drop)),
        ("rebuild", small().read_only(true).rebuild_index(&path)),
    ];
    for (what, result) in refused {
        let error = result.expect_err(what);
        assert_eq!(*error.kind(), ErrorKind::ReadOnly, "{what}: {error}");
    }
    // The store still reads, and closes in order.
    assert_sound(&store);
    store.sync().unwrap();
    store.close().unwrap();
    drop(store);
    assert!(files(&path) == before);
    let missing = to_read(&directory.path().join("missing")).unwrap_err();
    assert_eq!(*missing.kind(), ErrorKind::NotADatabase);
    assert!(!directory.path().join("missing").exists());
}

#[test]
fn readers_share_a_database_and_a_writer_has_it_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let error = to_read(&path).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("this same process, which has it open already"), "{error}");
    drop(store);
    let (one, other) = (to_read(&path).unwrap(), to_read(&path).unwrap());
    assert_eq!(*small().open(&path).unwrap_err().kind(), ErrorKind::Locked);
    assert!(one.info(author.head.id).unwrap().is_some());
    drop(one);
    assert_eq!(*small().open(&path).unwrap_err().kind(), ErrorKind::Locked);
    drop(other);
    small().open(&path).unwrap();
}

/// Regression: a database that was open, whose marker somebody removed or replaced, could be
/// repaired and opened once more: two wrote the same log.
#[test]
fn a_database_whose_marker_goes_away_while_it_is_open_is_still_locked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let marker = path.join("continuant.db");
    let bytes = std::fs::read(&marker).unwrap();
    let refused = |by_whom: &str| {
        let repaired = small().repair(&path, None, |_, _| {}).unwrap_err();
        let opened = [small().open(&path), small().read_only(true).open(&path)];
        let opened = opened.map(|opened| opened.unwrap_err());
        for error in opened.iter().chain([&repaired]) {
            assert_eq!(*error.kind(), ErrorKind::Locked, "{by_whom}");
            assert!(error.to_string().contains("this same process"), "{by_whom}: {error}");
        }
    };
    std::fs::remove_file(&marker).unwrap();
    let repaired = small().repair(&path, None, |_, _| {}).unwrap_err();
    assert_eq!(*repaired.kind(), ErrorKind::Locked, "the marker is gone");
    refused("the marker is made again");
    std::fs::remove_file(&marker).unwrap();
    std::fs::write(&marker, bytes).unwrap();
    refused("another file is the marker");
    drop(store);
    let store = small().open(&path).unwrap();
    assert!(store.info(author.head.id).unwrap().is_some());
}

#[test]
fn a_lock_is_waited_for_as_long_as_the_option_says() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    drop(small().open(&path).unwrap());
    let open = |refusals, wait| {
        let disk = StillDisk::locked(&path, refusals);
        let left = Arc::clone(&disk.refusals);
        let opened = small().read_only(true).disk(disk).lock_wait(wait).open(&path);
        (opened, left.load(Ordering::Relaxed))
    };
    let (error, left) = open(3, Duration::ZERO);
    assert_eq!(*error.unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(left, 2, "it was tried once");
    let (opened, left) = open(5, Duration::from_secs(600));
    opened.unwrap();
    assert_eq!(left, 0);
    let (error, left) = open(u64::MAX, Duration::from_millis(20));
    assert_eq!(*error.unwrap_err().kind(), ErrorKind::Locked);
    assert!(u64::MAX - left > 1, "it was tried again");
    assert_eq!(Options::new().is_read_only(), small().is_read_only());
}

/// Regression: readers that overlapped kept a writer out for as long as they came.
#[test]
fn a_writer_that_waits_is_let_in_before_the_readers_that_come_after_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    drop(small().open(&path).unwrap());
    let read = |wait| small().read_only(true).lock_wait(wait).open(&path);
    let forever = Duration::from_secs(600);
    let gate = std::fs::File::open(&path).unwrap();
    let reader = read(Duration::ZERO).unwrap();
    // One that does not wait does not close the gate.
    assert_eq!(*small().open(&path).unwrap_err().kind(), ErrorKind::Locked);
    drop(read(Duration::ZERO).unwrap());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| small().lock_wait(forever).open(&path));
        let refused = (0..1_000_000).find_map(|_| {
            std::thread::yield_now();
            read(Duration::ZERO).err()
        });
        let later = scope.spawn(|| read(forever));
        let is_closed = gate.try_lock_shared().is_err();
        // Only this reader keeps the writer out.
        drop(reader);
        let store = writer.join().unwrap().unwrap();
        assert!(gate.try_lock_shared().is_ok(), "the gate is open once the writer has the lock");
        gate.unlock().unwrap();
        append(&store, &[Author::new(1).1], &[]).unwrap();
        drop(store);
        let later = later.join().unwrap().unwrap();
        assert_eq!(later.list(None, 9).unwrap().len(), 1, "it waited for the writer");
        let refused = refused.expect("a later reader is refused");
        assert_eq!(*refused.kind(), ErrorKind::Locked);
        assert!(is_closed && refused.to_string().contains("this same process"), "{refused}");
    });
}

/// A reader needs no gate: where directories are not locked, or may not be opened, it reads.
#[test]
fn a_gate_that_is_held_is_waited_for_and_one_that_cannot_be_locked_is_none() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    drop(small().open(&path).unwrap());
    let gate = std::fs::File::open(&path).unwrap();
    gate.try_lock().unwrap();
    let error = small().read_only(true).open(&path).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Locked);
    // This disk has no locks of directories.
    drop(to_read(&path).unwrap());
    // A writer that finds the lock free takes it.
    drop(small().open(&path).unwrap());
    gate.unlock().unwrap();
    drop(small().read_only(true).open(&path).unwrap());
}

/// A thread that has the database open lets it go while another waits.
#[test]
fn whoever_waits_for_a_lock_gets_it_when_it_is_free() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    drop(small().open(&path).unwrap());
    let open = || small().lock_wait(Duration::from_secs(600)).open(&path);
    std::thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || {
                for round in 0..4 {
                    let store = open().unwrap();
                    append(&store, &[Author::new(10 * seed + round).1], &[]).unwrap();
                }
            });
        }
    });
    assert_eq!(open().unwrap().list(None, 100).unwrap().len(), 24);
}
