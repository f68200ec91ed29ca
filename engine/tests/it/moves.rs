//! Objects that move from one database to another, and come back: each runs in one place only.

use std::io::{Cursor, Write};

use continuant::{Database, Error, ErrorKind, ObjectId, Replay, Time, args, storage};

use crate::messages::relay_code;
use crate::objects::{Fixture, OPEN, START, capsule, counter_code};

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

fn moved(db: &Database, id: ObjectId) -> Cursor<Vec<u8>> {
    let mut bytes = Vec::new();
    db.move_away(id, &mut bytes).unwrap();
    Cursor::new(bytes)
}

fn add(db: &Database, id: ObjectId, amount: u64) -> continuant::Result<()> {
    db.call(id, "add", args![amount]).wait().map(drop)
}

#[track_caller]
fn is_moved(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Moved), "{error}");
}

/// A wake that was refused had no time any more to be tried again at.
#[test]
fn a_wake_that_is_overdue_is_tried_again_when_its_object_is_taken_back() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"
        @id("on") permit(principal, action in [Action::"ring", Action::"add"], resource);
        @id("later") permit(principal, action == Action::"advance", resource)
        when { context.lineage.past.add.minute < 1 };"#;
    let id = db.create(counter_code(policy)).unwrap();
    add(&db, id, 1).unwrap();
    db.call(id, "ring", args![START + 1000]).wait().unwrap();
    // The pauses of the overdue wake have grown by then.
    db.run_until(Time::from_millis(START + 50_000)).unwrap();
    assert_eq!(db.overdue().len(), 1);
    drop(moved(&db, id));
    assert!(db.take_back(id).unwrap());
    db.run_until(Time::from_millis(START + 200_000)).unwrap();
    assert!(db.overdue().is_empty(), "{:?}", db.overdue());
    // Each cycle sets the next.
    assert!(total(&db, id) > 1, "its cycle ran");
}

/// Regression: an object could not come back, and both copies ran on without knowing each other.
#[test]
fn an_object_goes_there_and_back_and_runs_in_one_place() {
    let fixtures = [Fixture::new(), Fixture::new()];
    let mut dbs = fixtures.each_ref().map(Fixture::open);
    let id = dbs[0].create(counter_code(OPEN).name("one")).unwrap();
    dbs[0].call(id, "ring", args![START + 1000]).wait().unwrap();
    for journey in 0..6_usize {
        let (from, to) = (journey % 2, (journey + 1) % 2);
        let bytes = moved(&dbs[from], id);
        match journey {
            0 => assert_eq!(dbs[to].import_as(bytes, "two").unwrap(), id),
            _ => assert_eq!(dbs[to].import(bytes).unwrap(), id),
        }
        for (db, name) in dbs.iter().zip(["one", "two"]) {
            assert_eq!(db.find(name).unwrap(), Some(id), "its names are as they were");
        }
        let now = START + 1000 * (journey as u64 + 1);
        dbs.iter().for_each(|db| db.run_until(Time::from_millis(now)).unwrap());
        assert_eq!(total(&dbs[to], id), journey as u64 * 3 + 1, "journey {journey}: it woke here");
        assert_eq!(total(&dbs[from], id), journey as u64 * 3, "and not there");
        add(&dbs[to], id, 2).unwrap();
        is_moved(&add(&dbs[from], id, 2).unwrap_err());
        is_moved(&dbs[from].advance(id).unwrap_err());
        let one = dbs[from].create(counter_code(OPEN)).unwrap();
        let both = [one, id].map(|id| dbs[from].call(id, "add", args![1u64]));
        is_moved(&dbs[from].transaction(both).wait().unwrap_err());
        assert_eq!(total(&dbs[from], one), 0);
        assert!(dbs[from].info(id).unwrap().moved && !dbs[to].info(id).unwrap().moved);
        if journey % 3 == 1 {
            for (db, fixture) in dbs.iter_mut().zip(&fixtures) {
                // The lock of a directory ends with its database.
                let other = Fixture::new().open();
                std::mem::replace(db, other).close().unwrap();
                *db = fixture.open();
                db.advance_clock(Time::from_millis(now)).unwrap();
            }
            is_moved(&add(&dbs[from], id, 2).unwrap_err());
        }
        for db in &dbs {
            db.verify(id, Replay::Yes).unwrap();
            assert!(db.check(|_, _| {}).unwrap().is_sound());
        }
    }
}

