//! Refused modules, with the words; and that the pass is a function of its input.

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
        refusals += &wrapped(&format!("{:?}: {words}\n", refusal.kind()));
    }
    expected.assert_eq(&refusals);
}

/// The same words in lines that fit a screen.
fn wrapped(text: &str) -> String {
    let mut all = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > 80 {
            let at = rest[..80].rfind(' ').expect("no word is that long");
            all += &format!("{}\n        ", &rest[..at]);
            rest = &rest[at + 1..];
        }
        all += &format!("{rest}\n");
    }
    all
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
    assert!(found.has_start && found.has_cycle && found.has_realloc && !found.has_initialize);
    let initialize = |ty: &str| {
        let text = whole(&format!(r#"(func (export "_initialize") {ty} unreachable)"#));
        instrument(&assemble(&text), &Limits::default()).expect("it is taken").has_initialize
    };
    assert!(initialize(""));
    assert!(!initialize("(param i32)") && !initialize("(result i32)"));
}

/// A module with the section that says how many data segments there are, which the text format has
/// no way to ask for where no code needs it.
fn counted(text: &str) -> Vec<u8> {
    let wasm = assemble(text);
    let sections = wasmparser::Parser::new(0).parse_all(&wasm).filter_map(|payload| {
        let payload = payload.expect("the text is a module");
        let count = match &payload {
            wasmparser::Payload::DataSection(section) => section.count(),
            _ => 0,
        };
        payload.as_section().map(|(id, range)| (id, range, count))
    });
    let sections: Vec<_> = sections.collect();
    let count = sections.iter().map(|(_, _, count)| *count).sum();
    let mut counted = wasm_encoder::Module::new();
    let behind = sections.iter().position(|(id, ..)| [10, 11].contains(id));
    for (place, (id, range, _)) in sections.iter().enumerate() {
        if Some(place) == behind {
            counted.section(&wasm_encoder::DataCountSection { count });
        }
        let data = &wasm[range.start as usize..range.end as usize];
        counted.section(&wasm_encoder::RawSection { id: *id, data });
    }
    counted.finish()
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

/// Regression: compilers write such a count unasked, and modules with one were called invalid.
#[test]
fn a_count_of_the_data_segments_says_nothing() {
    let text = whole(
        r#"(func (export "f") (memory.copy (i32.const 0) (i32.const 8) (i32.const 8)))
        (data (i32.const 8) "x")"#,
    );
    let (wasm, with_count) = (assemble(&text), counted(&text));
    assert_ne!(wasm, with_count);
    let pass = |wasm: &[u8]| instrument(wasm, &Limits::default()).expect("the module is taken");
    assert_eq!(pass(&with_count), pass(&wasm));
}

#[test]
fn passive_segments_are_put_into_memory_by_functions_of_the_pass() {
    let text = whole(
        r#"(data "nobody") (data $b "bcd") (data $a "a")
        (func (export "f") (param i32)
            (memory.init $a (local.get 0) (i32.const 0) (i32.const 1))
            (memory.init $b (local.get 0) (i32.const 0) (i32.const 3))
            (memory.init $a (local.get 0) (i32.const 0) (i32.const 1)))"#,
    );
    let found = instrument(&assemble(&text), &Limits::default()).expect("the module is taken");
    let features = wasmparser::WasmFeatures::LIME1
        | wasmparser::WasmFeatures::MULTI_MEMORY
        | wasmparser::WasmFeatures::BULK_MEMORY;
    let valid = wasmparser::Validator::new_with_features(features).validate_all(&found.wasm);
    valid.expect("the output is valid");
    let (mut functions, mut segments) = (0, Vec::new());
    for payload in wasmparser::Parser::new(0).parse_all(&found.wasm) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload.expect("the output parses") {
            functions += 1;
            let operators = body.get_operators_reader().expect("the output parses");
            segments.extend(operators.into_iter().filter_map(|operator| {
                match operator.expect("the output parses") {
                    wasmparser::Operator::MemoryInit { data_index, .. } => {
                        Some((functions, data_index))
                    }
                    _ => None,
                }
            }));
        }
    }
    // The guest's function, those around copy, fill and grow, and one for each segment.
    assert_eq!((functions, segments), (6, vec![(5, 1), (6, 2)]));
    let refusal = instrument(&found.wasm, &Limits::default()).expect_err("twice");
    assert_eq!(refusal.kind(), ModuleErrorKind::Feature, "{refusal}");
    let guard = format!("(module {MEMORY} {ADMIT} (data \"x\"))");
    refuses_by(
        instrument_guard,
        &[guard],
        expect![[r#"
            Feature: module:
                expected a guard, which has no data count and no passive segments (asc
                    --disable bulk-memory; wasm-opt --disable-bulk-memory; compile with
                    -mno-bulk-memory),
                found a passive segment
        "#]],
    );
    let refusal = instrument_guard(&counted(&format!("(module {MEMORY} {ADMIT})")));
    assert_eq!(refusal.expect_err("it has a count").found(), "a data count");
}

#[test]
fn an_instrumented_module_is_not_taken_again() {
    let once = instrument(&assemble(&whole("")), &Limits::default()).expect("taken").wasm;
    let refusal = instrument(&once, &Limits::default()).expect_err("twice");
    assert_eq!(refusal.kind(), ModuleErrorKind::Feature, "{refusal}");
    assert_eq!((refusal.offset(), refusal.found()), (Some(33), "multiple memories"));
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
                expected WebAssembly without reference types (compile with
                    -mno-reference-types; Rust -C target-feature=-reference-types; asc --disable
                    reference-types),
                found reference types support is not enabled
            Feature: module at byte 64:
                expected WebAssembly without reference types (compile with
                    -mno-reference-types; Rust -C target-feature=-reference-types; asc --disable
                    reference-types),
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
            whole("(func (throw_ref (ref.null exn)))"),
            whole("(type (struct (field i32)))"),
            whole("(memory 1 1)"),
            whole("(table 1 externref)"),
            whole("(table 1 funcref) (table 1 funcref)"),
            whole(&format!("(func (i64.add128 {zeros}) drop drop)")),
            whole("(global i32 (global.get 0))"),
        ],
        expect![[r#"
            Feature: module at byte 11:
                expected WebAssembly without SIMD (compile without -msimd128; Rust -C
                    target-feature=-simd128; asc --disable simd),
                found SIMD support is not enabled
            Feature: module at byte 58:
                expected WebAssembly without tail calls (compile without -mtail-call; asc
                    --disable tail-calls),
                found tail calls support is not enabled
            Feature: module at byte 60:
                expected WebAssembly without threads (link without --shared-memory and
                    compile without -pthread and -matomics; asc --disable threads),
                found threads support is not enabled
            Feature: module at byte 22:
                expected WebAssembly without exceptions (compile with -fno-exceptions; Rust
                    panic = "abort"; asc --disable exception-handling),
                found exceptions proposal not enabled
            Feature: module at byte 58:
                expected WebAssembly without reference types (compile with
                    -mno-reference-types; Rust -C target-feature=-reference-types; asc --disable
                    reference-types),
                found reference types support is not enabled
            Feature: module at byte 11:
                expected WebAssembly without garbage collection (compile for linear memory;
                    asc --disable gc),
                found struct indexed types not supported without the gc feature
            Feature: module at byte 10:
                expected WebAssembly without more than one memory (compile without
                    -mmultimemory; wasm-opt --disable-multimemory),
                found multiple memories
            Feature: module at byte 11:
                expected WebAssembly without reference types (compile with
                    -mno-reference-types; Rust -C target-feature=-reference-types; asc --disable
                    reference-types),
                found reference types support is not enabled
            Feature: module at byte 10:
                expected WebAssembly without reference types (compile with
                    -mno-reference-types; Rust -C target-feature=-reference-types; asc --disable
                    reference-types),
                found multiple tables
            Feature: module at byte 66:
                expected WebAssembly without wide arithmetic (compile without
                    -mwide-arithmetic; Rust -C target-feature=-wide-arithmetic),
                found wide arithmetic support is not enabled
            Feature: module at byte 25:
                expected WebAssembly without garbage collection (compile for linear memory;
                    asc --disable gc),
                found constant expression required: global.get of locally defined global
        "#]],
    );
}

#[test]
fn what_bulk_memory_has_beyond_memory_is_refused() {
    let three = "(i32.const 0) (i32.const 0) (i32.const 0)";
    refuses(
        &Limits::default(),
        &[
            whole(r#"(data (i32.const 0) "x") (func (data.drop 0))"#),
            whole("(func) (elem func 0)"),
            whole("(func) (elem declare func 0)"),
            whole("(func) (table 1 funcref) (elem (i32.const 0) func 0) (func (elem.drop 0))"),
            whole(&format!(
                "(table 1 funcref) (func) (elem (i32.const 0) func 0) (func (table.init 0 {three}))"
            )),
            whole(&format!("(table 1 funcref) (func (table.copy {three}))")),
        ],
        expect![[r#"
            Feature: module at byte 61:
                expected bulk memory that never drops a segment (link without
                    --shared-memory; asc --disable bulk-memory; wasm-opt --disable-bulk-memory;
                    compile with -mno-bulk-memory),
                found data.drop
            Feature: module at byte 56:
                expected active element segments (asc --disable bulk-memory; wasm-opt
                    --disable-bulk-memory; compile with -mno-bulk-memory),
                found a passive one
            Feature: module at byte 56:
                expected active element segments (asc --disable bulk-memory; wasm-opt
                    --disable-bulk-memory; compile with -mno-bulk-memory),
                found a declared one
            Feature: module at byte 77:
                expected bulk memory that never drops a segment (asc --disable bulk-memory;
                    wasm-opt --disable-bulk-memory; compile with -mno-bulk-memory),
                found elem.drop
            Feature: module at byte 83:
                expected bulk memory that never changes a table (asc --disable bulk-memory;
                    wasm-opt --disable-bulk-memory; compile with -mno-bulk-memory),
                found table.init
            Feature: module at byte 70:
                expected bulk memory that never changes a table (asc --disable bulk-memory;
                    wasm-opt --disable-bulk-memory; compile with -mno-bulk-memory),
                found table.copy
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
                expected a declared maximum (declare one: link with --max-memory; asc
                    --maximumMemory),
                found no maximum
            Memory: memory:
                expected one defined memory exported as memory,
                found a memory that is not exported
            Memory: memory:
                expected one defined memory exported as memory,
                found an export of that name that is not a memory
            Feature: module at byte 11:
                expected WebAssembly without 64-bit memory (compile for wasm32 instead of
                    wasm64),
                found memory64 must be enabled for 64-bit memories
            Feature: module at byte 11:
                expected WebAssembly without threads (link without --shared-memory and
                    compile without -pthread and -matomics; asc --disable threads),
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
                expected an immutable i32 global with a constant initialiser (link with
                    --export=state),
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
                expected a multiple of 4096 (align the record to it),
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
                expected continuant:schema or continuant:salt, the only sections of that
                    prefix,
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
                expected a guard, which has no such section,
                found the code of an object
            Section: custom section continuant:schema at byte 73:
                expected a guard, which has no such section,
                found the code of an object
            Import: import continuant.now at byte 22:
                expected value of continuant,
                found continuant.now
            Import: import continuant.value at byte 24:
                expected func(i32, i32, i32, i32) -> (i32),
                found func(i32, i32) -> (i32)
            Import: import wasi_snapshot_preview1.fd_write at byte 21:
                expected value of continuant (build for wasm32-unknown-unknown or
                    freestanding: there is no WASI),
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
                expected a declared maximum (declare one: link with --max-memory; asc
                    --maximumMemory),
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
