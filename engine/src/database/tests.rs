//! Tests of events that no caller can cause: a worker that panics, and a head in memory that is not
//! the store's.

use object::input::Input;
use object::time::Time;

use super::*;
use crate::clock::Clock;
use crate::head::live::Live;

const START: u64 = 1_356_998_400_000;

/// `add()` counts; `ring(at)` sets a wake, and the cycle counts.
fn module() -> Vec<u8> {
    let text = r#"(module
        (import "continuant" "wake" (func $wake (param i64)))
        (@custom "continuant:schema" "package test:object; interface object {
            record state { total: u64 } add: func(); ring: func(at: u64); }")
        (memory (export "memory") 1 4)
        (global (export "state") i32 (i32.const 4096))
        (global $calls (mut i32) (i32.const 0))
        (func $add (export "add")
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i64.store (i32.const 4096) (i64.extend_i32_u (global.get $calls))))
        (func (export "ring") (param i64) (call $wake (local.get 0)))
        (func (export "cycle") (call $add)))"#;
    wat::parse_str(text.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap()
}

fn open(directory: &tempfile::TempDir) -> (Database, ObjectId) {
    let options = Options::new().clock(Clock::manual(Time::from_millis(START))).workers(1);
    let db = options.open(directory.path().join("db")).unwrap();
    let policy = r#"@id("open") permit(principal, action, resource);"#;
    let id = db.create(Code::wasm(module()).unwrap().policy(policy)).unwrap();
    (db, id)
}

fn tamper(db: &Database, id: ObjectId, with: impl FnOnce(&mut Live)) {
    let resident = db.shared.residents.find(&db.shared.library.store, id).unwrap();
    with(resident.live.lock().as_mut().unwrap());
}

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

#[test]
fn a_turn_that_panics_costs_its_letter_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    db.call(id, "add", Vec::new()).wait().unwrap();
    tamper(&db, id, |live| live.globals.push(0));
    let calls = [(); 3].map(|()| db.call(id, "add", Vec::new()).submit().unwrap());
    let [panicked, next, last] = calls.map(Pending::wait);
    let panicked = panicked.unwrap_err();
    assert!(matches!(panicked.kind(), ErrorKind::Panicked), "{panicked}");
    assert_eq!((next.unwrap().header.seq, last.unwrap().header.seq), (2, 3));
    assert_eq!(total(&db, id), 3);
    db.verify(id, Replay::Yes).unwrap();
    db.close().unwrap();
}

#[test]
fn letters_wait_while_a_worker_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    let other = db.create(Code::wasm(module()).unwrap()).unwrap();
    let at = |db: &Database| {
        let it = db.metrics();
        (it.workers_busy, it.objects_queued, it.letters_waiting)
    };
    let resident = db.shared.residents.find(&db.shared.library.store, id).unwrap();
    let held = resident.live.lock();
    let calls = [id, id, id, other].map(|id| db.call(id, "add", Vec::new()).submit().unwrap());
    while at(&db).0 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(at(&db), (1, 1, 4), "the worker waits for the object");
    drop(held);
    calls.into_iter().for_each(|call| drop(call.wait()));
    db.shared.post.queue.drain();
    assert_eq!(at(&db), (0, 0, 0));
}

#[test]
fn an_object_whose_append_failed_is_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    tamper(&db, id, |live| live.head.hash = object::hash::VersionHash([9; 32]));
    let error = db.call(id, "add", Vec::new()).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Storage(_)), "{error}");
    db.call(id, "add", Vec::new()).wait().unwrap();
    assert_eq!(total(&db, id), 1);
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_wake_that_failed_is_tried_again_a_little_later() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    db.call(id, "ring", vec![Value::from(START + 10)]).wait().unwrap();
    tamper(&db, id, |live| live.head.hash = object::hash::VersionHash([9; 32]));
    db.run_until(Time::from_millis(START + 1_000)).unwrap();
    assert_eq!((total(&db, id), db.next_wake()), (0, Some(Time::from_millis(START + 2_000))));
    db.run_until(Time::from_millis(START + 2_000)).unwrap();
    assert_eq!((total(&db, id), db.next_wake()), (1, None));
    assert_eq!(db.snapshot(id).unwrap().header().time, Time::from_millis(START + 10));
}

#[test]
fn a_panic_over_a_wake_does_not_lose_it() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    db.call(id, "ring", vec![Value::from(START + 10)]).wait().unwrap();
    tamper(&db, id, |live| live.globals.push(0));
    db.run_until(Time::from_millis(START + 10)).unwrap();
    assert_eq!(total(&db, id), 0);
    db.run_until(Time::from_millis(START + 1_010)).unwrap();
    assert_eq!(total(&db, id), 1);
}

