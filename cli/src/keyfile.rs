//! Key files and session files: a secret, its algorithm, and the public name by which a changed
//! digit is noticed, in lines of text that only the owner may read. Secret keys in the forms of
//! other programs become such files, and key files such forms.
//!
//! ```text
//! continuant key 2              continuant session 2
//! ed25519                       blake3
//! secret <64 digits>            secret <64 digits>
//! public <64 digits>            session <64 digits>
//!                               ends 2026-11-30T18:00:00.000Z
//! ```
//!
//! This module does not know what is signed.
//!
//! Invariant: no file with a secret is ever overwritten, and none that is read gives another key
//! than the one that it names.

mod foreign;
mod lines;
mod openssh;
mod pkcs8;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use continuant::{Session, SigningKey, Time};
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};
use crate::{aside, escape, files};

/// The longest file that can be one of a secret, or of a passphrase.
const FILE_BYTES_MAX: usize = 4096;
/// The longest file of another program: one of an RSA key is to be told by its name.
const FOREIGN_BYTES_MAX: usize = 16 << 10;
/// Bits of a mode by which others than the owner may do something.
const OTHERS: u32 = 0o077;

/// Makes a new key and writes it to `path`.
pub(crate) fn create(path: &Path) -> Result<SigningKey> {
    let key = SigningKey::from_secret(&*random()?);
    write_key(path, &key)?;
    Ok(key)
}

/// Writes a key file.
pub(crate) fn write_key(path: &Path, key: &SigningKey) -> Result<()> {
    write(path, &lines::key(key))
}

/// Makes a new session that lasts until `expires`, and writes it to `path`.
pub(crate) fn create_session(path: &Path, expires: Time) -> Result<Session> {
    let session = Session::from_secret(&*random()?, expires);
    write(path, &lines::session(&session, expires))?;
    Ok(session)
}

fn random() -> Result<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)
        .map_err(|error| Failure::new("random", format!("no random bytes for a key: {error}")))?;
    Ok(secret)
}

/// Writes a text with a secret to a new file that its owner alone may read.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    files::require_apart(path)?;
    files::write_secret(path, text).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let path = path.display();
            Failure::new("exists", format!("{path} exists: a key file is never written over"))
        }
        _ => Failure::file("writing", path, &error),
    })
}

/// Warns when others than its owner may read a file with a secret.
fn warn_of_readers(doing: &str, path: &Path) -> Result<()> {
    let about = std::fs::metadata(path).map_err(|error| Failure::file(doing, path, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & OTHERS != 0 {
        let file = path.display();
        let remedy = format!("`chmod 600 {file}` keeps it to its owner");
        let message = format!("others may read {file}, which has mode {mode:03o}: {remedy}");
        aside::warn("readable-secret", &message);
    }
    Ok(())
}

/// Reads a text with a secret.
fn read_text(doing: &str, path: &Path) -> Result<Zeroizing<String>> {
    let file = files::read_at_most(doing, path, FILE_BYTES_MAX)?;
    warn_of_readers(doing, path)?;
    files::decode(path, file).map(Zeroizing::new)
}

/// Reads the key in `path`.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let text = read_text("reading key", path)?;
    lines::read_key(path, &text)
}

/// Reads a key of any form that is known, and returns the form's name beside it.
///
/// Asks for a passphrase in `passphrase`, if that is given, else on the terminal.
pub(crate) fn import(path: &Path, passphrase: Option<&Path>) -> Result<(SigningKey, &'static str)> {
    const DOING: &str = "reading key";
    let bytes = Zeroizing::new(files::read_at_most(DOING, path, FOREIGN_BYTES_MAX)?);
    let mut is_asked = false;
    let read = foreign::read(path, bytes, || {
        is_asked = true;
        match passphrase {
            Some(file) => read_passphrase(file),
            None => ask_passphrase(path),
        }
    })?;
    warn_of_readers(DOING, path)?;
    match passphrase.filter(|_| !is_asked) {
        Some(_) => {
            let message = "is not encrypted: leave out --passphrase-file";
            Err(Failure::usage(format!("{} {message}", path.display())))
        }
        None => Ok(read),
    }
}

/// The first line of a file.
fn read_passphrase(path: &Path) -> Result<Zeroizing<String>> {
    let text = read_text("reading passphrase", path)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_string()))
}

/// Asks for a passphrase on the terminal, which does not show it.
fn ask_passphrase(path: &Path) -> Result<Zeroizing<String>> {
    let terminal = console::Term::stderr();
    let file = path.display();
    if !terminal.is_term() {
        let message = format!("{file} is encrypted: --passphrase-file FILE has its passphrase");
        return Err(Failure::new("passphrase", message));
    }
    let prompt = format!("passphrase of {file}: ");
    let read = terminal
        .write_str(&escape::line(&prompt))
        .and_then(|()| terminal.read_secure_line().map(Zeroizing::new));
    read.map_err(|error| Failure::new("passphrase", format!("reading the passphrase: {error}")))
}

/// Returns the key as a PEM file of PKCS#8, version 1.
pub(crate) fn pem(key: &SigningKey) -> Zeroizing<String> {
    pkcs8::write(key)
}

/// Returns the public half as a line of OpenSSH's, as in `authorized_keys`.
///
/// # Errors
///
/// A comment that would not stay in its line.
pub(crate) fn openssh_public(key: &SigningKey, comment: &str) -> Result<String> {
    openssh::public_line(key.public(), comment)
}

/// Reads the session in `path`.
pub(crate) fn read_session(path: &Path) -> Result<Session> {
    let text = read_text("reading session", path)?;
    lines::read_session(path, &text)
}

/// Reads the keys in `paths`.
pub(crate) fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<SigningKey>> {
    paths.iter().map(|path| read(path.as_ref())).collect()
}
