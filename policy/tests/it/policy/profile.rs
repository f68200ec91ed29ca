//! The promise of the profile: accepted text parses, validates and decides on a stack of
//! `STACK_BYTES`, with room to spare; and no text at all panics.

use continuant_policy::{Decision, Policy, Refusal, STACK_BYTES};
use schema::{Schema, Value};

use super::{aircraft, facts, on_stack, record, values};
use crate::source::Source;

const WIT: &str = "
    package deep:thing@1.0.0;
    interface thing {
        record state { yes: bool, one: u32, text: string }
    }";
const YES: &str = "context.before.yes";
const ONE: &str = "context.before.one";

/// Wraps `seed` in `levels` layers of `wrap`.
fn nest(seed: &str, levels: usize, wrap: impl Fn(&str) -> String) -> String {
    (0..levels).fold(seed.to_string(), |inner, _| wrap(&inner))
}

/// A chain that starts with `inner`, which makes the tree deep on its left.
fn left(inner: &str, operator: &str, atom: &str, count: usize) -> String {
    format!("({inner}{})", format!(" {operator} {atom}").repeat(count))
}

/// A chain that ends with `inner`.
fn right(inner: &str, operator: &str, atom: &str, count: usize) -> String {
    format!("({}{inner})", format!("{atom} {operator} ").repeat(count))
}

/// Conditions as deep as the profile lets them be, in each way that Cedar's grammar nests.
fn deepest() -> Vec<(&'static str, String)> {
    let ands = |atom: &str| format!("{YES} && ").repeat(4) + atom;
    vec![
        ("and on the left", nest(YES, 31, |inner| left(inner, "&&", YES, 7))),
        ("and in long chains", nest(YES, 3, |inner| left(inner, "&&", YES, 64))),
        ("and in one chain", left(YES, "&&", YES, 240)),
        ("or in one chain", left(YES, "||", YES, 240)),
        ("or of equalities", format!("{ONE} == 1 || ").repeat(119) + ONE + " == 1"),
        ("a sum in one chain", left(ONE, "+", "0", 240) + " < 5"),
        ("many clauses", format!("{YES} }} when {{ ").repeat(230) + YES),
        ("or of chains", nest(YES, 2, |inner| right(inner, "||", YES, 120))),
        ("and on the right", nest(YES, 31, |inner| right(inner, "&&", YES, 7))),
        ("or on the left", nest(YES, 31, |inner| left(inner, "||", YES, 7))),
        ("sums", nest(ONE, 30, |inner| left(inner, "+", "0", 7)) + " < 5"),
        ("differences", nest(ONE, 30, |inner| right(inner, "-", "0", 7)) + " < 5"),
        ("products", nest(ONE, 30, |inner| left(inner, "*", "1", 7)) + " < 5"),
        ("equalities", nest(YES, 31, |inner| format!("({inner} != false)"))),
        ("parentheses", nest(YES, 31, |inner| format!("({inner})"))),
        ("not", nest(YES, 31, |inner| format!("!!!!({inner} && {YES} && {YES})"))),
        ("minus", nest(ONE, 30, |inner| format!("----({inner} + 0 + 0)")) + " < 5"),
        (
            "if in a condition",
            nest(YES, 31, |inner| {
                format!("(if {inner} then {YES} else if {YES} then {YES} else {YES})")
            }),
        ),
        (
            "if in a branch",
            nest(YES, 31, |inner| {
                format!("(if {YES} then {YES} else if {YES} then {YES} else {inner})")
            }),
        ),
        ("if behind else", format!("if {YES} then {YES} else ").repeat(80) + YES),
        ("if in then", {
            let inner = |inner: &str| format!("if {YES} then {inner} else {YES}");
            nest(YES, 80, inner)
        }),
        ("records", nest(YES, 31, |inner| format!("{{a: {}}}.a", ands(inner)))),
        (
            "sets",
            nest("1", 14, |inner| format!("[{inner}]"))
                + " == "
                + &nest("1", 14, |inner| format!("[{inner}]")),
        ),
        ("calls", nest(YES, 31, |inner| format!("[{YES}].contains({YES} && {inner})"))),
        (
            "like",
            nest("context.before.text", 30, |inner| {
                format!("(if {inner} like \"*a*\" && {YES} then \"a\" else \"b\")")
            }) + " like \"*\"",
        ),
        ("has", nest(YES, 31, |inner| format!("({inner} && context has before.one && {YES})"))),
        (
            "clauses",
            format!("{YES} }} when {{ ").repeat(60)
                + &nest(YES, 23, |inner| left(inner, "&&", YES, 7)),
        ),
    ]
}

