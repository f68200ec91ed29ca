//! Failures of the file system: nothing is acknowledged any more, and everything acknowledged is
//! there after reopening.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use continuant_storage::{Error, ErrorKind, Options, Store};
use tempfile::TempDir;

use crate::author::{Author, Made, append, copy, in_one_frame, small};
use crate::backup::disk::WatchedDisk;

#[test]
fn after_a_failed_write_nothing_is_acknowledged_until_reopened() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(3);
    append(&store, &[genesis], &[]).unwrap();
    // The next segment cannot be made.
    fs::rename(path.join("log"), path.join("away")).unwrap();
    let mut acknowledged = author.head.clone();
    let error = loop {
        match append(&store, &[author.step()], &[]) {
            Ok(()) => acknowledged = author.head.clone(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), &ErrorKind::Poisoned);
    let cause = std::error::Error::source(&error).expect("it says what failed").to_string();
    assert!(cause.contains("create failed"), "{cause}");
    // The disk is well again; the store is not, until it is opened anew.
    fs::rename(path.join("away"), path.join("log")).unwrap();
    let error = append(&store, &[Author::new(4).1], &[]).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Poisoned);
    assert_eq!(store.sync().unwrap_err().kind(), &ErrorKind::Poisoned);
    assert_eq!(store.checkpoint().unwrap_err().kind(), &ErrorKind::Poisoned);
    assert_eq!(store.close().unwrap_err().kind(), &ErrorKind::Poisoned);
    drop(store);
    let store = small().open(&path).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, acknowledged);
    assert!(store.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn a_commit_that_fails_says_why_and_the_store_takes_no_other() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(3);
    let commit = |made| in_one_frame(&[made], &[], |append| store.commit(append));
    commit(genesis).unwrap();
    fs::rename(path.join("log"), path.join("away")).unwrap();
    let error = loop {
        match commit(author.step()) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), &ErrorKind::Poisoned);
    let cause = std::error::Error::source(&error).expect("it says what failed").to_string();
    assert!(cause.contains("create failed"), "{cause}");
    assert_eq!(commit(Author::new(4).1).unwrap_err().kind(), &ErrorKind::Poisoned);
    assert_eq!(store.close().unwrap_err().kind(), &ErrorKind::Poisoned);
}

/// Regression: the failure to write the index at the end was that of a full disk, as if not all
/// were durable.
#[test]
fn closing_without_room_for_the_index_says_that_all_is_durable() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let (mut author, genesis) = Author::new(3);
    append(&small().open(&path).unwrap(), &[genesis], &[]).unwrap();
    let disk = WatchedDisk::new(&path.join("index.redb"));
    disk.seen(|seen| seen.is_full = true);
    for threads in [true, false] {
        let store = small().threads(threads).disk(Arc::new(disk.clone())).open(&path).unwrap();
        let (closed, fired) = disk.failing(0, || {
            in_one_frame(&[author.step()], &[], |append| store.commit(append)).unwrap();
            store.close()
        });
        let error = closed.unwrap_err();
        assert_eq!((error.kind(), fired > 0), (&ErrorKind::UncleanClose, true));
        let told = error.to_string();
        assert!(
            told.starts_with("all is durable, but the index") && told.contains("no space left")
        );
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(cause.kind(), &ErrorKind::Full);
        assert_eq!(store.sync().unwrap_err().kind(), &ErrorKind::Poisoned);
        drop(store);
        let store = small().open(&path).unwrap();
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
    }
}

/// Regression: closing said nothing of files that were removed meanwhile.
#[test]
fn closing_says_that_the_files_were_removed() {
    let harms: [fn(&Path); 4] = [
        |path| fs::remove_dir_all(path).unwrap(),
        |path| fs::remove_dir_all(path.join("log")).unwrap(),
        |path| fs::remove_file(path.join("log/00000001.log")).unwrap(),
        |path| {
            fs::remove_dir_all(path).unwrap();
            drop(small().open(path).unwrap());
        },
    ];
    for harm in harms {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let store = small().open(&path).unwrap();
        append(&store, &[Author::new(3).1], &[]).unwrap();
        harm(&path);
        let error = store.close().unwrap_err();
        assert_eq!((error.kind(), error.path()), (&ErrorKind::Removed, Some(&*path)));
        drop(store);
    }
}

