//! Space: a small database takes little, a disk that is full keeps nothing from being read, and
//! what compaction says is given back is given back, the open segment too.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use continuant_storage::disk::{Disk, DiskFile, LocalDisk};
use continuant_storage::{ErrorKind, Incomplete, Options, Retention, Store};
use object::commit::Commit;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, copy, small};

/// The file system, with limited room below one directory.
#[derive(Clone, Debug)]
struct TightDisk {
    below: PathBuf,
    room: Arc<AtomicU64>,
    meanwhile: Arc<Mutex<Meanwhile>>,
}

/// Work of others, to be done once while room is kept for a pack.
#[derive(Default)]
struct Meanwhile(Option<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meanwhile").field("is_left", &self.0.is_some()).finish()
    }
}

impl TightDisk {
    fn new(below: &Path, room: u64) -> TightDisk {
        let (below, room) = (below.to_path_buf(), Arc::new(room.into()));
        TightDisk { below, room, meanwhile: Arc::default() }
    }

    /// Leaves `free` bytes of room from now on.
    fn leave(&self, free: u64) {
        self.room.store(held(&self.below) + free, Ordering::Relaxed);
    }

    /// A file is to have bytes from `start` to `end`.
    fn grow(&self, path: &Path, end: u64) -> io::Result<()> {
        if !path.starts_with(&self.below) {
            return Ok(());
        }
        // The file may have its final name by now.
        let held_here = match path.exists() {
            true => held_by(path),
            false => held_by(&path.with_extension("")),
        };
        let more = end.next_multiple_of(4096).saturating_sub(held_here);
        match held(&self.below) + more > self.room.load(Ordering::Relaxed) && more > 0 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn tight(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TightFile { disk: self.clone(), path: path.to_path_buf(), file })
    }
}

/// Returns the bytes that the file system holds below a directory.
fn held(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { held(&path) } else { held_by(&path) }).sum()
}

fn held_by(path: &Path) -> u64 {
    LocalDisk.bytes_held(path).unwrap_or(0)
}

impl Disk for TightDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.tight(path, LocalDisk.open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        LocalDisk.open_to_read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.tight(path, LocalDisk.create(path)?))
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
        LocalDisk.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(path)
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        LocalDisk.bytes_held(path)
    }
}

#[derive(Debug)]
struct TightFile {
    disk: TightDisk,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for TightFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.grow(&self.path, offset + bytes.len() as u64)?;
        self.file.write_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)?;
        if self.path.ends_with("room.tmp") {
            let meanwhile = self.disk.meanwhile.lock().unwrap().0.take();
            meanwhile.into_iter().for_each(|work| work());
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.grow(&self.path, length)?;
        self.file.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn drop_cache(&self) {}
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Creates two objects with `versions` versions each, in full segments and an open one.
fn lived(store: &Store, versions: usize) -> (Vec<Author>, Vec<Made>) {
    let (mut authors, mut all) = (Vec::new(), Vec::new());
    for seed in 0..2 {
        let (mut author, genesis) = Author::new(seed);
        append(store, &[genesis], &[]).unwrap();
        for _ in 0..versions {
            let made = author.step();
            append(store, std::slice::from_ref(&made), &[]).unwrap();
            all.push(made);
        }
        authors.push(author);
    }
    (authors, all)
}

fn files_of_log(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path.join("log")).unwrap();
    let mut names: Vec<_> =
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_database_takes_a_few_mib_whatever_a_segment_may_become() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, 4 * MIB));
    let store = Options::new().disk(disk).open(&path).unwrap();
    let (authors, _) = lived(&store, 100);
    store.close().unwrap();
    drop(store);
    assert!(held(&path) < 4 * MIB, "{}", held(&path));
    let store = Options::new().open(&path).unwrap();
    assert_eq!(store.head(authors[1].head.id).unwrap().unwrap().head, authors[1].head);
}