#[test]
fn what_is_older_or_went_another_way_is_not_taken_in() {
    let fixtures = [Fixture::new(), Fixture::new()];
    let dbs = fixtures.each_ref().map(Fixture::open);
    let id = dbs[0].create(counter_code(OPEN)).unwrap();
    let oldest = capsule(&dbs[0], id);
    dbs[1].import(Cursor::new(oldest.clone())).unwrap();
    add(&dbs[0], id, 1).unwrap();
    let kind = |result: continuant::Result<ObjectId>| match result.unwrap_err().kind() {
        ErrorKind::Storage(error) => error.kind().clone(),
        other => panic!("{other:?}"),
    };
    let error = kind(dbs[0].import(Cursor::new(oldest)));
    assert_eq!(error, storage::ErrorKind::HereAlready { seq: 1, found: 0, moved: false });
    let newer = capsule(&dbs[0], id);
    let error = kind(dbs[0].import(Cursor::new(newer.clone())));
    assert_eq!(error, storage::ErrorKind::HereAlready { seq: 1, found: 1, moved: false });
    // A newer one is taken, also while the object is in memory here.
    dbs[1].call(id, "fail", args![]).wait().unwrap_err();
    let error = kind(dbs[1].import(Cursor::new(newer.clone())));
    assert!(matches!(error, storage::ErrorKind::Diverged { seq: 0, .. }), "a refusal: {error}");
    let other = Fixture::new();
    let other = other.open();
    other.import(Cursor::new(capsule(&dbs[0], id))).unwrap();
    add(&dbs[0], id, 10).unwrap();
    assert_eq!(total(&other, id), 1);
    other.import(Cursor::new(capsule(&dbs[0], id))).unwrap();
    assert_eq!(total(&other, id), 11);
    add(&other, id, 20).unwrap();
    add(&other, id, 20).unwrap();
    add(&dbs[0], id, 5).unwrap();
    let two = [&dbs[0], &other];
    for (to, from) in [(0, 1), (1, 0)] {
        let here = two[to].at(id, 3).unwrap().hash().to_string();
        let there = two[from].at(id, 3).unwrap().hash().to_string();
        let error = kind(two[to].import(Cursor::new(capsule(two[from], id))));
        assert_eq!(error, storage::ErrorKind::Diverged { seq: 3, here, there });
    }
    assert_eq!(two.map(|db| total(db, id)), [16, 51]);
}

/// A writer that fails after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_object_that_could_not_be_written_goes_on_here() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "ring", args![START + 1]).wait().unwrap();
    let length = capsule(&db, id).len();
    for room in [0, 100, length - 1] {
        db.move_away(id, &mut Full(room)).unwrap_err();
        assert!(!db.info(id).unwrap().moved);
        add(&db, id, 1).unwrap();
    }
    drop(moved(&db, id));
    db.move_away(id, &mut Full(0)).unwrap_err();
    is_moved(&add(&db, id, 1).unwrap_err());
    db.run_until(Time::from_millis(START + 10)).unwrap();
    assert_eq!(total(&db, id), 3, "it does not wake");
    assert!(db.take_back(id).unwrap() && !db.take_back(id).unwrap());
    db.run_until(Time::from_millis(START + 10)).unwrap();
    assert_eq!(total(&db, id), 4, "the wake that was due ran");
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn messages_to_an_object_that_is_elsewhere_are_dead_letters_until_it_is_back() {
    let fixtures = [Fixture::new(), Fixture::new()];
    let dbs = fixtures.each_ref().map(Fixture::open);
    let [sender, to] = [(); 2].map(|()| dbs[0].create(relay_code(OPEN)).unwrap());
    let flood = |count: u32| {
        let to = continuant::Value::from(&to.0[..]);
        dbs[0].call(sender, "flood", args![to, count]).wait().unwrap();
        dbs[0].deliver().unwrap();
    };
    let got = |db: &Database| db.snapshot(to).unwrap().get::<u64>("got").unwrap();
    flood(2);
    dbs[1].import(moved(&dbs[0], to)).unwrap();
    flood(3);
    let letters: Vec<_> = dbs[0].dead_letters().map(Result::unwrap).collect();
    let whys: Vec<_> = letters.iter().map(|letter| &letter.why[..]).collect();
    assert_eq!(whys, ["the object was moved away"; 3]);
    let arguments = args![continuant::Value::from(&to.0[..]), 5u32];
    dbs[1].call(to, "flood", arguments).wait().unwrap();
    dbs[1].deliver().unwrap();
    assert_eq!((got(&dbs[0]), got(&dbs[1])), (2, 7));
    dbs[0].import(moved(&dbs[1], to)).unwrap();
    dbs[0].deliver().unwrap();
    assert_eq!((got(&dbs[0]), dbs[0].message_count()), (7, 0), "what it sent there is not here");
    letters.iter().for_each(|letter| dbs[0].retry_dead_letter(letter.id).unwrap());
    dbs[0].deliver().unwrap();
    assert_eq!((got(&dbs[0]), dbs[0].dead_letters().count()), (10, 0));
    dbs[0].verify(to, Replay::Yes).unwrap();
    assert!(dbs.iter().all(|db| db.check(|_, _| {}).unwrap().is_sound()));
}
