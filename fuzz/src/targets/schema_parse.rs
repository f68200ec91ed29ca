//! Any text is refused by `Schema::parse`, or is a schema that parses to the same again, and that
//! reads and validates any memory without a panic.
//!
//! The layout is not judged here.

use ::schema::{Schema, decode_args, decode_value, encode_args, encode_value};
use object::hash::SchemaHash;
use policy::derived_schema;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::{bytes, schema, source};
use crate::outcome::{Outcome, equal, hold, must};

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    let text = schema::text(&mut rng);
    let parsed = match Schema::parse(&text) {
        Ok(parsed) => parsed,
        Err(error) => return hold("an error says something", !error.to_string().is_empty()),
    };
    equal("the text", &text.as_str(), &parsed.text())?;
    equal("the hash", &SchemaHash::of(text.as_bytes()), &parsed.hash())?;
    let again = must("parsing again", Schema::parse(&text))?;
    equal("the state", &format!("{:?}", parsed.state()), &format!("{:?}", again.state()))?;
    drop(derived_schema(&parsed));
    memory(&mut rng, &parsed)?;
    arguments(&mut rng, &parsed)
}

/// A state of random bytes: what reads at all has the bytes that it is written with.
fn memory(rng: &mut StdRng, schema: &Schema) -> Outcome {
    let mut memory = vec![0; 4096 * rng.random_range(1..5)];
    for _ in 0..rng.random_range(0..40) {
        let at = rng.random_range(0..memory.len());
        let number = bytes::number(rng).to_le_bytes();
        let end = (at + 8).min(memory.len());
        memory[at..end].copy_from_slice(&number[..end - at]);
    }
    let address = 4096 * rng.random_range(0..3);
    let valid = schema.validate_state(&memory[..], address);
    let read = schema.read_state(&memory[..], address);
    equal("that what is valid can be read", &valid.is_ok(), &read.is_ok())?;
    for field in &schema.state().fields {
        let value = schema.read(&memory[..], address, &field.name);
        let Ok(value) = value else { continue };
        let encoded = must("encoding a field", encode_value(&value, &field.ty))?;
        let decoded = must("decoding a field", decode_value(&encoded, &field.ty))?;
        let again = must("encoding a field again", encode_value(&decoded, &field.ty))?;
        equal("a field's bytes", &encoded, &again)?;
    }
    Ok(())
}

/// Random bytes as arguments: what decodes encodes to the same.
fn arguments(rng: &mut StdRng, schema: &Schema) -> Outcome {
    for method in schema.methods().iter().chain(schema.create()) {
        let count = rng.random_range(0..40);
        let random = bytes::random(rng, count);
        let Ok(values) = decode_args(&random, &method.params) else { continue };
        let again = must("encoding arguments", encode_args(&values, &method.params))?;
        equal("the arguments' bytes", &random, &again)?;
    }
    Ok(())
}
