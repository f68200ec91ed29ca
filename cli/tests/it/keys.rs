//! Keys of other programs, and keys for them. The files in `fixtures/keys` are of OpenSSL 3.0.19
//! and OpenSSH 9.2p1, but for `rfc8410.pem`, which is of that RFC, and three that were changed:
//! `openssl.der` has the bytes of `openssl.pem`, `version-2.pem` the public key beside them, and
//! `openssh-many-rounds` asks for one round more than is let.

use std::os::unix::fs::PermissionsExt;

use continuant::object::credential::{Credential, SigningKey};
use continuant::object::hash::ObjectId;
use continuant::object::input::Request;
use continuant::{PublicKey, Time};
use expect_test::expect_file;
use serde_json::Value as Json;

use crate::terminal::{Printed, Terminal, root};

/// The public keys that the tools print of `openssl.pem` and of `openssh`.
const OPENSSL: &str = "12fc38bf6155059e7326a19a5d04a8419610bff0fa852da5af79ffd3e017eaea";
const OPENSSH: &str = "b2110292c4e9773ee803ca9a0a8d8a59261883157b2a15971289d3dc40a0d3b9";

/// Returns a terminal with all fixtures.
fn terminal() -> Terminal {
    let terminal = Terminal::new();
    for entry in std::fs::read_dir(root().join("cli/tests/fixtures/keys")).unwrap() {
        let path = entry.unwrap().path();
        secret(
            &terminal,
            path.file_name().unwrap().to_str().unwrap(),
            &std::fs::read(&path).unwrap(),
        );
    }
    secret(&terminal, "passphrase", b"correct horse\n");
    terminal
}

/// Writes a file that its owner alone may read.
fn secret(terminal: &Terminal, name: &str, content: &[u8]) {
    terminal.write(name, content);
    std::fs::set_permissions(terminal.path(name), PermissionsExt::from_mode(0o600)).unwrap();
}

