//! OpenSSH's form of secret keys, encrypted or not, and its line of a public key.
//!
//! The algorithm and the cost of the passphrase stand in front, unencrypted: both are checked
//! before a passphrase is asked for. It does not know files.

use std::path::Path;

use continuant::SigningKey;
use continuant::object::credential::PublicKey;
use ssh_key::private::KeypairData;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, Cipher, Error, Kdf, PrivateKey};
use zeroize::Zeroizing;

use super::lines::{malformed, not_ed25519, pair};
use crate::failure::{Failure, Result};

/// The label of a file.
pub(super) const LABEL: &str = "OPENSSH PRIVATE KEY";
/// Characters of a line: the form is read in no other width.
pub(super) const WIDTH: usize = 70;
/// The most rounds that a passphrase is hashed for: a hundred times as many as `ssh-keygen` takes
/// unless it is told otherwise, and some ten seconds of work.
const ROUNDS_MAX: u32 = 2_000;
/// The longest comment of a public key.
const COMMENT_BYTES_MAX: usize = 256;

/// Reads the key in the text of one file; `passphrase` is asked for when the key is encrypted.
pub(super) fn read(
    path: &Path,
    text: &str,
    passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<SigningKey> {
    let fail = |problem: &dyn std::fmt::Display| malformed(path, format!("OpenSSH: {problem}"));
    let read = PrivateKey::from_openssh(text).map_err(|error| fail(&error))?;
    if read.algorithm() != Algorithm::Ed25519 {
        let found = name(&read.algorithm());
        return Err(not_ed25519(path, &found));
    }
    let opened = match read.is_encrypted() {
        true => open(path, &read, passphrase)?,
        false => read,
    };
    let KeypairData::Ed25519(found) = opened.key_data() else {
        return Err(fail(&"the secret is of another algorithm than the public key"));
    };
    // The library compares the public keys in the file with one another, not with the secret.
    pair(path, found.private.as_ref(), found.public.0)
}

/// Decrypts a key.
fn open(
    path: &Path,
    sealed: &PrivateKey,
    passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<PrivateKey> {
    let file = path.display();
    let Kdf::Bcrypt { rounds, .. } = sealed.kdf() else {
        return Err(malformed(path, "OpenSSH: encrypted without a passphrase"));
    };
    if *rounds > ROUNDS_MAX {
        let found = format!("expected at most {ROUNDS_MAX} rounds of its passphrase");
        let failure = Failure::new("limit", format!("{file}: {found}, found {rounds}"));
        return Err(failure.advised(format!("`ssh-keygen -p -a 100 -f {file}` has fewer")));
    }
    if sealed.cipher() == Cipher::TDesCbc {
        let way = format!("`ssh-keygen -p -Z aes256-ctr -f {file}` encrypts it by another cipher");
        let message = format!("{file} is encrypted by 3des-cbc, which is not read here: {way}");
        return Err(Failure::new("key", message));
    }
    let passphrase = passphrase()?;
    sealed.decrypt(passphrase.as_bytes()).map_err(|error| match error {
        Error::Crypto => {
            let message = format!("{file}: the passphrase is wrong, or the file is damaged");
            Failure::new("passphrase", message)
        }
        error => malformed(path, format!("OpenSSH: {error}")),
    })
}

/// Returns the name of an algorithm, as the refusals of other forms have it.
fn name(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => "RSA".to_string(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_string(),
        Algorithm::Dsa => "DSA".to_string(),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            "a key whose secret is in a security key".to_string()
        }
        other => other.to_string(),
    }
}

/// Returns the line of a public key, as in `authorized_keys`.
///
/// # Errors
///
/// A comment that would not stay in its line.
pub(super) fn public_line(key: PublicKey, comment: &str) -> Result<String> {
    if comment.len() > COMMENT_BYTES_MAX || comment.chars().any(char::is_control) {
        let expected = format!("a comment of at most {COMMENT_BYTES_MAX} bytes, on one line");
        return Err(Failure::usage(format!("--comment: expected {expected}")));
    }
    let data = KeyData::Ed25519(Ed25519PublicKey(key.0));
    let line = ssh_key::PublicKey::new(data, comment).to_openssh();
    let line = line.expect("a key of 32 bytes and a short comment are a line");
    assert!(!line.contains('\n'), "a comment adds no line");
    Ok(line)
}
