//! Steps in a slot: memory and cards, meters, traps, effects; and that instrumented code computes
//! the same as the original.

use std::sync::Arc;

use CoreValue::{F32, F64};
use object::limits::{EFFECTS_BYTES_MAX, OUTPUTS_MAX, PAGE_BYTES};
use object::time::Time;
use schema::CoreValue;

use super::code::Base;
use super::trap::BadHostCall;
use super::*;
use crate::instrument::{Limits, instrument};

const FUEL: u64 = 1 << 30;

fn int32(value: i32) -> CoreValue {
    CoreValue::I32(value.cast_unsigned())
}

fn int64(value: i64) -> CoreValue {
    CoreValue::I64(value.cast_unsigned())
}

/// The bytes of a module with a memory of two 64 KiB pages that may grow to four.
fn assemble(imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (@custom "continuant:schema" "package a:b;") {imports}
        (memory (export "memory") 2 4) (global (export "state") i32 (i32.const 0)) {body})"#
    );
    wat::parse_str(text).expect("the test's module is well-formed text")
}

fn compile(wasm: &[u8]) -> Result<Arc<Code>, CodeError> {
    let substrate = Substrate::new(None).expect("this machine runs the substrate");
    let instrumented = instrument(wasm, &Limits::default()).expect("the module is taken");
    substrate.compile(instrumented)
}

fn slot(body: &str) -> Slot {
    slot_with("", body)
}

fn slot_with(imports: &str, body: &str) -> Slot {
    Slot::new(&compile(&assemble(imports, body)).expect("the module starts")).expect("memory")
}

/// Runs one step of one call.
fn step(
    slot: &mut Slot,
    fuel: u64,
    name: &str,
    args: &[CoreValue],
) -> (Result<Vec<CoreValue>, Trap>, Effects) {
    let function = slot.code().function(name).expect("the function is exported");
    let limits = StepLimits { fuel, ..StepLimits::default() };
    slot.begin_step(StepContext { now: Time::from_millis(1_000), limits });
    let result = slot.call(function, args).map_err(|error| match error {
        StepError::Trap(trap) => trap,
        StepError::Host(failure) => panic!("{failure}"),
    });
    (result, slot.end_step())
}

fn run(slot: &mut Slot, name: &str, args: &[CoreValue]) -> Result<Vec<CoreValue>, Trap> {
    step(slot, FUEL, name, args).0
}

fn dirty(slot: &mut Slot) -> Vec<u32> {
    let mut pages = Vec::new();
    slot.dirty_pages(&mut pages);
    pages
}

/// Runs `work` on a thread like those of the engine, where a guest's stack is bounded by its
/// budget.
fn on_guest_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(work);
    let thread = thread.expect("a thread starts");
    thread.join().expect("the test on the thread passed")
}

/// Name, type and width of every store.
const STORES: [(&str, &str, u32); 9] = [
    ("i32.store", "i32", 4),
    ("i64.store", "i64", 8),
    ("f32.store", "f32", 4),
    ("f64.store", "f64", 8),
    ("i32.store8", "i32", 1),
    ("i32.store16", "i32", 2),
    ("i64.store8", "i64", 1),
    ("i64.store16", "i64", 2),
    ("i64.store32", "i64", 4),
];

fn stores(offset: u32) -> String {
    let store = |(name, ty, _): (&str, &str, u32)| {
        let value = if ty.starts_with('f') { "1" } else { "-1" };
        format!(
            r#"(func (export "{name}") (param i32)
            ({name} offset={offset} (local.get 0) ({ty}.const {value})))"#
        )
    };
    STORES.map(store).concat()
}

#[test]
fn every_store_marks_the_pages_of_its_first_and_last_byte_and_no_other() {
    for offset in [0, 5, 70_000] {
        let mut slot = slot(&stores(offset));
        for (name, _, width) in STORES {
            let page = 73_728;
            for first in (page - 9..=page).chain([70_000, 131_064]) {
                let address = int32((first - offset).cast_signed());
                run(&mut slot, name, &[address]).expect("the store is in bounds");
                let mut expected = vec![first / 4096, (first + width - 1) / 4096];
                expected.dedup();
                assert_eq!(dirty(&mut slot), expected, "{name} at {first}");
                let (first, width) = (first as usize, width as usize);
                assert_ne!(slot.memory()[first..][..width], [0; 8][..width]);
                slot.memory_mut().fill(0);
                assert_eq!(dirty(&mut slot), [0; 0], "cards are cleared, and the host marks none");
            }
        }
    }
}

