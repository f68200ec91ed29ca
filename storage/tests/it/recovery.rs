//! A torn end, at any byte, ends the log at the last whole frame; damage before the end is not
//! taken for one.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use continuant_storage::{Append, ErrorKind, Fate, Position, Retention, Store, Taking};
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, copy, reopen, small};

/// Returns a store whose last frames were appended one by one and never indexed; the lengths of the
/// log after each, and the author's heads.
fn written(directory: &TempDir) -> (Store, Vec<u64>, Vec<object::head::Head>) {
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, made) = Author::new(5);
    append(&store, &[made], &[]).unwrap();
    let (mut ends, mut heads) = (vec![end(&store)], vec![author.head.clone()]);
    for _ in 0..5 {
        append(&store, &[author.step()], &[]).unwrap();
        ends.push(end(&store));
        heads.push(author.head.clone());
    }
    (store, ends, heads)
}

/// The offset of the end of the log in its first segment.
fn end(store: &Store) -> u64 {
    let position = store.stats().unwrap().durable.to_string();
    let (segment, offset) = position.split_once(':').unwrap();
    assert_eq!(segment, "1");
    offset.parse().unwrap()
}

/// Returns what the rows, and the tables beside them, say of a store.
fn state(store: &Store) -> String {
    let listed = store.list(None, 100).unwrap();
    let objects: Vec<_> = listed
        .iter()
        .map(|info| {
            let rule = store.retention(Some(info.id)).unwrap();
            let named = info.name.as_deref().map(|name| store.find(name).unwrap());
            (info, rule, named, store.messages_to(info.id))
        })
        .collect();
    let tables = (store.retention(None).unwrap(), store.dead_letters(None, 100).unwrap());
    let outboxes = store.outbox_status().unwrap();
    let wakes = store.wakes_until(Time::MAX).unwrap();
    format!("{objects:#?}{tables:#?}{outboxes:#?}{wakes:#?}{:#?}", store.losses())
}

/// A record does the same to the rows when it is appended, when the log is read again, with the
/// index or without it, and for the check.
#[test]
fn a_record_of_every_kind_is_appended_recovered_and_checked_alike() {
    let directory = TempDir::new().unwrap();
    let mut path = directory.path().join("db");
    let mut store = small().open(&path).unwrap();
    crate::format::write_records(&store, &path);
    let (mut author, genesis) = Author::new(4);
    append(&store, &[genesis], &[("left", author.head.id)]).unwrap();
    let to = author.head.id;
    let mut outbox = store.create_outbox("post").unwrap();
    let messages: Vec<_> = (1..=4).map(|number| crate::messages::message(to, number)).collect();
    let made = author.send(messages.clone());
    crate::messages::append_sent(&store, &author, &made, &messages, vec![]).unwrap();
    let fates = [Fate::Dead("one".to_string()), Fate::Dead("two".to_string()), Fate::Delivered];
    let taken = store.messages_to(to).into_iter().zip(fates);
    let taken = taken.map(|(id, fate)| Taking { id, fate }).collect();
    store.commit(&Append { taken, ..Append::default() }).unwrap();
    store.retry_dead_letter(store.dead_letters(None, 1).unwrap()[0].id).unwrap();
    let given = outbox.next().transpose().unwrap().unwrap();
    outbox.acknowledge(given.place).unwrap();
    drop(outbox);
    store.set_retention(Some(to), Retention::Versions(7)).unwrap();
    assert!(store.set_moved(to, true).unwrap());
    store.sync().unwrap();
    let expected = state(&store);
    for what in ["moved: true", "\"left\"", "Versions(\n", "\"two\"", "\"post\""] {
        assert!(expected.contains(what), "{what} in {expected}");
    }
    for crashed in [true, false, true] {
        assert_sound(&store);
        store = reopen(store, &mut path, crashed);
        assert_eq!(state(&store), expected, "crashed: {crashed}");
    }
    assert_sound(&store);
    drop(store);
    crate::losses::lose_the_last_frame(&path);
    let store = small().open(&path).unwrap();
    assert_eq!(store.losses().len(), 1);
    assert_sound(&store);
}

#[test]
fn a_torn_end_at_any_byte_ends_the_log_at_the_last_whole_frame() {
    let directory = TempDir::new().unwrap();
    let (store, ends, heads) = written(&directory);
    let from = directory.path().join("db");
    let id = heads[0].id;
    let last = *ends.last().unwrap();
    let before = ends[ends.len() - 3];
    let cuts: Vec<u64> = (before..before + 90).chain((before..last).step_by(211)).collect();
    for cut in cuts {
        let to = directory.path().join("torn");
        copy(&from, &to);
        let log = OpenOptions::new().write(true).open(to.join("log/00000001.log")).unwrap();
        log.set_len(cut).unwrap();
        let torn = small().open(&to).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(torn.head(id).unwrap().unwrap().head, heads[whole - 1], "cut at {cut}");
        assert!(torn.check(|_, _| {}).unwrap().is_sound());
        drop(torn);
        fs::remove_dir_all(&to).unwrap();
    }
    drop(store);
}

