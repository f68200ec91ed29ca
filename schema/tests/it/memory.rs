//! States, results and paths in linear memory, honest and hostile.

use expect_test::{Expect, expect};
use object::ErrorKind;
use object::limits::{PAGE_BYTES, STATE_BYTES_MAX};
use schema::{
    CoreType, CoreValue, Method, Schema, Type, Value, lift_result, lower_args, read_value, store,
};

use crate::generate::{Arena, types, value, wit};
use crate::source::Source;

fn schema(source: &mut Source) -> Schema {
    loop {
        if let Ok(schema) = Schema::parse(&wit(source)) {
            return schema;
        }
    }
}

fn state_value(source: &mut Source, schema: &Schema) -> Value {
    value(source, &Type::Record(schema.state().clone().into()))
}

#[test]
fn a_state_is_read_as_it_was_written() {
    let mut source = Source::random();
    for _ in 0..300 {
        let schema = schema(&mut source);
        let value = state_value(&mut source, &schema);
        let mut arena = Arena::new(source.below(3 * PAGE_BYTES));
        let state = arena.place_state(value.clone(), schema.state());
        let memory = arena.image.as_slice();
        schema.validate_state(memory, state).unwrap();
        assert_eq!(schema.read_state(memory, state).unwrap(), value, "{}", schema.text());
        let Value::Record(fields) = value else { panic!("a state is a record") };
        for (name, expected) in fields {
            assert_eq!(schema.read(memory, state, &name).unwrap(), expected);
            assert_eq!(schema.read(memory, state, &name.replace('-', "_")).unwrap(), expected);
        }
    }
}

#[test]
fn a_state_in_hostile_memory_is_valid_exactly_when_it_can_be_read() {
    let mut source = Source::random();
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..200 {
        let schema = schema(&mut source);
        let value = state_value(&mut source, &schema);
        let mut arena = Arena::new(0);
        let state = arena.place_state(value, schema.state());
        let size = schema.state().layout().size as usize;
        for _ in 0..20 {
            let mut image = arena.image.clone();
            for _ in 0..1 + source.below(4) {
                let near = state as usize + source.below(size);
                let at = [near, near, source.below(image.len())][source.below(3)];
                image[at] = [source.bits() as u8, 0, 1, 0xFF][source.below(4)];
            }
            if source.below(8) == 0 {
                image[state as usize..].fill_with(|| source.bits() as u8);
            }
            image.truncate(image.len() - source.below(2) * PAGE_BYTES);
            let validated = schema.validate_state(image.as_slice(), state);
            let read = schema.read_state(image.as_slice(), state);
            assert_eq!(validated.clone().err(), read.clone().err(), "{}", schema.text());
            for field in &schema.state().fields {
                let alone = schema.read(image.as_slice(), state, &field.name);
                assert!(alone.is_ok() || validated.is_err(), "{}", schema.text());
            }
            match validated {
                Ok(()) => valid += 1,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::State { .. }), "{error}");
                    invalid += 1;
                }
            }
        }
    }
    assert!(valid > 100 && invalid > 100, "{valid} valid, {invalid} invalid");
}

#[test]
fn a_result_is_lifted_as_it_was_lowered() {
    let mut source = Source::random();
    for _ in 0..300 {
        for ty in types(&schema(&mut source)) {
            let method = Method { name: "it".into(), params: Vec::new(), result: Some(ty.clone()) };
            let value = value(&mut source, &ty);
            let mut arena = Arena::new(source.below(100));
            let address = arena.place(value.clone(), ty.clone());
            let mut bytes = [0; 8];
            let size = ty.layout().size as usize;
            let core = match method.core_results()[..] {
                [CoreType::I32] if store(&value, &ty, &mut vec![0; size]).is_err() || size > 4 => {
                    CoreValue::I32(address)
                }
                [core] if is_single(&ty) => {
                    store(&value, &ty, &mut bytes[..size]).unwrap();
                    let bits = u64::from_le_bytes(bytes);
                    match core {
                        CoreType::I32 => CoreValue::I32(bits as u32),
                        CoreType::I64 => CoreValue::I64(bits),
                        CoreType::F32 => CoreValue::F32(bits as u32),
                        CoreType::F64 => CoreValue::F64(bits),
                    }
                }
                _ => CoreValue::I32(address),
            };
            let lifted = lift_result(&method, Some(core), arena.image.as_slice()).unwrap();
            assert_eq!(lifted, Some(value.clone()), "{ty}");
            assert_eq!(read_value(arena.image.as_slice(), address, &ty).unwrap(), value, "{ty}");
            assert!(lift_result(&method, None, arena.image.as_slice()).is_err());
        }
    }
}