#[test]
fn a_store_out_of_bounds_traps_and_leaves_no_card_behind() {
    for offset in [0, 1, u32::MAX, u32::MAX - 7, 1 << 31] {
        let mut slot = slot(&stores(offset));
        for (name, _, width) in STORES {
            for address in [-1, -2, -8, i32::MIN, 131_072, 131_073 - width as i32, 262_144] {
                let end = u64::from(address as u32) + u64::from(offset) + u64::from(width);
                if end <= 131_072 {
                    continue;
                }
                let trap = run(&mut slot, name, &[int32(address)]).expect_err("out of bounds");
                assert_eq!(trap, Trap::MemoryOutOfBounds, "{name} at {address}+{offset}");
                dirty(&mut slot);
                assert!(slot.memory().iter().all(|byte| *byte == 0));
            }
        }
        slot.grow_to(262_144).expect("within the maximum");
        assert_eq!(dirty(&mut slot), [0; 0]);
    }
}

#[test]
fn bulk_operations_mark_every_page_that_they_write() {
    let mut slot = slot(
        r#"(func (export "fill") (param i32 i32)
            (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
        (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))"#,
    );
    for (address, length, expected) in [
        (0, 0, &[][..]),
        (131_072, 0, &[]),
        (4095, 1, &[0]),
        (4095, 2, &[0, 1]),
        (4096, 4096, &[1]),
        (4095, 4098, &[0, 1, 2]),
        (131_071, 1, &[31]),
        (126_976 - 1, 4097, &[30, 31]),
    ] {
        run(&mut slot, "fill", &[int32(address), int32(length)]).expect("in bounds");
        assert_eq!(dirty(&mut slot), expected, "fill {address} {length}");
        run(&mut slot, "copy", &[int32(address), int32(0), int32(length)]).expect("in bounds");
        assert_eq!(dirty(&mut slot), expected, "copy {address} {length}");
    }
    slot.memory_mut().fill(0);
    for (address, length) in [(131_072, 1), (131_073, 0), (0, 131_073), (-1, 2), (-1, -1), (0, -1)]
    {
        let trap = run(&mut slot, "fill", &[int32(address), int32(length)]);
        assert_eq!(trap, Err(Trap::MemoryOutOfBounds), "fill {address} {length}");
        let trap = run(&mut slot, "copy", &[int32(address), int32(0), int32(length)]);
        assert_eq!(trap, Err(Trap::MemoryOutOfBounds), "copy {address} {length}");
        let trap = run(&mut slot, "copy", &[int32(0), int32(address), int32(length)]);
        assert_eq!(trap, Err(Trap::MemoryOutOfBounds), "copy from {address} {length}");
        assert!(slot.memory().iter().all(|byte| *byte == 0));
    }
}

const BUSY: &str = r#"
    (func $square (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
    (func (export "busy") (param i32) (result i32) (local i32)
        (memory.fill (i32.const 100) (i32.const 1) (i32.const 64))
        (drop (memory.grow (i32.const 0)))
        (loop
            (if (i32.and (local.get 0) (i32.const 1))
                (then (local.set 1 (i32.add (local.get 1) (call $square (local.get 0)))))
                (else (i32.store (local.get 0) (local.get 1))))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if 0 (local.get 0)))
        (call $emit (i32.const 100) (i32.const 3) (i32.const 100) (i32.const 40))
        (local.get 1))"#;
const EMIT: &str = r#"(import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))"#;

#[test]
fn fuel_runs_out_at_every_unit_below_the_total_and_not_at_it() {
    let mut slot = slot_with(EMIT, BUSY);
    let (result, effects) = step(&mut slot, FUEL, "busy", &[int32(6)]);
    assert_eq!(result, Ok(vec![int32(25 + 9 + 1)]));
    let total = effects.fuel_used;
    expect_test::expect!["227"].assert_eq(&total.to_string());
    for fuel in 0..total {
        let (result, effects) = step(&mut slot, fuel, "busy", &[int32(6)]);
        assert_eq!(result, Err(Trap::OutOfFuel), "with {fuel} of {total}");
        assert_eq!(effects.fuel_used, fuel);
    }
    for fuel in [total, total + 1, u64::MAX] {
        let (result, effects) = step(&mut slot, fuel, "busy", &[int32(6)]);
        assert_eq!(result, Ok(vec![int32(35)]));
        assert_eq!(effects.fuel_used, total);
    }
}

#[test]
fn bulk_operations_outputs_and_growth_are_charged_by_their_size() {
    let mut slot = slot_with(
        EMIT,
        r#"(func (export "fill") (param i32)
            (memory.fill (i32.const 0) (i32.const 97) (local.get 0)))
        (func (export "emit") (param i32)
            (call $emit (i32.const 0) (i32.const 8) (i32.const 0) (local.get 0)))
        (func (export "grow") (param i32) (drop (memory.grow (local.get 0))))"#,
    );
    let mut used = |name, size| step(&mut slot, FUEL, name, &[int32(size)]).1.fuel_used;
    assert_eq!(used("fill", 80_000) - used("fill", 0), 10_000);
    assert_eq!(used("emit", 80_000) - used("emit", 0), 10_000);
    assert_eq!(used("grow", 2) - used("grow", 0), 2 * 8192);
    assert_eq!(used("grow", -1), used("grow", 1), "growth that fails costs nothing by size");
}

