//! Objects that continue with other code: what they keep, who decides, and the effects of a
//! refusal.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use continuant::object::capsule::SectionKind;
use continuant::storage::{self, CapsuleReader, Retention};
use continuant::{
    Clock, Code, CodeHash, Database, Durability, Entry, ErrorKind, Kept, Kind, ObjectId, Reason,
    Receipt, Replay, Result, Session, Time, TrailEnd, Upgrade, Value, args, verify_capsule,
};

use crate::disk::HeldDisk;
use crate::guards::says;
use crate::messages::relay_code;
use crate::objects::{
    Fixture, OPEN, START, block_on, capsule, check_anywhere, counter, counter_code, key, labelled,
    module,
};

/// Moves the counter's `total` and `last` to where they are now.
const MOVE: &str = r#"
    (i64.store (i32.const 4104) (i64.load (local.get $before)))
    (i64.store (i32.const 4096) (i64.load offset=8 (local.get $before)))
    (i32.store8 (i32.const 4112) (i32.const 1))
    (call $emit (i32.const 8192) (i32.const 5) (i32.const 4104) (i32.const 8))"#;

/// The code that a counter is upgraded to: `last: u64`, `total: s64`, `moved: bool`; `add(amount)`
/// and `take(amount)`; its cycle adds 1000. Its `migrate` has this body.
fn second(migrate: &str) -> Vec<u8> {
    second_at(12288, migrate)
}

/// The same, with this address as the room for the state before.
fn second_at(room: i32, migrate: &str) -> Vec<u8> {
    module(
        "record before { total: u64, last: u64 }
         record state { last: u64, total: s64, moved: bool }
         add: func(amount: u64) -> s64; take: func(amount: u64) -> s64;
         migrate: func(before: before);",
        r#"(import "continuant" "now" (func $now (result i64)))
           (import "continuant" "wake" (func $wake (param i64)))
           (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))"#,
        &format!(
            r#"(data (i32.const 8192) "moved")
               (global $calls (mut i64) (i64.const 0))
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                 (i32.const {room}))
               (func $add (export "add") (param i64) (result i64)
                 (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
                 (i64.store (i32.const 4104)
                   (i64.add (i64.load (i32.const 4104)) (local.get 0)))
                 (i64.store (i32.const 4096) (call $now))
                 (i64.load (i32.const 4104)))
               (func (export "take") (param i64) (result i64)
                 (call $add (i64.sub (i64.const 0) (local.get 0))))
               (func (export "cycle") (drop (call $add (i64.const 1000))))
               (func (export "migrate") (param $before i32) {migrate})"#
        ),
    )
}

/// An object of `n: u64` whose `migrate` takes the same state and multiplies `n` by `factor`.
fn times(factor: u64) -> Vec<u8> {
    module(
        "record before { n: u64 } record state { n: u64 } migrate: func(before: before);",
        "",
        &format!(
            r#"(data (i32.const 4096) "\01")
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                 (i32.const 8192))
               (func (export "migrate") (param i32)
                 (i64.store (i32.const 4096)
                   (i64.mul (i64.const {factor}) (i64.load (local.get 0)))))"#
        ),
    )
}

fn to(wasm: Vec<u8>) -> Upgrade {
    Upgrade::wasm(wasm).unwrap()
}

/// Everyone may do anything, but only the key of secret 1 may upgrade and amend.
fn kept() -> String {
    let keeper = key(1).public();
    format!(
        r#"{OPEN}
           @id("keeper") permit(principal == Key::"{keeper}",
               action in [Action::"upgrade", Action::"amend"], resource);"#
    )
}

fn upgrade(db: &Database, id: ObjectId, to: &Upgrade) -> Result<Receipt> {
    db.upgrade(id, to).signed(&key(1)).wait()
}

fn add(db: &Database, id: ObjectId, amount: u64) -> Value {
    db.call(id, "add", args![amount]).wait().unwrap().result.unwrap()
}

#[track_caller]
fn check(result: Result<Receipt>, reason: Reason, detail: &str) {
    let error = result.unwrap_err();
    let verdict = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(verdict.reason, reason, "{verdict}");
    assert!(verdict.detail.contains(detail), "{verdict}");
}