#[test]
fn arguments_lower_to_the_core_types_of_their_method() {
    let mut source = Source::random();
    for _ in 0..300 {
        for method in schema(&mut source).methods() {
            let args = method.params.iter().map(|it| value(&mut source, &it.ty));
            let args = args.collect::<Vec<_>>();
            let mut arena = Arena::new(source.below(100));
            let flat = lower_args(&args, &method.params, &mut arena).unwrap();
            let types = flat.iter().map(|core| match core {
                CoreValue::I32(_) => CoreType::I32,
                CoreValue::I64(_) => CoreType::I64,
                CoreValue::F32(_) => CoreType::F32,
                CoreValue::F64(_) => CoreType::F64,
            });
            assert_eq!(types.collect::<Vec<_>>(), method.core_params());
            let (Some(first), Some(core)) = (method.params.first(), flat.first()) else { continue };
            if is_single(&first.ty) {
                let (name, result) = ("it".to_string(), Some(first.ty.clone()));
                let method = Method { name, params: Vec::new(), result };
                let lifted = lift_result(&method, Some(*core), arena.image.as_slice()).unwrap();
                assert_eq!(lifted.as_ref(), Some(&args[0]));
            }
        }
    }
}

/// Returns whether a value of the type is one core value that is no address.
fn is_single(ty: &Type) -> bool {
    match ty {
        Type::String | Type::List(_) | Type::Option(_) => false,
        Type::Record(record) => record.fields.len() == 1 && is_single(&record.fields[0].ty),
        Type::Tuple(tuple) => tuple.items.len() == 1 && is_single(&tuple.items[0].0),
        Type::Variant(variant) => variant.cases.iter().all(|case| case.payload.is_none()),
        Type::Result(result) => result.ok.is_none() && result.err.is_none(),
        _ => true,
    }
}

const GATE: &str = "package airport:gates;
    interface gate {
        enum light { red, green }
        record bag { label: string, grams: u32 }
        record state {
            is-up: bool, seen: u64, heat: f64, mark: char, light: light,
            bags: list<bag>, at: tuple<s16, bag>, name: string, next: option<u32>,
        }
    }";

fn gate() -> (Schema, Arena, u32) {
    let schema = Schema::parse(GATE).unwrap();
    let json = serde_json::json!({
        "is-up": true, "seen": 1_700_000_000_000u64, "heat": -2.5, "mark": "é",
        "light": "green", "bags": [{ "label": "a", "grams": 1 }, { "label": "bé", "grams": 2 }],
        "at": [-7, { "label": "c", "grams": 3 }], "name": "B 12", "next": 9,
    });
    let value = Value::from_json(&json, &Type::Record(schema.state().clone().into())).unwrap();
    let mut arena = Arena::new(1);
    let state = arena.place_state(value, schema.state());
    (schema, arena, state)
}

#[test]
fn a_place_is_found_once_and_read_as_its_type() {
    let (schema, arena, state) = gate();
    let memory = arena.image.as_slice();
    let place = |path: &str| schema.resolve(path).unwrap();
    assert!(place("is_up").get::<bool>(memory, state).unwrap());
    assert_eq!(place("seen").get::<u64>(memory, state).unwrap(), 1_700_000_000_000);
    assert_eq!(place("heat").get::<f64>(memory, state).unwrap(), -2.5);
    assert_eq!(place("mark").get::<char>(memory, state).unwrap(), 'é');
    assert_eq!(place("bags.1.grams").get::<u32>(memory, state).unwrap(), 2);
    assert_eq!(place("at.0").get::<i16>(memory, state).unwrap(), -7);
    assert_eq!(schema.read(memory, state, "at.1.label").unwrap(), Value::from("c"));
    assert_eq!(schema.read(memory, state, "bags.1.label").unwrap(), Value::from("bé"));
    assert_eq!(schema.read(memory, state, "light").unwrap(), Value::Enum("green".into()));

    let at = place("seen").address(memory, state).unwrap() as usize;
    assert_eq!(at as u32, state + schema.state().field("seen").unwrap().offset);
    assert_eq!(memory[at..at + 8], 1_700_000_000_000u64.to_le_bytes());
}

