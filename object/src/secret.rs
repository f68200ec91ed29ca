//! The secret of an object, and the salts of its versions and refusals.
//!
//! Hashes of payloads stay in a lineage when the payloads are gone. So that nobody can find a short
//! payload by hashing guesses, each hash is salted, and the salts derive from one secret that an
//! object draws when it begins. It is kept beside the object and in its capsule; no part of the
//! lineage has it.
//!
//! The salts of a version derive from a key of its own, and the keys from one another. Tree k has
//! the keys of the versions from 64^k on, up to those of tree k + 1; tree 0 those below 64. A node
//! of a tree has up to 64 children, one for each value of the next digit of the version in base 64.
//! `down` leads from a node to its first child, `next` from a node to the one beside it, and from a
//! tree to the next one:
//!
//! ```text
//! tree 0 ---next---> tree 1 -------------------------------next---> tree 2 ...
//!   | down             | down                                         | down
//! key 0 -> key 1 ..  node -----next-----> node -> ..                 ...
//!                      | down               | down
//!                    key 64 -> key 65 ..  key 128 ..
//! ```
//!
//! Tree 0 is what was drawn. No arrow can be walked backwards: the node or key that has version n
//! first, and those beside the nodes above it, give the salts of version n and of all later ones,
//! and once only these are kept, nothing gives those of earlier ones any more. There are few of
//! them, and a walk to any version is short, however high its number.
//!
//! A secret is therefore always one from some version on; a step moves it along by one hash.

use std::fmt;

use crate::codec::{Reader, Write};
use crate::effects::Admission;
use crate::error::{ErrorKind, Result};
use crate::hash::{Context, HASH_BYTES, SALT_BYTES, Salt};
use crate::header::Header;
use crate::limits::SEQ_MAX;
use crate::request::IMAGE_SALT_BYTES;

/// Bytes of a drawn secret, and of each key that derives from it.
pub const SECRET_BYTES: usize = 32;
/// Bytes of an encoded secret: where it is from, and at most a tree and a node for each digit.
pub const SECRET_ENCODED_MAX: usize = 9 + 12 * SECRET_BYTES;

/// Bits of a digit of a version: a node has at most as many children as there are digits.
const DIGIT_BITS: u32 = 6;

static NEXT_CONTEXT: Context = Context::new("continuant 2 next salt key");
static DOWN_CONTEXT: Context = Context::new("continuant 2 first salt key");
static VERSION_CONTEXT: Context = Context::new("continuant 2 version salts");
static REFUSAL_CONTEXT: Context = Context::new("continuant 2 refusal salt");
static IMAGE_CONTEXT: Context = Context::new("continuant 2 image salt");

/// A node.
type Key = [u8; SECRET_BYTES];

/// The salts of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSalts {
    /// The salt of the input's hash.
    pub input: Salt,
    /// The salt of the effects' hash.
    pub effects: Salt,
    /// The salt of the admission's hash.
    pub admission: Salt,
}

/// The secret of an object, from one of its versions on.
///
/// Invariant: the last key is the highest node whose first version is `from`; the one before it is
/// the node beside its parent, and so on up to a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    from: u64,
    keys: Vec<Key>,
}

impl fmt::Debug for Secret {
    /// Writes from where on the secret is, and nothing of it: a message must not say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(from {})", self.from)
    }
}

