//! Retention and compaction: kept versions read as before, others are dropped, and space returns,
//! while readers and writers work.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use continuant_storage::{Ages, ClockJump, ErrorKind, LineageEntry, Options, Retention, Store};
use object::hash::ObjectId;
use object::memory::{Memory, Tree};
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, copy, small};
use crate::losses::repair_losing;
use crate::messages::{append_sent, message};

/// The facts about each version: its hash, its memory's root, its globals.
type Known = Vec<(String, String, Vec<u64>)>;

fn known(store: &Store, id: ObjectId, seqs: std::ops::Range<u64>) -> Known {
    let known = |seq| {
        let version = store.version(id, seq).unwrap().unwrap();
        let root = Tree::of(&version.image).root();
        assert_eq!(root, version.commit.header().memory_root, "version {seq}");
        (version.commit.hash().to_string(), root.to_string(), version.globals)
    };
    seqs.map(known).collect()
}

/// Objects with some versions each, in many segments.
fn lived(store: &Store, rng: &mut StdRng, steps: usize) -> Vec<Author> {
    let mut authors = Vec::new();
    for seed in 0..4 {
        let (author, genesis) = Author::upgrading(seed);
        append(store, &[genesis], &[]).unwrap();
        authors.push(author);
    }
    go_on(store, &mut authors, rng, steps);
    authors
}

fn go_on(store: &Store, authors: &mut [Author], rng: &mut StdRng, steps: usize) {
    for _ in 0..steps {
        let index = rng.random_range(0..authors.len());
        let count = rng.random_range(1..4);
        let made: Vec<_> = (0..count).map(|_| authors[index].next()).collect();
        append(store, &made, &[]).unwrap();
    }
}

fn segments(path: &Path, suffix: &str) -> usize {
    let names = std::fs::read_dir(path.join("log")).unwrap();
    names.filter(|name| name.as_ref().unwrap().path().to_string_lossy().ends_with(suffix)).count()
}

/// Bytes that the file system holds for the log.
fn bytes_held(path: &Path) -> u64 {
    let files = std::fs::read_dir(path.join("log")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn what_is_kept_reads_as_before_and_the_rest_is_pruned() {
    let seeds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 40 } else { 2 };
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("db");
        let store = small().recent_rows_max(2).open(&path).unwrap();
        let mut authors = lived(&store, &mut rng, 150);
        let mut gone: HashMap<ObjectId, u64> = HashMap::new();
        for round in 0..3 {
            let kept = rng.random_range(1..40);
            let special = authors[0].head.id;
            store.set_retention(None, Retention::Versions(kept)).unwrap();
            store.set_retention(Some(special), Retention::All).unwrap();
            let before: Vec<(ObjectId, u64, Known)> = authors
                .iter()
                .map(|author| {
                    let id = author.head.id;
                    let count = author.head.header.seq + 1;
                    let from = if id == special { 0 } else { count.saturating_sub(kept) };
                    // A version dropped by an earlier, stricter rule does not come back.
                    let from = from.max(gone.get(&id).copied().unwrap_or_default());
                    gone.insert(id, from);
                    (id, from, known(&store, id, from..count))
                })
                .collect();
            let compacted = store.compact(Time::MIN, |_, _| {}).unwrap();
            assert!(round > 0 || compacted.segment_count > 3, "seed {seed}: {compacted:?}");
            assert!(round > 0 || compacted.trimmed_count > 0, "seed {seed}: {compacted:?}");
            for (id, from, expected) in &before {
                let count = from + expected.len() as u64;
                assert_eq!(&known(&store, *id, *from..count), expected, "seed {seed}");
                reads_or_is_pruned(&store, *id, *from);
            }
            assert_sound(&store);
            go_on(&store, &mut authors, &mut rng, 40);
        }
        drop(store);
        // The index can be rebuilt from the compacted log.
        Options::new().rebuild_index(&path).unwrap();
        let store = small().open(&path).unwrap();
        assert_sound(&store);
        for author in &authors {
            assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
        }
        assert_eq!(store.retention(Some(authors[0].head.id)).unwrap(), Retention::All);
        assert!(matches!(store.retention(None).unwrap(), Retention::Versions(_)));
    }
}

