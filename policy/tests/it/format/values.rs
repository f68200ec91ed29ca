//! Payloads, the state in memory, and JSON: an example for each row.

use object::limits::{PAGE_BYTES, STATE_BYTES_MAX, STATE_VALUES_MAX};
use schema::{Layout, Schema, Type, Value, decode_value, encode_value, store};
use serde_json::{Value as Json, json};

use super::{document, rows};

pub(super) const TABLES: &[&str] =
    &["Payloads", "State in memory", "Valid states", "Values as JSON"];

const WIT: &str = "package a:b; interface i {
    enum light { red, green }
    flags needs { fuel, ice, crew }
    record spot { row: u16, flag: option<u8> }
    variant event { delay(u32), cancel }
    record state {
        %bool: bool, %u8: u8, %s8: s8, %u16: u16, %s16: s16, %u32: u32, %s32: s32, %u64: u64,
        %s64: s64, %f32: f32, %f64: f64, %char: char, %string: string, %list: list<u16>,
        %bytes: list<u8>,
        %record: spot, %tuple: tuple<u8, u16>, %enum: light, %flags: needs, %variant: event,
        %option: option<u16>, %nested: option<option<u8>>, %result: result<u8, string>,
        %done: result,
    }
}";

fn field(name: &str) -> Type {
    Schema::parse(WIT).unwrap().state().field(name).unwrap().ty.clone()
}

/// Returns for each field the row that it exemplifies, a value and its payload.
fn examples() -> Vec<(&'static str, &'static str, Json, Vec<u8>)> {
    vec![
        ("`bool`", "bool", json!(true), vec![1]),
        ("`u8`, `s8`", "u8", json!(200), vec![200]),
        ("`u8`, `s8`", "s8", json!(-2), vec![0xFE]),
        ("`u16`, `s16`", "u16", json!(0x1234), vec![0x34, 0x12]),
        ("`u16`, `s16`", "s16", json!(-2), vec![0xFE, 0xFF]),
        ("`u32`, `s32`", "u32", json!(0x1234_5678), vec![0x78, 0x56, 0x34, 0x12]),
        ("`u32`, `s32`", "s32", json!(-2), vec![0xFE, 0xFF, 0xFF, 0xFF]),
        ("`u64`, `s64`", "u64", json!(258), vec![2, 1, 0, 0, 0, 0, 0, 0]),
        ("`u64`, `s64`", "s64", json!(-1), vec![0xFF; 8]),
        ("`f32`", "f32", json!(1.0), vec![0, 0, 0x80, 0x3F]),
        ("`f64`", "f64", json!(1.0), vec![0, 0, 0, 0, 0, 0, 0xF0, 0x3F]),
        ("`char`", "char", json!("é"), vec![0xE9, 0, 0, 0]),
        ("`string`", "string", json!("é"), vec![2, 0, 0, 0, 0xC3, 0xA9]),
        ("`list<T>`", "list", json!([1, 2]), vec![2, 0, 0, 0, 1, 0, 2, 0]),
        ("`list<T>`", "bytes", json!("0102"), vec![2, 0, 0, 0, 1, 2]),
        ("`record`, `tuple`", "record", json!({ "row": 3, "flag": null }), vec![3, 0, 0]),
        ("`record`, `tuple`", "tuple", json!([1, 2]), vec![1, 2, 0]),
        ("`enum`", "enum", json!("green"), vec![1]),
        ("`flags`", "flags", json!(["fuel", "crew"]), vec![0b101]),
        ("`variant`", "variant", json!({ "delay": 5 }), vec![0, 5, 0, 0, 0]),
        ("`variant`", "variant", json!("cancel"), vec![1]),
        ("`option<T>`", "option", json!(5), vec![1, 5, 0]),
        ("`option<T>`", "option", json!(null), vec![0]),
        ("`option<T>`", "nested", json!({ "some": null }), vec![1, 0]),
        ("`result<T, E>`", "result", json!({ "ok": 7 }), vec![0, 7]),
        ("`result<T, E>`", "result", json!({ "err": "" }), vec![1, 0, 0, 0, 0]),
        ("`result<T, E>`", "done", json!({ "err": null }), vec![1]),
    ]
}

