//! A terminal to type at: the real binary in a directory of its own.
//!
//! Values that differ from run to run are masked in the output, and columns stay where they are.
//!
//! It holds no test.

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::ExpectFile;
use tempfile::TempDir;

use crate::objects;

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// A directory in which commands are run.
pub(crate) struct Terminal {
    directory: TempDir,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        Terminal { directory: tempfile::tempdir().unwrap() }
    }

    /// Returns a terminal with the tests' module and policy, a key file, and an object called
    /// `visits`.
    pub(crate) fn with_visits() -> Terminal {
        let terminal = Terminal::new();
        terminal.write("object.wasm", objects::module());
        terminal.run("key new owner.key").done();
        terminal.write("policy.cedar", objects::policy(&terminal.owner()));
        terminal.run("create object.wasm welcome --policy policy.cedar --name visits").done();
        terminal
    }

    /// The owner's public key.
    pub(crate) fn owner(&self) -> String {
        let shown = self.run("key show owner.key --json").done();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["public"].as_str().unwrap().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The binary with `line`'s words, which have no blanks in them, not started yet.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_continuant"));
        command.args(line.split_whitespace()).current_dir(self.directory.path());
        command.env_remove("CONTINUANT_DB").env_remove("CONTINUANT_LOG");
        // Nothing of this user's.
        command.env("CONTINUANT_CODE_CACHE", "");
        // Files that a killed process leaves behind are removed with this directory.
        command.env("TMPDIR", self.directory.path());
        command
    }

    /// Runs the lines one by one, and compares the terminal's content with a file.
    #[track_caller]
    pub(crate) fn check(&self, lines: &[&str], expected: ExpectFile) {
        let seen = lines.iter().map(|line| {
            let seen = self.run(line).seen();
            format!("$ continuant {}\n{seen}", mask(line))
        });
        expected.assert_eq(&seen.collect::<Vec<_>>().join("\n"));
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, line: &str) -> Printed {
        let output = self.command(line).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Printed { stdout, stderr, code: output.status.code() }
    }
}

impl Printed {
    /// Returns the output of a command that succeeded, without notes.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, &*without_notes(&self.stderr)), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// Returns the masked output; an exit code other than 0 comes last.
    fn seen(&self) -> String {
        let code = match self.code {
            Some(0) => String::new(),
            Some(code) => format!("exit code {code}\n"),
            None => "no exit code\n".to_string(),
        };
        let told = self.code.is_none_or(|code| matches!(code, 0 | 3 | 6)) || self.stdout.is_empty();
        assert!(told, "what fails prints no result: a dry run that is refused, and what is fuzzed");
        mask(&format!("{}{}{code}", self.stdout, self.stderr))
    }
}

/// Returns stderr without its notes.
pub(crate) fn without_notes(stderr: &str) -> String {
    stderr.lines().filter(|line| !line.starts_with("note: ")).collect()
}

/// Masks times, also in milliseconds, and hexadecimal words of 8, 16 and 64 digits.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match time_length(rest) {
            0 => rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len()),
            time => time,
        };
        let (word, after) = rest.split_at(length.max(first.len_utf8()));
        let digits = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match word.len() {
            24 if time_length(word) > 0 => masked += "YYYY-MM-DDThh:mm:ss.mmmZ",
            64 if digits => masked += &"~".repeat(24),
            8 | 13 | 16 if digits => masked += &"~".repeat(word.len()),
            _ => masked += word,
        }
        rest = after;
    }
    masked
}

/// Returns the length of the time that `text` starts with.
fn time_length(text: &str) -> usize {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    let fits = |(letter, form): (u8, &u8)| match form {
        b'0' => letter.is_ascii_digit(),
        form => letter == *form,
    };
    let length = text.len().min(FORM.len());
    let whole = length == FORM.len() && text.bytes().zip(FORM).all(fits);
    if whole { length } else { 0 }
}

/// The root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
