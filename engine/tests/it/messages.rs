//! Messages between objects: delivered once, in order, decided on by the receiver, and never lost.

use std::sync::Arc;

use continuant::query::Entry;
use continuant::{
    Code, CodeHash, Database, Durability, ErrorKind, Kind, ObjectId, Reason, Replay, SigningKey,
    Time, Value, args, storage,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::HeldDisk;
use crate::objects::{Fixture, OPEN, START, check_anywhere, key, module};

/// `got: u64` counts messages; `sum: u64` folds their numbers, in their order. `flood(to,
/// count)` sends `hear(0)` to `hear(count - 1)`; `bounce(other, me, left)` sends `bounce(me, other,
/// left - 1)` back; `say(to, method, arguments)` sends anything; `dwell()` never ends; `wait(at)`
/// sets a wake, whose cycle sends to the object of zeros.
fn relay() -> Vec<u8> {
    module(
        "record state { got: u64, sum: u64 }
         create: func(to: list<u8>);
         flood: func(to: list<u8>, count: u32); hear: func(n: u64);
         bounce: func(other: list<u8>, me: list<u8>, left: u64);
         say: func(to: list<u8>, method: string, arguments: list<u8>); dwell: func();
         wait: func(at: u64);",
        r#"(import "continuant" "send" (func $send (param i32 i32 i32 i32 i32)))
           (import "continuant" "wake" (func $wake (param i64)))"#,
        r#"(data (i32.const 8192) "hear") (data (i32.const 8208) "bounce")
           (global $top (mut i32) (i32.const 12288))
           (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
             (global.get $top)
             (global.set $top (i32.add (global.get $top)
               (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
           (func $done (global.set $top (i32.const 12288)))
           (func $hear (param $to i32) (param $n i64)
             (i64.store (i32.const 8448) (local.get $n))
             (call $send (local.get $to) (i32.const 8192) (i32.const 4)
               (i32.const 8448) (i32.const 8)))
           (func (export "create") (param i32 i32)
             (if (i32.eq (local.get 1) (i32.const 32))
               (then (call $hear (local.get 0) (i64.const 77))))
             (call $done))
           (func (export "flood") (param $to i32) (param i32) (param $count i32) (local $i i32)
             (loop $more
               (if (i32.lt_u (local.get $i) (local.get $count)) (then
                 (call $hear (local.get $to) (i64.extend_i32_u (local.get $i)))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br $more))))
             (call $done))
           (func (export "hear") (param $n i64)
             (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (i64.const 1)))
             (i64.store (i32.const 4104) (i64.add (local.get $n)
               (i64.mul (i64.load (i32.const 4104)) (i64.const 31)))))
           (func (export "bounce") (param $other i32) (param i32) (param $me i32) (param i32)
               (param $left i64)
             (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (i64.const 1)))
             (if (i64.ne (local.get $left) (i64.const 0)) (then
               (i32.store (i32.const 8448) (i32.const 32))
               (memory.copy (i32.const 8452) (local.get $me) (i32.const 32))
               (i32.store (i32.const 8484) (i32.const 32))
               (memory.copy (i32.const 8488) (local.get $other) (i32.const 32))
               (i64.store (i32.const 8520) (i64.sub (local.get $left) (i64.const 1)))
               (call $send (local.get $other) (i32.const 8208) (i32.const 6)
                 (i32.const 8448) (i32.const 80))))
             (call $done))
           (func (export "say") (param i32 i32 i32 i32 i32 i32)
             (call $send (local.get 0) (local.get 2) (local.get 3) (local.get 4) (local.get 5))
             (call $done))
           (func (export "dwell") (loop (br 0)))
           (func (export "wait") (param i64) (call $wake (local.get 0)))
           (func (export "cycle") (call $hear (i32.const 8544) (i64.const 5)))"#,
    )
}

pub(crate) fn relay_code(policy: &str) -> Code {
    Code::wasm(relay()).unwrap().policy(policy).args(args![&[][..] as &[u8]])
}

fn relays(db: &Database, count: usize) -> Vec<ObjectId> {
    (0..count).map(|_| db.create(relay_code(OPEN)).unwrap()).collect()
}

/// All that was submitted, and the messages that it set off, is worked through.
fn settle(db: &Database) {
    db.run_until(db.now()).unwrap();
    assert_eq!(db.message_count(), 0);
}

fn field(db: &Database, id: ObjectId, name: &str) -> u64 {
    db.snapshot(id).unwrap().get(name).unwrap()
}

fn id(id: ObjectId) -> Value {
    Value::from(&id.0[..])
}

/// Returns the value of `sum` after these messages.
fn sum(heard: impl IntoIterator<Item = u64>) -> u64 {
    heard.into_iter().fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n))
}

