//! The Cedar form of each WIT type, its bounds, and the values that rules do not read.

use continuant_policy::{Facts, Policy, Principal, Values, derived_schema};
use expect_test::{Expect, expect, expect_file};
use object::credential::PublicKey;
use object::effects::Output;
use object::time::Time;
use schema::{Schema, Value};

use super::{ANYONE, OBJECT, decide, facts, on_record, parse, print, record, values};

const WIT: &str = "
    package fleet:thing@1.0.0;

    interface thing {
        enum phase { on-ground, in-air }
        flags doors { front, rear-left }
        record place { x-axis: s32, y: f32, note: option<string> }
        variant outcome { fine, bad(string) }
        record state {
            live: bool,
            level: s8,
            letter: char,
            name: string,
            phase: phase,
            doors: doors,
            digest: list<u8>,
            numbers: list<u64>,
            names: list<string>,
            phases: list<phase>,
            place: place,
            last: option<place>,
            in: u32,
            %if: u32,
            principal: u32,
            ratio: f64,
            pair: tuple<u8, u8>,
            outcome: outcome,
            tried: result<u8>,
            digests: list<list<u8>>,
            maybe: option<option<u8>>,
        }
        move: func(to: place, speed: option<u32>, weights: list<f32>);
    }";

fn place(x: i32, note: Option<&str>) -> Value {
    record(&[("x-axis", x.into()), ("y", 1.5f32.into()), ("note", note.into())])
}

pub(super) fn state() -> Vec<(&'static str, Value)> {
    let texts = |texts: &[&str]| Value::List(texts.iter().map(|text| (*text).into()).collect());
    let phases = ["in-air", "in-air"].map(|phase| Value::Enum(phase.to_string()));
    vec![
        ("live", true.into()),
        ("level", (-5i8).into()),
        ("letter", 'é'.into()),
        ("name", "a \"b\"".into()),
        ("phase", Value::Enum("on-ground".to_string())),
        ("doors", Value::Flags(vec!["rear-left".to_string()])),
        ("digest", vec![0u8, 0xff].into()),
        ("numbers", Value::List(vec![3u64.into(), 1u64.into(), 3u64.into()])),
        ("names", texts(&["x", "y"])),
        ("phases", Value::List(phases.to_vec())),
        ("place", place(-1, Some("here"))),
        ("last", Value::Option(None)),
        ("in", 1u32.into()),
        ("if", 2u32.into()),
        ("principal", 3u32.into()),
        ("ratio", 0.5f64.into()),
        ("pair", Value::Tuple(vec![1u8.into(), 2u8.into()])),
        ("outcome", Value::Variant("fine".to_string(), None)),
        ("tried", Value::Result(Ok(Some(Box::new(1u8.into()))))),
        ("digests", Value::List(Vec::new())),
        ("maybe", Value::Option(None)),
    ]
}

/// A policy of one rule that forbids, and a step in which something of everything happens.
pub(super) fn with_step<T>(
    condition: &str,
    state: &Value,
    body: impl FnOnce(&Policy, &Schema, &Facts<'_>, &Values<'_>) -> T,
) -> T {
    let schema = Schema::parse(WIT).unwrap();
    let rule =
        format!("{ANYONE}@id(\"a\") forbid(principal, action, resource) unless {{ {condition} }};");
    let policy = on_record(&rule, &schema);
    let input = [
        ("to".to_string(), place(9, None)),
        ("speed".to_string(), Some(70u32).into()),
        ("weights".to_string(), Value::List(Vec::new())),
    ];
    let arrived = Output { name: "arrived".to_string(), payload: Vec::new() };
    let facts = Facts {
        principal: Principal::Key([0xcd; 32]),
        signers: &[PublicKey([0xcd; 32])],
        outputs: &[arrived],
        wake: Some(Time::from_millis(12)),
        seq: 5,
        age_ms: 6,
        fuel: 7,
        pages: 8,
        time: Time::from_millis(9),
        ..facts("move")
    };
    body(&policy, &schema, &facts, &Values { input: &input, ..values(state) })
}

/// Returns the decision on that step.
fn decision(condition: &str, state: &Value) -> String {
    with_step(condition, state, |policy, schema, facts, values| {
        print(&decide(policy, schema, facts, values))
    })
}

fn check_holds(condition: &str) {
    assert_eq!(decision(condition, &record(&state())), "permit by anyone", "{condition}");
}

#[test]
fn each_type_is_seen_as_the_mapping_says() {
    for condition in [
        "context.before.live",
        "context.before.level == -5",
        "context.before.letter == \"é\"",
        "context.before.name == \"a \\\"b\\\"\" && context.before.name like \"a*\"",
        "context.before.phase == \"on-ground\"",
        "context.before.doors == [\"rear-left\"]",
        "context.before.digest == \"00ff\"",
        "context.before.numbers == [1, 3] && context.before.numbers.contains(1)",
        "context.before.names.containsAll([\"y\", \"x\"])",
        "context.before.phases == [\"in-air\"]",
        "context.before.place.x_axis == -1",
        "context.before.place has note && context.before.place.note == \"here\"",
        "!(context.before has last)",
        "!(context.before has last.note)",
        "context.before[\"in\"] == 1 && context.before[\"if\"] == 2",
        "context.before.principal == 3",
        "context.before == context.after",
        "(if context.time == 9 then context.before else context.after).level == -5",
        "context.before.place == context.after.place",
    ] {
        check_holds(condition);
    }
}