#[test]
fn a_write_takes_no_more_room_than_it_needs_and_a_full_disk_is_read_as_ever() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let options = || Options::new().disk(Arc::clone(&disk) as Arc<dyn Disk>);
    let store = options().open(&path).unwrap();
    let (mut authors, _) = lived(&store, 10);
    store.close().unwrap();
    drop(store);
    // Much less than the next step of the segment's growth.
    disk.leave(64 * KIB);
    let store = options().open(&path).unwrap();
    let mut acknowledged = authors[0].head.clone();
    let mut count = 0;
    let error = loop {
        match append(&store, &[authors[0].step()], &[]) {
            Ok(()) => acknowledged = authors[0].head.clone(),
            Err(error) => break error,
        }
        count += 1;
    };
    assert!(count > 5, "{count} were written in 64 KiB");
    assert_eq!(*error.kind(), ErrorKind::Poisoned);
    let told = error.to_string();
    assert!(told.contains("no space left") && told.contains("compaction"), "{told}");
    let id = acknowledged.id;
    assert_eq!(store.version(id, 0).unwrap().unwrap().commit.header().seq, 0);
    drop(store);
    disk.leave(0);
    let store = options().read_only(true).open(&path).unwrap();
    assert_eq!(store.head(id).unwrap().unwrap().head, acknowledged);
    assert_sound(&store);
    store.export(id, &mut Vec::new(), |_, _| {}).unwrap();
    store.backup(directory.path().join("elsewhere"), |_, _| {}).unwrap();
    drop(store);
    // With room again the store continues.
    disk.leave(MIB);
    let store = options().open(&path).unwrap();
    assert_eq!(store.head(id).unwrap().unwrap().head, acknowledged);
    append(&store, &[authors[1].step()], &[]).unwrap();
    assert_sound(&store);
}

#[test]
fn compaction_needs_room_for_one_segment_and_gives_back_what_it_says() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let store = small().disk(Arc::clone(&disk) as Arc<dyn Disk>).open(&path).unwrap();
    let (mut authors, _) = lived(&store, 120);
    store.set_retention(None, Retention::Versions(2)).unwrap();
    let before = held(&path);
    // Without any room, compaction says so and changes nothing.
    disk.leave(0);
    let names = files_of_log(&path);
    let error = store.compact(Time::MIN, |_, _| {}).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(files_of_log(&path), names);
    store.sync().unwrap();
    assert_sound(&store);
    let done = |error: &continuant_storage::Error| {
        let source = std::error::Error::source(error).unwrap();
        source.downcast_ref::<Incomplete>().unwrap().done
    };
    assert_eq!((done(&error).segment_count, done(&error).bytes_after), (0, held(&path)));
    // The error says how much room is needed, to close the open segment too, whose failure would
    // end the store.
    let needed = |error: &continuant_storage::Error| {
        let source = std::error::Error::source(error).unwrap();
        source.downcast_ref::<Incomplete>().unwrap().room_needed.unwrap()
    };
    let (one, all) = (needed(&error), store.compact_all(Time::MIN, |_, _| {}).unwrap_err());
    assert!(*all.kind() == ErrorKind::Full && needed(&all) > 16 * KIB, "{all}");
    assert_eq!(files_of_log(&path), names);
    store.sync().unwrap();
    assert!((1..64 * KIB).contains(&one), "{error}");
    disk.leave(one.next_multiple_of(4096));
    let compacted = store.compact(Time::MIN, |_, _| {}).unwrap();
    assert!(compacted.segment_count > 3 && compacted.trimmed_count > 100, "{compacted:?}");
    assert_eq!(compacted.bytes_after, held(&path));
    assert!(compacted.bytes_before >= before && compacted.bytes_after < before, "{compacted:?}");
    let names = files_of_log(&path);
    let logs = names.iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(logs, 1, "the open segment alone: {names:?}");
    assert!(names.iter().all(|name| name.ends_with(".log") || name.ends_with(".pack")));
    append(&store, &[authors[0].step()], &[]).unwrap();
    store.close().unwrap();
    drop(store);
    let store = small().open(&path).unwrap();
    assert_eq!(store.head(authors[0].head.id).unwrap().unwrap().head, authors[0].head);
    assert_sound(&store);
}

/// Regression: with a MiB free and not much more, the next segment took the MiB, and there was no
/// room for the pack of the segment that was closed.
#[test]
fn compact_all_has_room_for_the_pack_of_the_open_segment_beside_the_next() {
    let directory = TempDir::new().unwrap();
    let lived_in = directory.path().join("db");
    let store = Options::new().open(&lived_in).unwrap();
    lived(&store, 120);
    store.close().unwrap();
    drop(store);
    // Compacts a copy on a disk with `free` bytes of room.
    let compacted = |free: u64| {
        let path = directory.path().join(free.to_string());
        copy(&lived_in, &path);
        let disk = Arc::new(TightDisk::new(&path, u64::MAX));
        let store = Options::new().disk(Arc::clone(&disk) as Arc<dyn Disk>).open(&path).unwrap();
        disk.leave(free);
        let names = files_of_log(&path);
        let compacted = store.compact_all(Time::MIN, |_, _| {});
        if compacted.is_err() {
            assert_eq!(files_of_log(&path), names, "nothing is begun");
            disk.leave(MIB);
        }
        append(&store, &[Author::new(99).1], &[]).unwrap();
        assert_sound(&store);
        compacted
    };
    let error = compacted(0).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let needed = source.downcast_ref::<Incomplete>().unwrap().room_needed.unwrap();
    assert!((80 * KIB..MIB).contains(&needed), "{needed}");
    assert_eq!(*compacted(needed - 8 * KIB).unwrap_err().kind(), ErrorKind::Full);
    let more = [0, MIB / 2, MIB, 3 * MIB].map(|more| needed + more);
    for free in [MIB - 32 * KIB, MIB, MIB + 32 * KIB].into_iter().chain(more) {
        let compacted = compacted(free.next_multiple_of(4 * KIB)).unwrap();
        assert_eq!((compacted.segment_count, compacted.left_count), (1, 0), "{free} bytes free");
    }
}

