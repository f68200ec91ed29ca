//! Modules whose one method does a list of operations on memory, and the same operations on a
//! vector: every byte must be equal, and the root must be the plain hash of all of them.
//!
//! This module does not know how the instrumentation finds written pages: that is under test.

use continuant::instrument::ModuleErrorKind;
use continuant::{Clock, Code, Durability, ErrorKind, ObjectId, Options, Replay, args};
use object::hash::MemoryRoot;
use object::limits::WASM_PAGE_BYTES;
use object::refusal::Reason;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use super::OPEN;
use crate::generate::bytes::number;
use crate::generate::lineage::START;
use crate::outcome::{Outcome, equal, hold, must};
use crate::threads::watch_threads;

/// The memory's maximum, in pages of 64 KiB.
const PAGES_MAX: usize = 4;
/// The store instructions: their names, the types of their values, and the bytes that they write.
const STORES: [(&str, &str, usize); 9] = [
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
/// Operators on floats whose results the standard fixes, except the bits of a NaN.
const OPERATORS: [&str; 5] = ["add", "sub", "mul", "div", "sqrt"];
const SCHEMA: &str = "package a:b; interface c { record state { count: u64 } \
    go: func(by: u32, value: u64); }";

/// An operation. Addresses are added to the method's first argument, values to its second.
#[derive(Clone, Copy, Debug)]
enum Op {
    Store { kind: usize, at: u32, offset: u32, value: u64 },
    Fill { at: u32, byte: u8, count: u32 },
    Copy { to: u32, from: u32, count: u32 },
    Grow { pages: u32 },
    Float { operator: usize, at: u32, left: u64, right: u64 },
    Single { operator: usize, at: u32, left: u32, right: u32 },
    Keep { value: u64 },
    Kept { at: u32 },
    Init { segment: usize, to: u32, from: u32, count: u32 },
}

/// The passive segments.
const SEGMENTS: [&str; 2] = ["Lothlorien", "in the beginning was the word"];

pub(super) fn run(rng: &mut StdRng) -> Outcome {
    watch_threads();
    let draw = |rng: &mut StdRng, count: usize| (0..count).map(|_| Op::draw(rng)).collect();
    let count = rng.random_range(1..9);
    let ops: Vec<Op> = draw(rng, count);
    let first: Option<Vec<Op>> = match rng.random_range(0..8) {
        count @ 0..4 => Some(draw(rng, count)),
        _ => None,
    };
    let drops = rng.random_ratio(1, 30);
    let text = module(&ops, first.as_deref(), drops);
    let wasm = must(&text, wat::parse_str(&text))?;
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let options =
        Options::new().workers(1).cycles(false).clock(Clock::manual(Time::from_millis(START)));
    let db = must("opening", options.open(directory.path().join("db")))?;
    let code = must("a module", Code::wasm(wasm))?.policy(OPEN).secret([1; 32]);
    let mut begun = Machine::new();
    let begins = begun.step(first.as_deref().unwrap_or_default(), 0, 0);
    if drops || !begins {
        let refused = db.create(code).err();
        let is_right = refused.as_ref().is_some_and(|error| match error.kind() {
            ErrorKind::Module(error) => drops && error.kind() == ModuleErrorKind::Feature,
            ErrorKind::Refused { verdict, .. } => !drops && verdict.reason == Reason::Trap,
            _ => false,
        });
        return hold(format_args!("it is not created: {refused:?} {text}"), is_right);
    }
    let ids = [must("creating", db.create(code.clone()))?, {
        must("creating", db.create(code.secret([2; 32])))?
    }];
    // Two objects take turns in one slot.
    let mut machines = [begun.clone(), begun];
    for (id, machine) in ids.iter().zip(&machines) {
        compare(&db, *id, machine).map_err(|it| format!("{it}: {first:?}"))?;
    }
    for _ in 0..rng.random_range(1..10) {
        let which = rng.random_range(0..2);
        let by = match rng.random_range(0..4) {
            0 => number(rng) as u32,
            _ => rng.random_range(0..70_000),
        };
        let value = rng.random();
        let machine = &mut machines[which];
        let expected = machine.step(&ops, by, value);
        let call = db.call(ids[which], "go", args![by, value]);
        match call.durability(Durability::Relaxed).wait() {
            Ok(_) => hold("it is expected to run", expected)?,
            Err(error) => {
                let is_trap = matches!(error.kind(), ErrorKind::Refused { verdict, .. }
                    if verdict.reason == Reason::Trap);
                hold(format_args!("it traps: {error}"), is_trap)?;
                hold(format_args!("it is expected to trap: {ops:?} {by} {value}"), !expected)?;
            }
        }
        compare(&db, ids[which], machine).map_err(|it| format!("{it}: {ops:?} {by} {value}"))?;
    }
    for id in ids {
        must("a replay", db.verify(id, Replay::Yes))?;
    }
    Ok(())
}

/// Requires that the newest version is the machine's, byte for byte.
fn compare(db: &continuant::Database, id: ObjectId, machine: &Machine) -> Outcome {
    let newest = must("a snapshot", db.snapshot(id))?;
    let memory = newest.memory_bytes();
    equal("the memory's length", &machine.memory.len(), &memory.len())?;
    let differs =
        memory.iter().zip(&machine.memory).position(|(found, expected)| found != expected);
    equal("the first byte that differs", &None, &differs)?;
    let root = MemoryRoot::of(&machine.memory);
    equal("the root, of the whole memory", &root, &newest.header().memory_root)
}

fn module(ops: &[Op], first: Option<&[Op]>, drops: bool) -> String {
    let text = |ops: &[Op]| ops.iter().map(Op::text).collect::<String>();
    let (body, drops) = (text(ops), if drops { "(data.drop 0)" } else { "" });
    let first = first.map_or(String::new(), |first| {
        let (locals, body) = ("(local $by i32) (local $value i64)", text(first));
        format!(r#"(func (export "_initialize") {locals} {body})"#)
    });
    let [one, other] = SEGMENTS;
    format!(
        r#"(module
            (@custom "continuant:schema" "{SCHEMA}")
            (memory (export "memory") 1 {PAGES_MAX})
            (global (export "state") i32 (i32.const 4096))
            (global $kept (mut i64) (i64.const 0))
            (data "{one}") (data "{other}") {first}
            (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0)) {drops})
            (func (export "go") (param $by i32) (param $value i64) {body}))"#
    )
}