#[test]
fn an_upgrade_keeps_the_object_and_migrates_its_state() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept()).name("one")).unwrap();
    assert_eq!(add(&db, id, 5), Value::U64(5));
    db.call(id, "ring", args![START + 100]).wait().unwrap();
    let receipt = upgrade(&db, id, &to(second(MOVE))).unwrap();
    let header = &receipt.header;
    assert_eq!(
        (header.kind, header.seq, header.wake),
        (Kind::Upgrade, 3, Some(Time::from_millis(START + 100)))
    );
    assert_eq!((&header.code, receipt.rules.len()), (&CodeHash::of(&second(MOVE)), 2));
    assert_eq!(receipt.outputs().unwrap()[0].name, "moved");
    let newest = db.snapshot(id).unwrap();
    assert_eq!((newest.get("total"), newest.get("moved")), (Ok(5i64), Ok(true)));
    assert_eq!(newest.get::<u64>("last"), Ok(START));
    assert_eq!(db.call(id, "take", args![8u64]).wait().unwrap().result, Some(Value::S64(-3)));
    // The state before the upgrade is still there.
    assert_eq!(db.at(id, 1).unwrap().get("total"), Ok(5u64));
    assert_eq!(db.find("one").unwrap(), Some(id));
    db.run_until(Time::from_millis(START + 100)).unwrap();
    assert_eq!(db.snapshot(id).unwrap().get("total"), Ok(997i64), "the new code's cycle ran");
    assert!(db.check(|_, _| {}).unwrap().is_sound());
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    for db in [here, there] {
        assert_eq!(add(&db, id, 3), Value::S64(1000));
        assert_eq!(db.at(id, 2).unwrap().get("total"), Ok(5u64));
        assert_eq!(db.verify(id, Replay::Yes).unwrap().versions, 7);
        assert!(db.check(|_, _| {}).unwrap().is_sound());
    }
}

#[test]
fn the_policy_before_decides_on_the_code_and_the_policy_that_are_to_come() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let (good, keeper) = (to(second(MOVE)), key(1).public());
    let policy = format!(
        r#"{OPEN}
           @id("keeper") permit(principal == Key::"{keeper}", action == Action::"upgrade", resource)
           when {{
               context.upgrade.code == "{}" && context.before.total == 5 &&
               context.before == context.after && context.upgrade.policy == context.policy
           }};"#,
        good.code()
    );
    let id = db.create(counter_code(&policy)).unwrap();
    check(upgrade(&db, id, &good), Reason::NotPermitted, "");
    add(&db, id, 5);
    check(db.upgrade(id, &good).wait(), Reason::NotPermitted, "");
    check(db.upgrade(id, &good).signed(&key(2)).wait(), Reason::NotPermitted, "");
    check(upgrade(&db, id, &to(second("(nop)"))), Reason::NotPermitted, "");
    assert_eq!((db.info(id).unwrap().seq, db.info(id).unwrap().refusal_count), (1, 4));
    for number in 1..=4 {
        let told = db.explain_refusal(id, number).unwrap();
        assert!(told.policy.is_some() && told.migration.is_none(), "{number}");
    }
    let told = db.upgrade(id, &good).signed(&key(1)).dry_run().unwrap();
    assert_eq!(told.verdict.unwrap().migrated, ["open"]);
    assert!(told.migration.is_some());
    assert_eq!(db.info(id).unwrap().seq, 1, "nothing happened");
    upgrade(&db, id, &good).unwrap();
    let told = db.explain(id, 2).unwrap();
    assert_eq!(told.verdict.unwrap().rules, ["keeper"]);
    let migration = told.migration.unwrap();
    assert_eq!(migration.policy.rules[0].id, "open");
    check_anywhere(&fixture, db, id);
}

#[test]
fn whoever_permits_everything_permits_no_upgrade() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let error = upgrade(&db, id, &to(second(MOVE))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LastPolicy), "{error}");
    let next = to(second(MOVE)).policy(&*kept());
    check(upgrade(&db, id, &next), Reason::NotPermitted, "");
    // A policy that permits an upgrade may be dropped for good.
    let id = db.create(counter_code(&kept()).secret([1; 32])).unwrap();
    upgrade(&db, id, &to(second(MOVE)).policy(OPEN).for_good()).unwrap();
    check(db.amend(id, &kept()).signed(&key(1)).wait(), Reason::NotPermitted, "");
    check_anywhere(&fixture, db, id);
}

#[test]
fn a_rule_that_the_new_schema_leaves_dead_is_told_before_the_upgrade() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = format!(
        r#"{OPEN}
        @id("late") forbid(principal, action, resource)
        when {{ context.input has at && context.input.at > 5 }};
        @id("keeper") permit(principal, action == Action::"upgrade", resource);"#
    );
    let id = db.create(counter_code(&policy)).unwrap();
    add(&db, id, 5);
    // The new code has no method with a parameter of that name.
    let error = upgrade(&db, id, &to(second(MOVE))).unwrap_err();
    assert!(error.to_string().contains("the rule late can never hold"), "{error}");
    let info = db.info(id).unwrap();
    assert_eq!((info.seq, info.refusal_count), (1, 0), "the door leaves nothing on record");
    let said = policy.replace("@id(\"late\")", "@id(\"late\") @dormant(\"of the first version\")");
    upgrade(&db, id, &to(second(MOVE)).policy(&said)).unwrap();
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn the_new_policy_decides_on_what_became_of_the_state() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    let small = |max: u64| {
        to(second(MOVE)).policy(&*format!(
            r#"{}
               @id("small") forbid(principal, action == Action::"migrate", resource)
               unless {{ context.after.moved && context.after.total <= {max} }};"#,
            kept()
        ))
    };
    check(upgrade(&db, id, &small(4)), Reason::Forbidden, "by the new policy");
    let told = db.explain_refusal(id, 1).unwrap();
    assert_eq!(told.verdict.unwrap_err().rules, ["small"]);
    let migration = told.migration.expect("the policy before permits it");
    assert_eq!(migration.policy.rules.iter().filter(|rule| !rule.permits).count(), 1);
    // A policy that says nothing about upgrades permits none.
    let keeper = key(1).public();
    let silent = format!(
        r#"@id("keeper")
           permit(principal == Key::"{keeper}", action == Action::"upgrade", resource);"#
    );
    let silent = to(second(MOVE)).policy(&*silent);
    check(upgrade(&db, id, &silent), Reason::NotPermitted, "by the new policy");
    assert_eq!(add(&db, id, 0), Value::U64(5), "it is as it was");
    let receipt = upgrade(&db, id, &small(5)).unwrap();
    assert_eq!(receipt.rules, ["keeper", "open"]);
    let (here, _there, _elsewhere) = check_anywhere(&fixture, db, id);
    assert_eq!(here.verify(id, Replay::Yes).unwrap().refusals, 2);
    assert!(here.snapshot(id).unwrap().definition().policy.text().contains("small"));
}