/// Regression: what others committed while the room of a pack was kept found 16 KiB, and when that
/// was too little, the store ended.
#[test]
fn what_others_commit_while_the_open_segment_is_closed_has_room() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let options = Options::new().disk(Arc::clone(&disk) as Arc<dyn Disk>);
    let store = Arc::new(options.open(&path).unwrap());
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let mut commit = |count: u32| (0..count).map(|_| author.touch()).collect::<Vec<_>>();
    append(&store, &commit(60), &[]).unwrap();
    // The file of the segment has little room left, so that a large commit needs more.
    let end = || {
        let end = store.stats().unwrap().durable.to_string();
        end.split_once(':').unwrap().1.parse::<u64>().unwrap()
    };
    while end() < MIB - 24 * KIB {
        append(&store, &commit(10), &[]).unwrap();
    }
    disk.leave(0);
    let error = store.compact_all(Time::MIN, |_, _| {}).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Full, "{error}");
    let source = std::error::Error::source(&error).unwrap();
    let needed = source.downcast_ref::<Incomplete>().unwrap().room_needed.unwrap();
    disk.leave(needed.next_multiple_of(4 * KIB));
    let (made, (sender, done)) = (commit(60), channel());
    let others = Arc::clone(&store);
    let work = move || sender.send(append(&others, &made, &[])).unwrap();
    disk.meanwhile.lock().unwrap().0 = Some(Box::new(work));
    let before = end();
    store.compact_all(Time::MIN, |_, _| {}).unwrap();
    done.try_recv().expect("others did something meanwhile").unwrap();
    assert!((MIB - 24 * KIB..MIB - 8 * KIB).contains(&before), "{before}");
    disk.leave(MIB);
    append(&store, &commit(60), &[]).unwrap();
    assert_sound(&store);
}

/// Segments with larger packs find room once others are given back.
#[test]
fn segments_without_room_are_compacted_when_others_made_some() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let store = small().disk(Arc::clone(&disk) as Arc<dyn Disk>).open(&path).unwrap();
    // The first segments are kept whole, the later ones go nearly all.
    let (kept, _) = lived(&store, 40);
    let (mut gone, genesis) = Author::new(99);
    append(&store, &[genesis], &[]).unwrap();
    for _ in 0..200 {
        append(&store, &[gone.step()], &[]).unwrap();
    }
    store.set_retention(Some(gone.head.id), Retention::Versions(1)).unwrap();
    disk.leave(24 * KIB);
    let compacted = store.compact(Time::MIN, |_, _| {}).unwrap();
    let full = files_of_log(&path).len() - 1;
    assert_eq!(compacted.segment_count, full as u64, "{compacted:?}");
    for author in kept.iter().chain([&gone]) {
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
    }
    assert_sound(&store);
}

/// Returns whether some file of the database has these bytes.
fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut paths = entries.collect::<Vec<_>>().into_iter();
    paths.any(|path| match path.is_dir() {
        true => has_bytes(&path, bytes),
        false => std::fs::read(&path).unwrap().windows(bytes.len()).any(|found| found == bytes),
    })
}

