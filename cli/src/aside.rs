//! What is said beside the output, on stderr: why a command failed, warnings, and the engine's log.
//!
//! It does not know what is said.
//!
//! Invariant: each is one line, with nothing hidden in it; below what is wrong in a text, its lines
//! are quoted. There is nobody to tell when writing it fails.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::escape;
use crate::failure::Failure;
use crate::printer::Printer;

/// Whether programs read it.
static JSON: AtomicBool = AtomicBool::new(false);

/// Has what is said from now on be JSON, if `json`.
pub(crate) fn speak(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Says what went wrong.
pub(crate) fn fail(failure: &Failure) {
    let lines = failure.lines().filter(|_| !JSON.load(Ordering::Relaxed));
    let Some(lines) = lines else {
        return say("error", failure.message(), failure.document());
    };
    let lines: Vec<String> = lines.iter().map(|line| escape::line(line).into_owned()).collect();
    drop(writeln!(io::stderr().lock(), "error: {}", lines.join("\n")));
}

/// Says, behind what was printed so far, what may surprise of what was done, or that something was
/// not there or not done, which is no failure; `kind` is for programs.
pub(crate) fn note(printer: &mut Printer, kind: &str, message: &str) {
    drop(printer.flush());
    say("note", message, json!({ "kind": kind, "message": message }));
}

/// Says what somebody should know.
pub(crate) fn warn(kind: &str, message: &str) {
    say("warning", message, json!({ "kind": kind, "message": message }));
}

fn say(what: &str, message: &str, document: Json) {
    let line = match JSON.load(Ordering::Relaxed) {
        true => escape::json(&json!({ what: document }).to_string()).into_owned(),
        false => escape::line(&format!("{what}: {message}")).into_owned(),
    };
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Where the engine's log goes.
#[derive(Debug)]
pub(crate) struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        Log
    }
}

impl Write for Log {
    /// Each event is written at once, with the end of its line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(io::stderr().lock(), "{}", escape::line(line))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut log = Log;
        let event = b"warn \x1b[31mred\nforged\n";
        assert_eq!(log.write(event).expect("it is written"), event.len());
    }
}
