//! `Header::decode` accepts exactly the bytes that `encode` writes, and never panics.
//!
//! This target does not know what the fields mean.

use object::header::{HEADER_BYTES, Header};
use rand::RngExt;

use crate::generate::{bytes, header, source};
use crate::outcome::{Outcome, equal, must};

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    let made = header::header(&mut rng);
    let encoded = made.encode();
    let decoded = must("decoding what was encoded", Header::decode(&encoded))?;
    equal("the header decoded", &made, &decoded)?;
    let mut mutated = match rng.random_bool(0.9) {
        true => encoded.to_vec(),
        false => bytes::random(&mut rng, HEADER_BYTES),
    };
    bytes::mutate(&mut rng, &mut mutated);
    if let Ok(other) = Header::decode(&mutated) {
        equal("the bytes of a mutated header", &mutated, &other.encode().to_vec())?;
        drop(format!("{:?} {} {}", other.fields(), other.hash(), other.object_id()));
    }
    Ok(())
}