#[test]
fn compact_all_closes_the_open_segment_and_leaves_nothing_of_what_was_let_go() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let store = Options::new().disk(Arc::clone(&disk) as Arc<dyn Disk>).open(&path).unwrap();
    let (mut authors, made) = lived(&store, 50);
    store.set_retention(None, Retention::Versions(3)).unwrap();
    let inputs: Vec<Vec<u8>> = made
        .iter()
        .map(|made| match made {
            Made::Version { bytes, .. } => Commit::decode(bytes).unwrap().input.to_vec(),
            Made::Refusal(refusal) => refusal.input.clone(),
        })
        .collect();
    assert!(has_bytes(&path, &inputs[0]));
    // There is only the open segment, so nothing is done, and the report says so.
    let nothing = store.compact(Time::MIN, |_, _| {}).unwrap();
    assert_eq!((nothing.segment_count, nothing.trimmed_count), (0, 0));
    assert!(nothing.open_bytes > 10 * KIB, "{nothing:?}");
    let compacted = store.compact_all(Time::MIN, |_, _| {}).unwrap();
    assert_eq!((compacted.segment_count, compacted.held_count), (1, 0), "{compacted:?}");
    assert!(compacted.trimmed_count > 90 && compacted.open_bytes < KIB, "{compacted:?}");
    assert_eq!(store.retention(None).unwrap(), Retention::Versions(3));
    for (input, index) in inputs.iter().zip(0..) {
        let is_kept = index % 50 >= 47;
        assert!(is_kept || !has_bytes(&path, input), "version {index}");
    }
    let names = files_of_log(&path);
    // Again there is nothing to do, and no segment is made for it, so no room is needed.
    disk.leave(0);
    let again = store.compact_all(Time::MIN, |_, _| {}).unwrap();
    disk.leave(MIB);
    assert_eq!((again.segment_count, again.left_count), (0, 1), "{again:?}");
    assert_eq!(files_of_log(&path), names);
    append(&store, &[authors[0].step()], &[]).unwrap();
    assert_sound(&store);
    drop(store);
    Options::new().rebuild_index(&path).unwrap();
    let store = Options::new().open(&path).unwrap();
    assert_eq!(store.head(authors[0].head.id).unwrap().unwrap().head, authors[0].head);
    assert_eq!(store.retention(None).unwrap(), Retention::Versions(3));
    assert_sound(&store);
}

#[test]
fn files_that_nobody_finished_are_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (authors, _) = lived(&store, 30);
    drop(store);
    for name in ["spare-00000001.tmp", "00000009.log.tmp", "00000001.pack.tmp"] {
        std::fs::write(path.join("log").join(name), vec![7; 100]).unwrap();
    }
    let store = small().open(&path).unwrap();
    assert!(files_of_log(&path).iter().all(|name| !name.ends_with(".tmp")));
    assert_eq!(store.head(authors[0].head.id).unwrap().unwrap().head, authors[0].head);
}

#[test]
fn a_compaction_that_ends_early_says_what_it_did_and_leaves_the_rest() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let disk = Arc::new(TightDisk::new(&path, u64::MAX));
    let store = small().disk(Arc::clone(&disk) as Arc<dyn Disk>).open(&path).unwrap();
    let (mut authors, _) = lived(&store, 120);
    let all = files_of_log(&path).len();
    let done = |error: &continuant_storage::Error| {
        let source = std::error::Error::source(error).unwrap();
        *source.downcast_ref::<Incomplete>().unwrap()
    };
    let mut told = 0;
    let stopped = store.compact_all(Time::MIN, |done, _| {
        told = done;
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let stopped = stopped.unwrap_err();
    assert_eq!((stopped.kind(), told), (&ErrorKind::Stopped, 2));
    let Incomplete { done: first, room_needed } = done(&stopped);
    assert_eq!((first.segment_count, first.left_count, room_needed), (2, 0, None));
    assert!(first.bytes_after < first.bytes_before, "{first:?}");
    let packs = |names: &[String]| names.iter().filter(|name| name.ends_with(".pack")).count();
    let names = files_of_log(&path);
    assert_eq!((packs(&names), names.len()), (2, all), "{names:?}");
    // The segments that have room are compacted, and the error says so.
    let no_more = |done, _| {
        if done == 3 {
            disk.leave(0)
        }
    };
    let error = store.compact(Time::MIN, no_more).unwrap_err();
    let Incomplete { done: second, room_needed } = done(&error);
    assert_eq!(*error.kind(), ErrorKind::Full);
    assert!(second.segment_count == 1 && room_needed.is_some(), "{second:?}");
    assert_eq!(packs(&files_of_log(&path)) as u64, 2 + second.segment_count);
    // The open segment needs room for what others commit too: the error names the larger.
    let all = done(&store.compact_all(Time::MIN, |_, _| {}).unwrap_err());
    assert!(all.room_needed >= room_needed, "{all:?}");
    disk.leave(MIB);
    append(&store, &[authors[0].step()], &[]).unwrap();
    assert_sound(&store);
    // One that ends between the full segments and the open one says what ages it counted from.
    store.set_retention(None, Retention::Age(Duration::from_millis(1))).unwrap();
    let stopped = store.compact_all(Time::from_millis(1 << 40), |done, all| match done == all {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    let stopped = stopped.unwrap_err();
    assert_eq!(*stopped.kind(), ErrorKind::Stopped);
    assert!(done(&stopped).done.ages_from.is_some(), "{stopped:?}");
    let stopped = store.check(|_, _| ControlFlow::Break(())).unwrap_err();
    assert_eq!(*stopped.kind(), ErrorKind::Stopped);
    append(&store, &[authors[0].step()], &[]).unwrap();
    assert_sound(&store);
}
