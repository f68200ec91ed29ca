//! Steps: the effects of a call, and none of a call that is refused, traps or runs out.

use continuant::{Code, Database, ErrorKind, Kind, ObjectId, Reason, Value, args};

use crate::objects::{Fixture, OPEN, START, block_on, counter_code, labelled, module};

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

#[track_caller]
fn check_refused(db: &Database, id: ObjectId, method: &str, reason: Reason) {
    let before = db.snapshot(id).unwrap();
    let error = db.call(id, method, args![]).wait().unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(reason), "{error}");
    let after = db.snapshot(id).unwrap();
    assert_eq!(before.header(), after.header());
    assert_eq!(before.memory_bytes(), after.memory_bytes());
}

#[test]
fn a_call_makes_a_version_that_any_reader_sees() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let receipt = db.call(id, "add", args![227u32]).wait().unwrap();
    assert_eq!(receipt.result, Some(Value::from(227u64)));
    assert_eq!((receipt.header.seq, receipt.header.kind), (1, Kind::Call));
    assert_eq!(receipt.rules, ["open"]);
    let snapshot = db.snapshot(id).unwrap();
    assert_eq!((snapshot.get("total"), snapshot.get("last")), (Ok(227_u64), Ok(START)));
    assert_eq!(snapshot.hash(), receipt.version);
    let root = object_root(&snapshot.memory_bytes());
    assert_eq!(snapshot.header().memory_root, root, "the root is the plain hash of the image");
}

fn object_root(memory: &[u8]) -> continuant::object::hash::MemoryRoot {
    continuant::object::hash::MemoryRoot::of(memory)
}

#[test]
fn a_step_that_traps_loops_or_recurses_changes_nothing_and_is_on_record() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    check_refused(&db, id, "fail", Reason::Trap);
    check_refused(&db, id, "spin", Reason::OutOfFuel);
    check_refused(&db, id, "deep", Reason::StackExhausted);
    db.call(id, "add", args![1u64]).wait().unwrap();
    assert_eq!(total(&db, id), 2);
    let refused = db.history(id).refused();
    let seqs = refused.map(|entry| match entry.unwrap() {
        continuant::Entry::Refusal(entry) => entry.refusal.seq,
        other => panic!("{other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn memory_grows_up_to_the_declared_maximum_and_no_further() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let grown = db.call(id, "grow", args![2u32]).wait().unwrap();
    assert_eq!(grown.result, Some(Value::from(1_i32)));
    assert_eq!(grown.header.memory_bytes, 3 * 65_536);
    let refused = db.call(id, "grow", args![2u32]).wait().unwrap();
    assert_eq!(refused.result, Some(Value::from(-1_i32)), "beyond the maximum the guest sees -1");
    assert_eq!(refused.header.memory_bytes, 3 * 65_536);
    let other = db.create(counter_code(OPEN)).unwrap();
    db.call(other, "add", args![3u64]).wait().unwrap();
    assert_eq!((total(&db, other), total(&db, id)), (3, 5), "slots do not leak between objects");
    let memory = db.snapshot(id).unwrap().memory_bytes();
    assert_eq!(db.snapshot(id).unwrap().header().memory_root, object_root(&memory));
}

#[test]
fn strings_go_in_and_come_out() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = continuant::Code::wasm(labelled()).unwrap().policy(OPEN);
    let id = db.create(code.args(args!["Éowyn"])).unwrap();
    assert_eq!(db.snapshot(id).unwrap().value("owner").unwrap(), Value::from("Éowyn"));
    db.call(id, "rename", args!["Faramir of Ithilien"]).wait().unwrap();
    let receipt = db.call(id, "count", args![]).wait().unwrap();
    assert_eq!(receipt.result, Some(Value::from("Faramir of Ithilien")));
    assert_eq!(db.at(id, 0).unwrap().value("owner").unwrap(), Value::from("Éowyn"));
}

#[test]
fn fields_are_written_directly_under_the_policy() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = continuant::Code::wasm(labelled()).unwrap();
    let policy = r#"@id("small") permit(principal, action == Action::"write", resource)
        when { context.after.count <= 10 };"#;
    let id = db.create(code.policy(policy).args(args!["a"])).unwrap();
    let mood = Value::from(Some(3u8));
    db.write(id, vec![("count", Value::from(7u32)), ("mood", mood.clone())]).wait().unwrap();
    let snapshot = db.snapshot(id).unwrap();
    assert_eq!((snapshot.get("count"), snapshot.value("mood")), (Ok(7_u32), Ok(mood)));
    let refused = db.write(id, vec![("count", Value::from(11u32))]).wait().unwrap_err();
    assert_eq!(refused.refusal().unwrap().reason, Reason::NotPermitted);
    let text = db.write(id, vec![("owner", Value::from("b"))]).wait().unwrap_err();
    assert!(text.to_string().contains("method"), "{text}");
    assert_eq!(db.snapshot(id).unwrap().get::<u32>("count"), Ok(7));
    db.verify(id, continuant::Replay::Yes).unwrap();
}

