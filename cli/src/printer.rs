//! The printer of output: to stdout, as lines for people or as JSON for programs.
//!
//! It does not know the content. A reader that closes the pipe ends the command quietly. Work that
//! is durable before it is printed is kept here, in case it cannot be printed.
//!
//! Invariant: foreign text reaches a terminal with nothing hidden in it. It is printed raw only
//! where there is no terminal, and only when it was asked for alone: a value, a text, a memory.

use std::io::{BufWriter, IsTerminal, Write};

use console::measure_text_width;
use serde_json::Value as Json;

use crate::escape;
use crate::failure::{Done, Failure, Result};

/// The largest number up to which every program that reads JSON has all whole numbers.
const EXACT_MAX: u64 = 1 << 53;

/// The form in JSON of whole numbers beyond those that every program reads exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Numbers {
    #[default]
    Number,
    String,
}

/// Prints to stdout.
pub(crate) struct Printer {
    json: bool,
    numbers: Numbers,
    is_terminal: bool,
    out: BufWriter<Box<dyn Write>>,
    done: Option<Done>,
    /// True if something was printed since.
    is_told: bool,
}

impl Printer {
    pub(crate) fn stdout(json: bool, numbers: Numbers) -> Printer {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let out: Box<dyn Write> = Box::new(stdout.lock());
        Printer { json, numbers, is_terminal, out: BufWriter::new(out), done: None, is_told: false }
    }

    /// Keeps the durable work so far, before it is printed.
    pub(crate) fn done(&mut self, what: impl Into<String>, document: Json) {
        self.done = Some(Done { what: what.into(), document });
        self.is_told = false;
    }

    /// Flushes, and returns the command's result: if not all is printed, or the receipt could not
    /// be looked up, the failure names the durable work. A reader that closed the pipe is no
    /// failure if there is no such work.
    pub(crate) fn end(&mut self, ended: Result<()>) -> Result<()> {
        let flushed = self.flush();
        let is_printed = flushed.is_ok();
        let ended = ended.and(flushed);
        match (ended, &self.done) {
            (Err(failure), Some(done)) if failure.is_of_output() || !self.is_told => {
                Err(failure.not_printed(done))
            }
            (Err(failure), Some(done)) if !is_printed => Err(failure.behind(done)),
            (Err(failure), None) if failure.is_closed_pipe() => Ok(()),
            (ended, _) => ended,
        }
    }

    /// Returns whether programs read the output.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line for people.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        self.raw_line(&escape::line(line))
    }

    /// Prints a value that was asked for alone: unchanged, except to a terminal.
    pub(crate) fn value(&mut self, value: &str) -> Result<()> {
        if self.is_terminal { self.line(value) } else { self.raw_line(value) }
    }

    /// Prints a text that was asked for alone: unchanged, except to a terminal, which gets its
    /// lines.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        if self.is_terminal { self.raw_line(&escape::lines(text)) } else { self.raw_line(text) }
    }

    fn raw_line(&mut self, line: &str) -> Result<()> {
        self.is_told = true;
        writeln!(self.out, "{line}").map_err(|error| Failure::print(&error))
    }

    /// Prints a document for programs, on one line.
    pub(crate) fn document(&mut self, document: &Json) -> Result<()> {
        let text = match self.numbers {
            Numbers::Number => document.to_string(),
            Numbers::String => with_strings(document.clone()).to_string(),
        };
        self.raw_line(&escape::json(&text))
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.is_told = true;
        self.out.write_all(bytes).map_err(|error| Failure::print(&error))
    }

    /// Prints labels with their values, aligned.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, String)]) -> Result<()> {
        let labels: Vec<_> = pairs.iter().map(|(label, _)| escape::line(label)).collect();
        let width = labels.iter().map(|label| measure_text_width(label)).max().unwrap_or(0);
        for (label, (_, text)) in labels.iter().zip(pairs) {
            let label = padded(label, width);
            self.line(format!("{label}  {text}").trim_end())?;
        }
        Ok(())
    }

    /// Flushes the output so far.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|error| Failure::print(&error))
    }
}