#[test]
fn the_new_policys_guard_is_asked_of_the_migration() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    // The guard permits an upgrade with a total of 5 before and after.
    let body = r#"
        (drop (call $read0 (i32.const 512) (i32.const 8)))
        (drop (call $read1 (i32.const 520) (i32.const 8)))
        (i32.or (i32.ne (i32.load (i32.const 512)) (i32.const 5))
                (i32.ne (i32.load (i32.const 520)) (i32.const 5)))"#;
    let (guard, text) = (says(&["before.total", "after.total"], body), kept());
    let law = continuant::Law { text: &text, guard: Some(&guard) };
    let guarded = to(second(MOVE)).policy(law);
    let forgetful = to(second("(nop)")).policy(law);
    check(upgrade(&db, id, &forgetful), Reason::Guard, "code 1");
    assert!(db.explain_refusal(id, 1).unwrap().migration.unwrap().guard.unwrap().is_err());
    upgrade(&db, id, &guarded).unwrap();
    assert_eq!(db.explain(id, 2).unwrap().migration.unwrap().guard, Some(Ok(())));
    let (here, _there, _elsewhere) = check_anywhere(&fixture, db, id);
    assert_eq!(here.verify(id, Replay::Yes).unwrap().guarded, 1);
}

#[test]
fn what_new_code_does_wrong_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    let head = db.snapshot(id).unwrap().hash();
    let another = |record: &str| {
        let schema = format!(
            "record before {{ {record} }} record state {{ n: u64 }} migrate: func(before: before);"
        );
        let body = r#"(func (export "migrate") (param i32))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#;
        to(module(&schema, "", body))
    };
    let cases = [
        (to(second("(unreachable)")), Reason::Trap, ""),
        (to(second("(loop (br 0))")), Reason::OutOfFuel, ""),
        (to(second("(i32.store8 (i32.const 4112) (i32.const 7))")), Reason::State, "moved"),
        (to(second_at(-8, MOVE)), Reason::Trap, "cabi_realloc"),
        (to(counter()), Reason::Migration, "migrate"),
        (another("total: u64"), Reason::Migration, "1 fields"),
        (another("total: u64, last: s64"), Reason::Migration, "state.last"),
        (another("last: u64, total: u64"), Reason::Migration, "last"),
    ];
    for (number, (to, reason, detail)) in (1..).zip(&cases) {
        check(upgrade(&db, id, to), *reason, detail);
        assert_eq!(db.info(id).unwrap().refusal_count, number);
        let told = db.explain_refusal(id, number).unwrap();
        assert_eq!(told.verdict.unwrap_err().reason, *reason);
    }
    assert_eq!(db.snapshot(id).unwrap().hash(), head);
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    for db in [here, there] {
        assert_eq!(add(&db, id, 1), Value::U64(6));
        assert_eq!(db.verify(id, Replay::Yes).unwrap().refusals, cases.len() as u64);
        upgrade(&db, id, &to(second(MOVE))).unwrap();
        assert!(db.check(|_, _| {}).unwrap().is_sound());
    }
}

#[test]
fn a_session_upgrades_nothing_and_nonces_stay_used() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let sessions =
        r#"@id("session") permit(principal, action == Action::"open_session", resource);"#;
    let id = db.create(counter_code(&format!("{}{sessions}", kept()))).unwrap();
    let session = Session::from_secret(&[7; 32], Time::from_millis(START + 60_000));
    db.open_session(id, &session).signed(&key(1)).wait().unwrap();
    let next = to(second(MOVE));
    check(db.upgrade(id, &next).in_session(&session).wait(), Reason::Credential, "signature");
    let owner = key(1);
    let signed = || db.upgrade(id, &next).signed(&owner).nonce(u64::MAX - 1);
    signed().wait().unwrap();
    check(signed().wait(), Reason::Replayed, "");
    // A session outlives it.
    db.call(id, "add", args![1u64]).in_session(&session).wait().unwrap();
    check_anywhere(&fixture, db, id);
}

