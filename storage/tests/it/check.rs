//! A check beside what goes on meanwhile: writers, a compaction, a disk that fails or rots between
//! its passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use continuant_storage::{Append, ErrorKind, Fate, Report, Retention, Store, Taking};
use object::commit::Commit;
use object::secret::Secret;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, small};
use crate::backup::disk::WatchedDisk;
use crate::messages::{append_sent, message};

/// Objects with versions in turn, in many segments.
fn lived(store: &Store, objects: u64, versions: usize) -> Vec<Author> {
    let made = |seed| {
        let (author, genesis) = Author::new(seed);
        append(store, &[genesis], &[]).unwrap();
        author
    };
    let mut authors: Vec<Author> = (0..objects).map(made).collect();
    for _ in 0..versions {
        go_on(store, &mut authors);
    }
    authors
}

fn go_on(store: &Store, authors: &mut [Author]) {
    for author in authors {
        append(store, &[author.step()], &[]).unwrap();
    }
}

#[test]
fn a_check_beside_writers_and_a_compaction_finds_nothing() {
    for bytes in [1 << 20, 6_000] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let store = small().check_bytes_max(bytes).open(&path).unwrap();
        let mut authors = lived(&store, 12, 20);
        let (mut calls, mut trimmed) = (0, 0);
        let report = store
            .check(|_, _| {
                // First where all versions that are checked still have to be read.
                if calls % 300 == 0 {
                    go_on(&store, &mut authors);
                    store.set_retention(None, Retention::Versions(1 + calls / 300)).unwrap();
                    trimmed += store.compact_all(Time::MIN, |_, _| {}).unwrap().trimmed_count;
                    store.checkpoint().unwrap();
                }
                calls += 1;
            })
            .unwrap();
        assert!(report.is_sound(), "{bytes} bytes: {:?}", report.damage);
        assert!(trimmed > 100 && report.frame_count > 250, "{trimmed} were trimmed");
        assert_sound(&store);
    }
}

/// Checks a store in parts; does something once when `is_time` for it, which is told how much is
/// done, how much before, and the bytes of the log.
fn check_with(
    store: &Store,
    is_time: impl Fn(u64, u64, u64) -> bool,
    mut once: impl FnMut(),
) -> continuant_storage::Result<Report> {
    let (mut log, mut before, mut fired, mut again) = (None, 0, false, false);
    let report = store.check(|done, all| {
        let log = *log.get_or_insert(all);
        again |= done < before;
        if !fired && is_time(if again { done } else { 0 }, done, log) {
            fired = true;
            once();
        }
        before = done;
    });
    assert!(fired, "it had its time: {:?}", report.as_ref().map(|it| it.pass_count));
    report
}

/// The file of the log, but for the last two, that has these bytes last, and where.
fn last_place(path: &Path, wanted: &[u8]) -> (PathBuf, usize) {
    let files = fs::read_dir(path.join("log")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let files = files[..files.len() - 2].iter().rev();
    let mut found = files.filter_map(|file| {
        let bytes = fs::read(file).unwrap();
        let at = bytes.windows(wanted.len()).rposition(|found| found == wanted)?;
        Some((file.clone(), at))
    });
    found.next().unwrap()
}

#[test]
fn what_rots_between_the_passes_of_a_check_is_found() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().check_bytes_max(6_000).open(&path).unwrap();
    let authors = lived(&store, 40, 12);
    // Its part comes before all others.
    let first = authors.iter().map(|author| author.head.id).min().unwrap();
    let (file, at) = last_place(&path, &first.0);
    let rot = || {
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        // The same file, which may be open.
        fs::write(&file, bytes).unwrap();
    };
    store.checkpoint().unwrap();
    let report = check_with(&store, |_, done, log| done > 4 * log, rot).unwrap();
    assert!(report.pass_count > 6 && !report.is_sound(), "{report:?}");
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
    let kind = report.damage[0].error().kind().clone();
    assert!(matches!(kind, ErrorKind::Damaged { file, .. } if file.starts_with("log/")));
    let lost = |report: &Report| report.lost.clone();
    assert!(lost(&report).iter().any(|lost| lost.object == first), "{:?}", report.lost);
    let again = store.check(|_, _| {}).unwrap();
    assert_eq!(lost(&again), lost(&report));
    assert_eq!(again.damage_count, report.damage_count);
}