/// Checks that each version before `from` has its header, and its memory or an error that it is
/// pruned.
fn reads_or_is_pruned(store: &Store, id: ObjectId, from: u64) {
    let mut pruned = 0;
    for seq in 0..from {
        match store.version(id, seq) {
            Ok(version) => {
                let version = version.unwrap();
                let root = Tree::of(&version.image).root();
                assert_eq!(root, version.commit.header().memory_root, "version {seq}");
            }
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Pruned { seq: found, .. } if *found == seq));
                pruned += 1;
            }
        }
    }
    let entries: Vec<_> = store.lineage(id).unwrap().map(Result::unwrap).collect();
    let mut parent = None;
    for entry in &entries {
        let stored = match entry {
            LineageEntry::Commit(complete) => complete.stored(),
            LineageEntry::Header(stored) => stored,
            LineageEntry::Refusal(_) => continue,
        };
        let (header, hash) = (stored.header(), stored.hash());
        assert_eq!(header.hash(), hash);
        assert!(parent.is_none() || parent == header.parent, "headers are chained");
        parent = Some(hash);
    }
    let headers = entries.iter().filter(|entry| matches!(entry, LineageEntry::Header(_))).count();
    assert!(headers <= pruned, "what has its payloads gone is not read: {headers} > {pruned}");
    if headers > 0 {
        let error = store.export(id, &mut Vec::new(), |_, _| {}).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Pruned { .. }), "{error}");
    }
}

#[test]
fn space_returns_while_readers_and_writers_go_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    let mut authors = lived(&store, &mut rng, 600);
    store.set_retention(None, Retention::Versions(2)).unwrap();
    let before = bytes_held(&path);
    let ids: Vec<_> = authors.iter().map(|author| author.head.id).collect();
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| store.compact(Time::MIN, |_, _| {}).unwrap());
        let reader = scope.spawn(|| {
            let mut rng = StdRng::seed_from_u64(6);
            for _ in 0..300 {
                let id = ids[rng.random_range(0..ids.len())];
                let loaded = store.head(id).unwrap().unwrap();
                let root = Tree::of(&loaded.image).root();
                assert_eq!(root, loaded.head.header.memory_root);
                assert!(loaded.image.bytes_count() > 0);
            }
        });
        go_on(&store, &mut authors, &mut rng, 60);
        reader.join().unwrap();
        let compacted = compaction.join().unwrap();
        assert!(compacted.bytes_after < compacted.bytes_before, "{compacted:?}");
    });
    let after = bytes_held(&path);
    assert!(after * 5 < before * 4, "{before} bytes before, {after} after");
    assert!(segments(&path, ".pack") > 3 && segments(&path, ".log") < 30);
    assert_sound(&store);
}

#[test]
fn packs_without_a_rule_keep_everything() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let authors = lived(&store, &mut StdRng::seed_from_u64(7), 300);
    let all = |store: &Store| -> Vec<Known> {
        let all =
            authors.iter().map(|author| known(store, author.head.id, 0..author.head.header.seq));
        all.collect()
    };
    let mut capsule = Vec::new();
    store.export(authors[0].head.id, &mut capsule, |_, _| {}).unwrap();
    let before = all(&store);
    let compacted = store.compact(Time::MIN, |_, _| {}).unwrap();
    assert!(compacted.segment_count > 3 && compacted.trimmed_count == 0, "{compacted:?}");
    assert_eq!(all(&store), before);
    let mut again = Vec::new();
    store.export(authors[0].head.id, &mut again, |_, _| {}).unwrap();
    assert!(again == capsule, "an object leaves as it would have before");
    let again = store.compact(Time::MIN, |_, _| {}).unwrap();
    assert_eq!(again.segment_count, 0, "nothing is left to do");
    assert_eq!(again.left_count, compacted.segment_count);
    // A crash between the pack and the removal of the segments that it replaces leaves both.
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    std::fs::write(crashed.join("log/00000001.log"), b"left behind").unwrap();
    std::fs::write(crashed.join("log/00000002.pack.tmp"), b"begun").unwrap();
    let store = small().open(&crashed).unwrap();
    assert_eq!(all(&store), before);
    assert!(!crashed.join("log/00000001.log").exists());
    assert_sound(&store);
}

