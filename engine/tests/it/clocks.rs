//! Clocks that disagree: objects ahead of the host's clock, because they were on a host whose clock
//! was ahead, or because this clock went back. A time ahead of the clock opens nothing.

use std::io::Cursor;
use std::time::Duration;

use continuant::storage::{self, Retention};
use continuant::{
    Call, Cause, Clock, Code, Database, ErrorKind, Kind, ObjectId, Principal, Receipt, Replay,
    Session, Time, args,
};

use crate::messages::relay_code;
use crate::objects::{Fixture, OPEN, START, capsule, counter_code, key};

const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;
const YEAR: u64 = 365 * 24 * HOUR;

/// Opens the fixture's database on a host whose clock says `now`.
fn open_at(fixture: &Fixture, now: u64) -> Database {
    fixture.open_with(fixture.options().clock(Clock::manual(Time::from_millis(now))))
}

/// Creates a relay on a host whose clock is ahead by `by`, and moves it here.
fn from_ahead(db: &Database, by: u64) -> ObjectId {
    let elsewhere = Fixture::new();
    let theirs = open_at(&elsewhere, START + by);
    let id = theirs.create(relay_code(OPEN)).unwrap();
    db.import(Cursor::new(capsule(&theirs, id))).unwrap()
}

fn flood<'a>(db: &'a Database, from: ObjectId, to: ObjectId) -> Call<'a> {
    db.call(from, "flood", args![&to.0[..], 1u32])
}

fn refused(db: &Database, id: ObjectId) -> usize {
    db.history(id).refused().count()
}

/// Checks that the call ends because its object is ahead by `expected`, and that nothing is on
/// record.
#[track_caller]
fn check_ahead<T: std::fmt::Debug>(done: continuant::Result<T>, expected: u64) {
    match done.unwrap_err().kind() {
        ErrorKind::Ahead { by, max } => assert_eq!(
            (*by, *max),
            (Duration::from_millis(expected), Duration::from_millis(5 * MINUTE))
        ),
        other => panic!("{other:?}"),
    }
}

/// Rung by anyone from a year from now on; its own cycle may run; objects may ask nothing of it.
const LOCKED: &str = r#"@id("locked") permit(principal, action == Action::"add", resource)
        when { context.time >= 1388534400000 };
    @id("ring") permit(principal is Anonymous, action == Action::"ring", resource);
    @id("own") permit(principal, action == Action::"advance", resource);"#;