fn why(db: &Database) -> Vec<String> {
    db.dead_letters().map(|letter| letter.unwrap().why).collect()
}

#[test]
fn messages_arrive_once_and_in_their_order() {
    for workers in [1, 2, 4] {
        let fixture = Fixture::new();
        let db = fixture.open_with(fixture.options().workers(workers));
        let ids = relays(&db, 3);
        let receipt = db.call(ids[0], "flood", args![id(ids[1]), 200u32]).wait().unwrap();
        assert_eq!(receipt.messages.len(), 200);
        db.call(ids[2], "flood", args![id(ids[2]), 9u32]).wait().unwrap();
        settle(&db);
        assert_eq!((field(&db, ids[1], "got"), field(&db, ids[1], "sum")), (200, sum(0..200)));
        assert_eq!((field(&db, ids[2], "got"), field(&db, ids[2], "sum")), (9, sum(0..9)));
        let entries: Vec<_> = db.history(ids[1]).map(Result::unwrap).collect();
        let Entry::Version(entry) = &entries[7] else { panic!("a version") };
        let payloads = entry.payloads.as_ref().unwrap();
        let origin = payloads.input.request.origin().unwrap();
        assert_eq!((entry.header.kind, origin.index), (Kind::Message, 6));
        assert_eq!((origin.sender, origin.seq, origin.version), (ids[0], 1, receipt.version));
        assert_eq!(origin.fuel, (100_000_000 - receipt.header.fuel) / 200);
        assert!(why(&db).is_empty());
        for id in ids {
            db.verify(id, Replay::Yes).unwrap();
        }
        assert!(db.check(|_, _| {}).unwrap().is_sound());
    }
}

#[test]
fn a_lineage_of_messages_verifies_anywhere_and_sends_nothing_there() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = relays(&db, 2);
    db.call(ids[0], "bounce", args![id(ids[1]), id(ids[0]), 5u64]).wait().unwrap();
    settle(&db);
    assert_eq!(field(&db, ids[0], "got") + field(&db, ids[1], "got"), 6);
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, ids[0]);
    assert_eq!((here.message_count(), there.message_count()), (0, 0));
    assert!(why(&there).is_empty());
}

#[test]
fn what_answers_itself_ends_when_its_fuel_does() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = relays(&db, 2);
    db.call(ids[0], "bounce", args![id(ids[1]), id(ids[0]), u64::MAX]).wait().unwrap();
    settle(&db);
    let steps = field(&db, ids[0], "got") + field(&db, ids[1], "got");
    assert!((5_000..10_000).contains(&steps), "{steps} steps of 10,000 units and more");
    let dead = why(&db);
    assert_eq!(dead.len(), 1);
    assert!(dead[0].starts_with("out-of-fuel"), "{}", dead[0]);
}