#[test]
fn a_thread_that_panics_and_commits_on_its_way_out_ends_nothing() {
    struct CommitsLast<'a>(&'a Store, Made);
    impl Drop for CommitsLast<'_> {
        fn drop(&mut self) {
            in_one_frame(std::slice::from_ref(&self.1), &[], |append| self.0.commit(append))
                .expect("the disk is well");
        }
    }
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let panicked = std::thread::scope(|scope| {
        let work = || {
            let _last = CommitsLast(&store, Author::new(1).1);
            panic!("on purpose");
        };
        scope.spawn(work).join()
    });
    assert!(panicked.is_err());
    append(&store, &[Author::new(2).1], &[]).unwrap();
    assert_eq!(store.stats().unwrap().frame_count, 2);
}

#[test]
fn what_was_committed_while_another_thread_closes_is_there() {
    for seed in 0..40 {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let store = small().open(&path).unwrap();
        let committed: Vec<_> = std::thread::scope(|scope| {
            let threads = (0..3).map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let (mut author, mut made) = Author::new(10 * seed + thread);
                    let mut last = None;
                    loop {
                        match in_one_frame(&[made], &[], |append| store.commit(append)) {
                            Ok(_) => last = Some(author.head.clone()),
                            Err(error) => {
                                assert_eq!(error.kind(), &ErrorKind::Closed);
                                return last;
                            }
                        }
                        made = author.step();
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            while store.stats().unwrap().frame_count < 5 * (seed % 7) {
                std::thread::yield_now();
            }
            store.close().unwrap();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        drop(store);
        let store = small().open(&path).unwrap();
        for head in committed {
            assert_eq!(store.head(head.id).unwrap().unwrap().head, head, "seed {seed}");
        }
    }
}

#[test]
fn appends_under_way_when_it_fails_are_told_so() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    fs::rename(path.join("log"), path.join("away")).unwrap();
    let (sent, told) = channel();
    let mut pushed = 0;
    loop {
        let genesis = [Author::new(pushed).1];
        let sent = sent.clone();
        let done = move |result| sent.send(result).unwrap();
        pushed += 1;
        if in_one_frame(&genesis, &[], |append| store.append(append, done)).is_err() {
            break;
        }
    }
    drop(store);
    drop(sent);
    let results: Vec<_> = told.iter().collect();
    assert_eq!(results.len() as u64, pushed, "each is told once");
    let failed = results.iter().position(Result::is_err).unwrap();
    assert!(results[failed..].iter().all(Result::is_err), "nothing is acknowledged after it");
}

#[test]
fn an_index_that_is_not_one_says_how_to_repair_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (author, genesis) = Author::new(3);
    append(&store, &[genesis], &[]).unwrap();
    drop(store);
    fs::write(path.join("index.redb"), vec![0x5a; 8192]).unwrap();
    let error = small().open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IndexDamaged(_)), "{error}");
    assert!(error.to_string().contains("check --repair"), "{error}");
    Options::new().rebuild_index(&path).unwrap();
    let store = small().open(&path).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
}

#[test]
fn an_index_from_before_is_brought_up_to_the_log() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(3);
    append(&store, &[genesis], &[("one", author.head.id)]).unwrap();
    drop(store);
    copy(&path, &directory.path().join("old"));
    let store = small().open(&path).unwrap();
    for _ in 0..20 {
        append(&store, &[author.next()], &[]).unwrap();
    }
    drop(store);
    fs::copy(directory.path().join("old/index.redb"), path.join("index.redb")).unwrap();
    let store = small().open(&path).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
    assert!(store.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn an_index_is_kept_when_the_log_cannot_be_read_from_its_start() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(3);
    append(&store, &[genesis], &[]).unwrap();
    append(&store, &[author.step()], &[]).unwrap();
    store.close().unwrap();
    drop(store);
    let log = path.join("log/00000001.log");
    let whole = fs::read(&log).unwrap();
    let mut changed = whole.clone();
    changed[200] ^= 1;
    fs::write(&log, changed).unwrap();
    let error = Options::new().rebuild_index(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
    let store = small().open(&path).unwrap();
    assert_eq!(store.info(author.head.id).unwrap().unwrap().hash, author.head.hash);
}

/// Regression: when a check or the figures could not read something, they reported it, and the
/// store continued.
#[test]
fn what_only_looks_at_the_files_ends_the_store_when_it_cannot() {
    type Look = fn(&Store) -> bool;
    let checks: Look = |store| store.check(|_, _| {}).is_ok_and(|report| report.is_sound());
    let looks: [Look; 2] = [checks, |store| store.stats().is_ok()];
    for look in looks {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let store = small().open(&path).unwrap();
        let (mut author, genesis) = Author::new(3);
        append(&store, &[genesis], &[]).unwrap();
        assert!(look(&store));
        fs::rename(path.join("log"), path.join("away")).unwrap();
        assert!(!look(&store), "there is nothing to look at");
        fs::rename(path.join("away"), path.join("log")).unwrap();
        let error = append(&store, &[author.step()], &[]).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Poisoned);
    }
}

