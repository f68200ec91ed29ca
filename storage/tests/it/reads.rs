//! What a small question costs: bytes that are read, counted at the disk, and not time.

use std::ops::Range;
use std::sync::Arc;

use continuant_storage::{Direction, LineageEntry, RecordEntry, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, reopen, small};
use crate::backup::disk::WatchedDisk;

/// A store whose reads are counted.
fn watched(directory: &TempDir) -> (Store, WatchedDisk) {
    let disk = WatchedDisk::new(directory.path());
    let options = small().disk(Arc::new(disk.clone()));
    (options.open(directory.path().join("db")).unwrap(), disk)
}

/// What `ask` gives, and the bytes that it read.
fn counted<T>(disk: &WatchedDisk, ask: impl FnOnce() -> T) -> (T, u64) {
    let before = disk.seen(|seen| seen.read);
    let asked = ask();
    (asked, disk.seen(|seen| seen.read) - before)
}

/// Versions that put nothing out.
fn quiet(author: &mut Author, count: usize) -> Vec<Made> {
    (0..count).map(|_| author.send(Vec::new())).collect()
}

#[test]
fn an_outbox_with_nothing_new_reads_no_more_than_what_it_looked_at_last() {
    let directory = TempDir::new().unwrap();
    let (store, disk) = watched(&directory);
    let (mut author, genesis) = Author::new(3);
    append(&store, &[genesis], &[]).unwrap();
    for _ in 0..40 {
        append(&store, &quiet(&mut author, 200), &[]).unwrap();
    }
    let (none, first) =
        counted(&disk, || store.create_outbox("mail").unwrap().next_output().unwrap().is_none());
    assert!(none && first > 3 << 20, "all of it is read once: {first}");
    store.sync().unwrap();
    let frames = store.stats().unwrap().frame_count;
    for _ in 0..3 {
        let (none, again) =
            counted(&disk, || store.outbox("mail").unwrap().next_output().unwrap().is_none());
        assert!(none && again < 200 << 10, "{again} of {first}");
    }
    store.sync().unwrap();
    assert_eq!(store.stats().unwrap().frame_count, frames, "to ask again writes nothing");
    // What comes then is given, and given again until it is acknowledged.
    let said = loop {
        let made = author.step();
        append(&store, &[made], &[]).unwrap();
        if let Some(said) = store.outbox("mail").unwrap().next_output().unwrap() {
            break said;
        }
    };
    append(&store, &quiet(&mut author, 8000), &[]).unwrap();
    let mut outbox = store.outbox("mail").unwrap();
    assert_eq!(outbox.next_output().unwrap().as_ref(), Some(&said));
    assert_eq!(outbox.next_output().unwrap(), None);
    // It looked far, and what it gave is not acknowledged.
    let mut path = directory.path().join("db");
    drop(outbox);
    let store = reopen(store, &mut path, true);
    let mut outbox = store.outbox("mail").unwrap();
    let again = outbox.next_output().unwrap().unwrap();
    assert_eq!(again, said);
    outbox.acknowledge(again.place).unwrap();
    assert_eq!(outbox.next_output().unwrap(), None);
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
}

/// A lineage of versions at times that are not all different, with refusals between.
fn lived(store: &Store, seed: u64, count: usize) -> Author {
    let (mut author, genesis) = Author::new(seed);
    append(store, &[genesis], &[]).unwrap();
    for _ in 0..count / 4 {
        let made: Vec<Made> = (0..4).map(|_| author.next()).collect();
        append(store, &made, &[]).unwrap();
    }
    author
}

#[derive(Debug, PartialEq)]
enum Known {
    Version(u64),
    Refusal(u64, u64),
}

