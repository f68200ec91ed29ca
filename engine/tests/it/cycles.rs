//! Own cycles: wakes run without a caller, before what comes after them, and survive a restart.

use std::time::Duration;

use continuant::{
    Cause, Clock, Database, ErrorKind, Kind, ObjectId, Options, Reason, Replay, Time, args,
};

use crate::objects::{Fixture, OPEN, START, counter_code, module};

#[test]
fn a_wake_runs_at_its_time_and_rearms_itself() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let receipt = db.call(id, "ring", args![START + 500]).wait().unwrap();
    assert_eq!(receipt.header.wake, Some(Time::from_millis(START + 500)));
    let [rung] = receipt.outputs().unwrap() else { panic!("{receipt:?}") };
    assert_eq!((rung.name.as_str(), rung.payload.len()), ("rung", 8));
    db.run_until(Time::from_millis(START + 499)).unwrap();
    assert_eq!(db.snapshot(id).unwrap().header().seq, 1);
    db.run_until(Time::from_millis(START + 3_600)).unwrap();
    let snapshot = db.snapshot(id).unwrap();
    assert_eq!(snapshot.get::<u64>("total"), Ok(4), "at 500, 1500, 2500 and 3500");
    assert_eq!(
        (snapshot.header().kind, snapshot.header().time),
        (Kind::Cycle, Time::from_millis(START + 3_500))
    );
    assert_eq!(snapshot.header().wake, Some(Time::from_millis(START + 4_500)));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_wake_runs_before_an_input_that_comes_after_it() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![98u64]).wait().unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.advance_clock(Time::from_millis(START + 5_000)).unwrap();
    let receipt = db.call(id, "add", args![0u64]).wait().unwrap();
    assert_eq!(receipt.header.seq, 5, "two cycles, at 10 and 1010, came first");
    assert_eq!(db.at(id, 3).unwrap().header().time, Time::from_millis(START + 10));
    assert_eq!(db.at(id, 4).unwrap().header().time, Time::from_millis(START + 1_010));
    assert_eq!(receipt.header.wake, None);
}

#[test]
fn a_wake_survives_a_restart() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "ring", args![START + 60_000]).wait().unwrap();
    db.close().unwrap();
    let db = fixture.open();
    assert_eq!(db.next_wake(), Some(Time::from_millis(START + 60_000)));
    db.run_until(Time::from_millis(START + 60_000)).unwrap();
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(1));
}

#[test]
fn advance_says_when_the_object_is_not_due() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let error = db.advance(id).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDue { wake: None }), "{error}");
    db.call(id, "ring", args![START + 5]).wait().unwrap();
    let error = db.advance(id).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotDue { wake: Some(at) } if at.as_millis() == START + 5)
    );
}

#[test]
fn a_wake_that_is_refused_is_on_record_once_and_tried_again_on_request() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };"#;
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    db.run_until(Time::from_millis(START + 2_000)).unwrap();
    let refused = || db.history(id).refused().count();
    assert_eq!(refused(), 1);
    let error = db.advance(id).unwrap_err();
    assert!(error.refusal().is_some(), "{error}");
    assert_eq!(refused(), 2);
    assert_eq!(db.snapshot(id).unwrap().header().seq, 1);
}

#[test]
fn a_wake_that_was_refused_is_tried_again_once_the_object_has_changed() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("five") permit(principal, action, resource)
        unless { action == Action::"advance" && context.before.total < 5 };"#;
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    assert_eq!(
        db.next_wake(),
        Some(Time::from_millis(START + 1_010)),
        "it was refused, and is tried again"
    );
    db.call(id, "add", args![5u64]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    let snapshot = db.snapshot(id).unwrap();
    assert_eq!((snapshot.header().kind, snapshot.get("total")), (Kind::Cycle, Ok(6_u64)));
}

#[test]
fn a_refused_wake_stays_on_record_once_across_restarts_and_evictions() {
    let fixture = Fixture::new();
    let policy = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };"#;
    let db = fixture.open_with(fixture.options().resident_bytes_max(0));
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    for _ in 0..3 {
        let other = db.create(counter_code(OPEN)).unwrap();
        db.call(other, "add", args![1u64]).wait().unwrap();
    }
    db.call(id, "fail", args![]).wait().unwrap_err();
    db.close().unwrap();
    let db = fixture.open();
    db.run_until(Time::from_millis(START + 2_000)).unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    let refused = db.history(id).refused();
    assert_eq!(refused.count(), 4, "one cycle and three calls");
}