#[test]
fn the_step_is_seen() {
    let of_move = |condition: &str| format!("action != Action::\"move\" || ({condition})");
    check_holds(&of_move("context.input.to.x_axis == 9 && !(context.input.to has note)"));
    check_holds(&of_move("context.input has speed && context.input.speed == 70"));
    let key = "cd".repeat(32);
    for condition in [
        &format!("principal is Key && principal == Key::\"{key}\""),
        &format!("context.signers == [\"{key}\"]"),
        &format!("resource == Object::\"{}\"", "07".repeat(32)),
        "context.effects.outputs == [\"arrived\"]",
        "context.effects has wake && context.effects.wake == 12",
        "context.lineage.seq == 5 && context.lineage.age == 6",
        "context.cost.fuel == 7 && context.cost.pages == 8",
        "context.cost == {fuel: 7, pages: 8} && context.time == 9",
    ] {
        check_holds(condition);
    }
    assert_eq!(OBJECT.to_string(), "07".repeat(32));
}

/// Checks the decision when a field has another value.
fn check_with(field: &str, value: Value, condition: &str, want: Expect) {
    let mut state = state();
    let found = state.iter_mut().find(|(name, _)| *name == field).unwrap();
    found.1 = value;
    want.assert_eq(&decision(condition, &record(&state)));
}

#[test]
fn what_cedar_cannot_represent_refuses_if_a_rule_reads_it() {
    let numbers = || Value::List(vec![1u64.into(), (1u64 << 63).into()]);
    check_with(
        "numbers",
        numbers(),
        "context.before.numbers.contains(1)",
        expect!["refuse by []: before.numbers is above what a policy can count to"],
    );
    check_with(
        "numbers",
        numbers(),
        "context.before == context.after",
        expect!["refuse by []: before.numbers is above what a policy can count to"],
    );
    check_with("numbers", numbers(), "context.before.live", expect!["permit by anyone"]);
}

#[test]
fn what_is_too_large_refuses_if_a_rule_reads_it() {
    let list = |count: u64| Value::List((0..count).map(Value::from).collect());
    let read = "context.before.numbers.contains(1)";
    check_with("numbers", list(1024), read, expect!["permit by anyone"]);
    check_with(
        "numbers",
        list(1025),
        read,
        expect!["refuse by []: before.numbers is larger than a policy may read"],
    );
    check_with("numbers", list(1025), "context.before.live", expect!["permit by anyone"]);
    let text = |bytes: usize| Value::from("x".repeat(bytes).as_str());
    check_with("name", text(4096), "context.before.name like \"x*\"", expect!["permit by anyone"]);
    check_with(
        "name",
        text(4097),
        "context.before.name like \"x*\"",
        expect!["refuse by []: before.name is larger than a policy may read"],
    );
    let bytes = |count: usize| Value::Bytes(vec![0; count]);
    check_with(
        "digest",
        bytes(2049),
        "context.before.digest like \"0*\"",
        expect!["refuse by []: before.digest is larger than a policy may read"],
    );
    let texts = Value::List(vec![text(4000); 300]);
    check_with(
        "names",
        texts,
        "context.before.names.contains(\"x\")",
        expect!["refuse by []: before.names is larger than a policy may read"],
    );
}

#[test]
fn a_value_that_is_not_of_the_schema_refuses() {
    check_with(
        "live",
        1u8.into(),
        "context.before.live",
        expect!["refuse by []: before.live is not of the policy's schema"],
    );
    let policy = "context.before.live";
    expect!["refuse by []: before is not of the policy's schema"]
        .assert_eq(&decision(policy, &Value::Bool(true)));
    expect!["refuse by []: before.live is not of the policy's schema"]
        .assert_eq(&decision(policy, &record(&[("alive", true.into())])));
}

#[test]
fn the_derived_schema_leaves_out_what_cedar_has_no_type_for() {
    expect_file!["mapping.cedarschema"]
        .assert_eq(&derived_schema(&Schema::parse(WIT).unwrap()).unwrap());
}

#[test]
fn a_schema_with_too_much_to_see_has_no_policy() {
    let fields: String = (0..300).map(|index| format!("field{index}: u8, ")).collect();
    let methods: String = (0..200).map(|index| format!("method{index}: func();\n")).collect();
    let wit = format!("package a:b; interface c {{ record state {{ {fields} }}\n{methods} }}");
    let schema = Schema::parse(&wit).unwrap();
    expect![[r#"
        the schema gives a policy more than 32768 attributes to read, with the state
            counted twice for each method
    "#]]
    .assert_eq(&parse(ANYONE, &schema).unwrap_err());
    assert!(derived_schema(&schema).is_err());
}
