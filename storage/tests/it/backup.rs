//! Backups of a store in use, each of the new data only, with every failure on the way; and
//! restores to any moment.

pub(crate) mod disk;
mod marker;
mod races;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use continuant_storage::{
    Backup, BackupReport, CapsuleReader, Contents, Direction, ErrorKind, ObjectInfo, Options,
    Position, PrunedObject, Restoring, Result, Retention, Store, Until, WitnessedBy,
};
use object::commit::Commit;
use object::hash::ObjectId;
use object::input::Input;
use object::memory::Tree;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use self::disk::WatchedDisk;
use crate::author::{Author, Made, append, copy, small};

fn backup(store: &Store, to: &Path) -> Result<BackupReport> {
    let mut last = (0, 1);
    let report = store.backup(to, |done, all| {
        let goes_on = done >= last.0 && done <= all;
        assert!(goes_on, "progress goes forwards to its end: {done} of {all}, behind {last:?}");
        last = (done, all);
    })?;
    assert_eq!(last.0, last.1, "progress ends at the end");
    Ok(report)
}

fn restore(from: &Path, to: &Path, until: Until) -> Result<Store> {
    let what = Restoring::from(until).allow_empty(true);
    small().restore(from, to, what, |done, all| assert!(done <= all))?;
    small().existing(true).open(to)
}

/// Returns the row of every object, and checks that each memory is the one that its header names.
fn heads(store: &Store) -> Vec<ObjectInfo> {
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    let infos = store.list(None, usize::MAX).unwrap();
    for info in &infos {
        let loaded = store.head(info.id).unwrap().unwrap();
        assert_eq!(loaded.head.hash, info.hash);
        assert_eq!(Tree::of(&loaded.image).root(), loaded.head.header.memory_root);
        let entries = store.lineage(info.id).unwrap().map(Result::unwrap).count() as u64;
        assert_eq!(entries, info.seq + 1 + info.refusal_count);
    }
    infos
}

/// Returns the heads of a database that nobody has open; the directory stays unchanged.
fn heads_at(path: &Path) -> Vec<ObjectInfo> {
    let scratch = TempDir::new().unwrap();
    copy(path, &scratch.path().join("db"));
    heads(&small().read_only(true).open(scratch.path().join("db")).unwrap())
}

fn end(store: &Store) -> Position {
    store.stats().unwrap().durable
}

/// Objects, and random appends to a store.
struct Fleet {
    rng: StdRng,
    authors: Vec<Author>,
}

impl Fleet {
    fn new(seed: u64) -> Fleet {
        println!("seed {seed}");
        Fleet { rng: StdRng::seed_from_u64(seed), authors: Vec::new() }
    }

    /// Appends one frame: a new object with a name, or records of several objects.
    fn append(&mut self, store: &Store) -> Vec<Made> {
        if self.authors.is_empty() || self.rng.random_bool(0.1) {
            let (author, made) = Author::upgrading(self.rng.random());
            let name = format!("object {}", author.head.id);
            append(store, std::slice::from_ref(&made), &[(&name, author.head.id)]).unwrap();
            self.authors.push(author);
            return vec![made];
        }
        let mut made = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let index = self.rng.random_range(0..self.authors.len());
            made.push(self.authors[index].next());
        }
        append(store, &made, &[]).unwrap();
        made
    }
}

/// Every place where a frame of a closed log ends, and where the first one starts.
pub(crate) fn boundaries(path: &Path) -> Vec<Position> {
    let mut places = Vec::new();
    for number in 1.. {
        let Ok(bytes) = fs::read(path.join(format!("log/{number:08}.log"))) else { break };
        let mut at = 96;
        while at <= bytes.len() {
            places.push(format!("{number}:{at}").parse().unwrap());
            let Some(length) = bytes.get(at..at + 4) else { break };
            at += 80 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        }
        assert_eq!(at, bytes.len(), "a closed log has frames and nothing else");
    }
    places
}

#[test]
fn a_backup_has_what_was_acknowledged_before_it_began() {
    let directory = TempDir::new().unwrap();
    let (to, restored) = (directory.path().join("backup"), directory.path().join("restored"));
    let store = small().open(directory.path().join("db")).unwrap();
    let seed: u64 = rand::random::<u32>().into();
    println!("seed {seed}");
    let stop = AtomicBool::new(false);
    let acknowledged: Vec<_> = (0..4).map(|_| Mutex::new(Vec::new())).collect();
    std::thread::scope(|scope| {
        for (thread, heads) in acknowledged.iter().enumerate() {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                let (mut author, genesis) = Author::new(seed + thread as u64);
                append(store, &[genesis], &[]).unwrap();
                heads.lock().unwrap().push(author.head.clone());
                while !stop.load(Ordering::Relaxed) {
                    append(store, &[author.step()], &[]).unwrap();
                    heads.lock().unwrap().push(author.head.clone());
                }
            });
        }
        for round in 0..4 {
            let mut floor = Vec::new();
            for heads in &acknowledged {
                while heads.lock().unwrap().len() < 20 * (round + 1) {
                    std::thread::yield_now();
                }
                floor.push(heads.lock().unwrap().last().unwrap().clone());
            }
            backup(&store, &to).unwrap();
            let found = restore(&to, &restored, Until::End).unwrap();
            for (floor, heads) in floor.iter().zip(&acknowledged) {
                let loaded = found.head(floor.id).unwrap().unwrap();
                let seq = loaded.head.header.seq;
                assert!(seq >= floor.header.seq, "it has what was acknowledged");
                // The writer may note the head a moment later.
                while heads.lock().unwrap().len() <= seq as usize {
                    std::thread::yield_now();
                }
                assert_eq!(loaded.head, heads.lock().unwrap()[seq as usize]);
            }
            assert_eq!(heads(&found), heads_at(&to), "a backup opens like what is restored of it");
            drop(found);
            fs::remove_dir_all(&restored).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_later_backup_copies_only_what_is_new() {
    let directory = TempDir::new().unwrap();
    let to = directory.path().join("backup");
    let store = small().open(directory.path().join("db")).unwrap();
    let mut fleet = Fleet::new(rand::random::<u32>().into());
    let empty = backup(&store, &to).unwrap();
    assert_eq!((empty.bytes, empty.new_bytes, empty.end), (96, 96, end(&store)));
    assert_eq!(heads_at(&to), []);
    let mut before = empty;
    for round in 0..30 {
        for _ in 0..fleet.rng.random_range(0..10) {
            fleet.append(&store);
        }
        let report = backup(&store, &to).unwrap();
        assert_eq!(report.end, end(&store));
        assert_eq!(report.new_bytes, report.bytes - before.bytes, "round {round}");
        assert!(report.written_bytes <= report.new_bytes + (64 << 10), "at most one segment more");
        assert_eq!(report.written_bytes > 0, report.new_bytes > 0);
        let again = backup(&store, &to).unwrap();
        assert_eq!((again.bytes, again.new_bytes, again.written_bytes), (report.bytes, 0, 0));
        before = report;
    }
    assert!(store.stats().unwrap().segment_count > 3);
    assert_eq!(heads_at(&to), heads(&store));
    store.close().unwrap();
    let files = log_files(&to);
    assert_eq!(files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>(), before.bytes);
    assert!(files == log_files(&directory.path().join("db")), "it is the log, byte for byte");
}

#[test]
fn a_backup_that_fails_at_any_operation_is_gone_on_with() {
    let directory = TempDir::new().unwrap();
    let to = directory.path().join("backup");
    let disk = WatchedDisk::new(&to);
    let options = small().disk(Arc::new(disk.clone()));
    let store = options.open(directory.path().join("db")).unwrap();
    let mut fleet = Fleet::new(rand::random::<u32>().into());
    let (start, whole) = (directory.path().join("start"), directory.path().join("whole"));
    for round in 0..3 {
        while store.stats().unwrap().segment_count < 2 * round + 2 {
            fleet.append(&store);
        }
        if round == 2 {
            store.compact(Time::MIN, |_, _| {}).unwrap();
        }
        backup(&store, &whole).unwrap();
        let (expected, files) = (list(&whole), log_files(&whole));
        let had = (round > 0).then(|| list(&start));
        for at in 0.. {
            fs::remove_dir_all(&to).unwrap_or_default();
            if had.is_some() {
                copy(&start, &to);
            }
            let (failed, fired) = disk.failing(at, || backup(&store, &to));
            if fired == 0 {
                assert!(at > 10, "there are operations that fail");
                failed.unwrap();
                break;
            }
            let error = failed.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
            match &had {
                Some(had) => is_between(&list(&to), had, &expected),
                None if to.join("continuant.db").exists() => assert_eq!(list(&to), expected),
                None => {
                    let error = small().existing(true).open(&to).unwrap_err();
                    let is_told =
                        [ErrorKind::NotADatabase, ErrorKind::Unfinished { is_backup: true }]
                            .contains(error.kind());
                    let is_begun = *error.kind() == ErrorKind::Unfinished { is_backup: false };
                    let is_empty = !to.join("backup.witness").exists()
                        && !to.join("backup.witness.tmp").exists();
                    assert!(is_told || (is_begun && is_empty), "operation {at}: {error}");
                }
            }
            backup(&store, &to).unwrap();
            assert!(log_files(&to) == files, "operation {at}");
        }
        assert_eq!(heads_at(&to), heads(&store));
        fs::remove_dir_all(&start).unwrap_or_default();
        copy(&to, &start);
    }
    assert_eq!(disk.seen(|seen| std::mem::take(&mut seen.early)), Vec::<PathBuf>::new());
}

/// The objects of a sound database that nobody has open; the directory stays as it is.
fn list(path: &Path) -> Vec<ObjectInfo> {
    let scratch = TempDir::new().unwrap();
    copy(path, &scratch.path().join("db"));
    let store = small().read_only(true).open(scratch.path().join("db")).unwrap();
    assert!(store.check(|_, _| {}).unwrap().is_sound());
    store.list(None, usize::MAX).unwrap()
}

/// Checks that every object is as it was at some moment between `least` and `most`.
fn is_between(found: &[ObjectInfo], least: &[ObjectInfo], most: &[ObjectInfo]) {
    let seq = |infos: &[ObjectInfo], id: ObjectId| {
        infos.iter().find(|info| info.id == id).map(|info| info.seq)
    };
    assert!(least.iter().all(|info| seq(found, info.id) >= Some(info.seq)));
    assert!(found.iter().all(|info| seq(most, info.id) >= Some(info.seq)));
}

#[test]
fn a_large_frame_is_copied_in_pieces() {
    let directory = TempDir::new().unwrap();
    let to = directory.path().join("backup");
    let disk = WatchedDisk::new(&to);
    let store = small().disk(Arc::new(disk.clone())).open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let many: Vec<Made> = (0..1000).map(|_| author.step()).collect();
    append(&store, &many, &[]).unwrap();
    disk.seen(|seen| seen.bytes_max = 0);
    let report = backup(&store, &to).unwrap();
    assert!(report.bytes > 3 << 20, "{report:?}");
    assert_eq!(disk.seen(|seen| seen.bytes_max), 1 << 20);
    drop(store);
    assert!(log_files(&to) == log_files(&directory.path().join("db")));
}

#[test]
fn what_is_no_earlier_backup_is_turned_away() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let mut fleet = Fleet::new(3);
    while store.stats().unwrap().segment_count < 3 {
        fleet.append(&store);
    }
    let refused = |to: &Path, found: &str| {
        let error = backup(&store, to).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotItsBackup { .. }), "{error}");
        assert!(error.to_string().contains(found), "{error}");
        assert!(error.to_string().contains("missing or empty"), "{error}");
        assert_eq!(error.path(), Some(to));
    };
    refused(&place("db"), "the database itself");
    std::os::unix::fs::symlink(place("db"), place("link")).unwrap();
    refused(&place("link"), "the database itself");
    refused(&place("db/log/../backups"), "in the directory of the database");
    refused(&place("link/backups"), "in the directory of the database");
    assert!(!place("db/backups").exists());
    drop(small().open(place("other")).unwrap());
    refused(&place("other"), "another database");
    fs::create_dir_all(place("letters/log")).unwrap();
    assert_eq!(backup(&store, &place("letters")).unwrap_err().kind(), &ErrorKind::Occupied);

    backup(&store, &place("backup")).unwrap();
    let open = small().read_only(true).open(place("backup")).unwrap();
    assert_eq!(backup(&store, &place("backup")).unwrap_err().kind(), &ErrorKind::Locked);
    drop(open);
    backup(&store, &place("backup")).expect("that it was opened changes nothing");
    // A backup opens for writing only after its witness is removed.
    fs::remove_file(place("backup/backup.witness")).unwrap();
    let open = small().open(place("backup")).unwrap();
    append(&open, &[Author::new(77).1], &[]).unwrap();
    drop(open);
    refused(&place("backup"), "it has another log/00000003.log");
    fleet.append(&store);
    refused(&place("backup"), "it has another log/00000003.log");
}

