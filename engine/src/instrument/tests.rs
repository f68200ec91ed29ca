//! What is refused and in which words; that the pass is a function of its input.

use super::*;
use expect_test::{Expect, expect};

const MEMORY: &str = r#"(memory (export "memory") 1 4)"#;
const STATE: &str = r#"(global (export "state") i32 (i32.const 4096))"#;
const SCHEMA: &str = r#"(@custom "continuant:schema" "package a:b;")"#;

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is well-formed text")
}

fn whole(more: &str) -> String {
    format!("(module {SCHEMA} {MEMORY} {STATE} {more})")
}

/// Refuses each module, and compares the kinds and words of the refusals.
#[track_caller]
fn refuses(limits: &Limits, modules: &[String], expected: Expect) {
    refuses_by(|wasm| instrument(wasm, limits), modules, expected);
}

#[track_caller]
fn refuses_by(
    pass: impl Fn(&[u8]) -> Result<Instrumented, ModuleError>,
    modules: &[String],
    expected: Expect,
) {
    let mut refusals = String::new();
    for text in modules {
        let refusal = pass(&assemble(text)).expect_err("the module is refused");
        let words = refusal.to_string().replacen(": expected ", ":\n    expected ", 1);
        let words = words.replacen(", found ", ",\n    found ", 1);
        refusals += &format!("{:?}: {words}\n", refusal.kind());
    }
    expected.assert_eq(&refusals);
}

#[test]
fn what_a_module_says_of_itself_is_read() {
    let text = format!(
        r#"(module {SCHEMA}
        (import "continuant" "now" (func $now (result i64)))
        (memory (export "memory") 2 4)
        (global (export "state") i32 (i32.add (i32.const 4096) (i32.const 4096)))
        (global (export "__stack_pointer") (mut i32) (i32.const 8192))
        (global (mut f64) (f64.const 0))
        (data (i32.const 8192) "x")
        (func (export "cycle"))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) local.get 0)
        (func (export "fly") (param f32 i64) (result f64) f64.const 0)
        (export "clock" (func $now))
        (start 1))"#
    );
    let found = instrument(&assemble(&text), &Limits::default()).expect("the module is taken");
    let functions = found.functions.iter().map(|function| format!("{function:?}\n"));
    expect![[r#"
        FunctionExport { name: "cycle", params: [], results: [] }
        FunctionExport { name: "cabi_realloc", params: [I32, I32, I32, I32], results: [I32] }
        FunctionExport { name: "fly", params: [F32, I64], results: [F64] }
        FunctionExport { name: "clock", params: [], results: [I64] }
    "#]]
    .assert_eq(&functions.collect::<String>());
    let globals = [("continuant:global:0", CoreType::I32), ("continuant:global:1", CoreType::F64)];
    assert_eq!(found.globals, globals.map(|(name, ty)| (name.to_owned(), ty)));
    assert_eq!(found.schema_text, "package a:b;");
    assert_eq!((found.state_address, found.stack_top, found.memory_pages_max), (8192, 8192, 4));
    assert!(found.has_start && found.has_cycle && found.has_realloc);
}

#[test]
fn the_output_is_valid_and_depends_on_nothing_but_the_input() {
    let text = whole(
        r#"(func (export "f") (param i32 f32) (result f32)
            (i32.store offset=3 (local.get 0) (i32.const 1))
            (memory.fill (local.get 0) (i32.const 0) (i32.const 9))
            (if (memory.grow (i32.const 1)) (then (drop (call 0 (local.get 0) (local.get 1)))))
            (f32.add (local.get 1) (local.get 1)))
        (@producers (language "x" "1"))"#,
    );
    let wasm = assemble(&text);
    let first = instrument(&wasm, &Limits::default()).expect("the module is taken").wasm;
    let again = instrument(&wasm, &Limits::default()).expect("the module is taken").wasm;
    assert_eq!(first, again);
    let features = wasmparser::WasmFeatures::LIME1 | wasmparser::WasmFeatures::MULTI_MEMORY;
    let valid = wasmparser::Validator::new_with_features(features).validate_all(&first);
    valid.expect("the output is valid");
    for payload in wasmparser::Parser::new(0).parse_all(&first) {
        let payload = payload.expect("the output parses");
        assert!(!matches!(payload, wasmparser::Payload::CustomSection(_)), "no custom sections");
    }
    let hash = blake3::hash(&first).to_string();
    expect!["508a0204a25f5dd18094edb92a7bd0fbf0f2840b44b2a0cf667a933f69b5dba8"].assert_eq(&hash);
}

