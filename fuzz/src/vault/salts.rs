//! The salted hashes of versions and refusals, as the format's document alone has them.
//!
//! This module does not know how the product finds salts.

use object::commit::Commit;
use object::refusal::Refusal;

use crate::outcome::{Outcome, equal, must};

/// Returns the key of a version, of the object whose secret was drawn as `drawn`.
fn key(drawn: [u8; 32], seq: u64) -> [u8; 32] {
    let derive = |context: &str, from: [u8; 32]| blake3::derive_key(context, &from);
    let (mut node, mut digits) = (drawn, 1);
    while u128::from(seq) >= 1 << (6 * digits) {
        node = derive("continuant 2 next salt key", node);
        digits += 1;
    }
    for digit in (0..digits).rev() {
        let value = seq >> (6 * digit) & 63;
        // The first digit of a number with several is never 0.
        let is_first = digits > 1 && digit + 1 == digits;
        node = derive("continuant 2 first salt key", node);
        for _ in u64::from(is_first)..value {
            node = derive("continuant 2 next salt key", node);
        }
    }
    node
}

fn hash(context: &str, salt: &[u8], payload: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, &[salt, payload].concat())
}

/// Checks the salted hashes of an encoded version.
pub(crate) fn check_version(drawn: [u8; 32], bytes: &[u8]) -> Outcome {
    let commit = must("a version", Commit::decode(bytes))?;
    let mut salts = [0; 64];
    let mut hasher = blake3::Hasher::new_derive_key("continuant 2 version salts");
    hasher.update(&key(drawn, commit.header.seq)).finalize_xof().fill(&mut salts);
    let input = hash("continuant 2 input", &salts[..16], commit.input);
    let effects = hash("continuant 2 effects", &salts[16..32], commit.effects);
    let admission = hash("continuant 2 admission", &salts[32..48], commit.admission);
    equal("the salted hash of the input", &input, &commit.header.input.0)?;
    equal("the salted hash of the effects", &effects, &commit.header.effects.0)?;
    equal("the salted hash of the admission", &admission, &commit.header.admission.0)
}

/// Checks the salted hash in an encoded refusal that `before` others came before.
pub(crate) fn check_refusal(drawn: [u8; 32], before: u64, bytes: &[u8]) -> Outcome {
    let refusal = must("a refusal", Refusal::decode(bytes))?;
    let of = [&key(drawn, refusal.seq)[..], &before.to_le_bytes()].concat();
    let salt = blake3::derive_key("continuant 2 refusal salt", &of);
    let detail = refusal.verdict.detail.len();
    let length = |count: usize| if count < 128 { 1 } else { 1 + count.ilog(128) as usize };
    let input = refusal.input.len();
    let last = length(detail) + detail + length(input) + input;
    let (_, refused) = bytes.split_at(bytes.len() - last);
    let expected = hash("continuant 2 refused", &salt[..16], refused);
    equal("the salted hash of a refusal", &expected, &refusal.refused.0)
}
