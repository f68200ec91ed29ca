//! Mutations of bytes and of text: damage by a disk, a network or a stranger.
//!
//! This module does not know the meaning of the bytes.

use rand::RngExt;
use rand::rngs::StdRng;

/// Numbers at which code that counts is wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

/// A number: small, at an edge, or any.
pub(crate) fn number(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..16),
        1 => EDGES[rng.random_range(0..EDGES.len())],
        2 => rng.random::<u64>() >> rng.random_range(0..64),
        _ => rng.random(),
    }
}

/// Random bytes.
pub(crate) fn random(rng: &mut StdRng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rng.fill(&mut bytes[..]);
    bytes
}

/// Makes a few changes.
pub(crate) fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        change(rng, bytes);
    }
}

/// Makes one change.
pub(crate) fn change(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(rng.random());
        return;
    }
    let at = rng.random_range(0..bytes.len());
    let count = rng.random_range(1..=(bytes.len() - at).min(40));
    match rng.random_range(0..10) {
        0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => bytes[at] = rng.random(),
        3 => {
            let number = number(rng).to_le_bytes();
            let count = count.min([1, 2, 4, 8][rng.random_range(0..4)]);
            bytes[at..at + count].copy_from_slice(&number[..count]);
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..at + count)),
        6 => {
            let some = bytes[at..at + count].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, some);
        }
        7 => bytes[at..at + count].fill(0),
        8 => {
            // If the byte ends a number, the number is longer than necessary.
            bytes[at] |= 0x80;
            bytes.insert(at + 1, 0);
        }
        _ => {
            let some = random(rng, count);
            bytes.splice(at..at, some);
        }
    }
}

/// Makes a few changes to text, of words rather than of bytes; `words` are put in.
pub(crate) fn mutate_text(rng: &mut StdRng, text: &str, words: &[&str]) -> String {
    let mut parts: Vec<String> = split(text);
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=parts.len());
        let word = words[rng.random_range(0..words.len())].to_string();
        match rng.random_range(0..6) {
            0 if at < parts.len() => drop(parts.remove(at)),
            1 if at < parts.len() => parts[at] = word,
            2 if at < parts.len() => {
                let with = rng.random_range(0..parts.len());
                parts.swap(at, with);
            }
            3 if at < parts.len() => {
                let times = rng.random_range(1..200);
                let some = parts[at].clone();
                parts.splice(at..at, std::iter::repeat_n(some, times));
            }
            4 => {
                let end = rng.random_range(at..=parts.len());
                let some = parts[at..end].to_vec();
                parts.splice(at..at, some);
            }
            _ => parts.insert(at, word),
        }
    }
    let mut bytes = parts.concat().into_bytes();
    if rng.random_bool(0.2) {
        change(rng, &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Splits a text into words, signs and the spaces between.
fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for letter in text.chars() {
        let word = letter.is_alphanumeric() || letter == '_';
        let goes_on = parts.last().and_then(|part| part.chars().last());
        match parts.last_mut() {
            Some(part) if word && goes_on.is_some_and(|last| last.is_alphanumeric()) => {
                part.push(letter);
            }
            _ => parts.push(letter.to_string()),
        }
    }
    parts
}
