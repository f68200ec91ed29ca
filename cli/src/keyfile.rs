//! Key files: an Ed25519 secret as 64 hexadecimal digits and a line feed, readable only by its
//! owner. A session's secret has the same form, with the session's end on a line of its own.
//!
//! This module does not know what is signed.
//!
//! Invariant: no such file is ever overwritten.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use continuant::object::hash::VersionHash;
use continuant::{Session, SigningKey, Time};

use crate::failure::{Failure, Result};
use crate::{aside, files, moment};

/// The longest file that can be one of a secret.
const FILE_BYTES_MAX: usize = 4096;
/// Bits of a mode by which others than the owner may do something.
const OTHERS: u32 = 0o077;

/// Makes a new key and writes it to `path`.
pub(crate) fn create(path: &Path) -> Result<SigningKey> {
    let key = SigningKey::from_secret(&random()?);
    write(path, &format!("{}\n", digits(&key.secret())))?;
    Ok(key)
}

/// Makes a new session that lasts until `expires`, and writes it to `path`.
pub(crate) fn create_session(path: &Path, expires: Time) -> Result<Session> {
    let session = Session::from_secret(&random()?, expires);
    let text = format!("{}\n{expires}\n", digits(&session.secret()));
    write(path, &text)?;
    Ok(session)
}

fn random() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new("random", format!("no random bytes for a key: {error}")))?;
    Ok(secret)
}

fn digits(secret: &[u8; 32]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    files::require_apart(path)?;
    files::write_secret(path, text).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let path = path.display();
            Failure::new("exists", format!("{path} exists: a key file is never written over"))
        }
        _ => Failure::file("writing", path, &error),
    })
}

/// Reads a file with a secret, and warns when others than its owner may read it.
fn read_secret(doing: &str, path: &Path) -> Result<String> {
    let file = files::read_at_most(doing, path, FILE_BYTES_MAX)?;
    let about = std::fs::metadata(path).map_err(|error| Failure::file(doing, path, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & OTHERS != 0 {
        let file = path.display();
        let remedy = format!("`chmod 600 {file}` keeps it to its owner");
        let message = format!("others may read {file}, which has mode {mode:03o}: {remedy}");
        aside::warn("readable-secret", &message);
    }
    files::decode(path, file)
}

/// Reads the key in `path`.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let text = read_secret("reading key", path)?;
    let secret = secret(text.trim_end()).ok_or_else(|| {
        let expected = "expected the 64 hexadecimal digits of a secret key";
        Failure::new("key", format!("{}: {expected}", path.display()))
    })?;
    Ok(SigningKey::from_secret(&secret))
}

/// Reads the session in `path`.
pub(crate) fn read_session(path: &Path) -> Result<Session> {
    let text = read_secret("reading session", path)?;
    let session = text.trim_end().split_once('\n').and_then(|(first, second)| {
        Some(Session::from_secret(&secret(first.trim_end())?, moment::read_shown(second)?))
    });
    session.ok_or_else(|| {
        let expected = "expected the 64 hexadecimal digits of a secret, and behind them a time";
        Failure::new("key", format!("{}: {expected}", path.display()))
    })
}

/// Reads 32 bytes, whose digits have the form of any hash.
fn secret(digits: &str) -> Option<[u8; 32]> {
    digits.parse::<VersionHash>().ok().map(|hash| hash.0)
}

/// Reads the keys in `paths`.
pub(crate) fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<SigningKey>> {
    paths.iter().map(|path| read(path.as_ref())).collect()
}