#[test]
fn endless_loops_run_out_of_fuel() {
    let mut slot = slot(
        r#"(func (export "br") (loop (br 0)))
        (func (export "br_if") (loop (br_if 0 (i32.const 1))))
        (func (export "table") (loop (br_table 0 0 (i32.const 1))))
        (func (export "empty") (loop (loop (block (br 2)))))"#,
    );
    for name in ["br", "br_if", "table", "empty"] {
        assert_eq!(step(&mut slot, 100_000, name, &[]).0, Err(Trap::OutOfFuel), "{name}");
    }
}

#[test]
fn deep_recursion_exhausts_the_budget_and_never_the_native_stack() {
    on_guest_thread(|| {
        let locals = "(local i64) ".repeat(4000);
        let sums: String = (1..4000).map(|i| format!("(i64.add (local.get {i}) ")).collect();
        let sums = format!("{sums} (i64.const 0) {}", ")".repeat(3999));
        let sets: String = (1..4000)
            .map(|i| format!("(local.set {i} (i64.mul (local.get 0) (i64.const {i})))"))
            .collect();
        // As many values live across the call as a compiler can be made to keep, hoisted out of
        // a loop or not.
        let hoisted: String = (1..4000)
            .map(|i| format!("(i64.xor (i64.mul (local.get 0) (i64.const {})) ", i * 7919))
            .collect();
        let hoisted = format!("{hoisted} (i64.const 0) {}", ")".repeat(3999));
        let mut slot = slot(&format!(
            r#"(type $t (func (param i64) (result i64))) (table 2 funcref)
            (elem (i32.const 0) $indirect $huge)
            (func $direct (export "direct") (param i64) (result i64)
                (i64.add (call $direct (local.get 0)) (i64.const 1)))
            (func $indirect (export "indirect") (type $t)
                (i64.add (call_indirect (type $t) (local.get 0) (i32.const 0)) (i64.const 1)))
            (func $huge (export "huge") (param i64) (result i64) {locals}
                {sets} (drop (call $mutual (local.get 0))) {sums})
            (func $mutual (export "mutual") (param i64) (result i64)
                (call_indirect (type $t) (local.get 0) (i32.const 1)))
            (func $hoist (export "hoist") (param i64) (result i64) (local i64)
                (loop
                    (local.set 1 (i64.add (local.get 1) {hoisted}))
                    (local.set 1 (i64.add (local.get 1) (call $hoist (local.get 0))))
                    (local.set 1 (i64.add (local.get 1) {hoisted}))
                    (br_if 0 (i64.eqz (local.get 1))))
                (local.get 1))
            (func (export "fine") (param i64) (result i64) (local.get 0))"#
        ));
        for name in ["direct", "indirect", "huge", "mutual", "hoist"] {
            let (result, effects) = step(&mut slot, FUEL, name, &[int64(3)]);
            assert_eq!(result, Err(Trap::StackExhausted), "{name}");
            assert_eq!(step(&mut slot, FUEL, name, &[int64(3)]).1, effects, "{name} again");
            assert_eq!(run(&mut slot, "fine", &[int64(3)]), Ok(vec![int64(3)]), "after {name}");
        }
    });
}

