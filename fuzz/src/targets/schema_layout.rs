//! Our layout of types, and our values in memory and as core values, against a reader and a writer
//! of the Canonical ABI that share no code with them: they ask the WIT library for offsets.
//!
//! The library's parser is the one that schemas are parsed with; its sizes, alignments and
//! signatures are used nowhere else. How wasmtime lowers the same values is not compared: it runs
//! no components here.

mod oracle;

use std::sync::Arc;

use ::schema::{CoreType, CoreValue, Method, Schema, Type, Value, lift_result, lower_args};
use rand::RngExt;
use rand::rngs::StdRng;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};

use self::oracle::{Bad, Oracle, Wit};
use crate::generate::placed::{Arena, Placed, STATE};
use crate::generate::{bytes, decision, schema, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;

/// Memories of one schema that are read as they are, and as many that were changed.
const MEMORIES: u64 = 8;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    let text = match rng.random_bool(0.8) {
        true => schema::package(&mut rng),
        false => decision::schema(&mut rng),
    };
    let Ok(schema) = Schema::parse(&text) else {
        tally.add("schemas refused", 1);
        return Ok(());
    };
    let oracle = Oracle::new(&text)?;
    let about = |problem| format!("{problem}, of {}", &text[..text.floor_char_boundary(4000)]);
    layouts(&schema, &oracle).map_err(about)?;
    for _ in 0..MEMORIES {
        state(&mut rng, &schema, &oracle).map_err(about)?;
    }
    spellings(&mut rng, &schema).map_err(about)?;
    for method in schema.methods().iter().chain(schema.create()) {
        signature(method, &oracle).map_err(about)?;
        arguments(&mut rng, method, &oracle).map_err(about)?;
        result(&mut rng, method, &oracle).map_err(about)?;
    }
    tally.add("schemas", 1);
    tally.add("memories", 2 * MEMORIES);
    Ok(())
}

/// Sizes, alignments and offsets.
fn layouts(schema: &Schema, oracle: &Oracle) -> Outcome {
    let state = oracle.state();
    let offsets = oracle.offsets(&state);
    let fields = &schema.state().fields;
    equal("fields", &offsets.len(), &fields.len())?;
    for (field, (offset, ty)) in fields.iter().zip(&offsets) {
        equal(&field.name, offset, &(field.offset as usize))?;
        same(&field.ty, ty, oracle)?;
    }
    let size = schema.state().layout();
    equal("the state", &oracle.layout(&state), &(size.size as usize, size.align as usize))?;
    for method in schema.methods().iter().chain(schema.create()) {
        let function = oracle.function(&method.name);
        for (ours, theirs) in method.params.iter().zip(&function.params) {
            same(&ours.ty, &theirs.ty, oracle)?;
        }
        if let (Some(ours), Some(theirs)) = (&method.result, &function.result) {
            same(ours, theirs, oracle)?;
        }
    }
    Ok(())
}

/// Requires that a type, with all its parts, is laid out as the oracle says.
fn same(ours: &Type, theirs: &Wit, oracle: &Oracle) -> Outcome {
    let layout = ours.layout();
    let found = (layout.size as usize, layout.align as usize);
    equal(&format!("size and alignment of {ours}"), &oracle.layout(theirs), &found)?;
    let parts = oracle.parts(theirs);
    let inner: Vec<&Type> = match ours {
        Type::List(item) => vec![item],
        Type::Option(payload) => vec![payload],
        Type::Record(record) => {
            let found: Vec<usize> = record.fields.iter().map(|it| it.offset as usize).collect();
            let expected: Vec<usize> = oracle.offsets(theirs).iter().map(|it| it.0).collect();
            equal(&format!("offsets of {ours}"), &expected, &found)?;
            record.fields.iter().map(|field| &field.ty).collect()
        }
        Type::Tuple(tuple) => {
            let found: Vec<usize> = tuple.items.iter().map(|it| it.1 as usize).collect();
            let expected: Vec<usize> = oracle.offsets(theirs).iter().map(|it| it.0).collect();
            equal(&format!("offsets of {ours}"), &expected, &found)?;
            tuple.items.iter().map(|item| &item.0).collect()
        }
        Type::Variant(variant) => {
            variant.cases.iter().filter_map(|case| case.payload.as_ref()).collect()
        }
        Type::Result(result) => result.ok.iter().chain(&result.err).collect(),
        _ => Vec::new(),
    };
    equal(&format!("parts of {ours}"), &parts.len(), &inner.len())?;
    inner.into_iter().zip(&parts).try_for_each(|(ours, theirs)| same(ours, theirs, oracle))
}

