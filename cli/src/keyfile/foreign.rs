//! Keys in the forms of other programs: which form a file has, by how it begins, and what to do
//! with the ones that are not read.
//!
//! It does not know what is in a form.
//!
//! Invariant: a file of a form that is not read here is refused by that form's name.

use std::path::Path;

use continuant::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use super::lines::{self, malformed, not_ed25519, secret};
use super::{openssh, pkcs8};
use crate::failure::{Failure, Result};
use crate::files;

/// Characters of a line of PKCS#8 in PEM.
const PEM_WIDTH: usize = 64;

/// A form that is not read.
struct Form {
    /// The beginning of a file, or the label of a PEM file.
    begins: &'static str,
    name: &'static str,
    /// The way to a key that can be read. A public key and another algorithm have one of their own.
    way: Way,
}

enum Way {
    /// The file has a key of another algorithm.
    Algorithm,
    /// The file has a public key.
    Public,
    /// A command, with the file in place of `{}`.
    Command(&'static str),
}

const fn form(begins: &'static str, name: &'static str, way: Way) -> Form {
    Form { begins, name, way }
}

const AGE: Way = Way::Command("`age -d -o PLAIN {}` decrypts it");
const ANEW: Way = Way::Command("make a key with `continuant key new`");

/// Labels of PEM files.
const LABELS: &[Form] = &[
    form(
        "ENCRYPTED PRIVATE KEY",
        "an encrypted PKCS#8 file",
        Way::Command("`openssl pkey -in {} -out PLAIN` decrypts it"),
    ),
    form("RSA PRIVATE KEY", "RSA (PKCS#1)", Way::Algorithm),
    form("EC PRIVATE KEY", "ECDSA (SEC1)", Way::Algorithm),
    form("EC PARAMETERS", "ECDSA (SEC1)", Way::Algorithm),
    form("DSA PRIVATE KEY", "DSA", Way::Algorithm),
    form("PUBLIC KEY", "a public key in PEM", Way::Public),
    form("RSA PUBLIC KEY", "a public key in PEM", Way::Public),
    form("CERTIFICATE", "a certificate", Way::Public),
    form("AGE ENCRYPTED FILE", "a file that age encrypted", AGE),
    form("PGP PRIVATE KEY BLOCK", "an OpenPGP key", ANEW),
];

/// Beginnings of the first line that is not a comment.
const BEGINNINGS: &[Form] = &[
    form("AGE-SECRET-KEY-", "an age identity", ANEW),
    form("AGE-PLUGIN-", "an age identity", ANEW),
    form("age1", "an age recipient", Way::Public),
    form("age-encryption.org/", "a file that age encrypted", AGE),
    form("untrusted comment:", "a minisign or signify file", ANEW),
    form(
        "PuTTY-User-Key-File-",
        "a PuTTY key",
        Way::Command("`puttygen {} -O private-openssh-new -o KEY` makes an OpenSSH key of it"),
    ),
    form("---- BEGIN SSH2 PUBLIC KEY", "a public key of SSH", Way::Public),
    form("ssh-", "a public key of OpenSSH", Way::Public),
    form("ecdsa-sha2-", "a public key of OpenSSH", Way::Public),
    form("sk-", "a public key of OpenSSH", Way::Public),
    form("{", "JSON, such as a JWK", Way::Command("write it as PKCS#8 in PEM")),
];

impl Form {
    fn refuse(&self, path: &Path) -> Failure {
        let (file, name) = (path.display(), self.name);
        let way = match self.way {
            Way::Algorithm => return not_ed25519(path, name),
            Way::Public => "the secret key is in another file".to_string(),
            Way::Command(way) => way.replace("{}", &file.to_string()),
        };
        let failure = Failure::new("key", format!("{file} is {name}: {way}"));
        failure.with_details(json!({ "form": name }))
    }
}

/// Reads a key of any form that is known, and returns the form's name beside it.
pub(super) fn read(
    path: &Path,
    mut bytes: Zeroizing<Vec<u8>>,
    passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<(SigningKey, &'static str)> {
    if bytes.starts_with(b"\x30") && std::str::from_utf8(&bytes).is_err() {
        let way = Way::Command("`openssl pkey -inform DER -in {} -out PEM` writes it as PEM");
        return Err(form("", "a key in DER", way).refuse(path));
    }
    let text = files::decode(path, std::mem::take(&mut *bytes)).map(Zeroizing::new)?;
    if let Some(digits) = secret(text.trim()) {
        return Ok((SigningKey::from_secret(&digits), "digits"));
    }
    if lines::is_key(&text) {
        return Ok((lines::read_key(path, &text)?, "key-file"));
    }
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let first = text.lines().map(str::trim).find(|line| !is_comment(line)).unwrap_or_default();
    if let Some(form) = BEGINNINGS.iter().find(|form| first.starts_with(form.begins)) {
        return Err(form.refuse(path));
    }
    let Some(block) = Block::find(&text) else {
        let forms = "PKCS#8 in PEM, an OpenSSH key, a key file or 64 hexadecimal digits";
        return Err(malformed(path, format!("expected a secret key: {forms}")));
    };
    if let Some(form) = LABELS.iter().find(|form| form.begins == block.label) {
        return Err(form.refuse(path));
    }
    if block.is_one_of_many {
        return Err(malformed(path, "expected one PEM block, found more: keep the key's alone"));
    }
    match block.label {
        pkcs8::LABEL => Ok((pkcs8::read(path, &block.wrapped(PEM_WIDTH))?, "pkcs8")),
        openssh::LABEL => {
            let text = block.wrapped(openssh::WIDTH);
            Ok((openssh::read(path, &text, passphrase)?, "openssh"))
        }
        label => Err(malformed(path, format!("expected a secret key, found {label}"))),
    }
}

/// The first block of a PEM file. Other programs break its lines at other widths than those that
/// the libraries read, end them otherwise, and put text around it.
struct Block<'t> {
    label: &'t str,
    lines: Vec<&'t str>,
    /// The line that ends it.
    end: &'t str,
    is_one_of_many: bool,
}

impl<'t> Block<'t> {
    fn find(text: &'t str) -> Option<Block<'t>> {
        let begins = |line: &'t str| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----");
        let mut lines = text.lines().map(str::trim);
        let label = lines.find_map(begins)?;
        let mut inside = Vec::new();
        let end = loop {
            match lines.next() {
                Some(line) if line.starts_with("-----") => break line,
                Some(line) => inside.push(line),
                None => break "",
            }
        };
        let is_one_of_many = lines.any(|line| begins(line).is_some());
        Some(Block { label, lines: inside, end, is_one_of_many })
    }

    /// The block with lines of this width.
    fn wrapped(&self, width: usize) -> Zeroizing<String> {
        let count: usize = self.lines.iter().map(|line| line.len()).sum();
        // Room for all, so that no copy of a secret is left behind where the text grows.
        let mut text = Zeroizing::new(String::with_capacity(2 * count + 256));
        text.push_str("-----BEGIN ");
        text.push_str(self.label);
        text.push_str("-----");
        for (index, letter) in self.lines.iter().flat_map(|line| line.chars()).enumerate() {
            if index % width == 0 {
                text.push('\n');
            }
            text.push(letter);
        }
        text.push('\n');
        text.push_str(self.end);
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENSSL: &[u8] = include_bytes!("../../tests/fixtures/keys/openssl.pem");
    const VERSION_2: &[u8] = include_bytes!("../../tests/fixtures/keys/version-2.pem");
    const OPENSSH: &[u8] = include_bytes!("../../tests/fixtures/keys/openssh");
    const ONE_ROUND: &[u8] = include_bytes!("../../tests/fixtures/keys/openssh-one-round");

    fn read_key(bytes: &[u8]) -> Result<SigningKey> {
        let passphrase = || Ok("x".to_string().into());
        let read = read(Path::new("file"), bytes.to_vec().into(), passphrase);
        read.map(|(key, _)| key)
    }

    /// Flips bits of a file, those of `mask` in each byte: how many changes were noticed. Each that
    /// was not, at a place that is not `free`, gives the same key.
    fn flip(file: &[u8], mask: impl Fn(usize) -> u8, free: std::ops::Range<usize>) -> usize {
        let key = read_key(file).expect("the file is whole").public();
        let mut refused = 0;
        for at in 0..file.len() {
            for bit in (0..8).filter(|bit| mask(at) & 1 << bit != 0) {
                let mut changed = file.to_vec();
                changed[at] ^= 1 << bit;
                match read_key(&changed) {
                    Ok(found) if free.contains(&at) || found.public() == key => {}
                    Ok(found) => panic!("byte {at}, bit {bit}: {}", found.public()),
                    Err(failure) => {
                        assert_eq!(failure.exit_code(), 1, "{}", failure.message());
                        refused += 1;
                    }
                }
            }
        }
        refused
    }

    #[test]
    fn a_changed_bit_is_noticed_or_gives_the_same_key() {
        let all = |_: usize| 0xff;
        let key = SigningKey::from_secret(&[7; 32]);
        let ours = lines::key(&key);
        for (file, least) in [(ours.as_bytes(), 900), (VERSION_2, 1_200), (OPENSSH, 3_000)] {
            let refused = flip(file, all, 0..0);
            assert!(refused > least, "{refused} of {} bits", 8 * file.len());
        }
        // Nothing in the file names the key that the last 32 of the 48 bytes are of.
        let body = 28..28 + 64;
        let refused = flip(OPENSSL, all, body.start + 21..body.end);
        assert!(refused > 8 * 50, "{refused}");
        // Each is a hash of the passphrase.
        let refused = flip(ONE_ROUND, |at| 1 << (at % 7), 0..0);
        assert!(refused > 300, "{refused}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_or_gives_the_same_key() {
        for file in [OPENSSL, VERSION_2, OPENSSH, ONE_ROUND] {
            let key = read_key(file).expect("the file is whole").public();
            for length in 0..file.len() {
                let cut = read_key(&file[..length]);
                assert!(cut.is_err() || length + 1 == file.len(), "{length}");
                assert!(cut.is_ok_and(|found| found.public() == key) || length + 1 < file.len());
            }
        }
    }

    #[test]
    fn lines_of_any_width_and_text_around_a_block_are_no_matter() {
        for file in [OPENSSL, VERSION_2, OPENSSH] {
            let key = read_key(file).expect("the file is whole").public();
            let text = std::str::from_utf8(file).expect("PEM is text");
            let mut narrow = "\n# of the board\nKey: 7\n\n".to_string();
            for line in text.lines() {
                let is_bound = line.starts_with('-');
                let letters: Vec<char> = line.chars().collect();
                for part in letters.chunks(if is_bound { 100 } else { 11 }) {
                    narrow.extend(part);
                    narrow.push_str(" \r\n");
                }
            }
            narrow.push_str("\n\nthe end\n");
            assert_eq!(read_key(narrow.as_bytes()).expect("it is the key").public(), key);
        }
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        for file in [OPENSSL, VERSION_2, OPENSSH, ONE_ROUND] {
            for _ in 0..200 {
                let mut changed = file.to_vec();
                for _ in 0..random() % 8 {
                    let (at, to) = (random() % changed.len(), random() % changed.len());
                    changed[at] = changed[to];
                }
                let at = random() % changed.len();
                changed.truncate(at + random() % 64);
                drop(read_key(&changed));
            }
        }
    }
}
