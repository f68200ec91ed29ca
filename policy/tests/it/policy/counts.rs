//! Counts of lists in the states before and after, which Cedar cannot take itself.

use continuant_policy::{Decision, Values};
use expect_test::{Expect, expect};
use schema::{Schema, Value};

use super::{ANYONE, decide, decide_compiled, facts, on_record, print, record};

const WIT: &str = "package a:b; interface c {
    enum phase { on-ground, in-air }
    record state {
        key-names: list<string>, numbers: list<u64>, marks: list<bool>, letters: list<char>,
        phases: list<phase>, digest: list<u8>, pairs: list<tuple<u8, u8>>,
    }
    go: func();
}";

fn texts(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| (*text).into()).collect())
}

fn numbers(numbers: &[u64]) -> Value {
    Value::List(numbers.iter().map(|number| (*number).into()).collect())
}

fn state(names: Value, numbers: Value) -> Value {
    let phase = |name: &str| Value::Enum(name.to_string());
    record(&[
        ("key-names", names),
        ("numbers", numbers),
        ("marks", Value::List(vec![true.into(), false.into(), true.into()])),
        ("letters", Value::List(vec!['a'.into(), '\u{e9}'.into()])),
        ("phases", Value::List(vec![phase("in-air"), phase("in-air")])),
        ("digest", Value::Bytes(vec![1, 2])),
        ("pairs", Value::List(Vec::new())),
    ])
}

/// Returns the decision on a step from one state to another under a condition, and whether compiled
/// rules took it.
fn decision(condition: &str, before: &Value, after: &Value) -> (Decision, bool) {
    let schema = Schema::parse(WIT).unwrap();
    let rules =
        format!("{ANYONE}@id(\"a\") forbid(principal, action, resource) unless {{ {condition} }};");
    let policy = on_record(&rules, &schema);
    let values = Values { before, after, input: &[] };
    let compiled = decide_compiled(&policy, &schema, &facts("go"), &values).is_some();
    (decide(&policy, &schema, &facts("go"), &values), compiled)
}

#[test]
fn items_are_counted_before_and_after_and_so_are_those_that_come_and_go() {
    let before = state(texts(&["x", "y", "x"]), numbers(&[1, 2]));
    let after = state(texts(&["z", "y", "z", "u"]), numbers(&[]));
    for condition in [
        "context.counts.key_names.before == 3 && context.counts.key_names.after == 4",
        // Repeated items count as often as they are there.
        "context.counts.key_names.added == 3 && context.counts.key_names.removed == 2",
        "context.counts.numbers.before == 2 && context.counts.numbers.after == 0",
        "context.counts.numbers.added == 0 && context.counts.numbers.removed == 2",
        "context.counts.marks.before == 3 && context.counts.marks.added == 0",
        "context.counts.letters.after == 2 && context.counts.letters.removed == 0",
        "context.counts.phases.after == 2 && context.counts.phases.added == 0",
        "!(context.counts has digest) && !(context.counts has pairs)",
        "!(context.effects has nothing) && !(context.lineage has past)",
    ] {
        let (decision, compiled) = decision(condition, &before, &after);
        assert_eq!(
            (print(&decision).as_str(), compiled),
            ("permit by anyone", true),
            "{condition}"
        );
    }
}

#[track_caller]
fn check(condition: &str, before: &Value, after: &Value, want: Expect) {
    want.assert_eq(&print(&decision(condition, before, after).0));
}

#[test]
fn what_is_too_large_to_be_read_is_too_large_to_be_counted() {
    let few = state(texts(&["x"]), numbers(&[7]));
    let many = |count: u64| state(texts(&["x"]), numbers(&(0..count).collect::<Vec<_>>()));
    let added = "context.counts.numbers.added == 1023 && context.counts.numbers.removed == 0";
    check(added, &few, &many(1024), expect!["permit by anyone"]);
    check(
        added,
        &few,
        &many(1025),
        expect!["refuse by []: counts.numbers.added is larger than a policy may read"],
    );
    check(
        "context.counts.numbers.before == 1025",
        &many(1025),
        &few,
        expect!["refuse by []: counts.numbers.before is larger than a policy may read"],
    );
    // Only as much of a text is looked at as a policy may read: these two begin alike.
    let long = |end: &str| state(texts(&[&("x".repeat(5000) + end)]), numbers(&[]));
    check(
        "context.counts.key_names.added == 1",
        &long("a"),
        &long("b"),
        expect!["refuse by []: counts.key_names.added is larger than a policy may read"],
    );
    check(
        "context.counts.key_names.after == 1",
        &long("a"),
        &long("b"),
        expect!["permit by anyone"],
    );
}

#[test]
fn what_no_rule_can_say_is_counted_all_the_same() {
    let (one, other) = (state(texts(&[]), numbers(&[1 << 63])), state(texts(&[]), numbers(&[3])));
    let condition = "context.counts.numbers.added == 1 && context.counts.numbers.removed == 1";
    check(condition, &one, &other, expect!["permit by anyone"]);
}

#[test]
fn sets_that_take_long_to_compare_are_left_to_cedar() {
    let many = |from: u64| state(texts(&[]), numbers(&(from..from + 200).collect::<Vec<_>>()));
    let condition = "context.counts.numbers.added == 50 && context.counts.numbers.removed == 50";
    let (decision, compiled) = decision(condition, &many(0), &many(50));
    assert_eq!((print(&decision).as_str(), compiled), ("permit by anyone", false));
}
