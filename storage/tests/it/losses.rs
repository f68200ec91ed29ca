//! A log that has less than its index knows: a repair reports the losses, object by object, changes
//! nothing before somebody accepts exactly these, and they stay on record.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use continuant_storage::{
    AcceptedLoss, Compared, Error, ErrorKind, LossToken, Lost, Options, Position, RecordedLoss,
    Repaired, Store, Until,
};
use object::hash::ObjectId;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, copy, small};
use crate::backup::boundaries;
use crate::backup::disk::WatchedDisk;

/// Each object's newest version, and its count of refusals.
type Heads = BTreeMap<ObjectId, (u64, u64)>;

fn heads(store: &Store) -> Heads {
    let infos = store.list(None, usize::MAX).unwrap();
    infos.into_iter().map(|info| (info.id, (info.seq, info.refusal_count))).collect()
}

/// Writes and closes a database of several segments; returns its heads after each frame. The last
/// segment has more than one frame.
fn closed(path: &Path) -> Vec<Heads> {
    let store = small().open(path).unwrap();
    let (mut one, genesis) = Author::new(1);
    let mut had = vec![Heads::new()];
    let mut add = |made, names: &[_]| {
        append(&store, &[made], names).unwrap();
        had.push(heads(&store));
    };
    add(genesis, &[("one", one.head.id)]);
    while store.stats().unwrap().segment_count < 3 {
        add(one.step(), &[]);
    }
    let (mut two, genesis) = Author::new(2);
    add(genesis, &[("two", two.head.id)]);
    for _ in 0..3 {
        add(one.step(), &[]);
        add(two.refuse(), &[]);
    }
    add(two.step(), &[]);
    store.close().unwrap();
    had
}

fn repair(path: &Path, accepted: Option<LossToken>) -> Result<Repaired, Error> {
    let accepted = accepted.map(|token| AcceptedLoss { token, time: Time::from_millis(7) });
    small().repair(path, accepted, |_, _| {})
}

fn lost(error: &Error) -> &Lost {
    match error.kind() {
        ErrorKind::Lost(lost) => lost,
        _ => panic!("{error}"),
    }
}

/// The files of a log.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

fn segment(path: &Path, number: u32) -> PathBuf {
    path.join(format!("log/{number:08}.log"))
}

fn cut(path: &Path, place: Position) {
    let (number, offset) = numbers(place);
    for later in number + 1..10 {
        drop(fs::remove_file(segment(path, later)));
    }
    let file = fs::OpenOptions::new().write(true).open(segment(path, number)).unwrap();
    file.set_len(offset).unwrap();
}

pub(crate) fn numbers(place: Position) -> (u32, u64) {
    let text = place.to_string();
    let (number, offset) = text.split_once(':').unwrap();
    (number.parse().unwrap(), offset.parse().unwrap())
}

/// Has a database lose its last frame, and somebody accept it at the time 7.
pub(crate) fn lose_the_last_frame(path: &Path) {
    let boundaries = boundaries(path);
    cut(path, boundaries[boundaries.len() - 2]);
    repair_losing(path);
}

/// Has a database lose all behind a place, and somebody accept it; returns the check of the last
/// frame that it had.
pub(crate) fn lose_from(path: &Path, end: Position) -> [u8; 32] {
    let boundaries = boundaries(path);
    let (number, offset) = numbers(boundaries[boundaries.len() - 2]);
    let bytes = fs::read(segment(path, number)).unwrap();
    let check = bytes[offset as usize + 48..][..32].try_into().unwrap();
    cut(path, end);
    repair_losing(path);
    check
}

/// Repairs a database that lost something, which somebody accepts at the time 7.
pub(crate) fn repair_losing(path: &Path) {
    let error = repair(path, None).unwrap_err();
    repair(path, Some(lost(&error).token)).unwrap();
}

/// Checks that a repair reports the difference between `now` and `then`.
fn assert_lost(lost: &Lost, now: &Heads, then: &Heads) {
    let (mut versions, mut refusals, mut objects, mut gone) = (0, 0, 0, 0);
    for (id, &(seq, refused)) in now {
        let kept = then.get(id);
        let (left, left_refused) = kept.map_or((0, 0), |kept| (kept.0 + 1, kept.1));
        let (lost_versions, lost_refusals) = (seq + 1 - left, refused - left_refused);
        versions += lost_versions;
        refusals += lost_refusals;
        gone += u64::from(kept.is_none());
        let is_hurt = lost_versions + lost_refusals > 0;
        objects += u64::from(is_hurt);
        let told = lost.objects.iter().find(|object| object.id == *id);
        assert_eq!(told.is_some(), is_hurt);
        if let Some(told) = told {
            let expected = (kept.map(|kept| kept.0), seq, lost_refusals);
            assert_eq!((told.kept, told.newest, told.refusal_count), expected);
            assert!(told.name.is_some());
        }
    }
    let loss = &lost.loss;
    let counts = (loss.version_count, loss.refusal_count, loss.object_count, loss.gone_count);
    assert_eq!((counts, loss.is_counted), ((versions, refusals, objects, gone), true));
}

