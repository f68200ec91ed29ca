//! Credentials: who signed is known, and what was signed is admitted once, in time, in order.

use continuant::{
    Clock, Database, ErrorKind, ObjectId, Reason, Receipt, Replay, Result, SigningKey, Time, args,
    verify_capsule,
};

use crate::objects::{Fixture, OPEN, START, check_anywhere, counter_code, key};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// Only the key of secret 1 may add; keys 1 and 2 together may do anything.
fn policy() -> String {
    let (one, two) = (key(1).public(), key(2).public());
    format!(
        r#"@id("owner") permit(principal == Key::"{one}", action == Action::"add", resource);
           @id("both") permit(principal, action, resource)
           when {{ context.signers.containsAll(["{one}", "{two}"]) }};"#
    )
}

fn add(db: &Database, id: ObjectId, key: &SigningKey, nonce: u64, expires: u64) -> Result<Receipt> {
    db.call(id, "add", args![1u64])
        .signed(key)
        .nonce(nonce)
        .expires(Time::from_millis(expires))
        .wait()
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
    db.run_until(Time::from_millis(START + DAY)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    db.close().unwrap();
    let db = fixture.open_with(fixture.options().clock(Clock::manual(Time::from_millis(START))));
    for _ in 0..2 {
        let add = db.call(id, "add", args![1u64]).even_if_ahead();
        add.signed(&key(1)).wait().unwrap();
    }
}

#[test]
fn what_belongs_to_a_signature_is_not_taken_without_one() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let head = db.snapshot(id).unwrap().hash();
    let add = || db.call(id, "add", args![1u64]);
    for (call, given) in [
        (add().parent(head), "parent"),
        (add().nonce(1), "nonce"),
        (add().expires(Time::from_millis(1)), "expiry"),
    ] {
        let error = call.wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotSigned { what } if *what == given), "{error}");
    }
    assert_eq!(db.snapshot(id).unwrap().header().seq, 0);
}

/// The call of a batch that is refused keeps no other from being admitted.
#[test]
fn one_signature_is_enough_for_calls_of_many_objects() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids: Vec<ObjectId> = (0..5).map(|_| db.create(counter_code(&policy())).unwrap()).collect();
    let (one, two) = (key(1), key(2));
    let calls = ids.iter().cycle().take(20);
    let add = |id: &ObjectId, amount: u64| db.call(*id, "add", args![amount]);
    let receipts = db.batch(calls.clone().map(|id| add(id, 2))).signed(&one).wait().unwrap();
    assert_eq!(receipts.len(), 20);
    for (receipt, id) in receipts.into_iter().zip(calls) {
        let receipt = receipt.unwrap();
        assert_eq!((receipt.object, &receipt.rules[..]), (*id, &["owner".to_string()][..]));
    }
    // Another key may not; both together may do anything.
    let grow = |id: &ObjectId| db.call(*id, "grow", args![0u32]);
    let mixed = || [add(&ids[0], 1), grow(&ids[0]), add(&ids[1], 1)];
    for answer in db.batch(mixed()).signed(&two).wait().unwrap() {
        check(answer, Reason::NotPermitted);
    }
    let answers = db.batch(mixed()).signed(&one).wait().unwrap();
    let [first, second, third] = answers.try_into().unwrap();
    first.unwrap();
    check(second, Reason::NotPermitted);
    third.unwrap();
    for answer in db.batch(mixed()).signed(&two).signed(&one).wait().unwrap() {
        assert!(answer.unwrap().rules.contains(&"both".to_string()));
    }
    assert_eq!(db.snapshot(ids[1]).unwrap().get::<u64>("total"), Ok(10));
    // A verifier with one of the objects, and none of the others, can verify its calls.
    let mut capsule = Vec::new();
    db.export(ids[1], &mut capsule).unwrap();
    let verified = verify_capsule(&capsule[..], Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (7, 1));
    db.close().unwrap();
    let db = fixture.open();
    for id in ids {
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn what_a_call_of_a_batch_asks_for_besides_holds_for_it_alone() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    let one = key(1);
    let head = db.snapshot(id).unwrap().hash();
    let add = || db.call(id, "add", args![1u64]);
    let calls = [
        add().nonce(7).parent(head),
        add().nonce(8).parent(head),
        add().nonce(7),
        add().nonce(6),
        add().nonce(9).expires(Time::from_millis(START - 1)),
        add().nonce(9).expires(Time::from_millis(START + 8 * DAY)),
        add(),
    ];
    let answers = db.batch(calls).signed(&one).wait().unwrap();
    let reasons = answers.iter().map(|answer| Some(answer.as_ref().err()?.refusal()?.reason));
    use Reason::*;
    let expected = [
        None,
        Some(WrongParent),
        Some(Replayed),
        Some(Reordered),
        Some(Expired),
        Some(ExpiresTooLate),
        None,
    ];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_batch_that_cannot_be_signed_posts_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let (one, two) = (key(1), key(2));
    let add = || db.call(id, "add", args![1u64]);
    let error = db.batch([add()]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotSigned { what: "batch" }), "{error}");
    let error = db.batch([add(), add().signed(&two)]).signed(&one).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TwoCredentials { other: "batch" }), "{error}");
    assert_eq!(error.object(), Some(id));
    let unknown = || db.call(id, "gone", args![]);
    let error = db.batch([add(), unknown()]).signed(&one).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    let none = ObjectId([1; 32]);
    let error = db.batch([add(), db.call(none, "add", args![1u64])]).signed(&one).wait();
    assert_eq!(error.unwrap_err().object(), Some(none));
    assert!(db.batch([]).signed(&one).wait().unwrap().is_empty());
    assert_eq!(db.snapshot(id).unwrap().header().seq, 0);
}

