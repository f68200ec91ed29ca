//! Sessions: a secret that signatures vouch for on an object, and the codes by which the secret's
//! holder acts in the name of the signers.
//!
//! A code costs far less than a signature and proves less: it is a keyed hash, so anyone who can
//! verify it can also make it. A host says that a code was right, and nobody else can tell.
//!
//! This module does not know the objects that have a session open, nor when it expires.

use std::fmt;

use super::Credential;
use crate::hash::{Hashing, ObjectId, SessionId};
use crate::request::Request;

/// The payload type that codes are bound to.
const SEALED_TYPE: &str = "application/vnd.continuant.session.v2";

/// The secret of a session. It is never in a lineage: its id is.
#[derive(Clone)]
pub struct SessionKey {
    secret: [u8; 32],
    id: SessionId,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.id)
    }
}

impl SessionKey {
    /// The key of a 32-byte secret. It must be random, kept secret, and of one session only.
    pub fn from_secret(secret: &[u8; 32]) -> SessionKey {
        SessionKey { secret: *secret, id: SessionId::of(secret) }
    }

    /// Returns the secret behind the key.
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// Returns the session's id, the public name of the secret.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the code over `request` to `object` and the nonce, the expiry and the parent of
    /// `credential`: the keyed BLAKE3 hash, by the secret, of the bytes that a signature would
    /// cover, as a payload of the type `application/vnd.continuant.session.v2`.
    pub fn mac(&self, credential: &Credential, object: ObjectId, request: &Request) -> [u8; 32] {
        *self.keyed(credential, object, request).as_bytes()
    }

    /// Returns whether `mac` is that code, in constant time.
    pub(super) fn verifies(
        &self,
        mac: [u8; 32],
        (credential, object, request): (&Credential, ObjectId, &Request),
    ) -> bool {
        // The comparison of BLAKE3's type takes the same time wherever hashes differ.
        self.keyed(credential, object, request) == blake3::Hash::from_bytes(mac)
    }

    fn keyed(&self, credential: &Credential, object: ObjectId, request: &Request) -> blake3::Hash {
        let mut bytes = Hashing::keyed(&self.secret);
        request.put_signed(&mut bytes, SEALED_TYPE, credential.claims(object));
        bytes.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_keyed_hash_of_the_dsse_encoding_however_long_the_request() {
        let (key, object) = (SessionKey::from_secret(&[3; 32]), ObjectId([7; 32]));
        let credential = Credential::new(5, crate::time::Time::from_millis(1_700_000_000_000));
        for length in (0..40).chain(90..300).chain([1_000, 5_000, 70_000]) {
            let arguments: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let request = Request::Call { method: "fly".to_string(), arguments };
            let mut body = Vec::new();
            request.put_signed_body(&mut body, credential.claims(object));
            let head = format!("DSSEv1 {} {SEALED_TYPE} {} ", SEALED_TYPE.len(), body.len());
            let bytes = [head.as_bytes(), &body].concat();
            let expected = blake3::keyed_hash(&[3; 32], &bytes);
            let found = key.mac(&credential, object, &request);
            assert_eq!(found, *expected.as_bytes(), "{length} bytes of arguments");
        }
    }
}
