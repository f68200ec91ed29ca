//! Compiled rules: the decisions that they take, and those that they leave to Cedar. Every test of
//! a decision checks that the two agree.

use continuant_policy::Decision;
use schema::{Schema, Value};

use super::{decide, decide_compiled, facts, mapping, parse, print, record, values};

/// Returns whether a condition holds on the mapping's step, by the compiled rules.
fn compiled(condition: &str, change: impl FnOnce(&mut Vec<(&'static str, Value)>)) -> Option<bool> {
    let mut state = mapping::state();
    change(&mut state);
    mapping::with_step(condition, &record(&state), |policy, schema, facts, values| {
        let cedar = decide(policy, schema, facts, values);
        let compiled = decide_compiled(policy, schema, facts, values)?;
        assert_eq!(compiled, cedar, "{condition}");
        Some(matches!(compiled, Decision::Permit { .. }))
    })
}

#[track_caller]
fn check(condition: &str, want: Option<bool>) {
    assert_eq!(compiled(condition, |_| ()), want, "{condition}");
}

#[test]
fn each_operator_decides() {
    for condition in [
        "context.before.live && !(context.before.level == 5) || false",
        "if context.before.live then context.before.level < 0 else false",
        "(if context.before.level > 0 then \"x\" else context.before.name) like \"a*b*\"",
        "context.before.level + 7 == 2 && context.before.level * -2 >= 10",
        "-context.before.level == 5 && context.before.level - 1 <= -6",
        "context.before.digest == \"00ff\" && context.before.digest like \"*0f*\"",
        "context.before.letter == \"\u{e9}\" && context.before.letter != context.before.name",
        "context.before.letter like \"*\u{e9}\" && !(context.before.letter like \"*e\")",
        "context.before.doors == [\"rear-left\"] && !context.before.doors.isEmpty()",
        "context.before.numbers == [1, 3] && context.before.numbers != [3]",
        "context.before.numbers.containsAny([7, 3]) && !context.before.numbers.containsAll([1, 2])",
        "context.before.names.contains(\"y\") && [\"x\", \"z\"].containsAny(context.before.names)",
        "context.before.phases.contains(context.before.phase) == false",
        "context.before.place has note && !(context.before has last.note)",
        "principal in [Key::\"no\", Key::\"KEY\"]",
        "resource != Object::\"\" && resource is Object && !(principal is Anonymous)",
        "action == Action::\"move\" && context.input.to.x_axis == 9",
        "action == Action::\"move\" && context.input has speed && context.input.speed == 70",
        "action in [Action::\"move\"] && !(context.input.to has note)",
        "context.effects.outputs.contains(\"arrived\")",
        "context.effects has wake && context.effects.wake == 12",
        "context.lineage.seq + context.lineage.age + context.cost.fuel + context.cost.pages == 26",
        "context.time == 9 && !context.signers.isEmpty()",
    ] {
        let condition = condition.replace("KEY", &"cd".repeat(32));
        check(&condition, Some(true));
        check(&format!("!({condition})"), Some(false));
    }
}

/// The constructs that the compiler's documentation lists as not compiled.
#[test]
fn what_is_not_compiled_is_left_to_cedar() {
    for condition in [
        "context.before == context.after",
        "context.cost == {fuel: 7, pages: 8}",
        "(if context.time == 9 then context.before else context.after).level == -5",
        "[principal].contains(principal)",
        "[context.before.level].contains(-5)",
    ] {
        check(condition, None);
    }
}

#[test]
fn what_takes_more_than_a_decision_is_left_to_cedar() {
    check("context.before.level + 9223372036854775807 > 0", Some(true));
    check("context.time + 9223372036854775807 > 0", None);
    check("-context.before.level * 9223372036854775807 > 0", None);
    let set = |field: &'static str, value: Value| {
        move |state: &mut Vec<(&'static str, Value)>| {
            state.iter_mut().find(|(name, _)| *name == field).unwrap().1 = value;
        }
    };
    let numbers = |numbers: &[u64]| Value::List(numbers.iter().map(|&n| n.into()).collect());
    let read = "context.before.numbers.contains(1)";
    assert_eq!(compiled(read, set("numbers", numbers(&[1, u64::MAX]))), None);
    let many: Vec<u64> = (0..1025).collect();
    assert_eq!(compiled(read, set("numbers", numbers(&many))), None);
    assert_eq!(compiled(read, set("numbers", numbers(&many[..400]))), Some(true));
    let name = "context.before.name like \"*x\"";
    assert_eq!(compiled(name, set("name", "x".repeat(4097).as_str().into())), None);
}

#[test]
fn a_rule_is_not_asked_about_an_action_that_it_does_not_name() {
    let schema = Schema::parse(
        "package a:b; interface c { record state { n: u64, m: u64 } one: func(); two: func(); }",
    );
    let schema = schema.unwrap();
    let text = r#"
        @id("b") permit(principal, action == Action::"one", resource)
        when { context.before.n < 5 };
        @id("a") permit(principal, action == Action::"two", resource)
        when { context.before.m < 5 };
        @id("c") forbid(principal, action == Action::"two", resource)
        when { context.before == context.after };
    "#;
    let policy = parse(text, &schema).unwrap();
    let uncompiled: Vec<_> = policy.uncompiled().collect();
    assert_eq!(uncompiled, [("two", "a record as a value")]);
    let state = record(&[("n", 1u64.into()), ("m", u64::MAX.into())]);
    let (facts, values) = (facts("one"), values(&state));
    assert_eq!(print(&decide(&policy, &schema, &facts, &values)), "permit by b");
    assert!(decide_compiled(&policy, &schema, &facts, &values).is_some());
}

/// A scope that tests the principal first kept actions that it does not name from being compiled.
#[test]
fn arguments_of_another_action_are_in_nobodys_way() {
    let schema = Schema::parse(
        "package a:b; interface c { record state { n: u64 } one: func(by: u64); two: func(); }",
    );
    let text = r#"
        @id("a") permit(principal is Key, action == Action::"one", resource)
        when { context.input.by < 5 };
        @id("b") permit(principal is Anonymous, action == Action::"two", resource);
    "#;
    let schema = schema.unwrap();
    let policy = parse(text, &schema).unwrap();
    assert_eq!(policy.uncompiled().count(), 0);
    let state = record(&[("n", 1u64.into())]);
    let compiled = decide_compiled(&policy, &schema, &facts("two"), &values(&state)).unwrap();
    assert_eq!(print(&compiled), "permit by b");
}

/// A policy that says much of each of many methods is not that much for each of them in memory.
#[test]
fn programs_are_bounded() {
    let methods: String = (0..200).map(|index| format!("m{index}: func(); ")).collect();
    let wit = format!("package a:b; interface c {{ record state {{ n: u64 }} {methods} }}");
    let schema = Schema::parse(&wit).unwrap();
    let rules = (0..25).map(|index| {
        let sum = vec!["context.time"; 30].join(" + ");
        format!("@id(\"r{index}\") permit(principal, action, resource) when {{ {sum} == 1 }};\n")
    });
    let policy = parse(&rules.collect::<String>(), &schema).unwrap();
    let uncompiled: Vec<_> = policy.uncompiled().collect();
    assert!((100..200).contains(&uncompiled.len()), "{} actions", uncompiled.len());
    let why = "more rules for more actions than programs have room for";
    assert!(uncompiled.iter().all(|(_, found)| *found == why), "{uncompiled:?}");
}