#[test]
fn a_repair_says_what_the_log_has_lost_and_changes_nothing_before_that_is_accepted() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    let had = closed(&whole);
    let ends = boundaries(&whole);
    // The end of each segment is the start of the next, behind its header.
    let places: Vec<Position> = ends.iter().copied().filter(|end| numbers(*end).1 != 96).collect();
    assert_eq!(places.len() + 1, had.len());
    let last = places[places.len() - 2];
    type Harm<'a> = (&'a str, usize, Box<dyn Fn(&Path) + 'a>);
    let harms: Vec<Harm<'_>> = vec![
        ("no log", 0, Box::new(|path| fs::remove_dir_all(path.join("log")).unwrap())),
        ("its header alone", 0, Box::new(|path| cut(path, ends[0]))),
        ("an older copy", 5, Box::new(|path| cut(path, places[4]))),
        ("a frame less", had.len() - 2, Box::new(|path| cut(path, last))),
        (
            "some bytes less",
            had.len() - 2,
            Box::new(|path| {
                cut(path, format!("{}:{}", numbers(last).0, numbers(last).1 + 17).parse().unwrap());
            }),
        ),
        (
            "a byte of the last frame",
            had.len() - 2,
            Box::new(|path| {
                let file = segment(path, numbers(last).0);
                let mut bytes = fs::read(&file).unwrap();
                bytes[numbers(last).1 as usize + 100] ^= 1;
                fs::write(file, bytes).unwrap();
            }),
        ),
    ];
    for (what, kept, harm) in harms {
        let path = directory.path().join(what.replace(' ', "-"));
        copy(&whole, &path);
        harm(&path);
        let opened = small().open(&path).unwrap_err();
        let is_told =
            matches!(opened.kind(), ErrorKind::Damaged { .. } | ErrorKind::LogBehind { .. });
        assert!(is_told, "{what}: {opened}");
        let log = files(&path);
        let error = repair(&path, None).unwrap_err();
        assert_lost(lost(&error), had.last().unwrap(), &had[kept]);
        let token = lost(&error).token;
        assert!(error.to_string().contains(&format!("--accept-loss {token}")), "{error}");
        let other = "0123456789abcdef".parse().unwrap();
        let again = repair(&path, Some(other)).unwrap_err();
        assert_eq!(lost(&again), lost(&error), "another token accepts nothing");
        assert_eq!(files(&path), log, "{what}: nothing was cut");
        assert!(small().open(&path).is_err(), "{what}: the index still knows");

        assert_goes_on_without(&path, lost(&error), &had[kept]);
    }
}

/// Accepts a loss, after which a database has what there was `then`, and the loss on record.
fn assert_goes_on_without(path: &Path, lost: &Lost, then: &Heads) {
    let repaired = repair(path, Some(lost.token)).unwrap();
    let Compared::Lost(recorded) = repaired.compared else { panic!("{repaired:?}") };
    assert_eq!((recorded.loss, recorded.time), (lost.loss, Time::from_millis(7)));
    let store = small().open(path).unwrap();
    assert_eq!(heads(&store), *then);
    assert_eq!(store.losses(), [recorded]);
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!(report.losses, [recorded]);
    // The store continues, and the loss stays on record: without the index, in a backup, in a
    // restore.
    append(&store, &[Author::new(9).1], &[]).unwrap();
    store.backup(path.with_extension("backup"), |_, _| {}).unwrap();
    store.close().unwrap();
    drop(store);
    let restored = path.with_extension("restored");
    let options = small();
    options.restore(path.with_extension("backup"), &restored, Until::End, |_, _| {}).unwrap();
    fs::remove_file(path.join("index.redb")).unwrap();
    let repaired = repair(path, None).unwrap();
    assert_eq!(repaired.compared, Compared::NoIndex, "nothing to compare with");
    for path in [path, &restored] {
        let store = small().open(path).unwrap();
        assert_eq!(store.losses(), [recorded]);
        assert_sound(&store);
    }
}