#[test]
fn a_message_of_an_object_that_is_ahead_opens_no_lock_and_runs_no_wake() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let sender = from_ahead(&db, 9 * YEAR);
    let locked = db.create(counter_code(LOCKED)).unwrap();
    db.call(locked, "ring", args![START + 2 * YEAR]).wait().unwrap();
    let takes = db.create(relay_code(OPEN)).unwrap();
    db.call(takes, "wait", args![START + YEAR]).wait().unwrap();
    for to in [locked, takes] {
        flood(&db, sender, to).even_if_ahead().wait().unwrap();
    }
    db.run_until(Time::from_millis(START)).unwrap();
    let header = |id| db.snapshot(id).unwrap().header().clone();
    assert_eq!(db.dead_letters().count(), 1, "the counter has no such method");
    assert_eq!(refused(&db, locked), 1);
    let entry = db.history(locked).refused().next().unwrap().unwrap();
    let continuant::Entry::Refusal(refusal) = entry else { panic!("{entry:?}") };
    assert_eq!(refusal.input.time, Time::from_millis(START), "refused by the host's time");
    let found = (header(locked).seq, header(locked).time, header(locked).wake);
    assert_eq!(
        found,
        (1, Time::from_millis(START), Some(Time::from_millis(START + 2 * YEAR))),
        "it moved nothing"
    );
    let found = (header(takes).kind, header(takes).time, header(takes).wake);
    assert_eq!(
        found,
        (Kind::Message, Time::from_millis(START), Some(Time::from_millis(START + YEAR))),
        "taken at the host's time"
    );
    db.call(locked, "add", args![1u64]).wait().unwrap_err();
    for id in [locked, takes, sender] {
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn what_an_object_that_is_ahead_is_asked_ends_in_an_error_of_its_own_and_leaves_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (id, other) = (from_ahead(&db, HOUR), db.create(relay_code(OPEN)).unwrap());
    let hear = |id| db.call(id, "hear", args![5u64]);
    let key = key(1);
    let session = Session::until(Time::from_millis(START + HOUR)).unwrap();
    check_ahead(hear(id).wait(), HOUR);
    check_ahead(hear(id).signed(&key).wait(), HOUR);
    check_ahead(db.write(id, vec![("got", 1u64.into())]).wait(), HOUR);
    check_ahead(db.amend_for_good(id, OPEN).wait(), HOUR);
    check_ahead(db.open_session(id, &session).signed(&key).wait(), HOUR);
    check_ahead(hear(id).dry_run(), HOUR);
    check_ahead(db.transaction([hear(other), hear(id)]).wait(), HOUR);
    check_ahead(db.batch([hear(id)]).signed(&key).wait().unwrap().remove(0), HOUR);
    check_ahead(db.fork(id, 0, None), HOUR);
    assert_eq!((db.info(id).unwrap().seq, refused(&db, id)), (0, 0));
    assert_eq!(db.info(other).unwrap().seq, 0, "all or none");
    let ahead = db.ahead().unwrap().unwrap();
    assert_eq!((ahead.object_count, ahead.object, ahead.by), (1, id, Duration::from_millis(HOUR)));
    assert_eq!(db.metrics().ahead.as_millis(), u128::from(HOUR));

    let let_in =
        |receipt: Receipt| assert_eq!(receipt.header.time, Time::from_millis(START + HOUR));
    let_in(hear(id).even_if_ahead().wait().unwrap());
    let_in(hear(id).even_if_ahead().signed(&key).wait().unwrap());
    let_in(db.batch([hear(id).even_if_ahead()]).signed(&key).wait().unwrap().remove(0).unwrap());
    let got = vec![("got", 7u64.into())];
    let_in(db.write(id, got).even_if_ahead().wait().unwrap());
    let receipts = db.transaction([hear(other), hear(id).even_if_ahead()]).wait().unwrap();
    assert_eq!(
        (receipts[0].header.time, receipts[1].header.time),
        (Time::from_millis(START), Time::from_millis(START + HOUR))
    );
    hear(id).even_if_ahead().dry_run().unwrap().verdict.unwrap();
    db.close().unwrap();

    let db = fixture.open_with(fixture.options().clock_ahead_max(Duration::from_millis(HOUR)));
    let_in(db.call(id, "hear", args![5u64]).wait().unwrap());
    db.close().unwrap();
    let db = open_at(&fixture, START + 55 * MINUTE);
    let_in(db.call(id, "hear", args![5u64]).wait().unwrap());
    db.fork(id, 0, None).unwrap();
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn messages_to_an_object_that_is_ahead_are_held_until_the_clock_is_near() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (ahead, sender) = (from_ahead(&db, HOUR), db.create(relay_code(OPEN)).unwrap());
    flood(&db, sender, ahead).wait().unwrap();
    for now in [0, 1, 54 * MINUTE, 55 * MINUTE - 1] {
        db.run_until(Time::from_millis(START + now)).unwrap();
        assert_eq!((db.message_count(), db.dead_letters().count()), (1, 0), "at {now}");
    }
    db.close().unwrap();
    let db = open_at(&fixture, START + 55 * MINUTE - 1);
    db.run_until(Time::from_millis(START + 55 * MINUTE - 1)).unwrap();
    assert_eq!(db.message_count(), 1);
    db.advance_clock(Time::from_millis(START + 55 * MINUTE)).unwrap();
    db.run_until(Time::from_millis(START + 55 * MINUTE)).unwrap();
    assert_eq!((db.message_count(), db.dead_letters().count()), (0, 0));
    assert_eq!(db.snapshot(ahead).unwrap().header().time, Time::from_millis(START + HOUR));
    assert_eq!(db.snapshot(ahead).unwrap().get::<u64>("got"), Ok(1));
}