#[test]
fn history_of_the_last_hour_is_kept() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let authors = lived(&store, &mut StdRng::seed_from_u64(8), 400);
    let id = authors[1].head.id;
    let now = authors[1].head.header.time;
    let age = 20_000;
    let first = store
        .as_of(id, now.saturating_sub(Duration::from_millis(age)))
        .unwrap()
        .map_or(0, |found| found.commit.header().seq);
    assert!(first > 10);
    let expected = known(&store, id, first..authors[1].head.header.seq + 1);
    store.set_retention(Some(id), Retention::Age(Duration::from_millis(age))).unwrap();
    assert!(store.compact(now, |_, _| {}).unwrap().trimmed_count > 0);
    assert_eq!(known(&store, id, first..authors[1].head.header.seq + 1), expected);
    let found = store.as_of(id, now.saturating_sub(Duration::from_millis(age))).unwrap().unwrap();
    assert_eq!(found.commit.header().seq, first);
    let error = store.version(id, 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Pruned { seq: 0, .. }), "{error}");
    assert_eq!(error.object(), Some(id));
    known(&store, authors[2].head.id, 0..authors[2].head.header.seq);
}

/// Regression: one version that was stamped by a clock a year ahead made all other history old.
#[test]
fn a_version_from_a_clock_that_jumped_ahead_lets_nothing_go_by_age() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    // Versions on these days, the newest last; whether that is a jump.
    let cases: [(&[u64], bool); 8] = [
        (&[0, 365], true),
        (&[0, 1, 2, 3, 365, 366, 371], true),
        (&[0, 364, 372], false),
        (&[0, 366, 374, 379], false),
        (&[0, 345, 365], false),
        (&[0, 343, 359, 365], true),
        // Once a week, and a little late.
        (&[0, 336, 343, 350, 358, 365], false),
        // Nothing is older than a week: the database is new.
        (&[359, 362, 365], false),
    ];
    for (days, is_jump) in cases {
        let directory = TempDir::new().unwrap();
        let store = small().open(directory.path().join("db")).unwrap();
        let (mut author, genesis) = Author::at(1, days[0] * DAY);
        append(&store, &[genesis], &[]).unwrap();
        let start = author.head.header.time.as_millis();
        let at = |day: u64| start + (day - days[0]) * DAY;
        // The newest version is another object's.
        let (newest, others) = days.split_last().unwrap();
        for day in others {
            (0..60).for_each(|_| append(&store, &[author.step_at(at(*day))], &[]).unwrap());
        }
        let (_, late) = Author::at(2, newest * DAY);
        append(&store, &[late], &[]).unwrap();
        store.set_retention(None, Retention::Age(Duration::from_millis(DAY / 2))).unwrap();
        let now = Time::from_millis(at(*newest) + 30 * DAY);
        let compacted = store.compact_all(now, |_, _| {}).unwrap();
        assert_eq!(compacted.jump.is_some(), is_jump, "{days:?}: {compacted:?}");
        match compacted.jump {
            Some(ClockJump { from, to }) => {
                assert_eq!((compacted.ages_from, compacted.trimmed_count), (Some(Time::MIN), 0));
                let least = days.iter().rfind(|&&day| day + 7 <= *newest).unwrap();
                let days = |time: Time| (time.as_millis() - start + DAY / 2) / DAY + days[0];
                assert_eq!((days(from), days(to)), (*least, *newest));
                known(&store, author.head.id, 0..author.head.header.seq + 1);
            }
            None => assert!(compacted.trimmed_count > 0, "{days:?}: {compacted:?}"),
        }
        // On request, ages are counted from the clock.
        let compacted = store.compact_all(Ages::FromClock(now), |_, _| {}).unwrap();
        assert_eq!(compacted.trimmed_count > 0, is_jump, "{days:?}: {compacted:?}");
        assert!(store.version(author.head.id, 1).is_err());
        assert_sound(&store);
    }
}