#[test]
fn a_loss_that_grew_is_another() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let ends = boundaries(&path);
    cut(&path, ends[ends.len() - 2]);
    let seen = lost(&repair(&path, None).unwrap_err()).token;
    cut(&path, ends[ends.len() - 3]);
    let error = repair(&path, Some(seen)).unwrap_err();
    assert_ne!(lost(&error).token, seen);
    assert_eq!(lost(&error).loss.found, ends[ends.len() - 3]);
}

#[test]
fn a_log_that_went_another_way_has_lost_at_least_the_heads() {
    let directory = TempDir::new().unwrap();
    let (path, other) = (directory.path().join("db"), directory.path().join("other"));
    closed(&path);
    let ends = boundaries(&path);
    copy(&path, &other);
    fs::remove_file(other.join("index.redb")).unwrap();
    cut(&other, ends[4]);
    let store = small().open(&other).unwrap();
    while store.stats().unwrap().durable < ends[ends.len() - 1] {
        append(&store, &[Author::new(rand::random()).1], &[]).unwrap();
    }
    store.close().unwrap();
    drop(store);
    fs::remove_dir_all(path.join("log")).unwrap();
    copy(&other.join("log"), &path.join("log"));
    let error = repair(&path, None).unwrap_err();
    let loss = lost(&error).loss;
    assert_eq!((loss.object_count, loss.gone_count, loss.is_counted), (2, 1, false), "{error}");
    assert!(error.to_string().contains("at least"), "{error}");
}

/// The loss is on record before the index that knows of it is deleted.
#[test]
fn a_repair_that_fails_at_any_operation_forgets_no_loss() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    closed(&whole);
    let ends = boundaries(&whole);
    cut(&whole, ends[ends.len() - 3]);
    let token = lost(&repair(&whole, None).unwrap_err()).token;
    for at in 0.. {
        let path = directory.path().join(at.to_string());
        copy(&whole, &path);
        let disk = WatchedDisk::new(directory.path());
        disk.seen(|seen| seen.fail_at = Some(at));
        let accepted = Some(AcceptedLoss { token, time: Time::from_millis(7) });
        let failed = small().disk(Arc::new(disk.clone())).repair(&path, accepted, |_, _| {});
        let left = match small().open(&path) {
            Ok(store) => store.losses(),
            Err(_) => match repair(&path, None) {
                Ok(Repaired { compared: Compared::Lost(recorded), .. }) => vec![recorded],
                Ok(other) => panic!("operation {at}: {other:?}"),
                Err(error) => {
                    assert_eq!(lost(&error).token, token, "operation {at}");
                    repair(&path, Some(token)).unwrap();
                    small().open(&path).unwrap().losses()
                }
            },
        };
        let [RecordedLoss { loss, .. }] = left[..] else { panic!("operation {at}: {left:?}") };
        assert_eq!(loss.found, ends[ends.len() - 3], "operation {at}");
        assert_sound(&small().open(&path).unwrap());
        fs::remove_dir_all(&path).unwrap();
        // The last ones are of closing the index, after all is done.
        if disk.seen(|seen| seen.fired) == 0 {
            assert!(failed.is_ok() && at > 5);
            return;
        }
    }
}

/// A whole log, and one that lost something that is accepted: wherever the repair stops, nothing is
/// decided.
#[test]
fn a_repair_that_is_stopped_leaves_the_database_as_it_was() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let had = closed(&path);
    let ends = boundaries(&path);
    for is_cut in [false, true] {
        let token = is_cut.then(|| {
            cut(&path, ends[ends.len() - 3]);
            lost(&repair(&path, None).unwrap_err()).token
        });
        let accepted = token.map(|token| AcceptedLoss { token, time: Time::from_millis(7) });
        let before = files(&path);
        let frame_count = had.len() - 1 - if is_cut { 2 } else { 0 };
        // Each frame is a place to stop at; then each page of rows in which losses are counted.
        let places = frame_count + if is_cut { 2 } else { 0 };
        for stop_at in 0.. {
            let (mut calls, mut done_before) = (0, 0);
            let repaired = small().repair(&path, accepted, |done, all| {
                assert!(done_before <= done && done <= all, "{done} of {all} bytes");
                (calls, done_before) = (calls + 1, done);
                if calls > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(calls, places.min(stop_at + 1));
            let error = match repaired {
                Err(error) => error,
                Ok(Repaired { compared, .. }) => {
                    // The old index was there until now.
                    let is_so = match compared {
                        Compared::Whole(_) => !is_cut,
                        Compared::Lost(_) => is_cut,
                        _ => false,
                    };
                    assert!(is_so && stop_at == places, "stopped at {stop_at}: {compared:?}");
                    break;
                }
            };
            assert_eq!(*error.kind(), ErrorKind::Stopped, "{error}");
            assert!(files(&path) == before, "stopped at {stop_at}");
            assert!(!path.join("index.redb.tmp").exists(), "it only takes space");
        }
        let store = small().open(&path).unwrap();
        assert_eq!(store.losses().len(), usize::from(is_cut));
        assert_eq!(heads(&store), had[frame_count]);
        store.close().unwrap();
    }
}

#[test]
fn an_index_that_cannot_be_read_tells_nothing_and_that_is_said() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let had = closed(&path);
    fs::write(path.join("index.redb"), vec![0x5a; 8192]).unwrap();
    let repaired = repair(&path, None).unwrap();
    assert!(matches!(repaired.compared, Compared::Unreadable(_)), "{repaired:?}");
    let repaired = repair(&path, None).unwrap();
    assert_eq!(repaired.compared, Compared::Whole(*boundaries(&path).last().unwrap()));
    assert_eq!(&heads(&small().open(&path).unwrap()), had.last().unwrap());
}