#[test]
fn a_wake_of_an_object_that_is_ahead_is_overdue_until_the_clock_is_near() {
    let five = r#"@id("five") permit(principal, action, resource)
        unless { action == Action::"advance" && context.before.total < 5 };"#;
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(five)).unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + HOUR)).unwrap();
    let raise = || db.call(id, "add", args![99u64]).wait().unwrap();
    assert_eq!(raise().header.time, Time::from_millis(START + HOUR));
    db.close().unwrap();
    let db = open_at(&fixture, START + MINUTE);
    db.run_until(Time::from_millis(START + MINUTE)).unwrap();
    let overdue = &db.overdue()[..];
    let [one] = overdue else { panic!("{overdue:?}") };
    assert_eq!(
        (one.object, one.wake, one.retry),
        (id, Time::from_millis(START + 10), Time::from_millis(START + 55 * MINUTE))
    );
    assert_eq!(one.cause, Cause::Ahead(Duration::from_millis(59 * MINUTE)));
    check_ahead(db.advance(id), 59 * MINUTE);
    db.run_until(Time::from_millis(START + 55 * MINUTE - 1)).unwrap();
    assert_eq!(db.info(id).unwrap().seq, 2);
    db.run_until(Time::from_millis(START + 55 * MINUTE)).unwrap();
    let header = db.snapshot(id).unwrap().header().clone();
    assert_eq!(
        (header.seq, header.kind, header.time),
        (3, Kind::Cycle, Time::from_millis(START + HOUR))
    );
    assert!(db.overdue().is_empty());
    db.close().unwrap();
    // An imported object has its due wake run before the call.
    let db = open_at(&fixture, START + MINUTE);
    let other = db.create(counter_code(five)).unwrap();
    db.close().unwrap();
    let db = open_at(&fixture, START + MINUTE);
    db.call(other, "ring", args![START + 2 * MINUTE]).wait().unwrap();
    db.run_until(Time::from_millis(START + HOUR)).unwrap();
    db.call(other, "add", args![99u64]).wait().unwrap();
    db.close().unwrap();
    let db = open_at(&fixture, START + 3 * MINUTE);
    db.run_until(Time::from_millis(START + 3 * MINUTE)).unwrap();
    let add = db.call(other, "add", args![1u64]).even_if_ahead();
    assert_eq!(add.wait().unwrap().header.seq, 4, "a call, a call, the wake, and this");
}

#[test]
fn a_clock_that_goes_back_a_little_stops_nothing() {
    let fixture = Fixture::new();
    let db = open_at(&fixture, START + 2_000);
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    db.close().unwrap();
    let db = open_at(&fixture, START);
    let receipt = db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    assert_eq!(receipt.header.time, Time::from_millis(START + 2_000), "not before its parent's");
    db.call(id, "ring", args![START + 1_000]).wait().unwrap();
    db.run_until(Time::from_millis(START + 1_999)).unwrap();
    assert_eq!(db.info(id).unwrap().seq, 3, "a wake is not before the next moment of its object");
    db.run_until(Time::from_millis(START + 2_001)).unwrap();
    assert_eq!(db.snapshot(id).unwrap().header().time, Time::from_millis(START + 2_001));
}

/// The nonce of the newest version's input.
fn nonce(db: &Database, id: ObjectId) -> u64 {
    let entry = db.history(id).backwards().next().unwrap().unwrap();
    let continuant::Entry::Version(version) = entry else { panic!("{entry:?}") };
    version.payloads.unwrap().input.credential.unwrap().nonce
}

