//! Backups whose marker is lost or changed: they are restored as they are, and mended by the next
//! backup; and the lock of a backup, which is waited for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use continuant_storage::{ErrorKind, RestoreReport, Restoring, Result, Store, Until};
use tempfile::TempDir;

use super::disk::WatchedDisk;
use super::{Fleet, backup, boundaries, heads, heads_at, log_files};
use crate::author::{append, copy, small};

/// Changes the marker of a backup; returns whether it is gone.
type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 7] = [
    ("gone", |marker| fs::remove_file(marker).unwrap()),
    ("empty", |marker| fs::write(marker, "").unwrap()),
    ("cut", |marker| change(marker, |bytes| bytes.truncate(40))),
    ("longer", |marker| change(marker, |bytes| bytes.push(0))),
    ("another beginning", |marker| change(marker, |bytes| bytes[3] ^= 1)),
    ("another id", |marker| change(marker, |bytes| bytes[20] ^= 0xff)),
    ("something else", |marker| fs::write(marker, [7; 64]).unwrap()),
];

fn change(marker: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(marker).unwrap();
    change(&mut bytes);
    fs::write(marker, bytes).unwrap();
}

/// A database with a backup of its beginning, and the marker of both.
struct Backed {
    directory: TempDir,
    /// The disk of the store, which watches the backup.
    disk: WatchedDisk,
    store: Store,
    marker: Vec<u8>,
}

impl Backed {
    fn new(seed: u64) -> Backed {
        let directory = TempDir::new().unwrap();
        let disk = WatchedDisk::new(&directory.path().join("backup"));
        let store = small().disk(Arc::new(disk.clone())).open(directory.path().join("db")).unwrap();
        let mut fleet = Fleet::new(seed);
        (0..12).for_each(|_| drop(fleet.append(&store)));
        backup(&store, &directory.path().join("whole")).unwrap();
        let marker = fs::read(directory.path().join("whole/continuant.db")).unwrap();
        Backed { directory, disk, store, marker }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a copy of the whole backup, with a harmed marker.
    fn harmed(&self, harm: fn(&Path)) -> PathBuf {
        let to = self.place("backup");
        drop(fs::remove_dir_all(&to));
        copy(&self.place("whole"), &to);
        harm(&to.join("continuant.db"));
        to
    }

    fn restored(&self) -> Result<RestoreReport> {
        drop(fs::remove_dir_all(self.place("restored")));
        small().restore(self.place("backup"), self.place("restored"), Until::End, |_, _| {})
    }
}

fn files(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.path().is_file());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

/// Regression: each message named a way that led to the next message.
#[test]
fn a_backup_that_lost_its_marker_is_restored_and_mended_by_the_next_one() {
    let backed = Backed::new(rand::random::<u32>().into());
    let list = heads(&backed.store);
    for (what, harm) in HARMS {
        let to = backed.harmed(harm);
        let (had, log) = (files(&to), log_files(&to));
        let opened = small().read_only(true).open(&to).unwrap_err();
        match what {
            "gone" => assert_eq!(opened.kind(), &ErrorKind::MarkerLost { is_backup: true }),
            _ => assert!(matches!(opened.kind(), ErrorKind::Damaged { .. }), "{what}: {opened}"),
        }
        let ways = "`backup` into it makes it again, and `restore` does without";
        assert!(opened.to_string().ends_with(ways), "{what}: {opened}");
        assert!(small().is_backup(&to).unwrap(), "{what}");
        let error = small().repair(&to, None, |_, _| {}).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::IsBackup, "{what}");
        let report = backed.restored().unwrap();
        assert_eq!(report.marker.unwrap().kind(), opened.kind(), "{what}");
        assert_eq!(fs::read(backed.place("restored/continuant.db")).unwrap(), backed.marker);
        assert_eq!(heads_at(&backed.place("restored")), list, "{what}");
        assert!(files(&to) == had && log_files(&to) == log, "{what}: the backup is as it was");
        let report = backup(&backed.store, &to).unwrap();
        let mended: Vec<_> = report.mended.iter().map(|mended| &*mended.file).collect();
        assert_eq!((mended, report.new_bytes), (vec!["continuant.db"], 0), "{what}");
        assert_eq!(report.mended[0].problem.kind(), opened.kind());
        let names = |path| files(path).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&to), names(&backed.place("whole")), "{what}");
        assert_eq!(fs::read(to.join("continuant.db")).unwrap(), backed.marker, "{what}");
        assert!(backed.restored().unwrap().marker.is_none());
        assert!(backup(&backed.store, &to).unwrap().mended.is_empty(), "{what}");
    }
}