#[test]
fn nans_have_the_same_bits_whatever_made_them() {
    let mut functions = String::new();
    let unary = ["sqrt", "ceil", "floor", "trunc", "nearest"];
    let binary = ["add", "sub", "mul", "div", "min", "max"];
    for ty in ["f32", "f64"] {
        for name in unary {
            functions += &format!(
                r#"(func (export "{ty}.{name}") (param {ty} {ty}) (result {ty})
                ({ty}.{name} (local.get 0)))"#
            );
        }
        for name in binary {
            functions += &format!(
                r#"(func (export "{ty}.{name}") (param {ty} {ty}) (result {ty})
                ({ty}.{name} (local.get 0) (local.get 1)))"#
            );
        }
    }
    functions += r#"
        (func (export "demote") (param f64) (result f32) (f32.demote_f64 (local.get 0)))
        (func (export "promote") (param f32) (result f64) (f64.promote_f32 (local.get 0)))
        (func (export "neg") (param f32) (result f32) (f32.neg (local.get 0)))
        (func (export "move") (param i32 f32) (result f32)
            (f32.store (local.get 0) (local.get 1)) (f32.load (local.get 0)))"#;
    let mut slot = slot(&functions);
    for name in unary.iter().chain(&binary) {
        for nan in [0x7FC0_0001, 0xFFC0_0000, 0x7F80_0001, 0xFFFF_FFFF] {
            for args in [[F32(nan), F32(1)], [F32(nan), F32(nan ^ 2)]] {
                let result = run(&mut slot, &format!("f32.{name}"), &args);
                assert_eq!(result, Ok(vec![F32(0x7FC0_0000)]), "f32.{name}");
            }
            let nan = 0x7FF0_0000_0000_0000 | u64::from(nan) << 19 | 5;
            for args in [[F64(nan), F64(1)], [F64(nan), F64(nan ^ 2)]] {
                let result = run(&mut slot, &format!("f64.{name}"), &args);
                assert_eq!(result, Ok(vec![F64(0x7FF8_0000_0000_0000)]), "f64.{name}");
            }
            assert_eq!(run(&mut slot, "demote", &[F64(nan)]), Ok(vec![F32(0x7FC0_0000)]));
        }
    }
    let zero = [F32(0), F32(0x8000_0000)];
    assert_eq!(run(&mut slot, "f32.div", &zero), Ok(vec![F32(0x7FC0_0000)]));
    assert_eq!(run(&mut slot, "f32.min", &zero), Ok(vec![F32(0x8000_0000)]));
    let minus_one = [F64((-1.0f64).to_bits()), F64(0)];
    assert_eq!(run(&mut slot, "f64.sqrt", &minus_one), Ok(vec![F64(0x7FF8_0000_0000_0000)]));
    let signalling = 0x7F80_0001;
    let promoted = run(&mut slot, "promote", &[F32(signalling)]);
    assert_eq!(promoted, Ok(vec![F64(0x7FF8_0000_0000_0000)]));
    assert_eq!(run(&mut slot, "neg", &[F32(signalling)]), Ok(vec![F32(0xFF80_0001)]));
    assert_eq!(run(&mut slot, "move", &[int32(0), F32(signalling)]), Ok(vec![F32(signalling)]));
}

#[test]
fn memory_grows_to_its_maximum_and_no_further() {
    let mut slot = slot(
        r#"(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "poke") (param i32) (i32.store8 (local.get 0) (i32.const 1)))"#,
    );
    for (delta, expected) in [(0, 2), (3, -1), (-1, -1), (1, 2), (i32::MIN, -1), (1, 3), (1, -1)] {
        assert_eq!(
            run(&mut slot, "grow", &[int32(delta)]),
            Ok(vec![int32(expected)]),
            "by {delta}"
        );
    }
    assert_eq!(slot.memory_bytes(), 262_144);
    assert_eq!(dirty(&mut slot), [0; 0], "pages that memory grew by are not written");
    run(&mut slot, "poke", &[int32(262_143)]).expect("in bounds");
    assert_eq!(dirty(&mut slot), [63]);
    assert!(slot.grow_to(262_145).is_err(), "the host keeps to the maximum too");
}