#[test]
fn a_backup_that_is_ahead_or_cut_is_turned_away() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let mut fleet = Fleet::new(3);
    let mut ends = Vec::new();
    while store.stats().unwrap().segment_count < 4 || ends.len() % 8 > 0 {
        fleet.append(&store);
        ends.push(end(&store));
    }
    backup(&store, &place("backup")).unwrap();
    let refused = |store: &Store, found: &str| {
        let error = backup(store, &place("backup")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotItsBackup { .. }), "{error}");
        assert!(error.to_string().contains(found), "{error}");
    };
    let earlier = |until: Position, name: &str| {
        restore(&place("backup"), &place(name), Until::Position(until)).unwrap()
    };
    refused(&earlier(ends[2], "early"), "continues in log/00000004.log");
    refused(&earlier(ends[ends.len() - 2], "late"), "it has another log/00000004.log");
    let cut = |name: &str, bytes: u64| {
        let log = OpenOptions::new().write(true).open(place("backup").join(name)).unwrap();
        let length = log.metadata().unwrap().len();
        log.set_len(length - bytes).unwrap();
    };
    cut("log/00000004.log", 5);
    let report = backup(&store, &place("backup")).unwrap();
    assert!(report.new_bytes > 5, "a last segment that was cut is continued: {report:?}");
    let mended = |report: BackupReport| {
        let names = report.mended.into_iter().map(|mended| {
            assert_eq!(mended.problem.path(), Some(&*place("backup")), "it is of the backup");
            mended.file
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(mended(report), ["log/00000004.log"]);
    cut("log/00000002.log", 5);
    assert_eq!(mended(backup(&store, &place("backup")).unwrap()), ["log/00000002.log"]);
    fs::remove_file(place("backup/log/00000002.log")).unwrap();
    fs::remove_file(place("backup/log/00000004.log")).unwrap();
    let both = ["log/00000002.log", "log/00000003.log"];
    assert_eq!(mended(backup(&store, &place("backup")).unwrap()), both);
    assert!(mended(backup(&store, &place("backup")).unwrap()).is_empty());
    assert_eq!(heads_at(&place("backup")), heads(&store));
}

/// Regression: a byte that changed in an older file of a backup stayed in it for ever.
#[test]
fn a_backup_verifies_what_it_builds_on() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("backup"));
    for is_packed in [false, true] {
        let store = small().verify_bytes(1).open(&path).unwrap();
        let mut fleet = Fleet::new(rand::random::<u32>().into());
        while store.stats().unwrap().segment_count < 5 {
            fleet.append(&store);
        }
        if is_packed {
            store.compact(Time::MIN, |_, _| {}).unwrap();
        }
        let time = |milliseconds| Some(Time::from_millis(milliseconds));
        let at = |milliseconds, verify_all| {
            let how = Backup { time: time(milliseconds), verify_all };
            store.backup_as(&to, how, |_, _| {}).unwrap()
        };
        assert_eq!((at(1, false).verified, at(2, true).verified), (time(1), time(2)));
        let expected = heads(&store);
        let files = log_files(&to);
        for (index, (name, bytes)) in files.iter().enumerate() {
            let mut changed = bytes.clone();
            let byte = fleet.rng.random_range(96..changed.len());
            changed[byte] ^= 1;
            fs::write(to.join("log").join(name), &changed).unwrap();
            // Each backup verifies one older file, in turn from the first, and the last file.
            let reports: Vec<_> = (10..15).map(|now| at(now, false)).collect();
            let mended: Vec<_> = reports.iter().flat_map(|report| &report.mended).collect();
            assert_eq!(mended.len(), 1, "byte {byte} of {name}: {mended:?}");
            let number = format!("log/{:08}.log", index + 1);
            assert_eq!(mended[0].file, number, "{mended:?}");
            assert!(log_files(&to) == files, "it is whole again");
            fs::write(to.join("log").join(name), changed).unwrap();
            assert_eq!(at(20, true).mended.len(), 1);
            assert!(at(21, true).mended.is_empty());
        }
        let reports: Vec<_> = (30..40).map(|now| at(now, false)).collect();
        assert!(reports.iter().all(|report| report.verified_bytes < 100 << 10));
        assert!(reports.last().unwrap().verified >= time(30), "all was verified, in parts");
        assert_eq!(heads_at(&to), expected);
        drop(store);
        fs::remove_dir_all(&path).unwrap();
        fs::remove_dir_all(&to).unwrap();
    }
}