#[test]
fn a_lost_marker_hides_no_other_fault() {
    let backed = Backed::new(4);
    let to = backed.harmed(|marker| fs::remove_file(marker).unwrap());
    let places = boundaries(&to);
    let (last, before) = (places[places.len() - 1], places[places.len() - 2]);
    let (number, offset) = super::place(before);
    let segment = to.join(format!("log/{number:08}.log"));
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(offset).unwrap();
    let expected = ErrorKind::BackupCut { found: before, expected: last };
    assert_eq!(backed.restored().unwrap_err().kind(), &expected);
    assert!(!backed.place("restored").exists());
    let report = backup(&backed.store, &to).unwrap();
    let mended: Vec<_> = report.mended.iter().map(|mended| &*mended.file).collect();
    assert!(mended.contains(&"continuant.db") && mended.len() == 2, "{mended:?}");
    assert_eq!(heads_at(&to), heads(&backed.store));
    // A log whose segments do not agree names no database.
    let other = Backed::new(4);
    let to = backed.harmed(|marker| fs::remove_file(marker).unwrap());
    fs::copy(other.place("whole/log/00000001.log"), to.join("log/00000001.log")).unwrap();
    let error = backed.restored().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OtherDatabase { .. }), "{error}");
    assert!(backup(&backed.store, &to).is_err() && !to.join("continuant.db").exists());
    // Nor does one without a header that is whole.
    let to = backed.harmed(|marker| fs::remove_file(marker).unwrap());
    for entry in fs::read_dir(to.join("log")).unwrap() {
        fs::write(entry.unwrap().path(), [0; 200]).unwrap();
    }
    let lost = ErrorKind::MarkerLost { is_backup: true };
    assert_eq!(backed.restored().unwrap_err().kind(), &lost);
    let error = backup(&backed.store, &to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
}

#[test]
fn only_a_backup_of_the_database_gets_its_marker_from_it() {
    let (backed, other) = (Backed::new(5), Backed::new(6));
    let to = backed.harmed(|marker| fs::remove_file(marker).unwrap());
    let error = backup(&other.store, &to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotItsBackup { .. }), "{error}");
    assert!(!to.join("continuant.db").exists());
    // Without a witness it may be a database, which a repair makes whole.
    fs::remove_file(to.join("backup.witness")).unwrap();
    assert_eq!(backup(&backed.store, &to).unwrap_err().kind(), &ErrorKind::Occupied);
    assert!(small().repair(&to, None, |_, _| {}).unwrap().marker_made);
    assert_eq!(heads_at(&to), heads(&backed.store));
}

/// A marker is not made under the name that tells of an unfinished database: one that is made
/// again by a backup or a repair that is killed is still lost.
#[test]
fn a_marker_is_made_again_after_any_kill() {
    let backed = Backed::new(7);
    let disk = &backed.disk;
    let list = heads(&backed.store);
    let mut killed_count = 0;
    for (what, harm) in [HARMS[0], HARMS[5]] {
        for at in 0.. {
            let to = backed.harmed(harm);
            let (failed, fired) = disk.failing(at, || backup(&backed.store, &to));
            let report = backed.restored().unwrap();
            if fired == 0 {
                assert_eq!(failed.unwrap().mended.len(), 1);
                assert!(report.marker.is_none());
                break;
            }
            killed_count += 1;
            backup(&backed.store, &to).unwrap();
            let report = backed.restored().unwrap();
            assert_eq!((report.marker.is_none(), report.beyond), (true, 0), "{what}, change {at}");
        }
        let whole = backed.place("backup");
        fs::remove_file(whole.join("backup.witness")).unwrap();
        copy(&whole, &backed.place("lone"));
        for at in 0..6 {
            let lone = backed.place("backup");
            fs::remove_dir_all(&lone).unwrap();
            copy(&backed.place("lone"), &lone);
            harm(&lone.join("continuant.db"));
            let repairing = || small().disk(Arc::new(disk.clone())).repair(&lone, None, |_, _| {});
            let (repaired, fired) = disk.failing(at, repairing);
            assert!(repaired.is_err() && fired > 0, "{what}, change {at}");
            small().repair(&lone, None, |_, _| {}).unwrap();
            assert_eq!(heads_at(&lone), list, "{what}, change {at}");
        }
        fs::remove_dir_all(backed.place("lone")).unwrap();
    }
    assert!(killed_count > 10, "{killed_count} kills");
}