/// A cycle that may run when nobody rang in the last minute: a refusal that passes.
const QUIET: &str = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };
    @id("quiet") permit(principal, action == Action::"advance", resource)
        when { context.lineage.past.ring.minute < 1 };"#;

/// Returns the count of refusals on record, and the kind and the time of the newest version.
fn seen(db: &Database, id: ObjectId) -> (usize, Kind, u64) {
    let header = db.snapshot(id).unwrap().header().clone();
    let refused = db.history(id).refused().count();
    (refused, header.kind, header.time.saturating_sub(Duration::from_millis(START)).as_millis())
}

#[test]
fn a_wake_that_was_refused_for_a_reason_that_passes_runs_when_it_has_passed() {
    for step in [100, 1_000, 65_000] {
        let fixture = Fixture::new();
        let db = fixture.open();
        let id = db.create(counter_code(QUIET)).unwrap();
        db.call(id, "ring", args![START + 500]).wait().unwrap();
        for now in (0..=63_400).step_by(step) {
            db.run_until(Time::from_millis(START + now)).unwrap();
        }
        db.run_until(Time::from_millis(START + 63_499)).unwrap();
        assert_eq!(seen(&db, id), (1, Kind::Call, 0), "tried six times, and on record once");
        let overdue = &db.overdue()[..];
        let [of_it] = overdue else { panic!("{overdue:?}") };
        assert_eq!(
            (of_it.object, of_it.wake, of_it.retry),
            (id, Time::from_millis(START + 500), Time::from_millis(START + 63_500))
        );
        let Cause::Refused(verdict) = &of_it.cause else { panic!("{of_it:?}") };
        assert_eq!(verdict.reason, Reason::NotPermitted);
        db.run_until(Time::from_millis(START + 63_600)).unwrap();
        assert_eq!(seen(&db, id), (1, Kind::Cycle, 63_500), "after 1, 2, 4, 8, 16 and 32 s");
        assert!(db.overdue().is_empty());
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn a_database_that_is_opened_anew_goes_on_with_a_wake_that_was_refused() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(QUIET)).unwrap();
    db.call(id, "ring", args![START + 500]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    db.close().unwrap();
    for now in [2_000, 30_000] {
        let options = fixture.options().clock(Clock::manual(Time::from_millis(START + now)));
        let db = fixture.open_with(options.resident_bytes_max(0));
        db.run_until(Time::from_millis(START + now)).unwrap();
        assert_eq!(seen(&db, id), (1, Kind::Call, 0), "the record is not written again");
        assert_eq!(db.overdue().len(), 1);
        assert_eq!(db.metrics().wakes_overdue, 1);
        db.close().unwrap();
    }
    let db = fixture
        .open_with(fixture.options().clock(Clock::manual(Time::from_millis(START + 70_000))));
    db.run_until(Time::from_millis(START + 70_000)).unwrap();
    assert_eq!(db.at(id, 2).unwrap().header().kind, Kind::Cycle);
    assert_eq!(db.at(id, 2).unwrap().header().time, Time::from_millis(START + 63_500));
}

#[test]
fn a_wake_that_was_refused_does_not_hold_up_what_comes_after_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(QUIET)).unwrap();
    db.call(id, "ring", args![START + 500]).wait().unwrap();
    db.advance_clock(Time::from_millis(START + 20_000)).unwrap();
    let receipt = db.call(id, "add", args![1u64]).wait().unwrap();
    assert_eq!((receipt.header.seq, receipt.header.time), (2, Time::from_millis(START + 20_000)));
    let receipt = db.call(id, "add", args![1u64]).wait().unwrap();
    assert_eq!(receipt.header.seq, 3, "what has changed is tried again, and refused again");
    db.advance_clock(Time::from_millis(START + 90_000)).unwrap();
    let receipt = db.call(id, "add", args![1u64]).wait().unwrap();
    assert!(receipt.header.seq > 4, "the wake ran before it, at 83 s: {receipt:?}");
    let told = db.call(id, "add", args![1u64]).dry_run().unwrap();
    assert_eq!(told.seq, receipt.header.seq + 1);
}