#[test]
fn what_is_on_its_way_arrives_at_the_new_code() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let sender = db.create(relay_code(OPEN)).unwrap();
    let receiver = db.create(counter_code(&kept())).unwrap();
    let say = |method: &str, amount: u64| {
        let (to, arguments) = (&receiver.0[..], amount.to_le_bytes());
        db.call(sender, "say", args![to, method, &arguments[..]]).submit().unwrap()
    };
    let mut under_way: Vec<_> = (1..=20).map(|amount| say("add", amount)).collect();
    under_way.push(db.upgrade(receiver, &to(second(MOVE))).signed(&key(1)).submit().unwrap());
    under_way.extend((21..=40).map(|amount| say("add", amount)));
    under_way.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    // A message to a method that the new code lacks ends as a dead letter.
    say("ring", 1).wait().unwrap();
    say("take", 100).wait().unwrap();
    db.run_until(Time::from_millis(START)).unwrap();
    assert_eq!(db.snapshot(receiver).unwrap().get("total"), Ok(720i64));
    assert_eq!((db.message_count(), db.dead_letters().count()), (0, 1));
    db.verify(sender, Replay::Yes).unwrap();
    check_anywhere(&fixture, db, receiver);
}

#[test]
fn texts_and_options_are_taken_over() {
    let next = |migrate: &str| {
        to(module(
            "record past { owner: string, count: u32, mood: option<u8> }
             record state { mood: option<u8>, owner: string, long: list<string> }
             migrate: func(past: past);",
            "",
            &format!(
                r#"(global $top (mut i32) (i32.const 8192))
                   (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                     (global.get $top)
                     (global.set $top (i32.add (global.get $top)
                       (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
                   (func (export "migrate") (param $past i32) {migrate})"#
            ),
        ))
    };
    let copy = r#"
        (i32.store16 (i32.const 4096) (i32.load16_u offset=12 (local.get $past)))
        (i64.store offset=4 align=4 (i32.const 4096) (i64.load (local.get $past)))
        (i32.store offset=12 (i32.const 4096) (local.get $past))
        (i32.store offset=16 (i32.const 4096) (i32.const 1))"#;
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = continuant::Code::wasm(labelled()).unwrap().policy(kept());
    let id = db.create(code.args(args!["Éowyn of Rohan"])).unwrap();
    db.write(id, vec![("mood", Value::Option(Some(Box::new(Value::U8(7)))))]).wait().unwrap();
    let longer = copy.replace("(i32.const 1))", "(i32.const 9000))");
    check(upgrade(&db, id, &next(&longer)), Reason::State, "long");
    upgrade(&db, id, &next(copy)).unwrap();
    let newest = db.snapshot(id).unwrap();
    let owner = Value::from("Éowyn of Rohan");
    assert_eq!(newest.value("owner").unwrap(), owner);
    assert_eq!(newest.value("mood").unwrap(), Value::Option(Some(Box::new(Value::U8(7)))));
    assert_eq!(newest.value("long").unwrap(), Value::List(vec![owner]));
    check_anywhere(&fixture, db, id);
}

#[test]
fn a_call_of_a_method_that_is_gone_when_its_turn_comes_has_no_verdict() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    let (next, owner) = (to(second(MOVE)), key(1));
    let ring = db.call(id, "ring", args![START + 9]);
    let add_one = db.call(id, "add", args![1u64]);
    let upgrade = db.upgrade(id, &next).signed(&owner);
    let [upgraded, rung, added] = [upgrade, ring, add_one].map(|call| call.submit().unwrap());
    upgraded.wait().unwrap();
    let error = rung.wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    assert_eq!(added.wait().unwrap().result, Some(Value::S64(1)));
    assert_eq!((db.info(id).unwrap().seq, db.info(id).unwrap().refusal_count), (2, 0));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn an_outbox_has_what_was_sent_before_and_after() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    db.call(id, "ring", args![START + 9]).wait().unwrap();
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    db.sync().unwrap();
    let mut outbox = db.create_outbox("all").unwrap();
    let mut next = || outbox.next().transpose().unwrap().map(|outgoing| outgoing.output.name);
    assert_eq!(
        [next(), next(), next()],
        [Some("rung".to_string()), Some("moved".to_string()), None]
    );
}

#[test]
fn forks_are_of_the_code_that_the_version_had() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    add(&db, id, 1);
    let [before, upgraded, after] = [1, 2, 3].map(|seq| db.fork(id, seq, None).unwrap());
    assert_eq!(add(&db, before, 1), Value::U64(6));
    assert_eq!(add(&db, upgraded, 2), Value::S64(7));
    assert_eq!(add(&db, after, 3), Value::S64(9));
    upgrade(&db, before, &to(second(MOVE))).unwrap();
    assert_eq!(add(&db, before, 1), Value::S64(7));
    for fork in [before, upgraded, after] {
        assert!(db.verify(fork, Replay::Yes).unwrap().fork_of.is_some());
    }
    let (here, ..) = check_anywhere(&fixture, db, before);
    assert!(here.check(|_, _| {}).unwrap().is_sound());
    check_anywhere(&fixture, here, after);
}

#[test]
fn code_goes_back_and_forth_and_a_capsule_has_each_once() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let codes = [2, 3].map(times);
    let id = db.create(continuant::Code::wasm(&*codes[0]).unwrap().policy(kept())).unwrap();
    for code in [1, 0, 1, 1, 0] {
        upgrade(&db, id, &to(codes[code].clone())).unwrap();
    }
    check(upgrade(&db, id, &to(second(MOVE))), Reason::Migration, "");
    // A replay of the refused upgrade shows that capsules hold its target code.
    let newest = db.snapshot(id).unwrap();
    assert_eq!(newest.get("n"), Ok(3u64 * 2 * 3 * 3 * 2));
    let kinds = sections(&capsule(&db, id));
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    let parts = [SectionKind::Code, SectionKind::Policy, SectionKind::Base].map(count);
    assert_eq!(parts, [3, 1, 2]);
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    assert_eq!(capsule(&here, id), capsule(&there, id));
}

fn sections(capsule: &[u8]) -> Vec<SectionKind> {
    let (mut reader, mut kinds) = (CapsuleReader::new(capsule).unwrap(), Vec::new());
    while let Some((kind, _)) = reader.next().unwrap() {
        kinds.push(kind);
    }
    kinds
}

#[test]
fn parts_of_a_capsule_stand_where_they_are_needed_first() {
    use continuant::object::capsule::{Chain, HEAD};
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(continuant::Code::wasm(times(2)).unwrap().policy(kept())).unwrap();
    upgrade(&db, id, &to(times(3))).unwrap();
    upgrade(&db, id, &to(times(2))).unwrap();
    let whole = capsule(&db, id);
    let mut reader = CapsuleReader::new(&whole[..]).unwrap();
    let mut parts = Vec::new();
    while let Some((kind, body)) = reader.next().unwrap() {
        parts.push((kind, body.to_vec()));
    }
    parts.pop();
    let sealed = |parts: &[(SectionKind, Vec<u8>)]| {
        let (mut bytes, mut chain) = (HEAD.to_vec(), Chain::new());
        let end = (SectionKind::End, (parts.len() as u64).to_le_bytes().to_vec());
        for (kind, body) in parts.iter().chain([&end]) {
            let (head, check) = chain.section(*kind, body);
            [&head[..], body, &check].iter().for_each(|part| bytes.extend_from_slice(part));
        }
        bytes
    };
    let plain = verify_capsule(Cursor::new(sealed(&parts)), Replay::Yes).unwrap();
    assert_eq!(plain, verify_capsule(Cursor::new(whole), Replay::Yes).unwrap());
    let kinds: Vec<_> = parts.iter().map(|(kind, _)| *kind).collect();
    use SectionKind::{Base, Code, Commit, Policy, Secret};
    assert_eq!(kinds, [Secret, Code, Policy, Base, Commit, Code, Base, Commit, Commit]);
    let fails = |parts: &[(SectionKind, Vec<u8>)]| {
        for replay in [Replay::No, Replay::Yes] {
            let error = verify_capsule(Cursor::new(sealed(parts)), replay).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Section { .. }), "{error}");
        }
    };
    // Each section missing, twice, in another order, too early, too late.
    for index in [0, 1, 2, 3, 5, 6] {
        let mut without = parts.clone();
        let part = without.remove(index);
        fails(&without);
        for at in (0..=without.len()).filter(|at| *at != index) {
            let mut moved = without.clone();
            moved.insert(at, part.clone());
            fails(&moved);
        }
        let mut twice = parts.clone();
        twice.push(part);
        fails(&twice);
    }
}