#[test]
fn what_is_refused_is_a_dead_letter_and_on_record() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let sender = relays(&db, 1)[0];
    let policy = r#"@id("all") permit(principal, action, resource);
        @id("shy") forbid(principal is Object, action == Action::"hear", resource)
        unless { context.input.n == 1 };"#;
    let shy = db.create(relay_code(policy)).unwrap();
    let say = |to: ObjectId, method: &str, arguments: &[u8]| {
        db.call(sender, "say", args![id(to), method, arguments]).wait().unwrap();
        settle(&db);
    };
    say(shy, "hear", &2u64.to_le_bytes());
    say(shy, "hear", &1u64.to_le_bytes());
    say(shy, "listen", &[]);
    say(shy, "hear", &[1, 2, 3]);
    say(shy, "create", &[0; 4]);
    say(shy, "dwell", &[]);
    say(ObjectId([7; 32]), "hear", &1u64.to_le_bytes());
    assert_eq!((field(&db, shy, "got"), field(&db, shy, "sum")), (1, 1));
    let refused: Vec<_> = db.history(shy).refused().collect();
    let reasons = refused.iter().map(|entry| match entry.as_ref().unwrap() {
        Entry::Refusal(entry) => entry.refusal.verdict.reason,
        Entry::Version(_) => panic!("a refusal"),
    });
    use Reason::*;
    assert_eq!(reasons.collect::<Vec<_>>(), [Forbidden, Message, Message, Message, OutOfFuel]);
    let letters: Vec<_> = db.dead_letters().map(Result::unwrap).collect();
    let mut whys: Vec<_> = letters.iter().map(|it| (it.id.to, it.why.as_str())).collect();
    whys.sort_by_key(|(_, why)| *why);
    let whys: Vec<_> = whys.iter().map(|(to, why)| (*to == shy, *why)).collect();
    assert_eq!(whys[0], (true, "forbidden by shy"));
    assert!(whys[1..4].iter().all(|why| why.0 && why.1.starts_with("message: ")), "{whys:?}");
    assert_eq!(whys[5], (false, "there is no such object"));
    assert_eq!(letters.len(), 6);
    assert!(letters.iter().all(|it| it.sender == sender && it.message.is_some()));
    let verified = db.verify(shy, Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (2, 5));
    assert!(db.explain_refusal(shy, 1).is_ok() && db.explain(shy, 1).is_ok());
    assert!(db.check(|_, _| {}).unwrap().is_sound());
    let metrics = db.metrics();
    let messages = [metrics.messages_sent, metrics.messages_dead, metrics.messages_waiting];
    assert_eq!((messages, metrics.steps.of(Kind::Message)), ([7, 6, 0], 1));
    assert_eq!((metrics.refusals.of(Message), metrics.refusals.sum()), (3, 5));
    // An object that may have no more refusals still loses no message.
    drop(db);
    let db = fixture.open_with(fixture.options().refusals_max(5));
    db.call(sender, "say", args![id(shy), "listen", &[][..] as &[u8]]).wait().unwrap();
    settle(&db);
    assert_eq!((db.dead_letters().count(), db.info(shy).unwrap().refusal_count), (7, 5));
    let ids: Vec<_> = db.dead_letters().map(|letter| letter.unwrap().id).collect();
    for count in 1..9 {
        let (mut paged, mut last) = (Vec::new(), None);
        loop {
            let page = db.dead_letters().after(last).limit(count);
            let page: Vec<_> = page.map(|letter| letter.unwrap().id).collect();
            assert!(page.len() <= count);
            let Some(id) = page.last() else { break };
            last = Some(*id);
            paged.extend(page);
        }
        assert_eq!(paged, ids, "by {count}");
    }
}