#[test]
fn default_nonces_are_above_the_last_on_record_of_the_key_and_of_no_other() {
    const HIGH: u64 = 1 << 62;
    let policy = r#"@id("open") permit(principal, action, resource);
        @id("session") permit(principal is Key, action == Action::"open_session", resource);"#;
    let fixture = Fixture::new();
    let (one, two) = (key(1), key(2));
    let session = Session::until(Time::from_millis(START + HOUR)).unwrap();
    let mut id = None;
    for room in [1 << 30, 0] {
        let db = fixture.open_with(fixture.options().resident_bytes_max(room));
        db.hold_session(&session).unwrap();
        let object = *id.get_or_insert_with(|| {
            let id = db.create(counter_code(policy)).unwrap();
            db.call(id, "add", args![1u64]).signed(&one).nonce(HIGH).wait().unwrap();
            db.open_session(id, &session).signed(&two).wait().unwrap();
            db.call(id, "add", args![1u64]).in_session(&session).nonce(HIGH).wait().unwrap();
            id
        });
        let add = || db.call(object, "add", args![1u64]);
        let pending: Vec<_> = (0..20).map(|_| add().signed(&one).submit().unwrap()).collect();
        pending.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
        assert!(nonce(&db, object) > HIGH, "above those that were on their way as well");
        add().signed(&two).wait().unwrap();
        assert!(nonce(&db, object) < HIGH, "what one key used binds no other");
        add().in_session(&session).wait().unwrap();
        add().in_session(&session).wait().unwrap();
        assert!(nonce(&db, object) > HIGH);
        let many = db.batch((0..5).map(|_| add())).signed(&key(3)).signed(&one).wait().unwrap();
        many.into_iter().for_each(|receipt| drop(receipt.unwrap()));
        assert!(nonce(&db, object) > HIGH);
        db.transaction([add().signed(&one)]).wait().unwrap();
        assert_eq!(refused(&db, object), 0);
        db.close().unwrap();
    }
}