#[test]
fn every_trap_has_its_class() {
    let mut slot = slot(
        r#"(type $v (func)) (table 2 funcref) (elem (i32.const 0) $other)
        (func $other (param i32))
        (func (export "unreachable") unreachable)
        (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0))))
        (func (export "overflow") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
        (func (export "convert") (drop (i32.trunc_f32_s (f32.const nan))))
        (func (export "large") (drop (i32.trunc_f32_s (f32.const 1e30))))
        (func (export "null") (call_indirect (type $v) (i32.const 1)))
        (func (export "bounds") (call_indirect (type $v) (i32.const 2)))
        (func (export "type") (call_indirect (type $v) (i32.const 0)))
        (func (export "load") (drop (i64.load (i32.const 131065))))"#,
    );
    for (name, trap) in [
        ("unreachable", Trap::Unreachable),
        ("divide", Trap::DivideByZero),
        ("overflow", Trap::IntegerOverflow),
        ("convert", Trap::BadConversion),
        ("large", Trap::IntegerOverflow),
        ("null", Trap::UndefinedElement),
        ("bounds", Trap::UndefinedElement),
        ("type", Trap::SignatureMismatch),
        ("load", Trap::MemoryOutOfBounds),
    ] {
        assert_eq!(run(&mut slot, name, &[]), Err(trap), "{name}");
    }
}

const HOST: &str = r#"
    (import "continuant" "now" (func $now (result i64)))
    (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))
    (import "continuant" "wake" (func $wake (param i64)))
    (import "continuant" "sleep" (func $sleep))"#;
const HOST_BODY: &str = r#"
    (data (i32.const 0) "departedAB\ff")
    (table 1 funcref) (elem (i32.const 0) $now)
    (func (export "now") (result i64) (call_indirect (result i64) (i32.const 0)))
    (func (export "emit") (param i32 i32 i32 i32)
        (call $emit (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "flood") (param i32 i32)
        (loop
            (call $emit (i32.const 0) (i32.const 1) (i32.const 4096) (local.get 1))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if 0 (local.get 0))))
    (export "wake" (func $wake))
    (export "sleep" (func $sleep))"#;

#[test]
fn a_step_collects_the_effects_of_all_its_calls_and_the_next_has_none() {
    let mut slot = slot_with(HOST, HOST_BODY);
    let function = |slot: &Slot, name| slot.code().function(name).expect("exported");
    let [now, emit, wake, sleep] = ["now", "emit", "wake", "sleep"].map(|n| function(&slot, n));
    let limits = StepLimits { fuel: FUEL, ..StepLimits::default() };
    slot.begin_step(StepContext { now: Time::from_millis(77), limits });
    assert_eq!(slot.call(now, &[]).expect("runs"), [int64(77)]);
    slot.call(emit, &[int32(0), int32(8), int32(8), int32(2)]).expect("runs");
    slot.call(sleep, &[]).expect("runs");
    slot.call(wake, &[int64(99)]).expect("runs");
    slot.call(emit, &[int32(8), int32(1), int32(0), int32(0)]).expect("runs");
    let effects = slot.end_step();
    let outputs = [("departed".to_owned(), b"AB".to_vec()), ("A".to_owned(), vec![])];
    assert_eq!(effects.outputs, outputs);
    assert_eq!(effects.wake, Some(WakeChange::At(Time::from_millis(99))));
    assert!(effects.fuel_used > 5 * 64, "calls into the host are charged, however reached");
    let (_, effects) = step(&mut slot, FUEL, "sleep", &[]);
    assert_eq!((effects.outputs, effects.wake), (vec![], Some(WakeChange::Never)));
    let (_, effects) = step(&mut slot, FUEL, "now", &[]);
    assert_eq!(effects.wake, None);
}

#[test]
fn host_calls_with_bad_arguments_trap() {
    let mut slot = slot_with(HOST, HOST_BODY);
    let mut emit = |args: [i32; 4]| run(&mut slot, "emit", &args.map(int32));
    let bad = |call| Err(Trap::BadHostCall(call));
    assert_eq!(emit([131_070, 3, 0, 0]), bad(BadHostCall::Pointer));
    assert_eq!(emit([0, 1, -1, 1]), bad(BadHostCall::Pointer));
    assert_eq!(emit([0, 1, 0, 131_073]), bad(BadHostCall::Pointer));
    assert_eq!(emit([0, 0, 0, 0]), bad(BadHostCall::Name));
    assert_eq!(emit([0, 65, 0, 0]), bad(BadHostCall::Name));
    assert_eq!(emit([10, 1, 0, 0]), bad(BadHostCall::Name));
    assert_eq!(emit([11, 64, 131_072, 0]), Ok(vec![]));
    assert_eq!(run(&mut slot, "wake", &[int64(-1)]), bad(BadHostCall::NegativeTime));
    let count = OUTPUTS_MAX as i32;
    assert_eq!(run(&mut slot, "flood", &[int32(count), int32(0)]), Ok(vec![]));
    assert_eq!(
        run(&mut slot, "flood", &[int32(count + 1), int32(0)]),
        bad(BadHostCall::OutputLimit)
    );
    let bytes = (EFFECTS_BYTES_MAX / 16 - 1) as i32;
    assert_eq!(run(&mut slot, "flood", &[int32(16), int32(bytes)]), Ok(vec![]));
    assert_eq!(
        run(&mut slot, "flood", &[int32(16), int32(bytes + 1)]),
        bad(BadHostCall::OutputLimit)
    );
}