/// A batch locks the nonces of all its objects, whatever their order in it.
#[test]
fn batches_over_the_same_objects_on_many_threads_keep_the_order_of_their_nonces() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids: Vec<ObjectId> = (0..8).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (db, mut ids) = (&db, ids.clone());
            scope.spawn(move || {
                let one = key(1);
                for _ in 0..25 {
                    ids.rotate_left(1 + thread);
                    let calls = ids.iter().map(|&id| db.call(id, "add", args![1u64]));
                    let answers = db.batch(calls).signed(&one).wait().unwrap();
                    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
                }
            });
        }
    });
    for id in ids {
        assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(100));
    }
}

/// Calls by as many keys that nobody knows, all signed until then.
fn flood(db: &Database, id: ObjectId, count: u32, expires: u64) {
    let strangers = (0..count).map(|number| {
        let mut secret = [9; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        SigningKey::from_secret(&secret)
    });
    let strangers: Vec<SigningKey> = strangers.collect();
    let calls = strangers.iter().map(|stranger| {
        db.call(id, "add", args![1u64])
            .signed(stranger)
            .nonce(1)
            .expires(Time::from_millis(expires))
            .submit()
    });
    let calls: Vec<_> = calls.collect::<Result<_>>().unwrap();
    calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
}

/// Regression: 1,024 keys that anybody can make shut every other key out for seven days.
#[test]
fn fresh_keys_shut_nobody_out() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (owner, named) = (key(1), key(2));
    let policy = format!(
        r#"{OPEN} @id("law") permit(principal == Key::"{}", action == Action::"amend", resource);"#,
        named.public()
    );
    let id = db.create(counter_code(&policy)).unwrap();
    add(&db, id, &owner, 7, START + DAY).unwrap();
    add(&db, id, &named, 7, START + 1).unwrap();
    flood(&db, id, 1023, START + 7 * DAY);
    // An earlier signed call cannot be replayed, though it has no entry any more.
    check(add(&db, id, &owner, 7, START + DAY), Reason::NoncesFull);
    check(add(&db, id, &owner, 8, START + DAY), Reason::NoncesFull);
    check(add(&db, id, &named, 7, START + 1), Reason::Replayed);
    // The key that the policy names signs for as short as it likes, any other for longer.
    add(&db, id, &named, 8, START + 1).unwrap();
    add(&db, id, &owner, 8, START + DAY + 1).unwrap();
    // The longest expiry grows with time, and a default expiry is long enough where it must be.
    db.run_until(Time::from_millis(START + 1000)).unwrap();
    db.call(id, "add", args![1u64]).signed(&key(3)).wait().unwrap();
    let fourth = key(4);
    let batch = db.batch([db.call(id, "add", args![1u64])]).signed(&fourth);
    batch.wait().unwrap().into_iter().for_each(|answer| drop(answer.unwrap()));
    db.close().unwrap();
    let db = fixture.open();
    db.call(id, "add", args![1u64]).signed(&key(5)).wait().unwrap();
    check_anywhere(&fixture, db, id);
}

/// Regression: a refusal was put on record that no verifier took.
#[test]
fn a_parent_of_zeros_is_a_wrong_parent_like_any_other() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let zeros = continuant::VersionHash([0; 32]);
    let one = key(1);
    let error = db.call(id, "add", args![1u64]).signed(&one).parent(zeros).wait().unwrap_err();
    let ErrorKind::Refused { verdict, .. } = error.kind() else { panic!("{error}") };
    let head = db.info(id).unwrap().hash;
    assert_eq!(verdict.reason, Reason::WrongParent);
    assert_eq!(verdict.detail, format!("it follows {zeros}, the head is {head}"));
    assert_eq!(db.verify(id, Replay::Yes).unwrap().refusals, 1);
    let told = db.explain_refusal(id, 1).unwrap();
    assert_eq!(told.verdict.unwrap_err().reason, Reason::WrongParent);
    add(&db, id, &one, 2, START + DAY).unwrap();
    check_anywhere(&fixture, db, id);
}