impl Secret {
    /// Returns the secret that was drawn as `bytes`.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Secret {
        Secret { from: 0, keys: vec![bytes] }
    }

    /// Returns the salt of the memory of an object whose secret was drawn as `bytes`. Nothing else
    /// follows from it.
    pub fn image_salt(bytes: &[u8; SECRET_BYTES]) -> [u8; IMAGE_SALT_BYTES] {
        derived(&IMAGE_CONTEXT, bytes)
    }

    /// Returns the first version whose salts the secret gives.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Returns the secret from version `seq` on: it gives the salts of no version before.
    ///
    /// # Errors
    ///
    /// [`Erased`](ErrorKind::Erased) when this is one from a later version on.
    pub fn since(&self, seq: u64) -> Result<Secret> {
        if seq < self.from {
            return Err(ErrorKind::Erased { seq, from: self.from }.into());
        }
        let mut since = self.clone();
        while since.from < seq {
            since.approach(seq);
        }
        Ok(since)
    }

    /// Lets go of the salts of version `from`.
    pub fn advance(&mut self) {
        let next = self.from + 1;
        while self.from < next {
            self.approach(next);
        }
    }

    /// Comes nearer to version `seq`, which is later.
    fn approach(&mut self, seq: u64) {
        assert!(self.from < seq, "a secret goes to later versions");
        let level = self.keys.len() - 1;
        let end = end_of(self.from, level);
        let end_above = level.checked_sub(1).map(|above| end_of(self.from, above));
        let key = &mut self.keys[level];
        if let Some(end) = end_above.filter(|&end| end <= seq) {
            self.from = end;
        } else if end <= seq {
            *key = derived(&NEXT_CONTEXT, key);
            self.from = end;
        } else {
            let first = derived(&DOWN_CONTEXT, key);
            *key = derived(&NEXT_CONTEXT, key);
            self.keys.push(first);
            return;
        }
        self.keys.truncate(key_count(self.from));
    }

    /// Returns the key of version `from`.
    fn key(&self) -> Key {
        let last = *self.keys.last().expect("a secret has a key");
        let depth = digits(self.from) + 1;
        (self.keys.len()..depth).fold(last, |key, _| derived(&DOWN_CONTEXT, &key))
    }

    /// Returns the salts of version `from`.
    pub fn version_salts(&self) -> VersionSalts {
        let mut bytes = [0; 4 * SALT_BYTES];
        VERSION_CONTEXT.hasher().update(&self.key()).finalize_xof().fill(&mut bytes);
        let salt = |index: usize| {
            let salt = bytes[index * SALT_BYTES..].first_chunk();
            Salt(*salt.expect("there are four"))
        };
        VersionSalts { input: salt(0), effects: salt(1), admission: salt(2) }
    }

    /// Returns the salt of a refusal in place of version `from`, which `count` refusals of the
    /// object came before.
    pub fn refusal_salt(&self, count: u64) -> Salt {
        let mut hasher = REFUSAL_CONTEXT.hasher();
        hasher.update(&self.key()).update(&count.to_le_bytes());
        Salt(*hasher.finalize().as_bytes().first_chunk().expect("a hash is longer than a salt"))
    }

    /// Returns whether this is, from its beginning on, the secret of the object with this genesis,
    /// whose admission is always the same.
    pub fn is_of(&self, genesis: &Header) -> bool {
        let admission = || Admission::default().hash(self.version_salts().admission);
        self.from == 0 && genesis.seq == 0 && genesis.admission == admission()
    }

    /// Returns the secret's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECRET_ENCODED_MAX);
        bytes.put_varint(self.from);
        self.keys.iter().for_each(|key| {
            bytes.put(key);
        });
        bytes
    }

    /// Reads a secret from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for any bytes that [`Secret::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Secret> {
        let mut reader = Reader::new("secret", bytes);
        let from = reader.varint()?;
        if from > SEQ_MAX {
            return Err(reader.fail(0, &format!("at most {SEQ_MAX}"), from));
        }
        let keys = (0..key_count(from)).map(|_| reader.array()).collect::<Result<_>>()?;
        reader.end()?;
        Ok(Secret { from, keys })
    }
}

/// Returns how many digits a version has in base 64.
fn digits(seq: u64) -> usize {
    (seq.checked_ilog2().unwrap_or(0) / DIGIT_BITS) as usize + 1
}

/// Returns the first version behind the node at `level` that has version `seq`; the trees are at
/// level 0.
fn end_of(seq: u64, level: usize) -> u64 {
    let shift = DIGIT_BITS * (digits(seq) - level) as u32;
    if shift < u64::BITS { ((seq >> shift) + 1) << shift } else { u64::MAX }
}

/// Returns how many keys the secret from version `from` on has: as many as there are levels down to
/// the highest node whose first version that is.
fn key_count(from: u64) -> usize {
    let is_first = |level: &usize| match *level {
        0 => from == 0 || from == end_of(from - 1, 0),
        level => from == end_of(from - 1, level),
    };
    (0..=digits(from)).find(is_first).expect("a key has one version") + 1
}

/// Derives a key: one block of hashing.
fn derived<const N: usize>(context: &Context, key: &Key) -> [u8; N] {
    const { assert!(N == HASH_BYTES, "a key is a hash") };
    let hash = context.hasher().update(key).finalize();
    hash.as_bytes()[..].try_into().expect("a key is a hash")
}