#[test]
fn retention_and_compaction_go_across_an_upgrade() {
    let fixture = Fixture::new();
    let small = || storage::Options::new().segment_bytes(64 << 10);
    let open = || fixture.open_with(fixture.options().storage(small()));
    let db = open();
    let id = db.create(counter_code(&kept())).unwrap();
    let fill = |db: &Database, count: usize| {
        let calls = (0..count).map(|_| db.call(id, "add", args![1u64]).submit().unwrap());
        calls.collect::<Vec<_>>().into_iter().for_each(|call| drop(call.wait().unwrap()));
    };
    fill(&db, 150);
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    fill(&db, 20);
    db.set_retention(Some(id), Retention::Versions(40)).unwrap();
    fill(&db, 5);
    db.close().unwrap();
    let db = open();
    fill(&db, 70);
    db.compact(|_, _| {}).unwrap();
    // Retention from the version before the upgrade, and from behind it.
    for kept in [120, 60, 10] {
        db.set_retention(Some(id), Retention::Versions(kept)).unwrap();
        db.compact(|_, _| {}).unwrap();
        assert!(db.check(|_, _| {}).unwrap().is_sound());
        db.verify(id, Replay::Yes).unwrap();
        let newest = db.info(id).unwrap().seq;
        assert_eq!(db.at(id, newest - 5).unwrap().get("total"), Ok(240i64));
    }
    db.close().unwrap();
    let db = open();
    assert!(db.verify(id, Replay::No).unwrap().headers > 151, "the upgrade itself is dropped");
    assert_eq!(add(&db, id, 5), Value::S64(250));
    assert_eq!(db.history(id).map(Result::unwrap).count(), 248);
}