fn rule(condition: &str) -> String {
    format!("@id(\"a\") permit(principal, action, resource) when {{ {condition} }};")
}

fn state() -> Value {
    record(&[("yes", true.into()), ("one", 1u32.into()), ("text", "a".into())])
}

#[test]
fn the_deepest_rules_take_a_fraction_of_the_promised_stack() {
    let schema = Schema::parse(WIT).unwrap();
    for (name, condition) in deepest() {
        let decision = on_stack(STACK_BYTES / 2, || {
            let policy = Policy::parse(&rule(&condition), &schema)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            policy.decide(&facts("write"), &values(&state()))
        });
        let whole =
            !matches!(decision, Decision::Refuse { reason: Refusal::EvaluationError { .. }, .. });
        assert!(whole, "{name}: {decision:?}");
    }
}

#[test]
fn one_more_of_anything_is_outside_the_profile() {
    let schema = Schema::parse(WIT).unwrap();
    for condition in [
        nest(YES, 32, |inner| format!("({inner})")),
        left(YES, "&&", YES, 241),
        "true || ".repeat(241) + "true",
        nest(YES, 4, |inner| left(inner, "&&", YES, 64)),
        nest(YES, 31, |inner| left(inner, "&&", YES, 8)),
        format!("if {YES} then {YES} else ").repeat(81) + YES,
        format!("context{}", ".before".repeat(65)),
    ] {
        let error =
            on_stack(STACK_BYTES, || Policy::parse(&rule(&condition), &schema)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("more than"), "{text}");
    }
}

/// Pieces of rules, put together at random.
const PIECES: [&str; 44] = [
    "permit",
    "forbid",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "principal",
    "action",
    "resource",
    "context",
    ".before",
    ".yes",
    ".one",
    ".text",
    "==",
    "!=",
    "<",
    "&&",
    "||",
    "+",
    "-",
    "*",
    "!",
    "in",
    "is",
    "has",
    "like",
    "if",
    "then",
    "else",
    "when",
    "unless",
    ";",
    ",",
    ":",
    "::",
    "@id(\"a\")",
    "\"a*\"",
    "1",
    "99999999999999999999",
    "Action::\"write\"",
    "true",
];

fn random_text(source: &mut Source) -> String {
    let count = source.below(400);
    (0..count).map(|_| PIECES[source.below(PIECES.len())].to_string() + " ").collect()
}

/// A condition that nests at random, often beyond the profile.
fn random_nest(source: &mut Source) -> String {
    let levels = source.below(40);
    let mut inner = [YES, ONE, "principal", "[]", "{}"][source.below(5)].to_string();
    for _ in 0..levels {
        let count = source.below(8);
        inner = match source.below(10) {
            0 => left(&inner, "&&", YES, count),
            1 => right(&inner, "||", YES, count),
            2 => left(&inner, "+", ONE, count),
            3 => format!("{}({inner})", "!".repeat(count)),
            4 => format!("{}({inner})", "-".repeat(count)),
            5 => format!("[{inner}].contains({inner})"),
            6 => format!("{{a: {inner}}}.a"),
            7 => format!("(if {inner} then {inner} else {inner})"),
            8 => format!("({inner}{})", ".before".repeat(count)),
            _ => format!("({inner} like \"*\" == {inner} has one.two)"),
        };
        if inner.len() > 60_000 {
            break;
        }
    }
    inner
}

fn mutated(source: &mut Source, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + source.below(4) {
        let at = source.below(bytes.len());
        match source.below(4) {
            0 => bytes[at] = b' ' + source.below(95) as u8,
            1 => {
                bytes.remove(at);
            }
            2 => {
                let end = (at + source.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let piece = PIECES[source.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_text_panics_and_what_parses_decides() {
    let schema = Schema::parse(WIT).unwrap();
    let mut source = Source::random();
    let rounds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 20_000 } else { 300 };
    let mut parsed = 0;
    for _ in 0..rounds {
        let whole = rule(&format!("{YES} && {ONE} + 1 < 3 || {YES}"));
        let text = match source.below(5) {
            0 => random_text(&mut source),
            1 => rule(&random_nest(&mut source)),
            2 => mutated(&mut source, &whole),
            3 => whole,
            _ => mutated(&mut source, aircraft::POLICY),
        };
        on_stack(STACK_BYTES, || {
            if let Ok(policy) = Policy::parse(&text, &schema) {
                parsed += 1;
                policy.decide(&facts("write"), &values(&state()));
            }
        });
    }
    assert!(parsed > 0, "none of {rounds} texts was a policy");
}
