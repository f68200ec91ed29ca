//! History: any version by seq and by time, what changed, who changed it, names.

use std::collections::BTreeMap;

use continuant::{Code, Entry, ErrorKind, Kept, Kind, Time, TrailEnd, Value, args, storage};

use crate::objects::{Fixture, OPEN, START, capsule, counter_code, labelled, module};

#[test]
fn every_version_is_there_by_seq_and_by_time() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let mut model = BTreeMap::from([(0_u64, 0_u64)]);
    for seq in 1..=200_u64 {
        db.advance_clock(Time::from_millis(START + seq * 10)).unwrap();
        db.call(id, "add", args![seq]).wait().unwrap();
        model.insert(seq, model[&(seq - 1)] + seq);
    }
    for pass in 0..2 {
        for (&seq, &total) in &model {
            let snapshot = db.at(id, seq).unwrap();
            assert_eq!(snapshot.get::<u64>("total"), Ok(total), "pass {pass}, seq {seq}");
            assert_eq!(
                db.as_of(id, Time::from_millis(START + seq * 10 + 9)).unwrap().hash(),
                snapshot.hash()
            );
        }
    }
    let error = db.at(id, 201).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoVersion { newest: 200, .. }), "{error}");
    assert!(
        db.as_of(id, Time::from_millis(START - 1)).is_err(),
        "before the genesis there was nothing"
    );
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    let before = db.snapshot(id).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    assert_eq!(before.get::<u64>("total"), Ok(1));
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(2));
    let diff = db.diff(id, 1, 2).unwrap();
    let [change] = &diff.fields[..] else { panic!("{diff:?}") };
    assert_eq!(change.path, "total");
    let values = (Some(Value::U64(1)), Some(Value::U64(2)));
    assert_eq!((change.before.clone(), change.after.clone()), values);
    assert_eq!(diff.pages, [1]);
}

#[test]
fn blame_names_the_version_that_changed_a_field_last() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for (at, amount) in [(1, 5_u64), (2, 3), (3, 0), (4, 0)] {
        db.advance_clock(Time::from_millis(START + at)).unwrap();
        db.call(id, "add", args![amount]).wait().unwrap();
    }
    assert_eq!(db.blame(id, "total").unwrap().entry.header.seq, 2);
    assert_eq!(db.blame(id, "last").unwrap().entry.header.seq, 4);
    assert!(db.blame(id, "nothing").is_err());
}

#[test]
fn a_history_is_read_from_either_end_and_by_time() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for step in 1..=6_u64 {
        db.advance_clock(Time::from_millis(START + step)).unwrap();
        let method = if step % 3 == 0 { "fail" } else { "add" };
        let arguments = if step % 3 == 0 { args![] } else { args![step] };
        drop(db.call(id, method, arguments).wait());
    }
    let show = |entry: continuant::storage::Result<Entry>| match entry.unwrap() {
        Entry::Version(version) => format!("{}{}", version.header.kind.name(), version.header.seq),
        Entry::Refusal(refusal) => format!("refusal{}", refusal.refusal.seq),
    };
    let all: Vec<_> = db.history(id).map(show).collect();
    assert_eq!(all, ["create0", "call1", "call2", "refusal3", "call3", "call4", "refusal5"]);
    let back: Vec<_> = db.history(id).backwards().limit(2).map(show).collect();
    assert_eq!(back, ["call4", "call3"]);
    let since =
        db.history(id).since(Time::from_millis(START + 2)).until(Time::from_millis(START + 4));
    let since: Vec<_> = since.map(show).collect();
    assert_eq!(since, ["call2", "refusal3", "call3"]);
    let refused = || db.history(id).refused();
    let show = |history: continuant::History<'_>| -> Vec<_> { history.map(show).collect() };
    assert_eq!(show(refused()), ["refusal3", "refusal5"]);
    assert_eq!(show(refused().limit(1)), ["refusal3"]);
    assert_eq!(show(refused().limit(0)), [""; 0]);
    assert_eq!(show(refused().since(Time::from_millis(START + 4))), ["refusal5"]);
    assert_eq!(show(refused().backwards().limit(1)), ["refusal5"]);
}

