//! PKCS#8: the form that OpenSSL gives secret keys, in PEM.
//!
//! Version 1 has the secret alone; version 2, of RFC 5958, has the public key too, which must be
//! that of the secret. Written is version 1, because OpenSSL before 3.4 reads no other. It does not
//! know files.

use std::path::Path;

use continuant::SigningKey;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::lines::{malformed, not_ed25519, pair};
use crate::failure::Result;

/// The label of an unencrypted file.
pub(super) const LABEL: &str = "PRIVATE KEY";
/// RFC 8410.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Algorithms of other keys, by their object identifiers.
const OTHERS: [(&str, &str); 12] = [
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.113549.1.1.10", "RSA (PSS)"),
    ("1.2.840.10045.2.1", "ECDSA"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.113", "Ed448"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
    ("1.2.156.10197.1.301", "SM2"),
    ("1.2.840.113549.1.3.1", "Diffie-Hellman"),
];

/// Reads the key in the PEM text of one file.
pub(super) fn read(path: &Path, text: &str) -> Result<SigningKey> {
    let fail = |problem: &dyn std::fmt::Display| malformed(path, format!("PKCS#8: {problem}"));
    let (_, document) = SecretDocument::from_pem(text).map_err(|error| fail(&error))?;
    let info = document.decode_msg::<PrivateKeyInfoRef<'_>>().map_err(|error| fail(&error))?;
    if info.algorithm.oid != ED25519 {
        let id = info.algorithm.oid.to_string();
        let known = OTHERS.iter().find(|(other, _)| *other == id);
        let found = known.map_or(&*id, |(_, name)| name);
        return Err(not_ed25519(path, found));
    }
    if info.algorithm.parameters.is_some() {
        return Err(fail(&"an Ed25519 key has no parameters"));
    }
    let inner = <&OctetStringRef>::from_der(info.private_key.as_bytes());
    let inner = inner.map_err(|error| fail(&error))?;
    let secret: &[u8; 32] =
        inner.as_bytes().try_into().map_err(|_| fail(&"an Ed25519 secret has 32 bytes"))?;
    let Some(bits) = info.public_key else { return Ok(SigningKey::from_secret(secret)) };
    // Bits that do not make whole bytes are no key, rather than none that was given.
    let public = bits.as_bytes().and_then(|bytes| bytes.try_into().ok());
    pair(path, secret, public.ok_or_else(|| fail(&"an Ed25519 public key has 32 bytes"))?)
}

/// Returns the key as the PEM text of a file: 48 bytes of DER.
pub(super) fn write(key: &SigningKey) -> Zeroizing<String> {
    const FITS: &str = "48 bytes are encoded";
    let secret = Zeroizing::new(key.secret());
    let inner = OctetStringRef::new(&*secret).and_then(|inner| inner.to_der());
    let inner = Zeroizing::new(inner.expect(FITS));
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&inner).expect(FITS));
    let document = SecretDocument::encode_msg(&info).expect(FITS);
    assert_eq!(document.as_bytes().len(), 48, "version 1, with the secret alone");
    document.to_pem(LABEL, LineEnding::LF).expect(FITS)
}
