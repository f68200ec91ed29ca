//! Credentials: Ed25519 keys, their signatures over an input or over a batch of inputs, and the
//! codes of sessions that such signatures opened.
//!
//! Verification of signatures is strict (RFC 8032 with cofactorless checks, no small-order keys)
//! everywhere, so that every verifier gives the same verdict; `verify_each` is the only place where
//! a signature is verified. This module knows no policy: it says *who* signed, not what they may
//! do. It knows no clock: times are given.

mod batch;
mod host;
mod memo;
mod session;

use std::fmt;
use std::time::Duration;

use ed25519_dalek::{Signer as _, VerifyingKey};

use crate::codec::Write as _;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{self, BatchRoot, LeafHash, ObjectId, SessionId, VersionHash};
use crate::limits::{EXPIRY_MS_MAX, SIGNATURES_MAX};
use crate::request::{Claims, Request, put_dsse};
use crate::time::Time;
pub use batch::{Batch, Place};
pub use host::Host;
pub use memo::Memo;
pub use session::SessionKey;

/// The code that stands before what an Ed25519 key made.
pub(crate) const ED25519: u8 = 1;
/// The code that stands before a keyed BLAKE3 hash by the secret of a session.
pub(crate) const BLAKE3: u8 = 2;
/// The payload type that signatures over a batch are bound to.
const BATCH_TYPE: &str = "application/vnd.continuant.batch.v2";

/// The longest time in the future at which a credential or a session may expire.
pub const EXPIRY_MAX: Duration = Duration::from_millis(EXPIRY_MS_MAX);

/// The proof of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Above every nonce that the object admitted from these keys, or in this session.
    pub nonce: u64,
    /// The last moment at which the input may be admitted.
    pub expires: Time,
    /// The only version that the input may follow, when it must be that one.
    pub parent: Option<VersionHash>,
    /// The proof of the asking keys.
    pub proof: Proof,
}

/// The proof of the asking keys: their signatures, distinct and in ascending order, or the
/// knowledge of a session's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Over [`Request::signed_bytes`]: over the input alone.
    Signatures(Vec<Signature>),
    /// Over [`batch_signed_bytes`]: over the batch in which the input has this place.
    Batch(Place, Vec<Signature>),
    /// A code made in the name of the keys that opened the session. It proves nothing to anyone
    /// without the secret, and every holder of the secret could have made it.
    Session {
        /// The session.
        session: SessionId,
        /// The code that [`SessionKey::mac`] makes.
        mac: [u8; 32],
    },
}

/// A signature by one key.
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

/// An Ed25519 public key; any 32 bytes, validated when a signature is verified. It is its own id,
/// by which lineages name a key of whatever algorithm.
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

    /// Returns the key of a 32-byte secret that was kept beside its public half.
    ///
    /// # Errors
    ///
    /// [`Credential`](ErrorKind::Credential) when `public` is not the public half of the secret, as
    /// when one of the two was changed.
    pub fn from_pair(secret: &[u8; 32], public: PublicKey) -> Result<SigningKey> {
        let key = SigningKey::from_secret(secret);
        if key.public() != public {
            let found = format!("{public} is not the public half of the secret key");
            return Err(ErrorKind::Credential(found).into());
        }
        Ok(key)
    }

    /// Returns the secret behind the key.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The key's signature over `bytes`.
    fn over(&self, bytes: &[u8]) -> Signature {
        Signature { key: self.public().0, bytes: self.0.sign(bytes).to_bytes() }
    }
}

impl Credential {
    /// A credential without a signature yet.
    pub fn new(nonce: u64, expires: Time) -> Credential {
        Credential { nonce, expires, parent: None, proof: Proof::Signatures(Vec::new()) }
    }

    /// The signatures; none in a session.
    pub fn signatures(&self) -> &[Signature] {
        match &self.proof {
            Proof::Signatures(signatures) | Proof::Batch(_, signatures) => signatures,
            Proof::Session { .. } => &[],
        }
    }

    /// Returns the signatures for editing, to assemble those that were made elsewhere. Takes an
    /// input in a session out of it first.
    pub fn signatures_mut(&mut self) -> &mut Vec<Signature> {
        if self.session().is_some() {
            self.proof = Proof::Signatures(Vec::new());
        }
        match &mut self.proof {
            Proof::Signatures(signatures) | Proof::Batch(_, signatures) => signatures,
            Proof::Session { .. } => unreachable!("it is in a session no more"),
        }
    }

    /// The session that the input is in, if it is in one.
    pub fn session(&self) -> Option<SessionId> {
        match self.proof {
            Proof::Session { session, .. } => Some(session),
            Proof::Signatures(_) | Proof::Batch(..) => None,
        }
    }

