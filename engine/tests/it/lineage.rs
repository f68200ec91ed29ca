//! Lineages: they verify and replay, move in a capsule, and every byte that is changed shows.

use std::io::Cursor;

use continuant::{
    Code, Database, ErrorKind, ObjectId, Options, Replay, SigningKey, Time, Verified, args,
    verify_capsule,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::objects::{Fixture, OPEN, START, capsule, counter_code, key, labelled};

/// An object with calls, cycles, a write, signatures and refusals in its lineage.
fn lively(db: &Database) -> ObjectId {
    let key = SigningKey::from_secret(&[7; 32]);
    let id = db.create(counter_code(OPEN).secret([3; 32])).unwrap();
    db.call(id, "add", args![1u64]).signed(&key).nonce(1).wait().unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + 2_500)).unwrap();
    db.call(id, "add", args![1u64])
        .signed(&key)
        .nonce(1)
        .expires(Time::from_millis(START + 9_000))
        .wait()
        .unwrap_err();
    db.call(id, "grow", args![1u32]).wait().unwrap();
    db.write(id, vec![("total", 50u64.into())]).wait().unwrap();
    id
}

#[test]
fn a_capsule_is_verified_imported_and_continued_elsewhere() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let (one, other) = (here.open(), there.open());
    let id = lively(&one);
    let bytes = capsule(&one, id);
    let expected = one.verify(id, Replay::Yes).unwrap();
    assert_eq!((expected.versions, expected.refusals), (8, 2));
    for replay in [Replay::No, Replay::Yes] {
        assert_eq!(verify_capsule(Cursor::new(bytes.clone()), replay).unwrap(), expected);
    }
    assert_eq!(other.import(Cursor::new(bytes.clone())).unwrap(), id);
    assert!(other.import(Cursor::new(bytes.clone())).is_err(), "it is there already");
    assert_eq!(other.verify(id, Replay::Yes).unwrap(), expected);
    assert_eq!(capsule(&other, id), bytes, "the same lineage makes the same capsule");
    other.run_until(Time::from_millis(START + 3_500)).unwrap();
    other.call(id, "add", args![1u64]).wait().unwrap();
    let continued: Verified = other.verify(id, Replay::Yes).unwrap();
    assert_eq!(continued.versions, expected.versions + 2);
    other.close().unwrap();
    assert_eq!(there.open().verify(id, Replay::Yes).unwrap(), continued);
}

#[test]
fn two_hosts_with_other_worker_counts_make_the_same_lineage() {
    let capsules = [1, 2, 8].map(|workers| {
        let fixture = Fixture::new();
        let db = fixture.open_with(fixture.options().workers(workers));
        let id = lively(&db);
        capsule(&db, id)
    });
    assert!(capsules[0] == capsules[1] && capsules[1] == capsules[2]);
}

#[test]
fn a_capsule_that_is_cut_or_changed_anywhere_is_refused() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = lively(&db);
    let bytes = capsule(&db, id);
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    // Half of the flips fall anywhere, half outside of pages.
    for round in 0..300 {
        let mut changed = bytes.clone();
        let end = if round % 2 == 0 { bytes.len() } else { bytes.len().min(4096) };
        let at = rng.random_range(0..end);
        changed[at] ^= 1 << rng.random_range(0..8);
        let result = verify_capsule(Cursor::new(changed), Replay::No);
        let error = result.expect_err(&format!("seed {seed}: byte {at} was changed"));
        assert!(!error.to_string().is_empty());
        let cut = bytes[..rng.random_range(0..bytes.len())].to_vec();
        assert!(verify_capsule(Cursor::new(cut), Replay::No).is_err(), "seed {seed}");
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = lively(&db);
    let before = (db.snapshot(id).unwrap().memory_bytes(), db.verify(id, Replay::Yes).unwrap());
    db.close().unwrap();
    for _ in 0..3 {
        let db = fixture.open();
        let after = (db.snapshot(id).unwrap().memory_bytes(), db.verify(id, Replay::Yes).unwrap());
        assert_eq!(before, after);
        assert_eq!(db.history(id).refused().count(), 2);
    }
}

#[test]
fn refusals_on_record_are_bounded() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().refusals_max(3));
    let id = db.create(counter_code(OPEN)).unwrap();
    for _ in 0..10 {
        db.call(id, "fail", args![]).wait().unwrap_err();
    }
    assert_eq!(db.history(id).refused().count(), 3);
    assert_eq!(db.verify(id, Replay::Yes).unwrap().refusals, 3);
}

