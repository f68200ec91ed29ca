//! The cost of small questions: bytes that are read, counted at the disk, and not time. A check in
//! parts finds the same as a check at once.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use continuant_storage::{
    Append, CapsuleReader, Direction, Fate, LineageEntry, Options, RecordEntry, Report, Retention,
    Store, Taking,
};
use object::hash::ObjectId;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, copy, reopen, small};
use crate::backup::disk::WatchedDisk;
use crate::losses::lose_the_last_frame;
use crate::messages::{append_sent, message};

/// Opens a store whose reads are counted.
fn watched(directory: &TempDir) -> (Store, WatchedDisk) {
    let disk = WatchedDisk::new(directory.path());
    let options = small().disk(Arc::new(disk.clone()));
    (options.open(directory.path().join("db")).unwrap(), disk)
}

/// Returns the answer of `ask`, and the bytes that it read.
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
    let (none, first) = counted(&disk, || {
        store.create_outbox("mail").unwrap().next().transpose().unwrap().is_none()
    });
    assert!(none && first > 3 << 20, "all of it is read once: {first}");
    store.sync().unwrap();
    let frames = store.stats().unwrap().frame_count;
    for _ in 0..3 {
        let (none, again) =
            counted(&disk, || store.outbox("mail").unwrap().next().transpose().unwrap().is_none());
        assert!(none && again < 200 << 10, "{again} of {first}");
    }
    store.sync().unwrap();
    assert_eq!(store.stats().unwrap().frame_count, frames, "to ask again writes nothing");
    // A later output is given, and given again until it is acknowledged.
    let said = loop {
        let made = author.step();
        append(&store, &[made], &[]).unwrap();
        if let Some(said) = store.outbox("mail").unwrap().next().transpose().unwrap() {
            break said;
        }
    };
    append(&store, &quiet(&mut author, 8000), &[]).unwrap();
    let mut outbox = store.outbox("mail").unwrap();
    assert_eq!(outbox.next().transpose().unwrap().as_ref(), Some(&said));
    assert_eq!(outbox.next().transpose().unwrap(), None);
    // The outbox has read far ahead, and its output is not acknowledged.
    let mut path = directory.path().join("db");
    drop(outbox);
    let store = reopen(store, &mut path, true);
    let mut outbox = store.outbox("mail").unwrap();
    let again = outbox.next().transpose().unwrap().unwrap();
    assert_eq!(again, said);
    outbox.acknowledge(again.place).unwrap();
    assert_eq!(outbox.next().transpose().unwrap(), None);
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
    let times: Vec<u64> = all.map(|stored| stored.unwrap().header().time.as_millis()).collect();
    let (whole, whole_bytes) = counted(&disk, || count(&store, id, 0..u64::MAX));
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..30 {
        let time = rng.random_range(times[0] - 2..times[times.len() - 1] + 2);
        let expected = times.iter().rposition(|&at| at <= time).map(|index| index as u64);
        let (found, read) =
            counted(&disk, || store.seq_as_of(id, Time::from_millis(time)).unwrap());
        assert_eq!(found, expected, "time {time}");
        assert!(read < whole_bytes / 10, "{read} of {whole_bytes}");
    }
    // The end of a long lineage, either way.
    let end = whole - 20;
    let (last, read) = counted(&disk, || count(&store, id, end..u64::MAX));
    assert_eq!(last, 20);
    assert!(read < whole_bytes / 10, "{read} of {whole_bytes}");
}

/// Counts the versions in a range.
fn count(store: &Store, id: ObjectId, range: Range<u64>) -> u64 {
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
    assert_eq!(store.newest_ledger(id).unwrap().as_ref(), Some(&author.head.ledger));
}

/// Objects with names, wakes, refusals, upgrades and messages, on their way and dead; some moved
/// away, some with a rule of retention, one imported, and one imported again after that had failed.
fn fleet(path: &Path) {
    let store = small().open(path).unwrap();
    let mut authors: Vec<Author> = Vec::new();
    for seed in 0..40 {
        let (author, genesis) = Author::upgrading(seed);
        let name = format!("object {seed}");
        append(&store, &[genesis], &[(&name, author.head.id)]).unwrap();
        authors.push(author);
    }
    // A name that another object's id begins with, which came later.
    let (late, genesis) = (Author::new(41), Author::new(40));
    let digits = &late.0.head.id.to_string()[..8];
    append(&store, &[genesis.1], &[(digits, genesis.0.head.id)]).unwrap();
    append(&store, &[late.1], &[]).unwrap();
    for round in 0..200 {
        let made = authors[round % 40].next();
        append(&store, &[made], &[]).unwrap();
        if round % 10 == 0 {
            converse(&store, &mut authors, round / 10);
        }
    }
    for (index, author) in authors.iter().enumerate().step_by(9) {
        store.set_moved(author.head.id, index % 2 == 0).unwrap();
        store.set_retention(Some(author.head.id), Retention::Versions(90)).unwrap();
    }
    drop(store.create_outbox("mail").unwrap());
    let directory = TempDir::new().unwrap();
    let other = small().open(directory.path().join("other")).unwrap();
    for seed in [77, 78] {
        let author = lived(&other, seed, 100);
        let mut bytes = Vec::new();
        other.export(author.head.id, &mut bytes, |_, _| {}).unwrap();
        let mut reader = CapsuleReader::new(&bytes[..]).unwrap();
        while reader.next().unwrap().is_some() {}
        let seal = reader.seal().unwrap();
        // The log has imports: staged ones, and a completed one.
        store.import(&bytes[..bytes.len() / 2], &author.head, seal).unwrap_err();
        if seed == 77 {
            store.import(&bytes[..], &author.head, seal).unwrap();
        }
    }
    // The last frame, which is going to be lost, and that on record.
    append(&store, &[authors[1].touch()], &[]).unwrap();
    drop(store);
    lose_the_last_frame(path);
}