/// Regression: a repair that was run again as it had been, with the loss that the first one had
/// accepted, said that there is no such loss.
#[test]
fn a_loss_that_was_accepted_may_be_accepted_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let ends = boundaries(&path);
    cut(&path, ends[ends.len() - 2]);
    let token = lost(&repair(&path, None).unwrap_err()).token;
    let first = repair(&path, Some(token)).unwrap();
    let Compared::Lost(recorded) = first.compared else { panic!("{first:?}") };
    assert_eq!(first.accepted_before, None);
    let again = repair(&path, Some(token)).unwrap();
    assert!(matches!(again.compared, Compared::Whole(_)), "{again:?}");
    assert_eq!(again.accepted_before, Some(recorded));
    fs::remove_file(path.join("index.redb")).unwrap();
    let again = repair(&path, Some(token)).unwrap();
    assert_eq!((again.compared, again.accepted_before), (Compared::NoIndex, Some(recorded)));
    // In a pack it is found too, and another token is another loss's.
    let store = small().open(&path).unwrap();
    store.compact_all(Time::MIN, |_, _| {}).unwrap();
    store.close().unwrap();
    drop(store);
    assert_eq!(repair(&path, Some(token)).unwrap().accepted_before, Some(recorded));
    let other = "0000000000000007".parse().unwrap();
    assert_eq!(repair(&path, Some(other)).unwrap().accepted_before, None);
    assert_eq!(repair(&path, None).unwrap().accepted_before, None);
    // It accepts no other loss.
    let store = small().open(&path).unwrap();
    append(&store, &[Author::new(3).1], &[]).unwrap();
    store.close().unwrap();
    drop(store);
    let last = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let last = last.filter(|file| file.extension().is_some_and(|it| it == "log")).max().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    lost(&repair(&path, Some(token)).unwrap_err());
}

#[test]
fn a_marker_that_is_lost_is_made_again_from_the_segments() {
    let directory = TempDir::new().unwrap();
    let (path, other) = (directory.path().join("db"), directory.path().join("other"));
    let had = closed(&path);
    closed(&other);
    let marker = path.join("continuant.db");
    let whole = fs::read(&marker).unwrap();
    for damaged in [
        None,
        Some(&b""[..]),
        Some(&b"CONT"[..]),
        Some(&[7; 64]),
        Some(&[&whole[..63], &[!whole[63]]].concat()),
    ] {
        fs::remove_file(&marker).unwrap();
        if let Some(bytes) = damaged {
            fs::write(&marker, bytes).unwrap();
        }
        let opened = small().open(&path).unwrap_err();
        match damaged {
            None => assert_eq!(opened.kind(), &ErrorKind::MarkerLost { is_backup: false }),
            Some(_) => assert!(matches!(opened.kind(), ErrorKind::Damaged { .. }), "{opened}"),
        }
        assert!(opened.to_string().contains("`check --repair` makes it again"), "{opened}");
        let repaired = repair(&path, None).unwrap();
        assert!(repaired.marker_made, "{damaged:?}");
        assert_eq!(fs::read(&marker).unwrap(), whole);
        assert_eq!(&heads(&small().open(&path).unwrap()), had.last().unwrap());
        assert!(!repair(&path, None).unwrap().marker_made);
    }
    // Segments that do not agree say nothing.
    fs::remove_file(&marker).unwrap();
    fs::copy(segment(&other, 2), segment(&path, 2)).unwrap();
    let error = repair(&path, None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OtherDatabase { .. }), "{error}");
    assert!(!marker.exists());
    let error = Options::new().repair(directory.path(), None, |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotADatabase);
}
