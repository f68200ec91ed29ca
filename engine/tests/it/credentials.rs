//! Credentials: who signed is known, and what was signed is admitted once, in time, in order.

use continuant::{
    Clock, Database, ErrorKind, ObjectId, Reason, Receipt, Replay, Result, SigningKey, args,
};

use crate::objects::{Fixture, OPEN, START, counter_code};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn key(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

/// Only the key of secret 1 may add; both of 1 and 2 together may do anything.
fn policy() -> String {
    let (one, two) = (key(1).public(), key(2).public());
    format!(
        r#"@id("owner") permit(principal == Key::"{one}", action == Action::"add", resource);
           @id("both") permit(principal, action, resource)
           when {{ context.signers.containsAll(["{one}", "{two}"]) }};"#
    )
}

fn add(db: &Database, id: ObjectId, key: &SigningKey, nonce: u64, expires: u64) -> Result<Receipt> {
    db.call(id, "add", args![1u64]).signed(key).nonce(nonce).expires(expires).wait()
}

#[track_caller]
fn check(result: Result<Receipt>, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(reason), "{error}");
}

#[test]
fn the_policy_decides_by_who_signed() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    let (one, two, three) = (key(1), key(2), key(3));
    assert_eq!(add(&db, id, &one, 1, START + DAY).unwrap().rules, ["owner"]);
    check(add(&db, id, &three, 1, START + DAY), Reason::NotPermitted);
    check(db.call(id, "add", args![1u64]).wait(), Reason::NotPermitted);
    check(db.call(id, "grow", args![0u32]).signed(&one).wait(), Reason::NotPermitted);
    let both = db.call(id, "grow", args![0u32]).signed(&two).signed(&one).wait().unwrap();
    assert_eq!(both.rules, ["both"]);
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn an_input_is_admitted_once_in_order_and_in_time() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    let one = key(1);
    add(&db, id, &one, 10, START + DAY).unwrap();
    check(add(&db, id, &one, 10, START + DAY), Reason::Replayed);
    check(add(&db, id, &one, 9, START + DAY), Reason::Reordered);
    check(add(&db, id, &one, 11, START - 1), Reason::Expired);
    check(add(&db, id, &one, 11, START + 8 * DAY), Reason::ExpiresTooLate);
    let genesis = db.at(id, 0).unwrap().hash();
    let stale = db.call(id, "add", args![1u64]).signed(&one).nonce(11).parent(genesis).wait();
    check(stale, Reason::WrongParent);
    let head = db.snapshot(id).unwrap().hash();
    db.call(id, "add", args![1u64]).signed(&one).nonce(11).parent(head).wait().unwrap();
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(2));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn nonces_are_remembered_across_a_restart() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    add(&db, id, &key(1), 10, START + DAY).unwrap();
    db.close().unwrap();
    let db = fixture.open();
    check(add(&db, id, &key(1), 10, START + DAY), Reason::Replayed);
    add(&db, id, &key(1), 11, START + DAY).unwrap();
}

#[test]
fn calls_signed_by_one_key_on_many_threads_keep_the_order_of_their_nonces() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let one = key(1);
                let calls = (0..100).map(|_| db.call(id, "add", args![1u64]).signed(&one).submit());
                let calls: Vec<_> = calls.collect::<Result<_>>().unwrap();
                calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
            });
        }
    });
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(400));
}

#[test]
fn a_signature_holds_by_default_though_the_object_is_ahead_of_the_clock() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.run_until(START + DAY).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    db.close().unwrap();
    let db = fixture.open_with(fixture.options().clock(Clock::manual(START)));
    for _ in 0..2 {
        db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    }
}

#[test]
fn what_belongs_to_a_signature_is_not_taken_without_one() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let head = db.snapshot(id).unwrap().hash();
    let add = || db.call(id, "add", args![1u64]);
    for (call, given) in
        [(add().parent(head), "parent"), (add().nonce(1), "nonce"), (add().expires(1), "expiry")]
    {
        let error = call.wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotSigned { what } if *what == given), "{error}");
    }
    assert_eq!(db.snapshot(id).unwrap().header().seq, 0);
}
