//! The guide's policies: each permits and refuses the steps that the guide says.

use std::collections::BTreeMap;
use std::sync::Arc;

use continuant_policy::{Facts, Policy, Principal, Values};
use object::credential::PublicKey;
use object::input::{Input as Asked, Request};
use object::ledger::{Ledger, Past};
use object::time::Time;
use schema::{Schema, Value, encode_args};

use super::{decide, facts, parse, print, record};

const GUIDE: &str = include_str!("../../../../docs/policies.md");

/// A step of the guide's object, for a policy to decide on. Keys are numbers.
#[derive(Clone, Copy)]
struct Step<'a> {
    action: &'a str,
    /// The field of a read.
    field: Option<&'a str>,
    input: &'a [(&'a str, Input<'a>)],
    signers: &'a [u8],
    /// The versions before the step: their action, their age in seconds, and their key.
    past: &'a [(&'a str, u64, u8)],
    /// Versions that follow these, each with its arguments.
    calls: &'a [(&'a str, u64, u8, &'a [Input<'a>])],
    /// Count and entries, before and after; the owner and the board stay.
    states: [(u64, &'a [&'a str]); 2],
    decision: &'a str,
}

#[derive(Clone, Copy)]
enum Input<'a> {
    Number(u64),
    Text(&'a str),
}

impl Input<'_> {
    fn value(&self) -> Value {
        match *self {
            Input::Number(number) => number.into(),
            Input::Text(text) => text.into(),
        }
    }
}

const OWNER: u8 = 1;
const BOARD: [u8; 3] = [2, 3, 4];
const STRANGER: u8 = 5;

/// Nobody signs an increment by 2, which is done right.
const INCREMENT: Step<'static> = Step {
    action: "increment",
    field: None,
    input: &[("by", Input::Number(2))],
    signers: &[],
    past: &[],
    calls: &[],
    states: [(3, &[]), (5, &[])],
    decision: "",
};

/// Nobody appends `b`, which is done right.
const APPEND: Step<'static> = Step {
    action: "append",
    field: None,
    input: &[("entry", Input::Text("b"))],
    signers: &[],
    past: &[],
    calls: &[],
    states: [(0, &["a"]), (0, &["a", "b"])],
    decision: "",
};

/// Nobody pays.
const PAY: Step<'static> = Step {
    action: "pay",
    field: None,
    input: &[("amount", Input::Number(7))],
    signers: &[],
    past: &[],
    calls: &[],
    states: [(0, &[]), (0, &[])],
    decision: "",
};

/// Nobody transfers 700.
const TRANSFER: Step<'static> = Step {
    action: "transfer",
    input: &[("amount", Input::Number(700)), ("to", Input::Text("ada"))],
    ..PAY
};

/// Nobody edits a document.
const EDIT: Step<'static> = Step {
    action: "edit",
    input: &[("document", Input::Text("plan")), ("text", Input::Text("no"))],
    ..PAY
};

/// Nobody reads the count.
const READ: Step<'static> = Step {
    action: "read",
    field: Some("count"),
    input: &[],
    signers: &[],
    past: &[],
    calls: &[],
    states: [(3, &["a"]), (3, &["a"])],
    decision: "",
};

const NOT_PERMITTED: &str = "refuse by []: no rule permits it";

