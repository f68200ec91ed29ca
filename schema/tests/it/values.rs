//! Payloads and JSON: there and back, mutated, refused, and the committed hashes.

use expect_test::{Expect, expect};
use object::ErrorKind;
use object::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_VALUES_MAX, STATE_BYTES_MAX, STATE_VALUES_MAX};
use schema::{Schema, Type, Value, decode_args, decode_value, encode_args, encode_value, store};
use serde_json::json;

use crate::generate::{types, value, wit};
use crate::source::Source;

fn schema(source: &mut Source) -> Schema {
    loop {
        if let Ok(schema) = Schema::parse(&wit(source)) {
            return schema;
        }
    }
}

fn flight() -> Schema {
    Schema::parse(
        "package airport:flights;
         interface flight {
             enum phase { boarding, departed }
             flags needs { fuel, ice }
             record crew { name: string, hours: u16 }
             variant event { delay(u32), cancel }
             record state {
                 seats: u64, weight: f32, phase: phase, needs: needs, lead: option<crew>,
                 log: list<event>, seal: list<u8>, gate: tuple<char, s8>,
                 last: result<u8, string>, done: result, maybe: option<option<u8>>,
             }
             board: func(count: u64, phase: phase, crew: option<crew>);
         }",
    )
    .unwrap()
}

fn field(name: &str) -> Type {
    flight().state().field(name).unwrap().ty.clone()
}

#[test]
fn payloads_and_json_go_there_and_back() {
    let mut source = Source::random();
    for _ in 0..200 {
        for ty in types(&schema(&mut source)) {
            let value = value(&mut source, &ty);
            let bytes = encode_value(&value, &ty).unwrap();
            assert_eq!(decode_value(&bytes, &ty).unwrap(), value, "{ty}");
            assert_eq!(Value::from_json(&value.to_json(), &ty).unwrap(), value, "{ty}");
        }
    }
}

#[test]
fn arguments_go_there_and_back() {
    let mut source = Source::random();
    for _ in 0..200 {
        for method in schema(&mut source).methods() {
            let args = method.params.iter().map(|it| value(&mut source, &it.ty));
            let args = args.collect::<Vec<_>>();
            let bytes = encode_args(&args, &method.params).unwrap();
            assert_eq!(decode_args(&bytes, &method.params).unwrap(), args);
        }
    }
}

