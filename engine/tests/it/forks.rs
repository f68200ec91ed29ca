//! Objects that begin as a version of another: what they have of it, and what they do not.

use continuant::query::Entry;
use continuant::{Database, ErrorKind, Kind, ObjectId, Reason, Replay, Time, Value, args};

use crate::objects::{Fixture, OPEN, START, check_anywhere, counter_code, key, labelled};

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

#[test]
fn a_fork_begins_as_the_version_was_and_goes_its_own_way() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for amount in [1u64, 10, 100] {
        db.call(id, "add", args![amount]).wait().unwrap();
    }
    db.call(id, "grow", args![1u32]).wait().unwrap();
    let forks: Vec<_> = (0..=4).map(|seq| db.fork(id, seq, None).unwrap()).collect();
    let totals: Vec<_> = forks.iter().map(|fork| total(&db, *fork)).collect();
    assert_eq!(totals, [0, 1, 11, 111, 5]);
    assert_ne!(db.fork(id, 2, None).unwrap(), forks[2], "each is an object of its own");
    db.call(forks[2], "add", args![1000u64]).wait().unwrap();
    assert_eq!((total(&db, forks[2]), total(&db, id), total(&db, forks[4])), (1011, 5, 5));
    let Entry::Version(first) = db.history(forks[2]).next().unwrap().unwrap() else {
        panic!("a version")
    };
    let input = first.payloads.unwrap().input;
    let continuant::object::input::Request::Fork { of, .. } = input.request else {
        panic!("a fork")
    };
    assert_eq!((first.header.kind, of.object_id(), of.seq), (Kind::Fork, id, 2));
    assert_eq!(of.hash(), db.at(id, 2).unwrap().hash());
    assert_eq!(db.explain(forks[2], 0).unwrap().input.request.action(), "fork");
    // A fork of a fork, after the first object left memory.
    let again = db.fork(forks[2], 1, Some("again")).unwrap();
    assert_eq!((db.find("again").unwrap(), total(&db, again)), (Some(again), 1011));
    for (fork, seq) in forks.iter().zip(0..) {
        assert_eq!(db.verify(*fork, Replay::Yes).unwrap().fork_of, Some((id, seq)));
    }
    assert_eq!(db.verify(again, Replay::No).unwrap().fork_of, Some((forks[2], 1)));
    assert_eq!(db.verify(id, Replay::Yes).unwrap().fork_of, None);
    assert!(db.check(|_, _| {}).unwrap().is_sound());
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, again);
    for db in [&here, &there] {
        db.call(again, "add", args![1u64]).wait().unwrap();
        assert_eq!(total(db, again), 1012);
        db.verify(again, Replay::Yes).unwrap();
    }
}

#[test]
fn a_fork_has_texts_and_globals_too() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = continuant::Code::wasm(labelled()).unwrap().policy(OPEN);
    let id = db.create(code.args(args!["ada"])).unwrap();
    db.call(id, "rename", args!["ben"]).wait().unwrap();
    let fork = db.fork(id, 1, None).unwrap();
    db.call(id, "rename", args!["cleo"]).wait().unwrap();
    db.call(fork, "rename", args!["dora"]).wait().unwrap();
    let owner = |id| db.snapshot(id).unwrap().value("owner").unwrap();
    assert_eq!((owner(id), owner(fork)), (Value::from("cleo"), Value::from("dora")));
    db.verify(fork, Replay::Yes).unwrap();
}

#[test]
fn a_fork_can_be_made_without_the_wake() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "ring", args![START + 100]).wait().unwrap();
    let quiet = db.fork_without_wake(id, 1, Some("quiet")).unwrap();
    let before = db.fork_without_wake(id, 0, None).unwrap();
    assert_eq!((db.info(quiet).unwrap().wake, db.find("quiet").unwrap()), (None, Some(quiet)));
    db.run_until(Time::from_millis(START + 100)).unwrap();
    assert_eq!([id, quiet, before].map(|id| total(&db, id)), [1, 0, 0]);
    db.call(quiet, "ring", args![START + 200]).wait().unwrap();
    db.verify(before, Replay::Yes).unwrap();
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, quiet);
    for db in [here, there] {
        assert_eq!(db.verify(quiet, Replay::Yes).unwrap().fork_of, Some((id, 1)));
        db.run_until(Time::from_millis(START + 200)).unwrap();
        assert_eq!(total(&db, quiet), 1);
    }
}

#[test]
fn a_fork_wakes_when_the_object_would_have() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "ring", args![START + 100]).wait().unwrap();
    let fork = db.fork(id, 1, None).unwrap();
    let before = db.fork(id, 0, None).unwrap();
    assert_eq!(db.info(fork).unwrap().wake, Some(Time::from_millis(START + 100)));
    db.run_until(Time::from_millis(START + 100)).unwrap();
    assert_eq!([id, fork, before].map(|id| total(&db, id)), [1, 1, 0]);
    // A fork of a version whose wake is past runs the wake at once.
    let late = db.fork(id, 1, None).unwrap();
    db.run_until(Time::from_millis(START + 100)).unwrap();
    assert_eq!(total(&db, late), 1);
    db.verify(late, Replay::Yes).unwrap();
}

#[test]
fn what_was_signed_for_one_is_not_signed_for_its_fork() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let key = key(1);
    let policy = r#"@id("known") permit(principal is Key, action, resource);"#;
    let id = db.create(counter_code(policy)).unwrap();
    let call = |id: ObjectId| db.call(id, "add", args![1u64]).signed(&key).nonce(7);
    call(id).wait().unwrap();
    let fork = db.fork(id, 1, None).unwrap();
    // The fork has no used nonce yet.
    call(fork).wait().unwrap();
    assert_eq!(call(fork).wait().unwrap_err().refusal().unwrap().reason, Reason::Replayed);
    assert_eq!((total(&db, id), total(&db, fork)), (1, 2));
}

#[test]
fn what_cannot_be_forked_is_said() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN).name("one")).unwrap();
    let kind = |result: continuant::Result<ObjectId>| format!("{:?}", result.unwrap_err().kind());
    assert!(kind(db.fork(id, 1, None)).starts_with("NoVersion"));
    assert!(kind(db.fork(ObjectId([1; 32]), 0, None)).starts_with("NoObject"));
    let taken = db.fork(id, 0, Some("one")).unwrap_err();
    assert!(matches!(taken.kind(), ErrorKind::Storage(_)), "{taken}");
    assert_eq!(db.objects().count(), 1);
}
