//! Other processes between the looks at a directory and the lock of it.

use super::*;

/// A database with one object.
fn database(path: &Path) -> Arc<Store> {
    let store = small().open(path).unwrap();
    append(&store, &[Author::new(3).1], &[]).unwrap();
    Arc::new(store)
}

/// Begins a backup, and kills it before anything is in it.
fn begin(store: &Store, to: &Path) {
    let stopped = store.backup(to, |_, _| ControlFlow::Break(()));
    assert_eq!(*stopped.unwrap_err().kind(), ErrorKind::Stopped);
}

/// Regression: the new database took the directory of the backup, with the record of its end, and
/// was taken for a backup for ever.
#[test]
fn a_backup_that_is_begun_before_the_lock_is_not_taken_over() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = database(&place("db"));
    backup(&store, &place("source")).unwrap();
    for is_restore in [true, false] {
        let to = place(if is_restore { "restored" } else { "created" });
        let disk = WatchedDisk::new(directory.path());
        let (of_other, into) = (Arc::clone(&store), to.clone());
        disk.meanwhile(to.join("continuant.db.tmp"), 1, move || begin(&of_other, &into));
        let options = small().disk(Arc::new(disk.clone()));
        let made = match is_restore {
            true => options.restore(place("source"), &to, Until::End, |_, _| {}).map(drop),
            false => options.open(&to).map(drop),
        };
        assert!(!disk.is_left(), "the backup was begun");
        assert_eq!(*made.unwrap_err().kind(), ErrorKind::Unfinished { is_backup: true });
        backup(&store, &to).unwrap();
        assert_eq!(heads_at(&to), heads(&store));
        assert!(small().is_backup(&to).unwrap());
    }
}

#[test]
fn a_backup_that_is_made_before_the_lock_is_not_repaired() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = database(&place("db"));
    let (disk, to) = (WatchedDisk::new(directory.path()), place("backup"));
    let (of_other, into) = (Arc::clone(&store), to.clone());
    disk.meanwhile(to.join("continuant.db"), 1, move || drop(backup(&of_other, &into).unwrap()));
    let repaired = small().disk(Arc::new(disk.clone())).repair(&to, None, |_, _| {});
    assert!(!disk.is_left(), "the backup was made");
    assert_eq!(*repaired.unwrap_err().kind(), ErrorKind::IsBackup);
    assert!(!to.join("index.redb").exists());
    append(&store, &[Author::new(4).1], &[]).unwrap();
    backup(&store, &to).unwrap();
    assert_eq!(heads_at(&to), heads(&store));
}