/// The expected decisions of each policy, by its name.
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
            Step { signers: &[2, 4], decision: "permit by two-of-the-board", ..INCREMENT },
            Step { signers: &BOARD, decision: "permit by two-of-the-board", ..INCREMENT },
            Step { signers: &[3, STRANGER], decision: NOT_PERMITTED, ..INCREMENT },
            Step { signers: &[OWNER], decision: NOT_PERMITTED, ..INCREMENT },
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
    (
        "Rate limited",
        &[
            Step { decision: "permit by few", ..PAY },
            Step {
                past: &[("pay", 60, 0), ("pay", 59, 0), ("pay", 0, 0)],
                decision: "permit by few",
                ..PAY
            },
            Step {
                past: &[("pay", 59, 0), ("pay", 30, 0), ("pay", 0, 0)],
                decision: NOT_PERMITTED,
                ..PAY
            },
        ],
    ),
    (
        "Spending limit",
        &[
            Step { decision: "permit by within-the-limit", ..TRANSFER },
            Step {
                calls: &[
                    ("transfer", 3600, 0, &[Input::Number(4000), Input::Text("ada")]),
                    ("transfer", 3599, 0, &[Input::Number(4000), Input::Text("ada")]),
                    ("transfer", 0, 0, &[Input::Number(300), Input::Text("ben")]),
                ],
                decision: "permit by within-the-limit",
                ..TRANSFER
            },
            Step {
                calls: &[
                    ("transfer", 3599, 0, &[Input::Number(4000), Input::Text("ada")]),
                    ("transfer", 0, 0, &[Input::Number(301), Input::Text("ben")]),
                ],
                decision: NOT_PERMITTED,
                ..TRANSFER
            },
            Step {
                input: &[("amount", Input::Number(5001)), ("to", Input::Text("ada"))],
                decision: NOT_PERMITTED,
                ..TRANSFER
            },
            // A sum that is as great as it gets refuses, however little is asked for.
            Step {
                calls: &[("transfer", 9, 0, &[Input::Number(u64::MAX), Input::Text("ada")])],
                decision: "refuse by [within-the-limit]: rule within-the-limit could not be \
                           evaluated:\n    integer overflow while attempting to add the values \
                           `9223372036854775807` and\n    `700`",
                ..TRANSFER
            },
        ],
    ),
    (
        "Cooling off",
        &[
            Step { decision: NOT_PERMITTED, ..TRANSFER },
            Step {
                calls: &[("trust", 86_400, 2, &[Input::Text("ada")])],
                decision: "permit by cooled-off",
                ..TRANSFER
            },
            Step {
                calls: &[("trust", 86_399, 2, &[Input::Text("ada")])],
                decision: NOT_PERMITTED,
                ..TRANSFER
            },
            Step {
                calls: &[
                    ("trust", 200_000, 2, &[Input::Text("ada")]),
                    ("trust", 100, 2, &[Input::Text("ada")]),
                ],
                decision: NOT_PERMITTED,
                ..TRANSFER
            },
            Step {
                calls: &[
                    ("trust", 200_000, 2, &[Input::Text("ada")]),
                    ("trust", 100, 2, &[Input::Text("ben")]),
                ],
                decision: "permit by cooled-off",
                ..TRANSFER
            },
        ],
    ),
    (
        "Read before write",
        &[
            Step { signers: &[2], decision: NOT_PERMITTED, ..EDIT },
            Step {
                signers: &[2],
                calls: &[("view", 3599, 2, &[Input::Text("plan")])],
                decision: "permit by read-first",
                ..EDIT
            },
            Step {
                signers: &[2],
                calls: &[("view", 3600, 2, &[Input::Text("plan")])],
                decision: NOT_PERMITTED,
                ..EDIT
            },
            Step {
                signers: &[2],
                calls: &[("view", 9, 3, &[Input::Text("plan")])],
                decision: NOT_PERMITTED,
                ..EDIT
            },
            Step {
                signers: &[2],
                calls: &[("view", 9, 2, &[Input::Text("plans")])],
                decision: NOT_PERMITTED,
                ..EDIT
            },
            Step {
                calls: &[("view", 9, 0, &[Input::Text("plan")])],
                decision: NOT_PERMITTED,
                ..EDIT
            },
        ],
    ),
    (
        "Observe before output",
        &[
            Step { signers: &[STRANGER], decision: "permit by observe", ..APPEND },
            Step { decision: NOT_PERMITTED, ..APPEND },
            Step { decision: NOT_PERMITTED, ..PAY },
            Step {
                past: &[("append", 3599, 2), ("append", 59, 3)],
                decision: "permit by observed",
                ..PAY
            },
            Step {
                past: &[("append", 3600, 2), ("append", 59, 3)],
                decision: NOT_PERMITTED,
                ..PAY
            },
            Step { past: &[("append", 60, 2), ("append", 60, 3)], decision: NOT_PERMITTED, ..PAY },
            Step {
                past: &[("append", 9, 2), ("append", 8, 2), ("append", 7, 0)],
                decision: NOT_PERMITTED,
                ..PAY
            },
        ],
    ),
    (
        "Read by field",
        &[
            Step { decision: "permit by count-is-public", ..READ },
            Step { signers: &[STRANGER], decision: "permit by count-is-public", ..READ },
            Step { signers: &[2], decision: "permit by board-reads count-is-public", ..READ },
            Step { field: Some("entries"), decision: NOT_PERMITTED, ..READ },
            Step { field: Some("entries"), signers: &[OWNER], decision: NOT_PERMITTED, ..READ },
            Step {
                field: Some("entries"),
                signers: &[3],
                decision: "permit by board-reads",
                ..READ
            },
            Step { signers: &[2], decision: NOT_PERMITTED, ..INCREMENT },
        ],
    ),
];