/// Regression: a failed write that only made room in redb's cache was passed over, and the index
/// was then taken for one that covers the log.
#[test]
fn a_change_of_the_index_that_fails_is_never_passed_over() {
    for at in 0.. {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let disk = WatchedDisk::new(&path.join("index.redb"));
        let options = small().disk(Arc::new(disk.clone())).index_cache_bytes(0);
        let store = options.open(&path).unwrap();
        let made: Vec<Made> = (0..8).map(|seed| Author::new(seed).1).collect();
        append(&store, &made, &[]).unwrap();
        disk.seen(|seen| (seen.changes, seen.fail_at, seen.once) = (0, Some(at), true));
        let written = store.checkpoint();
        if disk.seen(|seen| seen.fired) == 0 {
            written.unwrap();
            assert!(at > 10, "the index was written in {at} changes");

            return;
        }
        written.unwrap_err();
        store.checkpoint().unwrap_err();
        drop(store);
        let store = small().open(&path).unwrap();
        assert!(store.check(|_, _| {}).unwrap().is_sound(), "after change {at} failed");
    }
}

/// No failure loses anything: the compacted index is written like any other index.
#[test]
fn an_index_that_is_compacted_is_smaller_and_loses_nothing() {
    for at in (0..).step_by(5) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let disk = WatchedDisk::new(&path.join("index.redb"));
        let options = small().disk(Arc::new(disk.clone())).compact_index(true);
        let store = options.open(&path).unwrap();
        let (authors, made): (Vec<Author>, Vec<Made>) = (0..300).map(Author::new).unzip();
        for made in made.chunks(60) {
            append(&store, made, &[]).unwrap();
            store.checkpoint().unwrap();
        }
        let bytes = || std::fs::metadata(path.join("index.redb")).unwrap().len();
        let before = bytes();
        disk.seen(|seen| (seen.changes, seen.fail_at, seen.once) = (0, Some(at), true));
        drop(store);
        let fired = disk.seen(|seen| seen.fired) > 0;
        if !fired {
            assert!(bytes() < before, "{} bytes, {before} before", bytes());
        }
        let store = small().open(&path).unwrap();
        assert!(store.check(|_, _| {}).unwrap().is_sound(), "after change {at} failed");
        assert!(authors.iter().all(|author| store.info(author.head.id).unwrap().is_some()));
        if !fired {
            assert!(at > 20, "it was closed in {at} changes");
            return;
        }
    }
}

#[test]
fn a_callback_that_panics_concerns_nobody_else() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let panics = |_| panic!("on purpose");
    in_one_frame(&[Author::new(1).1], &[], |append| store.append(append, panics)).unwrap();
    append(&store, &[Author::new(2).1], &[]).unwrap();
    store.close().unwrap();
}

#[test]
fn many_who_create_a_database_at_once_make_one() {
    for _ in 0..20 {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a/b/db");
        let opened: Vec<_> = std::thread::scope(|scope| {
            let opens: Vec<_> = (0..4).map(|_| scope.spawn(|| small().open(&path))).collect();
            opens.into_iter().map(|open| open.join().unwrap()).collect()
        });
        let (made, turned_away): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1);
        for error in turned_away.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), &ErrorKind::Locked);
        }
        let (author, genesis) = Author::new(3);
        append(made[0].as_ref().unwrap(), &[genesis], &[]).unwrap();
        drop(made);
        assert!(small().open(&path).unwrap().head(author.head.id).unwrap().is_some());
    }
}
