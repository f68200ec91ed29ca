//! Key files: an Ed25519 secret as 64 hexadecimal digits and a line feed, for its owner's eyes.
//!
//! It does not know what is signed.
//!
//! Invariant: a key file is never written over.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use continuant::SigningKey;
use continuant::object::hash::VersionHash;

use crate::failure::{Failure, Result};

/// Makes a new key and writes it to `path`.
pub(crate) fn create(path: &Path) -> Result<SigningKey> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new("random", format!("no random bytes for a key: {error}")))?;
    let key = SigningKey::from_secret(&secret);
    let digits: String = key.secret().iter().map(|byte| format!("{byte:02x}")).collect();
    let written = open(path).and_then(|mut file| {
        file.write_all(format!("{digits}\n").as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let path = path.display();
            Failure::new("exists", format!("{path} exists: a key file is never written over"))
        }
        _ => Failure::file("writing", path, &error),
    })?;
    Ok(key)
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads the key in `path`.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::file("reading key", path, &error))?;
    // 32 bytes are 32 bytes: the digits are read as those of any hash.
    let secret = text.trim_end().parse::<VersionHash>().map_err(|_| {
        let expected = "expected the 64 hexadecimal digits of a secret key";
        Failure::new("key", format!("{}: {expected}", path.display()))
    })?;
    Ok(SigningKey::from_secret(&secret.0))
}

/// Reads the keys in `paths`.
pub(crate) fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<SigningKey>> {
    paths.iter().map(|path| read(path.as_ref())).collect()
}