fn text(terminal: &Terminal, name: &str) -> String {
    std::fs::read_to_string(terminal.path(name)).unwrap()
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Returns the failure of a command, as JSON.
#[track_caller]
fn failure(printed: Printed) -> Json {
    assert_eq!((printed.code, &*printed.stdout), (Some(1), ""), "{printed:?}");
    json(&printed.stderr)["error"].clone()
}

#[test]
fn keys_of_other_programs_are_read() {
    let terminal = terminal();
    let digits = "ca03f7ded4e560df15e50c3be6cbeb2cb3def64d714d65af5b360489778ce07b";
    secret(&terminal, "digits", digits.as_bytes());
    secret(&terminal, "loud-digits", format!("{}\r\n", digits.to_uppercase()).as_bytes());
    let rfc = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let with = "--passphrase-file passphrase";
    for (file, rest, public, from) in [
        ("openssl.pem", "", OPENSSL, "pkcs8"),
        ("version-2.pem", "", OPENSSL, "pkcs8"),
        ("rfc8410.pem", "", rfc, "pkcs8"),
        ("digits", "", OPENSSL, "digits"),
        ("loud-digits", "", OPENSSL, "digits"),
        ("digits.key", "", OPENSSL, "key-file"),
        ("openssh", "", OPENSSH, "openssh"),
        (
            "openssh-aes256-ctr",
            with,
            "26e85e9db2c01ad6cd1cadfc2204da64b60bf4f123ce1347d847c55827c0000a",
            "openssh",
        ),
        (
            "openssh-aes256-cbc",
            with,
            "4b85a38bd5bf415435dbbdd1683521900e7cb38e48b1e11b00cfc2487b1ac328",
            "openssh",
        ),
        (
            "openssh-aes256-gcm",
            with,
            "a7ccf43c12f991f50a1774012f375d93e841f88cd7762f17dfaa82e929f9457c",
            "openssh",
        ),
        (
            "openssh-chacha20-poly1305",
            with,
            "0954b6b146cd9910fa74c515c5d08ebd58dd2580d4a5a4ed802f0b28c560cf20",
            "openssh",
        ),
    ] {
        let line = format!("--json key import {file} --to {file}.key {rest}");
        let printed = json(&terminal.run(&line).done());
        assert_eq!(printed["public"], public, "{file}");
        assert_eq!(
            (&printed["from"], &printed["file"]),
            (&from.into(), &format!("{file}.key").into())
        );
        let path = terminal.path(&format!("{file}.key"));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let shown = json(&terminal.run(&format!("--json key show {file}.key")).done());
        assert_eq!(shown["public"], public, "{file}");
    }
    let people = terminal.run("key import openssh --to other.key").done();
    assert!(people.ends_with("from      openssh\n"), "{people}");
    let again = failure(terminal.run("--json key import openssl.pem --to other.key"));
    assert_eq!(again["kind"], "exists");
    assert!(text(&terminal, "other.key").contains(OPENSSH), "it was not written over");
}

#[test]
fn other_forms_are_refused_by_name() {
    let terminal = terminal();
    let age = "# created: 2026-11-30T18:00:00Z\n# public key: age1zvkyg2lqzraa2lnjvqej32nkuu0\n\
               AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n";
    secret(&terminal, "age", age.as_bytes());
    let armour = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n\
                  -----END AGE ENCRYPTED FILE-----\n";
    secret(&terminal, "age-armour", armour.as_bytes());
    secret(&terminal, "age-file", b"age-encryption.org/v1\n-> X25519 TEiF0y\n");
    let minisign = "untrusted comment: minisign encrypted secret key\nRWRTY0IyB0wd\n";
    secret(&terminal, "minisign", minisign.as_bytes());
    secret(&terminal, "putty", b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n");
    secret(&terminal, "jwk", b"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGx\"}\n");
    let many = [text(&terminal, "openssl.pem"), text(&terminal, "openssh")].concat();
    secret(&terminal, "many.pem", many.as_bytes());
    secret(&terminal, "other.pem", b"-----BEGIN OTHER KEY-----\nAAAA\n-----END OTHER KEY-----\n");
    secret(&terminal, "nothing", b"");
    let public = text(&terminal, "version-2.pem").replace("AX6uo=", "AX7uo=");
    secret(&terminal, "other-public.pem", public.as_bytes());
    let files = [
        "age",
        "age-armour",
        "age-file",
        "minisign",
        "putty",
        "jwk",
        "rsa-pkcs1.pem",
        "rsa.pem",
        "openssh-rsa",
        "ecdsa-sec1.pem",
        "ecdsa.pem",
        "openssh-ecdsa",
        "x25519.pem",
        "ed448.pem",
        "encrypted.pem",
        "openssl.der",
        "openssl-public.pem",
        "openssh.pub",
        "many.pem",
        "other.pem",
        "other-public.pem",
        "nothing",
        "openssh-aes256-ctr",
        "openssh-aes256-ctr --passphrase-file age",
        "openssh-aes256-ctr --passphrase-file nothing",
        "openssh-chacha20-poly1305 --passphrase-file age",
        "openssh-3des-cbc --passphrase-file passphrase",
        "openssh-many-rounds --passphrase-file passphrase",
        "openssh --passphrase-file passphrase",
        "missing",
    ];
    let lines = files.map(|file| format!("key import {file} --to made.key"));
    let json = ["ecdsa.pem", "minisign", "openssh-aes256-ctr", "openssh-many-rounds"];
    let json = json.map(|file| format!("--json key import {file} --to made.key"));
    let lines: Vec<&str> = lines.iter().chain(&json).map(String::as_str).collect();
    terminal.check(&lines, expect_file!["transcripts/foreign-keys.txt"]);
    assert!(!terminal.path("made.key").exists(), "nothing is made");
}

#[test]
fn a_key_goes_out_as_it_came() {
    let terminal = terminal();
    for (file, line, form) in [
        ("openssl.pem", "--pem", "pkcs8"),
        ("openssh.pub", "--ssh-public --comment fixture@example.com", "openssh-public"),
    ] {
        let from = file.replace(".pub", "");
        terminal.run(&format!("key import {from} --to {file}.key")).done();
        let line = format!("key export {file}.key {line} --to");
        let expected = text(&terminal, file);
        let printed = json(&terminal.run(&format!("--json {line} out-{file}")).done());
        assert_eq!(
            (&printed["form"], &printed["file"]),
            (&form.into(), &format!("out-{file}").into())
        );
        assert_eq!(text(&terminal, &format!("out-{file}")), expected);
        let path = terminal.path(&format!("out-{file}"));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(terminal.run(&format!("{line} -")).done(), expected);
        let again = failure(terminal.run(&format!("--json {line} out-{file}")));
        assert_eq!(again["kind"], "exists");
        let printed = json(&terminal.run(&format!("--json {line} -")).done());
        let field = if form == "pkcs8" { "pem" } else { "ssh_public" };
        assert_eq!(printed[field], expected);
    }
    let plain = terminal.run("key export openssh.pub.key --ssh-public").done();
    assert_eq!(plain, text(&terminal, "openssh.pub").replace(" fixture@example.com", ""));
}

#[test]
fn a_secret_is_printed_only_when_that_is_said() {
    let terminal = terminal();
    terminal.run("key import openssl.pem --to some.key").done();
    let words = |words: &[&str]| {
        let output = terminal.command("key export some.key").args(words).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(words(&["--pem"]).contains("--to FILE says where to, and --to - prints it"));
    words(&[]);
    words(&["--pem", "--ssh-public"]);
    words(&["--pem", "--comment", "me", "--to", "-"]);
    for comment in ["me\nssh-ed25519 AAAA you", "\u{1b}[2J", &"x".repeat(257)] {
        let told = words(&["--ssh-public", "--comment", comment]);
        assert!(told.contains("expected a comment of at most 256 bytes, on one line"), "{told}");
    }
}

/// The signatures are those of `openssl pkeyutl -sign -rawin` over the signed bytes, by the file
/// here and by the one that is exported of `openssh`.
#[test]
fn a_key_signs_as_it_does_elsewhere() {
    let terminal = terminal();
    let object = ObjectId([1; 32]);
    for (file, signature) in [
        (
            "openssl.pem",
            "54cd06424a9270b63078e322a6a90c7d9bc9cdf97cb8f1ae0add70aff51c8cd0\
             75326cd259c2d1a6feb35affef3eeb23965317450f715f9c178dbad7e3ea530e",
        ),
        (
            "openssh",
            "a533a9a7a4b695caeb294f2ded3bbeeab639c6e3a6ce6ec66845a6ee20003f68\
             8e8a1d381c9c7020682b224245d35a1ce5635eadd43674cbae895e0267948304",
        ),
    ] {
        terminal.run(&format!("key import {file} --to {file}.key")).done();
        let lines = text(&terminal, &format!("{file}.key"));
        let bytes = |name: &str| {
            let line = lines.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse::<PublicKey>().unwrap().0
        };
        let key = SigningKey::from_secret(&bytes("secret"));
        assert_eq!(key.public().0, bytes("public"));
        let mut credential = Credential::new(7, Time::from_millis(1_700_000_000_000));
        credential.sign(&key, object, &Request::Cycle);
        let made = credential.signatures()[0].bytes.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(made, signature, "{file}");
    }
}

#[test]
fn files_of_ours_are_read_as_they_were_written() {
    let terminal = Terminal::with_visits();
    terminal.run("session new board.session").done();
    let (key, session) = (text(&terminal, "owner.key"), text(&terminal, "board.session"));
    let digits = |text: &str| {
        text.lines().find_map(|line| line.strip_prefix("secret ")).unwrap().to_string()
    };
    let other = |text: &str| text.replace(&digits(text), &"7".repeat(64));
    for (name, content) in [
        ("newer.key", key.replace("key 2", "key 3")),
        ("algorithm.key", key.replace("ed25519", "ml-dsa-44")),
        ("secret.key", other(&key)),
        ("more.key", format!("{key}more\n")),
        ("less.key", key.replace("public", "pubic")),
        ("old.key", format!("{}\n", digits(&key))),
        ("pem.key", "-----BEGIN PRIVATE KEY-----\n".to_string()),
        ("newer.session", session.replace("session 2", "session 3")),
        ("algorithm.session", session.replace("blake3", "sha256")),
        ("secret.session", other(&session)),
        ("late.session", session.replace("ends 2", "ends x")),
        ("old.session", format!("{}\n2026-11-30T18:00:00.000Z\n", digits(&session))),
    ] {
        secret(&terminal, name, content.as_bytes());
    }
    let call = "call visits increment 1";
    let lines = [
        "key show newer.key",
        "key show algorithm.key",
        "key show secret.key",
        "key show more.key",
        "key show less.key",
        "key show old.key",
        "key show pem.key",
        "key show board.session",
        "key import newer.key --to made.key",
        "key import algorithm.key --to made.key",
        "--json key show algorithm.key",
        &format!("{call} --sign old.key"),
        &format!("{call} --session newer.session"),
        &format!("{call} --session algorithm.session"),
        &format!("{call} --session secret.session"),
        &format!("{call} --session late.session"),
        &format!("{call} --session old.session"),
        &format!("{call} --session owner.key"),
    ];
    terminal.check(&lines, expect_file!["transcripts/key-files.txt"]);
    terminal.run("key import old.key --to new.key").done();
    assert_eq!(text(&terminal, "new.key"), key);
}