#[test]
fn globals_are_saved_and_restored_in_index_order() {
    let mut slot = slot(
        r#"(global $a (mut i32) (i32.const -1)) (global i64 (i64.const 9))
        (global $b (mut f64) (f64.const 1)) (global $c (export "c") (mut f32) (f32.const 2))
        (global $d (mut i64) (i64.const -2))
        (func (export "sum") (result i64)
            (global.set $d (i64.add (global.get $d) (i64.extend_i32_s (global.get $a))))
            (global.get $d))"#,
    );
    let mut saved = vec![0xBAD];
    slot.globals(&mut saved);
    let initial =
        vec![0xFFFF_FFFF, 1.0f64.to_bits(), u64::from(2.0f32.to_bits()), (-2i64).cast_unsigned()];
    assert_eq!(saved, initial);
    assert_eq!(slot.code().base().globals, initial);
    assert_eq!(run(&mut slot, "sum", &[]), Ok(vec![int64(-3)]));
    assert_eq!(run(&mut slot, "sum", &[]), Ok(vec![int64(-4)]));
    slot.set_globals(&saved);
    assert_eq!(run(&mut slot, "sum", &[]), Ok(vec![int64(-3)]));
    slot.set_globals(&[5, 0, u64::from(f32::NAN.to_bits()), 10]);
    assert_eq!(run(&mut slot, "sum", &[]), Ok(vec![int64(15)]));
}

#[test]
fn the_base_image_is_what_the_start_function_leaves() {
    let code = compile(&assemble(
        "",
        r#"(global $g (mut i32) (i32.const 1))
        (data (i32.const 8192) "x") (data (i32.const 0) "gone")
        (func $start
            (global.set $g (i32.const 2)) (i32.store (i32.const 0) (i32.const 0))
            (drop (memory.grow (i32.const 1)))
            (i32.store8 (i32.const 196607) (i32.const 3)))
        (start $start)"#,
    ))
    .expect("the module starts");
    let base = code.base();
    assert_eq!((base.memory_bytes, &base.globals), (196_608, &vec![2]));
    let indices: Vec<u32> = base.pages.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [2, 47]);
    assert_eq!((base.pages[0].1[0], base.pages[1].1[4095]), (b'x', 3));
    let mut slot = Slot::new(&code).expect("memory");
    let mut globals = Vec::new();
    slot.globals(&mut globals);
    let image = Base::of(slot.memory(), 0, globals);
    assert_eq!(&image, base);
    assert_eq!(dirty(&mut slot), [0; 0]);
}

#[test]
fn the_dead_stack_is_no_part_of_the_base_image() {
    let text = r#"(module (@custom "continuant:schema" "package a:b;")
        (memory (export "memory") 1 1) (global (export "state") i32 (i32.const 8192))
        (global (export "__stack_pointer") (mut i32) (i32.const 5000))
        (data (i32.const 5000) "x")
        (func $start
            (i32.store (i32.const 0) (i32.const 1)) (i32.store (i32.const 4096) (i32.const 1)))
        (start $start))"#;
    let code = compile(&wat::parse_str(text).expect("well-formed")).expect("the module starts");
    let indices: Vec<u32> = code.base().pages.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [1], "the page that the stack shares with data stays");
    let slot = Slot::new(&code).expect("memory");
    assert_eq!(slot.memory()[0], 0);
}