#[test]
fn strangers_leave_room_for_the_refusals_of_those_who_are_known() {
    let fixture = Fixture::new();
    let options = || fixture.options().refusals_max(8).refusals_each_max(3);
    let db = fixture.open_with(options());
    let id = db.create(counter_code(OPEN)).unwrap();
    let keys: Vec<SigningKey> = (1..9).map(|n| SigningKey::from_secret(&[n; 32])).collect();
    let fail = |db: &Database, key: Option<&SigningKey>| {
        let call = db.call(id, "fail", args![]);
        let call = if let Some(key) = key { call.signed(key) } else { call };
        let error = call.wait().unwrap_err();
        let ErrorKind::Refused { recorded, .. } = error.kind() else { panic!("{error}") };
        *recorded
    };
    db.call(id, "add", args![1u64]).signed(&keys[0]).wait().unwrap();
    // A signer with a new key for each attempt is a stranger all the same.
    let strangers: Vec<bool> = keys[1..].iter().map(|key| fail(&db, Some(key))).collect();
    assert_eq!(strangers, [true, true, true, false, false, false, false]);
    assert!(!fail(&db, None));
    assert!(fail(&db, Some(&keys[0])));
    // The same holds after a restart.
    db.close().unwrap();
    let db = fixture.open_with(options());
    assert!(!fail(&db, Some(&keys[5])) && !fail(&db, None));
    let known: Vec<bool> = (0..3).map(|_| fail(&db, Some(&keys[0]))).collect();
    assert_eq!(known, [true, true, false]);
    assert_eq!(db.verify(id, Replay::Yes).unwrap().refusals, 6);
}

#[test]
fn the_refusal_of_a_long_input_is_answered_and_not_kept() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(Code::wasm(labelled()).unwrap().args(args!["a"])).unwrap();
    for (length, kept) in [(10, true), (5000, false)] {
        let error = db.call(id, "rename", args!["b".repeat(length)]).wait().unwrap_err();
        let ErrorKind::Refused { recorded, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(*recorded, kept);
    }
    assert_eq!(db.history(id).refused().count(), 1);
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_capsule_that_declares_more_memory_than_the_option_allows_is_not_taken_in() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let one = here.open();
    let bytes = capsule(&one, lively(&one));
    let small = there.open_with(there.options().memory_bytes_max(65_536));
    let error = small.import(Cursor::new(bytes.clone())).unwrap_err();
    let expected = ErrorKind::Limit { what: "memory_bytes_max", max: 65_536, found: 262_144 };
    assert_eq!(format!("{:?}", error.kind()), format!("{expected:?}"));
    assert_eq!(small.objects().count(), 0);
    small.close().unwrap();
    let id = there.open().import(Cursor::new(bytes)).unwrap();
    let small = there.open_with(there.options().memory_bytes_max(65_536));
    small.call(id, "add", args![1u64]).wait().unwrap();
}

/// A capsule that asks the database for something whenever it is read.
struct Asking<'a> {
    db: &'a Database,
    bytes: Cursor<Vec<u8>>,
}

impl std::io::Read for Asking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.db.create(counter_code(OPEN)).unwrap();
        self.bytes.read(buffer)
    }
}

impl std::io::Seek for Asking<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[test]
fn a_capsule_may_be_read_by_asking_the_database_that_takes_it_in() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let one = here.open();
    let id = lively(&one);
    let db = there.open_with(there.options().workers(1));
    let bytes = Cursor::new(capsule(&one, id));
    assert_eq!(db.import(Asking { db: &db, bytes }).unwrap(), id);
    assert!(db.objects().count() > 1);
}

#[test]
fn many_objects_called_from_many_threads_all_replay() {
    let fixture = Fixture::new();
    let db = fixture.open_with(Options::new().workers(4));
    let ids: Vec<_> = (0..16).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25_u64 {
                    let calls = ids.iter().map(|&id| db.call(id, "add", args![round]).submit());
                    let calls: Vec<_> = calls.collect::<Result<_, _>>().unwrap();
                    calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
                }
            });
        }
    });
    for id in ids {
        assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(4 * 300));
        assert_eq!(db.verify(id, Replay::Yes).unwrap().versions, 101);
    }
}

/// A ledger that retention had let go, of a version that an outbox kept whole, was an error.
#[test]
fn what_an_outbox_keeps_of_a_pruned_lineage_still_verifies() {
    let fixture = Fixture::new();
    let storage = storage::Options::new().segment_bytes(64 << 10);
    let db = fixture.open_with(fixture.options().storage(storage));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.set_retention(None, storage::Retention::Versions(1)).unwrap();
    db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    let ring = || db.call(id, "ring", args![u64::MAX >> 1]).wait().unwrap();
    (0..150).for_each(|_| drop(ring()));
    let mut outbox = db.create_outbox("bell").unwrap();
    for _ in 0..100 {
        let place = outbox.next().transpose().unwrap().unwrap().place;
        outbox.acknowledge(place).unwrap();
    }
    drop(outbox);
    (0..400).for_each(|_| drop(ring()));
    assert!(db.compact(|_, _| {}).unwrap().trimmed_count > 50);
    let verified = db.verify(id, Replay::No).unwrap();
    assert!(verified.versions == 552 && verified.headers > 50, "{verified:?}");
    let mut outbox = db.create_outbox("bell").unwrap();
    let left = std::iter::from_fn(|| outbox.next().transpose().unwrap());
    assert!(left.map(|outgoing| outgoing.seq).eq(102..552));
}