#[test]
fn a_torn_end_is_overwritten_by_what_comes_next() {
    let directory = TempDir::new().unwrap();
    let (store, ends, _) = written(&directory);
    let (from, to) = (directory.path().join("db"), directory.path().join("torn"));
    copy(&from, &to);
    drop(store);
    let log = OpenOptions::new().write(true).open(to.join("log/00000001.log")).unwrap();
    log.write_all_at(&[0xee; 40], ends[ends.len() - 2] + 100).unwrap();
    let torn = small().open(&to).unwrap();
    let (mut author, made) = Author::new(6);
    append(&torn, &[made, author.step()], &[]).unwrap();
    drop(torn);
    let torn = small().open(&to).unwrap();
    assert_eq!(torn.head(author.head.id).unwrap().unwrap().head, author.head);
    assert!(torn.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn damage_before_frames_of_later_groups_is_not_a_torn_end() {
    let directory = TempDir::new().unwrap();
    let (store, ends, _) = written(&directory);
    let from = directory.path().join("db");
    for (place, byte) in [(ends[1] + 3, 1), (ends[2] + 200, 0x80), (ends[3] - 1, 0xff)] {
        let to = directory.path().join("damaged");
        copy(&from, &to);
        let log = OpenOptions::new().read(true).write(true).open(to.join("log/00000001.log"));
        let log = log.unwrap();
        let mut old = [0];
        log.read_exact_at(&mut old, place).unwrap();
        log.write_all_at(&[old[0] ^ byte], place).unwrap();
        let error = small().open(&to).unwrap_err();
        let ErrorKind::Damaged { file, offset, .. } = error.kind() else { panic!("{error}") };
        let start = *ends.iter().rfind(|end| **end <= place).unwrap();
        assert_eq!((file.as_str(), *offset), ("log/00000001.log", start), "{error}");
        fs::remove_dir_all(&to).unwrap();
    }
    drop(store);
}

#[test]
fn zeros_where_durable_frames_were_are_not_the_end() {
    let directory = TempDir::new().unwrap();
    let (store, ends, _) = written(&directory);
    let (from, to) = (directory.path().join("db"), directory.path().join("damaged"));
    copy(&from, &to);
    drop(store);
    let log = OpenOptions::new().write(true).open(to.join("log/00000001.log")).unwrap();
    log.write_all_at(&vec![0; (ends[3] - ends[2]) as usize], ends[2]).unwrap();
    let error = small().open(&to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
}

#[test]
fn a_log_that_lost_what_the_index_covers_is_not_opened() {
    let directory = TempDir::new().unwrap();
    let (store, ends, _) = written(&directory);
    store.close().unwrap();
    drop(store);
    let path = directory.path().join("db");
    let log = OpenOptions::new().write(true).open(path.join("log/00000001.log")).unwrap();
    log.set_len(ends[ends.len() - 2]).unwrap();
    let error = small().open(&path).unwrap_err();
    let missing: Position = format!("1:{}", ends[ends.len() - 2]).parse().unwrap();
    let covered: Position = format!("1:{}", ends[ends.len() - 1]).parse().unwrap();
    assert_eq!(error.kind(), &ErrorKind::LogBehind { covered, missing });
}

#[test]
fn frames_larger_than_a_segment_have_one_of_their_own() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, made) = Author::new(8);
    append(&store, &[made], &[]).unwrap();
    let many: Vec<Made> = (0..60).map(|_| author.step()).collect();
    append(&store, &many, &[]).unwrap();
    append(&store, &[author.step()], &[]).unwrap();
    let to = directory.path().join("crashed");
    copy(&path, &to);
    drop(store);
    for path in [path, to] {
        let store = small().open(path).unwrap();
        assert!(store.stats().unwrap().segment_count >= 3);
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
    }
}

#[test]
fn a_changed_segment_header_is_damage_and_its_segment_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, made) = Author::new(8);
    append(&store, &[made], &[]).unwrap();
    while store.stats().unwrap().segment_count < 3 {
        append(&store, &[author.step()], &[]).unwrap();
    }
    let to = directory.path().join("crashed");
    copy(&path, &to);
    drop(store);
    for (at, newer) in [(9, true), (40, false), (70, false)] {
        let name = to.join("log/00000003.log");
        let log = OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut byte = [0];
        log.read_exact_at(&mut byte, at).unwrap();
        log.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let error = small().open(&to).unwrap_err();
        match error.kind() {
            ErrorKind::Damaged { file, .. } => {
                assert_eq!((file.as_str(), newer), ("log/00000003.log", false));
            }
            ErrorKind::NewerFormat { .. } => assert!(newer),
            _ => panic!("{error}"),
        }
        log.write_all_at(&byte, at).unwrap();
    }
    fs::rename(to.join("log/00000002.log"), to.join("log/away")).unwrap();
    let error = small().open(&to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
    fs::rename(to.join("log/away"), to.join("log/00000002.log")).unwrap();
    let store = small().open(&to).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
}
