//! Who asks: Ed25519 keys, and their signatures over an input.
//!
//! Verification is strict (RFC 8032 with cofactorless checks, no small-order keys) everywhere, so
//! that every verifier gives the same verdict. It knows no policy: it says *who* signed, not what
//! they may do, and it knows no clock: times are given.

use std::fmt;

use ed25519_dalek::{Signer as _, VerifyingKey};

use crate::error::{Error, ErrorKind, Result};
use crate::hash::{self, ObjectId, VersionHash};
use crate::input::Request;
use crate::limits::SIGNATURES_MAX;

/// The proof of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Above every nonce that the object admitted from these keys.
    pub nonce: u64,
    /// The last moment at which the input may be admitted, in milliseconds since 1970-01-01 UTC.
    pub expires: u64,
    /// The only version that the input may follow, when it must be that one.
    pub parent: Option<VersionHash>,
    /// Signatures over [`Request::signed_bytes`], of distinct keys in ascending order.
    pub signatures: Vec<Signature>,
}

/// One key's signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The public key.
    pub key: [u8; 32],
    /// The Ed25519 signature.
    pub bytes: [u8; 64],
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", PublicKey(self.key))
    }
}

/// An Ed25519 public key; any 32 bytes, validated when a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<PublicKey> {
        hash::parse("PublicKey", text).map(PublicKey)
    }
}

/// A secret key that signs inputs.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// The key of a 32-byte secret. Any bytes are a key; they must be random and kept secret.
    pub fn from_secret(secret: &[u8; 32]) -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The secret that the key was made of.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
}

impl Credential {
    /// A credential without a signature yet.
    pub fn new(nonce: u64, expires: u64) -> Credential {
        Credential { nonce, expires, parent: None, signatures: Vec::new() }
    }

    /// Adds `key`'s signature over `request` to `object`; a second one of a key replaces its first.
    pub fn sign(&mut self, key: &SigningKey, object: ObjectId, request: &Request) {
        let bytes = request.signed_bytes(object, self.nonce, self.expires, self.parent);
        let signature = Signature { key: key.public().0, bytes: key.0.sign(&bytes).to_bytes() };
        match self.signatures.binary_search_by_key(&signature.key, |held| held.key) {
            Ok(index) => self.signatures[index] = signature,
            Err(index) => self.signatures.insert(index, signature),
        }
    }

    /// Verifies every signature over `request` to `object` and gives the keys, ascending.
    ///
    /// # Errors
    ///
    /// [`Credential`](ErrorKind::Credential) naming the first key whose signature does not hold,
    /// that is weak, out of order or twice there, or that none is there;
    /// [`Limit`](ErrorKind::Limit) when there are too many.
    pub fn verify(&self, object: ObjectId, request: &Request) -> Result<Vec<PublicKey>> {
        let problem = |text: String| Error::from(ErrorKind::Credential(text));
        if self.signatures.is_empty() {
            return Err(problem("no signature".to_string()));
        }
        if self.signatures.len() > SIGNATURES_MAX {
            let (max, found) = (SIGNATURES_MAX as u64, self.signatures.len() as u64);
            return Err(ErrorKind::Limit { what: "signatures", max, found }.into());
        }
        if !self.signatures.is_sorted_by(|one, next| one.key < next.key) {
            return Err(problem("keys are not distinct and ascending".to_string()));
        }
        let bytes = request.signed_bytes(object, self.nonce, self.expires, self.parent);
        let mut keys = Vec::with_capacity(self.signatures.len());
        for signature in &self.signatures {
            let key = PublicKey(signature.key);
            let verifying = VerifyingKey::from_bytes(&signature.key)
                .map_err(|_| problem(format!("{key} is not a point of the curve")))?;
            let claimed = ed25519_dalek::Signature::from_bytes(&signature.bytes);
            verifying
                .verify_strict(&bytes, &claimed)
                .map_err(|_| problem(format!("the signature of {key} does not verify")))?;
            keys.push(key);
        }
        Ok(keys)
    }
}