#[test]
fn every_changed_byte_of_a_pack_is_found_and_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let authors = lived(&store, &mut StdRng::seed_from_u64(9), 40);
    store.set_retention(None, Retention::Versions(1)).unwrap();
    store.compact(Time::MIN, |_, _| {}).unwrap();
    drop(store);
    let pack = path.join("log/00000001.pack");
    let whole = std::fs::read(&pack).unwrap();
    let mut rng = StdRng::seed_from_u64(10);
    for _ in 0..150 {
        let at = rng.random_range(0..whole.len());
        let mut changed = whole.clone();
        changed[at] ^= 1 << rng.random_range(0..8);
        std::fs::write(&pack, &changed).unwrap();
        let found = small().open(&path).and_then(|store| store.check(|_, _| {}));
        match found {
            Ok(report) => {
                let damage = report.damage.iter().any(|damage| match damage.error().kind() {
                    ErrorKind::Damaged { file, .. } => file == "log/00000001.pack",
                    ErrorKind::NewerFormat { .. } => damage.error().path() == Some(&*pack),
                    _ => false,
                });
                assert!(damage, "offset {at}: {:?}", report.damage);
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Damaged { .. } | ErrorKind::NewerFormat { .. }),
                "offset {at}: {error}"
            ),
        }
    }
    std::fs::write(&pack, &whole).unwrap();
    let store = small().open(&path).unwrap();
    assert_sound(&store);
    assert_eq!(store.head(authors[0].head.id).unwrap().unwrap().head, authors[0].head);
}

/// Regression: the message's frame was not among the kept ones when the compaction began.
#[test]
fn what_a_message_says_stays_that_is_sent_while_everything_is_compacted() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1);
    let (other, other_genesis) = Author::new(2);
    append(&store, &[genesis, other_genesis], &[]).unwrap();
    store.set_retention(None, Retention::Versions(1)).unwrap();
    while store.stats().unwrap().segment_count < 3 {
        append(&store, &[author.touch()], &[]).unwrap();
    }
    let messages = [message(other.head.id, 7)];
    let mut sent = 0;
    // The first report is of the first full segment: the open one is still to be closed.
    let compacted = store.compact_all(Time::MIN, |_, _| {
        if sent == 0 {
            // The compaction has not yet looked up this object.
            let (mut sender, genesis) = Author::new(3);
            append(&store, &[genesis], &[]).unwrap();
            let made = sender.send(messages.to_vec());
            append_sent(&store, &sender, &made, &messages, vec![]).unwrap();
            append(&store, &[sender.touch(), sender.touch()], &[]).unwrap();
            assert_eq!(store.stats().unwrap().segment_count, 3, "it is in the open segment");
        }
        sent += 1;
    });
    let compacted = compacted.unwrap();
    assert!(sent >= 3 && compacted.trimmed_count > 0, "{compacted:?}");
    assert_eq!(compacted.held_count, 1, "the version that sent it");
    let found = store.next_messages(other.head.id).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, messages[0]);
    assert_sound(&store);
}

/// Regression: the versions that retention kept were lost, the rest could not be read, and `check`
/// found nothing.
#[test]
fn an_object_whose_newest_version_has_no_state_is_found() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(1);
    let (still, still_genesis) = Author::new(2);
    append(&store, &[genesis, still_genesis], &[]).unwrap();
    store.set_retention(Some(author.head.id), Retention::Versions(1)).unwrap();
    while store.stats().unwrap().segment_count < 4 {
        append(&store, &[author.touch()], &[]).unwrap();
    }
    let (id, kept_from) = (author.head.id, author.head.header.seq);
    assert!(store.compact(Time::MIN, |_, _| {}).unwrap().trimmed_count > 0);
    assert_sound(&store);
    drop(store);
    // The rest of the log ends with the compacted segments.
    for name in std::fs::read_dir(path.join("log")).unwrap() {
        let name = name.unwrap().path();
        if name.extension().is_some_and(|extension| extension == "log") {
            std::fs::remove_file(name).unwrap();
        }
    }
    repair_losing(&path);
    let store = small().open(&path).unwrap();
    let report = store.check(|_, _| {}).unwrap();
    let [damage] = &report.damage[..] else { panic!("{:?}", report.damage) };
    let seq = store.info(id).unwrap().unwrap().seq;
    assert!(seq > 0 && seq < kept_from);
    assert_eq!(*damage.error().kind(), ErrorKind::NoState { seq, kept_from });
    assert_eq!((damage.error().object(), report.damage_count), (Some(id), 1));
    assert!(damage.to_string().contains("restore to a later time"), "{damage}");
    assert!(matches!(store.head(id).unwrap_err().kind(), ErrorKind::Pruned { .. }));
    assert_eq!(store.head(still.head.id).unwrap().unwrap().head, still.head);
}