#[test]
fn messages_are_sent_by_creations_cycles_and_transactions_too() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = relays(&db, 3);
    let code = Code::wasm(relay()).unwrap().policy(OPEN).args(args![id(ids[0])]);
    db.create(code).unwrap();
    settle(&db);
    assert_eq!((field(&db, ids[0], "got"), field(&db, ids[0], "sum")), (1, 77));
    let flood = |from: ObjectId, to: ObjectId| db.call(from, "flood", args![id(to), 3u32]);
    db.transaction([flood(ids[1], ids[2]), flood(ids[2], ids[2])]).wait().unwrap();
    settle(&db);
    assert_eq!(field(&db, ids[2], "got"), 6);
    assert_eq!(field(&db, ids[2], "sum"), sum((0..3).chain(0..3)));
    // The cycle sends to the id of zeros, which is no object.
    db.call(ids[0], "wait", args![START + 10]).wait().unwrap();
    db.run_until(Time::from_millis(START + 10)).unwrap();
    assert_eq!(why(&db), ["there is no such object"]);
    let error = db.transaction([flood(ids[1], ids[2]), db.call(ids[2], "dwell", args![])]);
    error.wait().unwrap_err();
    settle(&db);
    assert_eq!(field(&db, ids[2], "got"), 6, "what is not admitted sends nothing");
}

#[test]
fn a_step_that_would_send_too_much_is_turned_away_and_an_answer_is_not() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().messages_max(10));
    let ids = relays(&db, 2);
    let error = db.call(ids[0], "flood", args![id(ids[1]), 11u32]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MessagesFull { max: 10 }), "{error}");
    assert_eq!(db.info(ids[0]).unwrap().seq, 0);
    db.call(ids[0], "flood", args![id(ids[1]), 10u32]).wait().unwrap();
    settle(&db);
    assert_eq!(field(&db, ids[1], "got"), 10);
    // All calls of a transaction count together, and so do those of a creation.
    let six = |from: ObjectId| db.call(from, "flood", args![id(from), 6u32]);
    let error = db.transaction([six(ids[0]), six(ids[1])]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MessagesFull { max: 10 }), "{error}");
    let small = Fixture::new();
    let none = small.open_with(small.options().messages_max(0));
    let code = Code::wasm(relay()).unwrap().policy(OPEN).args(args![id(ids[0])]);
    let error = none.create(code).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MessagesFull { max: 0 }), "{error}");
    assert_eq!(none.objects().count(), 0);
    let error = db.call(ids[0], "flood", args![id(ids[1]), 1025u32]).wait().unwrap_err();
    assert_eq!(error.refusal().unwrap().reason, Reason::Trap);
}

#[test]
fn a_full_mailbox_turns_no_message_away() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(1).mailbox_max(1));
    let ids = relays(&db, 2);
    for _ in 0..20 {
        db.call(ids[0], "flood", args![id(ids[1]), 5u32]).wait().unwrap();
        // The call may succeed or find no room.
        drop(db.call(ids[1], "hear", args![0u64]).submit());
    }
    settle(&db);
    assert!(field(&db, ids[1], "got") >= 100);
    assert!(why(&db).is_empty());
}

/// Each turn left one more word that there is mail, until nobody else had room.
#[test]
fn a_backlog_of_messages_leaves_room_for_others() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(1).mailbox_max(3));
    let ids = relays(&db, 2);
    let floods: Vec<_> = (0..3)
        .map(|_| db.call(ids[0], "flood", args![id(ids[1]), 900u32]).submit().unwrap())
        .collect();
    for _ in 0..60 {
        db.call(ids[1], "hear", args![0u64]).wait().unwrap();
    }
    floods.into_iter().for_each(|flood| drop(flood.wait().unwrap()));
    settle(&db);
    assert_eq!(field(&db, ids[1], "got"), 2760);
}

/// The receiver's version was earlier than the sender's, and before a wake that was due by then.
#[test]
fn what_a_message_makes_is_not_earlier_than_what_sent_it() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let ids = relays(&db, 2);
    db.call(ids[1], "wait", args![START + 50]).wait().unwrap();
    for step in 0..40 {
        db.advance_clock(Time::from_millis(START + 3 * step)).unwrap();
        db.call(ids[0], "flood", args![id(ids[1]), 5u32]).wait().unwrap();
    }
    settle(&db);
    let time = |object: ObjectId, seq: u64| db.at(object, seq).unwrap().header().time;
    let (mut cycle, mut after) = (false, 0);
    for entry in db.history(ids[1]) {
        let Entry::Version(entry) = entry.unwrap() else { panic!("a version") };
        cycle |= entry.header.kind == Kind::Cycle;
        let payloads = entry.payloads.unwrap();
        let Some(origin) = payloads.input.request.origin() else { continue };
        assert!(time(origin.sender, origin.seq) <= entry.header.time);
        assert!(cycle || entry.header.time < Time::from_millis(START + 50), "the wake was due");
        after += u32::from(cycle);
    }
    assert!(after > 0);
}