/// Regression: a backup whose end was lost was restored without a word.
#[test]
fn a_backup_that_was_cut_is_not_restored_unless_that_is_said() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let mut fleet = Fleet::new(6);
    while store.stats().unwrap().segment_count < 3 {
        fleet.append(&store);
    }
    let time = Some(Time::from_millis(1234));
    let how = Backup { time, verify_all: false };
    let report = store.backup_as(place("backup"), how, |_, _| {}).unwrap();
    let restored = |from: &str, what: Restoring| {
        drop(fs::remove_dir_all(place("restored")));
        small().restore(place(from), place("restored"), what, |_, _| {})
    };
    let whole = restored("backup", Until::End.into()).unwrap();
    assert_eq!(whole.witness, WitnessedBy::Backup { end: report.end, time });
    assert_eq!((whole.contents, whole.end), (report.contents, report.end));
    let checked = small().open(place("restored")).unwrap().check(|_, _| {}).unwrap();
    let counts = Contents {
        frame_count: checked.frame_count,
        object_count: checked.object_count,
        version_count: checked.version_count,
        refusal_count: checked.refusal_count,
    };
    assert_eq!(counts, report.contents);

    let mut boundaries = boundaries(&place("backup"));
    boundaries.retain(|&boundary| self::place(boundary).1 > 96);
    for &cut in boundaries.iter().skip(4).rev().skip(1).take(20) {
        let (segment, offset) = self::place(cut);
        drop(fs::remove_dir_all(place("cut")));
        copy(&place("backup"), &place("cut"));
        for later in segment + 1..9 {
            drop(fs::remove_file(place("cut").join(format!("log/{later:08}.log"))));
        }
        let log = place("cut").join(format!("log/{segment:08}.log"));
        OpenOptions::new().write(true).open(log).unwrap().set_len(offset).unwrap();
        for until in [Until::End, Until::Time(Time::MAX)] {
            let error = restored("cut", until.into()).unwrap_err();
            let ErrorKind::BackupCut { found, expected } = *error.kind() else { panic!("{error}") };
            assert_eq!((found, expected), (cut, report.end));
            assert!(!place("restored").exists(), "nothing is left behind");
        }
        let other = Restoring::from(Until::End).accept_end(Some(boundaries[3]));
        assert!(restored("cut", other).is_err(), "another end was accepted");
        let this = Restoring::from(Until::End).accept_end(Some(cut)).allow_empty(true);
        assert_eq!(restored("cut", this).unwrap().end, cut);
        // Nor is it opened as it is.
        let error = small().read_only(true).open(place("cut")).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::BackupCut { found: cut, expected: report.end });
    }
    // A database that is closed has its index; what has neither says so.
    store.close().unwrap();
    drop(store);
    let last = boundaries[boundaries.len() - 2];
    let (segment, offset) = self::place(last);
    let log = place("db").join(format!("log/{segment:08}.log"));
    assert!(matches!(restored("db", Until::End.into()).unwrap().witness, WitnessedBy::Index(_)));
    OpenOptions::new().write(true).open(log).unwrap().set_len(offset).unwrap();
    for later in segment + 1..9 {
        drop(fs::remove_file(place("db").join(format!("log/{later:08}.log"))));
    }
    let error = restored("db", Until::End.into()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BackupCut { .. }), "{error}");
    fs::remove_file(place("backup/backup.witness")).unwrap();
    let report = restored("backup", Until::End.into()).unwrap();
    assert_eq!(report.witness, WitnessedBy::Nothing);
}

/// Regression: a write to a backup was in no later backup, and no backup continued it any more.
#[test]
fn a_backup_is_not_opened_for_writing() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    append(&store, &[Author::new(3).1], &[]).unwrap();
    backup(&store, &place("backup")).unwrap();
    let files = log_files(&place("backup"));
    for options in [small(), small().existing(true)] {
        let error = options.open(place("backup")).unwrap_err();
        assert_eq!((error.kind(), error.path()), (&ErrorKind::IsBackup, Some(&*place("backup"))));
    }
    let error = small().repair(place("backup"), None, |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::IsBackup);
    let open = small().read_only(true).open(place("backup")).unwrap();
    assert_eq!(heads(&open), heads(&store));
    assert!(log_files(&place("backup")) == files && !place("backup/index.redb").exists());
    drop(restore(&place("backup"), &place("restored"), Until::End).unwrap());
    append(&small().open(place("restored")).unwrap(), &[Author::new(4).1], &[]).unwrap();
}

/// An index alone says nothing about a backup: it was only read.
#[test]
fn a_backup_with_an_index_is_a_backup() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    append(&store, &[Author::new(3).1], &[]).unwrap();
    let to = place("backup");
    backup(&store, &to).unwrap();
    let witness = fs::read(to.join("backup.witness")).unwrap();
    fs::remove_file(to.join("backup.witness")).unwrap();
    drop(small().open(&to).unwrap());
    fs::write(to.join("backup.witness"), witness).unwrap();
    assert!(to.join("index.redb").exists() && small().is_backup(&to).unwrap());
    assert_eq!(small().open(&to).unwrap_err().kind(), &ErrorKind::IsBackup);
    append(&store, &[Author::new(4).1], &[]).unwrap();
    backup(&store, &to).unwrap();
    assert_eq!(heads_at(&to), heads(&store));
    // A damaged witness says how to go on.
    fs::write(to.join("backup.witness"), "garbled").unwrap();
    let told = small().read_only(true).open(&to).unwrap_err().to_string();
    assert!(told.contains("or remove the file"), "{told}");
}

/// A backup that was stopped while it followed what retention had done had all that was new, and a
/// record of less: it was not restored as it was.
#[test]
fn a_backup_that_is_stopped_on_its_way_vouches_for_all_it_has() {
    for is_compacted in [false, true] {
        let directory = TempDir::new().unwrap();
        let place = |name: &str| directory.path().join(name);
        let store = small().verify_bytes(1).open(place("db")).unwrap();
        let mut fleet = Fleet::new(rand::random::<u32>().into());
        while store.stats().unwrap().segment_count < 4 {
            fleet.append(&store);
        }
        // The backup is stopped after `steps` reports of progress.
        let backup = |steps: u64| {
            let mut told = 0;
            let backed_up = store.backup(place("backup"), |_, _| {
                told += 1;
                if told > steps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (backed_up, told)
        };
        backup(u64::MAX).0.unwrap();
        fleet.append(&store);
        // A file that the next one has to copy again.
        match is_compacted {
            true => drop(store.compact(Time::MIN, |_, _| {}).unwrap()),
            false => {
                let log = place("backup/log/00000001.log");
                let mut bytes = fs::read(&log).unwrap();
                bytes[200] ^= 1;
                fs::write(&log, bytes).unwrap();
            }
        }
        copy(&place("backup"), &place("start"));
        let (whole, all) = backup(u64::MAX);
        assert_eq!(whole.unwrap().mended.is_empty(), is_compacted);
        let mut new_count = 0;
        for steps in 0..all {
            fs::remove_dir_all(place("backup")).unwrap();
            copy(&place("start"), &place("backup"));
            let Err(error) = backup(steps).0 else { continue };
            assert_eq!(error.kind(), &ErrorKind::Stopped);
            match small().restore(place("backup"), place("to"), Until::End, |_, _| {}) {
                Ok(report) => {
                    assert!(is_compacted && report.beyond == 0, "step {steps}: {report:?}");
                    new_count += u64::from(report.end == end(&store));
                    fs::remove_dir_all(place("to")).unwrap();
                }
                Err(error) => assert!(!is_compacted && is_damage(&error), "{steps}: {error}"),
            }
            // A file that was not copied again does not count as verified.
            let report = backup(u64::MAX).0.unwrap();
            assert_eq!(report.mended.is_empty(), is_compacted, "step {steps}");
        }
        assert_eq!(new_count > 0, is_compacted, "some are stopped behind what is new");
    }
}

fn is_damage(error: &continuant_storage::Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged { .. })
}

/// The content of a directory before a backup into it, and the content to come.
struct Between<'a> {
    options: Options,
    place: &'a Path,
    had: (Position, Vec<ObjectInfo>),
    new: (Position, Vec<ObjectInfo>),
}