/// The milliseconds at which every step happens.
const NOW: u64 = 10_000_000_000;

/// The past as a policy's object remembers it.
fn past(policy: &Policy, schema: &Schema, step: Step<'_>) -> Past {
    let mut ledger = Arc::new(Ledger::default());
    let plain = step.past.iter().map(|(method, seconds, signer)| (method, seconds, signer, None));
    let called = step.calls.iter().map(|(method, seconds, signer, arguments)| {
        (method, seconds, signer, Some(arguments.iter().map(Input::value).collect::<Vec<_>>()))
    });
    for (seq, (method, seconds, signer, arguments)) in (1..).zip(plain.chain(called)) {
        let encoded = arguments.map(|arguments| {
            encode_args(&arguments, &schema.method(method).unwrap().params).unwrap()
        });
        let arguments = encoded.unwrap_or_default();
        let request = Request::Call { method: (*method).to_string(), arguments };
        let input =
            Asked { request, time: Time::from_millis(NOW - 1000 * seconds), credential: None };
        let signers = [key(*signer)];
        ledger = ledger.next(policy.tracked(), seq, &input, &signers[..(*signer > 0).into()]);
    }
    ledger.past.clone()
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// The part of the guide that is about policies.
fn section() -> &'static str {
    let rest = GUIDE.split_once("\n## Policies to start from\n").unwrap().1;
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

fn state((count, entries): (u64, &[&str])) -> Value {
    let board = BOARD.map(|number| Value::from(key(number).to_string().as_str()));
    record(&[
        ("owner", Value::from(key(OWNER).0.to_vec())),
        ("board", Value::List(board.to_vec())),
        ("count", count.into()),
        ("entries", Value::List(entries.iter().map(|entry| (*entry).into()).collect())),
    ])
}

fn check(name: &str, text: &str, schema: &Schema, step: Step<'_>) {
    let policy = parse(text, schema).unwrap();
    assert_eq!(policy.uncompiled().count(), 0, "{name}");
    let signers: Vec<PublicKey> = step.signers.iter().map(|&number| key(number)).collect();
    let principal = signers.first().map_or(Principal::Anonymous, |key| Principal::Key(key.0));
    let past = past(&policy, schema, step);
    let facts = Facts {
        principal,
        signers: &signers,
        time: Time::from_millis(NOW),
        past: &past,
        field: step.field,
        ..facts(step.action)
    };
    let [before, after] = step.states.map(state);
    let input = step.input.iter().map(|(name, value)| ((*name).to_string(), value.value()));
    let input: Vec<(String, Value)> = input.collect();
    let values = Values { before: &before, after: &after, input: &input };
    let decision = decide(&policy, schema, &facts, &values);
    assert_eq!(print(&decision), step.decision, "{name}: {}", step.action);
}

#[test]
fn each_of_the_guides_policies_permits_and_refuses() {
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