#[test]
fn a_disk_that_fails_in_a_later_pass_ends_the_check() {
    for of_aftermath in [false, true] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let disk = WatchedDisk::new(&path.join("log"));
        let options = small().check_bytes_max(3_000).disk(Arc::new(disk.clone()));
        let store = options.open(&path).unwrap();
        let mut authors = lived(&store, 40, 5);
        if of_aftermath {
            let (file, at) = last_place(&path, &authors[3].head.id.0);
            let mut bytes = fs::read(&file).unwrap();
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        let is_time = |again: u64, done: u64, log: u64| match of_aftermath {
            true => again > log,
            false => done > log,
        };
        // Once: what comes then can be read.
        let fail = || disk.seen(|seen| seen.failing_reads = 1);
        let error = check_with(&store, is_time, fail).unwrap_err();
        assert_eq!(disk.seen(|seen| seen.failing_reads), 0);
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        // As after any failure of the disk.
        let error = append(&store, &[authors[0].step()], &[]).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Poisoned);
    }
}

/// All of it is of one object: however the log is parted, it is held at once.
#[test]
fn the_mail_of_one_object_is_no_reason_to_read_the_log_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().check_bytes_max(80_000).open(&path).unwrap();
    let mut authors = lived(&store, 10, 1);
    let to = authors[0].head.id;
    for number in 0..60 {
        let messages: Vec<_> =
            (0..20).map(|of_frame| message(to, 20 * number + of_frame)).collect();
        let made = authors[1].send(messages.clone());
        append_sent(&store, &authors[1], &made, &messages, vec![]).unwrap();
    }
    let count = store.messages_to(to).len();
    assert_eq!(count, 1200);
    for (index, id) in store.messages_to(to).into_iter().enumerate() {
        if index % 2 == 0 {
            let taken = vec![Taking { id, fate: Fate::Dead("no".to_string()) }];
            store.commit(&Append { taken, ..Append::default() }).unwrap();
        }
    }
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!(report.pass_count, 1);
}

/// Checks a store; returns the expectations that were not met, in the order of the log.
fn expected(store: &Store) -> Vec<String> {
    let report = store.check(|_, _| {}).unwrap();
    let mut found: Vec<_> = report.damage.iter().map(|damage| damage.error().kind()).collect();
    found.sort_by_key(|kind| match kind {
        ErrorKind::Damaged { file, offset, .. } => (file.clone(), *offset),
        other => panic!("{other:?}"),
    });
    let expected = found.into_iter().map(|kind| match kind {
        ErrorKind::Damaged { expected, .. } => expected.clone(),
        other => panic!("{other:?}"),
    });
    expected.collect()
}

/// An append verifies nothing, so that a check has something to find.
#[test]
fn another_secret_is_damage_where_it_is_and_not_where_it_is_needed() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, mut genesis) = Author::new(1);
    let Made::Version { secret, .. } = &mut genesis else { panic!("it is a version") };
    *secret = Some(Secret::new([1; 32]));
    append(&store, &[genesis], &[]).unwrap();
    for _ in 0..3 {
        append(&store, &[author.step(), author.refuse()], &[]).unwrap();
    }
    assert_eq!(expected(&store), ["the secret of the object"]);
    let id = author.head.id;
    let fails = |error: continuant_storage::Error| {
        let ErrorKind::Damaged { expected, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(expected, "the secret of the object");
    };
    fails(store.head(id).unwrap_err());
    fails(store.head_at(id, 1).unwrap_err());
    fails(store.export(id, &mut Vec::new(), |_, _| {}).unwrap_err());
    store.version(id, 2).unwrap().unwrap();
}

#[test]
fn payloads_that_their_salted_hashes_do_not_cover_are_damage() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    for payload in 0..3 {
        append(&store, &[author.step()], &[]).unwrap();
        let mut made = author.step();
        let Made::Version { bytes, .. } = &mut made else { panic!("it is a version") };
        let whole = bytes.clone();
        let mut commit = Commit::decode(&whole).unwrap();
        let payload = [&mut commit.input, &mut commit.effects, &mut commit.admission]
            .into_iter()
            .nth(payload)
            .unwrap();
        let other = [*payload, &[0]].concat();
        *payload = &other;
        bytes.clear();
        commit.encode_into(bytes);
        append(&store, &[made], &[]).unwrap();
    }
    for is_detail in [true, false] {
        append(&store, &[author.refuse()], &[]).unwrap();
        let mut made = author.refuse();
        let Made::Refusal(refusal) = &mut made else { panic!("it is a refusal") };
        match is_detail {
            true => refusal.verdict.detail.push('!'),
            false => refusal.input.push(0),
        }
        append(&store, &[made], &[]).unwrap();
    }
    let payloads = ["the payloads of the header"; 3];
    assert_eq!(expected(&store), [&payloads[..], &["records of an object"; 2]].concat());
}
