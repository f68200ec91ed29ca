//! Own cycles: wakes run without a caller, before what comes after them, and survive a restart.

use continuant::{Clock, ErrorKind, Kind, Options, Replay, args};

use crate::objects::{Fixture, OPEN, START, counter_code};

#[test]
fn a_wake_runs_at_its_time_and_rearms_itself() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let receipt = db.call(id, "ring", args![START + 500]).wait().unwrap();
    assert_eq!(receipt.header.wake, Some(START + 500));
    assert_eq!((receipt.outputs[0].name.as_str(), receipt.outputs[0].payload.len()), ("rung", 8));
    db.run_until(START + 499).unwrap();
    assert_eq!(db.snapshot(id).unwrap().header().seq, 1);
    db.run_until(START + 3_600).unwrap();
    let snapshot = db.snapshot(id).unwrap();
    assert_eq!(snapshot.get::<u64>("total"), Ok(4), "at 500, 1500, 2500 and 3500");
    assert_eq!((snapshot.header().kind, snapshot.header().time), (Kind::Cycle, START + 3_500));
    assert_eq!(snapshot.header().wake, Some(START + 4_500));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_wake_runs_before_an_input_that_comes_after_it() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![98u64]).wait().unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.advance_clock(START + 5_000).unwrap();
    let receipt = db.call(id, "add", args![0u64]).wait().unwrap();
    assert_eq!(receipt.header.seq, 5, "two cycles, at 10 and 1010, came first");
    assert_eq!(db.at(id, 3).unwrap().header().time, START + 10);
    assert_eq!(db.at(id, 4).unwrap().header().time, START + 1_010);
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
    assert_eq!(db.next_wake(), Some(START + 60_000));
    db.run_until(START + 60_000).unwrap();
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
    assert!(matches!(error.kind(), ErrorKind::NotDue { wake: Some(at) } if *at == START + 5));
}

#[test]
fn a_wake_that_is_refused_is_on_record_once_and_tried_again_on_request() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };"#;
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(START + 1_000).unwrap();
    db.run_until(START + 2_000).unwrap();
    let refused = || db.history(id).refused().entries().unwrap().count();
    assert_eq!(refused(), 1);
    let error = db.advance(id).unwrap_err();
    assert!(error.refusal().is_some(), "{error}");
    assert_eq!(refused(), 2);
    assert_eq!(db.snapshot(id).unwrap().header().seq, 1);
}

#[test]
fn cycles_run_by_themselves_on_the_systems_clock() {
    let fixture = Fixture::new();
    let db = fixture.open_with(Options::new().clock(Clock::system()).workers(1));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![99u64]).wait().unwrap();
    db.call(id, "ring", args![db.now() + 1]).wait().unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while db.snapshot(id).unwrap().header().seq < 3 {
        assert!(std::time::Instant::now() < give_up, "the wake never ran");
        std::thread::yield_now();
    }
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(100));
}