impl Between<'_> {
    /// Asserts that a backup has either content, whole, however it is read; returns whether it is
    /// the new one.
    fn check(&self, at: &str) -> bool {
        let (to, restored) = (self.place.join("backup"), self.place.join("restored"));
        assert!(small().is_backup(&to).unwrap(), "{at}");
        let options = self.options.clone();
        let report = options.restore(&to, &restored, Until::End, |_, _| {});
        let report = report.unwrap_or_else(|error| panic!("{at}: {error}"));
        fs::remove_dir_all(&restored).unwrap();
        let is_new = report.end == self.new.0;
        let (end, expected) = if is_new { &self.new } else { &self.had };
        assert_eq!((report.end, report.beyond, report.pruned), (*end, 0, 0), "{at}");
        let WitnessedBy::Backup { end: witnessed, .. } = report.witness else { panic!("{at}") };
        assert_eq!(witnessed, *end, "{at}");
        assert_eq!(&heads_at(&to), expected, "{at}");
        is_new
    }
}

/// Regression: a backup that was killed between two of its renames had the trimmed form of its last
/// segment and not yet the next one, so that objects had no state in it and nothing confirmed its
/// end.
#[test]
fn a_backup_that_is_killed_at_any_change_is_the_old_one_or_the_new_one() {
    for kind in 0..4 {
        kill_anywhere(kind, false);
    }
    // One that fails once cleans up.
    kill_anywhere(0, true);
}

fn kill_anywhere(kind: u32, once: bool) {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let to = place("backup");
    let disk = WatchedDisk::new(&to);
    let store = small().disk(Arc::new(disk.clone())).open(place("db")).unwrap();
    let mut fleet = Fleet::new(rand::random::<u32>().into());
    let keep = |count| store.set_retention(None, Retention::Versions(count)).unwrap();
    let until = |fleet: &mut Fleet, segments| {
        while store.stats().unwrap().segment_count < segments {
            fleet.append(&store);
        }
    };
    until(&mut fleet, 2);
    if kind == 1 {
        // Packs that the next backup trims again.
        keep(9);
        store.compact(Time::MIN, |_, _| {}).unwrap();
    }
    backup(&store, &to).unwrap();
    let had = (end(&store), heads_at(&to));
    if kind == 2 {
        // The backup has its last segment as a pack, which the database has not.
        compact_a_backup(&to);
    }
    keep(1);
    until(&mut fleet, if kind == 3 { 2 } else { 4 });
    if kind != 2 {
        store.compact_all(Time::MIN, |_, _| {}).unwrap();
    }
    copy(&to, &place("start"));
    backup(&store, &place("whole")).unwrap();
    let new = (end(&store), heads_at(&place("whole")));
    let options = small().disk(Arc::new(disk.clone()));
    let between = Between { options, place: directory.path(), had, new };
    disk.seen(|seen| seen.once = once);
    let (mut was_new, mut killed_count) = (false, 0);
    for at in 0.. {
        fs::remove_dir_all(&to).unwrap();
        copy(&place("start"), &to);
        // Every change from number `at` on fails, as after a kill.
        let (failed, fired) = disk.failing(at, || backup(&store, &to));
        if fired == 0 {
            failed.unwrap();
            break;
        }
        let about = format!("kind {kind}, change {at}");
        let is_new = between.check(&about);
        assert!(is_new || !was_new, "{about}: it was new before");
        (was_new, killed_count) = (is_new, killed_count + 1);
        // The next one is killed as well.
        let again = fleet.rng.random_range(0..12);
        let (_, fired) = disk.failing(again, || backup(&store, &to));
        let is_new = between.check(&format!("{about}, then {again}"));
        assert!(is_new || !was_new, "{about}, then {again}: it was new before");
        if fired == 0 {
            assert!(is_new, "{about}");
        }
        let report = backup(&store, &to).unwrap();
        assert!(report.mended.is_empty(), "{about}: {:?}", report.mended);
        assert!(log_files(&to) == log_files(&place("whole")), "{about}");
        let left = fs::read_dir(&to).unwrap().chain(fs::read_dir(to.join("log")).unwrap());
        let left = left.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".tmp")
        });
        assert_eq!(left.count(), 0, "{about}");
    }
    assert!(was_new && killed_count > 10, "{killed_count} changes");
}

/// A staged witness counts once it is whole, and all that it covers is there.
#[test]
fn what_is_staged_without_all_that_its_witness_covers_is_nothing() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let to = place("backup");
    let disk = WatchedDisk::new(&to);
    let options = small().disk(Arc::new(disk.clone()));
    let store = options.clone().open(place("db")).unwrap();
    let mut fleet = Fleet::new(rand::random::<u32>().into());
    fleet.append(&store);
    backup(&store, &to).unwrap();
    let had = (end(&store), heads_at(&to));
    while store.stats().unwrap().segment_count < 3 {
        fleet.append(&store);
    }
    store.set_retention(None, Retention::Versions(1)).unwrap();
    store.compact(Time::MIN, |_, _| {}).unwrap();
    copy(&to, &place("start"));
    backup(&store, &place("whole")).unwrap();
    let new = (end(&store), heads_at(&place("whole")));
    let between = Between { options, place: directory.path(), had, new };
    let (witness, last) = (to.join("backup.witness.tmp"), to.join("log/00000003.log.tmp"));
    // Killed once the witness is there and nothing has its name yet.
    let is_staged = (0..).find(|&at| {
        fs::remove_dir_all(&to).unwrap();
        copy(&place("start"), &to);
        disk.failing(at, || backup(&store, &to)).0.unwrap_err();
        fs::metadata(&witness).is_ok_and(|found| found.len() == 176) && between.check("staged")
    });
    assert!(is_staged.is_some() && to.join("log/00000001.pack.tmp").exists());
    copy(&to, &place("staged"));
    let bytes = fs::read(&witness).unwrap();
    let without: [(&str, &dyn Fn()); 7] = [
        ("a cut witness", &|| fs::write(&witness, &bytes[..175]).unwrap()),
        ("a changed witness", &|| {
            let mut bytes = bytes.clone();
            bytes[50] ^= 1;
            fs::write(&witness, bytes).unwrap();
        }),
        ("no last segment", &|| fs::remove_file(&last).unwrap()),
        ("a cut pack", &|| {
            let pack = to.join("log/00000001.pack.tmp");
            let bytes = fs::read(&pack).unwrap();
            fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("no header of a segment", &|| {
            let file = OpenOptions::new().write(true).open(&last).unwrap();
            file.write_all_at(&[0; 96], 0).unwrap();
        }),
        ("a witness that ends within its last frame", &|| {
            fs::write(&witness, forged(&bytes, 40, |end| end - 8)).unwrap();
        }),
        ("no last frame", &|| {
            let bytes = fs::read(&last).unwrap();
            fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
        }),
    ];
    for (what, lose) in without {
        fs::remove_dir_all(&to).unwrap();
        copy(&place("staged"), &to);
        lose();
        assert!(!between.check(what), "{what}");
        assert!(backup(&store, &to).unwrap().mended.is_empty(), "{what}");
        assert!(log_files(&to) == log_files(&place("whole")), "{what}");
    }
}

/// Returns a witness with another number at an offset, and the check of that.
fn forged(witness: &[u8], at: usize, change: impl FnOnce(u64) -> u64) -> Vec<u8> {
    let mut bytes = witness[..144].to_vec();
    let found = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    bytes[at..at + 8].copy_from_slice(&change(found).to_le_bytes());
    let check = blake3::derive_key("continuant 2 backup witness", &bytes);
    bytes.extend(check);
    bytes
}

/// Regression: the database was called damaged.
#[test]
fn a_forged_witness_does_not_make_the_database_damaged() {
    let directory = TempDir::new().unwrap();
    let (to, whole) = (directory.path().join("backup"), directory.path().join("whole"));
    let store = small().open(directory.path().join("db")).unwrap();
    let mut fleet = Fleet::new(11);
    (0..9).for_each(|_| drop(fleet.append(&store)));
    backup(&store, &to).unwrap();
    let witness = to.join("backup.witness");
    let bytes = fs::read(&witness).unwrap();
    fleet.append(&store);
    let expected = backup(&store, &whole).unwrap().contents;
    for (at, less) in [(40, 8), (48, 8), (48, 1 << 32)] {
        fs::write(&witness, forged(&bytes, at, |place| place - less)).unwrap();
        assert_eq!(backup(&store, &to).unwrap().contents, expected, "{at} less {less}");
        assert_eq!(fs::read(&witness).unwrap(), fs::read(whole.join("backup.witness")).unwrap());
    }
    fs::write(&witness, forged(&bytes, 88, |_| u64::MAX)).unwrap();
    let report = backup(&store, &to).unwrap();
    assert_eq!((report.contents, report.mended.len()), (expected, 1));
}

/// Regression: an opened backup that was cut named an index that it does not have.
#[test]
fn a_backup_that_was_cut_says_the_same_however_it_is_read() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let mut fleet = Fleet::new(12);
    while store.stats().unwrap().segment_count < 3 {
        fleet.append(&store);
    }
    (0..2).for_each(|_| drop(fleet.append(&store)));
    let expected = backup(&store, &place("backup")).unwrap().end;
    let places = boundaries(&place("backup"));
    let [.., found, last] = places[..] else { panic!("{places:?}") };
    assert_eq!(last, expected);
    let (segment, offset) = self::place(found);
    let cuts = [(segment, offset), (segment, offset + 90), (2, 0)];
    for (number, length) in cuts {
        copy(&place("backup"), &place("cut"));
        let log = |number| place("cut").join(format!("log/{number:08}.log"));
        match length {
            0 => (number..9).for_each(|number| drop(fs::remove_file(log(number)))),
            _ => OpenOptions::new().write(true).open(log(number)).unwrap().set_len(length).unwrap(),
        }
        let error = small().read_only(true).open(place("cut")).unwrap_err();
        let restored = small().restore(place("cut"), place("restored"), Until::End, |_, _| {});
        assert_eq!(restored.unwrap_err().kind(), error.kind());
        let ErrorKind::BackupCut { found: end, expected: had } = *error.kind() else {
            panic!("{number} at {length}: {error}")
        };
        assert!(had == expected && (length == 0 || end == found), "{end} of {had}");
        fs::remove_dir_all(place("cut")).unwrap();
    }
}