/// A state that we put in memory is read there by the oracle, and the other way round; and of a
/// memory that was changed both read the same, or neither can.
fn state(rng: &mut StdRng, schema: &Schema, oracle: &Oracle) -> Outcome {
    let record = Type::Record(Arc::new(schema.state().clone()));
    let ty = oracle.state();
    let placed = Placed::draw(rng, &record);
    let read = oracle.read(&placed.image, STATE as usize, &ty);
    agree("a state that we put there", &Ok(placed.value.clone()), &read)?;
    let mut memory = oracle.place(&placed.value, &ty);
    let read = must("reading a state", schema.read_state(&memory[..], STATE))?;
    agree("a state that the oracle put there", &Ok(placed.value), &Ok(read))?;
    for _ in 0..rng.random_range(1..6) {
        // Most of the memory is nothing.
        let end = if rng.random_bool(0.7) { STATE as usize + 64 } else { memory.len() };
        let at = rng.random_range(STATE as usize..end.min(memory.len()));
        let number = match rng.random_bool(0.5) {
            true => rng.random_range(0..4),
            false => bytes::number(rng),
        };
        let number = number.to_le_bytes();
        let count = [1, 1, 2, 4, 8][rng.random_range(0..5)].min(memory.len() - at);
        memory[at..at + count].copy_from_slice(&number[..count]);
    }
    let expected = oracle.read(&memory, STATE as usize, &ty);
    if matches!(expected, Err(Bad::TooMuch)) {
        return Ok(());
    }
    let found = schema.read_state(&memory[..], STATE);
    let valid = schema.validate_state(&memory[..], STATE).is_ok();
    equal("that a changed state is valid", &expected.is_ok(), &valid)?;
    agree("a changed state", &found.map_err(|_| Bad::Invalid), &expected)
}

/// Requires that two values are the same, NaNs included, unless one is too large to be read.
fn agree(what: &str, expected: &Result<Value, Bad>, found: &Result<Value, Bad>) -> Outcome {
    if [expected, found].contains(&&Err(Bad::TooMuch)) {
        return Ok(());
    }
    equal(what, &format!("{expected:?}"), &format!("{found:?}"))
}

/// A place has one path, and a number one text.
fn spellings(rng: &mut StdRng, schema: &Schema) -> Outcome {
    const SPELLINGS: [&str; 6] = ["+", "0", " ", "-", "_", ""];
    for field in &schema.state().fields {
        let before = SPELLINGS[rng.random_range(0..SPELLINGS.len())];
        if matches!(field.ty, Type::List(_) | Type::Tuple(_)) {
            let path = |before: &str| format!("{}.{before}1", field.name);
            let is_known = |path: &str| schema.resolve(path).is_ok();
            let plain = is_known(&path(""));
            equal("that a path is known", &(plain && before.is_empty()), &is_known(&path(before)))?;
        }
        let number = bytes::number(rng);
        let (value, text) = match field.ty {
            Type::U64 => (Value::U64(number), format!("{before}{number}")),
            Type::S64 => {
                let number = number.cast_signed();
                // A sign is of the number.
                let before = if before == "-" { "" } else { before };
                (Value::S64(number), format!("{before}{number}"))
            }
            _ => continue,
        };
        let shown = value.to_json().to_string();
        let plain = shown == text;
        let read = Value::from_json(&text.clone().into(), &field.ty).ok();
        equal("a number as text", &plain.then_some(value), &read)?;
    }
    Ok(())
}

/// The core types of a method's export.
fn signature(method: &Method, oracle: &Oracle) -> Outcome {
    let signature = exported(method, oracle);
    let core = |types: &[WasmType]| types.iter().map(core_type).collect::<Vec<_>>();
    hold("the parameters of a method are passed as core values", !signature.indirect_params)?;
    equal("core parameters", &core(&signature.params), &method.core_params())?;
    equal("core results", &core(&signature.results), &method.core_results())
}

fn exported(method: &Method, oracle: &Oracle) -> WasmSignature {
    let function = oracle.function(&method.name);
    oracle.resolve().wasm_signature(AbiVariant::GuestExport, function)
}

fn core_type(ty: &WasmType) -> CoreType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => CoreType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => CoreType::I64,
        WasmType::F32 => CoreType::F32,
        WasmType::F64 => CoreType::F64,
    }
}

/// Arguments that we lower are lifted by the oracle.
fn arguments(rng: &mut StdRng, method: &Method, oracle: &Oracle) -> Outcome {
    let values: Vec<Value> =
        method.params.iter().map(|param| decision::value(rng, &param.ty)).collect();
    let mut arena = Arena::new();
    let flat = must("lowering", lower_args(&values, &method.params, &mut arena))?;
    let expected: Vec<CoreType> = exported(method, oracle).params.iter().map(core_type).collect();
    let found: Vec<CoreType> = flat.iter().map(type_of).collect();
    equal("the types of core values", &expected, &found)?;
    let mut flat = flat.into_iter();
    for (value, param) in values.iter().zip(&oracle.function(&method.name).params) {
        let lifted = oracle.lift(&mut flat, &arena.image, &param.ty);
        agree("an argument", &Ok(value.clone()), &lifted)?;
    }
    equal("core values that are left", &0, &flat.count())
}

fn type_of(core: &CoreValue) -> CoreType {
    match core {
        CoreValue::I32(_) => CoreType::I32,
        CoreValue::I64(_) => CoreType::I64,
        CoreValue::F32(_) => CoreType::F32,
        CoreValue::F64(_) => CoreType::F64,
    }
}

/// A result that the oracle lowers is lifted by us.
fn result(rng: &mut StdRng, method: &Method, oracle: &Oracle) -> Outcome {
    let Some(ours) = &method.result else { return Ok(()) };
    let value = decision::value(rng, ours);
    let theirs = oracle.function(&method.name).result.expect("both have a result");
    let (memory, core) = match exported(method, oracle).retptr {
        true => (oracle.place(&value, &theirs), CoreValue::I32(STATE)),
        false => (Vec::new(), oracle.lower(&value, &theirs)),
    };
    let lifted = must("lifting a result", lift_result(method, Some(core), &memory[..]))?;
    let lifted = lifted.ok_or("a result is lifted")?;
    agree("a result", &Ok(value), &Ok(lifted))
}
