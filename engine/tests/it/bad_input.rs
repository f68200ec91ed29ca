//! Bad input is refused with an error that says why, and changes nothing.

use continuant::{Code, Database, Error, ErrorKind, args};
use expect_test::{Expect, expect};

use crate::objects::{Fixture, OPEN, counter_code, module};

#[track_caller]
fn check(result: Result<impl Sized, Error>, expected: Expect) {
    match result {
        Ok(_) => panic!("it was taken"),
        Err(error) => expected.assert_eq(&fill(&error.to_string())),
    }
}

/// The text in lines of at most 80 columns.
fn fill(text: &str) -> String {
    let (mut filled, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let fits = column + word.len() < 80;
        filled.push_str(if column == 0 {
            ""
        } else if fits {
            " "
        } else {
            "\n"
        });
        column = if fits { column + word.len() + 1 } else { word.len() + 1 };
        filled.push_str(word);
    }
    filled
}

fn create(db: &Database, wasm: &[u8], policy: &str) -> Result<continuant::ObjectId, Error> {
    db.create(Code::wasm(wasm)?.policy(policy))
}

#[test]
fn modules_that_cannot_be_objects() {
    let fixture = Fixture::new();
    let db = fixture.open();
    check(
        create(&db, b"not wasm", OPEN),
        expect![[r#"
        module: at offset 0 expected a WebAssembly module, found magic header not
        detected: bad magic number - expected=[ 0x0, 0x61, 0x73, 0x6d, ] actual=[ 0x6e,
        0x6f, 0x74, 0x20, ]"#]],
    );
    check(
        create(&db, &wat::parse_str("(module)").unwrap(), OPEN),
        expect![[r#"
        schema: expected an exported immutable i32 global `state` with a multiple of
        4096, found none"#]],
    );
    let unknown = module("record state { a: u64 }", r#"(import "env" "x" (func))"#, "");
    check(
        create(&db, &unknown, OPEN),
        expect![[r#"
            module: import env.x at byte 17: expected now, emit, send, wake or sleep of
            continuant, found env.x"#]],
    );
    let missing = module("record state { a: u64 } go: func();", "", "");
    check(
        create(&db, &missing, OPEN),
        expect!["module: go: expected [] -> [], found no such export"],
    );
    let mistyped = module(
        "record state { a: u64 } go: func(by: u64);",
        "",
        r#"(func (export "go") (param i32))"#,
    );
    check(
        create(&db, &mistyped, OPEN),
        expect!["module: go: expected [I64] -> [], found [I32] -> []"],
    );
    let stateless = module("record other { a: u64 }", "", "");
    check(
        create(&db, &stateless, OPEN),
        expect!["schema: 1:32: no record named state: an object needs one"],
    );
    let garbled = module("record state { a: u65 }", "", "");
    check(create(&db, &garbled, OPEN), expect!["schema: 1:59: type `u65` does not exist"]);
    let start = module("record state { a: u64 }", "", "(func $f (unreachable)) (start $f)");
    check(
        create(&db, &start, OPEN),
        expect![[r#"
        module: start: expected segments that fit and a start function that returns,
        found unreachable code reached"#]],
    );
    let endless = module("record state { a: u64 }", "", "(func $f (loop (br 0))) (start $f)");
    check(
        create(&db, &endless, OPEN),
        expect![[r#"
        module: start: expected segments that fit and a start function that returns,
        found out of fuel"#]],
    );
    assert_eq!(db.objects().count(), 0);
}

#[test]
fn a_method_with_arguments_in_memory_needs_an_export_that_makes_room() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let roomless = module(
        "record state { a: u64 } go: func(by: u8, to: option<tuple<u8, list<u8>>>);",
        "",
        r#"(func (export "go") (param i32 i32 i32 i32 i32))"#,
    );
    check(
        create(&db, &roomless, OPEN),
        expect![[r#"
            module: cabi_realloc: expected an export that allocates room for the parameter
            to of go, found no such export"#]],
    );
    let export = r#"(func (export "go") (param i32 i32))"#;
    for (schema, is_object) in [("a: u8, b: option<u8>", true), ("a: string", false)] {
        let schema = format!("record state {{ a: u64 }} go: func({schema});");
        let params = if is_object { "i32 i32 i32" } else { "i32 i32" };
        let export = export.replace("i32 i32", params);
        assert_eq!(create(&db, &module(&schema, "", &export), OPEN).is_ok(), is_object);
    }
}

#[test]
fn a_state_that_is_not_of_the_schema_is_no_object() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let schema = "record state { on: bool } set: func(to: u8);";
    let set = r#"(func (export "set") (param i32) (i32.store8 (i32.const 4096) (local.get 0)))"#;
    let id = create(&db, &module(schema, "", set), OPEN).unwrap();
    db.call(id, "set", args![1u8]).wait().unwrap();
    let error = db.call(id, "set", args![2u8]).wait();
    let error = error.map_err(|error| Error::from(error.kind().clone()));
    check(error, expect!["refused: state: state.on in memory: expected 0 or 1, found 0x2"]);
    assert_eq!(db.snapshot(id).unwrap().get::<bool>("on"), Ok(true));
}

#[test]
fn policies_that_do_not_hold() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let check = |policy: &str, expected: Expect| check(db.create(counter_code(policy)), expected);
    check("permit(principal, action, resource)", expect!["policy: 1:36: unexpected end of input"]);
    check(
        "permit(principal, action, resource);",
        expect![[r#"policy: 1:1: a rule without an id: put @id("some-name") before it"#]],
    );
    check(
        r#"@id("a") permit(principal, action, resource) when { context.before.nothing == 1 };"#,
        expect![[r#"
            policy: 1:53: for policy `a`, attribute `before.nothing` in context for
            Action::"add", Action::"advance", Action::"amend", Action::"deep",
            Action::"fail", Action::"grow", Action::"migrate", Action::"read",
            Action::"ring", Action::"spin", Action::"write" not found (did you mean
            `total`?)"#]],
    );
    assert_eq!(db.objects().count(), 0);
}

#[test]
fn without_a_policy_nothing_is_permitted() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code("")).unwrap();
    let error = db.call(id, "add", args![1u64]).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Refused { recorded: true, .. }), "{error}");
}

#[test]
fn directories_that_are_not_ours_or_are_in_use() {
    let fixture = Fixture::new();
    let path = fixture.directory.path().join("db");
    let db = fixture.open();
    let error = Database::open(&path).unwrap_err();
    let ErrorKind::Storage(error) = error.kind() else { panic!("{error}") };
    assert_eq!(error.kind(), &continuant::storage::ErrorKind::Locked);
    db.close().unwrap();
    drop(Database::open(&path).unwrap());
    let other = fixture.directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter.txt"), "dear").unwrap();
    let error = Database::open(&other).unwrap_err();
    let ErrorKind::Storage(error) = error.kind() else { panic!("{error}") };
    assert_eq!(error.kind(), &continuant::storage::ErrorKind::NotADatabase);
    assert!(other.join("letter.txt").exists());
}

#[test]
fn a_module_that_declares_more_memory_than_the_option_allows() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().memory_bytes_max(65_536));
    check(db.create(counter_code(OPEN)), expect!["memory_bytes_max: at most 65536, found 262144"]);
}

#[test]
fn a_module_that_declares_too_much_memory_is_not_run_at_all() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().memory_bytes_max(65_536));
    let endless = module("record state { a: u64 }", "", "(func $f (loop (br 0))) (start $f)");
    check(create(&db, &endless, OPEN), expect!["memory_bytes_max: at most 65536, found 262144"]);
}