#[test]
fn a_mutated_payload_is_refused_or_is_the_encoding_of_its_value() {
    let mut source = Source::random();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..300 {
        for ty in types(&schema(&mut source)) {
            let mut bytes = encode_value(&value(&mut source, &ty), &ty).unwrap();
            for _ in 0..1 + source.below(3) {
                let at = source.below(bytes.len() + 1);
                match source.below(3) {
                    0 => bytes.insert(at, source.bits() as u8),
                    1 => bytes.truncate(at),
                    _ if at < bytes.len() => bytes[at] ^= 1 << source.below(8),
                    _ => {}
                }
            }
            match decode_value(&bytes, &ty) {
                Ok(value) => {
                    assert_eq!(encode_value(&value, &ty).unwrap(), bytes, "{ty}");
                    accepted += 1;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Decode { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}

#[test]
fn there_is_one_encoding_of_not_a_number() {
    for (value, ty) in [(Value::F64(-f64::NAN), Type::F64), (Value::F32(-f32::NAN), Type::F32)] {
        let bytes = encode_value(&value, &ty).unwrap();
        let decoded = decode_value(&bytes, &ty).unwrap();
        assert_ne!(decoded, decoded.clone(), "it is not a number");
        let mut other = bytes.clone();
        other[0] ^= 1;
        assert!(decode_value(&other, &ty).unwrap_err().to_string().contains("canonical NaN"));
        assert_eq!(Value::from_json(&json!("NaN"), &ty).unwrap().to_json(), json!("NaN"));
    }
}

#[test]
fn arguments_are_widened_and_named_where_they_do_not_fit() {
    let schema = flight();
    let params = &schema.method("board").unwrap().params;
    let args = [Value::from(227u32), "departed".into(), Value::Option(None)];
    let decoded = decode_args(&encode_args(&args, params).unwrap(), params).unwrap();
    let expected = [Value::U64(227), Value::Enum("departed".into()), Value::Option(None)];
    assert_eq!(decoded, expected);

    let check = |args: &[Value], expect: Expect| {
        expect.assert_eq(&encode_args(args, params).unwrap_err().to_string());
    };
    let none = || Value::Option(None);
    check(
        &[Value::from(-1), "departed".into(), none()],
        expect!["value input.count: expected u64, found -1"],
    );
    check(
        &[Value::from(1), "landed".into(), none()],
        expect![[r#"value input.phase: expected one of boarding, departed, found "landed""#]],
    );
    check(
        &[Value::from(1)],
        expect!["value input: expected 3 arguments (count, phase, crew), found 1"],
    );
    let crew =
        Value::Record(vec![("name".into(), "Ada".into()), ("hours".into(), Value::from(70_000))]);
    check(
        &[Value::from(1), "departed".into(), Value::from(Some(crew))],
        expect!["value input.crew.some.hours: expected u16, found 70000"],
    );
    let crew = Value::Record(vec![("hours".into(), Value::from(7))]);
    check(
        &[Value::from(1), "departed".into(), Value::from(Some(crew))],
        expect!["value input.crew.some: expected field name at position 0, found hours"],
    );
}

#[test]
fn json_has_one_shape_per_type() {
    let schema = flight();
    let state = Type::Record(schema.state().clone().into());
    let given = json!({
        "seats": u64::MAX, "weight": 0.1, "phase": "boarding", "needs": ["ice", "fuel"],
        "lead": { "name": "Ada", "hours": 9 }, "log": [{ "delay": 30 }, "cancel"],
        "seal": "C0ffee", "gate": ["é", -1], "last": { "err": "late" }, "done": { "ok": null },
        "maybe": { "some": null },
    });
    let value = Value::from_json(&given, &state).unwrap();
    let mut expected = given.clone();
    expected["needs"] = json!(["fuel", "ice"]);
    expected["seal"] = json!("c0ffee");
    assert_eq!(value.to_json(), expected);

    let check = |name: &str, json: serde_json::Value, expect: Expect| {
        let error = Value::from_json(&json, &field(name)).unwrap_err();
        expect.assert_eq(&error.to_string());
    };
    check("seats", json!(-1), expect!["value itself: expected u64, found -1"]);
    check("seats", json!(1.0), expect!["value itself: expected u64, found 1.0"]);
    check("weight", json!(1e300), expect!["value itself: expected f32, found 1e+300"]);
    check(
        "phase",
        json!("landed"),
        expect![[r#"value itself: expected one of boarding, departed, found "landed""#]],
    );
    check(
        "needs",
        json!(["ice", "ice"]),
        expect![[r#"value 1: expected a flag, once, found "ice""#]],
    );
    check("lead", json!({ "name": "Ada" }), expect!["value hours: expected u16, found nothing"]);
    check(
        "lead",
        json!({ "name": "Ada", "hours": 1, "rank": 2 }),
        expect![[r#"value itself: expected one of name, hours, found "rank""#]],
    );
    check(
        "log",
        json!([{ "delay": 30 }, { "cancel": null }]),
        expect!["value 1: expected a case of event, found an object of 1 fields"],
    );
    check(
        "seal",
        json!("abc"),
        expect![[r#"value itself: expected hexadecimal digits, found "abc""#]],
    );
    check("gate", json!(["ab", 1]), expect![[r#"value 0: expected char, found "ab""#]]);
    check(
        "last",
        json!({ "ok": 1, "err": "" }),
        expect!["value itself: expected a case of result<u8, string>, found an object of 2 fields"],
    );
}

#[test]
fn whole_numbers_of_64_bits_are_read_from_strings_of_their_digits() {
    let read = |json: serde_json::Value, ty: &Type| Value::from_json(&json, ty);
    for number in [0, 7, 1 << 53, (1 << 53) + 1, u64::MAX] {
        let text = json!(number.to_string());
        assert_eq!(read(text, &Type::U64).unwrap(), Value::U64(number));
    }
    for number in [i64::MIN, -1, 0, i64::MAX] {
        let text = json!(number.to_string());
        assert_eq!(read(text, &Type::S64).unwrap(), Value::S64(number));
    }
    let wrong = ["", " 1", "1 ", "+1", "-0", "01", "1_0", "0x1", "1.0", "1e3", "one", "１"];
    for text in wrong.into_iter().chain(["18446744073709551616", "-9223372036854775809"]) {
        for ty in [Type::U64, Type::S64] {
            read(json!(text), &ty).unwrap_err();
        }
    }
    read(json!("-1"), &Type::U64).unwrap_err();
    for ty in [Type::U32, Type::S8, Type::F64, Type::Bool] {
        read(json!("1"), &ty).unwrap_err();
    }
}

#[test]
fn what_has_a_fixed_size_is_stored_and_nothing_else() {
    let mut bytes = [0xFF; 8];
    store(&Value::from(5), &field("seats"), &mut bytes).unwrap();
    assert_eq!(bytes, 5u64.to_le_bytes());
    let mut bytes = [0xFF; 2];
    store(&Value::Option(None), &Type::Option(Type::U8.into()), &mut bytes).unwrap();
    assert_eq!(bytes, [0, 0], "what a case leaves open is zero");
    let crew = json!({ "name": "Ada", "hours": 9 });
    let lead = field("lead");
    let mut bytes = vec![0; lead.layout().size as usize];
    let error = store(&Value::from_json(&crew, &lead).unwrap(), &lead, &mut bytes).unwrap_err();
    expect![[r#"value some.name: expected a value of a fixed size: use a method, found "Ada""#]]
        .assert_eq(&error.to_string());
}

/// Regression: a byte of a payload could become a kilobyte of values inside of each other.
#[test]
fn a_payload_has_at_most_so_many_values() {
    let nested = (1..13).fold("r0".to_string(), |inner, _| format!("tuple<{inner}>"));
    let text = format!(
        "package a:b; interface i {{
             record r0 {{ f: bool }}
             record state {{ flat: list<bool>, deep: list<{nested}> }}
         }}"
    );
    let schema = Schema::parse(&text).unwrap();
    let [flat, deep] = ["flat", "deep"].map(|name| schema.state().field(name).unwrap().ty.clone());
    let payload = |count: usize| [&(count as u32).to_le_bytes()[..], &vec![0; count]].concat();
    let most = PAYLOAD_BYTES_MAX - 4;
    let whole = decode_value(&payload(most), &flat).unwrap();
    assert_eq!(encode_value(&whole, &flat).unwrap(), payload(most));
    // Twelve tuples, a record and a truth.
    let most = (PAYLOAD_VALUES_MAX as usize - 1) / 14;
    let Value::List(mut items) = decode_value(&payload(most), &deep).unwrap() else { panic!() };
    let error = decode_value(&payload(most + 1), &deep).unwrap_err().to_string();
    assert!(error.contains("expected at most 1048576 values, found more"), "{error}");
    encode_value(&Value::List(items.clone()), &deep).unwrap();
    items.push(items[0].clone());
    let error = encode_value(&Value::List(items), &deep).unwrap_err().to_string();
    assert!(error.contains("expected at most 1048576 values, found more"), "{error}");
}

/// Regression: so could a byte of memory, in a result or a state.
#[test]
fn a_value_in_memory_has_at_most_so_many_values() {
    let text = "package a:b; interface i {
        record r { f: bool }
        record state { deep: list<tuple<tuple<r>>>, flat: list<u16> }
    }";
    let schema = Schema::parse(text).unwrap();
    let mut memory = vec![0; 4096 + STATE_BYTES_MAX as usize];
    let mut check = |at: usize, count: u64| {
        memory[at..at + 4].copy_from_slice(&4096u32.to_le_bytes());
        memory[at + 4..at + 8].copy_from_slice(&(count as u32).to_le_bytes());
        let validated = schema.validate_state(&memory[..], 0);
        let read = schema.read_state(&memory[..], 0);
        assert_eq!(validated.clone().err(), read.err());
        memory[at..at + 8].fill(0);
        validated.map_err(|error| error.to_string())
    };
    // The two lists are values too.
    let most = STATE_VALUES_MAX - 2;
    check(0, most / 4).unwrap();
    let error = check(0, most / 4 + 1).unwrap_err();
    assert!(error.contains("expected at most 4194304 values, found more"), "{error}");
    check(8, most).unwrap();
    expect!["state.flat in memory: expected at most 4194304 values, found more"]
        .assert_eq(&check(8, most + 1).unwrap_err());
}

/// These hashes cover every payload ever written: they never change.
#[test]
fn payload_encodings_are_those_of_format_version_1() {
    let mut source = Source::new(1);
    let mut hasher = blake3::Hasher::new();
    for round in 0..1_000 {
        let schema = if round % 2 == 0 { flight() } else { schema(&mut source) };
        for ty in types(&schema) {
            hasher.update(&encode_value(&value(&mut source, &ty), &ty).unwrap());
        }
    }
    expect!["743e5419c9d56281201d726fe2214ce2284ad5064b6c00b310835708406c2a67"]
        .assert_eq(&hasher.finalize().to_string());
}
