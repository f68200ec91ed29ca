//! The nonces that keep an input from being admitted twice.
//!
//! It knows no signatures: keys are given that were verified.

use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::limits::{EXPIRY_MS_MAX, NONCES_MAX};

/// Why a nonce is not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceProblem {
    /// The very nonce that the key used last.
    Replayed,
    /// Below one that the key used.
    Reordered,
    /// Too many keys used a nonce within the longest expiry.
    Full,
}

/// The last nonce of each key that signed an admitted input, for as long as that input could be
/// admitted again.
///
/// So nothing is ever admitted twice. An input that was signed before the last one, but to expire
/// later than it could have been admitted then, can still follow it once the entry is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Nonces {
    /// Ascending by key.
    entries: Vec<Nonce>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonce {
    key: PublicKey,
    nonce: u64,
    /// When it was used, in milliseconds since 1970-01-01 UTC.
    time: u64,
}

const NONCE_BYTES: usize = 48;

impl Nonces {
    /// Bytes that they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.entries[..])
    }

    /// Whether `keys` may use `nonce` at `time`.
    ///
    /// # Errors
    ///
    /// The problem of the first key that may not.
    pub fn admit(&self, keys: &[PublicKey], nonce: u64, time: u64) -> Result<(), NonceProblem> {
        for key in keys {
            if let Ok(index) = self.find(key) {
                match nonce.cmp(&self.entries[index].nonce) {
                    std::cmp::Ordering::Greater => {}
                    std::cmp::Ordering::Equal => return Err(NonceProblem::Replayed),
                    std::cmp::Ordering::Less => return Err(NonceProblem::Reordered),
                }
            }
        }
        let kept = self.entries.iter().filter(|entry| kept(entry, time));
        let kept = kept.filter(|entry| !keys.contains(&entry.key)).count();
        if kept + keys.len() > NONCES_MAX { Err(NonceProblem::Full) } else { Ok(()) }
    }

    /// Whether a key signed an input that was admitted and is remembered.
    pub fn knows(&self, key: &PublicKey) -> bool {
        self.find(key).is_ok()
    }

    /// The last nonce of a key that is remembered.
    pub fn last(&self, key: &PublicKey) -> Option<u64> {
        self.find(key).ok().map(|index| self.entries[index].nonce)
    }

    /// The greatest nonce of any key that is remembered; 0 when there is none.
    pub(super) fn greatest(&self) -> u64 {
        self.entries.iter().map(|entry| entry.nonce).max().unwrap_or(0)
    }

    /// Records that `keys` used `nonce` at `time`, and forgets what can no longer be replayed.
    pub fn record(&mut self, keys: &[PublicKey], nonce: u64, time: u64) {
        debug_assert!(self.admit(keys, nonce, time).is_ok(), "only admitted nonces are recorded");
        self.entries.retain(|entry| kept(entry, time));
        for &key in keys {
            let entry = Nonce { key, nonce, time };
            match self.find(&key) {
                Ok(index) => self.entries[index] = entry,
                Err(index) => self.entries.insert(index, entry),
            }
        }
    }

    fn find(&self, key: &PublicKey) -> Result<usize, usize> {
        self.entries.binary_search_by_key(key, |entry| entry.key)
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.entries.len());
        for entry in &self.entries {
            bytes.put(&entry.key.0).put_u64(entry.nonce).put_u64(entry.time);
        }
    }

    pub(super) fn decode_from(reader: &mut Reader<'_>) -> Result<Nonces> {
        let count = reader.count(NONCES_MAX, NONCE_BYTES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key = PublicKey(reader.array()?);
            entries.push(Nonce { key, nonce: reader.u64()?, time: reader.u64()? });
        }
        if !entries.is_sorted_by(|one, next| one.key < next.key) {
            return Err(reader.fail(0, "ascending keys", "keys out of order"));
        }
        Ok(Nonces { entries })
    }
}

/// Whether an input that the entry's key signed before could still be unexpired at `time`.
fn kept(entry: &Nonce, time: u64) -> bool {
    entry.time.saturating_add(EXPIRY_MS_MAX) >= time
}