#[test]
fn unknown_objects_methods_and_arguments_are_the_callers_errors() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let stranger = "11".repeat(32).parse().unwrap();
    let error = db.call(stranger, "add", args![1u64]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoObject), "{error}");
    for (method, arguments) in
        [("subtract", args![1u64]), ("add", args![]), ("add", args![-1i64]), ("add", args!["1"])]
    {
        let error = db.call(id, method, arguments).wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Object(_)), "{method}: {error}");
    }
    assert_eq!(db.history(id).count(), 1, "nothing of that is on record");
}

#[test]
fn a_full_mailbox_turns_callers_away() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(1).mailbox_max(4));
    let id = db.create(counter_code(OPEN)).unwrap();
    let mut pending = vec![db.call(id, "spin", args![]).submit().unwrap()];
    let full = loop {
        match db.call(id, "add", args![1u64]).submit() {
            Ok(more) => pending.push(more),
            Err(error) => break error,
        }
        assert!(pending.len() < 100_000, "the mailbox never filled");
    };
    assert!(matches!(full.kind(), ErrorKind::MailboxFull { max: 4 }), "{full}");
    let admitted = pending.into_iter().filter_map(|pending| pending.wait().ok()).count();
    assert_eq!(total(&db, id), admitted as u64, "those that were taken were worked through");
}

#[test]
fn a_call_can_be_awaited_on_any_executor() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let receipt = block_on(async {
        db.call(id, "add", args![1u64]).await?;
        db.call(id, "add", args![1u64]).await
    });
    assert_eq!(receipt.unwrap().header.seq, 2);
}

/// Bytes that a refused step writes to memory that it grew are in no object of the same code.
#[test]
fn a_refused_step_that_grew_memory_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(1));
    let module = module(
        "record state { total: u64 } grow: func(); touch: func(); spoil: func();",
        "",
        r#"(func (export "grow") (drop (memory.grow (i32.const 1))))
           (func (export "touch") (i64.store (i32.const 4096) (i64.const 1)))
           (func (export "spoil")
             (drop (memory.grow (i32.const 1)))
             (i64.store (i32.const 81920) (i64.const -1)))"#,
    );
    let policy = r#"@id("unspoilt") permit(principal, action, resource)
        unless { action == Action::"spoil" };"#;
    let create = || db.create(Code::wasm(module.clone()).unwrap().policy(policy)).unwrap();
    let (small, grown) = (create(), create());
    db.call(grown, "grow", args![]).wait().unwrap();
    let refused = db.call(small, "spoil", args![]).wait().unwrap_err();
    assert_eq!(refused.refusal().unwrap().reason, Reason::NotPermitted);
    db.call(grown, "touch", args![]).wait().unwrap();
    db.verify(grown, continuant::Replay::Yes).unwrap();
    let changed = db.snapshot(grown).unwrap();
    let changed: Vec<u32> = changed.image().changed_pages().iter().map(|page| page.0).collect();
    assert_eq!(changed, [1]);
}

/// A word that is nowhere in memory until `set(skip, bytes)` puts that much of it at 8190, across
/// the edge of a page.
fn set_from_a_passive_segment() -> Vec<u8> {
    module(
        "record state { at: u32, bytes: u32 } set: func(skip: u32, bytes: u32);",
        "",
        r#"(data $word "Lothlorien")
           (func (export "set") (param i32 i32)
             (memory.init $word (i32.const 8190) (local.get 0) (local.get 1))
             (i32.store (i32.const 4100) (local.get 1)))"#,
    )
}