#[test]
fn an_object_that_went_on_while_it_was_being_created_keeps_its_newest_version() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    let resident = db.shared.residents.place(id);
    let genesis = on_thread(|stack| db.shared.load(stack, &resident)).unwrap().unwrap();
    db.call(id, "add", Vec::new()).wait().unwrap();
    db.shared.residents.insert(genesis, &db.shared.metrics);
    assert_eq!(total(&db, id), 1);
    assert_eq!(db.call(id, "add", Vec::new()).wait().unwrap().header.seq, 2);
}

#[test]
fn an_input_of_an_unknown_method_leaves_the_slot_fit_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (db, id) = open(&directory);
    let request = Request::Call { method: "subtract".to_string(), arguments: Vec::new() };
    let (reply, pending) = db.shared.channel(Durability::Durable);
    let input = Input { request, time: Time::from_millis(START), credential: None };
    db.shared.post.post_input(id, input, reply, false).unwrap();
    let error = pending.wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    db.call(id, "add", Vec::new()).wait().unwrap();
    assert_eq!(total(&db, id), 1);
}

#[test]
fn a_transaction_that_panics_or_cannot_be_appended_leaves_its_objects_fit_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (db, one) = open(&directory);
    let policy = r#"@id("open") permit(principal, action, resource);"#;
    let other = db.create(Code::wasm(module()).unwrap().policy(policy)).unwrap();
    let both = || db.transaction([one, other].map(|id| db.call(id, "add", Vec::new()))).wait();
    both().unwrap();
    tamper(&db, other, |live| live.globals.push(0));
    let panicked = both().unwrap_err();
    assert!(matches!(panicked.kind(), ErrorKind::Panicked), "{panicked}");
    both().unwrap();
    tamper(&db, other, |live| live.head.hash = object::hash::VersionHash([9; 32]));
    let conflict = both().unwrap_err();
    assert!(matches!(conflict.kind(), ErrorKind::Storage(_)), "{conflict}");
    both().unwrap();
    assert_eq!((total(&db, one), total(&db, other)), (3, 3));
    for id in [one, other] {
        db.verify(id, Replay::Yes).unwrap();
    }
}

/// A creation and an amendment hold a policy to more than the record does: an object with an older
/// policy continues under it, on any host.
#[test]
fn an_object_whose_policy_would_not_be_taken_any_more_is_imported_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (db, _) = open(&directory);
    let policy = r#"@id("open") permit(principal, action, resource);
        @id("amend") permit(principal, action == Action::"amend", resource);"#;
    let id = db.create(Code::wasm(module()).unwrap().policy(policy)).unwrap();
    let law = r#"@id("open") permit(principal, action, resource);
        @id("early") forbid(principal, action, resource) when { context.time < 1356998400 };"#;
    let is_refused = |error: Error| match error.kind() {
        ErrorKind::Object(error) => matches!(error.kind(), object::ErrorKind::Policy(_)),
        _ => false,
    };
    assert!(is_refused(db.create(Code::wasm(module()).unwrap().policy(law)).unwrap_err()));
    assert!(is_refused(db.amend_for_good(id, law).wait().unwrap_err()));
    // The same amendment as earlier programs, which had no such rule, submitted it.
    let (reply, pending) = db.shared.channel(Durability::Durable);
    let request = Request::Amend { policy: Law::from(law).encode() };
    let input = Input { request, time: Time::from_millis(START), credential: None };
    db.shared.post.post_input(id, input, reply, false).unwrap();
    assert_eq!(pending.wait().unwrap().header.seq, 1);
    let mut capsule = Vec::new();
    db.export(id, &mut capsule).unwrap();
    crate::verify_capsule(&capsule[..], Replay::Yes).unwrap();
    let options = Options::new().clock(Clock::manual(Time::from_millis(START))).workers(1);
    let other = options.open(directory.path().join("other")).unwrap();
    assert_eq!(other.import(std::io::Cursor::new(capsule)).unwrap(), id);
    for db in [db, other] {
        db.call(id, "add", Vec::new()).wait().unwrap();
        assert_eq!(total(&db, id), 1);
        db.verify(id, Replay::Yes).unwrap();
        assert!(is_refused(db.create(Code::wasm(module()).unwrap().policy(law)).unwrap_err()));
    }
}
