//! BLAKE3 hashes as types: the type says which structure was hashed.
//!
//! Every structure is hashed in a context of its own (BLAKE3's `derive_key` mode), so that no
//! encoding of one structure is ever an encoding of another. The memory root is the exception: it
//! is the plain BLAKE3 hash of the image, so that any BLAKE3 tool can check it.
//!
//! The hashes of payloads are salted: they stay in a lineage when the payloads are gone, and must
//! not let anyone guess them.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use arrayvec::ArrayVec;
use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::codec::Write;
use crate::error::{Error, ErrorKind};

/// Bytes of every hash.
pub const HASH_BYTES: usize = 32;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// A context of BLAKE3's `derive_key` mode. Deriving its key, a good part of the cost of hashing a
/// short structure, is done once.
#[derive(Debug)]
pub struct Context {
    text: &'static str,
    key: OnceLock<ContextKey>,
}

impl Context {
    /// The context `text`; keep it in a `static`.
    pub const fn new(text: &'static str) -> Context {
        Context { text, key: OnceLock::new() }
    }

    /// Hashes as `Hasher::new_derive_key` of the context's text does.
    pub fn hasher(&self) -> Hasher {
        let key = self.key.get_or_init(|| hash_derive_key_context(self.text));
        Hasher::new_from_context_key(key)
    }
}

/// A writer that hashes an encoding as it is written. It collects short writes, so that the hasher
/// sees few and long pieces.
pub(crate) struct Hashing {
    hasher: Hasher,
    collected: ArrayVec<u8, 256>,
}

impl Hashing {
    /// Hashes in the keyed mode of BLAKE3.
    #[inline]
    pub(crate) fn keyed(key: &[u8; 32]) -> Hashing {
        Hashing::of(Hasher::new_keyed(key))
    }

    /// Hashes with `hasher`.
    #[inline]
    fn of(hasher: Hasher) -> Hashing {
        Hashing { hasher, collected: ArrayVec::new() }
    }

    /// Returns the hash of all written bytes.
    #[inline]
    pub(crate) fn finish(&mut self) -> blake3::Hash {
        self.hasher.update(&self.collected).finalize()
    }
}

impl Write for Hashing {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> &mut Hashing {
        if self.collected.try_extend_from_slice(bytes).is_err() {
            self.hasher.update(&self.collected);
            self.collected.clear();
            self.hasher.update(bytes);
        }
        self
    }
}

/// The bytes that the hash of a payload is of before the payload's own, so that nobody can guess
/// the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; SALT_BYTES]);

impl fmt::Debug for Salt {
    /// Writes nothing of the salt: a message must not say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident = $how:ident$(($context:literal))?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; HASH_BYTES]);

        impl $name {
            hashes! { @of $how $($context)? }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name, Error> {
                parse(stringify!($name), text).map($name)
            }
        }
    )*};
    (@of own $context:literal) => {
        /// Hashes `bytes` in this type's own context.
        pub fn of(bytes: &[u8]) -> Self {
            static CONTEXT: Context = Context::new($context);
            Self(*CONTEXT.hasher().update(bytes).finalize().as_bytes())
        }
    };
    (@of salted $context:literal) => {
        /// Hashes `salt`, then `bytes`, in this type's own context.
        pub fn of(salt: Salt, bytes: &[u8]) -> Self {
            static CONTEXT: Context = Context::new($context);
            let mut hasher = Hashing::of(CONTEXT.hasher());
            hasher.put(&salt.0).put(bytes);
            Self(*hasher.finish().as_bytes())
        }
    };
    (@of plain) => {
        /// Hashes `bytes`.
        pub fn of(bytes: &[u8]) -> Self {
            Self(*blake3::hash(bytes).as_bytes())
        }
    };
}

hashes! {
    /// An object's identity: the hash of its genesis header.
    ObjectId = own("continuant 2 version header");
    /// A version: the hash of its header.
    VersionHash = own("continuant 2 version header");
    /// The plain BLAKE3 hash of a memory image.
    MemoryRoot = plain;
    /// A module, as its author gave it.
    CodeHash = own("continuant 2 code");
    /// A schema's WIT text.
    SchemaHash = own("continuant 2 schema");
    /// A policy's encoding.
    PolicyHash = own("continuant 2 policy");
    /// A base image's encoding.
    BaseHash = own("continuant 2 base image");
    /// An input, with its credentials.
    InputHash = salted("continuant 2 input");
    /// The effects of a step.
    EffectsHash = salted("continuant 2 effects");
    /// The decision that admitted a version.
    AdmissionHash = salted("continuant 2 admission");
    /// The mutable globals of a module.
    GlobalsHash = own("continuant 2 globals");
    /// Hash of a head's ledger.
    LedgerHash = own("continuant 2 ledger");
    /// Hash of a few entries of a ledger, or of one action in it.
    LedgerLeaf = own("continuant 2 ledger leaf");
    /// Hash of the entries of a ledger below two others.
    LedgerNode = own("continuant 2 ledger node");
    /// A value of an argument that a ledger remembers.
    LedgerValue = own("continuant 2 ledger value");
    /// The detail of a refusal, and its input.
    RefusedHash = salted("continuant 2 refused");
    /// A refusal on record, and through it all those before.
    RefusalHash = own("continuant 2 refusal");
    /// Hash of an input as a leaf of a batch: of the body that a signature over the input alone
    /// covers.
    LeafHash = own("continuant 2 batch leaf");
    /// Id of a session: the hash of its secret.
    SessionId = own("continuant 2 session");
    /// The root of a batch, or of a part of it: over two roots of the level below, or one leaf.
    BatchRoot = own("continuant 2 batch node");
}

impl From<LeafHash> for BatchRoot {
    /// The root over this leaf alone.
    fn from(leaf: LeafHash) -> BatchRoot {
        BatchRoot(leaf.0)
    }
}

impl From<VersionHash> for ObjectId {
    /// Returns the id of the object whose genesis header has this hash.
    fn from(genesis: VersionHash) -> ObjectId {
        ObjectId(genesis.0)
    }
}

/// Reads 64 hexadecimal digits.
pub(crate) fn parse(what: &'static str, text: &str) -> Result<[u8; HASH_BYTES], Error> {
    let fail = || {
        let found = text.chars().take(80).collect::<String>();
        let expected = "64 hexadecimal digits".to_string();
        Error::from(ErrorKind::Value { path: what.to_string(), expected, found })
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_BYTES {
        return Err(fail());
    }
    let mut bytes = [0; HASH_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or_else(fail);
        *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
    }
    Ok(bytes)
}