#[test]
fn an_instrumented_module_is_not_taken_again() {
    let once = instrument(&assemble(&whole("")), &Limits::default()).expect("taken").wasm;
    let refusal = instrument(&once, &Limits::default()).expect_err("twice").to_string();
    expect!["module at byte 33: expected valid WebAssembly, found multiple memories"]
        .assert_eq(&refusal);
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let component = instrument(b"\0asm\x0d\0\x01\0", &Limits::default()).expect_err("no module");
    assert_eq!(component.kind(), ModuleErrorKind::Feature, "{component}");
    for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01", &[0xFF; 64]] {
        let refusal = instrument(bytes, &Limits::default()).expect_err("no module");
        assert_eq!(refusal.kind(), ModuleErrorKind::Invalid, "{refusal}");
    }
}

#[test]
fn no_truncation_and_no_changed_byte_makes_it_panic() {
    let wasm = assemble(&whole(
        r#"(table 2 funcref) (elem (i32.const 0) func 0) (global (mut i64) (i64.const 7))
        (func (export "f") (param i32) (result i32)
            (i32.store (local.get 0) (i32.const 1))
            (block (br_table 0 0 (local.get 0)))
            (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))"#,
    ));
    for length in 0..wasm.len() {
        drop(instrument(&wasm[..length], &Limits::default()));
    }
    for index in 0..wasm.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut changed = wasm.clone();
            changed[index] ^= flip;
            drop(instrument(&changed, &Limits::default()));
        }
    }
}