/// The text with blanks behind it, as wide as that on a terminal.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// The document with numbers as strings that not every program reads exactly.
fn with_strings(document: Json) -> Json {
    let is_exact = |number: &serde_json::Number| match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => number <= EXACT_MAX,
        (None, Some(number)) => number.unsigned_abs() <= EXACT_MAX,
        (None, None) => true,
    };
    match document {
        Json::Number(number) if !is_exact(&number) => Json::String(number.to_string()),
        Json::Array(items) => items.into_iter().map(with_strings).collect(),
        Json::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_strings(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns the text that `print` prints, to a terminal or not.
    fn printed(is_terminal: bool, print: impl FnOnce(&mut Printer) -> Result<()>) -> String {
        let shared = Shared::default();
        let out: Box<dyn Write> = Box::new(shared.clone());
        let (json, numbers) = (false, Numbers::String);
        let out = BufWriter::new(out);
        let (done, is_told) = (None, false);
        let mut printer = Printer { json, numbers, is_terminal, out, done, is_told };
        print(&mut printer).and_then(|()| printer.flush()).expect("it is printed");
        let bytes = shared.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("it is text")
    }

    #[test]
    fn what_is_done_is_said_where_what_came_of_it_cannot_be_looked_up() {
        let (json, numbers, is_terminal) = (false, Numbers::Number, false);
        let ended = |prints: bool| {
            let out: BufWriter<Box<dyn Write>> = BufWriter::new(Box::new(std::io::sink()));
            let (done, is_told) = (None, false);
            let mut printer = Printer { json, numbers, is_terminal, out, done, is_told };
            printer.done("the object 7, called \"fork\"", json!({ "object": "7" }));
            if prints {
                printer.line("object 7").expect("it is printed");
            }
            printer.end(Err(Failure::refused("it is not found"))).expect_err("it failed")
        };
        let failure = ended(false);
        assert_eq!((failure.kind(), failure.exit_code()), ("not-printed", 7));
        assert_eq!(failure.document()["done"]["object"], "7");
        let message = "it is not found, but the work is done and durable: the object 7, called \
                       \"fork\"; do not repeat it";
        assert_eq!(failure.message(), message);
        // A receipt that was printed is known, whatever comes behind it.
        let failure = ended(true);
        assert_eq!((failure.message(), failure.exit_code()), ("it is not found", 3));
    }

    #[test]
    fn a_terminal_is_never_given_what_it_obeys() {
        let hostile = "a\u{1b}[2J\nb\u{9b}\tc";
        let line = "a\\u{1b}[2J\\nb\\u{9b}\\tc\n";
        for is_terminal in [true, false] {
            assert_eq!(printed(is_terminal, |printer| printer.line(hostile)), line);
            let pairs = printed(is_terminal, |it| it.pairs(&[("x\n", hostile.to_string())]));
            assert_eq!(pairs, format!("x\\n  {line}"));
        }
        assert_eq!(printed(true, |printer| printer.value(hostile)), line);
        assert_eq!(printed(false, |printer| printer.value(hostile)), format!("{hostile}\n"));
        let lines = "a\\u{1b}[2J\nb\\u{9b}\tc\n";
        assert_eq!(printed(true, |printer| printer.text(hostile)), lines);
        assert_eq!(printed(false, |printer| printer.text(hostile)), format!("{hostile}\n"));
    }

    #[test]
    fn labels_are_as_wide_as_they_are_seen() {
        let pairs = [("日本", "1".to_string()), ("abc", "2".to_string())];
        assert_eq!(printed(true, |printer| printer.pairs(&pairs)), "日本  1\nabc   2\n");
    }

    #[test]
    fn numbers_that_not_every_program_reads_are_strings() {
        let document = json!({
            "a": [1_u64 << 53, (1_u64 << 53) + 1, u64::MAX, i64::MIN, -(1_i64 << 53), 1e300, 0.5],
        });
        let text = concat!(
            "{\"a\":[9007199254740992,\"9007199254740993\",\"18446744073709551615\",",
            "\"-9223372036854775808\",-9007199254740992,1e+300,0.5]}\n"
        );
        assert_eq!(printed(false, |printer| printer.document(&document)), text);
    }
}