#[test]
fn an_index_that_is_lost_is_rebuilt_across_upgrades() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept()).name("one")).unwrap();
    add(&db, id, 5);
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    add(&db, id, 5);
    let before = db.info(id).unwrap();
    db.close().unwrap();
    std::fs::remove_file(fixture.directory.path().join("db/index.redb")).unwrap();
    let db = fixture.open();
    assert_eq!(db.info(id).unwrap(), before);
    assert_eq!(db.objects().code(CodeHash::of(&counter())).count(), 0);
    assert_eq!(db.objects().code(CodeHash::of(&second(MOVE))).count(), 1);
    assert_eq!(add(&db, id, 5), Value::S64(15));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_power_cut_undoes_an_upgrade_with_its_code() {
    let disk = HeldDisk::default();
    let open = |disk: &HeldDisk| {
        let storage = storage::Options::new().disk(Arc::new(disk.clone()));
        Fixture::new().options().storage(storage).open("db").unwrap()
    };
    let db = open(&disk);
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    disk.hold();
    let (next, owner) = (to(second(MOVE)), key(1));
    let gone = db.upgrade(id, &next).signed(&owner).durability(Durability::Relaxed);
    let gone = gone.wait().unwrap();
    assert_eq!(db.snapshot(id).unwrap().get("total"), Ok(5i64), "readers see it");
    disk.wait_for_a_sync();
    let cut = disk.after_a_power_cut();
    disk.fail();
    gone.ticket.wait().unwrap_err();
    drop(db);

    let db = open(&cut);
    assert_eq!(add(&db, id, 1), Value::U64(6));
    let error = db.definition((next.code(), gone.header.policy)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Missing { .. }), "{error}");
    upgrade(&db, id, &next).unwrap();
    assert_eq!(add(&db, id, 1), Value::S64(7));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_policy_is_kept_only_where_it_is_one_for_the_new_schema() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ring =
        format!(r#"{} @id("r") permit(principal, action == Action::"ring", resource);"#, kept());
    let id = db.create(counter_code(&ring)).unwrap();
    let error = upgrade(&db, id, &to(second(MOVE))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    assert_eq!((error.object(), db.info(id).unwrap().refusal_count), (Some(id), 0));
    upgrade(&db, id, &to(second(MOVE)).policy(&*kept())).unwrap();
    let broken = Upgrade::wasm(b"not wasm").unwrap_err();
    assert!(matches!(broken.kind(), ErrorKind::Object(_)), "{broken}");
    let lacking = module(
        "record before { total: u64, last: u64 } record state { n: u64 }
         migrate: func(before: before);",
        "",
        r#"(func (export "migrate") (param i32))"#,
    );
    let error = upgrade(&db, id, &to(lacking)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Module(_)), "{error}");
}

#[test]
fn objects_are_upgraded_together_or_not_at_all() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = [1, 2].map(|secret| db.create(counter_code(&kept()).secret([secret; 32])).unwrap());
    add(&db, ids[0], 3);
    let owner = key(1);
    let both = |one: &Upgrade, other: &Upgrade| {
        let calls = [db.upgrade(ids[0], one), db.upgrade(ids[1], other)];
        db.transaction(calls.map(|call| call.signed(&owner))).wait()
    };
    let (good, bad) = (to(second(MOVE)), to(second("(unreachable)")));
    let error = both(&good, &bad).unwrap_err();
    assert_eq!(error.object(), Some(ids[1]));
    assert_eq!(db.objects().code(CodeHash::of(&counter())).count(), 2);
    both(&good, &good).unwrap();
    assert_eq!(ids.map(|id| add(&db, id, 1)), [Value::S64(4), Value::S64(1)]);
    let (here, ..) = check_anywhere(&fixture, db, ids[0]);
    here.verify(ids[1], Replay::Yes).unwrap();
}