/// A power cut undoes the receiver's version alone, or the sender's with it.
#[test]
fn a_power_cut_between_sender_and_receiver_delivers_again_and_once() {
    for cycles in [true, false] {
        let options = |disk: &HeldDisk| {
            let storage = storage::Options::new().disk(Arc::new(disk.clone()));
            Fixture::new().options().cycles(cycles).storage(storage)
        };
        let disk = HeldDisk::default();
        let db = options(&disk).open("db").unwrap();
        let ids = relays(&db, 2);
        disk.hold();
        // The first sync, which waits, is of the sender's version at least.
        let relaxed = |db: &Database| {
            let call = db.call(ids[0], "flood", args![id(ids[1]), 50u32]);
            call.durability(Durability::Relaxed).wait().unwrap()
        };
        let receipt = relaxed(&db);
        disk.wait_for_a_sync();
        let lost = disk.after_a_power_cut();
        disk.release();
        receipt.ticket.clone().wait().unwrap();
        db.sync().unwrap();
        disk.hold();
        let cut = disk.after_a_power_cut();
        disk.release();
        db.run_until(Time::from_millis(START)).unwrap();
        let whole = disk.after_a_power_cut();
        drop(db);
        for (disk, expected) in [(lost, 0), (cut, 50), (whole, 50)] {
            let db = options(&disk).open("db").unwrap();
            db.run_until(Time::from_millis(START)).unwrap();
            assert_eq!(db.message_count(), 0);
            assert_eq!(field(&db, ids[1], "got"), expected);
            assert_eq!(field(&db, ids[1], "sum"), sum(0..expected));
            assert!(db.check(|_, _| {}).unwrap().is_sound());
            assert!(ids.iter().all(|id| db.verify(*id, Replay::Yes).is_ok()));
        }
    }
}

fn purse(db: &Database, issuer: &SigningKey, owner: &SigningKey, policy: &str) -> ObjectId {
    purse_of(db, purse_code(), [issuer, owner], policy)
}

fn purse_code() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/objects/purse.wasm")).unwrap()
}

/// A purse of this code, of an issuer and an owner.
fn purse_of(
    db: &Database,
    code: Vec<u8>,
    [issuer, owner]: [&SigningKey; 2],
    policy: &str,
) -> ObjectId {
    let policy = policy.replace(&"0".repeat(64), &issuer.public().to_string());
    let owner = owner.public().to_string();
    let code = Code::wasm(code).unwrap().policy(policy);
    db.create(code.args(args![&owner[..]])).unwrap()
}

const PURSE: &str = include_str!("../../../guest/examples/purse/policy.cedar");