/// Replaces all segments of a backup by packs that have all that they had.
fn compact_a_backup(to: &Path) {
    // A backup opens for writing only after its witness is removed.
    let witness = fs::read(to.join("backup.witness")).unwrap();
    fs::remove_file(to.join("backup.witness")).unwrap();
    let open = small().open(to).unwrap();
    assert!(open.compact(Time::MIN, |_, _| {}).unwrap().segment_count > 0);
    drop(open);
    fs::write(to.join("backup.witness"), witness).unwrap();
}

/// Regression: a restore into a first backup that was killed before its witness had its name made a
/// database that was taken for a backup for ever.
#[test]
fn a_first_backup_that_was_killed_before_its_witness_had_its_name_is_a_backup() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let (to, disk) = (place("backup"), WatchedDisk::new(&place("backup")));
    let store = small().disk(Arc::new(disk.clone())).open(place("db")).unwrap();
    append(&store, &[Author::new(3).1], &[]).unwrap();
    let staged = to.join("backup.witness.tmp");
    let is_staged = (0..20).any(|at| {
        fs::remove_dir_all(&to).unwrap_or_default();
        disk.failing(at, || backup(&store, &to)).0.unwrap_err();
        fs::metadata(&staged).is_ok_and(|found| found.len() == 176)
    });
    assert!(is_staged && !to.join("backup.witness").exists());
    let witness = fs::read(&staged).unwrap();
    backup(&store, &place("other")).unwrap();
    let unfinished = ErrorKind::Unfinished { is_backup: true };
    assert_eq!(small().open(&to).unwrap_err().kind(), &unfinished);
    let error = small().restore(place("other"), &to, Until::End, |_, _| {}).unwrap_err();
    assert_eq!((error.kind(), fs::read(&staged).unwrap()), (&unfinished, witness.clone()));
    backup(&store, &to).unwrap();
    assert_eq!(heads_at(&to), heads(&store));

    // A database that such a restore made earlier is opened.
    drop(restore(&to, &place("restored"), Until::End).unwrap());
    let staged = place("restored/backup.witness.tmp");
    fs::write(&staged, &witness).unwrap();
    assert!(!small().is_backup(place("restored")).unwrap());
    small().repair(place("restored"), None, |_, _| {}).unwrap();
    fs::write(&staged, &witness).unwrap();
    assert_eq!(heads(&small().open(place("restored")).unwrap()), heads(&store));
    assert!(!staged.exists());
    // A database with the staged witness of another one is opened too.
    drop(small().open(place("foreign")).unwrap());
    fs::copy(to.join("backup.witness"), place("foreign/backup.witness.tmp")).unwrap();
    assert!(!small().is_backup(place("foreign")).unwrap());
    fs::copy(to.join("backup.witness"), place("foreign/backup.witness")).unwrap();
    let error = small().open(place("foreign")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OtherDatabase { .. }), "{error}");
}

#[test]
fn an_unfinished_backup_says_what_it_is_and_goes_on() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let mut fleet = Fleet::new(9);
    while store.stats().unwrap().segment_count < 4 {
        fleet.append(&store);
    }
    drop(small().open(place("db2")).unwrap());
    // The backup is stopped in order behind its first segment.
    let stopped = store.backup(place("backup"), |done, _| match done > 70 << 10 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    assert_eq!(stopped.unwrap_err().kind(), &ErrorKind::Stopped);
    let unfinished = ErrorKind::Unfinished { is_backup: true };
    let error = small().read_only(true).open(place("backup")).unwrap_err();
    assert_eq!(error.kind(), &unfinished);
    assert_eq!(small().open(place("backup")).unwrap_err().kind(), &unfinished);
    let error = restore(&place("backup"), &place("restored"), Until::End).unwrap_err();
    assert_eq!(error.kind(), &unfinished);
    let error = small().restore(place("db2"), place("backup"), Until::End, |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), &unfinished, "it is no place for a database");
    assert!(!place("restored").exists() && place("backup/log/00000001.log").exists());
    let report = backup(&store, &place("backup")).unwrap();
    assert!(report.written_bytes < report.bytes && report.mended.is_empty(), "it goes on");
    assert_eq!(heads_at(&place("backup")), heads(&store));

    // A stopped backup over an existing one leaves it unchanged.
    fleet.append(&store);
    let files = log_files(&place("backup"));
    let stopped = store.backup(place("backup"), |_, _| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap_err().kind(), &ErrorKind::Stopped);
    assert!(log_files(&place("backup")) == files);
    // A stopped restore leaves nothing.
    let stop = |done, _| match done > 70 << 10 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let stopped = small().restore(place("backup"), place("restored"), Until::End, stop);
    assert_eq!(stopped.unwrap_err().kind(), &ErrorKind::Stopped);
    assert!(!place("restored").exists());
    // One that is stopped while it reads has not even begun.
    let mut calls = 0;
    let stopped = small().restore(place("backup"), place("restored"), Until::End, |done, _| {
        assert_eq!((done, place("restored").exists()), (0, false));
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((stopped.unwrap_err().kind(), calls), (&ErrorKind::Stopped, 3));
}

/// Regression: a full disk of a backup was reported as the database's.
#[test]
fn a_full_disk_elsewhere_is_named_and_nothing_half_is_left() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let disk = WatchedDisk::new(&place("elsewhere"));
    let options = || small().disk(Arc::new(disk.clone()));
    let store = options().open(place("db")).unwrap();
    let mut fleet = Fleet::new(9);
    while store.stats().unwrap().segment_count < 3 {
        fleet.append(&store);
    }
    backup(&store, &place("kept")).unwrap();
    let target = |error: continuant_storage::Error| {
        let is_target = matches!(error.kind(), ErrorKind::Target { .. });
        assert!(is_target && !error.to_string().contains("compaction"), "{error}");
        assert!(error.path().unwrap().starts_with(place("elsewhere")), "{error}");
    };
    for at in 0.. {
        let to = place("elsewhere/backup");
        fs::create_dir_all(place("elsewhere")).unwrap();
        disk.seen(|seen| seen.is_full = true);
        let ((failed, restored), fired) = disk.failing(at, || {
            let (kept, db) = (place("kept"), place("elsewhere/db"));
            (backup(&store, &to), options().restore(kept, db, Until::End, |_, _| {}))
        });
        disk.seen(|seen| seen.is_full = false);
        if fired == 0 {
            failed.unwrap();
            restored.unwrap();
            break;
        }
        match failed {
            Ok(_) => {}
            Err(error) => target(error),
        }
        if let Err(error) = restored {
            target(error);
            assert!(!place("elsewhere/db").exists(), "change {at}");
        }
        fs::remove_dir_all(place("elsewhere")).unwrap();
    }
    fleet.append(&store);
    // A target that takes no more of a capsule is named as well.
    let id = fleet.authors[0].head.id;
    let error = store.export(id, &mut &mut [0; 100][..], |_, _| {}).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Target { .. }), "{error}");
    fleet.append(&store);
}