#[test]
fn payloads() {
    let rows = rows("Payloads", ["Type", "Bytes"]);
    for (row, name, json, bytes) in examples() {
        let ty = field(name);
        let value = Value::from_json(&json, &ty).unwrap();
        assert_eq!(encode_value(&value, &ty).unwrap(), bytes, "{name}");
        assert_eq!(decode_value(&bytes, &ty).unwrap(), value, "{name}");
        let [_, said] = rows.iter().find(|[ty, _]| ty == row).expect(row);
        let width: String = said.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(width) = width.parse::<usize>() {
            let whole = ty.layout().size as usize == bytes.len();
            assert!(bytes.len() == width || !whole, "{name} takes {width}");
        }
    }
    for [row, _] in &rows {
        assert!(examples().iter().any(|example| example.0 == row), "an example of {row}");
    }
    for (name, value) in [("f32", Value::F32(-f32::NAN)), ("f64", Value::F64(-f64::NAN))] {
        let mut bytes = encode_value(&value, &field(name)).unwrap();
        bytes.reverse();
        let nan: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let [_, said] = rows.iter().find(|[ty, _]| *ty == format!("`{name}`")).unwrap();
        assert!(said.ends_with(&format!("the only NaN is `{nan}`")), "{said}");
    }
    for (ty, count, width) in [
        ("enum", 256, 1),
        ("enum", 257, 2),
        ("variant", 256, 1),
        ("variant", 257, 2),
        ("flags", 8, 1),
        ("flags", 9, 2),
        ("flags", 16, 2),
        ("flags", 17, 4),
        ("flags", 32, 4),
    ] {
        let names: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
        let names = names.join(", ");
        let wit =
            format!("package a:b; interface i {{ {ty} t {{ {names} }} record state {{ f: t }} }}");
        let schema = Schema::parse(&wit).unwrap();
        let ty = &schema.state().fields[0].ty;
        assert_eq!(ty.layout().size, width, "{ty} of {count}");
        let zero = decode_value(&vec![0; width as usize], ty).unwrap();
        assert_eq!(encode_value(&zero, ty).unwrap().len(), width as usize);
    }
}

#[test]
fn state_in_memory() {
    let rows = rows("State in memory", ["Type", "Size", "Alignment"]);
    let [scalars, pointers, sequences, cases] = &rows[..] else { panic!("{} rows", rows.len()) };
    assert_eq!(scalars[0], "scalars, `enum`, `flags`");
    for (_, name, json, bytes) in examples() {
        let (ty, Layout { size, align }) = (field(name), field(name).layout());
        match &ty {
            Type::String | Type::List(_) => {
                assert!(pointers[1].starts_with(&format!("{size}:")), "{name}");
                assert_eq!(pointers[2], align.to_string(), "{name}");
            }
            Type::Record(record) => {
                assert_eq!(sequences[0], "`record`, `tuple`");
                let parts = record.fields.iter().map(|field| (&field.ty, field.offset));
                check_sequence(parts, ty.layout());
            }
            Type::Tuple(tuple) => {
                check_sequence(tuple.items.iter().map(|(ty, at)| (ty, *at)), ty.layout());
            }
            Type::Variant(variant) => {
                assert_eq!(cases[0], "`variant`, `option`, `result`");
                let payloads = variant.cases.iter().filter_map(|case| case.payload.as_ref());
                assert_eq!(variant.payload_offset(), check_cases(payloads, ty.layout()));
            }
            Type::Result(result) => {
                let payloads = result.ok.iter().chain(&result.err);
                assert_eq!(result.payload_offset(), check_cases(payloads, ty.layout()));
            }
            Type::Option(payload) => {
                let at = check_cases(std::iter::once(&**payload), ty.layout()) as usize;
                let value = Value::from_json(&json, &ty).unwrap();
                let mut memory = vec![0; size as usize];
                store(&value, &ty, &mut memory).unwrap();
                assert_eq!(memory[0], bytes[0], "the discriminant");
                assert_eq!(memory[at..at + bytes.len() - 1], bytes[1..], "the payload");
            }
            _ => {
                assert_eq!((size as usize, align), (bytes.len(), size), "{name}");
                let mut memory = vec![0; size as usize];
                store(&Value::from_json(&json, &ty).unwrap(), &ty, &mut memory).unwrap();
                assert_eq!(memory, bytes, "{name}");
            }
        }
    }
}

fn check_sequence<'a>(parts: impl Iterator<Item = (&'a Type, u32)>, whole: Layout) {
    let (mut end, mut align) = (0_u32, 1);
    for (ty, offset) in parts {
        let layout = ty.layout();
        assert_eq!(offset, end.next_multiple_of(layout.align), "{ty}");
        (end, align) = (offset + layout.size, align.max(layout.align));
    }
    assert_eq!(whole, Layout { size: end.next_multiple_of(align), align });
}

/// Returns the payload's offset, by the rule, in a type with a discriminant of a byte.
fn check_cases<'a>(payloads: impl Iterator<Item = &'a Type>, whole: Layout) -> u32 {
    let layouts: Vec<Layout> = payloads.map(Type::layout).collect();
    let align = layouts.iter().map(|layout| layout.align).max().unwrap_or(1);
    let size = layouts.iter().map(|layout| layout.size).max().unwrap_or(0);
    let offset = 1_u32.next_multiple_of(align);
    assert_eq!(whole, Layout { size: (offset + size).next_multiple_of(align), align });
    offset
}