#[test]
fn a_range_of_a_history_is_what_is_in_it_of_all_of_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for step in 1..=60_u64 {
        // Several have the same time, and some times have none.
        db.advance_clock(Time::from_millis(START + step / 4 * 8)).unwrap();
        match step % 5 {
            0 | 3 => drop(db.call(id, "fail", args![]).wait()),
            _ => drop(db.call(id, "add", args![step]).wait().unwrap()),
        }
    }
    let is_refusal = |entry: &Entry| matches!(entry, Entry::Refusal(_));
    let all =
        |history: continuant::History<'_>| -> Vec<Entry> { history.map(Result::unwrap).collect() };
    let whole = all(db.history(id));
    assert!(whole.iter().filter(|entry| is_refusal(entry)).count() > 20);
    for since in (0..140).step_by(3) {
        for until in [0, 1, 7, 8, 40, 63, 64, 200] {
            let (since, until) = (START - 2 + since, START - 2 + until);
            let within = |entry: &&Entry| (since..=until).contains(&entry.time().as_millis());
            let ranged =
                || db.history(id).since(Time::from_millis(since)).until(Time::from_millis(until));
            let expected: Vec<Entry> = whole.iter().filter(within).cloned().collect();
            assert_eq!(all(ranged()), expected, "{since} to {until}");
            let (refused, mut versions): (Vec<Entry>, Vec<Entry>) =
                expected.into_iter().partition(is_refusal);
            assert_eq!(all(ranged().refused()), refused);
            let newest = refused.iter().rev().cloned().collect::<Vec<_>>();
            assert_eq!(all(ranged().refused().backwards()), newest);
            versions.reverse();
            assert_eq!(all(ranged().backwards()), versions, "{since} to {until}");
            versions.truncate(2);
            assert_eq!(all(ranged().backwards().limit(2)), versions);
        }
    }
    // Calls 4 and 6, with the refusal of call 5 between them.
    let refused: Vec<bool> = all(db.history(id).seqs(3..5)).iter().map(is_refusal).collect();
    assert_eq!(refused, [false, true, false]);
    assert!(all(db.history(id).seqs(1000..u64::MAX)).is_empty());
}

#[test]
fn blame_follows_a_text_to_where_it_is() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = continuant::Code::wasm(labelled()).unwrap().policy(OPEN);
    let id = db.create(code.args(args!["Galadriel"])).unwrap();
    db.write(id, vec![("count", Value::from(7u32))]).wait().unwrap();
    assert_eq!(db.blame(id, "owner").unwrap().entry.header.seq, 0);
    db.call(id, "rename", args!["Celeborn"]).wait().unwrap();
    // The same text at another address.
    db.call(id, "rename", args!["Celeborn"]).wait().unwrap();
    db.write(id, vec![("mood", Value::from(Some(1u8)))]).wait().unwrap();
    assert_eq!(db.blame(id, "owner").unwrap().entry.header.seq, 2);
    assert_eq!(db.blame(id, "count").unwrap().entry.header.seq, 3);
    assert_eq!(db.blame(id, "mood").unwrap().entry.header.seq, 4);
}

#[test]
fn blame_goes_on_into_what_a_fork_is_of() {
    let (fixture, elsewhere) = (Fixture::new(), Fixture::new());
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![5u64]).wait().unwrap();
    db.call(id, "add", args![0u64]).wait().unwrap();
    let fork = db.fork(id, 2, None).unwrap();
    let again = db.fork(fork, 0, None).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    db.call(again, "add", args![0u64]).wait().unwrap();
    let blame = db.blame(again, "total").unwrap();
    assert_eq!((blame.object, blame.entry.header.seq), (id, 1));
    let kept = [
        Kept::Fork { object: again, of: fork, seq: 0 },
        Kept::Fork { object: fork, of: id, seq: 2 },
    ];
    assert_eq!((blame.end, &blame.kept[..]), (TrailEnd::Changed, &kept[..]));
    let first = db.blame(db.fork(id, 0, None).unwrap(), "total").unwrap();
    assert_eq!((first.object, first.end), (id, TrailEnd::Created));
    db.call(again, "add", args![2u64]).wait().unwrap();
    let own = db.blame(again, "total").unwrap();
    assert_eq!((own.object, own.entry.header.seq, own.kept.len()), (again, 2, 0));
    // In a database without the other object, the trail ends with the fork.
    let there = elsewhere.open();
    there.import(std::io::Cursor::new(capsule(&db, fork))).unwrap();
    let blame = there.blame(fork, "total").unwrap();
    let end = TrailEnd::ParentNotHere { object: id, seq: 2 };
    assert_eq!((blame.object, blame.entry.header.seq, blame.end), (fork, 0, end));
}

