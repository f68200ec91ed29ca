//! The lines of key files and session files.
//!
//! It does not know where they are kept.
//!
//! Invariant: a text that is read is one that was written, or one that names the same key.

use std::path::Path;

use continuant::object::credential::PublicKey;
use continuant::object::hash::{SessionId, VersionHash};
use continuant::{Session, SigningKey, Time};
use serde_json::json;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};
use crate::moment;

/// Room for the lines of a file.
const TEXT_BYTES: usize = 512;
/// The format of these files.
const FORMAT: u32 = 2;

/// A kind of file: the word in its first line, the algorithm of its secret, and the names of its
/// values.
struct Kind<const N: usize> {
    word: &'static str,
    algorithm: &'static str,
    names: [&'static str; N],
}

const KEY: Kind<2> = Kind { word: "key", algorithm: "ed25519", names: ["secret", "public"] };
const SESSION: Kind<3> =
    Kind { word: "session", algorithm: "blake3", names: ["secret", "session", "ends"] };

impl<const N: usize> Kind<N> {
    /// The text of a file with these values.
    fn encode(&self, values: [&str; N]) -> Zeroizing<String> {
        let Kind { word, algorithm, names } = self;
        let is_line = |value: &&str| !value.is_empty() && !value.contains('\n');
        assert!(values.iter().all(is_line), "each value is in a line of its own");
        let mut text = Zeroizing::new(format!("continuant {word} {FORMAT}\n{algorithm}\n"));
        // No copy of a secret is left behind where the text grows.
        text.reserve(TEXT_BYTES);
        for (name, value) in names.iter().zip(values) {
            for part in [name, " ", value, "\n"] {
                text.push_str(part);
            }
        }
        debug_assert!(self.decode(Path::new(word), &text).is_ok(), "what is written can be read");
        text
    }

    /// Returns the format of the file, if it is of this kind.
    fn format(&self, text: &str) -> Option<u32> {
        let head = text.lines().next()?.strip_prefix("continuant ")?;
        head.strip_prefix(self.word)?.strip_prefix(' ')?.parse().ok()
    }

    /// Reads the values of a file of this kind.
    fn decode<'t>(&self, path: &Path, text: &'t str) -> Result<[&'t str; N]> {
        let file = path.display();
        match self.format(text) {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                let newest = format!("is newer than {FORMAT}, the newest known here");
                return Err(Failure::new(
                    "newer-format",
                    format!("{file}: format {newer} {newest}"),
                ));
            }
            _ => return Err(self.strange(path, text)),
        }
        let mut lines = text.lines().skip(1);
        let algorithm = lines.next().unwrap_or_default();
        if algorithm != self.algorithm {
            let expected = format!("line 2: expected the algorithm {}", self.algorithm);
            return Err(unknown_algorithm(path, &expected, algorithm));
        }
        let mut values = [""; N];
        for (index, (value, name)) in values.iter_mut().zip(self.names).enumerate() {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let expected = || format!("line {}: expected `{name}` and its value", index + 3);
            *value = line.ok_or_else(|| malformed(path, expected()))?;
        }
        match lines.next() {
            None => Ok(values),
            Some(_) => Err(malformed(path, format!("expected {} lines, found more", N + 2))),
        }
    }

    /// The failure of a file of another kind.
    fn strange(&self, path: &Path, text: &str) -> Failure {
        let (file, word) = (path.display(), self.word);
        if secret(text.lines().next().unwrap_or_default()).is_some() {
            let way = match word == KEY.word {
                true => format!("`continuant key import {file} --to KEY` makes a key file of it"),
                false => "make it anew with `continuant session new`".to_string(),
            };
            let message = format!("{file} is a {word} file from before the first release: {way}");
            return Failure::new("old-format", message);
        }
        let failure = malformed(path, format!("expected a {word} file"));
        match word == KEY.word {
            true => failure.advised("`continuant key import` reads keys of other programs"),
            false => failure,
        }
    }
}

/// A file that is not as it must be.
pub(super) fn malformed(path: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::new("key", format!("{}: {problem}", path.display()))
}

/// The failure of a file whose key is of an algorithm that is not known here.
fn unknown_algorithm(path: &Path, expected: &str, found: &str) -> Failure {
    let message = format!("{}: {expected}, found {found}", path.display());
    Failure::new("unknown-algorithm", message).with_details(json!({ "algorithm": found }))
}

/// The failure of a key of another algorithm, in a form that is read.
pub(super) fn not_ed25519(path: &Path, found: &str) -> Failure {
    let failure = unknown_algorithm(path, "expected an Ed25519 key", found);
    failure.advised("`continuant key new` makes one")
}

/// The text of a key file.
pub(super) fn key(key: &SigningKey) -> Zeroizing<String> {
    let public = key.public().to_string();
    KEY.encode([&digits(&Zeroizing::new(key.secret())), &public])
}

/// The text of a session file.
pub(super) fn session(session: &Session, expires: Time) -> Zeroizing<String> {
    let (secret, id) = (digits(&Zeroizing::new(session.secret())), session.id().to_string());
    SESSION.encode([&secret, &id, &expires.to_string()])
}

/// Returns whether a text is that of a key file, of any format.
pub(super) fn is_key(text: &str) -> bool {
    KEY.format(text).is_some()
}

/// The key of a key file's text.
pub(super) fn read_key(path: &Path, text: &str) -> Result<SigningKey> {
    let [digits, public] = KEY.decode(path, text)?;
    let secret = secret(digits).ok_or_else(|| no_digits(path, 3))?;
    let public = bytes_of(public).ok_or_else(|| no_digits(path, 4))?;
    pair(path, &secret, public)
}

/// The key of a secret that stands beside its public half.
pub(super) fn pair(path: &Path, secret: &[u8; 32], public: [u8; 32]) -> Result<SigningKey> {
    SigningKey::from_pair(secret, PublicKey(public)).map_err(|error| malformed(path, error))
}

/// The session of a session file's text.
pub(super) fn read_session(path: &Path, text: &str) -> Result<Session> {
    let [digits, id, ends] = SESSION.decode(path, text)?;
    let secret = secret(digits).ok_or_else(|| no_digits(path, 3))?;
    let id = bytes_of(id).ok_or_else(|| no_digits(path, 4))?;
    let ends = moment::read_shown(ends);
    let ends = ends.ok_or_else(|| malformed(path, "line 5: expected a time"))?;
    let session = Session::from_secret(&secret, ends);
    match session.id() == SessionId(id) {
        true => Ok(session),
        false => Err(malformed(path, "the secret is not that of the session")),
    }
}

fn digits(secret: &[u8; 32]) -> Zeroizing<String> {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("four bits are a digit");
    let mut digits = Zeroizing::new(String::with_capacity(2 * secret.len()));
    digits.extend(secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    digits
}

fn no_digits(path: &Path, line: usize) -> Failure {
    malformed(path, format!("line {line}: expected 64 hexadecimal digits"))
}

/// Reads the 32 bytes of a secret.
pub(super) fn secret(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    bytes_of(digits).map(Zeroizing::new)
}

/// Reads 32 bytes, whose digits have the form of any hash.
fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    digits.parse::<VersionHash>().ok().map(|hash| hash.0)
}