#[test]
fn a_passive_segment_comes_to_memory_when_it_is_asked_for() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = Code::wasm(set_from_a_passive_segment()).unwrap().policy(OPEN);
    let (one, other) = (db.create(code.clone()).unwrap(), db.create(code).unwrap());
    let set = |id, skip: u32, bytes: u32| db.call(id, "set", args![skip, bytes]).wait();
    let receipt = set(one, 4, 6).unwrap();
    // The changed pages: the two pages of the data, one of which has the state.
    assert_eq!(receipt.header.page_count, 2);
    let memory = |id| db.snapshot(id).unwrap().memory_bytes();
    assert_eq!(&memory(one)[8190..8197], b"lorien\0");
    assert_eq!(&memory(other)[8190..8197], [0; 7]);
    // A write beyond the segment traps, and leaves nothing.
    for (skip, bytes) in [(4, 7), (11, 0), (u32::MAX, 1)] {
        let error = set(other, skip, bytes).unwrap_err();
        assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(Reason::Trap), "{error}");
        assert_eq!(&memory(other)[8190..8197], [0; 7]);
    }
    // Fuel for its bytes is taken before it is looked where they are.
    let error = set(other, 0, 0x8000_0000).unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(Reason::OutOfFuel), "{error}");
    set(other, 10, 0).unwrap();
    set(other, 0, 10).unwrap();
    assert_eq!(&memory(other)[8190..8200], b"Lothlorien");
    for id in [one, other] {
        check_whole(&db, id);
    }
}

/// Checks that the lineage verifies and replays, and that the root is that of the whole memory.
fn check_whole(db: &Database, id: ObjectId) {
    db.verify(id, continuant::Replay::Yes).unwrap();
    let newest = db.snapshot(id).unwrap();
    assert_eq!(newest.header().memory_root, object_root(&newest.memory_bytes()));
}

/// `a: u64`, which `_initialize` adds 41 to, and `create`, if there is one, this; `go()` adds 1.
fn initialized(create: &str) -> Vec<u8> {
    let method = if create.is_empty() { "" } else { "create: func();" };
    module(
        &format!("record state {{ a: u64 }} {method} go: func() -> u64;"),
        r#"(import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))"#,
        &format!(
            r#"(data (i32.const 8192) "ready")
               (global $times (mut i32) (i32.const 0))
               (func $add (param i64)
                 (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get 0))))
               (func (export "_initialize")
                 (global.set $times (i32.add (global.get $times) (i32.const 1)))
                 (if (i32.ne (global.get $times) (i32.const 1)) (then (unreachable)))
                 (call $emit (i32.const 8192) (i32.const 5) (i32.const 0) (i32.const 0))
                 (call $add (i64.const 41)))
               {create}
               (func (export "go") (result i64)
                 (call $add (i64.const 1))
                 (i64.load (i32.const 4096)))"#
        ),
    )
}

/// Regression: the initializer that a toolchain relies on was never called.
#[test]
fn what_a_module_has_to_be_initialized_by_is_called_once_with_the_creation() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let with_create = r#"(func (export "create") (call $add (i64.const 1000)))"#;
    for (create, first) in [("", 41u64), (with_create, 1041)] {
        let id = db.create(Code::wasm(initialized(create)).unwrap().policy(OPEN)).unwrap();
        let genesis = db.at(id, 0).unwrap();
        assert_eq!(genesis.get("a"), Ok(first));
        assert_eq!(genesis.header().instrumentation, 2);
        assert!(genesis.header().fuel > 0);
        for more in 1..3 {
            let receipt = db.call(id, "go", args![]).wait().unwrap();
            assert_eq!(receipt.result, Some(Value::from(first + more)));
            assert_eq!(receipt.header.instrumentation, 2);
        }
        let outputs = db.history(id).map(|entry| match entry.unwrap() {
            continuant::Entry::Version(version) => version.payloads.unwrap().effects.outputs.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(outputs.sum::<usize>(), 1);
        check_whole(&db, id);
        // A fork begins as what was initialized, and is not again.
        let fork = db.fork(id, 1, None).unwrap();
        let receipt = db.call(fork, "go", args![]).wait().unwrap();
        assert_eq!(receipt.result, Some(Value::from(first + 2)));
        check_whole(&db, fork);
    }
    let spins = module(
        "record state { a: u64 } go: func();",
        "",
        r#"(func (export "_initialize") (loop (br 0))) (func (export "go"))"#,
    );
    let error = db.create(Code::wasm(spins).unwrap().policy(OPEN)).unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(Reason::OutOfFuel), "{error}");
}