    /// Returns the kind of the credential, as policies read it.
    pub fn kind(&self) -> &'static str {
        match self.proof {
            Proof::Signatures(_) => "signature",
            Proof::Batch(..) => "batch",
            Proof::Session { .. } => "session",
        }
    }

    /// Adds `key`'s signature over `request` to `object`, or over the batch that it is in; a second
    /// one of a key replaces its first.
    pub fn sign(&mut self, key: &SigningKey, object: ObjectId, request: &Request) {
        let bytes = match &self.proof {
            Proof::Signatures(_) | Proof::Session { .. } => self.signed_bytes(object, request),
            Proof::Batch(place, _) => {
                batch_signed_bytes(place.root(self.leaf(object, request)), place.count())
            }
        };
        put_signature(self.signatures_mut(), key.over(&bytes));
    }

    /// Puts `request` to `object` into the session of `key`, in place of signatures.
    pub fn put_in_session(&mut self, key: &SessionKey, object: ObjectId, request: &Request) {
        self.proof = Proof::Session { session: key.id(), mac: key.mac(self, object, request) };
    }

    /// Verifies every signature over `request` to `object`, except those over a batch that `memo`
    /// holds already, and returns the keys, ascending.
    ///
    /// # Errors
    ///
    /// [`Credential`](ErrorKind::Credential) naming the first key whose signature does not hold, or
    /// that is weak, out of order or a duplicate, or saying that there is no signature, as in a
    /// session; [`Limit`](ErrorKind::Limit) when there are too many.
    pub fn verify(
        &self,
        object: ObjectId,
        request: &Request,
        memo: &Memo,
    ) -> Result<Vec<PublicKey>> {
        match &self.proof {
            Proof::Signatures(signatures) => {
                verify_each(signatures, || self.signed_bytes(object, request))?;
            }
            Proof::Batch(place, signatures) => {
                let (root, count) = (place.root(self.leaf(object, request)), place.count());
                if !memo.holds(root, count, signatures) {
                    verify_each(signatures, || batch_signed_bytes(root, count))?;
                    memo.hold(root, count, signatures);
                }
            }
            Proof::Session { .. } => verify_each(&[], Vec::new)?,
        }
        Ok(self.signatures().iter().map(|signature| PublicKey(signature.key)).collect())
    }

    fn signed_bytes(&self, object: ObjectId, request: &Request) -> Vec<u8> {
        request.signed_bytes(object, self.nonce, self.expires, self.parent)
    }

    /// Returns the claims of an input to `object`.
    fn claims(&self, object: ObjectId) -> Claims {
        let Credential { nonce, expires, parent, .. } = *self;
        Claims { object, nonce, expires, parent }
    }

    /// Returns the leaf of `request` to `object` in a batch.
    fn leaf(&self, object: ObjectId, request: &Request) -> LeafHash {
        let mut bytes = Vec::with_capacity(256);
        request.put_signed_body(&mut bytes, self.claims(object));
        LeafHash::of(&bytes)
    }
}

/// Returns the bytes that are signed for a batch of `count` inputs.
pub fn batch_signed_bytes(root: BatchRoot, count: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    put_dsse(&mut bytes, BATCH_TYPE, 36);
    bytes.put(&root.0).put_u32(count);
    bytes
}

/// Puts a signature where it belongs, in place of another one of its key.
fn put_signature(signatures: &mut Vec<Signature>, signature: Signature) {
    match signatures.binary_search_by_key(&signature.key, |held| held.key) {
        Ok(index) => signatures[index] = signature,
        Err(index) => signatures.insert(index, signature),
    }
}

/// Verifies signatures over `bytes`, strictly: that there are some and not too many, that their
/// keys ascend, and that each holds, of a key that is not weak.
fn verify_each(signatures: &[Signature], bytes: impl FnOnce() -> Vec<u8>) -> Result<()> {
    let problem = |text: String| Error::from(ErrorKind::Credential(text));
    if signatures.is_empty() {
        return Err(problem("no signature".to_string()));
    }
    if signatures.len() > SIGNATURES_MAX {
        let (max, found) = (SIGNATURES_MAX as u64, signatures.len() as u64);
        return Err(ErrorKind::Limit { what: "signatures", max, found }.into());
    }
    if !signatures.is_sorted_by(|one, next| one.key < next.key) {
        return Err(problem("keys are not distinct and ascending".to_string()));
    }
    let bytes = bytes();
    for signature in signatures {
        let key = PublicKey(signature.key);
        let verifying = VerifyingKey::from_bytes(&signature.key)
            .map_err(|_| problem(format!("{key} is not a point of the curve")))?;
        let claimed = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        verifying
            .verify_strict(&bytes, &claimed)
            .map_err(|_| problem(format!("the signature of {key} does not verify")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_with_its_own_public_half_alone() {
        let (one, other) = ([1; 32], [2; 32]);
        let public = SigningKey::from_secret(&one).public();
        assert_eq!(SigningKey::from_pair(&one, public).expect("its own").public(), public);
        let error = SigningKey::from_pair(&other, public).expect_err("another's");
        assert!(matches!(error.kind(), ErrorKind::Credential(_)), "{error}");
    }
}