#[test]
fn valid_states() {
    let schema = Schema::parse(WIT).unwrap();
    let end = 2 * PAGE_BYTES as u32;
    let address = |bytes: u32, count: u32| [bytes.to_le_bytes(), count.to_le_bytes()].concat();
    // Damage that makes a state of zeros invalid: the row, the field, its bytes there, and the
    // words.
    let damage: Vec<(&str, &str, Vec<u8>, &str)> = vec![
        ("`bool`", "bool", vec![2], "0 or 1"),
        ("`char`", "char", vec![0, 0xD8, 0, 0], "a Unicode scalar value"),
        ("discriminant", "variant", vec![2], "a discriminant below 2"),
        ("discriminant", "enum", vec![2], "a discriminant below 2"),
        ("`flags`", "flags", vec![8], "no bit beyond the flags"),
        ("`string`, `list` address", "list", address(1, 0), "a multiple of 2"),
        ("`string`, `list` bytes", "list", address(end, 1), "bytes within"),
        ("`string`, `list` bytes", "string", address(end + 1, 0), "bytes within"),
        ("`string`", "string", address(0, 1), "UTF-8"),
    ];
    let rows = rows("Valid states", ["What", "Must be"]);
    for [row, must] in &rows[..rows.len() - 2] {
        assert!(damage.iter().any(|example| example.0 == row), "an example of {row}: {must}");
    }
    for (row, name, bytes, words) in damage {
        assert!(rows.iter().any(|[known, _]| known == row), "{row}");
        let mut memory = vec![0; end as usize];
        memory[0] = 0xFF; // no text
        schema.validate_state(&memory[..], PAGE_BYTES as u32).unwrap();
        let at = PAGE_BYTES + schema.state().field(name).unwrap().offset as usize;
        memory[at..at + bytes.len()].copy_from_slice(&bytes);
        let error = schema.validate_state(&memory[..], PAGE_BYTES as u32).unwrap_err().to_string();
        assert!(error.contains(words), "{row}: {error}");
    }
    let together = rows[rows.len() - 2..].iter().map(|row| row[0].as_str());
    let expected = ["all strings and lists together", "all values together"];
    assert_eq!(together.collect::<Vec<_>>(), expected);
    let half = STATE_BYTES_MAX as u32 / 2;
    let mut memory = vec![0; PAGE_BYTES + STATE_BYTES_MAX as usize];
    let mut put = |name: &str, bytes: u32, item: u32| {
        let at = schema.state().field(name).unwrap().offset as usize;
        memory[at..at + 8].copy_from_slice(&address(PAGE_BYTES as u32, bytes / item));
        schema.validate_state(&memory[..], 0)
    };
    put("string", half, 1).unwrap();
    put("bytes", half, 1).unwrap();
    assert!(put("list", 2, 2).is_err());
    put("list", 0, 2).unwrap();
    put("string", 0, 1).unwrap();
    put("list", 2 * (STATE_VALUES_MAX as u32 - 100), 2).unwrap();
    assert!(put("list", 2 * STATE_VALUES_MAX as u32, 2).is_err());
    put("list", 0, 2).unwrap();
    put("bytes", STATE_BYTES_MAX as u32, 1).unwrap();
}

#[test]
fn values_as_json() {
    let rows = rows("Values as JSON", ["Type", "JSON"]);
    let examples: Vec<(&str, &str, Json)> = vec![
        ("`bool`", "bool", json!(false)),
        ("integers", "s64", json!(i64::MIN)),
        ("integers", "u64", json!(u64::MAX)),
        ("`f32`, `f64`", "f32", json!(0.5)),
        ("`f32`, `f64`", "f64", json!("-Infinity")),
        ("`f32`, `f64`", "f64", json!("NaN")),
        ("`char`, `string`, `enum`", "char", json!("x")),
        ("`char`, `string`, `enum`", "string", json!("text")),
        ("`char`, `string`, `enum`", "enum", json!("red")),
        ("`list<u8>`", "bytes", json!("00ff")),
        ("`list<T>`, `tuple`", "list", json!([3])),
        ("`list<T>`, `tuple`", "tuple", json!([3, 4])),
        ("`record`", "record", json!({ "row": 3, "flag": 4 })),
        ("`flags`", "flags", json!(["ice"])),
        ("`option<T>`", "option", json!(null)),
        ("`option<T>`", "option", json!(3)),
        ("`option<T>`", "nested", json!({ "some": 3 })),
        ("`variant`", "variant", json!("cancel")),
        ("`variant`", "variant", json!({ "delay": 3 })),
        ("`result`", "result", json!({ "ok": 3 })),
        ("`result`", "done", json!({ "err": null })),
    ];
    for [row, _] in &rows {
        assert!(examples.iter().any(|example| example.0 == row), "an example of {row}");
    }
    for (row, name, json) in &examples {
        assert!(rows.iter().any(|[known, _]| known == row), "{row}");
        let value = Value::from_json(json, &field(name)).unwrap();
        let again = value.to_json();
        assert_eq!(again, *json, "{name}");
    }
    let read = |name: &str, json: Json| Value::from_json(&json, &field(name));
    assert_eq!(
        read("record", json!({ "row": 3 })),
        read("record", json!({ "row": 3, "flag": null }))
    );
    assert!(read("record", json!({ "flag": 3 })).is_err());
    assert!(read("record", json!({ "row": 3, "more": 3 })).is_err());
    assert_eq!(read("bytes", json!("00FF")), read("bytes", json!("00ff")));
    assert!(document().contains("lower case when written"));
}