#[test]
fn a_fleet_is_upgraded_each_for_itself_and_goes_on_where_it_stopped() {
    const COUNT: usize = 1500;
    let fixture = Fixture::new();
    let db = fixture.open();
    let (old, next) = (CodeHash::of(&counter()), to(second(MOVE)));
    let policies = [kept(), OPEN.to_string(), format!("{} // another", kept())];
    let ring =
        format!(r#"{} @id("r") permit(principal, action == Action::"ring", resource);"#, kept());
    let mut made: Vec<_> = Vec::new();
    for number in 0..COUNT {
        let policy = match number % 50 {
            7 => &policies[1],
            8 => &ring,
            other => &policies[2 * (other % 2)],
        };
        let secret = std::array::from_fn(|byte| (number >> (8 * byte.min(4))) as u8);
        made.push(db.begin_create(counter_code(policy).secret(secret)).unwrap());
    }
    let bystander = db.create(relay_code(OPEN)).unwrap();
    let ids: BTreeSet<ObjectId> = made.iter().map(|(id, _)| *id).collect();
    made.into_iter().for_each(|(_, pending)| drop(pending.wait().unwrap()));
    let mut last = None;
    for told in db.upgrade_all(old, &next).signed(&key(1)).take(40) {
        let (id, _) = told.unwrap();
        assert!(last < Some(id), "in the order of their ids");
        last = Some(id);
    }
    db.close().unwrap();

    let db = fixture.open();
    let left = db.objects().code(old).count();
    assert!((60..COUNT - 30).contains(&left), "{left} are still to be upgraded");
    let (mut upgraded, mut refused, mut failed) = (COUNT - left, 0, 0);
    for told in db.upgrade_all(old, &next).signed(&key(1)) {
        match told.unwrap() {
            (id, Ok(receipt)) => {
                upgraded += 1;
                assert_eq!((receipt.object, receipt.header.code), (id, next.code()));
            }
            (id, Err(error)) => {
                assert_eq!(error.object(), Some(id));
                match error.kind() {
                    // The policies that permit everything.
                    ErrorKind::LastPolicy => refused += 1,
                    // The policies that name a method that is gone.
                    ErrorKind::Object(_) => failed += 1,
                    _ => panic!("{error}"),
                }
            }
        }
    }
    assert_eq!((upgraded, refused, failed), (COUNT - 60, 30, 30));
    assert_eq!(db.objects().code(next.code()).count(), COUNT - 60);
    // These objects are left; with another policy, the laws still permit the upgrade of all.
    let again = next.clone().policy(&*kept());
    let told: Vec<_> = db.upgrade_all(old, &again).signed(&key(1)).map(Result::unwrap).collect();
    let reasons = told.iter().map(|(_, told)| told.as_ref().err().and_then(|it| it.refusal()));
    let refused = reasons.flatten().filter(|it| it.reason == Reason::NotPermitted).count();
    assert_eq!((told.len(), refused), (60, 30));
    assert_eq!(db.upgrade_all(next.code(), &next).count(), 0, "what has the code is passed by");
    for id in ids.iter().step_by(100) {
        db.verify(*id, Replay::Yes).unwrap();
    }
    assert_eq!(db.info(bystander).unwrap().seq, 0);
    assert!(db.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn a_fleet_without_a_key_is_upgraded_where_the_policy_lets_anyone() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let anyone = format!(
        r#"{OPEN} @id("anyone") permit(principal, action == Action::"upgrade", resource);"#
    );
    for secret in 0..3 {
        let policy = if secret == 1 { kept() } else { anyone.clone() };
        db.create(counter_code(&policy).secret([secret; 32])).unwrap();
    }
    let told = db.upgrade_all(CodeHash::of(&counter()), &to(second(MOVE)));
    let upgraded = told.filter(|told| told.as_ref().unwrap().1.is_ok()).count();
    assert_eq!((upgraded, db.objects().code(CodeHash::of(&counter())).count()), (2, 1));
}

#[test]
fn a_fleet_is_upgraded_in_pages_and_a_limit_leaves_the_others_as_they_are() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let anyone = format!(
        r#"{OPEN} @id("anyone") permit(principal, action == Action::"upgrade", resource);"#
    );
    for secret in 0..5 {
        db.create(counter_code(&anyone).secret([secret; 32])).unwrap();
    }
    let all: Vec<ObjectId> = db.objects().map(|info| info.unwrap().id).collect();
    let (old, next) = (CodeHash::of(&counter()), to(second(MOVE)));
    let (mut paged, mut last) = (Vec::new(), None);
    for left in [3, 1, 0, 0] {
        let page = db.upgrade_all(old, &next).after(last).limit(2);
        paged.extend(page.map(|told| told.unwrap().0));
        last = paged.last().copied();
        assert_eq!(db.objects().code(old).count(), left);
    }
    assert_eq!(paged, all);
}

/// Objects of a fleet may have been on a host whose clock was ahead.
#[test]
fn objects_that_are_ahead_of_the_clock_are_upgraded_on_request() {
    const HOUR: u64 = 60 * 60 * 1000;
    let (old, next, key) = (CodeHash::of(&counter()), to(second(MOVE)), key(1));
    let anyone = format!(
        r#"{OPEN} @id("anyone") permit(principal, action == Action::"upgrade", resource);"#
    );
    for is_signed in [false, true] {
        let fixture = Fixture::new();
        let theirs = fixture
            .open_with(fixture.options().clock(Clock::manual(Time::from_millis(START + HOUR))));
        for secret in 0..3 {
            theirs.create(counter_code(&anyone).secret([secret; 32])).unwrap();
        }
        theirs.close().unwrap();
        let db = fixture.open();
        let fleet = || match is_signed {
            true => db.upgrade_all(old, &next).signed(&key),
            false => db.upgrade_all(old, &next),
        };
        for told in fleet() {
            let error = told.unwrap().1.unwrap_err();
            let ErrorKind::Ahead { by, .. } = error.kind() else { panic!("{error}") };
            assert_eq!(*by, Duration::from_millis(HOUR));
        }
        let upgraded = fleet().even_if_ahead().map(|told| told.unwrap().1.unwrap());
        let times: Vec<Time> = upgraded.map(|receipt| receipt.header.time).collect();
        assert_eq!(times, [Time::from_millis(START + HOUR); 3]);
        assert_eq!(db.objects().code(old).count(), 0);
    }
}

#[test]
fn histories_diffs_blames_and_rehearsals_go_across_an_upgrade() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    db.call(id, "fail", args![]).wait().unwrap_err();
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    db.call(id, "take", args![1u64]).wait().unwrap();
    db.call(id, "ring", args![1u64]).wait().unwrap_err();
    db.write(id, vec![("moved", false.into())]).wait().unwrap();
    let codes = [counter(), second(MOVE)].map(|code| CodeHash::of(&code));
    let entries: Vec<_> = db.history(id).map(Result::unwrap).collect();
    let under: Vec<_> = entries.iter().map(|entry| entry.under().0 == codes[1]).collect();
    assert_eq!(under, [false, false, false, true, true, true]);
    let refused: Vec<_> = db.history(id).refused().collect();
    let Ok(Entry::Refusal(refusal)) = &refused[0] else { panic!("a refusal") };
    assert_eq!((refused.len(), refusal.under.0), (1, codes[0]));

    let diff = db.diff(id, 1, 4).unwrap();
    let changes: Vec<_> = diff.fields.iter().map(|it| (&*it.path, &it.before, &it.after)).collect();
    let (five, four) = (Some(Value::U64(5)), Some(Value::S64(4)));
    assert_eq!(changes, [("total", &five, &four), ("moved", &None, &Some(Value::Bool(false)))]);
    let blamed = ["last", "total", "moved"].map(|field| db.blame(id, field).unwrap());
    assert_eq!(blamed.each_ref().map(|blame| blame.entry.header.seq), [1, 3, 4]);
    assert!(blamed.iter().all(|blame| (blame.object, blame.end) == (id, TrailEnd::Changed)));
    assert_eq!(blamed[0].kept, [Kept::Upgrade { object: id, seq: 2 }]);
    assert!(blamed[1].kept.is_empty() && blamed[2].kept.is_empty());
    let told = db.rehearse(id, &*kept(), u64::MAX).unwrap();
    assert_eq!((told.versions, told.dropped, told.refused.len()), (2, 2, 0));
}