#[test]
fn purses_take_money_of_purses_alone() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (issuer, owner) = (key(1), key(2));
    let one = purse(&db, &issuer, &owner, PURSE);
    let other = purse(&db, &issuer, &owner, PURSE);
    // Another purse of the same code, which anyone may fill.
    let lax = PURSE.replace(r#"action in [Action::"mint", Action::"trust"]"#, "action");
    let lax = purse(&db, &owner, &owner, &format!("{lax}\n// lax"));
    for (id, minter) in [(one, &issuer), (lax, &owner)] {
        db.call(id, "mint", args![100u64]).signed(minter).wait().unwrap();
    }
    let pay = |from: ObjectId, to: ObjectId, amount: u64| {
        let call = db.call(from, "pay", args![id(to), amount]).signed(&owner);
        call.wait().map(|_| settle(&db))
    };
    pay(one, other, 30).unwrap();
    pay(lax, other, 30).unwrap();
    pay(other, lax, 5).unwrap();
    assert_eq!(pay(one, other, 71).unwrap_err().refusal().unwrap().reason, Reason::Trap);
    let balance = |id| field(&db, id, "balance");
    assert_eq!((balance(one), balance(other), balance(lax)), (70, 25, 70));
    assert_eq!(why(&db), ["not-permitted"; 2]);
    let error = db.call(other, "deposit", args![5u64]).signed(&owner).wait().unwrap_err();
    assert_eq!(error.refusal().unwrap().reason, Reason::NotPermitted);
}

/// A second version of a purse was refused by the first, and the money was gone.
#[test]
fn purses_take_money_of_codes_that_their_issuer_trusts() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (issuer, owner) = (key(1), key(2));
    // The same with a section that means nothing: another hash.
    let later = [&purse_code()[..], &[0, 2, 1, b'2']].concat();
    let hash = CodeHash::of(&later).to_string();
    let one = purse(&db, &issuer, &owner, PURSE);
    let other = purse_of(&db, later.clone(), [&issuer, &owner], PURSE);
    // A purse of a trusted code, with another policy.
    let lax = PURSE.replace(r#"action in [Action::"mint", Action::"trust"]"#, "action");
    let lax = purse_of(&db, later, [&owner, &owner], &lax);
    for (id, minter) in [(other, &issuer), (lax, &owner)] {
        db.call(id, "mint", args![100u64]).signed(minter).wait().unwrap();
    }
    let pay = |from: ObjectId| {
        db.call(from, "pay", args![id(one), 30u64]).signed(&owner).wait().unwrap();
        settle(&db);
    };
    pay(other);
    assert_eq!((field(&db, one, "balance"), why(&db).len()), (0, 1));
    let trusts = |signer| db.call(one, "trust", args![&hash[..]]).signed(signer).wait();
    let refused = trusts(&owner).unwrap_err();
    assert_eq!(refused.refusal().unwrap().reason, Reason::NotPermitted);
    trusts(&issuer).unwrap();
    trusts(&issuer).unwrap();
    let trusted = db.snapshot(one).unwrap().value("trusted").unwrap();
    assert_eq!(trusted, Value::List(vec![Value::from(&hash[..])]));
    pay(other);
    pay(lax);
    assert_eq!((field(&db, one, "balance"), why(&db).len()), (30, 2));
    // A message that was sent before the code was trusted is not lost.
    let letter = db.dead_letters().map(Result::unwrap).find(|letter| letter.sender == other);
    db.retry_dead_letter(letter.unwrap().id).unwrap();
    db.deliver().unwrap();
    assert_eq!((field(&db, one, "balance"), why(&db).len()), (60, 1));
    db.verify(one, Replay::Yes).unwrap();
}