#[test]
fn a_path_that_leads_nowhere_says_what_there_is() {
    let (schema, arena, state) = gate();
    let check = |path: &str, expect: Expect| {
        let error = schema.read(arena.image.as_slice(), state, path).unwrap_err();
        expect.assert_eq(&error.to_string());
    };
    check(
        "",
        expect![[r#"no field ""; there is is-up, seen, heat, mark, light, bags, at, name, next"#]],
    );
    check(
        "closed",
        expect![[
            r#"no field "closed"; there is is-up, seen, heat, mark, light, bags, at, name, next"#
        ]],
    );
    check("at.2", expect![[r#"no item "2"; there is 0, 1"#]]);
    check("at.1.kilos", expect![[r#"no field "kilos"; there is label, grams"#]]);
    check("bags.first", expect![[r#"no item "first"; there is an index"#]]);
    // A place has one path.
    for path in ["bags.+1", "bags.01", "bags.-1", "bags. 1", "bags.1_0", "at.+1", "at.01", "at."] {
        let error = schema.read(arena.image.as_slice(), state, path).unwrap_err();
        assert!(error.to_string().starts_with("no item "), "{path}: {error}");
    }
    check("bags.2", expect!["state.bags.2 in memory: expected more than 2 items, found 2"]);
    check("next.value", expect![[r#"no field "value"; there is only option<u32> as a whole"#]]);
    let seen = schema.resolve("seen").unwrap().get::<u32>(arena.image.as_slice(), state);
    expect!["value seen: expected u32, found u64"].assert_eq(&seen.unwrap_err().to_string());
}

#[test]
fn damage_is_named_by_its_path() {
    let (schema, arena, state) = gate();
    let offset = |name: &str| (state + schema.state().field(name).unwrap().offset) as usize;
    let check = |at: usize, byte: u8, expect: Expect| {
        let mut image = arena.image.clone();
        image[at] = byte;
        let error = schema.validate_state(image.as_slice(), state).unwrap_err();
        expect.assert_eq(&error.to_string());
    };
    check(offset("is-up"), 2, expect!["state.is-up in memory: expected 0 or 1, found 0x2"]);
    check(
        offset("mark") + 1,
        0xD8,
        expect!["state.mark in memory: expected a Unicode scalar value, found 0xd8e9"],
    );
    check(
        offset("light"),
        2,
        expect!["state.light in memory: expected a discriminant below 2, found 2"],
    );
    check(
        offset("bags"),
        1,
        expect!["state.bags in memory: expected an address that is a multiple of 4, found 4097"],
    );
    check(
        offset("bags") + 5,
        0x10,
        expect![
            "state.bags in memory: expected bytes within the 8192 of memory, found 49176 at 4168"
        ],
    );
    check(
        offset("name") + 1,
        0x20,
        expect!["state.name in memory: expected bytes within the 8192 of memory, found 4 at 8293"],
    );
    check(
        offset("next"),
        7,
        expect!["state.next in memory: expected a discriminant below 2, found 7"],
    );
    let bags = schema.resolve("bags.1.label").unwrap();
    let label = bags.address(arena.image.as_slice(), state).unwrap() as usize;
    let text = u32::from_le_bytes(arena.image[label..label + 4].try_into().unwrap());
    check(
        text as usize + 1,
        b'x',
        expect!["state.bags.1.label in memory: expected UTF-8, found other bytes among 3 at 4193"],
    );
    let misaligned = schema.validate_state(arena.image.as_slice(), state + 8).unwrap_err();
    expect!["state in memory: expected an address that is a multiple of 4096, found 4104"]
        .assert_eq(&misaligned.to_string());
    assert!(schema.validate_state(arena.image.as_slice(), 0u32.wrapping_sub(4096)).is_err());
}

#[test]
fn text_may_cross_pages_anywhere() {
    let text = "aé€😀".repeat(1_000);
    for start in 0..12 {
        let mut arena = Arena::new(0);
        let address = arena.place(text.as_str().into(), Type::String);
        let from = u32::from_le_bytes(arena.image[address as usize..][..4].try_into().unwrap());
        let mut image = arena.image.clone();
        image.resize(image.len() + PAGE_BYTES, 0);
        let to = from + start;
        image.copy_within(from as usize..from as usize + text.len(), to as usize);
        image[address as usize..][..4].copy_from_slice(&to.to_le_bytes());
        let read = |image: &[u8]| read_value(image, address, &Type::String);
        assert_eq!(read(&image).unwrap(), Value::from(text.as_str()));
        let last = to as usize + text.len() - 1;
        image[last] = b'x';
        assert!(read(&image).unwrap_err().to_string().contains("UTF-8"));
        let boundary = (to as usize).next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
        image[boundary] = 0xFF;
        assert!(read(&image).is_err());
    }
}

#[test]
fn lists_that_share_bytes_cannot_make_a_walk_long() {
    let schema = Schema::parse(
        "package a:b; interface i { record state { all: list<list<list<string>>> } }",
    )
    .unwrap();
    // Every list is the same long list of itself, whose bytes happen to be text.
    let (count, list) = (0x1_0100u32, 0x1000u32);
    let mut image = vec![0; 4096 + 8 * count as usize];
    image.resize(image.len().next_multiple_of(PAGE_BYTES), 0);
    for at in std::iter::once(0).chain((0..count as usize).map(|index| 4096 + 8 * index)) {
        image[at..at + 4].copy_from_slice(&list.to_le_bytes());
        image[at + 4..at + 8].copy_from_slice(&count.to_le_bytes());
    }
    let error = schema.validate_state(image.as_slice(), 0).unwrap_err().to_string();
    assert!(error.contains(&format!("at most {STATE_BYTES_MAX} bytes")), "{error}");
}