#[test]
fn records_of_a_range_are_those_of_the_whole_lineage_in_it() {
    let directory = TempDir::new().unwrap();
    let (store, _) = watched(&directory);
    let author = lived(&store, 5, 400);
    let (id, newest) = (author.head.id, author.head.header.seq);
    let mut all = Vec::new();
    let (mut seq, mut number) = (0, 0);
    for entry in store.lineage(id).unwrap() {
        all.push(match entry.unwrap() {
            LineageEntry::Commit(complete) => {
                seq = complete.stored().header().seq;
                (seq, Known::Version(seq))
            }
            LineageEntry::Header(_) => panic!("nothing was let go"),
            LineageEntry::Refusal(refusal) => {
                number += 1;
                (seq, Known::Refusal(number, refusal.seq))
            }
        });
    }
    assert!(number > 30 && newest > 300);
    let known = |entry: RecordEntry| match entry {
        RecordEntry::Version(stored) => Known::Version(stored.header().seq),
        RecordEntry::Refusal(number, refusal) => Known::Refusal(number, refusal.seq),
    };
    let mut rng = StdRng::seed_from_u64(5);
    let drawn = (0..40).map(|_| rng.random_range(0..=newest)..rng.random_range(0..newest + 3));
    let edges = [0..0, 0..u64::MAX, newest..newest + 1, newest + 1..u64::MAX, newest..u64::MAX];
    for range in drawn.chain(edges) {
        let expected: Vec<&Known> =
            all.iter().filter(|(seq, _)| range.contains(seq)).map(|(_, known)| known).collect();
        let found = store.records(id, range.clone()).unwrap();
        let found: Vec<Known> = found.map(|entry| known(entry.unwrap())).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{range:?}");
        let mut refusals = store.refusals_behind(id, range.clone()).unwrap();
        let mut found = Vec::new();
        loop {
            let number = refusals.left();
            let Some(refusal) = refusals.next() else { break };
            found.push(Known::Refusal(number, refusal.unwrap().seq));
        }
        let refused = expected.into_iter().filter(|known| matches!(known, Known::Refusal(..)));
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            refused.rev().collect::<Vec<_>>(),
            "{range:?}"
        );
    }
}

#[test]
fn where_a_range_of_time_begins_is_found_in_a_few_reads() {
    let directory = TempDir::new().unwrap();
    let (store, disk) = watched(&directory);
    let author = lived(&store, 6, 1000);
    let id = author.head.id;
    let all = store.versions(id, 0..u64::MAX, Direction::Forward).unwrap();
    let times: Vec<u64> = all.map(|stored| stored.unwrap().header().time).collect();
    let (whole, whole_bytes) = counted(&disk, || count(&store, id, 0..u64::MAX));
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..30 {
        let time = rng.random_range(times[0] - 2..times[times.len() - 1] + 2);
        let expected = times.iter().rposition(|&at| at <= time).map(|index| index as u64);
        let (found, read) = counted(&disk, || store.seq_as_of(id, time).unwrap());
        assert_eq!(found, expected, "time {time}");
        assert!(read < whole_bytes / 10, "{read} of {whole_bytes}");
    }
    // The end of a long lineage, either way.
    let end = whole - 20;
    let (last, read) = counted(&disk, || count(&store, id, end..u64::MAX));
    assert_eq!(last, 20);
    assert!(read < whole_bytes / 10, "{read} of {whole_bytes}");
}

/// How many versions there are in a range.
fn count(store: &Store, id: object::hash::ObjectId, range: Range<u64>) -> u64 {
    let is_version = |entry: &RecordEntry| matches!(entry, RecordEntry::Version(_));
    let records = store.records(id, range).unwrap().map(Result::unwrap);
    records.filter(is_version).count() as u64
}

#[test]
fn the_newest_ledger_is_that_of_the_head() {
    let directory = TempDir::new().unwrap();
    let (store, _) = watched(&directory);
    let author = lived(&store, 9, 100);
    let id = author.head.id;
    assert_eq!(store.newest_ledger(id).unwrap().as_ref(), Some(&*author.head.ledger));
}