/// Regression: the only segment of a backup of an empty database was copied again without a word.
#[test]
fn a_backup_of_nothing_that_loses_its_segment_is_mended() {
    let directory = TempDir::new().unwrap();
    let (from, to) = (directory.path().join("db"), directory.path().join("backup"));
    let store = small().open(from).unwrap();
    assert!(backup(&store, &to).unwrap().mended.is_empty());
    fs::remove_file(to.join("log/00000001.log")).unwrap();
    let mended = backup(&store, &to).unwrap().mended;
    assert_eq!(mended.iter().map(|it| &*it.file).collect::<Vec<_>>(), ["log/00000001.log"]);
    assert!(backup(&store, &to).unwrap().mended.is_empty());
    append(&store, &[Author::new(1).1], &[]).unwrap();
    assert_eq!(backup(&store, &to).unwrap().contents.object_count, 1);
}

#[test]
fn a_restore_of_nothing_fails_and_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(place("db")).unwrap();
    let (author, genesis) = Author::new(3);
    let time = author.head.header.time;
    append(&store, &[genesis], &[]).unwrap();
    store.close().unwrap();
    drop(store);
    let restored = |what: Restoring| small().restore(place("db"), place("to"), what, |_, _| {});
    let error =
        restored(Until::Time(time.saturating_sub(Duration::from_millis(1))).into()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NothingThen { first: Some(time) });
    assert!(!place("to").exists());
    let report = restored(Until::Time(time).into()).unwrap();
    assert_eq!((report.contents.object_count, report.time), (1, Some(time)));
    fs::remove_dir_all(place("to")).unwrap();
    let empty = Restoring::from(Until::Time(time.saturating_sub(Duration::from_millis(1))))
        .allow_empty(true);
    let report = restored(empty).unwrap();
    assert_eq!((report.contents, report.left_out), (Contents::default(), 1));
    fs::remove_dir_all(place("to")).unwrap();
    let within = small().restore(place("db"), place("db/log/to"), Until::End, |_, _| {});
    let error = within.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Occupied);
    assert!(
        error.to_string().ends_with("it is in the directory that is to be restored"),
        "{error}"
    );
}

#[test]
fn a_changed_byte_is_named_and_not_copied() {
    for is_packed in [false, true] {
        let directory = TempDir::new().unwrap();
        let (path, to) = (directory.path().join("db"), directory.path().join("backup"));
        let store = small().open(&path).unwrap();
        let mut fleet = Fleet::new(rand::random::<u32>().into());
        while store.stats().unwrap().segment_count < 2 {
            fleet.append(&store);
        }
        // The backup ends in the middle of a segment, which it will get anew.
        let first = loop {
            backup(&store, &to).unwrap();
            let first = place(end(&store)).0;
            fleet.append(&store);
            if place(end(&store)).0 == first {
                break first;
            }
        };
        while store.stats().unwrap().segment_count < u64::from(first) + 3 {
            fleet.append(&store);
        }
        let expected = heads(&store);
        drop(store);
        if is_packed {
            small().open(&path).unwrap().compact(Time::MIN, |_, _| {}).unwrap();
        }
        damage_each(&path, &to, first, &mut fleet.rng);
        backup(&small().open(&path).unwrap(), &to).unwrap();
        assert_eq!(heads_at(&to), expected);
    }
}

/// Changes bytes of a database from a segment on, one at a time, and backs it up.
fn damage_each(path: &Path, to: &Path, first: u32, rng: &mut StdRng) {
    let had = log_files(to);
    let mut files = log_files(path);
    files.retain(|(name, _)| name[..8].parse::<u32>().unwrap() >= first);
    let rounds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 1000 } else { 60 };
    for _ in 0..rounds {
        // Opened anew, the store has read nothing yet.
        let store = small().open(path).unwrap();
        let (name, bytes) = &files[rng.random_range(0..files.len())];
        let log = OpenOptions::new().write(true).open(path.join("log").join(name)).unwrap();
        let at = rng.random_range(0..bytes.len());
        let flip = [0x01, 0x80, 0xff][rng.random_range(0..3)];
        log.write_all_at(&[bytes[at] ^ flip], at as u64).unwrap();
        let error = backup(&store, to).unwrap_err();
        match error.kind() {
            ErrorKind::Damaged { file: found, offset, .. } => {
                assert_eq!(*found, format!("log/{name}"), "byte {at}: {error}");
                assert!(*offset <= at as u64 && error.path() == Some(path), "byte {at}: {error}");
            }
            ErrorKind::NewerFormat { .. } => assert!((8..12).contains(&at), "byte {at}"),
            _ => panic!("byte {at} of {name}: {error}"),
        }
        log.write_all_at(&[bytes[at]], at as u64).unwrap();
        assert!(log_files(to) == had, "nothing of it is in the backup");
    }
}

/// A position's segment and offset.
fn place(position: Position) -> (u32, u64) {
    let text = position.to_string();
    let (segment, offset) = text.split_once(':').unwrap();
    (segment.parse().unwrap(), offset.parse().unwrap())
}

/// A moment of a store: its heads, and the earliest time in the last frame before, unless that is
/// of an import.
struct Moment {
    end: Position,
    heads: Vec<ObjectInfo>,
    time: Option<Time>,
}

fn times(made: &[Made]) -> impl Iterator<Item = Time> {
    made.iter().map(|made| match made {
        Made::Version { bytes, .. } => Commit::decode(bytes).unwrap().header.time,
        Made::Refusal(refusal) => Input::decode(&refusal.input).unwrap().time,
    })
}

/// Works on a store that is new, imports an object, works on; the moments behind each append and
/// import. Closes the store.
fn moments(path: &Path, seed: u64) -> Vec<Moment> {
    let store = small().open(path).unwrap();
    let mut fleet = Fleet::new(seed);
    let mut moments: Vec<Moment> = Vec::new();
    let mut note = |times: &mut dyn Iterator<Item = Time>| {
        let heads = store.list(None, usize::MAX).unwrap();
        moments.push(Moment { end: end(&store), heads, time: times.min() });
    };
    note(&mut std::iter::empty());
    for step in 0..24 {
        if step == 12 {
            import(&store);
            note(&mut std::iter::empty());
        }
        note(&mut times(&fleet.append(&store)));
    }
    store.close().unwrap();
    moments
}

/// Imports an object of another store.
fn import(store: &Store) {
    let directory = TempDir::new().unwrap();
    let other = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1234);
    let made: Vec<Made> = std::iter::once(genesis).chain((0..5).map(|_| author.next())).collect();
    // An author's head is the last one only at the end of its steps.
    append(&other, &made[..1], &[]).unwrap();
    append(&other, &made[1..], &[]).unwrap();
    let mut bytes = Vec::new();
    other.export(author.head.id, &mut bytes, |_, _| {}).unwrap();
    let mut reader = CapsuleReader::new(&bytes[..]).unwrap();
    while reader.next().unwrap().is_some() {}
    store.import(&bytes[..], &author.head, reader.seal().unwrap()).unwrap();
}

#[test]
fn a_database_is_restored_to_every_frame_boundary() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("restored"));
    let seed = rand::random::<u32>().into();
    let moments = moments(&path, seed);
    let boundaries = boundaries(&path);
    assert!(boundaries.len() > moments.len() + 5, "an import has frames of its own");
    for &boundary in &boundaries {
        let expected = moments.iter().rfind(|moment| moment.end <= boundary).unwrap();
        let restored = restore(&path, &to, Until::Position(boundary)).unwrap();
        assert_eq!(heads(&restored), expected.heads, "seed {seed}: {boundary}");
        drop(restored);
        fs::remove_dir_all(&to).unwrap();
    }
    let (segment, offset) = place(*boundaries.last().unwrap());
    for nowhere in
        [format!("{segment}:{}", offset + 1), format!("{}:96", segment + 1), "1:97".into()]
    {
        let until = Until::Position(nowhere.parse().unwrap());
        let error = small().restore(&path, &to, until, |_, _| {}).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotABoundary { .. }), "{nowhere}: {error}");
        assert!(!to.exists(), "nothing is made");
    }
    let restored = restore(&path, &to, Until::Position(boundaries[3])).unwrap();
    drop(restored);
    let error = small().restore(&path, &to, Until::End, |_, _| {}).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&ErrorKind::Occupied, Some(&*to)));
}

