//! SHA-256 of eight messages at a time, one in each lane of a vector register.
//!
//! A message is hashed round after round, and no processor without instructions for SHA-256 does
//! that fast. Of eight messages each round is one operation on vectors, if there are wide ones. So
//! this is for processors that have these and not those; for all others `sha2` is faster. It knows
//! messages of two blocks alone, padded: those of a leaf and of a node.
//!
//! The constants, and the steps of a round, are those of FIPS 180-4.

use std::sync::OnceLock;

use fearless_simd::{Level, Simd, dispatch};

/// Messages that are hashed at a time.
pub(super) const LANES: usize = 8;
/// Bytes of a message with its padding.
pub(super) const MESSAGE_BYTES: usize = 2 * BLOCK_BYTES;
const BLOCK_BYTES: usize = 64;

/// A word of each message.
type Words = [u32; LANES];

const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

const ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Returns the vectors of this processor, if hashing in lanes is faster here.
pub(super) fn level() -> Option<Level> {
    static LEVEL: OnceLock<Option<Level>> = OnceLock::new();
    *LEVEL.get_or_init(|| is_faster().then(Level::new))
}

#[cfg(target_arch = "x86_64")]
fn is_faster() -> bool {
    is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("sha")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_faster() -> bool {
    false
}

/// Returns the message with its padding.
pub(super) fn padded<const N: usize>(prefix: u8, rest: [u8; N]) -> [u8; MESSAGE_BYTES] {
    const { assert!(1 + N > BLOCK_BYTES - 9 && N < MESSAGE_BYTES - 9, "it is of two blocks") };
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[0] = prefix;
    bytes[1..=N].copy_from_slice(&rest);
    bytes[1 + N] = 0x80;
    let bits = 8 * (1 + N as u64);
    bytes[MESSAGE_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
    bytes
}

/// Returns the hashes of messages with their padding.
pub(super) fn hash(level: Level, messages: &[[u8; MESSAGE_BYTES]; LANES]) -> [[u8; 32]; LANES] {
    dispatch!(level, simd => lanes(simd, messages))
}

#[inline(always)]
fn lanes<S: Simd>(_: S, messages: &[[u8; MESSAGE_BYTES]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = [[0; LANES]; 8];
    for (words, initial) in state.iter_mut().zip(INITIAL) {
        *words = [initial; LANES];
    }
    for block in 0..MESSAGE_BYTES / BLOCK_BYTES {
        let mut words = [[0; LANES]; 16];
        for (lane, message) in messages.iter().enumerate() {
            let bytes = &message[block * BLOCK_BYTES..][..BLOCK_BYTES];
            for (words, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
                words[lane] = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        compress(&mut state, &mut words);
    }
    let mut hashes = [[0; 32]; LANES];
    for (lane, hash) in hashes.iter_mut().enumerate() {
        for (bytes, words) in hash.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&words[lane].to_be_bytes());
        }
    }
    hashes
}

#[inline(always)]
fn compress(state: &mut [Words; 8], words: &mut [Words; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, constant) in ROUNDS.into_iter().enumerate() {
        let at = round % 16;
        if round >= 16 {
            let (one, seven) = (words[(at + 1) % 16], words[(at + 9) % 16]);
            let last = words[(at + 14) % 16];
            for lane in 0..LANES {
                let (x, y) = (one[lane], last[lane]);
                let small_0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
                let small_1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
                let sum = small_0.wrapping_add(seven[lane]).wrapping_add(small_1);
                words[at][lane] = words[at][lane].wrapping_add(sum);
            }
        }
        let (mut next_a, mut next_e) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            let (x, y) = (e[lane], a[lane]);
            let big_1 = x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25);
            let choice = g[lane] ^ (x & (f[lane] ^ g[lane]));
            let word = words[at][lane].wrapping_add(constant);
            let first = h[lane].wrapping_add(big_1).wrapping_add(choice).wrapping_add(word);
            let big_0 = y.rotate_right(2) ^ y.rotate_right(13) ^ y.rotate_right(22);
            let majority = (y & b[lane]) | (c[lane] & (y | b[lane]));
            next_e[lane] = d[lane].wrapping_add(first);
            next_a[lane] = first.wrapping_add(big_0).wrapping_add(majority);
        }
        (h, g, f, e) = (g, f, e, next_e);
        (d, c, b, a) = (c, b, a, next_a);
    }
    for (words, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        for lane in 0..LANES {
            words[lane] = words[lane].wrapping_add(more[lane]);
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn check<const N: usize>(seed: u8) {
        let bytes = |lane: usize| -> [u8; N] {
            std::array::from_fn(|at| (at * 37 + lane * 11) as u8 ^ seed.wrapping_mul(at as u8))
        };
        let messages = std::array::from_fn(|lane| padded(seed, bytes(lane)));
        let found = hash(Level::new(), &messages);
        for (lane, found) in found.into_iter().enumerate() {
            let expected = Sha256::new().chain_update([seed]).chain_update(bytes(lane)).finalize();
            assert_eq!(found[..], expected[..], "{N} bytes, lane {lane}");
        }
    }

    #[test]
    fn lanes_hash_as_one_message_alone_does() {
        for seed in 0..=u8::MAX {
            check::<55>(seed);
            check::<64>(seed);
            check::<100>(seed);
            check::<118>(seed);
        }
    }
}
