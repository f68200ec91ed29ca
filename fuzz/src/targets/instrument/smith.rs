//! Modules of any code that objects may have, run with the pass as objects and without it directly:
//! results, traps and every byte of memory are the same, and the root is the plain hash of all of
//! them.
//!
//! This module does not know what the code does. Once a step traps or is out of fuel or stack, only
//! the direct module has kept its changes, and nothing more is compared.

use continuant::{Clock, Code, Database, Durability, ErrorKind, ObjectId, Options, Replay, Value};
use object::hash::MemoryRoot;
use object::refusal::Reason;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use wasmtime::Val;

use super::bare::{Bare, Ended};
use super::{OPEN, is_verdict};
use crate::generate::bytes::number;
use crate::generate::lineage::START;
use crate::generate::smith::{Method, Smith, Type, smith};
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::threads::watch_threads;

/// Calls of one object at most.
const CALLS: usize = 12;

pub(super) fn run(rng: &mut StdRng, tally: &Tally) -> Outcome {
    watch_threads();
    let Some(Smith { wasm, methods }) = smith(rng) else { return Ok(()) };
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let options =
        Options::new().workers(1).cycles(false).clock(Clock::manual(Time::from_millis(START)));
    let db = must("opening", options.open(directory.path().join("db")))?;
    let code = must("a module", Code::wasm(wasm.clone()))?.policy(OPEN).secret([1; 32]);
    let id = match db.create(code) {
        Ok(id) => id,
        Err(error) => return not_created(&error, &wasm),
    };
    let bare = Bare::new(&wasm);
    let mut bare = match bare {
        Ok(bare) => bare,
        Err(Ended::Exhausted) => return Ok(()),
        Err(Ended::Trap) => return Err("what starts as an object traps by itself".to_string()),
    };
    compare(&db, id, bare.memory())?;
    tally.add("modules run without the pass", 1);
    for _ in 0..rng.random_range(1..=CALLS) {
        let method = &methods[rng.random_range(0..methods.len())];
        if !step(rng, &db, id, &mut bare, method)? {
            break;
        }
        tally.add("steps alike", 1);
    }
    must("a replay", db.verify(id, Replay::Yes)).map(drop)
}

/// Requires that a module which is no object is refused for a reason: one that traps at its start
/// does so directly as well.
fn not_created(error: &continuant::Error, wasm: &[u8]) -> Outcome {
    is_verdict(error)?;
    let is_start = matches!(error.kind(), ErrorKind::Module(error)
        if error.kind() == continuant::instrument::ModuleErrorKind::Start);
    if is_start {
        // A start that takes more fuel than it may have gets that fuel here.
        let started = Bare::new(wasm).err();
        let out_of_bounds =
            error.to_string().contains("fuel") || error.to_string().contains("stack");
        hold(
            format_args!("{error}: it does not start by itself"),
            started.is_some() || out_of_bounds,
        )?;
    }
    Ok(())
}

/// Calls a method of both, and returns whether both succeeded.
fn step(
    rng: &mut StdRng,
    db: &Database,
    id: ObjectId,
    bare: &mut Bare,
    method: &Method,
) -> Result<bool, String> {
    let drawn: Vec<(Value, Val)> = method.params.iter().map(|ty| argument(rng, *ty)).collect();
    let (values, plain): (Vec<Value>, Vec<Val>) = drawn.into_iter().unzip();
    let before = must("a snapshot", db.snapshot(id))?.hash();
    let call = db.call(id, &method.name, values.clone()).durability(Durability::Relaxed);
    let found = call.wait();
    let about = || format!("{method:?} {values:?}");
    let reason = match &found {
        Ok(_) => None,
        Err(error) => match error.kind() {
            ErrorKind::Refused { verdict, .. } => Some(verdict.reason),
            _ => return Err(format!("{error}: {}", about())),
        },
    };
    if matches!(reason, Some(Reason::OutOfFuel | Reason::StackExhausted)) {
        return Ok(false);
    }
    let expected = bare.call(&method.name, &plain);
    match (found, expected) {
        (Ok(receipt), Ok(expected)) => {
            let found = receipt.result.as_ref().and_then(bits);
            let expected = expected.map(|bits| given_back(bits, method.result));
            equal("the result", &expected, &found).map_err(|it| format!("{it}: {}", about()))?;
            compare(db, id, bare.memory()).map_err(|it| format!("{it}: {}", about()))?;
            Ok(true)
        }
        (Err(error), Err(Ended::Trap)) => {
            hold(format_args!("{error} is a trap"), reason == Some(Reason::Trap))?;
            let after = must("a snapshot", db.snapshot(id))?.hash();
            equal("the version that a trap leaves", &before, &after)?;
            Ok(false)
        }
        (Err(error), expected) => Err(format!("{error}, but by itself {expected:?}: {}", about())),
        (Ok(_), Err(ended)) => Err(format!("it runs, but by itself {ended:?}: {}", about())),
    }
}

/// An argument for both.
fn argument(rng: &mut StdRng, ty: Type) -> (Value, Val) {
    let bits = number(rng);
    match ty {
        Type::U32 => (Value::U32(bits as u32), Val::I32((bits as u32).cast_signed())),
        Type::U64 => (Value::U64(bits), Val::I64(bits.cast_signed())),
        // A NaN that is an argument is the canonical one.
        Type::F32 => {
            let float = f32::from_bits(bits as u32);
            let float = if float.is_nan() { f32::from_bits(0x7fc0_0000) } else { float };
            (Value::F32(float), Val::F32(float.to_bits()))
        }
        Type::F64 => {
            let float = f64::from_bits(bits);
            let float = if float.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { float };
            (Value::F64(float), Val::F64(float.to_bits()))
        }
    }
}

/// Returns the bits of a result as an object returns it: for a NaN those of the canonical one.
fn given_back(bits: u64, ty: Option<Type>) -> u64 {
    match ty {
        Some(Type::F32) if f32::from_bits(bits as u32).is_nan() => 0x7fc0_0000,
        Some(Type::F64) if f64::from_bits(bits).is_nan() => 0x7ff8_0000_0000_0000,
        _ => bits,
    }
}

/// The bits of a result, extended with zeros.
fn bits(value: &Value) -> Option<u64> {
    Some(match value {
        Value::U32(value) => u64::from(*value),
        Value::U64(value) => *value,
        Value::F32(value) => u64::from(value.to_bits()),
        Value::F64(value) => value.to_bits(),
        _ => return None,
    })
}

/// Requires that the newest version has this memory, byte for byte, and its root is the plain hash.
fn compare(db: &Database, id: ObjectId, expected: &[u8]) -> Outcome {
    let newest = must("a snapshot", db.snapshot(id))?;
    let found = newest.memory_bytes();
    equal("the memory's length", &expected.len(), &found.len())?;
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    equal("the first byte that differs", &None, &differs)?;
    equal("the root", &MemoryRoot::of(expected), &newest.header().memory_root)
}
