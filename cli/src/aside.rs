//! Messages beside the output, on stderr: the cause of a failure, warnings, and the engine's log.
//!
//! This module does not know the messages.
//!
//! Invariant: each is one line, with nothing hidden in it; the faults of a text are followed by its
//! quoted lines. A failure to write a message is ignored, as nobody could be told.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::escape;
use crate::failure::Failure;
use crate::printer::Printer;

/// True if programs read the messages.
static JSON: AtomicBool = AtomicBool::new(false);

/// Switches later messages to JSON, if `json`.
pub(crate) fn speak(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Prints a failure.
pub(crate) fn fail(failure: &Failure) {
    let lines = failure.lines().filter(|_| !JSON.load(Ordering::Relaxed));
    let Some(lines) = lines else {
        return say("error", failure.message(), failure.document());
    };
    let lines: Vec<String> = lines.iter().map(|line| escape::line(line).into_owned()).collect();
    drop(writeln!(io::stderr().lock(), "error: {}", lines.join("\n")));
}

/// Prints a note, behind the output so far: a possibly surprising effect, or something missing or
/// left undone, which is no failure; `kind` is for programs.
pub(crate) fn note(printer: &mut Printer, kind: &str, message: &str) {
    drop(printer.flush());
    say("note", message, json!({ "kind": kind, "message": message }));
}

/// Prints a warning.
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

/// The destination of the engine's log.
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