/// Two messages to one object: one is taken, or comes to nothing, and some of these are let go.
fn converse(store: &Store, authors: &mut [Author], round: usize) {
    let to = authors[(7 * round + 3) % 40].head.id;
    let messages = [message(to, 1), message(to, 2)];
    let sender = &mut authors[round];
    let made = sender.send(messages.to_vec());
    append_sent(store, sender, &made, &messages, vec![]).unwrap();
    let first = store.messages_to(to)[0];
    let fates = [Fate::Delivered, Fate::Dead("no".to_string())];
    let taken = Taking { id: first, fate: fates[round % 2].clone() };
    store.commit(&Append { taken: vec![taken], ..Append::default() }).unwrap();
    let dead = store.dead_letters(None, 3).unwrap();
    if dead.len() == 3 {
        store.retry_dead_letter(dead[0].id).unwrap();
        store.drop_dead_letter(dead[1].id).unwrap();
    }
}

/// The findings that do not depend on the number of parts.
#[derive(PartialEq, Debug)]
struct Found {
    damage: BTreeSet<String>,
    lost: Vec<String>,
    counts: [u64; 8],
    others: String,
}

fn found(report: &Report) -> Found {
    Found {
        damage: report.damage.iter().map(ToString::to_string).collect(),
        lost: report.lost.iter().map(ToString::to_string).collect(),
        counts: [
            report.object_count,
            report.version_count,
            report.refusal_count,
            report.frame_count,
            report.bytes,
            report.damage_count,
            report.lost_count,
            report.consequence_count,
        ],
        others: format!("{:?} {:?}", report.losses, report.doubtful_names),
    }
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

/// Compares the findings of checks in parts of several sizes with those of a check at once.
fn compare_parts(path: &Path, about: &str) -> Report {
    let whole = small().open(path).unwrap().check(|_, _| {}).unwrap();
    assert_eq!(whole.pass_count, 1 + u64::from(!whole.is_sound()), "{about}");
    for bytes in [40_000, 6_000] {
        let store = small().check_bytes_max(bytes).open(path).unwrap();
        let (mut last, mut before) = ((0, 1), 0);
        let parts = store
            .check(|done, all| {
                last = (done, all);
                assert!(done <= all, "{about}");
                before = before.max(done);
            })
            .unwrap();
        assert!(parts.pass_count > 2, "{about}: {bytes} bytes");
        assert_eq!(last.0, last.1, "progress ends at the end");
        assert_eq!(found(&parts), found(&whole), "{about}: {bytes} bytes");
    }
    whole
}

#[test]
fn a_check_in_parts_finds_what_a_check_of_all_at_once_finds() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    fleet(&path);
    let whole = compare_parts(&path, "sound");
    assert!(whole.is_sound(), "{:?}", whole.damage);
    assert_eq!((whole.object_count, whole.losses.len(), whole.doubtful_names.len()), (43, 1, 1));
    let files = segments(&path);
    let mut lost = 0;
    for (number, file) in files[..files.len() - 1].iter().enumerate().step_by(2) {
        let hurt = directory.path().join(format!("hurt {number}"));
        copy(&path, &hurt);
        let file = hurt.join(file.strip_prefix(&path).unwrap());
        let mut segment = fs::read(&file).unwrap();
        for part in 1..=1 + number % 3 {
            let at = segment.len() / 5 * part;
            segment[at] ^= 0x10;
        }
        fs::write(&file, &segment).unwrap();
        let whole = compare_parts(&hurt, &format!("segment {number}"));
        assert!(!whole.is_sound() && whole.consequence_count > 0);
        lost += whole.lost_count;
    }
    assert!(lost > 10, "{lost} are lost");
    // A log without damage whose segments do not follow one another: a segment is missing.
    let other = directory.path().join("other");
    copy(&path, &other);
    fs::remove_file(segments(&other).swap_remove(1)).unwrap();
    assert!(compare_parts(&other, "a segment less").lost_count > 0);
}

/// A damaged index is found in parts if it is found at once, and the other way round.
#[test]
fn a_damaged_index_is_found_in_parts_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    fleet(&path);
    let index = fs::read(path.join("index.redb")).unwrap();
    let mut rng = StdRng::seed_from_u64(11);
    let mut is_found = 0;
    for round in 0..12 {
        let mut hurt = index.clone();
        let at = rng.random_range(4096..hurt.len());
        hurt[at] ^= 1 << rng.random_range(0..8);
        let check = |options: Options| {
            fs::write(path.join("index.redb"), &hurt).unwrap();
            let report = options.open(&path).and_then(|store| store.check(|_, _| {}));
            report.map(|report| report.is_sound()).unwrap_or_default()
        };
        let whole = check(small());
        assert_eq!(check(small().check_bytes_max(9_000)), whole, "round {round}: byte {at}");
        is_found += u64::from(!whole);
    }
    assert!(is_found > 0, "some bytes are of rows");
}