#[test]
fn a_trail_ends_where_retention_let_go_what_came_before() {
    let fixture = Fixture::new();
    let storage = storage::Options::new().segment_bytes(64 << 10);
    let db = fixture.open_with(fixture.options().storage(storage));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    for _ in 0..300 {
        db.call(id, "add", args![0u64]).wait().unwrap();
    }
    assert_eq!(db.blame(id, "total").unwrap().entry.header.seq, 1);
    db.set_retention(None, storage::Retention::Versions(10)).unwrap();
    assert!(db.compact(|_, _| {}).unwrap().trimmed_count > 50);
    let blame = db.blame(id, "total").unwrap();
    assert_eq!(blame.end, TrailEnd::Dropped);
    let seq = blame.entry.header.seq;
    assert!(seq > 50 && db.at(id, seq - 1).is_err(), "nothing older is kept than {seq}");
}

#[test]
fn a_float_that_is_no_number_does_not_change_by_itself() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let wasm = module("record state { ratio: f64, count: u64 } go: func();", "", NAN);
    let id = db.create(Code::wasm(wasm).unwrap().policy(OPEN)).unwrap();
    for _ in 0..3 {
        db.call(id, "go", args![]).wait().unwrap();
    }
    assert_eq!(db.blame(id, "ratio").unwrap().entry.header.seq, 1);
    assert_eq!(db.blame(id, "count").unwrap().entry.header.seq, 3);
    let changed: Vec<_> = db.diff(id, 1, 3).unwrap().fields.into_iter().map(|it| it.path).collect();
    assert_eq!(changed, ["count"]);
}

/// `go` sets `ratio` to a value that is not a number, and counts.
const NAN: &str = r#"(func (export "go")
    (f64.store (i32.const 4096) (f64.div (f64.const 0) (f64.const 0)))
    (i64.store (i32.const 4104) (i64.add (i64.load (i32.const 4104)) (i64.const 1))))"#;

#[test]
fn names_are_unique_and_objects_are_listed() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let one = db.create(counter_code(OPEN).name("one")).unwrap();
    assert!(db.create(counter_code(OPEN).name("one")).is_err(), "the name is taken");
    let mut ids: Vec<_> = (0..20).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    ids.push(one);
    ids.sort();
    assert_eq!(db.find("one").unwrap(), Some(one));
    assert_eq!(db.find("two").unwrap(), None);
    for _ in 0..2 {
        let listed: Vec<_> = db.objects().map(|info| info.unwrap().id).collect();
        assert_eq!(listed, ids);
    }
    let mut all = db.objects();
    assert_eq!(all.by_ref().count(), ids.len());
    assert!(all.next().is_none(), "a list that ended does not start again");
    assert_eq!(db.info(one).unwrap().name.as_deref(), Some("one"));
    assert_eq!(db.at(one, 0).unwrap().header().kind, Kind::Create);
}

#[test]
fn an_object_that_is_found_by_name_while_it_is_being_created_goes_on() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let created = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                let name = format!("object-{round}");
                let (id, pending) = db.begin_create(counter_code(OPEN).name(name)).unwrap();
                db.call(id, "add", args![1u64]).wait().unwrap();
                pending.wait().unwrap();
            }
            created.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut round = 0;
        while !created.load(std::sync::atomic::Ordering::Acquire) {
            if let Some(id) = db.find(&format!("object-{round}")).unwrap() {
                db.call(id, "add", args![1u64]).wait().unwrap();
                round += 1;
            }
        }
    });
    for info in db.objects() {
        let id = info.unwrap().id;
        db.call(id, "add", args![1u64]).wait().unwrap();
    }
}

#[test]
fn idle_objects_leave_memory_and_come_back() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().resident_bytes_max(20_000));
    let ids: Vec<_> = (0..10).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    for round in 1..=5_u64 {
        let calls: Vec<_> =
            ids.iter().map(|&id| db.call(id, "add", args![1u64]).submit().unwrap()).collect();
        for call in calls {
            assert_eq!(call.wait().unwrap().result, Some(Value::U64(round)));
        }
    }
    for id in ids {
        db.verify(id, continuant::Replay::Yes).unwrap();
    }
}