/// An object as it should be.
#[derive(Clone)]
struct Machine {
    memory: Vec<u8>,
    kept: u64,
}

impl Machine {
    fn new() -> Machine {
        Machine { memory: vec![0; WASM_PAGE_BYTES], kept: 0 }
    }

    /// Does all of it, or nothing when some of it traps; which of the two.
    fn step(&mut self, ops: &[Op], by: u32, value: u64) -> bool {
        let mut after = self.clone();
        let done = ops.iter().all(|op| after.perform(op, by, value).is_some());
        if done {
            *self = after;
        }
        done
    }

    fn perform(&mut self, op: &Op, by: u32, argument: u64) -> Option<()> {
        let address = |at: u32| at.wrapping_add(by) as usize;
        match *op {
            Op::Store { kind, at, offset, value } => {
                let bytes = value.wrapping_add(argument).to_le_bytes();
                self.put(address(at) + offset as usize, &bytes[..STORES[kind].2])
            }
            Op::Fill { at, byte, count } => self.put(address(at), &vec![byte; count as usize]),
            Op::Copy { to, from, count } => {
                let from = address(from);
                let some = self.memory.get(from..from + count as usize)?.to_vec();
                self.put(address(to), &some)
            }
            Op::Grow { pages } => {
                let bytes = self.memory.len() + pages as usize * WASM_PAGE_BYTES;
                if bytes <= PAGES_MAX * WASM_PAGE_BYTES {
                    self.memory.resize(bytes, 0);
                }
                Some(())
            }
            Op::Float { operator, at, left, right } => {
                let (one, other) = (f64::from_bits(left), f64::from_bits(right));
                let result = [one + other, one - other, one * other, one / other, one.sqrt()];
                let bits = match result[operator] {
                    nan if nan.is_nan() => 0x7ff8_0000_0000_0000,
                    number => number.to_bits(),
                };
                self.put(address(at), &bits.to_le_bytes())
            }
            Op::Single { operator, at, left, right } => {
                let (one, other) = (f32::from_bits(left), f32::from_bits(right));
                let result = [one + other, one - other, one * other, one / other, one.sqrt()];
                let bits = match result[operator] {
                    nan if nan.is_nan() => 0x7fc0_0000,
                    number => number.to_bits(),
                };
                self.put(address(at), &u32::to_le_bytes(bits))
            }
            Op::Keep { value } => {
                self.kept = value.wrapping_add(argument);
                Some(())
            }
            Op::Kept { at } => self.put(address(at), &self.kept.to_le_bytes()),
            Op::Init { segment, to, from, count } => {
                let end = from as usize + count as usize;
                let some = SEGMENTS[segment].as_bytes().get(from as usize..end)?;
                self.put(address(to), some)
            }
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        self.memory.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        Some(())
    }
}

impl Op {
    fn draw(rng: &mut StdRng) -> Op {
        let at = match rng.random_range(0..4) {
            // Across the edge of a page, or of all memory.
            0 => 4096 * rng.random_range(1..17) - rng.random_range(0..9),
            1 => rng.random_range(0..20),
            _ => rng.random_range(0..60_000),
        };
        let count = match rng.random_range(0..6) {
            0 => 0,
            1 => rng.random_range(4000..9000),
            _ => rng.random_range(0..40),
        };
        let float = |rng: &mut StdRng| match rng.random_range(0..4) {
            // NaNs of any sign and payload.
            0 => 0x7ff0_0000_0000_0001 | rng.random::<u64>(),
            1 => f64::from(rng.random_range(-3..4)).to_bits(),
            _ => rng.random(),
        };
        let single = |rng: &mut StdRng| match rng.random_range(0..3) {
            0 => 0x7f80_0001 | rng.random::<u32>(),
            _ => rng.random(),
        };
        match rng.random_range(0..13) {
            12 => {
                let (from, count) = (rng.random_range(0..12), rng.random_range(0..18));
                Op::Init { segment: rng.random_range(0..2), to: at, from, count }
            }
            0..4 => {
                let offset = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..9000) };
                let kind = rng.random_range(0..STORES.len());
                Op::Store { kind, at, offset, value: rng.random() }
            }
            4 | 5 => Op::Fill { at, byte: rng.random(), count },
            6 => Op::Copy { to: at, from: rng.random_range(0..9000), count },
            7 => Op::Grow { pages: rng.random_range(0..3) },
            8 => {
                let operator = rng.random_range(0..OPERATORS.len());
                Op::Float { operator, at, left: float(rng), right: float(rng) }
            }
            9 => {
                let operator = rng.random_range(0..OPERATORS.len());
                Op::Single { operator, at, left: single(rng), right: single(rng) }
            }
            10 => Op::Keep { value: rng.random() },
            _ => Op::Kept { at },
        }
    }

    fn text(&self) -> String {
        let address = |at: u32| format!("(i32.add (i32.const {at}) (local.get $by))");
        let float = |ty: &str, from: &str, operator: usize, at: u32, operands: [u64; 2]| {
            let operand = |bits: u64| {
                let bits = if from == "i32" {
                    (bits as u32).cast_signed().into()
                } else {
                    bits.cast_signed()
                };
                format!("({ty}.reinterpret_{from} ({from}.const {bits}))")
            };
            let operator = OPERATORS[operator];
            let right = if operator == "sqrt" { String::new() } else { operand(operands[1]) };
            let left = operand(operands[0]);
            format!("({ty}.store {} ({ty}.{operator} {left} {right}))", address(at))
        };
        match *self {
            Op::Store { kind, at, offset, value } => {
                let (name, ty, _) = STORES[kind];
                let sum =
                    format!("(i64.add (i64.const {}) (local.get $value))", value.cast_signed());
                let value = match ty {
                    "i32" => format!("(i32.wrap_i64 {sum})"),
                    "f32" => format!("(f32.reinterpret_i32 (i32.wrap_i64 {sum}))"),
                    "f64" => format!("(f64.reinterpret_i64 {sum})"),
                    _ => sum,
                };
                format!("({name} offset={offset} {} {value})", address(at))
            }
            Op::Fill { at, byte, count } => {
                format!("(memory.fill {} (i32.const {byte}) (i32.const {count}))", address(at))
            }
            Op::Copy { to, from, count } => {
                format!("(memory.copy {} {} (i32.const {count}))", address(to), address(from))
            }
            Op::Grow { pages } => format!("(drop (memory.grow (i32.const {pages})))"),
            Op::Float { operator, at, left, right } => {
                float("f64", "i64", operator, at, [left, right])
            }
            Op::Single { operator, at, left, right } => {
                float("f32", "i32", operator, at, [left.into(), right.into()])
            }
            Op::Keep { value } => {
                let value = value.cast_signed();
                format!("(global.set $kept (i64.add (i64.const {value}) (local.get $value)))")
            }
            Op::Kept { at } => format!("(i64.store {} (global.get $kept))", address(at)),
            Op::Init { segment, to, from, count } => format!(
                "(memory.init {segment} {} (i32.const {from}) (i32.const {count}))",
                address(to)
            ),
        }
    }
}