#[test]
fn a_module_that_does_not_start_is_refused_with_the_trap() {
    let start = |imports: &str, body: &str| match compile(&assemble(imports, body)) {
        Err(CodeError::Start(trap)) => trap,
        other => panic!("expected a trap, found {other:?}"),
    };
    assert_eq!(start("", "(func unreachable) (start 0)"), Trap::Unreachable);
    assert_eq!(start("", "(func (loop (br 0))) (start 0)"), Trap::OutOfFuel);
    let outside = Trap::BadHostCall(BadHostCall::OutsideStep);
    assert_eq!(start(HOST, "(start $sleep)"), outside);
    assert_eq!(start("", r#"(data (i32.const 131072) "x")"#), Trap::MemoryOutOfBounds);
    let table = "(table 1 funcref) (func $f) (elem (i32.const 1) $f)";
    assert_eq!(start("", table), Trap::UndefinedElement);
}

#[test]
fn after_a_trap_the_dirty_pages_are_enough_to_restore_memory() {
    let mut slot = slot(
        r#"(global $g (mut i32) (i32.const 0))
        (func (export "spoil") (param i32)
            (loop
                (i32.store (i32.mul (local.get 0) (i32.const 3001)) (local.get 0))
                (memory.fill (i32.mul (local.get 0) (i32.const 1000)) (i32.const 5) (i32.const 9))
                (global.set $g (local.get 0))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br 0)))"#,
    );
    for (index, byte) in slot.memory_mut().iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    let before = slot.memory().to_vec();
    for (fuel, trap) in [(500, Trap::OutOfFuel), (FUEL, Trap::MemoryOutOfBounds)] {
        assert_eq!(step(&mut slot, fuel, "spoil", &[int32(1)]).0, Err(trap));
        assert_ne!(slot.memory(), before);
        for page in dirty(&mut slot) {
            let start = page as usize * PAGE_BYTES;
            let end = start + PAGE_BYTES;
            slot.memory_mut()[start..end].copy_from_slice(&before[start..end]);
        }
        assert!(slot.memory() == before, "every page that the step wrote was named");
    }
}

#[test]
fn many_slots_of_one_code_live_side_by_side() {
    let code = compile(&assemble("", &stores(0))).expect("the module starts");
    let mut slots: Vec<Slot> = (0..500).map(|_| Slot::new(&code).expect("memory")).collect();
    for (index, slot) in slots.iter_mut().enumerate() {
        run(slot, "i32.store8", &[int32(index as i32)]).expect("in bounds");
    }
    for (index, slot) in slots.iter().enumerate() {
        assert_eq!(slot.memory().iter().position(|byte| *byte != 0), Some(index));
    }
}

/// Programs whose every instruction class the pass changes or moves code around.
const PROGRAM: &str = r#"
    (type $binary (func (param i32 i32) (result i32)))
    (table 4 4 funcref) (elem (i32.const 0) $add $mix $collatz)
    (global $seed (mut i64) (i64.const 88172645463325252))
    (data (i32.const 4090) "0123456789abcdef")
    (func $next (result i64)
        (global.set $seed (i64.xor (global.get $seed) (i64.shl (global.get $seed) (i64.const 13))))
        (global.set $seed (i64.xor (global.get $seed) (i64.shr_u (global.get $seed) (i64.const 7))))
        (global.set $seed (i64.xor (global.get $seed) (i64.shl (global.get $seed) (i64.const 17))))
        (global.get $seed))
    (func $add (type $binary) (i32.add (local.get 0) (local.get 1)))
    (func $mix (type $binary) (i32.rotl (i32.mul (local.get 0) (local.get 1)) (i32.const 5)))
    (func $collatz (type $binary) (local i32)
        (local.set 0 (i32.and (local.get 0) (i32.const 0xffff)))
        (block $done (loop $again
            (br_if $done (i32.le_u (local.get 0) (i32.const 1)))
            (br_if $done (i32.gt_u (local.get 2) (i32.const 500)))
            (local.set 2 (i32.add (local.get 2) (i32.const 1)))
            (local.set 0 (if (result i32) (i32.and (local.get 0) (i32.const 1))
                (then (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))
                (else (i32.shr_u (local.get 0) (i32.const 1)))))
            (br $again)))
        (local.get 2))
    (func (export "scatter") (param i32 i32) (result i32) (local i32 i32)
        (local.set 1 (i32.and (local.get 1) (i32.const 63)))
        (block $out (loop $again
            (br_if $out (i32.eqz (local.get 1)))
            (local.set 2 (i32.rem_u (i32.wrap_i64 (call $next)) (i32.const 131060)))
            (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
            (block $a (block $b (block $c (block $d
                (br_table $a $b $c $d $again (i32.and (local.get 1) (i32.const 7))))
                (f64.store offset=3 (local.get 2) (f64.convert_i32_s (local.get 0))) (br $again))
                (i64.store16 (local.get 2) (call $next)) (br $again))
                (memory.copy (local.get 2) (i32.const 4090) (i32.const 12)) (br $again))
            (i32.store offset=1 (local.get 2) (local.get 0))
            (br $again)))
        (i32.load8_u (i32.and (local.get 0) (i32.const 0xffff))))
    (func (export "indirect") (param i32 i32) (result i32)
        (call_indirect (type $binary) (local.get 0) (local.get 1)
            (i32.and (local.get 0) (i32.const 3))))
    (func (export "floats") (param i32 i32) (result i32) (local f64)
        (local.set 2 (f64.div (f64.convert_i32_s (local.get 0)) (f64.convert_i32_s (local.get 1))))
        (f64.store (i32.const 32) (f64.sqrt (local.get 2)))
        (i32.trunc_sat_f32_s (f32.demote_f64 (f64.mul (local.get 2) (f64.const 1e3)))))
    (func (export "divide") (param i32 i32) (result i32)
        (i32.rem_s (local.get 0) (i32.and (local.get 1) (i32.const 3))))
    (func (export "poke") (param i32 i32) (result i32)
        (i64.store offset=9 (i32.and (local.get 0) (i32.const 0x3ffff)) (i64.const -1))
        (memory.fill (i32.and (local.get 1) (i32.const 0x3ffff)) (local.get 0) (i32.const 3000))
        (memory.size))
    (func (export "grow") (param i32 i32) (result i32)
        (memory.grow (i32.and (local.get 0) (i32.const 1))))
    (func (export "multi") (param i32 i32) (result i32)
        (local.get 0) (local.get 1)
        (block (param i32 i32) (result i32 i32)
            (br_if 0 (local.get 0)) (drop) (i32.const 7))
        (i32.sub))"#;

/// The original module on a plain engine, for comparison with the instrumented one.
struct Plain {
    store: wasmtime::Store<()>,
    instance: wasmtime::Instance,
}

impl Plain {
    fn new(wasm: &[u8]) -> Plain {
        let mut config = Config::new();
        config.cranelift_nan_canonicalization(true);
        let engine = Engine::new(&config).expect("a plain engine");
        let module = wasmtime::Module::new(&engine, wasm).expect("valid");
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("starts");
        Plain { store, instance }
    }

    fn run(&mut self, name: &str, args: (i32, i32)) -> Result<Vec<CoreValue>, Trap> {
        let function = self.instance.get_typed_func::<(i32, i32), i32>(&mut self.store, name);
        let result = function.expect("exported").call(&mut self.store, args);
        result.map(|value| vec![int32(value)]).map_err(|error| {
            match StepError::classify(error, 0, 0) {
                StepError::Trap(trap) => trap,
                StepError::Host(failure) => panic!("{failure}"),
            }
        })
    }

    fn memory(&mut self) -> Vec<u8> {
        let memory = self.instance.get_memory(&mut self.store, "memory").expect("exported");
        memory.data(&self.store).to_vec()
    }
}

#[test]
fn instrumented_code_computes_what_the_original_does_and_names_what_it_wrote() {
    use rand::{RngExt, SeedableRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    let wasm = assemble("", PROGRAM);
    let (mut plain, mut slot) = (Plain::new(&wasm), slot(PROGRAM));
    let mut traps = 0;
    for _ in 0..2_000 {
        let names = ["scatter", "indirect", "floats", "divide", "poke", "grow", "multi"];
        let name = names[random.random_range(0..names.len())];
        let args: (i32, i32) = match random.random_range(0..3) {
            0 => (random.random_range(-9..9), random.random_range(-9..9)),
            _ => (random.random(), random.random()),
        };
        if name == "grow" && random.random_range(0..50) > 0 {
            continue;
        }
        let mut before = slot.memory().to_vec();
        let expected = plain.run(name, args);
        let found = run(&mut slot, name, &[int32(args.0), int32(args.1)]);
        assert_eq!(found, expected, "{name} {args:?}");
        traps += u32::from(found.is_err());
        assert!(slot.memory() == plain.memory(), "memory after {name} {args:?}");
        before.resize(slot.memory().len(), 0);
        let dirty = dirty(&mut slot);
        let pages = before.chunks(PAGE_BYTES).zip(slot.memory().chunks(PAGE_BYTES));
        for (index, (before, after)) in (0..).zip(pages) {
            let named = dirty.binary_search(&index).is_ok();
            assert!(before == after || named, "{name} {args:?} wrote page {index}");
        }
    }
    assert!(traps > 0, "some of the calls trap");
}