/// Regression: a message to an id without an object, or to an object that refused it, was lost.
#[test]
fn a_dead_letter_is_tried_again_and_delivered_once() {
    let (fixture, elsewhere) = (Fixture::new(), Fixture::new());
    // Made at the same time of the same parts, an object has the same id everywhere.
    let late = |db: &Database| {
        let code = relay_code(&KEPT.replace("KEEPER", &key(1).public().to_string()));
        db.create(code.secret([7; 32])).unwrap()
    };
    let to = late(&elsewhere.open());
    let mut db = fixture.open();
    let sender = relays(&db, 1)[0];
    db.call(sender, "flood", args![id(to), 3u32]).wait().unwrap();
    settle(&db);
    assert_eq!(why(&db), ["there is no such object"; 3]);
    let letters: Vec<_> = db.dead_letters().map(Result::unwrap).collect();
    db.retry_dead_letter(letters[0].id).unwrap();
    db.deliver().unwrap();
    assert_eq!(why(&db).len(), 3, "there still is none");
    assert_eq!(late(&db), to);
    db.retry_dead_letter(letters[1].id).unwrap();
    db.deliver().unwrap();
    // The receiver's policy takes only 1, until it is amended.
    assert_eq!((field(&db, to, "got"), field(&db, to, "sum")), (1, 1));
    db.retry_dead_letter(letters[2].id).unwrap();
    db.deliver().unwrap();
    assert_eq!(why(&db), ["there is no such object", "forbidden by shy"]);
    db.close().unwrap();
    db = fixture.open();
    db.amend_for_good(to, OPEN).signed(&key(1)).wait().unwrap();
    for letter in [&letters[2], &letters[0]] {
        db.retry_dead_letter(letter.id).unwrap();
        db.deliver().unwrap();
        let error = db.retry_dead_letter(letter.id).unwrap_err();
        let ErrorKind::Storage(error) = error.kind() else { panic!("{error}") };
        assert!(matches!(error.kind(), storage::ErrorKind::NotFound { .. }), "once: {error}");
        assert!(db.drop_dead_letter(letter.id).is_err(), "once");
    }
    assert_eq!((field(&db, to, "got"), field(&db, to, "sum")), (3, sum([1, 2, 0])));
    assert!(why(&db).is_empty() && db.message_count() == 0);
    for id in [sender, to] {
        db.verify(id, Replay::Yes).unwrap();
    }
    assert!(db.check(|_, _| {}).unwrap().is_sound());
    // A dropped letter is gone, here and after a restart.
    db.call(sender, "flood", args![id(ObjectId([7; 32])), 2u32]).wait().unwrap();
    settle(&db);
    let letters: Vec<_> = db.dead_letters().map(Result::unwrap).collect();
    db.drop_dead_letter(letters[0].id).unwrap();
    db.close().unwrap();
    db = fixture.open_with(fixture.options().messages_max(0));
    assert_eq!(why(&db).len(), 1);
    let error = db.retry_dead_letter(letters[1].id).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MessagesFull { max: 0 }), "{error}");
    assert!(db.dead_letter(letters[1].id).unwrap().is_some());
    assert!(db.dead_letter(letters[0].id).unwrap().is_none());
}

/// Anyone may do anything, but objects may say 1 only; the key may change that.
const KEPT: &str = r#"@id("all") permit(principal, action, resource);
    @id("shy") forbid(principal is Object, action == Action::"hear", resource)
    unless { context.input.n == 1 };
    @id("keeper") permit(principal == Key::"KEEPER", action == Action::"amend", resource);"#;

#[test]
fn no_money_comes_or_goes_among_many_purses() {
    let fixture = Fixture::new();
    let (issuer, owner) = (key(1), key(2));
    let mut db = fixture.open();
    let purses: Vec<_> = (0..8).map(|_| purse(&db, &issuer, &owner, PURSE)).collect();
    for id in &purses {
        db.call(*id, "mint", args![1000u64]).signed(&issuer).wait().unwrap();
    }
    let mut rng = StdRng::seed_from_u64(3);
    for round in 0..4 {
        let pending: Vec<_> = (0..60)
            .filter_map(|_| {
                let (from, to) = (rng.random_range(0..8), rng.random_range(0..8));
                let amount = rng.random_range(0..300u64);
                let call = db.call(purses[from], "pay", args![id(purses[to]), amount]);
                call.signed(&owner).submit().ok()
            })
            .collect();
        if round % 2 == 0 {
            // Closing delivers what was sent.
            db.close().unwrap();
            db = fixture.open();
        } else {
            settle(&db);
        }
        drop(pending);
        let all: u64 = purses.iter().map(|id| field(&db, *id, "balance")).sum();
        assert_eq!(all, 8000);
    }
    assert!(why(&db).is_empty());
    for id in &purses {
        db.verify(*id, Replay::Yes).unwrap();
    }
}