#[test]
fn a_clock_is_moved_however_far_though_a_wake_is_refused_for_ever() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };"#;
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    for days in [1, 40_000] {
        db.run_until(Time::from_millis(START + days * 24 * 3600 * 1000)).unwrap();
    }
    assert!(db.metrics().wakes_retried < 100, "{:?}", db.metrics());
    db.run_until(Time::from_millis(1 << 62)).unwrap();
    assert_eq!(seen(&db, id), (1, Kind::Call, 0));
    db.run_until(Time::MAX).unwrap();
}

#[test]
fn an_object_that_changes_its_mind_has_one_next_wake() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for wake in [100, 200, 300_u64] {
        db.call(id, "ring", args![START + wake]).wait().unwrap();
        assert_eq!(db.next_wake(), Some(Time::from_millis(START + wake)));
    }
}

#[test]
fn run_until_returns_though_an_object_wants_to_run_all_the_time() {
    let fixture = Fixture::new();
    let options = Options::new().clock(Clock::system()).workers(1).cycles(false);
    let db = fixture.open_with(options);
    let id = db.create(continuant::Code::wasm(restless()).unwrap().policy(OPEN)).unwrap();
    db.call(id, "start", args![]).wait().unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while db.snapshot(id).unwrap().header().kind != Kind::Cycle {
        assert!(std::time::Instant::now() < give_up, "the wake never ran");
        db.run_until(db.now()).unwrap();
    }
    assert!(db.snapshot(id).unwrap().header().seq < 10, "each wake is run once");
}

/// A cycle that works for some milliseconds and wants to run again at once, a hundred times.
fn restless() -> Vec<u8> {
    module(
        "record state { count: u64 } start: func();",
        r#"(import "continuant" "wake" (func $wake (param i64)))"#,
        r#"(func (export "start") (call $wake (i64.const 0)))
           (func (export "cycle") (local $left i32)
             (local.set $left (i32.const 10000000))
             (loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
             (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (i64.const 1)))
             (if (i64.lt_u (i64.load (i32.const 4096)) (i64.const 100))
               (then (call $wake (i64.const 0)))))"#,
    )
}

#[test]
fn cycles_run_by_themselves_on_the_systems_clock() {
    let fixture = Fixture::new();
    let db = fixture.open_with(Options::new().clock(Clock::system()).workers(1));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![99u64]).wait().unwrap();
    db.call(id, "ring", args![db.now().as_millis() + 1]).wait().unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while db.snapshot(id).unwrap().header().seq < 3 {
        assert!(std::time::Instant::now() < give_up, "the wake never ran");
        std::thread::yield_now();
    }
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(100));
}

/// Nobody waits for a cycle, so its outputs once reached nobody.
#[test]
fn an_outbox_gives_what_cycles_and_calls_put_out_and_again_until_it_is_told() {
    let fixture = Fixture::new();
    let options = || fixture.options();
    let db = fixture.open_with(options());
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "ring", args![START + 5]).wait().unwrap();
    db.run_until(Time::from_millis(START + 5)).unwrap();
    db.call(id, "ring", args![START + 50]).wait().unwrap();
    db.sync().unwrap();
    let given = |db: &Database| {
        let mut outbox = db.create_outbox("bell").unwrap();
        let given = std::iter::from_fn(|| outbox.next().transpose().unwrap());
        given.map(|it| (it.object, it.seq, it.output.name)).collect::<Vec<_>>()
    };
    let rung = |seq: u64| (id, seq, "rung".to_string());
    assert_eq!(given(&db), [rung(1), rung(3)]);
    let mut outbox = db.create_outbox("bell").unwrap();
    let first = outbox.next().transpose().unwrap().unwrap();
    outbox.acknowledge(first.place).unwrap();
    drop(outbox);
    db.close().unwrap();
    let db = fixture.open_with(options());
    assert_eq!(given(&db), [rung(3)]);
    assert_eq!(db.outboxes(), ["bell"]);
    assert!(db.remove_outbox("bell").unwrap());
    assert_eq!(given(&db), [rung(1), rung(3)], "a new one starts with the oldest");
}