/// The names of the files of a log, with their bytes.
fn log_files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(path.join("log")).unwrap().map(|file| file.unwrap().path());
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_string();
    let mut files: Vec<_> = files.map(|file| (name(&file), fs::read(file).unwrap())).collect();
    // Nobody reads files with this ending.
    files.retain(|(name, _)| !name.ends_with(".tmp"));
    files.sort();
    files
}

#[test]
fn a_backup_follows_what_retention_does() {
    // Regression: 810875613. Under a rule that keeps more than the one before it, compaction looked
    // for what had been let go, and took that for damage.
    for seed in [810_875_613, rand::random::<u32>().into()] {
        follow_retention(seed);
    }
}

/// Returns the versions of which a backup has more than their headers.
fn whole(path: &Path) -> BTreeSet<String> {
    let store = small().read_only(true).open(path).unwrap();
    let mut whole = BTreeSet::new();
    for info in store.list(None, usize::MAX).unwrap() {
        for version in store.versions(info.id, 0..info.seq + 1, Direction::Forward).unwrap() {
            let version = version.unwrap();
            whole.extend(version.payloads().map(|_| version.hash().to_string()));
        }
    }
    whole
}

fn follow_retention(seed: u64) {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("backup"));
    let mut fleet = Fleet::new(seed);
    let mut store = small().open(&path).unwrap();
    let (mut packed, mut had) = (0, BTreeSet::new());
    for round in 0..12 {
        for _ in 0..fleet.rng.random_range(0..20) {
            fleet.append(&store);
        }
        if fleet.rng.random_bool(0.5) {
            let kept = fleet.rng.random_range(1..30);
            store.set_retention(None, Retention::Versions(kept)).unwrap();
        }
        if fleet.rng.random_bool(0.6) {
            packed += store.compact(Time::MIN, |_, _| {}).unwrap().segment_count;
        }
        let report = backup(&store, &to).unwrap();
        assert_eq!(report.end, end(&store));
        assert_eq!(heads_at(&to), heads(&store), "round {round}");
        let has = whole(&to);
        assert_eq!(report.trimmed_count, had.difference(&has).count() as u64, "round {round}");
        had = has;
        let again = backup(&store, &to).unwrap();
        assert_eq!((again.written_bytes, again.trimmed_count), (0, 0));
        drop(store);
        assert!(log_files(&to) == log_files(&path), "round {round}: it has the same files");
        store = small().open(&path).unwrap();
    }
    assert!(packed > 0);
    let restored = restore(&to, &directory.path().join("restored"), Until::End).unwrap();
    assert_eq!(heads(&restored), heads(&store));
    assert_eq!(restored.retention(None).unwrap(), store.retention(None).unwrap());
}

#[test]
fn a_backup_that_was_compacted_itself_has_what_the_database_has() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("backup"));
    let mut fleet = Fleet::new(rand::random::<u32>().into());
    let store = small().open(&path).unwrap();
    while store.stats().unwrap().segment_count < 4 {
        fleet.append(&store);
    }
    backup(&store, &to).unwrap();
    compact_a_backup(&to);
    assert!(to.join("log/00000003.pack").exists());
    let report = backup(&store, &to).unwrap();
    assert_eq!(report.new_bytes, 0);
    assert!(report.written_bytes > 0);
    drop(store);
    assert!(log_files(&to) == log_files(&path));
}

#[test]
fn a_database_of_packs_is_restored_to_every_frame_boundary() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("restored"));
    let seed = rand::random::<u32>().into();
    let moments = moments(&path, seed);
    let boundaries = boundaries(&path);
    let store = small().open(&path).unwrap();
    let compacted = store.compact(Time::MIN, |_, _| {}).unwrap();
    assert!(compacted.segment_count > 0 && compacted.trimmed_count == 0, "{compacted:?}");
    store.close().unwrap();
    drop(store);
    for &boundary in &boundaries {
        let expected = moments.iter().rfind(|moment| moment.end <= boundary).unwrap();
        let restored = restore(&path, &to, Until::Position(boundary)).unwrap();
        assert_eq!(heads(&restored), expected.heads, "seed {seed}: {boundary}");
        let (author, genesis) = Author::new(77);
        append(&restored, &[genesis], &[]).unwrap();
        drop(restored);
        let restored = small().open(&to).unwrap();
        assert_eq!(heads(&restored).len(), expected.heads.len() + 1, "it goes on");
        assert_eq!(restored.head(author.head.id).unwrap().unwrap().head, author.head);
        drop(restored);
        fs::remove_dir_all(&to).unwrap();
    }
    let inside: Position = format!("1:{}", place(boundaries[1]).1 + 1).parse().unwrap();
    let error = restore(&path, &to, Until::Position(inside)).unwrap_err();
    let ErrorKind::NotABoundary { found, before, behind } = *error.kind() else {
        panic!("{error}")
    };
    assert_eq!((found, before, behind), (inside, boundaries[1], Some(boundaries[2])));
    assert!(!to.exists(), "nothing is made");
    let last = *boundaries.last().unwrap();
    let beyond: Position = format!("{}:{}", place(last).0, place(last).1 + 7).parse().unwrap();
    let error = restore(&path, &to, Until::Position(beyond)).unwrap_err();
    let expected = ErrorKind::NotABoundary { found: beyond, before: last, behind: None };
    assert_eq!(error.kind(), &expected);
}

/// Regression: a restore to a moment whose states retention had dropped made objects that no one
/// could read.
#[test]
fn what_retention_let_go_is_not_restored_unless_that_is_said() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("restored"));
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(4);
    append(&store, &[genesis], &[("visits", author.head.id)]).unwrap();
    let mut ends = vec![end(&store)];
    while store.stats().unwrap().segment_count < 4 {
        append(&store, &[author.step()], &[]).unwrap();
        ends.push(end(&store));
    }
    let id = author.head.id;
    store.set_retention(None, Retention::Versions(5)).unwrap();
    assert!(store.compact(Time::MIN, |_, _| {}).unwrap().trimmed_count > 10);
    drop(store);
    // The objects with a state at each place, as shown by a restore that allows pruned ones.
    let mut has_state = Vec::new();
    for (seq, &place) in ends.iter().enumerate() {
        let what = Restoring::from(Until::Position(place)).allow_pruned(true);
        let report = small().restore(&path, &to, what, |_, _| {}).unwrap();
        let restored = small().existing(true).open(&to).unwrap();
        let checked = restored.check(|_, _| {}).unwrap();
        assert_eq!(restored.info(id).unwrap().unwrap().seq, seq as u64);
        assert_eq!(restored.lineage(id).unwrap().map(Result::unwrap).count(), seq + 1);
        let read = restored.head(id);
        if let Err(error) = &read {
            assert!(matches!(error.kind(), ErrorKind::Pruned { .. }), "{error}");
        }
        // A check says so, too.
        let kinds: Vec<_> = checked.damage.iter().map(|damage| damage.error().kind()).collect();
        match (&read, &kinds[..]) {
            (Ok(_), []) => {}
            (Err(_), [ErrorKind::NoState { seq: found, .. }]) if *found == seq as u64 => {}
            (_, kinds) => panic!("version {seq}: {kinds:?}"),
        }
        has_state.push(read.is_ok());
        assert_eq!(report.pruned, u64::from(read.is_err()), "version {seq}");
        drop(restored);
        fs::remove_dir_all(&to).unwrap();
    }
    assert!(!has_state[10] && has_state[ends.len() - 5], "some are gone, those kept are not");
    for (seq, &place) in ends.iter().enumerate() {
        let restored = small().restore(&path, &to, Until::Position(place), |_, _| {});
        if has_state[seq] {
            assert_eq!(restored.unwrap().pruned, 0);
            fs::remove_dir_all(&to).unwrap();
            continue;
        }
        let error = restored.unwrap_err();
        let ErrorKind::StatesPruned(pruned) = error.kind() else { panic!("{error}") };
        let name = Some("visits".to_string());
        assert_eq!(pruned.objects, [PrunedObject { id, name, seq: seq as u64 }]);
        let next = (seq..).find(|&seq| has_state[seq]).unwrap();
        assert_eq!((pruned.count, pruned.earliest.unwrap().0), (1, ends[next]));
        assert!(!to.exists(), "nothing is made");
    }
}

