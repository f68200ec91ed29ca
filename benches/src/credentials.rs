//! What it costs to know who signed: one signature over an input.
//!
//! It is measured by itself, as the commit path calls it, and beside the curve's own arithmetic.

use std::hint::black_box;

use anyhow::{Context, Result};
use continuant::object::credential::Credential;
use continuant::object::input::Request;
use continuant::{ObjectId, SigningKey};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::nanoseconds_each;

pub(crate) const VERIFY: &str = "credential.verify";

/// Reads of a field for each signature: one takes so much longer.
const RATIO: usize = 1_000;

/// The credential of an input with one signature, verified.
pub(crate) fn verify(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let (object, key) = (ObjectId([7; 32]), SigningKey::from_secret(&[1; 32]));
    let request = Request::Call { method: "increment".to_string(), arguments: vec![1; 8] };
    let mut credential = Credential::new(1, 1_000);
    credential.sign(&key, object, &request);
    let bytes = request.signed_bytes(object, credential.nonce, credential.expires, None);
    let signed = credential.signatures.first().context("it was signed")?;
    let (public, signature) =
        (VerifyingKey::from_bytes(&signed.key)?, Signature::from_bytes(&signed.bytes));
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let count = (sizes.reads / RATIO).max(3);
    for _ in 0..rounds {
        let verify = || Ok(black_box(&credential).verify(object, black_box(&request))?);
        ours.push(nanoseconds_each(count, verify)? / 1e3);
        let alone = || Ok(black_box(&public).verify_strict(black_box(&bytes), &signature)?);
        floor.push(nanoseconds_each(count, alone)? / 1e3);
    }
    let about = "one signature over a call: the signed bytes made, the key decoded, all verified";
    let about_floor =
        "verify_strict alone: the same bytes, made before, and the key, decoded before";
    let vs = vec![Peer { name: "floor.verify_strict", about: about_floor, samples: floor }];
    Ok(vec![Figure::new(VERIFY, about, Unit::MICROSECONDS, ours, vs)])
}