/// Regression: a marker that another process had made again, and locked, was replaced by one more,
/// so that two could write the same log.
#[test]
fn a_marker_is_made_again_by_one_process_at_a_time() {
    let backed = Backed::new(8);
    for (what, harm) in [HARMS[0], HARMS[5]] {
        let lone = backed.harmed(harm);
        fs::remove_file(lone.join("backup.witness")).unwrap();
        let (found, other) = std::sync::mpsc::channel();
        let (path, staged) = (lone.clone(), lone.join("continuant.db.mended.tmp"));
        backed.disk.meanwhile(staged.clone(), 0, move || {
            let repaired = small().repair(&path, None, |_, _| {});
            found.send(repaired.and_then(|_| small().open(&path))).unwrap();
        });
        let watched = || small().disk(Arc::new(backed.disk.clone()));
        let repaired = watched().repair(&lone, None, |_, _| {});
        assert!(!backed.disk.is_left(), "{what}: the other process did its work");
        match (repaired, other.recv().unwrap()) {
            // Nothing can be locked that is not there: the other was first, and has it open.
            (Err(late), Ok(first)) => {
                assert_eq!((what, late.kind()), ("gone", &ErrorKind::Locked));
                let third = small().open(&lone).unwrap_err();
                assert_eq!(third.kind(), &ErrorKind::Locked, "{what}");
                drop(first);
            }
            (Ok(first), Err(late)) => {
                assert_eq!((what, late.kind()), ("another id", &ErrorKind::Locked));
                assert!(first.marker_made);
            }
            both => panic!("{what}: {both:?}"),
        }
        assert!(!staged.exists(), "{what}");
        assert_eq!(heads_at(&lone), heads(&backed.store), "{what}");
    }
}

/// Regression: a backup that somebody read, or another one brought up to date, was not waited for.
#[test]
fn the_lock_of_a_backup_is_waited_for_as_long_as_the_option_says() {
    let directory = TempDir::new().unwrap();
    let (from, to) = (directory.path().join("db"), directory.path().join("backup"));
    append(&small().open(&from).unwrap(), &[crate::author::Author::new(1).1], &[]).unwrap();
    let disk = WatchedDisk::new(&to);
    // The first makes the backup, under the temporary name of its marker.
    for _ in 0..2 {
        for (wait, is_waiting) in [(Duration::ZERO, false), (Duration::from_secs(600), true)] {
            let options = small().disk(Arc::new(disk.clone())).read_only(true);
            let store = options.lock_wait(wait).open(&from).unwrap();
            disk.seen(|seen| seen.refused_locks = 4);
            let made = backup(&store, &to);
            let left = disk.seen(|seen| std::mem::take(&mut seen.refused_locks));
            match made {
                Ok(_) => assert!(is_waiting && left == 0),
                Err(error) => {
                    assert_eq!((error.kind(), is_waiting), (&ErrorKind::Locked, false));
                    assert_eq!(left, 3, "it was tried once");
                }
            }
        }
    }
    let what = Restoring::from(Until::End);
    let made = small().restore(&to, directory.path().join("restored"), what, |_, _| {}).unwrap();
    assert_eq!(made.contents.object_count, 1);
}