/// Damage behind the place that was asked for failed a restore without states, though it is not
/// read.
#[test]
fn damage_behind_a_place_without_states_is_nobodys_concern() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("restored"));
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(4);
    append(&store, &[genesis], &[("visits", author.head.id)]).unwrap();
    let early = end(&store);
    while store.stats().unwrap().segment_count < 4 {
        append(&store, &[author.step()], &[]).unwrap();
    }
    store.set_retention(None, Retention::Versions(5)).unwrap();
    assert!(store.compact(Time::MIN, |_, _| {}).unwrap().trimmed_count > 10);
    drop(store);
    let restored = |what: Restoring| small().restore(&path, &to, what, |_, _| {});
    let what = Restoring::from(Until::Position(early));
    let ErrorKind::StatesPruned(before) = restored(what).unwrap_err().kind().clone() else {
        panic!("there is no state")
    };
    assert!(before.earliest.is_some());
    // A pack's directory is read before any of its frames.
    for number in [2, 3] {
        let pack = path.join(format!("log/{number:08}.pack"));
        let bytes = fs::read(&pack).unwrap();
        fs::write(&pack, &bytes[..bytes.len() - 1]).unwrap();
        let error = restored(what).unwrap_err();
        let ErrorKind::StatesPruned(pruned) = error.kind() else { panic!("{error}") };
        assert_eq!((pruned.count, pruned.earliest), (1, None), "pack {number}");
        assert_eq!(restored(what.allow_pruned(true)).unwrap().pruned, 1);
        fs::remove_dir_all(&to).unwrap();
        fs::write(&pack, bytes).unwrap();
    }
}

/// The part of a log that a time stands for: up to the first frame that is later; or, where later
/// ones stand before some that are not, where these end and the first of the later starts.
fn asked(moments: &[Moment], time: u64) -> (usize, Option<usize>) {
    let is_later =
        |moment: &Moment| moment.time.is_some_and(|other| other > Time::from_millis(time));
    let is_not =
        |moment: &Moment| moment.time.is_some_and(|other| other <= Time::from_millis(time));
    let first = moments.iter().position(is_later).unwrap_or(moments.len());
    let behind = moments[first..].iter().rposition(is_not).map(|index| first + index);
    let untimed = |index: usize| {
        moments[index + 1..].iter().take_while(|moment| moment.time.is_none()).count()
    };
    (first - 1, behind.map(|index| index + untimed(index)))
}

/// Regression: a restore to a time kept later frames that stood before a frame of that time, as
/// behind a clock that once went back: the very change that was to be undone.
#[test]
fn a_database_is_restored_to_a_time_and_asks_where_that_names_no_place() {
    let first: u64 = rand::random::<u32>().into();
    // A database with a single object has its times in order.
    let asked_count: u64 = (first..first + 6).map(restore_to_times).sum();
    assert!(asked_count > 0, "seed {first}: objects of different authors have their own times");
}

/// Restores a database to every time in it; returns how often it was asked for a place.
fn restore_to_times(seed: u64) -> u64 {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("restored"));
    let moments = moments(&path, seed);
    let mut times: Vec<Time> = moments.iter().filter_map(|moment| moment.time).collect();
    times.sort_unstable();
    times.dedup();
    let restored_to = |until: Until, expected: &Moment| {
        let restored = restore(&path, &to, until).unwrap();
        assert_eq!(heads(&restored), expected.heads, "seed {seed}: {until:?}");
        drop(restored);
        fs::remove_dir_all(&to).unwrap();
    };
    let mut asked_count = 0;
    for time in times.into_iter().flat_map(|time| {
        [
            time.saturating_sub(Duration::from_millis(1)),
            time,
            time.saturating_add(Duration::from_millis(1)),
        ]
    }) {
        let (last, behind) = asked(&moments, time.as_millis());
        let Some(behind) = behind else {
            restored_to(Until::Time(time), &moments[last]);
            continue;
        };
        asked_count += 1;
        let error = restore(&path, &to, Until::Time(time)).unwrap_err();
        let ErrorKind::TimesOutOfOrder(disorder) = error.kind() else { panic!("{error}") };
        assert!(!to.exists(), "nothing is made");
        assert_eq!(disorder.until, time);
        assert_eq!(Some(disorder.later_time), moments[last + 1].time);
        assert!(disorder.end_time <= time && disorder.later < disorder.end);
        assert_eq!(disorder.end, moments[behind].end, "seed {seed}: {time}");
        restored_to(Until::Position(disorder.later), &moments[last]);
        restored_to(Until::Position(disorder.end), &moments[behind]);
    }
    asked_count
}

#[test]
fn what_is_restored_goes_on_and_is_backed_up_anew() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let moments = moments(&place("db"), 5);
    let until = Until::Position(moments[9].end);
    let restored = restore(&place("db"), &place("restored"), until).unwrap();
    let (mut author, genesis) = Author::new(6);
    append(&restored, &[genesis, author.step()], &[]).unwrap();
    let expected = heads(&restored);
    assert_eq!(expected.len(), moments[9].heads.len() + 1);
    backup(&restored, &place("backup")).unwrap();
    drop(restored);
    assert_eq!(heads_at(&place("backup")), expected);
    let restored = small().open(place("restored")).unwrap();
    assert_eq!(heads(&restored), expected);
}

#[test]
fn a_torn_end_is_left_out_and_damage_is_not() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let moments = moments(&place("db"), 8);
    let boundaries = boundaries(&place("db"));
    let [.., before, last] = boundaries[..] else { panic!("there are frames") };
    let (segment, offset) = self::place(last);
    let file = format!("log/{segment:08}.log");
    copy(&place("db"), &place("torn"));
    fs::remove_file(place("torn/index.redb")).unwrap();
    let log = OpenOptions::new().write(true).open(place("torn").join(&file)).unwrap();
    log.set_len(offset - 3).unwrap();
    let report = small().restore(place("torn"), place("one"), Until::End, |_, _| {}).unwrap();
    assert_eq!(report.end, before);
    let heads_then = &moments[moments.len() - 2].heads;
    assert_eq!(&heads(&small().open(place("one")).unwrap()), heads_then);
    let error = restore(&place("torn"), &place("two"), Until::Position(last)).unwrap_err();
    let expected = ErrorKind::NotABoundary { found: last, before, behind: None };
    assert_eq!(error.kind(), &expected);

    // A broken frame in the middle: the log before it can be restored.
    let (early, lost) = (moments[5].end, self::place(moments[5].end));
    let log = place("db").join(format!("log/{:08}.log", lost.0));
    let mut bytes = fs::read(&log).unwrap();
    bytes[lost.1 as usize + 90] ^= 1;
    fs::write(&log, bytes).unwrap();
    for until in [Until::End, Until::Position(last), Until::Time(Time::MAX)] {
        let error = restore(&place("db"), &place("two"), until).unwrap_err();
        let ErrorKind::Damaged { file, offset, .. } = error.kind() else { panic!("{error}") };
        assert_eq!((file.as_str(), *offset), (&*format!("log/{:08}.log", lost.0), lost.1));
        assert_eq!(error.path(), Some(&*place("db")));
    }
    let restored = restore(&place("db"), &place("two"), Until::Position(early)).unwrap();
    assert_eq!(heads(&restored), moments[5].heads);
}

#[test]
fn a_place_in_a_log_is_read_as_it_is_printed() {
    let read: Position = "3:96".parse().unwrap();
    assert_eq!(read.to_string(), "3:96");
    for text in
        ["", "3", "3:", ":3", "3:-1", "03:1", "3:+1", "3:1 ", "4294967296:1", "1:4294967296"]
    {
        let error = text.parse::<Position>().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{text}: {error}");
    }
}

#[test]
fn a_restore_leaves_its_source_as_it_was() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let _ = moments(&place("db"), 2);
    let others =
        || ["continuant.db", "index.redb"].map(|name| fs::read(place("db").join(name)).unwrap());
    let before = (log_files(&place("db")), others());
    small().restore(place("db"), place("to"), Until::End, |_, _| {}).unwrap();
    assert!((log_files(&place("db")), others()) == before);
    assert!(log_files(&place("to")) == before.0);
    let open = small().open(place("db")).unwrap();
    let error = small().restore(place("db"), place("more"), Until::End, |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked);
    drop(open);
    let error = Options::new().restore(place("none"), place("more"), Until::End, |_, _| {});
    assert_eq!(error.unwrap_err().kind(), &ErrorKind::NotADatabase);
    assert!(!place("more").exists());
}