/// Behind an upgrade every field seemed to be the upgrade's doing.
#[test]
fn a_trail_ends_at_an_upgrade_that_made_the_field_or_gave_it_another_value() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    add(&db, id, 5);
    upgrade(&db, id, &to(second(MOVE))).unwrap();
    let blamed = ["last", "total", "moved"].map(|field| db.blame(id, field).unwrap());
    let ends = blamed.each_ref().map(|blame| (blame.entry.header.seq, blame.end));
    let expected = [(1, TrailEnd::Changed), (2, TrailEnd::OtherType), (2, TrailEnd::NewField)];
    assert_eq!(ends, expected);
    // An upgrade that changes a value did so itself; one that does not is passed.
    let n = db.create(Code::wasm(times(1)).unwrap().policy(kept())).unwrap();
    for factor in [2, 1, 3, 1] {
        upgrade(&db, n, &to(times(factor))).unwrap();
    }
    let blame = db.blame(n, "n").unwrap();
    assert_eq!((blame.entry.header.seq, blame.end), (3, TrailEnd::Changed));
    assert_eq!(blame.kept, [Kept::Upgrade { object: n, seq: 4 }]);
}

#[test]
fn an_upgrade_is_awaited_like_any_input() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&kept())).unwrap();
    let receipt = block_on(db.upgrade(id, &to(second(MOVE))).signed(&key(1)).into_future());
    assert_eq!(receipt.unwrap().header.kind, Kind::Upgrade);
}

#[test]
fn what_a_module_has_to_be_initialized_by_is_called_once_before_it_migrates() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ready = |body: &str| {
        module(
            "record before { n: u64 } record state { n: u64 } migrate: func(before: before);",
            "",
            &format!(
                r#"(global $ready (mut i64) (i64.const 0))
                   (func (export "_initialize")
                     (global.set $ready (i64.add (global.get $ready) (i64.const 100))))
                   (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                     (if (i64.eqz (global.get $ready)) (then (unreachable)))
                     (i32.const 8192))
                   (func (export "migrate") (param i32)
                     (i64.store (i32.const 4096)
                       (i64.add (global.get $ready) (i64.load (local.get 0)))) {body})"#
            ),
        )
    };
    let id = db.create(to_code(times(1))).unwrap();
    let before = db.snapshot(id).unwrap().get::<u64>("n").unwrap();
    let refused = upgrade(&db, id, &to(ready("unreachable")));
    check(refused, Reason::Trap, "unreachable");
    let receipt = upgrade(&db, id, &to(ready(""))).unwrap();
    assert_eq!((receipt.header.kind, receipt.header.instrumentation), (Kind::Upgrade, 2));
    assert_eq!(db.snapshot(id).unwrap().get("n"), Ok(before + 100));
    let receipt = upgrade(&db, id, &to(times(2))).unwrap();
    assert_eq!(receipt.header.instrumentation, 2);
    assert_eq!(db.snapshot(id).unwrap().get("n"), Ok(2 * (before + 100)));
    check_anywhere(&fixture, db, id);
}

fn to_code(wasm: Vec<u8>) -> continuant::Code {
    continuant::Code::wasm(wasm).unwrap().policy(kept())
}
