//! The limits that a database sets for its objects and callers, below those of the formats.
//!
//! Other limits are elsewhere: of mailboxes in `steps`, of transactions and messages in
//! `transactions` and `messages`, of refusals in `lineage`, of memories in `bad_input` and
//! `lineage`, and of resident objects in `metrics` and `history`.

use continuant::{Code, Database, ErrorKind, ObjectId, Options, Reason, Replay, Value, args};

use crate::objects::{self, Fixture, OPEN};

/// Creates an object: `emit(count, bytes)` makes `count` outputs of `bytes` bytes each, and
/// `send(count, bytes)` sends such messages to nobody; `spin(rounds)` uses fuel; `long(bytes)`
/// returns a long result; `take(text)` takes a text.
fn glutton(db: &Database) -> ObjectId {
    let module = objects::module(
        "record state { told: u32 }
         emit: func(count: u32, bytes: u32); send: func(count: u32, bytes: u32);
         spin: func(rounds: u32); long: func(bytes: u32) -> string; take: func(text: string);",
        r#"(import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))
           (import "continuant" "send" (func $send (param i32 i32 i32 i32 i32)))"#,
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
           (func (export "emit") (param i32 i32)
             (loop
               (call $emit (i32.const 8192) (i32.const 1) (i32.const 8192) (local.get 1))
               (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
               (br_if 0 (local.get 0))))
           (func (export "send") (param i32 i32)
             (loop
               (call $send (i32.const 8192) (i32.const 8192) (i32.const 1) (i32.const 8192)
                 (local.get 1))
               (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
               (br_if 0 (local.get 0))))
           (func (export "spin") (param i32)
             (loop
               (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
               (br_if 0 (local.get 0))))
           (func (export "long") (param i32) (result i32)
             (i32.store (i32.const 4104) (i32.const 16384))
             (i32.store (i32.const 4108) (local.get 0))
             (i32.const 4104))
           (func (export "take") (param i32 i32)
             (i32.store (i32.const 4096) (local.get 1)))
           (data (i32.const 8192) "o")"#,
    );
    db.create(Code::wasm(module).unwrap().policy(OPEN)).unwrap()
}

/// The method of calls, and the arguments of one within a limit and of one beyond it.
type Calls = (&'static str, [u32; 2], [u32; 2]);

/// A step beyond the limit is refused, on record, with these words; one within it is not.
#[track_caller]
fn check(limited: fn(Options) -> Options, (method, within, beyond): Calls, words: &str) {
    let fixture = Fixture::new();
    let db = fixture.open_with(limited(fixture.options()));
    let id = glutton(&db);
    let arguments = |of: [u32; 2]| match method {
        "spin" | "long" => args![of[0]],
        _ => args![of[0], of[1]],
    };
    db.call(id, method, arguments(within)).wait().unwrap();
    let refused = db.call(id, method, arguments(beyond)).wait().unwrap_err();
    let verdict = refused.refusal().unwrap();
    assert_eq!(verdict.detail, format!("a limit of the host: {words}"));
    assert_eq!(db.info(id).unwrap().refusal_count, 1, "it is on record");
    let dry = db.call(id, method, arguments(beyond)).dry_run().unwrap();
    assert_eq!(dry.verdict.as_ref().unwrap_err(), verdict, "and so is a dry run's");
    db.verify(id, Replay::Yes).unwrap();
    db.close().unwrap();

    // Another host opens it, and relies on the record of the first host.
    let db = fixture.open();
    let told = db.explain_refusal(id, 1).unwrap();
    assert_eq!(told.verdict.unwrap_err(), *verdict);
    db.call(id, method, arguments(beyond)).wait().unwrap();
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_step_has_the_fuel_that_the_host_gives_it() {
    check(|it| it.fuel_max(100_000), ("spin", [100, 0], [100_000, 0]), "fuel_max is 100000");
}

#[test]
fn a_step_has_as_many_outputs_as_the_host_takes() {
    check(|it| it.outputs_max(3), ("emit", [3, 1], [4, 1]), "outputs_max is 3");
}

#[test]
fn a_steps_effects_have_as_many_bytes_as_the_host_takes() {
    let limited = |it: Options| it.effects_bytes_max(100);
    check(limited, ("emit", [2, 49], [2, 50]), "effects_bytes_max is 100");
    check(limited, ("send", [2, 49], [2, 50]), "effects_bytes_max is 100");
    // A text is its length and its bytes.
    check(limited, ("long", [96, 0], [97, 0]), "effects_bytes_max is 100");
}

#[test]
fn options_do_not_widen_what_the_formats_allow() {
    let fixture = Fixture::new();
    let all = fixture.options().fuel_max(u64::MAX).outputs_max(usize::MAX);
    let db = fixture.open_with(all.effects_bytes_max(usize::MAX).payload_bytes_max(usize::MAX));
    let id = glutton(&db);
    let refused = |method, arguments| {
        let refused = db.call(id, method, arguments).wait().unwrap_err();
        refused.refusal().unwrap().clone()
    };
    assert_eq!(refused("spin", args![0u32]).reason, Reason::OutOfFuel);
    assert_eq!(refused("spin", args![0u32]).detail, "out of fuel");
    let outputs = refused("emit", args![1025u32, 0u32]);
    assert_eq!(outputs.detail, "host call refused: more outputs than a step may have");
    let error = db.call(id, "take", args!["x".repeat(1 << 20)]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
}

#[test]
fn callers_hand_in_as_many_bytes_as_the_database_takes() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().payload_bytes_max(100));
    let id = glutton(&db);
    // A text is its length and its bytes.
    db.call(id, "take", args!["x".repeat(96)]).wait().unwrap();
    let check = |error: continuant::Error| {
        let expected = ErrorKind::Limit { what: "payload_bytes_max", max: 100, found: 101 };
        assert_eq!(format!("{:?}", error.kind()), format!("{expected:?}"));
    };
    let long = || args!["x".repeat(97)];
    check(db.call(id, "take", long()).wait().unwrap_err());
    check(db.call(id, "take", long()).dry_run().unwrap_err());
    let both = [db.call(id, "take", args!["x"]), db.call(glutton(&db), "take", long())];
    check(db.transaction(both).wait().unwrap_err());
    let labelled = Code::wasm(objects::labelled()).unwrap().policy(OPEN).args(long());
    check(db.create(labelled).unwrap_err());
    db.write(id, vec![("told", Value::from(7u32))]).wait().unwrap();
    assert_eq!(db.snapshot(id).unwrap().get::<u32>("told"), Ok(7));
    assert_eq!(db.info(id).unwrap().refusal_count, 0, "nothing of that is on record");
}