#[test]
fn a_clock_that_is_ahead_lets_no_history_go_unless_it_is_trusted() {
    let fixture = Fixture::new();
    let small = storage::Options::new().segment_bytes(64 << 10);
    let open = |now| {
        let options = fixture.options().clock(Clock::manual(now)).storage(small.clone());
        fixture.open_with(options)
    };
    let db = open(Time::from_millis(START));
    let id = db.create(counter_code(OPEN)).unwrap();
    let pending: Vec<_> =
        (0..400).map(|_| db.call(id, "add", args![1u64]).submit().unwrap()).collect();
    pending.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    db.advance_clock(Time::from_millis(START + HOUR)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    from_ahead(&db, 90 * YEAR);
    db.set_retention(None, Retention::Age(Duration::from_millis(24 * HOUR))).unwrap();
    db.close().unwrap();
    let db = open(Time::from_millis(START + YEAR));
    let compacted = db.compact(|_, _| {}).unwrap();
    assert_eq!(
        (compacted.trimmed_count, compacted.ages_from),
        (0, Some(Time::from_millis(START + HOUR)))
    );
    assert!(db.at(id, 1).is_ok() && db.at(id, 100).is_ok());
    let compacted = db.compact_by_clock(|_, _| {}).unwrap();
    assert_eq!(compacted.ages_from, Some(Time::from_millis(START + YEAR)));
    assert!(compacted.trimmed_count > 100, "{compacted:?}");
    let gone = (0..401).filter(|&seq| db.at(id, seq).is_err()).collect::<Vec<_>>();
    assert!(gone.len() > 100, "{gone:?}");
}

#[test]
fn what_may_be_read_from_a_time_on_may_not_because_the_object_is_ahead_of_the_clock() {
    let later = r#"@id("later") permit(principal, action == Action::"read", resource)
        when { context.time >= 1388534400000 };"#;
    let (fixture, elsewhere) = (Fixture::new(), Fixture::new());
    let theirs = open_at(&elsewhere, START + 9 * YEAR);
    let id = theirs.create(counter_code(later)).unwrap();
    let total = |db: &Database| {
        let read = db.reader(Principal::Anonymous).snapshot(id).unwrap();
        read.value("total").is_ok()
    };
    assert!(total(&theirs));
    let db = fixture.open();
    db.import(Cursor::new(capsule(&theirs, id))).unwrap();
    assert!(!total(&db), "by this host's clock it is 2013");
    db.run_until(Time::from_millis(START + YEAR)).unwrap();
    assert!(total(&db));
}

#[test]
fn a_rate_is_used_up_by_what_this_clock_let_happen_alone() {
    let policy = r#"@id("few") permit(principal, action == Action::"add", resource)
            when { context.lineage.past.add.minute < 3 };"#;
    let fixture = Fixture::new();
    let db = open_at(&fixture, START + YEAR);
    let code = || -> Code { counter_code(policy) };
    let id = db.create(code()).unwrap();
    (0..3).for_each(|_| drop(db.call(id, "add", args![1u64]).wait().unwrap()));
    db.close().unwrap();
    let db = open_at(&fixture, START);
    check_ahead(db.call(id, "add", args![1u64]).wait(), YEAR);
    assert_eq!(refused(&db, id), 0, "a rate that is used up for a year is not on record");
    // A version from before the clock was ahead may be forked into another object.
    let other = db.create(code()).unwrap();
    db.call(other, "add", args![1u64]).wait().unwrap();
    db.advance_clock(Time::from_millis(START + YEAR)).unwrap();
    db.call(other, "add", args![1u64]).wait().unwrap();
    db.close().unwrap();
    let db = open_at(&fixture, START + HOUR);
    check_ahead(db.call(other, "add", args![1u64]).wait(), YEAR - HOUR);
    let fork = db.fork(other, 1, None).unwrap();
    let receipt = db.call(fork, "add", args![1u64]).wait().unwrap();
    assert_eq!(receipt.header.time, Time::from_millis(START + HOUR));
}

/// Regression: the overdue wake of the object's state before its return was reported for ever.
#[test]
fn a_wake_that_is_overdue_is_not_once_the_object_has_gone_on_elsewhere() {
    let five = r#"@id("five") permit(principal, action, resource)
        unless { action == Action::"advance" && context.before.total < 5 };"#;
    let fixtures = [Fixture::new(), Fixture::new()];
    let theirs = fixtures[0].open();
    let id = theirs.create(counter_code(five)).unwrap();
    theirs.call(id, "ring", args![START + 10]).wait().unwrap();
    theirs.run_until(Time::from_millis(START + HOUR)).unwrap();
    theirs.call(id, "add", args![1u64]).wait().unwrap();
    let db = fixtures[1].open();
    db.import(Cursor::new(capsule(&theirs, id))).unwrap();
    db.run_until(Time::from_millis(START + MINUTE)).unwrap();
    let overdue = &db.overdue()[..];
    let [one] = overdue else { panic!("{overdue:?}") };
    assert_eq!(
        (one.object, one.wake, &one.cause),
        (id, Time::from_millis(START + 10), &Cause::Ahead(Duration::from_millis(59 * MINUTE)))
    );
    // The object woke there, and its next wake will be due here.
    theirs.call(id, "add", args![5u64]).wait().unwrap();
    theirs.run_until(Time::from_millis(START + HOUR + MINUTE)).unwrap();
    let wake = theirs.info(id).unwrap().wake;
    assert!(wake > Some(Time::from_millis(START + HOUR)), "{wake:?}");
    db.import(Cursor::new(capsule(&theirs, id))).unwrap();
    assert_eq!((db.overdue(), db.metrics().wakes_overdue), (Vec::new(), 0));
    assert_eq!(db.next_wake(), wake);
}
