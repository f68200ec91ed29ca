//! The README's policies: each permits what it says that it permits, and refuses what it says that
//! it refuses.

use std::collections::BTreeMap;

use continuant_object::credential::PublicKey;
use continuant_object::policy::{Facts, Principal, Values};
use continuant_object::schema::{Schema, Value};

use super::{decide, facts, parse, print, record};

const README: &str = include_str!("../../../../README.md");

/// A step of the README's object, and what a policy says of it. Keys are numbers.
#[derive(Clone, Copy)]
struct Step<'a> {
    action: &'a str,
    input: &'a [(&'a str, Input<'a>)],
    signers: &'a [u8],
    /// Before and after.
    board: [u8; 3],
    /// Count and entries, before and after; the owner stays.
    states: [(u64, &'a [&'a str]); 2],
    decision: &'a str,
}

#[derive(Clone, Copy)]
enum Input<'a> {
    Number(u64),
    Text(&'a str),
}

const OWNER: u8 = 1;
const BOARD: [u8; 3] = [2, 3, 4];
const STRANGER: u8 = 5;

/// Nobody signs an increment by 2, which is done right.
const INCREMENT: Step<'static> = Step {
    action: "increment",
    input: &[("by", Input::Number(2))],
    signers: &[],
    board: BOARD,
    states: [(3, &[]), (5, &[])],
    decision: "",
};

/// Nobody appends `b`, which is done right.
const APPEND: Step<'static> = Step {
    action: "append",
    input: &[("entry", Input::Text("b"))],
    signers: &[],
    board: BOARD,
    states: [(0, &["a"]), (0, &["a", "b"])],
    decision: "",
};

const NOT_PERMITTED: &str = "refuse by []: no rule permits it";

/// What is expected of each policy, by its name.
const EXPECTED: &[(&str, &[Step<'static>])] = &[
    (
        "Owner only",
        &[
            Step { signers: &[OWNER], decision: "permit by owner", ..INCREMENT },
            Step { signers: &[OWNER, STRANGER], decision: "permit by owner", ..APPEND },
            Step { signers: &[STRANGER], decision: NOT_PERMITTED, ..INCREMENT },
            Step { decision: NOT_PERMITTED, ..INCREMENT },
        ],
    ),
    (
        "k of n",
        &[
            Step { signers: &[2, 4], decision: "permit by two-of-three", ..INCREMENT },
            Step { signers: &BOARD, decision: "permit by two-of-three", ..INCREMENT },
            Step { signers: &[3, STRANGER], decision: NOT_PERMITTED, ..INCREMENT },
            Step { signers: &[OWNER], decision: NOT_PERMITTED, ..INCREMENT },
            Step {
                signers: &[2],
                board: [2, 2, 4],
                decision: "refuse by [distinct]: a rule forbids it",
                ..INCREMENT
            },
        ],
    ),
    (
        "Append only",
        &[
            Step { decision: "permit by append", ..APPEND },
            Step {
                states: [(0, &["a"]), (0, &["b"])],
                decision: "refuse by [kept]: a rule forbids it",
                ..APPEND
            },
            Step { states: [(0, &["a"]), (0, &["a"])], decision: NOT_PERMITTED, ..APPEND },
            Step { decision: NOT_PERMITTED, ..INCREMENT },
        ],
    ),
    (
        "Monotone counter",
        &[
            Step { decision: "permit by count", ..INCREMENT },
            Step {
                states: [(3, &[]), (6, &[])],
                decision: "refuse by [exact]: a rule forbids it",
                ..INCREMENT
            },
            Step {
                action: "write",
                input: &[],
                states: [(3, &[]), (2, &[])],
                decision: "refuse by [monotone]: a rule forbids it",
                ..INCREMENT
            },
            Step { action: "write", input: &[], decision: "permit by count", ..INCREMENT },
        ],
    ),
];

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// The part of the README that is about policies.
fn section() -> &'static str {
    let rest = README.split_once("\n## Policies\n").unwrap().1;
    rest.split_once("\n## ").unwrap().0
}

/// The first block of a language in a text.
fn block<'t>(text: &'t str, language: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("```{language}\n"))?;
    Some(rest.split_once("```").unwrap().0)
}

/// The policies by their names, which stand before them in bold.
fn policies() -> BTreeMap<&'static str, &'static str> {
    let named = section().split("\n**").skip(1).map(|part| {
        let (name, rest) = part.split_once(".**").unwrap();
        (name, block(rest, "cedar").unwrap())
    });
    named.collect()
}

fn state(board: [u8; 3], (count, entries): (u64, &[&str])) -> Value {
    let bytes = |number: u8| Value::from(key(number).0.to_vec());
    let [first, second, third] = board.map(bytes);
    record(&[
        ("owner", bytes(OWNER)),
        ("board", record(&[("first", first), ("second", second), ("third", third)])),
        ("count", count.into()),
        ("entries", Value::List(entries.iter().map(|entry| (*entry).into()).collect())),
    ])
}

fn check(name: &str, text: &str, schema: &Schema, step: Step<'_>) {
    let policy = parse(text, schema).unwrap();
    assert_eq!(policy.uncompiled().count(), 0, "{name}");
    let signers: Vec<PublicKey> = step.signers.iter().map(|&number| key(number)).collect();
    let principal = signers.first().map_or(Principal::Anonymous, |key| Principal::Key(key.0));
    let facts = Facts { principal, signers: &signers, ..facts(step.action) };
    let [before, after] = step.states.map(|states| state(step.board, states));
    let input = step.input.iter().map(|(name, value)| {
        let value = match value {
            Input::Number(number) => (*number).into(),
            Input::Text(text) => (*text).into(),
        };
        ((*name).to_string(), value)
    });
    let input: Vec<(String, Value)> = input.collect();
    let values = Values { before: &before, after: &after, input: &input };
    let decision = decide(&policy, schema, &facts, &values);
    assert_eq!(print(&decision), step.decision, "{name}: {}", step.action);
}

#[test]
fn each_of_the_readmes_policies_permits_and_refuses() {
    let schema = Schema::parse(block(section(), "wit").unwrap()).unwrap();
    let policies = policies();
    let blocks = section().matches("```cedar").count();
    assert_eq!((policies.len(), EXPECTED.len()), (blocks, blocks), "each has a name and a test");
    for (name, steps) in EXPECTED {
        let permits = |step: &&Step<'_>| step.decision.starts_with("permit");
        let permitted = steps.iter().filter(permits).count();
        assert!((1..steps.len()).contains(&permitted), "{name} is tested both ways");
        steps.iter().for_each(|step| check(name, policies[name], &schema, *step));
    }
}
