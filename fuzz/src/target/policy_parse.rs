//! Any text is refused by `Policy::parse`, or is a policy that encodes and decodes to itself and
//! decides the same twice; it never panics and never exhausts the stack.
//!
//! What it decides is not judged here.

use std::sync::OnceLock;

use object::credential::PublicKey;
use object::effects::Output;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::ledger::Past;
use object::policy::{Facts, Policy, Principal, Values};
use object::schema::{Schema, Value};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::{COUNTER, GUESTS, bytes, policy, source};
use crate::outcome::{Outcome, equal, hold, must};

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    let text = policy::text(&mut rng);
    let schemas = schemas();
    let schema =
        &schemas[if rng.random_bool(0.7) { 0 } else { rng.random_range(0..schemas.len()) }];
    let parsed = match Policy::parse(&text, schema) {
        Ok(parsed) => parsed,
        Err(error) => return hold("an error says something", !error.to_string().is_empty()),
    };
    equal("the text", &text.as_str(), &parsed.text())?;
    let again = must("decoding a policy", Policy::decode(&parsed.encode(), schema))?;
    equal("the hash", &parsed.hash(), &again.hash())?;
    for _ in 0..4 {
        decide(&mut rng, &parsed, &again)?;
    }
    Ok(())
}

/// The guests' schemas, the counter's first.
fn schemas() -> &'static [Schema] {
    static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        assert_eq!(GUESTS[0].0, COUNTER, "the counter comes first");
        let schema = |(wasm, _): &(&[u8], _)| {
            let facts = object::code::read(wasm).expect("the guests are objects");
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
        wake: rng.random_bool(0.5).then(|| bytes::number(rng)),
        seq: bytes::number(rng),
        age: bytes::number(rng),
        fuel: bytes::number(rng),
        pages: bytes::number(rng) as u32,
        time: bytes::number(rng),
        past: Past::NONE,
        instrumentation: 1,
        code: CodeHash(rng.random()),
        policy: policy.hash(),
        upgrade: rng.random_bool(0.5).then(|| (CodeHash(rng.random()), PolicyHash(rng.random()))),
    };
    let input = &input[..rng.random_range(0..2)];
    let values = Values { before: &before, after: &after, input };
    equal("the decision", &policy.decide(&facts, &values), &again.decide(&facts, &values))
}