#[test]
fn tables_may_not_change() {
    let set = "(func (table.set (i32.const 0) (ref.null func)))";
    let grow = "(func (drop (table.grow (ref.null func) (i32.const 1))))";
    refuses(
        &Limits::default(),
        &[set, grow].map(|change| whole(&format!("(table 1 funcref) {change}"))),
        expect![[r#"
            Feature: module at byte 66:
                expected WebAssembly of the Lime1 feature set,
                found reference types support is not enabled
            Feature: module at byte 64:
                expected WebAssembly of the Lime1 feature set,
                found reference types support is not enabled
        "#]],
    );
}

#[test]
fn features_beyond_lime1_are_refused() {
    let zeros = "(i64.const 0) ".repeat(4);
    refuses(
        &Limits::default(),
        &[
            whole("(func (result v128) (v128.const i64x2 0 0))"),
            whole("(func (return_call 0))"),
            whole("(func (drop (i32.atomic.load (i32.const 0))))"),
            whole("(tag)"),
            whole("(type (struct (field i32)))"),
            whole("(memory 1 1)"),
            whole(r#"(data "passive")"#),
            whole(r#"(data (i32.const 0) "x") (func (data.drop 0))"#),
            whole("(func) (elem func 0)"),
            whole("(func) (elem declare func 0)"),
            whole("(table 1 externref)"),
            whole("(table 1 funcref) (table 1 funcref)"),
            whole(&format!("(func (i64.add128 {zeros}) drop drop)")),
            whole("(global i32 (global.get 0))"),
        ],
        expect![[r#"
            Feature: module at byte 11:
                expected WebAssembly of the Lime1 feature set,
                found SIMD support is not enabled
            Feature: module at byte 58:
                expected WebAssembly of the Lime1 feature set,
                found tail calls support is not enabled
            Feature: module at byte 60:
                expected WebAssembly of the Lime1 feature set,
                found threads support is not enabled
            Feature: module at byte 22:
                expected WebAssembly of the Lime1 feature set,
                found exceptions proposal not enabled
            Feature: module at byte 11:
                expected WebAssembly of the Lime1 feature set,
                found struct indexed types not supported without the gc feature
            Invalid: module at byte 10:
                expected valid WebAssembly,
                found multiple memories
            Feature: module at byte 46:
                expected WebAssembly of the Lime1 feature set,
                found passive data segments require the bulk-memory proposal
            Invalid: module at byte 55:
                expected valid WebAssembly,
                found data count section requires the bulk-memory proposal
            Feature: module at byte 56:
                expected WebAssembly of the Lime1 feature set,
                found bulk memory must be enabled
            Feature: module at byte 56:
                expected WebAssembly of the Lime1 feature set,
                found bulk memory must be enabled
            Feature: module at byte 11:
                expected WebAssembly of the Lime1 feature set,
                found reference types support is not enabled
            Invalid: module at byte 10:
                expected valid WebAssembly,
                found multiple tables
            Feature: module at byte 66:
                expected WebAssembly of the Lime1 feature set,
                found wide arithmetic support is not enabled
            Feature: module at byte 25:
                expected WebAssembly of the Lime1 feature set,
                found constant expression required: global.get of locally defined global
        "#]],
    );
}

#[test]
fn the_memory_must_be_one_and_bounded() {
    let imported = format!(
        r#"(module {SCHEMA} (import "continuant" "memory" (memory 1 1)) {STATE}
        (export "memory" (memory 0)))"#
    );
    let with = |memory: &str| format!("(module {SCHEMA} {STATE} {memory})");
    refuses(
        &Limits::default(),
        &[
            with(""),
            with(r#"(memory (export "memory") 1)"#),
            with("(memory 1 1)"),
            with(r#"(memory 1 1) (func (export "memory"))"#),
            with(r#"(memory (export "memory") i64 1 1)"#),
            with(r#"(memory (export "memory") 1 1 shared)"#),
            with(r#"(memory (export "memory") 1 32769)"#),
            imported,
        ],
        expect![[r#"
            Memory: memory:
                expected one defined memory exported as memory,
                found none
            Memory: memory:
                expected a declared maximum (declare one: for example, link with --max-memory),
                found no maximum
            Memory: memory:
                expected one defined memory exported as memory,
                found a memory that is not exported
            Memory: memory:
                expected one defined memory exported as memory,
                found an export of that name that is not a memory
            Feature: module at byte 11:
                expected WebAssembly of the Lime1 feature set,
                found memory64 must be enabled for 64-bit memories
            Feature: module at byte 11:
                expected WebAssembly of the Lime1 feature set,
                found threads must be enabled for shared memories
            Limit: memory maximum in 64 KiB pages:
                expected at most 32768,
                found 32769
            Import: import continuant.memory at byte 11:
                expected now, emit, send, wake or sleep of continuant,
                found continuant.memory
        "#]],
    );
}

#[test]
fn only_the_functions_of_the_host_may_be_imported() {
    let with = |import: &str| format!("(module {SCHEMA} {import} {MEMORY} {STATE})");
    refuses(
        &Limits::default(),
        &[
            with(r#"(import "env" "now" (func (result i64)))"#),
            with(r#"(import "continuant" "random" (func))"#),
            with(r#"(import "continuant" "now" (func (result i32)))"#),
            with(r#"(import "continuant" "wake" (func (param i32)))"#),
            with(r#"(import "continuant" "sleep" (global i32))"#),
            with(r#"(import "continuant" "emit" (func (param i32 i32)))"#),
        ],
        expect![[r#"
            Import: import env.now at byte 18:
                expected now, emit, send, wake or sleep of continuant,
                found env.now
            Import: import continuant.random at byte 17:
                expected now, emit, send, wake or sleep of continuant,
                found continuant.random
            Import: import continuant.now at byte 18:
                expected func() -> (i64),
                found func() -> (i32)
            Import: import continuant.wake at byte 18:
                expected func(i64) -> (),
                found func(i32) -> ()
            Import: import continuant.sleep at byte 11:
                expected func() -> (),
                found an import that is not a function
            Import: import continuant.emit at byte 19:
                expected func(i32, i32, i32, i32) -> (),
                found func(i32, i32) -> ()
        "#]],
    );
}

#[test]
fn exports_must_be_of_their_types() {
    let with = |state: &str| format!("(module {SCHEMA} {MEMORY} {state})");
    refuses(
        &Limits::default(),
        &[
            with(""),
            with(r#"(func (export "state"))"#),
            with(r#"(global (export "state") (mut i32) (i32.const 0))"#),
            with(r#"(global (export "state") i64 (i64.const 0))"#),
            with(r#"(global (export "state") i32 (i32.const 4097))"#),
            with(r#"(global (export "state") i32 (i32.const 262144))"#),
            whole(r#"(func (export "cycle") (param i32))"#),
            whole(r#"(global (export "cycle") i32 (i32.const 0))"#),
            whole(r#"(func (export "cabi_realloc") (param i32) (result i32) local.get 0)"#),
            whole(r#"(func (export "continuant:fuel"))"#),
            whole(r#"(global (export "__stack_pointer") i32 (i32.const 0))"#),
            whole(r#"(func (export "__stack_pointer"))"#),
        ],
        expect![[r#"
            Export: export state:
                expected an immutable i32 global with a constant initialiser,
                found none
            Export: export state:
                expected an immutable i32 global with a constant initialiser,
                found an export that is not a global
            Export: export state:
                expected an immutable i32 global with a constant initialiser,
                found a mutable global
            Export: export state:
                expected an immutable i32 global with a constant initialiser,
                found a global of i64
            Export: export state:
                expected a multiple of 4096,
                found 4097
            Export: export state:
                expected an address within the memory's maximum,
                found 262144
            Export: export cycle:
                expected func() -> (),
                found func(i32) -> ()
            Export: export cycle:
                expected func() -> (),
                found an export that is not a function
            Export: export cabi_realloc:
                expected func(i32, i32, i32, i32) -> (i32),
                found func(i32) -> (i32)
            Export: export at byte 53:
                expected a name that does not start with continuant:,
                found continuant:fuel
            Export: export __stack_pointer:
                expected a mutable i32 global with a constant initialiser,
                found something else
            Export: export __stack_pointer:
                expected a mutable i32 global with a constant initialiser,
                found something else
        "#]],
    );
}

#[test]
fn data_may_not_lie_in_the_dead_stack() {
    let pointer = r#"(global (export "__stack_pointer") (mut i32) (i32.const 4096))"#;
    refuses(
        &Limits::default(),
        &[whole(&format!(r#"{pointer} (data (i32.const 4095) "x")"#))],
        expect![[r#"
            Data: data segment at byte 70:
                expected an address of at least 4096, the top of the stack,
                found 4095
        "#]],
    );
    let taken = |more: String| instrument(&assemble(&whole(&more)), &Limits::default());
    let top = |more: String| taken(more).expect("the module is taken").stack_top;
    assert_eq!(top(format!(r#"{pointer} (data (i32.const 4096) "x")"#)), 4096);
    assert_eq!(top(format!(r#"{pointer} (data (i32.const 0) "")"#)), 4096);
    let beyond = pointer.replace("4096", "8192");
    assert_eq!(top(format!(r#"{beyond} (data (i32.const 0) "x")"#)), 0);
}

#[test]
fn the_schema_must_be_there_once_as_text() {
    let with = |section: &str| format!("(module {MEMORY} {STATE} {section})");
    refuses(
        &Limits::default(),
        &[
            with(""),
            with(&format!("{SCHEMA} {SCHEMA}")),
            with(r#"(@custom "continuant:schema" "a\ff")"#),
            with(&format!(r#"{SCHEMA} (@custom "continuant:policy" "")"#)),
        ],
        expect![[r#"
            Section: custom section continuant:schema:
                expected WIT text,
                found no such section
            Section: custom section continuant:schema at byte 95:
                expected one such section,
                found another one
            Section: custom section continuant:schema at byte 64:
                expected UTF-8 text,
                found other bytes
            Section: custom section at byte 95:
                expected continuant:schema, the only section of that prefix,
                found continuant:policy
        "#]],
    );
}

#[test]
fn every_limit_has_its_own_refusal() {
    let limits = Limits {
        module_bytes_max: 400,
        schema_bytes_max: 12,
        functions_max: 2,
        function_bytes_max: 40,
        locals_max: 4,
        blocks_max: 2,
        loop_nesting_max: 1,
        merges_max: 5,
        globals_max: 2,
        table_elements_max: 8,
        memory_pages_max: 4,
    };
    let taken = "(func (param i32) (local i32 i32 i32) block end) (func) (table 8 funcref)
        (global i32 (i32.const 0))";
    instrument(&assemble(&whole(taken)), &limits).expect("exactly at the limits");
    refuses(
        &limits,
        &[
            whole(&format!("(@custom \"x\" \"{}\")", "x".repeat(400))),
            whole("").replace("a:b", "a:bc"),
            whole("(func) (func) (func)"),
            whole(&format!("(func {})", "nop ".repeat(40))),
            whole("(func (param i32) (local i32 i32 i32 i32))"),
            whole("(global i32 (i32.const 0)) (global i32 (i32.const 0))"),
            whole("(func block block block end end end)"),
            whole("(func loop loop end end)"),
            whole("(func (local i32 i32 i32) block end block end)"),
            whole("(table 9 funcref)"),
            whole("").replace("1 4", "1 5"),
        ],
        expect![[r#"
            Limit: module bytes:
                expected at most 400,
                found 480
            Limit: schema bytes:
                expected at most 12,
                found 13
            Limit: functions:
                expected at most 2,
                found 3
            Limit: function bytes at byte 57:
                expected at most 40,
                found 42
            Limit: locals at byte 58:
                expected at most 4,
                found 5
            Limit: globals:
                expected at most 2,
                found 3
            Limit: blocks at byte 57:
                expected at most 2,
                found 3
            Limit: nesting of loops at byte 57:
                expected at most 1,
                found 2
            Limit: blocks times locals at byte 57:
                expected at most 5,
                found 6
            Limit: table elements:
                expected at most 8,
                found 9
            Limit: memory maximum in 64 KiB pages:
                expected at most 4,
                found 5
        "#]],
    );
}

#[test]
fn a_frame_must_fit_in_the_stack_budget() {
    let limits = Limits { function_bytes_max: u32::MAX, ..Limits::default() };
    let long = whole(&format!("(func {})", "nop ".repeat(600_000)));
    refuses(
        &limits,
        &[long],
        expect![[r#"
            Limit: stack units of a frame at byte 61:
                expected at most 1048576,
                found 1200066
        "#]],
    );
}

const ADMIT: &str = r#"(func (export "admit") (result i32) (i32.const 0))"#;
const VALUE: &str =
    r#"(import "continuant" "value" (func $value (param i32 i32 i32 i32) (result i32)))"#;

#[test]
fn a_guard_has_an_abi_of_its_own() {
    let text = format!(
        r#"(module {VALUE} (memory (export "memory") 1 16) (table 2 2 funcref)
        (elem (i32.const 1) func 0) (data (i32.const 65532) "time") (global (mut i64) (i64.const 7))
        {ADMIT})"#
    );
    let found = instrument_guard(&assemble(&text)).expect("the guard is taken");
    assert_eq!((found.memory_pages_max, found.stack_top, found.has_start), (16, 0, false));
    let again = instrument_guard(&assemble(&text)).expect("the guard is taken");
    assert_eq!(found, again);
    let hash = blake3::hash(&found.wasm).to_string();
    expect!["e156b93cacfc882394edb6f1ebe0c0aa24ead72d14a4fb44684981f80b1bec2b"].assert_eq(&hash);
    // No module is both.
    instrument(&assemble(&text), &Limits::default()).expect_err("it has no schema");
}

#[test]
fn a_guard_asks_and_answers_and_does_nothing_else() {
    let guard = |more: &str| format!("(module {more} {MEMORY} {ADMIT})");
    let modules = [
        whole(ADMIT),
        guard(SCHEMA),
        guard(r#"(import "continuant" "now" (func (result i64)))"#),
        guard(r#"(import "continuant" "value" (func (param i32 i32) (result i32)))"#),
        guard(r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#),
        format!("(module {VALUE} {MEMORY})"),
        format!(r#"(module {MEMORY} (func (export "admit") (result i64) (i64.const 0)))"#),
        guard(r#"(global (export "continuant:fuel") i32 (i32.const 0))"#),
    ];
    refuses_by(
        instrument_guard,
        &modules,
        expect![[r#"
            Section: custom section continuant:schema at byte 90:
                expected a guard, which has no schema,
                found the code of an object
            Section: custom section continuant:schema at byte 73:
                expected a guard, which has no schema,
                found the code of an object
            Import: import continuant.now at byte 22:
                expected value of continuant,
                found continuant.now
            Import: import continuant.value at byte 24:
                expected func(i32, i32, i32, i32) -> (i32),
                found func(i32, i32) -> (i32)
            Import: import wasi_snapshot_preview1.fd_write at byte 21:
                expected value of continuant,
                found wasi_snapshot_preview1.fd_write
            Export: export admit:
                expected func() -> (i32),
                found no such export
            Export: export admit:
                expected func() -> (i32),
                found func() -> (i64)
            Export: export at byte 36:
                expected a name that does not start with continuant:,
                found continuant:fuel
        "#]],
    );
}

#[test]
fn nothing_of_a_guard_can_go_wrong_before_it_is_asked() {
    let guard = |more: &str| format!("(module {more} {MEMORY} {ADMIT})");
    let modules = [
        format!("(module {ADMIT})"),
        format!(r#"(module (memory (export "memory") 1) {ADMIT})"#),
        format!(r#"(module (memory (export "memory") 1 17) {ADMIT})"#),
        format!(r#"(module (memory 1 1) {ADMIT})"#),
        guard("(func) (start 0)"),
        guard(r#"(data (i32.const 65536) "x")"#),
        guard(r#"(data (i32.const -1) "x")"#),
        guard("(table 2 funcref) (elem (i32.const 2) func 0)"),
    ];
    refuses_by(
        instrument_guard,
        &modules,
        expect![[r#"
            Memory: memory:
                expected one defined memory exported as memory,
                found none
            Memory: memory:
                expected a declared maximum (declare one: for example, link with --max-memory),
                found no maximum
            Limit: memory maximum in 64 KiB pages:
                expected at most 16,
                found 17
            Memory: memory:
                expected one defined memory exported as memory,
                found a memory that is not exported
            Start: start:
                expected no start function,
                found one
            Start: data segment:
                expected an end of at most 65536,
                found 65537
            Start: data segment:
                expected an end of at most 65536,
                found 4294967296
            Start: element segment:
                expected an end of at most 2,
                found 3
        "#]],
    );
}

#[test]
fn a_guard_is_short_and_has_imports_of_its_own() {
    let guard = |bytes: usize| {
        let data = format!(r#"(data (i32.const 0) "{}")"#, "x".repeat(bytes));
        format!("(module {MEMORY} {ADMIT} {data})")
    };
    instrument_guard(&assemble(&guard(65_000))).expect("it is short enough");
    let refusal = instrument_guard(&assemble(&guard(65_536))).expect_err("it is too long");
    assert_eq!(refusal.kind(), ModuleErrorKind::Limit, "{refusal}");
    let object = format!("(module {SCHEMA} {VALUE} {MEMORY} {STATE})");
    let refusal = instrument(&assemble(&object), &Limits::default()).expect_err("not an object's");
    assert_eq!(refusal.kind(), ModuleErrorKind::Import, "{refusal}");
}

#[test]
fn no_changed_byte_of_a_guard_makes_it_panic() {
    let wasm = assemble(&format!(
        r#"(module {VALUE} {MEMORY} (table 2 2 funcref) (elem (i32.const 1) func 0)
        (data (i32.const 65532) "time") {ADMIT})"#
    ));
    for length in 0..wasm.len() {
        drop(instrument_guard(&wasm[..length]));
    }
    for index in 0..wasm.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut changed = wasm.clone();
            changed[index] ^= flip;
            drop(instrument_guard(&changed));
        }
    }
}
