//! Any text is refused by `Policy::parse`, or is a policy that encodes and decodes to itself and
//! decides the same twice; it never panics and never exhausts the stack. An accepted policy has no
//! rule that can never hold and does not say so, and no malformed key; one on record is readable
//! all the same.
//!
//! The decisions are not judged here.

use std::sync::OnceLock;

use ::policy::{Facts, Law, Policy, Principal, Values};
use object::credential::PublicKey;
use object::effects::Output;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::ledger::Past;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use schema::{Schema, Value};

use crate::generate::{COUNTER, GUESTS, bytes, policy, source};
use crate::outcome::{Outcome, equal, hold, must};

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    let text = policy::text(&mut rng);
    let schemas = schemas();
    let schema =
        &schemas[if rng.random_bool(0.7) { 0 } else { rng.random_range(0..schemas.len()) }];
    suspect(&mut rng)?;
    let on_record = Policy::decode(&Law::from(&text).encode(), schema);
    let (parsed, again) = match (Policy::parse(&text, schema), on_record) {
        (Ok(parsed), again) => (parsed, must("decoding a policy", again)?),
        (Err(error), again) => {
            hold("an error says something", !error.to_string().is_empty())?;
            let Ok(again) = again else { return Ok(()) };
            let refused = again.validate().err();
            equal(
                "what is not taken",
                &Some(error.to_string()),
                &refused.map(|it| it.to_string()),
            )?;
            let twice = must("decoding it again", Policy::decode(&again.encode(), schema))?;
            return decide(&mut rng, &again, &twice);
        }
    };
    equal("the text", &text.as_str(), &parsed.text())?;
    equal("the hash", &parsed.hash(), &again.hash())?;
    equal("what is taken may come in again", &Ok(()), &again.validate())?;
    taken(&parsed)?;
    for _ in 0..4 {
        decide(&mut rng, &parsed, &again)?;
    }
    Ok(())
}

/// Tests rules whose acceptance is known: all of them are acceptable, or the policy is refused.
fn suspect(rng: &mut StdRng) -> Outcome {
    let (text, is_well) = policy::suspects(rng);
    let parsed = Policy::parse(&text, &schemas()[0]);
    let about = || format!("of {text}: {:?}", parsed.as_ref().err().map(ToString::to_string));
    equal("whether it is taken", &is_well, &parsed.is_ok())
        .map_err(|difference| format!("{difference}, {}", about()))?;
    if let Ok(parsed) = &parsed {
        taken(parsed)?;
    }
    must("it is read from a record", Policy::decode(&Law::from(&text).encode(), &schemas()[0]))?;
    Ok(())
}

/// Requires the properties of an accepted policy that its text shows without knowing Cedar.
fn taken(policy: &Policy) -> Outcome {
    let text = policy.text();
    for id in policy.dead() {
        let says = text.contains("@dormant");
        hold(format!("the rule {id}, which can never hold, says why it is there"), says)?;
    }
    for (before, key) in literals(text) {
        let is_of_key = before.ends_with("Key::") || before.ends_with("signers.contains(");
        let is_key =
            key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // An escape may stand for a digit.
        hold("a key is written as keys are", !is_of_key || is_key || key.contains('\\'))?;
    }
    Ok(())
}

/// The literals of a text, each with the text in front of it; those in comments are none.
fn literals(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['"', '/']) {
        let start = at + next;
        let rest = &text[start..];
        if rest.starts_with("//") {
            at = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
            continue;
        }
        at = start + 1;
        if rest.starts_with('/') {
            continue;
        }
        let mut is_escaped = false;
        let end = text[at..].find(|letter| {
            let ends = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        });
        let Some(end) = end else { break };
        found.push((&text[..start], &text[at..at + end]));
        at += end + 1;
    }
    found
}

/// The guests' schemas, the counter's first.
fn schemas() -> &'static [Schema] {
    static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        assert_eq!(GUESTS[0].0, COUNTER, "the counter comes first");
        let schema = |(wasm, _): &(&[u8], _)| {
            let facts = schema::code::read(wasm).expect("the guests are objects");
            Schema::parse(&facts.schema_text).expect("the guests have schemas")
        };
        GUESTS.iter().map(schema).collect()
    })
}

/// Facts of a counter's step, which other objects' policies must turn down rather than choke on.
fn decide(rng: &mut StdRng, policy: &Policy, again: &Policy) -> Outcome {
    let mut state = || Value::Record(vec![("count".to_string(), bytes::number(rng).into())]);
    let (before, after) = (state(), state());
    let input = [("by".to_string(), Value::from(bytes::number(rng)))];
    let signers = (0..rng.random_range(0..3)).map(|_| PublicKey(rng.random()));
    let signers: Vec<PublicKey> = signers.collect();
    let outputs = ["said", ""].map(|name| Output { name: name.to_string(), payload: Vec::new() });
    let principal = match rng.random_range(0..3) {
        0 => Principal::Anonymous,
        1 => Principal::Key(rng.random()),
        _ => Principal::Object(ObjectId(rng.random())),
    };
    let facts = Facts {
        principal,
        action: ["increment", "write", "advance", "create", "read", "upgrade", "migrate", ""]
            [rng.random_range(0..8)],
        field: rng.random_bool(0.5).then_some("count"),
        object: ObjectId(rng.random()),
        signers: &signers,
        credential: "none",
        sender: None,
        outputs: &outputs[..rng.random_range(0..3)],
        messages: &[],
        wake: rng.random_bool(0.5).then(|| bytes::number(rng)).map(Time::from_millis),
        seq: bytes::number(rng),
        age_ms: bytes::number(rng),
        fuel: bytes::number(rng),
        pages: bytes::number(rng) as u32,
        time: Time::from_millis(bytes::number(rng)),
        past: Past::NONE,
        instrumentation: 2,
        code: CodeHash(rng.random()),
        policy: policy.hash(),
        upgrade: rng.random_bool(0.5).then(|| (CodeHash(rng.random()), PolicyHash(rng.random()))),
    };
    let input = &input[..rng.random_range(0..2)];
    let values = Values { before: &before, after: &after, input };
    equal("the decision", &policy.decide(&facts, &values), &again.decide(&facts, &values))
}
